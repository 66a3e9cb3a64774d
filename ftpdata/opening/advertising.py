"""Which address to tell a client for a passive connection, behind NAT.

Pure: a table, a mapping of ports and a warning; names are resolved elsewhere
(`ftpdata.opening.nat`). RFC 959 §4.2 (227), RFC 2428 §3 (229, which tells a port only,
and so needs no address), RFC 6890 for private addresses.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import cast

import attrs

from .._checks import check_call, check_type, checked, wrong_type
from ..addresses import HostPort
from ..errors import BadAddress

__all__ = ["AddressTable", "Advertisement", "PortMapping", "advertise", "unreachable_reason"]

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

PortMapping = int | Callable[[int], int]
"""From the bound port to the exposed one: what is added, or a function."""


Entries = (
    Mapping[str, str] | Mapping[IPNetwork, str] | Iterable[tuple[str | IPNetwork, str]]
)


def _networks(entries: Entries) -> tuple[tuple[IPNetwork, str], ...]:
    _check_entries(entries)
    pairs = cast(
        "Iterable[tuple[str | IPNetwork, str]]",
        entries.items() if isinstance(entries, Mapping) else entries,
    )
    found = [(ipaddress.ip_network(network), host) for network, host in pairs]
    for _, host in found:
        check_type("entry of a table", host, str, "an address or a name")
    if not all(host for _, host in found):
        raise ValueError("a table gives an address or a name for each network")

    # The longest prefix first, which is the most precise.
    return tuple(sorted(found, key=lambda entry: -entry[0].prefixlen))


def _check_entries(entries: object) -> None:
    if isinstance(entries, str) or not isinstance(entries, Iterable):
        raise wrong_type("entries", "addresses or names by networks", entries)


@attrs.frozen(field_transformer=checked)
class AddressTable:
    """The addresses to tell clients, by network. The most precise network decides.

    Args:
        entries: Address or name to tell, for each network.
        default: What to tell all others; None for the address that is listened on.

    Raises:
        ValueError: Not networks, or not addresses or names.
    """

    entries: tuple[tuple[IPNetwork, str], ...] = attrs.field(converter=_networks)
    default: str | None = None

    def lookup(self, client: str) -> str | None:
        """Return what to tell a client, None for the address that is listened on.

        Raises:
            BadAddress: `client` is not an address. Reply 501.
        """

        ip = _ip(client)
        for network, host in self.entries:
            if ip in network:
                return host

        return self.default


@attrs.frozen
class Advertisement:
    """What to tell one client.

    Attributes:
        address: Address and port.
        warning: Why the client can probably not connect to it, in words; None
            if nothing speaks against it.
    """

    address: HostPort
    warning: str | None = None


def advertise(
    bound: HostPort,
    client: str,
    *,
    host: str | None = None,
    exposed_port: PortMapping = 0,
) -> Advertisement:
    """Decide what to tell a client that must connect to `bound`.

    Args:
        bound: What is listened on.
        client: Address of the control connection's peer.
        host: Address to tell instead of the bound one; not a name.
        exposed_port: How the port that the NAT exposes follows from the bound
            one: a number to add, or a function.

    Raises:
        BadAddress: `host` is not an address, or the exposed port is not a port.
            Reply 501.
    """

    check_call(advertise, locals())
    address = HostPort(bound.host if host is None else host, expose(bound.port, exposed_port))
    return Advertisement(address, unreachable_reason(address.host, client))


def expose(port: int, exposed_port: PortMapping) -> int:
    """Return the port that the NAT exposes for a bound one; see `advertise`."""

    return exposed_port(port) if callable(exposed_port) else port + exposed_port


def unreachable_reason(host: str, client: str) -> str | None:
    """Return why a client can probably not connect to an address that it gets.

    Args:
        host: The address.
        client: Address of the client.

    Returns:
        None if nothing speaks against it.

    Raises:
        BadAddress: One of them is not an address. Reply 501.
    """

    return _unreachable_reason(host, client)


# Asked for every PASV, about the same few addresses.
@functools.lru_cache(maxsize=1024)
def _unreachable_reason(host: str, client: str) -> str | None:
    told, peer = _ip(host), _ip(client)
    if told.is_unspecified:
        return f"{told} means every address of this machine, no client can connect to it"

    if told.version != peer.version:
        return f"{told} is of another family than the address of the client, {peer}"

    if peer.is_global and not told.is_global:
        return f"{told} is not public, but the client {peer} is: tell it the address of the NAT"

    if told.is_loopback and not peer.is_loopback:
        return f"{told} is this machine for everybody, the client {peer} is another one"

    return None


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Parse an address as the kernel reports it: a scope is ignored, mapped IPv4 is IPv4."""

    if not isinstance(host, str):
        raise BadAddress(f"an address is expected as text, not {host!r:.60}")

    return HostPort(host.partition("%")[0], 1).ip
