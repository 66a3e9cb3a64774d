"""How a data connection ended, and the futures of those who wait for it.

A `Fate` is decided once: by an abort, or by what the transport has reported. Whatever fails
afterwards is a consequence of it and does not replace it. The decision and its announcement are
two moments: the transfer at work learns of a cut at once, everybody else when the transport is
closed.

Each waiter gets a future of its own, so that cancelling one disturbs no other. `asyncio.shield`
does the same, but since Python 3.14 it logs an exception that comes after the waiter was cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any

from ..errors import FTPDataError, NotConnected, error_for_end, in_words, local_error
from ..outcome import End

__all__ = ["CloseWaiter", "Fate", "keep_quiet", "stand_in"]

Future = asyncio.Future[None]


def keep_quiet(future: Future) -> None:
    """Keep asyncio from logging an exception that is known elsewhere; a callback of a future."""

    if not future.cancelled():
        future.exception()


def stand_in(future: Future) -> Future:
    """Return a new future that ends as another does, and that may be cancelled without effect."""

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
    """The result of `DTP.register_consumer`: an awaitable that may be awaited any number of times.

    Cancelling an `await` changes nothing for the connection and for other waiters.
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
        is_over: Whether the transport is closed as well, or no longer needed.
    """

    # Defaults on the class: thousands of connections may stall in this state, and most of it
    # takes no memory there.
    end: End | None = None
    reason: FTPDataError | None = None
    is_made: bool = False
    is_over: bool = False
    _on_cut: Callable[[], None] | None = None
    _connected: Future | None = None
    _closed: Future | None = None

    def connected(self) -> Future:
        """Return the future of the connection, for `stand_in`; the first call makes it."""

        if self._connected is None:
            self._connected = self._new_future()
            if self.is_made:
                self._connected.set_result(None)
            elif self.reason is not None:
                self._connected.set_exception(self.reason)

        return self._connected

    def closed(self) -> Future:
        """Return the future of the end, for `stand_in`; the first call makes it."""

        if self._closed is None:
            self._closed = self._new_future()
            if self.is_over:
                self._settle(self._closed)

        return self._closed

    def on_cut(self, callback: Callable[[], None] | None) -> None:
        """Call this as soon as a reason is decided; None takes the callback back."""

        self._on_cut = callback

    @property
    def is_watched(self) -> bool:
        """Whether a transfer is at work that wants to learn of a cut."""

        return self._on_cut is not None

    def make(self) -> None:
        """Take note that the connection was made."""

        self.is_made = True
        if self._connected is not None and not self._connected.done():
            self._connected.set_result(None)

    def decide(self, end: End, message: str | None, cause: BaseException | None) -> None:
        """Fix an end that is not clean, and call the transfer that is at work.

        Args:
            end: How it ended, unless `cause` is an `FTPDataError` that knows its own.
            message: The reason in words.
            cause: The exception that led to it. An `FTPDataError` becomes the reason itself.
        """

        if isinstance(cause, FTPDataError):
            # That a limit was exceeded says more than that a consumer failed.
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

    def not_connected(self, *, eof_sent: bool) -> FTPDataError:
        """Make the error of a call that needs an open connection.

        Args:
            eof_sent: Whether the end of file was sent: the call came too late.
        """

        if self.reason is not None:
            error = NotConnected(
                f"the data connection is not open: {self.reason}",
                end=self.end,
                reply_code=self.reason.reply_code,
            )
            error.__cause__ = self.reason
            return error

        if not self.is_made:
            return NotConnected("the data connection is not open yet")

        what = "the end of file was sent already" if eof_sent else "it is closing"
        return NotConnected(what, end=self.end, reply_code=426)

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
