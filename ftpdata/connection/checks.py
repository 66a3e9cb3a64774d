"""Watch what passes to a consumer: its digest, its size."""

from __future__ import annotations

from .._checks import check_call, check_range
from ..contracts import Consumer
from ..digests import Digest
from ._consumer import ConsumerLink, too_large

__all__ = ["DigestConsumer", "SizeLimitConsumer"]


class DigestConsumer(ConsumerLink):
    """Computes a digest of what passes on to another consumer.

    It does so on the event loop, which takes about a millisecond for a megabyte.
    (`ftpdata.receive_file` uses threads.)

    Args:
        consumer: Gets the data.
        name: Name of the algorithm, as for `Digest`: any of `hashlib`'s, or
            ``crc32``.

    Raises:
        TypeError: `consumer` is not a consumer.
        UnsupportedParameter: There is no such algorithm. Reply 504.
    """

    def __init__(self, consumer: Consumer, name: str) -> None:
        super().__init__(consumer)
        self._digest = Digest(name)

    @property
    def name(self) -> str:
        """Name of the algorithm, as `hashlib` spells it, or ``crc32``."""

        return self._digest.name

    def hexdigest(self) -> str:
        """Return the digest of what has passed so far, in lower-case hexadecimal."""

        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        """Hand data on, and add them to the digest."""

        self._consumer.write(data)
        self._digest.update(data)


class SizeLimitConsumer(ConsumerLink):
    """Lets a number of bytes pass on to another consumer, and not one more.

    The other consumer gets exactly the first `size_limit` bytes, however the
    network has cut the data.

    Args:
        consumer: Gets the data.
        size_limit: Bytes that may pass.

    Raises:
        TypeError: `consumer` is not a consumer.
        ValueError: `size_limit` is negative.
    """

    def __init__(self, consumer: Consumer, size_limit: int) -> None:
        check_call(SizeLimitConsumer.__init__, locals())
        check_range("size_limit", size_limit, 0)
        super().__init__(consumer)
        self.size_limit = size_limit
        self._left = size_limit

    def write(self, data: bytes) -> None:
        """Hand data on.

        Raises:
            QuotaExceeded: They are more than may pass. Reply 552.
        """

        fitting = data if len(data) <= self._left else data[: self._left]
        self._left -= len(fitting)
        if fitting:
            self._consumer.write(fitting)

        if len(fitting) < len(data):
            raise too_large(self.size_limit)
