"""The consumer that receives from a connection: what it gets, and when it is let go.

It gets ``register_producer``, any number of ``write`` or ``buffer_updated``, and at the end
``unregister_producer`` exactly once. Only after that is the future of its registration done.
"""

from __future__ import annotations

import asyncio
from typing import cast

from ..contracts import BufferedConsumer, Consumer, PushProducer
from ..errors import error_for_end
from ..outcome import End
from ._fate import Fate, keep_quiet
from ._owner import Owner, report_failure
from ._wire import Wire

__all__ = ["Intake"]


class Intake:
    """One consumer, from its registration until it has everything or the connection is cut.

    Args:
        consumer: The consumer.
        dtp: The connection's `DTP`, which is the consumer's producer.
        wire: The connection.
        fate: How that ended.

    Attributes:
        consumer: As above; None once it was let go.
        future: Done when the consumer has everything and was let go; raises the reason on any
            end but a clean one.
        is_delivering: Whether the consumer's `write` is being called.
    """

    __slots__ = ("_dtp", "_fate", "_wire", "consumer", "future", "is_delivering")

    def __init__(self, consumer: Consumer, dtp: Owner, wire: Wire, fate: Fate) -> None:
        self.consumer: Consumer | None = consumer
        self.is_delivering = False
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.future.add_done_callback(keep_quiet)
        self._dtp = dtp
        self._wire = wire
        self._fate = fate

    def register(self) -> None:
        """Call the consumer's `register_producer`, and raise what that raises."""

        assert self.consumer is not None
        self.consumer.register_producer(cast("PushProducer", self._dtp), True)

    def deliver(self, data: bytes) -> None:
        """Write data to the consumer."""

        assert self.consumer is not None
        self.is_delivering = True
        try:
            self.consumer.write(data)
        except Exception as error:  # noqa: BLE001 - whatever it was, it ends the transfer
            self._dtp.abort(End.CONSUMER_FAILED, cause=error)
        finally:
            self.is_delivering = False

    def deliver_held(self) -> None:
        """Write what is held, until the consumer pauses."""

        wire = self._wire
        while (
            wire.held
            and self.consumer is not None
            and not wire.is_held_back
            and self._fate.reason is None
        ):
            self.deliver(wire.take_held())

    def find_memory(self) -> BufferedConsumer | None:
        """Return the consumer that offers memory, if it wants data and none are held for it."""

        wire = self._wire
        wanted = not wire.is_held_back and not wire.held and self._fate.end is None
        return cast("BufferedConsumer", self.consumer) if wanted else None

    def release(self) -> None:
        """Let the consumer go, and complete the future."""

        consumer, self.consumer = self.consumer, None
        assert consumer is not None
        failure: Exception | None = None
        try:
            consumer.unregister_producer()
        except Exception as error:  # noqa: BLE001 - whatever it was, it ends the transfer
            failure = error

        fate = self._fate
        reason = fate.reason
        if reason is None and failure is not None:
            # Its last step, such as closing a file, has failed. What it got is
            # not safe, and the peer must not believe that it is.
            fate.decide(End.CONSUMER_FAILED, None, failure)
            reason = fate.reason
            if not fate.is_over:
                self._wire.cut()
        elif failure is not None:
            report_failure(self._dtp, self._wire, consumer.unregister_producer, failure)
        elif reason is None and not self._wire.eof_received:
            # `finish` closed a connection on which the peer had more to send.
            reason = error_for_end(End.ABORTED, "finished here before the peer's end of file")

        if reason is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(reason)
