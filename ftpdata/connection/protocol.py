"""The DTP: one data connection, as an asyncio Protocol (RFC 959 §2.3, §3.2).

A `DTP` moves bytes and reports how the connection ended. It knows nothing of replies, paths, files,
TYPE or commands. It is a consumer to the producer that sends through it, and a push producer to the
consumer that receives from it. It adapts both to the transport's ``pause_writing`` and
``resume_writing``, ``pause_reading`` and ``resume_reading``.

Five objects work for it: the `Wire` (the transport, and what has passed over it), the `Fate` (how
the connection ended, and who waits for that), the `Feed` (the producer, and when it is asked), the
`Intake` (the consumer, and what it gets) and the `Ending` (the graceful end).

Invariants, on which everything above relies:

1. Reading is paused from ``connection_made`` until a consumer is registered (if the TLS is the
   event loop's own, from the first read). Data that a transport delivers nevertheless are held
   and replayed; the replay honours `pause_producing`.
2. The end of the connection is one `End`, fixed once: by `abort`, or by what the transport
   reported. Everything that fails afterwards is a consequence of it and does not replace it.
3. A consumer gets ``register_producer``, any number of ``write``, ``unregister_producer``; the last
   exactly once, and before the awaitable of `register_consumer` is done.
4. A producer or consumer that raises ends the connection, with a reset.
5. A push producer is paused and resumed strictly in turn. A pull producer is asked once each time
   data are wanted, and never from within its own `write`.
6. A registered producer gets one call of `stop_producing` if the connection ends before it has
   called `unregister_producer`.
7. Each waiter gets a future of its own, so that none can disturb another (`Fate`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import datetime

from .._checks import check_call, check_range, check_seconds
from .._kernel import acknowledged_bytes, reset_at_loss
from .._running import Activity
from ..addresses import HostPort
from ..contracts import Buffer, Consumer, Producer, require_consumer, require_producer
from ..errors import FTPDataError, NotConnected
from ..listing._names import NamePolicy
from ..listing.entry import ListingEntry
from ..listing.unix import ListingRules, format_list_line
from ..observers.contract import Observer, Subject
from ..outcome import End
from ._bypass import Bypass
from ._delivery import Verdict
from ._direct_reader import DirectReader
from ._ending import Ending
from ._fate import CloseWaiter, Fate, stand_in
from ._feed import Feed
from ._intake import Intake
from ._loss import classify_loss, give_up, is_truncated, lose
from ._wire import Wire, peer_of

__all__ = ["DTP"]

DEFAULT_HIGH_WATER = 256 * 1024
"""Bytes that may wait in the transport before a producer is paused.

Large enough that a loopback transfer does not run dry within one turn of the loop,
small enough that a thousand stalled downloads stay far below a gigabyte."""


class DTP(asyncio.Protocol):
    """One data connection, for one transfer.

    Args:
        high_water: Bytes that may wait to be sent before a producer is paused. At any time there
            are at most this many and those of one `write`.
        close_timeout: Seconds that a peer that may have everything can take to end the connection,
            unless `finish` gets a limit of its own. None waits for ever.
        stall_timeout: Seconds without progress after which a peer that does not take the rest
            is given up, once the transfer has nothing more to send. None waits for ever.
        half_open: Keep the sending side open after the peer's end of file, as a two-way stream
            needs it. Otherwise the peer's end of file closes the connection if nothing is being
            sent.

    Attributes:
        strict_close: Whether an end of file in TLS without close_notify is a cut.
        proxied_peer: The address in a trusted proxy's PROXY header; None without one.
        observer: Notified of the transfer over this connection; its endpoint gives it.
        subject: What the host has said of that transfer.
        activity: Knows that the connection is open, and of its transfer; that of its endpoint.
    """

    # Defaults on the class: thousands of connections may stall in this state, and most of it
    # takes no memory there.
    strict_close: bool = True
    proxied_peer: HostPort | None = None
    observer: Observer | None = None
    subject: Subject | None = None
    activity: Activity | None = None
    # Sending: the producer while it is registered.
    _feed: Feed | None = None
    _had_producer: bool = False
    # Receiving: the consumer while it is registered.
    _intake: Intake | None = None
    _had_consumer: bool = False
    # From the end of file that is sent until the connection has ended.
    _ending: Ending | None = None

    def __init__(
        self,
        *,
        high_water: int = DEFAULT_HIGH_WATER,
        close_timeout: float | None = 30.0,
        stall_timeout: float | None = 300.0,
        half_open: bool = False,
    ) -> None:
        check_call(DTP.__init__, locals())
        check_range("high_water", high_water, 0)
        check_seconds("close_timeout", close_timeout)
        check_seconds("stall_timeout", stall_timeout)
        self.high_water = high_water
        self.close_timeout = close_timeout
        self.stall_timeout = stall_timeout
        self.half_open = half_open
        self._wire = Wire()
        self._fate = Fate()

    def __repr__(self) -> str:
        if self._wire.transport is None:
            state = "not connected"
        elif self._fate.is_over:
            state = f"ended: {self._fate.end.value}" if self._fate.end else "ended"
        else:
            state = "finishing" if self._ending is not None else "connected"

        counts = f"sent={self.bytes_sent} received={self.bytes_received}"
        return f"<DTP {state} peer={self.peer} {counts}>"

    # Properties

    @property
    def is_connected(self) -> bool:
        """Whether the connection is open: made, and neither lost nor aborted."""

        fate = self._fate
        return self._wire.transport is not None and fate.end is None and not fate.is_over

    @property
    def has_been_connected(self) -> bool:
        """Whether the connection was ever made."""

        return self._wire.transport is not None

    @property
    def is_finishing(self) -> bool:
        """Whether the end of file was sent, or waits until the data before it are sent."""

        return self._wire.eof_sent

    @property
    def is_lingering(self) -> bool:
        """Whether the peer has everything, and the transport waits for its last word.

        It waits for a second at most; `abort` ends that at once.
        """

        return self._wire.is_lingering

    @property
    def transport(self) -> asyncio.Transport:
        """The transport, for socket options, TLS details and fast ways.

        Raises:
            NotConnected: There has been no connection yet. Reply 425.
        """

        if self._wire.transport is None:
            raise NotConnected("the data connection is not open yet")

        return self._wire.transport

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The object that knows how the connection is protected; None in clear or before it."""

        return self._wire.tls

    @property
    def bypass(self) -> Bypass:
        """What a transfer may do past the transport and past this contract; not for users."""

        return Bypass(self, self._wire, self._fate)

    @property
    def peer(self) -> HostPort | None:
        """Address of the peer, or None if it has no meaningful address.

        Behind a trusted proxy it is `proxied_peer`.
        """

        return self.proxied_peer or peer_of(self._wire.peername)

    @property
    def bytes_sent(self) -> int:
        """Bytes that have left the transport, not counting what waits in it.

        After a connection was lost by an error this is a lower bound: what was in the transport's
        buffer then is not counted.
        """

        # What waited when the connection was cut is thrown away, not sent.
        if self._fate.end is None:
            self._wire.note_sent()

        return self._wire.sent

    @property
    def bytes_received(self) -> int:
        """Bytes that were received, including those that no consumer has got yet."""

        return self._wire.received

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

        None if the system does not report it. (Linux does, by TCP_INFO.)
        """

        transport = self._wire.transport
        return None if transport is None else acknowledged_bytes(transport)

    # Waiting

    @property
    def connected(self) -> asyncio.Future[None]:
        """A new, independent future that is done once the connection is made.

        It raises the reason if the connection was given up before.
        """

        return stand_in(self._fate.connected())

    @property
    def closed(self) -> asyncio.Future[None]:
        """A new, independent future that is done once the connection has ended.

        It raises the reason if the end was not clean: an `FTPDataError` that carries the `End` and
        the reply code. This is the "connection lost" future. Cancelling it disturbs nobody.
        """

        return stand_in(self._fate.closed())

    async def wait_connected(self) -> None:
        """Wait until the connection is made.

        Raises:
            FTPDataError: It was given up before; the reason.
        """

        if not self.has_been_connected:
            await self.connected

    async def wait_closed(self) -> None:
        """Wait until the connection has ended. Returns on a clean end.

        Raises:
            FTPDataError: Any other end; carries the `End` and the reply code.
        """

        await self.closed

    # Sending: the consumer side

    def register_producer(self, producer: Producer, streaming: bool) -> None:
        """Let `producer` send what it produces through this connection.

        May be called before the connection is made; production starts then, and a push producer is
        paused until then.

        Args:
            producer: Calls `unregister_producer` when it has no more data.
            streaming: True for a push producer, which writes at will and is paused and resumed;
                False for a pull producer, which is asked by `resume_producing` each time data are
                wanted.

        Raises:
            TypeError: It lacks a method of its contract, or one is a coroutine.
            RuntimeError: A producer is or has been registered: a DTP is for one transfer.
            NotConnected: The connection has ended. Reply 425.
        """

        require_producer(producer, streaming=streaming)
        if self._feed is not None:
            raise RuntimeError(f"a producer is already registered: {self._feed.producer!r}")

        if self._had_producer:
            raise RuntimeError("a DTP is for one transfer, and has had its producer")

        if self._fate.end is not None or self._wire.eof_sent:
            raise self._not_connected()

        self._had_producer = True
        self._feed = Feed(producer, streaming, self, self._wire, self._fate)
        self._feed.update()

    def unregister_producer(self) -> None:
        """End the transfer, as in Twisted: flush, send the end of file, close.

        Returns at once; `wait_closed` returns when the peer has everything. Does nothing if no
        producer is registered.
        """

        if self._feed is None:
            return

        self._feed.release()
        self._feed = None
        self._begin_finish()

    def write(self, data: Buffer) -> None:
        """Send data. Buffers without limit unless the writer heeds the pauses.

        A writer that is not a registered producer awaits `drain` instead. The data must not be
        changed afterwards.

        Raises:
            NotConnected: The connection is not open, or its end of file was sent; nothing was
                taken. Reply 425. If the connection was lost, the cause is the reason of the loss.
        """

        wire = self._wire
        transport = wire.transport
        if (
            transport is None
            or self._fate.end is not None
            or wire.eof_sent
            or transport.is_closing()
        ):
            raise self._not_connected()

        wire.written += len(data) if not isinstance(data, memoryview) else data.nbytes
        transport.write(data)
        feed = self._feed
        if feed is not None and feed.is_asked:
            feed.is_asked = False
            feed.update()

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

    async def drain(self) -> None:
        """Wait until more may be written.

        Returns without suspending if the transport has room.

        Raises:
            FTPDataError: The connection has ended; the reason.
        """

        if self._fate.end is not None:
            raise self._not_connected()

        if self._wire.is_full:
            await self._wire.wait_for_room()
            if self._fate.end is not None:
                raise self._not_connected()

    def write_eof(self) -> None:
        """Send the end of file after the written data; go on receiving.

        Raises:
            NotConnected: As for `write`.
            NotImplementedError: In TLS. RFC 8446 §6.1 allows closing one direction only; Python's
                transports do not.
        """

        wire = self._wire
        if wire.transport is None or self._fate.end is not None or wire.eof_sent:
            raise self._not_connected()

        if not wire.transport.can_write_eof():
            raise NotImplementedError("this transport cannot close one direction only")

        try:
            wire.shut_down()
        except OSError as error:
            lose(error, self, self._wire)

    # Receiving: the producer side

    def register_consumer(self, consumer: Consumer) -> CloseWaiter:
        """Deliver what the peer sends to `consumer`.

        May be called before the connection is made, and after it has ended: what was received until
        then is replayed. If the transport can, it reads into the memory of a `BufferedConsumer`,
        past `data_received`.

        Returns:
            An awaitable that returns when the peer's end of file has come and the consumer has got
            everything and was unregistered. It raises an `FTPDataError` on any other end; if the
            consumer raised, that exception is its cause. Cancelling it disturbs neither the
            connection nor other waiters.

        Raises:
            TypeError: It lacks a method of its contract, or one is a coroutine.
            RuntimeError: A consumer is or has been registered: a DTP is for one transfer.
        """

        require_consumer(consumer)
        if self._intake is not None:
            raise RuntimeError(f"a consumer is already registered: {self._intake.consumer!r}")

        if self._had_consumer:
            raise RuntimeError("a DTP is for one transfer, and has had its consumer")

        self._had_consumer = True
        self._intake = intake = Intake(consumer, self, self._wire, self._fate)
        try:
            intake.register()
        except BaseException as error:
            # It has refused: it gets no more calls, and no other consumer can take its place.
            self._intake = None
            self.abort(End.CONSUMER_FAILED, cause=error)
            raise

        self._deliver_held()
        self._read_directly()
        self._update_reading()
        return CloseWaiter(intake.future)

    def pause_producing(self) -> None:
        """Deliver nothing more to the consumer until `resume_producing`."""

        self._wire.is_held_back = True
        self._update_reading()

    def resume_producing(self) -> None:
        """Go on delivering to the consumer, beginning with what was held."""

        self._wire.is_held_back = False
        # During the consumer's own write, the loop that delivers goes on by itself.
        if self._intake is not None and not self._intake.is_delivering:
            self._deliver_held()

        self._update_reading()

    def stop_producing(self) -> None:
        """Abort the connection: the consumer wants no more."""

        self.abort(End.ABORTED, "the consumer stopped the transfer")

    # Ending

    async def finish(
        self,
        timeout: float | None = None,
        *,
        stall: float | None = None,
        on_sent: Callable[[], object] | None = None,
    ) -> None:
        """End gracefully: flush, send the end of file, wait until the peer has everything.

        The peer has everything when its kernel has acknowledged every byte (Linux), or when it has
        closed its own side. So the 226 that follows is true. In TLS this does not wait for the
        peer's close_notify; the transport does, for a second at most (see `is_lingering`).

        Args:
            timeout: Seconds that the peer may take to close once it may have everything; None takes
                `close_timeout`.
            stall: Seconds without progress while data are on their way. None takes `timeout`, or
                `stall_timeout` if that is None, too.
            on_sent: Called once, when everything has left this system, the end of file included,
                though the peer may not have it yet. It must not raise. Where the system does not
                tell (Linux does), it is called when the peer has everything.

        Raises:
            FTPDataError: The connection did not end cleanly; the reason. `End.STALLED` or
                `End.CLOSE_TIMEOUT` if a limit passed; the connection was aborted then.

        After a cancellation the connection finishes by itself, within the same limits.
        """

        if not self.has_been_connected and self._fate.end is None:
            raise self._not_connected()

        self._begin_finish(timeout, stall, on_sent)
        await self.wait_closed()

    def abort(
        self,
        end: End = End.ABORTED,
        message: str | None = None,
        *,
        cause: BaseException | None = None,
    ) -> None:
        """End at once, with a reset, so that no peer takes a cut file for a whole one.

        May be called at any time, from anywhere in the loop's thread. It does nothing once the
        connection has ended, its consumer has everything, and no transfer is still at work on what
        came.

        Args:
            end: How it ended, for `end` and for the error that waiters get, unless `cause` is an
                `FTPDataError` that knows its own.
            message: The reason in words.
            cause: The exception that led to this. An `FTPDataError` becomes the reason itself; an
                `OSError` chooses the reply code.

        Raises:
            ValueError: `end` is `End.CLEAN`.
        """

        if end is End.CLEAN:
            raise ValueError("an abort is never a clean end")

        fate, wire = self._fate, self._wire
        if fate.end is None:
            wire.note_sent()
            fate.decide(end, message, cause)
            if wire.transport is None:
                # Never connected: nothing will call connection_lost.
                self._conclude()
            else:
                wire.cut()
            return

        if fate.reason is None and (self._intake is not None or fate.is_watched):
            # The connection has ended cleanly, but the consumer has not got what was held, or
            # the transfer at work has not stored it yet: it is the transfer that is cut now.
            fate.decide(end, message, cause)
            wire.discard_held()
            self._release_consumer()
        if wire.is_lingering:
            self.transport.abort()

    # Callbacks of the transport: connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the transport; called by the event loop."""

        wire = self._wire
        wire.connect(transport)
        if self._fate.end is not None:
            # Given up while it was being made.
            wire.cut()
            return

        if not (wire.eof_sent or self._had_consumer):
            # A task that waits for the peer's end, or receives, keeps the connection reading.
            wire.watch_for_hangup(self._look_for_hangup)
        self._read_directly()
        if not wire.is_foreign_tls:
            # Foreign TLS sends the last part of its handshake with its first read, so it must
            # read. What it delivers is held.
            self._update_reading()
            if wire.forgets_pause:
                asyncio.get_running_loop().call_soon(self._pause_again)
        self.transport.set_write_buffer_limits(high=self.high_water)
        self._fate.make()

        if self._feed is not None:
            self._feed.update()
        elif self._had_producer or wire.eof_sent:
            # It had nothing to send, or nothing more, and said so before there was a connection.
            self._begin_finish()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fix how the connection ended; called by the event loop, once."""

        fate, wire = self._fate, self._wire
        wire.linger_no_more()
        if fate.is_over:
            return

        if fate.end is None:
            if exc is None and self._ending is None and not wire.is_sending:
                wire.hold_undelivered(strict_close=self.strict_close)
            end, message = classify_loss(exc, wire, strict_close=self.strict_close)
            if end is not End.CLEAN:
                fate.decide(end, message, exc)
            else:
                wire.sent = wire.written
                fate.end = end

        if fate.end is not End.CLEAN and wire.transport is not None:
            # The event loop is about to close the socket, whatever went wrong. Without
            # a reset, the peer of a download would take a cut file for a whole one.
            reset_at_loss(wire.transport)

        self._conclude()

    def eof_received(self) -> bool:
        """Take note of the peer's end of file; called by the event loop.

        Returns:
            True to keep the sending side open.
        """

        wire, ending = self._wire, self._ending
        if self._fate.end is not None:
            return False

        if wire.eof_received:
            # asyncio's proactor event loop tells of an end twice that came while it was paused.
            return not wire.is_foreign_tls

        if is_truncated(wire, strict_close=self.strict_close):
            if ending is None:
                self.abort(End.TLS_TRUNCATED)
            return False

        wire.eof_received = True
        # The TLS of asyncio cannot stay open.
        can_stay_open = not wire.is_foreign_tls
        if ending is not None:
            ending.check()
            return can_stay_open

        self._complete_receiving()
        return can_stay_open and (wire.is_sending or self.half_open or not self._had_consumer)

    # Callbacks of the transport: flow control

    def pause_writing(self) -> None:
        """Pause a push producer; called by the transport above `high_water`."""

        self._wire.is_full = True
        if self._feed is not None:
            self._feed.update()

    def resume_writing(self) -> None:
        """Go on with the producer, and with those who drain; called by the transport."""

        self._wire.is_full = False
        if not self._fate.is_over:
            self._wire.note_sent()
        self._wire.wake()
        if self._feed is not None:
            self._feed.update()

    def data_received(self, data: bytes) -> None:
        """Deliver, hold or discard what came; called by the transport."""

        wire = self._wire
        wire.received += len(data)
        if self._fate.end is not None:
            return

        intake = self._intake
        if intake is not None and not wire.is_held_back and not wire.held:
            intake.deliver(data)
            return

        if intake is None and self._ending is not None:
            # Nobody will ever want the data. They are read only to get to the end of file.
            return

        wire.hold(data)
        if wire.holds_too_much:
            self.abort(End.LOST, f"the transport delivered {wire.held_size} bytes while paused")

    # Private: receiving

    def _read_directly(self) -> None:
        """Let the transport read into the consumer's memory, if it offers some."""

        wire = self._wire
        # asyncio's and uvloop's TLS end the connection before they read the rest if a buffer is
        # full when the peer's end of file comes.
        if (
            wire.is_open
            and self._fate.end is None
            and not wire.is_foreign_tls
            and self._intake is not None
            and hasattr(self._intake.consumer, "get_buffer")
        ):
            self.transport.set_protocol(DirectReader(self, wire, self._intake))

    def _update_reading(self) -> None:
        """Let the transport read if data are wanted now."""

        if self._fate.end is not None:
            return

        wire = self._wire
        if self._intake is not None:
            wanted = not wire.is_held_back and not wire.held
        else:
            wanted = self._ending is not None
        if wanted is not wire.is_reading:
            self._read_or_lose(lambda: wire.set_reading(wanted))

    def _pause_again(self) -> None:
        if self._fate.end is None:
            self._read_or_lose(self._wire.pause_again)

    def _read_or_lose(self, change: Callable[[], None]) -> None:
        """Change whether the transport reads; give up a connection that nobody can read from."""

        try:
            change()
        except OSError as error:
            # The event loop has no memory to watch it: asyncio's transport would never read again.
            self.abort(End.LOST, cause=error)

    def _deliver_held(self) -> None:
        wire = self._wire
        if wire.held and self._intake is not None:
            self._intake.deliver_held()
        if wire.eof_received or self._fate.is_over:
            self._complete_receiving()

    def _complete_receiving(self) -> None:
        """Let the consumer go if it has everything up to the end of file."""

        wire = self._wire
        if wire.held or self._intake is None:
            return

        self._release_consumer()
        if not wire.is_sending and not self.half_open:
            wire.close()

    def _release_consumer(self) -> None:
        intake, self._intake = self._intake, None
        if intake is not None:
            intake.release()

    # Private: ending

    def _begin_finish(
        self,
        timeout: float | None = None,
        stall: float | None = None,
        on_sent: Callable[[], object] | None = None,
    ) -> None:
        """Begin the graceful end; if it has begun, change its limits."""

        if not self.is_connected:
            return

        ending = self._ending
        if ending is not None:
            ending.limit(timeout, stall)
            ending.on_sent = on_sent
            ending.check()
            return

        self._ending = ending = Ending(
            self,
            self._wire,
            self._fate,
            self._conclude,
            timeout=timeout,
            stall=stall,
            on_sent=on_sent,
        )
        try:
            ending.begin()
        except OSError as error:
            lose(error, self, self._wire)
        if self._intake is None:
            self._wire.discard_held()

        self._update_reading()
        ending.check()

    def _look_for_hangup(self) -> None:
        """End a transfer whose peer is gone. A receiver learns that from the transport, in turn."""

        if self._fate.end is not None or self._had_consumer:
            return

        if self._ending is not None:
            self._ending.check()
            return

        sight = self._wire.look()
        if sight.is_gone:
            give_up(Verdict.LOST, sight, self, self._wire)

    def _conclude(self) -> None:
        """Report the end to everybody. Runs once."""

        fate, wire = self._fate, self._wire
        fate.is_over = True
        wire.watch_no_more(self._look_for_hangup)
        wire.leave_tls()
        self._ending = None
        if wire.delivery is not None:
            wire.delivery.stop()

        feed, self._feed = self._feed, None
        if feed is not None:
            feed.stop()
        wire.wake()
        if fate.end is not End.CLEAN:
            # What was held is not delivered: the transfer has failed.
            wire.discard_held()

        if fate.reason is not None or not wire.held:
            self._release_consumer()

        fate.announce()
        if fate.end is End.CLEAN:
            self._deliver_held()

    def _not_connected(self) -> FTPDataError:
        return self._fate.not_connected(eof_sent=self._wire.eof_sent)
