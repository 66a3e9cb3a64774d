"""What the transfers do to the bytes that they convert, while others use the event loop too.

`Outgoing` takes bytes of a file to the connection; `Incoming` takes those of
the connection to the caller, and tells about restart markers. Knows no file.

No step holds the event loop for much longer than `LONGEST_STEP`, whatever the
data are and whoever made them: encoders take little at once; what is given to a
decoder at once becomes less where it takes long, and more where it does not.
Deflate, which takes longest and lets go of the interpreter's lock, is done by a
worker thread, both ways.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator

import anyio.to_thread

from ..codecs.restart import RestartMarker, SuspectData
from ..codecs.selection import ENCODED_AT_ONCE, CodecOptions, TransferDecoder, decoder_for
from ..codecs.transmission import MAX_PIECE
from ..connection._receive_buffer import LARGEST_BLOCK, ReceiveBuffer
from ..connection.consumers import ReceiveQueue
from ..connection.protocol import DTP
from ..contracts import Buffer, Encoder
from ..files.source import CHUNK
from ..outcome import FastPath
from ..parameters import TransferParameters, TransmissionMode
from ._supervisor import Supervisor
from .reuse import ReusableConnection

__all__ = ["DEFAULT_OPTIONS", "Incoming", "MarkerHandler", "Outgoing", "SuspectHandler"]

LONGEST_STEP = 0.001
"""Seconds after which others have their turn."""

SMALLEST_PART = 1024
FIRST_PART = 16 * 1024

INLINE_DEFLATE = 4 * 1024
"""Bytes up to which deflate is no work; more go to a thread."""

DEFAULT_OPTIONS = CodecOptions()

MarkerHandler = Callable[[RestartMarker], Awaitable[None]]
SuspectHandler = Callable[[SuspectData], None]


class _Pace:
    """Finds how much to decode at once, and when others are to have their turn.

    Args:
        most: Bytes to decode at once, at most.

    Attributes:
        size: Bytes to decode at once.
    """

    def __init__(self, most: int) -> None:
        self.size: int = min(FIRST_PART, most)
        self._most = most
        self._worked = 0.0
        # Not the loop's time: uvloop's stands still within a step.
        self._now = time.perf_counter

    def steps(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Give what a codec makes of one part; learn how long each step takes."""

        iterator = iter(pieces)
        longest = 0.0
        while True:
            started_at = self._now()
            piece = next(iterator, None)
            step = self._now() - started_at
            self._worked += step
            longest = max(longest, step)
            if piece is None:
                break

            yield piece

        if longest > LONGEST_STEP:
            self.size = max(self.size // 2, SMALLEST_PART)
        elif longest < LONGEST_STEP / 4:
            self.size = min(self.size * 2, self._most)

    async def rest(self) -> None:
        """Let others run, where it is time to."""

        if self._worked >= LONGEST_STEP:
            self._worked = 0.0
            await asyncio.sleep(0)


class Outgoing:
    """Sends the bytes of a file, encoded, at the pace of the throttle and of the peer.

    Args:
        transfer: What they are sent for; it has begun.
        connection: Where they go.
        encoder: Encodes them; None where they are sent as they are.
        mode: The transmission mode.

    Raises:
        RuntimeError: Another transfer uses the connection.
    """

    def __init__(
        self,
        transfer: Supervisor,
        connection: DTP | ReusableConnection,
        encoder: Encoder | None,
        mode: TransmissionMode,
    ) -> None:
        self._transfer = transfer
        self._reusable = connection if isinstance(connection, ReusableConnection) else None
        self._encoder = encoder
        self._mode = mode
        self._pace = _Pace(CHUNK)
        self._has_blocks = mode in (TransmissionMode.BLOCK, TransmissionMode.COMPRESSED)
        if self._reusable is not None:
            self._reusable.begin_file(transfer)

    def size_of(self, nbytes: int) -> int:
        """Say how many bytes to `send` at once, where so many are wanted.

        In MODE B and C as many as `SizeCounter` counts at once: how large a file
        is on the connection is not to depend on the peer's pace.
        """

        if not self._has_blocks:
            return nbytes

        return max(ENCODED_AT_ONCE, nbytes // ENCODED_AT_ONCE * ENCODED_AT_ONCE)

    async def send(self, data: Buffer) -> None:
        """Send data.

        Raises:
            FTPDataError: The connection has ended, or the encoder refused.
        """

        encoder = self._encoder
        if encoder is None:
            await self._transfer.send(data)
        elif self._mode is TransmissionMode.DEFLATE and len(data) > INLINE_DEFLATE:
            view = memoryview(data).cast("B")
            for start in range(0, len(view), MAX_PIECE):
                pieces = await anyio.to_thread.run_sync(
                    _encode, encoder, view[start : start + MAX_PIECE]
                )
                for piece in pieces:
                    await self._transfer.send(piece)
        elif self._has_blocks:
            view = memoryview(data).cast("B")
            for start in range(0, len(view), ENCODED_AT_ONCE):
                await self._send_all(encoder.feed(view[start : start + ENCODED_AT_ONCE]))
        else:
            await self._send_all(encoder.feed(data))

    async def finish(self) -> None:
        """Send the end of the file, as far as it is not that of the connection.

        Called once, last. Raises as `send` does.
        """

        if self._encoder is not None:
            await self._send_all(self._encoder.finish())

        if self._reusable is not None:
            await self._reusable.end_file(self._transfer, self._mode)

    async def _send_all(self, pieces: Iterable[bytes]) -> None:
        for piece in self._pace.steps(pieces):
            await self._transfer.send(piece)
            await self._pace.rest()


def _encode(encoder: Encoder, data: Buffer) -> list[bytes]:
    return list(encoder.feed(data))


def _decode(pieces: Iterator[bytes]) -> tuple[bytes, Exception | None]:
    """Join pieces up to a good size to write; give what is good before an error."""

    held: list[bytes] = []
    size = 0
    try:
        while size < CHUNK and (piece := next(pieces, b"")):
            held.append(piece)
            size += len(piece)
    except Exception as error:
        if not held:
            raise
        return b"".join(held), error

    return b"".join(held), None


class Incoming:
    """The bytes of the file that is received, decoded, piece by piece.

    Args:
        transfer: What they are received for.
        connection: Where they come from.
        parameters: TYPE, STRU and MODE.
        options: What the host chooses about them.
        offset: Where in the file the first byte belongs, in bytes.
        on_marker: Awaited for each restart marker, once the caller has asked
            for what comes behind it.
        on_suspect: Called ahead of data that their sender marked as suspect.
        in_place: Whether what `next` gives may be a view, which is valid
            until the next call; what it points to is used again.
    """

    def __init__(
        self,
        transfer: Supervisor,
        connection: DTP | ReusableConnection,
        parameters: TransferParameters,
        *,
        options: CodecOptions = DEFAULT_OPTIONS,
        offset: int = 0,
        on_marker: MarkerHandler | None = None,
        on_suspect: SuspectHandler | None = None,
        in_place: bool = False,
    ) -> None:
        self._transfer = transfer
        self._connection = connection
        self._parameters = parameters
        self._in_place = in_place
        self._options = options
        self._offset = offset
        self._on_marker = on_marker
        self._on_suspect = on_suspect
        self._source: ReceiveQueue | ReusableConnection | None = None
        self._decoder: TransferDecoder | None = None
        self._pace = _Pace(CHUNK)
        self._pieces: Iterator[bytes] = iter(())
        self._markers: list[RestartMarker] = []
        # Whether the next piece is a thread's to decode.
        self._in_thread = False
        # What a thread has come upon behind the data that it gave.
        self._error: Exception | None = None
        # Whether the pieces are the decoder's last.
        self._is_last = False
        self._at_end = False

    async def next(self) -> bytes:
        """Return the next piece; ``b""`` behind the end of the file.

        To ask for it says that everything before it is stored.

        Raises:
            FTPDataError: The connection did not end cleanly, or what it
                brought is not what the parameters say.
            Whatever the handler of markers raises.
        """

        if self._source is None:
            self._source = self._begin()

        if self._at_end:
            return b""

        if self._decoder is None:
            piece = await self._receive()
        else:
            piece = await self._decode(self._decoder)

        if not piece:
            self._at_end = True
            if isinstance(self._source, ReusableConnection):
                await self._source.end_file(self._transfer, self._parameters.mode)

        return piece

    def pause(self) -> None:
        """Have no more received until `resume`, as far as nothing is converted; see `is_idle`."""

        if isinstance(self._source, ReceiveQueue) and self._decoder is None:
            self._source.pause()

    def resume(self) -> None:
        """Go on as before `pause`."""

        if isinstance(self._source, ReceiveQueue):
            self._source.resume()

    @property
    def is_idle(self) -> bool:
        """Whether it is paused, and `next` has given all that had come: the end has not."""

        return isinstance(self._source, ReceiveQueue) and self._source.is_idle

    async def _decode(self, decoder: TransferDecoder) -> bytes:
        while True:
            piece = await self._next_piece()
            if self._markers:
                await self._tell_markers()

            if piece or self._is_last:
                return piece

            self._pieces = self._pace.steps(await self._feed(decoder))

    def _begin(self) -> ReceiveQueue | ReusableConnection:
        if not self._parameters.is_identity:
            self._decoder = decoder_for(
                self._parameters,
                options=self._options,
                offset=self._offset,
                on_marker=None if self._on_marker is None else self._markers.append,
                on_suspect=self._on_suspect,
            )
            if self._decoder.has_end_mark:
                self._pace = _Pace(MAX_PIECE)

        connection = self._connection
        if isinstance(connection, DTP):
            if self._in_place and self._decoder is None:
                return ReceiveBuffer.attach(connection, LARGEST_BLOCK)
            return ReceiveQueue.attach(connection)

        connection.begin_file(self._transfer)
        return connection

    async def _receive(self, most: int | None = None) -> bytes:
        assert self._source is not None
        transfer = self._transfer
        if transfer.throttle is not None:
            # It wants pieces that are small enough to look steady.
            most = transfer.piece_size if most is None else min(most, transfer.piece_size)

        data = await self._source.receive(most)
        if data:
            self._note_path()
            await transfer.wait_for_turn(len(data))

        return data

    async def _next_piece(self) -> bytes:
        """Have the decoder go on; ``b""`` where it has no more of what it was fed."""

        if self._error is not None:
            raise self._error

        if self._in_thread:
            piece, self._error = await anyio.to_thread.run_sync(_decode, self._pieces)
            return piece

        await self._pace.rest()
        piece = next(self._pieces, b"")
        # What little data have given one piece may give a thousand.
        self._in_thread = bool(piece) and self._parameters.mode is TransmissionMode.DEFLATE
        return piece

    def _note_path(self) -> None:
        is_direct = isinstance(self._source, ReceiveBuffer) and self._source.is_direct
        if is_direct and self._transfer.fast_path is FastPath.NONE:
            self._transfer.fast_path = FastPath.BUFFERED

    async def _feed(self, decoder: TransferDecoder) -> Iterable[bytes]:
        """Go on to the next data, or to the end: that of the file, or of the connection."""

        if decoder.several_files and decoder.complete:
            if isinstance(self._source, ReusableConnection):
                self._source.give_back(decoder.take_remainder())
        elif data := await self._receive(self._pace.size):
            is_long = self._parameters.mode is TransmissionMode.DEFLATE
            self._in_thread = is_long and len(data) > INLINE_DEFLATE
            return decoder.feed(data)

        self._in_thread = False
        self._is_last = True
        return decoder.finish()

    async def _tell_markers(self) -> None:
        assert self._on_marker is not None
        for marker in self._markers:
            await self._on_marker(marker)

        self._markers.clear()
