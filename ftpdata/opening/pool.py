"""Passive listeners that stay bound: a few ports for any number of clients.

RFC 959 §4.1.2, RFC 2428 §3, RFC 2577 §8. Behind a firewall that opens a
handful of ports, a port per waiting client is soon exhausted. A pool
listens on all its ports all the time, and a connection belongs to the
reservation of its (peer address, port).

1. An address waits on a port once at a time: two clients behind one address
   get two ports, and when an address has used all of them, PortsExhausted at
   once. What one address does takes nothing from another.
2. A connection that came before the reservation is not its owner's, who could
   not know the port yet.
3. A port whose reservation ended without a connection rests for this address:
   the connection may still be on its way, and must not be the next client's. A
   session that asks again gets the port that rests for it, so that it keeps one
   from the others of its address, however often it asks.
4. A connection that no endpoint waits for is a stranger's: it is closed and counted.

Only the port distinguishes clients behind one address. Only TLS with session reuse can prove that
none of them takes another's connection on purpose.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections import OrderedDict
from collections.abc import Sequence
from itertools import chain
from typing import Self, Unpack

import attrs

from .._checks import check_call, check_seconds
from .._kernel import close_socket
from .._running import DRAINING, Drained, Running
from ..addresses import HostPort, check_host
from ..deadlines import DEFAULT_DEADLINES, Deadlines
from ..errors import DataConnectionError, OpenTimeout, PortsExhausted
from ..observers._telling import telling_refusals
from ..observers.contract import Observer
from ..outcome import End
from ..tls.policy import DataTLS
from ._acceptor import INHERITS_OPTIONS, Acceptor, Arrival, bind_listener
from ._link import Link
from .endpoint import DTPFactory, Endpoint, EndpointArguments
from .ports import PortRange
from .proxy import TrustedProxies
from .socket_options import SocketOptions

__all__ = ["ListenerPool", "PoolMetrics", "PooledEndpoint"]

logger: logging.Logger = logging.getLogger("ftpdata.opening.pool")

BACKLOG = 512
"""Connections that may wait at one port between two turns of the event loop."""


@attrs.frozen(kw_only=True)
class PoolMetrics:
    """What a pool does at one moment, and has done so far.

    Attributes:
        ports: Ports that are listened on.
        in_use: Reservations that were neither opened nor given up.
        waiting: Those of them whose connection has not come.
        running: Connections that are being opened, are open, or have a transfer.
        resting: Pairs of address and port that rest.
        reserved: Reservations made so far.
        matched: Connections given to their reservation so far.
        strangers: Connections refused so far.
        expired: Reservations that ended because nobody came in time.
        exhausted: Reservations refused because the address had used all ports.
    """

    ports: int
    in_use: int
    waiting: int
    running: int
    resting: int
    reserved: int
    matched: int
    strangers: int
    expired: int
    exhausted: int


@attrs.define
class _Counts:
    reserved: int = 0
    matched: int = 0
    strangers: int = 0
    expired: int = 0
    exhausted: int = 0


class _Listener:
    """One port of a pool, and the clients that it waits for."""

    def __init__(
        self,
        sock: socket.socket,
        trusted_proxies: TrustedProxies | None,
        observer: Observer | None,
    ) -> None:
        self.waiting: dict[str, PooledEndpoint] = {}
        self.acceptor: Acceptor = Acceptor(
            sock,
            backlog=BACKLOG,
            deliver=self._deliver,
            fail=self._failed,
            proxies=trusted_proxies,
            logger=logger,
            # A port that is always open is found by every scanner of the network.
            level=logging.INFO,
            observer=observer,
        )
        self.acceptor.watch_on()

    @property
    def address(self) -> HostPort:
        """Where it listens."""

        return self.acceptor.address

    def _deliver(self, sock: socket.socket, arrival: Arrival) -> None:
        reservation = self.waiting.get(_peer_key(arrival.host))
        if reservation is None:
            self.acceptor.refuse(sock, arrival.host, "nobody waits for it")
        elif arrival.number <= reservation.since:
            self.acceptor.refuse(sock, arrival.host, "it came before it could be expected")
        else:
            reservation.take(sock, arrival)

    def _failed(self, error: OSError) -> None:
        logger.error("port %d is lost: accept failed: %s", self.address.port, error.strerror)
        for reservation in list(self.waiting.values()):
            reservation.abort(End.OPEN_FAILED, f"accept failed: {error.strerror}")


def _peer_key(host: str) -> str:
    """Spell an address in the one way: IPv4 mapped into IPv6 is IPv4. The scope stays."""

    bare, percent, scope = host.partition("%")
    return HostPort(bare, 1).host + percent + scope


class ListenerPool:
    """Passive listeners that are shared by all control sessions of a server.

    An asynchronous context manager: it listens within the block, and gives up
    every reservation at its end. Connections that were opened live on.

    Args:
        hosts: Local address to listen on, or several: IPv4, IPv6, ``::`` for
            both.
        ports: The ports, on each address. Those in use elsewhere are left
            out, with a warning.
        expiry: Seconds until a reservation ends that is not opened. Once
            `Endpoint.open` waits, its own deadline counts instead.
        rest: Seconds that a port is kept from the other clients of an address
            after a reservation without a connection. 0 for no time at all.
        trusted_proxies: The proxies that all connections come through, and
            whose PROXY header says whose connection it is.
        socket_options: See `SocketOptions`.
        observer: Notified of endpoints, of strangers, and of the transfers
            (`ftpdata.observers`).

    Raises:
        ValueError: There is no host, or a number of seconds is not valid.
    """

    def __init__(
        self,
        hosts: str | Sequence[str],
        ports: PortRange,
        *,
        expiry: float = 60.0,
        rest: float = 2.0,
        trusted_proxies: TrustedProxies | None = None,
        socket_options: SocketOptions | None = None,
        observer: Observer | None = None,
    ) -> None:
        check_call(ListenerPool.__init__, locals())
        check_seconds("expiry", expiry)
        check_seconds("rest", rest, or_zero=True)
        self.hosts: tuple[str, ...] = (hosts,) if isinstance(hosts, str) else tuple(hosts)
        if not self.hosts:
            raise ValueError("a pool needs an address to listen on")
        for each in self.hosts:
            check_host("hosts", each)

        self.ports = ports
        self._expiry = expiry
        self._rest = rest
        self._trusted_proxies = trusted_proxies
        self._socket_options = socket_options
        self._observer = observer
        self._listeners: dict[tuple[str, int], _Listener] = {}
        self._reservations: set[PooledEndpoint] = set()
        # What rests, in the order in which it will have rested: all rest for the same time.
        self._resting: OrderedDict[tuple[_Listener, str], tuple[float, object]] = OrderedDict()
        self._counts = _Counts()
        self._running = Running()
        self._is_draining = False
        self._entered = False

    def __repr__(self) -> str:
        state = f"{len(self._listeners)} listeners" if self._listeners else "closed"
        return f"<ListenerPool {state} on {', '.join(self.hosts)} in_use={len(self._reservations)}>"

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            PortsExhausted: Every port is in use. Reply 425.
            DataConnectionError: An address is not one of this machine's. Reply 425.
            RuntimeError: A pool is entered once.
        """

        if self._entered:
            raise RuntimeError("a pool is entered once")

        self._entered = True
        try:
            for host in self.hosts:
                self._listen(host)
        except BaseException:
            self._close()
            raise

        return self

    async def __aexit__(self, *reason: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give up every reservation, and listen no more. Idempotent."""

        self._close()

    async def drain(self, within: float) -> Drained:
        """Let what has begun over the pool's endpoints end; nothing new begins.

        From now on `reserve` raises, and reservations that neither open nor have a transfer are
        given up. What runs may end until the deadline; then it is cut, as in `Endpoint.drain`.
        The pool goes on to listen until `aclose`.

        Args:
            within: Seconds that what runs may take; 0 cuts it at once.

        Raises:
            ValueError: `within` is negative or not finite.

        Cancellation ends the wait, and cuts nothing; nothing new begins all the same.
        """

        check_call(ListenerPool.drain, locals())
        check_seconds("within", within, or_zero=True)
        self._is_draining = True
        for reservation in list(self._reservations):
            if not reservation.activity.is_active:
                reservation.abort(End.ABORTED, DRAINING)
        return await self._running.drain(within)

    @property
    def metrics(self) -> PoolMetrics:
        """What the pool does now, and has done so far."""

        self._wake_rested()
        refused = sum(listener.acceptor.refused for listener in self._listeners.values())
        return PoolMetrics(
            ports=len(self._listeners),
            in_use=len(self._reservations),
            waiting=sum(len(listener.waiting) for listener in self._listeners.values()),
            running=len(self._running),
            resting=len(self._resting),
            reserved=self._counts.reserved,
            matched=self._counts.matched,
            strangers=self._counts.strangers + refused,
            expired=self._counts.expired,
            exhausted=self._counts.exhausted,
        )

    def reserve(
        self,
        *,
        control_peer: str,
        host: str | None = None,
        owner: object = None,
        deadlines: Deadlines | None = None,
        tls: DataTLS | None = None,
        dtp_factory: DTPFactory | None = None,
    ) -> PooledEndpoint:
        """Choose a port that this peer, and for this peer nobody else, will connect to.

        Args:
            control_peer: Address of the control connection's peer (behind a
                proxy: of the client). The connection must come from it.
            host: Which of the pool's addresses, where there are several: that
                of the control connection. By default the first one that the
                peer can connect to.
            owner: Anything that stands for the control session: a port that
                rests is free for the session that had it.
            deadlines: `open` is how long `Endpoint.open` waits for the peer.
            tls: How the connection is protected (PROT P); None for clear (PROT C).
            dtp_factory: Makes the protocol; for subclasses of `DTP`.

        Returns:
            The endpoint. Its `address` is what to tell the client.

        Raises:
            PortsExhausted: The address waits on all ports. At once. Reply 425.
            DataConnectionError: The pool is not open, or is being drained, or is not
                on an address that the peer can connect to. Reply 425.
            BadAddress: `control_peer` is not an address. Reply 501.
        """

        check_call(ListenerPool.reserve, locals())
        peer = _peer_key(control_peer)
        with telling_refusals(self._observer):
            if not self._listeners:
                raise DataConnectionError("the pool is not open", end=End.OPEN_FAILED)
            if self._is_draining:
                raise DataConnectionError(DRAINING, end=End.OPEN_FAILED)

            listener = self._choose(self._host_for(peer, host), peer, owner)
        reservation = PooledEndpoint(
            self,
            listener,
            peer,
            owner=owner,
            expiry=self._expiry,
            deadlines=deadlines or DEFAULT_DEADLINES,
            tls=tls,
            socket_options=self._socket_options,
            dtp_factory=dtp_factory,
            observer=self._observer,
        )
        reservation.activity.join(self._running)
        listener.waiting[peer] = reservation
        self._reservations.add(reservation)
        self._counts.reserved += 1
        return reservation

    # Called by reservations

    def connected(self, listener: _Listener, peer: str) -> None:
        """Take note that a reservation has its connection."""

        del listener.waiting[peer]
        self._counts.matched += 1

    def given_up(self, reservation: PooledEndpoint, listener: _Listener, peer: str) -> None:
        """Take note that a reservation is over: opened, or given up."""

        self._reservations.discard(reservation)
        if listener.waiting.get(peer) is reservation:
            del listener.waiting[peer]
            if self._rest and listener.acceptor.is_open:
                until = asyncio.get_running_loop().time() + self._rest
                self._resting[listener, peer] = (until, reservation.owner)
                self._resting.move_to_end((listener, peer))

    def expired(self) -> None:
        """Count a reservation to which nobody came in time."""

        self._counts.expired += 1

    # Private

    def _listen(self, host: str) -> None:
        taken = []
        for port in range(self.ports.first, self.ports.last + 1):
            try:
                self._listeners[host, port] = self._listener(host, port)
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise DataConnectionError(
                        f"cannot listen on {host}: {error.strerror}", end=End.OPEN_FAILED
                    ) from error

                taken.append(port)

        if len(taken) == len(self.ports):
            raise PortsExhausted(
                f"all ports from {self.ports.first} to {self.ports.last} are in use",
                end=End.PORTS_EXHAUSTED,
            )
        if taken:
            logger.warning("%d ports on %s are in use elsewhere: %s", len(taken), host, taken)

    def _listener(self, host: str, port: int) -> _Listener:
        sock = bind_listener(host, port, backlog=BACKLOG, options=self._socket_options)
        try:
            return _Listener(sock, self._trusted_proxies, self._observer)
        except BaseException:
            # The event loop may be unable to watch another socket (epoll_ctl(2): ENOSPC).
            close_socket(sock)
            raise

    def _host_for(self, peer: str, wanted: str | None) -> str:
        if wanted is not None:
            if wanted in self.hosts:
                return wanted
            raise DataConnectionError(
                f"the pool does not listen on {wanted}", end=End.OPEN_FAILED
            )

        for host in self.hosts:
            if host == "::" or (":" in host) == (":" in peer):
                return host

        if self._trusted_proxies is not None:
            # The proxy connects to us over what it likes, whatever its client uses.
            return self.hosts[0]

        raise DataConnectionError(
            f"the pool listens on no address that {peer} can connect to", end=End.OPEN_FAILED
        )

    def _choose(self, host: str, peer: str, owner: object) -> _Listener:
        self._wake_rested()
        for port in chain(self._resting_for(host, peer, owner), self.ports.shuffled()):
            listener = self._listeners.get((host, port))
            if listener is None:
                continue

            # Judge first what has come so far: it may be what this port waits for.
            listener.acceptor.accept()
            if peer in listener.waiting or not listener.acceptor.is_open:
                continue

            rests = self._resting.get((listener, peer))
            if rests is None:
                return listener
            if owner is not None and rests[1] is owner:
                del self._resting[listener, peer]
                return listener

        self._counts.exhausted += 1
        raise PortsExhausted(
            f"{peer} waits on all {len(self.ports)} ports from {self.ports.first} "
            f"to {self.ports.last}",
            end=End.PORTS_EXHAUSTED,
        )

    def _resting_for(self, host: str, peer: str, owner: object) -> list[int]:
        """Return the ports that rest for this session, none of which another could have."""

        if owner is None or not self._resting:
            return []

        return [
            port
            for (at, port), listener in self._listeners.items()
            if at == host and self._resting.get((listener, peer), (0.0, None))[1] is owner
        ]

    def _wake_rested(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._resting:
            pair, (until, _) = next(iter(self._resting.items()))
            if until > now:
                return

            del self._resting[pair]

    def _close(self) -> None:
        listeners, self._listeners = self._listeners, {}
        # First the ports, so that nothing is matched and nothing rests any more.
        for listener in listeners.values():
            listener.acceptor.close()
            self._counts.strangers += listener.acceptor.refused

        for reservation in list(self._reservations):
            reservation.abort(End.OPEN_FAILED, "the pool of listeners was closed")

        self._resting.clear()


class PooledEndpoint(Endpoint):
    """A reservation in a `ListenerPool`. Made by `ListenerPool.reserve`.

    Attributes:
        address: Address and port that the client must connect to.
        owner: What was given to `ListenerPool.reserve`.
        since: Connections that the port had accepted before.
    """

    def __init__(
        self,
        pool: ListenerPool,
        listener: _Listener,
        peer: str,
        *,
        owner: object,
        expiry: float,
        **common: Unpack[EndpointArguments],
    ) -> None:
        super().__init__(**common)
        self.address: HostPort = listener.address
        self.owner = owner
        self.since: int = listener.acceptor.arrivals
        self._pool = pool
        self._listener = listener
        self._peer = peer
        self._is_over = False
        self._has_options = INHERITS_OPTIONS
        self._expiry = expiry
        self._timer = asyncio.get_running_loop().call_later(expiry, self._expire)
        self._note_listening(listener.address)

    def __repr__(self) -> str:
        here = "waiting" if self._link is None else "connected"
        state = "over" if self._is_over else here
        return f"<PooledEndpoint {state} for {self._peer} on {self.address}>"

    @property
    def is_ready(self) -> bool:
        """Whether the owner has connected: reply 125 rather than 150."""

        if self._has_link:
            return True
        if self._link is None and not self._is_over:
            self._listener.acceptor.accept()

        return self._link is not None

    def take(self, sock: socket.socket, arrival: Arrival) -> None:
        """Take the connection; called by the pool."""

        self._pool.connected(self._listener, self._peer)
        self._arrive(sock, arrival.peername, arrival.proxied)

    async def _obtain_link(self) -> Link:
        if self._opening:
            # From now on it is the deadlines that count.
            self._timer.cancel()
        if not self.is_ready:
            try:
                await self._wait.until_woken(self.deadlines.open, End.ACCEPT_TIMEOUT)
            except OpenTimeout:
                self._pool.expired()
                raise

        assert self._link is not None
        return self._link

    def _expire(self) -> None:
        self._pool.expired()
        self.abort(End.ACCEPT_TIMEOUT, f"the reservation has expired ({self._expiry:g} s)")

    def _release(self) -> None:
        if self._is_over:
            return

        self._is_over = True
        self._timer.cancel()
        self._pool.given_up(self, self._listener, self._peer)
