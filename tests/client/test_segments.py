"""One file comes over several connections."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.client.replies import ReplyError
from examples.client.segments import SMALLEST, get_in_segments, split
from ftpdata import FTPDataError
from tests.client.peers import Session, lacking, serving

CONTENT = os.urandom(5 * SMALLEST + 12345)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a directory to serve, with files in it."""

    served = tmp_path / "served"
    served.mkdir()
    (served / "file").write_bytes(CONTENT)
    os.utime(served / "file", (86400, 86400))
    (served / "empty").write_bytes(b"")
    return served


async def fetch(server: Any, name: str, local: Path, **options: Any) -> int:
    """Fetch a file in segments, without pauses between attempts."""

    return await get_in_segments(server, name, local, pause=lambda _: 0.0, **options)


@given(st.integers(0, 1000), st.integers(1, 20), st.integers(1, 100))
def test_segments_cover_the_file(size: int, count: int, smallest: int) -> None:
    """Without a gap, in order; none is too small."""

    segments = split(size, count, smallest=smallest)
    assert [start for start, _ in segments] == [0, *(end for _, end in segments[:-1])]
    assert segments[-1][1] == size
    assert 1 <= len(segments) <= count
    assert len(segments) == 1 or min(end - start for start, end in segments) >= smallest


@pytest.mark.parametrize("segments", [1, 2, 4])
async def test_file_comes_in_segments(root: Path, segments: int) -> None:
    """Each connection brings one, with REST; the file has its time."""

    offsets: set[int] = set()

    class Noting(Session):
        async def send_file(self, link: Any, path: Path, offset: int, size: int) -> None:
            offsets.add(offset)
            await super().send_file(link, path, offset, size)

    local = root.parent / "copy"
    told: list[tuple[int, int | None]] = []
    async with serving(root, Noting) as server:
        size = await fetch(
            server, "file", local, segments=segments, progress=lambda *done: told.append(done)
        )
    assert size == len(CONTENT)
    assert await anyio.Path(local).read_bytes() == CONTENT
    assert (await anyio.Path(local).stat()).st_mtime == 86400
    assert offsets == {start for start, _ in split(len(CONTENT), segments)}
    assert told[-1] == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize("missing", [("REST",), ("SIZE", "MLST"), ()])
async def test_server_that_cannot_do_so_sends_it_whole(
    root: Path, missing: tuple[str, ...]
) -> None:
    """And so does one that has a single place for this client; an empty file is one segment."""

    class Lonely(lacking(*missing)):  # type: ignore[misc]
        sessions = 0

        async def greet(self) -> None:
            Lonely.sessions += 1
            if Lonely.sessions > 1 and not missing:
                await self.reply("421 Too many.")
                self.is_over = True
            else:
                await super().greet()

    async with serving(root, Lonely) as server:
        await fetch(server, "file", root.parent / "copy")
    assert await anyio.Path(root.parent / "copy").read_bytes() == CONTENT
    async with serving(root) as server:
        assert await fetch(server, "empty", root.parent / "empty") == 0
    assert await anyio.Path(root.parent / "empty").read_bytes() == b""


async def test_lost_connection_goes_on_within_its_segment(root: Path) -> None:
    """Nothing that is here comes again."""

    cuts = 3

    class Cutting(Session):
        async def send_file(self, link: Any, path: Path, offset: int, size: int) -> None:
            nonlocal cuts
            if cuts:
                cuts -= 1
                size = offset + SMALLEST // 2
            await super().send_file(link, path, offset, size)

    async with serving(root, Cutting) as server:
        await fetch(server, "file", root.parent / "copy")
    assert await anyio.Path(root.parent / "copy").read_bytes() == CONTENT


async def test_file_that_is_changed_is_not_published(root: Path) -> None:
    """Old and new are never mixed; nothing stays."""

    class Changing(Session):
        async def do_retr(self, argument: str) -> None:
            await super().do_retr(argument)
            os.utime(root / "file", (172800, 172800))

    local = root.parent / "here"
    local.mkdir()
    async with serving(root, Changing) as server:
        with pytest.raises(ValueError, match="changed"):
            await fetch(server, "file", local / "copy")
    assert [path async for path in anyio.Path(local).iterdir()] == []


async def test_failure_leaves_nothing(root: Path) -> None:
    """What is refused, and what fails again and again."""

    class Failing(Session):
        async def send_file(self, link: Any, path: Path, offset: int, size: int) -> None:
            await super().send_file(link, path, offset, offset)

    local = root.parent / "here"
    local.mkdir()
    async with serving(root, Failing) as server:
        with pytest.raises((FTPDataError, ReplyError)):
            await fetch(server, "file", local / "copy")
        with pytest.raises(ReplyError, match="550"):
            await fetch(server, "nothing", local / "copy")
    assert [path async for path in anyio.Path(local).iterdir()] == []
