"""The checks of targets pass good ones, and find each way to break the contract."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from ftpdata.errors import BadArgument
from ftpdata.files import FileTarget, PartStore, WriteMode
from ftpdata.testing import ConformanceError, check_resumable_target, check_upload_target
from tests.harness.waiting import turns


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PartStore]:
    """Return the store of parts under the test's directory."""

    with PartStore(tmp_path) as parts:
        yield parts


def names(directory: Path) -> list[str]:
    """Return the names of the files in a directory, including hidden ones."""

    return [path.name for path in directory.iterdir()]


def read(path: Path) -> bytes | None:
    """Return the content of a file, or None if there is no file."""

    return path.read_bytes() if path.exists() else None


@pytest.mark.parametrize("has_owner", [False, True])
async def test_a_file_passes(tmp_path: Path, store: PartStore, *, has_owner: bool) -> None:
    """A file target passes with an owner of parts, and without."""

    path = tmp_path / "file"
    owner = store.owner("ann") if has_owner else None
    await check_upload_target(
        lambda: FileTarget.open(path, parts=owner),
        published=lambda: asyncio.to_thread(read, path),
    )
    assert names(tmp_path) == ["file"]


async def test_a_resumed_file_passes(tmp_path: Path, store: PartStore) -> None:
    """A part is kept, and then resumed."""

    path, owner = tmp_path / "file", store.owner("ann")
    await check_resumable_target(
        lambda offset: FileTarget.open(
            path, mode=WriteMode.RESUME, offset=offset, parts=owner, part_only=True
        ),
        published=lambda: asyncio.to_thread(read, path),
    )
    assert names(tmp_path) == ["file"]


@attrs.define
class Memory:
    """A store in memory, with the requested faults."""

    faults: frozenset[str] = frozenset()
    published: bytes | None = None
    kept: bytes | None = None
    released: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def open(self, offset: int = 0) -> Target:
        """Open a target."""

        if "cannot open" in self.faults:
            raise OSError("no")
        if offset > len(self.kept or b"") and "any offset" not in self.faults:
            if "wrong error" in self.faults:
                raise ValueError(offset)
            raise BadArgument("beyond what came")
        return Target(self, bytearray((self.kept or b"")[:offset].ljust(offset)))


@attrs.define
class Target:
    """A target in memory."""

    store: Memory
    content: bytearray

    @property
    def position(self) -> int:
        """Return the offset of the next byte."""

        return 0 if "no position" in self.store.faults else len(self.content)

    async def write(self, data: bytes) -> None:
        """Take data."""

        self.content += data[:1] if "loses data" in self.store.faults else data
        if "publishes early" in self.store.faults:
            self.store.published = bytes(self.content)
        while "is never done" in self.store.faults:  # noqa: ASYNC110 - until it is cancelled
            await asyncio.sleep(1)
        if "ignores a cancellation" in self.store.faults:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            await self.store.released.wait()

    async def commit(self) -> None:
        """Publish."""

        self.store.published = bytes(self.content)
        if "commit keeps" not in self.store.faults:
            self.store.kept = None

    async def discard(self) -> None:
        """Discard the data."""

        if "discard hangs" in self.store.faults:
            await asyncio.Event().wait()
        if "discard publishes" in self.store.faults:
            self.store.published = bytes(self.content)
        if "discard keeps" not in self.store.faults:
            self.store.kept = None

    async def keep(self) -> None:
        """Keep the data for later."""

        if "keep publishes" in self.store.faults:
            self.store.published = bytes(self.content)
        if "keep keeps nothing" not in self.store.faults:
            longest = max(bytes(self.content), self.store.kept or b"", key=len)
            mixes = "keeps the longest" in self.store.faults
            self.store.kept = longest if mixes else bytes(self.content)


async def check(check_target: Any, *faults: str, patience: float = 5.0) -> None:
    """Check a target in memory."""

    store = Memory(frozenset(faults))
    await check_target(store.open, published=lambda: store.published, patience=patience)


@pytest.mark.parametrize("check_target", [check_upload_target, check_resumable_target])
async def test_a_good_target_passes(check_target: Any) -> None:
    """Good targets of any kind pass."""

    await check(check_target)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("cannot open", "all in one piece: opening does not raise"),
        ("loses data", "all in one piece: after the commit"),
        ("publishes early", "all in one piece: before the commit"),
        ("is never done", "all in one piece: write takes no longer than 0.1 s"),
        ("discard publishes", "a discard: after the discard"),
    ],
)
async def test_what_a_target_does_wrong(fault: str, message: str) -> None:
    """The verdict says when it broke which rule."""

    with pytest.raises(ConformanceError, match=re.escape(message)):
        await check(check_upload_target, fault, patience=0.1)


async def test_a_target_that_ignores_a_cancellation() -> None:
    """A write must end when it is cancelled."""

    store = Memory()

    async def open_target() -> Target:
        opened.append(target := await store.open())
        if len(opened) == 6:
            store.faults |= {"ignores a cancellation"}
        return target

    opened: list[Target] = []
    with pytest.raises(ConformanceError, match="write ends within"):
        await check_upload_target(open_target, published=lambda: store.published, patience=0.05)
    store.released.set()
    await turns()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no position", "resumed at its end: position is"),
        ("keep publishes", "resumed at its end: after a cut"),
        ("keep keeps nothing", "resumed at its end: opening does not raise"),
        ("publishes early", "resumed at its end: after a cut"),
        ("commit keeps", "resumed at its end: resuming what was published raises"),
        ("wrong error", "resuming what was published raises an FTPDataError, not"),
        ("keeps the longest", "a new upload of the name: resuming what came of an older upload"),
        ("discard keeps", "a discard: resuming what was discarded"),
    ],
)
async def test_what_a_resumable_target_does_wrong(fault: str, message: str) -> None:
    """The verdict says when it broke which rule."""

    with pytest.raises(ConformanceError, match=re.escape(message)):
        await check(check_resumable_target, fault)


async def test_a_wrong_target_that_cannot_be_discarded() -> None:
    """The verdict names the rule that was broken first, and does not wait for the discard."""

    async with asyncio.timeout(5):
        with pytest.raises(ConformanceError, match="resuming what was published raises"):
            await check(check_resumable_target, "any offset", "discard hangs", patience=0.1)
