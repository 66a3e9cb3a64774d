"""What it means that a connection is lost: how it has ended, and what is done about it."""

from __future__ import annotations

import errno
import os

from .._kernel import RESET_ERRNOS, has_close_notify
from ..outcome import End
from ._delivery import Sight, Verdict
from ._owner import Owner
from ._wire import Wire

__all__ = ["LOSS_TURNS", "classify_loss", "end_of_loss", "give_up", "is_truncated", "lose"]

LOSS_TURNS = 8
"""Turns of the event loop after which a connection that is being lost has said so."""

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


def end_of_loss(error: OSError | None) -> End:
    """Return how a connection has ended that the system says is gone.

    Args:
        error: The error that the system has reported; None after a reset that it reports no more.
    """

    return End.RESET if error is None or error.errno in RESET_ERRNOS else End.LOST


def classify_loss(
    exc: Exception | None, wire: Wire, *, strict_close: bool
) -> tuple[End, str | None]:
    """Classify what the transport or the system has reported.

    Args:
        exc: The argument of ``connection_lost``, or the error of a system call.
        wire: The connection.
        strict_close: See `is_truncated`.

    Returns:
        How the connection has ended, and a message if there is more to say.
    """

    delivery = wire.delivery
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

    if wire.is_sending:
        return End.LOST, "the peer closed the connection before the end of file was sent"

    if wire.eof_received:
        return End.CLEAN, None

    if wire.tls is None:
        return End.ABORTED, "the transport was closed on this side"

    # uvloop does not call eof_received for a bare FIN.
    return End.TLS_TRUNCATED if is_truncated(wire, strict_close=strict_close) else End.CLEAN, None


def lose(error: OSError, dtp: Owner, wire: Wire) -> None:
    """End a connection with an error of the system that the transport has not reported."""

    end, message = classify_loss(error, wire, strict_close=dtp.strict_close)
    if end is not End.CLEAN:
        dtp.abort(end, message, cause=error)
    elif wire.transport is not None:
        wire.transport.abort()


def give_up(verdict: Verdict, sight: Sight, dtp: Owner, wire: Wire) -> None:
    """End a connection over which the peer does not get everything."""

    if verdict is Verdict.LOST:
        # A peer that closes before it has read everything resets, too.
        lose(sight.error or OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)), dtp, wire)
    else:
        is_stall = verdict is Verdict.STALLED
        dtp.abort(End.STALLED if is_stall else End.CLOSE_TIMEOUT)
