"""Paths beneath a directory: what they mean, and that nothing leads out."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from pathlib import Path

import pytest

from ftpdata.errors import FileUnavailable, LocalError
from ftpdata.files import beneath, locate_beneath, open_beneath, opened_beneath
from ftpdata.testing.cancellation import open_descriptors
from tests.harness.seams import Hang, Seams


@pytest.fixture(params=["one call", "walk"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the kernel resolve paths, or not, as an old one does."""

    chosen: str = request.param
    if chosen == "walk":

        def refuse(*_: object) -> int:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

        monkeypatch.setattr(beneath, "open_resolved", refuse)
    return chosen


@pytest.fixture
def root(tmp_path: Path, outside: Path) -> Path:
    """Give a directory with files, directories and links."""

    assert outside.is_dir()
    root = tmp_path / "root"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "file").write_bytes(b"content")
    (root / "sub" / "inner").write_bytes(b"inner content")
    os.mkfifo(root / "fifo")
    for name, target in {
        "to_file": "sub/inner",
        "to_directory": "sub/",
        "out": "../outside",
        "absolute": "/etc",
        "loop": "loop",
        "grow": "grow/x",
        "sub/up": "../file",
        "sub/top": "..",
        "sub/far": "../sub/./top/to_directory/../sub/inner",
        "sub/out": "../../outside/secret",
    }.items():
        (root / name).symlink_to(target)
    return root


def read(root: Path, path: str, *, follow: bool = False) -> bytes:
    """Read a file beneath a directory."""

    fd = open_beneath(root, path, follow=follow)
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


@pytest.mark.usefixtures("way")
def test_files_and_directories_are_opened(root: Path) -> None:
    """Leading, doubled and trailing slashes mean nothing, and dots lead where they lead."""

    for path in ("file", "/file", "//./file", "sub/../file", "sub/deep/../../file"):
        assert read(root, path) == b"content"
    fd = open_beneath(os.fsencode(root), b"/sub/deep/", is_directory=True)
    try:
        assert os.fstat(fd).st_ino == (root / "sub" / "deep").stat().st_ino
        assert read(root, "/sub/inner") == b"inner content"
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


@pytest.mark.usefixtures("way")
def test_a_descriptor_stands_for_the_directory_and_stays_open(root: Path) -> None:
    """The top itself can be opened, too."""

    top = os.open(root, os.O_RDONLY)
    try:
        for path in ("", "/", ".", "sub/.."):
            fd = open_beneath(top, path, is_directory=True)
            assert os.fstat(fd).st_ino == root.stat().st_ino
            os.close(fd)
    finally:
        os.close(top)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("follow", [False, True])
def test_what_cannot_be_opened_says_why(root: Path, follow: bool) -> None:
    """The reason is the same whichever way the path is resolved, and nothing stays open."""

    before = open_descriptors()
    for path, is_directory, number in (
        ("sub", False, errno.EISDIR),
        ("", False, errno.EISDIR),
        ("file", True, errno.ENOTDIR),
        ("fifo", False, errno.EPERM),
        ("fifo", True, errno.ENOTDIR),
        ("file/x", False, errno.ENOTDIR),
        ("missing", False, errno.ENOENT),
        ("missing/x", False, errno.ENOENT),
        ("a\0b", False, errno.ENOENT),
        ("..", True, errno.EACCES),
        ("../outside/secret", False, errno.EACCES),
        ("sub/../../outside", True, errno.EACCES),
        ("loop", False, errno.ELOOP),
        ("grow", False, errno.ELOOP),
        ("x/" * 3000, False, errno.ENOENT),
        ("sub/../" * 3000, True, errno.ELOOP),
    ):
        with pytest.raises(OSError) as caught:
            open_beneath(root, path, is_directory=is_directory, follow=follow)
        assert caught.value.errno == number, path[:40]
    assert open_descriptors() == before


@pytest.mark.usefixtures("way")
def test_links_are_refused_unless_they_are_followed(root: Path) -> None:
    """This holds for a link at the end of the path, and for one on the way."""

    for path in ("to_file", "to_directory/inner", "sub/up", "sub/top/file", "sub/far"):
        with pytest.raises(OSError) as caught:
            read(root, path)
        assert caught.value.errno == errno.ELOOP
        assert read(root, path, follow=True) in (b"content", b"inner content")


@pytest.mark.usefixtures("way")
def test_links_that_lead_out_are_refused(root: Path) -> None:
    """They may be absolute, relative, at the end of the path or on the way."""

    for path in ("out", "out/secret", "absolute", "absolute/passwd", "sub/out", "sub/top/out"):
        for is_directory in (False, True):
            with pytest.raises(PermissionError):
                open_beneath(root, path, is_directory=is_directory, follow=True)
            with pytest.raises(OSError, match="symbolic links"):
                open_beneath(root, path, is_directory=is_directory)


@pytest.mark.usefixtures("way")
def test_the_directory_of_a_name_is_found(root: Path) -> None:
    """Nothing needs to have the name; a link that has it is found, if the caller wants it."""

    for path, options, directory, last in (
        ("new", {}, "", b"new"),
        ("/sub/deep/new", {}, "sub/deep", b"new"),
        ("to_directory/new", {"follow": True}, "sub", b"new"),
        ("to_file", {"follow": True}, "sub", b"inner"),
        ("to_file", {"follow": True, "resolve_last": False}, "", b"to_file"),
        ("out", {"resolve_last": False}, "", b"out"),
        ("/", {}, "", b"."),
        ("sub/top", {"follow": True}, "", b"."),
    ):
        with locate_beneath(root, path, **options) as (fd, name):
            assert name == last, path
            assert os.fstat(fd).st_ino == (root / directory).stat().st_ino, path
        with pytest.raises(OSError):
            os.fstat(fd)

    for path in ("to_file", "to_directory/new", "out"):
        with pytest.raises(OSError, match="symbolic links"), locate_beneath(root, path):
            pass


@pytest.mark.usefixtures("way")
def test_exchanging_directories_for_links_gains_nothing(root: Path, outside: Path) -> None:
    """While another thread swaps a directory and a link, no access ever leaves the tree."""

    (root / "sub" / "secret").write_bytes(b"harmless")
    real, link, flip = (root / name for name in ("real", "link", "flip"))
    (root / "sub").rename(real)
    link.symlink_to("../outside")
    there = outside.stat().st_ino
    swaps = 0
    stop = threading.Event()

    def swap() -> None:
        nonlocal swaps
        while not stop.is_set():
            for path in (real, link):
                path.rename(flip)
                flip.rename(path)
                swaps += 1

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        tries = 0
        while swaps < 1000 or tries < 500:
            tries += 1
            for follow in (False, True):
                with contextlib.suppress(OSError):
                    assert read(root, "flip/secret", follow=follow) == b"harmless"
                with (
                    contextlib.suppress(OSError),
                    locate_beneath(root, "flip/new", follow=follow) as (fd, _),
                ):
                    assert os.fstat(fd).st_ino != there
    finally:
        stop.set()
        thread.join()


@pytest.mark.usefixtures("way")
async def test_a_file_is_open_for_one_command(root: Path) -> None:
    """The descriptor is closed at the end of the context, whatever happens there."""

    for is_directory, path in ((False, "sub/inner"), (True, "/sub")):
        with contextlib.suppress(LookupError):
            async with opened_beneath(root, path, is_directory=is_directory) as fd:
                assert os.fstat(fd).st_ino == (root / path.lstrip("/")).stat().st_ino
                raise LookupError
        with pytest.raises(OSError):
            os.fstat(fd)


@pytest.mark.usefixtures("way")
async def test_refusals_have_replies(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with the path is 550, and a failure of the system is not."""

    for path in ("missing", "sub", "fifo", "out", "a\0b", ".."):
        with pytest.raises(FileUnavailable) as refusal:
            async with opened_beneath(root, path):
                pass
        assert refusal.value.reply.startswith("550 ")
        assert str(root) not in refusal.value.reply

    Seams(monkeypatch, beneath).fail("fstat", 1)
    with pytest.raises(LocalError) as failure:
        async with opened_beneath(root, "file"):
            pass
    assert failure.value.reply.startswith("451 ")


async def test_cancellation_leaves_nothing_open(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The descriptor that the thread brings after all is closed."""

    async def hold() -> None:
        async with opened_beneath(root, "file"):
            raise AssertionError

    before = open_descriptors()
    hang = Hang(Seams(monkeypatch, beneath), "fstat")
    task = asyncio.ensure_future(hold())
    await hang.entered()
    task.cancel()
    hang.go_on()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert open_descriptors() == before


def test_a_system_without_directory_descriptors_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has none."""

    monkeypatch.setattr(os, "supports_dir_fd", set())
    with pytest.raises(NotImplementedError):
        open_beneath(root, "file")

