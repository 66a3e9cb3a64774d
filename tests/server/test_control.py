"""The control connection: lines, replies, and its end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from examples.server.control import READ_SIZE, ControlConnection
from examples.server.reply import Reply
from ftpdata.testing import reset


class _Watched:
    """A control connection on loopback, the client's socket, and what the connection reported."""

    def __init__(self, **options: Any) -> None:
        self.seen: list[str | None] = []
        self.ends = 0
        self.control = ControlConnection(
            **{
                "line_limit": 100,
                "max_waiting": 10,
                "send_timeout": 1.0,
                "watch": self._watch,
                "on_end": self._ended,
                **options,
            }
        )

    def _watch(self, line: str | None) -> bool:
        self.seen.append(line)
        return line == "NOW"

    def _ended(self) -> None:
        self.ends += 1

    async def line(self) -> str | None:
        """Wait for a line, and take it."""

        while not self.control.has_line:
            assert not self.control.has_ended
            await self.control.wait(60)
        return self.control.take_line()


@asynccontextmanager
async def _connected(**options: Any) -> AsyncIterator[tuple[_Watched, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        sock, _ = listener.accept()
    sock.setblocking(False)
    client.setblocking(False)
    watched = _Watched(**options)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: watched.control, sock)
    with client:
        yield watched, client
        await watched.control.aclose()


async def test_client_that_takes_no_replies_is_cut_off() -> None:
    """Its full buffers delay nothing for longer than the timeout."""

    async with _connected(send_timeout=0.05) as (watched, _):
        reply = Reply(200, "x" * 1_000_000)
        async with asyncio.timeout(60):
            while not watched.control.is_lost:
                await watched.control.send_all(reply.encode())
            await watched.control.send_all(reply.encode())
        assert watched.ends == 1


async def test_a_reply_that_is_held_goes_out_with_the_next_one() -> None:
    """They go out in one piece and in order, whoever sends the next one."""

    async with _connected() as (watched, client):
        written: list[bytes] = []
        transport = watched.control._transport
        assert transport is not None
        watched.control._transport = Recording(transport, written)  # type: ignore[assignment]
        watched.control.hold(Reply(150, "Here it comes."))
        watched.control.write(b"200 In the middle.\r\n")
        await watched.control.send_all(Reply(226, "Done.").encode())
        await asyncio.sleep(0)
        assert written == [b"150 Here it comes.\r\n200 In the middle.\r\n", b"226 Done.\r\n"]
        watched.control._transport = transport
        assert client.recv(100).startswith(b"150 Here")


async def test_a_reply_that_is_held_does_not_wait_for_another() -> None:
    """All held replies go out together on the loop's next turn, and none is lost at the end."""

    loop = asyncio.get_running_loop()
    async with _connected() as (watched, client):
        watched.control.hold(Reply(150, "One."))
        watched.control.hold(Reply(150, "Two."))
        assert await loop.sock_recv(client, 100) == b"150 One.\r\n150 Two.\r\n"
        watched.control.hold(Reply(150, "Three."))
        assert await loop.sock_recv(client, 100) == b"150 Three.\r\n"
        watched.control.hold(Reply(221, "Bye."))
        client.shutdown(socket.SHUT_WR)
        await watched.control.aclose()
        assert await loop.sock_recv(client, 100) == b"221 Bye.\r\n"


class Recording:
    """Stands for a transport, and notes what is written to it."""

    def __init__(self, transport: asyncio.Transport, written: list[bytes]) -> None:
        self._transport = transport
        self._written = written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Note it, and hand it on."""

        self._written.append(data)
        self._transport.write(data)


async def test_a_client_that_says_nothing_costs_no_buffers() -> None:
    """What is read into is let go with each read; what TLS needs is made for TLS."""

    async with _connected() as (watched, client):
        client.send(b"NOOP\r\n")
        assert await watched.line() == "NOOP"
        control = watched.control
        assert control._buffer is None
        assert control._tls is None


@pytest.mark.parametrize("reset", [False, True])
async def test_lines_end_with_the_connection(reset: bool) -> None:
    """A clean end and a reset are each reported once; only the reset is a loss."""

    async with _connected() as (watched, client):
        client.send(b"NOOP\r\nhalf")
        assert await watched.line() == "NOOP"
        assert not watched.control.has_line
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        while not watched.control.has_ended:
            await watched.control.wait(60)
        assert watched.control.is_lost is reset
        assert watched.ends == 1


async def test_lines_are_watched_as_they_come() -> None:
    """What the watcher has dealt with does not wait; everything else does, in order."""

    async with _connected() as (watched, client):
        client.send(b"A\r\nNOW\r\nB\r\nhalf")
        assert await watched.line() == "A"
        assert watched.seen == ["A", "NOW", "B"]
        assert watched.control.has_more
        assert watched.control.take_line() == "B"
        assert watched.control.has_more


async def test_no_more_is_read_than_may_wait() -> None:
    """A flood stays in the system's buffers until the lines before it are taken."""

    flood = b"NOOP\r\n" * 20_000
    async with _connected(max_waiting=5) as (watched, client):
        loop = asyncio.get_running_loop()
        sending = asyncio.create_task(loop.sock_sendall(client, flood))
        async with asyncio.timeout(60):
            for _ in range(20_000):
                assert await watched.line() == "NOOP"
                assert len(watched.seen) <= 20_000
                assert len(watched.control._waiting) <= 5 + READ_SIZE
            await sending


async def test_silence_has_an_end() -> None:
    """Each wait has its own limit, even though one timer serves many waits."""

    async with _connected() as (watched, client):
        client.send(b"A\r\n")
        await watched.control.wait(100)
        assert watched.control.take_line() == "A"
        for timeout in (0.02, 0.04):
            with pytest.raises(TimeoutError):
                await watched.control.wait(timeout)
        asyncio.get_running_loop().call_soon(watched.control.wake)
        await watched.control.wait(100)


async def test_a_client_with_more_to_say_reads_the_last_reply() -> None:
    """Closing while it sends would reset the connection, and the reply would be lost."""

    loop = asyncio.get_running_loop()
    async with _connected(max_waiting=5) as (watched, client):
        sending = asyncio.create_task(loop.sock_sendall(client, b"NOOP\r\n" * 1_000_000))
        await watched.line()
        watched.control.write(b"421 Enough.\r\n")
        closing = asyncio.create_task(watched.control.aclose())
        async with asyncio.timeout(60):
            await sending
            assert await loop.sock_recv(client, 100) == b"421 Enough.\r\n"
            assert await loop.sock_recv(client, 100) == b""
            client.shutdown(socket.SHUT_WR)
            await closing
        assert len(watched.seen) < 10_000


async def test_a_client_that_never_stops_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a limited time to read the last reply."""

    monkeypatch.setattr("examples.server.control.GOODBYE", 0.05)
    loop = asyncio.get_running_loop()

    async def flood(client: socket.socket) -> None:
        while True:
            await loop.sock_sendall(client, b"NOOP\r\n" * 1000)

    async with _connected(max_waiting=5) as (watched, client):
        flooding = asyncio.create_task(flood(client))
        await watched.line()
        async with asyncio.timeout(60):
            await watched.control.aclose()
            with pytest.raises(ConnectionError):
                await flooding


async def test_a_client_that_resets_after_the_last_reply_is_not_an_error() -> None:
    """The connection is lost before anybody has noticed."""

    async with _connected(max_waiting=5) as (watched, client):
        flooding = asyncio.get_running_loop().sock_sendall(client, b"NOOP\r\n" * 1_000_000)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(flooding, 0.05)
        await watched.line()
        watched.control.write(b"421 Enough.\r\n")
        reset(client)
        await watched.control.aclose()
