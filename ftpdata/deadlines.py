"""Deadlines of a data connection, and the decision that one has passed.

Pure: the time is an argument. `ftpdata.connection.protocol` and `ftpdata.transfers` do the
waiting; this module says what they wait for, and what it means when a deadline passes.
"""

from __future__ import annotations

import math

import attrs

from ._checks import checked, ranged, seconds
from ._repr import repr_of_changes
from .outcome import End

__all__ = ["Deadlines", "ProgressWatch"]


def _limit(default: float | None) -> float | None:
    # None means to wait for ever, not infinity.
    field: float | None = attrs.field(default=default, validator=seconds)
    return field


@attrs.frozen(kw_only=True, field_transformer=checked)
class Deadlines:
    """How long to wait in each phase of a data connection. None waits for ever.

    Attributes:
        open: Seconds for the peer to connect (passive) or to answer (active).
        handshake: Seconds for the TLS handshake.
        first_byte: Seconds from the start of the transfer to its first byte.
        stall: Seconds without any progress.
        minimum_rate: Bytes per second that must pass, averaged over each
            window of `rate_window` seconds; counted from the first byte on.
        rate_window: Seconds of one such window.
        close: Seconds without progress while the peer receives the rest and the
            end of file.
    """

    __repr__ = repr_of_changes

    open: float | None = _limit(30.0)
    handshake: float | None = _limit(30.0)
    first_byte: float | None = _limit(60.0)
    stall: float | None = _limit(300.0)
    minimum_rate: float | None = _limit(None)
    rate_window: float = attrs.field(default=30.0, validator=seconds)
    close: float | None = _limit(30.0)


DEFAULT_DEADLINES = Deadlines()


ACTIVE_INTERVAL = 0.25
"""Seconds between two checks of a transfer that moves."""

LOOKS_WHILE_IDLE = 8
"""Number of checks of a transfer that does not move before its deadline passes."""

SHARED_INTERVAL = 0.25
"""Seconds between two moments at which all checks that can wait a little are made together."""


def shared_moment(at: float, now: float) -> float:
    """Move a moment that is not soon to an earlier one that others wait for, too.

    A thousand stalled connections are then checked in a few turns of the event
    loop, not in a thousand.

    Args:
        at: When something has to be checked, at the latest.
        now: The time, on the same clock, in seconds.
    """

    return at if at - now < 2 * SHARED_INTERVAL else at - at % SHARED_INTERVAL


@attrs.define(field_transformer=checked)
class ProgressWatch:
    """Decides from the number of bytes moved so far whether a transfer must end.

    Only progress counts, not activity: a peer that keeps a connection open
    and moves nothing is stalled. The time of the last byte is known only from
    the check that noticed it, so a stall is found late: by `ACTIVE_INTERVAL` if
    the transfer moved steadily, otherwise by a quarter of the pause before the
    last byte, and by at most an eighth of the deadline.

    Args:
        deadlines: The limits.
        started_at: Start of the transfer, in seconds of any monotonic clock.
    """

    deadlines: Deadlines
    started_at: float = attrs.field(validator=ranged(-math.inf))
    _bytes: int = attrs.field(default=0, init=False)
    _has_begun: bool = attrs.field(default=False, init=False)
    _checked_at: float = attrs.field(init=False)
    _progress_at: float = attrs.field(init=False)
    _window_at: float = attrs.field(init=False)
    _window_bytes: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._checked_at = self._progress_at = self._window_at = self.started_at

    def check(self, now: float, transferred: int) -> End | None:
        """Take note of progress; return how the transfer must end, or None.

        Args:
            now: The time, on the clock of `started_at`.
            transferred: Bytes moved so far.
        """

        self._checked_at = now
        if transferred != self._bytes:
            self._bytes = transferred
            self._progress_at = now
            if not self._has_begun:
                self._has_begun = True
                self._window_at = now
                self._window_bytes = transferred
        else:
            # This is the same sum as in `next_check_at`, so that a check at exactly that
            # moment is never too early because of rounding.
            end, patience = self._patience
            if patience is not None and now >= self._progress_at + patience:
                return end

        limits = self.deadlines
        if self._is_rated and now >= self._window_at + limits.rate_window:
            moved = transferred - self._window_bytes
            if moved < (limits.minimum_rate or 0.0) * (now - self._window_at):
                return End.TOO_SLOW

            self._window_at = now
            self._window_bytes = transferred

        return None

    def excuse(self, now: float) -> None:
        """Start counting again from now: until now, the peer waited for this side."""

        self._checked_at = self._progress_at = self._window_at = now
        self._window_bytes = self._bytes

    def next_check_at(self) -> float | None:
        """Return when to call `check` again at the latest; None if nothing is limited.

        It is later than the last call of `check`, unless that has ended the transfer.
        """

        moments = []
        _, patience = self._patience
        if patience is not None:
            # The longer a transfer has not moved, the less often it is checked: one that moves
            # is known well, and one that has stopped costs little.
            idle = self._checked_at - self._progress_at
            step = min(
                min([patience, *self._later_patience]) / LOOKS_WHILE_IDLE,
                max(ACTIVE_INTERVAL, idle / 4),
            )
            moments.append(min(self._progress_at + patience, self._checked_at + step))

        if self._is_rated:
            moments.append(self._window_at + self.deadlines.rate_window)

        return min(moments, default=None)

    @property
    def _patience(self) -> tuple[End, float | None]:
        """The end that a lack of progress means now, and after how many seconds."""

        if not self._has_begun and self.deadlines.first_byte is not None:
            return End.FIRST_BYTE_TIMEOUT, self.deadlines.first_byte

        return End.STALLED, self.deadlines.stall

    @property
    def _later_patience(self) -> list[float]:
        """Deadlines that begin with the first byte, whose time must be known well enough."""

        if self._has_begun:
            return []

        limits = self.deadlines
        window = limits.rate_window if limits.minimum_rate is not None else None
        return [limit for limit in (limits.stall, window) if limit is not None]

    @property
    def _is_rated(self) -> bool:
        return self._has_begun and self.deadlines.minimum_rate is not None
