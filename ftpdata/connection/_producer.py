"""What the producers of this package have in common.

The rules of every producer here:

1. No write is longer than 256 KiB, whatever the source gives (an encoder may
   double it): in flight are the high-water mark and one piece, never more.
2. A producer is for one transfer.
3. It ends the transfer by ``unregister_producer``, as in Twisted; where its
   source fails, by an abort with the error as its cause.
4. A producer that has a task owns it. The task ends with the source, or by
   `stop_producing`, which the connection calls when it is lost. So to abort
   the connection ends everything; `aclose` waits until nothing is held.
5. A source that was handed over, such as a generator, is closed in every case:
   also if the producer was refused, or stopped before it began.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Iterator
from typing import ClassVar, cast

from .._views import byte_views
from ..codecs.representation import PIECE_SIZE
from ..contracts import Buffer, Destination, Producer
from ..errors import NotConnected
from ..outcome import End
from ._loss import LOSS_TURNS

__all__ = ["OneTransfer", "TaskProducer", "slices"]


class OneTransfer(abc.ABC):
    """A producer that registers itself where it is started, once."""

    streaming: ClassVar[bool]
    _destination: Destination | None = None

    def start(self, destination: Destination) -> None:
        """Register with a connection, and produce when it wants data.

        Args:
            destination: The `DTP`; need not be connected yet.

        Raises:
            RuntimeError: The producer was started before, or the DTP has had
                its producer.
            NotConnected: The connection has ended. Reply 425.
        """

        if self._destination is not None:
            raise RuntimeError(f"{type(self).__name__} is for one transfer, and was started before")

        self._destination = destination
        try:
            destination.register_producer(cast("Producer", self), self.streaming)
        except BaseException:
            # Nobody else will ever call this producer.
            self.stop_producing()
            raise

    @abc.abstractmethod
    def stop_producing(self) -> None:
        """Stop for good, and let go of the source. Idempotent."""

    async def aclose(self) -> None:
        """Stop for good, and wait until nothing is held. Idempotent."""

        self.stop_producing()


class TaskProducer(OneTransfer):
    """A push producer that runs `_produce` in a task of its own."""

    streaming = True

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._has_begun = False
        self._paused = False
        self._stopped = False
        self._resumption: asyncio.Future[None] | None = None

    def start(self, destination: Destination) -> None:
        """Register with a connection, and begin. See `OneTransfer.start`."""

        is_first = self._destination is None
        try:
            super().start(destination)
        finally:
            if is_first:
                # Also if it was refused: the task closes the source. If registering has paused
                # or stopped the producer, the task sees that when it begins.
                self._task = asyncio.get_running_loop().create_task(self._run(destination))

    def pause_producing(self) -> None:
        """Write nothing until `resume_producing`; one piece is made ready in the meantime."""

        self._paused = True

    def resume_producing(self) -> None:
        """Go on writing."""

        self._paused = False
        if self._resumption is not None and not self._resumption.done():
            self._resumption.set_result(None)

    def stop_producing(self) -> None:
        """Stop the task, which then lets go of the source. Idempotent, returns at once."""

        self._stopped = True
        task = self._task
        # A task that is cancelled before it begins would never close the source.
        if task is not None and self._has_begun and task is not asyncio.current_task():
            task.cancel()

    async def aclose(self) -> None:
        """Stop, and wait until the source is closed. Idempotent.

        Cancellation leaves the task, which goes on and ends by itself.
        """

        self.stop_producing()
        if self._task is None:
            # It was never started.
            await self._close_source()
        else:
            await asyncio.wait((self._task,))
            if not self._has_begun:
                # Somebody else has cancelled the task.
                await self._close_source()

    @abc.abstractmethod
    async def _produce(self) -> None:
        """Produce everything by `_write`."""

    async def _close_source(self) -> None:
        """Close the source if it was handed over. Idempotent."""

    async def _write(self, piece: Buffer) -> None:
        """Write a piece once it is wanted."""

        while self._paused:
            self._resumption = asyncio.get_running_loop().create_future()
            try:
                await self._resumption
            finally:
                self._resumption = None

        assert self._destination is not None
        try:
            self._destination.write(piece)
        except NotConnected:
            # A connection that is being lost stops this producer in the next turns, and knows the
            # reason. If it does not, somebody else has sent the end of file: the transfer is cut.
            for _ in range(LOSS_TURNS):
                await asyncio.sleep(0)
            raise

        # A source that is always ready, and a peer that is as fast, must leave time for others.
        await asyncio.sleep(0)

    async def _run(self, destination: Destination) -> None:
        self._has_begun = True
        try:
            try:
                if not self._stopped:
                    await self._produce()
            finally:
                await self._close_source()

            if not self._stopped:
                destination.unregister_producer()
        except asyncio.CancelledError:
            if not self._stopped:
                # Somebody else has cancelled the task. The transfer must not hang.
                destination.abort(End.CANCELLED)
        except Exception as error:  # noqa: BLE001 - whatever it was, it ends the transfer
            self._fail(destination, error)
        finally:
            self._stopped = True

    def _fail(self, destination: Destination, error: Exception) -> None:
        if not self._stopped:
            destination.abort(End.PRODUCER_FAILED, cause=error)
            return

        # The transfer has ended already, so nobody waits for the source any more.
        asyncio.get_running_loop().call_exception_handler({
            "message": f"the source of {type(self).__name__} failed when it was closed",
            "exception": error,
            # Not "task": from Python 3.12 on the handler would run in the
            # context of that task, which is the one that runs here.
            "producer": self,
        })


def slices(data: Buffer) -> Iterator[Buffer]:
    """Cut data into non-empty pieces of at most `PIECE_SIZE`, without a copy.

    Raises:
        TypeError: It is not a buffer of bytes.
    """

    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"expected bytes to send, not {type(data).__name__}: {data!r:.80}")

    return _slices(data)


def _slices(data: Buffer) -> Iterator[Buffer]:
    if len(data) <= PIECE_SIZE and not isinstance(data, memoryview):
        if data:
            yield data

        return

    yield from byte_views(data, PIECE_SIZE)
