"""Tests of `ftpdata.tls._client_hello`: what a client offers in its first message."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata.errors import InvalidData
from ftpdata.tls._client_hello import ClientHello, may_offer_protocols, parse_client_hello


def hello(
    *protocols: str, server_name: str | None = None, post_handshake_auth: bool = False
) -> bytes:
    """Return the first bytes that OpenSSL's own client sends."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.post_handshake_auth = post_handshake_auth
    if protocols:
        context.set_alpn_protocols(list(protocols))

    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()

    return outgoing.read()


OFFERS = [
    (hello(), ClientHello()),
    (hello("ftp"), ClientHello((b"ftp",))),
    (hello("http/1.1", "h2"), ClientHello((b"http/1.1", b"h2"))),
    (
        hello("ftp-data", server_name="files.example"),
        ClientHello((b"ftp-data",), b"files.example"),
    ),
    (
        hello("ftp", post_handshake_auth=True),
        ClientHello((b"ftp",), allows_post_handshake_auth=True),
    ),
]


@pytest.mark.parametrize(("data", "offer"), OFFERS)
def test_offers_are_read(data: bytes, offer: ClientHello) -> None:
    """The protocols and the name of the server are those that OpenSSL's client was given."""
    assert parse_client_hello(data) == offer
    assert parse_client_hello(data + b"more") == offer
    assert parse_client_hello(memoryview(data)) == offer


@pytest.mark.parametrize(("data", "offer"), OFFERS)
def test_every_part_is_incomplete(data: bytes, offer: ClientHello) -> None:
    """As long as one byte is missing, the result is None, and no error is raised."""
    for end in range(len(data)):
        assert parse_client_hello(data[:end]) is None


@pytest.mark.parametrize(("data", "offer"), OFFERS)
def test_a_look_never_misses_an_offer(data: bytes, offer: ClientHello) -> None:
    """Only a complete ClientHello without the extension is known to offer nothing."""
    for end in range(len(data)):
        assert may_offer_protocols(data[:end])
    assert may_offer_protocols(data) == bool(offer.protocols)
    assert may_offer_protocols(memoryview(data + b"more")) == bool(offer.protocols)
    assert may_offer_protocols(b"\x17" + data[1:])


def test_random_bytes_are_not_taken_for_an_offer() -> None:
    """OpenSSL 3.5 sends over 1,000 random bytes. Two of them may equal the extension's number."""
    body = b"\x03\x03" + b"\x00\x10" * 16 + b"\x20" + b"\x00\x10" * 16
    body += b"\x00\x02\x00\x10" + b"\x01\x00"
    extension = b"\x00\x33\x04\xc0" + b"\x00\x10" * 0x260
    body += len(extension).to_bytes(2, "big") + extension
    assert not may_offer_protocols(record(b"\x01" + len(body).to_bytes(3, "big") + body))


def test_a_hello_whose_parts_do_not_fit_is_read() -> None:
    """Such a ClientHello is parsed, so that it is refused with its reason."""
    body = bytes(34) + b"\x00" + b"\x00\x02\x00\x2f" + b"\x01\x00"
    for parts in (bytes(20), body + b"\x00", body + b"\x00\x05\x00\x33\x00\x02\x00", body):
        assert may_offer_protocols(record(b"\x01" + len(parts).to_bytes(3, "big") + parts))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_a_hello_in_many_records_is_joined(size: int) -> None:
    """RFC 8446 §5.1 allows a message to be split over several records."""
    whole, offer = OFFERS[3]
    message = whole[5:]
    records = b"".join(
        b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part
        for part in (message[at : at + size] for at in range(0, len(message), size))
    )
    assert parse_client_hello(records) == offer
    assert parse_client_hello(records[:-1]) is None


def record(message: bytes) -> bytes:
    """Put a message in one record."""

    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"x" + hello(),
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x16\x02\x01\x00\x01\x01",
        b"\x16\x03\x01\x00\x00",
        record(b"\x02\x00\x00\x00"),
        record(b"\x01\xff\xff\xff"),
        record(b"\x01\x00\x00\x02\x03\x03"),
        record(b"\x01\x00\x00\x27" + bytes(34) + b"\x00\x00\x00\x00\x05"),
    ],
)
def test_what_is_not_a_hello_is_refused(data: bytes) -> None:
    """Plain text, other records, other messages, and parts that do not fit are `InvalidData`."""
    with pytest.raises(InvalidData):
        parse_client_hello(data)


def test_a_hello_without_extensions_offers_nothing() -> None:
    """In TLS 1.2 a ClientHello may end after the compression methods."""
    body = bytes(34) + b"\x00" + b"\x00\x02\x00\x2f" + b"\x01\x00"
    data = record(b"\x01" + len(body).to_bytes(3, "big") + body)
    assert parse_client_hello(data) == ClientHello()


def test_names_of_another_kind_are_passed_over() -> None:
    """Only host names count, and an empty extension has no name."""
    names = b"\x01\x00\x01z"
    extensions = b"\x00\x00" + (len(names) + 2).to_bytes(2, "big") + len(names).to_bytes(2, "big")
    extensions += names + b"\x00\x00\x00\x00"
    body = bytes(34) + b"\x00" + b"\x00\x02\x00\x2f" + b"\x01\x00"
    body += len(extensions).to_bytes(2, "big") + extensions
    data = record(b"\x01" + len(body).to_bytes(3, "big") + body)
    assert parse_client_hello(data) == ClientHello()


@given(st.integers(1, 400))
def test_an_offer_that_two_records_share_is_not_missed(size: int) -> None:
    """The header of a record may stand in the middle of the extension's number."""
    message = OFFERS[1][0][5:]
    assert may_offer_protocols(record(message[:size]) + record(message[size:]))


@given(st.binary(max_size=300) | st.binary(max_size=300).map(record))
def test_only_its_own_error_escapes(data: bytes) -> None:
    """For any bytes the result is a ClientHello or None, or `InvalidData` is raised."""
    try:
        result = parse_client_hello(data)
    except InvalidData:
        return
    assert result is None or isinstance(result, ClientHello)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_does_no_harm(position: int, value: int) -> None:
    """A ClientHello with one byte changed has a result, too, or raises `InvalidData`."""
    data = bytearray(OFFERS[3][0])
    data[position % len(data)] = value
    try:
        parse_client_hello(data)
    except InvalidData:
        return
