"""Gathers the lines of a listing into writes of a good size."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable

from ..listing.entry import ListingEntry
from ..listing.table import ListingBlock
from ..parameters import RepresentationType, Structure, TransferParameters, TransmissionMode
from ._each import each
from ._pace import Pace

__all__ = ["Formatter", "Lines", "ListingItem", "batches", "is_plain_text"]

LISTING_BATCH = 64 * 1024
"""Bytes of lines to gather before they are written."""

ListingItem = ListingBlock | bytes | ListingEntry | list[bytes] | list[ListingEntry]
Lines = Iterable[ListingItem] | AsyncIterable[ListingItem]
Formatter = Callable[[ListingEntry], bytes | None]


async def batches(
    lines: Lines, formatter: Formatter | None, pace: Pace
) -> AsyncGenerator[bytes, None]:
    """Gather lines into writes of a good size; the first line goes out at once."""

    batch: list[bytes] = []
    size = 0
    wanted = 1
    most = min(LISTING_BATCH, pace.sending_size())
    async with contextlib.aclosing(each(lines)) as items:
        async for item in items:
            if isinstance(item, ListingBlock):
                if batch:
                    yield _joined(batch)
                    size = 0
                yield item
                wanted = most = min(LISTING_BATCH, pace.sending_size())
                continue

            for entry in item if isinstance(item, list) else (item,):
                line = _line(entry, formatter)
                if line is None:
                    continue

                batch.append(line)
                size += len(line) + 2
                if size >= most:
                    yield _joined(batch)
                    size = 0
                    wanted = most = min(LISTING_BATCH, pace.sending_size())

            if size >= wanted:
                yield _joined(batch)
                size = 0
                wanted = most = min(LISTING_BATCH, pace.sending_size())

    if batch:
        yield _joined(batch)


def _line(item: bytes | ListingEntry, formatter: Formatter | None) -> bytes | None:
    if isinstance(item, bytes):
        return item

    if formatter is None:
        raise TypeError(f"expected lines of bytes, or a formatter for {item!r:.80}")

    return formatter(item)


def _joined(batch: list[bytes]) -> bytes:
    batch.append(b"")
    data = b"\r\n".join(batch)
    batch.clear()
    return data


def is_plain_text(parameters: TransferParameters) -> bool:
    """Return whether a listing is sent unconverted, as lines that end in CRLF."""

    return (
        parameters.type is not RepresentationType.EBCDIC
        and parameters.structure is Structure.FILE
        and parameters.mode is TransmissionMode.STREAM
    )
