"""How a data connection ended, and the waiters that get to know.

A `Fate` is decided once: by an abort, or by what the transport said. Whatever fails afterwards is
a consequence of it and does not replace it. The decision and its announcement are two moments:
the transfer at work hears of a cut at once, everybody else once the transport is closed.

A future that several wait for is never given away: each waiter gets one of its own, so that no
waiter that is cancelled disturbs another. `asyncio.shield` does the same, but since Python 3.14 it
logs an exception that comes after the waiter was cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any

from ..errors import FTPDataError, error_for_end, in_words, local_error
from ..outcome import End

__all__ = ["CloseWaiter", "Fate", "keep_quiet", "stand_in"]

Future = asyncio.Future[None]


def keep_quiet(future: Future) -> None:
    """Keep asyncio from logging a reason that is kept elsewhere; a callback of a future."""

    if not future.cancelled():
        future.exception()


def stand_in(future: Future) -> Future:
    """Return a new future that ends as another one does, and whose cancellation disturbs nobody."""

    outer: Future = future.get_loop().create_future()
    outer.add_done_callback(keep_quiet)

    def hand_on(_: Future) -> None:
        if outer.done():
            return

        if future.cancelled():
            outer.cancel()
            return

        error = future.exception()
        if error is None:
            outer.set_result(None)
        else:
            outer.set_exception(error)

    if future.done():
        hand_on(future)
    else:
        future.add_done_callback(hand_on)
        outer.add_done_callback(lambda _: future.remove_done_callback(hand_on))

    return outer


class CloseWaiter:
    """What `DTP.register_consumer` returns: awaitable any number of times.

    A cancelled `await` leaves the connection and all other waiters as they are.
    """

    __slots__ = ("_future",)

    def __init__(self, future: Future) -> None:
        self._future = future

    def __await__(self) -> Generator[Any, None, None]:
        return (yield from stand_in(self._future).__await__())

    def done(self) -> bool:
        """Whether awaiting would return, or raise, at once."""

        return self._future.done()


class Fate:
    """How one connection ended, once it has.

    Attributes:
        end: How it ended; None while it has not.
        reason: Why it did not end cleanly: the exception that every waiter gets.
        is_made: Whether the connection was made.
        is_over: Whether the transport is closed as well, or needed no more.
    """

    # On the class: most of it stays as it is, for thousands of connections that stall.
    end: End | None = None
    reason: FTPDataError | None = None
    is_made: bool = False
    is_over: bool = False
    _on_cut: Callable[[], None] | None = None
    _connected: Future | None = None
    _closed: Future | None = None

    def connected(self) -> Future:
        """Return the future of the connection, for `stand_in`; it is made when it is asked for."""

        if self._connected is None:
            self._connected = self._new_future()
            if self.is_made:
                self._connected.set_result(None)
            elif self.reason is not None:
                self._connected.set_exception(self.reason)

        return self._connected

    def closed(self) -> Future:
        """Return the future of the end, for `stand_in`; it is made when it is asked for."""

        if self._closed is None:
            self._closed = self._new_future()
            if self.is_over:
                self._settle(self._closed)

        return self._closed

    def on_cut(self, callback: Callable[[], None] | None) -> None:
        """Call this once a reason is decided; None takes it back."""

        self._on_cut = callback

    @property
    def is_watched(self) -> bool:
        """Whether a transfer is at work that wants to hear of a cut."""

        return self._on_cut is not None

    def make(self) -> None:
        """Take note that the connection was made."""

        self.is_made = True
        if self._connected is not None and not self._connected.done():
            self._connected.set_result(None)

    def decide(self, end: End, message: str | None, cause: BaseException | None) -> None:
        """Fix an end that is not clean, and tell the transfer that is at work.

        Args:
            end: How it ended, unless `cause` is an `FTPDataError` that knows its own.
            message: The reason in words.
            cause: The exception behind it. An `FTPDataError` becomes the reason itself.
        """

        if isinstance(cause, FTPDataError):
            # A limit that is exceeded says more than that a consumer failed.
            self.reason = local_error(cause, end)
            end = self.reason.end or end
        elif cause is not None and end in (End.CONSUMER_FAILED, End.PRODUCER_FAILED):
            self.reason = local_error(cause, end)
        else:
            if message is None and cause is not None:
                words = in_words(str, cause) or in_words(repr, cause)
                message = f"{end.value}: {words}"
            self.reason = error_for_end(end, message)
            self.reason.__cause__ = cause

        self.end = end
        callback, self._on_cut = self._on_cut, None
        if callback is not None:
            callback()

    def announce(self) -> None:
        """Wake up all waiters."""

        for future in (self._connected, self._closed):
            if future is not None:
                self._settle(future)

    # Private

    @staticmethod
    def _new_future() -> Future:
        future: Future = asyncio.get_running_loop().create_future()
        future.add_done_callback(keep_quiet)
        return future

    def _settle(self, future: Future) -> None:
        if future.done():
            return

        if self.reason is None:
            future.set_result(None)
        else:
            future.set_exception(self.reason)
