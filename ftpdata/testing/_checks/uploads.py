"""STOR, APPE, STOU and ALLO (RFC 959 §4.1.3): whole files, cut ones, several at once."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket

import anyio.to_thread

from ..client import Reply, ScriptedClient, ScriptedStream
from ._asking import (
    UNKNOWN,
    difference,
    make_directory,
    offered,
    pattern,
    try_download,
    try_upload,
    without_a_data_connection,
)
from ._frame import Trial, check
from ._steps import end_upload, happens_soon, running

__all__ = [
    "allo_command",
    "appe_command",
    "appending_by_several",
    "reset_upload",
    "reset_upload_over_a_file",
    "resumption_of_another_upload",
    "stor_is_atomic",
    "stor_of_a_shorter_file",
    "stou_command",
    "upload_without_a_data_connection",
    "upload_without_permission",
    "uploads_of_every_size",
    "uploads_of_one_name",
    "uploads_to_nowhere",
]

NO_APPENDING = (500, 502, 504, 554)
"""Replies of a server that appends to nothing, such as one with an object store."""

APPENDERS = 6
BLOCK = 1000

LOCKED = 1.0
"""Seconds after which a command seems to wait for a lock."""

FLIGHT = 512 * 1024
"""Bytes that the buffers of a connection do not hold, if that of the sender is small."""

SMALL_BUFFER = 16 * 1024


@check("RFC 959 §4.1.3")
async def uploads_of_every_size(trial: Trial) -> None:
    """Uploads of 0 bytes, of 1, about the size of buffers, and of a megabyte are stored exactly."""

    trial.writable()
    async with trial.client() as client:
        for size in (0, 1, 1460, 8191, 8192, 8193, 65_535, 65_536, 1_048_577):
            name, content = trial.new_name(), pattern(size)
            await trial.put(client, name, content)
            if why := difference(await trial.content(client, name), content):
                trial.fail(f"an upload of {size} bytes: {why}")


@check("RFC 959 §4.1.3: its contents shall be replaced")
async def stor_of_a_shorter_file(trial: Trial) -> None:
    """STOR of a shorter file over a longer one leaves nothing of the old one."""

    trial.writable()
    async with trial.client() as client:
        name = trial.new_name()
        await trial.put(client, name, pattern(100_000))
        await trial.put(client, name, b"short")
        why = difference(await trial.content(client, name), b"short")
        trial.require(not why, f"after STOR of 5 bytes over 100,000: {why}")


async def _be_read(data: ScriptedStream, content: bytes) -> None:
    """Send more than fits into the buffers of both sides: the server has read the beginning.

    Args:
        data: The data connection.
        content: `FLIGHT` bytes at least.
    """

    data.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
    await data.send(content)
    # It has not only read, but written.
    for _ in range(3):
        await asyncio.sleep(0.01)


async def _cut(client: ScriptedClient, name: str, content: bytes) -> Reply:
    """Begin an upload, and reset its data connection when the server has read some of it."""

    _, data = await client.begin(f"STOR {name}")
    async with data:
        await _be_read(data, content)
        data.reset()
    return await client.reply()


@check("RFC 959 §5.4: 426, 451; Twisted and pyftpdlib said 226, aioftp ended the session")
async def reset_upload(trial: Trial) -> None:
    """An upload whose connection is reset is answered by 4yz or 5yz, and the session goes on."""

    trial.writable()
    async with trial.client() as client:
        reply = await _cut(client, trial.new_name(), pattern(FLIGHT))
        if reply.kind not in (4, 5):
            trial.fail(f"an upload that was reset was answered by '{reply}'")
        name = trial.new_name()
        await trial.put(client, name, b"next")
        trial.require(await trial.content(client, name) == b"next", "the next upload fails")


@check("RFC 959 leaves it open; atomic uploads keep the old file")
async def reset_upload_over_a_file(trial: Trial) -> None:
    """An upload over a file, when it is reset, leaves the old file as it was."""

    trial.writable()
    async with trial.client() as client:
        name, old, new = trial.new_name(), pattern(150_000, 1), pattern(FLIGHT, 2)
        await trial.put(client, name, old)
        reply = await _cut(client, name, new)
        if reply.kind not in (4, 5):
            trial.fail(f"an upload that was reset was answered by '{reply}'")
        content = await trial.content(client, name)
        if content == old:
            return
        if content is None or new.startswith(content):
            trial.warn("the old file is gone after an upload over it was reset")
        else:
            trial.fail(f"old and new are mixed: {difference(content, old)}")


@check("RFC 959 leaves it open; a file that others read while it is written is half a file")
async def stor_is_atomic(trial: Trial) -> None:
    """While an upload over a file runs, others see the old file."""

    trial.writable()
    async with trial.client() as client, trial.client() as reader:
        name, old, new = trial.new_name(), pattern(30_000, 1), pattern(2 * FLIGHT, 2)
        await trial.put(client, name, old)
        _, data = await client.begin(f"STOR {name}")
        async with data:
            await _be_read(data, new[:FLIGHT])
            # A server may lock the file: then nobody sees half of it.
            _, seen, last = await _read_meanwhile(reader, name)
            await data.send(new[FLIGHT:])
            await end_upload(data)
        client.check(await client.reply(), 2)
        if last is not None and last.kind == 2 and seen != old:
            trial.warn(f"while it is written, others see {len(seen)} of {len(new)} bytes")
        if why := difference(await trial.content(client, name), new):
            trial.fail(f"the new file: {why}")


async def _read_meanwhile(
    reader: ScriptedClient, name: str
) -> tuple[Reply | None, bytes, Reply | None]:
    try:
        async with asyncio.timeout(LOCKED):
            return await try_download(reader, f"RETR {name}")
    except TimeoutError:
        return None, b"", None


@check("RFC 959 §4.1.3: APPE")
async def appe_command(trial: Trial) -> None:
    """APPE makes a file that is not there, and appends to one that is."""

    trial.writable()
    async with trial.client() as client:
        name = trial.new_name()
        first = await try_upload(client, f"APPE {name}", b"one")
        if first.code in NO_APPENDING:
            trial.not_offered(f"there is no APPE: '{first}'")
        client.check(first, 226, 250)
        trial.require(await trial.content(client, name) == b"one", "APPE makes no new file")
        second = await try_upload(client, f"APPE {name}", b" two")
        if second.kind in (4, 5) and await trial.content(client, name) == b"one":
            # A setting of proftpd, and its default.
            trial.not_offered(f"files cannot be appended to: '{second}'")
        client.check(second, 226, 250)
        why = difference(await trial.content(client, name), b"one two")
        trial.require(not why, f"after APPE to a file of 3 bytes: {why}")


@check("RFC 959 §4.1.3: APPE; POSIX: O_APPEND")
async def appending_by_several(trial: Trial) -> None:
    """What several append to one file at once is there, each block whole and once."""

    trial.writable()
    name = trial.new_name()
    blocks = [b"%d" % i * (BLOCK - 1) + b"\n" for i in range(APPENDERS)]
    ready = [asyncio.Event() for _ in blocks]
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(trial.client()) for _ in blocks]
        replies = await asyncio.gather(
            *(
                _append(client, name, block, own, ready)
                for client, block, own in zip(clients, blocks, ready, strict=True)
            )
        )
        content = await trial.content(clients[0], name) or b""

    if all(reply.code in NO_APPENDING for reply in replies):
        trial.not_offered(f"there is no APPE: '{replies[0]}'")
    done = [block for reply, block in zip(replies, blocks, strict=True) if reply.kind == 2]
    whole = sum(content.count(block) == 1 for block in done)
    trial.require(
        whole == len(done), f"of {len(done)} blocks that were appended at once, {whole} are there"
    )
    if len(done) < APPENDERS:
        trial.warn("not everybody may append while somebody else does")


async def _append(
    client: ScriptedClient,
    name: str,
    block: bytes,
    own: asyncio.Event,
    ready: list[asyncio.Event],
) -> Reply:
    """Append a block when all have begun, or after a while: a server may lock the file."""

    reply, data = await client.attempt(f"APPE {name}")
    own.set()
    if data is None:
        return reply

    async with data:
        try:
            async with asyncio.timeout(LOCKED):
                await asyncio.gather(*(event.wait() for event in ready))
        except TimeoutError:
            for event in ready:
                event.set()
        await data.send(block)
        await end_upload(data)
    return await client.reply()


@check("RFC 1123 §4.1.2.9: 125 or 150 `FILE: name`")
async def stou_command(trial: Trial) -> None:
    """STOU stores under a new name each time, and names it in the reply, after `FILE:`."""

    trial.writable()
    async with trial.client() as client:
        names = []
        for content in (b"one", b"two"):
            reply, data = await client.attempt("STOU")
            if reply.code in UNKNOWN:
                trial.not_offered(f"there is no STOU: '{reply}'")
            if data is None:
                trial.fail(f"STOU was answered by '{reply}'")
            async with data:
                await data.send(content)
                await end_upload(data)
            last = client.check(await client.reply(), 226, 250)
            told = re.match(r"1[25][05] FILE: ?(.+)$", reply.text)
            if told is None:
                both = f"{reply.text} {last.text}"
                other = re.search(r"FILE: ?(\S+)|name:? ?\"?([^\s\"]+)", both)
                if other is None:
                    trial.fail(f"STOU tells no name: '{reply}', '{last}'")
                trial.warn(f"STOU was answered by '{reply}', not by `150 FILE: name`")
                told = other
            name = next(group for group in told.groups() if group)
            name = name.strip().rstrip(".")
            names.append(name)
            if why := difference(await _fetch(client, name), content):
                trial.fail(f"the file {name} that STOU tells: {why}")
        trial.require(names[0] != names[1], f"STOU used the name {names[0]} twice")


async def _fetch(client: ScriptedClient, name: str) -> bytes | None:
    _, content, last = await try_download(client, f"RETR {name}")
    return content if last.kind == 2 else None


@check("Servers that write in place without a lock mix both")
async def uploads_of_one_name(trial: Trial) -> None:
    """Of two uploads of one name at once, the file is one of them, whole."""

    trial.writable()
    contents = pattern(2 * FLIGHT, 1), pattern(2 * FLIGHT - 50_000, 2)
    name = trial.new_name()
    async with trial.client() as one, trial.client() as two, contextlib.AsyncExitStack() as opened:
        _, first = await one.begin(f"STOR {name}")
        await opened.enter_async_context(first)
        await _be_read(first, contents[0][:FLIGHT])
        # A server may lock the file: then the second begins when the first has ended.
        async with running(_begin_second(two, name, contents[1][:FLIGHT], opened)) as begun:
            await happens_soon(begun, LOCKED)
            await first.send(contents[0][FLIGHT:])
            await end_upload(first)
            first.close()
            replies = [await one.reply()]
            reply, second = await begun
        if second is not None:
            await second.send(contents[1][FLIGHT:])
            await end_upload(second)
            second.close()
            reply = await two.reply()
        replies.append(reply)
        content = await trial.content(one, name)

    acknowledged = [c for c, r in zip(contents, replies, strict=True) if r.kind == 2]
    if acknowledged and content not in acknowledged:
        trial.fail(
            f"after uploads of {len(contents[0])} and {len(contents[1])} bytes at once, the file"
            f" has {len(content or b'')} bytes, and is neither of them"
        )


async def _begin_second(
    client: ScriptedClient, name: str, content: bytes, opened: contextlib.AsyncExitStack
) -> tuple[Reply, ScriptedStream | None]:
    reply, data = await client.attempt(f"STOR {name}")
    if data is not None:
        await opened.enter_async_context(data)
        await _be_read(data, content)
    return reply, data


@check("RFC 959 §5.4: 553, 550, 450")
async def uploads_to_nowhere(trial: Trial) -> None:
    """STOR and APPE to a directory's name, or into a directory that is not there, are refused."""

    trial.writable()
    async with trial.client() as client:
        directory = trial.new_name("")
        await make_directory(client, directory)
        for line in (f"STOR {directory}", "STOR missing/file", f"APPE {directory}"):
            reply = await try_upload(client, line, b"content")
            if reply.kind in (4, 5):
                continue
            said = f"{line} was answered by '{reply}'"
            is_made = line == "STOR missing/file" and (
                await trial.content(client, "missing/file") == b"content"
            )
            # Where directories are parts of names, there is nothing to be missing.
            (trial.warn if is_made else trial.fail)(said)
        await client.expect(f"RMD {directory}", 250)


@check("RFC 959 §5.4: 553, 550")
async def upload_without_permission(trial: Trial) -> None:
    """STOR into a directory where the server may not write is refused."""

    directory = trial.local()
    inner = trial.new_name("")
    await anyio.to_thread.run_sync((directory / inner).mkdir, 0o555)
    async with trial.client() as client:
        reply = await try_upload(client, f"STOR {inner}/file", b"content")
        if reply.kind == 2:
            trial.require(
                await trial.content(client, f"{inner}/file") == b"content",
                f"STOR was answered by '{reply}', and there is no such file",
            )
            trial.not_offered("the server may write everywhere")
        client.check(reply, 553, 550, 450, 451, 452, 532)


@check("RFC 959 §5.4: 425; Twisted had 503; proftpd and pure-ftpd empty the file")
async def upload_without_a_data_connection(trial: Trial) -> None:
    """STOR without PORT or PASV before it is refused, and the old file stays as it was."""

    trial.writable()
    async with trial.client() as client:
        name = trial.new_name()
        await trial.put(client, name, b"old content")
    async with trial.client() as client:
        await without_a_data_connection(trial, client, f"STOR {name}")
        content = await trial.content(client, name)
        trial.require(content == b"old content", f"the old file is now {content!r}")


@check("RFC 959 §4.1.3, §5.4: 200 or 202, and 504")
async def allo_command(trial: Trial) -> None:
    """ALLO is answered by 200 or 202 (or refused for too much), and an upload follows."""

    trial.writable()
    async with trial.client() as client:
        reply = await offered(trial, client, "ALLO 7")
        client.check(reply, 200, 202)
        name = trial.new_name()
        await trial.put(client, name, b"content")
        trial.require(await trial.content(client, name) == b"content", "the upload after ALLO")
        await client.expect("ALLO 7 R 7", 200, 202, 501, 504)
        for size in (2**40, 2**62, 2**64):
            await client.expect(f"ALLO {size}", 200, 202, 452, 501, 504, 552)
        await trial.put(client, name, b"content")


@check("RFC 3659 §5.3 has the client care for it; two files mixed, and 226")
async def resumption_of_another_upload(trial: Trial) -> None:
    """An upload that is resumed after somebody else has replaced the file is not mixed with it."""

    trial.writable()
    async with trial.client() as one, trial.client() as two:
        name, mine, other = trial.new_name(), pattern(2 * FLIGHT, 1), pattern(3 * FLIGHT, 2)
        await _cut(one, name, mine[:FLIGHT])
        size = await one.command(f"SIZE {name}")
        told = int(size.text[4:]) if size.code == 213 else 0
        if not 0 < told < len(mine):
            # Nothing of it is kept, so nothing can be mixed.
            return
        await trial.put(two, name, other)
        data = await one.passive()
        async with data:
            reply = await offered(trial, one, f"REST {told}")
            if reply.code == 350:
                await try_upload(one, f"STOR {name}", mine[told:], data)
        content = await trial.content(two, name)
        if content not in (mine, other):
            trial.warn("the beginning is another's, the rest is of the upload that was resumed")
