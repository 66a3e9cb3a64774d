"""Iterates over iterables of the host, and closes their iterators in any case."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable
from typing import TypeVar

from ..errors import in_words

__all__ = ["closing_generator", "each"]

T = TypeVar("T")


@contextlib.asynccontextmanager
async def closing_generator(items: object) -> AsyncIterator[None]:
    """Close a generator when the transfer is over, even if it was never started.

    If it were left to the garbage collector, an asynchronous generator would be closed
    later, in a task of its own. An object that is not a generator belongs to the caller.
    If the generator raises when it is closed, that does not replace the error that
    ended the transfer: it is added to it as a note.
    """

    try:
        yield
    except BaseException as failure:
        try:
            await _close(items)
        except Exception as error:
            if isinstance(failure, GeneratorExit):
                # Nobody reads the notes of such an exception.
                raise
            failure.add_note(f"the generator could not be closed: {in_words(repr, error)}")
        raise
    else:
        await _close(items)


async def _close(items: object) -> None:
    if isinstance(items, AsyncGenerator):
        await items.aclose()
    elif isinstance(items, Generator):
        items.close()


async def each(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """Yield the items one by one; close the iterator in any case."""

    if isinstance(items, AsyncIterable):
        source = aiter(items)
        async with closing_generator(source):
            async for item in source:
                yield item
        return

    iterator = iter(items)
    async with closing_generator(iterator):
        for item in iterator:
            yield item
