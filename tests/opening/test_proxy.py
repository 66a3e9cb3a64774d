"""Tests of `ftpdata.opening.proxy`: PROXY headers, read and written, whole and in parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata import HostPort
from ftpdata.errors import BadAddress, InvalidData
from ftpdata.opening import PROXY_HEADER_LIMIT, ProxyHeader, format_proxy_header, parse_proxy_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = HostPort("192.0.2.7", 51234), HostPort("198.51.100.1", 21)
V6 = HostPort("2001:db8::7", 51234), HostPort("2001:db8::1", 65535)

# These bytes were written by hand, after §2.1 and §2.2 of the specification.
TABLE: list[tuple[int, bytes, tuple[HostPort, HostPort] | None]] = [
    (1, b"PROXY TCP4 192.0.2.7 198.51.100.1 51234 21\r\n", V4),
    (1, b"PROXY TCP6 2001:db8::7 2001:db8::1 51234 65535\r\n", V6),
    (1, b"PROXY UNKNOWN\r\n", None),
    (
        2,
        SIGNATURE + b"\x21\x11\x00\x0c" + bytes((192, 0, 2, 7, 198, 51, 100, 1))
        + b"\xc8\x22\x00\x15",
        V4,
    ),
    (
        2,
        SIGNATURE + b"\x21\x21\x00\x24" + bytes.fromhex("20010db8" + "00" * 11 + "07")
        + bytes.fromhex("20010db8" + "00" * 11 + "01") + b"\xc8\x22\xff\xff",
        V6,
    ),
    (2, SIGNATURE + b"\x20\x00\x00\x00", None),
]  # fmt: skip


@pytest.mark.parametrize(("version", "data", "pair"), TABLE)
def test_both_ways(version: int, data: bytes, pair: tuple[HostPort, HostPort] | None) -> None:
    """Each header is written and read as the table says, and bytes after it are left alone."""
    source, destination = pair or (None, None)
    assert format_proxy_header(source, destination, version=version) == data
    assert parse_proxy_header(data) == ProxyHeader(source, destination, len(data))
    assert parse_proxy_header(memoryview(data + b"USER x")) == ProxyHeader(
        source, destination, len(data)
    )


@pytest.mark.parametrize(("version", "data", "pair"), TABLE)
def test_every_part_is_incomplete(version: int, data: bytes, pair: object) -> None:
    """As long as one byte is missing, the result is None, and no error is raised."""
    for end in range(len(data)):
        assert parse_proxy_header(data[:end]) is None


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (b"PROXY UNKNOWN ffff:f ffff:f 65535 65535\r\n", None),
        (SIGNATURE + b"\x20\x11\x00\x0c" + bytes(12), None),
        (SIGNATURE + b"\x20\xff\x00\x03abc", None),
        # TLVs after the addresses are skipped.
        (TABLE[3][1][:14] + b"\x00\x11" + TABLE[3][1][16:] + b"\x02\x00\x02hi", V4[0]),
    ],
)
def test_what_is_allowed_and_ignored(data: bytes, source: HostPort | None) -> None:
    """Words after UNKNOWN, addresses of LOCAL, and TLVs are ignored."""
    header = parse_proxy_header(data + b"rest")
    assert header is not None
    assert (header.source, header.size) == (source, len(data))


@pytest.mark.parametrize(
    "data",
    [
        b"USER anonymous\r\n",
        b"PROXY TCP4\r\n",
        b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
        b"PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n",
        b"PROXY TCP4 ::1 ::1 1 1\r\n",
        b"PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.04 1 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 0 1\r\n",
        b"PROXY UNKNOWN" + b" " * 200,
        SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),
        SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),
        SIGNATURE + b"\x21\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11" + PROXY_HEADER_LIMIT.to_bytes(2, "big"),
        SIGNATURE[:-1] + b"x",
    ],
)
def test_what_is_not_a_header_is_refused(data: bytes) -> None:
    """Any other command, family, transport, size, or number is `InvalidData`."""
    with pytest.raises(InvalidData):
        parse_proxy_header(data)


def test_what_cannot_be_written_is_refused() -> None:
    """Half a pair and version 3 are refused."""
    with pytest.raises(BadAddress):
        format_proxy_header(V4[0], None)
    with pytest.raises(ValueError, match="versions 1 and 2"):
        format_proxy_header(*V4, version=3)


@given(
    st.binary(max_size=120)
    | st.binary(max_size=60).map(lambda tail: SIGNATURE + tail)
    | st.text("PROXYTCP46UNKNOWN 0123456789.:abcdef\r\n", max_size=120).map(
        lambda tail: b"PROXY " + tail.encode()
    )
)
def test_only_its_own_error_escapes(data: bytes) -> None:
    """For any bytes the result is a header within them or None, or `InvalidData` is raised."""
    try:
        header = parse_proxy_header(data)
    except InvalidData:
        return
    assert header is None or header.size <= len(data)


@pytest.mark.parametrize(
    ("pair", "line", "addresses"),
    [
        (
            (V4[0], V6[1]),
            b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 51234 65535\r\n",
            "00000000000000000000ffffc0000207 20010db8000000000000000000000001 c822ffff",
        ),
        (
            (V6[0], V4[1]),
            b"PROXY TCP6 2001:db8::7 ::ffff:198.51.100.1 51234 21\r\n",
            "20010db8000000000000000000000007 00000000000000000000ffffc6336401 c8220015",
        ),
    ],
)
def test_an_ipv4_address_beside_an_ipv6_one_is_mapped(
    pair: tuple[HostPort, HostPort], line: bytes, addresses: str
) -> None:
    """Two families become one, which is read as the two again."""
    binary = SIGNATURE + b"\x21\x21\x00\x24" + bytes.fromhex(addresses)
    for version, data in ((1, line), (2, binary)):
        assert format_proxy_header(*pair, version=version) == data
        assert parse_proxy_header(data) == ProxyHeader(*pair, len(data))


ports = st.integers(1, 65535)
addresses = st.ip_addresses(v=4) | st.ip_addresses(v=6)


@given(addresses, addresses, ports, ports, st.sampled_from([1, 2]))
def test_round_trip(one: object, other: object, first: int, second: int, version: int) -> None:
    """Any pair of addresses is read as it was written."""
    try:
        pair = HostPort(str(one), first), HostPort(str(other), second)
    except BadAddress:
        return
    data = format_proxy_header(*pair, version=version)
    assert parse_proxy_header(data) == ProxyHeader(*pair, len(data))
