"""What the listings show."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftpdata import parse_mlsx_line
from ftpdata.listing import Facts
from tests.server.client import Client, serving


async def _facts(client: Client, line: str = "MLSD") -> dict[str, Facts]:
    lines = (await client.download(line)).split(b"\r\n")[:-1]
    return dict(found for line in lines if (found := parse_mlsx_line(line)) is not None)


async def test_facts_of_files_and_directories(served_directory: Path) -> None:
    """Type, size, time, what may be done, which file it is, and the mode (RFC 3659 §7.5)."""

    (served_directory / "file").write_bytes(b"12345")
    (served_directory / "file").chmod(0o640)
    (served_directory / "same").hardlink_to(served_directory / "file")
    (served_directory / "sub").mkdir()
    async with serving(served_directory) as server, server.logged_in() as client:
        facts = await _facts(client)
        assert (facts["file"].type, facts["file"].size) == ("file", 5)
        assert facts["file"].modify == int((served_directory / "file").stat().st_mtime)
        assert facts["file"].unix_mode == 0o640
        assert facts["file"].unique == facts["same"].unique != facts["sub"].unique
        assert facts["file"].perm == "adfrw"
        assert (facts["sub"].type, facts["sub"].size) == ("dir", None)
        assert facts["sub"].perm == "cdeflmp"
    async with serving(served_directory, writable=False) as server, server.logged_in() as client:
        facts = await _facts(client)
        assert (facts["file"].perm, facts["sub"].perm) == ("r", "el")


async def test_facts_of_links(served_directory: Path) -> None:
    """What they lead to within the tree; a link that leads out or nowhere is one (§7.5.1.5)."""

    (served_directory / "sub").mkdir()
    (served_directory / "file").write_bytes(b"12345")
    for name, target in (
        ("to_file", "file"), ("to_sub", "sub"), ("out", "/etc"), ("up", ".."), ("none", "missing"),
    ):
        (served_directory / name).symlink_to(target)
    async with serving(served_directory) as server, server.logged_in() as client:
        facts = await _facts(client)
        assert (facts["to_file"].type, facts["to_file"].size) == ("file", 5)
        assert facts["to_sub"].type == "dir"
        for name in ("out", "up", "none"):
            assert facts[name].type == "OS.unix=symlink"
        assert "type=file;" in await client.command("MLST to_file")
        assert "OS.unix=symlink" in await client.command("MLST out")
        lines = await client.download("LIST")
        assert b" to_file -> file\r\n" in lines


async def test_facts_can_be_chosen(served_directory: Path) -> None:
    """OPTS MLST says which, FEAT shows it, REIN forgets it (§7.8, §7.9)."""

    (served_directory / "file").write_bytes(b"12345")
    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.command("OPTS MLST Size;X.none;type;") == "200 MLST OPTS type;size;"
        assert await client.download("MLSD") == b"type=file;size=5; file\r\n"
        assert "\n type=file;size=5; /file\n" in await client.command("MLST file")
        assert "MLST type*;size*;modify;" in await client.command("FEAT")
        assert await client.command("OPTS MLST") == "200 MLST OPTS"
        assert await client.download("MLSD") == b" file\r\n"
        assert await client.code("OPTS MLST a b") == 501
        assert await client.code("REIN") == 220
        await client.login()
        assert (await _facts(client))["file"].unix_mode is not None


@pytest.mark.parametrize("line", ["LIST", "NLST", "MLSD"])
async def test_large_directory_is_whole(line: str, served_directory: Path) -> None:
    """Every entry once, over several batches."""

    for number in range(2000):
        (served_directory / f"f{number}").touch()
    async with serving(served_directory) as server, server.logged_in() as client:
        lines = (await client.download(line)).split(b"\r\n")[:-1]
        assert {row.rpartition(b" ")[2] for row in lines} == {b"f%d" % n for n in range(2000)}
        assert len(lines) == 2000
