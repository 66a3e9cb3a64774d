"""A transfer opens what it is given; if that fails, it ends at once, with its result."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ftpdata.deadlines import Deadlines
from ftpdata.errors import (
    DataConnectionError,
    FileUnavailable,
    FTPDataError,
    OpenTimeout,
    SizeMismatch,
)
from ftpdata.files import directory_reader, list_directory
from ftpdata.listing import NlstFormatter
from ftpdata.opening.endpoint import AcceptedEndpoint
from ftpdata.opening.passive import PassiveEndpoint, listen_passive
from ftpdata.outcome import Direction, End
from ftpdata.parameters import TransferParameters
from ftpdata.testing import tcp_pair
from ftpdata.testing.cancellation import open_descriptors
from ftpdata.transfers import (
    receive_file,
    receive_stream,
    relay,
    send_file,
    send_listing,
    send_stream,
)
from tests.harness.connections import peer_task, receive_all, send_all
from tests.harness.outcomes import failed
from tests.harness.proxies import connect_from
from tests.harness.seams import Hang, Seams
from tests.harness.waiting import until

NEVER = Deadlines(open=3600.0)
SOON = Deadlines(open=0.01)


async def waiting(deadlines: Deadlines = NEVER) -> PassiveEndpoint:
    """Return an endpoint to which nobody connects."""

    return await listen_passive("127.0.0.1", control_peer="127.0.0.1", deadlines=deadlines)


@pytest.mark.parametrize("kind", ["I", "A"])
async def test_a_file_that_is_not_there_waits_for_nobody(kind: str, tmp_path: Path) -> None:
    """The transfer fails with 550 at once, although no peer ever connects."""

    endpoint = await waiting()
    parameters = TransferParameters().with_type(kind)
    result = await failed(
        send_file(endpoint, tmp_path / "missing", parameters=parameters),
        FileUnavailable,
        End.PRODUCER_FAILED,
    )
    assert (result.direction, result.reply_code, result.bytes) == (Direction.SENT, 550, 0)
    assert not endpoint.is_open


async def test_a_file_of_another_size_than_promised_waits_for_nobody(tmp_path: Path) -> None:
    """What was promised to the peer cannot be sent, and nothing of the file stays open."""

    path = tmp_path / "file"
    path.write_bytes(b"content")
    result = await failed(
        send_file(await waiting(), path, expected_size=8), SizeMismatch, End.SIZE_MISMATCH
    )
    assert (result.direction, result.reply_code, result.bytes) == (Direction.SENT, 451, 0)


async def test_a_file_that_may_not_be_written_waits_for_nobody(tmp_path: Path) -> None:
    """An upload whose target cannot be opened does not wait, either."""

    result = await failed(
        receive_file(await waiting(), tmp_path / "no directory" / "new"),
        FileUnavailable,
        End.CONSUMER_FAILED,
    )
    assert (result.direction, result.reply_code) == (Direction.RECEIVED, 550)


async def test_a_directory_that_is_not_there_waits_for_nobody(tmp_path: Path) -> None:
    """A listing whose directory cannot be opened does not wait, either."""

    endpoint = await waiting()
    result = await failed(
        send_listing(endpoint, list_directory(tmp_path / "missing", NlstFormatter())),
        FileUnavailable,
        End.PRODUCER_FAILED,
    )
    assert (result.direction, result.reply_code, result.bytes) == (Direction.SENT, 550, 0)
    assert not endpoint.is_open


@pytest.mark.parametrize("kind", ["A", "E"])
@pytest.mark.parametrize("first", ["directory", "peer"])
async def test_a_directory_is_opened_while_its_peer_connects(
    first: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either may be there first; the directory is opened once."""

    (tmp_path / "name").touch()
    opening = Hang(Seams(monkeypatch, directory_reader), "scandir")
    endpoint = await waiting()
    lines = list_directory(tmp_path, NlstFormatter())
    sending = asyncio.ensure_future(
        send_listing(endpoint, lines, parameters=TransferParameters().with_type(kind))
    )
    await opening.entered()
    if first == "directory":
        opening.go_on()
        await until(lambda: lines._lister is not None)  # type: ignore[attr-defined]
    with await connect_from("127.0.0.1", endpoint.address) as peer:
        if first == "peer":
            await until(lambda: endpoint.dtp is not None)
            opening.go_on()
        data, _ = await asyncio.gather(receive_all(peer), sending)
    assert data == (b"name\r\n" if kind == "A" else "name".encode("cp037") + b"\x15")


@pytest.mark.parametrize("is_open", [False, True])
async def test_a_directory_is_closed_if_nobody_comes(
    is_open: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds whether it is open by then or is still being opened."""

    before = open_descriptors()
    opening = Hang(Seams(monkeypatch, directory_reader), "scandir")
    endpoint = await waiting()
    lines = list_directory(tmp_path, NlstFormatter())
    sending = asyncio.ensure_future(send_listing(endpoint, lines))
    await opening.entered()
    if is_open:
        opening.go_on()
        await until(lambda: lines._lister is not None)  # type: ignore[attr-defined]
    endpoint.abort()
    opening.go_on()
    await failed(sending, DataConnectionError, End.ABORTED)
    assert open_descriptors() == before


async def test_a_peer_that_has_come_is_reset_where_the_file_is_bad(tmp_path: Path) -> None:
    """The peer must not take an end of file for an empty file."""

    accepted, peer = await tcp_pair()
    with peer:
        await failed(
            send_file(AcceptedEndpoint(accepted), tmp_path / "missing"),
            FileUnavailable,
            End.PRODUCER_FAILED,
        )
        with pytest.raises(ConnectionResetError):
            await receive_all(peer)


async def test_a_generator_is_closed_where_the_connection_does_not_open() -> None:
    """The generator is closed whether it has begun or not."""

    closed: list[str] = []

    async def chunks(name: str) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            closed.append(name)

    for begun in (True, False):
        for send in (send_stream, send_listing):
            generator: Any = chunks(send.__name__)
            if begun:
                await anext(generator)
            await failed(
                send(await waiting(SOON), generator),
                OpenTimeout,
                End.ACCEPT_TIMEOUT,
            )
            with pytest.raises(StopAsyncIteration):
                await anext(generator)

    assert closed == ["send_stream", "send_listing"]


async def test_a_generator_that_raises_when_it_is_closed_conceals_nothing() -> None:
    """The error says why the connection did not open; the generator's exception becomes a note."""

    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            raise RuntimeError("it had something to say")

    generator: Any = chunks()
    await anext(generator)
    with pytest.raises(OpenTimeout) as caught:
        await send_stream(await waiting(SOON), generator)
    assert "it had something to say" in caught.value.__notes__[0]


async def _relay_once() -> None:
    await relay(await waiting(SOON), await waiting())


async def _receive_once() -> None:
    async with receive_stream(await waiting(SOON)) as stream:
        async for _ in stream:
            pass


@pytest.mark.parametrize("transfer", [_relay_once, _receive_once])
async def test_what_does_not_open_is_logged_once(
    transfer: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    """The other endpoint of a relay is given up as a consequence, and logs no error of its own."""

    with caplog.at_level(logging.DEBUG, "ftpdata.transfers"), pytest.raises(OpenTimeout):
        await transfer()
    (record,) = caplog.records
    assert "0.01 s" in record.getMessage()


async def test_a_stream_opens_its_endpoint() -> None:
    """The endpoint opens when the first piece is asked for."""

    accepted, peer = await tcp_pair()
    async with (
        peer_task(send_all(peer, b"some data")),
        receive_stream(AcceptedEndpoint(accepted)) as stream,
    ):
        received = b"".join([data async for data in stream])

    assert received == b"some data"
    assert stream.result is not None
    assert (stream.result.end, stream.result.bytes) == (End.CLEAN, 9)


async def test_a_stream_whose_endpoint_does_not_open() -> None:
    """The loop raises the error each time, and the stream has its result."""

    stream = receive_stream(await waiting(SOON))
    await failed(anext(stream), OpenTimeout, End.ACCEPT_TIMEOUT)
    await failed(anext(stream), OpenTimeout, End.ACCEPT_TIMEOUT)
    await stream.aclose()
    assert stream.result is not None
    assert (stream.result.end, stream.result.direction) == (End.ACCEPT_TIMEOUT, Direction.RECEIVED)


async def test_a_stream_that_is_left_before_it_begins() -> None:
    """Its endpoint is given up, and its peer is reset."""

    accepted, peer = await tcp_pair()
    with peer:
        async with receive_stream(AcceptedEndpoint(accepted)) as stream:
            pass
        with pytest.raises(ConnectionResetError):
            await receive_all(peer)
    assert stream.result is not None
    assert stream.result.end is End.ABORTED


async def test_a_relay_opens_both_endpoints() -> None:
    """Both endpoints open at the same time, whichever peer comes first."""

    source, destination = await waiting(), await waiting()
    relaying = asyncio.ensure_future(relay(source, destination))
    loop = asyncio.get_running_loop()
    with socket.socket() as getting, socket.socket() as sending:
        for sock, endpoint in ((getting, destination), (sending, source)):
            sock.setblocking(False)
            await loop.sock_connect(sock, (endpoint.address.host, endpoint.address.port))
        await send_all(sending, b"to be sent on")
        assert await receive_all(getting) == b"to be sent on"

    result = await relaying
    assert (result.end, result.bytes) == (End.CLEAN, 13)


async def test_a_relay_of_which_one_end_does_not_open() -> None:
    """The other endpoint is given up, and its peer is reset."""

    accepted, peer = await tcp_pair()
    with peer:
        await failed(
            relay(AcceptedEndpoint(accepted), await waiting(SOON)), OpenTimeout, End.ACCEPT_TIMEOUT
        )
        with pytest.raises(ConnectionResetError):
            await receive_all(peer)


async def test_a_relay_that_is_cancelled_while_it_opens() -> None:
    """A cancelled relay leaves no task, no port and no peer."""

    source, destination = await waiting(), await waiting()
    relaying = asyncio.ensure_future(relay(source, destination))
    await asyncio.sleep(0)
    relaying.cancel()
    await asyncio.wait((relaying,))
    assert relaying.cancelled()
    for endpoint in (source, destination):
        with pytest.raises(FTPDataError):
            await endpoint.open()
