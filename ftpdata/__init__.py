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

The names that most programs need are here. The others are in:

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
- `ftpdata.testing`: tools for tests of servers and clients;
- `ftpdata.lowlevel`: tools that make the reference server fast.

Modules whose names begin with an underscore are not for users. A module imports only
modules of lower layers; ``pyproject.toml`` lists the order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazy_names

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
