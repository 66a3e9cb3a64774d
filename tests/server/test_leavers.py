"""Clients that close their control connection early: what has come whole is carried out.

Cameras and scripts send a file and close both connections at once. Clients here are
blocking, in a thread, so that their ends arrive as close together as they can.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from pathlib import Path

import anyio.to_thread
import attrs
import pytest

from ftpdata import Deadlines, ServerCertificate
from tests.harness.tls import HOST_NAME, client_context, server_certificate
from tests.server.client import PATIENCE, Serving, names, reset, serving

ROUNDS = 40
"""Enough to meet each order of the two ends. All of 200 rounds were stored, too."""

CONTENT = b"x" * 3000

PROTECTIONS = [pytest.param(False, id="clear"), pytest.param(True, id="TLS")]


@attrs.define
class Leaver:
    """A blocking client that has logged in, and leaves without a word."""

    port: int
    context: ssl.SSLContext | None = None
    control: socket.socket = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.control = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        self.reply()
        if self.context is not None:
            self.command("AUTH TLS")
            self.control = self.context.wrap_socket(self.control, server_hostname=HOST_NAME)
        for line in ("USER ann", "PASS secret", "TYPE I"):
            self.command(line)
        if self.context is not None:
            for line in ("PBSZ 0", "PROT P"):
                self.command(line)

    def command(self, line: str) -> str:
        """Send a line; return its reply."""

        self.send(line)
        return self.reply()

    def send(self, line: str) -> None:
        """Send a line."""

        self.control.sendall(f"{line}\r\n".encode())

    def reply(self) -> str:
        """Read one reply of one line, and nothing that follows it."""

        line = b""
        while not line.endswith(b"\n"):
            line += self.control.recv(1)
        return line.decode()

    def passive(self) -> socket.socket:
        """Open a data connection."""

        found = re.search(r"\|\|\|(\d+)\|", self.command("EPSV"))
        assert found
        return socket.create_connection(("127.0.0.1", int(found[1])), PATIENCE)

    def protect(self, data: socket.socket) -> socket.socket:
        """Begin TLS on a data connection, if it is to be protected."""

        if self.context is None:
            return data

        return self.context.wrap_socket(data, server_hostname=HOST_NAME)

    def store(self, name: str, *, await_150: bool) -> None:
        """Send a file, and close both connections."""

        data = self.passive()
        self.send(f"STOR {name}")
        if await_150:
            self.reply()
        data = self.protect(data)
        data.sendall(CONTENT)
        end(data)
        end(self.control)


def end(sock: socket.socket) -> None:
    """Close; through TLS, announce it, and do not wait for an answer."""

    if isinstance(sock, ssl.SSLSocket):
        sock.setblocking(False)
        with contextlib.suppress(ssl.SSLError, OSError):
            sock.unwrap()
    sock.close()


def both_sides(protected: bool) -> tuple[ServerCertificate | None, ssl.SSLContext | None]:
    """Return what the server and the clients need for TLS, if they are to use it."""

    return (server_certificate(), client_context()) if protected else (None, None)


@pytest.mark.parametrize("await_150", [False, True])
@pytest.mark.parametrize("protected", PROTECTIONS)
async def test_uploads_of_clients_that_leave_early(
    protected: bool, await_150: bool, served_directory: Path
) -> None:
    """Every one of them is stored, whole."""

    server_side, context = both_sides(protected)
    async with serving(
        served_directory, certificate=server_side, max_sessions_per_address=100
    ) as server:

        def run() -> None:
            for number in range(ROUNDS):
                Leaver(server.port, context).store(str(number), await_150=await_150)

        await anyio.to_thread.run_sync(run)
        await server.all_left()

    assert names(served_directory) == sorted(map(str, range(ROUNDS)))
    assert {path.read_bytes() for path in served_directory.iterdir()} == {CONTENT}  # noqa: ASYNC240


async def test_commands_that_came_whole_are_carried_out(served_directory: Path) -> None:
    """That includes commands after a transfer whose 150 nobody reads; half a line is no command."""

    for number in range(ROUNDS):
        (served_directory / f"old{number}").touch()
    async with serving(served_directory, max_sessions_per_address=100) as server:

        def run() -> None:
            for number in range(ROUNDS):
                leaver = Leaver(server.port)
                data = leaver.passive()
                leaver.send(f"STOR new{number}")
                data.sendall(CONTENT)
                data.close()
                leaver.control.sendall(
                    f"DELE old{number}\r\nMKD made{number}\r\nMKD half".encode()
                )
                leaver.control.close()

        await anyio.to_thread.run_sync(run)
        await server.all_left()
    expected = [f"{kind}{number}" for kind in ("made", "new") for number in range(ROUNDS)]
    assert names(served_directory) == sorted(expected)


async def test_a_reset_does_not_take_commands_along(served_directory: Path) -> None:
    """A reply that cannot be sent ends the connection for the loop; the system has the lines."""

    async with serving(served_directory) as server, server.logged_in() as client:
        (session,) = server.server._sessions
        transport = session._control._transport
        assert transport is not None
        # What the event loop does on its own if it is slow to look.
        transport.pause_reading()
        client.send("MKD before")
        await client.writer.drain()
        reset(client.writer)
        async with asyncio.timeout(PATIENCE):
            while not transport.is_closing():
                transport.write(b"200 Nobody reads this.\r\n")
                await asyncio.sleep(0)
        await server.all_left()
    assert names(served_directory) == ["before"]


@pytest.mark.parametrize("how", ["closed", "reset"])
@pytest.mark.parametrize("phase", ["listening", "connected"])
async def test_an_upload_goes_on_to_its_own_end(
    phase: str, how: str, served_directory: Path
) -> None:
    """It does so however the control connection ends; the session counts until then."""

    async with serving(served_directory) as server:
        async with server.logged_in() as client:
            port = await client.epsv()
            data = await client.connect(port) if phase == "connected" else None
            client.send("STOR new")
            await client.codes(1)
            if how == "reset":
                reset(client.writer)
        await _ended(server)
        data = data or await client.connect(port)
        assert server.server.session_count == 1
        await data.send(CONTENT)
        await server.all_left()
    assert (served_directory / "new").read_bytes() == CONTENT


async def _ended(server: Serving) -> None:
    """Wait until the one session has noticed the end of its control connection."""

    (session,) = server.server._sessions
    async with asyncio.timeout(PATIENCE):
        while not session._control.has_ended:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)


@pytest.mark.parametrize("how", ["reset", "deadline", "shutdown"])
async def test_an_upload_without_control_ends_without_a_trace(
    how: str, served_directory: Path
) -> None:
    """A reset of its data connection, a deadline or the end of the server ends it."""

    deadlines = Deadlines(stall=0.1 if how == "deadline" else 100)
    async with serving(served_directory, deadlines=deadlines) as server:
        async with server.logged_in() as client:
            data = await client.passive()
            client.send("STOR new")
            assert await client.codes(1) == [125]
            data.writer.write(b"begun")
            await data.writer.drain()
        await _ended(server)
        if how == "reset":
            reset(data.writer)
        if how != "shutdown":
            await server.all_left()
    await data.close()
    assert names(served_directory) == []


async def test_a_download_ends_with_its_control_connection(served_directory: Path) -> None:
    """This holds for one that has not begun, too: nobody would read its reply."""

    with (served_directory / "file").open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    async with serving(served_directory) as server:
        async with server.logged_in() as client:
            data = await client.slow_passive()
            client.send("RETR file")
            assert await client.codes(1) == [125]
        assert await data.was_reset()
        await server.all_left()


@pytest.mark.parametrize("protected", PROTECTIONS)
@pytest.mark.parametrize("order", ["data first", "control first"])
async def test_to_the_letter_it_counts_what_has_come(
    order: str, protected: bool, served_directory: Path
) -> None:
    """With both ends in the system, an upload is whole, whichever of them is noticed first."""

    server_side, context = both_sides(protected)
    async with serving(
        served_directory, certificate=server_side, cut_with_control=True
    ) as server:
        leaver, data = await anyio.to_thread.run_sync(_begun_upload, server.port, context)
        # Both ends come while the event loop is busy with this.
        ends = [data, leaver.control]
        for sock in ends if order == "data first" else reversed(ends):
            end(sock)
        await server.all_left()
    assert (served_directory / "new").read_bytes() == CONTENT


def _begun_upload(
    port: int, context: ssl.SSLContext | None
) -> tuple[Leaver, socket.socket]:
    leaver = Leaver(port, context)
    data = leaver.passive()
    leaver.send("STOR new")
    leaver.reply()
    data = leaver.protect(data)
    data.sendall(CONTENT)
    return leaver, data


async def test_to_the_letter_an_upload_is_cut_with_its_control_connection(
    served_directory: Path,
) -> None:
    """It is cut if any of it is still to come; one that has not begun does not begin."""

    async with serving(served_directory, cut_with_control=True) as server:
        async with server.logged_in() as client:
            data = await client.passive()
            client.send("STOR new")
            assert await client.codes(1) == [125]
            data.writer.write(b"begun")
            await data.writer.drain()
        assert await data.was_reset()
        await server.all_left()
        async with server.logged_in() as client:
            await client.epsv()
            client.send("STOR new")
        await server.all_left()
    assert names(served_directory) == []
