"""TLS of a control connection, between two buffers in memory (RFC 4217). Knows no socket."""

from __future__ import annotations

import ssl

__all__ = ["ControlTLS"]


class ControlTLS:
    """The server's side of TLS: what came goes in by `feed`, what is to be sent comes from `take`.

    Args:
        context: The certificate, and how it is used.

    Attributes:
        object: The connection, as the `ssl` module sees it.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def feed(self, data: bytes) -> None:
        """Add bytes that came from the client."""

        self._incoming.write(data)

    def take(self) -> bytes:
        """Take the bytes that are to be sent to the client; empty if there are none."""

        return self._outgoing.read()

    def take_rest(self) -> bytes:
        """Take what came after the client's end of TLS."""

        return self._incoming.read()
