"""What the tests of files share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftpdata.files import PartOwner, PartStore


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Give a directory that other users reach, too."""

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        path.chmod(0o755)
        yield path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PartStore]:
    """Give the parts beneath the test's directory."""

    with PartStore(tmp_path) as parts:
        yield parts


@pytest.fixture
def ann(store: PartStore) -> PartOwner:
    """Give an owner of parts."""

    return store.owner("ann")
