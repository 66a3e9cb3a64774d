"""Files and directories: what is listed, fetched and sent, and what is left where that fails."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.client.files import (
    WORTH_RESUMING,
    facts_of,
    get,
    list_directory,
    put,
    read_list,
    read_mlsd,
    verify,
)
from examples.client.replies import Lost, ReplyError
from ftpdata import EntryType, FTPDataError
from ftpdata.errors import SizeMismatch
from ftpdata.listing import Facts
from tests.client.peers import Session, connected, final, lacking

CONTENT = bytes(range(256)) * (2 * WORTH_RESUMING // 256)

CUT = (SizeMismatch, ReplyError)
"""A file that is too short: the client notices by itself, or the server that it was reset."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a directory to serve, with files in it."""

    served = tmp_path / "served"
    (served / "below").mkdir(parents=True)
    (served / "file").write_bytes(CONTENT)
    os.utime(served / "file", (86400, 86400))
    (served / "small").write_bytes(b"small")
    (served / "below" / "Grüße").write_bytes(b"")
    return served


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Return an empty local directory."""

    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def names(directory: Path) -> list[str]:
    """Return what is in a directory, hidden or not."""

    return sorted(os.listdir(directory))  # noqa: PTH208


# Listings, without a server


def test_mlsd_is_read() -> None:
    """Without the directory itself and its parent; what cannot be read is told."""

    listing = read_mlsd(
        [
            b"type=cdir;modify=19700102000000; .",
            b"type=pdir; ..",
            b"type=file;size=5;modify=19700102000000; a b",
            b"Type=OS.unix=slink:/etc; link",
            b"type=dir; ../evil",
            b"nonsense",
            b"",
        ]
    )
    assert [(entry.text_name, entry.type) for entry in listing.entries] == [
        ("a b", EntryType.FILE),
        ("link", EntryType.SYMLINK),
        ("../evil", EntryType.DIRECTORY),
    ]
    assert (listing.entries[0].size, listing.entries[0].modified) == (5, 86400.0)
    assert [entry.is_plain_name for entry in listing.entries] == [True, True, False]
    assert listing.unreadable == (b"nonsense",)
    assert listing.is_exact


def test_list_is_read() -> None:
    """In any format; a name that goes on in a line that does not come is told."""

    listing = read_list(
        [
            b"total 12",
            b"drwxr-xr-x 2 ftp ftp 4096 Jan  1 00:00 .",
            b"-rw-r--r-- 1 ftp ftp 5 Jan  1 00:00 a b",
            b"01-02-26  03:04PM       <DIR>          below",
            b"what is this",
            b"ABC.TXT;1",
        ],
        now=1.77e9,
    )
    assert [(entry.text_name, entry.type) for entry in listing.entries] == [
        ("a b", EntryType.FILE),
        ("below", EntryType.DIRECTORY),
    ]
    assert listing.unreadable == (b"what is this", b"ABC.TXT;1")
    assert not listing.is_exact


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_no_line_of_a_server_raises(lines: list[bytes]) -> None:
    """Whatever it is: it is an entry, nothing, or told."""

    read_mlsd(lines)
    read_list(lines, now=1.77e9)


# With a server


@pytest.mark.parametrize("missing", [(), ("MLSD",), ("MLSD", "MLST")])
async def test_directory_is_listed(root: Path, missing: tuple[str, ...]) -> None:
    """By MLSD if the server has it, which FEAT may claim in vain, otherwise by LIST."""

    features = ("MLST type*;size*;modify*;",) if missing == ("MLSD",) else Session.features
    session = lacking(*missing, features=features) if missing else Session
    async with connected(root, session) as client:
        for path in ("", "/", "."):
            listing = await list_directory(client, path)
            assert {entry.text_name: entry.type for entry in listing.entries} == {
                "file": EntryType.FILE,
                "small": EntryType.FILE,
                "below": EntryType.DIRECTORY,
            }
            assert listing.is_exact == (not missing)
        (entry,) = (await list_directory(client, "below")).entries
        assert entry.text_name == "Grüße"
        with pytest.raises(ReplyError, match="550"):
            await list_directory(client, "nowhere")
        await get(client, "small", root.parent / "copy")


async def test_listing_has_a_bound(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server cannot fill the memory with names."""

    monkeypatch.setattr("examples.client.files.LARGEST_LISTING", 100)
    async with connected(root) as client:
        with pytest.raises(FTPDataError, match="more than the 100 bytes"):
            await list_directory(client)
        assert await facts_of(client, "small") is not None


@pytest.mark.parametrize(
    ("missing", "facts"),
    [
        ((), Facts(size=len(CONTENT), modify=86400.0)),
        (("MLST",), Facts(size=len(CONTENT), modify=86400.0)),
        (("MLST", "MDTM"), Facts(size=len(CONTENT))),
        (("MLST", "SIZE"), Facts(modify=86400.0)),
        (("MLST", "SIZE", "MDTM"), Facts()),
    ],
)
async def test_facts_are_asked_for(root: Path, missing: tuple[str, ...], facts: Facts) -> None:
    """By what the server has; nothing is there only if it says so."""

    async with connected(root, lacking(*missing, features=Session.features)) as client:
        for _ in range(2):
            found = await facts_of(client, "file")
            assert found is not None
            assert (found.size, found.modify) == (facts.size, facts.modify)
        missing_file = await facts_of(client, "nothing")
        assert missing_file == (Facts() if "SIZE" in missing else None)
        assert client.refused == set(missing)


async def test_file_is_fetched_with_its_time(root: Path, here: Path) -> None:
    """And nothing else stays; the progress ends with all of it."""

    told: list[tuple[int, int | None]] = []
    async with connected(root) as client:
        note = lambda done, total: told.append((done, total))  # noqa: E731
        result = await get(client, "file", here / "copy", progress=note)
        await get(client, "small", here / "small")

    assert result.file_bytes == len(CONTENT)
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert await anyio.Path(here / "copy").read_bytes() == CONTENT
    assert (await anyio.Path(here / "copy").stat()).st_mtime == 86400
    assert names(here) == ["copy", "small"]


@pytest.mark.parametrize("size_is_known", [True, False])
@pytest.mark.parametrize("name", ["file", "small"])
async def test_file_is_published_only_when_the_server_has_said_so(
    root: Path, here: Path, name: str, size_is_known: bool
) -> None:
    """All data came to a clean end, and then a 451: the local file is as it was."""

    missing = () if size_is_known else ("SIZE", "MDTM", "MLST")

    class Failing(lacking(*missing), final("RETR", lambda _: "451 It was changed.")):  # type: ignore[misc]
        pass

    await anyio.Path(here / "copy").write_bytes(b"old")
    async with connected(root, Failing) as client:
        with pytest.raises(ReplyError, match="451"):
            await get(client, name, here / "copy")
        assert (await client.command("PWD")).startswith("257")

    assert await anyio.Path(here / "copy").read_bytes() == b"old"


@pytest.mark.parametrize("name", ["file", "small"])
async def test_lost_final_reply_after_the_promised_bytes(root: Path, here: Path, name: str) -> None:
    """All that the server has promised is here: the file is whole. Without a promise, it is not."""

    content = await anyio.Path(root / name).read_bytes()
    async with connected(root, final("RETR", lambda _: None)) as client:
        with pytest.raises(Lost):
            await get(client, name, here / "copy")
    assert await anyio.Path(here / "copy").read_bytes() == content

    class Silent(lacking("MLST", "SIZE", "MDTM"), final("RETR", lambda _: None)):  # type: ignore[misc]
        pass

    async with connected(root, Silent) as client:
        with pytest.raises(Lost):
            await get(client, name, here / "unknown")
    assert "unknown" not in names(here)


class Cutting(Session):
    """Sends half of a file, once, and says what `after` has."""

    after = "426 Cut."
    cuts = 1
    offsets: list[int]

    async def send_file(self, link: Any, path: Path, offset: int, size: int) -> None:
        """Send a half, and end."""

        self.offsets.append(offset)
        if len(self.offsets) <= self.cuts:
            size = (offset + size) // 2
        await super().send_file(link, path, offset, size)


@pytest.mark.parametrize("missing", [(), ("MLST",)])
async def test_short_file_is_not_published_and_is_gone_on_with(
    root: Path, here: Path, missing: tuple[str, ...]
) -> None:
    """Half of it came, with a 226: what came stays hidden, and the next time the rest comes."""

    offsets: list[int] = []

    class Short(Cutting, lacking(*missing, features=Session.features)):  # type: ignore[misc]
        pass

    Short.offsets = offsets
    async with connected(root, Short) as client:
        with pytest.raises(CUT):
            await get(client, "file", here / "copy")
        assert "copy" not in names(here)
        assert len(names(here)) == 1
        result = await get(client, "file", here / "copy")

    assert offsets == [0, len(CONTENT) // 2]
    assert result.offset == len(CONTENT) // 2
    assert await anyio.Path(here / "copy").read_bytes() == CONTENT
    assert names(here) == ["copy"]


async def test_part_of_another_version_is_not_gone_on_with(root: Path, here: Path) -> None:
    """Old and new are never mixed."""

    class Short(Cutting):
        offsets: list[int] = []  # noqa: RUF012

    async with connected(root, Short) as client:
        with pytest.raises(CUT):
            await get(client, "file", here / "copy")
        await anyio.Path(root / "file").write_bytes(CONTENT[::-1])
        await get(client, "file", here / "copy")

    assert Short.offsets == [0, 0]
    assert await anyio.Path(here / "copy").read_bytes() == CONTENT[::-1]


async def test_server_without_rest_sends_the_file_again(root: Path, here: Path) -> None:
    """It is asked once."""

    class Short(Cutting):
        offsets: list[int] = []  # noqa: RUF012
        asked = 0

        async def do_rest(self, argument: str) -> None:
            type(self).asked += 1
            await self.reply("502 Not implemented.")

    async with connected(root, Short) as client:
        for _ in range(2):
            Short.offsets.clear()
            with pytest.raises(CUT):
                await get(client, "file", here / "copy")
            await get(client, "file", here / "copy")

    assert Short.asked == 1
    assert await anyio.Path(here / "copy").read_bytes() == CONTENT


async def test_cancelled_get_leaves_a_part_and_no_file(root: Path, here: Path) -> None:
    """The part is hidden."""

    some = asyncio.Event()

    class Stalling(Session):
        patience = 1.0

        async def send_file(self, link: Any, path: Path, offset: int, size: int) -> None:
            await super().send_file(link, path, offset, size // 2)
            await asyncio.Event().wait()

    def watch(done: int, total: int | None) -> None:
        # It is told now and then, so not of each byte that comes before the silence.
        if done:
            some.set()

    async with connected(root, Stalling) as client:
        fetching = asyncio.ensure_future(get(client, "file", here / "copy", progress=watch))
        await some.wait()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
    assert "copy" not in names(here)
    assert len(names(here)) == 1


async def test_file_is_sent(root: Path, here: Path) -> None:
    """All of it, or from an offset on."""

    await anyio.Path(here / "local").write_bytes(CONTENT)
    told: list[tuple[int, int | None]] = []
    async with connected(root) as client:
        result = await put(client, here / "local", "up")
        assert result.file_bytes == len(CONTENT)
        assert await anyio.Path(root / "up").read_bytes() == CONTENT
        await anyio.Path(root / "up").write_bytes(CONTENT[:1000])
        note = lambda done, total: told.append((done, total))  # noqa: E731
        await put(client, here / "local", "up", offset=1000, progress=note)
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert await anyio.Path(root / "up").read_bytes() == CONTENT


async def test_what_cannot_be_read_is_not_begun(root: Path, here: Path) -> None:
    """The file of the server is as it was."""

    os.mkfifo(here / "fifo")
    async with connected(root) as client:
        for local in (here / "nothing", here, here / "fifo"):
            with pytest.raises(OSError, match=r"No such file|not a regular file"):
                await put(client, local, "file")
        assert (await client.command("PWD")).startswith("257")
    assert await anyio.Path(root / "file").read_bytes() == CONTENT


async def test_digests_are_compared(root: Path, here: Path) -> None:
    """By the algorithm that the server chooses (HASH); None if it has no such command."""

    digest = "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5"

    class Hashing(lacking(features=("HASH SHA-1;SHA-256*",))):  # type: ignore[misc]
        async def do_hash(self, argument: str) -> None:
            await self.reply(f"213 SHA-256 0-5 {digest.upper()} {argument}")

    await anyio.Path(here / "good").write_bytes(b"12345")
    await anyio.Path(here / "bad").write_bytes(b"12346")
    async with connected(root, Hashing) as client:
        assert await verify(client, here / "good", "a b") is True
        assert await verify(client, here / "bad", "a b") is False
    async with connected(root) as client:
        assert await verify(client, here / "good", "file") is None
