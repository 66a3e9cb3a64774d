"""Tests of `ftpdata.opening.socket_options`: defaults, every option, and options that lack."""

from __future__ import annotations

import math
import socket
import sys
from typing import Any

import pytest

from ftpdata.addresses import HostPort, PeerPolicy
from ftpdata.deadlines import Deadlines
from ftpdata.errors import FTPDataError
from ftpdata.opening import socket_options
from ftpdata.opening.active import connect_active
from ftpdata.opening.endpoint import AcceptedEndpoint
from ftpdata.opening.passive import listen_passive
from ftpdata.opening.socket_options import SocketOptions
from ftpdata.testing import tcp_pair

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="numbers of Linux")
NOT_SENT_LOW_WATER = 25
EVERYTHING = SocketOptions(
    no_delay=False,
    keepalive_idle=61,
    keepalive_interval=16,
    keepalive_count=5,
    user_timeout=12.5,
    not_sent_low_water=65536,
    send_buffer=100_000,
    receive_buffer=110_000,
    dscp=8,
)


def options_of(sock: socket.socket) -> dict[str, int]:
    """Read a socket's options from the system."""

    names = {
        "no_delay": (socket.IPPROTO_TCP, socket.TCP_NODELAY),
        "keepalive": (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        "keepalive_idle": (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        "keepalive_interval": (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
        "keepalive_count": (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
        "user_timeout": (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
        "not_sent_low_water": (socket.IPPROTO_TCP, NOT_SENT_LOW_WATER),
        "send_buffer": (socket.SOL_SOCKET, socket.SO_SNDBUF),
        "receive_buffer": (socket.SOL_SOCKET, socket.SO_RCVBUF),
    }
    found = {name: sock.getsockopt(*option) for name, option in names.items()}
    if sock.family == socket.AF_INET6:
        found["dscp"] = sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS)
    else:
        found["dscp"] = sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS)

    return found


@on_linux
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_defaults_are_those_of_the_documentation(family: int) -> None:
    """By default only TCP_NODELAY and the keepalive are set; the system decides the rest."""

    with socket.socket(family) as untouched, socket.socket(family) as sock:
        before = options_of(untouched)
        SocketOptions().set_on(sock)
        assert options_of(sock) == before | {
            "no_delay": 1,
            "keepalive": 1,
            "keepalive_idle": 60,
            "keepalive_interval": 15,
            "keepalive_count": 17,
        }


@on_linux
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_every_option_reaches_the_system(family: int) -> None:
    """Every option is set, in the system's units. Linux doubles the buffers."""

    with socket.socket(family) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        EVERYTHING.set_on(sock)
        assert options_of(sock) == {
            "no_delay": 0,
            "keepalive": 1,
            "keepalive_idle": 61,
            "keepalive_interval": 16,
            "keepalive_count": 5,
            "user_timeout": 12_500,
            "not_sent_low_water": 65536,
            "send_buffer": 200_000,
            "receive_buffer": 220_000,
            "dscp": 8 << 2,
        }


@on_linux
def test_no_probe_gives_up_before_the_deadlines_do() -> None:
    """An outage that a stalled transfer survives must not end its connections."""

    options, stall = SocketOptions(), Deadlines().stall
    assert options.keepalive_idle is not None
    assert options.keepalive_interval is not None
    assert options.keepalive_count is not None
    assert stall is not None
    lasts = options.keepalive_idle + options.keepalive_interval * options.keepalive_count
    assert stall < lasts < stall + 60


def test_keepalive_can_be_switched_off() -> None:
    """Without keepalive its intervals are not set either."""

    with socket.socket() as sock:
        before = options_of(sock)
        SocketOptions(keepalive=False).set_on(sock)
        assert options_of(sock) == before | {"no_delay": 1}


def test_a_socket_of_another_family_is_left_alone() -> None:
    """A UNIX socket has none of these options."""

    ours, theirs = socket.socketpair()
    EVERYTHING.set_on(ours)
    assert not ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    ours.close()
    theirs.close()


class OldSystem:
    """A socket module that lacks most constants."""

    AF_INET = socket.AF_INET
    AF_INET6 = socket.AF_INET6
    SOL_SOCKET = socket.SOL_SOCKET
    IPPROTO_TCP = socket.IPPROTO_TCP
    IPPROTO_IP = socket.IPPROTO_IP
    IPPROTO_IPV6 = socket.IPPROTO_IPV6
    SO_KEEPALIVE = socket.SO_KEEPALIVE


class OldSocket:
    """A socket that refuses every option, and records each attempt."""

    family = socket.AF_INET6

    def __init__(self) -> None:
        self.tried: list[tuple[int, int]] = []

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """Record the option, and refuse it."""

        self.tried.append((level, option))
        raise OSError(92, "Protocol not available")


def test_what_the_system_has_not_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing constant and a refused option are ignored."""

    monkeypatch.setattr(socket_options, "socket", OldSystem)
    monkeypatch.setattr(socket_options, "_NUMBERS", {})
    for name in ("_for_connection", "_from_the_start"):
        # What was found out before is that of this system.
        monkeypatch.setattr(socket_options, name, getattr(socket_options, name).__wrapped__)
    sock = OldSocket()
    EVERYTHING.set_on(sock)  # type: ignore[arg-type]
    assert sock.tried == [(socket.SOL_SOCKET, socket.SO_KEEPALIVE)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"dscp": 64},
        {"dscp": -1},
        {"send_buffer": 0},
        {"keepalive_idle": -1},
        {"user_timeout": math.nan},
        {"not_sent_low_water": 0},
    ],
)
def test_numbers_out_of_range(wrong: dict[str, Any]) -> None:
    """They are refused when the options are made, with the name of the option."""

    with pytest.raises(ValueError, match=next(iter(wrong))):
        SocketOptions(**wrong)


@on_linux
@pytest.mark.parametrize("kind", ["accepted", "passive", "active"])
async def test_every_endpoint_sets_them(kind: str) -> None:
    """Accepted, passive, and active connections all get the options."""

    options = SocketOptions(dscp=8, keepalive_idle=99)
    peer: socket.socket | None = None
    if kind == "accepted":
        accepted, peer = await tcp_pair()
        dtp = await AcceptedEndpoint(accepted, socket_options=options).open()
    elif kind == "passive":
        passive = await listen_passive(
            "127.0.0.1", control_peer="127.0.0.1", socket_options=options
        )
        peer = socket.create_connection((passive.address.host, passive.address.port))
        dtp = await passive.open()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            target = HostPort("127.0.0.1", listener.getsockname()[1])
            policy = PeerPolicy.exact()
            active = connect_active(
                target, control_peer="127.0.0.1", policy=policy, socket_options=options
            )
            dtp = await active.open()
            peer, _ = listener.accept()

    found = options_of(dtp.transport.get_extra_info("socket"))
    assert (found["dscp"], found["keepalive_idle"], found["no_delay"]) == (32, 99, 1)
    peer.close()
    dtp.abort()
    with pytest.raises(FTPDataError):
        await dtp.wait_closed()
