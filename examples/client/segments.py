"""One file over several connections, each of which brings one segment after the other.

That is faster where the network lets one connection have only a part of the rate. The local file
gets its name when all segments are there, and the server still has the file that it had at first.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections import deque
from collections.abc import Callable
from functools import partial

import anyio
import anyio.to_thread

from examples.client.client import Client, Server
from examples.client.files import facts_of, may_have
from examples.client.persistent import Persistent, pause_before
from examples.client.replies import ReplyError, RestRefused
from ftpdata import FileTarget, receive_stream
from ftpdata.contracts import ProgressCallback
from ftpdata.errors import SizeMismatch

__all__ = ["get_in_segments", "split"]

SMALLEST = 1 << 20  # bytes of a segment


def split(size: int, count: int, *, smallest: int = SMALLEST) -> list[tuple[int, int]]:
    """Return the segments of a file: where each begins, and where it ends. Pure.

    There are at most `count`, of about the same size, and none is smaller than `smallest`,
    unless it is the only one.
    """

    count = max(1, min(count, size // smallest))
    bounds = [size * number // count for number in range(count + 1)]
    return list(itertools.pairwise(bounds))


async def get_in_segments(
    server: Server,
    remote: str,
    local: str | os.PathLike[str],
    *,
    segments: int = 4,
    progress: ProgressCallback | None = None,
    pause: Callable[[int], float] = pause_before,
) -> int:
    """Fetch a file over several connections, or over one if the server cannot do otherwise.

    Args:
        server: The server. If it takes fewer connections, those bring all segments.
        remote: Path of the file there.
        local: Path of the copy.
        segments: How many connections and segments.
        progress: Called with the bytes that are here, and their total.
        pause: See `Persistent`.

    Returns:
        The bytes of the file.

    Raises:
        ValueError: The file was changed meanwhile.
        FTPDataError, ReplyError, OSError: See `Persistent.run`. The local file is as it was.
    """

    refused: set[str] = set()
    async with Persistent(server, refused=refused, pause=pause) as first:
        facts = await first.run(partial(facts_of, path=remote))
        client = await first.open()
        if facts is None or facts.size is None or not may_have(client, "REST"):
            return (await first.get(remote, local, progress=progress)).file_bytes

        file = await FileTarget.open(local)
        try:
            work = _Work(remote, file, deque(split(facts.size, segments)), facts.size, progress)
            make = partial(Persistent, server, refused=refused, pause=pause)
            await work.run(first, make, segments - 1)
            if await first.run(partial(facts_of, path=remote)) != facts:
                raise ValueError("the file was changed while it was fetched")
            await file.commit()
        except RestRefused:
            refused.add("REST")
            return (await first.get(remote, local, progress=progress)).file_bytes
        finally:
            with anyio.CancelScope(shield=True):
                await file.discard()

    if facts.modify is not None:
        times = facts.modify, facts.modify
        await anyio.to_thread.run_sync(partial(os.utime, local, times, follow_symlinks=False))
    return facts.size


class _Work:
    """The segments of one file that are still to be fetched."""

    def __init__(
        self,
        remote: str,
        file: FileTarget,
        segments: deque[tuple[int, int]],
        size: int,
        progress: ProgressCallback | None,
    ) -> None:
        self._remote = remote
        self._file = file
        self._segments = segments
        self._size = size
        self._progress = progress
        self._done = 0
        self._writing = asyncio.Lock()

    async def run(self, first: Persistent, make: Callable[[], Persistent], helpers: int) -> None:
        """Fetch all of them; the first error that is not helped by another try ends it."""

        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._fetch_all(first))
                for _ in range(helpers):
                    tasks.create_task(self._help(make()))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _help(self, session: Persistent) -> None:
        async with session:
            try:
                await session.open()
            except (OSError, ReplyError):
                return  # The server does not take so many.
            await self._fetch_all(session)

    async def _fetch_all(self, session: Persistent) -> None:
        while self._segments:
            place = [*self._segments.popleft()]
            await session.run(partial(self._fetch, place=place))

    async def _fetch(self, client: Client, *, place: list[int]) -> None:
        """Fetch the rest of a segment, whose beginning moves on with what is here."""

        with contextlib.ExitStack() as ignoring:
            async with (
                client.transfer(f"RETR {self._remote}", offset=place[0]) as transfer,
                receive_stream(
                    transfer.endpoint,
                    parameters=client.parameters,
                    offset=place[0],
                    deadlines=client.deadlines,
                ) as stream,
            ):
                async for data in stream:
                    piece = data[: place[1] - place[0]]
                    await self._write(piece, place[0])
                    place[0] += len(piece)
                    if place[0] == place[1] and place[1] < self._size:
                        # The server would send the rest of the file: it is cut, and says so.
                        ignoring.enter_context(contextlib.suppress(ReplyError, OSError))
                        break
                    if len(piece) < len(data):
                        raise SizeMismatch("the file has become longer")
            if place[0] < place[1]:
                raise SizeMismatch("the file has become shorter")

    async def _write(self, data: bytes, position: int) -> None:
        def write(fd: int) -> int:
            written = 0
            while written < len(data):
                written += os.pwrite(fd, data[written:], position + written)
            return written

        # A target writes one thing at a time.
        async with self._writing:
            await self._file.fill(write)
        self._done += len(data)
        if self._progress is not None:
            self._progress(self._done, self._size)
