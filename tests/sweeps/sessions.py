"""Sessions of the reference server, to be cancelled, disturbed or shuffled at every moment.

A `Case` is what one client says, or two clients do, and what the files hold before and after
each command that changes them. `Stage.run` runs a case once, with the session of the first
client in the calling task. `Stage.check` compares what the clients saw with the files.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
import attrs

from examples.server.accounts import PasswordTable
from examples.server.disk import DiskStore
from examples.server.server import Server
from examples.server.settings import Settings, Uploads
from ftpdata.testing.client import Failure, Reply, ScriptedClient, ScriptedStream
from tests.harness.leaks import hidden_files
from tests.harness.proxies import free_ports
from tests.harness.tls import client_context, server_certificate
from tests.sweeps.ways import Reset

__all__ = ["CASES", "Case", "Player", "Stage", "staged"]

PATIENCE = 60.0

OLD = b"old content\n" * 50
NEW = b"new\n" * 100
LARGE = bytes(range(256)) * 8 * 1024
"""More than a connection takes at once: 2 MiB."""

Files = dict[str, bytes]


def cut_now(sock: socket.socket) -> None:
    """Send a reset now, while the event loop still watches the socket.

    Closing it would do the same, but without the loop's knowledge.
    """

    nobody = bytes(16)  # AF_UNSPEC: connect(2) then dissolves the association
    ctypes.CDLL(None).connect(sock.fileno(), nobody, len(nobody))


class Player(ScriptedClient):
    """A client that notes what it sees.

    Attributes:
        replies: The codes of all replies.
        done: How many commands were answered that have changed a file.
        received: What came over data connections, and ended cleanly.
        connections: The data connections.
    """

    def __init__(self, stream: ScriptedStream, host: str) -> None:
        super().__init__(stream, host)
        self.replies: list[int] = []
        self.done = 0
        self.received: list[bytes] = []
        self.connections: list[ScriptedStream] = []

    async def reply(self) -> Reply:
        """Read a reply, and note it."""

        reply = await super().reply()
        self.replies.append(reply.code)
        return reply

    async def connect(
        self, port: int, *, source: str | None = None, receive_buffer: int | None = None
    ) -> ScriptedStream:
        """Open a data connection, and note it."""

        stream = await super().connect(port, source=source, receive_buffer=receive_buffer)
        self.connections.append(stream)
        return stream

    def changed(self, reply: Reply, *codes: int) -> None:
        """Note that a file was changed, as a reply has just said."""

        self.check(reply, *(codes or (226, 250)))
        self.done += 1

    async def fetch(self, line: str) -> None:
        """Download; note what came if it has ended cleanly."""

        _, data = await self.begin(line)
        self.received.append(await data.receive_all())
        await self.leave(data)
        await self.expect_reply(226)

    def cut(self, which: Reset) -> None:
        """Reset the data connections, or the control connection, at this moment."""

        for stream in [self.stream] if which == "control" else self.connections:
            if stream.socket.fileno() >= 0:
                cut_now(stream.socket)

    def close(self) -> None:
        """Close all connections."""

        for stream in self.connections:
            stream.close()
        super().close()


Script = Callable[..., Awaitable[None]]


@attrs.frozen(kw_only=True)
class Case:
    """What clients do, and what becomes of the files.

    Attributes:
        script: Takes a `Player` for each client.
        states: What the files hold at first, and after each command that changes them.
        settings: Of the server.
        clients: How many there are.
        is_pooled: Whether sessions share passive ports.
        is_mixed: Whether bytes of the next state may stand in a file before the reply: the
            documentation says so of what is appended, or written in place.
        is_tls: Whether the script wants a certificate.
        keeps_part: Whether what came of a cut upload is kept until the file is there.
    """

    script: Script
    states: list[Files]
    settings: dict[str, Any] = attrs.field(factory=dict)
    clients: int = 1
    is_pooled: bool = False
    is_mixed: bool = False
    is_tls: bool = False
    keeps_part: bool = False


@attrs.define
class Stage:
    """A server without its listener: its sessions run where the test wants them to.

    Attributes:
        case: What is played.
        directory: What is served.
        server: The server.
        players: The clients of the last run.
        failures: What they have met.
        expected: The replies and the downloads of an undisturbed run, for each client.
    """

    case: Case
    directory: Path
    server: Server
    players: list[Player] = attrs.field(factory=list)
    failures: list[Exception | None] = attrs.field(factory=list)
    expected: list[tuple[list[int], list[bytes]]] = attrs.field(factory=list)
    _script: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Play the case; the session of the first client is this task's.

        The files are made as they were at first. It suspends only within the session. Call it
        where blocking is allowed.
        """

        self._reset_files()
        self.players, self.failures = [], []
        sockets = [self._arrive() for _ in range(self.case.clients)]
        others = [asyncio.create_task(self.server._serve(sock)) for sock in sockets[1:]]
        self._script = asyncio.create_task(self._play(self.players, others))
        await self.server._serve(sockets[0])

    def _arrive(self) -> socket.socket:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            peer = socket.create_connection(listener.getsockname())
            accepted, _ = listener.accept()
        for sock in (peer, accepted):
            sock.setblocking(False)
        self.players.append(Player(ScriptedStream(peer, patience=PATIENCE), "127.0.0.1"))
        return accepted

    async def _play(self, players: list[Player], others: list[asyncio.Task[None]]) -> None:
        try:
            await self.case.script(*players)
        except (Failure, OSError, ssl.SSLError) as error:
            self.failures.append(error)
        finally:
            for player in players:
                player.close()
            if others:
                await asyncio.wait(others)

    async def play_undisturbed(self) -> None:
        """Run once, and check that everything goes as it should."""

        await self.run()
        await self.over()
        if self.failures:
            raise AssertionError(f"undisturbed, it failed: {self.failures}")
        seen = [(_finals(player.replies), player.received) for player in self.players]
        if self.expected:
            assert seen == self.expected
        self.expected = seen
        assert sum(player.done for player in self.players) == len(self.case.states) - 1
        assert self.contents() == self.case.states[-1]

    async def over(self) -> None:
        """Wait for the end of the clients."""

        assert self._script is not None
        await self._script

    async def check(self) -> None:
        """Check that what the clients saw of a run that was cancelled agrees with the files."""

        await self.over()
        for player, (replies, received) in zip(self.players, self.expected, strict=True):
            seen = _finals(player.replies)
            # A session may say why it ends, and nothing after that.
            assert seen == replies[: len(seen)] or (
                seen[:-1] == replies[: len(seen) - 1] and seen[-1] >= 400
            ), f"{player.replies} are not the beginning of {replies}"
            for got, whole in zip(player.received, received, strict=False):
                assert got == whole, f"{len(got)} bytes of {len(whole)} look whole"

        self._check_files(sum(player.done for player in self.players))
        self.check_counts()

    def check_counts(self) -> None:
        """Check that everything that is counted was given back."""

        usage, metrics = self.server.usage, self.server.passive_metrics
        counted = usage.transfers, usage.connections, usage.listeners, self.server.session_count
        assert counted == (0, 0, 0, 0)
        if metrics is not None:
            assert (metrics.in_use, metrics.waiting) == (0, 0)

    def _check_files(self, done: int) -> None:
        before = self.case.states[done]
        # What was not answered may have been done all the same.
        after = self.case.states[min(done + 1, len(self.case.states) - 1)]
        contents = self.contents()
        if self.case.is_mixed:
            assert contents.keys() == before.keys() | (contents.keys() & after.keys())
            for name, content in contents.items():
                assert _is_mixed(content, before.get(name, b""), after.get(name, b"")), name
        else:
            assert contents in (before, after), (
                f"after {done} answered changes: "
                f"{({name: len(content) for name, content in contents.items()})}"
            )
        parts = [path for path in hidden_files(self.directory) if ".ftpdata-part." in path.name]
        if self.case.keeps_part and done == 1 and contents == before:
            assert len(parts) == 1, parts
            assert parts[0].stat().st_size >= len(NEW) // 2

    def contents(self) -> Files:
        """Return what the files hold, those that are hidden left out."""

        return {
            str(path.relative_to(self.directory)): path.read_bytes()
            for path in sorted(self.directory.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }

    def _reset_files(self) -> None:
        for entry in os.scandir(self.directory):
            if entry.is_dir():
                shutil.rmtree(entry.path)
            else:
                Path(entry.path).unlink()
        for name, content in self.case.states[0].items():
            (self.directory / name).write_bytes(content)

    def cut(self, which: Reset) -> None:
        """Let all clients reset connections at this moment."""

        for player in self.players:
            player.cut(which)


def _finals(codes: list[int]) -> list[int]:
    """Leave out the preliminary replies, which depend on who was first."""

    return [code for code in codes if code >= 200]


def _is_mixed(content: bytes, before: bytes, after: bytes) -> bool:
    """Whether each byte is one of the old ones or one of the new ones, in its place."""

    shorter, longer = sorted((len(before), len(after)))
    return shorter <= len(content) <= longer and all(
        byte in (before[i : i + 1] + after[i : i + 1]) for i, byte in enumerate(content)
    )


@contextlib.asynccontextmanager
async def staged(case: Case, directory: Path) -> AsyncIterator[Stage]:
    """Make a server for a case."""

    options: dict[str, Any] = {
        "accounts": PasswordTable([("ann", "secret")]),
        "writable": True,
        "uploads": Uploads.RESUMABLE,
        "login_delay": 0.0,
        "max_sessions": 500,
        **case.settings,
    }
    if case.is_tls:
        options["certificate"] = server_certificate()
    if case.is_pooled:
        options["passive_ports"] = free_ports(3)
    store = await anyio.to_thread.run_sync(DiskStore, directory)
    try:
        server = Server(store, Settings(**options))
        ports = server._shared.ports
        async with ports.listening(["127.0.0.1"]), server._certificates():
            if ports._pool is not None:
                # A port rests for a while after nobody came: one client cannot cut a hundred
                # sessions short in a second.
                ports._pool._rest = 0.0
            yield Stage(case, directory, server)
    finally:
        store.close()


# What the clients do


async def _log_in(player: Player, *more: str) -> None:
    """Log in with everything in one packet, as a client in a hurry does."""

    lines = ("USER ann", "PASS secret", "TYPE I", *more)
    await player.send(*lines)
    for code in (220, 331, 230, 200, *(200 for _ in more)):
        await player.expect_reply(code, 2)


async def _download(player: Player) -> None:
    await _log_in(player)
    await player.fetch("RETR file")


async def _download_and_quit(player: Player) -> None:
    await _download(player)
    await player.expect("QUIT", 221)


async def _upload(player: Player, line: str = "STOR file", content: bytes = NEW) -> None:
    player.changed(await player.upload(line, content), 226)


async def _store(player: Player) -> None:
    await _log_in(player)
    await _upload(player)


async def _store_large(player: Player) -> None:
    await _log_in(player)
    await _upload(player, content=LARGE)


async def _append(player: Player) -> None:
    await _log_in(player)
    await _upload(player, "APPE file")


async def _repair(player: Player) -> None:
    await _log_in(player)
    await player.expect("REST 12", 350)
    await _upload(player)


@contextlib.asynccontextmanager
async def _active(
    player: Player, line: str
) -> AsyncIterator[tuple[ScriptedStream, asyncio.Task[Reply]]]:
    """Say PORT, then a transfer command; give the connection that comes, and the last reply."""

    with socket.socket() as listener:
        listener.setblocking(False)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        await player.expect(f"PORT 127,0,0,1,{port >> 8},{port & 255}", 200)
        await player.expect(line, 150)
        comes = asyncio.ensure_future(asyncio.get_running_loop().sock_accept(listener))
        # While nothing comes, the server may leave.
        ends = asyncio.create_task(player.expect_reply(226))
        try:
            await asyncio.wait((comes, ends), return_when=asyncio.FIRST_COMPLETED)
            if not comes.done():
                await ends
            accepted, _ = await comes
            data = ScriptedStream(accepted, patience=PATIENCE)
            player.connections.append(data)
            yield data, ends
        finally:
            for task in (comes, ends):
                task.cancel()
            await asyncio.wait((comes, ends))


async def _download_active(player: Player) -> None:
    await _log_in(player)
    async with _active(player, "RETR file") as (data, ends):
        player.received.append(await data.receive_all())
        await ends


async def _store_active(player: Player) -> None:
    await _log_in(player)
    async with _active(player, "STOR file") as (data, ends):
        await data.send(NEW)
        await data.end()
        player.changed(await ends, 226)


async def _protect(player: Player) -> None:
    context = client_context()
    context.check_hostname = False
    await player.expect_reply(220)
    await player.protect(context)
    await player.send("USER ann", "PASS secret", "TYPE I")
    for code in (331, 230, 200):
        await player.expect_reply(code)
    await player.keep_private()


async def _download_tls(player: Player) -> None:
    await _protect(player)
    await player.fetch("RETR file")
    await player.expect("QUIT", 221)


async def _store_tls(player: Player) -> None:
    await _protect(player)
    await _upload(player)
    await player.expect("REIN", 220)


async def _list(player: Player) -> None:
    await _log_in(player, "OPTS MLST type;size")
    for line in ("MLSD", "NLST"):
        await player.fetch(line)
    await player.expect("STAT .", 212)


async def _resume_after_reset(player: Player) -> None:
    await _log_in(player)
    half = len(NEW) // 2
    _, data = await player.begin("STOR file")
    await data.send(NEW[:half])
    # All of it has come: the server has read it before it tells how far it is.
    text = ""
    while f" {half} bytes" not in text:
        await player.send("STAT")
        # How often it occurs is not compared.
        text = (await ScriptedClient.reply(player)).text
    data.reset()
    player.changed(await player.reply(), 426)
    # Less than came, lest a client takes the part for the whole file.
    told = int((await player.expect("SIZE file", 213)).text.split()[1])
    assert 0 < told <= half
    await player.expect(f"REST {told}", 350)
    await _upload(player, content=NEW[told:])


async def _abort(player: Player) -> None:
    await _log_in(player)
    _, data = await player.begin("STOR file")
    await data.send(NEW[:10])
    await player.send("ABOR")
    await player.expect_reply(426)
    await player.expect_reply(226)
    await player.expect("RNFR file", 350)
    player.changed(await player.command("RNTO renamed"), 250)
    player.changed(await player.command("DELE renamed"), 250)


async def _blocks(player: Player) -> None:
    """Two files over one connection, which stays open after the first."""

    await _log_in(player, "MODE B")
    data = await player.passive()
    for name in ("file", "another"):
        await player.begin(f"STOR {name}", data)
        await data.send(b"\x40" + len(NEW).to_bytes(2, "big") + NEW)
        player.changed(await player.reply(), 250)
    await player.begin("RETR file", data)
    header = await data.receive_exactly(3)
    player.received.append(await data.receive_exactly(int.from_bytes(header[1:], "big")))
    await player.expect_reply(250)


async def _relay(receiving: Player, sending: Player) -> None:
    """One server sends to the other (FXP): here both are sessions of the same."""

    for player in (receiving, sending):
        await _log_in(player)
    port = await receiving.passive_port()
    await sending.expect(f"PORT 127,0,0,1,{port >> 8},{port & 255}", 200)
    await receiving.send("STOR copy")
    await sending.send("RETR file")
    await sending.expect_reply(150)
    await sending.expect_reply(226)
    await receiving.expect_reply(150, 125)
    receiving.changed(await receiving.reply(), 226)


async def _relay_back(sending: Player, receiving: Player) -> None:
    await _relay(receiving, sending)


# Otherwise an upload whose client has left would go on to its own end, or to a deadline.
_FXP: dict[str, Any] = {"allow_fxp": True, "cut_with_control": True}

_STORED = [{"file": OLD}, {"file": NEW}]

CASES: dict[str, Case] = {
    "passive RETR": Case(script=_download_and_quit, states=[{"file": OLD}]),
    "passive RETR, large": Case(script=_download, states=[{"file": LARGE}]),
    "passive STOR": Case(script=_store, states=_STORED),
    "passive STOR, atomic": Case(
        script=_store, states=_STORED, settings={"uploads": Uploads.ATOMIC}
    ),
    "passive STOR, large": Case(script=_store_large, states=[{}, {"file": LARGE}]),
    "STOR in place": Case(
        script=_store, states=_STORED, settings={"uploads": Uploads.IN_PLACE}, is_mixed=True
    ),
    "REST and STOR in place": Case(
        script=_repair,
        states=[{"file": OLD}, {"file": OLD[:12] + NEW + OLD[12 + len(NEW) :]}],
        settings={"uploads": Uploads.IN_PLACE},
        is_mixed=True,
    ),
    "APPE": Case(script=_append, states=[{"file": OLD}, {"file": OLD + NEW}], is_mixed=True),
    "pooled RETR": Case(script=_download, states=[{"file": OLD}], is_pooled=True),
    "pooled STOR": Case(script=_store, states=_STORED, is_pooled=True),
    "active RETR": Case(script=_download_active, states=[{"file": OLD}]),
    "active STOR": Case(script=_store_active, states=_STORED),
    "listings": Case(script=_list, states=[{"file": OLD, "other": NEW}]),
    "resumption": Case(
        script=_resume_after_reset, states=[{}, {}, {"file": NEW}], keeps_part=True
    ),
    "ABOR, RNTO and DELE": Case(
        script=_abort, states=[{"file": OLD}, {"renamed": OLD}, {}]
    ),
    "several files": Case(
        script=_blocks,
        states=[{}, {"file": NEW}, {"file": NEW, "another": NEW}],
        settings={"keep_data_connection": True},
    ),
    "relay, the receiver": Case(
        script=_relay,
        states=[{"file": OLD}, {"file": OLD, "copy": OLD}],
        settings=_FXP,
        clients=2,
    ),
    "relay, the sender": Case(
        script=_relay_back,
        states=[{"file": OLD}, {"file": OLD, "copy": OLD}],
        settings=_FXP,
        clients=2,
    ),
    "TLS, RETR": Case(script=_download_tls, states=[{"file": OLD}], is_tls=True),
    "TLS, STOR": Case(script=_store_tls, states=_STORED, is_tls=True),
    "TLS, pooled STOR": Case(script=_store_tls, states=_STORED, is_tls=True, is_pooled=True),
}
