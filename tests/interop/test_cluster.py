"""Two nodes, each a host of its own, behind HAProxy, under load: one is killed, one drained.

What is shared is an object store, or a directory, and the counters of sessions. HAProxy has the
configuration of ``examples/deploy``. Eight clients work: Python's, curl and lftp. Whatever happens,
a transfer is whole, or its client sees an error.
"""

from __future__ import annotations

import contextlib
import ftplib
import io
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self
from urllib.parse import urlencode

import attrs
import pytest

from ftpdata.files._part_rules import owner_tag, part_name
from tests.harness.namespaces import Namespace, can_isolate, connect, ip
from tests.interop.served import PASSWORD, ROOT, USER, clean_environment, lacking, missing
from tests.interop.stores import BUCKET, StoreServer, fetch, found, running_seaweedfs
from tests.interop.test_haproxy import HAPROXY
from tests.interop.valkeys import ValkeyServer, running_valkey

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

DEPLOY = ROOT / "examples" / "deploy"
PATIENCE = 120.0

FRONT = "10.71.0.1"
"""Where the store and the counters are, beside HAProxy and the clients."""

PROGRAMS = ("ftplib", "curl", "lftp", "ftplib", "curl", "lftp", "ftplib", "curl")

RATE = 5_000_000
"""Bytes per second of a session, so that some always run."""

GRACE = 8
LEASE = 4

SIZES = (9 * 1024 * 1024 + 1, 40_000, 2_000_000)
"""Bytes of uploads; the first has two parts in an object store."""

LARGE = random.Random(21).randbytes(24 * 1024 * 1024)

DAYS = 86400.0


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until this holds."""

    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"it does not come: {what}"
        time.sleep(0.02)


# What is shared


@attrs.frozen
class Objects:
    """A bucket.

    Attributes:
        store: The store that it is in.
        arguments: What the nodes are told about it.
    """

    store: StoreServer
    arguments: list[str]

    @classmethod
    @contextlib.contextmanager
    def shared(cls, tmp_path: Path) -> Iterator[Objects]:
        """Run a store."""

        with running_seaweedfs(tmp_path, FRONT) as store:
            url = f"s3://{BUCKET}/shared?{urlencode({'endpoint': store.url})}&region=us-east-1"
            yield cls(store, ["--store", url])

    def names(self) -> set[str]:
        """Return the names of all that a client could see."""

        listed = fetch(f"{self.store.url}/{BUCKET}?list-type=2&prefix=shared/")
        assert found(listed, "IsTruncated") == ["false"]
        return {key.removeprefix("shared/") for key in found(listed, "Key")}

    def content(self, name: str) -> bytes:
        """Return what a file holds."""

        return fetch(f"{self.store.url}/{BUCKET}/shared/{name}")

    def unfinished(self) -> set[str]:
        """Return the names of uploads of which there are parts."""

        return {key.removeprefix("shared/") for key in self.store.unfinished()}

    def has_begun(self, name: str) -> bool:
        """Return whether there is something of an upload that is not whole yet."""

        return name in self.unfinished()


@attrs.frozen
class Directory:
    """A directory.

    Attributes:
        path: Where it is.
        arguments: What the nodes are told about it.
    """

    path: Path
    arguments: list[str]

    @classmethod
    @contextlib.contextmanager
    def shared(cls, tmp_path: Path) -> Iterator[Directory]:
        """Make a directory."""

        path = tmp_path / "shared"
        path.mkdir()
        yield cls(path, [str(path)])

    def names(self) -> set[str]:
        """Return the names of all that a client could see."""

        return {each.name for each in self.path.iterdir()} - self.hidden()

    def hidden(self) -> set[str]:
        """Return the names of what no client sees."""

        return {each.name for each in self.path.glob(".ftpdata-*")}

    def content(self, name: str) -> bytes:
        """Return what a file holds."""

        return (self.path / name).read_bytes()

    def has_begun(self, name: str) -> bool:
        """Return whether there is something of an upload that is not whole yet."""

        part = os.fsdecode(part_name(owner_tag(USER.encode()), name.encode()))
        with contextlib.suppress(FileNotFoundError):
            return (self.path / part).stat().st_size > 1_000_000
        return False


Files = Objects | Directory


# The hosts


@attrs.define
class Node:
    """A host with a reference server.

    Attributes:
        network: Its network.
        address: Its address there.
        command: The command line of the server.
        log: The file to which it logs.
        process: The server, once it was started.
    """

    network: Namespace
    address: str
    command: list[str]
    log: Path
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the server, and wait until it listens."""

        with self.network.entered(), self.log.open("a") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                env=os.environ | {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"},
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith("listening on"), self.log.read_text()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server."""

        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end of the server; return its status."""

        assert self.process is not None
        assert self.process.stdout is not None
        status = self.process.wait(PATIENCE)
        self.process.stdout.close()
        return status

    def close(self) -> None:
        """End the server, whatever it does."""

        if self.process is not None:
            self.process.kill()
            self.wait()


@attrs.frozen
class Proxy:
    """HAProxy, seen through its socket for those who run it."""

    path: Path

    def table(self) -> dict[tuple[str, str], dict[str, str]]:
        """Return what it says of each server, by its section and name."""

        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.path))
            sock.sendall(b"show stat\n")
            said = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
        head, *rows = said.strip().removeprefix("# ").splitlines()
        found = (dict(zip(head.split(","), row.split(","), strict=True)) for row in rows)
        return {(row["pxname"], row["svname"]): row for row in found}

    def answers(self) -> bool:
        """Whether it does: what connects while it begins is reset."""

        try:
            return bool(self.table())
        except (OSError, ValueError):
            return False

    def is_up(self, number: int) -> bool:
        """Whether clients are sent to a node."""

        return self.table()["ftp", f"node{number}"]["status"].startswith("UP")

    def data_connections(self, number: int) -> int:
        """Return how many data connections a node has now."""

        return int(self.table()[f"data-of-node{number}", f"node{number}"]["scur"])


@contextlib.contextmanager
def haproxy(tmp_path: Path, addresses: list[str]) -> Iterator[Proxy]:
    """Run HAProxy with the configuration of the examples, the addresses aside."""

    assert HAPROXY is not None
    # For as many clients as there are descriptors here.
    configuration = (DEPLOY / "haproxy.cfg").read_text().replace("maxconn 20000", "maxconn 1000")
    for number, address in enumerate(addresses, 1):
        configuration = configuration.replace(f"192.0.2.1{number}", address)
    (tmp_path / "haproxy.cfg").write_text(configuration)
    control, log = tmp_path / "control", tmp_path / "haproxy.log"
    (tmp_path / "more.cfg").write_text(f"global\n    stats socket {control} mode 600\n")
    command = [HAPROXY, "-db", "-f", f"{tmp_path}/haproxy.cfg", "-f", f"{tmp_path}/more.cfg"]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as run:
        try:
            proxy = Proxy(control)
            until(lambda: proxy.answers() or run.poll() is not None, "HAProxy")
            assert run.poll() is None, log.read_text()
            until(lambda: proxy.is_up(1) and proxy.is_up(2), "both nodes behind HAProxy")
            yield proxy
        finally:
            run.terminate()
            try:
                run.wait(PATIENCE)
            finally:
                run.kill()


@attrs.frozen
class Cluster:
    """Two nodes behind HAProxy.

    Attributes:
        files: What they share.
        nodes: The nodes.
        proxy: HAProxy.
        valkey: What counts their sessions.
    """

    files: Files
    nodes: tuple[Node, Node]
    proxy: Proxy
    valkey: ValkeyServer

    def login(self, source: str = "127.0.0.99") -> ftplib.FTP:
        """Log in, at whichever node."""

        client = ftplib.FTP(timeout=PATIENCE)
        try:
            client.connect("127.0.0.1", 21, source_address=(source, 0))
            client.login(USER, PASSWORD)
            client.voidcmd("TYPE I")
        except BaseException:
            client.close()
            raise
        return client

    def login_at(self, number: int, stack: contextlib.ExitStack) -> ftplib.FTP:
        """Log in at a node: the passive ports say which it is."""

        for _ in range(20):
            client = stack.enter_context(contextlib.closing(self.login()))
            if client.makepasv()[1] // 100 == 499 + number:
                return client
        raise AssertionError(f"nobody gets to node {number}")


@contextlib.contextmanager
def running_cluster(kind: type[Files], tmp_path: Path) -> Iterator[Cluster]:
    """Run it all; this thread is in the network before the nodes within the context."""

    for place in ("store", "valkey"):
        (tmp_path / place).mkdir()
    with contextlib.ExitStack() as stack:
        front, *networks = (stack.enter_context(Namespace()) for _ in range(3))
        cables = [
            connect(front, network, f"10.71.{number}", name=f"node{number}")
            for number, network in enumerate(networks, 1)
        ]
        stack.enter_context(front.entered())
        ip("address", "add", f"{FRONT}/32", "dev", "lo")
        shared: contextlib.AbstractContextManager[Files] = kind.shared(tmp_path / "store")
        files = stack.enter_context(shared)
        valkey = stack.enter_context(running_valkey(tmp_path / "valkey", host=FRONT))
        nodes = []
        for number, (network, (gate, address)) in enumerate(zip(networks, cables, strict=True)):
            first = 50000 + 100 * number
            command = [
                *(sys.executable, "-m", "examples.server", *files.arguments, "--writable"),
                *("--user", f"{USER}:{PASSWORD}", "--host", address, "--port", "2121"),
                *("--trust-proxy", gate, "--passive-ports", f"{first}-{first + 99}"),
                *("--cluster", valkey.url, "--cluster-lease", str(LEASE)),
                *("--grace", str(GRACE), "--rate", str(RATE)),
            ]
            node = Node(network, address, command, tmp_path / f"node{number + 1}.log")
            stack.callback(node.close)
            node.start()
            nodes.append(node)
        proxy = stack.enter_context(haproxy(tmp_path, [node.address for node in nodes]))
        yield Cluster(files, (nodes[0], nodes[1]), proxy, valkey)


# The clients


@attrs.define
class Transfer:
    """What a client has tried.

    Attributes:
        name: The file.
        is_upload: Whether it was sent.
        content: What was to be sent.
        began_at: When it began.
        ended_at: When it was over.
        error: What the client has seen; None if it takes the transfer for whole.
        is_right: Of a download that the client takes for whole: whether that is so.
    """

    name: str
    is_upload: bool
    content: bytes = attrs.field(repr=False)
    began_at: float
    ended_at: float = 0.0
    error: str | None = None
    is_right: bool = True


class Failed(Exception):
    """A client has reported an error."""


@attrs.frozen
class Client:
    """One client, which logs in anew for each transfer.

    Attributes:
        program: Which.
        source: Its address.
        home: A directory of its own.
    """

    program: str
    source: str
    home: Path

    def put(self, name: str, content: bytes) -> None:
        """Send a file.

        Raises:
            Failed: The client says that this failed.
        """

        if self.program == "ftplib":
            with self._failing(), self._logged_in() as client:
                client.storbinary(f"STOR {name}", io.BytesIO(content))
            return

        local = self.home / name
        local.write_bytes(content)
        try:
            if self.program == "curl":
                self._curl("-T", str(local), f"ftp://127.0.0.1/{name}")
            else:
                self._lftp(f"put {local} -o {name}")
        finally:
            local.unlink()

    def get(self, name: str) -> bytes:
        """Receive a file.

        Raises:
            Failed: The client says that this failed.
        """

        if self.program == "ftplib":
            received: list[bytes] = []
            with self._failing(), self._logged_in() as client:
                client.retrbinary(f"RETR {name}", received.append)
            return b"".join(received)

        local = self.home / name
        try:
            if self.program == "curl":
                self._curl("-o", str(local), f"ftp://127.0.0.1/{name}")
            else:
                self._lftp(f"get {name} -o {local}")
            return local.read_bytes()
        finally:
            local.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, ftplib.Error) as error:
            raise Failed(repr(error)) from error

    @contextlib.contextmanager
    def _logged_in(self) -> Iterator[ftplib.FTP]:
        with contextlib.closing(ftplib.FTP(timeout=PATIENCE)) as client:
            client.connect("127.0.0.1", 21, source_address=(self.source, 0))
            client.login(USER, PASSWORD)
            yield client
            # What was transferred is whole, whatever becomes of the rest of the session.
            with contextlib.suppress(OSError, EOFError, ftplib.Error):
                client.quit()

    def _curl(self, *arguments: str) -> None:
        user = ("--user", f"{USER}:{PASSWORD}", "--interface", self.source)
        self._run("curl", "-sS", *user, "--max-time", str(PATIENCE), *arguments)

    def _lftp(self, command: str) -> None:
        self._run(
            "lftp",
            "-c",
            # No tries behind the scenes: what one session does is what counts here.
            "set net:max-retries 1; set cmd:fail-exit yes; set ftp:ssl-allow false; "
            f"set net:timeout {PATIENCE:.0f}; set net:socket-bind-ipv4 {self.source}; "
            f"open -u {USER},{PASSWORD} ftp://127.0.0.1; {command}",
        )

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            command,
            env=clean_environment(self.home),
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )
        if done.returncode != 0:
            raise Failed(f"{command[0]} {done.returncode}: {done.stderr.strip()}")


class Load:
    """Clients that send files and get them back, until the end of the context.

    Args:
        tmp_path: Where they have their own files.

    Attributes:
        transfers: What each of them has tried, in order.
    """

    def __init__(self, tmp_path: Path) -> None:
        self.transfers: list[list[Transfer]] = [[] for _ in PROGRAMS]
        self._broken: list[BaseException] = []
        self._is_over = threading.Event()
        self._threads = []
        for number, program in enumerate(PROGRAMS):
            home = tmp_path / f"client{number}"
            home.mkdir()
            client = Client(program, f"127.0.0.{11 + number}", home)
            self._threads.append(threading.Thread(target=self._work, args=(number, client)))

    def __enter__(self) -> Self:
        # They are in the network of this thread.
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(3 * PATIENCE)

    @property
    def all(self) -> list[Transfer]:
        """All transfers that are over."""

        return list(itertools.chain.from_iterable(self.transfers))

    def wait_for_more(self, count: int = 2) -> None:
        """Wait until each client has done so many transfers that begin from now on."""

        now = time.monotonic()

        def is_done() -> bool:
            assert not self._broken, self._broken
            return all(
                sum(each.began_at >= now and each.error is None for each in list(own)) >= count
                for own in self.transfers
            )

        until(is_done, "transfers of all clients")

    def _work(self, number: int, client: Client) -> None:
        chance = random.Random(number)
        try:
            for count in itertools.count():
                if self._is_over.is_set():
                    return
                name = f"{client.program}{number}-{count}"
                content = chance.randbytes(SIZES[(count + number) % len(SIZES)])
                if self._try(number, client, name, content, is_upload=True):
                    self._try(number, client, name, content, is_upload=False)
        except BaseException as error:
            self._broken.append(error)
            raise

    def _try(
        self, number: int, client: Client, name: str, content: bytes, *, is_upload: bool
    ) -> bool:
        transfer = Transfer(name, is_upload, content, time.monotonic())
        try:
            if is_upload:
                client.put(name, content)
            else:
                transfer.is_right = client.get(name) == content
        except Failed as error:
            transfer.error = str(error)
        transfer.ended_at = time.monotonic()
        self.transfers[number].append(transfer)
        return transfer.error is None


class Upload(threading.Thread):
    """An upload that stops in the middle, until it may go on.

    Args:
        client: Who sends it, logged in.
        name: The file.
        content: What is sent.
        before: How much of it before the stop.

    Attributes:
        reply: What the server has said in the end.
        error: What the client has seen in its place.
        go_on: To be set so that it goes on.
    """

    def __init__(self, client: ftplib.FTP, name: str, content: bytes, before: int) -> None:
        super().__init__()
        self.reply = ""
        self.error: Exception | None = None
        self.go_on = threading.Event()
        self._client = client
        self._name = name
        self._content = content
        self._before = before

    def run(self) -> None:
        """Send it."""

        try:
            with self._client.transfercmd(f"STOR {self._name}") as data:
                data.sendall(self._content[: self._before])
                self.go_on.wait(PATIENCE)
                data.sendall(self._content[self._before :])
            self.reply = self._client.voidresp()
        except (OSError, EOFError, ftplib.Error) as error:
            self.error = error


# The test


@pytest.fixture(autouse=True)
def _programs() -> None:
    for program in ("ip", "unshare", "curl", "lftp"):
        if shutil.which(program) is None:
            missing(program)
    if HAPROXY is None:
        missing("HAProxy")
    if not can_isolate():
        lacking("networks of their own need root")


@pytest.mark.parametrize("kind", [Objects, Directory])
def test_one_node_is_killed_and_one_is_drained(
    kind: type[Files], tmp_path: Path
) -> None:
    """Every transfer is whole, or its client sees an error; the store has nothing half."""

    began_at = time.monotonic()
    with running_cluster(kind, tmp_path) as cluster, contextlib.ExitStack() as stack:
        first, second = cluster.nodes
        with Load(tmp_path) as load:
            load.wait_for_more()
            until(lambda: cluster.valkey.sessions() > 1, "sessions that all nodes know of")

            # One is killed.
            victim = Upload(cluster.login_at(1, stack), "victim", LARGE, 20 * 1024 * 1024)
            victim.start()
            until(lambda: cluster.files.has_begun("victim"), "a part of the upload")
            until(lambda: cluster.proxy.data_connections(1) > 1, "transfers beside it")
            killed_at = time.monotonic()
            first.send(signal.SIGKILL)
            assert first.wait() == -signal.SIGKILL
            # Before HAProxy has noticed.
            cluster.login().close()
            victim.go_on.set()
            victim.join(PATIENCE)
            assert victim.error is not None
            until(lambda: not cluster.proxy.is_up(1), "HAProxy notices")
            load.wait_for_more()
            if isinstance(cluster.files, Directory):
                resume(cluster, "victim")
            first.start()
            until(lambda: cluster.proxy.is_up(1), "the node is back")
            restarted_at = time.monotonic()
            load.wait_for_more()

            # The other one is drained.
            steady = Upload(cluster.login_at(2, stack), "steady", LARGE[:4_000_000], 3_999_999)
            late = Upload(cluster.login_at(2, stack), "late", LARGE, 20 * 1024 * 1024)
            for upload in (steady, late):
                upload.start()
            until(lambda: cluster.files.has_begun("late"), "a part of the upload")
            drained_at = time.monotonic()
            second.send(signal.SIGTERM)
            until(lambda: not cluster.proxy.is_up(2), "HAProxy notices")
            steady.go_on.set()
            steady.join(PATIENCE)
            assert steady.reply[:3] == "226", steady.error
            cluster.login().close()
            load.wait_for_more()
            assert second.wait() == 0
            late.go_on.set()
            late.join(PATIENCE)
            assert late.error is not None
            gone_at = time.monotonic()
            load.wait_for_more()

        first.send(signal.SIGTERM)
        assert first.wait() == 0
        stack.close()
        check(cluster, load, (killed_at, restarted_at), (drained_at, gone_at))
        tell(kind, load, began_at, killed_at, restarted_at, drained_at, gone_at)
        for node in cluster.nodes:
            assert "Traceback" not in node.log.read_text()
        if isinstance(cluster.files, Directory):
            clean(cluster.files, first)


def resume(cluster: Cluster, name: str) -> None:
    """Go on with an upload at the node that lives."""

    with contextlib.closing(cluster.login()) as client:
        size = client.size(name)
        assert size is not None
        assert size > 1_000_000
        client.storbinary(f"STOR {name}", io.BytesIO(LARGE[size:]), rest=size)
    assert cluster.files.content(name) == LARGE


def check(
    cluster: Cluster, load: Load, kill: tuple[float, float], drain: tuple[float, float]
) -> None:
    """Compare what the clients believe with what there is.

    Args:
        cluster: What is left of it.
        load: What the clients have done.
        kill: When a node was killed, and when it was back.
        drain: When the other one was to end, and when it had.
    """

    def meets(each: Transfer, event: tuple[float, float]) -> bool:
        return each.began_at <= event[1] and each.ended_at >= event[0]

    errors = [each for each in load.all if each.error is not None]
    assert [each for each in errors if not (meets(each, kill) or meets(each, drain))] == []
    assert [each for each in load.all if not each.is_right] == []

    names = cluster.files.names()
    tried = {each.name: each for each in load.all if each.is_upload}
    assert names <= {*tried, "victim", "steady"}
    for name, each in tried.items():
        # The upload was whole before the error, or there is nothing of that name.
        if each.error is None or name in names:
            assert cluster.files.content(name) == each.content, name
    assert cluster.files.content("steady") == LARGE[:4_000_000]

    if isinstance(cluster.files, Objects):
        # A killed node cannot clean up, and the rule of the bucket does it (README); one that is
        # drained leaves nothing.
        left = cluster.files.unfinished()
        assert "victim" in left
        assert left <= {"victim", *(each.name for each in errors if meets(each, kill))}

    until(lambda: not cluster.valkey.keys(), "the leases of the killed node end")


def clean(files: Directory, node: Node) -> None:
    """Let a node find what is left when it is old."""

    for name in files.hidden():
        then = time.time() - 8 * DAYS
        os.utime(files.path / name, (then, then))
    node.start()
    until(lambda: not files.hidden(), "the janitor")
    node.send(signal.SIGTERM)
    assert node.wait() == 0


def tell(kind: type, load: Load, *moments: float) -> None:
    """Show the figures to whoever looks at what the tests print."""

    began_at, *events = moments
    errors = [each for each in load.all if each.error is not None]
    ends = [0.0, *events, time.monotonic()]
    counts = [
        sum(start <= each.ended_at < end for each in errors)
        for start, end in itertools.pairwise(ends)
    ]
    lines = [
        f"{kind.__name__}: {ends[-1] - began_at:.0f} s, {len(load.all)} transfers",
        f"errors before the kill, then until restart, drain, its end, ours: {counts}",
        *(f"{each.name}, {'up' if each.is_upload else 'down'}: {each.error}" for each in errors),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
