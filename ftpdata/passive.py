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
import secrets
import socket
from collections.abc import Iterator

import attrs

from .addresses import HostPort, PeerPolicy
from .deadlines import Deadlines
from .endpoint import DTPFactory, Endpoint
from .errors import BadAddress, DataConnectionError, PortsExhausted
from .listener import Acceptor, Arrival, bind_listener
from .outcome import End
from .proxy_header import TrustedProxies
from .socket_options import SocketOptions
from .tls import DataTLS

__all__ = ["PassiveEndpoint", "PortRange", "listen_passive"]

logger: logging.Logger = logging.getLogger("ftpdata.passive")

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
        would prefer the free ports behind a long row of those in use.
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
        ValueError: The policy needs a `control_peer`.
    """

    policy = policy if policy is not None else PeerPolicy.exact()
    if control_peer is None and not policy.accepts_any:
        raise ValueError("control_peer is needed: the peer policy compares with it")

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
            listener,
            key,
            control_peer=control_peer,
            policy=policy,
            deadlines=deadlines or Deadlines(),
            tls=tls,
            trusted_proxies=trusted_proxies,
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


class PassiveEndpoint(Endpoint):
    """A listener for one data connection. Made by `listen_passive`.

    Attributes:
        address: Address and port that are listened on.
    """

    def __init__(
        self,
        listener: socket.socket,
        key: tuple[str, int] | None,
        *,
        control_peer: str | None,
        policy: PeerPolicy,
        deadlines: Deadlines,
        tls: DataTLS | None = None,
        trusted_proxies: TrustedProxies | None = None,
        socket_options: SocketOptions | None = None,
        dtp_factory: DTPFactory | None = None,
    ) -> None:
        super().__init__(
            deadlines=deadlines, tls=tls, socket_options=socket_options, dtp_factory=dtp_factory
        )
        self._key = key
        self._control_peer = control_peer
        self._policy = policy
        self._accepted: socket.socket | None = None
        self._accept_waiter: asyncio.Future[None] | None = None
        host, port = listener.getsockname()[:2]
        # A link-local address comes with its zone, which is no part of what is told.
        self.address: HostPort = HostPort(host.partition("%")[0], port)
        self._acceptor = Acceptor(
            listener,
            backlog=BACKLOG,
            deliver=self._judge,
            fail=self._accept_failed,
            proxies=trusted_proxies,
            logger=logger,
        )

    def __repr__(self) -> str:
        state = "listening" if self._acceptor.is_open else "closed"
        return f"<PassiveEndpoint {state} on {self.address} strangers={self.strangers}>"

    @property
    def strangers(self) -> int:
        """Connections refused so far: by the policy, or for want of a trusted PROXY header."""

        return self._acceptor.refused

    @property
    def is_ready(self) -> bool:
        """Whether the owner has connected: reply 125 rather than 150."""

        if self._has_socket:
            return True

        self._acceptor.accept()
        return self._accepted is not None

    async def _obtain_socket(self) -> socket.socket:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._accept_waiter = waiter
        self._acceptor.accept()
        if self._accepted is None:
            self._acceptor.watch_on()
            await self._wait(waiter, self.deadlines.open, End.ACCEPT_TIMEOUT)

        sock, self._accepted = self._accepted, None
        assert sock is not None
        return sock

    def _release(self) -> None:
        self._stop_listening()
        if self._accepted is not None:
            self._accepted.close()
            self._accepted = None

    def _stop_listening(self) -> None:
        if not self._acceptor.is_open:
            return

        self._acceptor.close()
        if self._key is not None:
            _in_use.discard(self._key)

    def _judge(self, sock: socket.socket, arrival: Arrival) -> None:
        reason = self._policy.check(arrival.host, self._control_peer)
        if reason is not None:
            self._acceptor.refuse(sock, arrival.host, reason)
            return

        self._accepted = sock
        self._proxied_peer = arrival.proxied
        self._stop_listening()
        if self._accept_waiter is not None and not self._accept_waiter.done():
            self._accept_waiter.set_result(None)

    def _accept_failed(self, error: OSError) -> None:
        if self._key is not None:
            _in_use.discard(self._key)

        self.abort(End.OPEN_FAILED, f"accept failed: {error.strerror}")
