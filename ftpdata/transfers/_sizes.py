"""The sizes that a transfer must keep to: the promised size, and the largest allowed one."""

from __future__ import annotations

from ..errors import QuotaExceeded, SizeMismatch
from ..files.source import FileSource

__all__ = ["SizeCheck", "check_promise", "total_of"]


class SizeCheck:
    """Checks an upload against the promised size and the largest allowed size.

    Args:
        expected: Bytes of the file that were promised; None for any number.
        limit: Bytes of the file that are accepted; None for any number.
        came_before: Bytes of the file that an earlier transfer has brought.

    Attributes:
        fell_short: Whether the upload ended cleanly with fewer bytes than were promised.
    """

    def __init__(
        self, expected: int | None, limit: int | None, *, came_before: int = 0
    ) -> None:
        self.expected = expected
        self.fell_short: bool = False
        self._allowed = limit
        self._limit = None if limit is None else max(0, limit - came_before)

    def room(self, size: int) -> int | None:
        """Return how many more bytes are acceptable after `size`; None for any number."""

        bounds = [bound for bound in (self.expected, self._limit) if bound is not None]
        return min(bounds) - size if bounds else None

    def __call__(self, size: int, *, is_last: bool) -> None:
        """Check the number of bytes that have arrived so far.

        Raises:
            QuotaExceeded: The upload is larger than allowed. Reply 552.
            SizeMismatch: The upload does not have the promised size. Reply 451.
        """

        if self._limit is not None and size > self._limit:
            raise QuotaExceeded(f"the upload has more than the {self._allowed} bytes allowed")

        expected = self.expected
        self.fell_short = expected is not None and is_last and size < expected
        if expected is not None and (size > expected or self.fell_short):
            raise SizeMismatch(
                f"{expected} bytes were promised, {size}{'' if is_last else ' or more'} came"
            )


def check_promise(promised: int | None, size: int | None) -> None:
    """Check the size of a file to send against the size that was promised to the peer.

    Raises:
        SizeMismatch: They differ. Reply 451.
    """

    if promised is not None and size is not None and promised != size:
        raise SizeMismatch(f"{promised} bytes were promised, the file has {size}")


def total_of(source: FileSource, length: int | None) -> int | None:
    """Return how many bytes of a file are to be sent; None if the file has no known size.

    Args:
        source: The file, positioned where the transfer begins.
        length: Bytes to send at most; None for all.
    """

    if source.size is None:
        return None

    left = source.size - source.position
    return left if length is None else min(left, length)
