"""Reads the offer of a TLS client before the handshake (RFC 8446 §4.1.2, RFC 7301, RFC 6066).

Pure. It reads from a ClientHello the application protocols (ALPN), the server
name, and whether the client allows to be authenticated later. Python's `ssl`
completes a handshake with a client that offers only foreign protocols, as if it
had offered none. To refuse such a client (ALPACA, CVE-2021-3618), a server has to
read the ClientHello itself.
"""

from __future__ import annotations

import struct

import attrs

from ..contracts import Buffer
from ..errors import InvalidData

__all__ = ["ClientHello", "parse_client_hello"]

HANDSHAKE_RECORD = 22
CLIENT_HELLO = 1
SERVER_NAME = 0
ALPN = 16
POST_HANDSHAKE_AUTH = 49
HOST_NAME = 0

RECORD_HEAD, HEADS = 5, 9
"""Bytes before the handshake's message, and before its content (RFC 8446 §5.1, §4)."""

VERSION_AND_RANDOM = 2 + 32
"""Bytes at the front of a ClientHello (RFC 8446 §4.1.2)."""

_EXTENSION = struct.Struct(">HH")
"""Type and length of an extension (RFC 8446 §4.2)."""

MAX_CLIENT_HELLO = 64 * 1024
"""Bytes. Real ones have 200 to 2,000, including post-quantum key shares."""


@attrs.frozen
class ClientHello:
    """The offer of a client.

    Attributes:
        protocols: Names of application protocols, the preferred one first; empty
            if it offers none.
        server_name: Name of the host that it wants, if it names one.
        allows_post_handshake_auth: Whether it may be asked for a certificate after
            the handshake (RFC 8446 §4.2.6, §4.6.2).
    """

    protocols: tuple[bytes, ...] = ()
    server_name: bytes | None = None
    allows_post_handshake_auth: bool = False


class _Incomplete(Exception):
    """There are fewer bytes than the structure has."""


class _Reader:
    """Takes vectors off the front of bytes, and never reads past their end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise _Incomplete

        piece = self._data[self._at : end]
        self._at = end
        return piece

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int) -> bytes:
        """Take a length of `width` bytes, and as many bytes as it says."""

        return self.take(self.number(width))


def parse_client_hello(data: Buffer) -> ClientHello | None:
    """Read the first bytes that a TLS client has sent.

    Args:
        data: All bytes of the connection so far.

    Returns:
        The offer, or None if more bytes are needed.

    Raises:
        InvalidData: The bytes are not the beginning of a TLS handshake. Reply 451.
    """

    message = _handshake_message(bytes(data))
    if message is None:
        return None

    try:
        reader = _Reader(message)
        reader.take(VERSION_AND_RANDOM)
        reader.vector(1)  # session id
        reader.vector(2)  # cipher suites
        reader.vector(1)  # compression methods
        return _extensions(reader.vector(2)) if reader else ClientHello()
    except _Incomplete:
        raise InvalidData("expected a ClientHello, got one whose parts do not fit") from None


def may_offer_protocols(data: Buffer) -> bool:
    """Return whether a ClientHello may offer protocols, and so is worth parsing.

    Args:
        data: As for `parse_client_hello`.

    Returns:
        False if it has arrived completely, in one record, without the extension for
        protocols. Most FTP clients offer none, and this check takes a tenth of the
        time. Searching the bytes alone would not suffice: OpenSSL 3.5 and later send over
        1,000 random ones.
    """

    head = bytes(data[:HEADS])
    if len(head) < HEADS or head[0] != HANDSHAKE_RECORD or head[5] != CLIENT_HELLO:
        return True

    end = HEADS + int.from_bytes(head[6:9], "big")
    in_record = RECORD_HEAD + int.from_bytes(head[3:5], "big")
    if end > min(in_record, len(data)):
        return True

    hello = bytes(data[:end])
    try:
        at = HEADS + VERSION_AND_RANDOM
        at += 1 + hello[at]  # session
        at += 2 + int.from_bytes(hello[at : at + 2], "big")  # cipher suites
        at += 1 + hello[at]  # compression methods
        at += 2  # the length of all extensions
        while at < end:
            kind, size = _EXTENSION.unpack_from(hello, at)
            if kind == ALPN:
                return True
            at += _EXTENSION.size + size
    except (IndexError, struct.error):
        return True

    return at != end


def _handshake_message(data: bytes) -> bytes | None:
    """Join the message out of its records (RFC 8446 §5.1: it may be split)."""

    reader = _Reader(data)
    message = b""
    try:
        while True:
            if reader.number(1) != HANDSHAKE_RECORD:
                raise InvalidData("expected a TLS handshake record")
            if reader.number(1) != 3:  # noqa: PLR2004 - SSL 3.0 to TLS 1.3 all say 3.x
                raise InvalidData("expected a TLS record of version 3.x")
            reader.take(1)
            fragment = reader.vector(2)
            if not fragment:
                raise InvalidData("expected a handshake record with something in it")

            message += fragment
            if message[0] != CLIENT_HELLO:
                raise InvalidData("expected a ClientHello")
            if len(message) >= 4:  # noqa: PLR2004 - type and length
                size = int.from_bytes(message[1:4], "big")
                if size > MAX_CLIENT_HELLO:
                    raise InvalidData(f"a ClientHello of {size} bytes is too large")
                if len(message) >= 4 + size:
                    return message[4 : 4 + size]
    except _Incomplete:
        return None


def _extensions(data: bytes) -> ClientHello:
    protocols: list[bytes] = []
    server_name: bytes | None = None
    allows_post_handshake_auth = False
    reader = _Reader(data)
    while reader:
        kind = reader.number(2)
        content = _Reader(reader.vector(2))
        if kind == ALPN:
            names = _Reader(content.vector(2))
            while names:
                protocols.append(names.vector(1))
        elif kind == SERVER_NAME and content:
            names = _Reader(content.vector(2))
            while names:
                name_kind, name = names.number(1), names.vector(2)
                if name_kind == HOST_NAME:
                    server_name = name
        elif kind == POST_HANDSHAKE_AUTH:
            allows_post_handshake_auth = True

    return ClientHello(tuple(protocols), server_name, allows_post_handshake_auth)
