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

from examples.server import storage as storage_module
from examples.server.storage import Storage, join, parent
from ftpdata import EntryType, NlstFormatter, WriteMode
from ftpdata.files import directories
from tests.server.client import make_file, names


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Give a directory beside the served one, with a secret in it."""

    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "secret").write_bytes(b"secret")
    return directory


@pytest.fixture
def storage(served_directory: Path, outside: Path) -> Iterator[Storage]:
    """Give the storage of the served directory."""

    (served_directory / "file").write_bytes(b"content")
    (served_directory / "sub").mkdir()
    (served_directory / "sub" / "inner").write_bytes(b"inner content")
    storage = Storage(served_directory)
    yield storage
    storage.close()


async def _read(storage: Storage, path: str) -> bytes:
    with await storage.open_file(path) as file:
        return b"".join([data async for data in storage.chunks(file.fd)])


@pytest.mark.parametrize(
    ("directory", "path", "expected"),
    [
        ("/", "", "/"),
        ("/", "a", "/a"),
        ("/a", "b", "/a/b"),
        ("/a", "/b", "/b"),
        ("/a/b", "..", "/a"),
        ("/a", "../../..", "/"),
        ("/", "/../../etc/passwd", "/etc/passwd"),
        ("/a", ".//./b/", "/a/b"),
        ("/a", "...", "/a/..."),
        ("/a", "b\\..\\c", "/a/b\\..\\c"),
        ("/", "\udcff", "/\udcff"),
    ],
)
def test_virtual_paths_are_joined(directory: str, path: str, expected: str) -> None:
    """Relative, absolute, and never above the top."""

    assert join(directory, path) == expected


def test_parent_of_a_virtual_path() -> None:
    """The top is its own parent."""

    assert [parent(path) for path in ("/a/b", "/a", "/")] == ["/a", "/", "/"]


async def test_files_are_read(storage: Storage) -> None:
    """In the top directory and below, from any offset."""

    assert await _read(storage, "/file") == b"content"
    assert await _read(storage, "/sub/inner") == b"inner content"
    with await storage.open_file("/file") as file:
        assert file.size == 7
        assert [data async for data in storage.chunks(file.fd, 2, 4)] == [b"nt"]
        assert [data async for data in storage.chunks(file.fd, 7)] == []


async def test_reading_goes_chunk_by_chunk(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No chunk is larger than its bound, and none is lost."""

    monkeypatch.setattr(storage_module, "CHUNK", 3)
    with await storage.open_file("/file") as file:
        assert [data async for data in storage.chunks(file.fd)] == [b"con", b"ten", b"t"]


async def test_what_is_no_file_is_not_opened(storage: Storage, served_directory: Path) -> None:
    """A directory, a FIFO nobody writes to, a path through a file, a name with NUL, nothing."""

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
            await _read(storage, path)
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
    storage: Storage, served_directory: Path, outside: Path, target: str
) -> None:
    """Relative, absolute, through another link: for every kind of access."""

    target = str(outside / "secret") if target == "ABSOLUTE" else target
    (served_directory / "chain").symlink_to("sub/up/secret")
    (served_directory / "sub" / "up").symlink_to("../../outside")
    (served_directory / "link").symlink_to(target)
    for call in (
        _read(storage, "/link"),
        storage.status("/link"),
        storage.set_mode("/link", 0o777),
        storage.set_modified("/link", 0),
        _enter(storage, "/link"),
    ):
        with pytest.raises(PermissionError):
            await call
    assert (outside / "secret").read_bytes() == b"secret"


@pytest.mark.parametrize("target", ["../outside", "ABSOLUTE"])
async def test_directories_behind_links_that_leave_are_refused(
    storage: Storage, served_directory: Path, outside: Path, target: str
) -> None:
    """Nothing is listed, made, removed or renamed through them."""

    (served_directory / "out").symlink_to(str(outside) if target == "ABSOLUTE" else target)
    for call in (
        _read(storage, "/out/secret"),
        _list(storage, "/out"),
        storage.make_directory("/out/new"),
        storage.remove_file("/out/secret"),
        storage.remove_directory("/out/x"),
        storage.rename("/file", "/out/file"),
        storage.rename("/out/secret", "/secret"),
        _enter(storage, "/out/new"),
    ):
        with pytest.raises(PermissionError):
            await call
    assert not await storage.is_directory("/out")
    assert names(outside) == ["secret"]


async def test_links_that_stay_in_the_tree_are_followed(
    storage: Storage, served_directory: Path
) -> None:
    """To files, to directories, upwards within the tree, to the top itself."""

    (served_directory / "to_file").symlink_to("sub/inner")
    (served_directory / "to_directory").symlink_to("sub/")
    (served_directory / "sub" / "up").symlink_to("../file")
    (served_directory / "sub" / "top").symlink_to("..")
    (served_directory / "sub" / "far").symlink_to("../sub/./top/to_directory/../sub/inner")
    assert await _read(storage, "/to_file") == b"inner content"
    assert await _read(storage, "/to_directory/inner") == b"inner content"
    assert await _read(storage, "/sub/up") == b"content"
    assert await _read(storage, "/sub/top/file") == b"content"
    assert await _read(storage, "/sub/far") == b"inner content"
    assert await storage.is_directory("/sub/top")
    assert "file" in await _list(storage, "/sub/top")


async def test_loops_of_links_come_to_an_end(storage: Storage, served_directory: Path) -> None:
    """Two links to each other, and one that grows as it is read."""

    (served_directory / "a").symlink_to("b")
    (served_directory / "b").symlink_to("a")
    (served_directory / "grow").symlink_to("grow/x")
    (served_directory / "self").symlink_to("sub/../sub/../self")
    for path in ("/a", "/grow", "/self"):
        with pytest.raises(OSError) as caught:
            await storage.status(path)
        assert caught.value.errno == errno.ELOOP


async def test_links_themselves_are_removed_and_renamed(
    storage: Storage, served_directory: Path, outside: Path
) -> None:
    """Not what they lead to, wherever that is."""

    (served_directory / "link").symlink_to(outside / "secret")
    await storage.rename("/link", "/moved")
    assert (served_directory / "moved").is_symlink()
    await storage.remove_file("/moved")
    assert not (served_directory / "moved").is_symlink()
    assert (outside / "secret").exists()


async def test_exchanging_directories_for_links_gains_nothing(
    storage: Storage, served_directory: Path, outside: Path
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
                _read(storage, "/flip/secret"),
                _list(storage, "/flip"),
                _enter(storage, "/flip/secret"),
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
                await storage.make_directory("/flip/new")
    finally:
        stop.set()
        thread.join()

    assert names(outside) == ["secret"]


async def test_deep_paths_are_bounded(storage: Storage) -> None:
    """More steps than any honest path needs are refused."""

    with pytest.raises(OSError) as caught:
        await storage.status("/sub" + "/x" * 2000)
    assert caught.value.errno in (errno.ENOENT, errno.ELOOP)


async def test_names_that_are_not_utf8_are_found_again(
    storage: Storage, served_directory: Path
) -> None:
    """The bytes of a listed name are the bytes of the file."""

    made = [b"caf\xe9", b"\xff\xfe", "日本".encode(), b" x ", b"-la"]
    for name in made:
        make_file(served_directory, name, name)
    listed = await _list(storage, "/")
    assert {text.encode("utf-8", "surrogateescape") for text in listed} >= set(made)
    for text in listed:
        if text != "sub":
            assert await _read(storage, f"/{text}") in (*made, b"content")
    for name in (b"a\nb", b"\x1b[2J"):  # listed as the policy for control characters says
        make_file(served_directory, name, name)
        assert await _read(storage, f"/{name.decode()}") == name


async def test_listing_that_is_left_early_closes_what_it_opened(
    storage: Storage, served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No descriptor stays behind (the fixture of all tests would find it)."""

    monkeypatch.setattr(directories, "FIRST_BLOCK", 1)
    async with (
        storage.open_listing("/", NlstFormatter()) as lister,
        contextlib.aclosing(lister.blocks()) as blocks,
    ):
        await anext(blocks)


async def test_entries_carry_their_facts(storage: Storage, served_directory: Path) -> None:
    """Links as links, with what they say."""

    (served_directory / "link").symlink_to("no\nwhere")
    entry = await storage.entry("/link")
    assert entry.type is EntryType.SYMLINK
    assert entry.target == "no\nwhere"
    assert (await storage.entry("/file")).target is None
    assert (await storage.entry("/")).is_directory


async def test_changes(storage: Storage, served_directory: Path) -> None:
    """Directories, names, times, modes."""

    await storage.make_directory("/new")
    await storage.rename("/file", "/new/moved")
    assert (served_directory / "new" / "moved").read_bytes() == b"content"
    await storage.set_modified("/new/moved", 86400.0)
    await storage.set_mode("/new/moved", 0o600)
    status = (served_directory / "new" / "moved").stat()
    assert (status.st_mtime, stat.S_IMODE(status.st_mode)) == (86400.0, 0o600)
    await storage.remove_file("/new/moved")
    await storage.remove_directory("/new")
    assert not (served_directory / "new").exists()
    assert await storage.free_space() > 0


async def test_served_directory_itself_stays(storage: Storage, served_directory: Path) -> None:
    """It is neither removed nor renamed."""

    for call in (
        storage.remove_directory("/"),
        storage.remove_file("/"),
        storage.rename("/", "/x"),
        storage.rename("/file", "/"),
        storage.make_directory("/"),
    ):
        with pytest.raises(OSError):
            await call
    assert (served_directory / "file").exists()


async def test_uploads_get_the_directory_and_the_name(
    storage: Storage, served_directory: Path
) -> None:
    """Also where a link stands for the name; not for what is no file."""

    (served_directory / "link").symlink_to("sub/new")
    assert await _enter(storage, "/link") == (served_directory / "sub").stat().st_ino
    os.mkfifo(served_directory / "fifo")
    for path in ("/sub", "/", "/fifo", "/file/x", "/missing/x"):
        with pytest.raises(OSError):
            await _enter(storage, path)


@pytest.mark.blocking_allowed("a file system in memory has no disk to wait for")
async def test_targets_in_memory_are_found_at_once(
    storage: Storage, served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing else could be meant; everything else is for the walk."""

    assert storage._find_in_memory("/sub/new") is None
    monkeypatch.setattr(storage._cached, "lives_in_memory", True)
    if not storage._cached.is_available:
        pytest.skip("the system does not know openat2")
    (served_directory / "link").symlink_to("file")
    (served_directory / "away").symlink_to("/etc")
    os.mkfifo(served_directory / "fifo")
    for path, directory in (("/file", "."), ("/new", "."), ("/sub/new", "sub")):
        found = storage._find_in_memory(path)
        assert found is not None
        assert found[0].decode() == path.rpartition("/")[2]
        assert os.fstat(found[1]).st_ino == (served_directory / directory).stat().st_ino
        os.close(found[1])
    for path in ("/", "/sub", "/link", "/fifo", "/away/x", "/missing/x", "/file/x", "/a\0b"):
        assert storage._find_in_memory(path) is None
    target = await storage.open_target("/sub/new", WriteMode.ATOMIC, 0)
    await target.commit(b"new")
    assert (served_directory / "sub/new").read_bytes() == b"new"


async def _list(storage: Storage, path: str) -> list[str]:
    async with storage.open_listing(path, NlstFormatter()) as lister:
        return [
            line.decode("utf-8", "surrogateescape")
            async for block in lister.blocks()
            for line in block.splitlines()
        ]


async def _enter(storage: Storage, path: str) -> int:
    _, fd = await storage.run(storage._find_target, path)
    try:
        return os.fstat(fd).st_ino
    finally:
        os.close(fd)
