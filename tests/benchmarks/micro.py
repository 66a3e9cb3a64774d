"""How fast the pure functions are, and how long the import takes; on one core, the best of several.

The best, not the median: what other programs take of the core only ever adds.
"""

from __future__ import annotations

import itertools
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import attrs

from ftpdata import (
    EntryType,
    HostPort,
    ListFormatter,
    ListingEntry,
    ListingRules,
    MlsxFormatter,
    RepresentationType,
    Structure,
    TransferParameters,
    TransmissionMode,
    format_epsv_reply,
    format_mlsx_line,
    format_pasv_reply,
    parse_list_line,
    parse_mlsx_line,
)
from ftpdata.addresses import parse_port
from ftpdata.codecs import decoder_for, encoder_for, record_decoder_for, record_encoder_for
from ftpdata.listing import EntryTable, StatusRow, TableFormatter, facts_for_entry, parse_eplf_line
from ftpdata.listing.table import StatusColumns
from tests.benchmarks.report import format_number

__all__ = ["Timing", "run"]

ENTRIES = 5000
BATCH = 256
"""Entries that are formatted at a time."""

MIB = 2**20
ATTEMPTS = 7
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


@attrs.frozen
class Timing:
    """How often something is done in a second.

    Attributes:
        name: What.
        unit: Of `rate`.
        rate: How much of it in a second.
        remark: What it compares with.
    """

    name: str
    unit: str
    rate: float
    remark: str = ""


def best_of(work: Callable[[], object], *, attempts: int = ATTEMPTS) -> float:
    """Return the seconds of processor time that the fastest of several attempts took."""

    best = float("inf")
    for _ in range(attempts):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)

    return best


def entries(seconds_between: float = 977.0) -> list[ListingEntry]:
    """Make entries as a directory of files has them: each with a date and a size of its own."""

    base = NOW.timestamp()
    return [
        ListingEntry(
            name=f"file-{number:06d}.dat",
            size=number * 37,
            type=EntryType.DIRECTORY if number % 10 == 0 else EntryType.FILE,
            modified=base - number * seconds_between,
            owner="user",
            group="group",
            unique=f"801g{number:x}",
        )
        for number in range(ENTRIES)
    ]


def formatters() -> Iterator[Timing]:
    """Format whole directories, as entries and as the columns that a server has."""

    listed = entries()
    of_one_day = entries(1.0)
    default = partial(ListFormatter, now=NOW)
    exact = partial(ListFormatter, now=NOW, rules=ListingRules.TWISTED)
    yield Timing("LIST lines, today's rules", "lines", _blocks(default, listed))
    yield Timing("LIST lines, today's rules, of columns", "lines", _tables(default, listed))
    yield Timing("the same, files of one day", "lines", _tables(default, of_one_day))
    for name, some in (("", listed), (", files of one day", of_one_day)):
        theirs = _twisted(some)
        for ways, rate in (("", _blocks(exact, some)), (", of columns", _tables(exact, some))):
            remark = "" if theirs is None else f"{rate / theirs:.1f} × Twisted's own"
            yield Timing(f"LIST lines, Twisted's rules{ways}{name}", "lines", rate, remark)

    yield Timing("MLSx lines", "lines", _blocks(MlsxFormatter, listed))
    yield Timing("MLSx lines, of columns", "lines", _tables(MlsxFormatter, listed))
    single = best_of(
        lambda: [format_mlsx_line(entry.name, facts_for_entry(entry)) for entry in listed]
    )
    yield Timing("MLSx lines, one by one", "lines", ENTRIES / single)


def _blocks(make: Callable[[], TableFormatter], listed: list[ListingEntry]) -> float:
    batches = [listed[start : start + BATCH] for start in range(0, len(listed), BATCH)]

    def work() -> None:
        formatter = make()
        for batch in batches:
            formatter.format_block(batch)

    return ENTRIES / best_of(work)


def _tables(make: Callable[[], TableFormatter], listed: list[ListingEntry]) -> float:
    rows = [_row(number, entry) for number, entry in enumerate(listed)]
    names = [entry.text_name for entry in listed]
    starts = range(0, len(listed), BATCH)
    tables = [
        EntryTable(
            names[at : at + BATCH],
            StatusColumns([*zip(*rows[at : at + BATCH], strict=True)]),
        )
        for at in starts
    ]

    def work() -> None:
        formatter = make()
        for table in tables:
            formatter.format_table(table)

    return ENTRIES / best_of(work)


def _row(number: int, entry: ListingEntry) -> StatusRow:
    kind = stat.S_IFDIR if entry.is_directory else stat.S_IFREG
    assert isinstance(entry.modified, float)
    return 1, 1000, 1000, kind | entry.permissions, number, entry.size, int(entry.modified), 0x801


def _twisted(listed: Iterable[ListingEntry]) -> float | None:
    """Lines a second of Twisted's own formatter."""

    try:
        from twisted.protocols.ftp import DTP
        from twisted.python.filepath import Permissions
    except ImportError:
        return None

    # Twisted has no types here.
    one_line: Any = DTP()._formatOneListResponse
    permissions = Permissions(0o644)
    rows = [
        (b"file.dat", entry.size, entry.type is EntryType.DIRECTORY, entry.modified)
        for entry in listed
    ]

    def work() -> None:
        for name, size, is_directory, modified in rows:
            one_line(name, size, is_directory, permissions, 1, modified, "user", "group")

    return ENTRIES / best_of(work)


def parsers() -> Iterator[Timing]:
    """Parse what the formatters write, and the addresses of commands and replies."""

    listed = entries()
    line = ListFormatter(now=NOW).format
    unix = [made for entry in listed if (made := line(entry)) is not None]
    mlsx = [
        made
        for entry in listed
        if (made := format_mlsx_line(entry.name, facts_for_entry(entry))) is not None
    ]
    eplf = [f"+i8388621.{n},m{n},r,s{n},\tfile-{n}".encode() for n in range(ENTRIES)]
    address = HostPort("192.0.2.7", 40000)
    rates: dict[str, Callable[[], object]] = {
        "LIST lines parsed": lambda: [parse_list_line(line, now=NOW) for line in unix],
        "MLSx lines parsed": lambda: [parse_mlsx_line(line) for line in mlsx],
        "EPLF lines parsed": lambda: [parse_eplf_line(line) for line in eplf],
        "PORT parsed": lambda: [parse_port("192,0,2,7,156,64") for _ in range(ENTRIES)],
        "PASV replies": lambda: [format_pasv_reply(address) for _ in range(ENTRIES)],
        "EPSV replies": lambda: [format_epsv_reply(40000) for _ in range(ENTRIES)],
    }
    for name, work in rates.items():
        yield Timing(name, "lines", ENTRIES / best_of(work))


def codecs() -> Iterator[Timing]:
    """Encode and decode text of several MiB in every type, structure and mode."""

    words = os.urandom(64).hex()
    text = "".join(f"{words[n % 60 :]} {n}\r\n" for n in range(20_000)).encode()[: 2 * MIB]
    kinds = (RepresentationType.IMAGE, RepresentationType.ASCII, RepresentationType.EBCDIC)
    structures = (Structure.FILE, Structure.RECORD)
    for kind, structure, mode in itertools.product(kinds, structures, TransmissionMode):
        yield from _codec(TransferParameters(type=kind, structure=structure, mode=mode), text)

    for parameters in (
        TransferParameters(mode=TransmissionMode.BLOCK),
        TransferParameters(structure=Structure.RECORD),
    ):
        yield from _records(parameters)


def _records(parameters: TransferParameters) -> Iterator[Timing]:
    """Encode and decode records of 80 bytes, without a byte that must be escaped."""

    records = [b"\xc1" * 80] * 100_000
    mode = f"MODE {parameters.mode.value}"

    def encode() -> bytes:
        encoder = record_encoder_for(parameters)
        batches = [records[at : at + 500] for at in range(0, len(records), 500)]
        return b"".join([*map(encoder.feed, batches), encoder.finish()])

    def decode() -> None:
        decoder = record_decoder_for(parameters)
        for piece in received:
            for _ in decoder.feed(piece):
                pass
        decoder.finish()

    wire = encode()
    received = [wire[at : at + 64 * 1024] for at in range(0, len(wire), 64 * 1024)]
    yield Timing(f"{mode}: encoded", "records", len(records) / best_of(encode, attempts=3))
    yield Timing(f"{mode}: decoded", "records", len(records) / best_of(decode, attempts=3))


def _codec(parameters: TransferParameters, text: bytes) -> Iterator[Timing]:
    name = f"TYPE {parameters.type.value}, STRU {parameters.structure.value}"
    name = f"{name}, MODE {parameters.mode.value}"
    pieces = [text[at : at + 256 * 1024] for at in range(0, len(text), 256 * 1024)]
    encoded: list[bytes] = []

    def encode() -> None:
        encoded.clear()
        encoder = encoder_for(parameters)
        for piece in pieces:
            encoded.extend(encoder.feed(piece))
        encoded.extend(encoder.finish())

    def decode() -> None:
        decoder = decoder_for(parameters)
        for piece in received:
            for _ in decoder.feed(piece):
                pass
        for _ in decoder.finish():
            pass

    seconds = best_of(encode, attempts=3)
    yield Timing(f"{name}: encoded", "MiB", len(text) / MIB / seconds)
    wire = b"".join(encoded)
    received = [wire[at : at + 256 * 1024] for at in range(0, len(wire), 256 * 1024)]
    yield Timing(f"{name}: decoded", "MiB", len(text) / MIB / best_of(decode, attempts=3))


def imports() -> Iterator[Timing]:
    """Take the processor time of imports: of anyio alone, of the package, of all that it has."""

    def milliseconds(statement: str) -> float:
        code = f"import time; t = time.process_time(); {statement}; print(time.process_time() - t)"
        # Compiled once, and kept, whatever the environment says of that.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return 1000 * min(
            float(
                subprocess.run(
                    [sys.executable, "-c", code],
                    env=environment,
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout
            )
            for _ in range(3 * ATTEMPTS)
        )

    with tempfile.TemporaryDirectory() as cache:
        alone = milliseconds("import anyio")
        for statement in (
            "import anyio",
            "import anyio.to_thread, anyio._backends._asyncio",
            "import ftpdata",
            "from ftpdata import format_list_line",
            "from ftpdata import *",
        ):
            taken = milliseconds(statement)
            remark = f"{taken:.1f} ms, {taken / alone:.2f} × anyio alone"
            yield Timing(statement, "times", 1000 / taken, remark)


def run() -> str:
    """Take all timings; return their table in Markdown."""

    lines = ["| | a second | |", "| --- | ---: | --- |"]
    for group in (imports, formatters, parsers, codecs):
        for timing in group():
            rate = f"{format_number(timing.rate)} {timing.unit}"
            lines.append(f"| {timing.name} | {rate} | {timing.remark} |")

    return "\n".join(lines) + "\n"
