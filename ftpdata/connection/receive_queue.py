"""Receive from a `DTP` by ``await``, or in an ``async for``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import anyio

from .._checks import check_call, check_range
from ..contracts import Consumer
from ..errors import FTPDataError
from ._consumer import DEFAULT_HIGH_WATER, OneProducer, reason_of
from ._fate import CloseWaiter
from .protocol import DTP

__all__ = ["ReceiveQueue"]


class ReceiveQueue(OneProducer):
    """Receives into ``await queue.receive()``, or into ``async for data in queue``.

    ::

        queue = ReceiveQueue.attach(dtp)
        while data := await queue.receive():
            ...

    What has come is given out before the end is reported, even if the connection
    was cut. The queue pauses the connection above `high_water` and resumes it at
    a quarter of that, since on most event loops each of the two is a system call.
    It has no task and nothing to close; to stop receiving early, abort the
    connection.

    Args:
        high_water: Bytes that are held before the producer is paused. The queue
            never holds more than this and one `write`.

    Raises:
        ValueError: `high_water` is negative.
    """

    def __init__(self, high_water: int = DEFAULT_HIGH_WATER) -> None:
        check_call(ReceiveQueue.__init__, locals())
        check_range("high_water", high_water, 0)
        self.high_water = high_water
        self._low_water = high_water // 4
        self._chunks: deque[bytes] = deque()
        self._start = 0
        self._size = 0
        self._paused = False
        self._held_back = False
        self._ended = False
        self._closed = False
        self._close_waiter: CloseWaiter | None = None
        self._reason: FTPDataError | None = None
        self._arrival: asyncio.Future[None] | None = None

    @classmethod
    def attach(
        cls,
        dtp: DTP,
        high_water: int = DEFAULT_HIGH_WATER,
        *,
        through: Callable[[Consumer], Consumer] | None = None,
    ) -> ReceiveQueue:
        """Make a queue and register it with a connection.

        Args:
            dtp: A connection that has had no consumer; it need not be connected yet.
            high_water: See the class.
            through: Makes the chain that the data pass through on their way to
                the queue, such as
                ``lambda queue: DecodingConsumer(queue, decoder)``.

        Raises:
            RuntimeError: The DTP has had its consumer.
        """

        check_call(ReceiveQueue.attach, locals())
        queue = cls(high_water)
        consumer = queue if through is None else through(queue)
        queue._close_waiter = dtp.register_consumer(consumer)
        return queue

    @property
    def size(self) -> int:
        """Bytes that wait to be received."""

        return self._size

    @property
    def is_ready(self) -> bool:
        """Whether `receive` would return, or raise, without suspending."""

        return self._size > 0 or self._ended or self._closed

    def write(self, data: bytes) -> None:
        """Hold data until they are received."""

        if self._closed:
            return

        self._chunks.append(data)
        self._size += len(data)
        if self._size > self.high_water:
            self._pause_producer()

        self._wake()

    def unregister_producer(self) -> None:
        """Take note that nothing more comes."""

        self._ended = True
        # A queue that was registered by hand, not by `attach`, has no other way to know.
        self._reason = reason_of(self._producer)
        self._wake()

    def pause(self) -> None:
        """Let nothing more be delivered until `resume`; what is held can be received."""

        self._held_back = True
        if not self._ended:
            self._pause_producer()

    def resume(self) -> None:
        """Go on as before `pause`."""

        self._held_back = False
        self._resume_below(self._low_water)

    @property
    def is_idle(self) -> bool:
        """Whether it was paused by `pause`, holds nothing, and the end has not come."""

        return self._held_back and not self.is_ready

    def close(self) -> None:
        """Drop what is held and everything that still comes.

        `receive` raises `anyio.ClosedResourceError` from now on, also in a task
        that waits in it. The connection goes on; its owner ends it.
        """

        self._closed = True
        self._chunks.clear()
        self._start = self._size = 0
        if self._paused:
            self._resume()
        self._wake()

    async def receive(self, max_bytes: int | None = None) -> bytes:
        """Wait for data and return them all; return ``b""`` at the clean end.

        Does not suspend if there are data. For one task at a time. After the
        end, each call reports the end again.

        Args:
            max_bytes: Bytes to return at most.

        Raises:
            FTPDataError: The connection ended in any way but a clean one; the
                reason, with its `End` and its reply code.
            RuntimeError: Another task waits here already.
            anyio.ClosedResourceError: The queue was closed.

        Cancellation loses nothing.
        """

        while not self._size:
            if self._closed:
                raise anyio.ClosedResourceError

            if self._ended:
                await self._check_end()
                return b""

            await self._wait()

        return self._take(max_bytes)

    def __aiter__(self) -> ReceiveQueue:
        return self

    async def __anext__(self) -> bytes:
        data = await self.receive()
        if not data:
            raise StopAsyncIteration

        return data

    def _take(self, max_bytes: int | None) -> bytes:
        chunks, start = self._chunks, self._start
        if max_bytes is not None and len(chunks[0]) - start > max_bytes:
            # Only note where the rest begins: cutting it off would copy all of it, each time.
            data = chunks[0][start : start + max_bytes]
            self._start = start + max_bytes
        else:
            data = chunks.popleft()[start:]
            self._start = 0
            if chunks and (max_bytes is None or len(data) < max_bytes):
                data = self._join(data, max_bytes)

        self._size -= len(data)
        if not self._held_back:
            self._resume_below(self._low_water)

        return data

    def _pause_producer(self) -> None:
        if not self._paused:
            assert self._producer is not None
            self._paused = True
            self._producer.pause_producing()

    def _resume_below(self, size: int) -> None:
        if self._paused and self._size <= size:
            self._resume()

    def _resume(self) -> None:
        self._paused = False
        if not self._ended:
            assert self._producer is not None
            self._producer.resume_producing()

    def _join(self, first: bytes, max_bytes: int | None) -> bytes:
        """Join everything that is held; keep what is more than wanted."""

        data = b"".join((first, *self._chunks))
        self._chunks.clear()
        if max_bytes is None or len(data) <= max_bytes:
            return data

        self._chunks.append(data)
        self._start = max_bytes
        return data[:max_bytes]

    async def _check_end(self) -> None:
        if self._close_waiter is not None:
            await self._close_waiter
        elif self._reason is not None:
            raise self._reason

    async def _wait(self) -> None:
        if self._arrival is not None:
            raise RuntimeError("another task is receiving from this queue already")

        self._arrival = asyncio.get_running_loop().create_future()
        try:
            await self._arrival
        finally:
            self._arrival = None

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
