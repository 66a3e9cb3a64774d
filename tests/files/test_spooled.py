"""A copy of an upload, to be read before it is committed."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ftpdata.errors import InsufficientStorage, UploadVetoed
from ftpdata.files import SpooledTarget
from ftpdata.outcome import End
from ftpdata.testing import check_upload_target
from tests.observers.test_events import LARGE, SMALL
from tests.observers.test_veto import Judge, names, upload, veto


class MemoryTarget:
    """Puts an upload into a list, the last one at its end."""

    def __init__(self, store: list[bytes] | None = None) -> None:
        self._store = [] if store is None else store
        self.is_discarded = self.is_published = False
        self._data = bytearray()

    @property
    def published(self) -> bytes | None:
        """What has the name."""

        return self._store[-1] if self._store else None

    async def write(self, data: bytes) -> None:
        """Take it."""

        self._data += data

    async def commit(self) -> None:
        """Publish it."""

        self._store.append(bytes(self._data))
        self.is_published = True

    async def discard(self) -> None:
        """Forget it."""

        self.is_discarded = True


async def test_the_contract_of_a_target() -> None:
    """It passes the check that every target of an upload passes."""

    store: list[bytes] = []

    async def make() -> SpooledTarget:
        return SpooledTarget(MemoryTarget(store))

    async def read() -> bytes | None:
        return MemoryTarget(store).published

    await check_upload_target(make, published=read)


@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
async def test_an_upload_is_judged_before_its_target_is_committed(
    data: bytes, tmp_path: Path
) -> None:
    """The judge reads all of it; the copy has no name, and is gone with the upload."""

    target = MemoryTarget()
    judge = Judge()
    judge.directory = tmp_path

    async def look() -> None:
        assert target.published is None

    judge._decide = look
    spooled = SpooledTarget(target, directory=tmp_path)
    is_published = [spooled.is_published]
    result = await upload(judge, data, spooled)
    assert [*is_published, spooled.is_published] == [False, True]
    assert (result.end, judge.seen, judge.names) == (End.CLEAN, [data], [[]])
    assert target.published == data
    assert names(tmp_path) == []


async def test_a_veto_discards_the_target() -> None:
    """Nothing is committed."""

    target = MemoryTarget()
    with pytest.raises(UploadVetoed):
        await upload(Judge(veto), LARGE, SpooledTarget(target))
    assert (target.published, target.is_discarded) == (None, True)


async def test_a_full_disk_ends_the_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read cannot be judged."""

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = MemoryTarget()
    monkeypatch.setattr("ftpdata.files.spooled.write_all", fail)
    with pytest.raises(InsufficientStorage):
        await upload(Judge(), SMALL, SpooledTarget(target))
    assert (target.published, target.is_discarded) == (None, True)
