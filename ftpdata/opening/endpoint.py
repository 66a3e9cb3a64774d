"""What `listen_passive` and `connect_active` have in common: an `Endpoint`.

An endpoint stands for a data connection that is still to come: it is made when the
client says PASV, EPSV, PORT or EPRT, and `Endpoint.open` gives the connected
`DTP` when a transfer command needs it. The command and the connection may come
in either order, and a transfer handler does not care which kind it has.

How the connection comes is what kinds of endpoints differ in. Once it is there it
is a `Link` (`ftpdata.opening._link`), which the endpoint hands over to the DTP,
with what went over it by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from typing import NotRequired, Self, TypedDict

import anyio

from .._checks import check_call, check_seconds
from .._descriptors import let_go
from .._kernel import acknowledge_at_once, has_end_of_peer, reset_socket
from .._running import DRAINING, Activity, Drained, Running
from ..addresses import HostPort
from ..connection.protocol import DTP
from ..deadlines import DEFAULT_DEADLINES, Deadlines
from ..errors import DataConnectionError, TransferAborted, error_for_end
from ..observers._telling import tell
from ..observers.contract import Observer, Subject
from ..outcome import End
from ..tls._transport import TLSTransport
from ..tls.policy import DataTLS
from ._link import NOTHING, Link
from ._wait import Wait
from .socket_options import DEFAULT_SOCKET_OPTIONS, SocketOptions

__all__ = ["AcceptedEndpoint", "Drained", "Endpoint"]

DTPFactory = Callable[[], DTP]


class EndpointArguments(TypedDict):
    """What every kind of endpoint takes; see `Endpoint`."""

    deadlines: Deadlines
    tls: NotRequired[DataTLS | None]
    socket_options: NotRequired[SocketOptions | None]
    dtp_factory: NotRequired[DTPFactory | None]
    observer: NotRequired[Observer | None]


class Endpoint:
    """A data connection that is still to come. For one connection.

    An asynchronous context manager: leaving it closes what `open` has not
    given away. The `DTP` that was opened belongs to the caller, who may also
    give the endpoint to a transfer (`ftpdata.send_file`) and leave it to open.

    Where this side is TLS's server and its peer connects, the handshake begins
    with the first bytes of the peer, also before `open` is called: most clients
    negotiate once they have the reply to their transfer command, but some
    (aioftp) do it before they send the command, and wait for it, and curl waits
    for 200 ms. No deadline passes before `open` is called; until then `abort` and
    `aclose` end it.

    Args:
        deadlines: `open` and `handshake` are heeded here; `stall` and `close` by the `DTP`.
        tls: How the connection is protected (PROT P); None for clear (PROT C).
        socket_options: What is set on the socket; by default `SocketOptions()`.
        dtp_factory: Makes the protocol; for subclasses of `DTP`.
        observer: Notified of the endpoint, and of the transfer over it (`ftpdata.observers`).

    Attributes:
        deadlines: As above.
        observer: As above.
        subject: What the host knows of the transfer that is to come, for its observer. The
            host may set it at any time before that.
        activity: Knows what goes on, for `drain`.
    """

    subject: Subject | None = None
    # The state before anything has happened; most of it stays so.
    _has_options: bool = False
    # The connection, from the moment it is there until it is the DTP's.
    _link: Link | None = None
    _opening: bool = False
    _has_link: bool = False
    _is_given: bool = False
    _on_release: Callable[[], object] | None = None
    # What the peer has begun by negotiating before `open` was called.
    _begun: asyncio.Task[Link] | None = None
    _kept: DTP | None = None
    # Where the observer knows that the endpoint listens.
    _listening_at: HostPort | None = None

    def __init__(
        self,
        *,
        deadlines: Deadlines,
        tls: DataTLS | None = None,
        socket_options: SocketOptions | None = None,
        dtp_factory: DTPFactory | None = None,
        observer: Observer | None = None,
    ) -> None:
        # What makes endpoints has checked the arguments: users make none themselves.
        self.deadlines = deadlines
        self.observer = observer
        self._tls = tls
        self._socket_options = socket_options or DEFAULT_SOCKET_OPTIONS
        self._dtp_factory = dtp_factory or (
            lambda: DTP(close_timeout=deadlines.close, stall_timeout=deadlines.stall)
        )
        self.activity: Activity = Activity()
        self._wait = Wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self.aclose()

    @property
    def is_ready(self) -> bool:
        """Whether the connection is there already: reply 125 rather than 150."""

        raise NotImplementedError

    @property
    def dtp(self) -> DTP | None:
        """The DTP that was opened, where it stayed the endpoint's."""

        return self._kept

    @property
    def is_open(self) -> bool:
        """Whether the connection has been made: what `open` waits for first."""

        is_here = self._link is not None and not self._link.is_over
        return is_here or self._kept is not None

    @property
    def peer_has_ended(self) -> bool:
        """Whether all that the peer sends has come to this system, its end of file included.

        Some of it may be unread. True as well once the connection is over; False before
        there is a connection, and if the system cannot tell (Linux can).
        """

        dtp = self.dtp
        if dtp is not None:
            sock = None if dtp.end is not None else dtp.transport.get_extra_info("socket")
            return sock is None or has_end_of_peer(sock)

        # To look whether it has come may be what accepts it.
        if not self.is_ready or self._link is None:
            return False
        return self._link.is_over or has_end_of_peer(self._link.sock)

    @property
    def is_lingering(self) -> bool:
        """Whether the peer has everything, and the connection stays open for its last word.

        In TLS that is the peer's close_notify, for which no transfer waits. The connection stays
        open until `aclose`, and for a second at most.
        """

        if self._kept is not None:
            return self._kept.is_lingering

        return self._link is not None and self._link.is_lingering

    # Opening

    async def open(self, *, keep: bool = False) -> DTP:
        """Give the connected `DTP`. Once.

        Args:
            keep: The DTP stays the endpoint's: `abort` and `aclose` end it, too.

        Raises:
            OpenTimeout: The peer did not connect or answer in time. Reply 425.
            DataConnectionError: It could not be opened, or was given up before it was
                open; the message is the one given to `abort`. Reply 425.
            TLSNegotiationFailed: It could not be protected, or did not resume
                the session it must resume. Reply 522.
            FTPDataError: `abort` was called with an end that has a class of its own,
                such as `End.SIZE_LIMIT`.
            RuntimeError: `open` was called before.

        Cancellation closes whatever was opened so far, the listener included.
        """

        self.activity.begin(self.abort)
        try:
            link = await self._give_link()
            if link.carried.has_ended:
                return self._record(link)

            self._link = None
            dtp = await self._hand_over(link)
            if keep:
                self._kept = dtp
            self._note_open(dtp)
        finally:
            self.activity.end(self.abort)

        return dtp

    async def _give_link(self) -> Link:
        """Connect, but for the first time only; see `link_of`."""

        if self._is_given and self._link is not None and not self._link.is_over:
            return self._link

        self._note_opening()
        link = await (
            self._connect() if self._begun is None else self._connect_begun(self._begun)
        )
        self._is_given = True
        return link

    # Giving up

    def abort(self, end: End = End.ABORTED, message: str | None = None) -> None:
        """Give up: an `open` that waits raises, and so does a later one. Releases at once.

        A connection that is still the endpoint's is reset. The first reason counts.

        The error is a `DataConnectionError` (425) as long as the connection is not open for
        its transfer, whatever the reason, and a `TransferAborted` (426) after that: RFC 959
        §4.2 has "can't open data connection" for the one, and "connection closed; transfer
        aborted" for the other. A server that answers ABOR needs 426 for both (§4.1.3): it
        knows that it has called this, and `FTPDataError.end` says so.

        Args:
            end: How the transfer ends.
            message: Why, for the log.
        """

        if self._kept is not None:
            self._kept.abort(end, message)

        self._give_up(end, message)

    async def aclose(self) -> None:
        """Release the listener, the port and a connection nobody has taken."""

        if self._link is not None and self._link.is_over:
            self._link.leave_soon()
            return

        self.abort()
        if self._begun is not None:
            with anyio.CancelScope(shield=True):
                await asyncio.wait((self._begun,))

    async def drain(self, within: float) -> Drained:
        """Let what has begun over this endpoint end; nothing new begins.

        An endpoint that neither opens nor has a transfer is given up at once. What runs may
        end until the deadline; then it is cut, and its error is a `TransferAborted` (426).
        That is logged as a warning to ``ftpdata.opening.drain``. An upload that is being stored by
        then is not cut: the drain waits for it, ten seconds at most.

        Args:
            within: Seconds that what runs may take; 0 cuts it at once.

        Raises:
            ValueError: `within` is negative or not finite.

        Cancellation ends the wait, and cuts nothing.
        """

        check_call(Endpoint.drain, locals())
        check_seconds("within", within, or_zero=True)
        if not self.activity.is_active:
            self.abort(End.ABORTED, DRAINING)

        running = Running()
        self.activity.join(running)
        try:
            return await running.drain(within)
        finally:
            self.activity.leave(running)

    def on_release(self, callback: Callable[[], object]) -> None:
        """Call `callback` once the endpoint listens, or tries to connect, no more."""

        self._on_release = callback

    # For the kinds of endpoints. (Each transfer asks more than once whether something is an
    # endpoint, and of an abstract class that takes ten times as long.)

    async def _obtain_link(self) -> Link:
        """Wait for the connection; see `_arrive` and `_wait`."""

        raise NotImplementedError

    def _release(self) -> None:
        """Close what brings the connection, such as a listener. Idempotent, never blocks."""

        raise NotImplementedError

    @property
    def _may_begin(self) -> bool:
        """Whether the peer's first bytes begin the handshake: it is the client of TLS."""

        return self._tls is not None and self._tls.server_side

    def _arrive(
        self, sock: socket.socket, peername: object = None, proxied: HostPort | None = None
    ) -> None:
        """Take the awaited connection; see `ftpdata.opening._acceptor.Arrival`."""

        self._note_released()
        self._link = Link(sock, self._wait, peername=peername, proxied_peer=proxied)
        if self._may_begin and not self._opening:
            self._link.on_first_bytes(self._begin)
        self._wait.wake()

    def _note_listening(self, address: HostPort) -> None:
        """Tell the observer that the endpoint waits for its connection there."""

        if self.observer is not None:
            self._listening_at = address
            tell(self.observer, "listening", address)

    # Private: opening

    def _note_open(self, dtp: DTP) -> None:
        """Count the connection as active until it has ended."""

        cut = dtp.abort
        self.activity.begin(cut)
        dtp.closed.add_done_callback(lambda _: self.activity.end(cut))

    def _note_released(self) -> None:
        if self._listening_at is None:
            return

        address, self._listening_at = self._listening_at, None
        if self.observer is not None:
            tell(self.observer, "released", address)

    def _note_opening(self) -> None:
        self._check_given_up()
        if self._opening:
            raise RuntimeError("an endpoint is for one connection, and has been opened")

        self._opening = True

    def _check_given_up(self) -> None:
        if self._wait.given_up is not None:
            self._drop_link()
            raise self._wait.given_up

    async def _connect(self) -> Link:
        self._check_given_up()
        try:
            self._link = link = await self._obtain_link()
            self._has_link = True
            if not self._has_options:
                self._socket_options.set_on(link.sock)
        except BaseException:
            self._drop_link()
            raise
        finally:
            if self._opening:
                self._let_go()

        self._check_given_up()
        if self._tls is not None:
            try:
                await link.protect(self._tls, self.deadlines.handshake)
            except BaseException:
                self._link = None
                raise

        return link

    def _begin(self) -> None:
        if self._opening:
            return

        self._wait.hold_deadlines()
        self._begun = asyncio.get_running_loop().create_task(self._connect())
        # What it raises is for `open`, if that is ever called.
        self._begun.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _connect_begun(self, task: asyncio.Task[Link]) -> Link:
        self._wait.start_deadlines()
        self._let_go()
        try:
            # Cancelling this cancels the task, too, and waits for it.
            link = await task
        except BaseException:
            # Cancelled when the task was over: the link is still here.
            self._drop_link()
            raise

        self._begun = None
        self._check_given_up()
        return link

    def _make_dtp(self, link: Link) -> DTP:
        dtp = self._dtp_factory()
        dtp.activity = self.activity
        dtp.bypass.name_peer(link.peername)
        dtp.proxied_peer = link.proxied_peer
        if self.observer is not None:
            dtp.observer, dtp.subject = self.observer, self.subject
        return dtp

    def _record(self, link: Link) -> DTP:
        """Make the `DTP` of a connection that has ended cleanly, which needs no transport."""

        dtp = self._make_dtp(link)
        dtp.bypass.receive_past(link.carried.received, link.tls)
        link.finish()
        return dtp

    async def _hand_over(self, link: Link) -> DTP:
        """Make the `DTP` of a connection; it is closed on any failure."""

        sock = link.detach()
        if link.channel is not None:
            acknowledge_at_once(sock)
        with _reset_on_failure(sock):
            dtp = self._make_dtp(link)
            try:
                await self._make_transport(link, sock, dtp)
            except BaseException as error:
                # uvloop does not call it, although it may have called its connection_made.
                has_failed = isinstance(error, Exception)
                dtp.abort(
                    End.OPEN_FAILED if has_failed else End.CANCELLED,
                    cause=error if has_failed else None,
                )
                dtp.connection_lost(None)
                if isinstance(error, OSError):
                    raise DataConnectionError(
                        f"the data connection was lost at once: {error}", end=End.OPEN_FAILED
                    ) from error
                raise

        given_up = self._wait.given_up
        if given_up is not None:
            dtp.abort(given_up.end or End.ABORTED, cause=given_up)
            raise given_up

        return dtp

    async def _make_transport(self, link: Link, sock: socket.socket, dtp: DTP) -> None:
        if link.carried.received:
            # Before there is a transport: uvloop reads at once.
            dtp.data_received(link.carried.received)
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: self._above_socket(link, dtp), sock)

    def _above_socket(self, link: Link, dtp: DTP) -> asyncio.BaseProtocol:
        """Return what is the protocol of the socket's transport."""

        carried, link.carried = link.carried, NOTHING
        if carried.sent or carried.is_end:
            dtp.bypass.account_sent(carried.sent, eof=carried.is_end)
        if self._tls is None:
            return dtp

        assert link.channel is not None
        dtp.strict_close = self._tls.strict_close
        return TLSTransport(link.channel, dtp, unsent=carried.unsent, is_ending=carried.is_end)

    # Private: giving up

    def _give_up(self, end: End, message: str | None) -> None:
        if self._wait.given_up is not None:
            return

        if message is None and end is End.ABORTED:
            message = "the data connection was given up"
        reason = error_for_end(end, message)
        if isinstance(reason, TransferAborted) and not self._is_given:
            # What was never open was not a transfer.
            reason = DataConnectionError(reason.message, end=end)
        self._wait.give_up(reason)
        self._let_go()
        self._drop_link()

    def _let_go(self) -> None:
        self._note_released()
        self._release()
        callback, self._on_release = self._on_release, None
        if callback is not None:
            callback()

    def _drop_link(self) -> None:
        if self._link is not None:
            self._link.reset()
            if not self._link.is_over:
                self._link = None


@contextlib.contextmanager
def _reset_on_failure(sock: socket.socket) -> Iterator[None]:
    """Reset a connection of which the event loop fails to make a transport.

    uvloop closes the socket if it is cancelled, and the peer would see an end of
    file. A second descriptor keeps the connection until it can be reset.
    """

    spare: int | None = None
    if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
        # Without a descriptor to spare it works all the same.
        with contextlib.suppress(OSError):
            spare = os.dup(sock.fileno())
    try:
        yield
    except BaseException:
        reset_socket(sock)
        if spare is not None:
            fd, spare = spare, None
            try:
                reset_socket(socket.socket(fileno=fd))
            except OSError:
                # Python has asked the system what it is.
                let_go(fd)
        raise
    finally:
        let_go(spare)


async def link_of(endpoint: Endpoint) -> Link:
    """Open an endpoint without a `DTP`, for small transfers, which need none.

    In TLS, the handshake is done. The link stays the endpoint's, which cuts it in
    `Endpoint.abort` and `Endpoint.aclose`. `Endpoint.open` may follow: it makes the
    DTP of the link, whatever went over it.

    Raises:
        As for `Endpoint.open`.
    """

    return await endpoint._give_link()  # noqa: SLF001 - no method, so that users do not see it


class AcceptedEndpoint(Endpoint):
    """An endpoint whose connection exists: a socket that was accepted elsewhere.

    Args:
        sock: A connected stream socket, or the file descriptor of one. It
            belongs to the endpoint from now on, unless this raises.
        deadlines: See `Endpoint`.
        tls: See `Endpoint`.
        socket_options: See `Endpoint`.
        dtp_factory: See `Endpoint`.
        observer: See `Endpoint`.

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
        observer: Observer | None = None,
    ) -> None:
        check_call(AcceptedEndpoint.__init__, locals())
        super().__init__(
            deadlines=deadlines or DEFAULT_DEADLINES,
            tls=tls,
            socket_options=socket_options,
            dtp_factory=dtp_factory,
            observer=observer,
        )
        connected: socket.socket | None = None
        try:
            connected = socket.socket(fileno=sock) if isinstance(sock, int) else sock
            peername = connected.getpeername()
            connected.setblocking(False)
        except OSError as error:
            if isinstance(sock, int) and connected is not None:
                # The caller has only the number, which may be another file's once it is closed.
                connected.detach()
            raise DataConnectionError(
                f"expected a connected socket: {error}", end=End.OPEN_FAILED
            ) from error

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            # Nobody can look for the first bytes of the peer yet.
            self._link = Link(connected, self._wait, peername=peername)
        else:
            self._arrive(connected, peername)

    @property
    def is_ready(self) -> bool:
        """Whether the connection is still to be given away."""

        return self._link is not None

    async def _obtain_link(self) -> Link:
        assert self._link is not None
        return self._link

    def _release(self) -> None:
        """Hold nothing but the connection."""
