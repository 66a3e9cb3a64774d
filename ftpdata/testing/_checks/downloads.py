"""RETR (RFC 959 §4.1.3): exact bytes, of files that change meanwhile, too."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path

import anyio.to_thread

from ..client import Reply, ScriptedClient
from ._asking import (
    difference,
    make_directory,
    offered,
    pattern,
    still_answers,
    try_download,
    without_a_data_connection,
)
from ._frame import Trial, check
from ._steps import LARGE_SIZE, drain

__all__ = [
    "download_of_a_directory",
    "download_of_a_missing_file",
    "download_without_a_data_connection",
    "downloads_of_every_size",
    "file_of_more_than_4_gib",
    "file_that_grows",
    "file_that_is_deleted",
    "file_that_is_replaced",
    "file_that_shrinks",
]

HUGE = 2**32 + 7
"""Bytes before the end of a file whose size needs more than 32 bits."""

SMALL_BUFFER = 64 * 1024


@check("RFC 959 §4.1.3")
async def downloads_of_every_size(trial: Trial) -> None:
    """RETR sends files of 0 bytes, of 1, about the size of buffers, and of a megabyte exactly."""

    async with trial.client() as client:
        for size in (0, 1, 1460, 8191, 8192, 8193, 65_535, 65_536, 1_048_577):
            name, content = trial.new_name(), pattern(size)
            await trial.put(client, name, content)
            if why := difference(await client.download(f"RETR {name}"), content):
                trial.fail(f"RETR of {size} bytes: {why}")


@check("RFC 959 §5.4: 450, 550, before 150")
async def download_of_a_missing_file(trial: Trial) -> None:
    """RETR of a missing file is refused by 550 (or 450), before 150."""

    async with trial.client() as client:
        first, content, last = await try_download(client, "RETR missing")
        if last.kind == 2 or content:
            trial.fail(f"RETR of a missing file sent {content[:40]!r} and '{last}'")
        client.check(last, 550, 450, 451)
        if first.kind == 1:
            trial.warn(f"RETR of a missing file was '{first}', then '{last}'")
        await still_answers(client)


@check("RFC 959 §5.4: 550")
async def download_of_a_directory(trial: Trial) -> None:
    """RETR of a directory is refused."""

    trial.writable()
    async with trial.client() as client:
        name = trial.new_name("")
        await make_directory(client, name)
        _, content, last = await try_download(client, f"RETR {name}")
        await client.expect(f"RMD {name}", 250)
        if last.kind == 2 or content:
            trial.fail(f"RETR of a directory sent {content[:40]!r} and '{last}'")
        client.check(last, 550, 450, 451, 501, 553)


@check("RFC 959 §5.4: 425; Twisted had 150, then 426")
async def download_without_a_data_connection(trial: Trial) -> None:
    """RETR without PORT or PASV before it is refused, and the session goes on."""

    async with trial.client() as client:
        name = trial.new_name()
        await trial.put(client, name, b"content")
    async with trial.client() as client:
        await without_a_data_connection(trial, client, f"RETR {name}")
        if not trial.warnings:
            trial.require(await client.download(f"RETR {name}") == b"content", "the next RETR")


async def _begin(trial: Trial, name: str, content: bytes) -> Path:
    path = trial.local() / name
    await anyio.to_thread.run_sync(path.write_bytes, content)
    return path


async def _while_sent(
    client: ScriptedClient, name: str, change: Callable[[], object]
) -> tuple[Reply, bytes]:
    """Download a file that is changed meanwhile; return the first reply, and all that came.

    The caller reads the last reply.
    """

    data = await client.passive(receive_buffer=SMALL_BUFFER)
    async with data:
        first, _ = await client.begin(f"RETR {name}", data)
        received = await data.receive_exactly(100_000)
        await anyio.to_thread.run_sync(change)
        rest = await drain(data)
        if rest.end == "clean":
            await client.leave(data)
    return first, received + rest.content


def _promised(reply: Reply) -> int | None:
    """Return the size that a 150 tells, as many servers do."""

    found = re.search(r"\((\d+) bytes\)", reply.text)
    return int(found[1]) if found else None


@check("RFC 959 §5.4: 426, 451; a cut file looks whole (see ProFTPD bug 4318)")
async def file_that_shrinks(trial: Trial) -> None:
    """RETR of a file that becomes shorter while it is sent does not end with 226."""

    name, content = trial.new_name(), pattern(LARGE_SIZE)
    path = await _begin(trial, name, content)
    async with trial.client() as client:
        shrink = functools.partial(os.truncate, path, LARGE_SIZE - 1_000_000)
        first, received = await _while_sent(client, name, shrink)
        last = await client.reply()
        if received == content:
            trial.not_offered("the server had read the file before it became shorter")
        if not content.startswith(received) and received.strip(b"\0") not in content:
            trial.fail("bytes came that were never in the file")
        if last.kind == 2:
            told = _promised(first)
            why = f"of {LARGE_SIZE} bytes {len(received)} came, and '{last}'"
            if told is not None:
                trial.fail(f"{why}, after '{first}'")
            trial.warn(why)


@check("ProFTPD bug 4318 was an endless loop")
async def file_that_grows(trial: Trial) -> None:
    """RETR of a file that becomes longer while it is sent ends, with nothing mixed."""

    name, content = trial.new_name(), pattern(LARGE_SIZE)
    path = await _begin(trial, name, content)
    async with trial.client() as client:
        _, received = await _while_sent(client, name, functools.partial(_append, path))
        await client.expect_reply(226, 250, 426, 451)
        grown = content + b"more" * 250_000
        if len(received) < LARGE_SIZE or received != grown[: len(received)]:
            trial.fail(f"of a file that grew: {difference(received, grown)}")


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more" * 250_000)


def _replace(path: Path) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(pattern(LARGE_SIZE, 7))
    new.replace(path)


@check("POSIX: an open file stays what it is")
async def file_that_is_replaced(trial: Trial) -> None:
    """RETR of a file that is replaced while it is sent gives the old or the new one, not both."""

    name, content = trial.new_name(), pattern(LARGE_SIZE)
    path = await _begin(trial, name, content)
    async with trial.client() as client:
        _, received = await _while_sent(client, name, functools.partial(_replace, path))
        last = await client.expect_reply(2, 426, 451)
        if last.kind == 2 and received != content:
            trial.fail(f"old and new are mixed: {difference(received, content)}")


@check("POSIX: an open file stays what it is")
async def file_that_is_deleted(trial: Trial) -> None:
    """RETR of a file that is deleted while it is sent gives all of it, or an error."""

    name, content = trial.new_name(), pattern(LARGE_SIZE)
    path = await _begin(trial, name, content)
    async with trial.client() as client:
        _, received = await _while_sent(client, name, path.unlink)
        last = await client.expect_reply(2, 426, 450, 451, 550)
        if last.kind == 2 and received != content:
            trial.fail(f"{len(received)} of {LARGE_SIZE} bytes came, and '{last}'")


@check("ProFTPD's tests of 2 GiB and 4 GiB; offsets of 32 bits")
async def file_of_more_than_4_gib(trial: Trial) -> None:
    """A file of more than 4 GiB has its size in SIZE, LIST and MLSD, and its end is its end."""

    name, end = trial.new_name(), b"the end of a large file"
    path = trial.local() / name
    await anyio.to_thread.run_sync(_make_large, path, end)
    try:
        async with trial.client() as client:
            size = await client.command(f"SIZE {name}")
            if size.code == 213 and size.text != f"213 {HUGE + len(end)}":
                trial.fail(f"SIZE of a file of {HUGE + len(end)} bytes: '{size}'")
            for line in ("LIST", "MLSD"):
                first, listed, _ = await try_download(client, line)
                if first.kind == 1 and not re.search(rb"\b%d\b" % (HUGE + len(end)), listed):
                    trial.fail(f"{line} shows another size than {HUGE + len(end)}")
            data = await client.passive()
            async with data:
                client.check(await offered(trial, client, f"REST {HUGE}"), 350)
                first, received, last = await try_download(client, f"RETR {name}", data)
            if received != end:
                trial.fail(f"from {HUGE} on came {received[:40]!r}, and '{last}'")
    finally:
        await anyio.to_thread.run_sync(path.unlink)


def _make_large(path: Path, end: bytes) -> None:
    """Make a file that has its size, and takes no room."""

    with path.open("wb") as file:
        file.seek(HUGE)
        file.write(end)
