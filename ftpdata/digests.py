"""Digests by name: everything `hashlib` knows, and CRC32.

Pure. The names are those of the HASH draft and of `hashlib`, in either case
and with or without the hyphen: ``SHA-256``, ``sha256``, ``crc32``.
"""

from __future__ import annotations

import hashlib
import zlib

from ._checks import check_call
from .contracts import Buffer
from .errors import UnsupportedParameter, error_for_peer

__all__ = ["Digest"]


class Digest:
    """A digest that is computed while bytes pass.

    Args:
        name: Name of the algorithm.

    Attributes:
        name: The name as `hashlib` spells it, or ``crc32``.

    Raises:
        UnsupportedParameter: There is no such algorithm, or its length is not
            fixed. Reply 504.
    """

    __slots__ = ("_crc", "_hash", "name")

    def __init__(self, name: str) -> None:
        check_call(Digest.__init__, locals())
        self.name: str = _normalise(name)
        self._crc = 0
        self._hash = None
        if self.name == "crc32":
            return

        if self.name not in hashlib.algorithms_available:
            raise error_for_peer(UnsupportedParameter, f"no digest algorithm is named {name!r:.40}")

        try:
            # FTP's digests find transmission errors; they prove nothing to anybody.
            self._hash = hashlib.new(self.name, usedforsecurity=False)
        except ValueError:
            raise error_for_peer(
                UnsupportedParameter, f"{name!r:.40} is disabled in this system"
            ) from None

        if self._hash.digest_size == 0:
            raise error_for_peer(
                UnsupportedParameter, f"expected a digest of fixed length, not {name!r:.40}"
            )

    def update(self, data: Buffer) -> None:
        """Add bytes. Releases the interpreter lock for large pieces."""

        if self._hash is None:
            self._crc = zlib.crc32(data, self._crc)
        else:
            self._hash.update(data)

    def hexdigest(self) -> str:
        """Return the digest so far in lower-case hexadecimal."""

        return f"{self._crc:08x}" if self._hash is None else self._hash.hexdigest()


def _normalise(name: str) -> str:
    lowered = name.strip().lower()
    if lowered in hashlib.algorithms_available:
        return lowered

    for spelling in (lowered.replace("-", ""), lowered.replace("-", "_")):
        if spelling == "crc32" or spelling in hashlib.algorithms_available:
            return spelling

    return lowered
