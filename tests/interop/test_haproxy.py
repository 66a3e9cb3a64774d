"""A real HAProxy in front of the reference server, for control and data connections.

A PROXY header (version 1 or 2) names the client that uses the proxy. The server knows its
clients, gives each one data connections over a few shared ports, and admits nobody who goes
around the proxy.
"""

from __future__ import annotations

import contextlib
import ftplib
import io
import itertools
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.harness.tls import certificate_files
from tests.interop.served import (
    PASSWORD,
    USER,
    clean_environment,
    has_family,
    missing,
    reference_server,
)

PATIENCE = 60.0

# Debian installs it where only root looks.
HAPROXY = shutil.which("haproxy", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))

PROXY, BEHIND = "127.0.0.1", "127.0.0.2"
"""Address of the proxy, for listening and connecting, and address of the server behind it."""

PORTS = 4
"""Number of passive ports; the proxy passes each on to the port of the same number."""


@attrs.frozen
class Proxied:
    """A server behind a proxy.

    Attributes:
        port: The proxy's port for control connections.
        behind: The port of the server itself.
        served: The directory that it serves.
        log: The file to which it logs.
    """

    port: int
    behind: int
    served: Path
    log: Path

    def clients(self) -> set[str]:
        """The addresses that have logged in, as the server sees them."""

        lines = [line.split() for line in self.log.read_text().splitlines()]
        return {line[2].rstrip(":") for line in lines if "logged" in line}


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=64)


def _neighbours(hosts: list[str], stack: contextlib.ExitStack) -> list[list[socket.socket]]:
    """Listen for the proxy on adjacent ports, on every host; return the sockets of each port.

    All ports but one are for data connections, and are free for the server, too. They lie below
    those that the kernel assigns to clients, which may be taken on one host and not another.
    """

    for first in range(21000, 31000, PORTS + 1):
        ports = range(first, first + PORTS + 1)
        with contextlib.ExitStack() as tried:
            try:
                listeners = [
                    [tried.enter_context(_listen(host, port)) for host in hosts] for port in ports
                ]
                # These ports are no other test's now, so it cannot be disturbed by this.
                for port in ports:
                    _listen(BEHIND, port).close()
            except OSError:
                continue

            stack.enter_context(tried.pop_all())
            return listeners

    raise AssertionError("no free ports")


def _configuration(
    control: list[socket.socket], passive: list[socket.socket], server: int, send: str
) -> str:
    # The listeners exist already, so there is nothing to wait for.
    binds = {
        name: "\n".join(f"    bind fd@{sock.fileno()}" for sock in sockets)
        for name, sockets in (("control", control), ("passive", passive))
    }
    return f"""
global
    maxconn 100
defaults
    mode tcp
    timeout connect {PATIENCE:.0f}s
    timeout client {PATIENCE:.0f}s
    timeout server {PATIENCE:.0f}s
listen control
{binds["control"]}
    server ftp {BEHIND}:{server} source {PROXY} {send}
listen passive
{binds["passive"]}
    server ftp {BEHIND} source {PROXY} {send}
"""


@contextlib.contextmanager
def _haproxy(
    configuration: Path, listeners: list[socket.socket], output: Path
) -> Iterator[None]:
    with (
        output.open("wb") as said,
        subprocess.Popen(
            [str(HAPROXY), "-db", "-f", str(configuration)],
            pass_fds=[listener.fileno() for listener in listeners],
            stdout=said,
            stderr=said,
        ) as process,
    ):
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise

    # The signal has ended it; an error in its configuration would have ended it earlier.
    assert process.returncode in (0, -signal.SIGTERM, 128 + signal.SIGTERM), output.read_text()


@pytest.fixture(params=["send-proxy", "send-proxy-v2"])
def send(request: pytest.FixtureRequest) -> str:
    """Yield each version of the header; skip or fail the test if there is no HAProxy."""

    if HAPROXY is None:
        missing("HAProxy")
    return str(request.param)


@contextlib.contextmanager
def proxied(tmp_path: Path, send: str, *options: str) -> Iterator[Proxied]:
    """Run a server, and HAProxy in front of it."""

    served, log = tmp_path / "served", tmp_path / "log"
    served.mkdir()
    hosts = [PROXY, "::1"] if has_family(6) else [PROXY]
    with contextlib.ExitStack() as stack:
        control, *of_each_port = _neighbours(hosts, stack)
        passive = list(itertools.chain.from_iterable(of_each_port))
        first = passive[0].getsockname()[1]
        server = stack.enter_context(
            reference_server(
                served,
                log,
                4,
                *("--host", BEHIND, "--trust-proxy", PROXY),
                *("--passive-ports", f"{first}-{first + PORTS - 1}"),
                *options,
            )
        )
        configuration = tmp_path / "haproxy.cfg"
        configuration.write_text(_configuration(control, passive, server, send))
        with _haproxy(configuration, [*control, *passive], tmp_path / "haproxy.log"):
            yield Proxied(control[0].getsockname()[1], server, served, log)


def _curl(tmp_path: Path, *arguments: str, code: int = 0) -> bytes:
    if shutil.which("curl") is None:
        missing("curl")
    command = ["curl", "-sS", "--user", f"{USER}:{PASSWORD}", "--max-time", str(PATIENCE)]
    done = subprocess.run(
        [*command, *arguments],
        env=clean_environment(tmp_path),
        capture_output=True,
        check=False,
        timeout=2 * PATIENCE,
    )
    assert done.returncode == code, (done.returncode, done.stderr)
    return done.stdout


def test_stock_client(tmp_path: Path, send: str) -> None:
    """Python's client puts, gets and lists, by PASV and EPSV; PASV names the proxy's address."""

    with proxied(tmp_path, send) as it:
        for source in ("127.0.0.5", "127.0.0.6"):
            with ftplib.FTP() as client:
                client.connect(PROXY, it.port, PATIENCE, source_address=(source, 0))
                client.login(USER, PASSWORD)
                # Connect to the address that the server names, which must be the right one.
                client.trust_server_pasv_ipv4_address = True  # type: ignore[attr-defined]
                for family in (socket.AF_INET, socket.AF_INET6):
                    # ftplib sends EPSV if it takes the connection for one of IPv6.
                    client.af = family
                    client.storbinary("STOR file", io.BytesIO(source.encode()))
                    received: list[bytes] = []
                    client.retrbinary("RETR file", received.append)
                    assert b"".join(received) == source.encode()
                    assert client.nlst() == ["file"]
        assert it.clients() == {"127.0.0.5", "127.0.0.6"}


@pytest.mark.parametrize("way", [["--disable-epsv"], []], ids=["PASV", "EPSV"])
def test_curl(way: list[str], tmp_path: Path, send: str) -> None:
    """The same works with curl."""

    with proxied(tmp_path, send) as it:
        (it.served / "down").write_bytes(b"down" * 100_000)
        (tmp_path / "up").write_bytes(b"up" * 100_000)
        base = f"ftp://{PROXY}:{it.port}/"
        from_there = ["--interface", "127.0.0.7", *way]
        assert _curl(tmp_path, *from_there, base + "down") == b"down" * 100_000
        _curl(tmp_path, *from_there, "-T", str(tmp_path / "up"), base)
        assert (it.served / "up").read_bytes() == b"up" * 100_000
        assert b"down" in _curl(tmp_path, *from_there, base)
        assert it.clients() == {"127.0.0.7"}


def test_ipv6_in_front_of_ipv4(tmp_path: Path, send: str) -> None:
    """An IPv6 client stays one, whatever protocol the proxy uses with the server."""

    if not has_family(6):
        pytest.skip("no IPv6 here")

    with proxied(tmp_path, send) as it:
        (it.served / "file").write_bytes(b"content")
        assert _curl(tmp_path, f"ftp://[::1]:{it.port}/file") == b"content"
        assert it.clients() == {"::1"}


@pytest.mark.parametrize("scheme", ["ftp", "ftps"])
def test_tls(scheme: str, tmp_path: Path, send: str) -> None:
    """The header precedes TLS, on control and data connections, implicit or explicit."""

    certificate, key = certificate_files()
    options = ["--tls-cert", str(certificate), "--tls-key", str(key), "--require-tls"]
    if scheme == "ftps":
        options.append("--implicit-tls")
    with proxied(tmp_path, send, *options) as it:
        (it.served / "file").write_bytes(b"content")
        url = f"{scheme}://{PROXY}:{it.port}/file"
        arguments = ["--insecure", "--ssl-reqd", "--interface", "127.0.0.8", url]
        assert _curl(tmp_path, *arguments) == b"content"
        assert it.clients() == {"127.0.0.8"}


def test_two_clients_at_once_by_one_proxy(tmp_path: Path, send: str) -> None:
    """Each client gets its own files, although all data connections come from one proxy."""

    with proxied(tmp_path, send) as it, contextlib.ExitStack() as stack:
        clients = []
        for number in range(8):
            client = stack.enter_context(ftplib.FTP())
            client.connect(PROXY, it.port, PATIENCE, source_address=(f"127.0.0.{20 + number}", 0))
            client.login(USER, PASSWORD)
            client.voidcmd("TYPE I")
            clients.append(client)

        connections = [
            client.transfercmd(f"STOR {number}") for number, client in enumerate(clients)
        ]
        for number, connection in reversed(list(enumerate(connections))):
            connection.sendall(str(number).encode())
            connection.close()
        for number, client in enumerate(clients):
            client.voidresp()
            assert (it.served / str(number)).read_bytes() == str(number).encode()


def test_past_the_proxy(tmp_path: Path, send: str) -> None:
    """A client that connects directly gets no greeting, with or without its own header."""

    forged = b"PROXY TCP4 127.0.0.9 127.0.0.2 1000 2000\r\n"
    with proxied(tmp_path, send) as it:
        for said in (b"", b"USER ada\r\n", forged):
            with socket.create_connection(
                (BEHIND, it.behind), PATIENCE, source_address=("127.0.0.9", 0)
            ) as client, contextlib.suppress(ConnectionError):
                client.sendall(said)
                assert client.recv(1) == b""
        # The proxy's own machine gets no greeting without a header, either.
        with (
            socket.create_connection((BEHIND, it.behind), PATIENCE) as client,
            contextlib.suppress(ConnectionError),
        ):
            client.sendall(b"USER ada\r\nPASS lovelace\r\n")
            assert client.recv(1) == b""
        log = it.log.read_text()
        assert log.count("127.0.0.9 refused: it is not a trusted proxy") == 3
        assert "127.0.0.1 refused: expected a PROXY header" in log
        assert not it.clients()
