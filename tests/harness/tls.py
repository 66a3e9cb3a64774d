"""TLS peers that a test controls record by record, and an authority for their certificates."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import socket
import ssl
import struct
import tempfile
from pathlib import Path

from ftpdata.tls.policy import ServerCertificate
from tests.harness.authority import CA

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

_DIGEST_SIZE = hashlib.sha384().digest_size

HANDSHAKE, APPLICATION_DATA = 22, 23
"""Types of records (RFC 8446 §5.1)."""


# Created on import: if a test created the files, the check for leaks would find them.
_DIRECTORY = tempfile.TemporaryDirectory()


@functools.cache
def _authority() -> CA:
    return CA()


@functools.cache
def authority_file() -> Path:
    """Return the file with the certificate of the tests' authority."""

    path = Path(_DIRECTORY.name, "authority.pem")
    _authority().cert_pem.write_to_path(path)
    return path


@functools.cache
def certificate_files() -> tuple[Path, Path]:
    """Return the files with a certificate of the tests' authority and its key."""

    certificate, key = Path(_DIRECTORY.name, "server.pem"), Path(_DIRECTORY.name, "server.key")
    issued = _authority().issue_cert(HOST_NAME, "127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    return certificate, key


def server_certificate(version: ssl.TLSVersion | None = None) -> ServerCertificate:
    """Return a certificate of the tests' authority, for one version of TLS or any."""

    def limit(context: ssl.SSLContext) -> None:
        if version is not None:
            context.maximum_version = version

    certificate, key = certificate_files()
    return ServerCertificate(certificate=certificate, key=key, prepare=limit)


def client_context(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Return a client's context that trusts only the tests' authority."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _authority().configure_trust(context)
    if version is not None:
        context.minimum_version = context.maximum_version = version

    return context


class TLSPeer:
    """One end of a TLS connection whose bytes on the wire the test controls.

    Args:
        sock: A connected, non-blocking socket.
        context: A context for the role.
        server_side: Which role.
        session: The session that a client resumes.
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
        """Do the handshake; an end of file within it raises an `ssl.SSLError`."""

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
        """Encrypt data; return the bytes for the wire, with one record for up to 16 KiB."""

        self.tls.write(data)
        return self.outgoing.read()

    def close_notify(self) -> bytes:
        """Announce the end; return the bytes for the wire."""

        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()

        return self.outgoing.read()

    def leave(self) -> None:
        """Keep the session: a client of PyPy's forgets that of a connection that was cut.

        The bytes of the end that this makes are not sent.
        """

        self.incoming.read()
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()

    async def put(self, raw: bytes) -> None:
        """Put bytes onto the wire unchanged."""

        await asyncio.get_running_loop().sock_sendall(self.sock, raw)

    async def send(self, data: bytes) -> None:
        """Encrypt and send data."""

        await self.put(self.record(data))

    async def receive(self) -> bytes:
        """Receive some data; empty at a close_notify.

        Raises:
            ssl.SSLEOFError: The connection ended without a close_notify.
        """

        while True:
            try:
                return self.tls.read(1 << 16)
            except ssl.SSLWantReadError:
                await self._fill()
            except ssl.SSLZeroReturnError:
                return b""

    async def receive_all(self) -> bytes:
        """Receive everything up to the close_notify; raises what `receive` raises."""

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
        keys: The `keylog_filename` of the context of the client whose records these are. Its
            last handshake counts.
    """

    def __init__(self, keys: Path) -> None:
        lines = [line.split() for line in keys.read_text().splitlines()]
        self._secret = bytes.fromhex(
            [line[2] for line in lines if line[0] == "CLIENT_TRAFFIC_SECRET_0"][-1]
        )
        # OpenSSL's client prefers this one: TLS_AES_256_GCM_SHA384.
        assert len(self._secret) == _DIGEST_SIZE
        self._number = 0

    def data(self, data: bytes) -> bytes:
        """Return a record of data, which may be empty."""

        return self._record(APPLICATION_DATA, data)

    def key_update(self, *, requested: bool) -> bytes:
        """Change the keys; return a record that says so, and may request the same of the peer."""

        record = self._record(HANDSHAKE, bytes((24, 0, 0, 1, requested)))
        self._secret = self._expand("traffic upd", _DIGEST_SIZE)
        self._number = 0
        return record

    def _record(self, kind: int, content: bytes) -> bytes:
        head = struct.pack("!BHH", APPLICATION_DATA, 0x0303, len(content) + 1 + 16)
        number = self._number.to_bytes(12, "big")
        nonce = bytes(a ^ b for a, b in zip(self._expand("iv", 12), number, strict=True))
        self._number += 1
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return head + AESGCM(self._expand("key", 32)).encrypt(nonce, content + bytes((kind,)), head)

    def _expand(self, label: str, size: int) -> bytes:
        name = b"tls13 " + label.encode()
        info = struct.pack("!HB", size, len(name)) + name + b"\0"
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

        return HKDFExpand(hashes.SHA384(), size, info).derive(self._secret)
