"""Attempts to log in: many at the same moment, checked by something that takes a while."""

from __future__ import annotations

import anyio
import attrs
import pytest

from examples.server.attempts import Blocked, LocalFailures, LoginAttempts

ADDRESS = "192.0.2.1"


@attrs.define
class Checks:
    """Checks passwords, all at once when told to.

    Attributes:
        attempts: What limits them.
        tried: How many were checked.
        right: How many were right.
        refused: How many were not to be tried.
        failed: How many ended with an error.
        go_on: Set when the checks end.
    """

    attempts: LoginAttempts
    tried: int = 0
    right: int = 0
    refused: int = 0
    failed: int = 0
    go_on: anyio.Event = attrs.field(factory=anyio.Event)

    async def check(self, outcome: bool | None, address: str = ADDRESS) -> None:
        """Check one password; None for an error."""

        try:
            async with self.attempts.of(address) as attempt:
                self.tried += 1
                attempt.is_right = await self._answer(outcome)
                self.right += attempt.is_right
        except Blocked:
            self.refused += 1
        except OSError:
            self.failed += 1

    async def _answer(self, outcome: bool | None) -> bool:
        await self.go_on.wait()
        if outcome is None:
            raise OSError("nobody answers")
        return outcome

    async def all_of(self, *outcomes: bool | None) -> None:
        """Check passwords at the same moment, as far as the limit lets them."""

        self.go_on = anyio.Event()
        async with anyio.create_task_group() as tasks:
            for outcome in outcomes:
                tasks.start_soon(self.check, outcome)
            await anyio.wait_all_tasks_blocked()
            self.go_on.set()


@pytest.fixture
def checks() -> Checks:
    """Return checks of which five may fail, and none is forgotten."""

    return Checks(LoginAttempts(LocalFailures(5, 1e6)))


async def test_many_at_once_have_no_more_guesses(checks: Checks) -> None:
    """Those beyond the limit wait for the others, and are not tried when these were wrong."""

    await checks.all_of(*[False] * 20)
    assert (checks.tried, checks.refused) == (5, 15)
    with pytest.raises(Blocked):
        await checks.attempts.check(ADDRESS)
    await checks.attempts.check("192.0.2.2")


async def test_many_right_ones_at_once_are_all_let_in(checks: Checks) -> None:
    """Those beyond the limit wait for the others, which give way."""

    await checks.all_of(*[True] * 50)
    assert (checks.tried, checks.right, checks.refused) == (50, 50, 0)
    await checks.attempts.check(ADDRESS)


async def test_an_error_is_no_wrong_password(checks: Checks) -> None:
    """Who cannot be judged has done nothing."""

    await checks.all_of(*[None] * 20)
    assert (checks.tried, checks.failed) == (20, 20)
    await checks.attempts.check(ADDRESS)


async def test_an_attempt_that_nobody_waits_for_counts(checks: Checks) -> None:
    """Who leaves before the answer may have guessed."""

    for _ in range(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(checks.check, True)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    with pytest.raises(Blocked):
        await checks.attempts.check(ADDRESS)


async def test_a_network_is_one_address(checks: Checks) -> None:
    """Whoever has one IPv6 address has a network of them; nothing is remembered of who is done."""

    checks.go_on.set()
    for number in range(7):
        await checks.check(False, f"2001:db8::{number}")
    assert (checks.tried, checks.refused) == (5, 2)
    assert not checks.attempts._running


async def test_nobody_waits_for_ever(checks: Checks, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the attempts before never end."""

    monkeypatch.setattr("examples.server.attempts.PATIENCE", 0.01)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(checks.check, False)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(Blocked):
            async with checks.attempts.of(ADDRESS):
                pytest.fail("it is not to be tried")
        checks.go_on.set()
