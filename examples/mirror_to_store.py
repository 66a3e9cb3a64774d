"""Mirror a directory of a server, and all below it, into an object store.

python -m examples.mirror_to_store URL STORE [--connections 4]

URL is that of a directory, ftp://USER:PASSWORD@HOST/PATH, or ftpes:// for TLS. STORE is one as
obstore has it: s3://bucket/prefix, gs://…, az://…, memory://. The store's credentials come from
the environment, as for its own tools.

Each directory is listed once, and several connections fetch files at the same time. If one is
lost, its file goes on after the last byte that came (REST), unless the file was changed meanwhile.
An object appears when it is whole, so the program can be ended at any moment and started again:
objects that are as large as their file, and younger, are left alone, where the server has MLSD
(RFC 3659) and so tells sizes and times exactly. What could not be copied is reported at the end;
the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import posixpath
import sys
from collections.abc import AsyncGenerator

import anyio
import attrs
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from examples.client.client import Server
from examples.client.command_line import count
from examples.client.files import facts_of, list_directory
from examples.client.location import url
from examples.client.persistent import Persistent
from examples.client.replies import ReplyError
from ftpdata import EntryType, FTPDataError, ListingEntry, receive_stream
from ftpdata.listing import Facts
from ftpdata.objectstore import ObjectTarget, object_entries

TRIES = 5
"""How often a file is asked for without a byte of it coming."""

FAILURES = (FTPDataError, ReplyError, OSError, ValueError)


@attrs.frozen
class File:
    """A file of the server, and the name of its object; None is a size that is not known."""

    path: str
    name: str
    size: int | None


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

        async with found, Persistent(self._server) as sessions:
            waiting = [""]
            while waiting:
                directory = waiting.pop()
                path = f"{remote}/{directory}"
                try:
                    listing = await list_directory(await sessions.open(), path)
                    stored = {
                        entry.text_name: entry
                        async for page in object_entries(self._store, directory)
                        for entry in page
                    }
                except FAILURES as error:
                    self.failures.append(f"{path!r}: {error}")
                    continue

                self.failures += [f"{path!r}: cannot read {line!r}" for line in listing.unreadable]
                for entry in listing.entries:
                    name = posixpath.join(directory, entry.text_name)
                    size = entry.size if listing.is_exact else None
                    if not entry.is_plain_name:
                        self.failures.append(f"{name!r}: the name leads elsewhere")
                    elif entry.type is EntryType.DIRECTORY:
                        waiting.append(name)
                    elif entry.type is EntryType.FILE and not (
                        listing.is_exact and is_same(stored.get(entry.text_name), entry)
                    ):
                        self._bytes += entry.size
                        self._progress.update(self._bar, total=self._bytes)
                        await found.send(File(f"{remote}/{name}", name, size))

    async def _copy_all(self, files: MemoryObjectReceiveStream[File]) -> None:
        async with files, Persistent(self._server) as sessions:
            async for file in files:
                try:
                    await self._copy(file, sessions)
                except FAILURES as error:
                    self.failures.append(f"{file.path!r}: {error}")
                else:
                    self.copied += 1

    async def _copy(self, file: File, sessions: Persistent) -> None:
        async with (
            ObjectTarget(self._store, file.name, expected_size=file.size) as target,
            contextlib.aclosing(content(sessions, file)) as pieces,
        ):
            async for data in pieces:
                await target.write(data)
                self._progress.advance(self._bar, len(data))
            await target.commit()


async def content(sessions: Persistent, file: File) -> AsyncGenerator[bytes, None]:
    """Yield a file; if the connection is lost, go on after the last byte (REST).

    Raises:
        FTPDataError, ReplyError, OSError: The server refuses it, or fails again and again.
        ValueError: The file was changed meanwhile.
    """

    done = tries = 0
    version: Facts | None = None
    while True:
        try:
            client = await sessions.open()
            now = await facts_of(client, file.path, by_size=True)
            if done and now != version:
                raise ValueError("the file was changed while it was copied")
            version = now
            async with (
                client.transfer(f"RETR {file.path}", offset=done) as transfer,
                receive_stream(
                    transfer.endpoint,
                    offset=done,
                    expected_size=None if file.size is None else file.size - done,
                ) as stream,
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


def is_same(stored: ListingEntry | None, found: ListingEntry) -> bool:
    """Tell whether an object is what the server has, as far as size and time can say."""

    if stored is None or stored.modified_at is None or found.modified_at is None:
        return False
    return stored.size == found.size and stored.modified_at > found.modified_at


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
    parser.add_argument("url", metavar="URL", type=url)
    parser.add_argument("store", metavar="STORE")
    parser.add_argument("--connections", type=count, metavar="N", default=4)
    options = parser.parse_args()
    try:
        store = from_url(options.store)
    except (BaseError, ValueError) as error:
        parser.error(f"cannot use the store: {str(error).partition(chr(10))[0]}")
    where = options.url
    arguments = where.server, where.path, store, options.connections
    status = asyncio.run(main(*arguments))
    sys.stdout.flush()
    # A thread of obstore's that lets go of an answer while the interpreter ends aborts the process.
    os._exit(status)
