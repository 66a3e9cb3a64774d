"""TYPE, STRU and MODE: what is set, and what ASCII makes of line ends (RFC 959 §3.1 to §3.4)."""

from __future__ import annotations

import asyncio
import re

from ..client import ScriptedClient
from ._asking import offered, still_answers
from ._frame import Trial, check
from ._steps import end_upload

__all__ = [
    "ascii_download",
    "ascii_lone_carriage_returns",
    "ascii_lone_line_feeds",
    "ascii_round_trip",
    "ascii_split_line_ends",
    "ascii_upload",
    "image_keeps_every_byte",
    "modes",
    "size_in_ascii",
    "structures",
    "types",
]


@check("RFC 959 §5.1, RFC 1123 §4.1.2.13: ASCII Non-print, IMAGE, LOCAL 8")
async def types(trial: Trial) -> None:
    """TYPE takes A, A N, I and L 8; E, A T, A C and other sizes it takes or refuses by 504."""

    async with trial.client() as client:
        for line in ("TYPE A", "TYPE A N", "TYPE I"):
            await client.expect(line, 200)
        reply = await client.command("TYPE L 8")
        if client.check(reply, 200, 501, 504).code != 200:
            trial.warn(f"RFC 1123 §4.1.2.13 has TYPE L 8 in the minimum: '{reply}'")
        for line in ("TYPE E", "TYPE A T", "TYPE A C", "TYPE L 7", "TYPE L 36"):
            await client.expect(line, 200, 500, 501, 504)
        await still_answers(client)


@check("RFC 959 §5.1: STRU F")
async def structures(trial: Trial) -> None:
    """STRU takes F; R and P it takes or refuses by 504."""

    async with trial.client() as client:
        await client.expect("STRU F", 200)
        for line in ("STRU R", "STRU P"):
            await client.expect(line, 200, 500, 501, 504)
        await client.expect("STRU F", 200)


@check("RFC 959 §5.1: MODE S")
async def modes(trial: Trial) -> None:
    """MODE takes S; B, C and Z it takes or refuses by 504."""

    async with trial.client() as client:
        await client.expect("MODE S", 200)
        for line in ("MODE B", "MODE C", "MODE Z"):
            await client.expect(line, 200, 500, 501, 504)
        await client.expect("MODE S", 200)


@check("RFC 959 §3.1.1.3")
async def image_keeps_every_byte(trial: Trial) -> None:
    """TYPE I changes no byte, up or down, and is not changed by a TYPE A before it."""

    content = bytes(range(256)) + b"\r\n\n\r\0\xff\xff\xff\xf4\xff\xf2\x1a" * 10
    async with trial.client() as client:
        name = trial.new_name()
        await client.expect("TYPE A", 200)
        await client.expect("TYPE I", 200)
        await trial.put(client, name, content)
        stored = await trial.content(client, name)
        trial.require(stored == content, f"the upload has {len(stored or b'')} bytes of 334")
        trial.require(await client.download(f"RETR {name}") == content, "RETR changes bytes")


async def _makes_line_ends(trial: Trial, client: ScriptedClient) -> None:
    """End the check unless the server's own line end is a line feed, as SYST tells."""

    if trial.server.local is not None:
        # What this machine sees is what there is.
        return
    reply = await client.command("SYST")
    if reply.code != 215 or "UNIX" not in reply.text.upper():
        trial.not_offered(f"what ends a line on the server is not known: '{reply}'")


@check("RFC 959 §3.1.1.1; aioftp, libunftp and (by default) vsftpd convert nothing")
async def ascii_download(trial: Trial) -> None:
    """RETR in TYPE A sends each line feed as CRLF."""

    async with trial.client() as client:
        await _makes_line_ends(trial, client)
        name = trial.new_name()
        await trial.put(client, name, b"one\ntwo\n\nthree")
        await client.expect("TYPE A", 200)
        received = await client.download(f"RETR {name}")
        if received != b"one\r\ntwo\r\n\r\nthree":
            trial.fail(f"a file with line feeds came as {received!r}")


@check("RFC 959 §3.1.1.1; Twisted #8294, #9555")
async def ascii_upload(trial: Trial) -> None:
    """STOR in TYPE A stores CRLF as the server's line end."""

    async with trial.client() as client:
        await _makes_line_ends(trial, client)
        name = trial.new_name()
        await client.expect("TYPE A", 200)
        await trial.put(client, name, b"one\r\ntwo\r\n\r\nthree")
        await client.expect("TYPE I", 200)
        stored = await trial.content(client, name)
        if stored != b"one\ntwo\n\nthree":
            trial.fail(f"CRLF is stored as {stored!r}")


async def _there_and_back(
    trial: Trial, client: ScriptedClient, pieces: list[bytes]
) -> tuple[bytes | None, bytes]:
    """Upload pieces in TYPE A; return what was stored, and what comes back."""

    trial.writable()
    name = trial.new_name()
    await client.expect("TYPE A", 200)
    _, data = await client.begin(f"STOR {name}")
    async with data:
        for piece in pieces:
            await data.send(piece)
            if len(pieces) > 1:
                # So that it is a segment, and read alone.
                await asyncio.sleep(0.02)
        await end_upload(data)
    await client.expect_reply(2)
    received = await client.download(f"RETR {name}")
    await client.expect("TYPE I", 200)
    return await trial.content(client, name), received


@check("RFC 959 §3.1.1.1; ftpserverlib #86, pyftpdlib #88 and #116")
async def ascii_round_trip(trial: Trial) -> None:
    """What is uploaded in TYPE A comes back the same, also where it is larger than a buffer."""

    text = b"".join(b"line %d\r\n" % i * (i % 7) + b"\r\n" * (i % 5) for i in range(3000))
    async with trial.client() as client:
        _, received = await _there_and_back(trial, client, [text])
        trial.require(
            received == text, f"of {len(text)} bytes of text {len(received)} came back, or others"
        )


@check("RFC 959 §3.1.1.1; a server that looks at one segment stores CR LF")
async def ascii_split_line_ends(trial: Trial) -> None:
    """CR and LF in two segments are one line end, as they are in one."""

    async with trial.client() as client:
        # Wherever the server's reading ends, it is between CR and LF.
        pieces = [b"line %d\r" % i if i == 0 else b"\nline %d\r" % i for i in range(10)] + [b"\n"]
        stored_whole, together = await _there_and_back(trial, client, [b"".join(pieces)])
        stored, received = await _there_and_back(trial, client, pieces)
        if stored != stored_whole or received != together:
            trial.fail(
                f"in segments, text is stored as {_short(stored)},"
                f" at once as {_short(stored_whole)}"
            )


def _short(data: bytes | None) -> str:
    return repr(data[:24] if data else data)


@check("RFC 959 leaves them as they are; pyftpdlib loses a last one")
async def ascii_lone_carriage_returns(trial: Trial) -> None:
    """A CR without an LF, within text and at its end, is not lost in TYPE A."""

    async with trial.client() as client:
        for text in (b"one\rtwo\r\n", b"one\r", b"\r"):
            stored, received = await _there_and_back(trial, client, [text])
            # NVT-ASCII sends a CR alone as CR NUL.
            if received.replace(b"\r\0", b"\r") != text:
                trial.fail(f"{text!r} is stored as {stored!r} and comes back as {received!r}")


@check("RFC 959 §3.1.1.1; pyftpdlib leaves a first one alone")
async def ascii_lone_line_feeds(trial: Trial) -> None:
    """An LF at the beginning or the end of a file, or behind a CR, is sent with one CR."""

    async with trial.client() as client:
        await _makes_line_ends(trial, client)
        for content in (b"\none", b"\n", b"one\n\n\n", b"\n\none\r", b"x" * 65_535 + b"\n\n"):
            name = trial.new_name()
            await trial.put(client, name, content)
            await client.expect("TYPE A", 200)
            received = await client.download(f"RETR {name}")
            await client.expect("TYPE I", 200)
            if received.replace(b"\r\0", b"\r") != re.sub(rb"\n", b"\r\n", content):
                shown = (content[-12:], received[-12:])
                trial.fail(f"in TYPE A, a file that ends with {shown[0]!r} came as {shown[1]!r}")


@check("RFC 3659 §4: exactly what would be transferred, or 550")
async def size_in_ascii(trial: Trial) -> None:
    """SIZE in TYPE A tells how many bytes RETR sends in TYPE A, or is refused by 550."""

    async with trial.client() as client:
        name = trial.new_name()
        await trial.put(client, name, b"one\ntwo\n\nthree\n")
        await client.expect("TYPE A", 200)
        reply = await offered(trial, client, f"SIZE {name}")
        if reply.code == 213:
            received = await client.download(f"RETR {name}")
            if reply.text != f"213 {len(received)}":
                trial.fail(f"in TYPE A, SIZE tells '{reply}', and {len(received)} bytes come")
        else:
            client.check(reply, 550, 504, 501, 450, 451)
