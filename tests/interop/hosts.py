"""A cluster for the tests: two nodes, each a host of its own, behind HAProxy.

What they share is an object store, or a directory, and the counters of sessions. HAProxy has the
configuration of ``examples/deploy``.
"""

from __future__ import annotations

import contextlib
import ftplib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import attrs

from ftpdata.files._part_rules import owner_tag, part_name
from tests.harness.namespaces import Namespace, connect, ip
from tests.harness.waiting import wait_until
from tests.interop.served import PASSWORD, ROOT, USER
from tests.interop.stores import BUCKET, StoreServer, fetch, found, running_seaweedfs
from tests.interop.test_haproxy import HAPROXY
from tests.interop.valkeys import ValkeyServer, running_valkey

__all__ = [
    "PATIENCE",
    "Cluster",
    "Directory",
    "Files",
    "Node",
    "Objects",
    "running_cluster",
    "until",
]

DEPLOY = ROOT / "examples" / "deploy"
PATIENCE = 120.0

FRONT = "10.71.0.1"
"""Where the store and the counters are, beside HAProxy and the clients."""

RATE = 5_000_000
"""Bytes per second of a session, so that some always run."""

GRACE = 8
LEASE = 4


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until this holds, on a machine that all the processes of a cluster share."""

    wait_until(condition, what, patience=PATIENCE)


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
        for network in (front, *networks):
            # As the examples say.
            network.reserve(50000, 50199)
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
