"""Tells observers what happens: whatever they raise changes nothing, and is logged once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import weakref
from collections.abc import Iterator
from typing import Literal

from .._descriptors import let_go
from ..errors import FTPDataError
from ..outcome import TransferResult
from .contract import Observer, Transfer

__all__ = [
    "Event",
    "is_being_cancelled",
    "lent",
    "note_failure",
    "tell",
    "tell_published",
    "telling_refusals",
]

logger: logging.Logger = logging.getLogger("ftpdata.observers")

Event = Literal[
    "listening", "released", "stranger", "refused", "started", "progressed", "ended"
]

# By identity: an observer need not be hashable, and may be equal to another.
_have_failed: weakref.WeakValueDictionary[int, Observer] = weakref.WeakValueDictionary()


def tell(observer: Observer, event: Event, *about: object) -> None:
    """Call a method of an observer.

    Only an exception that ends the program (`KeyboardInterrupt`) goes on from here.
    """

    try:
        getattr(observer, event)(*about)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - see below
        # A transfer does not depend on who watches it. Nothing is awaited here: a
        # CancelledError is of a task that the observer has asked about.
        note_failure(observer, event, error)


def note_failure(observer: Observer, event: str, error: BaseException) -> None:
    """Log what an observer has raised, if it is the first time."""

    if _have_failed.get(id(observer)) is observer:
        return

    _have_failed[id(observer)] = observer
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
    except asyncio.CancelledError as error:
        if is_being_cancelled():
            raise
        note_failure(observer, "published", error)


def is_being_cancelled() -> bool:
    """Return whether the running task is cancelled, and not only something that it awaited."""

    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@contextlib.contextmanager
def lent(fd: int) -> Iterator[int]:
    """Lend a descriptor to an observer, and close it, unless the observer has.

    Its number may belong to another file by then.
    """

    mine = os.fstat(fd)
    try:
        yield fd
    finally:
        try:
            found = os.fstat(fd)
        except OSError:
            pass
        else:
            if (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino):
                let_go(fd)


@contextlib.contextmanager
def telling_refusals(observer: Observer | None) -> Iterator[None]:
    """Tell an observer of an endpoint that cannot be made."""

    try:
        yield
    except FTPDataError as error:
        if observer is not None:
            tell(observer, "refused", error)
        raise
