"""Asks the observer of an upload whether it may be published."""

from __future__ import annotations

import asyncio
from typing import cast

from ..contracts import ReadableTarget, UploadTarget
from ..errors import BadArgument, LocalError, UploadVetoed, error_for_peer, in_words
from ..files._names import PATH_TYPES
from ..observers._telling import is_being_cancelled, lent
from ..observers.contract import Observer, Upload
from ..outcome import End
from ._report import Report

__all__ = ["check_can_be_judged", "judge"]


def check_can_be_judged(observer: Observer | None, target: object, *, in_place: bool) -> None:
    """Refuse an upload that its observer wants to judge, and that would be seen before.

    Args:
        observer: The observer of the connection.
        target: The target of the upload: a path or an `UploadTarget`.
        in_place: Whether it writes to a path from an offset on, or to its end.

    Raises:
        BadArgument: It is written in place or appended, or its target cannot tell what came.
            Reply 501.
    """

    if observer is None or not observer.wants_uploads:
        return

    is_path = isinstance(target, PATH_TYPES) and not in_place
    is_hidden = hasattr(target, "open_to_read") and not getattr(target, "keeps_what_came", False)
    if not is_path and not is_hidden:
        raise error_for_peer(
            BadArgument,
            "expected an upload that nobody can see before it is published, since it may be vetoed",
        )


async def judge(report: Report, target: UploadTarget) -> None:
    """Ask the observer whether an upload that has arrived completely may be published.

    Args:
        report: The report of its transfer.
        target: Its target, to which everything was written.

    Raises:
        UploadVetoed: It may not.
        LocalError: The observer has failed, or has not decided in time. Reply 451.
    """

    observer = report.observer
    if observer is None or not observer.wants_uploads:
        return

    readable = cast("ReadableTarget", target)
    fd = await readable.open_to_read()
    limit = asyncio.timeout(observer.publish_timeout)
    try:
        with lent(fd):
            async with limit:
                await observer.before_publish(report, Upload(fd, readable.position))
    except UploadVetoed:
        raise
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
            raise
        why = f"could not decide: {in_words(repr, error)}"
        if isinstance(error, TimeoutError) and limit.expired():
            why = f"has not decided in {observer.publish_timeout:g} s"
        raise LocalError(f"the observer {why}", end=End.VETOED) from error
