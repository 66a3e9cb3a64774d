"""Limits of decoders."""

from __future__ import annotations

import pytest

from ftpdata.codecs.limits import CodecLimits


@pytest.mark.parametrize("name", ["record", "marker", "output", "ratio"])
def test_limits_are_checked(name: str) -> None:
    """A limit of zero is refused."""

    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        CodecLimits(**{name: 0})
