"""How a file stores the records of a mainframe, as a host chooses it.

Pure. `ftpdata.codecs.rdw` writes and reads such files.
"""

from __future__ import annotations

from typing import Final, Self

import attrs

from .._checks import check_range, check_type, checked
from .limits import at_least_one

__all__ = ["RecordFile"]

LONGEST: Final = 32_760
"""Bytes of the longest record or block, with its descriptor word: LRECL and BLKSIZE of z/OS."""

WORD_SIZE: Final = 4
"""Bytes of a descriptor word."""

BLOCK_SIZE: Final = 27_998
"""Bytes of the longest block where nobody says another: half a track of a 3390."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class RecordFile:
    """How a file stores records: each behind a record descriptor word, or all of one length.

    Attributes:
        length: Bytes of each record; None for variable ones, behind descriptor words.
        block_size: Bytes of the longest block of variable records, with a descriptor word for
            each block as well; None for none.

    Raises:
        ValueError: There are both, or a number is out of range.
    """

    length: int | None = attrs.field(default=None, validator=at_least_one)
    block_size: int | None = None

    def __attrs_post_init__(self) -> None:
        check_range("block_size", self.block_size, 2 * WORD_SIZE, LONGEST)
        if self.length is not None and self.block_size is not None:
            raise ValueError("records have either one length, or descriptor words and blocks")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a user says: ``rdw``, ``bdw`` (with blocks), or ``fixed:80``.

        Raises:
            ValueError: It is something else.
        """

        check_type("text", text, str, "a string")
        kind, _, length = text.partition(":")
        if text == "rdw":
            return cls()

        if text == "bdw":
            return cls(block_size=BLOCK_SIZE)

        if kind != "fixed" or not (length.isascii() and length.isdecimal() and len(length) < 10):  # noqa: PLR2004
            raise ValueError(f"expected rdw, bdw or fixed:LENGTH, not {text!r:.40}")

        return cls(length=int(length))
