"""What a hostile client says in each transmission mode: an error, and nothing is left of it."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.transfer_modes import TEXT
from ftpdata import CodecOptions
from ftpdata.codecs import CodecLimits
from tests.server.client import names, reset, serving
from tests.server.test_modes import block, choose, encoded

LIMITS = CodecOptions(
    limits=CodecLimits(record=1000, output=500_000, ratio=100, ratio_from=100_000)
)

WHOLE = block(64, b"")

HOSTILE: dict[str, tuple[str, bytes, int]] = {
    # What it is about: TYPE, STRU and MODE, the data, the reply.
    "nothing": ("I F B", b"", 426),
    "half a header": ("I F B", block(0, b"x") + b"\x40", 426),
    "a block cut": ("I F B", block(0, b"x" * 100)[:50], 426),
    "no descriptor": ("I F B", block(15, b"x") + WHOLE, 451),
    "text for blocks": ("I F B", b"GET / HTTP/1.1\r\n\r\n", 451),
    "an empty marker": ("I F B", block(16, b"") + WHOLE, 451),
    "a marker of controls": ("I F B", block(16, b"a\r\n226 b") + WHOLE, 451),
    "a marker of 8 bits": ("I F B", block(16, b"\xff\xfe") + WHOLE, 451),
    "a long marker": ("I F B", block(16, b"m" * 256) + WHOLE, 451),
    "a long line in blocks": ("A R B", block(0, b"x" * 1001) + WHOLE, 451),
    "a file too large": ("I F B", block(0, bytes(50_000)) * 11 + WHOLE, 552),
    "zeros for strings": ("I F C", bytes(100), 451),
    "an escape of nothing": ("I F C", b"\0\x0f\x01x\0\x40\xc0", 451),
    "half an escape": ("I F C", b"\x01x\0", 426),
    "a string cut": ("I F C", b"\x7fx", 426),
    "fillers without end": ("I F C", b"\xff" * 10_000, 552),
    "a long line in strings": ("A R C", b"\xff" * 100 + b"\0\x40\xc0", 451),
    "no zlib": ("I F Z", b"no zlib", 451),
    "raw deflate": ("I F Z", zlib.compress(b"x" * 99)[2:-4], 451),
    "a wrong checksum": ("I F Z", zlib.compress(b"x")[:-1] + b"?", 451),
    "no checksum": ("I F Z", zlib.compress(b"x")[:-4], 426),
    "more after the trailer": ("I F Z", zlib.compress(b"x") + b"y", 451),
    "a dictionary": ("I F Z", b"\x78\xbb\0\0\0\1" + zlib.compress(b"x")[2:], 451),
    "a bomb": ("I F Z", zlib.compress(bytes(400_000), 9), 451),
    "a larger bomb": ("I F Z", zlib.compress(bytes(10_000_000), 9), 552),
    "no control code": ("A R S", b"x\xff\x09\xff\x02", 451),
    "half a control code": ("A R S", b"x\xff", 426),
    "more after the end": ("A R S", b"x\xff\x03y", 451),
    "a long record": ("A R S", b"x" * 1001 + b"\xff\x03", 451),
    "an end mark in a bomb": ("A R Z", zlib.compress(b"x\xff\x03" + b"y" * 99), 451),
}


@pytest.mark.parametrize(("parameters", "data", "code"), HOSTILE.values(), ids=HOSTILE)
async def test_upload(parameters: str, data: bytes, code: int, served_directory: Path) -> None:
    """There is one reply with the right code; the old file stays, and the session goes on.

    Of what was appended, what came before the error stays.
    """

    (served_directory / "file").write_bytes(b"before")
    kind, structure, mode = parameters.split()
    async with (
        serving(served_directory, codec_options=LIMITS) as server,
        server.logged_in() as client,
    ):
        await choose(client, kind, structure, mode)
        for line in ("STOR file", "STOR new", "APPE log", "STOU"):
            connection = await client.passive()
            client.send(line)
            assert await client.codes(1) == [125]
            await connection.send(data)
            assert await client.codes(1) == [code]
        await client.quiet()
        assert {*names(served_directory)} - {"log"} == {"file"}
        assert (served_directory / "file").read_bytes() == b"before"


@pytest.mark.parametrize("mode", ["S", "B", "C", "Z"])
@pytest.mark.parametrize("line", ["RETR big", "LIST", "STOR new"])
async def test_abort_and_reset(line: str, mode: str, served_directory: Path) -> None:
    """They get 426, and ABOR gets 226; then the same transfer works on another connection."""

    with (served_directory / "big").open("wb") as file:
        file.truncate(1 << 30)
    for number in range(300 if line == "LIST" else 0):
        (served_directory / f"{number:0200}").touch()
    async with serving(served_directory) as server, server.logged_in() as client:
        parameters = await choose(client, "I", "F", mode)
        for ends_by in ("ABOR", "reset"):
            data = await client.slow_passive()
            client.send(line)
            assert await client.codes(1) == [125]
            if line == "STOR new":
                data.writer.write(encoded(TEXT, parameters)[:1000])
            if ends_by == "ABOR":
                client.send("ABOR")
                assert await client.codes(2) == [426, 226]
                await data.close()
            else:
                reset(data.writer)
                assert await client.codes(1) == [426]
        await client.quiet()
        assert (await client.upload("STOR new", encoded(TEXT, parameters)))[:3] == "226"
        assert (served_directory / "new").read_bytes() == TEXT


async def test_deaf_client_that_sends_markers(served_directory: Path) -> None:
    """It does not read the 110 replies, so the server stops reading and ends the session."""

    async with (
        serving(served_directory, reply_timeout=0.5) as server,
        server.logged_in() as client,
    ):
        await choose(client, "I", "F", "B")
        data = await client.passive()
        client.send("STOR file")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):
            while True:
                data.writer.write(block(0, b"x") + block(16, b"m" * 255) * 100)
                await data.writer.drain()
        await data.close()
        await server.all_left()


def nonsense() -> Iterator[str]:
    """Yield commands in an order that nobody means."""

    for mode in ("MODE Z", "MODE B", "MODE C", "MODE S"):
        yield mode
        for line in (f"REST {2**63 - 1}", "REST 1", "RANG 5 1", f"RANG 0 {2**63 - 1}"):
            yield line
            yield from ("TYPE E", "RETR file", line, "STOR new", "TYPE I", line, "STRU R")
            yield from ("APPE file", line, "STOU", line, "LIST", "STRU F", line, "HASH file")
        yield from ("MODE", "MODE Z Z", "OPTS MODE Z LEVEL", "ABOR", "SIZE file", "TYPE L")


async def test_order_of_commands(served_directory: Path) -> None:
    """Each command gets one reply, never 451, and no transfer begins without a connection."""

    (served_directory / "file").write_bytes(TEXT)
    async with serving(served_directory) as server, server.logged_in() as client:
        for line in nonsense():
            code = await client.code(line)
            assert 200 <= code < 560
            assert code != 451
        await client.quiet()
    assert names(served_directory) == ["file"]
    assert (served_directory / "file").read_bytes() == TEXT
