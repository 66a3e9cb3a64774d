"""TLS without a connection: what came from the socket goes in, what is to be sent comes out.

The event loops bring a TLS of their own. It hides whether a peer has announced
its end, loses what a reader with a buffer of its own has not taken by then,
differs from loop to loop, and begins with a transport, which a small file does
not need. So a data connection has this one. The handshake and small files need
no more; `ftpdata.tls._transport` puts a transport around it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import cast

from .._kernel import sight_of
from ..connection._delivery import Sight
from ..contracts import Buffer
from .policy import DataTLS

__all__ = ["TLSChannel", "scratch"]

READ = 256 * 1024
"""Bytes that are received, or decrypted, at a time."""


class _Scratch(threading.local):
    """Memory that all connections of one event loop, and so of one thread, use for a moment each.

    Attributes:
        received: For what comes from a socket.
        decrypted: For what TLS makes of it.
    """

    def __init__(self) -> None:
        self.received = memoryview(bytearray(READ))
        self.decrypted = memoryview(bytearray(READ))


scratch = _Scratch()


class TLSChannel:
    """The TLS of one connection, whose bytes somebody else moves.

    Args:
        tls: How it is protected.

    Attributes:
        object: What knows version, cipher, certificates and session.
        acknowledged_before: Bytes that the peer's kernel had acknowledged before
            the handshake, where it tells.
        has_announced_end: Whether this side has.
    """

    def __init__(self, tls: DataTLS) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.object: ssl.SSLObject = tls.context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=tls.server_side,
            server_hostname=tls.server_hostname,
        )
        self.acknowledged_before: int | None = None
        self.has_announced_end: bool = False
        self._failure: ssl.SSLError | None = None
        # Bytes that were taken to be sent; in the end, those before the announcement of the end.
        self._taken = 0

    def feed(self, data: Buffer) -> None:
        """Take what came from the socket."""

        self._incoming.write(data)

    def take(self) -> bytes:
        """Return what is to be sent."""

        if not self._outgoing.pending:
            return b""

        data = self._outgoing.read()
        if not self.has_announced_end:
            self._taken += len(data)
        return data

    @property
    def holds_data(self) -> bool:
        """Whether there may be more to read, or to be told, without a further `feed`."""

        return bool(self._failure or self._incoming.pending or self.object.pending())

    def handshake(self) -> bool:
        """Go on with the handshake; return whether it is done.

        Raises:
            ssl.SSLError: There is no agreement. `take` has the alert.
        """

        try:
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            return False

        return True

    def write(self, data: Buffer) -> None:
        """Encrypt data, all of them."""

        if data:
            self.object.write(data)

    def read_into(self, memory: memoryview) -> tuple[int, bool]:
        """Decrypt what there is.

        Args:
            memory: Where it goes.

        Returns:
            How many bytes; and whether the peer has announced its end behind
            them. What is wrong behind good bytes the next call tells.

        Raises:
            ssl.SSLError: It is not what the peer can have sent.
        """

        if self._failure is not None:
            # OpenSSL would tell of an end of file.
            raise self._failure

        size = 0
        try:
            while size < len(memory):
                count = cast("int", self.object.read(len(memory) - size, memory[size:]))
                if not count:
                    return size, True
                size += count
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            return size, True
        except ssl.SSLError as error:
            self._failure = error
            if not size:
                raise

        return size, False

    def read(self) -> tuple[bytes, bool]:
        """Do as `read_into`, up to `READ` bytes; return them."""

        size, has_announced = self.read_into(scratch.decrypted)
        return bytes(scratch.decrypted[:size]), has_announced

    def sight_of(self, sock: socket.socket | None) -> Sight:
        """Look at the connection; what is unacknowledged are records, see `undelivered`."""

        sight = sight_of(sock)
        return sight._replace(unacknowledged=self.undelivered(sight.acknowledged))

    def undelivered(self, acknowledged: int | None) -> int | None:
        """Return how many bytes the peer's kernel has not acknowledged; None where unknown.

        The announcement of the end is not counted.

        Args:
            acknowledged: Bytes that the peer's kernel has acknowledged, from the first on.
        """

        if acknowledged is None or self.acknowledged_before is None:
            return None

        return max(0, self._taken - (acknowledged - self.acknowledged_before))

    def announce_end(self) -> bool:
        """Say that nothing more is sent (close_notify); return whether the peer has said so.

        What has come and was not read is dropped.
        """

        # OpenSSL takes data for an error in what follows, and reads nothing more behind one.
        with contextlib.suppress(ssl.SSLError):
            while self.read_into(scratch.decrypted)[0]:
                pass

        if not self.has_announced_end:
            self._taken += self._outgoing.pending
            self.has_announced_end = True

        try:
            self.object.unwrap()
        except ssl.SSLError:
            # Whatever the peer has done, it has not said so.
            return False

        return True

    def leave(self) -> None:
        """Let the session outlive a connection that is gone."""

        leave = getattr(self.object, "leave", None)
        if leave is not None:
            leave()
