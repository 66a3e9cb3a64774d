"""`check_server`: which checks it makes, what it says of them, and what it leaves behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from ftpdata.testing import Failure, Outcome, ServerUnderTest, check_server, server_check
from ftpdata.testing._checks._frame import CHECKS, Check, Trial, check
from tests.testing.scripted_server import (
    PASSWORD,
    USER,
    ScriptedServer,
    Session,
    saying,
    scripted_server,
)

pytestmark = pytest.mark.asyncio_only("the tools for tests of servers run on any loop")


def server_to_check(server: ScriptedServer, **options: Any) -> ServerUnderTest:
    """Return a scripted server as one to test."""

    return attrs.evolve(ServerUnderTest(server.host, server.port, USER, PASSWORD), **options)


def install(
    monkeypatch: pytest.MonkeyPatch, *runs: Callable[[Trial], Awaitable[None]], slow: str = ""
) -> None:
    """Have the checks that a test brings, and no others."""

    checks = {
        run.__name__: Check(run.__name__, "It works.", "RFC 0", run.__name__ == slow, run)
        for run in runs
    }
    monkeypatch.setattr(server_check, "CHECKS", checks)


def found(directory: Path, pattern: str) -> list[str]:
    """Return the names that a pattern finds."""

    return [path.name for path in directory.glob(pattern)]


async def passes(trial: Trial) -> None:
    """Pass."""


async def fails(trial: Trial) -> None:
    """Fail."""

    trial.require(trial, "no")
    trial.fail("it is\nwrong \x1b")


async def breaks(trial: Trial) -> None:
    """Lose a connection."""

    raise ConnectionResetError(104, "reset")


async def hangs(trial: Trial) -> None:
    """Never end."""

    await asyncio.sleep(60)


async def is_puzzled(trial: Trial) -> None:
    """Not be prepared for what a server says."""

    raise IndexError("odd")


async def warns(trial: Trial) -> None:
    """Warn twice."""

    trial.warn("so so")
    trial.note_delay(trial.server.late / 2, "this")
    trial.note_delay(60.0, "the reply")


async def needs_more(trial: Trial) -> None:
    """Need a directory to write."""

    trial.writable()


async def test_each_ending_has_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line that is safe to show."""

    runs = (passes, fails, breaks, hangs, is_puzzled, warns, needs_more)
    install(monkeypatch, *runs)
    monkeypatch.setattr(server_check, "CHECK_LIMIT", 0.05)
    async with scripted_server(tmp_path) as server:
        results = await check_server(server_to_check(server))
    assert [(result.name, result.result.value, result.why) for result in results] == [
        ("passes", "pass", ""),
        ("fails", "fail", r"it is wrong \x1b"),
        ("breaks", "fail", "a connection broke: Connection reset by peer"),
        ("hangs", "fail", "it did not end in 0.05 s"),
        ("is_puzzled", "fail", "the check does not understand the server: IndexError('odd')"),
        ("warns", "warning", "so so; the reply came after 60.0 s"),
        ("needs_more", "not offered", "needs --writable, a directory in which it may write"),
    ]
    assert all(result.source == "RFC 0" and result.seconds < 50 for result in results)


@pytest.mark.parametrize("at_once", [1, 2, 9])
async def test_results_are_reported_in_the_order_of_the_checks(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that ends early waits for those before it; no more run at once than allowed."""

    running = most = 0

    def make(number: int) -> Callable[[Trial], Awaitable[None]]:
        async def run(trial: Trial) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            for _ in range(10 * (6 - number)):
                await asyncio.sleep(0)
            running -= 1

        run.__name__ = f"check{number}"
        return run

    install(monkeypatch, *map(make, range(6)))
    told: list[str] = []
    async with scripted_server(tmp_path) as server:
        results = await check_server(
            server_to_check(server),
            at_once=at_once,
            on_result=lambda result: told.append(result.name),
        )
    assert told == [result.name for result in results] == [f"check{n}" for n in range(6)]
    assert most == min(at_once, 6)


async def test_slow_checks_are_made_where_they_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then there is no limit for the whole run either."""

    install(monkeypatch, passes, slow="passes")
    monkeypatch.setattr(server_check, "RUN_LIMIT", -1.0)
    async with scripted_server(tmp_path) as server:
        (without,) = await check_server(server_to_check(server))
        (allowed,) = await check_server(server_to_check(server, is_slow_allowed=True))
    assert (without.result, without.why) == (Outcome.NOT_OFFERED, "needs --allow-slow")
    assert allowed.result is Outcome.PASS


async def test_a_run_comes_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks for which no time is left are not made, and say so."""

    install(monkeypatch, passes)
    monkeypatch.setattr(server_check, "RUN_LIMIT", -1.0)
    async with scripted_server(tmp_path) as server:
        (result,) = await check_server(server_to_check(server))
    assert result.result is Outcome.NOT_OFFERED
    assert result.why == "no time was left of the -1 s of a run"


@pytest.mark.blocking_allowed("the check that the test brings looks at files")
@pytest.mark.parametrize("is_local", [True, False])
async def test_nothing_is_left_behind(
    is_local: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Directories within directories, and odd names; also where they are only seen by FTP."""

    seen: list[str] = []

    async def litters(trial: Trial) -> None:
        async with trial.client() as client:
            await trial.put(client, trial.new_name(), b"content")
            await client.expect("MKD a", 257)
            await client.expect("MKD a/b", 257)
            await trial.put(client, "a/b/ odd \udcff", b"")
            assert await trial.content(client, "a/b/ odd \udcff") == b""
            assert await trial.content(client, "missing") is None
        seen.extend(found(tmp_path, "*/*/*"))

    install(monkeypatch, litters, passes)
    async with scripted_server(tmp_path) as server:
        local = tmp_path if is_local else None
        results = await check_server(server_to_check(server, writable="/", local=local))
    assert [result.result for result in results] == [Outcome.PASS] * 2, results
    assert len(seen) == 2
    assert found(tmp_path, "*") == []


async def test_what_cannot_be_deleted_does_not_cost_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are worth more than a clean directory."""

    install(monkeypatch, passes)
    async with scripted_server(tmp_path, saying("NLST", "550 No.", instead_of="1")) as server:
        (result,) = await check_server(server_to_check(server, writable="/"))
    assert result.result is Outcome.PASS
    assert len(found(tmp_path, "*")) == 1


async def test_a_server_that_is_full_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says 421, since other checks run at the same time."""

    greetings = iter(["421 Full.", "421 Full.", "220 Ready."])

    class Full(Session):
        def say(self, verb: str, line: str) -> str:
            return next(greetings, line) if verb == "" else line

    install(monkeypatch, passes)
    async with scripted_server(tmp_path, Full) as server:
        (result,) = await check_server(server_to_check(server))
    assert result.result is Outcome.PASS
    assert next(greetings, None) is None


async def test_a_server_that_stays_full_cannot_be_checked(tmp_path: Path) -> None:
    """The failure says what it said."""

    async with scripted_server(tmp_path, saying("", "421 Full.")) as server:
        with pytest.raises(Failure, match=r"the login fails: .* answered by '421 Full.'"):
            await check_server(server_to_check(server, patience=0.05))


async def test_a_name_is_looked_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of its addresses answers, all connections go to that one."""

    hosts: list[str] = []

    async def looks(trial: Trial) -> None:
        hosts.append(trial.server.host)
        trial.stranger()

    install(monkeypatch, looks)
    async with scripted_server(tmp_path) as server:
        (result,) = await check_server(server_to_check(server, host="localhost"))
    assert result.result is Outcome.PASS
    assert hosts == ["127.0.0.1"]


async def test_an_unknown_check_is_refused() -> None:
    """Before anything is connected to."""

    with pytest.raises(ValueError, match=r"expected names of checks .*, not 'nonesuch'"):
        await check_server(ServerUnderTest("127.0.0.1", 1), only=["nonesuch"])


async def test_a_server_that_is_not_there_is_an_error() -> None:
    """It is the system's."""

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            await check_server(ServerUnderTest("127.0.0.1", sock.getsockname()[1]))


def test_the_checks_are_described() -> None:
    """Each has a name for the command line, a source and one sentence."""

    assert len(CHECKS) > 100
    for name, made in CHECKS.items():
        assert name == made.name
        assert name.replace("-", "").isalnum()
        assert name == name.lower()
        assert made.source
        assert made.sentence.endswith(".")
        assert "|" not in made.source


def test_a_check_without_a_sentence_is_refused() -> None:
    """So is a second one of the same name."""

    async def unsaid(trial: Trial) -> None:
        pass

    with pytest.raises(ValueError, match="expected a new check with a docstring, not unsaid"):
        check("RFC 0")(unsaid)

    async def noop_command(trial: Trial) -> None:
        """Be there already."""

    with pytest.raises(ValueError, match="not noop-command"):
        check("RFC 0")(noop_command)
