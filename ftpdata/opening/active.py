"""Active data connections: connect to where the client listens (PORT, EPRT).

RFC 959 §4.1.2, RFC 2428 §2, RFC 2577 §3. The target is judged by the peer
policy before any connect, so that nobody can use a server to reach a third
party or a privileged port (the bounce attack).
"""

from __future__ import annotations

import asyncio
import contextlib
import encodings.idna  # noqa: F401 - uvloop uses it to connect: the first time in its event loop
import os
import socket
import sys
from typing import Unpack

from .._checks import check_call, check_range, check_type
from .._kernel import reset_socket
from ..addresses import HostPort, PeerPolicy, check_host, policy_for
from ..deadlines import DEFAULT_DEADLINES, Deadlines
from ..errors import DataConnectionError, PeerRejected
from ..observers._telling import telling_refusals
from ..observers.contract import Observer
from ..outcome import End
from ..tls.policy import DataTLS
from ._link import Link
from .endpoint import DTPFactory, Endpoint, EndpointArguments
from .socket_options import SocketOptions, reuse_address

__all__ = ["ActiveEndpoint", "connect_active"]


def connect_active(
    target: HostPort,
    *,
    control_peer: str | None = None,
    policy: PeerPolicy | None = None,
    deadlines: Deadlines | None = None,
    local_address: tuple[str, int] | None = None,
    tls: DataTLS | None = None,
    socket_options: SocketOptions | None = None,
    dtp_factory: DTPFactory | None = None,
    observer: Observer | None = None,
) -> ActiveEndpoint:
    """Prepare to connect to the client's data port; `Endpoint.open` connects.

    Args:
        target: Where the client said that it listens.
        control_peer: Address of the control connection's peer, which `policy`
            compares with. None only where `policy` accepts any peer.
        policy: Where to connect to; by default exactly `control_peer`, and no
            privileged port.
        deadlines: `open` is how long to wait for the peer's answer.
        local_address: Address and port to connect from: that of the control
            connection, so that a peer with a policy of its own accepts it.
            Port 0 is any.
        tls: How the connection is protected (PROT P); None for clear (PROT C).
        socket_options: See `SocketOptions`.
        dtp_factory: Makes the protocol; for subclasses of `DTP`.
        observer: Notified of a target that is refused, and of the transfer
            (`ftpdata.observers`).

    Raises:
        PeerRejected: The policy refuses the target; nothing was sent to it.
            Reply 425.
        ValueError: The policy needs a `control_peer`.
    """

    check_call(connect_active, locals())
    policy = policy_for(control_peer, policy)
    _check_local(local_address)
    reason = policy.check_target(target, control_peer)
    if reason is not None:
        with telling_refusals(observer):
            raise PeerRejected(reason, end=End.PEER_REJECTED)

    return ActiveEndpoint(
        target,
        deadlines=deadlines or DEFAULT_DEADLINES,
        local_address=local_address,
        tls=tls,
        socket_options=socket_options,
        dtp_factory=dtp_factory,
        observer=observer,
    )


def _check_local(local_address: tuple[str, int] | None) -> None:
    """Refuse what no socket can be bound to.

    Raises:
        TypeError: Not an address and a port.
        ValueError: Not an address, or a port that is out of range.
    """

    if local_address is None:
        return

    if len(local_address) != 2:  # noqa: PLR2004 - an address and a port
        raise ValueError(f"local_address must be an address and a port, not {local_address!r:.80}")

    host, port = local_address
    check_type("host of local_address", host, str, "an address as text")
    check_host("host of local_address", host)
    check_type("port of local_address", port, int, "a whole number")
    check_range("port of local_address", port, 0, 65535)


def _connects_at_once(sock: socket.socket, address: tuple[str, int]) -> bool:
    """Begin to connect; tell whether the connection is made, as it is within one machine.

    Raises:
        OSError: The peer refuses, or the system does.
    """

    if sys.platform != "linux":
        # Windows connects in its own way, and others do not say the same when asked twice.
        return False

    for _ in range(2):
        # The first time the system answers before it has looked at what the peer has answered.
        with contextlib.suppress(BlockingIOError):
            sock.connect(address)
            return True

    return False


def _in_words(error: OSError) -> str:
    """Say what the system says; asyncio repeats the address instead."""

    return os.strerror(error.errno) if error.errno else str(error)


class ActiveEndpoint(Endpoint):
    """A connection to the client's data port. Made by `connect_active`.

    Attributes:
        target: Where to connect to.
    """

    def __init__(
        self,
        target: HostPort,
        *,
        local_address: tuple[str, int] | None = None,
        **common: Unpack[EndpointArguments],
    ) -> None:
        super().__init__(**common)
        self.target = target
        self._local_address = local_address

    def __repr__(self) -> str:
        return f"<ActiveEndpoint to {self.target}>"

    @property
    def is_ready(self) -> bool:
        """Never: the connection is made by `open`. Reply 150."""

        return False

    async def _obtain_link(self) -> Link:
        family = socket.AF_INET6 if self.target.is_ipv6 else socket.AF_INET
        sock: socket.socket | None = None
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            self._socket_options.set_on_listener(sock)
            if self._local_address is not None:
                reuse_address(sock)
                sock.bind(self._local_address)

            if not _connects_at_once(sock, (self.target.host, self.target.port)):
                await self._wait_for_answer(sock)
        except BaseException as error:
            if sock is not None:
                # The peer may have accepted it by now.
                reset_socket(sock)
            if isinstance(error, OSError):
                raise DataConnectionError(
                    f"cannot connect to {self.target}: {_in_words(error)}",
                    end=End.OPEN_FAILED,
                ) from error
            raise

        return Link(sock, self._wait, peername=(self.target.host, self.target.port))

    async def _wait_for_answer(self, sock: socket.socket) -> None:
        """Go on connecting until the peer has answered."""

        loop = asyncio.get_running_loop()
        connecting = asyncio.ensure_future(
            loop.sock_connect(sock, (self.target.host, self.target.port))
        )
        try:
            await self._wait.until_done(connecting, self.deadlines.open, End.CONNECT_TIMEOUT)
        except BaseException:
            # The task must have let go of the socket before it is closed.
            await asyncio.wait((connecting,))
            raise

    def _release(self) -> None:
        """Hold nothing between `open` calls: the socket lives within `open`."""
