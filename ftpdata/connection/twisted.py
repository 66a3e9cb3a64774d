# ruff: noqa: N802 - the names are Twisted's
"""For those who come from `twisted.protocols.ftp.DTP`, and for the objects that they bring along.

Twisted's producers, consumers and files go on to work: an adapter translates the names of
`twisted.internet.interfaces`, and declares those interfaces where Twisted is installed. Twisted
itself is imported only when somebody asks for them.

================== ============================ ==================================
What there is      What is wanted               How
================== ============================ ==================================
Twisted's consumer `DTP.register_consumer`      ``ConsumerAdapter(consumer)``
Twisted's producer `DTP.register_producer`      ``ProducerAdapter(producer)``
a `DTP`, to send   an ``IConsumer``             ``TwistedConsumer(dtp)``
a `DTP`, received  an ``IPushProducer``         ``TwistedProducer(dtp)``
================== ============================ ==================================

So Twisted's own sender sends a file, and its consumer receives it::

    import asyncio
    import io

    from ftpdata import connect_active, listen_passive
    from ftpdata.connection.twisted import ConsumerAdapter, TwistedConsumer
    from twisted.protocols.basic import FileSender
    from twisted.protocols.ftp import FileConsumer

    class Kept(io.BytesIO):
        def close(self):  # FileConsumer closes its file before anything else happens
            print(self.getvalue().decode())  # from Twisted to Twisted

    async def main():
        passive = await listen_passive("127.0.0.1", control_peer="127.0.0.1")
        active = connect_active(passive.address, control_peer="127.0.0.1")
        sender, receiver = await asyncio.gather(passive.open(), active.open())

        received = receiver.register_consumer(ConsumerAdapter(FileConsumer(Kept())))
        file = io.BytesIO(b"from Twisted to Twisted")
        sent = FileSender().beginFileTransfer(file, TwistedConsumer(sender))
        await received  # raises unless the end was clean
        await sender.wait_closed()  # the same, and the peer has everything
        await sent.asFuture(asyncio.get_running_loop())

    asyncio.run(main())

Objects that call Twisted's reactor need one that runs on the same event loop,
``AsyncioSelectorReactor``, and there a coroutine becomes a Deferred by
``Deferred.fromFuture(asyncio.ensure_future(coroutine))``. ``examples/twisted_shell.py`` runs
Twisted's own FTP server so, with its realms, shells and files unchanged, on these data connections.

What became of each method of the DTP
-------------------------------------

Most programs need none of them any more: a transfer is one call (`ftpdata.send_file`,
`ftpdata.receive_file`, `ftpdata.send_listing`), with TYPE, deadlines and a result. For the others:

``isConnected``
    `DTP.is_connected`. It is False from the moment that anything has ended the connection.
``connectionMade``, ``makeConnection``, ``connected``, ``transport``
    `DTP.connection_made` and `DTP.transport`, of asyncio. What waits for the connection awaits
    `Endpoint.open` (it was ``factory.deferred``) or `DTP.wait_connected`; nothing has to be done
    in a callback, and a consumer may be registered at any time, before the connection as well.
``connectionLost``
    `DTP.connection_lost`, `DTP.closed` and `DTP.wait_closed`. The reason was ignored: an upload
    that was reset looked like a whole one. Now it is an exception with a reply code; see `DTP.end`.
``sendLine``
    `DTP.send_line`. On a connection that is not open it raises `NotConnected`; it was an
    AttributeError before the connection, and the line was lost after it.
``sendListResponse``
    `DTP.send_list_response` takes a `ListingEntry`, which has names instead of places, and the
    present. Today's rules show setuid bits, other types and a year for what is to come; with
    ``ListingRules.TWISTED`` the line is Twisted's to the byte, but for control characters, which
    could forge another line, and for owners that latin-1 has not.
``_formatOneListResponse``, ``_encoding``
    `ftpdata.listing.format_list_line`, a pure function. Names are bytes, or text in UTF-8.
``registerProducer``
    `DTP.register_producer`. Still a RuntimeError if there is one, also after it has ended: a DTP is
    for one transfer, as it was, and now says so.
``unregisterProducer``
    `DTP.unregister_producer`. Still the end of the transfer. What was written is sent, then the
    end of file, and `DTP.wait_closed` returns once the peer has it all; Twisted's server said 226
    while data were on their way.
``write``
    `DTP.write`. Not connected, it raises `NotConnected`, which carries the reason, instead of
    ``Exception("Crap damn crap damn crap damn")``. `DTP.drain` is for those without a producer.
``dataReceived``, ``_buffer``
    `DTP.data_received`. Before there is a consumer, one read at most is held, and the peer waits;
    the buffer grew without a bound.
``registerConsumer``, ``_cons``, ``_onConnLost``
    `DTP.register_consumer` returns an awaitable instead of a Deferred. It raises the reason if the
    end was not clean, where the Deferred fired None. What was held is replayed, and the replay
    heeds ``pauseProducing``. A second consumer is a RuntimeError; it was an AssertionError, or a
    TypeError after the first. Cancelling the awaitable leaves the consumer registered;
    cancelling the Deferred took it away, and left the connection open.
``_conswrite``
    A consumer that raises ends the connection with a reset, and the awaitable raises with that
    exception as its cause. The connection stayed open, the next data were an AttributeError, and
    so was an exception within the replay.
``_unregConsumer``
    The consumer still gets ``unregisterProducer`` once, before the awaitable is done.
``pauseProducing``, ``resumeProducing``
    `DTP.pause_producing` and `DTP.resume_producing`, also before the connection is made.
``stopProducing``
    `DTP.stop_producing` resets the connection, so that no peer takes what it sent for received.
``factory``, ``pi``, ``logPrefix``
    None: a DTP knows nothing of who made it. `Endpoint` has an observer and a subject for logs.

And of what stood around it
---------------------------

``DTPFactory``
    `ftpdata.listen_passive` and `ftpdata.connect_active`. `Deadlines.open` was ``setTimeout``; a
    peer that does not come is an `OpenTimeout` (425) for the command that waits for it, no
    unasked 550. Strangers are refused, and the owner still gets in; ``peerCheck`` was never read.
    PORT leads to nobody but the client. A factory that was stopped could still connect.
``ASCIIConsumerWrapper``
    `ftpdata.connection.EncodedProducer` with ``AsciiEncoder`` on the way out, `DecodingConsumer`
    with ``AsciiDecoder`` on the way in; or ``parameters`` of a whole transfer. The wrapper raises
    TypeError on Python 3, and converted uploads in the wrong direction.
``FileConsumer``, ``FileSender``
    They work, by an adapter. Both block the event loop; `ftpdata.connection.FileConsumer`
    and `ftpdata.connection.FileProducer` read and write in worker threads.
``IReadFile``, ``IWriteFile``, ``IFTPShell``
    They work: see the example.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, cast

from ..contracts import (
    Buffer,
    Destination,
    Producer,
    PullProducer,
    PushProducer,
    require_methods,
)
from ..errors import NotConnected

__all__ = [
    "ConsumerAdapter",
    "ConsumerOfTwisted",
    "ProducerAdapter",
    "ProducerOfTwisted",
    "TwistedConsumer",
    "TwistedProducer",
]


class ProducerOfTwisted(Protocol):
    """What Twisted calls ``IPullProducer``; an ``IPushProducer`` has ``pauseProducing`` too."""

    def resumeProducing(self) -> object:
        """Produce."""

    def stopProducing(self) -> object:
        """Stop for good."""


class ConsumerOfTwisted(Protocol):
    """What Twisted calls ``IConsumer``."""

    def registerProducer(self, producer: TwistedProducer, streaming: bool, /) -> object:
        """Learn who will write."""

    def unregisterProducer(self) -> object:
        """Take note that the producer has finished."""

    def write(self, data: bytes, /) -> object:
        """Take data."""


class _Interfaces:
    """Interfaces of Twisted that a class implements, imported when they are asked for.

    zope.interface takes any iterable as the value of ``__implemented__``, goes through it at the
    first question about the class or an instance, and keeps what it has found.
    """

    def __init__(self, *names: str) -> None:
        self._names = names

    def __iter__(self) -> Iterator[Any]:
        try:
            from twisted.internet import interfaces  # noqa: PLC0415 - not before somebody asks
        except ImportError:
            # There may be zope.interface without Twisted, for something else.
            return

        for name in self._names:
            yield getattr(interfaces, name)


# Twisted's objects for ftpdata


class ProducerAdapter:
    """One of Twisted's producers, for `DTP.register_producer`.

    Args:
        producer: Push or pull, as it is registered.

    Raises:
        TypeError: It is not one of Twisted's producers.
    """

    def __init__(self, producer: ProducerOfTwisted) -> None:
        methods = ("resumeProducing", "stopProducing")
        require_methods(producer, "a producer of Twisted", methods)
        self._producer = producer

    def __repr__(self) -> str:
        return f"ProducerAdapter({self._producer!r})"

    def resume_producing(self) -> None:
        """Call ``resumeProducing``."""

        self._producer.resumeProducing()

    def pause_producing(self) -> None:
        """Call ``pauseProducing``; never called for a pull producer, which need not have it."""

        cast("TwistedProducer", self._producer).pauseProducing()

    def stop_producing(self) -> None:
        """Call ``stopProducing``."""

        self._producer.stopProducing()


class ConsumerAdapter:
    """One of Twisted's consumers, for `DTP.register_consumer`.

    Args:
        consumer: Gets a `TwistedProducer` as its producer.

    Raises:
        TypeError: It is not one of Twisted's consumers.
    """

    def __init__(self, consumer: ConsumerOfTwisted) -> None:
        methods = ("registerProducer", "unregisterProducer", "write")
        require_methods(consumer, "a consumer of Twisted", methods)
        self._consumer = consumer

    def __repr__(self) -> str:
        return f"ConsumerAdapter({self._consumer!r})"

    def register_producer(self, producer: PushProducer, streaming: bool) -> None:
        """Call ``registerProducer``."""

        self._consumer.registerProducer(TwistedProducer(producer), streaming)

    def unregister_producer(self) -> None:
        """Call ``unregisterProducer``."""

        self._consumer.unregisterProducer()

    def write(self, data: bytes) -> None:
        """Call ``write``."""

        self._consumer.write(data)


# ftpdata's objects for Twisted


class TwistedProducer:
    """A producer, such as a `DTP` that receives, with the methods of ``IPushProducer``.

    Args:
        producer: What to call.
    """

    __implemented__: Any = _Interfaces("IPushProducer", "IPullProducer")

    def __init__(self, producer: PullProducer | PushProducer) -> None:
        self._producer = producer

    def __repr__(self) -> str:
        return f"TwistedProducer({self._producer!r})"

    def resumeProducing(self) -> None:
        """Call ``resume_producing``."""

        self._producer.resume_producing()

    def pauseProducing(self) -> None:
        """Call ``pause_producing``."""

        cast("PushProducer", self._producer).pause_producing()

    def stopProducing(self) -> None:
        """Call ``stop_producing``."""

        self._producer.stop_producing()


class TwistedConsumer:
    """A `DTP` that sends, or what stands before one, with the methods of ``IConsumer``.

    Args:
        destination: What to call.
    """

    __implemented__: Any = _Interfaces("IConsumer")

    def __init__(self, destination: Destination) -> None:
        self._destination = destination

    def __repr__(self) -> str:
        return f"TwistedConsumer({self._destination!r})"

    def registerProducer(self, producer: ProducerOfTwisted, streaming: bool) -> None:
        """Call ``register_producer``.

        A connection that has ended stops the producer at once, as Twisted's
        transports do.

        Raises:
            RuntimeError: The DTP has or has had its producer.
        """

        try:
            self._destination.register_producer(
                cast("Producer", ProducerAdapter(producer)), streaming
            )
        except NotConnected:
            producer.stopProducing()

    def unregisterProducer(self) -> None:
        """Call ``unregister_producer``, which ends the transfer."""

        self._destination.unregister_producer()

    def write(self, data: Buffer) -> None:
        """Call ``write``.

        Raises:
            NotConnected: The connection is not open. Twisted's transports
                drop the data instead. Reply 425.
        """

        self._destination.write(data)
