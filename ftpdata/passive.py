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
import sys
from collections.abc import Iterator

import attrs

from .addresses import HostPort, PeerPolicy
from .deadlines import Deadlines
from .endpoint import DTPFactory, Endpoint
from .errors import BadAddress, DataConnectionError, PortsExhausted
from .outcome import End
from .tls import DataTLS

__all__ = ["PassiveEndpoint", "PortRange", "listen_passive"]

logger = logging.getLogger("ftpdata.passive")

BACKLOG = 16
"""Connections that may wait between two turns of the event loop."""

ACCEPT_RETRY = 0.1
"""Seconds to leave a listener alone when the process has no file descriptor left."""

_LOST_IN_QUEUE = frozenset({
    errno.ECONNABORTED, errno.EPROTO, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.ENETDOWN,
    errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ECONNRESET, errno.ETIMEDOUT,
})
"""What became of a connection that waited, not of the listener (accept(2), "Error handling")."""

_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


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
        """Yield every port once, in an order that nobody can guess.

        Constant memory, and constant work for the first one: a walk from a
        random port with a random stride that is prime to the length, behind a
        few independent draws which make the usual case uniform.
        """

        tried: set[int] = set()
        for _ in range(min(8, len(self))):
            port = self.first + secrets.randbelow(len(self))
            if port not in tried:
                tried.add(port)
                yield port

        start = secrets.randbelow(len(self))
        stride = _stride(len(self))
        for step in range(len(self)):
            port = self.first + (start + step * stride) % len(self)
            if port not in tried:
                yield port


def _stride(length: int) -> int:
    """Choose a random number that has no divisor in common with `length`."""

    while True:
        stride = 1 + secrets.randbelow(length)
        if math.gcd(stride, length) == 1:
            return stride


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
        listener, key = _listen(host, ports if ports is not None else DYNAMIC_PORTS)
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


def _listen(host: str, ports: PortRange) -> tuple[socket.socket, tuple[str, int]]:
    """Listen on a free port of the range; it is noted in `_in_use`."""

    for port in ports.shuffled():
        key = (host, port)
        if key in _in_use:
            continue

        try:
            sock = _listen_on(host, port)
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


def _listen_on(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            # The port may still be in TIME_WAIT from the transfer before.
            # (On Windows the option means that others may take the port over.)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))

        sock.bind((host, port))
        # Two processes may both bind the port with SO_REUSEADDR; only one can listen on it.
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise

    return sock


class PassiveEndpoint(Endpoint):
    """A listener for one data connection. Made by `listen_passive`.

    Attributes:
        address: Address and port that are listened on.
        strangers: Connections refused by the policy so far.
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
        dtp_factory: DTPFactory | None = None,
    ) -> None:
        super().__init__(deadlines=deadlines, tls=tls, dtp_factory=dtp_factory)
        self.strangers = 0
        self._key = key
        self._control_peer = control_peer
        self._policy = policy
        self._accepted: socket.socket | None = None
        self._accept_waiter: asyncio.Future[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        host, port = listener.getsockname()[:2]
        # A link-local address comes with its zone, which is no part of what is told.
        self.address = HostPort(host.partition("%")[0], port)
        self._listener: socket.socket | None = listener
        self._watches = self._watch()

    def __repr__(self) -> str:
        state = "closed" if self._listener is None else "listening"
        return f"<PassiveEndpoint {state} on {self.address} strangers={self.strangers}>"

    @property
    def is_ready(self) -> bool:
        """Whether the owner has connected: reply 125 rather than 150."""

        self._accept()
        return self._accepted is not None

    async def _obtain_socket(self) -> socket.socket:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._accept_waiter = waiter
        self._accept()
        if self._accepted is None:
            if not self._watches:
                # An event loop without add_reader (Windows) must look again and again.
                self._retry_soon()

            await self._wait(waiter, self.deadlines.open, End.ACCEPT_TIMEOUT)

        sock, self._accepted = self._accepted, None
        assert sock is not None
        return sock

    def _release(self) -> None:
        self._stop_listening()
        if self._accepted is not None:
            self._accepted.close()
            self._accepted = None

    def _watch(self) -> bool:
        try:
            self._loop.add_reader(self._listener, self._accept)  # type: ignore[arg-type]
        except NotImplementedError:
            return False

        return True

    def _stop_listening(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

        listener, self._listener = self._listener, None
        if listener is None:
            return

        if self._watches:
            self._loop.remove_reader(listener)

        listener.close()
        if self._key is not None:
            _in_use.discard(self._key)

    def _retry_soon(self) -> None:
        if self._retry is None and self._listener is not None:
            self._retry = self._loop.call_later(ACCEPT_RETRY, self._accept_again)

    def _accept_again(self) -> None:
        self._retry = None
        if self._listener is None:
            return

        self._watches = self._watch()
        self._accept()
        if self._accepted is None and not self._watches:
            self._retry_soon()

    def _accept(self) -> None:
        """Take what waits in the queue until the owner is among it. Never blocks."""

        while self._listener is not None and self._accepted is None:
            try:
                sock, peername = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _LOST_IN_QUEUE:
                    continue

                self._accept_failed(error)
                return

            sock.setblocking(False)
            reason = self._policy.check(peername[0], self._control_peer)
            if reason is None:
                self._accepted = sock
                self._stop_listening()
                if self._accept_waiter is not None and not self._accept_waiter.done():
                    self._accept_waiter.set_result(None)
            else:
                self.strangers += 1
                sock.close()
                logger.warning("%s refused on port %d: %s", peername[0], self.address.port, reason)

    def _accept_failed(self, error: OSError) -> None:
        if error.errno not in _NO_DESCRIPTORS:
            self.abort(End.OPEN_FAILED, f"accept failed: {error.strerror}")
            return

        # The connection stays in the queue, so the loop would call again at
        # once and for ever: leave the listener alone for a moment.
        if self._watches and self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._watches = False

        self._retry_soon()
