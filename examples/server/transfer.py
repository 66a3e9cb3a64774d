"""The data connection of a session: from PASV or PORT to the one final reply.

RFC 959 §3.2, §5.4. The states, and what ends each of them:

* nothing prepared: a transfer command is refused with 425;
* prepared (by PASV, EPSV, PORT or EPRT; perhaps connected already): another
  one of these replaces it, ABOR releases it, a transfer command takes it;
* waiting for the data connection, then transferring, then finishing (the
  peer has not acknowledged all yet): a transfer runs. It says 125 or 150
  first, and ends with exactly one reply, which `Session` sends: 226, the
  error's own, or 426 if ABOR came in time. If the settings say so, a download
  has its 226 when everything has left this system; what follows is only logged.

A prepared connection serves one transfer, and is closed after it. If the settings
say so, it stays open after a file in block or compressed mode, for the next one
(250), until the client closes it or prepares another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
import anyio.lowlevel

from ftpdata import (
    DTP,
    DataConnectionError,
    End,
    Endpoint,
    FTPDataError,
    PassiveListener,
    ReusableConnection,
)
from ftpdata.limits import Slot

from .reply import Reply

__all__ = ["DataChannel", "Operation"]


CLOSE_TIMEOUT = 1.0
"""Seconds for a client to take the end of a connection whose data it has."""


class Releasable(Protocol):
    """What an operation has taken, and gives back: a place among the transfers, an open file."""

    def release(self) -> None:
        """Give it back."""


class Operation:
    """A command that takes long, and that ABOR can end: a transfer, or a digest.

    Args:
        verb: The command.
        argument: Its argument; may be empty.
        now: Time of its start, in seconds of a monotonic clock.
        scope: It runs within it.
        is_upload: Whether it is an upload.

    Attributes:
        verb: See above.
        name: The command with its argument, as STAT shows it.
        is_upload: See above.
        connection: The data connection, as far as it is open.
        reason: Why it was aborted.
        is_answered: Whether its final reply was sent already.
    """

    def __init__(
        self,
        verb: str,
        argument: str,
        now: float,
        scope: anyio.CancelScope,
        *,
        is_upload: bool = False,
    ) -> None:
        self.verb = verb
        self.name = f"{verb} {argument}" if argument else verb
        self.is_upload = is_upload
        self.connection: Endpoint | DTP | None = None
        self.reason = ""
        self.is_answered = False
        self._scope = scope
        self._kept: list[Releasable] = []
        self._started_at = now
        self._transferred = 0
        self._total: int | None = None

    def abort(self, reason: str) -> None:
        """End it, in whichever phase it is. The data connection is reset.

        Does nothing to a transfer that has ended and is about to say so.

        Args:
            reason: For the reply and the log.
        """

        self.reason = reason
        if self.connection is None:
            self._scope.cancel()
        else:
            self.connection.abort(End.ABORTED, reason)

    @property
    def has_all(self) -> bool:
        """Whether all bytes of an upload are in this system, although it may have to read them."""

        return isinstance(self.connection, Endpoint) and self.connection.peer_has_ended

    def keep(self, taken: Releasable) -> None:
        """Keep what it has taken until it is over, and the client knows its end."""

        self._kept.append(taken)

    def release(self) -> None:
        """Give back what it has taken: it is over."""

        while self._kept:
            self._kept.pop().release()

    def progress(self, transferred: int, total: int | None, /) -> None:
        """Take note of progress; an `ftpdata.ProgressCallback`."""

        self._transferred = transferred
        self._total = total

    def describe(self, now: float) -> str:
        """Say how far it is, for STAT."""

        of_total = "" if self._total is None else f" of {self._total}"
        doing = "at work"
        if isinstance(self.connection, Endpoint) and not self.connection.is_open:
            doing = "waiting for the data connection"
        return (
            f"{self.name}: {doing}, {self._transferred}{of_total} bytes"
            f" in {now - self._started_at:.1f} seconds"
        )


class DataChannel:
    """What the data connection of a session is to be; for one transfer at a time.

    Args:
        keeps_open: Whether a connection is kept after a file whose mode has an
            end mark of its own.

    Attributes:
        epsv_only: Whether the client has said EPSV ALL (RFC 2428 §4).
        listener: Where passive connections come in, if the session has a
            listener of its own.
    """

    def __init__(self, *, keeps_open: bool = False) -> None:
        self.epsv_only = False
        self.listener: PassiveListener | None = None
        self._keeps_open = keeps_open
        self._kept: ReusableConnection | None = None
        self._endpoint: Endpoint | None = None
        self._leaving: Endpoint | None = None

    async def prepare(self, endpoint: Endpoint, slot: Slot | None = None) -> None:
        """Use this endpoint for the next transfer; what was prepared before is closed.

        Args:
            endpoint: What to open.
            slot: A place among the listeners, if it is one; given back once it
                is opened or closed.
        """

        if slot is not None:
            endpoint.on_release(slot.release)
        try:
            await self.aclose()
        except BaseException:
            # Cancelled: nobody else knows of it.
            endpoint.abort()
            raise
        self._endpoint = endpoint

    async def aclose(self) -> None:
        """Close what is prepared or kept, if anything is: all of it, even if this is cancelled."""

        if self._leaving is None and self._endpoint is None and self._kept is None:
            # Nearly always.
            return

        leaving, self._leaving = self._leaving, None
        endpoint, self._endpoint = self._endpoint, None
        kept, self._kept = self._kept, None
        async with contextlib.AsyncExitStack() as closing:
            if kept is not None:
                closing.push_async_callback(_finish, kept)
            for prepared in (endpoint, leaving):
                if prepared is not None:
                    closing.push_async_callback(prepared.aclose)

    @property
    def has_all(self) -> bool:
        """Whether a client has connected, sent something and ended it, before any command."""

        return self._endpoint is not None and self._endpoint.peer_has_ended

    async def close_all(self) -> None:
        """Close everything: the session is over."""

        try:
            await self.aclose()
        finally:
            if self.listener is not None:
                self.listener.close()

    async def take(
        self, operation: Operation, text: str, announce: Callable[[Reply], Awaitable[None]]
    ) -> Endpoint | ReusableConnection:
        """Use the data connection for one transfer; `settle` follows, however that ends.

        Announces 125 if the connection is there already, else 150.

        Args:
            operation: The transfer.
            text: Text of that reply.
            announce: Sends it.

        Raises:
            DataConnectionError: Nothing is prepared, or the connection did
                not come. Reply 425.
        """

        if operation.reason:
            # Aborted while a thread was waited for, which nothing interrupts: it ends here.
            await anyio.lowlevel.checkpoint()

        if self._kept is not None and not self._kept.is_open:
            # The client has closed its side meanwhile.
            kept, self._kept = self._kept, None
            await _finish(kept)

        if self._kept is not None:
            operation.connection = self._kept.dtp
            await announce(Reply(125, text))
            return self._kept

        endpoint = self._endpoint
        if endpoint is None:
            # RFC 959 §3.2 has a default: connect to the port that the control
            # connection came from. No client has listened there for decades.
            text = "Use PASV, EPSV, PORT or EPRT first."
            raise DataConnectionError(text, reply_text=text)

        operation.connection = endpoint
        await announce(Reply(125 if endpoint.is_ready else 150, text))
        if not self._keeps_open:
            return endpoint

        operation.connection = dtp = await endpoint.open()
        self._kept = ReusableConnection(dtp)
        return self._kept

    async def settle(self) -> None:
        """Close what a transfer has used, now that it is over.

        A connection that has not ended cleanly is reset. One that stays open after
        its file is kept for the next one.
        """

        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None and endpoint.is_lingering:
            # The client has everything, and has yet to end TLS. See `aclose`.
            self._leaving = endpoint
        elif endpoint is not None:
            await endpoint.aclose()
        if self._kept is not None and not self._kept.is_open:
            self._kept.dtp.abort()
            self._kept = None


async def _finish(connection: ReusableConnection) -> None:
    """Close a connection whose files have all arrived."""

    try:
        with anyio.CancelScope(shield=True), contextlib.suppress(FTPDataError):
            await connection.finish(CLOSE_TIMEOUT)
    finally:
        # Only a cancellation leaves it open.
        connection.dtp.abort()
