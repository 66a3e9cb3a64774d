"""Limits on what a peer may ask of a decoder: records, markers, and what data expand to.

Pure.
"""

from __future__ import annotations

from typing import Any

import attrs

from .._checks import check_range, check_type, checked, ranged
from .._repr import repr_of_changes
from ..errors import QuotaExceeded

__all__ = ["CodecLimits"]

_MIB = 1024 * 1024


def at_least_one(_: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
    """Refuse anything but a number of at least 1, as an attrs validator; None passes."""

    if value is None:
        return

    check_type(attribute.name, value, int, "a whole number or None")
    check_range(attribute.name, value, 1)


@attrs.frozen(kw_only=True, field_transformer=checked)
class CodecLimits:
    """What a peer may ask of a decoder.

    The ratio is for deflate, which can make a thousand bytes of one, and for compressed mode,
    which can make 63. Files that are all zeros reach it, too: a host that expects them sets
    it to None and limits `output` instead.

    Attributes:
        record: Bytes of the longest record, of a text or of a mainframe; None for no limit.
        marker: Bytes of the longest restart marker.
        output: Bytes of the largest file; None for no limit.
        ratio: Most bytes of the file for each byte received; None for no limit.
        ratio_from: Bytes of the file up to which the ratio is not checked.
    """

    __repr__ = repr_of_changes


    record: int | None = attrs.field(default=16 * _MIB, validator=at_least_one)
    marker: int = attrs.field(default=255, validator=at_least_one)
    output: int | None = attrs.field(default=None, validator=at_least_one)
    ratio: int | None = attrs.field(default=500, validator=at_least_one)
    ratio_from: int = attrs.field(default=64 * _MIB, validator=ranged(0))


DEFAULT_LIMITS = CodecLimits()


def check_output(name: str, size: int, limits: CodecLimits) -> None:
    """Check how many bytes of a file a decoder gives out.

    Args:
        name: What the error calls the decoder.
        size: The bytes so far, with those that come next.
        limits: What the peer may ask.

    Raises:
        QuotaExceeded: They are more than `CodecLimits.output`. Reply 552.
    """

    if limits.output is not None and size > limits.output:
        raise QuotaExceeded(f"{name}: more than the {limits.output} bytes allowed")
