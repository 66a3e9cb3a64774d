"""Rates of users: one token bucket for all sessions of a user."""

from __future__ import annotations

from collections.abc import Hashable

import attrs

from ftpdata import TokenBucket

__all__ = ["UserRates"]


@attrs.define
class _Shared:
    bucket: TokenBucket
    sessions: int = 0


class UserRates:
    """The buckets of the users who are logged in."""

    def __init__(self) -> None:
        self._users: dict[Hashable, _Shared] = {}

    def enter(self, user: Hashable, rate: float, *, now: float) -> TokenBucket:
        """Return the bucket of a user, for one more session.

        Args:
            user: Stands for the user.
            rate: Bytes per second, as the last login says: it may have changed.
            now: The time, in seconds of a monotonic clock.
        """

        shared = self._users.get(user)
        if shared is None:
            shared = self._users[user] = _Shared(TokenBucket(rate, now=now))
        shared.bucket.rate = rate
        shared.sessions += 1
        return shared.bucket

    def leave(self, user: Hashable) -> None:
        """Take note that a session has ended that `enter` was called for."""

        shared = self._users[user]
        shared.sessions -= 1
        if not shared.sessions:
            del self._users[user]
