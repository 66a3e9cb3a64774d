"""What is received: what is published, and what is left after a failure."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from ftpdata.errors import (
    BadArgument,
    FileUnavailable,
    FTPDataError,
    LocalError,
    QuotaExceeded,
    TransferTimeout,
)
from ftpdata.files import _cache as page_cache
from ftpdata.files import _workers as workers
from ftpdata.files import is_reserved
from ftpdata.files._threads import Job
from ftpdata.files.target import SHORT, FileTarget, WriteMode, unopened
from ftpdata.outcome import End
from ftpdata.testing import sweep
from tests.harness.packages import needs_o_path
from tests.harness.seams import Hang, Seams, cancelled, descriptors
from tests.harness.waiting import until

CONTENT = bytes(range(256)) * 40
OLD = b"what was there before"

MODES = [mode for mode in WriteMode if mode is not WriteMode.RESUME]
"""Those that need no owner of parts; the other one is in `test_parts`."""


# Helpers


def names(directory: Path) -> list[str]:
    """Name the files of a directory, hidden ones too."""

    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def seams(monkeypatch: pytest.MonkeyPatch) -> Seams:
    """Give the means to let system calls fail or hang."""

    return Seams(monkeypatch)


async def upload(path: Any, *pieces: bytes, **options: Any) -> None:
    """Write and commit."""

    target = await FileTarget.open(path, **options)
    for piece in pieces:
        await target.write(piece)
    await target.commit()


# What is published


async def test_an_atomic_upload_appears_at_once_and_whole(served_directory: Path) -> None:
    """Until the commit the old file is there, unchanged; then the new one is."""

    path = served_directory / "file"
    path.write_bytes(OLD)
    target = await FileTarget.open(path)
    await target.write(CONTENT)
    assert path.read_bytes() == OLD
    hidden = [name for name in names(served_directory) if name != "file"]
    assert len(hidden) == 1
    assert is_reserved(hidden[0])
    await target.write(CONTENT)
    assert target.position == 2 * len(CONTENT)
    await target.commit()
    assert path.read_bytes() == CONTENT * 2
    assert names(served_directory) == ["file"]


async def test_two_uploads_of_one_name_do_not_disturb_each_other(served_directory: Path) -> None:
    """The last one that is committed wins, whole."""

    path = served_directory / "file"
    one, two = await FileTarget.open(path), await FileTarget.open(path)
    await one.write(b"1" * 1000)
    await two.write(b"2" * 500)
    await two.commit()
    await one.commit()
    assert path.read_bytes() == b"1" * 1000


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("durable", [False, True])
async def test_what_each_mode_makes(served_directory: Path, mode: WriteMode, durable: bool) -> None:
    """This holds for a file that is new, and for one that is there."""

    new, old = served_directory / "new", served_directory / "old"
    old.write_bytes(OLD)
    await upload(new, b"ab", b"c", mode=mode, durable=durable)
    assert new.read_bytes() == b"abc"
    if mode is WriteMode.EXCLUSIVE:
        with pytest.raises(FileUnavailable) as caught:
            await FileTarget.open(old, mode=mode)
        assert caught.value.reply_code == 550
        assert old.read_bytes() == OLD
        return

    await upload(old, b"ab", b"c", mode=mode, durable=durable)
    assert old.read_bytes() == (OLD + b"abc" if mode is WriteMode.APPEND else b"abc")


@pytest.mark.parametrize("mode", MODES)
async def test_what_a_discard_leaves(served_directory: Path, mode: WriteMode) -> None:
    """It leaves nothing of an atomic or exclusive upload; otherwise it leaves what came."""

    new, old = served_directory / "new", served_directory / "old"
    old.write_bytes(OLD)
    target = await FileTarget.open(new, mode=mode)
    await target.write(b"abc")
    await target.discard()
    left = {WriteMode.IN_PLACE: b"abc", WriteMode.APPEND: b"abc"}.get(mode)
    assert (new.read_bytes() if new.exists() else None) == left
    if mode is WriteMode.ATOMIC:
        target = await FileTarget.open(old)
        await target.write(b"abc")
        await target.discard()
        assert old.read_bytes() == OLD


async def test_in_place_from_an_offset(served_directory: Path) -> None:
    """REST overwrites from there on, and keeps the bytes after them."""

    path = served_directory / "file"
    path.write_bytes(b"0123456789")
    await upload(path, b"ab", mode=WriteMode.IN_PLACE, offset=3)
    assert path.read_bytes() == b"012ab56789"
    await upload(path, b"xyz", mode=WriteMode.IN_PLACE, offset=10)
    assert path.read_bytes() == b"012ab56789xyz"


@pytest.mark.parametrize(
    ("mode", "offset"),
    [
        (WriteMode.IN_PLACE, 11),
        (WriteMode.IN_PLACE, -1),
        (WriteMode.ATOMIC, 1),
        (WriteMode.APPEND, 1),
        (WriteMode.EXCLUSIVE, 1),
    ],
)
async def test_an_offset_that_cannot_be(
    served_directory: Path, mode: WriteMode, offset: int
) -> None:
    """Writing beyond the end is refused, and so is an offset in the other modes: 501."""

    path = served_directory / "file"
    path.write_bytes(b"0123456789")
    with pytest.raises(BadArgument) as caught:
        await FileTarget.open(path, mode=mode, offset=offset)

    assert caught.value.reply_code == 501
    assert path.read_bytes() == b"0123456789"


async def test_an_offset_into_a_missing_file_makes_no_file(served_directory: Path) -> None:
    """REST 10 and STOR of a new name leave no empty file."""

    with pytest.raises(FileUnavailable):
        await FileTarget.open(served_directory / "new", mode=WriteMode.IN_PLACE, offset=10)

    assert names(served_directory) == []


async def test_permissions_are_kept_on_replace(served_directory: Path) -> None:
    """A replaced file hands its permissions on; a new one gets those that are asked for."""

    old, new = served_directory / "old", served_directory / "new"
    old.write_bytes(OLD)
    old.chmod(0o640)
    await upload(old, b"x", permissions=0o666)
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    await upload(new, b"x", permissions=0o600)
    assert stat.S_IMODE(new.stat().st_mode) == 0o600


async def test_symbolic_links(served_directory: Path) -> None:
    """An atomic upload replaces the link, not what it points to; others refuse it."""

    outside = served_directory / "outside"
    outside.write_bytes(OLD)
    link = served_directory / "link"
    link.symlink_to(outside)
    for mode in (WriteMode.IN_PLACE, WriteMode.APPEND, WriteMode.EXCLUSIVE):
        with pytest.raises(FileUnavailable):
            await FileTarget.open(link, mode=mode)

    await upload(link, b"new")
    assert not link.is_symlink()
    assert outside.read_bytes() == OLD


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("directory", 550),
        ("directory/", 550),
        ("missing/", 550),
        ("", 550),
        ("missing/file", 550),
        ("file/below", 550),
        ("x" * 256, 553),
        ("a\0b", 553),
    ],
)
async def test_names_that_cannot_be_written(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch, mode: WriteMode, name: str, code: int
) -> None:
    """They are refused when the upload begins, not when all of it has come."""

    monkeypatch.chdir(served_directory)
    (served_directory / "directory").mkdir()
    (served_directory / "file").write_bytes(OLD)
    with pytest.raises(FTPDataError) as caught:
        await FileTarget.open(name, mode=mode)

    assert caught.value.reply_code == code
    assert names(served_directory) == ["directory", "file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
async def test_a_read_only_file_is_not_replaced(served_directory: Path) -> None:
    """Although its directory would allow to rename over it."""

    path = served_directory / "file"
    path.write_bytes(OLD)
    path.chmod(0o444)
    with pytest.raises(FileUnavailable):
        await FileTarget.open(path)


async def test_a_file_that_the_system_says_is_read_only(
    served_directory: Path, seams: Seams
) -> None:
    """The same, where the tests run as root: the system is asked before a byte comes."""

    path = served_directory / "file"
    path.write_bytes(OLD)
    seams.replace("access", lambda original, *args, **kwargs: False)
    with pytest.raises(FileUnavailable) as caught:
        await FileTarget.open(path)

    assert caught.value.reply_code == 550
    assert path.read_bytes() == OLD


@pytest.mark.parametrize("length", [200, 220, 255])
async def test_hidden_names_are_not_too_long(served_directory: Path, length: int) -> None:
    """A name of 255 bytes can be uploaded: its hidden name does not contain it."""

    path = served_directory / ("\u00e9" * (length // 2) + "x" * (length % 2))
    target = await FileTarget.open(path)
    await target.write(CONTENT)
    (hidden,) = names(served_directory)
    assert len(os.fsencode(hidden)) <= 255
    await target.commit()
    assert path.read_bytes() == CONTENT


async def test_dir_fd_of_a_target(served_directory: Path) -> None:
    """A copy is kept: the caller may close his own while the upload goes on."""

    dir_fd = os.open(served_directory, os.O_RDONLY)
    target = await FileTarget.open("file", dir_fd=dir_fd, durable=True)
    os.close(dir_fd)
    await target.write(CONTENT)
    await target.commit()
    assert (served_directory / "file").read_bytes() == CONTENT

    dir_fd = os.open(served_directory, os.O_RDONLY)
    target = await FileTarget.open("other", dir_fd=dir_fd)
    os.close(dir_fd)
    await target.discard()
    assert names(served_directory) == ["file"]


async def test_a_target_that_is_found_in_the_thread(served_directory: Path) -> None:
    """The function that finds it gives the descriptor away; its errors are those of a name."""

    def find() -> tuple[bytes, int]:
        found.append(os.open(served_directory, os.O_RDONLY))
        return b"file", found[-1]

    found: list[int] = []
    before = descriptors()
    target = await FileTarget.open(find)
    await target.write(CONTENT)
    await target.commit()
    assert (served_directory / "file").read_bytes() == CONTENT
    with pytest.raises(BadArgument):
        await FileTarget.open(find, mode=WriteMode.IN_PLACE, offset=10**6)
    assert len(found) == 2
    assert descriptors() == before

    def lose() -> tuple[bytes, int]:
        raise IsADirectoryError(errno.EISDIR, "is a directory")

    with pytest.raises(FileUnavailable):
        await FileTarget.open(lose)


@pytest.mark.parametrize("mode", MODES)
async def test_what_a_commit_writes(served_directory: Path, mode: WriteMode) -> None:
    """After the bytes that were written before, and before the file is published."""

    path = served_directory / "file"
    if mode is not WriteMode.EXCLUSIVE:
        path.write_bytes(OLD)
    target = await FileTarget.open(path, mode=mode)
    await target.write(CONTENT)
    await target.commit(b"the last")
    expected = OLD + CONTENT if mode is WriteMode.APPEND else CONTENT
    assert path.read_bytes() == expected + b"the last"


async def test_a_commit_that_cannot_write(served_directory: Path, seams: Seams) -> None:
    """Nothing is published, and nothing is left."""

    before = descriptors()
    target = await FileTarget.open(served_directory / "file")
    seams.fail("write", 1, errno.ENOSPC)
    with pytest.raises(FTPDataError) as caught:
        await target.commit(b"the last")
    assert caught.value.reply_code == 452
    assert names(served_directory) == []
    assert descriptors() == before


@pytest.mark.parametrize("step", ["write", "replace"])
async def test_a_commit_that_takes_too_long(
    served_directory: Path, seams: Seams, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """What was not written in time is not published; what was, is, and nobody says otherwise."""

    monkeypatch.setattr(workers, "ABANDON_AFTER", 0.01 if step == "write" else 10.0)
    hang = Hang(seams, step)
    target = await FileTarget.open(served_directory / "file")
    committing = asyncio.ensure_future(target.commit(CONTENT, timeout=0.05))
    await hang.entered()
    if step == "write":
        with pytest.raises(TransferTimeout, match="took more than") as caught:
            await committing
        assert (caught.value.end, caught.value.reply_code) == (End.STALLED, 426)
        hang.go_on()
        await target.discard()
        await until(lambda: names(served_directory) == [])
    else:
        loop = asyncio.get_running_loop()
        over_at = loop.time() + 0.06
        await until(lambda: loop.time() > over_at)
        hang.go_on()
        await committing
        assert names(served_directory) == ["file"]


@pytest.fixture
def memory_directory() -> Iterator[Path]:
    """A directory that has no disk."""

    if not Path("/dev/shm").is_mount():
        pytest.skip("there is no tmpfs here")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


@pytest.mark.blocking_allowed("a file system in memory has no disk to wait for")
@pytest.mark.parametrize("is_known", [False, True])
async def test_a_small_upload_to_memory_needs_no_thread(
    is_known: bool, memory_directory: Path, jobs: list[Job]
) -> None:
    """Where that is known before; what is written before the end has one."""

    path = memory_directory / "file"
    target = await FileTarget.open(path, lives_in_memory=is_known)
    assert len(jobs) == (0 if is_known else 1)
    await target.commit(b"all of it")
    assert len(jobs) == (0 if is_known else 2)
    assert path.read_bytes() == b"all of it"
    assert names(memory_directory) == ["file"]

    target = await FileTarget.open(path, lives_in_memory=True)
    await target.write(b"some")
    await target.commit(bytes(SHORT + 1))
    assert len(jobs) == (2 if is_known else 4)
    assert path.read_bytes() == b"some" + bytes(SHORT + 1)
    for expected in (1, 0):
        # Freeing the memory of a large file takes a while.
        jobs.clear()
        target = await FileTarget.open(path, lives_in_memory=True)
        await target.commit(b"small")
        assert len(jobs) == expected
    with pytest.raises(FileUnavailable):
        await FileTarget.open(memory_directory, lives_in_memory=True)


@needs_o_path
@pytest.mark.blocking_allowed("a file system in memory has no disk to wait for")
async def test_an_upload_to_memory_that_is_opened_late_needs_no_thread(
    memory_directory: Path, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the second one on: the first finds out that there is no disk."""

    monkeypatch.setattr(page_cache, "_local_devices", {})
    path = memory_directory / "file"
    for expected in (1, 1):
        await unopened(path).commit(b"all of it")
        assert len(jobs) == expected
        assert path.read_bytes() == b"all of it"
        assert names(memory_directory) == ["file"]

    with pytest.raises(FileUnavailable):
        await unopened(memory_directory / "file" / "new").commit(b"all of it")
    (memory_directory / "directory").mkdir()
    with pytest.raises(FileUnavailable):
        await unopened(memory_directory / "directory").commit(b"all of it")
    assert len(jobs) == 2
    await unopened(memory_directory / "large").commit(bytes(SHORT + 1))
    assert len(jobs) == 3
    assert names(memory_directory) == ["directory", "file", "large"]


async def test_the_hidden_file_is_made_for_the_first_bytes(served_directory: Path) -> None:
    """Until then there is nothing that a process which is killed would leave behind."""

    target = await FileTarget.open(served_directory / "file")
    target.begin_in_memory()
    assert names(served_directory) == []
    await target.write(b"")
    assert len(names(served_directory)) == 1
    await target.discard()
    assert names(served_directory) == []


async def test_an_upload_of_which_nothing_came(served_directory: Path) -> None:
    """It leaves what was there; one that ended cleanly is an empty file."""

    path = served_directory / "file"
    path.write_bytes(OLD)
    target = await FileTarget.open(path)
    await target.discard()
    assert path.read_bytes() == OLD
    target = await FileTarget.open(path)
    await target.commit()
    assert path.read_bytes() == b""
    assert names(served_directory) == ["file"]


@pytest.mark.blocking_allowed("a file system in memory has no disk to wait for")
async def test_a_hidden_file_can_be_made_ahead(memory_directory: Path, seams: Seams) -> None:
    """Where there is no disk; once, and what is wrong is for the first bytes to say."""

    target = await FileTarget.open(memory_directory / "file", lives_in_memory=True)
    target.begin_in_memory()
    target.begin_in_memory()
    assert len(names(memory_directory)) == 1
    await target.commit(b"all")
    target.begin_in_memory()
    assert names(memory_directory) == ["file"]

    target = await FileTarget.open(memory_directory / "other", lives_in_memory=True)
    failed = seams.fail("open", 1, errno.ENOSPC)
    target.begin_in_memory()
    assert failed
    await target.commit(b"all")
    assert (memory_directory / "other").read_bytes() == b"all"


async def test_where_no_file_may_be_made(served_directory: Path, seams: Seams) -> None:
    """That is known before anything comes, and nothing is left."""

    before = descriptors()
    seams.replace("access", lambda *_, **__: False)
    failed = seams.fail("open", 1, errno.EROFS)
    with pytest.raises(FileUnavailable):
        await FileTarget.open(served_directory / "file")
    assert failed
    assert descriptors() == before
    # The system has the last word.
    target = await FileTarget.open(served_directory / "file")
    await target.commit(b"all")
    assert names(served_directory) == ["file"]


async def test_durable_flushes_before_it_publishes(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File, rename, directory: in this order. Without it, nothing is flushed."""

    calls: list[str] = []
    local = Seams(monkeypatch)

    def note(name: str) -> None:
        def wrapper(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            kind = ""
            if name == "fsync":
                kind = " directory" if stat.S_ISDIR(os.fstat(args[0]).st_mode) else " file"
            calls.append(name + kind)
            return original(*args, **kwargs)

        local.replace(name, wrapper)

    note("fsync")
    note("replace")
    await upload(served_directory / "quick", b"x")
    assert calls == ["replace"]
    calls.clear()
    await upload(served_directory / "durable", b"x", durable=True)
    assert calls == ["fsync file", "replace", "fsync directory"]


async def test_commit_or_discard_once(served_directory: Path) -> None:
    """A discard after the end does nothing; a commit or write raises."""

    target = await FileTarget.open(served_directory / "file")
    await target.commit()
    await target.discard()
    target.discard_now()
    assert names(served_directory) == ["file"]
    for work in (target.commit(), target.write(b"x")):
        with pytest.raises(ValueError, match="committed or discarded"):
            await work


async def test_a_short_write_is_followed_by_the_rest(served_directory: Path, seams: Seams) -> None:
    """The system may take less than it is given."""

    seams.replace("write", lambda original, fd, data: original(fd, bytes(data[:7])))
    await upload(served_directory / "file", CONTENT[:1000])
    assert (served_directory / "file").read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["fifo", "fifo with a reader", "socket", "device"])
async def test_only_regular_files_are_written(
    served_directory: Path, mode: WriteMode, kind: str
) -> None:
    """What else has the name is refused before a byte comes, is not opened, and stays."""

    path = served_directory / "file"
    with contextlib.ExitStack() as stack:
        if kind == "device":
            path = Path(os.devnull)
        elif kind == "socket":
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(os.fspath(path))
        else:
            os.mkfifo(path)
            if kind == "fifo with a reader":
                stack.callback(os.close, os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        before = path.lstat()
        with pytest.raises(FileUnavailable) as caught:
            await FileTarget.open(path, mode=mode)

        assert caught.value.reply_code == 550
        assert path.lstat() == before
        if kind != "device":
            assert names(served_directory) == ["file"]


@contextlib.contextmanager
def file_size_limit(nbytes: int) -> Iterator[None]:
    """Let the system refuse larger files (EFBIG)."""

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_the_largest_file_size(served_directory: Path) -> None:
    """The real system refuses in the middle of a write: 552, and nothing stays."""

    target = await FileTarget.open(served_directory / "file")
    with file_size_limit(5000):
        await target.write(CONTENT[:4000])
        with pytest.raises(QuotaExceeded) as caught:
            await target.write(CONTENT[:4000])

    assert caught.value.reply_code == 552
    await target.discard()
    assert names(served_directory) == []


async def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    """Names are bytes, and any bytes will do."""

    name = os.fsencode(tmp_path) + b"/\xff\xfe\n"
    target = await FileTarget.open(name)
    await target.write(CONTENT)
    await target.commit()
    assert (tmp_path / os.fsdecode(b"\xff\xfe\n")).read_bytes() == CONTENT


# Every call fails in turn

SEAMS = ["open", "stat", "access", "fstat", "fchmod", "lseek", "listxattr"]
SEAMS += ["dup", "write", "fsync", "close", "replace"]

FORGIVEN = {"fstat", "fchmod", "listxattr", "close"}
"""Neither what the old file hands on nor what a discard closes is worth an upload."""


@pytest.mark.parametrize("seam", SEAMS)
async def test_every_system_call_of_an_upload_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seam: str
) -> None:
    """Right reply code, the old file or the new one whole, nothing hidden, no descriptor."""

    codes = {errno.EIO: 451, errno.ENOSPC: 452, errno.EACCES: 550, errno.EDQUOT: 552}
    failures = 0
    for mode in MODES:
        for code, reply_code in codes.items():
            for k in range(1, 30):
                directory = tmp_path / f"{mode.name}-{code}-{k}"
                directory.mkdir()
                path = directory / "file"
                if mode is not WriteMode.EXCLUSIVE:
                    path.write_bytes(OLD)
                dir_fd = os.open(directory, os.O_RDONLY)
                before = descriptors()
                with monkeypatch.context() as patch:
                    failed = Seams(patch).fail(seam, k, code)
                    error = await _attempt(mode, dir_fd)
                assert descriptors() == before
                os.close(dir_fd)
                if not failed:
                    assert error is None
                    break

                failures += 1
                # A rename that is refused is no end either: the upload is copied into the file.
                is_copied = (seam, mode, code) == ("replace", WriteMode.ATOMIC, errno.EACCES)
                assert error is not None or seam in FORGIVEN or is_copied
                if error is not None:
                    assert error.reply_code == reply_code
                assert names(directory) in ([], ["file"])
                if mode is WriteMode.ATOMIC:
                    assert path.read_bytes() in (OLD, b"onetwo")
                if mode is WriteMode.EXCLUSIVE and path.exists():
                    # Published, if perhaps not for long: flushing the directory is the last step.
                    assert path.read_bytes() == b"onetwo"
                    assert error is None or seam in {"open", "fsync"}

    assert failures


async def _attempt(mode: WriteMode, dir_fd: int) -> FTPDataError | None:
    offset = 5 if mode is WriteMode.IN_PLACE else 0
    try:
        target = await FileTarget.open(
            "file", dir_fd=dir_fd, mode=mode, offset=offset, durable=True
        )
    except FTPDataError as error:
        return error

    try:
        await target.write(b"one")
        await target.write(b"two")
    except FTPDataError as error:
        await target.discard()
        return error

    try:
        await target.commit()
    except FTPDataError as error:
        await target.discard()
        return error

    return None


async def test_a_truncation_that_fails(served_directory: Path, seams: Seams) -> None:
    """STOR in place begins with an empty file, or not at all."""

    path = served_directory / "file"
    path.write_bytes(OLD)
    seams.fail("ftruncate", 1)
    target = await FileTarget.open(path, mode=WriteMode.IN_PLACE)
    with pytest.raises(LocalError) as caught:
        await target.write(b"new")

    assert caught.value.reply_code == 451
    await target.discard()
    assert path.read_bytes() == OLD


async def test_a_hidden_file_that_cannot_be_removed(tmp_path: Path, seams: Seams) -> None:
    """The discard says so; nothing appears under the final name."""

    before = descriptors()
    failed = seams.fail("unlink", 1, errno.EACCES)
    target = await FileTarget.open(tmp_path / "file")
    await target.write(b"some")
    with pytest.raises(FileUnavailable):
        await target.discard()

    assert failed
    assert descriptors() == before
    assert not (tmp_path / "file").exists()


# Cancellation, and threads that hang


@pytest.mark.blocking_allowed("the sweep runs the test's own file calls")
async def test_cancelling_an_upload_at_any_suspension(tmp_path: Path) -> None:
    """Nothing hidden is left, no descriptor, and the old file or the new one whole."""

    path = tmp_path / "file"

    async def scenario() -> None:
        path.write_bytes(OLD)
        target = await FileTarget.open(path, durable=True)
        try:
            await target.write(b"one")
            await target.write(b"two")
        except BaseException:
            await target.discard()
            raise
        await target.commit()

    def check() -> None:
        assert names(tmp_path) == ["file"]
        assert path.read_bytes() in (OLD, b"onetwo")

    assert await sweep(scenario, check=check) == 4


@pytest.mark.blocking_allowed("the sweep runs the test's own file calls")
async def test_cancelling_a_discard_at_any_suspension(tmp_path: Path) -> None:
    """The upload is discarded all the same."""

    async def scenario() -> None:
        target = await FileTarget.open(tmp_path / "file")
        await target.discard()

    def check() -> None:
        assert names(tmp_path) == []

    assert await sweep(scenario, check=check) > 1


async def test_an_open_that_hangs_is_discarded_when_it_comes_back(
    tmp_path: Path, seams: Seams, impatient: None
) -> None:
    """A cancelled caller does not wait for it; what it opens late is closed, and removed."""

    before = descriptors()
    # So the hidden file is made at once.
    seams.replace("access", lambda *_, **__: False)
    hang = Hang(seams, "open")
    task = asyncio.create_task(FileTarget.open(tmp_path / "new", mode=WriteMode.EXCLUSIVE))
    await hang.entered()
    await cancelled(task)
    hang.go_on()
    await until(lambda: descriptors() == before and names(tmp_path) == [])


async def test_an_open_in_place_that_hangs_is_closed_when_it_comes_back(
    tmp_path: Path, seams: Seams, impatient: None
) -> None:
    """The file is unchanged."""

    path = tmp_path / "file"
    path.write_bytes(OLD)
    before = descriptors()
    hang = Hang(seams, "fstat")
    task = asyncio.create_task(FileTarget.open(path, mode=WriteMode.IN_PLACE))
    await hang.entered()
    await cancelled(task)
    hang.go_on()
    await until(lambda: descriptors() == before)
    assert path.read_bytes() == OLD


async def test_a_write_that_hangs_keeps_its_descriptor(
    tmp_path: Path, seams: Seams, impatient: None
) -> None:
    """A write that goes on with the rest uses the same number: it must be the same file."""

    written: list[int] = []

    def short(original: Callable[..., Any], fd: int, data: Any) -> int:
        written.append(os.fstat(fd).st_ino)
        return int(original(fd, bytes(data[:3])))

    before = descriptors()
    hang = Hang(seams, "write", 2, short)
    target = await FileTarget.open(tmp_path / "file")
    task = asyncio.create_task(target.write(b"0123456789"))
    await hang.entered()
    await cancelled(task)
    await target.discard()
    assert descriptors() != before
    hang.go_on()
    await until(lambda: descriptors() == before and names(tmp_path) == [])
    assert len(written) == 4
    assert len(set(written)) == 1


async def test_a_commit_that_hangs_publishes_when_it_comes_back(
    tmp_path: Path, seams: Seams, impatient: None
) -> None:
    """All of it is done: a caller that was cancelled meanwhile does not learn it."""

    before = descriptors()
    hang = Hang(seams, "fsync")
    target = await FileTarget.open(tmp_path / "file", durable=True)
    await target.write(CONTENT)
    task = asyncio.create_task(target.commit())
    await hang.entered()
    await cancelled(task)
    await target.discard()
    hang.go_on()
    await until(lambda: descriptors() == before and names(tmp_path) == ["file"])
    assert (tmp_path / "file").read_bytes() == CONTENT


async def test_a_cancelled_commit_without_a_free_thread_leaves_nothing(
    served_directory: Path, seams: Seams, impatient: None
) -> None:
    """It had not begun: the upload is discarded, in a thread of its own."""

    limiter = anyio.CapacityLimiter(1)
    before = descriptors()
    for end in (FileTarget.commit, FileTarget.discard):
        target = await FileTarget.open(served_directory / "file", limiter=limiter)
        async with limiter:
            task = asyncio.create_task(end(target))
            await until(lambda: limiter.statistics().tasks_waiting == 1)
            await cancelled(task)
            await until(lambda: descriptors() == before and not names(served_directory))


async def test_cancellation_by_anyio(tmp_path: Path, seams: Seams, impatient: None) -> None:
    """Its cancel scopes cancel again and again; that changes nothing."""

    hang = Hang(seams, "write")
    target = await FileTarget.open(tmp_path / "file")
    async with anyio.create_task_group() as group:
        group.start_soon(target.write, CONTENT)
        await hang.entered()
        group.cancel_scope.cancel()

    with anyio.CancelScope() as scope:
        scope.cancel()
        await target.discard()

    hang.go_on()
    await until(lambda: names(tmp_path) == [])
