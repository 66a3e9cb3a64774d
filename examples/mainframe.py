"""Fetch and send the variable records of a mainframe, with their boundaries.

python -m examples.mainframe get ftp://USER:PASSWORD@HOST "'SALES.DATA'" LOCAL [--as FORM]
python -m examples.mainframe put LOCAL ftp://USER:PASSWORD@HOST "'SALES.DATA'" [--as FORM]

MODE B with TYPE E keeps the boundaries that z/OS has: nothing is translated, so packed decimals
stay whole. The local file has one of these forms:

- rdw (the default): each record behind its record descriptor word, as IBM's programs read them;
- bdw: the same in blocks of up to 27998 bytes;
- fixed:80 (or another number): records of 80 bytes, without anything between them;
- lines: text, translated by --code-page (cp1047 by default), one line for each record.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import anyio

from examples.client.client import Client, Server
from examples.client.location import Location
from examples.client.replies import ReplyError
from ftpdata import FTPDataError, TransferParameters, TransferResult
from ftpdata.codecs import (
    EbcdicCodePage,
    FixedDecoder,
    FixedEncoder,
    RdwDecoder,
    RdwEncoder,
    ebcdic_code_page,
)
from ftpdata.files import FileTarget
from ftpdata.transfers import receive_records, send_records

PARAMETERS = TransferParameters().with_type("E").with_mode("B")
LONGEST_LINE = 32_760
"""Bytes of the longest record that a mainframe has (LRECL)."""

BLOCK_SIZE = 27998
"""Half a track of a 3390, as most data sets have it."""

AT_ONCE = 64 * 1024
RECORDS_AT_ONCE = 500


class Writer(Protocol):
    """Makes the bytes of a file of its records."""

    def feed(self, records: Iterable[bytes]) -> bytes:
        """Return the bytes of records."""

    def finish(self) -> bytes:
        """Return what is still held."""


class Reader(Protocol):
    """Finds the records in the bytes of a file."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the records that end in the data."""

    def finish(self) -> object:
        """Say that the file has ended."""


class LineWriter:
    """Makes text of records: a line of UTF-8 for each."""

    def __init__(self, page: EbcdicCodePage) -> None:
        self._page = page

    def feed(self, records: Iterable[bytes]) -> bytes:
        """Return the lines of records."""

        return "".join(f"{self._page.decode(record)}\n" for record in records).encode()

    def finish(self) -> bytes:
        """Return nothing: no record is held."""

        return b""


class LineReader:
    """Makes records of text: one of each line."""

    def __init__(self, page: EbcdicCodePage) -> None:
        self._page = page
        self._held = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the records of the lines that end in the data.

        Raises:
            ValueError: A line is longer than any record.
        """

        *lines, self._held = (self._held + data).split(b"\n")
        if len(self._held) > LONGEST_LINE:
            raise ValueError(f"expected lines of {LONGEST_LINE} bytes at most")
        for line in lines:
            yield self._page.encode(line.decode())

    def finish(self) -> None:
        """Say that the file has ended.

        Raises:
            ValueError: Its last line has no end.
        """

        if self._held:
            raise ValueError("the last line has no end")


def forms(form: str, code_page: str) -> tuple[Writer, Reader]:
    """Return the writer and the reader of a form.

    Raises:
        ValueError: There is no such form.
    """

    kind, _, length = form.partition(":")
    match kind:
        case "rdw":
            return RdwEncoder(), RdwDecoder()
        case "bdw":
            return RdwEncoder(block_size=BLOCK_SIZE), RdwDecoder(blocked=True)
        case "fixed" if length.isdecimal():
            return FixedEncoder(int(length)), FixedDecoder(int(length))
        case "lines":
            page = ebcdic_code_page(code_page)
            return LineWriter(page), LineReader(page)

    raise ValueError(f"expected rdw, bdw, fixed:LENGTH or lines, not {form!r}")


async def get(server: Server, data_set: str, local: Path, writer: Writer) -> int:
    """Fetch a data set; return how many records it has.

    The local file gets its name once it is whole, and the server has said so.
    """

    count, batch = 0, []
    file = await FileTarget.open(local)
    try:
        async with (
            await login(server) as client,
            client.transfer(f"RETR {data_set}") as transfer,
            receive_records(transfer.endpoint, parameters=PARAMETERS) as records,
        ):
            async for record in records:
                count += 1
                batch.append(record)
                if len(batch) >= RECORDS_AT_ONCE:
                    await file.write(writer.feed(batch))
                    batch.clear()

            await file.write(writer.feed(batch) + writer.finish())

        await file.commit()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await file.discard()
        raise

    return count


async def put(local: Path, server: Server, data_set: str, reader: Reader) -> TransferResult:
    """Send a file as the records of a data set, which is not touched if there is no such file."""

    async with (
        await anyio.open_file(local, "rb") as file,
        await login(server) as client,
        client.transfer(f"STOR {data_set}") as transfer,
    ):
        records = records_of(file, reader)
        return await send_records(transfer.endpoint, records, parameters=PARAMETERS)


async def records_of(file: anyio.AsyncFile[bytes], reader: Reader) -> AsyncIterator[bytes]:
    """Yield the records of a file."""

    while data := await file.read(AT_ONCE):
        for record in reader.feed(data):
            yield record

    try:
        reader.finish()
    except FTPDataError as error:
        # That is no failure of the connection, which the server would have to explain.
        raise ValueError(f"{file.name!r}: {error}") from error


async def login(server: Server) -> Client:
    """Log in, and choose what keeps the boundaries of records."""

    client = await Client.connect(server)
    try:
        for line in ("TYPE E", "STRU F", "MODE B"):
            await client.command(line)
    except BaseException:
        await client.aclose()
        raise

    return client


async def main() -> None:
    """Do what the arguments say.

    Raises:
        SystemExit: They make no sense (2), or it cannot be done (1).
    """

    parser = argparse.ArgumentParser(
        prog="python -m examples.mainframe",
        description="Fetch or send the records of a mainframe.",
    )
    parser.add_argument("what", choices=("get", "put"))
    parser.add_argument("names", nargs=3, metavar="URL|DATASET|LOCAL")
    parser.add_argument("--as", dest="form", default="rdw", help="rdw, bdw, fixed:LENGTH or lines")
    parser.add_argument("--code-page", default="cp1047", help="of lines; cp1141 needs ebcdic")
    options = parser.parse_args()
    is_get = options.what == "get"
    url, data_set, local = options.names if is_get else (*options.names[1:], options.names[0])
    try:
        writer, reader = forms(options.form, options.code_page)
        server = Location.parse(url).server
    except (ValueError, FTPDataError) as error:
        parser.error(str(error))

    try:
        if is_get:
            count = await get(server, data_set, Path(local), writer)
            print(f"{local}: {count} records")
        else:
            result = await put(Path(local), server, data_set, reader)
            print(f"{data_set}: {result.bytes} bytes in {result.seconds:.1f} s")
    except (FTPDataError, ReplyError, OSError, ValueError) as error:
        sys.exit(f"{parser.prog}: {options.what} {data_set}, {local}: {error}")


if __name__ == "__main__":
    anyio.run(main)
