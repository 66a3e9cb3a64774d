"""A session that is made anew when its connection is lost.

Nothing is done twice without a look. A download goes on with its part (`files.get`). After an
upload whose end is not known, the server is asked what it has: the whole file was sent, and is
not sent again; of a shorter one, the rest is sent; and only if nothing of it is there, all of it.
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
from collections.abc import Awaitable, Callable
from typing import Self, TypeVar

import anyio
import anyio.to_thread

from examples.client.client import Client, Server
from examples.client.files import facts_of, get, may_have, put
from examples.client.replies import Lost, ReplyError, RestRefused
from ftpdata import DataConnectionError, FTPDataError, TransferAborted, TransferResult
from ftpdata.contracts import ProgressCallback
from ftpdata.errors import SizeMismatch
from ftpdata.listing import Facts

__all__ = ["OutcomeUnknown", "Persistent", "is_worth_another_try", "pause_before"]

T = TypeVar("T")
TRIES = 5
LONGEST_PAUSE = 60.0  # seconds
CANNOT_GO_ON = ("450", "501", "503", "554")
"""What servers say of an offset: the part is in use or gone, or it is shorter than that."""


class OutcomeUnknown(Exception):
    """An upload was sent, its final reply is lost, and the server does not say what it has."""


def is_worth_another_try(error: Exception) -> bool:
    """Tell whether the same could succeed later: a connection was lost, or a refusal is a 4yz."""

    if isinstance(error, ReplyError):
        return not error.is_permanent
    kinds = DataConnectionError, TransferAborted, SizeMismatch
    return isinstance(error, (ConnectionError, TimeoutError, *kinds))


def pause_before(attempt: int) -> float:
    """Return how many seconds to wait before an attempt, of which the second is 1: some chance."""

    return min(LONGEST_PAUSE, 2.0**attempt) * random.uniform(0.5, 1.0)  # noqa: S311


class Persistent:
    """A session with a server, for one task at a time. Close it as a context manager.

    Args:
        server: The server.
        refused: See `Client`; may be shared.
        tries: How often something is tried without any progress.
        pause: Returns the seconds before an attempt.
        kind: The class of the sessions.
    """

    def __init__(
        self,
        server: Server,
        *,
        refused: set[str] | None = None,
        tries: int = TRIES,
        pause: Callable[[int], float] = pause_before,
        kind: type[Client] = Client,
    ) -> None:
        self._kind = kind
        self._server = server
        self._refused: set[str] = set() if refused is None else refused
        self._tries = tries
        self._pause = pause
        self._client: Client | None = None
        self._failures = 0
        self._most = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, *reason: object) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            if kind is None:
                await client.__aexit__(None, None, None)
            else:
                await client.aclose()

    async def open(self) -> Client:
        """Return the session; log in if there is none.

        Raises:
            OSError, ReplyError: See `Client.connect`. This tries once.
        """

        if self._client is None:
            self._client = await self._kind.connect(self._server, self._refused)
        elif self._client.is_lost:
            try:
                self._client = await self._kind.connect(self._server, self._refused)
            except ssl.SSLCertVerificationError:
                raise
            except OSError as error:
                # It was there before, and may come back.
                raise Lost(f"the server does not answer any more: {error}") from error
        return self._client

    async def run(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Do something with a session, and again after a failure that may pass.

        Raises whatever `work` raises in the end.
        """

        await self._begin()
        return await self._go_on(work)

    async def _go_on(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Do so as a part of something whose failures are counted together."""

        while True:
            try:
                return await work(await self.open())
            except Exception as error:  # noqa: BLE001 - it is raised again if it stays
                await self._wait_after(error)

    async def _begin(self) -> None:
        """Log in once without another try: a wrong name of a host stays wrong."""

        self._failures = self._most = 0
        if self._client is None:
            await self.open()

    async def _wait_after(self, error: Exception) -> None:
        """Wait before the next attempt; raise the error if there is none."""

        cause = error if isinstance(error, FTPDataError) else error.__cause__
        if isinstance(cause, FTPDataError) and cause.result is not None:
            self._note(cause.result.offset + cause.result.file_bytes)
        self._failures += 1
        if self._failures >= self._tries or not is_worth_another_try(error):
            raise error
        await asyncio.sleep(self._pause(self._failures))

    def _note(self, done: int) -> None:
        """Count failures anew once more bytes than ever have been moved."""

        if done > self._most:
            self._most, self._failures = done, 0

    def _counting(self, progress: ProgressCallback | None) -> ProgressCallback:
        def note(done: int, total: int | None) -> None:
            self._note(done)
            if progress is not None:
                progress(done, total)

        return note

    async def get(
        self,
        remote: str,
        local: str | os.PathLike[str],
        *,
        dir_fd: int | None = None,
        facts: Facts | None = None,
        progress: ProgressCallback | None = None,
    ) -> TransferResult:
        """Fetch a file, see `files.get`; after a loss, go on where that is possible."""

        note = self._counting(progress)
        known = [facts]

        async def work(client: Client) -> TransferResult:
            # After a failure, the facts may be old.
            told = known.pop() if known else None
            return await get(client, remote, local, dir_fd=dir_fd, facts=told, progress=note)

        return await self.run(work)

    async def put(
        self,
        local: str | os.PathLike[str],
        remote: str,
        *,
        dir_fd: int | None = None,
        before: Facts | None = None,
        is_new: bool = False,
        resume: bool = False,
        progress: ProgressCallback | None = None,
    ) -> int:
        """Send a file, see `files.put`; after a loss, look at what the server has of it.

        Args:
            local: The file.
            remote: Its path on the server.
            dir_fd: Directory that a relative `local` starts from.
            before: What the server had of the name, if that is known.
            is_new: Whether it is known that it had nothing.
            resume: Whether what the server has was sent before, and is gone on with.
            progress: See `files.put`.

        Returns:
            The bytes that were sent in the last attempt; 0 if the server has had it all.

        Raises:
            OutcomeUnknown: All of it was sent, but the server does not say whether it has it.
        """

        def size_of() -> int:
            return os.stat(local, dir_fd=dir_fd).st_size

        note = self._counting(progress)
        size = await anyio.to_thread.run_sync(size_of)
        await self._begin()
        if before is None and not is_new:
            before = await self._go_on(lambda client: facts_of(client, remote, by_size=True))
        offset = _offset(before, size) if resume else 0
        while not (resume and 0 < offset == size):
            try:
                client = await self.open()
                if not may_have(client, "REST"):
                    offset = 0
                sent = await put(client, local, remote, dir_fd=dir_fd, offset=offset, progress=note)
            except Exception as error:
                if offset and _cannot_go_on(error):
                    if isinstance(error, RestRefused):
                        self._refused.add("REST")
                    offset = 0
                    continue
                await self._wait_after(error)
                now = await self._go_on(lambda client: facts_of(client, remote, by_size=True))
                if now is not None and now.size is None:
                    raise OutcomeUnknown(f"{remote!r}: {error}") from error
                if now == before and not resume:
                    # Nothing of it is there: that is what was there before.
                    offset = 0
                elif now is not None and now.size == size:
                    break
                else:
                    offset = _offset(now, size)
            else:
                return sent.file_bytes
        return 0


def _cannot_go_on(error: Exception) -> bool:
    is_refusal = isinstance(error, ReplyError) and str(error).startswith(CANNOT_GO_ON)
    return is_refusal or isinstance(error, RestRefused)


def _offset(facts: Facts | None, size: int) -> int:
    """Return after which byte to go on with what a server has; what is longer is another file."""

    have = 0 if facts is None or facts.size is None else facts.size
    return have if have <= size else 0
