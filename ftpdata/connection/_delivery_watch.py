"""Looks at the connection of a `DTP` until its peer has everything.

`ftpdata.connection._delivery` decides; a `DeliveryWatch` knows which socket to look at, and when.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable
from typing import Any

from .._kernel import close_socket, duplicate_socket, sight_of
from ._delivery import Delivery, Sight, Verdict

__all__ = ["DeliveryWatch"]


class DeliveryWatch:
    """Knows whether the peer has what was sent over a connection.

    Args:
        transport: The transport of the connection.
        channel: This library's TLS below the transport. None in clear, and if the TLS is the event
            loop's own.
        is_protected: Whether there is any TLS.
        stall: See `Delivery`.
        close: See `Delivery`.
        hurries: See `Delivery`.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        *,
        channel: Any,
        is_protected: bool,
        stall: float | None,
        close: float = math.inf,
        hurries: bool = False,
    ) -> None:
        self._transport = transport
        self._channel = channel
        self._is_protected = is_protected
        self._loop = asyncio.get_running_loop()
        self._delivery = Delivery(
            self._loop.time(),
            is_protected=is_protected,
            stall=stall,
            close=close,
            hurries=hurries,
        )
        self._timer: asyncio.TimerHandle | None = None
        self._kept_socket: socket.socket | None = None

    @property
    def next_look_at(self) -> float:
        """When to look again, on the clock of the event loop; see `Delivery`."""

        return self._delivery.next_look_at

    def limit(self, *, stall: float | None, close: float) -> None:
        """Change the limits. They begin to run now."""

        self._delivery.limit(self._loop.time(), stall=stall, close=close)

    def keep_socket(self) -> None:
        """Keep a second socket, to look at after the transport has closed its own.

        `stop` closes it.
        """

        self._kept_socket = duplicate_socket(self._transport)

    def sight(self) -> Sight:
        """Look once; the answer is empty if the event loop's own TLS hides the records."""

        if self._is_protected and self._channel is None:
            return Sight()

        sock = self._kept_socket or self._transport.get_extra_info("socket")
        sight: Sight = sight_of(sock) if self._channel is None else self._channel.sight_of(sock)
        return sight

    @property
    def undelivered(self) -> int | None:
        """Bytes in TLS that the peer's kernel has not acknowledged; None if unknown.

        This stays known after the transport has closed its socket if `keep_socket` was called.
        """

        if self._channel is None or self._kept_socket is None:
            return None

        return self.sight().unacknowledged

    @property
    def has_everything(self) -> bool:
        """Whether the peer's kernel has acknowledged all that was sent in TLS, up to the end."""

        return (
            self._channel is not None
            and bool(self._channel.has_announced_end)
            and self.undelivered == 0
        )

    @property
    def has_left(self) -> bool:
        """Whether everything had left this system at the last look; see `Delivery`."""

        # In TLS, data may have left, and the end of file not.
        is_ended = self._channel is None or bool(self._channel.has_announced_end)
        return is_ended and self._delivery.has_left

    def judge(self, *, is_answered: bool = False) -> tuple[Verdict, Sight]:
        """Look, and say what that means.

        Args:
            is_answered: Whether the peer's end came after ours.
        """

        if self._is_protected:
            is_closed = getattr(self._transport, "is_broken", False)
        else:
            is_closed = self._transport.is_closing()
        sight = Sight() if is_closed else self.sight()
        verdict = self._delivery.check(
            sight,
            self._loop.time(),
            waiting=self._transport.get_write_buffer_size(),
            is_answered=is_answered and not is_closed,
        )
        return verdict, sight

    def look_again(self, look: Callable[[], None]) -> None:
        """Call this when the next look is due, unless `rest` or `stop` is called before."""

        self.rest()
        at = self._delivery.next_look_at
        if at < math.inf:
            self._timer = self._loop.call_at(at, look)

    def rest(self) -> None:
        """Cancel the next look, since one is made now."""

        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stop(self) -> None:
        """Make no more looks."""

        self.rest()
        if self._kept_socket is not None:
            close_socket(self._kept_socket)
            self._kept_socket = None
