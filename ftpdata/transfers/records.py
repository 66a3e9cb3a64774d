"""Transfers of records: `send_records` and `receive_records`, as a mainframe has them.

A record is any bytes, as they are on the connection; see `ftpdata.codecs.framing`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from itertools import islice
from typing import Final, Self, cast

from ..codecs._record_stages import RecordStage
from ..codecs.framing import (
    RecordDecoder,
    RecordEncoder,
    check_record,
    record_decoder_for,
    record_encoder_for,
)
from ..codecs.options import DEFAULT_OPTIONS, CodecOptions
from ..codecs.transfer import ModeDecoder, TransferDecoder
from ..contracts import Buffer, SentCallback
from ..deadlines import DEFAULT_DEADLINES, Deadlines
from ..outcome import Direction, TransferResult
from ..parameters import TransferParameters
from ..throttle import TokenBucket
from ._door import AtTheDoor, check_arguments, check_records
from ._each import closing_generator
from ._opened import Connection, dtp_of, opened, report_on
from ._outgoing import Outgoing
from ._plain import send_chunks
from ._supervisor import Supervisor
from .streaming import ReceivedStream, received_stream

__all__ = ["ReceivedRecords", "receive_records", "send_records"]

_BATCH_BYTES: Final = 64 * 1024
_BATCH: Final = 512
"""Records, and bytes of them, that are encoded and sent together."""


async def send_records(
    connection: Connection,
    records: AsyncIterable[Buffer] | Iterable[Buffer],
    *,
    parameters: TransferParameters,
    throttle: TokenBucket | None = None,
    on_sent: SentCallback | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> TransferResult:
    """Send records, each with its boundary.

    They are sent in batches: a record of a slow iterable may wait for those after it.

    Args:
        connection: A connected `DTP`, or an endpoint that is opened here; it is closed in
            any case. A `ReusableConnection` stays open after a clean end in MODE B.
        records: The records, of any length, also none. A generator is closed in any case.
        parameters: MODE B, or STRU R in MODE S. The records are sent as they are, whatever
            TYPE is.
        throttle: Limits the rate of bytes on the connection.
        on_sent: Called once, when everything has left this system, the end of file included:
            before this function knows that the peer has it. What it raises is logged.
        deadlines: When to give up.

    Returns:
        The result. Its `bytes` are those of the connection, with all headers and codes.

    Raises:
        FTPDataError: The transfer is not complete; carries the result and the reply code: 426
            if the peer or a deadline cut it, 451 if `records` raised; 504
            (`UnsupportedParameter`) if the parameters keep no boundaries.

    Cancellation resets the connection, and closes a generator.
    """

    async with closing_generator(records):
        with AtTheDoor(Direction.SENT, connection):
            check_arguments(locals())
            check_records(records)
            encoder = record_encoder_for(parameters)

        with report_on(connection, Direction.SENT, on_sent=on_sent) as report:
            to_peer = await opened(connection, report)
            transfer = Supervisor(dtp_of(to_peer), report, deadlines=deadlines, throttle=throttle)

            async def body() -> None:
                outgoing = Outgoing(transfer, to_peer, None, parameters.mode)
                await send_chunks(transfer, _encoded(records, encoder), outgoing)

            return await transfer.run(body)


async def _encoded(
    records: AsyncIterable[Buffer] | Iterable[Buffer], encoder: RecordEncoder
) -> AsyncGenerator[bytes, None]:
    """Yield records as they are sent, in batches, then the end of the file."""

    if not isinstance(records, AsyncIterable):
        iterator = iter(records)
        async with closing_generator(iterator):
            while batch := [*_batch(iterator)]:
                yield encoder.feed(batch)
    else:
        batch, size = [], 0
        async with closing_generator(source := aiter(records)):
            async for record in source:
                check_record(record)
                batch.append(record)
                size += len(record)
                if size >= _BATCH_BYTES or len(batch) >= _BATCH:
                    yield encoder.feed(batch)
                    batch, size = [], 0

        if batch:
            yield encoder.feed(batch)

    yield encoder.finish()


def _batch(iterator: Iterator[Buffer]) -> Iterator[Buffer]:
    size = 0
    for record in islice(iterator, _BATCH):
        check_record(record)
        yield record
        size += len(record)
        if size >= _BATCH_BYTES:
            return


def receive_records(
    connection: Connection,
    *,
    parameters: TransferParameters,
    options: CodecOptions = DEFAULT_OPTIONS,
    size_limit: int | None = None,
    throttle: TokenBucket | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> ReceivedRecords:
    """Receive records into an ``async for``.

    ::

        async with receive_records(connection, parameters=parameters) as records:
            async for record in records:
                ...
        print(records.result)

    The loop ends only on a clean end. If the transfer is cut, all whole records have been
    given before the error. The peer is slowed down to the pace of the loop.

    Args:
        connection: A connected `DTP`, or an endpoint that is opened when the first record
            is asked for; it is closed in any case. A `ReusableConnection` stays open after
            a clean end in MODE B.
        parameters: MODE B, with STRU F or R; or STRU R in MODE S. The records come as they
            are, whatever TYPE is.
        options: Of these, `CodecOptions.limits` bounds a record.
        size_limit: Bytes that are accepted, with headers and codes.
        throttle: Limits the rate of bytes on the connection.
        deadlines: When to give up.

    Raises:
        FTPDataError: Raised from the loop, for any end that is not clean; carries the result
            and the reply code: 426 for a cut, 451 for data that no peer can mean; 504
            (`UnsupportedParameter`), raised here, if the parameters keep no boundaries.
    """

    with AtTheDoor(Direction.RECEIVED, connection):
        check_arguments(locals())
        sink = _Sink(record_decoder_for(parameters, limits=options.limits))

    stream = received_stream(
        connection,
        parameters=parameters,
        options=options,
        size_limit=size_limit,
        throttle=throttle,
        deadlines=deadlines,
        decoder=TransferDecoder(transmission=[cast("ModeDecoder", sink)], representation=[]),
    )
    return ReceivedRecords(stream, sink)


class _Sink(RecordStage):
    """Takes the records out of the data that pass.

    To the transfer it is the decoder of a mode that gives all data as they come, which counts
    them. So a size or a rate is that of the connection, and empty records are not held for ever.

    Args:
        decoder: Decodes the records.

    Attributes:
        records: Those that have arrived and were not taken yet.
    """

    def __init__(self, decoder: RecordDecoder) -> None:
        super().__init__(decoder)
        self.records: deque[bytes] = deque()

    def feed(self, data: Buffer) -> Iterator[bytes]:
        error = self._decode(data, self.records.append)
        # What precedes an error is given before it.
        if piece := bytes(data)[: len(data) - len(self._decoder.remainder)]:
            yield piece

        if error is not None:
            try:
                raise error
            finally:
                # Its traceback holds this frame.
                del error

    def finish(self) -> Iterator[bytes]:
        self._decoder.finish()
        return iter(())


class ReceivedRecords:
    """An asynchronous iterator over received records, with the result of the transfer.

    Leaving its ``async with`` before the end resets the connection.
    """

    def __init__(self, stream: ReceivedStream, sink: _Sink) -> None:
        self._stream = stream
        self._records = sink.records

    @property
    def result(self) -> TransferResult | None:
        """The result, once the transfer has ended in any way.

        Its `bytes` are those of the connection, with all headers and codes.
        """

        return self._stream.result

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self.aclose()

    def __aiter__(self) -> ReceivedRecords:
        return self

    async def __anext__(self) -> bytes:
        while not self._records:
            await anext(self._stream)

        return self._records.popleft()

    async def aclose(self) -> None:
        """Reset the connection unless the transfer has ended. Idempotent."""

        await self._stream.aclose()
