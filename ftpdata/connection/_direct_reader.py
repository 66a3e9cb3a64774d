"""Reads into a consumer's memory, past `DTP.data_received` (`BufferedConsumer`)."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ..contracts import BufferedConsumer
from ..outcome import End
from ._intake import Intake
from ._owner import Owner
from ._wire import Wire

__all__ = ["DirectReader"]

SPARE_READ = 64 * 1024
"""Bytes that are read at a time while the consumer wants nothing."""


class Receiver(Owner, Protocol):
    """What a `DirectReader` needs of a `DTP`, besides the callbacks of a protocol."""

    def data_received(self, data: bytes) -> None:
        """Deliver, hold or discard what came."""


class DirectReader(asyncio.BufferedProtocol):
    """Takes the place of a `DTP` as the transport's protocol, to read into a consumer's memory.

    Everything else goes to the DTP as usual, and so do data that come while the consumer wants
    none. Every event loop reads between `get_buffer` and `buffer_updated` and does nothing else
    there, so the answer of the first holds until the second.

    Args:
        dtp: The DTP.
        wire: The connection, whose bytes are counted here.
        intake: The consumer.
    """

    def __init__(self, dtp: Receiver, wire: Wire, intake: Intake) -> None:
        self._dtp = dtp
        self._wire = wire
        self._intake = intake
        self._consumer: BufferedConsumer | None = None
        self._spare: memoryview | None = None
        # Why the consumer has no memory for this read.
        self._failure: Exception | None = None
        self.data_received = dtp.data_received
        # asyncio declares them as methods.
        for name in ("connection_lost", "eof_received", "pause_writing", "resume_writing"):
            setattr(self, name, getattr(dtp, name))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the consumer knows better
        """Return the consumer's memory if it wants data; otherwise spare memory."""

        self._failure = None
        self._consumer = self._intake.find_memory()
        if self._consumer is not None:
            try:
                return self._consumer.get_buffer()
            except Exception as error:  # noqa: BLE001 - whatever it was, it ends the transfer
                # But not here: an event loop reads next, from a socket that is still open.
                self._failure = error

        self._spare = memoryview(bytearray(SPARE_READ))
        return self._spare

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on the data that were read."""

        consumer = self._consumer
        if self._failure is not None:
            self._dtp.abort(End.CONSUMER_FAILED, cause=self._failure)
            return

        if consumer is None:
            assert self._spare is not None
            self._dtp.data_received(bytes(self._spare[:nbytes]))
            return

        self._wire.received += nbytes
        try:
            consumer.buffer_updated(nbytes)
        except Exception as error:  # noqa: BLE001 - whatever it was, it ends the transfer
            self._dtp.abort(End.CONSUMER_FAILED, cause=error)
