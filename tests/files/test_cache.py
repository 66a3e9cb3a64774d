"""What the system says of pages of files: in memory, or on a disk."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftpdata.files import _cache as page_cache
from ftpdata.files._cache import (
    PROBE_STEP,
    CachedDirectory,
    is_in_memory,
    keeps_in_memory,
    lives_in_memory,
    read_cached,
    read_from_memory,
)
from tests.harness.packages import needs_o_path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")

SIZE = 3 * PROBE_STEP

LOOKS = 100
"""On a busy machine the page that a look asks for may come before the look has ended."""


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    """Give a file on a disk, all of whose pages are in memory."""

    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
        os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT)
    except OSError as error:
        os.close(descriptor)
        pytest.skip(f"{tmp_path} is on a file system that does not tell: {error.strerror}")

    yield descriptor
    os.close(descriptor)


def forget(fd: int) -> None:
    """Let the system drop all pages of the file, and bring no more than it is asked for."""

    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def test_what_was_written_is_in_memory(fd: int) -> None:
    """This holds for the whole file and for every part, down to one byte or none."""

    assert is_in_memory(fd, 0, SIZE, otherwise=False)
    assert is_in_memory(fd, 5, 1, otherwise=False)
    assert is_in_memory(fd, SIZE - 1, 1, otherwise=False)
    assert is_in_memory(fd, 0, 0, otherwise=False)


@pytest.mark.parametrize("gone", [0, PROBE_STEP, 2 * PROBE_STEP])
def test_a_stretch_that_is_gone_is_seen(fd: int, gone: int) -> None:
    """At the beginning, in the middle and at the end; one look, for it asks for the page too."""

    def look() -> bool:
        forget(fd)
        for start in {0, PROBE_STEP, 2 * PROBE_STEP} - {gone}:
            os.pread(fd, PROBE_STEP, start)
        return is_in_memory(fd, 0, SIZE, otherwise=True)

    assert not all(look() for _ in range(LOOKS))


def test_what_was_read_is_in_memory_again(fd: int) -> None:
    """It is in memory again once somebody has waited for the disk."""

    def look() -> bool:
        forget(fd)
        return is_in_memory(fd, 0, SIZE, otherwise=True)

    assert not all(look() for _ in range(LOOKS))
    os.pread(fd, SIZE, 0)
    assert is_in_memory(fd, 0, SIZE, otherwise=False)


@pytest.mark.parametrize("otherwise", [True, False])
@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_a_file_system_that_does_not_know(
    monkeypatch: pytest.MonkeyPatch, code: int, otherwise: bool
) -> None:
    """The answer is then what is known in another way."""

    refuse(monkeypatch, code)
    assert is_in_memory(0, 0, SIZE, otherwise=otherwise) is otherwise


def test_nobody_waits_for_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next read, in a thread, meets the error."""

    refuse(monkeypatch, errno.EIO)
    assert not is_in_memory(0, 0, SIZE, otherwise=True)


def refuse(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Let every look at a page fail."""

    class Calls:
        RWF_NOWAIT = 8

        @staticmethod
        def preadv(*_: Any) -> int:
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(page_cache, "os", Calls)


@needs_o_path
@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no /dev/shm")
def test_a_directory_in_memory_is_known_once_a_file_there_was_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a path, and by a name beneath a directory; never one that is missing, or on a disk."""

    monkeypatch.setattr(page_cache, "_local_devices", {})
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        memory = Path(name)
        (memory / "link").symlink_to(tmp_path)
        with (memory / "file").open("wb") as file, (tmp_path / "file").open("wb") as other:
            assert not keeps_in_memory(memory / "new", None)
            for known in (file, other):
                lives_in_memory(known.fileno())
        assert keeps_in_memory(memory / "new", None)
        assert not keeps_in_memory(memory / "link" / "new", None)
        assert not keeps_in_memory(memory / "missing" / "new", None)
        assert not keeps_in_memory(memory / "file" / "new", None)
        assert not keeps_in_memory(f"{name}\0/new", None)
        assert not keeps_in_memory(tmp_path / "new", None)
        directory = os.open(memory, os.O_RDONLY)
        try:
            assert keeps_in_memory("new", directory)
            assert not keeps_in_memory("link/new", directory)
        finally:
            os.close(directory)


def test_a_file_system_in_memory_is_known() -> None:
    """tmpfs, where there is one; a file of the kernel's is not there."""

    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        pytest.skip("there is no /dev/shm")

    path = memory / f"page-cache-{os.getpid()}"
    try:
        path.touch()
        with path.open() as file:
            assert lives_in_memory(file.fileno())
    finally:
        path.unlink()

    with Path("/proc/self/mountinfo").open() as file:
        assert not lives_in_memory(file.fileno())


@pytest.mark.parametrize(
    ("kind", "expected", "times"),
    [(0x01021994, True, 1), (0xEF53, False, 1), (0x6969, False, 3)],
    ids=["tmpfs", "ext4", "NFS"],
)
def test_a_local_file_system_is_asked_once(
    fd: int, monkeypatch: pytest.MonkeyPatch, kind: int, expected: bool, times: int
) -> None:
    """Each read of a small file wants to know; another kind of file system is asked again."""

    asked: list[int] = []

    def file_system(fd: int) -> int:
        asked.append(fd)
        return kind

    monkeypatch.setattr(page_cache, "_local_devices", {})
    monkeypatch.setattr(page_cache, "file_system", file_system)
    assert [lives_in_memory(fd) for _ in range(3)] == [expected] * 3
    assert len(asked) == times


def test_a_descriptor_that_nobody_knows_lives_nowhere() -> None:
    """Whoever uses it meets the error."""

    assert not lives_in_memory(-1)


def test_reading_what_is_there(fd: int) -> None:
    """It gives as many bytes as are asked for and are there; none at the end or of lost pages."""

    os.pwrite(fd, b"abc", SIZE)
    into = bytearray(10)
    assert read_from_memory(fd, SIZE - 2, memoryview(into), lives_there=False) == 5
    assert into == b"\0\0abc\0\0\0\0\0"
    assert read_from_memory(fd, SIZE, memoryview(into)[:2], lives_there=False) == 2
    assert into == b"ababc\0\0\0\0\0"
    assert read_from_memory(fd, SIZE + 3, memoryview(into), lives_there=False) == 0
    os.fsync(fd)

    def read() -> int:
        forget(fd)
        return read_from_memory(fd, 0, memoryview(into), lives_there=True)

    assert 0 in (read() for _ in range(LOOKS))


@pytest.mark.parametrize(
    ("code", "lives_there", "expected"),
    [(errno.EOPNOTSUPP, True, 7), (errno.EOPNOTSUPP, False, 0), (errno.EIO, True, 0)],
)
def test_reading_where_the_system_does_not_tell(
    monkeypatch: pytest.MonkeyPatch, code: int, lives_there: bool, expected: int
) -> None:
    """What lives in memory is read all the same; all else is for a thread, errors too."""

    def preadv(_fd: int, buffers: Any, _start: int, flags: int) -> int:
        if flags:
            raise OSError(code, os.strerror(code))
        return len(buffers[0])

    monkeypatch.setattr(os, "preadv", preadv)
    assert read_from_memory(0, 0, memoryview(bytes(7)), lives_there=lives_there) == expected


def test_reading_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other systems do not tell what is in memory, so a thread has to read."""

    monkeypatch.setattr(sys, "platform", "darwin")
    assert read_from_memory(0, 0, memoryview(bytes(7)), lives_there=True) == 0

# Opening and reading


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    """A directory with a file, another directory, a link and a FIFO."""

    (tmp_path / "file").write_bytes(b"0123456789")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_bytes(b"inner")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "fifo")
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def _content(fd: int | None) -> bytes:
    assert fd is not None
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


def test_what_is_cached_is_opened(directory: int) -> None:
    """Beneath the directory, at any depth."""

    files = CachedDirectory(directory)
    assert files.is_available
    assert _content(files.open(b"file")) == b"0123456789"
    assert _content(files.open(b"inner/file")) == b"inner"


@pytest.mark.parametrize(
    "path",
    [b"missing", b"link", b"/etc/passwd", b"../file", b"inner/../../x", b"fi\0le", b"", b"file/x"],
)
def test_everything_else_is_left_to_a_thread(path: bytes, directory: int) -> None:
    """What is not there, links, and every way out of the directory: never a descriptor."""

    assert CachedDirectory(directory).open(path) is None


def test_a_python_without_paths_alone(
    directory: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """PyPy has no O_PATH: directories are opened all the same, and files by a thread."""

    monkeypatch.setattr(page_cache, "_PATH", None)
    fd = CachedDirectory(directory).open_directory(b"inner")
    assert fd is not None
    try:
        assert os.stat("file", dir_fd=fd).st_size == 5
    finally:
        os.close(fd)

    monkeypatch.setattr(page_cache, "_local_devices", {os.fstat(directory).st_dev})
    monkeypatch.setattr(page_cache, "open_resolved", lambda *_: pytest.fail("it was opened"))
    assert page_cache.open_cached(tmp_path / "file", None, os.O_RDONLY) is None


@needs_o_path
@pytest.mark.parametrize("path", [b".", b"inner"])
def test_directories_are_opened_to_walk_on(path: bytes, directory: int) -> None:
    """Under the same rules as files."""

    fd = CachedDirectory(directory).open_directory(path)
    assert fd is not None
    try:
        assert not os.get_inheritable(fd)
        assert os.stat("file", dir_fd=fd).st_size in (5, 10)
        with pytest.raises(OSError):
            os.read(fd, 1)
    finally:
        os.close(fd)


@pytest.mark.parametrize("path", [b"missing", b"file", b"link", b"/", b"..", b"a\0"])
def test_only_a_directory_beneath_is_opened(path: bytes, directory: int) -> None:
    """Missing names, files, links and every way out are refused."""

    assert CachedDirectory(directory).open_directory(path) is None


@pytest.mark.parametrize(("kind", "expected"), [(0x01021994, True), (0xEF53, False), (None, False)])
def test_a_directory_without_a_disk_is_known(
    kind: int | None, expected: bool, directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file system tells."""

    monkeypatch.setattr(page_cache, "file_system", lambda _: kind)
    assert CachedDirectory(directory).lives_in_memory is expected


def test_nobody_waits_for_a_fifo(directory: int) -> None:
    """It is opened, like everything that there is; nothing blocks."""

    fd = CachedDirectory(directory).open(b"fifo")
    assert fd is not None
    os.close(fd)


def test_descriptors_are_not_inherited(directory: int) -> None:
    """A program that is started meanwhile does not get them."""

    fd = CachedDirectory(directory).open(b"file")
    assert fd is not None
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_a_kernel_without_the_call_is_asked_once(
    directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old kernels and sandboxes lack it."""

    calls = 0

    def open_resolved(*_: Any) -> int:
        nonlocal calls
        calls += 1
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    files = CachedDirectory(directory)
    monkeypatch.setattr(page_cache, "open_resolved", open_resolved)
    assert files.open(b"file") is None
    assert files.open(b"file") is None
    assert calls == 1


def test_a_foreign_file_system_is_not_asked(
    directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To open a file may be a question to another machine."""

    monkeypatch.setattr(page_cache, "file_system", lambda _: 0x6969)
    assert CachedDirectory(directory).open(b"file") is None


def test_another_system_cannot(directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """There, everything is left to a thread."""

    monkeypatch.setattr(sys, "platform", "darwin")
    assert not CachedDirectory(directory).is_available
    assert read_cached(directory, 1, 0) is None


@pytest.mark.parametrize(
    ("position", "count", "expected"),
    [
        (0, 10, b"0123456789"),
        (3, 4, b"3456"),
        (0, 0, b""),
        (0, 11, None),
        (8, 5, None),
        (20, 5, None),
    ],
)
@pytest.mark.parametrize("in_memory", [False, True])
def test_small_files_are_read_whole_or_not_at_all(
    *,
    position: int,
    count: int,
    expected: bytes | None,
    in_memory: bool,
    directory: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a file system that knows how to tell and on one without a disk."""

    real = os.preadv
    if in_memory:

        def preadv(fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
            if flags:
                raise OSError(errno.EOPNOTSUPP, "no")
            return real(fd, buffers, offset)

        monkeypatch.setattr(os, "preadv", preadv)
        monkeypatch.setattr(page_cache, "lives_in_memory", lambda _: True)

    fd = os.open("file", os.O_RDONLY, dir_fd=directory)
    os.fsync(fd)
    try:
        assert read_cached(fd, count, position) == expected
    finally:
        os.close(fd)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EOPNOTSUPP, errno.EIO, errno.EISDIR])
def test_what_is_not_cached_is_left_to_a_thread(
    number: int, directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is whatever is unknown, and every error: the thread will meet it again."""

    def preadv(*_: Any) -> int:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(page_cache, "file_system", lambda _: 0xEF53)
    monkeypatch.setattr(page_cache, "_local_devices", {})
    assert read_cached(directory, 10, 0) is None


def test_half_a_file_is_not_a_file(directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is on the disk: it is not taken for the end of the file."""

    monkeypatch.setattr(os, "preadv", lambda *_: 4)
    assert read_cached(directory, 10, 0) is None


def test_a_store_is_known_without_its_number(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device is remembered to be faster, and whoever asks has a file to close."""

    def fstat(_: int) -> os.stat_result:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fstat)
        patch.setattr(page_cache, "file_system", lambda _: 0xEF53)
        store = page_cache.Store(fd)
    assert (store.is_local, store.is_memory) == (True, False)
