"""The reference server in a process of its own, and a recorder of what is said to it."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, Self
from urllib.parse import quote

import attrs
import pytest

from tests.interop.ways import Protection, Way

__all__ = [
    "LOOPBACK",
    "PASSWORD",
    "USER",
    "Recorder",
    "Site",
    "clean_environment",
    "has_family",
    "lacking",
    "missing",
    "reference_server",
    "running_example",
]

ROOT = Path(__file__).parents[2]
USER = "ada"
PASSWORD = "lovelace"  # in no reply, log or table by chance

LOOPBACK = {4: "127.0.0.1", 6: "::1"}

_PATIENCE = 60.0
"""Seconds for the server to start, and to stop."""


def missing(program: str, *, is_optional: bool = False) -> NoReturn:
    """Skip the test if a program is missing; fail it where every program is required."""

    lacking(f"{program} is not installed", is_optional=is_optional)


def lacking(reason: str, *, is_optional: bool = False) -> NoReturn:
    """Skip the test for a reason; fail it where everything is required."""

    wanted = bool(os.environ.get("FTPDATA_REQUIRE_CLIENTS")) or os.environ.get("CI") == "true"
    if wanted and not is_optional:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def has_family(family: int) -> bool:
    """Return whether this machine has a loopback address of the family."""

    number = {4: socket.AF_INET, 6: socket.AF_INET6}[family]
    try:
        with socket.socket(number) as candidate:
            candidate.bind((LOOPBACK[family], 0))
    except OSError:
        return False

    return True


@contextlib.contextmanager
def reference_server(
    directory: Path | str, log: Path, family: int, *options: str
) -> Iterator[int]:
    """Run ``python -m examples.server`` within the context; yield its port.

    Args:
        directory: The directory that it serves, or ``--store=URL``.
        log: The file to which it logs.
        family: 4 or 6.
        options: More command-line options.

    Raises:
        AssertionError: It did not start, it did not end cleanly, or it logged a traceback.
    """

    command = [sys.executable, "-m", "examples.server", str(directory), "--writable"]
    with running_example(command, log, family, *options) as port:
        yield port
    assert "Traceback" not in (logged := log.read_text(errors="replace")), logged


@contextlib.contextmanager
def running_example(command: list[str], log: Path, family: int, *options: str) -> Iterator[int]:
    """Run a server of the examples within the context; yield its port.

    Args:
        command: The command that runs it.
        log: The file to which it logs.
        family: 4 or 6.
        options: More command-line options, beside those for the address and the user.

    Raises:
        AssertionError: It did not start, or it did not end cleanly.
    """

    command = [
        *command,
        *("--host", LOOPBACK[family], "--port", "0", "--user", f"{USER}:{PASSWORD}", *options),
    ]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=output) as process,
    ):
        try:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], _PATIENCE)
            said = process.stdout.readline().decode() if ready else ""
            listening = re.fullmatch(r"listening on .*:(\d+)\n", said)
            assert listening, f"the server did not start: {said!r} {log.read_text()}"
            yield int(listening[1])
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise

    assert process.returncode == 0, f"the server ended with {process.returncode}"


@attrs.frozen
class Site:
    """Where and how a client is to transfer files.

    Attributes:
        way: How it is to open data connections.
        host: Address of the server.
        port: Port of the server, on which a `Recorder` listens.
        scratch: An empty local directory: home and working directory of the client.
        protection: How everything is protected, if it is.
        authority: File of the certificate that the client is to trust.
    """

    way: Way
    host: str
    port: int
    scratch: Path
    user: str = USER
    password: str = PASSWORD
    protection: Protection | None = None
    authority: Path | None = None

    @property
    def context(self) -> ssl.SSLContext:
        """The TLS context for a client in Python."""

        assert self.protection is not None
        context = ssl.create_default_context(cafile=self.authority)
        version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
        context.minimum_version = context.maximum_version = version[self.protection.version]
        return context

    @property
    def netloc(self) -> str:
        """Host and port as in a URL."""

        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def url(self, path: bytes) -> str:
        """Return the URL of a path, without user and password."""

        scheme = "ftps" if self.protection is not None and self.protection.is_implicit else "ftp"
        return f"{scheme}://{self.netloc}/{quote(path)}"


class Recorder:
    """A context manager between client and server on control connections, which records them.

    A thread relays bytes as they come, urgent ones (the Telnet Synch before an ABOR, RFC 959
    §4.1.3) as urgent. Data connections do not pass through it.

    Args:
        host: Loopback address to listen on, and of the server.
        port: The server's port.

    Attributes:
        port: The port to connect to.
        connections: Number of control connections so far.
        transcript: Pairs: whether the client said it, and the bytes.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.transcript: list[tuple[bool, bytes]] = []
        self._peers: dict[int, tuple[socket.socket, socket.socket, bool]] = {}
        self._poll = select.poll()
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._relay, name="control recorder")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wake.send(b".")
        self._thread.join()
        self._wake.close()
        self._woken.close()
        self._listener.close()

    @property
    def commands(self) -> list[str]:
        """What clients have said, line by line, without Telnet commands."""

        said = b"".join(data for by_client, data in self.transcript if by_client)
        lines = re.sub(rb"\xff[\xf4\xf2]", b"", said).decode("latin-1").split("\r\n")
        return lines[:-1]

    @property
    def replies(self) -> list[int]:
        """The codes of the server's replies, without their text."""

        said = b"".join(data for by_client, data in self.transcript if not by_client)
        return [int(code) for code in re.findall(rb"^(\d{3}) ", said, re.MULTILINE)]

    def count(self, verb: str) -> int:
        """Return how often clients have sent a command."""

        return sum(line.split(" ")[0].upper() == verb for line in self.commands)

    def describe(self) -> str:
        """Return the transcript in readable form."""

        return "\n".join(
            f"{'>' if by_client else '<'} {line.decode(errors='backslashreplace')}"
            for by_client, data in self.transcript
            for line in data.splitlines()
        )

    # The thread

    def _relay(self) -> None:
        self._poll.register(self._woken, select.POLLIN)
        self._poll.register(self._listener, select.POLLIN)
        while True:
            for descriptor, event in self._poll.poll():
                if descriptor == self._woken.fileno():
                    while self._peers:
                        self._close(next(iter(self._peers.values()))[0])
                    return
                if descriptor == self._listener.fileno():
                    self._accept()
                elif descriptor in self._peers:
                    self._pass_on(*self._peers[descriptor], event)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._server)
        except OSError:
            client.close()
            return

        self.connections += 1
        for source, target, by_client in ((client, server, True), (server, client, False)):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peers[source.fileno()] = (source, target, by_client)
            self._poll.register(source, select.POLLIN | select.POLLPRI)

    def _pass_on(
        self, source: socket.socket, target: socket.socket, by_client: bool, event: int
    ) -> None:
        try:
            if event & select.POLLPRI and _is_at_mark(source):
                data = source.recv(1, socket.MSG_OOB)
                target.send(data, socket.MSG_OOB)
            else:
                # This ends before the urgent byte, if there is one.
                data = source.recv(65536)
                target.sendall(data)
        except OSError:
            data = b""

        if data:
            self.transcript.append((by_client, data))
        else:
            # A control connection is never used half-closed.
            self._close(source)

    def _close(self, source: socket.socket) -> None:
        for end in self._peers[source.fileno()][:2]:
            self._poll.unregister(end)
            del self._peers[end.fileno()]
            end.close()


def _is_at_mark(connection: socket.socket) -> bool:
    """Return whether the urgent byte comes next: sockatmark of POSIX."""

    answer = array.array("i", [0])
    fcntl.ioctl(connection, getattr(termios, "SIOCATMARK", 0x8905), answer)
    return bool(answer[0])


def clean_environment(home: Path) -> dict[str, str]:
    """Return an environment without a proxy and without the user's settings for any client."""

    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("LC_", "LANG"))
    }
    return {**kept, "HOME": str(home), "LC_ALL": "C", "TZ": "UTC", "TERM": "dumb"}
