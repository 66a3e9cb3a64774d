"""The DTP as an `anyio.abc.ByteStream`, for code that is written for streams.

It does what anyio documents for streams, to the letter: the exceptions, the
checkpoints, that a cancelled `aclose` still closes, and that two tasks in the
same direction at once are an error. It also does what FTP needs: a stream that
was cut raises, with the reason as the cause, and never looks like an end of file.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute

from .._checks import check_call, check_range
from ..errors import FTPDataError, NotConnected
from ..outcome import End
from ._consumer import DEFAULT_HIGH_WATER
from .protocol import DTP
from .receive_queue import ReceiveQueue

__all__ = ["DTPStream"]


class DTPStream(ByteStream):
    """A data connection as a stream of bytes, in both directions.

    Leaving its ``async with`` by an exception resets the connection, so that
    no peer takes what was sent until then for a whole file. `aclose` ends it
    gracefully.

    Attributes:
        dtp: The connection, for `DTP.abort` and for what it knows of itself.

    Args:
        dtp: A connected data connection that has had neither a producer nor a
            consumer. It belongs to the stream from now on, and becomes half-open:
            the peer's end of file does not end the other direction.
        high_water: Bytes that are received ahead of `receive`.

    Raises:
        TypeError: `dtp` is not a `DTP`.
        NotConnected: There has been no connection yet. Reply 425.
        RuntimeError: The DTP has had its consumer.
        ValueError: `high_water` is negative.
    """

    def __init__(self, dtp: DTP, *, high_water: int = DEFAULT_HIGH_WATER) -> None:
        check_call(DTPStream.__init__, locals())
        check_range("high_water", high_water, 0)
        if not isinstance(dtp, DTP):
            raise TypeError(f"expected a DTP, such as an endpoint opens, not {dtp!r:.80}")

        # Raises if there is no connection yet.
        self._transport = dtp.transport
        self.dtp = dtp
        dtp.half_open = True
        self._queue = ReceiveQueue.attach(dtp, high_water)
        self._send_guard = anyio.ResourceGuard("sending to")
        self._receive_guard = anyio.ResourceGuard("receiving from")
        self._eof_sent = False
        self._closed = False

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        if exc_val is not None:
            self.dtp.abort(
                End.ABORTED if isinstance(exc_val, Exception) else End.CANCELLED,
                f"what used the stream has failed: {exc_val!r:.200}",
            )

        await self.aclose()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Receive bytes: those that have come, or the next that come.

        Args:
            max_bytes: Bytes to return at most.

        Raises:
            anyio.EndOfStream: The peer has ended the stream cleanly.
            anyio.BrokenResourceError: The connection was cut; the reason, an
                `FTPDataError`, is the cause.
            anyio.ClosedResourceError: The stream was closed on this side.
            anyio.BusyResourceError: Another task is receiving.
            ValueError: `max_bytes` is less than 1.

        Cancellation loses nothing.
        """

        if max_bytes < 1:
            raise ValueError(f"max_bytes must be positive, not {max_bytes}")

        with self._receive_guard:
            if self._queue.is_ready:
                await anyio.lowlevel.checkpoint()

            try:
                data = await self._queue.receive(max_bytes)
            except FTPDataError as error:
                raise self._failure() from (self.dtp.reason or error)

            if not data:
                raise anyio.EndOfStream

            return data

    async def send(self, item: bytes) -> None:
        """Send bytes; return once the connection has room for more.

        Raises:
            anyio.BrokenResourceError: The connection has ended; the reason is
                the cause.
            anyio.ClosedResourceError: The stream was closed on this side, or
                its end of file was sent.
            anyio.BusyResourceError: Another task is sending.

        If it is cancelled at once, nothing is sent; while it waits for room,
        the bytes are sent all the same.
        """

        with self._send_guard:
            await anyio.lowlevel.checkpoint_if_cancelled()
            self._check_open()
            try:
                self.dtp.write(item)
                await self.dtp.drain()
            except FTPDataError as error:
                raise self._failure() from (self.dtp.reason or error)

            if self._closed:
                # Somebody closed it while this task waited for room.
                raise anyio.ClosedResourceError

            await anyio.lowlevel.cancel_shielded_checkpoint()

    async def send_eof(self) -> None:
        """Send the end of file after everything that was sent; go on receiving. Idempotent.

        Raises:
            anyio.BrokenResourceError: The connection has ended.
            anyio.ClosedResourceError: The stream was closed on this side.
            anyio.BusyResourceError: Another task is sending.
            NotImplementedError: The connection is protected by TLS, which has no
                half-close here. End the stream by `aclose`.
        """

        with self._send_guard:
            await anyio.lowlevel.checkpoint_if_cancelled()
            if not self._eof_sent:
                self._check_open()
                try:
                    self.dtp.write_eof()
                except NotConnected as error:
                    raise self._failure() from (self.dtp.reason or error)

                self._eof_sent = True

            await anyio.lowlevel.cancel_shielded_checkpoint()

    async def aclose(self) -> None:
        """Close gracefully: flush, send the end of file, wait until the peer has it all.

        What was not received yet is dropped. Idempotent; does not raise if the
        stream was broken before.

        Raises:
            anyio.BrokenResourceError: The connection broke before the peer had
                everything, or a timeout of the `DTP` passed: `stall_timeout`
                while data are on their way, `close_timeout` after that.

        Cancellation closes at once, with a reset.
        """

        dtp = self.dtp
        was_open = dtp.is_connected and not self._closed
        self._closed = True
        self._queue.close()
        try:
            if was_open:
                await dtp.finish()
            else:
                with contextlib.suppress(FTPDataError):
                    await dtp.wait_closed()
        except FTPDataError as error:
            raise anyio.BrokenResourceError from error
        except BaseException:
            dtp.abort(End.CANCELLED)
            with anyio.CancelScope(shield=True), contextlib.suppress(FTPDataError):
                # This takes one turn of the loop.
                await dtp.wait_closed()
            raise

        await anyio.lowlevel.checkpoint()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """What `anyio.TypedAttributeProvider.extra` gives: `SocketAttribute` and `TLSAttribute`.

        Attributes that the transport does not know are left out.
        """

        attributes: dict[Any, Callable[[], Any]] = {}
        sock: socket.socket | None = self._transport.get_extra_info("socket")
        if sock is not None:
            family = sock.family
            attributes[SocketAttribute.family] = lambda: family
            attributes[SocketAttribute.raw_socket] = lambda: sock

        for name, address, port in (
            ("sockname", SocketAttribute.local_address, SocketAttribute.local_port),
            ("peername", SocketAttribute.remote_address, SocketAttribute.remote_port),
        ):
            attributes |= _address_attributes(self._transport.get_extra_info(name), address, port)

        tls: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        if isinstance(tls, ssl.SSLObject):
            attributes |= _tls_attributes(tls)

        return attributes

    def _check_open(self) -> None:
        if self._closed or self._eof_sent:
            raise anyio.ClosedResourceError

    def _failure(self) -> Exception:
        """Make anyio's exception for an operation that failed as the connection has ended."""

        return anyio.ClosedResourceError() if self._closed else anyio.BrokenResourceError()


def _address_attributes(name: Any, address: Any, port: Any) -> dict[Any, Callable[[], Any]]:
    if isinstance(name, tuple):
        # IPv6 has four items; anyio promises two.
        return {address: lambda: name[:2], port: lambda: name[1]}

    return {address: lambda: name} if isinstance(name, str) else {}


def _tls_attributes(tls: ssl.SSLObject) -> dict[Any, Callable[[], Any]]:
    # Their types are those of the values, which may not be hashable; the attributes are.
    names: Any = TLSAttribute
    return {
        names.alpn_protocol: tls.selected_alpn_protocol,
        names.channel_binding_tls_unique: tls.get_channel_binding,
        names.cipher: tls.cipher,
        names.peer_certificate: lambda: tls.getpeercert(False),
        names.peer_certificate_binary: lambda: tls.getpeercert(True),
        names.server_side: lambda: tls.server_side,
        names.shared_ciphers: lambda: tls.shared_ciphers() if tls.server_side else None,
        # An end of file without close_notify is an error.
        names.standard_compatible: lambda: True,
        names.ssl_object: lambda: tls,
        names.tls_version: tls.version,
    }
