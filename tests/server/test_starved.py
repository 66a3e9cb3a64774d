"""Without file descriptors: a server in a process of its own, with few of them, and a flood."""

from __future__ import annotations

import contextlib
import ftplib
import functools
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from tests.harness.proxies import free_ports
from tests.server.client import PATIENCE

ROOT = Path(__file__).parents[2]

DESCRIPTORS = 40
FLOOD = 60
"""Connections of the flood: more than there are descriptors for."""

RATE = 200_000
"""Bytes per second."""

SIZE = 300_000
"""Bytes of the transfer that goes on meanwhile: for at least one second."""


@attrs.frozen
class Starved:
    """The server."""

    process: subprocess.Popen[str]
    log: Path
    port: int

    def turns(self) -> int:
        """Ask how often the event loop has turned so far."""

        assert self.process.stdout
        self.process.send_signal(signal.SIGUSR1)
        return int(self.process.stdout.readline())

    def complaints(self) -> int:
        """How often the log says that it cannot accept."""

        return self.log.read_text().count("cannot accept")

    def client(self) -> ftplib.FTP:
        """Connect a client that has logged in."""

        client = ftplib.FTP()
        client.connect("127.0.0.1", self.port, PATIENCE)
        client.login("ann", "secret")
        client.voidcmd("TYPE I")
        return client


@contextlib.contextmanager
def starved(
    directory: Path, log: Path, *options: str, descriptors: int = DESCRIPTORS
) -> Iterator[Starved]:
    """Run the server with few descriptors."""

    command = [
        *(sys.executable, "-m", "tests.server.counted", str(descriptors), str(directory)),
        *("--port", "0", "--user", "ann:secret", "--writable", "--rate", str(RATE), *options),
    ]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=output, text=True
        ) as process,
    ):
        try:
            assert process.stdout
            yield Starved(process, log, int(process.stdout.readline().rpartition(":")[2]))
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


@contextlib.contextmanager
def flood(server: Starved) -> Iterator[None]:
    """Connect until the server cannot accept any more, and stay."""

    with contextlib.ExitStack() as stack:
        for _ in range(FLOOD):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE))
        eventually(lambda: server.complaints() > 0)
        yield


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what another process brings about."""

    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_refused(client: ftplib.FTP, line: str, code: str) -> bool:
    """Say a line; tell whether the reply was this one. What it may have got is given back."""

    try:
        client.sendcmd(line)
    except ftplib.Error as error:
        return str(error)[:3] == code

    client.sendcmd("ABOR")
    return False


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("shared", [False, True])
def test_without_descriptors(
    shared: bool, loop: str, served_directory: Path, tmp_path: Path
) -> None:
    """A transfer goes on; nothing spins, the log stays short, and all is well afterwards."""

    if loop == "uvloop":
        pytest.importorskip("uvloop")
    options = ["--loop", loop]
    if shared:
        ports = free_ports(2)
        options += ["--passive-ports", f"{ports.first}-{ports.last}"]
    (served_directory / "file").write_bytes(b"x" * SIZE)
    with (
        starved(served_directory, tmp_path / "log", *options) as server,
        contextlib.closing(server.client()) as client,
        contextlib.closing(server.client()) as other,
    ):
        data = client.transfercmd("RETR file")
        with data, flood(server):
            before = server.turns()
            received = 0
            while chunk := data.recv(65536):
                received += len(chunk)
            # Ten attempts in a second, and a few for the transfer.
            assert server.turns() - before < 300
            assert received == SIZE
            assert client.voidresp()[:3] == "226"

            # Neither a listener, nor a connection, nor a file, and it says so.
            # As soon as the flood has all descriptors again.
            commands = {"RETR file": "451", "STOR new": "451", "LIST": "451", "MLST file": "451"}
            if not shared:
                commands["EPSV"] = "425"
            for line, code in commands.items():
                eventually(functools.partial(is_refused, other, line, code))
            before = server.turns()
            assert client.sendcmd("NOOP")[:3] == "200"
            assert server.turns() - before < 100

        for one in (client, other, again := server.client()):
            one.storbinary("STOR new", io.BytesIO(b"content"))
            received_again: list[bytes] = []
            one.retrbinary("RETR new", received_again.append)
            assert b"".join(received_again) == b"content"
        again.close()
        lines = server.log.read_text().splitlines()
        assert server.complaints() == 1
        assert "Traceback" not in server.log.read_text()
        assert len(lines) < 4 * FLOOD


SESSIONS, TIGHT, COMMANDS = 10, 34, int(os.environ.get("FTPDATA_STARVED_COMMANDS", "300"))
"""Sessions, descriptors for all of them, and commands, which are 10,000 by the environment."""

ENTRIES = 50


@attrs.define
class Tally:
    """What the replies said; each wrong one is kept."""

    good: int = 0
    refused: int = 0
    wrong: list[str] = attrs.field(factory=list)

    def note(self, line: str, reply: str, *, is_right: bool = True) -> None:
        """Take note of the final reply to a command about something that exists."""

        if reply[:1] == "4":
            self.refused += 1
        elif reply[:1] == "2" and is_right:
            self.good += 1
        else:
            self.wrong.append(f"{line}: {reply}")


@pytest.mark.parametrize("verb", ["LIST", "NLST", "MLSD"])
def test_nothing_false_is_said_without_descriptors(
    verb: str, served_directory: Path, tmp_path: Path
) -> None:
    """What exists is found, or nobody knows (4yz): no short listing, no 550."""

    (served_directory / "sub").mkdir()
    for number in range(ENTRIES):
        (served_directory / "sub" / f"file{number}").write_bytes(b"content")
    tally = Tally()
    with (
        starved(served_directory, tmp_path / "log", descriptors=TIGHT) as server,
        contextlib.ExitStack() as stack,
    ):
        opened = (contextlib.closing(server.client()) for _ in range(SESSIONS))
        clients = [stack.enter_context(client) for client in opened]
        commands = COMMANDS // SESSIONS
        threads = [
            threading.Thread(target=_ask, args=(client, verb, commands, tally))
            for client in clients
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not tally.wrong
    assert tally.good
    # Else there were enough descriptors, and nothing was tested.
    assert tally.refused


def _ask(client: ftplib.FTP, verb: str, commands: int, tally: Tally) -> None:
    lines = [
        *("CWD /sub", "MLST /sub/file1", "SIZE /sub/file2"),
        *("CWD /", "STAT /sub/file3", "HASH /sub/file4"),
    ]
    for number in range(commands):
        if number % 2:
            _list(client, f"{verb} /sub", tally)
        else:
            line = lines[number // 2 % len(lines)]
            tally.note(line, _reply(client, line))


def _reply(client: ftplib.FTP, line: str) -> str:
    try:
        return client.sendcmd(line)
    except ftplib.Error as error:
        return str(error)


def _list(client: ftplib.FTP, line: str, tally: Tally) -> None:
    """List the directory, and compare: a listing that succeeds is whole."""

    received: list[str] = []
    try:
        reply = client.retrlines(line, received.append)
    except ftplib.Error as error:
        # It may have got a port for it.
        _reply(client, "ABOR")
        tally.note(line, str(error))
    except OSError:
        # The data connection was not accepted in time, or it was reset: 425 or 426 comes.
        tally.note(line, client.getmultiline())
    else:
        tally.note(f"{line} ({len(received)})", reply, is_right=len(received) == ENTRIES)
