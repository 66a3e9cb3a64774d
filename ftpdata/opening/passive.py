"""Passive data connections: listen, and take the owner's connection (PASV, EPSV).

RFC 959 §4.1.2, RFC 2428 §3, RFC 2577 §8. A stranger, as the peer policy
sees it, is closed and counted, and the listener goes on waiting for the owner
until its deadline. Ports are chosen with `secrets`: a port that can be guessed
can be stolen. The listener accepts from the moment it listens, not only when a
transfer command comes, so that strangers cannot fill its queue.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import secrets
import socket
from collections.abc import Iterator

import attrs

from ..addresses import HostPort, PeerPolicy
from ..deadlines import Deadlines
from ..errors import BadAddress, DataConnectionError, PortsExhausted
from ..outcome import End
from ..tls.policy import DataTLS
from ._acceptor import INHERITS_OPTIONS, Acceptor, Arrival, bind_listener
from ._link import Link
from .endpoint import DTPFactory, Endpoint, check_tls
from .proxy import TrustedProxies
from .socket_options import SocketOptions

__all__ = ["PassiveEndpoint", "PassiveListener", "PortRange", "listen_passive"]

logger: logging.Logger = logging.getLogger("ftpdata.opening.passive")

BACKLOG = 16
"""Connections that may wait between two turns of the event loop."""


def _port(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    if not 1 <= value <= 65535:  # noqa: PLR2004 - RFC 9293 §3.1: 16 bits
        raise BadAddress(f"{attribute.name} must be a port from 1 to 65535, not {value!r}")


@attrs.frozen
class PortRange:
    """The ports that passive connections may use. Both ends belong to it.

    Attributes:
        first: Lowest port.
        last: Highest port.

    Raises:
        BadAddress: Not ports, or in the wrong order. Reply 501.
    """

    first: int = attrs.field(validator=_port)
    last: int = attrs.field(validator=_port)

    def __attrs_post_init__(self) -> None:
        if self.last < self.first:
            raise BadAddress(f"a range of ports goes upwards, not from {self.first} to {self.last}")

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and self.first <= port <= self.last

    def slice(self, worker: int, workers: int) -> PortRange:
        """Return the part of one of several worker processes; parts never overlap.

        Args:
            worker: Which one, from 0.
            workers: How many there are.

        Raises:
            BadAddress: The range has fewer ports than there are workers, or
                `worker` is not one of them. Reply 501.
        """

        if not 0 <= worker < workers <= len(self):
            raise BadAddress(
                f"cannot give worker {worker} of {workers} a part of {len(self)} ports"
            )

        size, rest = divmod(len(self), workers)
        first = self.first + worker * size + min(worker, rest)
        return PortRange(first, first + size - 1 + (worker < rest))

    def shuffled(self) -> Iterator[int]:
        """Yield every port once, each order as likely as any other.

        Memory and work are in proportion to the ports that are asked for, not
        to the range: Fisher and Yates' shuffle, of which only what has been
        exchanged is kept. A walk with a random stride would be cheaper, and
        would prefer the free ports after a long row of those in use.
        """

        exchanged: dict[int, int] = {}
        for last in range(len(self) - 1, -1, -1):
            index = secrets.randbelow(last + 1)
            yield self.first + exchanged.get(index, index)
            exchanged[index] = exchanged.pop(last, last)


DYNAMIC_PORTS = PortRange(49152, 65535)
"""The dynamic ports of RFC 6335 §6: what is used where no range is given.

Chosen here rather than by the kernel (port 0), whose choice can be predicted
and falls from thousands to hundreds of listeners a second once many sockets
are in TIME_WAIT."""

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

    Returns:
        The endpoint, listening. Its `address` is what to tell the client.

    Raises:
        PortsExhausted: Every port of the range is in use. At once. Reply 425.
        DataConnectionError: The address is not one of this machine's. Reply 425.
        ValueError: The policy needs a `control_peer`, or it is not an address.
        TypeError: `control_peer`, `ports` or `tls` is of another type.
    """

    policy = policy if policy is not None else PeerPolicy.exact()
    if control_peer is None and not policy.accepts_any:
        raise ValueError("control_peer is needed: the peer policy compares with it")
    _check(control_peer, ports)
    check_tls(tls)

    key: tuple[str, int] | None = None
    if sock is None:
        listener, key = _listen(
            host, ports if ports is not None else DYNAMIC_PORTS, socket_options
        )
    else:
        listener = socket.socket(fileno=sock) if isinstance(sock, int) else sock

    try:
        listener.setblocking(False)
        if key is None:
            listener.listen(BACKLOG)
        return PassiveEndpoint(
            _Listener(listener, key, trusted_proxies),
            control_peer=control_peer,
            policy=policy,
            deadlines=deadlines or Deadlines(),
            tls=tls,
            socket_options=socket_options,
            dtp_factory=dtp_factory,
        )
    except BaseException as error:
        listener.close()
        if key is not None:
            _in_use.discard(key)
        if isinstance(error, OSError):
            raise DataConnectionError(
                f"cannot listen: {error.strerror}", end=End.OPEN_FAILED
            ) from error
        raise


def _check(control_peer: object, ports: object) -> None:
    """Refuse at the call what would only be found when somebody has connected."""

    if ports is not None and not isinstance(ports, PortRange):
        raise TypeError(f"ports is a PortRange or None, not {ports!r:.80}")
    if control_peer is None:
        return
    if not isinstance(control_peer, str):
        raise TypeError(f"control_peer is an address as text, not {control_peer!r:.80}")

    # A link-local address is followed by its scope.
    HostPort(control_peer.partition("%")[0], 1)


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
    """A listening socket, and the endpoint that waits for a connection to it."""

    def __init__(
        self,
        sock: socket.socket,
        key: tuple[str, int] | None,
        trusted_proxies: TrustedProxies | None,
        *,
        is_kept: bool = False,
    ) -> None:
        host, port = sock.getsockname()[:2]
        # A link-local address comes with its zone, which the client must not get.
        self.address: HostPort = HostPort(host.partition("%")[0], port)
        self.endpoint: PassiveEndpoint | None = None
        self.is_kept = is_kept
        self.key = key
        self.acceptor: Acceptor = Acceptor(
            sock,
            backlog=BACKLOG,
            deliver=self._deliver,
            fail=self._failed,
            proxies=trusted_proxies,
            logger=logger,
        )

    def let_go(self, endpoint: PassiveEndpoint, *, has_come: bool) -> None:
        """Wait for this endpoint's connection no more; listen on only where that is safe.

        A connection that has not come may still be on its way, and must not be
        taken for the next one. And any other peer that has connected knows the port.
        """

        if self.endpoint is endpoint:
            self.endpoint = None
            if not (self.is_kept and has_come and self.acceptor.refused == 0):
                self.close()

    def close(self) -> None:
        """Listen no more. Idempotent."""

        if self.acceptor.is_open:
            self.acceptor.close()
            if self.key is not None:
                _in_use.discard(self.key)

    def _deliver(self, sock: socket.socket, arrival: Arrival) -> None:
        if self.endpoint is None:
            self.acceptor.refuse(sock, arrival.host, "nobody waits for it")
        else:
            self.endpoint.judge(sock, arrival)

    def _failed(self, error: OSError) -> None:
        if self.key is not None:
            _in_use.discard(self.key)
        if self.endpoint is not None:
            self.endpoint.abort(End.OPEN_FAILED, f"accept failed: {error.strerror}")


class PassiveListener:
    """Listens for the passive data connections of one control session, one after the other.

    To make a listener for each transfer takes longer than a small transfer. This
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
    ) -> None:
        self._policy = policy if policy is not None else PeerPolicy.exact()
        if control_peer is None and not self._policy.accepts_any:
            raise ValueError("control_peer is needed: the peer policy compares with it")
        _check(control_peer, ports)
        if not 0 < lifetime < math.inf:
            raise ValueError(f"expected a number of seconds, not {lifetime!r}")

        self._host = host
        self._control_peer = control_peer
        self._ports = ports if ports is not None else DYNAMIC_PORTS
        self._trusted_proxies = trusted_proxies
        self._socket_options = socket_options
        self._lifetime = lifetime
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
            RuntimeError: The endpoint before has neither its connection, nor
                was it closed.
        """

        listener = self._listener
        if listener is not None:
            if listener.endpoint is not None:
                raise RuntimeError("one connection at a time: the listener waits for another one")

            # What has come by now cannot be the one that is to come.
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
            deadlines=deadlines or Deadlines(),
            tls=tls,
            socket_options=self._socket_options,
            dtp_factory=dtp_factory,
        )

    def close(self) -> None:
        """Listen no more, unless an endpoint waits, which then closes it. Idempotent."""

        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

        listener, self._listener = self._listener, None
        if listener is not None:
            listener.is_kept = False
            if listener.endpoint is None:
                listener.close()

    def _listen(self) -> _Listener:
        sock, key = _listen(self._host, self._ports, self._socket_options)
        try:
            listener = _Listener(sock, key, self._trusted_proxies, is_kept=True)
        except BaseException:
            sock.close()
            _in_use.discard(key)
            raise

        self._timer = asyncio.get_running_loop().call_later(self._lifetime, self.close)
        return listener


class PassiveEndpoint(Endpoint):
    """A listener for one data connection. Made by `listen_passive`.

    Attributes:
        address: Address and port that are listened on.
    """

    def __init__(
        self,
        listener: _Listener,
        *,
        control_peer: str | None,
        policy: PeerPolicy,
        deadlines: Deadlines,
        tls: DataTLS | None = None,
        socket_options: SocketOptions | None = None,
        dtp_factory: DTPFactory | None = None,
    ) -> None:
        super().__init__(
            deadlines=deadlines, tls=tls, socket_options=socket_options, dtp_factory=dtp_factory
        )
        self.address: HostPort = listener.address
        self._control_peer = control_peer
        self._policy = policy
        self._listener = listener
        self._acceptor = listener.acceptor
        self._refused_before = listener.acceptor.refused
        # A socket that was made elsewhere has what its maker has set.
        self._has_options = INHERITS_OPTIONS and listener.key is not None
        listener.endpoint = self
        if self._may_begin:
            self._acceptor.watch_on()

    def __repr__(self) -> str:
        state = "listening" if self._listener.endpoint is self else "closed"
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
            self._acceptor.accept()

        return self._link is not None

    async def _obtain_link(self) -> Link:
        if not self.is_ready:
            self._acceptor.watch_on()
            await self._wait.until_woken(self.deadlines.open, End.ACCEPT_TIMEOUT)

        assert self._link is not None
        return self._link

    def _release(self) -> None:
        self._listener.let_go(self, has_come=False)

    def judge(self, sock: socket.socket, arrival: Arrival) -> None:
        """Take a connection, or refuse it; called by the listener."""

        reason = self._policy.check(arrival.host, self._control_peer)
        if reason is not None:
            self._acceptor.refuse(sock, arrival.host, reason)
            return

        self._listener.let_go(self, has_come=True)
        self._arrive(sock, arrival.peername, arrival.proxied)
