"""Views of data show their bytes, whatever their items are."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata._views import byte_view, byte_views

CONTENT = bytes(range(48))


@pytest.mark.parametrize(
    "data",
    [
        CONTENT,
        bytearray(CONTENT),
        memoryview(CONTENT),
        memoryview(CONTENT).cast("c"),
        memoryview(array("H", CONTENT)),
        memoryview(CONTENT).cast("B", (6, 8)),
    ],
)
def test_the_bytes_are_seen(data: bytes | bytearray | memoryview) -> None:
    """Each of them is an item of the view, and no copy."""

    view = byte_view(data)
    assert (view.format, view.ndim, len(view)) == ("B", 1, 48)
    assert bytes(view) == CONTENT
    assert b"".join(byte_views(data, 7)) == CONTENT
    if isinstance(data, bytearray):
        data[0] = 255
        assert view[0] == 255


def test_what_has_gaps_is_refused() -> None:
    """There is no view of every second byte as bytes that follow each other."""

    with pytest.raises(TypeError, match="contiguous"):
        byte_view(memoryview(CONTENT)[::2])


@given(st.binary(max_size=50), st.integers(1, 60))
def test_slices_are_the_whole(data: bytes, size: int) -> None:
    """In order; only the last one may be shorter, and none is empty."""

    found = [bytes(view) for view in byte_views(data, size)]
    assert b"".join(found) == data
    assert all(len(one) == size for one in found[:-1])
    assert all(found)
