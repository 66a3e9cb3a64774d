"""Receive through a decoder: TYPE, STRU and MODE on their way to a consumer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import cast

from ..contracts import Consumer, Decoder, PushProducer, require_consumer, require_methods
from ..errors import FTPDataError, error_for_end, local_error
from ..outcome import End
from ._consumer import OneProducer, connection_of, reason_of

__all__ = ["DecodingConsumer"]


class DecodingConsumer(OneProducer):
    """Decodes what passes on to another consumer.

    A pause takes effect between two pieces that the decoder makes: data that are
    small on the connection and large in the file are handed on as the other
    consumer wants them. At the end, what the decoder still holds is handed on
    without regard to a pause; after a cut it is dropped. In MODE C and Z that may
    be as much as one read of the connection expands to within the decoder's
    limits; `receive_file` and `receive_stream` have no such burst.

    To the other consumer it is the producer, with a `reason` and an `abort` as a
    `DTP` has them.

    Args:
        consumer: Gets the decoded data.
        decoder: A fresh one. What it raises, also in `finish`, ends the
            transfer: the awaitable of `DTP.register_consumer` raises it.

    Raises:
        TypeError: They are not a consumer and a decoder.
    """

    def __init__(self, consumer: Consumer, decoder: Decoder) -> None:
        require_consumer(consumer)
        require_methods(decoder, "a decoder", ("feed", "finish"))
        self._consumer = consumer
        self._decoder = decoder
        # Not decoded yet; more than one only if the producer does not heed a pause.
        self._waiting: deque[bytes] = deque()
        self._pieces: Iterator[bytes] = iter(())
        self._paused = False
        self._producer_paused = False
        self._pumping = False
        self._ended = False
        self._failure: FTPDataError | None = None

    # The consumer that the connection knows

    def register_producer(self, producer: PushProducer, streaming: bool) -> None:
        """Take note of who will write. See `OneProducer.register_producer`."""

        super().register_producer(producer, streaming)
        self._consumer.register_producer(cast("PushProducer", self), True)

    def write(self, data: bytes) -> None:
        """Decode data and hand on what comes of them.

        Raises:
            InvalidData: The decoder cannot decode them. Reply 451.
        """

        self._waiting.append(data)
        self._pump()

    def unregister_producer(self) -> None:
        """Hand on what is left, and say that nothing more comes.

        Raises:
            TruncatedTransfer: The end mark of the mode is missing. Reply 426.
        """

        # From here on nothing can be held back any more.
        self._ended = True
        try:
            if self.reason is None:
                self._pump()
                self._finish_decoder()
        finally:
            self._waiting.clear()
            self._pieces = iter(())
            self._consumer.unregister_producer()

    # The producer that the other consumer knows

    @property
    def reason(self) -> FTPDataError | None:
        """Why the data that were handed on are not whole; None if they are, so far."""

        return self._failure or reason_of(self._producer)

    def pause_producing(self) -> None:
        """Hand nothing on until `resume_producing`."""

        self._paused = True
        if not self._producer_paused and not self._ended:
            assert self._producer is not None
            self._producer_paused = True
            self._producer.pause_producing()

    def resume_producing(self) -> None:
        """Hand on what is decoded already, then let the producer go on."""

        self._paused = False
        if self._pumping:
            return

        try:
            self._pump()
        except Exception as error:  # noqa: BLE001 - whatever it was, it ends the transfer
            # The caller is the other consumer, which is not to blame.
            self.abort(End.CONSUMER_FAILED, cause=error)

    def stop_producing(self) -> None:
        """Stop the producer: the other consumer wants no more."""

        if not self._ended:
            assert self._producer is not None
            self._producer.stop_producing()

    def abort(
        self,
        end: End = End.ABORTED,
        message: str | None = None,
        *,
        cause: BaseException | None = None,
    ) -> None:
        """End the transfer for a reason; stop a producer that takes no reason."""

        connection = connection_of(self._producer)
        if connection is not None:
            connection.abort(end, message, cause=cause)
        else:
            self._failure = self._failure or error_for_end(end, message)
            self.stop_producing()

    def _pump(self) -> None:
        self._pumping = True
        try:
            while self._ended or not self._paused:
                piece = next(self._pieces, None)
                if piece is not None:
                    self._consumer.write(piece)
                elif self._waiting:
                    self._pieces = iter(self._decoder.feed(self._waiting.popleft()))
                else:
                    break
        except Exception as error:
            self._set_failure(error)
            raise
        finally:
            self._pumping = False

        if self._producer_paused and not self._paused and not self._ended:
            assert self._producer is not None
            self._producer_paused = False
            self._producer.resume_producing()

    def _finish_decoder(self) -> None:
        try:
            self._pieces = iter(self._decoder.finish())
        except Exception as error:
            self._set_failure(error)
            raise

        self._pump()

    def _set_failure(self, error: Exception) -> None:
        # What else is in the decoder is worthless now.
        self._waiting.clear()
        self._pieces = iter(())
        self._failure = local_error(error, End.CONSUMER_FAILED)
