"""A pair of TLS channels without a connection between them."""

from __future__ import annotations

import ssl

from ftpdata.tls._channel import TLSChannel
from ftpdata.tls.policy import DataTLS

from .tls import HOST_NAME, client_context, server_certificate

__all__ = ["BAD_RECORD", "channels", "for_client", "for_server", "shake_hands"]

BAD_RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)


def for_server(version: ssl.TLSVersion | None = None) -> DataTLS:
    """Return a server's side of a session."""

    return DataTLS.for_server(server_certificate(version).session_context())


def for_client(version: ssl.TLSVersion | None = None) -> DataTLS:
    """Return a client's side of a session."""

    return DataTLS.for_client(client_context(version), session=None, server_hostname=HOST_NAME)


def shake_hands(here: TLSChannel, there: TLSChannel, *, step: int = 1 << 20) -> None:
    """Do the handshake of two channels, passing its messages in pieces of `step` bytes."""

    pending = [here, there]
    while pending:
        for channel, other in ((here, there), (there, here)):
            if channel in pending and channel.handshake():
                pending.remove(channel)
            data = channel.take()
            for at in range(0, len(data), step):
                other.feed(data[at : at + step])
                if other in pending and at + step < len(data) and other.handshake():
                    pending.remove(other)


def channels(version: ssl.TLSVersion | None = None, *, step: int = 1 << 20) -> list[TLSChannel]:
    """Return a server's and a client's channel, with their handshake done."""

    both = [TLSChannel(for_server(version)), TLSChannel(for_client(version))]
    shake_hands(*both, step=step)
    return both
