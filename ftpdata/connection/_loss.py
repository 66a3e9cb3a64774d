"""What it means for a transfer that its connection is lost."""

from __future__ import annotations

from .._kernel import RESET_ERRNOS, has_close_notify
from ..outcome import End
from ._delivery_watch import DeliveryWatch
from ._wire import Wire

__all__ = ["classify_loss", "is_truncated"]

RESETS = (ConnectionResetError, BrokenPipeError, ConnectionAbortedError)


def is_truncated(wire: Wire, *, strict_close: bool) -> bool:
    """Whether an end of file that comes now is one that TLS has not announced.

    asyncio reports a bare FIN and a close_notify alike; the TLS layer knows which it was
    (RFC 8446 §6.1: a bare FIN may be an attacker's).

    Args:
        wire: The connection.
        strict_close: Whether an end of file without close_notify is a cut.
    """

    return strict_close and wire.tls is not None and not has_close_notify(wire.tls)


def classify_loss(
    exc: Exception | None,
    wire: Wire,
    *,
    delivery: DeliveryWatch | None,
    is_sending: bool,
    strict_close: bool,
) -> tuple[End, str | None]:
    """Classify what the transport or the system has reported.

    Args:
        exc: The argument of ``connection_lost``, or the error of a system call.
        wire: The connection.
        delivery: The watch on what was sent; None before the end of file is sent.
        is_sending: Whether something was sent, or is to be, without its end of file.
        strict_close: See `is_truncated`.

    Returns:
        How the connection has ended, and a message if there is more to say.
    """

    if exc is not None:
        is_reset = isinstance(exc, RESETS) or (
            isinstance(exc, OSError) and exc.errno in RESET_ERRNOS
        )
        if is_reset and delivery is not None and delivery.has_everything:
            # All that the peer has not read may be the close_notify.
            return End.CLEAN, None
        return End.RESET if is_reset else End.LOST, None

    if delivery is not None:
        if delivery.undelivered:
            return End.LOST, "the peer closed the connection before it had everything"
        return End.CLEAN, None

    if is_sending:
        return End.LOST, "the peer closed the connection before the end of file was sent"

    if wire.eof_received:
        return End.CLEAN, None

    if wire.tls is None:
        return End.ABORTED, "the transport was closed on this side"

    # uvloop does not call eof_received for a bare FIN.
    return End.TLS_TRUNCATED if is_truncated(wire, strict_close=strict_close) else End.CLEAN, None
