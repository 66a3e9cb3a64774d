"""Files and their facts.

RFC 959 §4.1.3 (DELE, RNFR, RNTO), RFC 3659 (SIZE, MDTM, MLST),
draft-somers-ftp-mfxx (MFMT), draft-bryan-ftpext-hash (HASH); and XCRC, XMD5,
XSHA1, XSHA256, which no document describes and many clients use.
"""

from __future__ import annotations

import contextlib
import errno
import re
from typing import TYPE_CHECKING

import anyio.to_thread

from ftpdata import TransmissionMode
from ftpdata.codecs import SizeCounter, encoder_for
from ftpdata.digests import Digest
from ftpdata.listing import format_time_val, parse_time_val

from ..accounts import Rights
from ..failures import Refused, not_written
from ..listings import fact_line
from ..paths import is_allowed
from ..reply import Reply
from ..store import exists, is_directory
from .parameters import parse_offset
from .table import command

if TYPE_CHECKING:
    from ..session import Session

__all__ = ["HASH_NAMES"]

HASH_NAMES = ("SHA-256", "SHA-512", "SHA-1", "MD5", "CRC32")
"""Algorithms of HASH; the first one is what a session starts with."""

SEES_SIZE = Rights.LIST | Rights.READ | Rights.WRITE
"""One of these is enough for SIZE: whoever uploads asks how much has come."""

MAX_TOLD = 64
"""Parts whose size a session remembers; the one that was asked for first is forgotten first."""

MAX_COUNTED = 1024 * 1024
"""Bytes of a file that SIZE reads where the answer depends on what is in it: records of compressed
mode take a second of work for each mebibyte, and the command is short."""


@command("DELE path", rights=Rights.DELETE, read_only_code=550)
async def delete(session: Session, argument: str) -> Reply:
    """Delete a file, and what came of an upload of that name that was cut."""

    path, owner = await session.find(argument), session.part_owner
    session.told_sizes.pop(path, None)
    try:
        async with session.freeing(path):
            await session.store.remove_file(path)
    except FileNotFoundError:
        if owner is None or not await _remove_part(session, path, owner):
            raise
    else:
        if owner is not None:
            await _remove_part(session, path, owner)
    return Reply(250, "Deleted.")


async def _remove_part(session: Session, path: str, owner: str) -> bool:
    if session.quota is None:
        return await session.store.remove_part(path, owner)

    async with session.quota.freeing_part(path, owner) as free:
        is_removed = await session.store.remove_part(path, owner)
        if is_removed:
            free()
    return is_removed


@command("RNFR path", rights=Rights.RENAME, read_only_code=550)
async def rename_from(session: Session, argument: str) -> Reply:
    """Name the file to be renamed; RNTO must come next."""

    path = await session.find(argument)
    await session.store.status(path, follow=False)
    session.rename_from = path
    return Reply(350, "RNTO comes next.")


@command("RNTO path", rights=Rights.RENAME, read_only_code=553)
async def rename_to(session: Session, argument: str) -> Reply:
    """Rename what RNFR named."""

    old, session.rename_from = session.rename_from, None
    if old is None:
        return Reply(503, "RNFR comes first.")

    if not is_allowed(argument):
        return Reply(553, "A new name has no NUL and no line ends.")

    new, owner = await session.find(argument), session.part_owner
    try:
        if owner is not None:
            # Without the file, what is older than it would seem to be of an upload that was cut.
            await session.store.remove_part(old, owner, only_stale=True)
        async with session.freeing(new, unless=old):
            await session.store.rename(old, new)
    except OSError as error:
        if error.errno == errno.EINVAL:
            # rename(2): it would become a part of itself. Trying again does not help.
            raise Refused(553, "A directory cannot be moved into itself.") from error
        raise not_written(error) from error
    return Reply(250, "Renamed.")


@command("SIZE path", rights=SEES_SIZE, is_abortable=True)
async def size(session: Session, argument: str) -> Reply:
    """Tell how many bytes RETR would send, in the type, structure and mode set (RFC 3659 §4).

    If there is no file, but a part of an upload of this user's, it tells how many bytes have come,
    so that clients resume: see `PartStatus.told_size` in ftpdata.
    """

    parameters = session.choices.parameters
    if parameters.mode is TransmissionMode.DEFLATE:
        # Before compression, as REST counts too: the two are used together.
        parameters = parameters.with_mode("S")

    path = await session.find(argument)
    session.told_sizes.pop(path, None)
    try:
        file = await session.store.open_reader(path)
    except FileNotFoundError:
        told = await _size_of_part(session, path) if parameters.is_identity else None
        if told is None:
            raise
        return Reply(213, str(told))

    with file:
        if parameters.is_identity:
            return Reply(213, str(file.size))
        if file.size > MAX_COUNTED:
            return Reply(550, "Too large to be counted as it would be sent. Use TYPE I.")

        counter = SizeCounter(encoder_for(parameters, options=session.choices.options))
        async with contextlib.aclosing(file.chunks()) as chunks:
            async for data in chunks:
                await anyio.to_thread.run_sync(counter.feed, data)

    return Reply(213, str(counter.finish()))


async def _size_of_part(session: Session, path: str) -> int | None:
    """Return the size to reply for a part of this user's, and remember it; None without a part."""

    owner = session.part_owner
    part = None if owner is None else await session.store.part_status(path, owner)
    if part is None:
        return None

    told = session.told_sizes
    if len(told) >= MAX_TOLD:
        del told[next(iter(told))]
    told[path] = part.told_size
    return part.told_size


@command("MDTM path", rights=Rights.LIST | Rights.READ)
async def modification_time(session: Session, argument: str) -> Reply:
    """Tell when a file was modified (RFC 3659 §3)."""

    status = await session.store.status(await session.find(argument))
    return Reply(213, format_time_val(status.modified or 0))


@command("MFMT time path", rights=Rights.CHANGE, read_only_code=550)
async def modify_time(session: Session, argument: str) -> Reply:
    """Set when a file was modified (draft-somers-ftp-mfxx §3)."""

    time, _, path = argument.partition(" ")
    if not path:
        return Reply(501, "Syntax: MFMT time path")

    await session.store.set_modified(await session.find(path), parse_time_val(time))
    return Reply(213, f"Modify={time}; {path}")


@command("MLST [path]", rights=Rights.LIST)
async def facts(session: Session, argument: str) -> Reply:
    """Tell the facts of a file or directory (RFC 3659 §7)."""

    path = await session.find(argument)
    line = await fact_line(session, path)
    return Reply(250, "End", ("Facts:", line))


@command("HASH path", rights=Rights.READ, is_abortable=True)
async def digest(session: Session, argument: str) -> Reply:
    """Tell the digest of a file, or of the range that RANG named."""

    restart = session.choices.take_restart()
    path = await session.find(argument)
    if await is_directory(session.store, path):
        return Reply(553, "That is a directory.")

    name = session.choices.hash_name
    start, end, value = await _digest(session, path, name, restart.offset, restart.end)
    return Reply(213, f"{name} {start}-{max(start, end - 1)} {value} {argument}")


def _add_digest_command(verb: str, name: str) -> None:
    @command(f"{verb} path [start [end]]", rights=Rights.READ, is_abortable=True)
    async def handler(session: Session, argument: str) -> Reply:
        path, start, end = await _find_range(session, argument)
        if start is None:
            return Reply(501, f"Syntax: {verb} path [start [end]]")

        _, _, value = await _digest(session, path, name, start, end)
        return Reply(250, value.upper() if name == "CRC32" else value)


for _verb, _name in {
    "XCRC": "CRC32", "XMD5": "MD5", "XSHA1": "SHA-1", "XSHA256": "SHA-256",
}.items():
    _add_digest_command(_verb, _name)

# Clients put a path with blanks in quotation marks, and numbers after it.
_quoted = re.compile(r'"(.+)"')
_number_last = re.compile(r"(.+) ([0-9]+)")


async def _find_range(session: Session, argument: str) -> tuple[str, int | None, int | None]:
    """Find a file, and split the range off the argument.

    A name may end like a range, and quotation marks may be a part of it: of the names
    that the argument may mean, it is the longest one that exists.

    Returns:
        The path, the start (None if it is wrong), and the end.
    """

    numbers: list[str] = []
    while True:
        within = _quoted.fullmatch(argument)
        for name in (argument, *(within.groups() if within is not None else ())):
            path = await session.find(name)
            if await exists(session.store, path):
                return path, *_parse_range(numbers)

        shorter = _number_last.fullmatch(argument) if len(numbers) < 2 else None  # noqa: PLR2004
        if shorter is None:
            # There is no such file: opening it will say so.
            return path, *_parse_range(numbers)
        argument, number = shorter.groups()
        numbers.insert(0, number)


def _parse_range(numbers: list[str]) -> tuple[int | None, int | None]:
    """Parse a start and an end, which may be left out; the start is None if one is wrong."""

    offsets = [parse_offset(number) for number in numbers]
    start, end = (*offsets, *(0, None)[len(numbers) :])
    is_backwards = start is not None and end is not None and end < start
    return (None, None) if None in offsets or is_backwards else (start, end)


async def _digest(
    session: Session, path: str, name: str, start: int, end: int | None
) -> tuple[int, int, str]:
    """Digest a part of a file; return where it begins and ends, and the digest."""

    assert session.operation is not None
    computed = Digest(name)
    done = 0
    with await session.store.open_reader(path) as file:
        start = min(start, file.size)
        end = file.size if end is None else min(end, file.size)
        async with contextlib.aclosing(file.chunks(start, end)) as chunks:
            async for data in chunks:
                await anyio.to_thread.run_sync(computed.update, data)
                done += len(data)
                session.operation.progress(done, end - start)

    return start, end, computed.hexdigest()
