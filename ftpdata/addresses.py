"""Addresses of data connections, as commands and replies spell them, and who may use them.

Pure. PORT and the reply to PASV (RFC 959 §4.1.2, §4.2), EPRT, EPSV and its
reply (RFC 2428): one `HostPort` value, a writer and a parser for each
notation. `PeerPolicy` is the answer to bounce and theft (RFC 2577) as a value.
Knows no sockets: an address is accepted or refused before anything is opened.

1. A parser raises `BadAddress` or `UnsupportedNetworkProtocol`, nothing else,
   whatever the text.
2. A number is ASCII digits, decimal also with leading zeros, as devices send
   them (RFC 959 §5.3.2, RFC 2428 §2), and may have blanks around it. ``int``
   would take full-width digits, ``+1`` and ``1_0``. Only within an address with
   dots is a leading zero refused: ``010`` is ten to one peer and eight to another.
3. An IPv4 address that is mapped into IPv6 is the IPv4 address everywhere.
4. What cannot be understood is refused, by a policy as by a parser.
"""

from __future__ import annotations

import enum
import functools
import ipaddress
import re
from collections.abc import Iterable
from typing import Final, Literal, NoReturn

import attrs

from ._checks import check_call, check_type, checked, wrong_type
from .errors import BadAddress, UnsupportedNetworkProtocol, error_for_peer

__all__ = [
    "EPSV_ALL",
    "HostPort",
    "NetworkProtocol",
    "PeerPolicy",
    "format_eprt",
    "format_epsv_reply",
    "format_pasv_reply",
    "format_port",
    "parse_eprt",
    "parse_epsv",
    "parse_epsv_reply",
    "parse_pasv_reply",
    "parse_port",
]

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

EPSV_ALL: Final = "ALL"
"""What `parse_epsv` returns for ``EPSV ALL``."""

_HIGHEST_PORT = 65535
_FIRST_UNPRIVILEGED_PORT = 1024

_NUMBER = r"0{0,8}[0-9]{1,5}"

_number = re.compile(rf" *({_NUMBER}) *")
_six_numbers = re.compile(rf" *{_NUMBER}(?: *, *{_NUMBER}){{5}} *")
# Not the tail or the head of something longer, such as a seventh number.
_six_numbers_in_text = re.compile(rf"(?<![\w,.+-])({_NUMBER}(?:,{_NUMBER}){{5}})(?![,.]?\w)")
_numbers_in_text = re.compile(rf"(?<![\w,.+-]){_NUMBER}(?: *, *{_NUMBER})++(?![,.]?\w)")
_epsv_in_text = re.compile(r"\( *([!-~])\1\1([^)]*)\1 *\)")
_reply_code = re.compile(r"([0-9]{3})[ -]")


class NetworkProtocol(enum.IntEnum):
    """Address family numbers of RFC 2428 §2."""

    IPV4 = 1
    IPV6 = 2


# A server asks about the same few addresses again and again, several times for each transfer.
_parse_ip = functools.lru_cache(maxsize=1024)(ipaddress.ip_address)


def _plain_ip(address: str | IPAddress) -> IPAddress:
    """Parse an address without a scope; one that is mapped into IPv6 becomes IPv4.

    Raises:
        TypeError: Neither text nor an address; `ipaddress` would take integers
            and packed bytes, too.
        ValueError: Not an address, or one with a scope.
    """

    if isinstance(address, str):
        address = _parse_ip(address)
    elif not isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address):
        raise TypeError("not text")

    if isinstance(address, ipaddress.IPv4Address):
        return address

    # A scope is a number of this machine; from a peer it means nothing.
    if address.scope_id is not None:
        raise ValueError("scope ids are local")

    return address.ipv4_mapped or address


@functools.lru_cache(maxsize=1024)
def _spelling(address: str) -> str:
    return str(_plain_ip(address))


def _host(address: str | IPAddress) -> str:
    try:
        return _spelling(address) if type(address) is str else str(_plain_ip(address))
    except (TypeError, ValueError):
        raise BadAddress(
            f"an IPv4 or IPv6 address without a scope is expected, not {address!r:.60}"
        ) from None


def _check_port(port: int) -> None:
    if type(port) is not int or not 1 <= port <= _HIGHEST_PORT:
        raise BadAddress(f"a port is a number from 1 to {_HIGHEST_PORT}, not {port!r:.40}")


def check_host(name: str, host: object) -> None:
    """Check an argument that is an address, with its scope if it is a link-local one.

    Args:
        name: Name of the argument.
        host: What came; None passes.

    Raises:
        TypeError: Not text.
        BadAddress: Not an address. Reply 501.
    """

    if host is None:
        return

    check_type(name, host, str, "an address as text")
    assert isinstance(host, str)
    try:
        _host(host.partition("%")[0])
    except BadAddress:
        raise BadAddress(f"{name} must be an address, not {host!r:.60}") from None


def _port_validator(_: object, __: attrs.Attribute[int], port: int) -> None:
    _check_port(port)


@attrs.frozen
class HostPort:
    """An address and a port of TCP.

    Args:
        host: IPv4 or IPv6 address, as text or as a value of `ipaddress`. No
            names, and no scope ids.
        port: 1 to 65535.

    Raises:
        BadAddress: The host or the port is invalid. Reply 501.

    Attributes:
        host: The address in its shortest usual text; dotted decimal for IPv4,
            also where it came mapped into IPv6.
        port: The port.
    """

    host: str = attrs.field(converter=_host)
    port: int = attrs.field(validator=_port_validator)

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        """The address as a value of `ipaddress`."""

        return _parse_ip(self.host)

    @property
    def is_ipv6(self) -> bool:
        """Whether the address is an IPv6 one."""

        return ":" in self.host

    @property
    def network_protocol(self) -> NetworkProtocol:
        """The address family, as RFC 2428 numbers it."""

        return NetworkProtocol.IPV6 if self.is_ipv6 else NetworkProtocol.IPV4

    def __str__(self) -> str:
        """Return ``host:port``, with brackets around an IPv6 address."""

        return f"[{self.host}]:{self.port}" if self.is_ipv6 else f"{self.host}:{self.port}"


def format_port(address: HostPort) -> str:
    """Format the argument of PORT: ``h1,h2,h3,h4,p1,p2`` (RFC 959 §4.1.2).

    Raises:
        UnsupportedNetworkProtocol: The address is an IPv6 one, which this
            notation cannot carry; EPRT and EPSV can. Reply 522.
    """

    check_call(format_port, locals())
    if address.is_ipv6:
        words = "PORT and PASV carry IPv4 addresses only, use EPRT and EPSV"
        raise UnsupportedNetworkProtocol(
            words, supported=(NetworkProtocol.IPV4,), reply_text=words
        )

    return ",".join((*address.host.split("."), str(address.port >> 8), str(address.port & 0xFF)))


def parse_port(argument: str) -> HostPort:
    """Parse the argument of PORT (RFC 959 §4.1.2).

    Raises:
        BadAddress: Not six numbers from 0 to 255, or port 0. Reply 501.
    """

    check_call(parse_port, locals())
    if not _six_numbers.fullmatch(argument):
        _refuse("h1,h2,h3,h4,p1,p2", argument)

    return _from_six_numbers(argument)


def format_pasv_reply(address: HostPort) -> str:
    """Format the reply to PASV (RFC 959 §4.2), with its code and no line end.

    The words and the parentheses are those that every client, and every
    firewall that watches for them, understands.

    Raises:
        UnsupportedNetworkProtocol: The address is an IPv6 one. Reply 522.
    """

    check_call(format_pasv_reply, locals())
    return f"227 Entering Passive Mode ({format_port(address)})."


def parse_pasv_reply(text: str) -> HostPort:
    """Parse the reply to PASV, with or without its code (RFC 959 §4.2).

    The six numbers may stand anywhere, with or without parentheses: RFC 1123
    §4.1.2.6 tells clients to search for them, since servers differ ("227
    192,168,0,1,4,51" of sys-ftpd, "227 =127,0,0,1,4,51" of publicfile, "will
    passively listen to 127,0,0,1,4,51" in curl's collection, and two-line
    replies of aioftp).

    A client should connect to the address of the control peer, and take from
    here the port alone (CVE-2020-8284, CVE-2021-4189), or ask a `PeerPolicy`.

    Raises:
        BadAddress: No such numbers, or the reply has another code. Reply 501.
    """

    check_call(parse_pasv_reply, locals())
    found = _find_six_numbers(text) if _has_code(text, "227") else None
    if found is None:
        _refuse("227 and h1,h2,h3,h4,p1,p2", text)

    return _from_six_numbers(found)


def format_eprt(address: HostPort) -> str:
    """Format the argument of EPRT: ``|1|132.235.1.2|6275|`` (RFC 2428 §2)."""

    check_call(format_eprt, locals())
    return f"|{address.network_protocol:d}|{address.host}|{address.port}|"


def parse_eprt(argument: str, *, supported: tuple[int, ...] = (1, 2)) -> HostPort:
    """Parse the argument of EPRT (RFC 2428 §2).

    Args:
        argument: The argument; any printable ASCII character may delimit it.
        supported: Numbers of the address families that the caller can use.

    Raises:
        BadAddress: Not the notation, an address that is not of the family
            named, a scope id, or a port out of range. Reply 501.
        UnsupportedNetworkProtocol: Another address family. Reply 522.
    """

    check_call(parse_eprt, locals())
    argument = argument.strip(" ")
    delimiter = argument[:1]
    fields = argument.split(delimiter) if "!" <= delimiter <= "~" else []
    if len(fields) != 5 or fields[0] or fields[4]:  # noqa: PLR2004 - <d>prt<d>addr<d>port<d>
        _refuse("|protocol|address|port|", argument)

    family = _parse_family(fields[1], supported)
    kind = ipaddress.IPv4Address if family is NetworkProtocol.IPV4 else ipaddress.IPv6Address
    try:
        ip = kind(fields[2].strip(" "))
    except ValueError:
        raise error_for_peer(
            BadAddress, f"an address of protocol {family:d} is expected, not {fields[2]!r:.60}"
        ) from None

    return _from_peer(ip, _parse_number(fields[3]))


def format_epsv_reply(port: int) -> str:
    """Format the reply to EPSV (RFC 2428 §3), with its code and no line end.

    Without a full stop, since some clients read to the end of the line.

    Args:
        port: 1 to 65535.

    Raises:
        BadAddress: The port is out of range. Reply 501.
    """

    _check_port(port)
    return f"229 Entering Extended Passive Mode (|||{port}|)"


def parse_epsv_reply(text: str) -> int:
    """Parse the reply to EPSV, with or without its code; return the port (RFC 2428 §3).

    What stands after the parentheses is passed over: Serv-U ends the line
    with a full stop. Replies that fill in the protocol or the address are
    refused, as curl does; the RFC has both blank.

    Raises:
        BadAddress: No ``(|||port|)``, a port out of range, or the reply has
            another code. Reply 501.
    """

    check_call(parse_epsv_reply, locals())
    found = _epsv_in_text.search(text) if _has_code(text, "229") else None
    if found is None or found[1] in found[2]:
        _refuse("229 and (|||port|)", text)

    port = _parse_number(found[2])
    try:
        _check_port(port)
    except BadAddress as error:
        raise error_for_peer(BadAddress, error.message) from None

    return port


def parse_epsv(
    argument: str = "", *, supported: tuple[int, ...] = (1, 2)
) -> NetworkProtocol | Literal["ALL"] | None:
    """Parse the argument of EPSV (RFC 2428 §3).

    Args:
        argument: The argument, empty if there was none.
        supported: Numbers of the address families that the caller can use.

    Returns:
        The address family asked for (its value is 1 or 2), None where the
        client left the choice, or `EPSV_ALL` for ``ALL`` in either case.

    Raises:
        BadAddress: None of these. Reply 501.
        UnsupportedNetworkProtocol: Another address family. Reply 522.
    """

    check_call(parse_epsv, locals())
    argument = argument.strip(" ")
    if not argument:
        return None

    # Case does not matter in symbols that are parameter values: RFC 959 §5.3.
    if argument.isascii() and argument.upper() == EPSV_ALL:
        return EPSV_ALL

    return _parse_family(argument, supported)


def _refuse(expected: str, text: str) -> NoReturn:
    raise error_for_peer(BadAddress, f"{expected} is expected, not {text!r:.60}")


def _has_code(text: str, code: str) -> bool:
    """Whether a reply has this code, or none."""

    found = _reply_code.match(text)
    return found is None or found[1] == code


def _parse_number(text: str) -> int:
    found = _number.fullmatch(text)
    if found is None:
        _refuse("a number", text)

    return int(found[1])


def _find_six_numbers(text: str) -> str | None:
    found = _six_numbers_in_text.search(text)
    if found is not None:
        return found[1]

    # With blanks between them, only a list of exactly six cannot be part of a longer one.
    lists: list[str] = _numbers_in_text.findall(text)
    return next((numbers for numbers in lists if numbers.count(",") == 5), None)  # noqa: PLR2004


def _from_six_numbers(text: str) -> HostPort:
    numbers = [int(number) for number in text.split(",")]
    if max(numbers) > 255:  # noqa: PLR2004 - one byte
        _refuse("a list of six numbers from 0 to 255", text)

    return _from_peer(".".join(map(str, numbers[:4])), numbers[4] << 8 | numbers[5])


def _from_peer(host: str | IPAddress, port: int) -> HostPort:
    """Make an address of what a peer has sent, which an error may quote in a reply."""

    try:
        return HostPort(host, port)
    except BadAddress as error:
        raise error_for_peer(BadAddress, error.message) from None


def _parse_family(text: str, supported: tuple[int, ...]) -> NetworkProtocol:
    number = _parse_number(text)
    if number in supported and number in (NetworkProtocol.IPV4, NetworkProtocol.IPV6):
        return NetworkProtocol(number)

    raise UnsupportedNetworkProtocol(supported=supported)


def _networks(*networks: str) -> tuple[IPNetwork, ...]:
    return tuple(ipaddress.ip_network(network) for network in networks)


# Tables of our own, not `is_private` and its like: what those answer has
# changed from one Python to the next, and a policy must not.

# No TCP connection leads there, or (0.0.0.0, ::) it leads to this machine in disguise.
_NEVER = (
    ("unspecified", _networks("0.0.0.0/8", "::/128")),
    ("multicast", _networks("224.0.0.0/4", "ff00::/8")),
    ("broadcast", _networks("255.255.255.255/32")),
)

# Fine only from inside: when the control peer itself is at such an address.
_INSIDE = (
    ("loopback", _networks("127.0.0.0/8", "::1/128")),
    (
        "private",
        _networks(
            "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
            "fc00::/7", "fec0::/10",
        ),
    ),
)

# Fine only when it is the control peer itself: here are, among others, the
# metadata services of clouds (169.254.169.254), and IPv4 in other wrappings
# (::127.0.0.1, 64:ff9b::/96).
_ONLY_ITSELF = (
    ("link-local", _networks("169.254.0.0/16", "fe80::/10")),
    ("reserved", _networks("192.0.0.0/24", "240.0.0.0/4", "::/8")),
)

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_EVERYWHERE = _networks("0.0.0.0/0", "::/0")


def _policy_network(network: str | IPAddress | IPNetwork) -> IPNetwork:
    """Parse a network of a policy; one of mapped addresses becomes one of IPv4.

    Raises:
        ValueError: Not a network, or one with host bits set.
    """

    parsed = ipaddress.ip_network(network)
    if isinstance(parsed, ipaddress.IPv6Network) and parsed.subnet_of(_MAPPED):
        start = int(parsed.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((start, parsed.prefixlen - _MAPPED.prefixlen))

    return parsed


@attrs.frozen
class _Peer:
    """An address as the kernel reports it: with the scope of a link-local one, if any."""

    ip: IPAddress
    scope: str | None = None

    @classmethod
    @functools.lru_cache(maxsize=1024)
    def parse(cls, text: str | IPAddress) -> _Peer | None:
        host, _, scope = str(text).partition("%")
        try:
            return cls(_plain_ip(host), scope or None)
        except ValueError:
            return None

    def is_in_network_of(self, other: _Peer, prefix: int) -> bool:
        if self.ip.version != other.ip.version:
            return False

        # A target in a command has no scope; the same address on another
        # link, where both links are known, is another machine.
        if self.scope and other.scope and self.scope != other.scope:
            return False

        shift = self.ip.max_prefixlen - prefix
        return int(self.ip) >> shift == int(other.ip) >> shift


def _check_prefix(_: object, attribute: attrs.Attribute[int], prefix: int) -> None:
    longest = 32 if attribute.name == "ipv4_prefix" else 128
    if type(prefix) is not int or not 0 <= prefix <= longest:
        raise ValueError(f"{attribute.name} is a number from 0 to {longest}, not {prefix!r}")


@attrs.frozen(kw_only=True, field_transformer=checked)
class PeerPolicy:
    """Who may be at the other end of a data connection (RFC 2577 §3, §4, §8).

    Made by `exact` (what every server should start with), `same_network`,
    `allow` or `any`. An address is accepted if it is in the network of the
    control peer, as long as the prefix says, or in one of the networks.

    Attributes:
        ipv4_prefix: Bits of an IPv4 address that must equal the control
            peer's; 32 is the address itself.
        ipv6_prefix: The same for IPv6, where 128 is the address itself.
        networks: Networks that are accepted for every control peer.
        privileged_ports: Whether active connections may go to ports below
            1024, where a machine's own services listen.
        special_targets: Whether active connections may go to loopback,
            private, link-local and reserved addresses from outside of these.
    """

    ipv4_prefix: int = attrs.field(default=32, validator=_check_prefix)
    ipv6_prefix: int = attrs.field(default=128, validator=_check_prefix)
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    privileged_ports: bool = False
    special_targets: bool = False

    @classmethod
    def exact(cls, *, privileged_ports: bool = False, special_targets: bool = False) -> PeerPolicy:
        """Accept the address of the control peer only."""

        return cls(privileged_ports=privileged_ports, special_targets=special_targets)

    @classmethod
    def same_network(
        cls,
        ipv4_prefix: int = 24,
        ipv6_prefix: int = 64,
        *,
        privileged_ports: bool = False,
        special_targets: bool = False,
    ) -> PeerPolicy:
        """Accept the control peer's network: clients behind several addresses of one NAT.

        Args:
            ipv4_prefix: Length of the network's prefix, 0 to 32 bits.
            ipv6_prefix: The same for IPv6, 0 to 128 bits.
            privileged_ports: See the class.
            special_targets: See the class.

        Raises:
            ValueError: A prefix is out of range.
        """

        return cls(
            ipv4_prefix=ipv4_prefix,
            ipv6_prefix=ipv6_prefix,
            privileged_ports=privileged_ports,
            special_targets=special_targets,
        )

    @classmethod
    def allow(
        cls,
        networks: Iterable[
            str
            | ipaddress.IPv4Address
            | ipaddress.IPv6Address
            | ipaddress.IPv4Network
            | ipaddress.IPv6Network
        ],
        *,
        privileged_ports: bool = False,
        special_targets: bool = False,
    ) -> PeerPolicy:
        """Accept the control peer itself, and the networks of a list (FXP between known sites).

        A network that lies within a special range (``10.0.0.0/8``,
        ``127.0.0.1``) opens that part of the range to active connections,
        too; a network that merely contains the range does not.

        Raises:
            TypeError: One text instead of a list.
            ValueError: One of them is not a network, or has host bits set.
        """

        if isinstance(networks, str) or not isinstance(networks, Iterable):
            raise wrong_type("networks", "a list of networks", networks)

        return cls(
            networks=tuple(_policy_network(network) for network in networks),
            privileged_ports=privileged_ports,
            special_targets=special_targets,
        )

    @classmethod
    def any(cls, *, privileged_ports: bool = False, special_targets: bool = False) -> PeerPolicy:
        """Accept every address (FXP, RFC 959 §5.2).

        Passive connections can then be stolen, and active ones aimed at third
        parties; privileged ports and special targets stay refused.
        """

        return cls(
            networks=_EVERYWHERE,
            privileged_ports=privileged_ports,
            special_targets=special_targets,
        )

    @property
    def accepts_any(self) -> bool:
        """Whether no address is foreign, so that the control peer's need not be known."""

        return all(network in self.networks for network in _EVERYWHERE)

    def check(
        self,
        candidate_ip: str | ipaddress.IPv4Address | ipaddress.IPv6Address,
        control_ip: str | ipaddress.IPv4Address | ipaddress.IPv6Address | None,
        *,
        port: int | None = None,
    ) -> str | None:
        """Decide about a peer that has connected, or to which this side is to connect.

        Args:
            candidate_ip: Its address, with a scope id if the kernel gave one.
            control_ip: Address of the control peer; None where that is not
                known, and then only `networks` can accept.
            port: Its port, if this side is to connect to it: the privileged ones
                are refused. None for a peer that has connected, whose own
                port proves nothing.

        Returns:
            None if the peer is accepted, else the reason in words.
        """

        if port is not None and port < _FIRST_UNPRIVILEGED_PORT and not self.privileged_ports:
            return f"port {port} is privileged"

        candidate = _Peer.parse(candidate_ip)
        if candidate is None:
            return f"{str(candidate_ip)!r:.60} is not an address"

        if candidate_ip == control_ip or _naming(self, candidate.ip):
            return None

        control = None if control_ip is None else _Peer.parse(control_ip)
        if control is None:
            return f"{candidate.ip} cannot be compared, the address of the control peer is unknown"

        prefix = self.ipv4_prefix if candidate.ip.version == 4 else self.ipv6_prefix  # noqa: PLR2004
        if candidate.is_in_network_of(control, prefix):
            return None

        relation = "" if prefix == candidate.ip.max_prefixlen else f"in the /{prefix} network of "
        return f"{candidate.ip} is not {relation}the control peer {control.ip}"

    def check_target(
        self,
        target: HostPort,
        control_ip: str | ipaddress.IPv4Address | ipaddress.IPv6Address | None,
    ) -> str | None:
        """Decide about the target of an active connection, before it is connected to.

        On top of `check` this refuses ports below 1024 (RFC 2577 §3), and
        targets that a peer has no business to name: unspecified, multicast and
        broadcast addresses always; loopback and private ones from outside;
        link-local and reserved ones that are not the control peer itself.

        Args:
            target: What PORT or EPRT named.
            control_ip: Address of the control peer, None if not known.

        Returns:
            None if the target is accepted, else the reason in words.
        """

        special = _forbidden_range(self, target.host, control_ip)
        if special is not None:
            return f"{target.host} is a {special} address"

        return self.check(target.host, control_ip, port=target.port)


_EXACT_POLICY: PeerPolicy = PeerPolicy.exact()


def policy_for(control_peer: str | None, policy: PeerPolicy | None) -> PeerPolicy:
    """Return the policy of a data connection, by default the exact one.

    Args:
        control_peer: Address of the control connection's peer.
        policy: What the host has given.

    Raises:
        TypeError: `control_peer` is not text.
        BadAddress: It is not an address. Reply 501.
        ValueError: The policy compares with it, and there is none.
    """

    check_host("control_peer", control_peer)
    policy = policy if policy is not None else _EXACT_POLICY
    if control_peer is None and not policy.accepts_any:
        raise ValueError("control_peer is needed: the peer policy compares with it")

    return policy


# All arguments are values, and a session asks about the same ones before each of its transfers.
@functools.lru_cache(maxsize=1024)
def _forbidden_range(
    policy: PeerPolicy, host: str, control_ip: str | IPAddress | None
) -> str | None:
    """Name the special range that forbids the target at this address, if one does."""

    target = _Peer(_parse_ip(host))
    control = None if control_ip is None else _Peer.parse(control_ip)
    never, _ = _range_of(target.ip, _NEVER)
    if never or policy.special_targets:
        return never

    inside, ranges = _range_of(target.ip, _INSIDE)
    if inside:
        if control and any(control.ip in network for network in ranges):
            return None
    else:
        inside, ranges = _range_of(target.ip, _ONLY_ITSELF)
        if control and target.is_in_network_of(control, target.ip.max_prefixlen):
            return None

    named = any(
        network.version == special.version and network.subnet_of(special)  # type: ignore[arg-type]
        for network in _naming(policy, target.ip)
        for special in ranges
    )
    return None if named else inside


def _naming(policy: PeerPolicy, ip: IPAddress) -> list[IPNetwork]:
    """Return the networks of a policy that contain an address."""

    return [network for network in policy.networks if ip in network]


def _range_of(
    ip: IPAddress, table: tuple[tuple[str, tuple[IPNetwork, ...]], ...]
) -> tuple[str | None, tuple[IPNetwork, ...]]:
    """Return name and networks of the special range of an address; None and () if it has none."""

    for name, networks in table:
        if any(ip in network for network in networks):
            return name, networks

    return None, ()
