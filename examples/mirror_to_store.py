"""Mirror a directory of a server, and all below it, into an object store.

python -m examples.mirror_to_store HOST PORT REMOTE STORE [--user NAME:PASSWORD] [--connections 4]

STORE is a URL as obstore has it: s3://bucket/prefix, gs://…, az://…, memory://. Credentials come
from the environment, as for the store's own tools.

Each directory is listed once, by MLSD (RFC 3659), and several connections fetch files at the same
time. If one is lost, its file goes on after the last byte that came (REST), unless the file was
changed meanwhile. An object appears when it is whole, so the program can be ended at any
moment and started again: objects that are as large as their file, and younger, are left alone. What
could not be copied is reported at the end; the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import posixpath
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Self

import anyio
import attrs
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from obstore.store import ObjectStore, from_url
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from examples.control import Control, ReplyError, Server
from ftpdata import FTPDataError, ListingEntry, parse_mlsx_line, receive_stream
from ftpdata.objectstore import ObjectTarget, object_entries

LARGEST_LISTING = 1 << 28  # bytes
TRIES = 5
"""How often a file is asked for without a byte of it coming."""

FAILURES = (FTPDataError, ReplyError, OSError, ValueError)


@attrs.frozen
class Found:
    """An entry of a directory of the server; None stands for what is not known."""

    name: str
    type: str
    size: int | None = None  # bytes
    modified: float | None = None  # seconds since the epoch

    @classmethod
    def by_mlsd(cls, line: bytes) -> Found:
        """Make sense of a line of MLSD (RFC 3659 §7)."""

        parsed = parse_mlsx_line(line)
        if parsed is None:
            raise ValueError("the server sends an empty line for an entry")

        name, facts = parsed
        return cls(name, (facts.type or "").lower(), facts.size, facts.modify)


@attrs.frozen
class File:
    """A file of the server, and the name of its object."""

    path: str
    name: str
    facts: Found


class StoreMirror:
    """One run.

    Attributes:
        copied: How many files were copied.
        failures: What was not copied, and why.
    """

    def __init__(self, server: Server, store: ObjectStore, progress: Progress) -> None:
        self.copied = 0
        self.failures: list[str] = []
        self._server = server
        self._store = store
        self._progress = progress
        self._bar = progress.add_task("mirror", total=0)
        self._bytes = 0

    async def run(self, remote: str, connections: int) -> None:
        """Copy what the store does not have."""

        # Without room for any, the one who finds files waits for those who copy them.
        found, files = anyio.create_memory_object_stream[File](0)
        async with anyio.create_task_group() as tasks:
            for _ in range(connections):
                tasks.start_soon(self._copy_all, files.clone())
            files.close()
            await self._find_all(found, remote.rstrip("/"))

    async def _find_all(self, found: MemoryObjectSendStream[File], remote: str) -> None:
        """Walk through the directories."""

        async with found, Connection(self._server) as connection:
            waiting = [""]
            while waiting:
                directory = waiting.pop()
                path = f"{remote}/{directory}"
                try:
                    entries = await connection.directory(path)
                    stored = {
                        entry.text_name: entry
                        async for page in object_entries(self._store, directory)
                        for entry in page
                    }
                except FAILURES as error:
                    self.failures.append(f"{path!r}: {error}")
                    continue

                for entry in entries:
                    name = posixpath.join(directory, entry.name)
                    if not ListingEntry(name=entry.name).is_plain_name:
                        self.failures.append(f"{name!r}: the name leads elsewhere")
                    elif entry.type == "dir":
                        waiting.append(name)
                    elif not is_same(stored.get(entry.name), entry):
                        self._bytes += entry.size or 0
                        self._progress.update(self._bar, total=self._bytes)
                        await found.send(File(f"{remote}/{name}", name, entry))

    async def _copy_all(self, files: MemoryObjectReceiveStream[File]) -> None:
        async with files, Connection(self._server) as connection:
            async for file in files:
                try:
                    await self._copy(file, connection)
                except FAILURES as error:
                    self.failures.append(f"{file.path!r}: {error}")
                else:
                    self.copied += 1

    async def _copy(self, file: File, connection: Connection) -> None:
        async with (
            ObjectTarget(self._store, file.name, expected_size=file.facts.size) as target,
            contextlib.aclosing(connection.content(file)) as content,
        ):
            async for data in content:
                await target.write(data)
                self._progress.advance(self._bar, len(data))
            await target.commit()


class Connection:
    """A control connection that is opened when it is needed, and again if it is lost."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._control: Control | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *reason: object) -> None:
        self._close()

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[Control]:
        """Yield the control connection; after a failure, nobody knows what it would say next."""

        try:
            if self._control is None:
                self._control = await Control.login(self._server)
            yield self._control
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        if self._control is not None:
            self._control.close()
        self._control = None

    async def directory(self, path: str) -> list[Found]:
        """Return the files and directories in a directory (MLSD)."""

        listing = bytearray()
        async with (
            self._session() as control,
            control.transfer(f"MLSD {path}") as dtp,
            receive_stream(dtp, size_limit=LARGEST_LISTING) as stream,
        ):
            async for data in stream:
                listing += data
        entries = [Found.by_mlsd(bytes(line)) for line in listing.splitlines() if line]
        return [entry for entry in entries if entry.type in ("file", "dir")]

    async def content(self, file: File) -> AsyncGenerator[bytes, None]:
        """Yield a file; if the connection is lost, go on after the last byte (REST).

        Raises:
            FTPDataError, ReplyError, OSError: The server refuses it, or fails again and again.
            ValueError: The file was changed meanwhile.
        """

        done = tries = 0
        before: str | None = None
        while True:
            try:
                async with self._session() as control:
                    version = await version_of(control, file.path)
                    if before not in (None, version):
                        raise ValueError("the file was changed while it was copied")
                    before = version
                    if done:
                        await control.command(f"REST {done}", "350")
                    left = None if file.facts.size is None else file.facts.size - done
                    async with (
                        control.transfer(f"RETR {file.path}") as dtp,
                        receive_stream(dtp, offset=done, expected_size=left) as stream,
                    ):
                        async for data in stream:
                            yield data
                            done += len(data)
                            tries = 0
            except (FTPDataError, ReplyError, OSError) as error:
                tries += 1
                if tries == TRIES or getattr(error, "is_permanent", False):
                    raise
                await asyncio.sleep(tries)
            else:
                return


async def version_of(control: Control, path: str) -> str:
    """Return what changes when a file does: its size, and its time if the server tells it."""

    size = await control.size(path)
    try:
        return f"{size} {await control.command(f'MDTM {path}')}"
    except ReplyError:
        return f"{size}"


def is_same(stored: ListingEntry | None, found: Found) -> bool:
    """Tell whether an object is what the server has, as far as size and time can say."""

    if stored is None or stored.modified_at is None or found.modified is None:
        return False
    return stored.size == found.size and stored.modified_at.timestamp() > found.modified


async def main(server: Server, remote: str, store: ObjectStore, connections: int = 4) -> int:
    """Mirror once; return the exit status."""

    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress("{task.description}", *columns) as progress:
        mirror = StoreMirror(server, store, progress)
        await mirror.run(remote, connections)

    print(f"{mirror.copied} files copied")
    print(*mirror.failures, sep="\n", end="\n" if mirror.failures else "", file=sys.stderr)
    return 1 if mirror.failures else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.mirror_to_store")
    Server.add_arguments(parser)
    parser.add_argument("remote", metavar="REMOTE")
    parser.add_argument("store", metavar="STORE", type=from_url)
    parser.add_argument("--connections", type=int, default=4)
    options = parser.parse_args()
    arguments = Server.of_arguments(options), options.remote, options.store, options.connections
    sys.exit(asyncio.run(main(*arguments)))
