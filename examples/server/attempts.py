"""Attempts to log in: how many wrong passwords an address may have, over all its sessions.

RFC 2577 §5. Nobody knows whether a password is right before it was checked, which may take a
while. So an attempt counts as a wrong password from its beginning, until it was right: many at
the same moment have no more guesses than one after the other.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

import anyio
import attrs

from ftpdata.limits import FailedAttempts, address_key

__all__ = ["Attempt", "Blocked", "FailureCounter", "LocalFailures", "LoginAttempts"]

PATIENCE = 10.0
"""Seconds to wait for other attempts of an address, which may be right and give way."""


class Blocked(Exception):
    """An address has had too many wrong passwords; the text is for the client."""


class FailureCounter(Protocol):
    """Counts the wrong passwords of each address, up to a limit."""

    async def blocked_for(self, address: str) -> float:
        """Return the seconds for which the address is to be refused, 0.0 if it is not."""

    async def take(self, address: str) -> float:
        """Count one, unless that is too many; return what `blocked_for` would have before."""

    async def give_back(self, address: str) -> None:
        """Take back one that was counted."""


class LocalFailures:
    """Counts the wrong passwords that this process has seen.

    Args:
        limit: Failures within `window` that block an address.
        window: Seconds.
    """

    def __init__(self, limit: int, window: float) -> None:
        self._failed = FailedAttempts(limit, window=window)

    async def blocked_for(self, address: str) -> float:
        """See `FailureCounter`."""

        return self._failed.blocked_for(address, now=anyio.current_time())

    async def take(self, address: str) -> float:
        """See `FailureCounter`."""

        now = anyio.current_time()
        blocked_for = self._failed.blocked_for(address, now=now)
        if not blocked_for:
            self._failed.record(address, now=now)
        return blocked_for

    async def give_back(self, address: str) -> None:
        """See `FailureCounter`."""

        self._failed.withdraw(address, now=anyio.current_time())


@attrs.define
class Attempt:
    """One attempt to log in.

    Attributes:
        is_right: Whether the password was right; to be set when that is known.
    """

    is_right: bool = False


@attrs.define
class _Running:
    """The attempts of one address that run.

    Attributes:
        count: How many.
        one_has_ended: Set when the next one has ended.
    """

    count: int = 0
    one_has_ended: anyio.Event = attrs.field(factory=anyio.Event)


class LoginAttempts:
    """The attempts of all sessions.

    Args:
        counter: Counts those that fail.
    """

    def __init__(self, counter: FailureCounter) -> None:
        self._counter = counter
        self._running: dict[str, _Running] = {}

    async def check(self, address: str) -> None:
        """Let an address pass.

        Raises:
            Blocked: It has had too many wrong passwords.
        """

        if await self._counter.blocked_for(address):
            raise Blocked("Too many wrong passwords, try later.")

    @contextlib.asynccontextmanager
    async def of(self, address: str) -> AsyncIterator[Attempt]:
        """Check a password within this context. If that fails with an error, it was not wrong.

        Raises:
            Blocked: The address has had too many wrong passwords; this one is not to be tried.
        """

        await self._begin(address)
        attempt, key = Attempt(), address_key(address)
        running = self._running.setdefault(key, _Running())
        running.count += 1
        try:
            yield attempt
        except Exception:
            attempt.is_right = True
            raise
        finally:
            try:
                if attempt.is_right:
                    await self._counter.give_back(address)
            finally:
                running.count -= 1
                if not running.count:
                    del self._running[key]
                running.one_has_ended.set()
                running.one_has_ended = anyio.Event()

    async def _begin(self, address: str) -> None:
        with anyio.move_on_after(PATIENCE):
            while True:
                others = self._running.get(address_key(address))
                one_has_ended = None if others is None else others.one_has_ended
                if not await self._counter.take(address):
                    return
                if one_has_ended is None:
                    break
                # Theirs count as wrong passwords as long as nobody knows.
                await one_has_ended.wait()

        raise Blocked("Too many wrong passwords, try later.")
