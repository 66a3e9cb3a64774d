"""Which failures cut an upload, so that what arrived of it is good, and which refuse it."""

from __future__ import annotations

from typing import cast

from ..contracts import ResumableTarget, UploadTarget
from ..errors import FTPDataError, InsufficientStorage, QuotaExceeded
from ..files.target import FileTarget
from ..outcome import End

__all__ = ["leaves_part", "resumed_bytes", "was_cut"]

_REFUSALS = frozenset({
    End.BAD_DATA,
    End.CONSUMER_FAILED,
    End.PRODUCER_FAILED,
    End.SIZE_LIMIT,
    End.SIZE_MISMATCH,
    End.VETOED,
})
"""Ends in which the peer, the host or the store did not want the upload. After any other end the
bytes that arrived are those of the file, as far as they go."""


def was_cut(failure: BaseException, *, fell_short: bool) -> bool:
    """Return whether a failed upload was cut, and not refused.

    A full disk cuts it: what was written is good. So does a peer that ends cleanly before it
    has sent the bytes that it promised.

    Args:
        failure: What the transfer raised.
        fell_short: See `SizeCheck`.
    """

    if not isinstance(failure, FTPDataError):
        # The upload was cancelled, or ended with the program; otherwise it is an error of the
        # host's.
        return not isinstance(failure, Exception)

    if isinstance(failure, (InsufficientStorage, QuotaExceeded)):
        return isinstance(failure.__cause__, OSError)

    return fell_short or failure.end not in _REFUSALS


def leaves_part(target: UploadTarget) -> bool:
    """Return whether a target keeps what arrived of an upload that is cut, hidden from others."""

    return target.leaves_part if isinstance(target, FileTarget) else hasattr(target, "keep")


def resumed_bytes(target: UploadTarget) -> int:
    """Return how many bytes earlier transfers brought of what this upload publishes."""

    if isinstance(target, FileTarget):
        return target.resumed_bytes

    return cast("ResumableTarget", target).position if leaves_part(target) else 0
