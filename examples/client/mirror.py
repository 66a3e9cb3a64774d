"""A directory and all below it, from a server or to it, over several connections.

1. What cannot be transferred is told at the end, and stops nothing else.
2. No name of the server leads out of the local directory: it must be a plain one, and each step
   is taken from the directory before, without following links (`ftpdata.files.locate_beneath`),
   also ones that somebody makes meanwhile.
3. Nothing is removed on either side.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Self

import anyio.to_thread
import attrs

from examples.client.client import Client, Server
from examples.client.files import ask, facts_of, list_directory
from examples.client.persistent import (
    OutcomeUnknown,
    Persistent,
    is_worth_another_try,
    pause_before,
)
from examples.client.pipelining import PipeliningClient
from examples.client.plan import Kind, Plan, Seen, is_same, plan_directory, seen_in_listing
from examples.client.replies import ReplyError
from ftpdata import FTPDataError
from ftpdata.files import is_reserved, locate_beneath, open_beneath
from ftpdata.listing import Facts, format_time_val

__all__ = ["FAILURES", "Mirror"]

FAILURES = (FTPDataError, ReplyError, OSError, ValueError, OutcomeUnknown)
DEEPEST = 100  # directories in one another; a server can list them without end

Job = Callable[[Persistent], Awaitable[None]]
ByteCounter = Callable[[int, int], None]


@attrs.frozen
class Place:
    """A directory or file that both sides have, or are to have.

    Attributes:
        root: Descriptor of the local directory that is mirrored.
        remote: Path of the one on the server.
        path: The path from there on; empty for the directories themselves.
        depth: How many directories there are in between.
    """

    root: int
    remote: str
    path: str = ""
    depth: int = 0

    @property
    def there(self) -> str:
        """The path on the server."""

        return join(self.remote, self.path)

    def within(self, name: str) -> Place:
        """Return the place of what is in it."""

        return attrs.evolve(self, path=join(self.path, name), depth=self.depth + 1)


@attrs.define
class Mirror:
    """One run, in one direction.

    Attributes:
        server: The server.
        connections: How many files are transferred at the same time.
        on_progress: Called with the bytes that were moved, and those that are known to be moved.
        pause: See `Persistent`.
        pipelines: Whether a download asks for the next data connection early. Most servers bear
            that (all of `tests/interop/client_peers.py` but Twisted).
        transferred: How many files were transferred.
        same: How many were left alone.
        failures: What was not transferred, and why.
    """

    server: Server
    connections: int = attrs.field(default=4, validator=attrs.validators.ge(1))
    on_progress: ByteCounter | None = None
    pause: Callable[[int], float] = pause_before
    pipelines: bool = False
    transferred: int = attrs.field(default=0, init=False)
    same: int = attrs.field(default=0, init=False)
    failures: list[str] = attrs.field(factory=list, init=False)
    _jobs: asyncio.LifoQueue[tuple[str, Job]] = attrs.field(factory=asyncio.LifoQueue, init=False)
    _refused: set[str] = attrs.field(factory=set, init=False)
    _gone: Exception | None = attrs.field(default=None, init=False)
    _done: int = attrs.field(default=0, init=False)
    _total: int = attrs.field(default=0, init=False)

    async def download(self, remote: str, local: str | os.PathLike[str]) -> Self:
        """Make a local directory like one of the server.

        Raises:
            OSError, ReplyError: Nobody can log in there, or there is no such local directory.
        """

        await anyio.to_thread.run_sync(partial(os.makedirs, local, exist_ok=True))
        async with _opened(local) as root, self._running():
            self._add(remote, partial(self._download_directory, Place(root, remote)))
        return self

    async def upload(self, local: str | os.PathLike[str], remote: str) -> Self:
        """Make a directory of the server like a local one.

        Raises:
            OSError, ReplyError: See `download`.
        """

        async with _opened(local) as root, self._running():
            self._add(remote, partial(self._upload_directory, Place(root, remote)))
        return self

    # Jobs

    def _add(self, what: str, job: Job) -> None:
        self._jobs.put_nowait((what, job))

    def _fail(self, what: str, why: object) -> None:
        self.failures.append(f"{what!r}: {why}")

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        """Run the jobs that are added within the context, until there are no more."""

        async with self._session() as first:
            # Who cannot log in is told at once.
            await first.open()
            yield
            tasks = [asyncio.ensure_future(self._work(first))]
            tasks += [asyncio.ensure_future(self._help()) for _ in range(1, self.connections)]
            all_done = asyncio.ensure_future(self._jobs.join())
            try:
                # The first one ends only by an error that is none of the server's.
                await asyncio.wait((all_done, tasks[0]), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (all_done, *tasks):
                    task.cancel()
                await asyncio.wait((all_done, *tasks))
            for task in tasks:
                if not task.cancelled():
                    task.result()

    def _session(self) -> Persistent:
        kind = PipeliningClient if self.pipelines else Client
        return Persistent(self.server, refused=self._refused, pause=self.pause, kind=kind)

    async def _help(self) -> None:
        """Do jobs over one more connection, if the server takes so many."""

        async with self._session() as session:
            with contextlib.suppress(*FAILURES):
                await session.open()
                await self._work(session)

    async def _work(self, session: Persistent) -> None:
        while True:
            what, job = await self._jobs.get()
            try:
                if self._gone is not None:
                    self._fail(what, f"not tried: {self._gone}")
                else:
                    await job(session)
            except FAILURES as error:
                self._fail(what, error)
                if isinstance(error, OSError) and is_worth_another_try(error):
                    # It was tried again and again.
                    self._gone = error
            finally:
                self._jobs.task_done()

    def _count(self, size: int | None) -> Callable[[int, int | None], None]:
        """Return a progress callback that counts the bytes of a file among all."""

        self._total += size or 0
        counted = 0

        def note(done: int, _: int | None) -> None:
            nonlocal counted
            self._done += done - counted
            counted = done
            if self.on_progress is not None:
                self.on_progress(self._done, self._total)

        return note

    def _note(self, path: str, plan: Plan, unreadable: tuple[bytes, ...] = ()) -> None:
        self.same += len(plan.same)
        for name, why in plan.problems:
            self._fail(join(path, name), why)
        for line in unreadable:
            self._fail(path, f"the server lists {line!r}, which cannot be read")

    async def _enter(
        self, place: Place, names: list[str], enter: Callable[[Place], Awaitable[Job]]
    ) -> None:
        """Make directories, if that is needed, and go into them."""

        for name in names:
            inner = place.within(name)
            try:
                if inner.depth > DEEPEST:
                    raise ValueError("it is too deep")
                self._add(inner.there, await enter(inner))
            except FAILURES as error:
                self._fail(inner.there, error)

    # Down

    async def _download_directory(self, place: Place, session: Persistent) -> None:
        listing = await session.run(partial(list_directory, path=place.there))
        here = await anyio.to_thread.run_sync(local_entries, place.root, place.path)
        source, problems = seen_in_listing(listing.entries, is_exact=listing.is_exact)
        plan = plan_directory(source, here, is_upload=False)
        plan.problems += problems
        self._note(place.there, plan, listing.unreadable)

        async def enter(inner: Place) -> Job:
            await anyio.to_thread.run_sync(make_directory, inner.root, inner.path)
            return partial(self._download_directory, inner)

        await self._enter(place, plan.make + plan.enter, enter)
        for name in plan.look + plan.transfer:
            inner = place.within(name)
            copy = here[name] if name in plan.look else None
            self._add(inner.there, partial(self._download_file, inner, source[name], copy))

    async def _download_file(
        self, place: Place, seen: Seen, copy: Seen | None, session: Persistent
    ) -> None:
        facts = Facts(size=seen.size, modify=seen.modified)
        if seen.modified is None:
            # The listing was not exact.
            asked = await session.run(partial(facts_of, path=place.there))
            facts = Facts() if asked is None else asked
            if facts.size is None and copy is not None and facts.modify is not None:
                # ftp-srv tells no size of an empty file.
                facts = attrs.evolve(facts, size=seen.size)
            told = Seen(Kind.FILE, facts.size, facts.modify)
            if copy is not None and is_same(told, copy, is_upload=False):
                self.same += 1
                return
        async with _located(place) as (parent, name):
            note = self._count(facts.size)
            await session.get(place.there, name, dir_fd=parent, facts=facts, progress=note)
        self.transferred += 1

    # Up

    async def _upload_directory(
        self, place: Place, session: Persistent, *, is_new: bool = False
    ) -> None:
        here = await anyio.to_thread.run_sync(local_entries, place.root, place.path)
        target = {} if is_new else await self._remote_entries(place, session)
        plan = plan_directory(here, target, is_upload=True)
        self._note(place.there, plan)

        async def enter(inner: Place) -> Job:
            return partial(self._upload_directory, inner)

        async def make(inner: Place) -> Job:
            await session.run(partial(Client.command, line=f"MKD {inner.there}"))
            return partial(self._upload_directory, inner, is_new=True)

        await self._enter(place, plan.enter, enter)
        await self._enter(place, plan.make, make)
        for name in plan.look + plan.transfer:
            inner = place.within(name)
            self._add(inner.there, partial(self._upload_file, inner, here[name], target.get(name)))

    async def _remote_entries(self, place: Place, session: Persistent) -> dict[str, Seen]:
        make = partial(Client.command, line=f"MKD {place.there}")
        is_root = not place.path and bool(place.there.strip("/"))
        try:
            listing = await session.run(partial(list_directory, path=place.there))
        except ReplyError:
            if not is_root:
                raise
            # It is the directory into which all goes, and is not there yet.
            await session.run(make)
            return {}
        if is_root and not listing.entries and not listing.is_exact:
            # To many servers, LIST of what is not there is empty.
            with contextlib.suppress(ReplyError):
                await session.run(make)
        found, _ = seen_in_listing(listing.entries, is_exact=listing.is_exact)
        return found

    async def _upload_file(
        self, place: Place, seen: Seen, old: Seen | None, session: Persistent
    ) -> None:
        before: Facts | None = None
        if old is not None:
            before = await session.run(partial(facts_of, path=place.there, by_size=True))
            size = old.size if before is None or before.size is None else before.size
            if before is not None and is_same(
                seen, Seen(Kind.FILE, size, before.modify), is_upload=True
            ):
                self.same += 1
                return
        async with _located(place) as (parent, name):
            await session.put(
                name,
                place.there,
                dir_fd=parent,
                before=before,
                is_new=old is None,
                progress=self._count(seen.size),
            )
        self.transferred += 1
        if seen.modified is not None:
            await session.run(partial(_keep_time, path=place.there, modified=seen.modified))


async def _keep_time(client: Client, *, path: str, modified: float) -> None:
    """Give an uploaded file the time of the local one, if the server lets it (MFMT)."""

    if "MFMT" in client.features:
        with contextlib.suppress(ReplyError):
            await ask(client, f"MFMT {format_time_val(int(modified))} {path}")


def join(directory: str, name: str) -> str:
    """Join a directory of a server, or of the local tree, and what is in it."""

    return f"{directory.rstrip('/')}/{name}" if directory and name else directory or name


# The local side, in worker threads


@contextlib.asynccontextmanager
async def _opened(directory: str | os.PathLike[str]) -> AsyncIterator[int]:
    fd = await anyio.to_thread.run_sync(os.open, directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.asynccontextmanager
async def _located(place: Place) -> AsyncIterator[tuple[int, str]]:
    """Yield a descriptor of the directory that a file is in, and its name there."""

    def locate() -> tuple[int, str]:
        with locate_beneath(place.root, place.path, resolve_last=False) as (parent, name):
            return os.dup(parent), os.fsdecode(name)

    parent, name = await anyio.to_thread.run_sync(locate)
    try:
        yield parent, name
    finally:
        os.close(parent)


def local_entries(root: int, path: str) -> dict[str, Seen]:
    """Return what is in a directory beneath another one. Blocks."""

    fd = open_beneath(root, path, is_directory=True)
    try:
        with os.scandir(fd) as entries:
            return {
                entry.name: _seen(entry.stat(follow_symlinks=False))
                for entry in entries
                # What came of a file that was cut is no file of its own.
                if not is_reserved(entry.name)
            }
    finally:
        os.close(fd)


def _seen(status: os.stat_result) -> Seen:
    if stat.S_ISDIR(status.st_mode):
        return Seen(Kind.DIRECTORY)
    kind = Kind.FILE if stat.S_ISREG(status.st_mode) else Kind.OTHER
    return Seen(kind, status.st_size, status.st_mtime)


def make_directory(root: int, path: str) -> None:
    """Make a directory beneath another one, unless it is there. Blocks.

    Raises:
        OSError: There is something else; it may be a link to a directory.
    """

    with locate_beneath(root, path, resolve_last=False) as (parent, name):
        try:
            os.mkdir(name, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                raise
