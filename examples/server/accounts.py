"""Who may log in (RFC 959 §4.1.1, USER and PASS), and what they may do then.

What the server knows of its users it asks an object with one coroutine, ``check(name, password,
peer=…)`` (`Accounts`): who may log in, which directory he sees as ``/``, and what he may do there
(list, read, write, append, delete, rename, mkdir, change), how fast all his sessions together may
be, and how many bytes his home may hold. What is beyond that quota is a 552, at the door or in the
middle; the part that stays of it counts, what is deleted or replaced gives its bytes back, and AVBL
tells what is left, of a directory as of a bucket (`examples.server.quota`). A password that nobody
can judge in time is answered with 421, and does not count as a wrong one.

`PasswordTable` is the one that the command line fills, by ``--user``. ``--accounts sqlite:FILE``
asks a database, where each guess costs a slow hash (`examples.accounts_sqlite`)::

    echo secret | python -m examples.accounts_sqlite accounts.db ann --home /ann --quota 1000000000
    python -m examples.server DIRECTORY --writable --accounts sqlite:accounts.db

``--accounts ldaps://ldap.example.org/ou=people,dc=example,dc=org`` asks an LDAP directory, where a
user is who can bind with the password (`examples.accounts_ldap`, with python-ldap).
"""

from __future__ import annotations

import asyncio
import enum
import functools
import hashlib
import hmac
import math
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, ParamSpec, Protocol, TypeVar

import anyio.to_thread
import attrs

from .paths import absolute

__all__ = ["ANONYMOUS_NAMES", "Account", "Accounts", "PasswordTable", "Rights", "Waiting"]

ANONYMOUS_NAMES = frozenset({"anonymous", "ftp"})

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Rights(enum.Flag):
    """What a user may do. A server that is not writable allows nobody to change anything."""

    NONE = 0
    LIST = enum.auto()
    """See which files there are, and their facts."""
    READ = enum.auto()
    """Read files, and have digests of them."""
    WRITE = enum.auto()
    """Make files, and replace them."""
    APPEND = enum.auto()
    """Append to files."""
    DELETE = enum.auto()
    """Delete files and directories."""
    RENAME = enum.auto()
    """Rename and move files and directories; a file of the new name is replaced."""
    MKDIR = enum.auto()
    """Make directories."""
    CHANGE = enum.auto()
    """Set the time and the mode of files."""

    READ_ONLY = LIST | READ
    ALL = LIST | READ | WRITE | APPEND | DELETE | RENAME | MKDIR | CHANGE

    @classmethod
    def parse(cls, text: str) -> Rights:
        """Parse names of rights between blanks or commas: ``list, read`` or ``all``.

        Raises:
            ValueError: There is no such right.
        """

        rights = cls.NONE
        for name in text.replace(",", " ").split():
            try:
                rights |= cls[name.upper().replace("-", "_")]
            except KeyError:
                known = ", ".join(right.lower() for right in cls.__members__)
                raise ValueError(f"expected rights ({known}), not {name!r}") from None

        return rights


def _positive(_: object, attribute: Any, value: float | None) -> None:
    # Written so that NaN is refused, too.
    if value is not None and not 0 < value < math.inf:
        raise ValueError(f"expected a positive {attribute.name}, or None, not {value!r}")


@attrs.frozen
class Account:
    """A user that has logged in.

    Attributes:
        name: The user's name.
        is_anonymous: Whether anybody may have said this name.
        home: The directory of the store that the user sees as ``/``.
        rights: What the user may do there.
        rate: Bytes per second of all sessions of the user, both directions together; None for
            no limit.
        quota: Bytes that there may be in the user's home; None for no limit. With a quota, no
            upload takes one of ftpdata's faster ways.

    Raises:
        ValueError: A value makes no sense.
    """

    name: str
    is_anonymous: bool = False
    home: str = attrs.field(default="/", converter=absolute)
    rights: Rights = Rights.ALL
    rate: float | None = attrs.field(default=None, validator=_positive)
    quota: int | None = attrs.field(default=None, validator=_positive)


class Accounts(Protocol):
    """The accounts of a server.

    A wrong password and a name that does not exist cost the same time: otherwise an attacker
    learns which names are worth trying. What blocks runs in a thread (`Waiting`).
    """

    async def check(self, name: str, password: str, *, peer: str) -> Account | None:
        """Return the account if the password is right, None if it is not.

        It is cancelled after `Settings.check_timeout`. The client then gets the same answer as
        after an exception: that nobody can be asked at this time. Neither counts as a wrong
        password.

        Args:
            name: What USER said, with surrogate escapes for what is not UTF-8.
            password: What PASS said.
            peer: The address of the client.
        """


class PasswordTable:
    """Accounts that are known when the server starts; their users may do everything.

    Passwords are held as digests and compared in constant time, and a name that does not exist
    costs the same as one that does: neither the reply nor the time it takes tells an attacker
    which names are worth trying.

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

    async def check(self, name: str, password: str, *, peer: str) -> Account | None:
        """See `Accounts`."""

        if self.anonymous and name.lower() in ANONYMOUS_NAMES:
            return Account(name.lower(), is_anonymous=True)

        expected = self._digests.get(name, self._nobody)
        if hmac.compare_digest(expected, self._digest(password)):
            return Account(name)

        return None

    def _digest(self, password: str) -> bytes:
        # A fixed length, whatever the password: compare_digest would otherwise
        # tell the lengths apart. What is kept lives and dies with the process,
        # so a slow password hash would protect nothing.
        data = password.encode("utf-8", "surrogateescape")
        return hmac.digest(self._key, data, hashlib.sha256)


class Waiting:
    """Waits for what cannot be cancelled, in a way that can be.

    Whoever is cancelled leaves at once; the call goes on to its own end, and keeps its place
    until then: however many clients come and go, no more calls run than there are places.

    Args:
        places: Calls that may run at one time.
    """

    def __init__(self, places: int = 4) -> None:
        self._places = asyncio.Semaphore(places)
        self._running: set[asyncio.Future[Any]] = set()

    async def run(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Await what a call returns."""

        await self._places.acquire()
        # No wait between this and the place.
        task = asyncio.ensure_future(call())
        self._running.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait({task})
        return task.result()

    async def run_in_thread(
        self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Run a call that blocks in a thread."""

        work = functools.partial(call, *args, **kwargs)
        return await self.run(functools.partial(anyio.to_thread.run_sync, work))

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._running.discard(task)
        self._places.release()
        if not task.cancelled():
            # Nobody may be left who wants to know.
            task.exception()
