"""Where the bytes of an upload are until it is whole: nothing of another's is ever lost."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftpdata.errors import FileNameNotAllowed, FileUnavailable, FTPDataError
from ftpdata.files import _libc, is_reserved
from ftpdata.files._location import Location
from ftpdata.files._places import NamedPlace
from ftpdata.files.parts import PartOwner
from ftpdata.files.target import FileTarget, WriteMode
from tests.harness.seams import Seams, descriptors
from tests.harness.users import as_user, needs_root

CONTENT = bytes(range(256)) * 40
OTHER = b"another's"


def names(directory: Path) -> list[str]:
    """Name the files of a directory, hidden ones too."""

    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def seams(monkeypatch: pytest.MonkeyPatch) -> Seams:
    """Give the means to let system calls fail."""

    return Seams(monkeypatch)


def _make(path: Path) -> bytes:
    path.write_bytes(OTHER)
    return OTHER


def _replace(path: Path) -> bytes:
    path.unlink(missing_ok=True)
    return _make(path)


def _append(path: Path) -> bytes:
    with path.open("ab") as file:
        file.write(OTHER)
    return path.read_bytes()


MEANWHILE: list[Callable[[Path], bytes]] = [_make, _replace, _append]


# What another has done to the name meanwhile


@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize("mode", [m for m in WriteMode if m is not WriteMode.RESUME])
async def test_a_discard_touches_nothing_of_anothers(
    served_directory: Path, mode: WriteMode, meanwhile: Callable[[Path], bytes]
) -> None:
    """Made, replaced or appended to while the upload ran: it stays as the other has left it."""

    path = served_directory / "file"
    target = await FileTarget.open(path, mode=mode)
    await target.write(CONTENT)
    left = meanwhile(path)
    await target.discard()
    assert path.read_bytes() == left
    assert names(served_directory) == ["file"]


@pytest.mark.parametrize("meanwhile", MEANWHILE)
async def test_a_name_that_another_has_taken(
    served_directory: Path, meanwhile: Callable[[Path], bytes]
) -> None:
    """An exclusive upload is refused then, and nothing is left of it."""

    path = served_directory / "file"
    before = descriptors()
    target = await FileTarget.open(path, mode=WriteMode.EXCLUSIVE)
    await target.write(CONTENT)
    assert not path.exists()
    left = meanwhile(path)
    with pytest.raises(FileUnavailable) as caught:
        await target.commit()

    assert caught.value.reply_code == 550
    assert path.read_bytes() == left
    assert names(served_directory) == ["file"]
    assert descriptors() == before


async def test_one_of_many_gets_an_exclusive_name(served_directory: Path) -> None:
    """One upload is published whole, and all others are refused."""

    path = served_directory / "file"
    targets = [await FileTarget.open(path, mode=WriteMode.EXCLUSIVE) for _ in range(8)]
    results = await asyncio.gather(
        *(target.commit(b"%d" % number) for number, target in enumerate(targets)),
        return_exceptions=True,
    )
    [winner] = [number for number, result in enumerate(results) if result is None]
    assert path.read_bytes() == b"%d" % winner
    assert sum(isinstance(result, FileUnavailable) for result in results) == 7
    assert names(served_directory) == ["file"]


@pytest.mark.parametrize("exists", [False, True])
async def test_many_append_to_one_file(served_directory: Path, exists: bool) -> None:
    """All of them succeed, and none overwrites bytes of another, whether or not the file is new."""

    path = served_directory / "log"
    if exists:
        path.write_bytes(b"")
    targets = [await FileTarget.open(path, mode=WriteMode.APPEND) for _ in range(8)]

    async def append(target: FileTarget, number: int) -> None:
        for _ in range(20):
            await target.write(b"%d" % number * 100)
        await target.commit()

    await asyncio.gather(*(append(target, number) for number, target in enumerate(targets)))
    content = path.read_bytes()
    assert [content.count(b"%d" % number) for number in range(8)] == [2000] * 8
    assert len(content) == 16_000


@pytest.mark.parametrize("mode", [WriteMode.APPEND, WriteMode.IN_PLACE])
async def test_an_upload_of_which_nothing_came_changes_nothing(
    served_directory: Path, mode: WriteMode
) -> None:
    """No file is made, none is emptied, and none is removed that another has made."""

    old, new, made = (served_directory / name for name in ("old", "new", "made"))
    old.write_bytes(OTHER)
    for path in (old, new, made):
        target = await FileTarget.open(path, mode=mode)
        if path is made:
            made.write_bytes(OTHER)
        await target.discard()

    assert old.read_bytes() == made.read_bytes() == OTHER
    assert names(served_directory) == ["made", "old"]


async def test_what_comes_in_place_begins_with_an_empty_file(served_directory: Path) -> None:
    """The file is made once there are bytes, or the upload has ended cleanly without any."""

    path = served_directory / "file"
    for content in (b"new", b""):
        path.write_bytes(OTHER)
        target = await FileTarget.open(path, mode=WriteMode.IN_PLACE)
        assert path.read_bytes() == OTHER
        await target.commit(content)
        assert path.read_bytes() == content


# What cannot be removed


async def test_the_first_reason_is_reported(tmp_path: Path, seams: Seams) -> None:
    """It is the full disk, even if the hidden file cannot be removed either."""

    before = descriptors()
    target = await FileTarget.open(tmp_path / "file")
    seams.fail("fsync", 1, errno.ENOSPC)
    seams.fail("write", 1, errno.ENOSPC)
    seams.fail("unlink", 1, errno.EACCES)
    with pytest.raises(FTPDataError) as caught:
        await target.commit(b"all")

    assert caught.value.reply_code == 452
    assert caught.value.__cause__ is not None
    assert "could not be removed" in caught.value.__cause__.__notes__[0]
    assert descriptors() == before


async def test_a_hidden_file_that_another_has_removed(tmp_path: Path) -> None:
    """There is nothing left to be removed, which is no error."""

    target = await FileTarget.open(tmp_path / "file")
    await target.write(b"some")
    [hidden] = names(tmp_path)
    (tmp_path / hidden).unlink()
    await target.discard()
    assert names(tmp_path) == []


# Systems that cannot rename to a new name


async def test_an_old_name_that_stays_does_not_undo_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upload is published, and is said to be."""

    monkeypatch.setattr(_libc, "has_renameat2", lambda: False)
    path = tmp_path / "file"
    target = await FileTarget.open(path, mode=WriteMode.EXCLUSIVE)
    failed = Seams(monkeypatch, _libc).fail("unlink", 1)
    await target.commit(CONTENT)
    assert failed
    assert target.is_published
    assert path.read_bytes() == CONTENT
    [hidden] = {*names(tmp_path)} - {"file"}
    assert is_reserved(hidden)
    (tmp_path / hidden).unlink()


@pytest.mark.parametrize("why", ["no such function", "not on this file system"])
async def test_a_system_that_gives_a_second_name_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """The same promises are kept."""

    class Library:
        renameat2 = None if why == "no such function" else staticmethod(lambda *_: -1)

        def __init__(self) -> None:
            library = _libc._Library()
            self.fstatfs, self.faccessat = library.fstatfs, library.faccessat

        def errno(self) -> int:
            return errno.EINVAL

    monkeypatch.setattr(_libc, "libc", Library)
    path = tmp_path / "file"
    target = await FileTarget.open(path, mode=WriteMode.EXCLUSIVE)
    await target.commit(CONTENT)
    assert path.read_bytes() == CONTENT
    assert path.stat().st_nlink == 1
    for end in (FileTarget.commit, FileTarget.discard):
        path.unlink(missing_ok=True)
        target = await FileTarget.open(path, mode=WriteMode.EXCLUSIVE)
        await target.write(CONTENT)
        path.write_bytes(OTHER)
        if end is FileTarget.commit:
            with pytest.raises(FileUnavailable):
                await target.commit()
        else:
            await target.discard()
        assert names(tmp_path) == ["file"]
        assert path.read_bytes() == OTHER


# Files that may be written, but not replaced


def read(path: Path) -> bytes:
    """Return what is in a file."""

    return path.read_bytes()


def inode_of(path: Path) -> int:
    """Return the number of a file."""

    return path.stat().st_ino


def remove(path: Path) -> None:
    """Remove a file."""

    path.unlink()


@pytest.fixture
def fixed(seams: Seams, served_directory: Path) -> Path:
    """Give a file in a directory that may not be written, as access(2) tells."""

    def access(original: Callable[..., bool], name: bytes, *args: Any, **kwargs: Any) -> bool:
        return name != os.fsencode(served_directory) and original(name, *args, **kwargs)

    path = served_directory / "file"
    path.write_bytes(OTHER * 10_000)
    seams.replace("access", access)
    return path


@pytest.mark.parametrize("has_nameless", [False, True])
@pytest.mark.parametrize("where", ["", "spool"])
async def test_a_spooled_upload(
    fixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, has_nameless: bool
) -> None:
    """It is copied into the same file when it is whole; until then nobody sees it."""

    spool = tmp_path / where if where else None
    if spool is not None:
        spool.mkdir()
    if not has_nameless:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    before, inode = descriptors(), inode_of(fixed)
    for size in (len(CONTENT), 0, 3 * 1024 * 1024):
        target = await FileTarget.open(fixed, spool_directory=spool, durable=bool(size))
        assert target.is_spooled
        old = read(fixed)
        await target.write(bytes(size))
        assert read(fixed) == old
        await target.commit(b"the last")
        assert read(fixed) == bytes(size) + b"the last"
    assert inode_of(fixed) == inode
    assert names(fixed.parent) == ["file"]
    assert spool is None or names(spool) == []
    assert descriptors() == before


async def test_a_spooled_upload_that_is_cut(fixed: Path, ann: PartOwner) -> None:
    """It changes nothing, even where what came was to be kept."""

    before, old = descriptors(), read(fixed)
    for end in (FileTarget.discard, FileTarget.keep):
        target = await FileTarget.open(fixed, parts=ann)
        await target.write(CONTENT)
        await end(target)
        assert read(fixed) == old
    assert names(fixed.parent) == ["file"]
    assert descriptors() == before


async def test_a_full_disk_changes_nothing(
    fixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room is set aside before the first byte of the old content is overwritten."""

    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before, old = descriptors(), read(fixed)
    monkeypatch.setattr("ftpdata.files._places.reserve", refuse)
    target = await FileTarget.open(fixed)
    await target.write(CONTENT)
    with pytest.raises(FTPDataError) as caught:
        await target.commit()
    assert caught.value.reply_code == 452
    assert read(fixed) == old
    assert descriptors() == before


async def test_a_host_that_insists_on_whole_files(fixed: Path) -> None:
    """It is refused before a byte comes."""

    with pytest.raises(FileNameNotAllowed) as caught:
        await FileTarget.open(fixed, atomic_only=True)
    assert caught.value.reply_code == 553


async def test_a_file_that_is_removed_before_the_copy(fixed: Path) -> None:
    """It is made, if the directory takes it by then."""

    target = await FileTarget.open(fixed)
    await target.write(CONTENT)
    remove(fixed)
    await target.commit()
    assert read(fixed) == CONTENT


@pytest.mark.parametrize("code", [errno.EPERM, errno.EBUSY, errno.EACCES])
async def test_a_rename_that_is_refused(served_directory: Path, seams: Seams, code: int) -> None:
    """Such a file is a mount point: the upload is copied, unless it must be atomic."""

    path = served_directory / "file"
    path.write_bytes(OTHER)
    for atomic_only in (True, False):
        seams.fail("replace", 1, code)
        target = await FileTarget.open(path, atomic_only=atomic_only)
        await target.write(CONTENT)
        known = target.is_spooled
        if atomic_only:
            with pytest.raises(FTPDataError):
                await target.commit()
            assert path.read_bytes() == OTHER
        else:
            await target.commit()
            assert path.read_bytes() == CONTENT
        assert (known, target.is_spooled) == (False, not atomic_only)
        assert names(served_directory) == ["file"]


# The same, with users that are real


@needs_root
@pytest.mark.parametrize(
    ("directory_mode", "owner", "mode"),
    [(0o755, 1234, 0o644), (0o755, 0, 0o666), (0o1777, 0, 0o666), (0o1777, 4321, 0o666)],
)
def test_a_file_that_another_owns(
    open_directory: Path, directory_mode: int, owner: int, mode: int
) -> None:
    """In a directory that may not be written, and in a sticky one; the file stays its owner's."""

    path = open_directory / "file"
    path.write_bytes(OTHER)
    os.chown(path, owner, owner)
    path.chmod(mode)
    open_directory.chmod(directory_mode)
    [code, _] = as_user(1234, 1234, open_directory, atomic_only=True)
    assert code == 553
    assert path.read_bytes() == OTHER
    assert as_user(1234, 1234, open_directory) == [None, True]
    status = path.stat()
    assert path.read_bytes() == b"new"
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (owner, owner, mode)
    assert names(open_directory) == ["file"]


@needs_root
def test_what_may_not_be_written_at_all(open_directory: Path) -> None:
    """A file of another's, and a new one where none may be made: 550, and nothing is changed."""

    assert as_user(1234, 1234, open_directory)[0] == 550
    path = open_directory / "file"
    path.write_bytes(OTHER)
    open_directory.chmod(0o777)
    assert as_user(1234, 1234, open_directory)[0] == 550
    assert path.read_bytes() == OTHER


def test_a_file_that_is_gone_when_it_is_opened_to_append_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another has removed it after the look, which is no reason to refuse the upload."""

    (tmp_path / "file").write_bytes(b"old")
    original = Location.status

    def status(self: Location) -> os.stat_result | None:
        found = original(self)
        (tmp_path / "file").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Location, "status", status)
    at = Location(tmp_path / "file", None)
    place = NamedPlace(at, permissions=0o666, appends=True)
    os.write(place.open(), b"new")
    place.discard()
    assert (tmp_path / "file").read_bytes() == b"new"
