"""Wrong arguments are refused at the call, in the whole public surface.

Each public function, class and named constructor has a row here, with a call that works. The
tests replace its arguments one by one, by an object of a wrong type and by values out of range.
Each replacement causes one `TypeError` or `ValueError`, which says what the argument was.
"""

from __future__ import annotations

import contextlib
import enum
import importlib
import inspect
import math
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry

from ftpdata import addresses, codecs, connection, deadlines, listing, observers, opening, outcome
from ftpdata import parameters as parameters_module
from ftpdata.testing import RecordingConsumer
from tests.harness.obstores import memory_store, start_runtime
from tests.harness.proxies import free_ports
from tests.harness.tls import HOST_NAME, certificate_files, client_context, server_certificate

if TYPE_CHECKING:
    from obstore.store import MemoryStore

HOST = "127.0.0.1"
NOW = datetime(2026, 1, 31, tzinfo=UTC)
ADDRESS = addresses.HostPort(HOST, 2121)
ENTRY = listing.ListingEntry(name="x")
RESULT = outcome.TransferResult(direction=outcome.Direction.SENT, end=outcome.End.CLEAN)
IDENTITY = codecs.IdentityEncoder()


class Wrong:
    """An object that no parameter accepts."""

    def __repr__(self) -> str:
        return "<wrong>"


WRONG = Wrong()
Arguments = dict[str, Any]
Call = Callable[[], Arguments]


class Target:
    """An upload target."""

    async def write(self, data: bytes) -> None:
        """Take data."""

    async def commit(self) -> None:
        """Publish."""

    async def discard(self) -> None:
        """Discard the upload."""


async def chunks() -> AsyncIterator[bytes]:
    """Yield nothing."""

    nothing: tuple[bytes, ...] = ()
    for item in nothing:
        yield item


async def nothing(*_: object) -> None:
    """Do nothing."""


@pytest.fixture(scope="module", autouse=True)
def runtime() -> None:
    """Let no test be the first to use obstore."""

    start_runtime()


def filled_store() -> MemoryStore:
    """Return an object store that holds an object."""

    store = memory_store()
    store.put("x", b"content")
    return store


COUNTS = ("5", 1.5, True, -1)
"""What is no number of bytes or of things."""

SECONDS = ("5", True, -1, math.nan, math.inf)
"""What is no number of seconds."""


class Row:
    """A public callable, a call of it that works, and values that do not.

    Args:
        arguments: The arguments of the call that works.
        values: Wrong values of some of the arguments, in addition to a wrong type.
    """

    def __init__(
        self,
        arguments: Arguments | Call | None = None,
        values: Mapping[str, tuple[object, ...]] | None = None,
    ) -> None:
        self._arguments = arguments or {}
        self.values = values or {}

    def arguments(self) -> Arguments:
        """Return the arguments of a call that works."""

        made = self._arguments
        return dict(made() if callable(made) else made)


ENDPOINT: Arguments = {
    "deadlines": None,
    "tls": None,
    "socket_options": None,
    "dtp_factory": None,
    "observer": None,
}


def client_tls() -> Arguments:
    """Return the arguments of a client's `DataTLS`."""

    return {"context": client_context(), "session": None, "server_hostname": HOST_NAME}


def server_tls() -> Arguments:
    """Return the arguments of a server's `DataTLS`."""

    return {"context": server_certificate().session_context()}


def transfer(**arguments: object) -> Call:
    """Return the arguments of a transfer, whose connection is never made."""

    return lambda: {
        "connection": opening.connect_active(ADDRESS, control_peer=HOST),
        **{name: value() if callable(value) else value for name, value in arguments.items()},
    }


SENDING = {"offset": COUNTS, "expected_size": COUNTS}
RECEIVING = SENDING | {"size_limit": COUNTS}
CODE_POINTS = ("5", 1.5, True, -1, 256)
MOMENT = ("now", None)

BENEATH: Arguments = {"directory": "/", "path": "proc", "is_directory": True}

PARAMETERS: Arguments = {"parameters": parameters_module.TransferParameters()}

RECORDS = parameters_module.TransferParameters().with_mode("B")

ROWS: dict[str, Row] = {
    # addresses
    "addresses.HostPort": Row(
        {"host": HOST, "port": 21}, {"host": ("x", 5, None), "port": ("5", True, 0, 65536)}
    ),
    "addresses.PeerPolicy": Row(
        {}, {"ipv4_prefix": ("5", True, -1, 33), "ipv6_prefix": (-1, 129), "networks": ("10/8",)}
    ),
    "addresses.PeerPolicy.exact": Row(),
    "addresses.PeerPolicy.any": Row(),
    "addresses.PeerPolicy.same_network": Row(
        {}, {"ipv4_prefix": ("5", -1, 33), "ipv6_prefix": (-1, 129)}
    ),
    "addresses.PeerPolicy.allow": Row(
        {"networks": ["10.0.0.0/8"]}, {"networks": ("10.0.0.0/8", ["x"], ["10.0.0.1/8"])}
    ),
    "addresses.format_eprt": Row({"address": ADDRESS}),
    "addresses.format_port": Row({"address": ADDRESS}),
    "addresses.format_pasv_reply": Row({"address": ADDRESS}),
    "addresses.format_epsv_reply": Row({"port": 21}, {"port": ("5", True, 0, 65536)}),
    "addresses.parse_eprt": Row(
        {"argument": "|1|127.0.0.1|21|"}, {"argument": (b"x",), "supported": (1,)}
    ),
    "addresses.parse_epsv": Row({"argument": ""}, {"argument": (b"x",), "supported": (1,)}),
    "addresses.parse_epsv_reply": Row({"text": "229 (|||21|)"}, {"text": (b"x",)}),
    "addresses.parse_pasv_reply": Row({"text": "227 (1,2,3,4,5,6)"}, {"text": (b"x",)}),
    "addresses.parse_port": Row({"argument": "1,2,3,4,5,6"}, {"argument": (b"x",)}),
    # codecs
    "codecs.AsciiDecoder": Row({}, {"line_end": (b"x", "\n")}),
    "codecs.AsciiEncoder": Row({}, {"existing_crlf": ("keep",)}),
    "codecs.BlockDecoder": Row(),
    "codecs.BlockEncoder": Row({}, {"offset": COUNTS}),
    "codecs.CodecLimits": Row(
        {},
        dict.fromkeys(("record", "marker", "output", "ratio"), ("5", 1.5, True, 0, -1))
        | {"ratio_from": COUNTS},
    ),
    "codecs.CodecOptions": Row(
        {},
        {
            "line_end": (b"x", "\n"),
            "record_length": ("5", True, 0),
            "marker_interval": ("5", True, 0),
            "deflate_level": ("5", True, -1, 10),
            "file_encoding": ("nonsense", None),
            "limits": (None,),
        },
    ),
    "codecs.CompressedDecoder": Row({"filler": 32}, {"filler": CODE_POINTS}),
    "codecs.CompressedEncoder": Row({"filler": 32}, {"filler": CODE_POINTS, "offset": COUNTS}),
    "codecs.DeflateDecoder": Row(),
    "codecs.DeflateEncoder": Row({}, {"level": ("5", True, -1, 10)}),
    "codecs.EbcdicCodePage": Row({"name": "cp037", "characters": "x" * 256}),
    "codecs.EbcdicDecoder": Row({}, {"line_end": (b"x",), "file_encoding": ("x",)}),
    "codecs.EbcdicEncoder": Row({}, {"file_encoding": ("x",)}),
    "codecs.FixedDecoder": Row({"length": 5}, {"length": (*COUNTS, 0)}),
    "codecs.FixedEncoder": Row(
        {"length": 5}, {"length": (*COUNTS, 0), "fill": ("x", b"", b"xx", 5)}
    ),
    "codecs.RdwDecoder": Row({}, {"blocked": (None, 5)}),
    "codecs.RdwEncoder": Row({}, {"block_size": ("5", True, 7, 32761)}),
    "codecs.record_decoder_for": Row({"parameters": RECORDS}, {"parameters": (None, "B")}),
    "codecs.record_encoder_for": Row({"parameters": RECORDS}, {"parameters": (None, "B")}),
    "codecs.RecordFile": Row({}, {"length": (*COUNTS, 0), "block_size": ("5", True, 7, 32761)}),
    "codecs.RecordFile.parse": Row({"text": "rdw"}, {"text": (b"rdw", "fixed", "cobol")}),
    "codecs.Records": Row({}, {"length": ("5", True, 0), "end": ("\n",)}),
    "codecs.RestartMarker": Row({"text": "5", "offset": 5}, {"offset": COUNTS}),
    "codecs.SuspectData": Row({"offset": 0, "size": 5}, {"offset": COUNTS, "size": COUNTS}),
    "codecs.SizeCounter": Row({"encoder": IDENTITY}),
    "codecs.StreamRecordDecoder": Row({"records": codecs.Records()}),
    "codecs.StreamRecordEncoder": Row({"records": codecs.Records()}, {"offset": COUNTS}),
    "codecs.check_supported": Row(PARAMETERS),
    "codecs.decoder_for": Row(PARAMETERS, {"offset": COUNTS}),
    "codecs.encoder_for": Row(PARAMETERS, {"offset": COUNTS}),
    "codecs.listing_encoder_for": Row(PARAMETERS),
    "codecs.ebcdic_code_page": Row({"name": "cp037"}, {"name": (b"cp037",)}),
    "codecs.translation_tables": Row(
        {"code_page": "cp037", "file_encoding": "latin-1"}, {"file_encoding": ("nonsense",)}
    ),
    "codecs.format_mark_reply": Row({"marker": codecs.RestartMarker("5", 5)}, {"own": (5,)}),
    "codecs.parse_deflate_level": Row({"argument": "MODE Z LEVEL 5"}, {"argument": (b"x",)}),
    "codecs.parse_mark_reply": Row({"text": "MARK 1 = 2"}, {"text": (b"x", "x")}),
    # connection
    "connection.DTP": Row(
        {}, {"high_water": COUNTS, "close_timeout": SECONDS, "stall_timeout": SECONDS}
    ),
    "connection.DTPStream": Row(lambda: {"dtp": connection.DTP()}, {"high_water": COUNTS}),
    "connection.AsyncIterableProducer": Row(
        lambda: {"chunks": chunks()}, {"chunks": (b"x", [b"x"])}
    ),
    "connection.BytesProducer": Row({"data": b"x"}, {"data": ("x", None)}),
    "connection.IterableProducer": Row({"chunks": [b"x"]}, {"chunks": (b"x", "x", 5)}),
    "connection.EncodedProducer": Row(
        lambda: {"producer": connection.BytesProducer(b"x"), "encoder": IDENTITY}
    ),
    "connection.DecodingConsumer": Row(
        lambda: {"consumer": RecordingConsumer(), "decoder": codecs.IdentityDecoder()}
    ),
    "connection.DigestConsumer": Row(lambda: {"consumer": RecordingConsumer(), "name": "crc32"}),
    "connection.SizeLimitConsumer": Row(
        lambda: {"consumer": RecordingConsumer(), "size_limit": 5}, {"size_limit": COUNTS}
    ),
    "connection.MemoryConsumer": Row({"size_limit": 5}, {"size_limit": COUNTS}),
    "connection.ReceiveQueue": Row({}, {"high_water": COUNTS}),
    "connection.ReceiveQueue.attach": Row(
        lambda: {"dtp": connection.DTP()}, {"high_water": COUNTS}
    ),
    # deadlines, throttle, limits, digests, outcome, parameters
    "deadlines.Deadlines": Row(
        {},
        dict.fromkeys(
            ("open", "handshake", "first_byte", "stall", "close", "minimum_rate", "rate_window"),
            (*SECONDS, 0),
        ),
    ),
    "deadlines.ProgressWatch": Row(
        {"deadlines": deadlines.Deadlines(), "started_at": 0.0}, {"started_at": ("5", math.nan)}
    ),
    "throttle.TokenBucket": Row(
        {"rate": 5, "now": 0.0},
        {
            "rate": ("5", True, 0, -1, math.nan, math.inf),
            "burst": ("5", True, 0, -1, math.nan, math.inf),
            "now": ("5", None, True, math.nan, math.inf),
            "parent": (5,),
        },
    ),
    "limits.Limits": Row(
        {},
        dict.fromkeys(
            (
                "transfers",
                "transfers_per_user",
                "connections",
                "connections_per_address",
                "listeners",
                "listeners_per_address",
            ),
            ("5", 1.5, True, 0, -1),
        ),
    ),
    "limits.Usage": Row({}, {"limits": (5,), "ipv6_prefix": ("5", True, 0, 129)}),
    "limits.FailedAttempts": Row(
        {},
        {
            "limit": ("5", 1.5, True, 0),
            "max_addresses": ("5", True, 0),
            "window": (*SECONDS, 0),
            "ipv6_prefix": ("5", True, 0, 129),
        },
    ),
    "limits.address_key": Row(
        {"address": HOST}, {"address": ("x", 5), "ipv6_prefix": ("5", True, 0, 129)}
    ),
    "digests.Digest": Row({"name": "crc32"}, {"name": (5, None)}),
    "outcome.format_xferlog_line": Row({"result": RESULT, "name": "x", "ended_at": NOW}),
    "parameters.TransferParameters": Row(
        {},
        {"type": ("A",), "mode": ("S",), "structure": ("F",), "byte_size": ("8", True, 0, 256)},
    ),
    # files
    "files.FileTarget.open": Row(
        {"path": "x", "dir_fd": None},
        {
            "path": (5, None),
            "mode": ("atomic",),
            "dir_fd": ("5", True, -1),
            "offset": COUNTS,
            "permissions": ("5", True, -1, 0o10000),
            "spool_directory": (5,),
            "limiter": (5,),
        },
    ),
    "files.FileSource.open": Row(
        {"file": __file__},
        {"file": (None, True, -1), "dir_fd": ("5", True, -1), "offset": COUNTS, "limiter": (5,)},
    ),
    "files.DirectoryLister": Row(
        {"directory": "/", "formatter": listing.NlstFormatter()}, {"directory": (None, -1, True)}
    ),
    "files.DirectoryLister.open": Row(
        {"directory": "/", "formatter": listing.NlstFormatter()}, {"directory": (None, -1, True)}
    ),
    "files.DirectoryReader": Row({"directory": "/"}, {"directory": (None, -1, True)}),
    "files.PartLimits": Row({}, {"count": ("5", 1.5, True), "size": ("5", 1.5, True)}),
    "files.SpooledTarget": Row(
        {"target": Target(), "directory": "/"}, {"target": (5, None, "x"), "directory": (5,)}
    ),
    "files.PartStore": Row({"directory": "/"}, {"directory": (None, -1, True)}),
    "files.open_beneath": Row(
        BENEATH, {"directory": (None, -1, True), "path": (None,)}
    ),
    "files.opened_beneath": Row(
        BENEATH, {"directory": (None, -1, True), "path": (None,)}
    ),
    "files.locate_beneath": Row(
        {"directory": "/", "path": "x"}, {"directory": (None, -1, True), "path": (None,)}
    ),
    "files.is_reserved": Row({"name": "x"}, {"name": (5, None)}),
    "files.remove_reserved": Row({"directory": 10**6}, {"directory": ("x", None, -1, True)}),
    "files.list_directory": Row(
        {"directory": "/", "formatter": listing.NlstFormatter()}, {"directory": (None, -1, True)}
    ),
    # listing
    "listing.ListingEntry": Row(
        {"name": "x"},
        {
            **dict.fromkeys(("size", "links", "uid", "gid"), COUNTS),
            "modified": ("x",),
            "type": ("d",),
        },
    ),
    "listing.Facts": Row(
        {},
        {
            "size": COUNTS,
            "modify": ("x",),
            "create": ("x",),
            "unix_mode": COUNTS,
            "unix_uid": COUNTS,
            "unix_gid": COUNTS,
            "others": ("x", ("x",), (("x", 5),)),
        },
    ),
    "listing.FactSelection": Row({}, {"selected": ("size", (5,)), "supported": ("size", (5,))}),
    "listing.ListReader": Row({"now": NOW}, {"now": MOMENT, "hints": ("vms", None)}),
    "listing.ListingHints": Row(
        {}, {"format": ("vms",), "date_order": ("dmy",), "lower_case": ("no", None)}
    ),
    "listing.ListFormatter": Row({"now": NOW}, {"now": MOMENT, "rules": ("x",), "tz": ("UTC",)}),
    "listing.MlsxFormatter": Row({}, {"perm": (5,), "selection": (("size",),)}),
    "listing.NlstFormatter": Row(),
    "listing.Permissions": Row({"mode": 0o644}, {"mode": ("5", 1.5, True)}),
    "listing.entry_from_facts": Row({"name": "x", "facts": listing.Facts()}),
    "listing.facts_for_entry": Row({"entry": ENTRY}, {"digits": ("5", True, -1, 7)}),
    "listing.format_eplf_line": Row({"entry": ENTRY}),
    "listing.format_list_line": Row({"entry": ENTRY, "now": NOW}, {"now": MOMENT}),
    "listing.format_mlsx_line": Row({"name": "x", "facts": listing.Facts()}),
    "listing.format_msdos_line": Row({"entry": ENTRY}),
    "listing.format_nlst_line": Row({"entry": ENTRY}),
    "listing.format_time_val": Row(
        {"moment": NOW}, {"moment": ("x", None, math.nan), "digits": ("5", True, -1, 7)}
    ),
    "listing.parse_eplf_line": Row({"line": b"+,\tx"}, {"line": ("x",)}),
    "listing.parse_list_line": Row(
        {"line": b"", "now": NOW}, {"line": ("x",), "now": MOMENT, "hints": ("vms", None)}
    ),
    "listing.parse_mlsx_line": Row({"line": b"size=1; x"}, {"line": ("x",)}),
    "listing.parse_msdos_line": Row({"line": b""}, {"line": ("x",)}),
    "listing.parse_nlst_line": Row({"line": b""}, {"line": ("x",)}),
    "listing.parse_time_val": Row({"text": "20260131170405"}, {"text": (b"x", "x")}),
    "listing.parse_unix_line": Row({"line": b"", "now": NOW}, {"line": ("x",), "now": MOMENT}),
    "listing.perm_letters": Row({"is_directory": True, "readable": True, "writable": True}),
    "listing.select_facts": Row({"argument": ""}, {"argument": (b"x",), "supported": ("size",)}),
    "listing.unescape_name": Row({"name": "x"}, {"name": (5, None)}),
    # objectstore
    "objectstore.ObjectTarget": Row(
        lambda: {"store": memory_store(), "path": "x", "expected_size": 5, "part_size": 5},
        {"path": (5, None), "expected_size": COUNTS, "part_size": (*COUNTS, 0)}
        | {"concurrency": (*COUNTS, 0)},
    ),
    "objectstore.delete_object": Row(lambda: {"store": filled_store(), "path": "x"}),
    "objectstore.move_object": Row(lambda: {"store": filled_store(), "old": "x", "new": "y"}),
    "objectstore.object_chunks": Row(
        lambda: {"store": filled_store(), "path": "x"},
        {"offset": COUNTS, "length": COUNTS, "chunk_size": (*COUNTS, 0)},
    ),
    "objectstore.object_entries": Row(
        lambda: {"store": filled_store()}, {"page_size": (*COUNTS, 0)}
    ),
    "objectstore.object_status": Row(lambda: {"store": filled_store(), "path": "x"}),
    # observers
    "observers.LoggingObserver": Row(),
    "observers.Observer": Row(),
    "observers.QueuedObserver": Row(
        {"observer": observers.Observer()},
        {"observer": (None, "x"), "limit": ("5", True, 0, 1.5), "patience": SECONDS},
    ),
    "observers.PublishedObserver": Row(
        {"callback": nothing}, {"callback": (None, "x"), "limit": ("5", True, 0)}
    ),
    "observers.Subject": Row({"command": "RETR", "name": "/x", "user": "ann", "session": "5"}),
    "observers.Upload": Row({"fd": 5, "size": 5}),
    "observers.XferlogObserver": Row({"path": "xferlog"}),
    "observers.opentelemetry.OpenTelemetryObserver": Row({"tracer": None}),
    "observers.prometheus.PrometheusObserver": Row(
        lambda: {"registry": CollectorRegistry(), "by_user": False, "listeners_limit": 5},
        {"listeners_limit": ("5", 1.5, True, -1), "durations": ("5", 5, (), ("x",))},
    ),
    # opening
    "opening.AcceptedEndpoint": Row(
        lambda: {"sock": socket.socket(), **ENDPOINT}, {"sock": (True, -1, "x", None)}
    ),
    "opening.AddressTable": Row(
        {"entries": {"10.0.0.0/8": "192.0.2.1"}},
        {"entries": ("x", {"x": "y"}, {"10.0.0.0/8": ""}, {"10.0.0.0/8": 5})},
    ),
    "opening.Advertiser": Row(
        {},
        {
            "source": (5,),
            "exposed_port": ("5", 1.5, True),
            "resolve_every": SECONDS,
            "resolve_timeout": (*SECONDS, 0),
        },
    ),
    "opening.advertise": Row(
        {"bound": ADDRESS, "client": HOST}, {"client": ("x",), "exposed_port": ("5", 1.5, True)}
    ),
    "opening.unreachable_reason": Row({"host": HOST, "client": HOST}, {"client": ("x", 5)}),
    "opening.ListenerPool": Row(
        lambda: {"hosts": HOST, "ports": free_ports(1)},
        {
            "hosts": ((), (5,), 5, b"x", "nonsense"),
            "ports": ((5, 6),),
            "expiry": (*SECONDS, 0),
            "rest": SECONDS,
        },
    ),
    "opening.PassiveListener": Row(
        {"host": HOST, "control_peer": HOST},
        {
            "host": ("nonsense", None, b"x"),
            "control_peer": ("x", None, (HOST, 5)),
            "ports": ((5, 6),),
            "lifetime": (*SECONDS, 0),
        },
    ),
    "opening.PortRange": Row(
        {"first": 5, "last": 6},
        {"first": ("5", 1.5, True, 0, 7, 65536), "last": ("6", True, 65536)},
    ),
    "opening.SocketOptions": Row(
        {},
        dict.fromkeys(
            (
                "keepalive_idle",
                "keepalive_interval",
                "keepalive_count",
                "not_sent_low_water",
                "send_buffer",
                "receive_buffer",
            ),
            ("5", 1.5, True, 0, -1),
        )
        | {"user_timeout": (*SECONDS, 0), "dscp": ("5", True, -1, 64)},
    ),
    "opening.TrustedProxies": Row(
        {"networks": ["192.0.2.1"]},
        {
            "networks": ("192.0.2.1", ["x"], 5),
            "timeout": (*SECONDS, 0),
            "size_limit": ("5", True, 0, 2049),
        },
    ),
    "opening.connect_active": Row(
        {"target": ADDRESS, "control_peer": HOST},
        {
            "target": ("x", (HOST, 5)),
            "control_peer": ("nonsense", (HOST, 5), None),
            "local_address": (HOST, (HOST,), (HOST, "5"), (HOST, -1), (5, 0)),
        },
    ),
    "opening.format_proxy_header": Row(
        {"source": ADDRESS, "destination": ADDRESS},
        {"source": (None, "x"), "version": (0, 3, "1", True)},
    ),
    "opening.listen_passive": Row(
        lambda: {"host": HOST, "control_peer": HOST, **ENDPOINT},
        {
            "host": (None, b"x", "nonsense"),
            "control_peer": ("x", None, (HOST, 5)),
            "ports": ((5, 6),),
            "sock": ("x", True, -1),
        },
    ),
    "opening.parse_proxy_header": Row({"data": b"PROXY "}, {"data": ("x", None)}),
    # tls
    "tls.DataTLS.for_client": Row(client_tls, {"context": (None,), "session": (5,)}),
    "tls.DataTLS.for_server": Row(server_tls, {"context": (None,)}),
    "tls.DataTLS": Row(server_tls, {"context": (None,)}),
    "tls.ServerCertificate": Row(
        lambda: dict(zip(("certificate", "key"), certificate_files(), strict=True)),
        {"minimum_version": ("1.2", 5), "maximum_version": ("1.2",)},
    ),
    # transfers
    "transfers.ReusableConnection": Row(lambda: {"dtp": connection.DTP()}),
    "transfers.receive_file": Row(
        transfer(target=Target),
        RECEIVING | {"target": (5, None), "dir_fd": ("5", True, -1)},
    ),
    "transfers.receive_records": Row(
        transfer(parameters=RECORDS), {"size_limit": COUNTS, "parameters": (None, "B")}
    ),
    "transfers.receive_stream": Row(transfer(), RECEIVING),
    "transfers.relay": Row(
        lambda: {
            "source": opening.connect_active(ADDRESS, control_peer=HOST),
            "destination": opening.connect_active(ADDRESS, control_peer=HOST),
        }
    ),
    "transfers.send_file": Row(
        transfer(file=lambda: __file__),
        SENDING | {"length": COUNTS, "file": (None, True, -1), "dir_fd": ("5", True, -1)},
    ),
    "transfers.send_listing": Row(transfer(lines=lambda: [b"x"]), {"lines": (b"x", "x", 5)}),
    "transfers.send_records": Row(
        transfer(parameters=RECORDS, records=lambda: [b"x"]),
        {"records": (b"x", "x", 5), "parameters": (None, "B")},
    ),
    "transfers.send_stream": Row(transfer(chunks=chunks), SENDING | {"chunks": (b"x", [b"x"])}),
}


EXEMPT = {
    # Values that only ftpdata makes, for users to read.
    "opening.ActiveEndpoint": "made by connect_active",
    "observers.ObserverGroup": "any number of arguments: tests/observers/test_ready.py",
    "opening.Advertisement": "made by advertise",
    "opening.Drained": "made by Endpoint.drain",
    "opening.PassiveEndpoint": "made by listen_passive",
    "opening.PoolMetrics": "made by ListenerPool",
    "opening.PooledEndpoint": "made by ListenerPool.reserve",
    "opening.ProxyHeader": "made by parse_proxy_header",
    "connection.CloseWaiter": "made by register_consumer",
    "files.FileSource": "made by FileSource.open",
    "files.PartOwner": "made by PartStore.owner",
    "files.PartStatus": "made by PartOwner.look",
    "files.RemovedPart": "made by PartStore.clean",
    "files.FileTarget": "made by FileTarget.open",
    "limits.Slot": "made by Usage",
    "listing.EntryTable": "made by DirectoryReader; the rows of a million entries are not checked",
    "listing.ListingBlock": "a kind of bytes",
    "listing.ListingEntry.from_stat": "takes what os.stat has returned; the entry is checked",
    "outcome.TransferResult": "made by a transfer",
    "transfers.ReceivedRecords": "made by receive_records",
    "transfers.ReceivedStream": "made by receive_stream",
    "codecs.RecordDecoder": "made by record_decoder_for",
    "codecs.RecordEncoder": "made by record_encoder_for",
    "codecs.TransferDecoder": "made by decoder_for",
    "codecs.TransferEncoder": "made by encoder_for",
    # Without parameters, or abstract.
    "codecs.IdentityDecoder": "has no parameters",
    "codecs.IdentityEncoder": "has no parameters",
    "opening.Endpoint": "abstract; its subclasses are checked",
    # With their own tests.
    "codecs.chain_decoders": "takes any number of decoders: tests/codecs/test_chain.py",
    "codecs.chain_encoders": "takes any number of encoders: tests/codecs/test_chain.py",
    "connection.FileConsumer": "takes a file: tests/connection/test_file_consumer.py",
    "connection.FileProducer": "takes a file: tests/connection/test_file_producer.py",
    "contracts.require_binary_file": "a check itself: tests/test_contracts.py",
    "contracts.require_consumer": "a check itself: tests/test_contracts.py",
    "contracts.require_methods": "a check itself: tests/test_contracts.py",
    "contracts.require_producer": "a check itself: tests/test_contracts.py",
    # Called with an exception that was just caught.
    "errors.errno_of": "called in an except clause, and must not fail there",
    "errors.error_for_end": "takes an End, and raises ValueError for a clean one: test_errors.py",
    "errors.error_for_oserror": "called in an except clause, and must not fail there",
    "errors.local_error": "called in an except clause, and must not fail there",
}
"""Public callables without a row, with the reason."""

EXEMPT_MODULES = {
    "connection.twisted": "the interface is Twisted's: tests/connection/test_twisted.py",
    "lowlevel": "no checks: called for every small file, by the reference server",
    "testing": "tools for tests, which fail if they are called wrongly",
}


def public_callables() -> Iterator[tuple[str, Callable[..., object]]]:
    """Yield the functions, classes and named constructors of the public surface, once each."""

    seen: set[object] = set()
    surface = Path(__file__).with_name("surface.txt").read_text("utf-8")
    # A class is known by the package that shows it, and by the top level last.
    lines = surface.splitlines()
    for line in sorted(lines, key=lambda line: line.count(".", 0, line.find(":")) or 9):
        module_name, _, names = line.partition(": ")
        short = module_name.removeprefix("ftpdata").removeprefix(".")
        if short and any(short.startswith(name) for name in EXEMPT_MODULES):
            continue
        module = importlib.import_module(module_name)
        for name in names.split():
            thing = getattr(module, name)
            is_made = inspect.isfunction(inspect.unwrap(thing)) or (
                inspect.isclass(thing)
                and not issubclass(thing, (BaseException, enum.Enum))
                and not getattr(thing, "_is_protocol", False)
            )
            if not is_made or thing in seen:
                continue
            seen.add(thing)
            yield f"{short}.{name}".removeprefix("."), thing
            for attribute, value in vars(thing).items() if inspect.isclass(thing) else ():
                if isinstance(value, classmethod) and not attribute.startswith("_"):
                    yield f"{short}.{name}.{attribute}", getattr(thing, attribute)


def find(name: str) -> Callable[..., object]:
    """Return the public callable that a row names."""

    package, *attributes = name.split(".")
    found: Any = importlib.import_module(f"ftpdata.{package}")
    for attribute in attributes:
        if not hasattr(found, attribute):
            # A module with an extra, which its package does not load.
            importlib.import_module(f"ftpdata.{package}.{attribute}")
        found = getattr(found, attribute)
    assert callable(found)
    return found  # type: ignore[no-any-return]


def test_every_public_callable_has_a_row() -> None:
    """A callable without a row has a reason, and no row or reason names a callable that is gone."""

    public = {name for name, _ in public_callables()}
    known = {*ROWS, *EXEMPT}
    assert sorted(public - known) == []
    assert sorted(known - public) == []
    assert not ROWS.keys() & EXEMPT.keys()


async def call(name: str, arguments: Arguments) -> None:
    """Call a callable, an asynchronous one up to its first suspension; leave nothing running."""

    made = find(name)(**arguments)
    if inspect.isasyncgen(made):
        try:
            await anext(made)
        finally:
            await made.aclose()
    elif inspect.isawaitable(made):
        made = await made
    elif isinstance(made, contextlib.ContextDecorator):
        with made:  # type: ignore[attr-defined]
            pass
    elif isinstance(made, contextlib.AsyncContextDecorator):
        async with made:  # type: ignore[attr-defined]
            pass
    for method in ("aclose", "discard"):
        if hasattr(made, method):
            await getattr(made, method)()


@contextlib.contextmanager
def arguments_of(row: Row) -> Iterator[Arguments]:
    """Yield the arguments of a call that works, and close them afterwards."""

    arguments = row.arguments()
    try:
        yield arguments
    finally:
        for value in arguments.values():
            if isinstance(value, opening.Endpoint):
                value.abort()
            elif isinstance(value, socket.socket):
                value.close()


@pytest.mark.parametrize("name", ROWS)
async def test_a_wrong_argument_is_refused_at_the_call(name: str) -> None:
    """There is one error, which shows what the argument was."""

    row = ROWS[name]
    for parameter in inspect.signature(find(name)).parameters:
        for value in (WRONG, *row.values.get(parameter, ())):
            with arguments_of(row) as arguments:
                await refused(name, {**arguments, parameter: value}, parameter, value)


async def refused(name: str, arguments: Arguments, parameter: str, value: object) -> None:
    """Check that a call is refused because of one argument."""

    refusal: Exception | None = None
    try:
        await call(name, arguments)
    except Exception as error:  # noqa: BLE001 - shown below, whatever it is
        refusal = error

    shown = f"{name}({parameter}={value!r}): {refusal!r}"
    assert isinstance(refusal, TypeError | ValueError), shown
    assert value is not WRONG or "<wrong>" in str(refusal), shown


@pytest.mark.parametrize("name", ROWS)
def test_the_table_knows_the_parameters(name: str) -> None:
    """A parameter that was renamed is noticed."""

    row = ROWS[name]
    parameters = inspect.signature(find(name)).parameters
    with arguments_of(row) as arguments:
        assert {*arguments, *row.values} <= {*parameters, "self"}
