"""Virtual paths."""

from __future__ import annotations

import pytest

from examples.server.paths import join, parent


@pytest.mark.parametrize(
    ("directory", "path", "expected"),
    [
        ("/", "", "/"),
        ("/", "a", "/a"),
        ("/a", "b", "/a/b"),
        ("/a", "/b", "/b"),
        ("/a/b", "..", "/a"),
        ("/a", "../../..", "/"),
        ("/", "/../../etc/passwd", "/etc/passwd"),
        ("/a", ".//./b/", "/a/b"),
        ("/a", "...", "/a/..."),
        ("/a", "b\\..\\c", "/a/b\\..\\c"),
        ("/", "\udcff", "/\udcff"),
    ],
)
def test_virtual_paths_are_joined(directory: str, path: str, expected: str) -> None:
    """Relative, absolute, and never above the top."""

    assert join(directory, path) == expected


def test_parent_of_a_virtual_path() -> None:
    """The top is its own parent."""

    assert [parent(path) for path in ("/a/b", "/a", "/")] == ["/a", "/", "/"]
