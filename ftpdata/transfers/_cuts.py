"""Which failures cut an upload, so that what came of it is good, and which refuse it."""

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
})
"""Where the peer, the host or the store did not want what came. After any other end the bytes that
came are those of the file, as far as they go."""


def was_cut(failure: BaseException, *, fell_short: bool) -> bool:
    """Whether a failed upload was cut, and not refused.

    A full disk cuts it: what was written is good. So does a peer that ends cleanly before it
    has sent the bytes that it had promised.

    Args:
        failure: What the transfer raised.
        fell_short: See `SizeCheck`.
    """

    if not isinstance(failure, FTPDataError):
        # Cancelled, or ended with the program: else it is an error of the host's.
        return not isinstance(failure, Exception)

    if isinstance(failure, (InsufficientStorage, QuotaExceeded)):
        return isinstance(failure.__cause__, OSError)

    return fell_short or failure.end not in _REFUSALS


def leaves_part(target: UploadTarget) -> bool:
    """Whether a target keeps what came of an upload that is cut, where nobody sees it."""

    return target.leaves_part if isinstance(target, FileTarget) else hasattr(target, "keep")


def resumed_bytes(target: UploadTarget) -> int:
    """Return how many bytes of an upload have come before, all of which it publishes."""

    if isinstance(target, FileTarget):
        return target.resumed_bytes

    return cast("ResumableTarget", target).position if leaves_part(target) else 0
