"""What `listen_passive` and `connect_active` have in common: an `Endpoint`.

An endpoint stands for a data connection that is to be: it is made when the
client says PASV, EPSV, PORT or EPRT, and `Endpoint.open` gives the connected
`DTP` when a transfer command needs it. The command and the connection may come
in either order, and a transfer handler does not care which kind it has.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

import anyio

from .._kernel import (
    acknowledge_at_once,
    acknowledged_on,
    reset_socket_on_close,
    watch_readable,
    watch_writable,
)
from .._prompt import PromptFuture
from ..addresses import HostPort
from ..connection.protocol import DTP, peer_of
from ..deadlines import Deadlines
from ..errors import DataConnectionError, FTPDataError, error_for_end
from ..outcome import End
from ..tls._channel import TLSChannel
from ..tls._transport import TLSTransport
from ..tls.policy import DataTLS, negotiation_failed
from .socket_options import DEFAULT_SOCKET_OPTIONS, SocketOptions

__all__ = ["AcceptedEndpoint", "Endpoint"]

DTPFactory = Callable[[], DTP]
T = TypeVar("T")

READ_SIZE = 64 * 1024
"""Bytes that are received at a time."""

UNWATCHED_POLL = 0.01
"""Seconds between two looks at a socket that the event loop cannot watch (Windows)."""


class Endpoint(abc.ABC):
    """A data connection that is to be. For one connection.

    An asynchronous context manager: leaving it closes what `open` has not
    given away. The `DTP` that was opened belongs to the caller, who may also
    give the endpoint to a transfer (`ftpdata.send_file`) and leave it to open.

    Args:
        deadlines: `open`, `handshake` and `close` are heeded here.
        tls: How the connection is protected (PROT P); None for clear (PROT C).
        socket_options: What is set on the socket; by default `SocketOptions()`.
        dtp_factory: Makes the protocol; for subclasses of `DTP`.

    Attributes:
        lingers: Whether a transfer is over once the peer's kernel has all of a
            small file, although the peer has not ended TLS yet. Whoever sets
            this calls `aclose` later, say when the next connection is prepared:
            until then, or for a second, the peer may say its last word.
    """

    lingers: bool = False

    # As it is before anything has happened, and as most of it stays.
    _has_options: bool = False
    # What has come, and was not taken yet.
    _accepted: socket.socket | None = None
    _proxied_peer: HostPort | None = None
    _peername: object = None
    _opening: bool = False
    _has_socket: bool = False
    _is_finished: bool = False
    _on_release: Callable[[], object] | None = None
    _begins: bool = False
    _begun: asyncio.Task[socket.socket] | None = None
    _is_given: bool = False
    # When `open` was called for what was begun, if it was begun; None before.
    _called_at: float | None = 0.0
    _timeout: float | None = None
    _deadline: asyncio.TimerHandle | None = None
    _given_up: FTPDataError | None = None
    _waiter: PromptFuture[bool] | None = None
    _connected: socket.socket | None = None
    _channel: TLSChannel | None = None
    _unsent: bytes = b""
    _written_ahead: int = 0
    _is_end_written: bool = False
    _watched: int | None = None
    _watched_for_room: int | None = None
    _farewell: asyncio.TimerHandle | None = None
    _kept: DTP | None = None
    _ahead: bytes = b""

    def __init__(
        self,
        *,
        deadlines: Deadlines,
        tls: DataTLS | None = None,
        socket_options: SocketOptions | None = None,
        dtp_factory: DTPFactory | None = None,
    ) -> None:
        self.deadlines = deadlines
        self._tls = tls
        self._socket_options = socket_options or DEFAULT_SOCKET_OPTIONS
        self._dtp_factory = dtp_factory or (lambda: DTP(close_timeout=deadlines.close))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    @property
    @abc.abstractmethod
    def is_ready(self) -> bool:
        """Whether the connection is there already: reply 125 rather than 150."""

    @property
    def channel(self) -> TLSChannel | None:
        """The TLS of the socket that `connect` gave; None in clear."""

        return self._channel

    @property
    def dtp(self) -> DTP | None:
        """The DTP that was opened, where it stayed the endpoint's."""

        return self._kept

    @property
    def is_open(self) -> bool:
        """Whether the connection has been made: what `open` waits for first."""

        return self._connected is not None or self._kept is not None

    async def open(self, *, keep: bool = False, ahead: bytes = b"") -> DTP:
        """Give the connected `DTP`. Once.

        Args:
            keep: The DTP stays the endpoint's: `abort` and `aclose` end it, too.
            ahead: What was received already, over the socket that `connect` gave.

        Raises:
            OpenTimeout: The peer did not connect or answer in time. Reply 425.
            DataConnectionError: It could not be opened, or was given up by
                `abort` or `aclose`. Reply 425.
            TLSNegotiationFailed: It could not be protected, or did not resume
                the session it must resume. Reply 522.
            FTPDataError: The reason given to `abort`.
            RuntimeError: `open` was called before.

        Cancellation closes whatever was opened so far, the listener included.
        """

        sock = await self.connect()
        self._watch_no_more()
        self._connected = None
        self._ahead = ahead
        dtp = await self._connect_protocol(sock)
        if keep:
            self._kept = dtp

        return dtp

    def begin(self) -> None:
        """Begin to open, before `open` is called for the result. The endpoint owns the task.

        For passive connections with TLS. Most clients negotiate once they have
        the reply to their transfer command; some (aioftp) do it before they
        send the command, and wait for it, and curl waits for 200 ms. So it is
        the first bytes of the peer that begin it.

        No deadline passes before `open` is called: until then `abort` and
        `aclose` end it. Does nothing where it was begun, opened or given up, and
        for a connection that this side makes.
        """

        self._begins = True
        self._look_out()
        self._begin_once_arrived()

    def _look_out(self) -> None:
        """Have a connection that comes be noticed before `open` waits for it."""

    def _begin_once_arrived(self) -> None:
        """Have the first bytes of a connection that has come begin it, if that is wanted."""

        is_over = self._opening or self._begun is not None or self._given_up is not None
        if not self._begins or is_over or self._accepted is None:
            return

        if not self._watch(self._accepted):
            self._begin_now()

    def _begin_now(self) -> None:
        self._called_at = None
        self._begun = asyncio.get_running_loop().create_task(self._connect())
        # What it raises is for `open`, if that is ever called.
        self._begun.add_done_callback(lambda task: task.cancelled() or task.exception())

    def _arrive(self, sock: socket.socket, peername: object, proxied: HostPort | None) -> None:
        """Have the connection that is waited for; see `ftpdata.opening._acceptor.Arrival`."""

        self._accepted, self._peername, self._proxied_peer = sock, peername, proxied
        self._begin_once_arrived()
        self._wake()

    def _take_accepted(self) -> socket.socket:
        """Take what has come."""

        sock, self._accepted = self._accepted, None
        assert sock is not None
        return sock

    def _close_accepted(self) -> None:
        """Close what has come and was not taken, if there is anything."""

        sock, self._accepted = self._accepted, None
        if sock is not None:
            # Before its number can be another's.
            self._watch_no_more()
            sock.close()

    async def connect(self) -> socket.socket:
        """Give the connected socket, for what needs no DTP; `open` may follow.

        The socket stays the endpoint's, which closes it in `abort` and
        `aclose`; or makes the DTP of it in `open`, whatever went over it. In
        TLS, the handshake is done; what goes over the socket goes through `channel`.

        Raises:
            As for `open`.
        """

        if self._is_given and self._connected is not None:
            return self._connected

        self._note_opening()
        sock = await (
            self._connect() if self._begun is None else self._connect_begun(self._begun)
        )
        self._is_given = True
        return sock

    def _note_opening(self) -> None:
        self._check_given_up()
        if self._opening:
            raise RuntimeError("an endpoint is for one connection, and has been opened")

        self._opening = True

    async def _connect_begun(self, task: asyncio.Task[socket.socket]) -> socket.socket:
        self._called_at = asyncio.get_running_loop().time()
        if self._waiter is not None:
            self._start_deadline()
        self._deadlines_begin()
        # Who cancels this cancels that, and it is waited for.
        sock = await task
        self._begun = None
        self._check_given_up()
        return sock

    async def _connect(self) -> socket.socket:
        self._check_given_up()
        try:
            self._connected = sock = await self._obtain_socket()
            self._has_socket = True
            if not self._has_options:
                self._socket_options.set_on(sock)
        finally:
            self._let_go()

        self._check_given_up()
        if self._tls is not None:
            await self._negotiate(sock, self._tls)

        return sock

    @property
    def peer(self) -> HostPort | None:
        """Address of the peer, once `connect` has found it; see `DTP.peer`."""

        if self._proxied_peer is not None:
            return self._proxied_peer
        if self._peername is not None:
            return peer_of(self._peername)

        try:
            return peer_of(self._connected.getpeername()) if self._connected is not None else None
        except OSError:
            return None

    async def wait_readable(self, timeout: float | None) -> bool:
        """Wait until there is something to read from the socket that `connect` gave.

        Args:
            timeout: Seconds after which it returns in any case; None for none.

        Returns:
            Whether it is worth a look: it was not the time that was over.

        Raises:
            FTPDataError: The reason given to `abort`.
        """

        self._check_given_up()
        assert self._connected is not None
        if not self._watch(self._connected):
            return await self._wait_a_moment(timeout)

        return await self._sleep(timeout)

    async def wait_writable(self, timeout: float | None) -> bool:
        """Wait until the socket that `connect` gave takes more; see `wait_readable`."""

        self._check_given_up()
        assert self._connected is not None
        # Nobody reads, so what can be read would end each wait at once.
        self._watch_no_more()
        loop = asyncio.get_running_loop()
        if not watch_writable(loop, self._connected, self._wake_promptly):
            return await self._wait_a_moment(timeout)

        self._watched_for_room = self._connected.fileno()
        try:
            return await self._sleep(timeout)
        finally:
            self._watch_no_more()

    def _watch(self, sock: socket.socket) -> bool:
        """Have `_readable` called when there is something to read, if the event loop can tell."""

        if self._watched is None:
            if not watch_readable(asyncio.get_running_loop(), sock, self._readable):
                return False
            # It stays so for the next wait: to begin and to end it are system calls.
            self._watched = sock.fileno()

        return True

    def _wake_promptly(self) -> bool:
        """Let who waits go on before this returns; tell whether anybody does."""

        if self._waiter is None or self._waiter.done():
            return False

        self._waiter.set_prompt_result(True)
        return True

    def _readable(self) -> None:
        if self._wake_promptly():
            return

        # Nobody reads it now, so the event loop would call at every turn.
        self._watch_no_more()
        if self._connected is None:
            self._begin_now()

    async def _wait_a_moment(self, timeout: float | None) -> bool:
        """Do as `wait_readable` for what the event loop cannot tell of."""

        # What can be read would end each wait at once, and is not what is waited for.
        self._watch_no_more()
        moment = asyncio.get_running_loop().call_later(UNWATCHED_POLL, self._wake)
        try:
            return await self._sleep(timeout)
        finally:
            moment.cancel()

    def leave_unsent(self, data: bytes, written: int, *, is_end: bool = True) -> None:
        """Leave it to the DTP to go on behind what went through `channel`.

        Args:
            data: The end of what `channel` gave; empty where the socket has taken all.
            written: Bytes that went in.
            is_end: Whether the announced end was the last of it.
        """

        self._unsent, self._written_ahead, self._is_end_written = data, written, is_end

    def finish(self) -> None:
        """Close the socket that `connect` gave: everything has gone over it.

        That is done on the next turn of the event loop, behind what is to be
        said about it in this one: the system takes as long for it as for a reply.
        """

        self._watch_no_more()
        sock, self._connected = self._connected, None
        if sock is not None:
            self._is_finished = True
            asyncio.get_running_loop().call_soon(sock.close)

    @property
    def is_lingering(self) -> bool:
        """Whether everything has gone over the connection, and the peer may still end it."""

        return self._farewell is not None

    def linger(self, patience: float) -> None:
        """Do as `finish`, but not before `aclose`, or so many seconds."""

        self._watch_no_more()
        self._is_finished = True
        self._farewell = asyncio.get_running_loop().call_later(patience, self._leave)

    def _leave(self) -> None:
        """Close the socket that lingers."""

        self._end_farewell()
        sock, self._connected = self._connected, None
        self._channel = None
        if sock is not None:
            # To close over the peer's last word would be a reset.
            with contextlib.suppress(OSError):
                sock.recv(READ_SIZE)
            sock.close()

    def _end_farewell(self) -> None:
        if self._farewell is not None:
            self._farewell.cancel()
            self._farewell = None

    def received(self, data: bytes) -> DTP:
        """Make the DTP of a connection that has ended, and over which `data` came; `finish` it."""

        dtp = self._dtp_factory()
        dtp.proxied_peer = self.peer
        dtp.receive_past(data, None if self._channel is None else self._channel.object)
        self.finish()
        return dtp

    def _check_given_up(self) -> None:
        if self._given_up is not None:
            self._drop_socket()
            raise self._given_up

    def abort(self, end: End = End.ABORTED, message: str | None = None) -> None:
        """Give up: an `open` that waits raises, a later one too. Releases at once.

        A connection that is still the endpoint's is reset.
        """

        if self._kept is not None:
            self._kept.abort(end, message)

        if self._given_up is not None:
            return

        self._end_farewell()
        self._given_up = error_for_end(end, message)
        self._wake()
        self._let_go()
        self._drop_socket()

    def _watch_no_more(self) -> None:
        fd, self._watched = self._watched, None
        if fd is not None:
            asyncio.get_running_loop().remove_reader(fd)
        fd, self._watched_for_room = self._watched_for_room, None
        if fd is not None:
            asyncio.get_running_loop().remove_writer(fd)

    def _drop_socket(self) -> None:
        # Before its number can be another's.
        self._watch_no_more()
        sock, self._connected = self._connected, None
        if sock is not None:
            if self._channel is not None:
                self._channel.leave()
            reset_socket_on_close(sock)
            sock.close()

    async def aclose(self) -> None:
        """Release the listener, the port and a connection nobody has taken."""

        if self._is_finished:
            if self._farewell is not None:
                # As in `finish`.
                asyncio.get_running_loop().call_soon(self._leave)
            return

        self.abort(End.ABORTED, "the data connection was given up")
        if self._begun is not None:
            with anyio.CancelScope(shield=True):
                await asyncio.wait((self._begun,))

    def on_release(self, callback: Callable[[], object]) -> None:
        """Have `callback` called once the endpoint listens, or tries to connect, no more."""

        self._on_release = callback

    def _let_go(self) -> None:
        self._release()
        callback, self._on_release = self._on_release, None
        if callback is not None:
            callback()

    def _deadlines_begin(self) -> None:
        """Take note that `open` was called for what was begun."""

    @abc.abstractmethod
    async def _obtain_socket(self) -> socket.socket:
        """Wait for the connected, non-blocking socket; it belongs to the caller."""

    @abc.abstractmethod
    def _release(self) -> None:
        """Close what is held and not given away. Idempotent, never blocks."""

    async def _wait(
        self, future: asyncio.Future[T], timeout: float | None, timeout_end: End
    ) -> T:
        """Wait for the future, for `abort`, or for the deadline; the future is cancelled.

        Raises:
            OpenTimeout: The deadline passed. Reply 425.
            FTPDataError: The reason given to `abort`.
        """

        future.add_done_callback(self._wake)
        try:
            await self._wait_until_woken(timeout, timeout_end)
            return future.result()
        finally:
            future.cancel()

    async def _wait_until_woken(self, timeout: float | None, timeout_end: End) -> None:
        """Wait for a call of `_wake`, as `_wait` does for a future."""

        if not await self._sleep(timeout):
            raise error_for_end(timeout_end, f"{timeout_end.value} ({timeout:g} s)")

    async def _sleep(self, timeout: float | None) -> bool:
        """Wait until `_wake` is called; False where the deadline passes before.

        Raises:
            FTPDataError: The reason given to `abort`.
        """

        # To look whether the connection has come may have been the end of it.
        self._check_given_up()
        waiter: PromptFuture[bool] = PromptFuture(loop=asyncio.get_running_loop())
        self._waiter = waiter
        self._timeout = timeout
        if self._called_at is not None:
            self._start_deadline()
        try:
            is_in_time = await waiter
            if self._given_up is not None:
                raise self._given_up

            return is_in_time
        finally:
            self._waiter = None
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    def _start_deadline(self) -> None:
        if self._timeout is not None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self._timeout, self._wake, None)

    def _wake(self, cause: object = True) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(cause is not None)

    async def _connect_protocol(self, sock: socket.socket) -> DTP:
        """Make the `DTP` of a connected socket; the socket is closed on any failure."""

        loop = asyncio.get_running_loop()
        dtp: DTP | None = None
        if self._channel is not None:
            acknowledge_at_once(sock)
        try:
            dtp = made = self._dtp_factory()
            ahead, self._ahead = self._ahead, b""
            if ahead:
                # Before there is a transport: uvloop reads at once.
                dtp.data_received(ahead)
            # Not to be kept: the peer may stall.
            del ahead
            await loop.connect_accepted_socket(lambda: self._above_socket(made), sock)
        except BaseException as error:
            if dtp is not None:
                # uvloop does not tell it, although it may have told it that it is connected.
                has_failed = isinstance(error, Exception)
                dtp.abort(
                    End.OPEN_FAILED if has_failed else End.CANCELLED,
                    cause=error if has_failed else None,
                )
                dtp.connection_lost(None)
            sock.close()
            if isinstance(error, OSError):
                raise DataConnectionError(
                    f"the data connection was lost at once: {error}", end=End.OPEN_FAILED
                ) from error
            raise

        if self._given_up is not None:
            dtp.abort(self._given_up.end or End.ABORTED, cause=self._given_up)
            raise self._given_up

        dtp.proxied_peer = self._proxied_peer
        return dtp

    def _above_socket(self, dtp: DTP) -> asyncio.BaseProtocol:
        """Return what is the protocol of the socket's transport."""

        if self._tls is None:
            return dtp

        assert self._channel is not None
        dtp.strict_close = self._tls.strict_close
        if self._is_end_written:
            dtp.account_sent(self._written_ahead, eof=True)
        unsent, self._unsent = self._unsent, b""
        return TLSTransport(self._channel, dtp, unsent=unsent, is_ending=self._is_end_written)

    async def _negotiate(self, sock: socket.socket, tls: DataTLS) -> None:
        """Protect the connection as `tls` wants it; the socket is closed on any failure.

        Raises:
            TLSNegotiationFailed: It is not protected. Reply 522.
        """

        try:
            channel = TLSChannel(tls)
            channel.acknowledged_before = acknowledged_on(sock)
            await self._shake_hands(sock, channel)
        except BaseException as error:
            self._watch_no_more()
            self._connected = None
            sock.close()
            if isinstance(error, OSError):
                # ssl.SSLError is one, and so is a peer that leaves in the middle.
                raise negotiation_failed(error) from error
            raise

        refusal = tls.refusal(channel.object)
        if refusal is not None:
            self._drop_socket()
            raise negotiation_failed(refusal)

        self._channel = channel

    async def _shake_hands(self, sock: socket.socket, channel: TLSChannel) -> None:
        began_at = asyncio.get_running_loop().time()
        while True:
            self._check_given_up()
            try:
                is_done = channel.handshake()
            except ssl.SSLError:
                # The alert is for the peer. Where it has left, the error is the same.
                with contextlib.suppress(OSError):
                    sock.send(channel.take())
                raise

            data = channel.take()
            while data:
                try:
                    data = data[sock.send(data) :]
                except BlockingIOError:
                    # More than a socket takes at once: never, but for a tiny buffer.
                    await self._wait_in_handshake(self._wait_a_moment, began_at)
            if is_done:
                return

            while not data:
                try:
                    data = sock.recv(READ_SIZE)
                except BlockingIOError:
                    await self._wait_in_handshake(self.wait_readable, began_at)
                else:
                    if not data:
                        raise ConnectionResetError(
                            errno.ECONNRESET, "the peer left in the handshake"
                        )
            channel.feed(data)

    async def _wait_in_handshake(
        self, wait: Callable[[float | None], Awaitable[bool]], began_at: float
    ) -> None:
        """Wait with one of the methods above, within the time for all of the handshake."""

        limit = self.deadlines.handshake
        patience = limit
        if limit is not None and self._called_at is not None:
            now = asyncio.get_running_loop().time()
            patience = max(began_at, self._called_at) + limit - now
        is_late = patience is not None and patience <= 0
        if is_late or not await wait(patience):
            raise error_for_end(
                End.HANDSHAKE_TIMEOUT, f"{End.HANDSHAKE_TIMEOUT.value} ({limit:g} s)"
            )


class AcceptedEndpoint(Endpoint):
    """An endpoint whose connection exists: a socket that was accepted elsewhere.

    Args:
        sock: A connected stream socket, or the file descriptor of one. It
            belongs to the endpoint from now on.
        deadlines: See `Endpoint`.
        tls: See `Endpoint`.
        socket_options: See `Endpoint`.
        dtp_factory: See `Endpoint`.

    Raises:
        DataConnectionError: The socket is not connected. Reply 425.
    """

    def __init__(
        self,
        sock: socket.socket | int,
        *,
        deadlines: Deadlines | None = None,
        tls: DataTLS | None = None,
        socket_options: SocketOptions | None = None,
        dtp_factory: DTPFactory | None = None,
    ) -> None:
        super().__init__(
            deadlines=deadlines or Deadlines(),
            tls=tls,
            socket_options=socket_options,
            dtp_factory=dtp_factory,
        )
        connected = socket.socket(fileno=sock) if isinstance(sock, int) else sock
        try:
            connected.getpeername()
            connected.setblocking(False)
        except OSError as error:
            raise DataConnectionError(
                f"expected a connected socket: {error}", end=End.OPEN_FAILED
            ) from error

        self._accepted = connected

    @property
    def is_ready(self) -> bool:
        """Whether the connection is still to be given away."""

        return self._accepted is not None

    async def _obtain_socket(self) -> socket.socket:
        return self._take_accepted()

    def _release(self) -> None:
        self._close_accepted()
