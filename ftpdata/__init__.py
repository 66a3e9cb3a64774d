"""The data connection of FTP for asyncio programs: the data-transfer process of RFC 959.

Where to begin reading:

- `listen_passive` and `connect_active` make an `Endpoint`; its ``open()`` gives a
  connected `DTP`.
- `send_file`, `receive_file`, `send_listing`, `send_stream`, `receive_stream` and
  `relay` are whole transfers over it: each returns a `TransferResult`, or raises an
  `FTPDataError` that carries one and the reply code to send. `TransferParameters` and
  `CodecOptions` say how the file is represented; a `ReusableConnection` in place of the
  endpoint stays open for the next file, where the mode allows it.
- `DTP` is the connection itself, for producers and consumers of your own.
- `format_list_line`, `format_mlsx_line` and their parsers are pure functions.

``examples/server/__init__.py`` leads to a server in an hour, ``examples/client/__init__.py`` to a
client in ten minutes. The names that most programs need are here. The others are in these
packages, each of which begins with a guide:

- `ftpdata.addresses`, `ftpdata.errors`, `ftpdata.contracts`, `ftpdata.parameters`,
  `ftpdata.outcome`, `ftpdata.deadlines`, `ftpdata.throttle`, `ftpdata.limits`,
  `ftpdata.digests`: values and rules without any input or output;
- `ftpdata.listing`: the formats of directory listings, writers and parsers;
- `ftpdata.codecs`: TYPE, STRU and MODE as encoders and decoders;
- `ftpdata.connection`: the `DTP`, its producers, consumers and stream, and adapters
  for Twisted's objects (`ftpdata.connection.twisted`);
- `ftpdata.tls`: how data connections are protected;
- `ftpdata.opening`: passive, pooled, active and accepted endpoints;
- `ftpdata.files`: files and directories, read and written in worker threads;
- `ftpdata.transfers`: the functions that move whole files;
- `ftpdata.observers`: logs, metrics, traces, and the veto of an upload;
- `ftpdata.objectstore`: S3, Google Cloud Storage and Azure;
- `ftpdata.testing`: tools for tests of servers and clients;
- `ftpdata.lowlevel`: tools that make the reference server fast.

Names are those of RFC 959 and, for producers and consumers, Twisted's in snake case:
``register_producer``, ``pause_producing``, ``write``. Modules whose names begin with an underscore
are not for users.

## The house

A module imports only modules of lower layers; ``pyproject.toml`` lists the order, and a test
enforces it. The pure layer, lowest, has no sockets, threads, files or clocks. One transfer goes
through these rooms: an *endpoint* (`ftpdata.opening`) waits for the peer or connects to it, and
makes a *link*, which is a socket with, perhaps, its TLS channel (`ftpdata.tls`). A small file goes
over the link directly. For any other, the endpoint hands the link to a `DTP`
(`ftpdata.connection`), and a *supervisor* (`ftpdata.transfers`) lets a source or a target
(`ftpdata.files`), with encoders or decoders between (`ftpdata.codecs`), move the bytes at the pace
of both ends. At the end one watch, *delivery*, knows when the peer's kernel has everything, and
one *report* makes the result, or the error that carries it. `ftpdata.transfers` tells this once
more, with the names of the modules. ``tests/docs/house.svg`` draws the rooms, and
``tests/docs/life.svg`` the steps of a transfer.

| To change | go to |
|---|---|
| the text of the reply to PASV | ``addresses.py``, ``format_pasv_reply`` |
| who may be a peer | ``addresses.py``, ``PeerPolicy`` |
| how a connection is accepted | ``opening/_acceptor.py`` |
| which passive port is chosen | ``opening/ports.py``; of a pool, ``opening/pool.py`` |
| the order of the facts in MLSD | ``listing/facts.py``, ``SUPPORTED_FACTS`` |
| the columns of LIST | ``listing/unix.py`` |
| how a directory is read | ``files/directory_reader.py`` |
| where an upload is until it is whole | ``files/_places.py`` |
| which part is resumed, and when one is dropped | ``files/_part_rules.py`` |
| line ends in TYPE A | ``codecs/representation.py`` |
| what MODE C does with a filler | ``codecs/compressed.py`` |
| when a stalled peer is given up, while data move | ``transfers/_watch.py``, ``Watch`` |
| the same, after the last byte | ``connection/_delivery.py``, ``check`` |
| how the 226 is decided | ``connection/_delivery.py``, ``check`` |
| its code | ``transfers/_report.py``; the codes of all other ends, ``outcome.py`` |
| which error a full disk becomes | ``errors.py``, ``ENOSPC`` |
| how TLS ends | ``tls/_channel.py``, ``announce_end``; of a `DTP`, ``tls/_transport.py`` |
| when ``sendfile`` is used | ``transfers/_sendfile.py`` |
| when ``splice`` is used | ``transfers/_splice.py`` |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazy_names
from ._version import __version__ as __version__

if TYPE_CHECKING:
    from .addresses import HostPort, PeerPolicy, format_epsv_reply, format_pasv_reply
    from .codecs.options import CodecOptions
    from .connection.protocol import DTP
    from .connection.stream import DTPStream
    from .contracts import UploadTarget
    from .deadlines import Deadlines
    from .errors import (
        BadArgument,
        DataConnectionError,
        FileUnavailable,
        FTPDataError,
        QuotaExceeded,
        TransferAborted,
    )
    from .files.directories import DirectoryLister, list_directory
    from .files.target import FileTarget, WriteMode
    from .listing._names import NamePolicy
    from .listing.entry import EntryType, ListingEntry, Permissions
    from .listing.facts import FactSelection
    from .listing.formats import parse_list_line
    from .listing.mlsx import MlsxFormatter, format_mlsx_line, parse_mlsx_line
    from .listing.nlst import NlstFormatter
    from .listing.table import ListingBlock
    from .listing.unix import ListFormatter, ListingRules, format_list_line
    from .opening.active import connect_active
    from .opening.advertising import AddressTable
    from .opening.endpoint import AcceptedEndpoint, Endpoint
    from .opening.nat import Advertiser
    from .opening.passive import PassiveListener, listen_passive
    from .opening.pool import ListenerPool
    from .opening.ports import PortRange
    from .opening.proxy import TrustedProxies
    from .opening.socket_options import SocketOptions
    from .outcome import Direction, End, FastPath, TransferResult
    from .parameters import (
        FormatControl,
        RepresentationType,
        Structure,
        TransferParameters,
        TransmissionMode,
    )
    from .throttle import TokenBucket
    from .tls.policy import DataTLS, ServerCertificate, SessionReuse
    from .transfers.receiving import receive_file
    from .transfers.relaying import relay
    from .transfers.reuse import ReusableConnection
    from .transfers.sending import send_file, send_listing, send_stream
    from .transfers.streaming import receive_stream

__all__ = [
    "DTP",
    "AcceptedEndpoint",
    "AddressTable",
    "Advertiser",
    "BadArgument",
    "CodecOptions",
    "DTPStream",
    "DataConnectionError",
    "DataTLS",
    "Deadlines",
    "Direction",
    "DirectoryLister",
    "End",
    "Endpoint",
    "EntryType",
    "FTPDataError",
    "FactSelection",
    "FastPath",
    "FileTarget",
    "FileUnavailable",
    "FormatControl",
    "HostPort",
    "ListFormatter",
    "ListenerPool",
    "ListingBlock",
    "ListingEntry",
    "ListingRules",
    "MlsxFormatter",
    "NamePolicy",
    "NlstFormatter",
    "PassiveListener",
    "PeerPolicy",
    "Permissions",
    "PortRange",
    "QuotaExceeded",
    "RepresentationType",
    "ReusableConnection",
    "ServerCertificate",
    "SessionReuse",
    "SocketOptions",
    "Structure",
    "TokenBucket",
    "TransferAborted",
    "TransferParameters",
    "TransferResult",
    "TransmissionMode",
    "TrustedProxies",
    "UploadTarget",
    "WriteMode",
    "connect_active",
    "format_epsv_reply",
    "format_list_line",
    "format_mlsx_line",
    "format_pasv_reply",
    "list_directory",
    "listen_passive",
    "parse_list_line",
    "parse_mlsx_line",
    "receive_file",
    "receive_stream",
    "relay",
    "send_file",
    "send_listing",
    "send_stream",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "addresses": ("HostPort", "PeerPolicy", "format_epsv_reply", "format_pasv_reply"),
            "codecs.options": ("CodecOptions",),
            "connection.protocol": ("DTP",),
            "connection.stream": ("DTPStream",),
            "contracts": ("UploadTarget",),
            "deadlines": ("Deadlines",),
            "errors": (
                "BadArgument",
                "DataConnectionError",
                "FTPDataError",
                "FileUnavailable",
                "QuotaExceeded",
                "TransferAborted",
            ),
            "files.directories": ("DirectoryLister", "list_directory"),
            "files.target": ("FileTarget", "WriteMode"),
            "listing._names": ("NamePolicy",),
            "listing.entry": ("EntryType", "ListingEntry", "Permissions"),
            "listing.facts": ("FactSelection",),
            "listing.formats": ("parse_list_line",),
            "listing.mlsx": ("MlsxFormatter", "format_mlsx_line", "parse_mlsx_line"),
            "listing.nlst": ("NlstFormatter",),
            "listing.table": ("ListingBlock",),
            "listing.unix": ("ListFormatter", "ListingRules", "format_list_line"),
            "opening.active": ("connect_active",),
            "opening.advertising": ("AddressTable",),
            "opening.endpoint": ("AcceptedEndpoint", "Endpoint"),
            "opening.nat": ("Advertiser",),
            "opening.passive": ("PassiveListener", "listen_passive"),
            "opening.pool": ("ListenerPool",),
            "opening.ports": ("PortRange",),
            "opening.proxy": ("TrustedProxies",),
            "opening.socket_options": ("SocketOptions",),
            "outcome": ("Direction", "End", "FastPath", "TransferResult"),
            "parameters": (
                "FormatControl",
                "RepresentationType",
                "Structure",
                "TransferParameters",
                "TransmissionMode",
            ),
            "throttle": ("TokenBucket",),
            "tls.policy": ("DataTLS", "ServerCertificate", "SessionReuse"),
            "transfers.reuse": ("ReusableConnection",),
            "transfers.receiving": ("receive_file",),
            "transfers.relaying": ("relay",),
            "transfers.sending": ("send_file", "send_listing", "send_stream"),
            "transfers.streaming": ("receive_stream",),
        },
    )
