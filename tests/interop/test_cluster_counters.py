"""What the nodes of a cluster count together, in a real server of Valkey or Redis.

It is stopped, started again and held meanwhile.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import ftplib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import attrs
import pytest

from examples.server.attempts import LocalFailures
from examples.server.cluster import (
    Cluster,
    ClusterFailures,
    ClusterPlaces,
    ValkeyCounters,
)
from examples.server.places import Full, LocalPlaces, Place
from ftpdata.limits import FailedAttempts
from tests.harness.waiting import wait_until
from tests.interop.conftest import Certificate
from tests.interop.served import PASSWORD, ROOT, USER
from tests.interop.valkeys import PATIENCE, ValkeyServer, running_valkey
from tests.server.test_gunicorn import gunicorn

pytestmark = [
    pytest.mark.interop,
    pytest.mark.blocking_allowed("the tests start and stop the server, and look into it"),
]

DEADLINE = 1.0
"""What a call may take where it is to take too long; elsewhere the machine may be busy."""

ADDRESS, OTHER = "192.0.2.1", "192.0.2.2"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.server.cluster.DEADLINE", PATIENCE)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """Run a server."""

    with running_valkey(tmp_path) as server:
        yield server


def node(server: ValkeyServer, lease: float = 1000.0) -> Cluster:
    """Return what a node has of the cluster."""

    return Cluster(ValkeyCounters(server.url), lease=lease)


def places(cluster: Cluster, in_all: int = 5, per_address: int = 3) -> ClusterPlaces:
    """Return the places of a node, which gives many by itself."""

    return ClusterPlaces(LocalPlaces(100), cluster, in_all, per_address)


async def taken(where: ClusterPlaces, address: str, most: int = 20) -> list[Place]:
    """Take places for an address until there are no more."""

    found: list[Place] = []
    with contextlib.suppress(Full):
        while len(found) < most:
            found.append(await where.take(address))
    return found


async def until(condition: Callable[[], object]) -> None:
    """Wait until this holds."""

    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - no event for it is part of what is tested
            await asyncio.sleep(0.01)


async def test_two_nodes_give_the_places_of_one(server: ValkeyServer) -> None:
    """In all, and of an address; what is given back can be taken at the other node."""

    async with node(server) as one, node(server) as two:
        first, second = places(one), places(two)
        mine = await taken(first, ADDRESS, 2)
        theirs = await taken(second, ADDRESS)
        assert (len(mine), len(theirs)) == (2, 1)
        with pytest.raises(Full, match=r"^Too many sessions of one address\.$"):
            await first.take(ADDRESS)
        others = await taken(second, OTHER)
        assert len(others) == 2
        with pytest.raises(Full, match=r"^Too many sessions\.$"):
            await first.take("192.0.2.3")
        mine[0].release()
        await until(lambda: server.sessions() == 4)
        assert len(await taken(second, ADDRESS)) == 1
    # Whoever ends gives back what it has.
    assert server.keys() == []


async def test_at_the_same_moment_there_are_no_more(server: ValkeyServer) -> None:
    """Each script runs as a whole."""

    found: list[Place] = []

    async def take(where: ClusterPlaces, address: str) -> None:
        found.extend(await taken(where, address, 1))

    async with node(server) as one, node(server) as two, anyio.create_task_group() as tasks:
        for number in range(100):
            where = places([one, two][number % 2], 50, 3)
            tasks.start_soon(take, where, f"192.0.2.{number % 10}")
        # They end before their nodes do.
        await until(lambda: len(found) >= 30)
    assert len(found) == 30


async def test_leases_are_renewed_and_those_of_a_dead_node_end(server: ValkeyServer) -> None:
    """A session lives for as long as its node does, and one lease more."""

    async with node(server, 5.0) as alive:
        lasting = places(alive)
        assert len(await taken(lasting, ADDRESS, 1)) == 1
        async with node(server, 5.0) as dying:
            assert len(await taken(places(dying), ADDRESS)) == 2
            # A node that is killed gives nothing back.
            dying._live.clear()
        began_at = time.monotonic()
        with pytest.raises(Full):
            await lasting.take(ADDRESS)
        # Its two sessions were taken one after the other, and so end one after the other.
        found: list[Place] = []
        async with asyncio.timeout(PATIENCE):
            while len(found) < 2:
                found += await taken(lasting, ADDRESS, 1)
                await asyncio.sleep(0.02)
        assert time.monotonic() - began_at > 1.0
        # Its own session has outlived several leases, and is counted still.
        assert await taken(lasting, ADDRESS) == []
        assert server.sessions(ADDRESS) == 3


async def test_the_server_is_stopped_and_started_again(
    server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits, nobody is thrown out; what lives is counted again when the server is back."""

    caplog.set_level(logging.WARNING, "ftpdata.examples.server")
    async with node(server, 3.0) as one, node(server, 3.0) as two:
        first, second = places(one), places(two)
        kept = await taken(first, ADDRESS, 2)
        server.stop()
        began_at = time.monotonic()
        alone = await taken(second, ADDRESS)
        assert len(alone) == 20
        # It was refused, and only once.
        assert time.monotonic() - began_at < PATIENCE / 2
        assert [record.getMessage()[:61] for record in caplog.records] == [
            "no counters of the cluster, each process counts alone: 127.0."
        ]
        for place in alone[1:]:
            place.release()
        kept[0].release()

        server.start()
        await until(lambda: server.sessions(ADDRESS) == 2 and one.answers and two.answers)
        assert len(await taken(second, ADDRESS)) == 1
        assert len(await taken(second, OTHER)) == 2
        said = [record.getMessage().partition(":")[0] for record in caplog.records]
        assert said.count("the counters of the cluster are back") == said.count(
            "no counters of the cluster, each process counts alone"
        )


async def test_a_server_that_hangs_costs_one_deadline(
    server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connections are there, and nothing comes: who asks first waits, and no one else."""

    monkeypatch.setattr("examples.server.cluster.DEADLINE", DEADLINE)
    async with node(server) as cluster:
        first = places(cluster)
        await taken(first, ADDRESS, 1)
        server.hold()
        try:
            began_at = time.monotonic()
            await first.take(ADDRESS)
            waited = time.monotonic() - began_at
            assert waited > DEADLINE * 0.9
            assert not cluster.answers
            began_at = time.monotonic()
            assert len(await taken(first, ADDRESS)) == 20
            assert time.monotonic() - began_at < 5 * DEADLINE
        finally:
            server.let_go()
        await until(lambda: cluster.answers)
        with pytest.raises(Full):
            await first.take(ADDRESS)


async def test_wrong_passwords_of_all_nodes(server: ValkeyServer) -> None:
    """They block an address at each node by the rule of the library, and are forgotten by it."""

    async with node(server) as one, node(server) as two:
        # Each node alone would take more.
        own = LocalFailures(100, 100.0)
        first, second = (ClusterFailures(own, each, 4, 2.0) for each in (one, two))
        rule = FailedAttempts(4, window=2.0)
        for where in (first, second, first, second):
            assert await where.take(ADDRESS) == 0.0
            rule.record(ADDRESS, now=0.0)
        blocked_for = await first.take(ADDRESS)
        assert 0 < blocked_for <= rule.blocked_for(ADDRESS, now=0.0)
        assert 0 < await second.blocked_for(ADDRESS) <= blocked_for
        assert await second.take(OTHER) == 0.0
        await second.give_back(OTHER)
        assert server.keys() == [b"ftpdata:failures:" + ADDRESS.encode()]
        await second.give_back(ADDRESS)
        assert await first.blocked_for(ADDRESS) == 0.0
        assert await first.take(ADDRESS) == 0.0
        assert await second.take(ADDRESS) > 0.0
        async with asyncio.timeout(PATIENCE):
            while await second.take(ADDRESS):  # noqa: ASYNC110 - it is the time that lets it go on
                await asyncio.sleep(0.01)
        await until(lambda: server.keys() == [])


async def test_tls_with_a_password(certificate: Certificate, tmp_path: Path) -> None:
    """The certificate is looked at, the name in it too; what is wrong is no reason not to serve."""

    options = [
        *("--tls-cert-file", str(certificate.server), "--tls-key-file", str(certificate.server)),
        *("--tls-ca-cert-file", str(certificate.authority), "--tls-auth-clients", "no"),
        *("--requirepass", "secret", "--bind", "127.0.0.1", "127.0.0.2"),
    ]
    # It is for 127.0.0.1 and localhost.
    look = {"ssl": True, "ssl_ca_certs": str(certificate.authority), "password": "secret"}
    with running_valkey(tmp_path, options, **look) as server:
        end = f"{server.port}/0?ssl_ca_certs={certificate.authority}"
        for where, answers in (
            (f"valkeys://:secret@127.0.0.1:{end}", True),
            (f"rediss://:secret@localhost:{end}", True),
            (f"valkeys://:wrong@127.0.0.1:{end}", False),
            (f"valkeys://:secret@127.0.0.2:{end}", False),
            (f"valkeys://:secret@127.0.0.1:{server.port}", False),
        ):
            async with Cluster(ValkeyCounters(where)) as cluster:
                assert cluster.answers == answers, where
                assert "secret" not in cluster._counters.name


# Whole servers


@attrs.frozen
class Node:
    """A process of the reference server.

    Attributes:
        process: The process.
        port: Where it listens.
        log: The file to which it logs.
    """

    process: subprocess.Popen[str]
    port: int
    log: Path

    @contextlib.contextmanager
    def client(self, password: str = PASSWORD) -> Iterator[ftplib.FTP]:
        """Yield a client that has logged in; it leaves without a word."""

        with contextlib.closing(ftplib.FTP(timeout=PATIENCE)) as client:
            client.connect("127.0.0.1", self.port)
            client.login(USER, password)
            yield client


@contextlib.contextmanager
def serving(tmp_path: Path, name: str, url: str) -> Iterator[Node]:
    """Run a node; its end is its own, or SIGTERM."""

    log = tmp_path / f"{name}.log"
    command = [
        *(sys.executable, "-m", "examples.server", str(tmp_path), "--port", "0"),
        *("--user", f"{USER}:{PASSWORD}", "--cluster", url, "--cluster-lease", "5"),
        *("--max-sessions", "5", "--max-sessions-per-address", "3"),
    ]
    with (
        log.open("w") as output,
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=output, text=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            assert said, log.read_text()
            yield Node(process, int(said.rpartition(":")[2]), log)
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
    assert process.returncode in (0, -signal.SIGKILL), log.read_text()
    assert "Traceback" not in log.read_text()


def refusal(server: Node) -> str:
    """Return what refuses a client; an empty text if nothing does."""

    try:
        with server.client():
            return ""
    except ftplib.error_temp as error:
        return str(error)


def test_nodes_that_come_and_go(server: ValkeyServer, tmp_path: Path) -> None:
    """The sessions of a node that is killed count for one lease more.

    Meanwhile the counters are stopped: all go on, each alone.
    """

    too_many = "421 Too many sessions of one address."
    with serving(tmp_path, "one", server.url) as one, serving(tmp_path, "two", server.url) as two:
        with contextlib.ExitStack() as clients:
            for each in (one, one, two):
                clients.enter_context(each.client())
            assert (refusal(one), refusal(two)) == (too_many, too_many)
            one.process.kill()
            one.process.wait(PATIENCE)
            wait_until(lambda: not refusal(two))

        wait_until(lambda: server.sessions("127.0.0.1") == 0)
        with serving(tmp_path, "three", server.url) as three, contextlib.ExitStack() as clients:
            inside = [clients.enter_context(each.client()) for each in (two, two, three)]
            server.stop()
            # Two more there, by its own limit; it has two places for each of all.
            clients.enter_context(three.client())
            clients.enter_context(three.client())
            assert (refusal(two), refusal(three)) == ("", too_many)
            for client in inside:
                assert client.voidcmd("NOOP")[:3] == "200"
            server.start()
            wait_until(lambda: server.sessions("127.0.0.1") == 5)
            assert refusal(two) == "421 Too many sessions."
        for each in (two, three):
            log = each.log.read_text()
            assert "no counters of the cluster, each process counts alone: 127.0.0.1:" in log
            assert "the counters of the cluster are back: 127.0.0.1:" in log


def test_wrong_passwords_at_two_nodes(server: ValkeyServer, tmp_path: Path) -> None:
    """Twenty a minute in all, whichever node is asked; others may log in."""

    guesser = ("127.0.0.9", 0)
    with serving(tmp_path, "one", server.url) as one, serving(tmp_path, "two", server.url) as two:

        def guess(where: Node) -> int:
            """Guess until a session is ended; return how many passwords were looked at."""

            tried = 0
            with ftplib.FTP() as client:
                try:
                    client.connect("127.0.0.1", where.port, PATIENCE, guesser)
                    while True:
                        with contextlib.suppress(ftplib.error_perm):
                            client.login(USER, "wrong")
                        tried += 1
                except ftplib.error_temp as error:
                    # The third wrong one of a session, or one too many of the address.
                    return tried + ("try later" not in str(error))

        began_at = time.monotonic()
        tried = 0
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            while found := sum(threads.map(guess, [one, two])):
                tried += found
        # One of them is forgotten in three seconds.
        assert 20 <= tried <= 21 + (time.monotonic() - began_at) / 3
        for each in (one, two):
            with each.client():
                pass


def test_workers_of_gunicorn_and_a_node(
    server: ValkeyServer, served_directory: Path, tmp_path: Path
) -> None:
    """Two workers of one host, and one of another, have the places of one."""

    options = ("--cluster", server.url, "--cluster-lease", "5", "--max-sessions-per-address", "3")
    with (
        serving(tmp_path, "other", server.url) as other,
        gunicorn(served_directory, tmp_path, *options) as workers,
        contextlib.ExitStack() as clients,
    ):
        clients.enter_context(workers.client())
        clients.enter_context(other.client())
        clients.enter_context(workers.client())
        assert refusal(other) == "421 Too many sessions of one address."
        for _ in range(4):
            with pytest.raises(ftplib.error_temp, match="421 Too many sessions of one address"):
                clients.enter_context(workers.client())
        # A worker that is killed has its sessions for one lease more.
        os.kill(min(workers.workers()), signal.SIGKILL)
        wait_until(lambda: len(workers.workers()) == 2)
        clients.close()
        wait_until(lambda: not refusal(other))
