"""The data connection itself: the `DTP`, and what sends and receives through it.

Most programs never come here: the functions of `ftpdata.transfers` move whole
files and listings. Come here to move bytes in a way of your own: to feed the
connection from a queue, to look at data as they pass, to bring code that was
written for Twisted or for streams.

A `DTP` is an asyncio protocol. What sends through it is a *producer*, which the
connection pauses while the peer is slow; what receives from it is a *consumer*,
which pauses the connection while it is slow itself. This sends three chunks
through one end of a connection and receives them at the other::

    import asyncio

    from ftpdata import connect_active, listen_passive
    from ftpdata.connection import IterableProducer, ReceiveQueue

    async def main():
        server = await listen_passive("127.0.0.1", control_peer="127.0.0.1")
        client = connect_active(server.address, control_peer="127.0.0.1")
        sender, receiver = await asyncio.gather(server.open(), client.open())

        IterableProducer([b"one ", b"two ", b"three"]).start(sender)
        async for data in ReceiveQueue.attach(receiver):
            print(data.decode(), end="")  # one two three
        await sender.wait_closed()  # returns, as the peer has everything; else raises

    asyncio.run(main())

The pieces:

- the connection: `DTP`. `DTP.write` and `DTP.drain` send without a producer,
  `DTP.finish` ends gracefully, `DTP.abort` resets, `DTP.wait_closed` raises
  unless the end was clean;
- producers: `FileProducer`, `BytesProducer`, `IterableProducer`,
  `AsyncIterableProducer`, and `EncodedProducer` around one of them for TYPE,
  STRU and MODE. Each registers itself by ``start(dtp)`` and ends the transfer
  when its source ends;
- consumers: `ReceiveQueue` to await, `FileConsumer`, `MemoryConsumer`. In front
  of one of them stand, in any order, `DecodingConsumer` for TYPE, STRU and MODE,
  `DigestConsumer` and `SizeLimitConsumer`. `DTP.register_consumer` begins;
- for code that is written for something else: `DTPStream`, a stream of anyio, and
  the adapters in `ftpdata.connection.twisted`.

To write a producer or consumer of your own, see the contracts in
`ftpdata.contracts`; `ftpdata.testing` has checks for them.

Inside, `protocol` has the contract of a `DTP` and the transport's callbacks. What works
for it has a module each:

- `_wire`: the transport, what has passed over it, and what is held;
- `_fate`: how the connection ended, and who waits for that; `_loss`: what a loss means;
- `_feed`: when the producer is paused, resumed or asked;
- `_intake`: what the consumer gets, and when it is let go; `_direct_reader`: reading into
  its memory;
- `_ending`: the graceful end; `_delivery`: whether the peer has everything, and when to
  look again; `_delivery_watch`: the looks;
- `_bypass`: what the fast ways of `ftpdata.transfers` may do past the transport.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from ._fate import CloseWaiter
    from .checks import DigestConsumer, SizeLimitConsumer
    from .decoding import DecodingConsumer
    from .encoding import EncodedProducer
    from .file_consumer import FileConsumer
    from .file_producer import FileProducer
    from .iterable_producers import AsyncIterableProducer, BytesProducer, IterableProducer
    from .memory_consumer import MemoryConsumer
    from .protocol import DTP
    from .receive_queue import ReceiveQueue
    from .stream import DTPStream

__all__ = [
    "DTP",
    "AsyncIterableProducer",
    "BytesProducer",
    "CloseWaiter",
    "DTPStream",
    "DecodingConsumer",
    "DigestConsumer",
    "EncodedProducer",
    "FileConsumer",
    "FileProducer",
    "IterableProducer",
    "MemoryConsumer",
    "ReceiveQueue",
    "SizeLimitConsumer",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "_fate": ("CloseWaiter",),
            "checks": ("DigestConsumer", "SizeLimitConsumer"),
            "decoding": ("DecodingConsumer",),
            "encoding": ("EncodedProducer",),
            "file_consumer": ("FileConsumer",),
            "file_producer": ("FileProducer",),
            "iterable_producers": ("AsyncIterableProducer", "BytesProducer", "IterableProducer"),
            "memory_consumer": ("MemoryConsumer",),
            "protocol": ("DTP",),
            "receive_queue": ("ReceiveQueue",),
            "stream": ("DTPStream",),
        },
    )
