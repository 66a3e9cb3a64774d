"""Send through an encoder: TYPE, STRU and MODE on the way out of a producer."""

from __future__ import annotations

import asyncio
from typing import cast

from ..contracts import (
    Buffer,
    Destination,
    Encoder,
    Producer,
    PushProducer,
    StartableProducer,
    require_methods,
)
from ..outcome import End

__all__ = ["EncodedProducer"]


class EncodedProducer:
    """Sends what another producer gives through an encoder.

    A file as TYPE A, for example::

        EncodedProducer(FileProducer(path), AsciiEncoder()).start(dtp)

    It is a push or a pull producer, as the other one is; to that one it is the
    destination. An encoder that raises ends the transfer as a producer does.

    Args:
        producer: Not started yet. It is stopped and closed with this one.
        encoder: A fresh one.

    Raises:
        TypeError: They are not a producer that can be started and an encoder.
    """

    def __init__(self, producer: StartableProducer, encoder: Encoder) -> None:
        require_methods(producer, "a producer to start", ("start",))
        require_methods(encoder, "an encoder", ("feed", "finish"))
        self._inner = producer
        self._encoder = encoder
        self._destination: Destination | None = None
        self._registered: Producer | None = None
        # A pull producer was asked, and nothing has come out of the encoder yet.
        self._owes = False

    @property
    def streaming(self) -> bool:
        """Whether the producer within is a push producer."""

        return self._inner.streaming

    def start(self, destination: Destination) -> None:
        """Start the producer within, and register with the connection in its place.

        See `FileProducer.start`.
        """

        if self._destination is not None:
            raise RuntimeError("EncodedProducer is for one transfer, and was started before")

        self._destination = destination
        self._inner.start(self)

    # The producer that the connection knows

    def resume_producing(self) -> None:
        """Ask the producer within."""

        assert self._registered is not None
        self._owes = not self.streaming
        self._registered.resume_producing()

    def pause_producing(self) -> None:
        """Pause the producer within."""

        cast("PushProducer", self._registered).pause_producing()

    def stop_producing(self) -> None:
        """Stop the producer within. Idempotent."""

        producer, self._registered = self._registered, None
        if producer is not None:
            producer.stop_producing()

    async def aclose(self) -> None:
        """Stop the producer within, and wait until it holds nothing. Idempotent."""

        self.stop_producing()
        await self._inner.aclose()

    # The destination that the producer within knows

    def register_producer(self, producer: Producer, streaming: bool) -> None:
        """Register with the connection in its place."""

        if self._registered is not None:
            raise RuntimeError(f"a producer is already registered: {self._registered!r}")

        assert self._destination is not None
        self._registered = producer
        self._destination.register_producer(cast("Producer", self), streaming)

    def unregister_producer(self) -> None:
        """Send what the encoder still holds, and end."""

        if self._registered is None:
            return

        assert self._destination is not None
        for piece in self._encoder.finish():
            self._destination.write(piece)

        self._registered = None
        self._destination.unregister_producer()

    def write(self, data: Buffer) -> None:
        """Encode data and send what comes of it."""

        assert self._destination is not None
        for piece in self._encoder.feed(data):
            self._owes = False
            self._destination.write(piece)

        if self._owes:
            # The encoder keeps everything for later, so the connection would not ask again.
            asyncio.get_running_loop().call_soon(self._ask_again)

    def abort(
        self,
        end: End = End.ABORTED,
        message: str | None = None,
        *,
        cause: BaseException | None = None,
    ) -> None:
        """Abort the connection."""

        assert self._destination is not None
        self._destination.abort(end, message, cause=cause)

    def _ask_again(self) -> None:
        if not self._owes or self._registered is None:
            return

        try:
            self._registered.resume_producing()
        except Exception as error:  # noqa: BLE001 - whatever it was, it ends the transfer
            self.abort(End.PRODUCER_FAILED, cause=error)
