"""What the kernel knows about a connection is reported for TCP, and not made up otherwise."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ftpdata import _kernel as kernel
from ftpdata.connection._delivery import Sight
from ftpdata.testing import MemoryTransport, reset, tcp_pair
from tests.harness.seams import Seams
from tests.harness.waiting import until

if sys.platform == "linux":
    import fcntl
    import termios

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports this")


async def connect(sock: socket.socket) -> asyncio.Transport:
    """Return a transport around a connected socket; it does not read."""

    sock.setblocking(False)
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
        asyncio.Protocol, sock
    )
    transport.pause_reading()
    return transport


def sight_of(transport: asyncio.Transport) -> Sight:
    """Query the kernel about the connection of a transport."""

    return kernel.sight_of(transport.get_extra_info("socket"))


async def close(transport: asyncio.Transport) -> None:
    """Close at once, and let the loop finish it."""

    transport.abort()
    await asyncio.sleep(0)


@linux_only
async def test_acknowledged_bytes_grow() -> None:
    """The bytes that a peer's kernel has taken count, once it has taken them."""
    ours, theirs = await tcp_pair()
    with theirs:
        transport = await connect(ours)
        before = kernel.acknowledged_bytes(transport)
        assert before is not None
        transport.write(b"x" * 1000)
        theirs.setblocking(True)
        assert len(theirs.recv(1000, socket.MSG_WAITALL)) == 1000
        await until(lambda: sight_of(transport).unacknowledged == 0)
        assert kernel.acknowledged_bytes(transport) == before + 1000
        await close(transport)


@linux_only
async def test_unacknowledged_bytes_wait_for_a_peer_that_is_full() -> None:
    """Bytes in flight are reported; an end of file alone is not."""
    ours, theirs = await tcp_pair()
    with theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        transport = await connect(ours)
        transport.write(b"x" * 4_000_000)
        await until(lambda: (sight_of(transport).unacknowledged or 0) > 1)
        await close(transport)

    ours, theirs = await tcp_pair()
    with theirs:
        transport = await connect(ours)
        transport.write_eof()

        def has_ended() -> bool:
            try:
                return theirs.recv(1) == b""
            except BlockingIOError:
                return False

        await until(has_ended)
        await until(lambda: sight_of(transport).unacknowledged == 0)
        await close(transport)


@linux_only
async def test_a_look_takes_nothing_away() -> None:
    """Unread bytes are counted and stay unread, and so does the peer's end of file."""

    ours, theirs = await tcp_pair()
    with theirs:
        theirs.send(b"what for?")
        await until(lambda: kernel.sight_of(ours).unread == 9)
        assert not kernel.sight_of(ours).has_peer_ended
        theirs.shutdown(socket.SHUT_WR)
        await until(lambda: kernel.sight_of(ours).has_peer_ended)
        sight = kernel.sight_of(ours)
        assert (sight.unread, sight.is_gone, sight.error) == (9, False, None)
        assert 0 < sight.round_trip < 1
        assert ours.recv(100) == b"what for?"
        assert kernel.sight_of(ours).unread == 0
        ours.close()


@linux_only
def test_a_look_while_the_last_acknowledgement_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """At whichever call it comes, a connection that was closed cleanly has lost nothing."""

    last_ack, closed = 9, 7
    for moment in range(5):
        calls = 0

        def has_come(moment: int = moment) -> bool:
            nonlocal calls
            calls += 1
            return calls > moment

        def ioctl(_: int, request: int, __: bytes, come: Callable[[], bool] = has_come) -> bytes:
            is_queue = request == termios.TIOCOUTQ
            return (0 if come() or not is_queue else 1).to_bytes(4, sys.byteorder)

        class Socket:
            family = socket.AF_INET

            def fileno(self) -> int:
                return -1

            def getsockopt(
                self, _: int, option: int, length: int = 0, come: Callable[[], bool] = has_come
            ) -> bytes | int:
                if option != socket.TCP_INFO:
                    return 0
                return bytes([closed if come() else last_ack]).ljust(length, b"\0")

        monkeypatch.setattr(fcntl, "ioctl", ioctl)
        sight = kernel.sight_of(Socket())  # type: ignore[arg-type]
        assert (sight.unacknowledged, sight.error) == (0, None)


@linux_only
@pytest.mark.parametrize("is_ended", [False, True])
async def test_a_look_reports_the_reset_that_it_takes_away(is_ended: bool) -> None:
    """This holds also after our end of file, which is not acknowledged by then."""

    ours, theirs = await tcp_pair()
    ours.send(b"data")
    if is_ended:
        ours.shutdown(socket.SHUT_WR)
    reset(theirs)
    sights: list[Sight] = []

    def is_gone() -> bool:
        sights.append(kernel.sight_of(ours))
        return sights[-1].is_gone

    await until(is_gone)
    assert isinstance(sights[-1].error, ConnectionResetError)
    assert kernel.sight_of(ours)._replace(round_trip=0) == sights[-1]._replace(
        error=None, round_trip=0
    )
    ours.close()


@linux_only
async def test_there_is_room_to_send_until_it_is_used() -> None:
    """The promised room is really there; a peer that takes nothing leaves none."""

    ours, theirs = await tcp_pair()
    with theirs:
        transport = await connect(ours)
        room = kernel.room_to_send(transport)
        assert room is not None
        assert room > 8192
        transport.write(bytes(8192))
        assert transport.get_write_buffer_size() == 0
        while room := kernel.room_to_send(transport):
            transport.write(bytes(room))
        transport.write(bytes(1 << 20))
        assert kernel.room_to_send(transport) == 0
        await close(transport)


@linux_only
async def test_what_is_not_sent_is_limited() -> None:
    """The limit is this number and what the peer's system takes; it can be restored."""

    ours, theirs = await tcp_pair()
    with theirs:
        transport = await connect(ours)
        assert kernel.limit_unsent(transport, 16384) == 0
        transport.write(bytes(1 << 22))
        taken = (1 << 22) - transport.get_write_buffer_size()
        assert taken < 1 << 20
        assert kernel.limit_unsent(transport, 0) == 16384
        assert kernel.limit_unsent(transport, 0) == 0
        await close(transport)


async def test_reset_on_close_resets() -> None:
    """A peer sees a reset, not an end of file."""
    ours, theirs = await tcp_pair()
    with theirs:
        transport = await connect(ours)
        kernel.reset_on_close(transport)
        await close(transport)
        theirs.settimeout(5)
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)


async def test_pending_error_is_the_reset_that_nobody_read() -> None:
    """The kernel's note of a reset is found without reading, once."""
    ours, theirs = await tcp_pair()
    transport = await connect(ours)
    assert kernel.pending_error(transport) is None
    reset(theirs)
    errors: list[OSError | None] = []

    def noted() -> bool:
        errors.append(kernel.pending_error(transport))
        return errors[-1] is not None

    await until(noted)
    assert isinstance(errors[-1], ConnectionResetError)
    await close(transport)


@linux_only
async def test_acknowledge_at_once_ends_the_dialogue() -> None:
    """The kernel is asked not to delay; its delays afterwards are its own business."""
    ours, theirs = await tcp_pair()
    with theirs:
        transport = await connect(ours)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == 0
        kernel.acknowledge_at_once(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == 1
        await close(transport)


async def test_a_transport_without_a_socket_has_no_answers() -> None:
    """Nothing is known, and nothing is done."""
    transport = MemoryTransport(asyncio.Protocol())
    assert kernel.acknowledged_bytes(transport) is None
    assert sight_of(transport) == Sight()
    assert kernel.pending_error(transport) is None
    kernel.reset_on_close(transport)


async def test_a_unix_socket_has_no_tcp_answers() -> None:
    """Only TCP has acknowledgements."""
    ours, theirs = socket.socketpair()
    with theirs:
        transport = await connect(ours)
        assert kernel.acknowledged_bytes(transport) is None
        assert sight_of(transport) == Sight()
        await close(transport)


async def test_a_closed_socket_has_no_answers() -> None:
    """Asking too late is not an error."""
    ours, theirs = await tcp_pair()
    theirs.close()
    transport = await connect(ours)
    sock = transport.get_extra_info("socket")
    await close(transport)
    gone = MemoryTransport(asyncio.Protocol(), extra={"socket": sock})
    assert kernel.acknowledged_bytes(gone) is None
    assert sight_of(gone) == Sight()
    assert kernel.pending_error(gone) is None
    kernel.reset_on_close(gone)
    kernel.acknowledge_at_once(sock)


class Scripted:
    """An SSLObject whose read follows a script."""

    def __init__(self, result: bytes | Exception) -> None:
        self._result = result

    def read(self, size: int) -> bytes:
        """Return or raise."""
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


@pytest.mark.parametrize(
    ("result", "announced"),
    [
        (b"", True),
        (ssl.SSLZeroReturnError(), True),
        (ssl.SSLWantReadError(), False),
        (ssl.SSLEOFError(), False),
        (ValueError(), False),
        (b"x", False),
    ],
)
def test_has_close_notify(result: bytes | Exception, *, announced: bool) -> None:
    """Only an announced end counts."""
    assert kernel.has_close_notify(Scripted(result)) is announced  # type: ignore[arg-type]


class Scrambling(asyncio.Transport):
    """A transport of somebody else's that changes what passes through it."""

    def __init__(self, below: asyncio.Transport) -> None:
        super().__init__()
        self.get_extra_info = below.get_extra_info  # type: ignore[method-assign]


@pytest.mark.skipif(not hasattr(os, "sendfile"), reason="there is no sendfile")
async def test_what_the_system_sends_past_a_transport(tmp_path: Path) -> None:
    """It sends bytes of the file for which there is room, and none at the file's end."""

    (tmp_path / "file").write_bytes(bytes(range(256)) * 40_000)
    sock, peer = await tcp_pair(send_buffer=4096, receive_buffer=4096)
    transport = await connect(sock)
    with (tmp_path / "file").open("rb") as file, peer:
        fd = file.fileno()
        assert kernel.sendfile_past(transport, fd, 3, 5) == 5
        assert await asyncio.get_running_loop().sock_recv(peer, 100) == bytes(range(3, 8))
        assert kernel.sendfile_past(transport, fd, 256 * 40_000, 5) == 0
        assert 0 < kernel.sendfile_past(transport, fd, 0, 256 * 40_000) < 256 * 40_000
        with pytest.raises(BlockingIOError):
            kernel.sendfile_past(transport, fd, 0, 256 * 40_000)
        assert file.tell() == 0
        reset(peer)
        with pytest.raises(ConnectionError):
            kernel.sendfile_past(transport, fd, 0, 5)
    await close(transport)


async def test_what_the_system_cannot_send_past_a_transport(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs a socket, a file that supports the call, and a system that has the call."""

    sock, peer = await tcp_pair()
    transport = await connect(sock)
    with peer, (tmp_path / "file").open("w+b") as file:
        with pytest.raises(NotImplementedError):
            kernel.sendfile_past(MemoryTransport(asyncio.Protocol()), file.fileno(), 0, 1)
        # A sandbox, a file system, a disk: the reason names which one it is.
        for code in (errno.EINVAL, errno.EPERM, errno.EIO):
            with monkeypatch.context() as patch:
                Seams(patch, kernel).fail("sendfile", 1, code)
                with pytest.raises(NotImplementedError):
                    kernel.sendfile_past(transport, file.fileno(), 0, 1)
        for code in (errno.ENOTCONN, errno.ETIMEDOUT):
            with monkeypatch.context() as patch:
                Seams(patch, kernel).fail("sendfile", 1, code)
                with pytest.raises(OSError, match=os.strerror(code)):
                    kernel.sendfile_past(transport, file.fileno(), 0, 1)
        scrambling = Scrambling(transport)
        with pytest.raises(NotImplementedError):
            kernel.sendfile_past(scrambling, file.fileno(), 0, 1)
        monkeypatch.delattr(os, "sendfile", raising=False)
        with pytest.raises(NotImplementedError):
            kernel.sendfile_past(transport, file.fileno(), 0, 1)
    await close(transport)


@pytest.mark.parametrize("has_poll", [True, False])
def test_a_look_at_a_listener(has_poll: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds a connection, an error that accept(2) will raise, or a reason to try accept(2)."""

    if not has_poll:
        monkeypatch.delattr(select, "poll")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        look = kernel.look_at(listener)
        assert look() is not has_poll
        with socket.create_connection(listener.getsockname()):
            assert look()
            listener.accept()[0].close()
            assert look() is not has_poll
            if sys.platform == "linux":
                listener.shutdown(socket.SHUT_RDWR)
                assert look()


def test_a_look_that_fails_leaves_it_to_accept(monkeypatch: pytest.MonkeyPatch) -> None:
    """poll(2) may find no memory, like any other call."""

    class Failing:
        def register(self, *_: object) -> None:
            """Take what is to be watched."""

        def poll(self, _: int) -> None:
            raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr(select, "poll", Failing, raising=False)
    with socket.socket() as sock:
        assert kernel.look_at(sock)()


@pytest.mark.parametrize("close", [kernel.close_socket, kernel.reset_socket])
def test_a_close_that_fails_has_closed(close: Callable[[socket.socket], None]) -> None:
    """Nobody can do anything about it: what is to be done after it is done."""

    class Failing(socket.socket):
        def close(self) -> None:
            super().close()
            raise OSError(errno.EIO, "input/output error")

    sock = Failing()
    close(sock)
    assert sock.fileno() == -1


@pytest.mark.parametrize("error", [NotImplementedError(), OSError(errno.ENOSPC, "no watch left")])
@pytest.mark.parametrize("watch", [kernel.watch_readable, kernel.watch_writable])
def test_a_loop_that_cannot_watch_says_so(
    watch: Callable[..., bool], error: Exception
) -> None:
    """One such loop is asyncio's on Windows; any other may find no memory for a watch."""

    def refuse(*_: object) -> None:
        raise error

    loop = SimpleNamespace(add_reader=refuse, add_writer=refuse)
    with socket.socket() as sock:
        assert not watch(loop, sock, lambda: None)
        loop.add_reader = loop.add_writer = lambda *_: None
        assert watch(loop, sock, lambda: None)
