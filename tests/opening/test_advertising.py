"""Tests of `ftpdata.opening.advertising`: the advertised address, and when it is useless."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata.addresses import HostPort
from ftpdata.errors import BadAddress
from ftpdata.opening.advertising import AddressTable, PortMapping, advertise, unreachable_reason

BOUND = HostPort("10.0.0.5", 50000)

TABLE = AddressTable(
    {
        "10.0.0.0/8": "10.0.0.5",
        "10.9.0.0/16": "10.9.0.1",
        "2001:db8::/32": "2001:db8::1",
        "0.0.0.0/0": "ftp.example.org",
    }
)


@pytest.mark.parametrize(
    ("client", "host"),
    [
        ("10.1.2.3", "10.0.0.5"),
        ("10.9.2.3", "10.9.0.1"),
        ("::ffff:10.9.2.3", "10.9.0.1"),
        ("8.8.8.8", "ftp.example.org"),
        ("2001:db8::7", "2001:db8::1"),
        ("2001:db9::7", None),
    ],
)
def test_the_most_precise_network_decides(client: str, host: str | None) -> None:
    """The most precise network decides, whatever the order of the table."""

    assert TABLE.lookup(client) == host
    backwards = AddressTable(tuple(reversed(TABLE.entries)))
    assert backwards.lookup(client) == host


def test_a_table_has_a_default() -> None:
    """A client in none of the networks gets the default, or the bound address."""

    assert AddressTable({}, default="192.0.2.1").lookup("8.8.8.8") == "192.0.2.1"
    assert AddressTable({}).lookup("8.8.8.8") is None


@pytest.mark.parametrize("entries", [{"10.0.0.1/8": "10.0.0.1"}, {"x": "y"}, {"10.0.0.0/8": ""}])
def test_what_is_not_a_table(entries: dict[str, str]) -> None:
    """A wrong table is refused when the server starts, not when a client comes."""

    with pytest.raises(ValueError, match=r"host bits|IPv4|address or a name"):
        AddressTable(entries)


@pytest.mark.parametrize(
    ("host", "mapping", "told"),
    [
        (None, 0, HostPort("10.0.0.5", 50000)),
        ("203.0.113.9", 0, HostPort("203.0.113.9", 50000)),
        (None, -10000, HostPort("10.0.0.5", 40000)),
        ("203.0.113.9", lambda port: port + 7, HostPort("203.0.113.9", 50007)),
    ],
)
def test_address_and_port_are_mapped(
    host: str | None, mapping: PortMapping, told: HostPort
) -> None:
    """An offset or a function gives the port that the NAT exposes."""

    assert advertise(BOUND, "10.1.1.1", host=host, exposed_port=mapping).address == told


@pytest.mark.parametrize("mapping", [-50000, 20000, lambda port: 0, lambda port: "21"])
def test_a_mapping_that_gives_no_port(mapping: PortMapping) -> None:
    """A number that is not a port is an error, and never gets into a reply."""

    with pytest.raises(BadAddress):
        advertise(BOUND, "10.1.1.1", exposed_port=mapping)


def test_a_name_is_not_an_address() -> None:
    """A name must be resolved before."""

    with pytest.raises(BadAddress):
        advertise(BOUND, "10.1.1.1", host="ftp.example.org")


@pytest.mark.parametrize(
    ("host", "client", "word"),
    [
        ("10.0.0.5", "8.8.8.8", "not public"),
        ("192.168.0.1", "::ffff:8.8.8.8", "not public"),
        ("100.64.0.1", "8.8.8.8", "not public"),
        ("127.0.0.1", "8.8.8.8", "not public"),
        ("fd00::1", "2606:4700::1111", "not public"),
        ("fe80::1", "2606:4700::1111", "not public"),
        ("0.0.0.0", "127.0.0.1", "every address"),
        ("::", "::1", "every address"),
        ("8.8.4.4", "2606:4700::1111", "family"),
        ("127.0.0.1", "10.1.1.1", "this machine"),
        ("10.0.0.5", "10.1.1.1", None),
        ("10.0.0.5", "192.168.1.1", None),
        ("8.8.4.4", "10.1.1.1", None),
        ("8.8.4.4", "8.8.8.8", None),
        ("127.0.0.1", "127.0.0.2", None),
        ("fe80::1%eth0", "fe80::2%eth0", None),
    ],
)
def test_the_warning(host: str, client: str, word: str | None) -> None:
    """The warning tells the operator why a client that gets this address cannot connect."""

    reason = unreachable_reason(host, client)
    assert reason is None if word is None else word in (reason or "")
    bound = HostPort(host.partition("%")[0], 50000)
    assert advertise(bound, client).warning == reason


@pytest.mark.parametrize("client", ["", "localhost", None, 1])
def test_a_client_without_an_address(client: object) -> None:
    """A client without an IP address is refused with an error of ftpdata."""

    with pytest.raises(BadAddress):
        unreachable_reason("10.0.0.1", client)  # type: ignore[arg-type]


@given(told=st.ip_addresses(), client=st.ip_addresses())
def test_any_two_addresses_can_be_judged(
    told: ipaddress.IPv4Address | ipaddress.IPv6Address,
    client: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """Any two addresses can be compared. A public one of the client's family gets no warning."""

    reason = unreachable_reason(str(told), str(client))
    if told.version == client.version and told.is_global and client.is_global:
        if getattr(told, "ipv4_mapped", None) or getattr(client, "ipv4_mapped", None):
            return
        assert reason is None
