"""What a host chooses about representation and transmission."""

from __future__ import annotations

from typing import Any

import pytest

from ftpdata.codecs.options import CodecOptions


@pytest.mark.parametrize(
    "wrong",
    [{"line_end": b"\r"}, {"record_length": 0}, {"marker_interval": 0}],
)
def test_options_are_checked(wrong: dict[str, Any]) -> None:
    """An invalid option is refused when the options are made."""

    with pytest.raises(ValueError, match=next(iter(wrong))):
        CodecOptions(**wrong)
