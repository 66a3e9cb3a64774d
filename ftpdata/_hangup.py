"""Noticing that a peer is gone while nobody reads from it and nobody writes to it.

An event loop watches a socket only while its transport reads, or has something to send. A sender
that waits for a slow store does neither: reading is paused until there is a consumer. So one
epoll(7) for each event loop watches the connections of all senders, beside the loop's own, for the
two events that are always reported: EPOLLERR and EPOLLHUP. It is edge-triggered: a thousand
connections whose peers do nothing cost no turn of the loop. A peer that only closes its own
direction causes neither event, and is not gone.

Without epoll, as on macOS and Windows, and in an event loop that watches no descriptors, nothing is
watched: the next write notices the loss.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import weakref
from collections.abc import Callable
from types import MethodType

from ._kernel import watch_readable

__all__ = ["HangupWatch", "can_watch_for_hangup"]

AT_A_TIME = 64
"""Events that are handled in one turn of the loop; the rest wakes the loop again."""


def can_watch_for_hangup() -> bool:
    """Whether the system can tell at once that a peer is gone."""

    return hasattr(select, "epoll")


class HangupWatch:
    """Watches the connections of one event loop; see `of`.

    Its epoll has a descriptor only while something is watched. It keeps no callback alive: a
    connection knows its event loop, so a loop that was closed over it would never be freed.
    """

    def __init__(self) -> None:
        self._callbacks: dict[int, weakref.ref[Callable[[], None]]] = {}
        self._epoll: select.epoll | None = None

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> HangupWatch:
        """Return the watch of an event loop."""

        watch = _watches.get(loop)
        if watch is None:
            watch = _watches[loop] = cls()
        return watch

    def add(self, fd: int, callback: Callable[[], None]) -> None:
        """Call `callback` when the connection is gone; perhaps also earlier, so it must check.

        Args:
            fd: The number of its socket. Call `remove` before another file can get the number.
            callback: Called from the event loop, as long as somebody else refers to it, or to
                the object whose method it is.
        """

        if not can_watch_for_hangup():
            return

        # Without a descriptor or memory for this, the next write tells: a connection that
        # works must not be lost for want of a watch.
        with contextlib.suppress(OSError):
            if self._watch(fd):
                self._callbacks[fd] = _weak(callback)

    def remove(self, fd: int, callback: Callable[[], None]) -> None:
        """Stop watching the connection. Does nothing if another file has the number by now."""

        if self._callback_for(fd) != callback:
            return

        del self._callbacks[fd]
        epoll = self._epoll
        assert epoll is not None
        with contextlib.suppress(OSError, ValueError):
            epoll.unregister(fd)
        if not self._callbacks:
            self._close()

    def _watch(self, fd: int) -> bool:
        """Watch a connection; return whether the event loop can."""

        if self._epoll is None:
            epoll = select.epoll()
            if not watch_readable(asyncio.get_running_loop(), epoll, self._notify):
                _close(epoll)
                return False
            self._epoll = epoll
        try:
            self._epoll.register(fd, select.EPOLLET)
        except FileExistsError:
            # A duplicate of a socket that had this number is still open.
            self._epoll.modify(fd, select.EPOLLET)
        except OSError:
            if not self._callbacks:
                self._close()
            raise

        return True

    def _close(self) -> None:
        epoll, self._epoll = self._epoll, None
        assert epoll is not None
        asyncio.get_running_loop().remove_reader(epoll.fileno())
        _close(epoll)

    def _notify(self) -> None:
        epoll = self._epoll
        assert epoll is not None
        for fd, _ in epoll.poll(0, AT_A_TIME):
            callback = self._callback_for(fd)
            if callback is not None:
                callback()

    def _callback_for(self, fd: int) -> Callable[[], None] | None:
        reference = self._callbacks.get(fd)
        return None if reference is None else reference()


def _close(epoll: select.epoll) -> None:
    # One whose close fails is closed all the same.
    with contextlib.suppress(OSError):
        epoll.close()


def _weak(callback: Callable[[], None]) -> weakref.ref[Callable[[], None]]:
    """Refer to a callback. A bound method is a new object each time: its own object counts."""

    if isinstance(callback, MethodType):
        return weakref.WeakMethod(callback)

    return weakref.ref(callback)


_watches: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, HangupWatch] = (
    weakref.WeakKeyDictionary()
)
