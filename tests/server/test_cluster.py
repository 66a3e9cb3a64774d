"""What nodes of a cluster count together, with counters that answer, refuse, hang and fail.

`tests/interop/test_cluster_counters.py` has a real server of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence

import anyio
import anyio.lowlevel
import attrs
import pytest

from examples.server.attempts import LocalFailures
from examples.server.cluster import (
    ENTER,
    GIVE_FAILURE_BACK,
    KEEP,
    TAKE_FAILURE,
    Cluster,
    ClusterFailures,
    ClusterPlaces,
    Script,
)
from examples.server.command_line import CommandLine
from examples.server.places import Full, LocalPlaces
from tests.server.client import PATIENCE

ADDRESS = "192.0.2.1"


@attrs.define
class Fake:
    """Counters without a server.

    Attributes:
        answers: What each script answers; 0 if that is not said.
        failure: What each call raises, if anything.
        hangs: Whether calls never end.
        calls: All of them: the script, its keys and arguments.
        name: As in `Counters`.
        is_closed: Whether that is so.
        on_call: Called by each call.
    """

    answers: dict[Script, int] = attrs.field(factory=dict)
    failure: OSError | None = None
    hangs: bool = False
    calls: list[tuple[Script, list[str], list[str]]] = attrs.field(factory=list)
    name: str = "fake:1"
    is_closed: bool = False
    on_call: Callable[[], None] = lambda: None

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str]) -> int:
        """See `Counters`."""

        self.calls.append((script, list(keys), list(arguments)))
        self.on_call()
        await anyio.lowlevel.checkpoint()
        if self.hangs:
            await anyio.sleep_forever()
        if self.failure is not None:
            raise self.failure
        return self.answers.get(script, 0)

    async def aclose(self) -> None:
        """See `Counters`."""

        self.is_closed = True

    def of(self, script: Script) -> list[tuple[list[str], list[str]]]:
        """Return keys and arguments of the calls of one script."""

        return [(keys, arguments) for called, keys, arguments in self.calls if called is script]

    def kept(self) -> list[str]:
        """Return the sessions that were renewed, in the order of the calls."""

        return [
            each for _, arguments in self.of(KEEP) for each in arguments[2 : 2 + int(arguments[1])]
        ]

    def left(self) -> list[str]:
        """Return the sessions that were given back."""

        return [
            each for _, arguments in self.of(KEEP) for each in arguments[2 + int(arguments[1]) :]
        ]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for long."""

    monkeypatch.setattr("examples.server.cluster.DEADLINE", 0.2)
    monkeypatch.setattr("examples.server.cluster.RETRY", 0.02)


@contextlib.asynccontextmanager
async def joined(fake: Fake, lease: float = 1000.0) -> AsyncIterator[Cluster]:
    """Join a cluster."""

    async with Cluster(fake, lease=lease) as cluster:
        yield cluster


async def until(condition: Callable[[], object]) -> None:
    """Wait until this holds."""

    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - no event for it is part of the cluster
            await asyncio.sleep(0.002)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged."""

    return [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]


async def test_a_place_is_taken_and_given_back_at_once() -> None:
    """With the limits, and the lease in milliseconds."""

    fake = Fake()
    async with joined(fake) as cluster:
        place = await ClusterPlaces(LocalPlaces(2), cluster, 7, 3).take(ADDRESS)
        [(keys, arguments)] = fake.of(ENTER)
        assert keys == ["ftpdata:sessions", f"ftpdata:sessions:{ADDRESS}"]
        lease, member, *limits = arguments
        assert (lease, limits) == ("1000000", ["7", "3"])
        place.release()
        await until(fake.left)
        assert fake.left() == [member]
        assert fake.of(KEEP)[-1][0] == keys
        assert not fake.kept()
    assert fake.is_closed


@pytest.mark.parametrize(
    ("answer", "said"), [(1, "Too many sessions."), (2, "Too many sessions of one address.")]
)
async def test_a_place_that_the_cluster_refuses(answer: int, said: str) -> None:
    """What this node gave is given back; nothing is renewed."""

    fake = Fake({ENTER: answer})
    async with joined(fake, lease=1.0) as cluster:
        places = ClusterPlaces(LocalPlaces(1), cluster, 7, 3)
        for _ in range(3):
            with pytest.raises(Full) as caught:
                await places.take(ADDRESS)
            assert str(caught.value) == said
        renewals = len(fake.of(KEEP))
        await until(lambda: len(fake.of(KEEP)) > renewals)
        fake.answers.clear()
        await places.take(ADDRESS)
    assert not fake.kept()


async def test_the_own_limit_holds_as_well() -> None:
    """The cluster is not asked then."""

    fake = Fake()
    async with joined(fake) as cluster:
        places = ClusterPlaces(LocalPlaces(1), cluster, 7, 3)
        await places.take(ADDRESS)
        with pytest.raises(Full):
            await places.take(ADDRESS)
        assert len(fake.of(ENTER)) == 1


async def test_leases_are_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of those that live, some at a time, again and again; at the end all are given back."""

    monkeypatch.setattr("examples.server.cluster.AT_A_TIME", 2)
    fake = Fake()
    async with joined(fake, lease=0.05) as cluster:
        places = ClusterPlaces(LocalPlaces(9), cluster, 9, 9)
        taken = [await places.take(ADDRESS) for _ in range(5)]
        members = [arguments[1] for _, arguments in fake.of(ENTER)]
        await until(lambda: all(fake.kept().count(member) > 2 for member in members))
        assert set(fake.kept()) == set(members)
        assert max(int(arguments[1]) for _, arguments in fake.of(KEEP)) == 2
        for place in taken:
            place.release()
    assert set(fake.left()) == set(members)


async def test_leases_are_renewed_where_somebody_leaves_all_the_time() -> None:
    """What is given back does not put off what is renewed."""

    fake = Fake()
    async with joined(fake, lease=0.05) as cluster:
        lease = await cluster.enter(ADDRESS, 9, 9)
        gone = await cluster.enter(ADDRESS, 9, 9)
        fake.on_call = lambda: cluster.leave(gone)
        cluster.leave(gone)
        await until(lambda: fake.kept().count(lease.member) > 3)
        fake.on_call = lambda: None


async def test_a_session_that_is_cancelled_leaves_no_lease() -> None:
    """Nobody knows whether the server had it: it is given back."""

    fake = Fake()
    places = LocalPlaces(1)
    async with joined(fake) as cluster:
        fake.hangs = True
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ClusterPlaces(places, cluster, 7, 3).take, ADDRESS)
            await until(lambda: fake.of(ENTER))
            tasks.cancel_scope.cancel()
        fake.hangs = False
        await until(fake.left)
        assert fake.left() == [fake.of(ENTER)[0][1][1]]
        await places.take(ADDRESS)


@pytest.mark.parametrize("failure", [None, OSError("gone")], ids=["hangs", "fails"])
async def test_without_its_counters_a_node_counts_alone(
    failure: OSError | None, caplog: pytest.LogCaptureFixture
) -> None:
    """One session waits, once; the log says so, once, and once when they are back."""

    fake = Fake()
    async with joined(fake, lease=60.0) as cluster:
        places = ClusterPlaces(LocalPlaces(3), cluster, 7, 3)
        before = await places.take(ADDRESS)
        fake.failure, fake.hangs = failure, failure is None
        async with asyncio.timeout(5.0):
            for _ in range(2):
                await places.take(ADDRESS)
        with pytest.raises(Full, match="of one address"):
            await places.take(ADDRESS)
        before.release()
        assert len(fake.of(ENTER)) == 2
        said = "no answer within 0.2 s" if failure is None else "gone"
        message = f"no counters of the cluster, each process counts alone: fake:1: {said}"
        asked = len(fake.of(KEEP))
        await until(lambda: len(fake.of(KEEP)) > asked + 2)
        assert logged(caplog) == [message]

        fake.failure, fake.hangs = None, False
        await until(lambda: cluster.answers)
        assert logged(caplog)[1:] == ["the counters of the cluster are back: fake:1"]
        # Those that live have leases, also the one that began meanwhile.
        assert len(fake.of(KEEP)[-1][1]) == 2 + 2
        await places.take(ADDRESS)
        assert len(fake.of(ENTER)) == 3


async def test_no_node_needs_its_counters_to_begin(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody asks what does not answer but the one that tries again and again."""

    fake = Fake(failure=OSError("nobody"))
    async with joined(fake) as cluster:
        await ClusterPlaces(LocalPlaces(1), cluster, 7, 3).take(ADDRESS)
        failures = ClusterFailures(LocalFailures(1, 100.0), cluster, 1, 100.0)
        assert await failures.take(ADDRESS) == 0.0
        assert await failures.take(ADDRESS) > 0.0
        assert await failures.blocked_for(ADDRESS) > 0.0
        await failures.give_back(ADDRESS)
        assert await failures.blocked_for(ADDRESS) == 0.0
        assert {script for script, _, _ in fake.calls} == {KEEP}
    assert len(logged(caplog)) == 1
    assert fake.is_closed


async def test_failures_are_counted_by_both() -> None:
    """What the cluster refuses, this node has not counted, either."""

    fake = Fake()
    async with joined(fake) as cluster:
        failures = ClusterFailures(LocalFailures(3, 60.0), cluster, 3, 60.0)
        assert await failures.take("2001:db8::1") == 0.0
        key = "ftpdata:failures:2001:db8::/64"
        assert fake.of(TAKE_FAILURE) == [([key], ["20000", "60000", "1"])]
        fake.answers[TAKE_FAILURE] = 1500
        for _ in range(5):
            assert await failures.take("2001:db8::1") == 1.5
        assert await failures.blocked_for("2001:db8::1") == 1.5
        assert fake.of(TAKE_FAILURE)[-1] == ([key], ["20000", "60000", "0"])
        fake.answers.clear()
        for _ in range(2):
            assert await failures.take("2001:db8::1") == 0.0
        assert await failures.take("2001:db8::1") > 0.0
        await failures.give_back("2001:db8::1")
        assert fake.of(GIVE_FAILURE_BACK) == [([key], ["20000"])]
        assert await failures.blocked_for("2001:db8::1") == 0.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cluster", "http://u:secret@host"], "cannot use --cluster: Valkey URL must specify"),
        (["--cluster-lease", "0.5"], "expected 1 to 3600 seconds, not '0.5'"),
        (["--max-sessions", "0"], "expected a number from 1 on, not '0'"),
    ],
)
def test_what_the_command_line_may_not_say(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program ends, and shows no password."""

    with pytest.raises(SystemExit):
        CommandLine.parse(["DIRECTORY", "--anonymous", *arguments])
    shown = capsys.readouterr().err
    assert said in shown
    assert "secret" not in shown


def test_limits_of_the_command_line() -> None:
    """An address has half of all unless that is said."""

    for arguments, limits in (
        ([], (100, 50)),
        (["--max-sessions", "7"], (7, 3)),
        (["--max-sessions", "7", "--max-sessions-per-address", "6"], (7, 6)),
    ):
        settings = CommandLine.parse(["DIRECTORY", "--anonymous", *arguments]).settings(None)
        assert (settings.max_sessions, settings.max_sessions_per_address) == limits
