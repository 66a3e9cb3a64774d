"""TLS peers that a test controls record by record, and an authority for their certificates."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
import struct
import tempfile
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from ftpdata.tls.policy import ServerCertificate

__all__ = [
    "HOST_NAME",
    "RecordWriter",
    "TLSPeer",
    "authority_file",
    "certificate_files",
    "client_context",
    "server_certificate",
]

HOST_NAME = "ftp.example"

HANDSHAKE, APPLICATION_DATA = 22, 23
"""Types of records (RFC 8446 §5.1)."""


# Made on import: if a test made the files, the check for leaks would find them.
_DIRECTORY = tempfile.TemporaryDirectory()


@functools.cache
def _authority() -> trustme.CA:
    return trustme.CA()


@functools.cache
def authority_file() -> Path:
    """Give the file of the certificate of the test's authority."""

    path = Path(_DIRECTORY.name, "authority.pem")
    _authority().cert_pem.write_to_path(path)
    return path


@functools.cache
def certificate_files() -> tuple[Path, Path]:
    """Give the files of a certificate of the test's authority, and of its key."""

    certificate, key = Path(_DIRECTORY.name, "server.pem"), Path(_DIRECTORY.name, "server.key")
    issued = _authority().issue_cert(HOST_NAME, "127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    return certificate, key


def server_certificate(version: ssl.TLSVersion | None = None) -> ServerCertificate:
    """Give a certificate of the test's authority; its contexts speak one version, or any."""

    def limit(context: ssl.SSLContext) -> None:
        if version is not None:
            context.maximum_version = version

    certificate, key = certificate_files()
    return ServerCertificate(certificate=certificate, key=key, prepare=limit)


def client_context(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Make a client's context that trusts the test's authority, and no other."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _authority().configure_trust(context)
    if version is not None:
        context.minimum_version = context.maximum_version = version

    return context


class TLSPeer:
    """One end of a TLS connection whose bytes on the wire the test controls.

    Args:
        sock: A connected, non-blocking socket.
        context: With the role's protocol.
        server_side: Which role.
        session: To resume, for a client.
    """

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming,
            self.outgoing,
            server_side=server_side,
            server_hostname=None if server_side else HOST_NAME,
            session=session,
        )

    async def handshake(self) -> None:
        """Do the handshake; an end of file in its middle is an `ssl.SSLError`."""

        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.flush()
                await self._fill()
            else:
                await self.flush()
                return

    def record(self, data: bytes) -> bytes:
        """Encrypt; return what would go onto the wire, one record for up to 16 KiB."""

        self.tls.write(data)
        return self.outgoing.read()

    def close_notify(self) -> bytes:
        """Announce the end; return what would go onto the wire."""

        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()

        return self.outgoing.read()

    async def put(self, raw: bytes) -> None:
        """Put bytes onto the wire as they are."""

        await asyncio.get_running_loop().sock_sendall(self.sock, raw)

    async def send(self, data: bytes) -> None:
        """Encrypt and send."""

        await self.put(self.record(data))

    async def receive(self) -> bytes:
        """Receive some data; none at a close_notify.

        Raises:
            ssl.SSLEOFError: The connection ended without one.
        """

        while True:
            try:
                return self.tls.read(1 << 16)
            except ssl.SSLWantReadError:
                await self._fill()
            except ssl.SSLZeroReturnError:
                return b""

    async def receive_all(self) -> bytes:
        """Receive everything up to the close_notify; raises as `receive` does."""

        received = bytearray()
        while data := await self.receive():
            received += data

        return bytes(received)

    async def flush(self) -> None:
        """Send the bytes that the TLS layer has to send."""

        data = self.outgoing.read()
        if data:
            await self.put(data)

    async def _fill(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self.sock, 1 << 16)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()


class RecordWriter:
    """Writes TLS 1.3 records that no library writes, after a handshake.

    Args:
        keys: The file of the `keylog_filename` of the context of the client
            whose records these are. Its last handshake is meant.
    """

    def __init__(self, keys: Path) -> None:
        lines = [line.split() for line in keys.read_text().splitlines()]
        self._secret = bytes.fromhex(
            [line[2] for line in lines if line[0] == "CLIENT_TRAFFIC_SECRET_0"][-1]
        )
        # What the client of OpenSSL chooses where it may: TLS_AES_256_GCM_SHA384.
        assert len(self._secret) == hashes.SHA384.digest_size
        self._number = 0

    def data(self, data: bytes) -> bytes:
        """Make a record of data; it may be empty."""

        return self._record(APPLICATION_DATA, data)

    def key_update(self, *, requested: bool) -> bytes:
        """Change the keys; the other side is to do so, too, if it is requested."""

        record = self._record(HANDSHAKE, bytes((24, 0, 0, 1, requested)))
        self._secret = self._expand("traffic upd", hashes.SHA384.digest_size)
        self._number = 0
        return record

    def _record(self, kind: int, content: bytes) -> bytes:
        head = struct.pack("!BHH", APPLICATION_DATA, 0x0303, len(content) + 1 + 16)
        number = self._number.to_bytes(12, "big")
        nonce = bytes(a ^ b for a, b in zip(self._expand("iv", 12), number, strict=True))
        self._number += 1
        return head + AESGCM(self._expand("key", 32)).encrypt(nonce, content + bytes((kind,)), head)

    def _expand(self, label: str, size: int) -> bytes:
        name = b"tls13 " + label.encode()
        info = struct.pack("!HB", size, len(name)) + name + b"\0"
        return HKDFExpand(hashes.SHA384(), size, info).derive(self._secret)
