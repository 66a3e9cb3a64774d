"""The DTP: one data connection, as an asyncio Protocol (RFC 959 §2.3, §3.2).

A `DTP` moves bytes and reports how the connection ended. It knows nothing of
replies, paths, files, TYPE or commands. It is a consumer to the producer that
sends through it, a push producer to the consumer that receives from it, and it
adapts both onto the transport's ``pause_writing``/``resume_writing`` and
``pause_reading``/``resume_reading``.

Invariants, on which everything above relies:

1. Reading is paused from ``connection_made`` until a consumer is registered
   (in the event loop's own TLS, from the first read). What a transport delivers
   all the same is held and replayed; the replay honours `pause_producing`.
2. How the connection ended is one `End`, fixed once: by `abort`, or by what
   the transport said. Everything that fails afterwards is a consequence of it
   and does not replace it.
3. A consumer sees ``register_producer``, ``write``…, ``unregister_producer``;
   the last exactly once, and before the awaitable of `register_consumer` fires.
4. A producer or consumer that raises ends the connection, with a reset.
5. A push producer is paused and resumed strictly in turn. A pull producer is
   asked once for each time data is wanted, never from within its own `write`.
6. A registered producer is told `stop_producing` exactly once where the
   connection ends before it has called `unregister_producer`.
7. Every waiter gets a future of its own: none can disturb another (`Fate`).
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import socket
import ssl
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

from .._hangup import HangupWatch
from .._kernel import (
    RESET_ERRNOS,
    acknowledged_bytes,
    carries_as_is,
    duplicate_socket,
    has_close_notify,
    reset_on_close,
    sight_of,
)
from ..addresses import HostPort
from ..contracts import (
    Buffer,
    BufferedConsumer,
    Consumer,
    Producer,
    PushProducer,
    require_consumer,
    require_producer,
)
from ..errors import BadAddress, FTPDataError, NotConnected, error_for_end
from ..listing._names import NamePolicy
from ..listing.entry import ListingEntry
from ..listing.unix import ListingRules, format_list_line
from ..outcome import End
from ._delivery import Sight, Verdict, answer_patience
from ._delivery_watch import DeliveryWatch
from ._direct_reader import DirectReader
from ._fate import CloseWaiter, Fate, keep_quiet, stand_in

__all__ = ["DTP"]

DEFAULT_HIGH_WATER = 256 * 1024
"""Bytes that may wait in the transport before a producer is paused.

Large enough that one loop turn of a loopback transfer does not run dry, small
enough that a thousand stalled downloads stay far below a gigabyte."""

HELD_LIMIT = 1024 * 1024
"""Bytes that a transport may deliver although reading is paused.

asyncio's transports deliver one read at most (256 KiB); uvloop's and TLS one
buffer more. A transport that goes on is broken, and is cut."""

STARTS_READING_ANYWAY = sys.version_info < (3, 12)
"""Whether asyncio reads after `connection_made` although that has paused it, as the first releases
of 3.11 do (Debian 12 has one): it is paused again then."""

TLS_READ = 64 * 1024


def peer_of(peername: Any) -> HostPort | None:
    """Parse a socket's name of its peer; None if it has none."""

    try:
        return HostPort(peername[0], peername[1])
    except (BadAddress, TypeError, LookupError):
        return None


class DTP(asyncio.Protocol):
    """One data connection, for one transfer.

    Args:
        high_water: Bytes that may wait to be sent before a producer is
            paused. In flight are never more than this and one `write`.
        close_timeout: Seconds that a peer that may have everything can take
            to end the connection, where `finish` is not given a limit of its
            own. None waits for ever.
        stall_timeout: Seconds after which a peer is given up that takes
            nothing of the rest, once the transfer has nothing more to send.
            None waits for ever.
        half_open: Keep the sending side open after the peer's end of file,
            as a two-way stream needs it. Otherwise an end of file that has
            been received, with nothing being sent, closes the connection.
    """

    # As it is before anything has happened. On the class: of a connection that is made and
    # stalls, of which there may be thousands, most of it stays so.
    strict_close: bool = True
    proxied_peer: HostPort | None = None
    bytes_received: int = 0
    _transport: asyncio.Transport | None = None
    _peername: Any = None
    _tls: ssl.SSLObject | None = None
    # What our own TLS knows (`ftpdata.tls._transport`, above this module).
    _channel: Any = None
    # Sending.
    _written: int = 0
    _sent: int = 0
    _producer: Producer | None = None
    _streaming: bool = False
    _had_producer: bool = False
    _producer_paused: bool = False
    _pull_outstanding: bool = False
    _pull_scheduled: bool = False
    _write_paused: bool = False
    _eof_sent: bool = False
    # Receiving.
    _consumer: Consumer | None = None
    _consumer_future: asyncio.Future[None] | None = None
    _had_consumer: bool = False
    _consumer_paused: bool = False
    _delivering: bool = False
    _held_size: int = 0
    _reading: bool = True
    _eof_received: bool = False
    # Finishing.
    _finishing: bool = False
    _delivery: DeliveryWatch | None = None
    # The number of the socket that is watched for a hang-up.
    _watched: int | None = None
    # Runs while the transport stays open for the peer's last word, after all has been delivered.
    _farewell: asyncio.TimerHandle | None = None

    def __init__(
        self,
        *,
        high_water: int = DEFAULT_HIGH_WATER,
        close_timeout: float | None = 30.0,
        stall_timeout: float | None = 300.0,
        half_open: bool = False,
    ) -> None:
        self.high_water = high_water
        self.close_timeout = close_timeout
        self.stall_timeout = stall_timeout
        self.half_open = half_open
        self._fate = Fate()
        self._drain_waiters: list[asyncio.Future[None]] = []
        self._held: list[bytes] = []

    def __repr__(self) -> str:
        if self._transport is None:
            state = "not connected"
        elif self._fate.is_over:
            state = f"ended: {self._fate.end.value}" if self._fate.end else "ended"
        else:
            state = "finishing" if self._finishing else "connected"

        counts = f"sent={self.bytes_sent} received={self.bytes_received}"
        return f"<DTP {state} peer={self.peer} {counts}>"

    # Properties

    @property
    def is_connected(self) -> bool:
        """Whether the connection is open: made, and neither lost nor aborted."""

        return self._transport is not None and self._fate.end is None and not self._fate.is_over

    @property
    def has_been_connected(self) -> bool:
        """Whether the connection was ever made."""

        return self._transport is not None

    @property
    def is_finishing(self) -> bool:
        """Whether the end of file was sent, or waits until the data before it are sent."""

        return self._eof_sent

    @property
    def is_lingering(self) -> bool:
        """Whether the peer has everything, and the transport waits for its last word.

        That takes a second at most; `abort` ends it at once.
        """

        return self._farewell is not None

    @property
    def transport(self) -> asyncio.Transport:
        """The transport, for socket options, TLS details and fast paths.

        Raises:
            NotConnected: There has been no connection yet. Reply 425.
        """

        if self._transport is None:
            raise NotConnected("the data connection is not open yet")

        return self._transport

    @property
    def tls(self) -> ssl.SSLObject | None:
        """What knows how the connection is protected; None in clear, and before there is one."""

        return self._tls

    @property
    def peer(self) -> HostPort | None:
        """Address of the peer, or None if it has no meaningful address.

        Behind a trusted proxy it is `proxied_peer`, the address in the PROXY header.
        """

        if self.proxied_peer is not None:
            return self.proxied_peer

        return peer_of(self._peername)

    @property
    def bytes_sent(self) -> int:
        """Bytes that the transport has handed on, not counting what waits in it.

        After a connection was lost by error this is a lower bound: what was
        in the transport's buffer then is not counted.
        """

        # What waited when the connection was cut is thrown away, not sent.
        if self._fate.end is None:
            self._note_sent()

        return self._sent

    @property
    def end(self) -> End | None:
        """How the connection ended; None while it has not."""

        return self._fate.end

    @property
    def reason(self) -> FTPDataError | None:
        """Why the connection did not end cleanly: the exception that every waiter gets."""

        return self._fate.reason

    @property
    def bytes_acknowledged(self) -> int | None:
        """Bytes that the peer's kernel has acknowledged, TLS records included.

        None where the system does not tell (it does on Linux, by TCP_INFO).
        """

        return None if self._transport is None else acknowledged_bytes(self._transport)

    @property
    def connected(self) -> asyncio.Future[None]:
        """A new, independent future that is done once the connection is made.

        It raises the reason where the connection was given up before.
        """

        return stand_in(self._fate.connected())

    @property
    def closed(self) -> asyncio.Future[None]:
        """A new, independent future that is done once the connection has ended.

        It raises the reason where the end was not clean: an `FTPDataError`
        that carries the `End` and the reply code. This is the "connection
        lost" future; cancelling it disturbs nobody.
        """

        return stand_in(self._fate.closed())

    # Waiting

    async def wait_connected(self) -> None:
        """Wait until the connection is made.

        Raises:
            FTPDataError: It was given up before; the reason.
        """

        if self._transport is None:
            await stand_in(self._fate.connected())

    async def wait_closed(self) -> None:
        """Wait until the connection has ended. Returns on a clean end.

        Raises:
            FTPDataError: Any other end; carries `End` and reply code.
        """

        await stand_in(self._fate.closed())

    # Sending: the consumer side

    def register_producer(self, producer: Producer, streaming: bool) -> None:
        """Let `producer` send what it produces through this connection.

        May be called before the connection is made; production starts then,
        and a push producer is paused until then.

        Args:
            producer: Tells `unregister_producer` when it has no more.
            streaming: True for a push producer, which writes at will and is
                paused and resumed; False for a pull producer, which is asked
                by `resume_producing` each time data is wanted.

        Raises:
            TypeError: It lacks a method of its contract, or one is a coroutine.
            RuntimeError: A producer is or has been registered: a DTP is for
                one transfer.
            NotConnected: The connection has ended. Reply 425.
        """

        require_producer(producer, streaming=streaming)
        if self._producer is not None:
            raise RuntimeError(f"a producer is already registered: {self._producer!r}")

        if self._had_producer:
            raise RuntimeError("a DTP is for one transfer, and has had its producer")

        if self._fate.end is not None or self._eof_sent:
            raise self._not_connected()

        self._producer = producer
        self._streaming = streaming
        self._had_producer = True
        self._start_producer()

    def unregister_producer(self) -> None:
        """End the transfer, as in Twisted: flush, send the end of file, close.

        Returns at once; `wait_closed` tells when the peer has it all. Does
        nothing where no producer is registered.
        """

        if self._producer is None:
            return

        self._producer = None
        self._begin_finish()

    def write(self, data: Buffer) -> None:
        """Send data. Buffers without limit unless the writer heeds the pauses.

        A writer that is not a registered producer awaits `drain` instead.
        The data must not be changed afterwards.

        Raises:
            NotConnected: The connection is not open, or its end of file was
                sent; nothing was taken. Reply 425. Once the connection was
                lost its cause is the reason of the loss.
        """

        transport = self._transport
        if (
            transport is None
            or self._fate.end is not None
            or self._eof_sent
            or transport.is_closing()
        ):
            raise self._not_connected()

        self._written += len(data) if not isinstance(data, memoryview) else data.nbytes
        transport.write(data)
        if self._pull_outstanding:
            self._pull_outstanding = False
            self._want_pull()

    def send_line(self, line: bytes) -> None:
        """Send a line: the bytes given, and CR LF.

        Raises:
            NotConnected: As for `write`.
        """

        self.write(line + b"\r\n")

    def send_list_response(
        self,
        entry: ListingEntry,
        *,
        now: datetime,
        rules: ListingRules = ListingRules.DEFAULT,
        name_policy: NamePolicy = NamePolicy.ESCAPE,
    ) -> None:
        """Send one line of a LIST response (see `ftpdata.listing.unix`).

        Args:
            entry: What to list.
            now: The present, which decides between time of day and year.
            rules: Today's rules, or those of Twisted's DTP to the letter.
            name_policy: What becomes of control characters in a name.

        Raises:
            NotConnected: As for `write`.
        """

        line = format_list_line(entry, now=now, rules=rules, name_policy=name_policy)
        if line is not None:
            self.send_line(line)

    def limit_waiting(self, nbytes: int) -> None:
        """Let fewer bytes wait than `high_water`, from now on, before a producer is paused.

        Args:
            nbytes: So many; more than `high_water` are not allowed by this.

        Does nothing where there is no open connection.
        """

        transport = self._transport
        if transport is not None and self._fate.end is None and not transport.is_closing():
            transport.set_write_buffer_limits(high=min(nbytes, self.high_water))

    async def drain(self) -> None:
        """Wait until more may be written.

        Returns without suspending where the transport has room.

        Raises:
            FTPDataError: The connection has ended; the reason.
        """

        if self._fate.end is not None:
            raise self._not_connected()

        if not self._write_paused:
            return

        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._drain_waiters.append(waiter)
        try:
            await waiter
        finally:
            self._drain_waiters.remove(waiter)

        if self._fate.end is not None:
            raise self._not_connected()

    async def wait_delivered(self, stall: float | None = None) -> bool:
        """Wait until the peer's kernel has everything that was written; the connection stays open.

        Args:
            stall: Seconds without progress after which the connection is
                aborted; None waits for ever.

        Returns:
            Whether it has. False where the system does not tell (Linux does).

        Raises:
            FTPDataError: The connection has ended; the reason.
        """

        transport = self._transport
        if transport is None:
            raise self._not_connected()

        watch = DeliveryWatch(
            transport,
            channel=self._channel,
            is_protected=self._tls is not None,
            stall=_or_for_ever(stall),
        )
        while True:
            if self._fate.end is not None or transport.is_closing():
                raise self._not_connected()

            verdict, sight = watch.judge()
            if verdict is Verdict.DELIVERED:
                return True

            if verdict is not Verdict.PENDING:
                self._give_up(verdict, sight)
            elif sight.unacknowledged is None:
                return False
            else:
                now = asyncio.get_running_loop().time()
                await asyncio.sleep(watch.next_look_at - now)

    def write_eof(self) -> None:
        """Send the end of file after the written data; go on receiving.

        Raises:
            NotConnected: As for `write`.
            NotImplementedError: TLS has no half-close (RFC 8446 §6.1 allows
                it; Python's transports do not).
        """

        if self._transport is None or self._fate.end is not None or self._eof_sent:
            raise self._not_connected()

        if not self._transport.can_write_eof():
            raise NotImplementedError("this transport cannot close one direction only")

        self._eof_sent = True
        self._shut_down()

    # Receiving: the producer side

    def register_consumer(self, consumer: Consumer) -> CloseWaiter:
        """Deliver what the peer sends to `consumer`.

        May be called before the connection is made, and after it has ended:
        what was received until then is replayed. A `BufferedConsumer` is read
        into, past `data_received`, where the transport can.

        Returns:
            An awaitable that resolves when the peer's end of file has come
            and the consumer has been given everything and was unregistered.
            It raises an `FTPDataError` on any other end; where the consumer
            raised, that exception is its cause. Cancelling it disturbs
            neither the connection nor other waiters.

        Raises:
            TypeError: It lacks a method of its contract, or one is a coroutine.
            RuntimeError: A consumer is or has been registered: a DTP is for
                one transfer.
        """

        require_consumer(consumer)
        if self._consumer is not None:
            raise RuntimeError(f"a consumer is already registered: {self._consumer!r}")

        if self._had_consumer:
            raise RuntimeError("a DTP is for one transfer, and has had its consumer")

        self._had_consumer = True
        self._consumer = consumer
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.add_done_callback(keep_quiet)
        self._consumer_future = future
        try:
            consumer.register_producer(cast("PushProducer", self), True)
        except BaseException as error:
            # It has refused: it gets no more calls, and no other consumer can take its place.
            self._consumer = self._consumer_future = None
            self.abort(End.CONSUMER_FAILED, cause=error)
            raise

        self._deliver_held()
        self._read_directly()
        self._update_reading()
        return CloseWaiter(future)

    def pause_producing(self) -> None:
        """Deliver nothing more to the consumer until `resume_producing`."""

        self._consumer_paused = True
        self._update_reading()

    def resume_producing(self) -> None:
        """Go on delivering to the consumer, what was held first."""

        self._consumer_paused = False
        # Called from within the consumer's write, the loop that delivers goes on by itself.
        if not self._delivering:
            self._deliver_held()

        self._update_reading()

    def stop_producing(self) -> None:
        """Abort the connection: the consumer wants no more."""

        self.abort(End.ABORTED, "the consumer stopped the transfer")

    # Ending

    async def finish(self, timeout: float | None = None, *, stall: float | None = None) -> None:
        """End gracefully: flush, send the end of file, wait until the peer has it all.

        The peer has it all when its kernel has acknowledged every byte
        (Linux), or when it has closed its own side. So the 226 that follows
        is true. In TLS the peer's close_notify is not waited for: for a
        second at most the transport stays open for it, see `is_lingering`.

        Args:
            timeout: Seconds that the peer may take to close once it may have
                everything; None takes `close_timeout`.
            stall: Seconds without progress while data are on their way. None
                takes `timeout`, or `stall_timeout` where that is None, too.

        Raises:
            FTPDataError: The connection did not end cleanly; the reason.
                `End.STALLED` or `End.CLOSE_TIMEOUT` where a limit passed; it
                was aborted.

        Cancellation leaves the connection finishing by itself, within the
        same limits.
        """

        if self._transport is None and self._fate.end is None:
            raise self._not_connected()

        self._begin_finish(timeout, stall)
        await self.wait_closed()

    def abort(
        self,
        end: End = End.ABORTED,
        message: str | None = None,
        *,
        cause: BaseException | None = None,
    ) -> None:
        """End at once, with a reset, so that no peer takes a cut file for a whole one.

        May be called from anywhere in the loop's thread, at any time; does
        nothing once the connection has ended, its consumer has everything,
        and no transfer is at work on what came.

        Args:
            end: How it ended, for `end` and for the error that waiters get;
                unless `cause` is an `FTPDataError` that knows its own.
            message: The reason in words.
            cause: The exception behind it. An `FTPDataError` becomes the
                reason itself; an `OSError` chooses the reply code.

        Raises:
            ValueError: `end` is `End.CLEAN`.
        """

        if end is End.CLEAN:
            raise ValueError("an abort is never a clean end")

        if self._fate.end is not None:
            is_in_use = self._consumer is not None or self._fate.is_watched
            if self._fate.reason is None and is_in_use:
                # The connection has ended cleanly, but what was held has not
                # reached the consumer, or is not yet stored by the transfer
                # that watches: it is the transfer that is cut now.
                self._fate.decide(end, message, cause)
                self._discard_held()
                self._release_consumer()
            if self._farewell is not None and self._transport is not None:
                self._transport.abort()
            return

        self._note_sent()
        self._fate.decide(end, message, cause)
        if self._transport is None:
            # Never connected: nothing will call connection_lost.
            self._conclude()
            return

        self._cut()

    def receive_past(self, data: bytes, tls: ssl.SSLObject | None) -> None:
        """Be the record of a connection that was never a transport's, and has ended cleanly.

        Args:
            data: All that came before its end. It is held for the consumer.
            tls: How it was protected; None if it was not.
        """

        self._tls = tls
        self.bytes_received = len(data)
        self._fate.make()
        self._eof_received = self._fate.is_over = True
        self._fate.end = End.CLEAN
        if data:
            self._held.append(data)
            self._held_size = len(data)

    # Callbacks of the transport: connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the transport; called by the event loop."""

        self._transport = cast("asyncio.Transport", transport)
        self._peername = transport.get_extra_info("peername")
        self._tls = transport.get_extra_info("ssl_object")
        self._channel = getattr(transport, "channel", None)
        if self._fate.end is not None:
            # Given up while it was being made.
            self._cut()
            return

        if not (self._eof_sent or self._had_consumer):
            # A task that waits for the peer's end, or receives, keeps the connection reading.
            self._watch_for_hangup(self._transport)
        self._read_directly()
        if not self._is_foreign_tls:
            # There the last part of the handshake goes out with the first
            # read, and neither would come; what is read then is held.
            self._update_reading()
            if STARTS_READING_ANYWAY and transport.get_extra_info("socket") is not None:
                asyncio.get_running_loop().call_soon(self._pause_again)
        self._transport.set_write_buffer_limits(high=self.high_water)
        self._fate.make()

        if self._producer is not None:
            self._start_producer()
        elif self._had_producer or self._eof_sent:
            # It had nothing to send, or nothing more, and said so before there was a connection.
            self._begin_finish()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fix how the connection ended; called by the event loop, once."""

        if self._farewell is not None:
            self._farewell.cancel()
            self._farewell = None
        if self._fate.is_over:
            return

        if self._fate.end is None:
            if exc is None:
                self._hold_undelivered()
            end, message = self._classify_loss(exc)
            if end is not End.CLEAN:
                self._fate.decide(end, message, exc)
            else:
                self._sent = self._written
                self._fate.end = end

        if self._fate.end is not End.CLEAN and self._transport is not None:
            # The event loop is about to close the socket, whatever went wrong. Without
            # a reset, the peer of a download would take a cut file for a whole one.
            reset_on_close(self._transport)

        self._conclude()
        if self._fate.end is End.CLEAN:
            self._deliver_held()

    def eof_received(self) -> bool:
        """Take note of the peer's end of file; called by the event loop.

        Returns:
            True to keep the sending side open.
        """

        if self._eof_received or self._fate.end is not None:
            return False

        if self._tls is not None and self.strict_close and not has_close_notify(self._tls):
            # asyncio reports a bare FIN and a close_notify alike; the TLS
            # layer knows (RFC 8446 §6.1: a bare one may be an attacker's).
            if not self._finishing:
                self.abort(End.TLS_TRUNCATED)
            return False

        self._eof_received = True
        if self._finishing:
            self._check_delivery()
            return self._tls is None

        self._complete_receiving()
        return self._tls is None and (self._is_sending or self.half_open or not self._had_consumer)

    # Callbacks of the transport: flow control

    def pause_writing(self) -> None:
        """Pause a push producer; called by the transport above `high_water`."""

        self._write_paused = True
        if self._streaming:
            self._update_pushing()

    def resume_writing(self) -> None:
        """Ask the producer, and wake who drains; called by the transport."""

        self._write_paused = False
        self._note_sent()
        for waiter in self._drain_waiters:
            if not waiter.done():
                waiter.set_result(None)

        self._start_producer()

    def data_received(self, data: bytes) -> None:
        """Deliver, hold or discard what came; called by the transport."""

        self.bytes_received += len(data)
        if self._fate.end is not None:
            return

        if self._consumer is not None and not self._consumer_paused and not self._held:
            self._deliver(data)
            return

        if self._finishing and self._consumer is None:
            # Nobody will ever want it; it is read so that the end of file is seen.
            return

        self._held.append(data)
        self._held_size += len(data)
        if self._transport is not None and not self._transport.is_closing():
            # uvloop begins to read after connection_made, whatever was said there.
            self._reading = False
            self._transport.pause_reading()

        if self._held_size > HELD_LIMIT:
            self.abort(End.LOST, f"the transport delivered {self._held_size} bytes while paused")

    # Private: how it ended

    def _classify_loss(self, exc: Exception | None) -> tuple[End, str | None]:
        if exc is not None:
            is_reset = isinstance(
                exc, (ConnectionResetError, BrokenPipeError, ConnectionAbortedError)
            ) or (isinstance(exc, OSError) and exc.errno in RESET_ERRNOS)
            if is_reset and self._delivery is not None and self._delivery.has_everything:
                # What it has not read may be the close_notify.
                return End.CLEAN, None
            return End.RESET if is_reset else End.LOST, None

        if self._delivery is not None:
            if self._delivery.undelivered:
                return End.LOST, "the peer closed the connection before it had everything"
            return End.CLEAN, None

        if self._is_sending:
            return End.LOST, "the peer closed the connection before the end of file was sent"

        if self._eof_received:
            return End.CLEAN, None

        if self._tls is None:
            return End.ABORTED, "the transport was closed on this side"

        # uvloop calls no eof_received for a bare FIN.
        is_cut = self.strict_close and not has_close_notify(self._tls)
        return End.TLS_TRUNCATED if is_cut else End.CLEAN, None

    @property
    def _is_sending(self) -> bool:
        """Whether something is being sent whose end of file has not been."""

        return not self._eof_sent and (self._producer is not None or self._written > 0)

    def _not_connected(self) -> FTPDataError:
        """Make the error for a call that needs an open connection."""

        if self._fate.reason is not None:
            error = NotConnected(
                f"the data connection is not open: {self._fate.reason}",
                end=self._fate.end,
                reply_code=self._fate.reason.reply_code,
            )
            error.__cause__ = self._fate.reason
            return error

        if self._transport is None:
            return NotConnected("the data connection is not open yet")

        what = "the end of file was sent already" if self._eof_sent else "it is closing"
        return NotConnected(what, end=self._fate.end, reply_code=426)

    def _cut(self) -> None:
        transport = self._transport
        assert transport is not None
        reset_on_close(transport)
        transport.abort()

    def _conclude(self) -> None:
        """Tell everybody that the connection has ended. Runs once."""

        self._fate.is_over = True
        self._watch_no_more()
        if self._delivery is not None:
            self._delivery.stop()

        leave = getattr(self._tls, "leave", None)
        if leave is not None:
            leave()

        if self._producer is not None:
            producer, self._producer = self._producer, None
            self._call_quietly(producer.stop_producing)

        for waiter in self._drain_waiters:
            if not waiter.done():
                waiter.set_result(None)

        if self._fate.end is not End.CLEAN:
            # What was held is not delivered: the transfer has failed.
            self._discard_held()

        if self._fate.reason is not None or not self._held:
            self._release_consumer()

        self._fate.announce()

    def _watch_for_hangup(self, transport: asyncio.Transport) -> None:
        """Notice that the peer is gone also while nothing is sent and reading is paused."""

        sock = transport.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            self._watched = sock.fileno()
            loop = asyncio.get_running_loop()
            HangupWatch.of(loop).add(self._watched, self._look_whether_gone)

    def _watch_no_more(self) -> None:
        watched, self._watched = self._watched, None
        if watched is not None:
            loop = asyncio.get_running_loop()
            HangupWatch.of(loop).remove(watched, self._look_whether_gone)

    def _look_whether_gone(self) -> None:
        """End a transfer whose peer is gone; the transport reports it to a receiver, in turn."""

        transport = self._transport
        if self._fate.end is not None or transport is None or self._had_consumer:
            return

        if self._finishing:
            self._check_delivery()
            return

        if transport.is_closing():
            # It has noticed as well, and is about to say so.
            return

        sight = sight_of(transport.get_extra_info("socket"))
        if sight.is_gone:
            self._lost_by(sight.error or _reset())

    # Private: sending

    def _start_producer(self) -> None:
        if self._streaming:
            self._update_pushing()
        else:
            self._want_pull()

    def _update_pushing(self) -> None:
        """Pause or resume the push producer, strictly in turn."""

        must_pause = self._write_paused or self._transport is None
        if self._producer is None or self._fate.end is not None:
            return
        if must_pause == self._producer_paused:
            return

        self._producer_paused = must_pause
        producer = cast("PushProducer", self._producer)
        self._call_producer(producer.pause_producing if must_pause else producer.resume_producing)

    def _want_pull(self) -> None:
        """Ask the pull producer soon: never from within its own write."""

        if (
            self._producer is None
            or self._pull_scheduled
            or self._pull_outstanding
            or self._write_paused
            or self._transport is None
            or self._fate.end is not None
        ):
            return

        self._pull_scheduled = True
        asyncio.get_running_loop().call_soon(self._pull)

    def _pull(self) -> None:
        self._pull_scheduled = False
        if self._producer is None or self._fate.end is not None or self._write_paused:
            return

        self._pull_outstanding = True
        self._call_producer(self._producer.resume_producing)

    def _call_producer(self, method: Any) -> None:
        try:
            method()
        except Exception as error:  # noqa: BLE001 - whatever it was, it ends the transfer
            transport = self._transport
            if isinstance(error, NotConnected) and transport is not None and transport.is_closing():
                # It ran into a loss that connection_lost is about to tell of, with the reason.
                return
            self.abort(End.PRODUCER_FAILED, cause=error)

    def _call_quietly(self, method: Any) -> None:
        """Call a method that learns of an end; its exception can change nothing any more."""

        try:
            method()
        except Exception as error:  # noqa: BLE001 - the end stands; the error is not lost
            self._report(method, error)

    def _report(self, method: Any, error: Exception) -> None:
        asyncio.get_running_loop().call_exception_handler({
            "message": f"{method!r} failed when told that the data connection has ended",
            "exception": error,
            "protocol": self,
            "transport": self._transport,
        })

    def _note_sent(self) -> None:
        if self._transport is not None and not self._fate.is_over:
            waiting = self._transport.get_write_buffer_size()
            self._sent = max(self._sent, self._written - waiting)

    def on_cut(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called when the connection ends in any way but a clean one.

        For a transfer that waits for something else than the connection: it
        is called once, at the moment the end is fixed and before the
        transport is closed. None takes a callback back.
        """

        self._fate.on_cut(callback)

    def account_sent(self, nbytes: int, *, eof: bool = False) -> None:
        """Count bytes, and the end of file, that a fast path sent past `write`."""

        self._written += nbytes
        self._note_sent()
        self._eof_sent = self._eof_sent or eof

    def lend_socket(self) -> socket.socket | None:
        """Give a second socket, for a fast path that reads past the transport.

        The connection is closed, or reset, only once this one is closed too.

        Returns:
            None where the transport reads, or has read what it has not
            delivered; at the end of file; in TLS, and where the transport is
            none of the event loop's; and where there is none.
        """

        transport = self._transport
        if (
            transport is None
            or self._tls is not None
            or not carries_as_is(transport)
            or self._reading
            or self._held
            or self._eof_received
            or self._fate.end is not None
            or transport.is_closing()
        ):
            return None

        return duplicate_socket(transport)

    def account_received(self, nbytes: int) -> None:
        """Count bytes that a fast path received past the transport."""

        self.bytes_received += nbytes

    def lost_by(self, error: OSError) -> FTPDataError:
        """End the connection with an error that a fast path met, past the transport.

        Returns:
            The reason, to be raised: nobody is called because of `on_cut`.
        """

        self.on_cut(None)
        self._lost_by(error)
        assert self._fate.reason is not None
        return self._fate.reason

    # Private: receiving

    def _read_directly(self) -> None:
        """Let the transport read into the consumer's memory, if it offers some."""

        transport = self._transport
        if transport is None or self._fate.end is not None or transport.is_closing():
            return

        # Where a buffer is full when the peer's end of file comes, asyncio's and
        # uvloop's TLS ends the connection before it reads the rest.
        if not self._is_foreign_tls and hasattr(self._consumer, "get_buffer"):
            transport.set_protocol(DirectReader(self))

    def direct_consumer(self) -> BufferedConsumer | None:
        """Give the consumer that offers memory, while it wants data and none are held for it."""

        wanted = not self._consumer_paused and not self._held and self._fate.end is None
        return cast("BufferedConsumer", self._consumer) if wanted else None

    def _update_reading(self) -> None:
        """Bring the transport in line with whether data are wanted now."""

        transport = self._transport
        if transport is None or self._fate.end is not None or transport.is_closing():
            return

        if self._eof_received:
            # asyncio would report the same end of file once more.
            return

        if self._consumer is not None:
            wanted = not self._consumer_paused and not self._held
        else:
            wanted = self._finishing

        if wanted and not self._reading:
            self._reading = True
            transport.resume_reading()
        elif not wanted and self._reading:
            self._reading = False
            transport.pause_reading()

    def _pause_again(self) -> None:
        """Let the transport know what it forgot: that it is paused."""

        transport = self._transport
        is_over = self._fate.end is not None or self._eof_received
        if transport is not None and not (self._reading or is_over or transport.is_closing()):
            transport.resume_reading()
            transport.pause_reading()

    def _deliver(self, data: bytes) -> None:
        assert self._consumer is not None
        self._delivering = True
        try:
            self._consumer.write(data)
        except Exception as error:  # noqa: BLE001 - whatever it was, it ends the transfer
            self.abort(End.CONSUMER_FAILED, cause=error)
        finally:
            self._delivering = False

    def _discard_held(self) -> None:
        self._held.clear()
        self._held_size = 0

    def _deliver_held(self) -> None:
        while (
            self._held
            and self._consumer is not None
            and not self._consumer_paused
            and self._fate.reason is None
        ):
            data = self._held.pop(0)
            self._held_size -= len(data)
            self._deliver(data)

        if self._eof_received or self._fate.is_over:
            self._complete_receiving()

    def _complete_receiving(self) -> None:
        """Let the consumer go once it has everything up to the end of file."""

        if self._held or self._consumer is None:
            return

        self._release_consumer()
        transport = self._transport
        if transport is not None and not self._is_sending and not self.half_open:
            self._close_transport()

    def _release_consumer(self) -> None:
        consumer, future = self._consumer, self._consumer_future
        if consumer is None or future is None:
            return

        self._consumer = None
        failure: Exception | None = None
        try:
            consumer.unregister_producer()
        except Exception as error:  # noqa: BLE001 - whatever it was, it ends the transfer
            failure = error

        reason = self._fate.reason
        if reason is None and failure is not None:
            # Its last step, such as closing a file, has failed: what it was
            # given is not safe, and the peer must not be told that it is.
            self._fate.decide(End.CONSUMER_FAILED, None, failure)
            reason = self._fate.reason
            if not self._fate.is_over:
                self._cut()
        elif failure is not None:
            self._report(consumer.unregister_producer, failure)
        elif reason is None and not self._eof_received:
            # `finish` closed a connection on which the peer had more to send.
            reason = error_for_end(End.ABORTED, "finished here before the peer's end of file")

        if reason is None:
            future.set_result(None)
        else:
            future.set_exception(reason)

    # Private: finishing

    def _begin_finish(self, timeout: float | None = None, stall: float | None = None) -> None:
        if self._fate.end is not None or self._transport is None or self._fate.is_over:
            return

        if timeout is None:
            timeout = self.close_timeout
            stall = _or_for_ever(self.stall_timeout) if stall is None else stall
        close = _or_for_ever(timeout)
        if self._delivery is not None:
            self._delivery.limit(stall=stall, close=close)
            self._check_delivery()
            return

        self._delivery = DeliveryWatch(
            self._transport,
            channel=self._channel,
            is_protected=self._tls is not None,
            stall=stall,
            close=close,
        )
        self._finishing = True
        transport = self._transport
        if not self._eof_sent and transport.can_write_eof() and not transport.is_closing():
            if self._eof_received and self._written == 0:
                # An upload that is complete: the peer waits for nothing.
                self._close_transport()
            else:
                self._shut_down()
        elif not transport.can_write_eof():
            # TLS: close_notify first, then the end of file; asyncio does both.
            if self._tls is not None and not self._eof_received:
                self._delivery.keep_socket()
            self._close_transport()

        self._eof_sent = True
        if self._consumer is None:
            self._discard_held()

        self._update_reading()
        self._check_delivery()

    def _close_transport(self) -> None:
        """Close the transport once: asyncio's TLS transport is broken by a second time."""

        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.close()

    @property
    def _is_foreign_tls(self) -> bool:
        """Whether the event loop's own TLS is below, to which a host has given the DTP."""

        return self._tls is not None and self._channel is None

    def _hold_undelivered(self) -> None:
        """Hold the data that the event loop's own TLS has not delivered.

        uvloop drops them if the peer's end of file came while reading was paused,
        and does not report the close_notify after them.
        """

        if not self._is_foreign_tls or self._eof_received or self._finishing or self._is_sending:
            return

        try:
            while data := cast("ssl.SSLObject", self._tls).read(TLS_READ):
                self.bytes_received += len(data)
                self._held.append(data)
                self._held_size += len(data)
            self._eof_received = True
        except ssl.SSLZeroReturnError:
            self._eof_received = True
        except (ssl.SSLError, ValueError):
            # It ends in the middle.
            self._eof_received = not self.strict_close

    def _shut_down(self) -> None:
        assert self._transport is not None
        try:
            self._transport.write_eof()
        except OSError as error:
            # The peer has reset it, which nobody has noticed while nothing was read or written.
            self._lost_by(error)

    def _lost_by(self, error: OSError) -> None:
        end, message = self._classify_loss(error)
        if end is not End.CLEAN:
            self.abort(end, message, cause=error)
        elif self._transport is not None:
            self._transport.abort()

    def _check_delivery(self) -> None:
        """Look whether the peer has everything; look again later where it has not."""

        transport, delivery = self._transport, self._delivery
        if self._fate.end is not None or transport is None or delivery is None:
            return

        delivery.rest()
        is_answered = self._eof_received and self._tls is None
        verdict, sight = delivery.judge(is_answered=is_answered)
        if verdict is Verdict.DELIVERED:
            self._say_farewell(transport, sight)
        elif verdict is Verdict.PENDING:
            delivery.look_again(self._check_delivery)
        else:
            self._give_up(verdict, sight)

    def _give_up(self, verdict: Verdict, sight: Sight) -> None:
        """End a connection over which the peer does not get everything."""

        if verdict is Verdict.LOST:
            # A peer that closes what it has not read to the end resets, too.
            self._lost_by(sight.error or _reset())
        else:
            is_stall = verdict is Verdict.STALLED
            self.abort(End.STALLED if is_stall else End.CLOSE_TIMEOUT)

    def _say_farewell(self, transport: asyncio.Transport, sight: Sight) -> None:
        """End a transfer whose peer has everything.

        To close over what the peer has sent, or is about to send, resets the connection: a
        client may lose what it has not read by then. So the transport stays open for that.
        """

        if self._tls is None and (self._eof_received or not sight.unread):
            transport.close()
            return

        if sight.is_gone:
            transport.abort()
            return

        loop = asyncio.get_running_loop()
        patience = answer_patience(self.close_timeout)
        self._sent = self._written
        self._fate.end = End.CLEAN
        self._farewell = loop.call_later(patience, transport.abort)
        self._conclude()
        self._deliver_held()


def _or_for_ever(timeout: float | None) -> float:
    return math.inf if timeout is None else timeout


def _reset() -> OSError:
    return OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
