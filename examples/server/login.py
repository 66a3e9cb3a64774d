"""Who the client is, as far as it has said so (RFC 959 §4.1.1, USER and PASS)."""

from __future__ import annotations

import math

import attrs

from .accounts import Account, Rights

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
    user: Account | None = None
    pending_user: str | None = None
    failures: int = 0

    def forget(self) -> None:
        """Forget who has logged in (USER, AUTH, REIN). Wrong passwords still count."""

        self.user = self.pending_user = None

    @property
    def rights(self) -> Rights:
        """What the user may do; nothing before the login."""

        return Rights.NONE if self.user is None else self.user.rights

    def succeed(self, user: Account) -> None:
        """Take note of a right password; the time to log in is over."""

        self.user = user
        self.until = math.inf
