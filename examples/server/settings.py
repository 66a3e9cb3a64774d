"""What can be set. Values only; every limit a server needs stands here."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

import attrs

from ftpdata import (
    AddressTable,
    CodecOptions,
    Deadlines,
    PeerPolicy,
    PortRange,
    ServerCertificate,
    SocketOptions,
    TrustedProxies,
)
from ftpdata.limits import Limits
from ftpdata.observers import Observer
from ftpdata.opening import AddressCallable, PortMapping

from .accounts import Accounts, PasswordTable
from .attempts import FailureCounter
from .hosts import VirtualHost, host_name
from .places import Places

__all__ = ["GRACE", "Replies", "Settings", "Uploads"]


class Uploads(enum.Enum):
    """What becomes of an upload until it is whole, and if it is cut."""

    RESUMABLE = "resumable"
    """It is hidden, and takes its name when it is whole. If it is cut, its user can resume it."""

    ATOMIC = "atomic"
    """It is hidden, and takes its name when it is whole. If it is cut, nothing is left."""

    IN_PLACE = "in-place"
    """It is written to the file itself, whatever was in it. If it is cut, what came is there."""


class Replies(enum.Enum):
    """When a download is said to be complete (226)."""

    DELIVERED = "delivered"
    """When the client's system has everything: what is said is true."""

    SENT = "sent"
    """When everything has left this system: a round trip earlier, and before anybody knows whether
    it arrives. The log tells. A connection that stays open is not concerned."""


def _by_name(hosts: Mapping[str, VirtualHost]) -> Mapping[str, VirtualHost]:
    named: dict[str, VirtualHost] = {}
    for text, host in hosts.items():
        name = host_name(text)
        if name is None:
            raise ValueError(f"expected the name of a host, not {text!r}")
        named[name] = host
    return MappingProxyType(named)


GRACE = 5.0
"""Seconds for running transfers to end when the server stops, unless the host says otherwise."""


@attrs.frozen(kw_only=True)
class Settings:
    """Settings of a server.

    Attributes:
        accounts: Who may log in.
        writable: Whether anything may be changed.
        uploads: What becomes of uploads that are cut. Anonymous users cannot resume.
        clean_interval: Seconds from one look for parts that are too old to the next.
        passive_ports: Ports for PASV and EPSV, which all sessions share if they
            are few; None for any dynamic port.
        advertise: What PASV tells where clients reach this machine by another
            address than its own: an address or a name, a table by client
            network, or a callable.
        exposed_port: How the passive port that clients reach follows from the
            one listened on: what is to be added, or a function. EPSV tells it too.
        epsv_only: Whether PASV is refused: EPSV tells no address that could be wrong.
        trusted_proxies: Load balancers that all connections come through, control
            and data, and whose PROXY headers name the client behind them.
        socket_options: Of data connections.
        allow_fxp: Whether a data connection may go to, or come from, another
            address than the client's (RFC 959 §5.2). It opens the door to
            what RFC 2577 warns of.
        rate: Bytes per second of one session, both directions together.
        codec_options: What TYPE, STRU and MODE leave open: the restart markers
            that are sent, the limits of what is received.
        code_page: The EBCDIC code page of TYPE E.
        keep_data_connection: Whether a data connection stays open after a file
            in block or compressed mode, for the next one, with reply 250 for
            226 (RFC 959 §3.3). Few clients expect that.
        cut_with_control: Whether an upload is cut when its control connection
            ends (RFC 959 §4.1.1), unless all of it has come by then. Otherwise
            it goes on to its own end.
        replies: When a download is said to be complete.
        observer: Notified of transfers and passive ports. If it may veto uploads, they are
            all hidden until they are whole: nothing is appended to, or written in place.
        deadlines: Of data connections.
        idle_timeout: Seconds between two commands, while nothing runs.
        reply_timeout: Seconds for a client to take a reply.
        grace: Seconds for running transfers to end when the server stops.
        shutdown_idle: Seconds after its last command in which a client may go on with another
            when the server stops, within `grace`; then its session ends.
        certificate: For TLS (RFC 4217); None for none. It is read again when its files change.
        certificate_interval: Seconds from one look at the files of certificates to the next.
        hosts: What HOST (RFC 7151) and the name in a TLS handshake choose from, by name; a
            client that says neither has `accounts` and `certificate`.
        control_options: Of the sockets of control connections. A connection over which nothing
            goes while a transfer runs is probed, so that no NAT on the way forgets it.
        implicit_tls: Whether TLS begins with the connection, as on port 990,
            rather than with AUTH TLS.
        require_tls: Whether nobody logs in, and nothing is transferred, in clear.
        require_session_reuse: Whether data connections must resume the TLS
            session of their control connection: nobody else can take them.
        handshake_timeout: Seconds for the TLS handshake of a control connection.
        places: Limits the sessions of all processes, if there are several; by default this one
            has `max_sessions_per_address`.
        max_sessions: Control connections at one time, in this process.
        max_sessions_per_address: Those of one client address; by default half
            of all, so that nobody takes every place. An IPv6 network of 64
            bits counts as one address.
        limits: Of transfers, data connections and listeners. A session has
            one of each at a time, so these are for what is to be lower than
            the limits of sessions.
        login_timeout: Seconds from the connection to the right password.
        check_timeout: Seconds for `accounts` to say whether a password is right.
        login_delay: Seconds until a wrong password is answered.
        max_login_failures: Wrong passwords in one session.
        max_failures_per_address: Wrong passwords from one address within
            `failure_window`, over all its sessions. It is refused then, until
            some are forgotten.
        failure_window: Seconds.
        failures: Counts the wrong passwords of all processes, if there are several; by default
            this one counts its own.
        max_unknown_commands: Unknown commands one after the other. A browser
            that was lured to this port says nothing else (cross-protocol attacks).
        max_line: Bytes of a command line.
        max_waiting: Commands that may wait while one runs. No more are read
            meanwhile, so an ABOR after that many commands is not noticed.
    """

    accounts: Accounts = attrs.field(factory=PasswordTable)
    writable: bool = False
    uploads: Uploads = Uploads.RESUMABLE
    clean_interval: float = 3600.0
    passive_ports: PortRange | None = None
    advertise: str | AddressTable | AddressCallable | None = None
    exposed_port: PortMapping = 0
    epsv_only: bool = False
    trusted_proxies: TrustedProxies | None = None
    socket_options: SocketOptions = attrs.field(factory=SocketOptions)
    allow_fxp: bool = False
    rate: float | None = None
    codec_options: CodecOptions = attrs.field(
        factory=lambda: CodecOptions(marker_interval=1024 * 1024)
    )
    code_page: str = "cp037"
    keep_data_connection: bool = False
    cut_with_control: bool = False
    replies: Replies = Replies.DELIVERED
    observer: Observer | None = None
    deadlines: Deadlines = attrs.field(factory=Deadlines)
    idle_timeout: float = 300.0
    reply_timeout: float = 30.0
    grace: float = GRACE
    shutdown_idle: float = 1.0
    certificate: ServerCertificate | None = None
    certificate_interval: float = 10.0
    hosts: Mapping[str, VirtualHost] = attrs.field(factory=dict, converter=_by_name)
    control_options: SocketOptions = attrs.field(factory=SocketOptions)
    implicit_tls: bool = False
    require_tls: bool = False
    require_session_reuse: bool = False
    handshake_timeout: float = 30.0
    places: Places | None = None
    max_sessions: int = 100
    max_sessions_per_address: int = attrs.field(
        default=attrs.Factory(lambda self: max(1, self.max_sessions // 2), takes_self=True)
    )
    limits: Limits = attrs.field(factory=Limits)
    login_timeout: float = 60.0
    check_timeout: float = 10.0
    login_delay: float = 1.0
    max_login_failures: int = 3
    max_failures_per_address: int = 20
    failure_window: float = 60.0
    failures: FailureCounter | None = None
    max_unknown_commands: int = 10
    max_line: int = 4096
    max_waiting: int = 64

    def __attrs_post_init__(self) -> None:
        if self.may_veto and self.uploads is Uploads.IN_PLACE:
            raise ValueError("expected uploads that are hidden until they are whole, to be vetoed")
        if self.certificate is None and any(host.certificate for host in self.hosts.values()):
            raise ValueError("expected a certificate for clients that name no host")

    @property
    def may_veto(self) -> bool:
        """Whether an observer decides about uploads before they are published."""

        return self.observer is not None and self.observer.wants_uploads

    @property
    def peer_policy(self) -> PeerPolicy:
        """Who may be at the other end of a data connection."""

        return PeerPolicy.any() if self.allow_fxp else PeerPolicy.exact()
