"""Directories are mirrored in both directions; nothing leaves them, and no failure stops it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import attrs
import pytest

from examples.client.mirror import DEEPEST, Mirror, make_directory
from examples.client.replies import Lost, ReplyError
from tests.client.peers import Session, lacking, serving

WITHOUT_MLSD = lacking("MLSD", "MLST")


def make_tree(root: Path) -> None:
    """Make a directory with files and directories in it."""

    (root / "below" / "deeper").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "file").write_bytes(bytes(range(256)) * 5000)
    (root / "below" / "a b").write_bytes(b"one")
    (root / "below" / "deeper" / "Grüße").write_bytes(b"")
    for number in range(20):
        (root / "below" / f"{number}").write_bytes(b"x" * number)
    for path in sorted(root.rglob("*")):
        os.utime(path, (86400, 86400.25))


def tree(root: Path) -> dict[str, bytes | None]:
    """Return what is in a directory, by path; None stands for a directory."""

    return {
        path.relative_to(root).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in root.rglob("*")
    }


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """Return an empty directory to serve."""

    (tmp_path / "served").mkdir()
    return tmp_path / "served"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Return an empty local directory."""

    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def mirror_of(server: Any, **options: Any) -> Mirror:
    """Return a mirror that does not wait between attempts."""

    return Mirror(server, pause=lambda _: 0.0, **options)


async def in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
    """Do something that blocks."""

    return await anyio.to_thread.run_sync(work, *arguments)


@pytest.mark.parametrize("session", [Session, WITHOUT_MLSD])
@pytest.mark.parametrize("connections", [1, 4])
async def test_directory_comes_down(
    served: Path, here: Path, session: type[Session], connections: int
) -> None:
    """The second time, only what was changed does."""

    await in_thread(make_tree, served)
    told: list[tuple[int, int]] = []
    async with serving(served, session) as server:
        first = mirror_of(
            server, connections=connections, on_progress=lambda *done: told.append(done)
        )
        await first.download("/", here / "new")
        assert (first.transferred, first.same, first.failures) == (23, 0, [])
        assert await in_thread(tree, here / "new") == await in_thread(tree, served)

        await anyio.Path(served / "below" / "1").write_bytes(b"changed")
        second = await mirror_of(server, connections=connections).download("/", here / "new")
        assert (second.transferred, second.same, second.failures) == (1, 22, [])
        assert await in_thread(tree, here / "new") == await in_thread(tree, served)

    size = sum(len(data) for data in (await in_thread(tree, here / "new")).values() if data)
    assert told[-1][0] == size - 6
    assert max(total for _, total in told) == size - 6


@pytest.mark.parametrize("session", [Session, WITHOUT_MLSD])
@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("remote", ["/", "new", "/new"])
async def test_directory_goes_up(
    served: Path, here: Path, session: type[Session], connections: int, remote: str
) -> None:
    """The directory is made if it is not there; the second time, only what was changed goes."""

    await in_thread(make_tree, here)
    there = served / remote.strip("/")
    async with serving(served, session) as server:
        first = await mirror_of(server, connections=connections).upload(here, remote)
        assert (first.transferred, first.same, first.failures) == (23, 0, [])
        assert await in_thread(tree, there) == await in_thread(tree, here)

        await anyio.Path(here / "below" / "1").write_bytes(b"changed")
        second = await mirror_of(server, connections=connections).upload(here, remote)
        assert (second.transferred, second.same, second.failures) == (1, 22, [])
        assert await in_thread(tree, there) == await in_thread(tree, here)
    if session is Session:
        assert (await anyio.Path(there / "file").stat()).st_mtime == 86400


async def test_refused_files_are_told_and_stop_nothing(served: Path, here: Path) -> None:
    """In both directions."""

    class Refusing(Session):
        async def do_retr(self, argument: str) -> None:
            if argument.endswith("3"):
                await self.reply("550 Not this one.")
            else:
                await super().do_retr(argument)

        async def do_stor(self, argument: str) -> None:
            if argument.endswith("3"):
                await self.reply("553 Not this one.")
            else:
                await super().do_stor(argument)

        async def do_mkd(self, argument: str) -> None:
            if argument.endswith("deeper"):
                await self.reply("550 No more directories.")
            else:
                await super().do_mkd(argument)

    await in_thread(make_tree, served)
    async with serving(served, Refusing) as server:
        down = await mirror_of(server).download("/", here)
        assert sorted(down.failures) == [
            "'/below/13': 550 Not this one.",
            "'/below/3': 550 Not this one.",
        ]
        assert down.transferred == 21
        up = await mirror_of(server).upload(served, "up")

    # What is served has its own copy in it by then.
    assert "'up/below/3': 553 Not this one." in up.failures
    assert "'up/below/deeper': 550 No more directories." in up.failures
    assert await anyio.Path(served / "up" / "below" / "12").exists()


async def test_no_name_leads_out_of_the_directory(served: Path, here: Path) -> None:
    """What is listed is passed over and told, in each way to list."""

    class Hostile(Session):
        async def do_mlsd(self, argument: str) -> None:
            await self.send_lines(
                [
                    "type=file;size=4;modify=19700102000000; ../evil",
                    "type=dir; ..",
                    "type=dir; ../below",
                    f"type=file;size=4;modify=19700102000000; {here}/evil",
                    "type=file;size=4;modify=19700102000000; good",
                    "type=file;size=4;modify=19700102000000; good",
                    "type=OS.unix=slink:/etc;size=4; link",
                    "nonsense",
                ]
            )

        async def send_lines(self, lines: list[str]) -> None:
            async def move(link: Any) -> None:
                await link.send("".join(f"{line}\r\n" for line in lines).encode())

            self.begin(move)

    await anyio.Path(served / "good").write_bytes(b"good")
    async with serving(served, Hostile) as server:
        mirror = await mirror_of(server).download("/", here / "copy")

    assert await in_thread(tree, here) == {"copy": None, "copy/good": b"good"}
    assert len(mirror.failures) == 7
    assert mirror.transferred == 1


async def test_link_that_is_there_is_not_followed(served: Path, here: Path) -> None:
    """A link in place of a directory is told; one in place of a file is replaced."""

    await in_thread(make_tree, served)
    outside = here.parent / "outside"
    outside.mkdir()
    (here / "below").symlink_to(outside)
    (outside / "secret").write_bytes(b"secret")
    (here / "file").symlink_to(outside / "secret")
    async with serving(served) as server:
        mirror = await mirror_of(server).download("/", here)

    assert mirror.failures == ["'/below': the target has something else of this name"]
    assert await in_thread(tree, outside) == {"secret": b"secret"}
    assert not await anyio.Path(here / "file").is_symlink()
    with pytest.raises(OSError, match="exists"):
        await in_thread(make_on, here, "below")


def make_on(root: Path, path: str) -> None:
    """Make a directory beneath another one."""

    fd = os.open(root, os.O_RDONLY)
    try:
        make_directory(fd, path)
    finally:
        os.close(fd)


async def test_link_that_is_made_meanwhile_is_not_followed(served: Path, here: Path) -> None:
    """Somebody exchanges a directory for a link while its files are fetched."""

    outside = here.parent / "outside"
    outside.mkdir()

    class Exchanging(Session):
        async def do_retr(self, argument: str) -> None:
            if not (here / "below").is_symlink():
                (here / "below").rename(here / "moved")
                (here / "below").symlink_to(outside)
            await super().do_retr(argument)

    await in_thread(make_tree, served)
    async with serving(served, Exchanging) as server:
        mirror = await mirror_of(server, connections=1).download("/", here)

    assert await in_thread(tree, outside) == {}
    assert mirror.failures


async def test_directories_without_end_have_an_end(served: Path, here: Path) -> None:
    """A server can list a directory in itself."""

    class Endless(Session):
        async def do_mlsd(self, argument: str) -> None:
            async def move(link: Any) -> None:
                await link.send(b"type=dir; x\r\n")

            self.begin(move)

    async with serving(served, Endless) as server:
        mirror = await mirror_of(server).download("/", here)
    (failure,) = mirror.failures
    assert "too deep" in failure
    assert failure.count("/x") == DEEPEST + 1


async def test_lost_connections_are_made_anew(served: Path, here: Path) -> None:
    """Each file is lost once; all arrive."""

    lost: set[str] = set()

    class Losing(Session):
        async def do_retr(self, argument: str) -> None:
            if argument not in lost:
                lost.add(argument)
                self.link.sock.shutdown(2)
            else:
                await super().do_retr(argument)

    await in_thread(make_tree, served)
    async with serving(served, Losing) as server:
        mirror = await mirror_of(server).download("/", here)
    assert mirror.failures == []
    assert mirror.transferred == 23
    assert await in_thread(tree, here) == await in_thread(tree, served)


async def test_server_that_is_gone_is_not_asked_for_each_file(served: Path, here: Path) -> None:
    """What was not tried is told."""

    sessions = 0

    class Leaving(Session):
        async def greet(self) -> None:
            nonlocal sessions
            sessions += 1
            if sessions > 1:
                self.link.sock.shutdown(2)
            else:
                await super().greet()

        async def do_retr(self, argument: str) -> None:
            self.link.sock.shutdown(2)

    await in_thread(make_tree, served)
    async with serving(served, Leaving) as server:
        mirror = await mirror_of(server, connections=2).download("/", here)
    assert mirror.transferred == 0
    # The file, and the directories that are not listed any more.
    assert len(mirror.failures) == 3
    assert sum("not tried" in failure for failure in mirror.failures) == 2
    assert sessions < 20


async def test_fewer_connections_than_wanted_are_enough(served: Path, here: Path) -> None:
    """Many servers limit the sessions of one address."""

    class Limited(Session):
        sessions = 0

        async def greet(self) -> None:
            Limited.sessions += 1
            if Limited.sessions > 2:
                await self.reply("421 Too many.")
                self.is_over = True
            else:
                await super().greet()

    await in_thread(make_tree, served)
    async with serving(served, Limited) as server:
        mirror = await mirror_of(server, connections=6).download("/", here)
    assert mirror.failures == []
    assert mirror.transferred == 23


async def test_who_cannot_log_in_is_told_at_once(served: Path, here: Path) -> None:
    """And so is a server that takes nobody, and a local directory that is a file."""

    class Full(Session):
        async def greet(self) -> None:
            await self.reply("421 Too many.")

    async with serving(served) as server:
        with pytest.raises(ReplyError, match="530"):
            await mirror_of(attrs.evolve(server, password="wrong")).download("/", here)
        await anyio.Path(here / "file").write_bytes(b"")
        with pytest.raises(FileExistsError):
            await mirror_of(server).download("/", here / "file")
    async with serving(served, Full) as server:
        with pytest.raises(Lost, match="421"):
            await mirror_of(server).upload(here, "/")


async def test_parts_are_not_sent(served: Path, here: Path) -> None:
    """What came of a file that was cut is no file of its own; links are passed over."""

    await in_thread(make_tree, here)
    await anyio.Path(here / ".ftpdata-part-x").write_bytes(b"part")
    (here / "link").symlink_to("/etc")
    async with serving(served) as server:
        mirror = await mirror_of(server).upload(here, "/")
    assert mirror.failures == ["'/link': it is neither a file nor a directory"]
    assert mirror.transferred == 23
