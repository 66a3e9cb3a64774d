"""Tells observers what happens: whatever they raise changes nothing, and is logged once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections.abc import Iterator
from typing import Literal

from ..errors import FTPDataError
from ..outcome import TransferResult
from .contract import Observer, Transfer

__all__ = ["Event", "note_failure", "tell", "tell_published", "telling_refusals"]

logger: logging.Logger = logging.getLogger("ftpdata.observers")

Event = Literal[
    "listening", "released", "stranger", "refused", "started", "progressed", "ended"
]

_have_failed: weakref.WeakSet[Observer] = weakref.WeakSet()


def tell(observer: Observer, event: Event, *about: object) -> None:
    """Call a method of an observer.

    Only an exception that ends the program (`KeyboardInterrupt`) goes on from here.
    """

    try:
        getattr(observer, event)(*about)
    except Exception as error:  # noqa: BLE001 - a transfer does not depend on who watches it
        note_failure(observer, event, error)


def note_failure(observer: Observer, event: str, error: Exception) -> None:
    """Log what an observer has raised, if it is the first time."""

    if observer in _have_failed:
        return

    _have_failed.add(observer)
    logger.error(
        "%s has failed in %s; its later failures are not logged",
        type(observer).__qualname__,
        event,
        exc_info=error,
    )


async def tell_published(
    observer: Observer, transfer: Transfer, result: TransferResult
) -> None:
    """Await what an observer does with an upload that was published, for a limited time."""

    try:
        async with asyncio.timeout(observer.publish_timeout):
            await observer.published(transfer, result)
    except Exception as error:  # noqa: BLE001 - the file is there, whatever happens now
        note_failure(observer, "published", error)


@contextlib.contextmanager
def telling_refusals(observer: Observer | None) -> Iterator[None]:
    """Tell an observer of an endpoint that cannot be made."""

    try:
        yield
    except FTPDataError as error:
        if observer is not None:
            tell(observer, "refused", error)
        raise
