"""Transfers each way over loopback, in clear and through TLS, whose bytes are compared.

The TLS uses a cipher suite without certificates (anonymous ECDH of TLS 1.2, RFC 8422 §2), so that
no key lies in the package, for which nobody could answer. It protects nothing, since nobody knows
who the peer is; what it shows is that this system's TLS carries a data connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

from ._self_report import Trial
from .opening.active import connect_active
from .opening.endpoint import Endpoint
from .opening.passive import listen_passive
from .outcome import TransferResult
from .tls.policy import DataTLS
from .transfers.receiving import receive_file
from .transfers.sending import send_file

__all__ = ["trials"]

HOST = "127.0.0.1"

SIZE = 4 * 1024 * 1024 + 1
"""Bytes of the file: enough for every fast path, and no multiple of any piece."""

PATIENCE = 5.0
"""Seconds that one transfer may take."""

_CIPHERS = "AECDH:@SECLEVEL=0"
"""OpenSSL's name for the suites without certificates, which no security level but the lowest allows
(openssl-ciphers(1))."""


def trials(directory: Path) -> Iterator[Trial]:
    """Try the transfers, and tell of each when it has ended. Blocks.

    Args:
        directory: An empty directory for the files.
    """

    source, target = directory / "source", directory / "target"
    source.write_bytes(os.urandom(SIZE))
    for is_protected in (False, True):
        for is_upload in (False, True):
            way = "upload" if is_upload else "download"
            name = f"{way} through TLS" if is_protected else f"{way} in clear"
            began_at = time.monotonic()
            try:
                sent, received = asyncio.run(
                    _transfer(source, target, is_upload=is_upload, is_protected=is_protected)
                )
                failure = _difference(source, target)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                yield Trial(name=name, failure=_in_words(error))
                continue
            finally:
                target.unlink(missing_ok=True)

            yield Trial(
                name=name,
                failure=failure,
                size=SIZE,
                seconds=time.monotonic() - began_at,
                sent_by=sent.fast_path.value,
                received_by=received.fast_path.value,
                protection=f"{sent.tls_version} {sent.tls_cipher}" if is_protected else None,
            )


async def _transfer(
    source: Path, target: Path, *, is_upload: bool, is_protected: bool
) -> tuple[TransferResult, TransferResult]:
    """Move a file between a server, which listens, and a client; return what both ends say."""

    async with contextlib.AsyncExitStack() as stack:
        server = await listen_passive(
            HOST, control_peer=HOST, tls=_server_tls() if is_protected else None
        )
        await stack.enter_async_context(server)
        client = connect_active(
            server.address, control_peer=HOST, tls=_client_tls() if is_protected else None
        )
        await stack.enter_async_context(client)
        sender: Endpoint
        receiver: Endpoint
        sender, receiver = (client, server) if is_upload else (server, client)
        async with asyncio.timeout(PATIENCE):
            # Wait for both: the error of one end may only tell what the other has done.
            sent, received = await asyncio.gather(
                send_file(sender, source), receive_file(receiver, target), return_exceptions=True
            )

    for end in (sent, received):
        if isinstance(end, BaseException):
            raise end
    assert isinstance(sent, TransferResult)
    assert isinstance(received, TransferResult)
    return sent, received


def _difference(source: Path, target: Path) -> str | None:
    """Say in which way a file is not the other, byte by byte; None if they are equal."""

    sizes = [path.stat().st_size for path in (source, target)]
    if sizes[0] != sizes[1]:
        return f"{sizes[1]:,} of {sizes[0]:,} bytes arrived"

    digests = []
    for path in (source, target):
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())

    return None if digests[0] == digests[1] else "the bytes that arrived are not those sent"


def _in_words(error: Exception) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"it has not ended within {PATIENCE:g} s"

    return str(error) or type(error).__name__


def _server_tls() -> DataTLS:
    context = _anonymous(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    return DataTLS.for_server(context)


def _client_tls() -> DataTLS:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return DataTLS.for_client(_anonymous(context), session=None)


def _anonymous(context: ssl.SSLContext) -> ssl.SSLContext:
    """Let a context use the suites without certificates, and nothing else."""

    # TLS 1.3 has no such suites.
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    return context
