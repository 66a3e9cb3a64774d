"""The control line: pipelining, pieces, Telnet, lines that are no lines (RFC 959 §5.3)."""

from __future__ import annotations

import asyncio

from ..client import Failure, Reply, ScriptedClient, Truncated
from ._asking import UNKNOWN, make_directory, still_answers
from ._frame import Trial, check
from ._steps import end_upload

__all__ = [
    "carriage_returns_alone",
    "commands_behind_a_download",
    "commands_behind_an_upload",
    "commands_in_pieces",
    "empty_lines",
    "line_ends_in_pieces",
    "line_feeds_alone",
    "lines_that_are_too_long",
    "long_arguments",
    "nul_bytes",
    "pipelined_commands",
    "telnet_commands_in_lines",
    "telnet_escapes_in_names",
    "trailing_blanks",
]


@check("RFC 1123 §4.1.2.10: one read may bring several; RFC 959 §5.4: each has its reply")
async def pipelined_commands(trial: Trial) -> None:
    """Commands that come in one segment are all carried out, in order, with one reply each."""

    async with trial.client() as client:
        await client.send("PWD", "TYPE A", "XYZZY", "TYPE I", "PWD")
        codes = [(await client.reply()).code for _ in range(5)]
        if codes[2] in UNKNOWN:
            codes[2] = 500
        trial.require(
            codes == [257, 200, 500, 200, 257],
            f"PWD, TYPE A, XYZZY, TYPE I, PWD in one segment were answered by {codes}",
        )
        await client.send(*["PWD", "TYPE I"] * 100)
        for place in range(200):
            reply = await client.reply()
            if reply.code != (200 if place % 2 else 257):
                trial.fail(f"of 200 commands at once, number {place} was answered by '{reply}'")
        await still_answers(client)


@check("RFC 1123 §4.1.2.10: what is read at once need not end where a line does")
async def commands_in_pieces(trial: Trial) -> None:
    """A command is whole when its CRLF has come, in however many segments."""

    async with trial.client() as client:
        # The reply to a command shows that the segment was read, with the beginning of another.
        for segment, code in ((b"PWD\r\nT", 257), (b"YPE I\r\nPW", 200), (b"D\r\nTYPE ", 257)):
            await client.send_bytes(segment)
            await client.expect_reply(code)
        for piece in (b"I", b"\r\nP", b"W", b"D", b"\r\n"):
            await client.send_bytes(piece)
            await asyncio.sleep(0.01)
        await client.expect_reply(200)
        await client.expect_reply(257)
        await still_answers(client)


@check("RFC 1123 §4.1.2.10; proftpd 1.3.8 does not see the end of the line")
async def line_ends_in_pieces(trial: Trial) -> None:
    """A line ends where CR and LF come in two segments."""

    async with trial.client() as client:
        for _ in range(3):
            await client.send_bytes(b"TYPE I\r")
            await asyncio.sleep(0.02)
            await client.send_bytes(b"\n")
            await client.expect_reply(200)
        await still_answers(client)


async def _check_replies(trial: Trial, client: ScriptedClient) -> None:
    """Read the replies to a transfer command, TYPE I and PWD, which came in one segment."""

    codes = [(await client.reply()).code for _ in range(4)]
    # RFC 959 does not forbid that commands are answered while the transfer runs.
    finals = [code for code in codes if code // 100 == 2 and code not in (200, 257)]
    trial.require(
        codes[0] in (125, 150) and codes.count(200) == 1 and codes.count(257) == 1 and finals,
        f"a transfer, TYPE I and PWD in one segment were answered by {codes}",
    )
    trial.require(
        codes.index(200) < codes.index(257), f"TYPE I and PWD were answered out of order: {codes}"
    )


@check("RFC 959 §5.4; Twisted and libunftp mixed or held back the replies")
async def commands_behind_a_download(trial: Trial) -> None:
    """Commands that come in one segment with RETR are carried out, each with one reply."""

    async with trial.client() as client:
        name, content = trial.new_name(), b"content" * 1000
        await trial.put(client, name, content)
        data = await client.passive()
        async with data:
            await client.send(f"RETR {name}", "TYPE I", "PWD")
            await client.secure(data)
            received = await data.receive_all()
            await client.leave(data)
        await _check_replies(trial, client)
        trial.require(received == content, f"{len(received)} of {len(content)} bytes came")
        await still_answers(client)


@check("RFC 959 §5.4; Twisted and libunftp mixed or held back the replies")
async def commands_behind_an_upload(trial: Trial) -> None:
    """Commands that come in one segment with STOR are carried out, each with one reply."""

    trial.writable()
    async with trial.client() as client:
        name, content = trial.new_name(), b"content" * 1000
        data = await client.passive()
        async with data:
            await client.send(f"STOR {name}", "TYPE I", "PWD")
            await client.secure(data)
            await data.send(content)
            await end_upload(data)
        await _check_replies(trial, client)
        trial.require(await trial.content(client, name) == content, "the file is another one")
        await still_answers(client)


@check("RFC 959 §5.3.1: <SP> and an argument, or nothing")
async def trailing_blanks(trial: Trial) -> None:
    """A blank after a command without an argument is ignored, or one error."""

    async with trial.client() as client:
        await client.expect("PWD ", 257, 500, 501)
        await client.expect("TYPE I ", 200, 500, 501, 504)
        await client.expect("PWD  ", 257, 500, 501)
        await still_answers(client)


@check("RFC 959 §5.3")
async def empty_lines(trial: Trial) -> None:
    """An empty line, or one of blanks, is ignored or answered by 500, and nothing else happens."""

    async with trial.client() as client:
        for line in ("", " "):
            await client.send(line, "PWD")
            reply = await client.reply()
            if reply.code in (500, 501, 502):
                reply = await client.reply()
            client.check(reply, 257)
        await still_answers(client)


@check("RFC 959 §5.3: CRLF ends a line")
async def line_feeds_alone(trial: Trial) -> None:
    """A line feed alone ends a line, or belongs to it; either way each line has one reply."""

    async with trial.client() as client:
        await client.send_bytes(b"PWD\nTYPE I\r\n")
        reply = await client.reply()
        if reply.code == 257:
            # Either two lines, or a server that ignores what follows PWD.
            await client.send("SYST")
            following = await client.reply()
            if following.code == 200:
                await client.expect_reply(215, 500, 502)
            else:
                client.check(following, 215, 500, 502)
        else:
            client.check(reply, 500, 501, 502)
        await still_answers(client)


@check("RFC 959 §5.3, RFC 854; CWE-93: a proxy that ends lines at CR sees other commands")
async def carriage_returns_alone(trial: Trial) -> None:
    """A CR without an LF does not end a line: what follows is part of the same command."""

    async with trial.client() as client:
        for line in (b"XYZZY\rPWD", b"XYZZY\r\rPWD"):
            await client.send_bytes(line + b"\r\n")
            await client.expect_reply(500, 501, 502)
            await still_answers(client)


@check("RFC 959 §4.2: 500 is also for a line that is too long; CVE-1999-0219, CVE-2006-2171")
async def lines_that_are_too_long(trial: Trial) -> None:
    """A line of 100,000 bytes is one error, or the end; its rest is no command."""

    for line in (b"X" * 100_000, b"CWD " + b"/x" * 50_000, b" PWD" * 25_000):
        async with trial.client() as client:
            try:
                await client.send(line)
                reply = await client.reply()
            except (Failure, OSError):
                if not await _is_gone(client):
                    raise
                trial.warn(f"a line of {len(line)} bytes ends the session without a reply")
                break
            if reply.kind not in (4, 5):
                trial.fail(f"a line of {len(line)} bytes was answered by '{reply}'")
            if not await _is_gone(client):
                await still_answers(client)


async def _is_gone(client: ScriptedClient) -> bool:
    """Tell whether the server closes the connection in a moment, without another word."""

    try:
        async with asyncio.timeout(0.1):
            if extra := await client.stream.receive():
                raise Failure(f"and then came {extra[:40]!r}")
    except TimeoutError:
        return False
    except (OSError, Truncated):
        return True
    return True


@check("RFC 959 §5.4: 550, 553, 501, 500; proftpd and pure-ftpd fall silent about 4,096 bytes")
async def long_arguments(trial: Trial) -> None:
    """Names at the limits of buffers (256 to 4,097 bytes) are one error, not another name."""

    async with trial.client() as client:
        for size in (256, 257, 511, 512, 1023, 1024, 2048, 4095, 4096, 4097):
            for verb in ("CWD", "DELE"):
                try:
                    reply = await client.command(f"{verb} {'n' * size}")
                except (Failure, OSError) as error:
                    if not await _is_gone(client):
                        trial.fail(f"a name of {size} bytes: {error}")
                    trial.warn(f"a name of {size} bytes ends the session without a reply")
                    return
                if reply.kind not in (4, 5):
                    trial.fail(f"{verb} of a name of {size} bytes was answered by '{reply}'")
                if reply.code == 421:
                    return
        await still_answers(client)


@check("RFC 959 §5.3, RFC 1123 §4.1.2.12: Telnet; vsftpd and proftpd take them as they come")
async def telnet_escapes_in_names(trial: Trial) -> None:
    """A byte 255 in a name is sent doubled, as Telnet has it, and is one byte of the name."""

    trial.writable()
    async with trial.client() as client:
        # `send` doubles the byte.
        made = await client.command(b"MKD y\xffz")
        if made.kind != 2:
            trial.not_offered(f"no byte 255 in names: '{made}'")
        told = _quoted_bytes(await _pwd_in(client, b"y\xffz"))
        await client.expect(b"RMD y\xffz", 250)
        if told.endswith(b"/y\xff\xff\xff\xffz"):
            trial.warn("IAC IAC in a name is two bytes 255")
        elif not told.endswith((b"/y\xff\xffz", b"/y\xffz")):
            trial.fail(f"a directory y\\xffz is told as {told[-12:]!r}")


async def _pwd_in(client: ScriptedClient, name: bytes) -> Reply:
    await client.expect(b"CWD " + name, 2)
    reply = await client.expect("PWD", 257)
    await client.expect("CDUP", 2)
    return reply


def _quoted_bytes(reply: Reply) -> bytes:
    """Return what stands between the quotation marks of a 257 reply, with 255 doubled again."""

    told = reply.text.partition('"')[2].rpartition('"')[0]
    return told.encode("utf-8", "surrogateescape").replace(b"\xff", b"\xff\xff")


@check("RFC 1123 §4.1.2.12: ABOR and STAT come with them (RFC 959 §4.1.3); pure-ftpd")
async def telnet_commands_in_lines(trial: Trial) -> None:
    """Telnet commands between the bytes of a line (IP, DM, WILL, DO) are dropped."""

    async with trial.client() as client:
        for what, sent in (
            ("IP and DM before a command", b"\xff\xf4\xff\xf2PWD\r\n"),
            ("NOP before a command", b"\xff\xf1PWD\r\n"),
        ):
            await client.send_bytes(sent)
            reply = await client.reply()
            if reply.code != 257:
                trial.warn(f"with {what}, PWD was answered by '{reply}'")
                client.check(reply, 500, 501, 502)
        await client.send_bytes(b"\xff\xfd\x06PWD\r\n")
        while (byte := await client.stream.receive(1)) == b"\xff":
            # An answer to DO TIMING-MARK: WILL or WONT.
            await client.stream.receive_exactly(2)
        rest = await client.stream.receive()
        if byte + rest[:2] != b"257":
            trial.warn(f"with DO before it, PWD was answered by {(byte + rest)[:40]!r}")


@check("CWE-158, CWE-626; RFC 2640 §3.1: only CR NUL has a meaning")
async def nul_bytes(trial: Trial) -> None:
    """A NUL byte in a line does not end it: what is before it is neither command nor name."""

    path = trial.writable()
    inner = f"{path.rpartition('/')[2]}-{trial.new_name('')}"
    async with trial.client() as client:
        await make_directory(client, inner)
        reply = await client.command(inner.join(("CWD ", "\0x")))
        if reply.kind == 2:
            trial.fail(f"CWD name NUL x was answered by '{reply}': it led to the name")
        await client.expect(f"RMD {inner}\0x", 4, 5)
        await client.expect(f"RMD {inner}", 250)
        await client.expect("XYZZY\0", 500, 501, 502)
        await still_answers(client)
