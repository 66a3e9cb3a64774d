"""The pace of a transfer: how much to move at a time, and when the next piece may go.

It depends on the throttle, on the other tasks of the event loop and on the room that the
system has for a peer. A peer that reads nothing occupies little memory here.
"""

from __future__ import annotations

import asyncio
import sys

from .._kernel import limit_unsent, room_to_send
from ..connection.protocol import DTP
from ..contracts import Buffer
from ..throttle import TokenBucket
from ._watch import Watch

__all__ = ["Pace"]

THROTTLE_INTERVAL = 0.1
"""Seconds that one throttled piece lasts: short enough to look steady."""

SMALLEST_PIECE = 1024
LARGEST_PIECE = 256 * 1024

FIRST_PIECES = 64 * 1024
"""Bytes that a system accepts from any connection, whatever the peer does."""

UNREAD = 128 * 1024
"""Bytes that a peer's system may acknowledge although the peer reads nothing."""

STALLED_PIECE = 8 * 1024
"""Bytes of a piece that the system has no room for: they stay here as long as the peer stalls."""

FIRST_TLS_PIECE = 16 * 1024
"""Bytes of a piece in TLS for a peer that is not known to read: one record (RFC 8446 §5.1).

OpenSSL keeps the memory for the records of the largest piece as long as the connection lasts."""

BYTES_PER_TURN = 1024 * 1024
"""Bytes after which a sender that never had to wait lets other tasks run."""

TLS_COSTS = 4
"""How many bytes one byte counts as that is encrypted: about this many pass in the time that it
takes."""

SMALLEST_TURN = 4096
"""Bytes that a smaller piece counts as: about this many pass in the time that it takes."""


class Pace:
    """Decides the size and the time of each piece of one transfer.

    Args:
        dtp: The connection.
        watch: Its deadlines do not run while the throttle makes the transfer wait.
        throttle: Limits the rate, in bytes on the connection.
        is_relayed: Whether the data come from another connection, and so are in memory
            already.
    """

    def __init__(
        self, dtp: DTP, watch: Watch, throttle: TokenBucket | None, *, is_relayed: bool = False
    ) -> None:
        self.throttle = throttle
        self._dtp = dtp
        self._watch = watch
        self._clock = asyncio.get_running_loop().time
        self._since_turn = 0
        # The room that the system had when it was asked, less the bytes sent since. Bytes from
        # another connection are in memory already: the system may have all of them.
        self._room = sys.maxsize if is_relayed else 0
        self._largest = LARGEST_PIECE
        # Whether the peer is known to read; until then, the connection's unsent bytes are limited.
        self._moves = False
        self._unsent_limit: int | None = None

    @property
    def piece_size(self) -> int:
        """Bytes to move at a time: fewer if a throttle asks for a steady rate."""

        return self.piece_up_to(LARGEST_PIECE)

    def piece_up_to(self, largest: int) -> int:
        """Bytes to move at a time, for a way that can move up to `largest` at once."""

        rate = _lowest_rate(self.throttle)
        if rate is None:
            return largest

        return max(SMALLEST_PIECE, min(largest, int(rate * THROTTLE_INTERVAL)))

    async def send(self, data: Buffer) -> None:
        """Send data at the pace of the throttle and of the peer, piece by piece.

        Raises:
            FTPDataError: The connection has ended.
        """

        if len(data) <= min(self._room, self.piece_up_to(self._largest)):
            await self._send_piece(data)
            return

        view = memoryview(data)
        while view:
            size = self.piece_up_to(self.sending_size())
            await self._send_piece(view[:size])
            view = view[size:]

    async def _send_piece(self, data: Buffer) -> None:
        await self.wait_for_turn(len(data))
        self._dtp.write(data)
        self._room -= len(data)
        await self._dtp.drain()

    def sending_size(self, ready: int = 0) -> int:
        """Return how many bytes to make ready for `send`: as many as the system has room for.

        Data that are read, converted or made then leave at once, in large pieces, and few
        are held here if the peer has stopped reading. The room may have grown since it was looked
        at: what is left of it would make a small piece.

        Args:
            ready: Bytes that are ready already, and will be sent before.
        """

        if self._room - ready < self._largest:
            self._find_room()

        return max(STALLED_PIECE, min(self._room - ready, self._largest))

    def bound_unsent(self) -> bool:
        """Let the system hold little for a peer that is not known to read; return whether it does.

        The peer may have stalled from the beginning, and thousands of others with it. Together
        they would use up all memory that the system has for sending.
        """

        if self._moves:
            return False

        acknowledged = self._dtp.bytes_acknowledged
        self._moves = acknowledged is None or acknowledged > UNREAD
        if not self._moves and self._unsent_limit is None:
            self._unsent_limit = limit_unsent(self._dtp.transport, FIRST_PIECES)
        elif self._moves and self._unsent_limit is not None:
            limit_unsent(self._dtp.transport, self._unsent_limit)
            self._unsent_limit = None

        return not self._moves

    def _find_room(self) -> None:
        dtp = self._dtp
        room = room_to_send(dtp.transport)
        if room is None:
            self._room = sys.maxsize
            return

        self._largest = LARGEST_PIECE
        if self.bound_unsent():
            moved = dtp.bytes_acknowledged or 0
            room = min(room, FIRST_PIECES - (dtp.bytes_sent - moved))
            if dtp.tls is not None:
                self._largest = FIRST_TLS_PIECE

        self._room = room
        dtp.bypass.limit_waiting(STALLED_PIECE)

    async def wait_for_turn(self, nbytes: int) -> None:
        """Wait until the throttle lets that many bytes pass, and other tasks have had their turn.

        Time spent waiting for the throttle does not count against the peer.
        """

        if self._since_turn >= BYTES_PER_TURN:
            self._since_turn = 0
            await asyncio.sleep(0)

        # Many small pieces take as long as a few large ones.
        cost = 1 if self._dtp.tls is None else TLS_COSTS
        self._since_turn += max(nbytes * cost, SMALLEST_TURN)
        if self.throttle is not None:
            delay = self.throttle.reserve(nbytes, self._clock())
            if delay > 0:
                await self._sleep(nbytes, delay)

    async def _sleep(self, nbytes: int, delay: float) -> None:
        self._since_turn = 0
        self._watch.stop()
        try:
            await asyncio.sleep(delay)
        except BaseException:
            # Other transfers share the buckets above, and must not pay for these bytes.
            self.give_back(nbytes)
            raise

        self._watch.start()

    def give_back(self, nbytes: int) -> None:
        """Return bytes to the throttle that had their turn but did not pass."""

        if self.throttle is not None and nbytes:
            self.throttle.unused(nbytes)


def _lowest_rate(bucket: TokenBucket | None) -> float | None:
    lowest: float | None = None
    while bucket is not None:
        if bucket.rate is not None and (lowest is None or bucket.rate < lowest):
            lowest = bucket.rate
        bucket = bucket.parent

    return lowest
