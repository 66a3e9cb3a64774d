"""Deadlines of a data connection, and the decision that one has passed.

Pure: the time is an argument. Waiting is done elsewhere (`ftpdata.protocol`,
`ftpdata.transfers`); here stands only what is waited for, and what the passing
of a deadline means.
"""

from __future__ import annotations

import attrs

from .outcome import End

__all__ = ["Deadlines", "ProgressWatch"]


def _positive_or_none(_: object, attribute: attrs.Attribute[float | None], value: float | None) -> None:
    if value is not None and not value > 0:
        raise ValueError(f"{attribute.name} must be a positive number or None, not {value!r}")


def _seconds(default: float | None) -> float | None:
    field: float | None = attrs.field(default=default, validator=_positive_or_none)
    return field


@attrs.frozen(kw_only=True)
class Deadlines:
    """How long to wait, for each thing that is waited for. None waits for ever.

    Attributes:
        open: Seconds for the peer to connect (passive) or to answer (active).
        handshake: Seconds for the TLS handshake.
        first_byte: Seconds from the start of the transfer to its first byte.
        stall: Seconds without any progress.
        minimum_rate: Bytes per second that must pass, averaged over each
            window of `rate_window` seconds.
        rate_window: Seconds of one such window.
        close: Seconds without progress while the peer takes the rest and the
            end of file.
    """

    open: float | None = _seconds(30.0)
    handshake: float | None = _seconds(30.0)
    first_byte: float | None = _seconds(60.0)
    stall: float | None = _seconds(300.0)
    minimum_rate: float | None = _seconds(None)
    rate_window: float = attrs.field(default=30.0, validator=_positive_or_none)
    close: float | None = _seconds(30.0)


@attrs.define
class ProgressWatch:
    """Decides whether a transfer that has moved so many bytes by now must end.

    Only progress counts, not activity: a peer that keeps a connection open
    and moves nothing is stalled.

    Args:
        deadlines: The limits.
        started_at: Start of the transfer, in seconds of any monotonic clock.
    """

    deadlines: Deadlines
    started_at: float
    _bytes: int = 0
    _progress_at: float | None = None
    _window_at: float = attrs.field(init=False)
    _window_bytes: int = 0

    def __attrs_post_init__(self) -> None:
        self._window_at = self.started_at

    def check(self, now: float, transferred: int) -> End | None:
        """Take note of progress; return how the transfer must end, or None.

        Args:
            now: The time, on the clock of `started_at`.
            transferred: Bytes moved so far.
        """

        limits = self.deadlines
        if transferred != self._bytes:
            self._bytes = transferred
            self._progress_at = now

        if self._progress_at is None:
            if limits.first_byte is not None and now - self.started_at >= limits.first_byte:
                return End.FIRST_BYTE_TIMEOUT
        elif limits.stall is not None and now - self._progress_at >= limits.stall:
            return End.STALLED

        if limits.minimum_rate is not None and now - self._window_at >= limits.rate_window:
            moved = transferred - self._window_bytes
            if moved < limits.minimum_rate * (now - self._window_at):
                return End.TOO_SLOW
            self._window_at = now
            self._window_bytes = transferred

        return None

    def next_check_at(self) -> float | None:
        """When to call `check` again at the latest, or None where nothing is limited."""

        limits = self.deadlines
        moments = []
        if self._progress_at is None:
            if limits.first_byte is not None:
                moments.append(self.started_at + limits.first_byte)
            elif limits.stall is not None:
                moments.append(self.started_at + limits.stall)
        elif limits.stall is not None:
            moments.append(self._progress_at + limits.stall)

        if limits.minimum_rate is not None:
            moments.append(self._window_at + limits.rate_window)

        return min(moments, default=None)
