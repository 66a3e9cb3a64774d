"""Pausing and resuming what a transport reads, on every event loop.

The transports of asyncio's proactor event loop, which is that of Windows, begin a read on the next
turn of the loop after they are resumed. One that is paused and resumed again before that turn
begins two reads into the same buffer, and loses data or stops for ever; so does one that is paused
and resumed while its connection is made. Such a transport is resumed on a turn of its own, after
all that was asked of it before.
"""

from __future__ import annotations

import asyncio
import weakref

from ._kernel import is_proactor

__all__ = ["pause_reading", "resume_reading"]


def pause_reading(transport: asyncio.Transport) -> None:
    """Let a transport deliver nothing until it is resumed."""

    resuming = _resuming.pop(transport, None) if _resuming else None
    if resuming is not None:
        resuming.cancel()
    transport.pause_reading()


def resume_reading(transport: asyncio.Transport) -> None:
    """Let a transport deliver, if it is not paused again before it begins to.

    Raises:
        OSError: The event loop has no memory to watch the connection.
    """

    if not is_proactor(transport):
        transport.resume_reading()
    elif transport not in _resuming:
        _resuming[transport] = asyncio.get_running_loop().call_soon(_resume, transport)


def _resume(transport: asyncio.Transport) -> None:
    del _resuming[transport]
    transport.resume_reading()


_resuming: weakref.WeakKeyDictionary[asyncio.Transport, asyncio.Handle] = (
    weakref.WeakKeyDictionary()
)
"""The transports that are about to be resumed."""
