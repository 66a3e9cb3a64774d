"""Listeners that are made elsewhere, and given to a server."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from examples.server.accounts import PasswordTable
from examples.server.disk import DiskStore
from examples.server.listening import Listener
from examples.server.server import Server
from examples.server.settings import Settings
from tests.server.client import Serving


@contextlib.asynccontextmanager
async def serving_on(listener: Listener, directory: Path) -> AsyncIterator[Serving]:
    """Run a server on this listener."""

    store = await anyio.to_thread.run_sync(DiskStore, directory)
    server = Server(store, Settings(accounts=PasswordTable(anonymous=True), grace=0.2))
    try:
        async with anyio.create_task_group() as tasks:
            host, port = await tasks.start(lambda **given: server.run(listener=listener, **given))
            yield Serving(server, host, port)
            server.stop()
    finally:
        store.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_socket_that_listens_stays_its_owners(served_directory: Path, host: str) -> None:
    """After a server has ended, the next one takes who has come meanwhile."""

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        for _ in range(2):
            async with serving_on(listener, served_directory) as server:
                assert (server.host, server.port) == listener.getsockname()[:2]
                async with server.connected() as client:
                    assert await client.code("NOOP") == 200
            with socket.create_connection(listener.getsockname()[:2]):
                # It waits, and is not refused.
                pass


async def test_a_listener_of_anyio(served_directory: Path) -> None:
    """It may have several sockets; its first address is printed."""

    async with (
        await anyio.create_tcp_listener(local_port=0) as listener,
        serving_on(listener, served_directory) as server,
    ):
        for address in ("127.0.0.1", "::1"):
            async with await anyio.connect_tcp(address, server.port) as stream:
                assert (await stream.receive()).startswith(b"220")


async def test_two_servers_share_a_listener(served_directory: Path) -> None:
    """As the processes of one host do: the first one takes a client, and none is lost."""

    with socket.create_server(("127.0.0.1", 0)) as listener, listener.dup() as same:
        async with (
            serving_on(listener, served_directory) as one,
            serving_on(same, served_directory) as other,
            contextlib.AsyncExitStack() as stack,
        ):
            for _ in range(20):
                client = await stack.enter_async_context(one.connected())
                assert await client.code("NOOP") == 200
            assert one.server.session_count + other.server.session_count == 20


def _unconnected() -> Any:
    return socket.socket()


def _datagram() -> Any:
    return socket.socket(type=socket.SOCK_DGRAM)


def _unix() -> Any:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind("")
    sock.listen()
    return sock


@pytest.mark.parametrize("make", [_unconnected, _datagram, _unix])
async def test_what_does_not_listen_is_refused(served_directory: Path, make: Any) -> None:
    """The error says what was expected."""

    with make() as sock, pytest.raises(ExceptionGroup) as caught:
        async with serving_on(sock, served_directory):
            raise AssertionError
    [error] = caught.value.exceptions
    assert isinstance(error, ValueError)
    assert "expected a socket that listens for TCP" in str(error)


@pytest.mark.parametrize(
    "arguments", [{}, {"host": "127.0.0.1", "listener": object()}, {"listener": 3}]
)
async def test_an_address_or_a_listener(served_directory: Path, arguments: Any) -> None:
    """One of them, and of the right kind."""

    store = await anyio.to_thread.run_sync(DiskStore, served_directory)
    try:
        with pytest.raises(TypeError, match="expected"):
            await Server(store, Settings()).run(**arguments)
    finally:
        store.close()
