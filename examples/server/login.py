"""Who the client is, as far as it has said so (RFC 959 §4.1.1, USER and PASS)."""

from __future__ import annotations

import math

import attrs

from .accounts import User

__all__ = ["Login"]


@attrs.define
class Login:
    """The login of one session.

    Attributes:
        until: When the session ends if nobody has logged in, in seconds of the
            event loop's clock.
        user: Who has logged in.
        pending_user: The name that USER gave, while PASS is awaited.
        failures: Wrong passwords in this session.
    """

    until: float
    user: User | None = None
    pending_user: str | None = None
    failures: int = 0

    def forget(self) -> None:
        """Forget who has logged in (USER, AUTH, REIN). Wrong passwords still count."""

        self.user = self.pending_user = None

    def succeed(self, user: User) -> None:
        """Take note of a right password; the time to log in is over."""

        self.user = user
        self.until = math.inf
