"""Ready-made consumers, for `DTP.register_consumer`.

Each fulfils `ftpdata.contracts.Consumer`: it takes what a push producer,
usually a `DTP`, writes, and pauses it rather than hold more than its bound.
"""

from __future__ import annotations

import asyncio
from collections import deque

from .contracts import PushProducer
from .errors import FTPDataError
from .protocol import DTP, CloseWaiter

__all__ = ["ReceiveQueue"]

DEFAULT_HIGH_WATER = 256 * 1024
"""Bytes that a consumer holds before it pauses its producer."""


class _Consumer:
    """What every consumer here has in common: one producer, once."""

    _producer: PushProducer | None = None
    _had_producer = False

    def register_producer(self, producer: PushProducer, streaming: bool) -> None:
        """Take note of who will write.

        Raises:
            RuntimeError: A producer is or has been registered.
            ValueError: It is not a push producer, as a `DTP` is one.
        """

        if self._had_producer:
            raise RuntimeError(
                f"{type(self).__name__} is for one producer, and has had {self._producer!r}"
            )

        if not streaming:
            raise ValueError("expected a push producer: nobody here would ask a pull producer")

        self._had_producer = True
        self._producer = producer


class ReceiveQueue(_Consumer):
    """Receives into ``await queue.receive()``, or into ``async for data in queue``.

    ::

        queue = ReceiveQueue.attach(dtp)
        while data := await queue.receive():
            ...

    What came is given out before the end is told, a cut one too. It pauses
    the connection above `high_water` and resumes it at a quarter of that: on
    most event loops each of the two is a system call. It has no task and
    nothing to close; who stops receiving early aborts the connection.

    Args:
        high_water: Bytes that are held before the producer is paused. Held
            are never more than this and one `write`.
    """

    def __init__(self, high_water: int = DEFAULT_HIGH_WATER) -> None:
        self.high_water = high_water
        self._low_water = high_water // 4
        self._chunks: deque[bytes] = deque()
        self._start = 0
        self._size = 0
        self._paused = False
        self._ended = False
        self._close_waiter: CloseWaiter | None = None
        self._reason: FTPDataError | None = None
        self._arrival: asyncio.Future[None] | None = None

    @classmethod
    def attach(cls, dtp: DTP, high_water: int = DEFAULT_HIGH_WATER) -> ReceiveQueue:
        """Make a queue and register it with a connection.

        Args:
            dtp: Has had no consumer; need not be connected yet.
            high_water: See the class.

        Raises:
            RuntimeError: The DTP has had its consumer.
        """

        queue = cls(high_water)
        queue._close_waiter = dtp.register_consumer(queue)
        return queue

    @property
    def size(self) -> int:
        """Bytes that wait to be received."""

        return self._size

    def write(self, data: bytes) -> None:
        """Hold data until they are received."""

        self._chunks.append(data)
        self._size += len(data)
        if self._size > self.high_water and not self._paused:
            assert self._producer is not None
            self._paused = True
            self._producer.pause_producing()

        self._wake()

    def unregister_producer(self) -> None:
        """Take note that nothing more comes."""

        self._ended = True
        # Where nobody has given us the awaitable of the registration, a DTP tells its reason.
        reason = getattr(self._producer, "reason", None)
        self._reason = reason if isinstance(reason, FTPDataError) else None
        self._wake()

    async def receive(self, max_bytes: int | None = None) -> bytes:
        """Wait for data; return all there are, or ``b""`` at the clean end.

        Returns without suspending where there are data. For one task at a
        time. Once the end was told, it is told again.

        Args:
            max_bytes: Bytes to return at most.

        Raises:
            FTPDataError: The connection ended in any way but a clean one; the
                reason, with its `End` and its reply code.
            RuntimeError: Another task waits here already.

        Cancellation loses nothing.
        """

        while not self._chunks:
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
            # Where the rest begins is noted: to cut it off each time would copy it each time.
            data = chunks[0][start : start + max_bytes]
            self._start = start + max_bytes
        else:
            data = chunks.popleft()[start:]
            self._start = 0
            if chunks and (max_bytes is None or len(data) < max_bytes):
                data = self._join(data, max_bytes)

        self._size -= len(data)
        if self._paused and self._size <= self._low_water:
            self._paused = False
            if not self._ended:
                assert self._producer is not None
                self._producer.resume_producing()

        return data

    def _join(self, first: bytes, max_bytes: int | None) -> bytes:
        """Join all that is held; keep what is more than wanted."""

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
