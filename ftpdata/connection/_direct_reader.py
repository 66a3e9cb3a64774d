"""Reading into a consumer's memory, past `data_received` (`BufferedConsumer`)."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ..contracts import BufferedConsumer
from ..outcome import End

__all__ = ["DirectReader"]

SPARE_READ = 64 * 1024
"""Bytes that are read at a time while the consumer wants nothing."""


class Receiver(Protocol):
    """What a `DirectReader` needs of a DTP."""

    def data_received(self, data: bytes) -> None:
        """Deliver, hold or discard what came."""

    def direct_consumer(self) -> BufferedConsumer | None:
        """Give the consumer that offers memory, while it wants data and none are held for it."""

    def account_received(self, nbytes: int) -> None:
        """Count bytes that came past `data_received`."""

    def abort(
        self, end: End = ..., message: str | None = None, *, cause: BaseException | None = None
    ) -> None:
        """End the connection with a reset."""


class DirectReader(asyncio.BufferedProtocol):
    """Stands for the `DTP` as the transport's protocol; lets it read into a consumer's memory.

    All else, and what is read while the consumer wants nothing, goes the DTP's
    usual way. Every event loop reads between `get_buffer` and `buffer_updated`
    and does nothing else there, so that the answer stays true.
    """

    def __init__(self, dtp: Receiver) -> None:
        self._dtp = dtp
        self._consumer: BufferedConsumer | None = None
        self._spare: memoryview | None = None
        self.data_received = dtp.data_received
        # asyncio declares them as methods.
        for name in ("connection_lost", "eof_received", "pause_writing", "resume_writing"):
            setattr(self, name, getattr(dtp, name))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the consumer knows better
        """Give the consumer's memory, or some of our own."""

        self._consumer = self._dtp.direct_consumer()
        if self._consumer is not None:
            return self._consumer.get_buffer()

        self._spare = memoryview(bytearray(SPARE_READ))
        return self._spare

    def buffer_updated(self, nbytes: int) -> None:
        """Report that the reader has the data now."""

        dtp, consumer = self._dtp, self._consumer
        if consumer is None:
            assert self._spare is not None
            dtp.data_received(bytes(self._spare[:nbytes]))
            return

        dtp.account_received(nbytes)
        try:
            consumer.buffer_updated(nbytes)
        except Exception as error:  # noqa: BLE001 - whatever it was, it ends the transfer
            dtp.abort(End.CONSUMER_FAILED, cause=error)
