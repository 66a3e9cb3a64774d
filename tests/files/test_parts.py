"""What came of uploads that were cut: whose it is, who writes to it, and when it goes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftpdata.errors import BadArgument, FileBusy, FileUnavailable, FTPDataError, LocalError
from ftpdata.files import (
    DirectoryReader,
    FileTarget,
    PartLimits,
    PartOwner,
    PartStatus,
    PartStore,
    WriteMode,
    _part_locks,
    _part_sweep,
    is_reserved,
    remove_reserved,
)
from ftpdata.files._part_rules import void_name
from ftpdata.files._part_sweep import Sweep
from ftpdata.testing import sweep
from tests.harness.seams import Seams, descriptors
from tests.harness.users import needs_root
from tests.harness.waiting import until

OLD = b"what was there before"
NEW = bytes(range(256)) * 40
HALF = len(NEW) // 2
WEEK = 7 * 86400.0


@pytest.fixture
def seams(monkeypatch: pytest.MonkeyPatch) -> Seams:
    """Give the means to let system calls fail."""

    return Seams(monkeypatch)


@pytest.fixture
def bob(store: PartStore) -> PartOwner:
    """Give another owner of parts."""

    return store.owner("bob")


def names(directory: Path) -> list[str]:
    """Name the files of a directory, hidden ones too."""

    return sorted(path.name for path in directory.iterdir())


def part_of(path: Path) -> Path:
    """Return the one part in the directory of a file."""

    [part] = path.parent.glob(".ftpdata-part.*")
    return part


async def look(owner: PartOwner, path: Path) -> PartStatus | None:
    """Look for the part of a file."""

    return await asyncio.to_thread(owner.look, path)


async def cut(path: Path, owner: PartOwner, content: bytes = NEW[:HALF], **options: Any) -> None:
    """Upload something, and cut that."""

    target = await FileTarget.open(path, parts=owner, **options)
    try:
        await target.write(content)
    finally:
        await target.keep()


async def resume(path: Path, owner: PartOwner, offset: int, **options: Any) -> FileTarget:
    """Go on with an upload."""

    return await FileTarget.open(
        path, mode=WriteMode.RESUME, offset=offset, parts=owner, **options
    )


def grown_old(path: Path, seconds: float) -> None:
    """Let a file be written a while ago."""

    status = path.stat()
    os.utime(path, (status.st_atime, status.st_mtime - seconds))


# What came stays, and can be resumed


@pytest.mark.parametrize("old", [None, OLD])
async def test_an_upload_is_cut_again_and_again(
    tmp_path: Path, ann: PartOwner, old: bytes | None
) -> None:
    """Nothing has the name, or the old file as it was, until all of the new one does."""

    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    before = descriptors()
    await cut(path, ann, NEW[:1000])
    for offset, end in ((1000, 3000), (2500, 5000), (10, 7000)):
        assert (path.read_bytes() if path.exists() else None) == old
        target = await resume(path, ann, offset)
        assert target.position == offset
        await target.write(NEW[offset:end])
        await target.keep()
        status = await look(ann, path)
        assert status is not None
        assert status.size == end

    target = await resume(path, ann, 7000)
    await target.commit(NEW[7000:])
    assert path.read_bytes() == NEW
    assert names(tmp_path) == ["file"]
    assert await look(ann, path) is None
    assert descriptors() == before


async def test_what_follows_the_offset_stays_until_bytes_come(
    tmp_path: Path, ann: PartOwner
) -> None:
    """A resumption whose data connection does not come takes nothing away."""

    path = tmp_path / "file"
    await cut(path, ann)
    for end in (FileTarget.keep, FileTarget.keep):
        await end(await resume(path, ann, 10))
        assert part_of(path).stat().st_size == HALF

    target = await resume(path, ann, 10)
    await target.commit()
    assert path.read_bytes() == NEW[:10]


async def test_what_was_refused_leaves_nothing(tmp_path: Path, ann: PartOwner) -> None:
    """Nothing is left of this attempt or of earlier ones."""

    path = tmp_path / "file"
    await cut(path, ann)
    target = await resume(path, ann, HALF)
    await target.write(b"too much")
    await target.discard()
    assert names(tmp_path) == []


async def test_an_upload_of_which_nothing_came(tmp_path: Path, ann: PartOwner) -> None:
    """It leaves no part; nor that of an earlier one, which it was to replace."""

    path = tmp_path / "file"
    target = await FileTarget.open(path, parts=ann)
    await target.write(b"")
    await target.keep()
    assert names(tmp_path) == []
    await cut(path, ann)
    await (await FileTarget.open(path, parts=ann)).keep()
    assert names(tmp_path) == []


async def test_a_new_upload_replaces_the_part(tmp_path: Path, ann: PartOwner) -> None:
    """It does so from its first bytes on: an upload never resumes the old part by mistake."""

    path = tmp_path / "file"
    await cut(path, ann)
    target = await FileTarget.open(path, parts=ann)
    await target.write(b"new")
    status = await look(ann, path)
    assert status is not None
    assert status.size == 3
    await target.keep()
    assert part_of(path).read_bytes() == b"new"


async def test_nobody_else_resumes_a_part(tmp_path: Path, ann: PartOwner, bob: PartOwner) -> None:
    """Each owner has a part of its own, and knows of no other."""

    path = tmp_path / "file"
    await cut(path, ann)
    assert await look(bob, path) is None
    with pytest.raises(FileUnavailable):
        await resume(path, bob, 1)
    await cut(path, bob, b"bob's")
    assert len(names(tmp_path)) == 2
    target = await resume(path, bob, 3)
    await target.commit(b"!")
    assert path.read_bytes() == b"bob!"
    status = await look(ann, path)
    assert status is not None
    assert status.size == HALF


async def test_nobody_has_no_part(tmp_path: Path) -> None:
    """Without an owner nothing stays of an upload that was cut."""

    target = await FileTarget.open(tmp_path / "file")
    await target.write(NEW)
    await target.keep()
    assert names(tmp_path) == []
    with pytest.raises(BadArgument):
        await FileTarget.open(tmp_path / "file", mode=WriteMode.RESUME, offset=1)


def test_an_owner_has_a_name(store: PartStore) -> None:
    """An empty name is refused: all users without a name would share their parts."""

    for key in ("", b""):
        with pytest.raises(ValueError, match="empty"):
            store.owner(key)
    assert store.owner("\udcff")._tag == store.owner(b"\xff")._tag


# Beside a file


async def test_beyond_the_part(tmp_path: Path, ann: PartOwner) -> None:
    """It is refused, and the part stays, whether or not there is a file."""

    path = tmp_path / "file"
    await cut(path, ann)
    for _ in range(2):
        with pytest.raises(BadArgument, match=f"beyond the {HALF} bytes"):
            await resume(path, ann, HALF + 1)
        assert part_of(path).stat().st_size == HALF
        path.write_bytes(OLD)
        os.utime(part_of(path))


async def test_a_file_without_a_part_is_written_to(tmp_path: Path, ann: PartOwner) -> None:
    """As RFC 3659 has it; but not if only a part is wanted."""

    path = tmp_path / "file"
    path.write_bytes(OLD)
    with pytest.raises(FileBusy) as caught:
        await resume(path, ann, 4, part_only=True)
    assert caught.value.reply_code == 450
    target = await resume(path, ann, 4)
    assert target.keeps_what_came
    await target.write(b"!")
    await target.keep()
    assert path.read_bytes() == b"what!was there before"
    with pytest.raises(BadArgument):
        await resume(path, ann, 1000)


async def test_a_part_that_is_older_than_the_file_goes(tmp_path: Path, ann: PartOwner) -> None:
    """Its bytes are those of another version. What a client sets as the file's time is no age."""

    path = tmp_path / "file"
    await cut(path, ann)
    path.write_bytes(OLD)
    grown_old(part_of(path), 10)
    os.utime(path, (0, 0))
    target = await resume(path, ann, 4)
    assert names(tmp_path) == ["file"]
    await target.commit(b"!")
    assert path.read_bytes() == b"what!was there before"


async def test_the_permissions_of_a_part(tmp_path: Path, ann: PartOwner) -> None:
    """Its owner's alone until it is published; then those of the old file, or of any new one."""

    for name, mode in (("new", None), ("old", 0o640)):
        path = tmp_path / name
        if mode is not None:
            path.write_bytes(OLD)
            path.chmod(mode)
        target = await FileTarget.open(path, parts=ann)
        for _ in range(2):
            await target.write(NEW)
            assert part_of(path).stat().st_mode & 0o777 == 0o600
            await target.keep()
            assert part_of(path).stat().st_mode & 0o777 == 0o600
            target = await resume(path, ann, len(NEW))
        await target.commit()
        other = tmp_path / "other"
        other.touch()
        expected = other.stat().st_mode & 0o777 if mode is None else mode
        assert path.stat().st_mode & 0o777 == expected


async def test_a_whole_upload_costs_nothing(
    tmp_path: Path, ann: PartOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that is whole before it is written makes the same system calls without a part."""

    async def calls(owner: PartOwner | None) -> list[str]:
        made: list[str] = []

        def note(name: str) -> Callable[..., Any]:
            def call(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
                made.append(name)
                return original(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            seams = Seams(patch)
            for name in ("open", "stat", "fstat", "access", "write", "close", "replace", "dup"):
                seams.replace(name, note(name))
            for name in ("fchmod", "ftruncate", "lseek", "unlink", "readlink", "fsync"):
                seams.replace(name, note(name))
            target = await FileTarget.open(tmp_path / "file", parts=owner)
            await target.commit(NEW)
        (tmp_path / "file").unlink()
        return made

    assert await calls(ann) == await calls(None) != []
    assert names(tmp_path) == []


async def test_the_order_of_a_durable_upload(
    tmp_path: Path, ann: PartOwner, seams: Seams
) -> None:
    """Write, flush, rename, flush the directory; the lock is held until after the rename."""

    made: list[str] = []
    target = await FileTarget.open(tmp_path / "file", parts=ann, durable=True)
    for name in ("write", "fchmod", "fsync", "close", "replace"):

        def note(
            original: Callable[..., Any], *args: Any, name: str = name, **kwargs: Any
        ) -> Any:
            made.append(name)
            if name == "replace":
                with pytest.raises(_part_locks.LockHeld):
                    _part_locks.lock(args[0], None)
            return original(*args, **kwargs)

        seams.replace(name, note)

    await target.write(b"first")
    made.clear()
    await target.commit(b"last")
    order = ["write", "fchmod", "fsync", "close", "replace"]
    assert [name for name in made if name in order][: len(order)] == order
    # Then the directory.
    assert "fsync" in made[made.index("replace") :]


# One writer


async def test_a_part_that_cannot_begin_is_removed_under_its_lock(
    tmp_path: Path, ann: PartOwner, store: PartStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the lock, another upload could give the name to its own file before that."""

    def refuse(*_: object) -> None:
        raise MemoryError

    removed: list[bytes] = []
    real = _part_locks.unlink

    def unlink(name: bytes, dir_fd: int | None) -> None:
        if b"-part." in name:
            with pytest.raises(_part_locks.LockHeld):
                _part_locks.lock(name, dir_fd)
            removed.append(name)
        real(name, dir_fd)

    monkeypatch.setattr(store, "hold", refuse)
    target = await FileTarget.open(tmp_path / "file", parts=ann)
    monkeypatch.setattr(_part_locks, "unlink", unlink)
    with pytest.raises(MemoryError):
        await target.write(b"first")
    assert len(removed) == 1
    assert names(tmp_path) == []
    await target.discard()


async def test_a_resumption_takes_over(tmp_path: Path, ann: PartOwner) -> None:
    """The upload that still runs is asked to end, once, and the resumption waits for that."""

    path = tmp_path / "file"
    first = await FileTarget.open(path, parts=ann)
    await first.write(NEW[:HALF])
    ends: list[asyncio.Task[None]] = []
    first.watch_takeover(lambda: ends.append(asyncio.ensure_future(first.keep())))
    second = await resume(path, ann, 100)
    [end] = ends
    await end
    await second.commit(NEW[100:])
    assert path.read_bytes() == NEW


@pytest.mark.parametrize("has_end", [False, True])
async def test_a_takeover_of_what_a_function_finds(
    tmp_path: Path, ann: PartOwner, monkeypatch: pytest.MonkeyPatch, *, has_end: bool
) -> None:
    """It is found once, and its directory stays open until it is opened or given up."""

    if not has_end:
        monkeypatch.setattr("ftpdata.files.target.TAKEOVER_PATIENCE", 0.05)
    path = tmp_path / "file"
    first = await FileTarget.open(path, parts=ann)
    await first.write(NEW[:HALF])
    before = descriptors()
    found: list[int] = []

    def find() -> tuple[bytes, int]:
        found.append(os.open(tmp_path, os.O_RDONLY))
        return b"file", found[0]

    opening = FileTarget.open(find, mode=WriteMode.RESUME, offset=100, parts=ann)
    if has_end:
        ends: list[asyncio.Task[None]] = []
        first.watch_takeover(lambda: ends.append(asyncio.ensure_future(first.keep())))
        await (await opening).commit(NEW[100:])
        assert path.read_bytes() == NEW
    else:
        with pytest.raises(FileBusy):
            await opening
        assert descriptors() == before
        await first.discard()
    assert len(found) == 1


async def test_a_takeover_before_anybody_watches(tmp_path: Path, ann: PartOwner) -> None:
    """A watcher that comes later learns of it at once."""

    path = tmp_path / "file"
    await cut(path, ann)
    first = await resume(path, ann, 1)
    waiting = asyncio.ensure_future(resume(path, ann, 2))
    holding = first._wish.keeping
    assert holding is not None
    await until(lambda: holding.holding._is_taken)
    ends: list[asyncio.Task[None]] = []
    first.watch_takeover(lambda: ends.append(asyncio.ensure_future(first.keep())))
    await (await waiting).commit(b"!")
    await ends[0]
    assert path.read_bytes() == NEW[:2] + b"!"


async def test_an_upload_that_does_not_end_is_not_disturbed(
    tmp_path: Path, ann: PartOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while the resumption is refused, and the upload is published whole."""

    monkeypatch.setattr("ftpdata.files.target.TAKEOVER_PATIENCE", 0.05)
    path = tmp_path / "file"
    first = await FileTarget.open(path, parts=ann)
    await first.write(NEW[:HALF])
    with pytest.raises(FileBusy) as caught:
        await resume(path, ann, 10)
    assert caught.value.reply_code == 450
    await first.write(NEW[HALF:])
    await first.commit()
    assert path.read_bytes() == NEW


async def test_an_upload_that_is_published_meanwhile(tmp_path: Path, ann: PartOwner) -> None:
    """What was to be resumed is whole by now, and nothing is written into it."""

    path = tmp_path / "file"
    first = await FileTarget.open(path, parts=ann)
    await first.write(NEW)
    ends: list[asyncio.Task[None]] = []
    first.watch_takeover(lambda: ends.append(asyncio.ensure_future(first.commit())))
    with pytest.raises(FileBusy):
        await resume(path, ann, 10)
    await ends[0]
    assert path.read_bytes() == NEW


_HOLDER = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(fd, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


async def test_another_process_that_writes(
    tmp_path: Path, ann: PartOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the part as long as it lives; then a resumption has it."""

    path = tmp_path / "file"
    await cut(path, ann)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLDER, part_of(path),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"locked\n"
        monkeypatch.setattr("ftpdata.files.target.TAKEOVER_PATIENCE", 0.05)
        with pytest.raises(FileBusy) as caught:
            await resume(path, ann, HALF)
        assert caught.value.reply_code == 450
        assert not await asyncio.to_thread(ann.remove, path)
    finally:
        process.kill()
        await process.wait()

    monkeypatch.setattr("ftpdata.files.target.TAKEOVER_PATIENCE", 60.0)
    target = await resume(path, ann, HALF)
    await target.commit(NEW[HALF:])
    assert path.read_bytes() == NEW


async def test_two_uploads_of_one_name_by_one_owner(tmp_path: Path, ann: PartOwner) -> None:
    """Neither disturbs the other; once a newer one has begun, the older one leaves no part."""

    path = tmp_path / "file"
    one, two = [await FileTarget.open(path, parts=ann) for _ in range(2)]
    await one.write(b"one" * 100)
    await two.write(b"two" * 50)
    assert await look(ann, path) is None
    await one.keep()
    await two.keep()
    assert part_of(path).read_bytes() == b"two" * 50
    assert len(names(tmp_path)) == 1

    one, two = [await FileTarget.open(path, parts=ann) for _ in range(2)]
    await one.write(b"one" * 100)
    await two.write(b"two" * 50)
    await two.keep()
    assert await look(ann, path) is None
    await one.commit()
    assert path.read_bytes() == b"one" * 100
    assert names(tmp_path) == ["file"]


async def test_an_older_upload_that_ends_while_it_is_made_void(
    tmp_path: Path, ann: PartOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is published, and the newer one is kept: no mark is left of a part that is gone."""

    path = tmp_path / "file"
    one, two = [await FileTarget.open(path, parts=ann) for _ in range(2)]
    await one.write(b"one" * 100)
    await two.write(b"two" * 50)
    real = PartOwner._make_void

    def late(owner: PartOwner, *arguments: Any) -> None:
        monkeypatch.undo()
        one._is_settled = True
        one._find().publish(b"", is_durable=False, before=lambda: None)
        one._find().close()
        real(owner, *arguments)

    monkeypatch.setattr(PartOwner, "_make_void", late)
    await two.keep()
    assert path.read_bytes() == b"one" * 100
    assert part_of(path).read_bytes() == b"two" * 50
    assert len(names(tmp_path)) == 2


async def test_a_part_whose_successor_was_killed(tmp_path: Path, ann: PartOwner) -> None:
    """A newer upload had begun and left nothing: the older one is not resumed."""

    path = tmp_path / "file"
    await cut(path, ann)
    part = part_of(path)
    mark = Path(os.fsdecode(void_name(os.fsencode(part), part.stat().st_ino)))
    mark.touch()  # noqa: ASYNC240 - at once
    assert await look(ann, path) is None
    with pytest.raises(FileUnavailable):
        await resume(path, ann, 1)
    assert names(tmp_path) == []


async def test_a_part_that_is_exchanged_before_it_is_locked(
    tmp_path: Path, ann: PartOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last writer has published it since: that file is not written to."""

    path = tmp_path / "file"
    await cut(path, ann)
    part = part_of(path)
    real = fcntl.flock

    def exchange(fd: int, operation: int) -> None:
        monkeypatch.undo()
        part.rename(path)
        real(fd, operation)

    monkeypatch.setattr("fcntl.flock", exchange)
    with pytest.raises((FileBusy, FileUnavailable)):
        await resume(path, ann, 1, part_only=True)
    assert path.read_bytes() == NEW[:HALF]


@pytest.mark.parametrize("kind", ["hard link", "symbolic link", "directory", "fifo"])
async def test_what_is_planted_under_the_name_of_a_part(
    tmp_path: Path, ann: PartOwner, kind: str
) -> None:
    """It is neither written to nor removed, and the upload is published all the same."""

    path, victim = tmp_path / "file", tmp_path / "victim"
    victim.write_bytes(OLD)
    await cut(path, ann)
    part = part_of(path)
    part.unlink()
    if kind == "hard link":
        part.hardlink_to(victim)
    elif kind == "symbolic link":
        part.symlink_to(victim)
    elif kind == "directory":
        part.mkdir()
    else:
        os.mkfifo(part)

    with pytest.raises(FTPDataError):
        await resume(path, ann, 1)
    target = await FileTarget.open(path, parts=ann)
    await target.write(NEW)
    await target.keep()
    target = await FileTarget.open(path, parts=ann)
    await target.write(NEW)
    await target.commit()
    assert path.read_bytes() == NEW
    assert victim.read_bytes() == OLD
    assert names(tmp_path) == sorted([part.name, "file", "victim"])


@needs_root
async def test_a_part_of_another_user_of_the_system(tmp_path: Path, ann: PartOwner) -> None:
    """Nobody knows what is in it, so nobody resumes it."""

    path = tmp_path / "file"
    await cut(path, ann)
    os.chown(part_of(path), 12345, 12345)
    with pytest.raises(FileUnavailable):
        await resume(path, ann, 1)
    assert part_of(path).read_bytes() == NEW[:HALF]


async def test_a_file_system_without_locks(
    tmp_path: Path, ann: PartOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uploads are published, but leave no part: two could write to it."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    path = tmp_path / "file"
    await cut(path, ann)
    monkeypatch.setattr("fcntl.flock", refuse)
    # There is one from before. It must not pass for none: its rest belongs into no other file.
    path.write_bytes(OLD)
    with pytest.raises(LocalError):
        await resume(path, ann, 1)
    assert path.read_bytes() == OLD
    path.unlink()
    part_of(path).unlink()
    await cut(path, ann)
    assert names(tmp_path) == []
    target = await FileTarget.open(path, parts=ann)
    await target.write(NEW)
    await target.commit()
    assert path.read_bytes() == NEW


# Failures


SEAMS = ["open", "stat", "fstat", "fchmod", "lseek", "ftruncate", "dup", "write", "unlink"]
SEAMS += ["close", "replace", "readlink"]


@pytest.mark.parametrize("seam", SEAMS)
@pytest.mark.parametrize("way", ["new", "resumed"])
@pytest.mark.parametrize("old", [None, OLD])
async def test_every_system_call_of_a_part_may_fail(
    tmp_path: Path,
    ann: PartOwner,
    monkeypatch: pytest.MonkeyPatch,
    *,
    seam: str,
    way: str,
    old: bytes | None,
) -> None:
    """The old file or the new one whole, and no descriptor; nothing but a part is left."""

    failures = 0
    for k in range(1, 40):
        directory = tmp_path / f"{seam}-{k}"
        directory.mkdir()
        path = directory / "file"
        if old is not None:
            path.write_bytes(old)
        if way == "resumed":
            await cut(path, ann)
        before = descriptors()
        with monkeypatch.context() as patch, contextlib.suppress(FTPDataError):
            failed = Seams(patch).fail(seam, k)
            if way == "resumed":
                target = await resume(path, ann, HALF, part_only=True)
            else:
                target = await FileTarget.open(path, parts=ann)
            try:
                await target.write(NEW[target.position : -1])
                await target.write(NEW[-1:])
                await target.commit()
            except FTPDataError:
                await target.keep()
        assert descriptors() == before
        assert not ann._store._holdings
        assert (path.read_bytes() if path.exists() else None) in (old, NEW)
        for name in names(directory):
            if name != "file":
                assert is_reserved(name)
                content = (directory / name).read_bytes()
                assert NEW.startswith(content)
        if not failed:
            break
        failures += 1

    # Everything else is called at least once.
    assert failures or seam in {"unlink", "ftruncate", "lseek", "readlink"}


@pytest.mark.blocking_allowed("the sweep runs the test's own file calls")
async def test_cancelling_a_resumption_at_any_suspension(tmp_path: Path, ann: PartOwner) -> None:
    """The part is there, as far as it has come, or the file is whole."""

    path = tmp_path / "file"

    async def scenario() -> None:
        path.unlink(missing_ok=True)
        await cut(path, ann)
        target = await resume(path, ann, HALF)
        try:
            await target.write(NEW[HALF:-1])
            await target.commit(NEW[-1:])
        except BaseException:
            await target.keep()
            raise

    async def check() -> None:
        assert not ann._store._holdings
        if path.exists():
            assert path.read_bytes() == NEW
        for name in names(tmp_path):
            assert name == "file" or NEW.startswith((tmp_path / name).read_bytes())

    assert await sweep(scenario, check=check) >= 3


# Limits, and what is too old


async def test_an_owner_has_a_limited_number_of_parts(tmp_path: Path) -> None:
    """The oldest goes, wherever it is; another owner's are not counted."""

    store = await asyncio.to_thread(PartStore, tmp_path, limits=PartLimits(count=2, size=10**6))
    with store:
        ann, bob = store.owner("ann"), store.owner("bob")
        (tmp_path / "below").mkdir()
        await cut(tmp_path / "bobs", bob)
        await cut(tmp_path / "below" / "first", ann)
        grown_old(part_of(tmp_path / "below" / "first"), 10)
        await store.clean()
        for name in ("second", "third"):
            await cut(tmp_path / name, ann)
        assert names(tmp_path / "below") == []
        assert await look(bob, tmp_path / "bobs") is not None
        for name in ("second", "third"):
            assert await look(ann, tmp_path / name) is not None

        await cut(tmp_path / "large", ann, bytes(10**6 + 1))
        assert await look(ann, tmp_path / "large") is None
        assert await look(ann, tmp_path / "third") is not None
        # A part that is being resumed counts for nobody.
        target = await resume(tmp_path / "third", ann, 1)
        await cut(tmp_path / "fourth", ann)
        assert await look(ann, tmp_path / "second") is not None
        await target.keep()
        assert await look(ann, tmp_path / "second") is None


async def test_no_parts_at_all(tmp_path: Path) -> None:
    """A limit of 0 keeps no part."""

    store = await asyncio.to_thread(PartStore, tmp_path, limits=PartLimits(count=0))
    with store:
        await cut(tmp_path / "file", store.owner("ann"))
    assert names(tmp_path) == []


async def test_the_limits_hold_for_what_others_have_left(tmp_path: Path, ann: PartOwner) -> None:
    """Another process has counted it: a look at the directories finds it."""

    for number in range(4):
        await cut(tmp_path / f"{number}", ann)
        grown_old(part_of(tmp_path / f"{number}"), 0) if number == 0 else None
    store = await asyncio.to_thread(PartStore, tmp_path, limits=PartLimits(count=1))
    with store:
        removed = await store.clean()
    assert [part.reason for part in removed] == ["its owner has too many"] * 3
    assert len(names(tmp_path)) == 1


async def test_what_is_removed(tmp_path: Path, ann: PartOwner) -> None:
    """Parts that are too old, uploads of processes that were killed, marks without a part."""

    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path.parent)
    part: dict[str, Path] = {}
    for name in ("old", "young", "busy", "void"):
        await cut(deep / name, ann)
        [part[name]] = {*deep.glob(".ftpdata-part.*")} - {*part.values()}
    grown_old(part["old"], WEEK + 10)
    grown_old(part["young"], WEEK - 1000)
    busy = await resume(deep / "busy", ann, 1)
    grown_old(part["busy"], WEEK + 10)
    mark = Path(os.fsdecode(void_name(os.fsencode(part["void"]), part["void"].stat().st_ino)))
    lone, dead, alive, fresh, other = (
        deep / f".ftpdata-{name}" for name in ("void.a.b.1", "temp.1", "temp.2", "temp.3", "x")
    )
    for path in (mark, lone, dead, alive, fresh, other):
        path.write_bytes(b"some")
    for path in (dead, alive):
        grown_old(path, 10_000)
    with alive.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        removed = await ann._store.clean()
        removed += await ann._store.clean()

    assert {tmp_path / os.fsdecode(item.path) for item in removed} == {
        part["old"], part["void"], mark, lone, dead,
    }
    assert {*deep.iterdir()} == {part["young"], part["busy"], alive, fresh, other}
    await busy.commit(b"!")


async def test_the_limits_hold_where_the_system_names_no_open_directory(
    tmp_path: Path, ann: PartOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without /proc, as on macOS or after chroot, what a look has found can be removed as well."""

    (tmp_path / "below").mkdir()
    for number in range(3):
        await cut(tmp_path / "below" / f"{number}", ann)
    monkeypatch.setattr(_part_sweep, "real_path", lambda _: None)
    store = await asyncio.to_thread(PartStore, tmp_path, limits=PartLimits(count=1))
    with store:
        removed = await store.clean()
    assert [part.reason for part in removed] == ["its owner has too many"] * 2
    assert len(names(tmp_path / "below")) == 1


async def test_a_look_at_everything_has_an_end(
    tmp_path: Path, ann: PartOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops when its time is over, or when it is cancelled."""

    await cut(tmp_path / "file", ann)
    grown_old(part_of(tmp_path / "file"), WEEK + 10)
    assert await ann._store.clean(timeout=0) == []
    assert await look(ann, tmp_path / "file") is not None

    entered, leave = threading.Event(), threading.Event()
    real = Sweep._look_at_directory

    def wait(sweep: Sweep, directory: bytes) -> list[bytes]:
        entered.set()
        assert leave.wait(60)
        return real(sweep, directory)

    for number in range(3):
        (tmp_path / f"{number}").mkdir()
    monkeypatch.setattr(Sweep, "_look_at_directory", wait)
    task = asyncio.ensure_future(ann._store.clean())
    await until(entered.is_set)
    task.cancel()
    asyncio.get_running_loop().call_later(0.05, leave.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await look(ann, tmp_path / "file") is None


# Directories


async def test_parts_are_in_no_listing(tmp_path: Path, ann: PartOwner) -> None:
    """This holds whatever else a listing shows."""

    await cut(tmp_path / "file", ann)
    (tmp_path / ".hidden").touch()

    def read() -> list[str]:
        reader = DirectoryReader(tmp_path)
        try:
            return sorted(reader.read(100).names)
        finally:
            reader.close()

    assert await asyncio.to_thread(read) == [".hidden"]


async def test_a_directory_of_parts_can_be_emptied(
    tmp_path: Path, ann: PartOwner, bob: PartOwner
) -> None:
    """This holds for parts of any owner, unless somebody writes there or there is anything else."""

    directory = tmp_path / "directory"
    directory.mkdir()

    def empty() -> bool:
        fd = os.open(directory, os.O_RDONLY)
        try:
            return remove_reserved(fd)
        finally:
            os.close(fd)

    assert await asyncio.to_thread(empty)
    await cut(directory / "file", ann)
    await cut(directory / "file", bob)
    (directory / "other").touch()
    assert not await asyncio.to_thread(empty)
    assert len(names(directory)) == 3
    (directory / "other").unlink()
    (directory / ".ftpdata-void.a.b.1").touch()
    (directory / ".ftpdata-temp.new").touch()
    target = await resume(directory / "file", ann, 1)
    assert not await asyncio.to_thread(empty)
    await target.keep()
    assert not await asyncio.to_thread(empty)
    assert len(names(directory)) == 4
    grown_old(directory / ".ftpdata-temp.new", 10_000)
    assert await asyncio.to_thread(empty)
    assert names(directory) == []


async def test_a_part_is_removed_by_its_owner(
    tmp_path: Path, ann: PartOwner, bob: PartOwner
) -> None:
    """Nobody else can remove it."""

    await cut(tmp_path / "file", ann)
    assert not await asyncio.to_thread(bob.remove, tmp_path / "file")
    assert await asyncio.to_thread(ann.remove, tmp_path / "file")
    assert not await asyncio.to_thread(ann.remove, tmp_path / "file")
    assert names(tmp_path) == []


async def test_a_closed_store_is_not_cleaned(store: PartStore) -> None:
    """It has let its directory go."""

    store.close()
    with pytest.raises(ValueError, match="closed"):
        await store.clean()
