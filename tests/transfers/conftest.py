"""Fixtures that the tests of transfers share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ftpdata.files import PartOwner, PartStore


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[PartOwner]:
    """Return an owner of parts under the test's directory."""

    with PartStore(tmp_path) as store:
        yield store.owner("ann")
