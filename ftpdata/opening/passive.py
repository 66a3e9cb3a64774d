"""Passive data connections: listen, and take the owner's connection (PASV, EPSV).

RFC 959 §4.1.2, RFC 2428 §3, RFC 2577 §8. A stranger, as the peer policy
sees it, is closed and counted, and the listener goes on waiting for the owner
until its deadline. The listener accepts from the moment it listens, not only when
a transfer command comes, so that strangers cannot fill its queue.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import socket
import warnings
import weakref
from collections.abc import Callable
from typing import Unpack

from .._checks import check_call, check_seconds
from .._kernel import close_socket
from .._tasks import call_in_loop
from ..addresses import HostPort, PeerPolicy, check_host, policy_for
from ..deadlines import DEFAULT_DEADLINES, Deadlines
from ..errors import DataConnectionError, PortsExhausted
from ..observers._telling import tell, telling_refusals
from ..observers.contract import Observer
from ..outcome import End
from ..tls.policy import DataTLS
from ._acceptor import INHERITS_OPTIONS, Acceptor, Arrival, bind_listener
from ._link import Link
from .endpoint import DTPFactory, Endpoint, EndpointArguments
from .ports import DYNAMIC_PORTS, PortRange
from .proxy import TrustedProxies
from .socket_options import SocketOptions

__all__ = ["PassiveEndpoint", "PassiveListener", "listen_passive"]

logger: logging.Logger = logging.getLogger("ftpdata.opening.passive")

BACKLOG = 16
"""Connections that may wait between two turns of the event loop."""


_in_use: set[tuple[str, int]] = set()
"""(address, port) of this process's listeners: a full range is known without a system call."""


async def listen_passive(
    host: str,
    *,
    control_peer: str | None = None,
    ports: PortRange | None = None,
    policy: PeerPolicy | None = None,
    deadlines: Deadlines | None = None,
    sock: socket.socket | int | None = None,
    tls: DataTLS | None = None,
    trusted_proxies: TrustedProxies | None = None,
    socket_options: SocketOptions | None = None,
    dtp_factory: DTPFactory | None = None,
    observer: Observer | None = None,
) -> PassiveEndpoint:
    """Listen for one data connection (PASV, EPSV).

    Args:
        host: Local address to listen on, IPv4 or IPv6: that of the control
            connection.
        control_peer: Address of the control connection's peer, which `policy`
            compares with. None only where `policy` accepts any peer.
        ports: Ports to choose from; by default the dynamic ports.
        policy: Who may connect; by default exactly `control_peer`.
        deadlines: `open` is how long `Endpoint.open` waits for the owner.
        sock: A bound or listening socket made elsewhere, or the descriptor of
            one, to be used instead of `host` and `ports`. It belongs to the
            endpoint.
        tls: How the connection is protected (PROT P); None for clear (PROT C).
        trusted_proxies: The proxies that all connections come through, and
            whose PROXY header says who it is that `policy` judges.
        socket_options: See `SocketOptions`.
        dtp_factory: Makes the protocol; for subclasses of `DTP`.
        observer: Notified of the endpoint, of strangers, and of the transfer
            (`ftpdata.observers`).

    Returns:
        The endpoint, listening. Its `address` is what to tell the client.

    Raises:
        PortsExhausted: Every port of the range is in use. At once. Reply 425.
        DataConnectionError: The address is not one of this machine's, or `sock` cannot
            listen. Reply 425.
        ValueError: The policy needs a `control_peer`, or it is not an address.
        TypeError: `control_peer`, `ports` or `tls` is of another type.
    """

    check_call(listen_passive, locals())
    check_host("host", host)
    policy = policy_for(control_peer, policy)
    key: tuple[str, int] | None = None
    if sock is None:
        with telling_refusals(observer):
            listener, key = _listen(
                host, ports if ports is not None else DYNAMIC_PORTS, socket_options
            )
    else:
        listener = _given(sock)

    try:
        listener.setblocking(False)
        if key is None:
            listener.listen(BACKLOG)
        return PassiveEndpoint(
            _Listener(listener, key, trusted_proxies, observer=observer),
            control_peer=control_peer,
            policy=policy,
            deadlines=deadlines or DEFAULT_DEADLINES,
            tls=tls,
            socket_options=socket_options,
            dtp_factory=dtp_factory,
            observer=observer,
        )
    except BaseException as error:
        close_socket(listener)
        if key is not None:
            _in_use.discard(key)
        if isinstance(error, OSError):
            raise _cannot_listen(error) from error
        raise


def _given(sock: socket.socket | int) -> socket.socket:
    try:
        return socket.socket(fileno=sock) if isinstance(sock, int) else sock
    except OSError as error:
        raise _cannot_listen(error) from error


def _cannot_listen(error: OSError) -> DataConnectionError:
    return DataConnectionError(f"cannot listen: {error.strerror}", end=End.OPEN_FAILED)


def _listen(
    host: str, ports: PortRange, options: SocketOptions | None
) -> tuple[socket.socket, tuple[str, int]]:
    """Listen on a free port of the range; it is noted in `_in_use`."""

    # Without a random number for each, where none of a large range is free.
    is_full = len(_in_use) >= len(ports) and all(
        (host, port) in _in_use for port in range(ports.first, ports.last + 1)
    )
    for port in () if is_full else ports.shuffled():
        key = (host, port)
        if key in _in_use:
            continue

        try:
            sock = bind_listener(host, port, backlog=BACKLOG, options=options)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                continue
            raise DataConnectionError(
                f"cannot listen on {host}: {error.strerror}", end=End.OPEN_FAILED
            ) from error

        _in_use.add(key)
        return sock, key

    raise PortsExhausted(
        f"all {len(ports)} ports from {ports.first} to {ports.last} are in use",
        end=End.PORTS_EXHAUSTED,
    )


class _Listener:
    """A listening socket, and the endpoint that waits for a connection to it.

    The event loop refers to this as long as the socket listens. This refers to the endpoint
    only weakly, so an endpoint that the host forgets is deleted, and gives the port back.
    """

    def __init__(
        self,
        sock: socket.socket,
        key: tuple[str, int] | None,
        trusted_proxies: TrustedProxies | None,
        *,
        observer: Observer | None,
        is_kept: bool = False,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.is_kept = is_kept
        self._endpoint: weakref.ref[PassiveEndpoint] | None = None
        # Stands for the endpoint, which no weak reference finds any more while it is deleted.
        self._ticket: object | None = None
        self.key = key
        self.acceptor: Acceptor = Acceptor(
            sock,
            backlog=BACKLOG,
            deliver=self._deliver,
            fail=self._failed,
            proxies=trusted_proxies,
            logger=logger,
            observer=observer,
        )

    @property
    def address(self) -> HostPort:
        """Where it listens."""

        return self.acceptor.address

    @property
    def is_reserved(self) -> bool:
        """Whether it waits for the connection of an endpoint."""

        return self._ticket is not None

    def wait_for(self, endpoint: PassiveEndpoint) -> object:
        """Wait for the connection of this endpoint; return what to give to `let_go`."""

        self._endpoint = weakref.ref(endpoint)
        self._ticket = object()
        return self._ticket

    def serves(self, ticket: object) -> bool:
        """Whether it still waits for the connection of the endpoint that has this ticket."""

        return self._ticket is ticket

    def let_go(self, ticket: object, *, has_come: bool) -> None:
        """Wait for this endpoint's connection no more; listen on only where that is safe.

        A connection that has not come may still be on its way, and must not be
        taken for the next one. And any other peer that has connected knows the port.
        """

        if self._ticket is ticket:
            self._ticket = self._endpoint = None
            if not (self.is_kept and has_come and self.acceptor.refused == 0):
                self.close()

    def run_in_loop(self, callback: Callable[[], object]) -> None:
        """See `call_in_loop`."""

        call_in_loop(self._loop, callback)

    def close(self) -> None:
        """Listen no more. Idempotent."""

        if self.acceptor.is_open:
            self.acceptor.close()
            if self.key is not None:
                _in_use.discard(self.key)

    def _deliver(self, sock: socket.socket, arrival: Arrival) -> None:
        endpoint = None if self._endpoint is None else self._endpoint()
        if endpoint is None:
            self.acceptor.refuse(sock, arrival.host, "nobody waits for it")
        else:
            endpoint.judge(sock, arrival)

    def _failed(self, error: OSError) -> None:
        if self.key is not None:
            _in_use.discard(self.key)
        endpoint = None if self._endpoint is None else self._endpoint()
        if endpoint is not None:
            endpoint.abort(End.OPEN_FAILED, f"accept failed: {error.strerror}")


class PassiveListener:
    """Listens for the passive data connections of one control session, one after the other.

    Making a listener for each transfer takes longer than a small transfer. This
    one stays for a moment, so that transfers in quick succession share a port;
    it is replaced when the moment is over, when a connection was awaited in vain,
    and when anybody else has connected, who knows the port now.

    Args:
        host: See `listen_passive`, as for all that follows.
        control_peer: Address of the control connection's peer.
        ports: Ports to choose from.
        policy: Who may connect.
        trusted_proxies: The proxies that all connections come through.
        socket_options: See `SocketOptions`.
        lifetime: Seconds that one port is listened on, unless somebody is
            waited for.
        observer: See `listen_passive`.

    Raises:
        ValueError: The policy needs a `control_peer`; or no time.
    """

    def __init__(
        self,
        host: str,
        *,
        control_peer: str | None = None,
        ports: PortRange | None = None,
        policy: PeerPolicy | None = None,
        trusted_proxies: TrustedProxies | None = None,
        socket_options: SocketOptions | None = None,
        lifetime: float = 1.0,
        observer: Observer | None = None,
    ) -> None:
        check_call(PassiveListener.__init__, locals())
        check_host("host", host)
        check_seconds("lifetime", lifetime)
        self._policy = policy_for(control_peer, policy)
        self._host = host
        self._control_peer = control_peer
        self._ports = ports if ports is not None else DYNAMIC_PORTS
        self._trusted_proxies = trusted_proxies
        self._socket_options = socket_options
        self._lifetime = lifetime
        self._observer = observer
        self._listener: _Listener | None = None
        self._timer: asyncio.TimerHandle | None = None

    def reserve(
        self,
        *,
        deadlines: Deadlines | None = None,
        tls: DataTLS | None = None,
        dtp_factory: DTPFactory | None = None,
    ) -> PassiveEndpoint:
        """Listen for the next connection (PASV, EPSV).

        Args:
            deadlines: See `listen_passive`, as for all that follows.
            tls: How the connection is protected.
            dtp_factory: Makes the protocol.

        Raises:
            PortsExhausted: Every port of the range is in use. At once. Reply 425.
            DataConnectionError: The address is not one of this machine's. Reply 425.
            RuntimeError: The endpoint before neither has its connection nor was closed.
        """

        check_call(PassiveListener.reserve, locals())
        listener = self._listener
        if listener is not None:
            if listener.is_reserved:
                raise RuntimeError("one connection at a time: the listener waits for another one")

            # A connection that has come by now cannot be the awaited one.
            listener.acceptor.accept()
            if listener.acceptor.refused or not listener.acceptor.is_open:
                self.close()
                listener = None

        if listener is None:
            listener = self._listener = self._listen()

        return PassiveEndpoint(
            listener,
            control_peer=self._control_peer,
            policy=self._policy,
            deadlines=deadlines or DEFAULT_DEADLINES,
            tls=tls,
            socket_options=self._socket_options,
            dtp_factory=dtp_factory,
            observer=self._observer,
        )

    def close(self) -> None:
        """Listen no more, unless an endpoint waits, which then closes it. Idempotent."""

        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

        listener, self._listener = self._listener, None
        if listener is not None:
            listener.is_kept = False
            if not listener.is_reserved:
                listener.close()

    def _listen(self) -> _Listener:
        with telling_refusals(self._observer):
            sock, key = _listen(self._host, self._ports, self._socket_options)
        try:
            listener = _Listener(
                sock, key, self._trusted_proxies, observer=self._observer, is_kept=True
            )
        except BaseException:
            close_socket(sock)
            _in_use.discard(key)
            raise

        self._timer = asyncio.get_running_loop().call_later(self._lifetime, self.close)
        return listener


class PassiveEndpoint(Endpoint):
    """A listener for one data connection. Made by `listen_passive`.

    It listens until its connection has come, or `abort` or `aclose` is called. If it is
    forgotten before that, a `ResourceWarning` says so, and the port is given back.

    Attributes:
        address: Address and port that are listened on.
    """

    # As it is if the constructor raises.
    _ticket: object = None

    def __init__(
        self,
        listener: _Listener,
        *,
        control_peer: str | None,
        policy: PeerPolicy,
        **common: Unpack[EndpointArguments],
    ) -> None:
        super().__init__(**common)
        self.address: HostPort = listener.acceptor.address
        self._control_peer = control_peer
        self._policy = policy
        self._listener = listener
        self._acceptor = listener.acceptor
        self._refused_before = listener.acceptor.refused
        # A socket that was made elsewhere has what its maker has set.
        self._has_options = INHERITS_OPTIONS and listener.key is not None
        self._ticket = listener.wait_for(self)
        self._note_listening(self.address)
        if self._may_begin:
            self._acceptor.watch_on()

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if self._ticket is None or not self._listener.serves(self._ticket):
            return

        listener = self._listener
        _warn(f"unclosed endpoint {self!r}", ResourceWarning, source=self)
        # Not a method of this object, which is being deleted.
        give_back = functools.partial(
            _forget, listener, self._ticket, self._on_release, self.observer
        )
        listener.run_in_loop(give_back)

    def __repr__(self) -> str:
        state = "listening" if self._listener.serves(self._ticket) else "closed"
        return f"<PassiveEndpoint {state} on {self.address} strangers={self.strangers}>"

    @property
    def strangers(self) -> int:
        """Connections refused so far: by the policy, or for want of a trusted PROXY header."""

        return self._acceptor.refused - self._refused_before

    @property
    def is_ready(self) -> bool:
        """Whether the owner has connected: reply 125 rather than 150."""

        if self._has_link:
            return True

        if self._link is None:
            self._acceptor.accept_awaited()

        return self._link is not None

    async def _obtain_link(self) -> Link:
        if not self.is_ready:
            self._acceptor.watch_on()
            await self._wait.until_woken(self.deadlines.open, End.ACCEPT_TIMEOUT)

        assert self._link is not None
        return self._link

    def _release(self) -> None:
        self._listener.let_go(self._ticket, has_come=False)

    def judge(self, sock: socket.socket, arrival: Arrival) -> None:
        """Take a connection, or refuse it; called by the listener."""

        reason = self._policy.check(arrival.host, self._control_peer)
        if reason is not None:
            self._acceptor.refuse(sock, arrival.host, reason)
            return

        self._listener.let_go(self._ticket, has_come=True)
        self._arrive(sock, arrival.peername, arrival.proxied)


def _forget(
    listener: _Listener,
    ticket: object,
    on_release: Callable[[], object] | None,
    observer: Observer | None,
) -> None:
    """Give back the port of an endpoint that was forgotten."""

    if observer is not None:
        tell(observer, "released", listener.address)
    listener.let_go(ticket, has_come=False)
    if on_release is not None:
        on_release()
