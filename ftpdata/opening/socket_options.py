"""The socket options of data connections, as one value with documented defaults.

An option that is None is left as the system has it. One that the system does
not know, or does not allow, is skipped without a word: a transfer without it
is slower or dies later, and that is all.
"""

from __future__ import annotations

import contextlib
import socket
import sys

import attrs

from .._checks import checked, ranged, seconds
from .._repr import repr_of_changes

__all__ = ["SocketOptions"]

_HIGHEST_DSCP = 63


def _optional(default: int | None = None) -> int | None:
    field: int | None = attrs.field(default=default, validator=ranged(1))
    return field


@attrs.frozen(kw_only=True, field_transformer=checked)
class SocketOptions:
    """What is set on the socket of every data connection.

    The same is good for a control connection, over which nothing goes while a file is
    transferred, until a NAT forgets it: ``SocketOptions().set_on(sock)``.

    Attributes:
        no_delay: TCP_NODELAY. On: a listing's last short line must not wait
            for the peer's delayed acknowledgement of the one before.
        keepalive: SO_KEEPALIVE. On: a peer that lost its power while it was
            to send is noticed, and a NAT between does not forget an idle
            connection.
        keepalive_idle: Seconds of silence before the first probe
            (TCP_KEEPIDLE). 60: NATs forget after some minutes, the system's
            usual two hours help nobody.
        keepalive_interval: Seconds between two probes (TCP_KEEPINTVL). 15.
        keepalive_count: Probes without an answer that end the connection
            (TCP_KEEPCNT). 4, so that a dead peer is known after two minutes.
        user_timeout: Seconds that sent data may stay unacknowledged, or the
            peer's window closed, until the kernel ends the connection
            (TCP_USER_TIMEOUT). None: `Deadlines` say it, with a reason.
        not_sent_low_water: Bytes in the kernel that are not sent yet and
            above which the socket counts as full (TCP_NOTSENT_LOWAT). It
            bounds what a stalled reader costs in kernel memory, for more
            wake-ups. None: no bound but the send buffer.
        send_buffer: Bytes of SO_SNDBUF. None: the kernel adapts it to the
            path, which a fixed size switches off.
        receive_buffer: Bytes of SO_RCVBUF. None: as for `send_buffer`.
        dscp: Differentiated services code point, 0 to 63 (RFC 2474): 8 (CS1)
            or 1 (LE, RFC 8622) mark transfers that may yield to other
            traffic. None: unmarked.

    Raises:
        ValueError: A number is out of range.
    """

    __repr__ = repr_of_changes


    no_delay: bool = True
    keepalive: bool = True
    keepalive_idle: int | None = _optional(60)
    keepalive_interval: int | None = _optional(15)
    keepalive_count: int | None = _optional(4)
    user_timeout: float | None = attrs.field(default=None, validator=seconds)
    not_sent_low_water: int | None = _optional()
    send_buffer: int | None = _optional()
    receive_buffer: int | None = _optional()
    dscp: int | None = attrs.field(default=None, validator=ranged(0, _HIGHEST_DSCP))

    def set_on(self, sock: socket.socket) -> None:
        """Set the options on a connection of TCP; do nothing to another one."""

        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return

        self.set_on_listener(sock)
        _set(sock, socket.IPPROTO_TCP, "TCP_NODELAY", int(self.no_delay))
        _set(sock, socket.SOL_SOCKET, "SO_KEEPALIVE", int(self.keepalive))
        if self.keepalive:
            idle = "TCP_KEEPALIVE" if sys.platform == "darwin" else "TCP_KEEPIDLE"
            _set(sock, socket.IPPROTO_TCP, idle, self.keepalive_idle)
            _set(sock, socket.IPPROTO_TCP, "TCP_KEEPINTVL", self.keepalive_interval)
            _set(sock, socket.IPPROTO_TCP, "TCP_KEEPCNT", self.keepalive_count)

        if self.user_timeout is not None:
            milliseconds = max(1, round(self.user_timeout * 1000))
            _set(sock, socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", milliseconds)

        _set(sock, socket.IPPROTO_TCP, "TCP_NOTSENT_LOWAT", self.not_sent_low_water)

    def set_on_listener(self, sock: socket.socket) -> None:
        """Set what a connection needs from its start, on a socket that listens or will connect.

        A receive buffer decides about the window scale, which the first packet
        tells (RFC 7323 §2.2); the first packet is to be marked, too. Connections
        inherit it from their listener.
        """

        _set(sock, socket.SOL_SOCKET, "SO_SNDBUF", self.send_buffer)
        _set(sock, socket.SOL_SOCKET, "SO_RCVBUF", self.receive_buffer)
        if self.dscp is None:
            return

        # The two low bits belong to congestion notification (RFC 3168).
        if sock.family == socket.AF_INET6:
            _set(sock, socket.IPPROTO_IPV6, "IPV6_TCLASS", self.dscp << 2)

        # Also on an IPv6 socket: its peer may be one of IPv4.
        _set(sock, socket.IPPROTO_IP, "IP_TOS", self.dscp << 2)


DEFAULT_SOCKET_OPTIONS: SocketOptions = SocketOptions()
"""The options that are set by default."""


# Python's socket module has this only since 3.12.
_NUMBERS = {
    ("linux", "TCP_NOTSENT_LOWAT"): 25,
    ("darwin", "TCP_NOTSENT_LOWAT"): 0x201,
}


def _set(sock: socket.socket, level: int, name: str, value: int | None) -> None:
    number = getattr(socket, name, None) or _NUMBERS.get((sys.platform, name))
    if number is None or value is None:
        return

    with contextlib.suppress(OSError):
        sock.setsockopt(level, number, value)
