"""The graceful end of a data connection: the end of file, then waiting until the peer has it all.

`ftpdata.connection._delivery` decides whether the peer has everything. An `Ending` sends the end
of file, looks until there is a decision, and closes the transport in the way that loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..outcome import End
from ._delivery import Sight, Verdict, answer_patience
from ._fate import Fate
from ._loss import give_up
from ._owner import Owner
from ._wire import Wire

__all__ = ["Ending"]


class Ending:
    """The end of one connection, from its end of file to the peer's last word.

    Args:
        dtp: The connection's `DTP`.
        wire: The connection.
        fate: How it ended. A clean end with a last word is decided here.
        conclude: Called if the peer has everything and the transport stays open for its last word.
        timeout: See `DTP.finish`.
        stall: See `DTP.finish`.
        on_sent: See `DTP.finish`.

    Attributes:
        on_sent: As above, until it is called.
    """

    __slots__ = ("_conclude", "_delivery", "_dtp", "_fate", "_wire", "on_sent")

    def __init__(
        self,
        dtp: Owner,
        wire: Wire,
        fate: Fate,
        conclude: Callable[[], None],
        *,
        timeout: float | None,
        stall: float | None,
        on_sent: Callable[[], object] | None,
    ) -> None:
        self._dtp = dtp
        self._wire = wire
        self._fate = fate
        self._conclude = conclude
        self.on_sent = on_sent
        stall, close = self._limits(timeout, stall)
        self._delivery = wire.delivery = wire.watch_delivery(
            stall=stall, close=close, hurries=on_sent is not None
        )

    def limit(self, timeout: float | None, stall: float | None) -> None:
        """Change the limits. They begin to run now."""

        stall, close = self._limits(timeout, stall)
        self._delivery.limit(stall=stall, close=close)

    def _limits(self, timeout: float | None, stall: float | None) -> tuple[float | None, float]:
        """Choose the limits of the `Delivery`: for a stall, and for closing."""

        if timeout is None:
            timeout = self._dtp.close_timeout
            stall = _or_for_ever(self._dtp.stall_timeout) if stall is None else stall
        return stall, _or_for_ever(timeout)

    def begin(self) -> None:
        """Send the end of file.

        Raises:
            OSError: The peer has reset the connection.
        """

        wire, transport = self._wire, self._wire.transport
        assert transport is not None
        if not transport.can_write_eof():
            # TLS: the close_notify first, then the end of file. The transport sends both.
            if wire.tls is not None and (wire.written or not wire.eof_received):
                self._delivery.keep_socket()
                wire.keep_open()
            wire.close()
        elif not wire.eof_sent and wire.is_open:
            if wire.eof_received and not wire.written:
                # This was an upload, and it is complete: the peer waits for nothing.
                wire.close()
            else:
                wire.shut_down()
        wire.eof_sent = True

    def check(self) -> None:
        """Look whether the peer has everything; look again later if it does not."""

        if self._fate.end is not None:
            return

        self._delivery.rest()
        is_answered = self._wire.eof_received and self._wire.tls is None
        verdict, sight = self._delivery.judge(is_answered=is_answered)
        has_left = verdict is Verdict.DELIVERED or self._delivery.has_left
        if has_left and self._tell_sent():
            return
        if verdict is Verdict.DELIVERED:
            self._say_farewell(sight)
        elif verdict is Verdict.PENDING:
            if sight.unacknowledged is None:
                # The peer's end is all the news there will be.
                self._wire.release()
            self._delivery.look_again(self.check)
        else:
            give_up(verdict, sight, self._dtp, self._wire)

    def _tell_sent(self) -> bool:
        """Tell once that everything has left; return whether who was told has ended all."""

        on_sent, self.on_sent = self.on_sent, None
        if on_sent is not None:
            on_sent()
        return self._fate.end is not None

    def _say_farewell(self, sight: Sight) -> None:
        """End a transfer whose peer has everything.

        Closing over data that the peer has sent, or is about to send, resets the connection, and
        a client may lose what it has not read by then. So the transport stays open for them.
        """

        wire, transport = self._wire, self._wire.transport
        assert transport is not None
        if wire.tls is None and (wire.eof_received or not sight.unread):
            transport.close()
        elif sight.is_gone:
            transport.abort()
        else:
            self._fate.end = End.CLEAN
            wire.linger(answer_patience(self._dtp.close_timeout))
            self._conclude()


def _or_for_ever(timeout: float | None) -> float:
    return math.inf if timeout is None else timeout
