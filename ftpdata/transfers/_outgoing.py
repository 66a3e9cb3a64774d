"""Encodes the bytes that a transfer sends, step by step."""

from __future__ import annotations

from collections.abc import Iterable

import anyio.to_thread

from .._views import byte_views
from ..codecs._pieces import MAX_PIECE
from ..codecs.counting import ENCODED_AT_ONCE
from ..connection.protocol import DTP
from ..contracts import Buffer, Encoder
from ..files.source import CHUNK
from ..parameters import TransmissionMode
from ._steps import INLINE_DEFLATE, Steps
from ._supervisor import Supervisor
from .reuse import ReusableConnection

__all__ = ["Outgoing"]


class Outgoing:
    """Sends the bytes of a file, encoded, at the pace of the throttle and of the peer.

    Args:
        transfer: The transfer that sends them; it has begun.
        connection: The connection that they are sent over.
        encoder: Encodes them; None sends them as they are.
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
        self._steps = Steps(CHUNK)
        self._has_blocks = mode in (TransmissionMode.BLOCK, TransmissionMode.COMPRESSED)
        if self._reusable is not None:
            self._reusable.begin_file(transfer)

    def size_of(self, nbytes: int) -> int:
        """Return how many bytes to `send` at once if the caller would send `nbytes`.

        In MODE B and C it is a multiple of what `SizeCounter` counts at once, so that the
        size of a file on the connection does not depend on the peer's pace.
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
            await self._transfer.pace.send(data)
        elif self._mode is TransmissionMode.DEFLATE and len(data) > INLINE_DEFLATE:
            for view in byte_views(data, MAX_PIECE):
                for piece in await anyio.to_thread.run_sync(_encode, encoder, view):
                    await self._transfer.pace.send(piece)
        elif self._has_blocks:
            for view in byte_views(data, ENCODED_AT_ONCE):
                await self._send_all(encoder.feed(view))
        else:
            await self._send_all(encoder.feed(data))

    async def finish(self) -> None:
        """Send the end of the file, unless the end of the connection is the end of the file.

        Called once, after the last `send`. Raises what `send` raises.
        """

        if self._encoder is not None:
            await self._send_all(self._encoder.finish())

        if self._reusable is not None:
            await self._reusable.end_file(self._transfer, self._mode)

    async def _send_all(self, pieces: Iterable[bytes]) -> None:
        for piece in self._steps.each(pieces):
            await self._transfer.pace.send(piece)
            await self._steps.rest()


def _encode(encoder: Encoder, data: Buffer) -> list[bytes]:
    return list(encoder.feed(data))
