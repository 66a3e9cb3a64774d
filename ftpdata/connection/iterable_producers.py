"""Send what a program has or makes: bytes, an iterable, an asynchronous iterable."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

from .._checks import check_call
from ..contracts import Buffer
from ._producer import OneTransfer, TaskProducer, slices

__all__ = ["AsyncIterableProducer", "BytesProducer", "IterableProducer"]


class BytesProducer(OneTransfer):
    """Sends bytes that are in memory. A pull producer; it has no task.

    Args:
        data: Is not copied, and must not be changed until it is sent.

    Raises:
        TypeError: It is not a buffer of bytes.
    """

    streaming = False

    def __init__(self, data: Buffer) -> None:
        check_call(BytesProducer.__init__, locals())
        self._pieces = slices(data)
        self._piece = next(self._pieces, None)

    def resume_producing(self) -> None:
        """Write the next piece, and end the transfer after the last one."""

        assert self._destination is not None
        piece, self._piece = self._piece, next(self._pieces, None)
        if piece is not None:
            self._destination.write(piece)

        if self._piece is None:
            self._destination.unregister_producer()

    def stop_producing(self) -> None:
        """Let go of the data."""

        self._piece, self._pieces = None, iter(())


class IterableProducer(OneTransfer):
    """Sends what an iterable gives, at the pace of the connection. A pull producer without a task.

    The iterable is asked on the event loop and must not block: to read a file,
    use `FileProducer`. A generator is closed in every case.

    Args:
        chunks: Pieces of any size, which must not be changed afterwards. An
            `OSError` that it raises chooses the reply code, as that of a file
            does.

    Raises:
        TypeError: It is not an iterable of bytes.
    """

    streaming = False

    def __init__(self, chunks: Iterable[Buffer]) -> None:
        check_call(IterableProducer.__init__, locals())
        if isinstance(chunks, (str, bytes, bytearray, memoryview)):
            raise TypeError(
                f"expected an iterable of bytes, not {type(chunks).__name__}: {chunks!r:.80}"
            )

        self._chunks: Iterator[Buffer] = iter(chunks)
        self._pieces: Iterator[Buffer] = iter(())

    def resume_producing(self) -> None:
        """Write the next piece, or end the transfer."""

        assert self._destination is not None
        while True:
            piece = next(self._pieces, None)
            if piece is not None:
                self._destination.write(piece)
                return

            chunk = next(self._chunks, None)
            if chunk is None:
                self._destination.unregister_producer()
                return

            self._pieces = slices(chunk)

    def stop_producing(self) -> None:
        """Close the iterable, if it is a generator, and let go of it."""

        chunks, self._chunks = self._chunks, iter(())
        self._pieces = iter(())
        close = getattr(chunks, "close", None)
        if close is not None:
            close()


class AsyncIterableProducer(TaskProducer):
    """Sends what an asynchronous iterable gives, at the pace of the connection.

    A push producer; its task asks for one chunk ahead. An asynchronous
    generator is closed in every case: also if it has not begun, if the producer
    is refused, and by `aclose` if the producer was never started.

    Args:
        chunks: Pieces of any size, which must not be changed afterwards.

    Raises:
        TypeError: It is not an asynchronous iterable.
    """

    def __init__(self, chunks: AsyncIterable[Buffer]) -> None:
        check_call(AsyncIterableProducer.__init__, locals())
        super().__init__()
        self._chunks: AsyncIterator[Buffer] = aiter(chunks)

    async def _produce(self) -> None:
        async for chunk in self._chunks:
            for piece in slices(chunk):
                await self._write(piece)

    async def _close_source(self) -> None:
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()
