"""One client: the order of commands and replies, limits, the log."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from examples.server.commands import COMMANDS
from examples.server.commands.table import Argument, Command
from examples.server.reply import Reply
from examples.server.session import Session
from ftpdata import Deadlines
from tests.harness.waiting import until
from tests.server.client import PATIENCE, names, serving


async def test_pipelined_commands_are_answered_in_order(served_directory: Path) -> None:
    """Many commands come in one segment, and one comes byte by byte."""

    async with serving(served_directory) as server, server.connected() as client:
        client.send(b"USER ann\r\nPASS secret\r\nMKD a\r\nCWD a\r\n")
        client.send(b"PWD\r\nMKD b\r\nRMD b\r\nPWD\r\n")
        assert await client.codes(8) == [331, 230, 257, 250, 257, 257, 250, 257]
        for byte in b"TYPE I\r\n":
            client.send(bytes([byte]))
            await client.writer.drain()
        assert await client.codes(1) == [200]


async def test_many_pipelined_commands_are_bounded_and_all_answered(
    served_directory: Path,
) -> None:
    """If more come than may wait, the connection is not read meanwhile."""

    async with (
        serving(served_directory, max_waiting=4) as server,
        server.logged_in() as client,
    ):
        client.send(b"NOOP\r\nPWD\r\n" * 500)
        assert await client.codes(1000) == [200, 257] * 500


async def test_replies_that_nobody_reads_are_bounded(served_directory: Path) -> None:
    """This holds for replies during a transfer, too; they arrive once the client reads."""

    number = 2500
    async with serving(served_directory) as server, server.logged_in() as client:
        data = await client.passive()
        client.send("STOR file")
        assert await client.codes(1) == [125]
        (session,) = server.server._sessions
        transport = session._control._transport
        assert transport is not None
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(b"STAT\r\n" * number)
        # Until the server reads no more.
        await until(lambda: not session._control._is_reading)
        assert transport.get_write_buffer_size() < 128 * 1024
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await data.send(b"content")
        codes = await client.codes(number + 1)
        assert sorted(codes) == [211] * number + [226]


async def test_long_lines_are_refused_once(served_directory: Path) -> None:
    """The line gets one 500, however long it is; the next line is taken."""

    async with serving(served_directory) as server, server.logged_in() as client:
        client.send(b"RETR " + b"x" * 1_000_000 + b"\r\nNOOP\r\n")
        assert await client.codes(2) == [500, 200]


async def test_unknown_commands_are_limited(served_directory: Path) -> None:
    """The session ends with 421: a browser that was sent here says nothing that is known."""

    request = b"POST / HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\nUSER ann\r\n"
    async with serving(served_directory, max_unknown_commands=4) as server:
        async with server.connected() as client:
            client.send(request)
            assert await client.codes(4) == [500, 500, 500, 421]
            assert await client.is_closed()
        async with server.connected() as client:
            for _ in range(5):
                assert await client.code("XYZ") == 500
                assert await client.code("NOOP") == 200


async def test_idle_session_ends(served_directory: Path) -> None:
    """It gets 421, even if it sends half a line now and then."""

    async with (
        serving(served_directory, idle_timeout=0.1) as server,
        server.connected() as client,
    ):
        client.send(b"NOO")
        assert await client.codes(1) == [421]
        assert await client.is_closed()


async def test_session_with_a_transfer_is_not_idle(served_directory: Path) -> None:
    """This holds however long the transfer takes; the time counts from its end."""

    async with (
        serving(served_directory, idle_timeout=1.0) as server,
        server.logged_in() as client,
    ):
        data = await client.passive()
        client.send("STOR new")
        assert await client.codes(1) == [125]
        loop = asyncio.get_running_loop()
        started = loop.time()
        while loop.time() - started < 1.2:
            data.writer.write(b"x")
            await client.quiet()
        await data.close()
        assert await client.codes(2) == [226, 421]


async def test_vanished_client_leaves_no_listener(served_directory: Path) -> None:
    """Its passive port is closed with the session."""

    async with serving(served_directory) as server:
        async with server.logged_in() as client:
            port = await client.epsv()
        await server.all_left()
        with pytest.raises(ConnectionRefusedError):
            await client.connect(port)


async def test_commands_after_quit_are_not_run(served_directory: Path) -> None:
    """221 is the last reply."""

    async with serving(served_directory) as server, server.logged_in() as client:
        client.send(b"QUIT\r\nMKD x\r\nNOOP\r\n")
        assert await client.codes(1) == [221]
        assert await client.is_closed()
    assert names(served_directory) == []


async def test_bug_in_a_command_is_one_reply_and_one_record(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets 451, the log has a traceback, and the session goes on."""

    async def fail(session: Session, argument: str) -> Reply:
        raise ZeroDivisionError

    broken = Command(handler=fail, syntax="PWD", argument=Argument.NONE)
    monkeypatch.setitem(COMMANDS, "PWD", broken)
    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.code("PWD") == 451
        await client.quiet()
    assert [record.exc_info is not None for record in caplog.records if record.levelno > 30] == [
        True
    ]


async def test_log_has_one_line_per_record_and_no_passwords(
    served_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """This holds whatever control characters a client sends, in any argument."""

    caplog.set_level(logging.DEBUG, logger="ftpdata.examples.server")
    async with serving(served_directory) as server, server.connected() as client:
        evil = "x\r\0\x1b[2J\u2028\udcff forged"
        for line in (
            f"USER {evil}", "PASS wr0ng", f"USER {evil}", f"PASS wr0ng{evil}", "USER ann",
            "PASS secret", f"RETR {evil}", f"{evil}", f"SITE {evil}", f"PORT {evil}",
            f"MKD {evil}", "pass secret",
        ):
            await client.command(line)
        (served_directory / "x\ny").touch()
        await client.epsv()
    records = [r for r in caplog.records if r.name == "ftpdata.examples.server"]
    assert len(records) > 20
    for record in records:
        message = record.getMessage()
        assert message.isprintable()
        assert "wr0ng" not in message
        assert "secret" not in message
    assert any("logged in as ann" in record.getMessage() for record in records)


async def test_urgent_data_between_commands_do_no_harm(served_directory: Path) -> None:
    """A Telnet Synch with nothing to abort is just dropped."""

    async with serving(served_directory) as server, server.logged_in() as client:
        client.send(b"\xff\xf4\xff\xf2NOOP\r\n")
        async with asyncio.timeout(PATIENCE):
            assert await client.codes(1) == [200]


async def test_session_without_limits_ends_when_client_resets(served_directory: Path) -> None:
    """No task, socket or session stays."""

    async with serving(served_directory) as server:
        async with server.logged_in() as client:
            client.send(b"NOOP\r\n" * 100)
            client.writer.transport.abort()
        await server.all_left()


LINES = [
    *("NOOP", "PWD", "STAT", "STAT file", "EPSV", "PASV", "RETR file", "RETR missing", "STOR new"),
    *("LIST", "MLSD", "ABOR", "ABOR", "SIZE file", "HASH file", "REST 1", "RNFR file", "RNTO file"),
    *("TYPE I", "XYZ", "", "APPE new", "STOU"),
]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.sampled_from(LINES), max_size=25),
    cuts=st.lists(st.integers(0, 200), max_size=5),
)
async def test_every_command_has_one_final_reply(
    lines: list[str], cuts: list[int], served_directory: Path
) -> None:
    """This holds for any bytes in any pieces; the client opens no data connection."""

    (served_directory / "file").write_bytes(b"content")
    data = b"".join(line.encode() + b"\r\n" for line in lines)
    deadlines = Deadlines(open=0.01)
    async with (
        serving(served_directory, deadlines=deadlines, max_waiting=8) as server,
        server.logged_in() as client,
    ):
        start = 0
        for cut in [*sorted(cuts), len(data)]:
            client.send(data[start:cut])
            start = max(start, min(cut, len(data)))
            await asyncio.sleep(0)
        final = 0
        while final < len(lines):
            final += (await client.codes(1))[0] >= 200
        await client.quiet()
    assert names(served_directory) == ["file"]
