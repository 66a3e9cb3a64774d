"""What is in memory of the served directory, opened without a thread."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from examples.server.disk import DiskStore
from examples.server.memory import Memory
from ftpdata import WriteMode
from tests.harness.seams import Seams

blocking_allowed = pytest.mark.blocking_allowed("a file system in memory has no disk to wait for")


@blocking_allowed
async def test_targets_in_memory_are_found_at_once(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If nothing else could be meant; everything else is for the walk."""

    (served_directory / "file").write_bytes(b"content")
    (served_directory / "sub").mkdir()
    store = DiskStore(served_directory)
    memory = store._memory
    monkeypatch.setattr(memory._cached, "lives_in_memory", False)
    assert memory.find_target(b"sub/new") is None
    monkeypatch.setattr(memory._cached, "lives_in_memory", True)
    if not memory._cached.is_available:
        pytest.skip("the system does not know openat2")
    (served_directory / "link").symlink_to("file")
    (served_directory / "away").symlink_to("/etc")
    os.mkfifo(served_directory / "fifo")
    for path, directory in ((b"file", "."), (b"new", "."), (b"sub/new", "sub")):
        found = memory.find_target(path)
        assert found is not None
        assert found[0] == path.rpartition(b"/")[2]
        assert os.fstat(found[1]).st_ino == (served_directory / directory).stat().st_ino
        os.close(found[1])
    for path in (b"", b"sub", b"link", b"fifo", b"away/x", b"missing/x", b"file/x", b"a\0b"):
        assert memory.find_target(path) is None
    target = await store.open_target("/sub/new", WriteMode.ATOMIC, 0)
    await target.commit(b"new")
    assert (served_directory / "sub/new").read_bytes() == b"new"
    store.close()


def test_a_file_whose_status_fails_is_closed(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual way finds the reason; no descriptor stays open."""

    (served_directory / "file").write_bytes(b"content")
    fd = os.open(served_directory, os.O_RDONLY)
    memory = Memory(fd)
    found = memory.open_file(b"file")
    if found is None:
        pytest.skip("the system does not know openat2, or has forgotten the file")
    os.close(found[0])
    import examples.server.memory as module

    failed = Seams(monkeypatch, module).fail("fstat", 1)
    assert memory.open_file(b"file") is None
    assert failed
    os.close(fd)
