"""The socket options of data connections, as one value with documented defaults.

An option that is None is left as the system has it. One that the system does
not know, or does not allow, is skipped without a word: a transfer without it
is slower or dies later, and that is all.
"""

from __future__ import annotations

import functools
import socket
import sys

import attrs

from .._checks import checked, ranged, seconds
from .._kernel import TCP_NOTSENT_LOWAT
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
            (TCP_KEEPCNT). 17: a dead peer is known after 315 s, and a line that
            is out for less than the default of `Deadlines.stall` ends nothing.
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
    keepalive_count: int | None = _optional(17)
    user_timeout: float | None = attrs.field(default=None, validator=seconds)
    not_sent_low_water: int | None = _optional()
    send_buffer: int | None = _optional()
    receive_buffer: int | None = _optional()
    dscp: int | None = attrs.field(default=None, validator=ranged(0, _HIGHEST_DSCP))

    def set_on(self, sock: socket.socket) -> None:
        """Set the options on a connection of TCP; do nothing to another one."""

        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return

        _set(sock, _for_connection(self, sock.family))

    def set_on_listener(self, sock: socket.socket) -> None:
        """Set what a connection needs from its start, on a socket that listens or will connect.

        A receive buffer decides about the window scale, which the first packet
        tells (RFC 7323 §2.2); the first packet is to be marked, too. Connections
        inherit it from their listener.
        """

        _set(sock, _from_the_start(self, sock.family))


def reuse_address(sock: socket.socket) -> None:
    """Let a socket have a port that may still be in TIME_WAIT from the transfer before.

    On Windows, where the option means that others may take the port over, it is not set.
    """

    if sys.platform != "win32":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


DEFAULT_SOCKET_OPTIONS: SocketOptions = SocketOptions()
"""The options that are set by default."""

_Calls = tuple[tuple[int, int, int], ...]
"""The arguments of ``setsockopt``, for one call after the other."""


# Each connection needs these.
@functools.lru_cache(maxsize=64)
def _for_connection(options: SocketOptions, family: int) -> _Calls:
    idle = "TCP_KEEPALIVE" if sys.platform == "darwin" else "TCP_KEEPIDLE"
    keepalive = (
        (socket.IPPROTO_TCP, idle, options.keepalive_idle),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", options.keepalive_interval),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", options.keepalive_count),
    )
    timeout = options.user_timeout
    milliseconds = None if timeout is None else max(1, round(timeout * 1000))
    return _from_the_start(options, family) + _calls(
        (socket.IPPROTO_TCP, "TCP_NODELAY", int(options.no_delay)),
        (socket.SOL_SOCKET, "SO_KEEPALIVE", int(options.keepalive)),
        *(keepalive if options.keepalive else ()),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", milliseconds),
        (socket.IPPROTO_TCP, "TCP_NOTSENT_LOWAT", options.not_sent_low_water),
    )


@functools.lru_cache(maxsize=64)
def _from_the_start(options: SocketOptions, family: int) -> _Calls:
    # The two low bits belong to congestion notification (RFC 3168).
    mark = None if options.dscp is None else options.dscp << 2
    return _calls(
        (socket.SOL_SOCKET, "SO_SNDBUF", options.send_buffer),
        (socket.SOL_SOCKET, "SO_RCVBUF", options.receive_buffer),
        *([(socket.IPPROTO_IPV6, "IPV6_TCLASS", mark)] if family == socket.AF_INET6 else ()),
        # Also on an IPv6 socket: its peer may be one of IPv4.
        (socket.IPPROTO_IP, "IP_TOS", mark),
    )


_NUMBERS = {
    ("linux", "TCP_NOTSENT_LOWAT"): TCP_NOTSENT_LOWAT,
    ("darwin", "TCP_NOTSENT_LOWAT"): 0x201,
}


def _calls(*options: tuple[int, str, int | None]) -> _Calls:
    """Return the calls for those options that are given, and that the system knows."""

    found = []
    for level, name, value in options:
        number = getattr(socket, name, None) or _NUMBERS.get((sys.platform, name))
        if number is not None and value is not None:
            found.append((level, number, value))

    return tuple(found)


def _set(sock: socket.socket, calls: _Calls) -> None:
    for call in calls:
        try:
            sock.setsockopt(*call)
        except OSError:
            continue
