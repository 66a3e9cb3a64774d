"""What is measured: for each figure the client's job, its arguments, and how the result is read."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import attrs

from tests.benchmarks.files import DIRECTORIES, MEDIUM, MIB, SMALL, TEN

__all__ = ["MEASURES", "Measure", "Reading", "Scale"]


class Reading(enum.Enum):
    """How a figure is read from the client's result, and its unit."""

    MIB_PER_SECOND = "MiB/s"
    TRANSFERS_PER_SECOND = "transfers/s"
    ENTRIES_PER_SECOND = "entries/s"
    SECONDS = "s"
    MILLISECONDS = "ms"
    KIB = "KiB each"
    SHARE = "× alone"
    NOOP_P99 = "ms, p99"

    @property
    def is_better_if_more(self) -> bool:
        """Whether more of it is better."""

        return self not in (Reading.SECONDS, Reading.MILLISECONDS, Reading.KIB, Reading.NOOP_P99)

    @property
    def counted(self) -> str:
        """What of the result the server's processor time is divided by; nothing if by nothing."""

        return _COUNTED.get(self, "")

    def figure(self, result: dict[str, Any]) -> float:
        """Return the figure."""

        return float(_FIGURES[self](result))


_COUNTED = {
    Reading.MIB_PER_SECOND: "bytes",
    Reading.TRANSFERS_PER_SECOND: "transfers",
    Reading.ENTRIES_PER_SECOND: "entries",
}
_FIGURES: dict[Reading, Callable[[dict[str, Any]], float]] = {
    Reading.MIB_PER_SECOND: lambda result: result["bytes"] / MIB / result["seconds"],
    Reading.TRANSFERS_PER_SECOND: lambda result: result["transfers"] / result["seconds"],
    Reading.ENTRIES_PER_SECOND: lambda result: result["entries"] / result["seconds"],
    Reading.SECONDS: lambda result: result["seconds"],
    Reading.MILLISECONDS: lambda result: result["milliseconds"],
    Reading.KIB: lambda result: result["kib"],
    Reading.SHARE: lambda result: result["ratio"],
    Reading.NOOP_P99: lambda result: result["noop_p99"],
}


@attrs.frozen
class Scale:
    """How much is done for one figure.

    Attributes:
        size: Bytes of the large file.
        transfers: Small transfers.
        seconds: At which they end at the latest.
        stalled: Connections on which nothing moves.
        entries: Directory for the first line: a name of `DIRECTORIES`.
        endurance: Transfers for the figure that must stay flat.
    """

    size: int = 1024 * MIB
    transfers: int = 2000
    seconds: float = 2.0
    stalled: int = 1000
    entries: str = "d100k"
    endurance: int = 100_000


@attrs.frozen(kw_only=True)
class Measure:
    """One figure of every server.

    Attributes:
        name: Short, for the command line.
        title: For people.
        reading: How the figure is read.
        job: The client's measure.
        arguments: Its arguments, at a scale.
        tls: Whether everything goes through TLS.
        uploads: Bytes that are uploaded.
        directory: Of `DIRECTORIES`, that must be there.
        servers: Names of the servers it makes sense for; None for all.
        throttled: Whether transfers pass a throttle far above any rate.
        is_slow: Whether the store blocks.
        holds: Whether the client holds connections until the server was weighed.
        is_once: Whether one round is enough: it takes long, or varies little.
        is_long: Whether it runs only if it is asked for by name.
        waits: Whether it needs a system with few sockets in TIME_WAIT.
        read_from: Another measure whose results this one is read from.
    """

    name: str
    title: str
    reading: Reading
    job: str
    arguments: Callable[[Scale], dict[str, Any]]
    tls: bool = False
    uploads: Callable[[Scale], int] = lambda _: 0
    directory: Callable[[Scale], str] = lambda _: ""
    servers: tuple[str, ...] | None = None
    throttled: bool = False
    is_slow: bool = False
    holds: bool = False
    is_once: bool = False
    is_long: bool = False
    waits: bool = False
    read_from: str = ""


def _retr(scale: Scale) -> dict[str, Any]:
    return {"name": "/big", "size": scale.size}


def _stor(scale: Scale) -> dict[str, Any]:
    return {"name": "/up/file", "size": scale.size}


def _small(scale: Scale) -> dict[str, Any]:
    return {"name": "/small", "transfers": scale.transfers, "seconds": scale.seconds}


def _size(scale: Scale) -> int:
    return scale.size


REFERENCE = ("ftpdata", "ftpdata-uvloop")
AIOFTP = ("aioftp", "aioftp-ftpdata")
WITHOUT_LIMIT = (*REFERENCE, "pyftpdlib", *AIOFTP, "twisted", "vsftpd", "pure-ftpd")
MANY_CLIENTS = 100

MEASURES: tuple[Measure, ...] = (
    Measure(
        name="retr",
        title="RETR",
        reading=Reading.MIB_PER_SECOND,
        job="retr",
        arguments=_retr,
    ),
    Measure(
        name="retr-throttled",
        title="RETR, throttle far above the rate",
        reading=Reading.MIB_PER_SECOND,
        job="retr",
        arguments=_retr,
        throttled=True,
        servers=("limit", *REFERENCE, "pyftpdlib"),
    ),
    Measure(
        name="stor",
        title="STOR to a file",
        reading=Reading.MIB_PER_SECOND,
        job="stor",
        arguments=_stor,
        uploads=_size,
    ),
    Measure(
        name="retr-tls",
        title="RETR, TLS",
        reading=Reading.MIB_PER_SECOND,
        job="retr",
        arguments=_retr,
        tls=True,
    ),
    Measure(
        name="stor-tls",
        title="STOR, TLS",
        reading=Reading.MIB_PER_SECOND,
        job="stor",
        arguments=_stor,
        tls=True,
        uploads=_size,
    ),
    Measure(
        name="small",
        title="RETR of 1 KiB, one session",
        reading=Reading.TRANSFERS_PER_SECOND,
        job="small",
        arguments=_small,
        waits=True,
    ),
    Measure(
        name="small-stor",
        title="STOR of 1 KiB, one session",
        reading=Reading.TRANSFERS_PER_SECOND,
        job="small",
        arguments=lambda scale: {**_small(scale), "name": "/up/small", "store": SMALL},
        waits=True,
    ),
    Measure(
        name="medium",
        title="RETR of 256 KiB, one session",
        reading=Reading.TRANSFERS_PER_SECOND,
        job="small",
        arguments=lambda scale: {**_small(scale), "name": "/medium"},
        waits=True,
    ),
    Measure(
        name="medium-stor",
        title="STOR of 256 KiB, one session",
        reading=Reading.TRANSFERS_PER_SECOND,
        job="small",
        arguments=lambda scale: {**_small(scale), "name": "/up/medium", "store": MEDIUM},
        waits=True,
    ),
    Measure(
        name="small-32",
        title="RETR of 1 KiB, 32 sessions",
        reading=Reading.TRANSFERS_PER_SECOND,
        job="small_parallel",
        arguments=lambda scale: {**_small(scale), "sessions": 32},
        waits=True,
    ),
    Measure(
        name="small-stor-32",
        title="STOR of 1 KiB, 32 sessions",
        reading=Reading.TRANSFERS_PER_SECOND,
        job="small_parallel",
        arguments=lambda scale: {
            **_small(scale),
            "name": "/up/small",
            "sessions": 32,
            "store": True,
        },
        waits=True,
    ),
    Measure(
        name="small-tls",
        title="RETR of 1 KiB, one session, TLS",
        reading=Reading.TRANSFERS_PER_SECOND,
        job="small",
        arguments=lambda scale: {**_small(scale), "transfers": scale.transfers // 2},
        tls=True,
        waits=True,
    ),
    Measure(
        name="list",
        title="LIST of 10,000 entries",
        reading=Reading.ENTRIES_PER_SECOND,
        job="listing",
        arguments=lambda _: {"command": "LIST /d10k", "entries": DIRECTORIES["d10k"], "times": 2},
        directory=lambda _: "d10k",
        servers=WITHOUT_LIMIT,
    ),
    Measure(
        name="mlsd",
        title="MLSD of 10,000 entries",
        reading=Reading.ENTRIES_PER_SECOND,
        job="listing",
        arguments=lambda _: {"command": "MLSD /d10k", "entries": DIRECTORIES["d10k"], "times": 2},
        directory=lambda _: "d10k",
        servers=(*REFERENCE, "pyftpdlib", *AIOFTP, "pure-ftpd"),
    ),
    Measure(
        name="first-line",
        title="First line of a large directory",
        reading=Reading.MILLISECONDS,
        job="first_line",
        arguments=lambda scale: {"command": f"LIST /{scale.entries}"},
        directory=lambda scale: scale.entries,
        servers=WITHOUT_LIMIT,
    ),
    Measure(
        name="many-retr",
        title="100 clients, RETR of 10 MiB",
        reading=Reading.SECONDS,
        job="many",
        arguments=lambda _: {"name": "/ten", "size": TEN, "clients": MANY_CLIENTS, "store": False},
    ),
    Measure(
        name="many-stor",
        title="100 clients, STOR of 10 MiB",
        reading=Reading.SECONDS,
        job="many",
        arguments=lambda _: {
            "name": "/up/ten",
            "size": TEN,
            "clients": MANY_CLIENTS,
            "store": True,
        },
        uploads=lambda _: MANY_CLIENTS * TEN,
    ),
    Measure(
        name="stalled",
        title="Memory of a stalled download",
        reading=Reading.KIB,
        job="stalled",
        arguments=lambda scale: {"name": "/big", "clients": scale.stalled},
        servers=(*REFERENCE, "pyftpdlib", *AIOFTP, "twisted"),
        holds=True,
        is_once=True,
    ),
    Measure(
        name="beside-stalled",
        title="RETR beside stalled downloads",
        reading=Reading.SHARE,
        job="beside_stalled",
        arguments=lambda scale: {**_retr(scale), "clients": scale.stalled, "rounds": 7},
        servers=(*REFERENCE, "pyftpdlib", *AIOFTP, "twisted"),
    ),
    Measure(
        name="slow-noop",
        title="NOOP beside 50 transfers of a store that blocks for 50 ms",
        reading=Reading.NOOP_P99,
        job="slow_store",
        arguments=lambda scale: {
            **_retr(scale),
            "slow": "/slow",
            "transfers": 50,
            "seconds": 2 * scale.seconds,
            "rounds": 7,
        },
        # What shares of a core a process for each transfer would leave.
        servers=("limit", *REFERENCE, "pyftpdlib", *AIOFTP, "twisted"),
        is_slow=True,
        is_once=True,
    ),
    Measure(
        name="slow-retr",
        title="RETR beside 50 transfers of a store that blocks for 50 ms",
        reading=Reading.SHARE,
        job="slow_store",
        arguments=lambda _: {},
        read_from="slow-noop",
    ),
    Measure(
        name="endurance",
        title="RETR of 1 KiB, 8 sessions, from the first to the last",
        reading=Reading.TRANSFERS_PER_SECOND,
        job="endurance",
        arguments=lambda scale: {
            "name": "/small",
            "transfers": scale.endurance,
            "sessions": 8,
            "points": 20,
        },
        servers=(*REFERENCE, "pyftpdlib", "pure-ftpd"),
        is_once=True,
        is_long=True,
        waits=True,
    ),
)
