"""What an observer is told: every start and every end, exactly once, with the result."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ftpdata import (
    AcceptedEndpoint,
    Deadlines,
    FTPDataError,
    HostPort,
    ListenerPool,
    ListingBlock,
    PassiveListener,
    PortRange,
    ReusableConnection,
    TransferParameters,
    TransferResult,
    TransmissionMode,
    connect_active,
    listen_passive,
    receive_file,
    receive_stream,
    relay,
    send_file,
    send_listing,
    send_stream,
)
from ftpdata.errors import BadArgument, OpenTimeout, PeerRejected, PortsExhausted
from ftpdata.observers import Observer, Subject
from ftpdata.outcome import Direction, End
from ftpdata.testing import reset, tcp_pair
from tests.harness.connections import peer_task, receive_all, send_all
from tests.harness.leaks import collect
from tests.harness.waiting import until
from tests.observers.recorder import Recorder, Stubborn

SMALL = b"small\n" * 100
LARGE = bytes(range(256)) * 8192
SUBJECT = Subject(command="RETR", name="/pub/file", user="ann")


@contextlib.asynccontextmanager
async def accepted(
    observer: Observer | None, **buffers: Any
) -> AsyncIterator[tuple[AcceptedEndpoint, socket.socket]]:
    """Yield an endpoint that has its connection, and the peer's socket."""

    ours, peer = await tcp_pair(**buffers)
    try:
        async with AcceptedEndpoint(ours, observer=observer) as endpoint:
            endpoint.subject = SUBJECT
            yield endpoint, peer
    finally:
        peer.close()


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    """Yield data in pieces."""

    for start in range(0, len(data), 65536):
        yield data[start : start + 65536]


async def consume(stream: Any) -> TransferResult:
    """Read a stream to its end; return its result."""

    async for _ in stream:
        pass
    result: TransferResult = stream.result
    return result


def sending(data: bytes, file: Path) -> dict[str, Callable[[Any], Awaitable[TransferResult]]]:
    """All ways to send these bytes."""

    file.write_bytes(data)
    return {
        "file": lambda to: send_file(to, file),
        "digest": lambda to: send_file(to, file, digest="sha256"),
        "listing": lambda to: send_listing(to, ListingBlock(data)),
        "stream": lambda to: send_stream(to, pieces(data)),
    }


def receiving(file: Path) -> dict[str, Callable[[Any], Awaitable[TransferResult]]]:
    """All ways to receive."""

    return {
        "file": lambda of: receive_file(of, file),
        "digest": lambda of: receive_file(of, file, digest="sha256"),
        "stream": lambda of: consume(receive_stream(of)),
    }


SENDING = ["file", "digest", "listing", "stream"]
RECEIVING = ["file", "digest", "stream"]


def check_one(recorder: Recorder, result: TransferResult, direction: Direction) -> None:
    """Check that one transfer was told of, and is over."""

    told = [event for event in recorder.events if event != "progressed"]
    assert told == ["started", "ended"]
    assert recorder.results == [result]
    (transfer,) = recorder.transfers
    assert (transfer.direction, transfer.subject) == (direction, SUBJECT)
    assert transfer.file_bytes == result.file_bytes
    assert (None if transfer.peer is None else str(transfer.peer)) == result.peer


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("way", SENDING)
async def test_a_download_is_reported(way: str, data: bytes, tmp_path: Path) -> None:
    """Each way to send tells the start, and the end with the result that it returns."""

    recorder = Recorder()
    async with accepted(recorder) as (endpoint, peer), peer_task(receive_all(peer)) as received:
        result = await sending(data, tmp_path / "file")[way](endpoint)
        assert await received == data
    check_one(recorder, result, Direction.SENT)
    assert recorder.errors == [None]


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("way", RECEIVING)
async def test_an_upload_is_reported(way: str, data: bytes, tmp_path: Path) -> None:
    """So does each way to receive."""

    recorder = Recorder()
    async with accepted(recorder) as (endpoint, peer), peer_task(send_all(peer, data)):
        result = await receiving(tmp_path / "file")[way](endpoint)
    check_one(recorder, result, Direction.RECEIVED)
    assert recorder.errors == [None]
    assert result.file_bytes == len(data)


@pytest.mark.parametrize("opens_itself", [False, True])
@pytest.mark.parametrize("way", SENDING)
async def test_a_download_that_is_cut_is_reported(
    way: str, opens_itself: bool, tmp_path: Path
) -> None:
    """The end comes with the error that is raised, whoever opens the connection."""

    recorder = Recorder()
    async with accepted(recorder, send_buffer=4096, receive_buffer=4096) as (endpoint, peer):
        connection = endpoint if opens_itself else await endpoint.open(keep=True)
        work = asyncio.ensure_future(sending(LARGE, tmp_path / "file")[way](connection))
        await asyncio.get_running_loop().sock_recv(peer, 100)
        reset(peer)
        with pytest.raises(FTPDataError) as caught:
            await work
    assert caught.value.result is not None
    check_one(recorder, caught.value.result, Direction.SENT)
    assert recorder.errors == [caught.value]
    assert recorder.results[0].end is End.RESET


@pytest.mark.parametrize("way", RECEIVING)
async def test_an_upload_that_is_cut_is_reported(way: str, tmp_path: Path) -> None:
    """The end comes with the error that is raised."""

    recorder = Recorder()
    async with accepted(recorder) as (endpoint, peer):
        work = asyncio.ensure_future(receiving(tmp_path / "file")[way](endpoint))
        await asyncio.get_running_loop().sock_sendall(peer, SMALL)
        reset(peer)
        with pytest.raises(FTPDataError) as caught:
            await work
    assert caught.value.result is not None
    check_one(recorder, caught.value.result, Direction.RECEIVED)
    assert recorder.results[0].end is End.RESET


@pytest.mark.parametrize("turns", range(12))
@pytest.mark.parametrize("way", SENDING)
async def test_a_download_that_is_cancelled_is_reported(
    way: str, turns: int, tmp_path: Path
) -> None:
    """A cancellation at any turn of the loop is an end, too."""

    recorder = Recorder()
    async with accepted(recorder, send_buffer=4096, receive_buffer=4096) as (endpoint, _):
        work = asyncio.ensure_future(sending(LARGE, tmp_path / "file")[way](endpoint))
        for _ in range(turns):
            await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
    if recorder.events:
        assert [event for event in recorder.events if event != "progressed"] == ["started", "ended"]
        assert recorder.results[0].end is End.CANCELLED
        assert isinstance(recorder.errors[0], asyncio.CancelledError)
    else:
        # It was cancelled before it began to run.
        assert turns == 0


@pytest.mark.parametrize("way", RECEIVING)
async def test_an_upload_that_is_cancelled_is_reported_with_its_bytes(
    way: str, tmp_path: Path
) -> None:
    """The result counts what had come by then."""

    recorder = Recorder()
    async with accepted(recorder) as (endpoint, peer):
        work = asyncio.ensure_future(receiving(tmp_path / "file")[way](endpoint))
        await asyncio.get_running_loop().sock_sendall(peer, SMALL)
        await until(lambda: bool(recorder.transfers and recorder.transfers[0].file_bytes))
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
    assert recorder.results[0].end is End.CANCELLED
    assert recorder.results[0].bytes == recorder.results[0].file_bytes == len(SMALL)


async def test_a_stream_that_is_left_is_reported() -> None:
    """Who leaves the loop early aborts the transfer."""

    recorder = Recorder()
    async with (
        accepted(recorder) as (endpoint, peer),
        peer_task(send_all(peer, LARGE)),
        receive_stream(endpoint) as stream,
    ):
        async for _ in stream:
            break
    assert stream.result is not None
    check_one(recorder, stream.result, Direction.RECEIVED)
    assert stream.result.end is End.ABORTED


def forget(kept: list[Any]) -> None:
    """Let nobody refer to what is in a list."""

    kept.clear()
    collect()


async def test_a_stream_that_is_forgotten_is_reported() -> None:
    """The connection is reset, and a warning says that nobody has closed the stream."""

    recorder = Recorder()
    async with (
        accepted(recorder) as (endpoint, peer),
        # More than buffers of the system hold.
        peer_task(send_all(peer, LARGE * 32)) as sent,
    ):
        kept = [receive_stream(endpoint)]
        assert await anext(kept[0])
        with pytest.warns(ResourceWarning, match="unclosed stream"):
            forget(kept)
        check_one(recorder, recorder.results[0], Direction.RECEIVED)
        with pytest.raises(ConnectionError):
            await sent
    assert recorder.results[0].end is End.ABORTED
    assert recorder.results[0].file_bytes > 0


async def test_a_stream_that_is_forgotten_in_another_thread_is_reported() -> None:
    """The garbage collector runs in any."""

    recorder = Recorder()
    async with accepted(recorder) as (endpoint, peer), peer_task(send_all(peer, LARGE)):
        kept: list[Any] = [receive_stream(endpoint)]
        assert await anext(kept[0])
        with pytest.warns(ResourceWarning, match="unclosed stream"):
            await asyncio.to_thread(forget, kept)
        await until(lambda: bool(recorder.results))
    assert recorder.results[0].end is End.ABORTED


async def test_a_stream_that_was_never_asked_is_no_transfer() -> None:
    """Nothing is told of it, and nobody is warned."""

    recorder = Recorder()
    async with accepted(recorder) as (endpoint, _):
        receive_stream(endpoint)
        collect()
    assert recorder.events == []


async def test_a_relay_is_reported_to_the_observer_of_either_side() -> None:
    """A relay is one transfer, for one observer."""

    for has_source, has_destination in [(True, False), (False, True), (True, True)]:
        source, destination = Recorder(), Recorder()
        async with (
            accepted(source if has_source else None) as (incoming, sender),
            accepted(destination if has_destination else None) as (outgoing, receiver),
            peer_task(send_all(sender, LARGE)),
            peer_task(receive_all(receiver)) as received,
        ):
            result = await relay(incoming, outgoing)
            assert await received == LARGE
        told = destination if has_destination else source
        check_one(told, result, Direction.SENT)
        if has_destination:
            assert source.events == []


async def test_each_file_over_one_connection_is_reported(tmp_path: Path) -> None:
    """Every file is a transfer with a number of its own."""

    recorder, file = Recorder(), tmp_path / "file"
    file.write_bytes(SMALL)
    block = TransferParameters(mode=TransmissionMode.BLOCK)
    async with (
        accepted(recorder) as (endpoint, peer),
        peer_task(receive_all(peer)),
        ReusableConnection(await endpoint.open()) as connection,
    ):
        first = await send_file(connection, file, parameters=block)
        second = await send_file(connection, file, parameters=block)
    assert recorder.events.count("started") == 2
    assert recorder.results == [first, second]
    assert recorder.transfers[0].number < recorder.transfers[1].number


async def test_progress_is_reported_at_most_ten_times_a_second(tmp_path: Path) -> None:
    """Progress comes at most ten times a second."""

    recorder, file = Recorder(), tmp_path / "file"
    file.write_bytes(LARGE)
    async with accepted(recorder) as (endpoint, peer), peer_task(receive_all(peer)):
        result = await send_file(endpoint, file, digest="crc32")
    told = recorder.events.count("progressed")
    # One at once, the last one, and ten a second between them.
    assert 1 <= told <= 2 + 10 * (result.seconds + 1)


async def test_a_transfer_that_is_refused_at_its_call_is_reported(tmp_path: Path) -> None:
    """Arguments that a client may have chosen end a transfer."""

    recorder = Recorder()
    async with accepted(recorder) as (endpoint, _):
        with pytest.raises(BadArgument) as caught:
            await receive_file(endpoint, tmp_path / "file", offset=1, append=True)
    assert recorder.events == ["started", "ended"]
    assert recorder.errors == [caught.value]
    assert recorder.results == [caught.value.result]


async def test_a_file_that_is_not_there_is_reported(tmp_path: Path) -> None:
    """The transfer knows the path that it was given."""

    recorder = Recorder()
    async with accepted(recorder) as (endpoint, _):
        with pytest.raises(FTPDataError) as caught:
            await send_file(endpoint, tmp_path / "nothing")
    assert recorder.events == ["started", "ended"]
    assert recorder.results == [caught.value.result]
    assert recorder.transfers[0].path == str(tmp_path / "nothing")


async def test_a_passive_endpoint_is_reported_from_listening_to_its_connection(
    tmp_path: Path,
) -> None:
    """An endpoint is released as soon as its connection has come."""

    recorder, file = Recorder(), tmp_path / "file"
    file.write_bytes(SMALL)
    endpoint = await listen_passive("127.0.0.1", control_peer="127.0.0.1", observer=recorder)
    async with endpoint:
        assert (recorder.events, recorder.about) == (["listening"], [endpoint.address])
        client = connect_active(endpoint.address, control_peer="127.0.0.1")
        result, _ = await asyncio.gather(
            send_file(endpoint, file), consume(receive_stream(client))
        )
    assert result.end is End.CLEAN
    assert recorder.events == ["listening", "started", "released", "ended"]
    assert recorder.about == [endpoint.address] * 2


async def test_an_endpoint_to_which_nobody_comes_is_released_once(tmp_path: Path) -> None:
    """A deadline releases it, and closing it afterwards tells nothing more."""

    recorder = Recorder()
    endpoint = await listen_passive(
        "127.0.0.1", control_peer="127.0.0.1", deadlines=Deadlines(open=0.01), observer=recorder
    )
    (tmp_path / "file").touch()
    with pytest.raises(OpenTimeout) as caught:
        await send_file(endpoint, tmp_path / "file")
    await endpoint.aclose()
    assert recorder.events == ["listening", "started", "released", "ended"]
    assert recorder.results == [caught.value.result]
    assert recorder.results[0].end is End.ACCEPT_TIMEOUT


@pytest.mark.filterwarnings("ignore:unclosed endpoint:ResourceWarning")
async def test_an_endpoint_that_is_forgotten_is_released() -> None:
    """The garbage collector releases it."""

    recorder = Recorder()
    await listen_passive("127.0.0.1", control_peer="127.0.0.1", observer=recorder)
    collect()
    assert recorder.events == ["listening", "released"]


@pytest.mark.parametrize("kind", ["single", "session", "pool"])
async def test_strangers_are_reported(kind: str) -> None:
    """Every kind of listener tells who was refused, where, and why."""

    recorder = Recorder()
    async with contextlib.AsyncExitStack() as stack:
        if kind == "single":
            endpoint: Any = await listen_passive(
                "127.0.0.1", control_peer="127.0.0.1", observer=recorder
            )
        elif kind == "session":
            listener = PassiveListener("127.0.0.1", control_peer="127.0.0.1", observer=recorder)
            stack.callback(listener.close)
            endpoint = listener.reserve()
        else:
            pool = await stack.enter_async_context(
                ListenerPool("127.0.0.1", PortRange(40100, 40140), observer=recorder)
            )
            endpoint = pool.reserve(control_peer="127.0.0.1")
        await stack.enter_async_context(endpoint)
        with socket.socket() as stranger:
            stranger.bind(("127.0.0.77", 0))
            stranger.connect((endpoint.address.host, endpoint.address.port))
            async with asyncio.timeout(60):
                while "stranger" not in recorder.events:
                    assert not endpoint.is_ready
                    await asyncio.sleep(0)
    assert recorder.events == ["listening", "stranger", "released"]
    address, host, reason = recorder.about[1]
    assert (address, host) == (endpoint.address, "127.0.0.77")
    assert reason


async def test_what_cannot_be_made_is_reported() -> None:
    """A refusal comes with the error that is raised."""

    recorder = Recorder()
    with pytest.raises(PeerRejected) as rejected:
        connect_active(
            HostPort("192.0.2.1", 2000), control_peer="127.0.0.1", observer=recorder
        )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(PortsExhausted) as exhausted:
            await listen_passive(
                "127.0.0.1",
                control_peer="127.0.0.1",
                ports=PortRange(port, port),
                observer=recorder,
            )
    assert recorder.events == ["refused", "refused"]
    assert recorder.about == [rejected.value, exhausted.value]


async def test_an_observer_that_fails_changes_nothing_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The transfer is complete, and the log has the first failure."""

    observer, file = Stubborn(), tmp_path / "file"
    file.write_bytes(LARGE)
    endpoint = await listen_passive("127.0.0.1", control_peer="127.0.0.1", observer=observer)
    async with endpoint:
        client = connect_active(endpoint.address, control_peer="127.0.0.1")
        result, received = await asyncio.gather(
            send_file(endpoint, file, digest="crc32"), consume(receive_stream(client))
        )
    assert result.end is received.end is End.CLEAN
    assert received.file_bytes == len(LARGE)
    (record,) = [each for each in caplog.records if each.name == "ftpdata.observers"]
    assert record.getMessage() == (
        "Stubborn has failed in listening; its later failures are not logged"
    )
    assert record.exc_info is not None
