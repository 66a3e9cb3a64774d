"""The served directory: nothing leads out of it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.server import disk
from examples.server.disk import DiskStore
from examples.server.store import is_directory
from ftpdata import EntryType, NlstFormatter
from ftpdata.files import directories
from tests.server.client import make_file, names


@pytest.fixture
def store(served_directory: Path, outside: Path) -> Iterator[DiskStore]:
    """Give the store of the served directory."""

    (served_directory / "file").write_bytes(b"content")
    (served_directory / "sub").mkdir()
    (served_directory / "sub" / "inner").write_bytes(b"inner content")
    store = DiskStore(served_directory)
    yield store
    store.close()


async def _read(store: DiskStore, path: str) -> bytes:
    with await store.open_reader(path) as file:
        return b"".join([data async for data in file.chunks()])


async def test_files_are_read(store: DiskStore) -> None:
    """Files are read in the top directory and below, from any offset."""

    assert await _read(store, "/file") == b"content"
    assert await _read(store, "/sub/inner") == b"inner content"
    with await store.open_reader("/file") as file:
        assert file.size == 7
        assert [data async for data in file.chunks(2, 4)] == [b"nt"]
        assert [data async for data in file.chunks(7)] == []


async def test_reading_goes_chunk_by_chunk(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No chunk is larger than its bound, and none is lost."""

    monkeypatch.setattr(disk, "CHUNK", 3)
    with await store.open_reader("/file") as file:
        assert [data async for data in file.chunks()] == [b"con", b"ten", b"t"]


async def test_what_is_not_a_file_is_not_opened(store: DiskStore, served_directory: Path) -> None:
    """That is a directory, a FIFO without a writer, a path through a file, or a name with NUL."""

    os.mkfifo(served_directory / "fifo")
    expected = {
        "/sub": errno.EISDIR,
        "/": errno.EISDIR,
        "/fifo": errno.EPERM,
        "/file/x": errno.ENOTDIR,
        "/missing": errno.ENOENT,
        "/missing/x": errno.ENOENT,
        "/a\0b": errno.ENOENT,
    }
    for path, number in expected.items():
        with pytest.raises(OSError) as caught:
            await _read(store, path)
        assert caught.value.errno == number, path


@pytest.mark.parametrize(
    "target",
    [
        "../outside/secret",
        "sub/../../outside/secret",
        "../served/../outside/secret",
        "ABSOLUTE",
        "/etc/passwd",
        "chain",
    ],
)
async def test_links_that_leave_the_tree_are_refused(
    store: DiskStore, served_directory: Path, outside: Path, target: str
) -> None:
    """Every kind of access refuses them, relative or absolute or through another link."""

    target = str(outside / "secret") if target == "ABSOLUTE" else target
    (served_directory / "chain").symlink_to("sub/up/secret")
    (served_directory / "sub" / "up").symlink_to("../../outside")
    (served_directory / "link").symlink_to(target)
    for call in (
        _read(store, "/link"),
        store.status("/link"),
        store.set_mode("/link", 0o777),
        store.set_modified("/link", 0),
        _enter(store, "/link"),
    ):
        with pytest.raises(PermissionError):
            await call
    assert (outside / "secret").read_bytes() == b"secret"


@pytest.mark.parametrize("target", ["../outside", "ABSOLUTE"])
async def test_directories_behind_links_that_leave_are_refused(
    store: DiskStore, served_directory: Path, outside: Path, target: str
) -> None:
    """Nothing is listed, made, removed or renamed through them."""

    (served_directory / "out").symlink_to(str(outside) if target == "ABSOLUTE" else target)
    for call in (
        _read(store, "/out/secret"),
        _list(store, "/out"),
        store.make_directory("/out/new"),
        store.remove_file("/out/secret"),
        store.remove_directory("/out/x"),
        store.rename("/file", "/out/file"),
        store.rename("/out/secret", "/secret"),
        _enter(store, "/out/new"),
    ):
        with pytest.raises(PermissionError):
            await call
    assert not await is_directory(store, "/out")
    assert names(outside) == ["secret"]


async def test_links_that_stay_in_the_tree_are_followed(
    store: DiskStore, served_directory: Path
) -> None:
    """They may lead to files, to directories, upwards within the tree, and to the top itself."""

    (served_directory / "to_file").symlink_to("sub/inner")
    (served_directory / "to_directory").symlink_to("sub/")
    (served_directory / "sub" / "up").symlink_to("../file")
    (served_directory / "sub" / "top").symlink_to("..")
    (served_directory / "sub" / "far").symlink_to("../sub/./top/to_directory/../sub/inner")
    assert await _read(store, "/to_file") == b"inner content"
    assert await _read(store, "/to_directory/inner") == b"inner content"
    assert await _read(store, "/sub/up") == b"content"
    assert await _read(store, "/sub/top/file") == b"content"
    assert await _read(store, "/sub/far") == b"inner content"
    assert await is_directory(store, "/sub/top")
    assert "file" in await _list(store, "/sub/top")


async def test_loops_of_links_come_to_an_end(store: DiskStore, served_directory: Path) -> None:
    """Two links to each other are refused, and so is one that grows as it is read."""

    (served_directory / "a").symlink_to("b")
    (served_directory / "b").symlink_to("a")
    (served_directory / "grow").symlink_to("grow/x")
    (served_directory / "self").symlink_to("sub/../sub/../self")
    for path in ("/a", "/grow", "/self"):
        with pytest.raises(OSError) as caught:
            await store.status(path)
        assert caught.value.errno == errno.ELOOP


async def test_links_themselves_are_removed_and_renamed(
    store: DiskStore, served_directory: Path, outside: Path
) -> None:
    """What they lead to stays, wherever it is."""

    (served_directory / "link").symlink_to(outside / "secret")
    await store.rename("/link", "/moved")
    assert (served_directory / "moved").is_symlink()
    await store.remove_file("/moved")
    assert not (served_directory / "moved").is_symlink()
    assert (outside / "secret").exists()


async def test_exchanging_directories_for_links_gains_nothing(
    store: DiskStore, served_directory: Path, outside: Path
) -> None:
    """While another thread swaps a directory and a link, no access ever leaves the tree."""

    (served_directory / "sub" / "secret").write_bytes(b"harmless")
    real, link, flip = (served_directory / name for name in ("real", "link", "flip"))
    (served_directory / "sub").rename(real)
    link.symlink_to("../outside")
    outside_number = os.stat(outside).st_ino  # noqa: PTH116 - a test may block
    stop = threading.Event()
    swaps = 0

    def swap() -> None:
        nonlocal swaps
        while not stop.is_set():
            for path in (real, link):
                path.rename(flip)
                flip.rename(path)
                swaps += 1

    thread = threading.Thread(target=swap)
    thread.start()
    outcomes: dict[object, int] = {}
    try:
        while swaps < 2000 or sum(outcomes.values()) < 600:
            for call in (
                _read(store, "/flip/secret"),
                _list(store, "/flip"),
                _enter(store, "/flip/secret"),
            ):
                try:
                    outcome: object = await call
                except OSError as error:
                    outcome = error.errno
                outcomes[str(outcome)] = outcomes.get(str(outcome), 0) + 1
                assert outcome != b"secret"
                assert outcome != ["secret"]
                assert outcome != outside_number
            with contextlib.suppress(OSError):
                await store.make_directory("/flip/new")
    finally:
        stop.set()
        thread.join()

    assert names(outside) == ["secret"]
    # Both were met, or nothing was tested.
    assert {str(b"harmless"), str(errno.EACCES)} <= outcomes.keys()


async def test_deep_paths_are_bounded(store: DiskStore) -> None:
    """More steps than any honest path needs are refused."""

    with pytest.raises(OSError) as caught:
        await store.status("/sub" + "/x" * 2000)
    assert caught.value.errno in (errno.ENOENT, errno.ELOOP)


async def test_names_that_are_not_utf8_are_found_again(
    store: DiskStore, served_directory: Path
) -> None:
    """The bytes of a listed name are the bytes of the file."""

    made = [b"caf\xe9", b"\xff\xfe", "日本".encode(), b" x ", b"-la"]
    for name in made:
        make_file(served_directory, name, name)
    listed = await _list(store, "/")
    assert {text.encode("utf-8", "surrogateescape") for text in listed} >= set(made)
    for text in listed:
        if text != "sub":
            assert await _read(store, f"/{text}") in (*made, b"content")
    for name in (b"a\nb", b"\x1b[2J"):  # listed as the policy for control characters says
        make_file(served_directory, name, name)
        assert await _read(store, f"/{name.decode()}") == name


async def test_listing_that_is_left_early_closes_what_it_opened(
    store: DiskStore, served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No descriptor stays open (the fixture of all tests would find it)."""

    monkeypatch.setattr(directories, "FIRST_BLOCK", 1)
    async with (
        store.open_listing("/", NlstFormatter()) as lister,
        contextlib.aclosing(lister.blocks()) as blocks,
    ):
        await anext(blocks)


async def test_entries_carry_their_facts(store: DiskStore, served_directory: Path) -> None:
    """Links are listed as links, with their targets."""

    (served_directory / "link").symlink_to("no\nwhere")
    entry = await store.status("/link", follow=False)
    assert entry.type is EntryType.SYMLINK
    assert entry.target == "no\nwhere"
    assert (await store.status("/file")).target is None
    assert (await store.status("/")).is_directory


async def test_changes(store: DiskStore, served_directory: Path) -> None:
    """Directories are made and removed, files renamed, times and modes set."""

    await store.make_directory("/new")
    await store.rename("/file", "/new/moved")
    assert (served_directory / "new" / "moved").read_bytes() == b"content"
    await store.set_modified("/new/moved", 86400.0)
    await store.set_mode("/new/moved", 0o600)
    status = (served_directory / "new" / "moved").stat()
    assert (status.st_mtime, stat.S_IMODE(status.st_mode)) == (86400.0, 0o600)
    await store.remove_file("/new/moved")
    await store.remove_directory("/new")
    assert not (served_directory / "new").exists()
    assert await store.free_space() > 0


async def test_served_directory_itself_stays(store: DiskStore, served_directory: Path) -> None:
    """It is neither removed nor renamed."""

    for call in (
        store.remove_directory("/"),
        store.remove_file("/"),
        store.rename("/", "/x"),
        store.rename("/file", "/"),
        store.make_directory("/"),
    ):
        with pytest.raises(OSError):
            await call
    assert (served_directory / "file").exists()


async def test_uploads_get_the_directory_and_the_name(
    store: DiskStore, served_directory: Path
) -> None:
    """This holds if the name is a link, too; anything that is not a file is refused."""

    (served_directory / "link").symlink_to("sub/new")
    assert await _enter(store, "/link") == (served_directory / "sub").stat().st_ino
    os.mkfifo(served_directory / "fifo")
    for path in ("/sub", "/", "/fifo", "/file/x", "/missing/x"):
        with pytest.raises(OSError):
            await _enter(store, path)


async def _list(store: DiskStore, path: str) -> list[str]:
    async with store.open_listing(path, NlstFormatter()) as lister:
        return [
            line.decode("utf-8", "surrogateescape")
            async for block in lister.blocks()
            for line in block.splitlines()
        ]


async def _enter(store: DiskStore, path: str) -> int:
    _, fd = await store.run(store._find_target, path)
    try:
        return os.fstat(fd).st_ino
    finally:
        os.close(fd)
