"""Every type, structure and mode of RFC 959 §3, through the whole server."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.transfer_modes import COMBINATIONS, TEXT, check
from ftpdata import TransferParameters, decoder_for, encoder_for
from tests.server.client import Client, names, serving

combinations = pytest.mark.parametrize(
    ("kind", "structure", "mode"), COMBINATIONS, ids=["-".join(each) for each in COMBINATIONS]
)

MARKED = [
    (kind, structure, mode)
    for kind, structure, mode in COMBINATIONS
    if (structure, mode) != ("F", "S") and kind in {"A N", "E N", "I"}
]
"""Combinations in which a mark ends the file."""

marked = pytest.mark.parametrize(
    ("kind", "structure", "mode"), MARKED, ids=["-".join(each) for each in MARKED]
)


async def choose(client: Client, kind: str, structure: str, mode: str) -> TransferParameters:
    """Say TYPE, STRU and MODE."""

    for line in (f"TYPE {kind}", f"STRU {structure}", f"MODE {mode}"):
        assert await client.code(line) == 200
    return TransferParameters().with_type(kind).with_structure(structure).with_mode(mode)


def encoded(content: bytes, parameters: TransferParameters) -> bytes:
    """Return what is on the connection."""

    encoder = encoder_for(parameters)
    return b"".join([*encoder.feed(content), *encoder.finish()])


def decoded(data: bytes, parameters: TransferParameters) -> bytes:
    """Return what is in the file."""

    decoder = decoder_for(parameters)
    return b"".join([*decoder.feed(data), *decoder.finish()])


@combinations
async def test_round_trip(kind: str, structure: str, mode: str, served_directory: Path) -> None:
    """What the client example sends up is stored as it was, and comes down as it was."""

    async with serving(served_directory) as server:
        await check((server.host, server.port, "ann", "secret"), kind, structure, mode)


async def test_size_is_what_is_sent(served_directory: Path) -> None:
    """In the combination in effect (RFC 3659 §4); in MODE Z before it is compressed."""

    (served_directory / "file").write_bytes(TEXT)
    async with serving(served_directory) as server, server.logged_in() as client:
        for kind, structure, mode in MARKED:
            await choose(client, kind, structure, mode)
            size = int((await client.command("SIZE file")).split()[1])
            if mode == "Z":
                assert await client.code("MODE S") == 200
            assert len(await client.download("RETR file")) == size


@marked
async def test_listings_are_texts(
    kind: str, structure: str, mode: str, served_directory: Path
) -> None:
    """In TYPE E they are EBCDIC, else ASCII; structure and mode hold as for any file."""

    for name in ("one", "two", "three"):
        (served_directory / name).touch()
    async with serving(served_directory) as server, server.logged_in() as client:
        plain = {verb: await client.download(verb) for verb in ("LIST", "NLST", "MLSD")}
        parameters = await choose(client, kind, structure, mode)
        if kind == "I":
            parameters = parameters.with_type("A")
        for verb, expected in plain.items():
            text = decoded(await client.download(verb), parameters)
            assert text.splitlines() == expected.splitlines()


@marked
async def test_upload_without_end_mark_is_cut(
    kind: str, structure: str, mode: str, served_directory: Path
) -> None:
    """426 although the connection ended cleanly; under the final name is what was before."""

    (served_directory / "file").write_bytes(b"before")
    async with serving(served_directory) as server, server.logged_in() as client:
        parameters = await choose(client, kind, structure, mode)
        data = encoded(TEXT, parameters)
        # In compressed mode an end-of-file escape is enough, without its empty string.
        whole = len(data) - 1 if mode == "C" else len(data)
        sizes = {"STOR file": whole - 1, "STOR new": whole // 2, "STOU": 1, "APPE new": 0}
        for line, size in sizes.items():
            assert (await client.upload(line, data[:size]))[:3] == "426"
        await client.quiet()
        assert names(served_directory) == ["file"]
        assert (served_directory / "file").read_bytes() == b"before"
        assert (await client.upload("STOR file", data))[:3] == "226"
        assert (served_directory / "file").read_bytes() == TEXT


@marked
async def test_empty_file(kind: str, structure: str, mode: str, served_directory: Path) -> None:
    """It is a mark and nothing else, both ways."""

    async with serving(served_directory) as server, server.logged_in() as client:
        parameters = await choose(client, kind, structure, mode)
        mark = encoded(b"", parameters)
        assert (await client.upload("STOR file", mark))[:3] == "226"
        assert (served_directory / "file").read_bytes() == b""
        assert await client.download("RETR file") == mark


async def test_append(served_directory: Path) -> None:
    """What comes behind the end is decoded as any upload."""

    async with serving(served_directory) as server, server.logged_in() as client:
        expected = b""
        for kind, structure, mode in MARKED:
            parameters = await choose(client, kind, structure, mode)
            assert (await client.upload("APPE file", encoded(b"more\n", parameters)))[:3] == "226"
            expected += b"more\n"
            assert (served_directory / "file").read_bytes() == expected


@pytest.mark.parametrize("mode", ["S", "B", "C", "Z"])
async def test_restart(mode: str, served_directory: Path) -> None:
    """Both ways from an offset in the file: in MODE Z one before compression."""

    content = bytes(range(256)) * 40
    (served_directory / "file").write_bytes(content)
    async with serving(served_directory) as server, server.logged_in() as client:
        parameters = await choose(client, "I", "F", mode)
        for offset in (1, 5000, len(content)):
            assert await client.code(f"REST {offset}") == 350
            assert decoded(await client.download("RETR file"), parameters) == content[offset:]
        assert await client.code(f"REST {len(content) + 1}") == 350
        assert await client.code("RETR file") == 554
        assert await client.code("REST 5000") == 350
        assert (await client.upload("STOR file", encoded(b"new", parameters)))[:3] == "226"
        stored = content[:5000] + b"new" + content[5003:]
        assert (served_directory / "file").read_bytes() == stored


async def test_code_page_is_a_setting(served_directory: Path) -> None:
    """A host of today's mainframes has 1047, where the brackets are elsewhere than in 037."""

    (served_directory / "file").write_bytes(b"[]\n")
    for page, expected in (("cp037", b"\xba\xbb\x15"), ("1047", b"\xad\xbd\x15")):
        async with (
            serving(served_directory, code_page=page) as server,
            server.logged_in() as client,
        ):
            assert await client.code("TYPE E") == 200
            assert await client.download("RETR file") == expected
            assert (await client.upload("STOR new", expected))[:3] == "226"
            assert (served_directory / "new").read_bytes() == b"[]\n"
