"""Decodes the bytes that a transfer receives, and reports restart markers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator

import anyio.to_thread

from ..codecs._pieces import MAX_PIECE
from ..codecs.options import CodecOptions
from ..codecs.restart import RestartMarker, SuspectData
from ..codecs.selection import decoder_for
from ..codecs.transfer import TransferDecoder
from ..connection._receive_buffer import LARGEST_BLOCK, ReceiveBuffer
from ..connection.protocol import DTP
from ..connection.receive_queue import ReceiveQueue
from ..files.source import CHUNK
from ..outcome import FastPath
from ..parameters import TransferParameters, TransmissionMode
from ._steps import INLINE_DEFLATE, Steps
from ._supervisor import Supervisor
from .reuse import ReusableConnection

__all__ = ["Incoming", "MarkerHandler", "SuspectHandler"]

MarkerHandler = Callable[[RestartMarker], Awaitable[None]]
SuspectHandler = Callable[[SuspectData], None]


class Incoming:
    """The decoded bytes of the file that is being received, piece by piece.

    Args:
        transfer: The transfer that receives them.
        connection: The connection that the data arrive on.
        parameters: TYPE, STRU and MODE.
        options: The host's choices about them.
        offset: Where in the file the first byte belongs, in bytes.
        on_marker: Awaited for each restart marker, once the caller has asked
            for the data after it.
        on_suspect: Called before data that their sender marked as suspect.
        in_place: Whether `next` may return a view, which is valid until the
            next call; its memory is used again.
        decoder: Decodes the data, instead of the decoder that the parameters call for.
    """

    def __init__(
        self,
        transfer: Supervisor,
        connection: DTP | ReusableConnection,
        parameters: TransferParameters,
        *,
        options: CodecOptions,
        offset: int = 0,
        on_marker: MarkerHandler | None = None,
        on_suspect: SuspectHandler | None = None,
        in_place: bool = False,
        decoder: TransferDecoder | None = None,
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
        self._decoder = decoder
        self._steps = Steps(CHUNK)
        self._pieces: Iterator[bytes] = iter(())
        self._markers: list[RestartMarker] = []
        # Whether a thread decodes the next piece.
        self._in_thread = False
        # The error that a thread met after the data that it returned.
        self._error: Exception | None = None
        # Whether the pieces are the decoder's last.
        self._is_last = False
        self._at_end = False

    async def next(self) -> bytes:
        """Return the next piece; ``b""`` after the end of the file.

        The call implies that the caller has stored everything before it.

        Raises:
            FTPDataError: The connection did not end cleanly, or its data are not encoded
                as the parameters say.
            Exception: Whatever the handler of markers raises.
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
        """Stop receiving until `resume`, unless the data are converted; see `is_idle`."""

        if isinstance(self._source, ReceiveQueue) and self._decoder is None:
            self._source.pause()

    def resume(self) -> None:
        """Go on as before `pause`."""

        if isinstance(self._source, ReceiveQueue):
            self._source.resume()

    @property
    def is_idle(self) -> bool:
        """Whether it is paused, `next` has returned all data, and the end has not arrived."""

        return isinstance(self._source, ReceiveQueue) and self._source.is_idle

    async def _decode(self, decoder: TransferDecoder) -> bytes:
        while True:
            piece = await self._next_piece()
            if self._markers:
                await self._tell_markers()

            if piece or self._is_last:
                return piece

            self._pieces = self._steps.each(await self._feed(decoder))

    def _begin(self) -> ReceiveQueue | ReusableConnection:
        if self._decoder is None and not self._parameters.is_identity:
            self._decoder = decoder_for(
                self._parameters,
                options=self._options,
                offset=self._offset,
                on_marker=None if self._on_marker is None else self._markers.append,
                on_suspect=self._on_suspect,
            )

        if self._decoder is not None and self._decoder.has_end_mark:
            self._steps = Steps(MAX_PIECE)

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
        if transfer.pace.throttle is not None:
            # A throttle needs pieces that are small enough for a steady rate.
            most = transfer.pace.piece_size if most is None else min(most, transfer.pace.piece_size)

        data = await self._source.receive(most)
        if data:
            self._note_path()
            await transfer.pace.wait_for_turn(len(data))

        return data

    async def _next_piece(self) -> bytes:
        """Return the decoder's next piece; ``b""`` if it needs to be fed."""

        if self._error is not None:
            raise self._error

        if self._in_thread:
            piece, self._error = await anyio.to_thread.run_sync(_decode, self._pieces)
            return piece

        await self._steps.rest()
        piece = next(self._pieces, b"")
        # A small amount of compressed data that has given one piece may give a thousand.
        self._in_thread = bool(piece) and self._parameters.mode is TransmissionMode.DEFLATE
        return piece

    def _note_path(self) -> None:
        is_direct = isinstance(self._source, ReceiveBuffer) and self._source.is_direct
        if is_direct and self._transfer.report.fast_path is FastPath.NONE:
            self._transfer.report.fast_path = FastPath.BUFFERED

    async def _feed(self, decoder: TransferDecoder) -> Iterable[bytes]:
        """Feed the decoder the next data, or the end of the file or of the connection."""

        if decoder.several_files and decoder.complete:
            if isinstance(self._source, ReusableConnection):
                self._source.give_back(decoder.take_remainder())
        elif data := await self._receive(self._steps.size):
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


def _decode(pieces: Iterator[bytes]) -> tuple[bytes, Exception | None]:
    """Join pieces to a good size for writing; also return the error that stopped it, if any."""

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
