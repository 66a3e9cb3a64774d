"""The data connection of a session: every phase, and what ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path

import attrs
import pytest

from examples.server import disk as disk_module
from examples.server.disk import DiskReader, DiskStore
from examples.server.memory import Memory
from examples.server.session import Session
from ftpdata import DTP, Deadlines, DirectoryLister, Endpoint, FileTarget, ListingBlock
from ftpdata.files._workers import WorkerCalls
from ftpdata.limits import Limits
from ftpdata.transfers import _direct as direct
from tests.harness.seams import Seams
from tests.server.client import PATIENCE, Client, Data, Serving, names, reset, serving

BIG = 64 * 1024 * 1024
MEDIUM = 200_000
SMALL = 50_000  # what a system takes of any peer, so that all of it is written


VERBS = ["RETR", "STOR", "LIST"]
PHASES = ["listening", "connected", "transferring", "finishing"]
LINES = {"RETR": "RETR {}", "STOR": "STOR new", "LIST": "LIST"}


@attrs.define
class Scene:
    """A transfer command that has come to a certain phase.

    Attributes:
        finish: Lets a commit that was held up go on.
    """

    client: Client
    data: Data | None
    finish: asyncio.Event


@contextlib.asynccontextmanager
async def scene(
    serving: Serving, directory: Path, verb: str, phase: str, patch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    """Bring a transfer into a phase.

    Listening: 150 was sent, nobody has connected. Connected: the client has
    connected, and neither sent nor read a byte. Transferring: bytes have
    passed, more are to come. Finishing: all bytes were written, or have come,
    and the transfer has not ended.
    """

    for name, size in (("big", BIG), ("medium", MEDIUM), ("small", SMALL)):
        with (directory / name).open("wb") as file:
            file.truncate(size)

    committing, finish = asyncio.Event(), asyncio.Event()
    original = FileTarget.commit

    async def slow_commit(self: FileTarget) -> None:
        committing.set()
        await finish.wait()
        await original(self)

    # The phases are those of a transfer that has its connection's DTP.
    patch.setattr(direct, "MOMENT", 0)
    patch.setattr(FileTarget, "commit", slow_commit)
    patch.setattr(DirectoryLister, "take_all", lambda _: None)
    patch.setattr(DirectoryLister, "blocks", _endless if phase != "finishing" else _some)
    async with serving.logged_in() as client:
        data = None
        if phase == "listening":
            await client.epsv()
        else:
            data = await client.slow_passive()

        client.send(LINES[verb].format("small" if phase == "finishing" else "big"))
        assert await client.codes(1) == [150 if phase == "listening" else 125]
        if data is not None and phase in ("transferring", "finishing"):
            if verb == "STOR":
                data.writer.write(b"x" * 1000)
                await received(serving, 1000)
            elif phase == "transferring":
                await data.reader.readexactly(1000)
            if phase == "finishing":
                if verb == "STOR":
                    data.writer.write_eof()
                    await committing.wait()
                else:
                    await finishing(serving)
        try:
            yield Scene(client, data, finish)
        finally:
            finish.set()
            if data is not None:
                await data.close()


async def received(serving: Serving, size: int) -> None:
    """Wait until the one session that there is has received that many bytes."""

    await until(lambda dtp: dtp.bytes_received >= size, serving)


async def finishing(serving: Serving) -> None:
    """Wait until the one session that there is has written all, and waits for the peer."""

    await until(lambda dtp: dtp.is_finishing, serving)


async def until(condition: Callable[[DTP], bool], serving: Serving) -> None:
    """Look at the data connection until it is as wanted."""

    (session,) = serving.server._sessions
    async with asyncio.timeout(PATIENCE):
        while True:
            connection = session.operation.connection if session.operation else None
            dtp = connection.dtp if isinstance(connection, Endpoint) else connection
            if dtp is not None and condition(dtp):
                return
            await asyncio.sleep(0)


LINE = b"x" * 200 + b"\r\n"


async def _endless(self: DirectoryLister) -> AsyncGenerator[ListingBlock, None]:
    while True:
        yield ListingBlock(LINE * 20)


async def _some(self: DirectoryLister) -> AsyncGenerator[ListingBlock, None]:
    yield ListingBlock(LINE * (SMALL // len(LINE)))


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("verb", VERBS)
async def test_abor_in_every_phase(
    verb: str, phase: str, served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transfer gets 426 and ABOR 226, each once; the session goes on."""

    async with (
        serving(served_directory) as server,
        scene(server, served_directory, verb, phase, monkeypatch) as it,
    ):
        it.client.send("ABOR")
        if (verb, phase) == ("STOR", "finishing"):
            # All has come, and is being stored: the truth is that it is complete.
            (session,) = server.server._sessions
            async with asyncio.timeout(PATIENCE):
                while not session._queue.aborts:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0)
            it.finish.set()
            assert await it.client.codes(2) == [226, 226]
            assert (served_directory / "new").stat().st_size == 1000
        else:
            assert await it.client.codes(2) == [426, 226]
            assert not (served_directory / "new").exists()
            if it.data is not None:
                assert await it.data.was_reset()
        await it.client.quiet()
        monkeypatch.undo()
        assert await it.client.download("RETR medium") == bytes(MEDIUM)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("how", ["reset", "closed"])
async def test_client_that_vanishes_in_every_phase(
    how: str, verb: str, phase: str, served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the letter of RFC 959 the transfer is aborted; an upload leaves nothing open or stored."""

    async with (
        serving(served_directory, cut_with_control=True) as server,
        scene(server, served_directory, verb, phase, monkeypatch) as it,
    ):
        if how == "reset":
            reset(it.client.writer)
        else:
            await it.client.close()
        if (verb, phase) == ("STOR", "finishing"):
            it.finish.set()
        await server.all_left()
        if (verb, phase) != ("STOR", "finishing"):
            assert not (served_directory / "new").exists()


@pytest.mark.parametrize("verb", VERBS)
async def test_abor_before_the_transfer_has_begun(
    verb: str, served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk is slow, the transfer gets 450, as no 1xx was sent, and ABOR gets 226."""

    (served_directory / "big").touch()

    async def run(self: DiskStore | WorkerCalls, *_: object, **__: object) -> None:
        waiting.set()
        await asyncio.Event().wait()

    waiting = asyncio.Event()
    async with serving(served_directory) as server, server.logged_in() as client:
        data = await client.passive()
        for waits_for_the_disk in (DiskStore, WorkerCalls):
            monkeypatch.setattr(waits_for_the_disk, "run", run)
        monkeypatch.setattr(Memory, "open_file", lambda *_: None)
        client.send(LINES[verb].format("big"))
        await waiting.wait()
        client.send("ABOR")
        assert await client.codes(2) == [450, 226]
        await client.quiet()
        assert await data.was_reset()


class SlowDisk:
    """Lets a file be opened in a thread, when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._entered, self._go_on = threading.Event(), threading.Event()
        original = DiskStore._open_file

        def open_file(store: DiskStore, path: str) -> DiskReader:
            self._entered.set()
            assert self._go_on.wait(PATIENCE)
            return original(store, path)

        monkeypatch.setattr(Memory, "open_file", lambda *_: None)
        monkeypatch.setattr(DiskStore, "_open_file", open_file)

    async def entered(self) -> None:
        """Wait until the thread is there."""

        await asyncio.to_thread(self._entered.wait, PATIENCE)

    def go_on(self) -> None:
        """Let it open the file."""

        self._go_on.set()


async def abort_comes(session: Session) -> None:
    """Wait until an ABOR waits for its turn."""

    async with asyncio.timeout(PATIENCE):
        while not session._queue.aborts:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)


async def test_abor_while_a_thread_opens_the_file(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server waits for the thread, but no longer announces what it has opened."""

    (served_directory / "file").write_bytes(b"x" * 1000)
    disk = SlowDisk(monkeypatch)
    async with serving(served_directory) as server, server.logged_in() as client:
        data = await client.passive()
        (session,) = server.server._sessions
        client.send("RETR file")
        await disk.entered()
        client.send("ABOR")
        await abort_comes(session)
        disk.go_on()
        assert await client.codes(2) == [450, 226]
        await client.quiet()
        assert await data.was_reset()


async def test_abor_of_what_has_failed_already(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is one reply, even if it has to wait until the client reads other replies."""

    disk = SlowDisk(monkeypatch)
    async with serving(served_directory) as server, server.logged_in() as client:
        (session,) = server.server._sessions
        session._control.pause_writing()
        client.send("RETR missing")
        await disk.entered()
        client.send("ABOR")
        await abort_comes(session)
        disk.go_on()
        assert await client.codes(1) == [550]
        session._control.resume_writing()
        assert await client.codes(1) == [226]
        await client.quiet()


async def test_abor_of_what_is_answered_already(served_directory: Path) -> None:
    """There is one reply, although it waits until the client reads other replies."""

    (served_directory / "file").write_bytes(b"x" * 1000)
    async with serving(served_directory) as server, server.logged_in() as client:
        (session,) = server.server._sessions
        session._control.pause_writing()
        assert await client.code("HASH file") == 213
        client.send("ABOR")
        await abort_comes(session)
        session._control.resume_writing()
        assert await client.codes(1) == [226]
        await client.quiet()


async def test_a_file_that_cannot_be_closed(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was sent whole, and one reply says so; the transfer gives back what it has taken."""

    (served_directory / "file").write_bytes(b"x" * 1000)
    seams = Seams(monkeypatch, disk_module)
    async with (
        serving(served_directory, limits=Limits(transfers_per_user=1)) as server,
        server.logged_in() as client,
    ):
        for _ in range(2):
            failed = seams.fail("close", 1)
            assert await client.download("RETR file") == b"x" * 1000
            await client.quiet()
            assert failed


async def test_abor_without_a_transfer(served_directory: Path) -> None:
    """ABOR gets 226 in every state, and closes what was prepared."""

    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.code("ABOR") == 226
        port = await client.epsv()
        assert await client.code("ABOR") == 226
        with pytest.raises(ConnectionRefusedError):
            await client.connect(port)
        data = await client.passive()
        assert await client.code("ABOR") == 226
        assert await data.was_reset() or True
        assert await client.code("NLST") == 425
        await client.quiet()


async def test_abor_after_commands_in_one_segment(served_directory: Path) -> None:
    """A transfer that waits in the queue before an ABOR is not begun; replies keep their order."""

    (served_directory / "file").write_bytes(b"x" * 1000)
    async with serving(served_directory) as server, server.logged_in() as client:
        client.send(b"EPSV\r\nPWD\r\nRETR file\r\nABOR\r\nNOOP\r\n")
        assert await client.codes(5) == [229, 257, 450, 226, 200]
        assert await client.download("RETR file") == b"x" * 1000


async def test_abor_acts_at_once_after_waiting_commands(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends the transfer that they wait for, and is answered in its turn."""

    async with (
        serving(served_directory) as server,
        scene(server, served_directory, "RETR", "transferring", monkeypatch) as it,
    ):
        it.client.send(b"PWD\r\nSTAT\r\nNOOP\r\nABOR\r\n")
        assert await it.client.codes(5) == [426, 257, 211, 200, 226]
        await it.client.quiet()


async def test_a_wrong_abor_or_quit_does_nothing(served_directory: Path) -> None:
    """It is answered with 501: the transfer goes on, and a client that leaves has not said QUIT."""

    large = bytes(16 * 1024 * 1024)
    (served_directory / "large").write_bytes(large)
    async with serving(served_directory) as server, server.logged_in() as client:
        data = await client.slow_passive()
        client.send("RETR large")
        assert await client.codes(1) == [125]
        client.send("ABOR now")
        client.send("QUIT now")
        assert await data.read() == large
        assert await client.codes(3) == [226, 501, 501]

        data = await client.slow_passive()
        client.send("RETR large")
        assert await client.codes(1) == [125]
        await client.close()
        await server.all_left()
        assert await data.was_reset()


async def test_second_abor_has_a_reply_of_its_own(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Impatient clients send ABOR twice."""

    async with (
        serving(served_directory) as server,
        scene(server, served_directory, "RETR", "transferring", monkeypatch) as it,
    ):
        it.client.send(b"ABOR\r\nABOR\r\n")
        assert await it.client.codes(3) == [426, 226, 226]
        await it.client.quiet()


@pytest.mark.parametrize(
    "sequence",
    [
        [(b"\xff\xf4\xff", 0), (b"\xf2", socket.MSG_OOB), (b"ABOR\r\n", 0)],
        [(b"ABOR\r\n", socket.MSG_OOB)],
        [(b"\xff\xf4\xf2ABOR\r\n", socket.MSG_OOB)],
    ],
    ids=["RFC 959", "ftplib", "careless"],
)
async def test_abor_as_urgent_data(
    sequence: list[tuple[bytes, int]], served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Telnet's IP and Synch, as clients send them."""

    async with (
        serving(served_directory) as server,
        scene(server, served_directory, "RETR", "transferring", monkeypatch) as it,
    ):
        fd = it.client.writer.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(fd)) as sock:
            for data, flags in sequence:
                sock.send(data, flags)
        if b"\xff\xf4\xf2" in sequence[0][0]:
            # IAC DM without its IAC: what is left is no command that anybody knows.
            assert await it.client.codes(0) == []
            it.client.send("ABOR")
            assert await it.client.codes(3) == [426, 500, 226]
        else:
            assert await it.client.codes(2) == [426, 226]
        await it.client.quiet()


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("verb", VERBS)
async def test_stat_and_noop_are_answered_while_a_transfer_runs(
    verb: str, phase: str, served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every phase; the transfer goes on."""

    async with (
        serving(served_directory) as server,
        scene(server, served_directory, verb, phase, monkeypatch) as it,
    ):
        status = await it.client.command("STAT")
        assert f"{verb}" in status
        assert re.search(r"\d+( of \d+)? bytes in \d+\.\d seconds", status)
        assert phase != "listening" or "waiting for the data connection" in status
        assert await it.client.code("NOOP") == 200
        it.client.send("ABOR")
        it.finish.set()
        await it.client.codes(2)


async def test_stat_tells_how_many_bytes_have_passed(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number grows, and the total is shown where it is known."""

    async with (
        serving(served_directory, rate=4_000_000) as server,
        scene(server, served_directory, "RETR", "transferring", monkeypatch) as it,
    ):
        assert it.data is not None
        counts = [0]
        async with asyncio.timeout(PATIENCE):
            while len(set(counts)) < 3:
                await it.data.reader.readexactly(1000)
                found = re.search(rf"(\d+) of {BIG} bytes", await it.client.command("STAT"))
                assert found is None or int(found[1]) >= counts[-1]
                counts.append(int(found[1]) if found else 0)
        it.client.send("ABOR")
        await it.client.codes(2)


@pytest.mark.parametrize("verb", VERBS)
async def test_quit_waits_for_the_transfer(
    verb: str, served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transfer is whole and gets 226; then QUIT gets 221 (RFC 959 §4.1.1)."""

    async with (
        serving(served_directory) as server,
        scene(server, served_directory, verb, "finishing", monkeypatch) as it,
    ):
        assert it.data is not None
        it.client.send("QUIT")
        it.finish.set()
        if verb != "STOR":
            size = len(await it.data.read())
            assert size == (SMALL if verb == "RETR" else SMALL // len(LINE) * len(LINE))
        assert await it.client.codes(2) == [226, 221]
        assert await it.client.is_closed()


async def test_quit_and_end_of_file_wait_for_the_transfer(served_directory: Path) -> None:
    """A script that sends its commands and closes its side gets its file."""

    (served_directory / "file").write_bytes(b"x" * 1_000_000)
    async with serving(served_directory) as server, server.logged_in() as client:
        data = await client.passive()
        client.send(b"RETR file\r\nQUIT\r\n")
        client.writer.write_eof()
        assert await data.read() == b"x" * 1_000_000
        assert await client.codes(3) == [125, 226, 221]


async def test_two_transfer_commands_at_once(served_directory: Path) -> None:
    """The second one waits for the first, and needs a data connection of its own."""

    for name in ("one", "two"):
        (served_directory / name).write_bytes(name.encode() * 100_000)
    async with serving(served_directory) as server, server.logged_in() as client:
        data = await client.passive()
        client.send(b"RETR one\r\nRETR two\r\n")
        assert await data.read() == b"one" * 100_000
        assert await client.codes(3) == [125, 226, 425]
        data = await client.passive()
        client.send(b"RETR one\r\nEPSV\r\nRETR two\r\nPWD\r\n")
        assert await data.read() == b"one" * 100_000
        assert await client.codes(2) == [125, 226]
        port = int((await client.reply()).split("|||")[1].split("|")[0])
        assert await client.codes(1) == [150]
        data = await client.connect(port)
        assert await data.read() == b"two" * 100_000
        assert await client.codes(2) == [226, 257]


async def test_second_passive_replaces_the_first(served_directory: Path) -> None:
    """A session has one listener."""

    (served_directory / "file").write_bytes(b"content")
    async with serving(served_directory) as server, server.logged_in() as client:
        first, second = await client.epsv(), await client.epsv()
        with pytest.raises(ConnectionRefusedError):
            await client.connect(first)
        data = await client.connect(second)
        client.send("RETR file")
        assert await data.read() == b"content"
        assert await client.codes(2) == [125, 226]


async def test_data_connection_is_for_one_transfer(served_directory: Path) -> None:
    """The next one needs its own PASV, and its reply says so at once."""

    (served_directory / "file").write_bytes(b"content")
    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.download("RETR file") == b"content"
        for line in ("RETR file", "LIST", "STOR new"):
            assert await client.code(line) == 425
        assert names(served_directory) == ["file"]
        assert await client.download("RETR file") == b"content"


async def test_command_that_is_refused_leaves_the_data_connection_as_it_is(
    served_directory: Path,
) -> None:
    """No 150 for a file that is not there; the next command can use the connection."""

    (served_directory / "file").write_bytes(b"content")
    async with serving(served_directory) as server, server.logged_in() as client:
        data = await client.passive()
        assert await client.code("RETR missing") == 550
        client.send("RETR file")
        assert await data.read() == b"content"
        assert await client.codes(2) == [125, 226]


async def test_nobody_connects_in_time(served_directory: Path) -> None:
    """The client gets 150, then 425 once; the session goes on, and an upload leaves nothing."""

    (served_directory / "file").write_bytes(b"content")
    deadlines = Deadlines(open=0.05)
    async with (
        serving(served_directory, deadlines=deadlines) as server,
        server.logged_in() as client,
    ):
        for line in ("RETR file", "STOR new", "LIST"):
            await client.epsv()
            client.send(line)
            assert await client.codes(2) == [150, 425]
            await client.quiet()
        assert names(served_directory) == ["file"]


async def test_client_that_reads_nothing_is_stalled(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets 426 once, and the session goes on."""

    deadlines = Deadlines(stall=0.3, first_byte=0.3)
    async with (
        serving(served_directory, deadlines=deadlines) as server,
        scene(server, served_directory, "RETR", "transferring", monkeypatch) as it,
    ):
        assert await it.client.codes(1) == [426]
        await it.client.quiet()


@pytest.mark.parametrize("parameters", ["TYPE I", "TYPE A", "MODE Z"])
async def test_a_file_that_became_shorter_is_not_complete(
    parameters: str, served_directory: Path
) -> None:
    """The reply promised its size before the client connected."""

    path = served_directory / "file"
    # More than is read before there is a connection.
    path.write_bytes(b"x" * MEDIUM)
    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.code(parameters) == 200
        for size in (0, MEDIUM - 1):
            port = await client.epsv()
            client.send("RETR file")
            assert await client.codes(1) == [150]
            os.truncate(path, size)
            data = await client.connect(port)
            with contextlib.suppress(ConnectionError):
                await data.read()
            await data.close()
            assert await client.codes(1) == [451]
            os.truncate(path, MEDIUM)


async def test_a_file_that_becomes_shorter_in_the_middle(served_directory: Path) -> None:
    """The client has much of it, and learns that this is not all."""

    path = served_directory / "file"
    with path.open("wb") as file:
        file.truncate(BIG)
    async with serving(served_directory) as server, server.logged_in() as client:
        data = await client.slow_passive()
        client.send("RETR file")
        assert await client.codes(1) == [125]
        await data.reader.readexactly(1000)
        os.truncate(path, BIG // 2)
        with contextlib.suppress(ConnectionError):
            while await data.reader.read(65536):
                pass
        await data.close()
        assert await client.codes(1) == [451]


@pytest.mark.parametrize("line", ["RETR file", "STOR new", "LIST", "SIZE file", "DELE file"])
async def test_what_the_host_raises_stays_in_the_log(
    line: str,
    served_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line for the client, in our words; the text and the traceback are logged once."""

    secret = "PUT https://store/?Signature=abc\r\n226 forged"

    def fail(*_: object, **__: object) -> object:
        raise RuntimeError(secret)

    async def fail_to_commit(*_: object, **__: object) -> None:
        fail()

    (served_directory / "file").write_bytes(b"x" * 1000)
    async with serving(served_directory) as server, server.logged_in() as client:
        data = await client.passive()
        if line == "STOR new":
            monkeypatch.setattr(FileTarget, "commit", fail_to_commit)
        for name in ("open_reader", "open_listing", "status", "remove_file"):
            monkeypatch.setattr(DiskStore, name, fail)
        client.send(line)
        reply = await client.reply()
        if line == "STOR new":
            assert reply[:3] == "125"
            await data.send(b"content")
            reply = await client.reply()
        assert reply[:3] == "451"
        assert "store" not in reply.replace("stored", "")
        assert "forged" not in reply
        await client.quiet()
        await data.close()
        monkeypatch.undo()
    with_traceback = [record for record in caplog.records if record.exc_info]
    assert len(with_traceback) == 1
    assert "Signature" in caplog.text
