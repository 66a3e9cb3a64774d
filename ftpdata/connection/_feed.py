"""The producer that sends through a connection, and whose turn it is: its own or the connection's.

A push producer writes at will; it is paused and resumed, strictly in turn. A pull producer writes
when it is asked; it is asked once each time data are wanted, and never from within its own `write`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from ..contracts import Producer, PushProducer
from ..errors import NotConnected
from ..outcome import End
from ._fate import Fate
from ._owner import Owner, report_failure
from ._wire import Wire

__all__ = ["Feed"]


class Feed:
    """One producer, from its registration until it unregisters or the connection ends.

    Args:
        producer: The producer.
        streaming: Whether it is a push producer.
        dtp: The connection's `DTP`.
        wire: The connection.
        fate: How that ended; once it has, the producer is asked for nothing more.

    Attributes:
        producer: As above; None once it has unregistered, or the connection has ended.
        is_asked: Whether a pull producer was asked and has not written since.
    """

    __slots__ = (
        "_dtp",
        "_fate",
        "_is_paused",
        "_is_scheduled",
        "_streaming",
        "_wire",
        "is_asked",
        "producer",
    )

    def __init__(
        self, producer: Producer, streaming: bool, dtp: Owner, wire: Wire, fate: Fate
    ) -> None:
        self.producer: Producer | None = producer
        self.is_asked = False
        self._streaming = streaming
        self._dtp = dtp
        self._wire = wire
        self._fate = fate
        self._is_paused = False
        self._is_scheduled = False
        wire.has_writer = True

    def release(self) -> None:
        """Let the producer go: it has no more data."""

        self.producer = None
        self._wire.has_writer = False

    def stop(self) -> None:
        """Stop the producer: the connection has ended."""

        producer, self.producer = self.producer, None
        assert producer is not None
        self._wire.has_writer = False
        try:
            producer.stop_producing()
        except Exception as error:  # noqa: BLE001 - the end stands; the error is not lost
            report_failure(self._dtp, self._wire, producer.stop_producing, error)

    def update(self) -> None:
        """Pause, resume or ask the producer, as the connection now has room or not."""

        if self.producer is None or self._fate.end is not None:
            return

        has_no_room = self._wire.is_full or self._wire.transport is None
        if self._streaming:
            if has_no_room is not self._is_paused:
                self._is_paused = has_no_room
                producer = cast("PushProducer", self.producer)
                self._call(producer.pause_producing if has_no_room else producer.resume_producing)
        elif not (has_no_room or self.is_asked or self._is_scheduled):
            # Later: this may be called from within the producer's own write.
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._ask)

    def _ask(self) -> None:
        self._is_scheduled = False
        if self.producer is None or self._fate.end is not None or self._wire.is_full:
            return

        self.is_asked = True
        self._call(self.producer.resume_producing)

    def _call(self, method: Callable[[], object]) -> None:
        try:
            method()
        except Exception as error:  # noqa: BLE001 - whatever it was, it ends the transfer
            transport = self._wire.transport
            if isinstance(error, NotConnected) and transport is not None and transport.is_closing():
                # It ran into a loss that the transport is about to report, with the reason.
                return
            self._dtp.abort(End.PRODUCER_FAILED, cause=error)
