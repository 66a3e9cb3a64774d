"""The data connection itself: the `DTP`, and the producers and consumers that work with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .consumers import (
        DecodingConsumer,
        DigestConsumer,
        FileConsumer,
        MemoryConsumer,
        ReceiveQueue,
        SizeLimitConsumer,
    )
    from .producers import (
        AsyncIterableProducer,
        BytesProducer,
        Destination,
        EncodedProducer,
        FileProducer,
        IterableProducer,
        StartableProducer,
    )
    from .protocol import DTP, CloseWaiter
    from .stream import DTPStream

__all__ = [
    "DTP",
    "AsyncIterableProducer",
    "BytesProducer",
    "CloseWaiter",
    "DTPStream",
    "DecodingConsumer",
    "Destination",
    "DigestConsumer",
    "EncodedProducer",
    "FileConsumer",
    "FileProducer",
    "IterableProducer",
    "MemoryConsumer",
    "ReceiveQueue",
    "SizeLimitConsumer",
    "StartableProducer",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "consumers": (
                "DecodingConsumer",
                "DigestConsumer",
                "FileConsumer",
                "MemoryConsumer",
                "ReceiveQueue",
                "SizeLimitConsumer",
            ),
            "producers": (
                "AsyncIterableProducer",
                "BytesProducer",
                "Destination",
                "EncodedProducer",
                "FileProducer",
                "IterableProducer",
                "StartableProducer",
            ),
            "protocol": ("DTP", "CloseWaiter"),
            "stream": ("DTPStream",),
        },
    )
