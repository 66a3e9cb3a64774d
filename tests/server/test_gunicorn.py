"""Several processes of the server on one host, run by a real gunicorn."""

from __future__ import annotations

import contextlib
import ftplib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from examples.server.gunicorn_worker import Serving, slice_of
from ftpdata import PortRange
from tests.harness.proxies import free_ports

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
SIZE = 32 * 1024 * 1024


@attrs.frozen
class Gunicorn:
    """A gunicorn that runs.

    Attributes:
        process: Its process.
        port: Where it listens.
        log: What it has written.
    """

    process: subprocess.Popen[str]
    port: int
    log: Path

    def workers(self) -> set[int]:
        """Return the processes of the workers that have taken their passive ports."""

        return set(self.listening())

    def listening(self) -> dict[int, set[int]]:
        """Return the ports that each process listens on, but for the shared one."""

        found: dict[int, set[int]] = {}
        for pid in self.children():
            mine = _sockets(pid)
            ports = {port for port, inode in _listeners() if inode in mine} - {self.port}
            if ports:
                found[pid] = ports
        return found

    def children(self) -> list[int]:
        """Return the processes of all workers."""

        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    @contextlib.contextmanager
    def client(self) -> Iterator[ftplib.FTP]:
        """Yield a client that has logged in; it leaves without a word."""

        with contextlib.closing(ftplib.FTP(timeout=PATIENCE)) as client:
            client.connect("127.0.0.1", self.port)
            client.login()
            yield client

    def client_of_each_worker(self, stack: contextlib.ExitStack) -> dict[int, ftplib.FTP]:
        """Return clients by the process that serves them: one for each worker."""

        found: dict[int, ftplib.FTP] = {}
        for _ in range(40):
            client = stack.enter_context(self.client())
            found.setdefault(self.worker_of(client), client)
            if set(found) == self.workers():
                return found
        raise AssertionError("one worker takes all clients")

    def worker_of(self, client: ftplib.FTP) -> int:
        """Return the process that serves a client."""

        assert client.sock is not None
        wanted = client.sock.getpeername(), client.sock.getsockname()
        inode = next(inode for local, remote, inode in _connections() if (local, remote) == wanted)
        [pid] = [pid for pid in self.children() if inode in _sockets(pid)]
        return pid


def _sockets(pid: int) -> set[str]:
    """Return the inodes of the sockets of a process."""

    found = set()
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found


def received_from(data: socket.socket) -> int:
    """Receive up to the end of file, and close; return how many bytes that were."""

    received = 0
    with data:
        while piece := data.recv(1 << 20):
            received += len(piece)
    return received


def _table() -> Iterator[list[str]]:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        yield line.split()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    return socket.inet_ntoa(bytes.fromhex(host)[::-1]), int(port, 16)


def _listeners() -> list[tuple[int, str]]:
    return [(_address(row[1])[1], row[9]) for row in _table() if row[3] == "0A"]


def _connections() -> list[tuple[tuple[str, int], tuple[str, int], str]]:
    return [(_address(row[1]), _address(row[2]), row[9]) for row in _table() if row[3] == "01"]


def until(condition: Callable[[], object]) -> None:
    """Wait until this holds."""

    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.02)


@contextlib.contextmanager
def gunicorn(
    directory: Path, tmp_path: Path, *options: str, grace: int = 30, count: int = 2
) -> Iterator[Gunicorn]:
    """Run gunicorn with two workers."""

    ports = free_ports(16)
    port = free_ports(1).first
    arguments = [str(directory), "--anonymous", "--writable"]
    arguments += ["--passive-ports", f"{ports.first}-{ports.last}", *options]
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "--workers", str(count)),
                *("--bind", f"127.0.0.1:{port}", "--graceful-timeout", str(grace)),
                *("--worker-class", "examples.server.gunicorn_worker.FTPWorker"),
                f"examples.server.gunicorn_worker:serving({', '.join(map(repr, arguments))})",
            ],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(_directory(tmp_path))},
        )
    with process:
        running = Gunicorn(process, port, log)
        try:
            until(lambda: len(running.workers()) == count or process.poll() is not None)
            yield running
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()


def _directory(tmp_path: Path) -> Path:
    directory = tmp_path / "metrics"
    directory.mkdir(exist_ok=True)
    return directory


def large(directory: Path) -> Path:
    """Make a file that no socket holds."""

    path = directory / "large"
    with path.open("wb") as file:
        file.truncate(SIZE)
    return path


@pytest.mark.parametrize(("first", "last", "count"), [(10, 19, 4), (10, 13, 4), (1, 65535, 8)])
def test_slices_are_disjoint_and_all(first: int, last: int, count: int) -> None:
    """Each port is in one slice, and each slice has some."""

    slices = [slice_of(PortRange(first, last), number, count) for number in range(count)]
    together = [port for each in slices for port in range(each.first, each.last + 1)]
    assert together == list(range(first, last + 1))
    assert max(map(len, slices)) - min(map(len, slices)) <= 1


def test_too_few_ports_for_the_slices() -> None:
    """The error says how many are needed."""

    with pytest.raises(ValueError, match="at least 4 passive ports, not 3"):
        slice_of(PortRange(1, 3), 0, 4)


def test_it_is_no_wsgi_application() -> None:
    """The other kinds of gunicorn's workers would call it."""

    with pytest.raises(TypeError, match="FTPWorker"):
        Serving(("x",))({}, None)


def test_workers_have_ports_of_their_own(served_directory: Path, tmp_path: Path) -> None:
    """Both serve clients, passive and active."""

    (served_directory / "file").write_bytes(b"content")
    with gunicorn(served_directory, tmp_path) as server:
        ports = list(server.listening().values())
        assert len(ports) == 2
        assert not ports[0] & ports[1]
        with contextlib.ExitStack() as stack:
            for client in server.client_of_each_worker(stack).values():
                received: list[bytes] = []
                client.retrbinary("RETR file", received.append)
                assert b"".join(received) == b"content"


def test_a_killed_worker_breaks_its_own_transfers_only(
    served_directory: Path, tmp_path: Path
) -> None:
    """A new one is started, which takes the same ports."""

    large(served_directory)
    with gunicorn(served_directory, tmp_path) as server, contextlib.ExitStack() as stack:
        by_worker = server.client_of_each_worker(stack)
        before = set(by_worker)
        victim, survivor = before
        datas = {pid: by_worker[pid].transfercmd("RETR large") for pid in before}
        os.kill(victim, signal.SIGKILL)
        assert received_from(datas[survivor]) == SIZE
        assert by_worker[survivor].voidresp()[:3] == "226"
        # The system has closed it; what the client lacks, only the missing reply says.
        assert received_from(datas[victim]) < SIZE
        with pytest.raises(EOFError):
            by_worker[victim].voidresp()
        until(lambda: len(server.workers()) == 2)
        assert survivor in server.workers()
        for _ in range(8):
            with server.client() as client:
                client.voidcmd("NOOP")


def test_a_reload_refuses_nobody(served_directory: Path, tmp_path: Path) -> None:
    """200 logins while all workers are replaced; a transfer that runs ends as always."""

    large(served_directory)
    with gunicorn(served_directory, tmp_path) as server, server.client() as client:
        before = server.workers()
        data = client.transfercmd("RETR large")
        failures: list[BaseException] = []
        logins = 0

        def log_in() -> None:
            nonlocal logins
            for _ in range(50):
                began_at = time.monotonic()
                try:
                    with server.client() as other:
                        other.voidcmd("NOOP")
                except (OSError, EOFError, ftplib.Error) as error:
                    # A client that says nothing for a second is one that does nothing.
                    if time.monotonic() - began_at < 1.0:
                        failures.append(error)
                logins += 1

        threads = [threading.Thread(target=log_in) for _ in range(4)]
        for thread in threads:
            thread.start()
        server.process.send_signal(signal.SIGHUP)
        for thread in threads:
            thread.join()
        assert failures == []
        assert logins == 200
        assert received_from(data) == SIZE
        assert client.voidresp()[:3] == "226"
        until(lambda: len(server.workers() - before) == 2)


def test_term_drains_and_cuts_what_is_late(served_directory: Path, tmp_path: Path) -> None:
    """One transfer ends within the grace; one that stalls is cut, and its client is told."""

    large(served_directory)
    with (
        gunicorn(served_directory, tmp_path, grace=5) as server,
        server.client() as quick,
        server.client() as slow,
    ):
        with quick.transfercmd("RETR large") as one, slow.transfercmd("RETR large") as other:
            server.process.terminate()
            assert received_from(one) == SIZE
            assert quick.voidresp()[:3] == "226"
            with pytest.raises(ftplib.error_temp, match="426"):
                slow.voidresp()
            with pytest.raises(ConnectionResetError):
                received_from(other)
        assert server.process.wait(PATIENCE) == 0


def test_limits_hold_over_all_workers(served_directory: Path, tmp_path: Path) -> None:
    """Half of all 100 sessions are an address's, whichever worker has them."""

    with gunicorn(served_directory, tmp_path) as server, contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(server.client())
        for _ in range(4):
            with (
                pytest.raises(ftplib.error_temp, match="421 Too many sessions of one address"),
                server.client(),
            ):
                pass
        os.kill(min(server.workers()), signal.SIGKILL)
        until(lambda: len(server.workers()) == 2)
        stack.enter_context(server.client())


def test_metrics_are_of_all_workers(served_directory: Path, tmp_path: Path) -> None:
    """Whichever has the page: the counters add up, also those of a worker that was killed."""

    (served_directory / "file").write_bytes(b"content")
    page = free_ports(1).first

    def metric(name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{page}/metrics", timeout=PATIENCE) as answer:
            text = answer.read().decode()
        return sum(float(value) for value in re.findall(rf"^{name}\S* (\S+)$", text, re.MULTILINE))

    def transfers() -> float:
        with contextlib.suppress(OSError):
            return metric("ftpdata_transfers_total")
        return -1

    with gunicorn(served_directory, tmp_path, "--metrics", str(page)) as server:
        for _ in range(10):
            with server.client() as client:
                client.retrbinary("RETR file", lambda _: None)
        until(lambda: transfers() == 10)
        assert metric("ftpdata_listeners_limit") == 32
        os.kill(min(server.workers()), signal.SIGKILL)
        until(lambda: transfers() == 10)
        until(lambda: len(server.workers()) == 2 and metric("ftpdata_listeners_limit") == 32)


@pytest.mark.parametrize(
    "wrong", [("--no-such-option",), ("--live",), ("--fd", "3")], ids=lambda wrong: wrong[0]
)
def test_a_mistake_ends_gunicorn(
    served_directory: Path, tmp_path: Path, wrong: tuple[str, ...]
) -> None:
    """It would come again with each new worker."""

    with gunicorn(served_directory, tmp_path, *wrong) as server:
        assert server.process.wait(PATIENCE) != 0
    assert "error: " in server.log.read_text()
