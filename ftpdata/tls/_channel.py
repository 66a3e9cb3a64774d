"""TLS without a connection: received bytes go in, bytes to be sent come out.

The event loops have a TLS of their own. It hides whether a peer has announced its
end, and loses data that a reader with a buffer of its own has not taken by then. It
differs from loop to loop, and needs a transport, which a small file does not. So data
connections use this one. The handshake and small files need no more;
`ftpdata.tls._transport` puts a transport around it.
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
        received: For bytes from a socket.
        decrypted: For the bytes that TLS decrypts.
    """

    def __init__(self) -> None:
        self.received = memoryview(bytearray(READ))
        self.decrypted = memoryview(bytearray(READ))


scratch = _Scratch()


class TLSChannel:
    """The TLS of one connection, whose bytes the caller moves.

    Args:
        tls: How it is protected.

    Attributes:
        object: The TLS object, which knows version, cipher, certificates and session.
        acknowledged_before: Bytes that the peer's kernel had acknowledged before
            the handshake, if the system knows.
        has_announced_end: Whether this side has announced its end.
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
        # Data that could not be encrypted, or the announcement of the end.
        self._has_lost_some = False
        # The tickets after a server's handshake, which wait for other bytes to be sent.
        self._tickets = b""
        # Bytes that were taken to be sent, not counting the announcement of the end.
        self._taken = 0

    def feed(self, data: Buffer) -> None:
        """Take bytes that came from the socket."""

        self._incoming.write(data)

    def take(self) -> bytes:
        """Return the bytes that are to be sent.

        A server's tickets of TLS 1.3 (RFC 8446 §4.6.1) wait until there is something else
        to send. A client that uploads may close without reading. Its system then turns the
        close into a reset, if a ticket is unread, and drops the data that it has not sent
        yet. So this client gets its ticket with this side's end, after all its data have
        come; and a client that reads gets it with the first data.
        """

        if not self._outgoing.pending:
            return b""

        data, self._tickets = self._tickets + self._outgoing.read(), b""
        if not self.has_announced_end:
            self._taken += len(data)
        return data

    @property
    def holds_data(self) -> bool:
        """Whether there may be more data, an end or an error to read without a further `feed`."""

        return bool(self._failure or self._incoming.pending or self.object.pending())

    def handshake(self) -> bool:
        """Go on with the handshake; return whether it is done.

        Raises:
            ssl.SSLError: The handshake failed. `take` returns the alert.
        """

        try:
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            return False

        if self.object.server_side and self.object.version() == "TLSv1.3":
            # The client has finished the handshake, so nothing but tickets is left to send.
            self._tickets = self._outgoing.read()
        return True

    def write(self, data: Buffer) -> None:
        """Encrypt data, all of them.

        Raises:
            ssl.SSLError: They are lost, and the peer will never have everything.
        """

        if data:
            try:
                self.object.write(data)
            except ssl.SSLError:
                self._has_lost_some = True
                raise

    def read_into(self, memory: memoryview) -> tuple[int, bool]:
        """Decrypt the bytes that were fed.

        Args:
            memory: The memory that the decrypted bytes go to.

        Returns:
            How many bytes; and whether the peer has announced its end after them.
            An error after good bytes is raised by the next call.

        Raises:
            ssl.SSLError: The bytes are not valid records of the peer.
        """

        if self._failure is not None:
            # OpenSSL would report an end of file.
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
        """Return up to `READ` decrypted bytes; otherwise the same as `read_into`."""

        size, has_announced = self.read_into(scratch.decrypted)
        return bytes(scratch.decrypted[:size]), has_announced

    def sight_of(self, sock: socket.socket | None) -> Sight:
        """Look at the connection; the unacknowledged bytes are records, see `undelivered`."""

        sight = sight_of(sock)
        return sight._replace(unacknowledged=self.undelivered(sight.acknowledged))

    def undelivered(self, acknowledged: int | None) -> int | None:
        """Return how many bytes the peer's kernel has not acknowledged; None if unknown.

        The announcement of the end does not count.

        Args:
            acknowledged: Bytes that the peer's kernel has acknowledged since the beginning.
        """

        if acknowledged is None or self.acknowledged_before is None:
            return None

        if self._has_lost_some:
            # What could not be encrypted will never arrive.
            return 1

        return max(0, self._taken - (acknowledged - self.acknowledged_before))

    def announce_end(self) -> bool:
        """Announce the end (close_notify); return whether the peer has announced its own.

        Data that were received but not read are dropped.

        Raises:
            ssl.SSLError: It cannot be announced, so that the peer takes what it has for cut.
        """

        # With unread data, OpenSSL would report an error, and read nothing after it.
        with contextlib.suppress(ssl.SSLError):
            while self.read_into(scratch.decrypted)[0]:
                pass

        before, is_answered = self._outgoing.pending, True
        try:
            self.object.unwrap()
        except ssl.SSLError:
            if not self.has_announced_end and self._outgoing.pending == before:
                self._has_lost_some = True
                raise
            # Whatever the peer has done, it has not announced its end.
            is_answered = False

        if not self.has_announced_end:
            if before:
                self._taken += len(self._tickets) + before
            self.has_announced_end = True

        return is_answered

    def leave(self) -> None:
        """Keep the session valid although its connection is gone."""

        leave = getattr(self.object, "leave", None)
        if leave is not None:
            leave()
