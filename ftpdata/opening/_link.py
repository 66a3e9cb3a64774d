"""A connected socket with, perhaps, its TLS channel, before and without a transport.

Small files go over a link alone: making a transport, a protocol and their supervisor takes longer
than sending such a file. What needs more than that goes on over a `DTP`, to which the endpoint
hands the link over (`ftpdata.opening.endpoint`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable

import attrs

from .._kernel import (
    acknowledged_on,
    close_socket,
    reset_socket,
    sight_of,
    watch_readable,
    watch_writable,
)
from .._loop_end import LastCall
from ..addresses import HostPort
from ..connection._delivery import Sight
from ..connection._wire import peer_of
from ..errors import error_for_end
from ..outcome import End
from ..tls._channel import TLSChannel
from ..tls.policy import DataTLS, negotiation_failed
from ._wait import Wait

__all__ = ["NOTHING", "Carried", "Link"]

READ_SIZE = 64 * 1024
"""Bytes that are received at a time."""

UNWATCHED_POLL = 0.01
"""Seconds between two looks at a socket that the event loop cannot watch (Windows)."""

MSG_MORE: int = getattr(socket, "MSG_MORE", 0)


@attrs.frozen
class Carried:
    """What went over a link, and is not finished yet: the DTP goes on from there.

    Attributes:
        received: What came, in clear, for the consumer of the DTP.
        sent: Bytes that the socket has taken; in TLS, that were protected.
        unsent: TLS records of these bytes that the socket has not taken.
        is_end: Whether the end of file, in TLS the announced end, is the last of them.
        has_ended: Whether a clean end has followed what came: no transport is needed
            any more.
    """

    received: bytes = b""
    sent: int = 0
    unsent: bytes = b""
    is_end: bool = False
    has_ended: bool = False


NOTHING = Carried()
"""Nothing went over the link, or all of it is finished."""


class Link:
    """A connected socket, in clear or protected, that somebody waits at and moves bytes over.

    It belongs to its endpoint until one of these has ended it: `detach` gives the
    socket to a transport, `finish` and `linger` close it in peace, `reset` cuts it.

    Args:
        sock: The socket, connected and non-blocking.
        wait: Its endpoint's: one task waits for one thing.
        peername: What the socket calls its peer; None if nobody has asked it yet.
        proxied_peer: The client behind the trusted proxy; None without one.

    Attributes:
        sock: As above.
        channel: The TLS of the connection, once `protect` is done; None in clear.
        carried: The bytes that went over it; set by the code that moved them.
        proxied_peer: As above.
        is_over: Whether everything has gone over it, and it is closed or lingers.
    """

    channel: TLSChannel | None = None
    carried: Carried = NOTHING
    is_over: bool = False
    _watched: int | None = None
    _watched_for_room: int | None = None
    _farewell: LastCall | None = None
    _on_first: Callable[[], None] | None = None

    def __init__(
        self,
        sock: socket.socket,
        wait: Wait,
        *,
        peername: object = None,
        proxied_peer: HostPort | None = None,
    ) -> None:
        self.sock = sock
        self.proxied_peer = proxied_peer
        self._wait = wait
        self._peername = peername

    @property
    def peer(self) -> HostPort | None:
        """Address of the peer; see `DTP.peer`."""

        if self.proxied_peer is not None:
            return self.proxied_peer

        return peer_of(self.peername)

    @property
    def peername(self) -> object:
        """What the socket calls its peer, or called it before a reset; None if nobody knows."""

        if self._peername is None and self.proxied_peer is None:
            with contextlib.suppress(OSError):
                self._peername = self.sock.getpeername()

        return self._peername

    @property
    def tls(self) -> ssl.SSLObject | None:
        """What knows how the connection is protected; None in clear."""

        return None if self.channel is None else self.channel.object

    # Waiting

    async def wait_readable(self, timeout: float | None) -> bool:
        """Wait until there is something to read.

        Args:
            timeout: Seconds after which it returns in any case; None for none.

        Returns:
            Whether it is worth a look; False if the time has passed.

        Raises:
            FTPDataError: The reason given to `Endpoint.abort`.
        """

        self._wait.check()
        if not self._watch():
            return await self._wait_a_moment(timeout)

        return await self._wait.sleep(timeout)

    async def wait_writable(self, timeout: float | None) -> bool:
        """Wait until the socket takes more; see `wait_readable`."""

        self._wait.check()
        # Nobody reads, so what can be read would end each wait at once.
        self.watch_no_more()
        loop = asyncio.get_running_loop()
        if not watch_writable(loop, self.sock, self._wait.wake_promptly):
            return await self._wait_a_moment(timeout)

        self._watched_for_room = self.sock.fileno()
        try:
            return await self._wait.sleep(timeout)
        finally:
            self.watch_no_more()

    def on_first_bytes(self, callback: Callable[[], None]) -> None:
        """Call this once the peer has sent something, or at once if nobody can tell."""

        self._on_first = callback
        if not self._watch():
            self._tell_first()

    def watch_no_more(self) -> None:
        """Watch the socket no more, before its number can be another's. Idempotent."""

        fd, self._watched = self._watched, None
        if fd is not None:
            asyncio.get_running_loop().remove_reader(fd)
        fd, self._watched_for_room = self._watched_for_room, None
        if fd is not None:
            asyncio.get_running_loop().remove_writer(fd)

    # Moving bytes

    async def protect(self, tls: DataTLS, limit: float | None) -> None:
        """Shake hands; the link is closed on any failure.

        Args:
            tls: How the connection is to be protected.
            limit: Seconds for all of it.

        Raises:
            TLSNegotiationFailed: It is not protected, or not within that time. Reply 522.
            FTPDataError: The reason given to `Endpoint.abort`.
        """

        try:
            channel = TLSChannel(tls)
            channel.acknowledged_before = acknowledged_on(self.sock)
            await self._shake_hands(channel, limit)
        except OSError as error:
            # ssl.SSLError is one, and so is a peer that leaves in the middle. A reset
            # might overtake the alert.
            self.close()
            raise negotiation_failed(error) from error
        except BaseException:
            self.reset()
            raise

        self.channel = channel
        refusal = tls.refusal(channel.object)
        if refusal is not None:
            self.reset()
            raise negotiation_failed(refusal)

    def receive(self) -> tuple[bytes, bool]:
        """Receive what there is.

        Returns:
            The bytes, in clear; and whether a clean end follows them.

        Raises:
            EOFError: They are followed by an end that was not announced, as TLS wants it.
            BlockingIOError: There is nothing (yet).
            OSError: As the system says, or TLS.
        """

        if self.channel is None:
            data = self.sock.recv(READ_SIZE)
            return data, not data

        data, has_announced = self.channel.read()
        if not (data or has_announced):
            records = self.sock.recv(READ_SIZE)
            if not records:
                raise EOFError
            self.channel.feed(records)
            data, has_announced = self.channel.read()
            if not (data or has_announced):
                raise BlockingIOError

        return data, has_announced

    def send(self, data: bytes, *, is_end: bool) -> int:
        """Send bytes as they are: in TLS, records of the channel.

        Args:
            data: What is to be sent.
            is_end: Whether the end of file follows, which goes into the same packet.

        Returns:
            How many of them the socket has taken.

        Raises:
            BlockingIOError: None, as there is no room.
            OSError: The connection is lost.
        """

        return self.sock.send(data, MSG_MORE if is_end else 0)

    def sight(self) -> Sight:
        """Look whether the peer has everything; see `ftpdata.connection._delivery`."""

        return sight_of(self.sock) if self.channel is None else self.channel.sight_of(self.sock)

    def send_end(self) -> None:
        """Send the end of file. An error is ignored: the next call on the socket meets it again."""

        try:  # noqa: SIM105 - a context manager would take longer than the call
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    # Its end

    def detach(self) -> socket.socket:
        """Give the socket away, to a transport."""

        self.watch_no_more()
        return self.sock

    def finish(self) -> None:
        """Close the socket: everything has gone over it.

        That is done on the next turn of the event loop, after what is to be said
        about it in this one: the system takes as long for it as for a reply.
        """

        self.watch_no_more()
        if not self.is_over:
            self.is_over = True
            # In TLS the peer's last word may be there.
            close = self.close if self.channel is None else self._leave
            asyncio.get_running_loop().call_soon(close)

    @property
    def is_lingering(self) -> bool:
        """Whether the peer has everything, and the connection stays open for its last word.

        In TLS that is its close_notify, for which no transfer waits.
        """

        return self._farewell is not None

    def linger(self, patience: float) -> None:
        """Do as `finish`, but not before `leave_soon`, this many seconds, or the loop's end."""

        self.watch_no_more()
        self.is_over = True
        self._farewell = LastCall(self._leave, after=patience)

    def leave_soon(self) -> None:
        """Linger no longer; see `finish` for when that is done."""

        if self._farewell is not None:
            asyncio.get_running_loop().call_soon(self._leave)

    def reset(self) -> None:
        """Cut the connection, so that the peer takes nothing for whole. Idempotent."""

        if self.is_over and not self.is_lingering:
            # It is about to be closed, and the peer has everything.
            return

        self._end_farewell()
        if self.channel is not None:
            self.channel.leave()
        # Before its number can be another's.
        self.watch_no_more()
        reset_socket(self.sock)

    def close(self) -> None:
        """Close the socket at once. Idempotent."""

        # Before its number can be another's.
        self.watch_no_more()
        close_socket(self.sock)

    # Private

    def _watch(self) -> bool:
        """Call `_readable` when there is something to read, if the event loop can tell."""

        if self._watched is None:
            if not watch_readable(asyncio.get_running_loop(), self.sock, self._readable):
                return False
            # It stays so for the next wait: beginning and ending it are system calls.
            self._watched = self.sock.fileno()

        return True

    def _readable(self) -> None:
        if self._wait.wake_promptly():
            return

        # Nobody reads it now, so the event loop would call at every turn.
        self.watch_no_more()
        self._tell_first()

    def _tell_first(self) -> None:
        callback, self._on_first = self._on_first, None
        if callback is not None:
            callback()

    async def _wait_a_moment(self, timeout: float | None) -> bool:
        """Do as `wait_readable` for what the event loop cannot tell of."""

        # Readable data would end each wait at once, and this does not wait for them.
        self.watch_no_more()
        moment = asyncio.get_running_loop().call_later(UNWATCHED_POLL, self._wait.wake)
        try:
            return await self._wait.sleep(timeout)
        finally:
            moment.cancel()

    async def _shake_hands(self, channel: TLSChannel, limit: float | None) -> None:
        began_at = asyncio.get_running_loop().time()
        while True:
            self._wait.check()
            try:
                is_done = channel.handshake()
            except ssl.SSLError:
                # The alert is for the peer. Where it has left, the error is the same.
                with contextlib.suppress(OSError):
                    self.sock.send(channel.take())
                raise

            data = channel.take()
            while data:
                try:
                    data = data[self.sock.send(data) :]
                except BlockingIOError:
                    # Only a socket with a tiny buffer does not take all of it at once.
                    await self._wait_in_handshake(self._wait_a_moment, began_at, limit)
            if is_done:
                return

            while not data:
                try:
                    data = self.sock.recv(READ_SIZE)
                except BlockingIOError:
                    await self._wait_in_handshake(self.wait_readable, began_at, limit)
                else:
                    if not data:
                        raise ConnectionResetError(
                            errno.ECONNRESET, "the peer left in the handshake"
                        )
            channel.feed(data)

    async def _wait_in_handshake(
        self, wait: Callable[[float | None], Awaitable[bool]], began_at: float, limit: float | None
    ) -> None:
        """Wait with one of the methods above, within the time for all of the handshake."""

        patience = limit
        if limit is not None and self._wait.deadlines_from is not None:
            now = asyncio.get_running_loop().time()
            patience = max(began_at, self._wait.deadlines_from) + limit - now
        is_late = patience is not None and patience <= 0
        if is_late or not await wait(patience):
            raise error_for_end(
                End.HANDSHAKE_TIMEOUT, f"{End.HANDSHAKE_TIMEOUT.value} ({limit:g} s)"
            )

    def _end_farewell(self) -> None:
        if self._farewell is not None:
            self._farewell.cancel()
            self._farewell = None

    def _leave(self) -> None:
        """Close the socket that lingers."""

        self._end_farewell()
        # Closing over the peer's last word would cause a reset.
        with contextlib.suppress(OSError):
            self.sock.recv(READ_SIZE)
        self.channel = None
        self.close()
