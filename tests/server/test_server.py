"""Listening, limits, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
import pytest

from examples.server.accounts import PasswordTable
from examples.server.disk import DiskStore
from examples.server.server import Server
from examples.server.session import Session
from examples.server.settings import Settings
from examples.server.transfer import DataChannel
from ftpdata.testing import sweep
from tests.server.client import PATIENCE, Client, Data, Serving, names, serving


async def test_too_many_sessions(served_directory: Path) -> None:
    """One too many gets 421 at once; a place that becomes free can be taken."""

    async with (
        serving(served_directory, max_sessions=2, max_sessions_per_address=2) as server,
        server.connected() as one,
        server.connected(),
    ):
        reader, writer = await asyncio.open_connection(server.host, server.port)
        refused = Client(reader, writer, server.host)
        assert await refused.codes(1) == [421]
        assert await refused.is_closed()
        await refused.close()
        assert await one.code("QUIT") == 221
        assert await one.is_closed()
        async with server.connected() as three:
            assert await three.code("NOOP") == 200


async def test_many_sessions_at_once(served_directory: Path) -> None:
    """Each has its own directory, login and transfers."""

    (served_directory / "file").write_bytes(b"content" * 1000)
    async with serving(served_directory) as server:

        async def one(number: int) -> None:
            async with server.logged_in() as client:
                assert await client.code(f"MKD {number}") == 257
                assert await client.code(f"CWD {number}") == 250
                assert await client.download("RETR /file") == b"content" * 1000
                assert (await client.upload("STOR own", str(number).encode()))[:3] == "226"

        async with asyncio.TaskGroup() as tasks:
            for number in range(20):
                tasks.create_task(one(number))
    for number in range(20):
        assert (served_directory / str(number) / "own").read_bytes() == str(number).encode()


async def test_idle_sessions_end_at_once_when_the_server_stops(served_directory: Path) -> None:
    """They get 421 and are closed; nobody can connect any more."""

    async with serving(served_directory, grace=PATIENCE) as server, server.logged_in() as client:
        port = await client.epsv()
        server.server.stop()
        assert await client.codes(1) == [421]
        assert await client.is_closed()
        await server.all_left()
        for number in (port, server.port):
            with pytest.raises(ConnectionRefusedError):
                await client.connect(number)


async def test_who_is_at_work_may_go_on_when_the_server_stops(served_directory: Path) -> None:
    """A login in the middle is finished, and its files are sent; then the client gets 421."""

    (served_directory / "file").write_bytes(b"content")
    async with (
        serving(served_directory, grace=PATIENCE, shutdown_idle=3.0) as server,
        server.connected() as client,
    ):
        assert await client.code("USER ann") == 331
        server.server.stop()
        assert await client.code("PASS secret") == 230
        assert await client.download("RETR file") == b"content"
        assert await client.codes(1) == [421]
        assert await client.is_closed()


async def test_running_transfer_may_end_when_the_server_stops(served_directory: Path) -> None:
    """The client gets 226, then 421: the upload is whole."""

    async with serving(served_directory, grace=PATIENCE) as server, server.logged_in() as client:
        data = await client.passive()
        client.send("STOR new")
        assert await client.codes(1) == [125]
        server.server.stop()
        await client.quiet()
        await data.send(b"content")
        assert await client.codes(2) == [226, 421]
        assert await client.is_closed()
    assert (served_directory / "new").read_bytes() == b"content"


async def test_running_transfer_is_aborted_after_the_grace(served_directory: Path) -> None:
    """The client gets 426, then 421; nothing is left."""

    async with serving(served_directory, grace=0.05) as server, server.logged_in() as client:
        data = await client.passive()
        client.send("STOR new")
        assert await client.codes(1) == [125]
        data.writer.write(b"half")
        server.server.stop()
        assert await client.codes(2) == [426, 421]
        assert await client.is_closed()
        await data.close()
    assert names(served_directory) == []


async def test_cancelled_server_leaves_nothing(served_directory: Path) -> None:
    """It had a transfer in each direction and a listener (the fixture of all tests looks)."""

    with (served_directory / "file").open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    clients: list[Client] = []
    datas: list[Data] = []
    store = await anyio.to_thread.run_sync(DiskStore, served_directory)
    settings = Settings(accounts=PasswordTable(anonymous=True), writable=True)
    async with anyio.create_task_group() as tasks:
        host, port = await tasks.start(Server(store, settings).run, "127.0.0.1", 0)
        for line in ("RETR file", "STOR new", "NOOP"):
            clients.append(Client(*await asyncio.open_connection(host, port), host))
            assert await clients[-1].codes(1) == [220]
            await clients[-1].login("ftp")
            assert await clients[-1].code("TYPE I") == 200
            datas.append(await clients[-1].slow_passive())
            assert await clients[-1].code(line) in (125, 200)
        tasks.cancel_scope.cancel()
    store.close()
    for client in clients:
        await client.close()
    for data in datas:
        await data.close()
    assert names(served_directory) == ["file"]


async def test_control_connection_waits_for_no_more_data(served_directory: Path) -> None:
    """TCP_NODELAY and SO_OOBINLINE are set on control connections."""

    async with serving(served_directory) as server, server.connected():
        (session,) = server.server._sessions
        sock = session._sock
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)


@pytest.mark.parametrize(
    "number", [errno.EMFILE, errno.ECONNABORTED, errno.EPERM, errno.EHOSTUNREACH]
)
async def test_accept_that_fails_is_tried_again(
    number: int, served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails without descriptors, or if the client has left already."""

    monkeypatch.setattr("examples.server.server.ACCEPT_RETRY", 0.01)
    failures = [number] * 3
    accept = socket.socket.accept

    def failing(self: socket.socket) -> Any:
        if failures:
            raise OSError(failures.pop(), "no")
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", failing)
    async with serving(served_directory) as server, server.connected() as client:
        assert await client.code("NOOP") == 200
    assert not failures


async def test_a_listener_that_cannot_be_watched_is_tried_again(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system may have no watch left for a moment (epoll_ctl(2))."""

    monkeypatch.setattr("examples.server.server.ACCEPT_RETRY", 0.01)
    failures = [errno.ENOSPC, errno.ENOMEM]
    wait_readable = anyio.wait_readable

    async def failing(sock: socket.socket) -> None:
        if failures:
            raise OSError(failures.pop(), "no")
        await wait_readable(sock)

    monkeypatch.setattr(anyio, "wait_readable", failing)
    async with serving(served_directory) as server, server.connected() as client:
        assert await client.code("NOOP") == 200
    assert not failures


async def test_what_cannot_be_closed_ends_that_session_only(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its control connection is closed in any case, and the next client is served."""

    async def fail(_: DataChannel) -> None:
        raise OSError(errno.EIO, "input/output error")

    async with serving(served_directory) as server:
        with monkeypatch.context() as patch:
            patch.setattr(DataChannel, "close_all", fail)
            async with server.connected() as client:
                (session,) = server.server._sessions
                assert await client.code("QUIT") == 221
                assert await client.is_closed()
                await server.all_left()
        assert session._control._transport is None
        async with server.connected() as another:
            assert await another.code("NOOP") == 200
    assert "the session failed" in caplog.text


async def test_bug_in_one_session_ends_no_other(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The bug is logged with its traceback; other sessions go on, and new ones begin."""

    async def fail(self: Session) -> None:
        raise ZeroDivisionError

    async with serving(served_directory) as server, server.connected() as client:
        with monkeypatch.context() as patch:
            patch.setattr(Session, "_serve", fail)
            reader, writer = await asyncio.open_connection(server.host, server.port)
            assert await reader.read() == b""
            writer.close()
        assert await client.code("NOOP") == 200
        async with server.connected() as another:
            assert await another.code("NOOP") == 200
    assert [record.exc_info is not None for record in caplog.records if record.levelno > 30] == [
        True
    ]


async def test_slow_disk_does_not_hold_up_other_clients(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While every thread of the store hangs, replies come all the same."""

    release = threading.Event()
    monkeypatch.setattr(DiskStore, "_status", lambda *_: release.wait(PATIENCE))
    async with serving(served_directory) as server, server.logged_in() as slow:
        slow.send("CWD x")
        async with server.logged_in() as client:
            assert await client.code("PWD") == 257
            assert await client.code("EPSV") == 229
        release.set()
        await slow.reply()


@pytest.mark.blocking_allowed("the store of the test is opened where it cannot be lost")
async def test_a_server_can_be_cancelled_anywhere_in_a_session(tmp_path: Path) -> None:
    """No connection is lost, not even one that has just been accepted."""

    (tmp_path / "file").write_bytes(b"x" * 100_000)

    async def scenario() -> None:
        settings = Settings(accounts=PasswordTable([("ann", "secret")]), grace=0.2)
        with contextlib.closing(DiskStore(tmp_path)) as store:
            server = Server(store, settings)
            async with anyio.create_task_group() as tasks:
                host, port = await tasks.start(server.run, "127.0.0.1", 0)
                async with Serving(server, host, port).connected() as client:
                    await client.login()
                    data = await client.passive()
                    try:
                        client.send("RETR file")
                        assert len(await data.read()) == 100_000
                        assert await client.codes(2) in ([125, 226], [150, 226])
                    finally:
                        await data.close()
                server.stop()

    assert await sweep(scenario, patience=60.0) > 10
