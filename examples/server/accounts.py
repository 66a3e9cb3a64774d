"""Who may log in (RFC 959 §4.1.1, USER and PASS).

Passwords are held as digests and compared in constant time, and a name that
does not exist costs the same as one that does: neither the reply nor the time
it takes tells an attacker which names are worth trying.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable

import attrs

__all__ = ["ANONYMOUS_NAMES", "Accounts", "User"]

ANONYMOUS_NAMES = frozenset({"anonymous", "ftp"})


@attrs.frozen
class User:
    """A user that has logged in."""

    name: str
    is_anonymous: bool = False


class Accounts:
    """The users of a server.

    Args:
        users: Pairs of name and password.
        anonymous: Whether ``anonymous`` and ``ftp`` may log in, with any
            password.
    """

    def __init__(self, users: Iterable[tuple[str, str]] = (), *, anonymous: bool = False) -> None:
        self.anonymous = anonymous
        self._key = secrets.token_bytes(32)
        self._digests = {name: self._digest(password) for name, password in users}
        self._nobody = secrets.token_bytes(32)

    @staticmethod
    def parse(text: str) -> tuple[str, str]:
        """Parse ``NAME:PASSWORD``. The password may hold colons.

        Raises:
            ValueError: There is no colon, or no name before it.
        """

        name, colon, password = text.partition(":")
        if not colon or not name:
            raise ValueError(f"expected NAME:PASSWORD, not {name!r}")

        return name, password

    def check(self, name: str, password: str) -> User | None:
        """Return the user if the password is right, None if it is not."""

        if self.anonymous and name.lower() in ANONYMOUS_NAMES:
            return User(name.lower(), is_anonymous=True)

        expected = self._digests.get(name, self._nobody)
        if hmac.compare_digest(expected, self._digest(password)):
            return User(name)

        return None

    def _digest(self, password: str) -> bytes:
        # A fixed length, whatever the password: compare_digest would otherwise
        # tell the lengths apart. What is kept lives and dies with the process,
        # so a slow password hash would protect nothing.
        data = password.encode("utf-8", "surrogateescape")
        return hmac.digest(self._key, data, hashlib.sha256)
