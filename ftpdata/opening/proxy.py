"""The PROXY protocol, versions 1 and 2, names the client behind a load balancer.

HAProxy's proxy-protocol.txt; section numbers are its own.

Pure. Reads the header that a proxy puts before the first byte of a connection,
and writes one, for tests and for programs that are proxies themselves. Who may
be believed is a value, `TrustedProxies`; `ftpdata.opening._acceptor` asks it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

import attrs

from .._checks import check_call, checked, ranged, seconds
from ..addresses import HostPort, PeerPolicy
from ..contracts import Buffer
from ..errors import BadAddress, InvalidData

__all__ = [
    "PROXY_HEADER_LIMIT",
    "ProxyHeader",
    "TrustedProxies",
    "format_proxy_header",
    "parse_proxy_header",
]

PROXY_HEADER_LIMIT = 2048
"""Bytes of the longest header that is read: version 2 with all its TLVs stays far below."""

V1_START = b"PROXY "
V1_LIMIT = 107
"""Bytes of the longest line of version 1, its line end included (§2.1)."""

V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V2_FIXED = 16
LOCAL, PROXIED = 0x20, 0x21
TCP4, TCP6 = 0x11, 0x21
ADDRESS_SIZE = {TCP4: 4, TCP6: 16}
MAPPED = bytes(10) + b"\xff\xff"
"""What precedes an IPv4 address that is mapped into IPv6 (RFC 4291 §2.5.5.2)."""

_NUMBER = re.compile(r"0|[1-9][0-9]{0,4}", re.ASCII)


@attrs.frozen
class ProxyHeader:
    """What a proxy says about the connection that it passes on.

    Attributes:
        source: The client behind the proxy; None where the proxy does not
            know it or speaks for itself (LOCAL, UNKNOWN).
        destination: Where the client connected to; None in the same cases.
        size: Bytes of the header.
    """

    source: HostPort | None
    destination: HostPort | None
    size: int


Network = str | ipaddress.IPv4Network | ipaddress.IPv6Network


def _policy(networks: Iterable[Network]) -> PeerPolicy:
    return PeerPolicy.allow(networks)


@attrs.frozen(field_transformer=checked)
class TrustedProxies:
    """Load balancers that name the client behind them, with a PROXY header (version 1 or 2).

    Where this is given, every data connection must come from one of them and
    begin with a header: what comes from elsewhere is a stranger, whatever it
    says. The address in the header is the one that is judged. A connection
    that a proxy makes for itself (LOCAL, a health check) is closed.

    Args:
        networks: Networks or addresses of the proxies.
        timeout: Seconds from the connection to the end of the header.
        size_limit: Bytes of the longest header, up to 2048.

    Raises:
        TypeError: One text instead of a list of networks.
        ValueError: Not networks, or a limit is out of range.
    """

    _policy: PeerPolicy = attrs.field(converter=_policy, alias="networks")
    timeout: float = attrs.field(default=5.0, kw_only=True, validator=seconds)
    size_limit: int = attrs.field(
        default=PROXY_HEADER_LIMIT, kw_only=True, validator=ranged(1, PROXY_HEADER_LIMIT)
    )

    def trusts(self, host: str) -> bool:
        """Whether this address, as the kernel reports it, is that of a trusted proxy."""

        return self._policy.check(host, None) is None


def parse_proxy_header(data: Buffer) -> ProxyHeader | None:
    """Read the header at the beginning of a connection.

    Args:
        data: All bytes from the beginning of the connection, as far as they
            have come; what follows the header is left alone.

    Returns:
        The header, or None where more bytes are needed to tell.

    Raises:
        InvalidData: The connection does not begin with a header of TCP over
            IPv4 or IPv6, or with one that is longer than the limits. Reply 451.
    """

    check_call(parse_proxy_header, locals())
    start = bytes(data[: V2_FIXED + PROXY_HEADER_LIMIT])
    if start.startswith(V2_SIGNATURE):
        return _parse_v2(start)

    if start.startswith(V1_START):
        return _parse_v1(start)

    if V2_SIGNATURE.startswith(start) or V1_START.startswith(start):
        return None

    raise InvalidData(f"expected a PROXY header, got {start[:16]!r}")


def _parse_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, V1_LIMIT)
    if end < 0:
        if len(data) >= V1_LIMIT:
            raise InvalidData("expected the line end of a PROXY header within 107 bytes")
        return None

    line = data[:end]
    words = line.decode("latin-1").split(" ")
    size = end + 2
    if words[1] == "UNKNOWN":
        # "the receiver must ignore anything presented before the CRLF" (§2.1).
        return ProxyHeader(None, None, size)

    if words[1] not in ("TCP4", "TCP6") or len(words) != 6:  # noqa: PLR2004 - the line's words
        raise InvalidData(f"expected PROXY TCP4 or TCP6 with four more words, got {line!r:.80}")

    version = 4 if words[1] == "TCP4" else 6
    source = _v1_address(words[2], words[4], version, line)
    return ProxyHeader(source, _v1_address(words[3], words[5], version, line), size)


def _v1_address(host: str, port: str, version: int, line: bytes) -> HostPort:
    try:
        if ipaddress.ip_address(host).version == version and _NUMBER.fullmatch(port):
            return HostPort(host, int(port))
    except (ValueError, BadAddress):
        pass

    raise InvalidData(f"expected addresses of one family, and ports, got {line!r:.110}")


def _parse_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < V2_FIXED:
        return None

    command, family = data[12], data[13]
    length = int.from_bytes(data[14:16], "big")
    size = V2_FIXED + length
    if command not in (LOCAL, PROXIED):
        raise InvalidData(f"expected version 2, LOCAL or PROXY, got {command:#04x}")
    if size > PROXY_HEADER_LIMIT:
        raise InvalidData(f"a PROXY header of {size} bytes is too long")
    if len(data) < size:
        return None

    if command == LOCAL:
        # A health check of the proxy's own: what else it says must be ignored (§2.2).
        return ProxyHeader(None, None, size)

    if family not in ADDRESS_SIZE:
        raise InvalidData(f"expected TCP over IPv4 or IPv6, got {family:#04x}")

    width = ADDRESS_SIZE[family]
    block = data[V2_FIXED : V2_FIXED + 2 * width + 4]
    if length < len(block) or len(block) != 2 * width + 4:
        raise InvalidData(f"expected {2 * width + 4} bytes of addresses, got {length}")

    source, destination = block[:width], block[width : 2 * width]
    ports = block[2 * width :]
    try:
        return ProxyHeader(
            HostPort(str(ipaddress.ip_address(source)), int.from_bytes(ports[:2], "big")),
            HostPort(str(ipaddress.ip_address(destination)), int.from_bytes(ports[2:], "big")),
            size,
        )
    except BadAddress as error:
        raise InvalidData(f"expected addresses and ports: {error}") from None


def format_proxy_header(
    source: HostPort | None, destination: HostPort | None, *, version: int = 2
) -> bytes:
    """Write a header, for a connection that is passed on or (None) is one's own.

    A header has one family. If one address is of IPv4 and the other of IPv6, as where a
    proxy takes the client's from elsewhere, the first is mapped into IPv6, as HAProxy does.

    Raises:
        BadAddress: Only one of the addresses is given. Reply 501.
        ValueError: `version` is neither 1 nor 2.
    """

    check_call(format_proxy_header, locals())
    if version not in (1, 2):
        raise ValueError(f"the PROXY protocol has versions 1 and 2, not {version!r}")

    if source is None or destination is None:
        if source is not destination:
            raise BadAddress("expected both addresses, or neither")
        return b"PROXY UNKNOWN\r\n" if version == 1 else V2_SIGNATURE + b"\x20\x00\x00\x00"

    is_ipv6 = source.is_ipv6 or destination.is_ipv6
    pair = (source, destination)
    if version == 1:
        hosts = [f"::ffff:{it.host}" if is_ipv6 and not it.is_ipv6 else it.host for it in pair]
        family = "TCP6" if is_ipv6 else "TCP4"
        line = f"PROXY {family} {' '.join(hosts)} {source.port} {destination.port}\r\n"
        return line.encode()

    block = b"".join(
        MAPPED + it.ip.packed if is_ipv6 and not it.is_ipv6 else it.ip.packed for it in pair
    )
    block += source.port.to_bytes(2, "big") + destination.port.to_bytes(2, "big")
    family_byte = TCP6 if is_ipv6 else TCP4
    return V2_SIGNATURE + bytes((PROXIED, family_byte)) + len(block).to_bytes(2, "big") + block
