"""Files and directories of a server: what `Client` has commands for.

A file that is fetched gets its name when all of it is there and the server has said so. If the
transfer is cut, what came stays hidden, and `get` goes on after it (REST) if the server still has
the same version of the file: parts belong to a version, which is its size and its time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import cast

import anyio
import anyio.to_thread
import attrs

from examples.client.client import Client
from examples.client.pipelining import PipeliningClient
from examples.client.replies import Lost, ReplyError, RestRefused
from ftpdata import (
    FileTarget,
    FTPDataError,
    ListingEntry,
    TransferAborted,
    TransferResult,
    WriteMode,
    parse_mlsx_line,
    receive_file,
    receive_stream,
    send_file,
)
from ftpdata.contracts import ProgressCallback
from ftpdata.errors import InvalidData
from ftpdata.files import PartOwner, PartStore
from ftpdata.listing import Facts, ListReader, entry_from_facts, parse_time_val

__all__ = [
    "Listing",
    "ask",
    "facts_of",
    "get",
    "is_unknown",
    "list_directory",
    "may_have",
    "put",
    "read_list",
    "read_mlsd",
    "verify",
]

LARGEST_LISTING = 1 << 26  # bytes
WORTH_RESUMING = 1 << 20  # bytes; what is shorter is fetched again
Path = str | os.PathLike[str]


# What the server knows


async def ask(client: Client, line: str) -> str | None:
    """Send a command that servers need not have; return its reply, or None if there is none.

    Raises:
        ReplyError: The server has the command, and refuses it.
        OSError: The control connection is lost.
    """

    verb = line.split(maxsplit=1)[0]
    if verb in client.refused:
        return None
    try:
        return await client.command(line)
    except ReplyError as error:
        if not is_unknown(error):
            raise
        client.refused.add(verb)
        return None


def is_unknown(error: ReplyError) -> bool:
    """Tell whether the server does not have the command (RFC 959 §4.2.1)."""

    return str(error)[:3] in {"500", "502", "504"}


def may_have(client: Client, feature: str) -> bool:
    """Tell whether the server may have something: FEAT lists it, or the server has no FEAT."""

    return feature not in client.refused and (feature in client.features or not client.features)


async def facts_of(client: Client, path: str, *, by_size: bool = False) -> Facts | None:
    """Ask for the facts about a file (MLST, or SIZE and MDTM; RFC 3659).

    Args:
        client: The session.
        path: The path of the file.
        by_size: Whether to prefer SIZE to MLST: some servers count a part of an upload there.

    Returns:
        What the server tells, which may be nothing; None if it says that there is no such file.

    Raises:
        ReplyError: It does not tell just now (4yz).
        OSError: The control connection is lost.
    """

    try:
        if by_size and (size := await ask(client, f"SIZE {path}")):
            return Facts(size=_number(size), modify=await _time_of(client, path))
        if may_have(client, "MLST") and (reply := await ask(client, f"MLST {path}")):
            return _facts_in(reply)
        size = await ask(client, f"SIZE {path}")
    except ReplyError as error:
        if not error.is_permanent:
            raise
        return None

    return Facts(size=_number(size), modify=await _time_of(client, path))


async def _time_of(client: Client, path: str) -> float | None:
    with contextlib.suppress(ReplyError, FTPDataError):
        if reply := await ask(client, f"MDTM {path}"):
            return parse_time_val(reply[4:].strip())
    return None


def _number(reply: str | None) -> int | None:
    digits = (reply or "")[4:].strip()
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else None  # noqa: PLR2004


def _facts_in(reply: str) -> Facts:
    lines = reply.splitlines()[1:-1]
    with contextlib.suppress(InvalidData):
        for line in lines:
            if found := parse_mlsx_line(line.encode(errors="surrogateescape"), is_reply=True):
                return found[1]
    return Facts()


@attrs.frozen
class Listing:
    """A directory of the server.

    Attributes:
        entries: What is in it; neither itself nor its parent.
        unreadable: Lines that are in no known format.
        is_exact: Whether sizes are in bytes and times to the second, in UTC (MLSD).
    """

    entries: tuple[ListingEntry, ...]
    unreadable: tuple[bytes, ...] = ()
    is_exact: bool = True


async def list_directory(client: Client, path: str = "") -> Listing:
    """List a directory, by MLSD if the server has it, otherwise by LIST.

    Raises:
        QuotaExceeded: The listing is larger than `LARGEST_LISTING`.
        FTPDataError, ReplyError, OSError: See `Client.transfer`.
    """

    # To many servers, what begins with a hyphen is an option.
    argument = f" ./{path}" if path.startswith("-") else f" {path}" if path else ""
    # FEAT lists MLST alone (RFC 3659 §7.8), but some list MLSD.
    if "MLSD" not in client.refused and (may_have(client, "MLST") or may_have(client, "MLSD")):
        try:
            return read_mlsd(await _lines(client, f"MLSD{argument}"))
        except ReplyError as error:
            if not is_unknown(error):
                raise
            client.refused.add("MLSD")

    await client.command("TYPE A")
    try:
        lines = await _lines(client, f"LIST{argument}")
    finally:
        if not client.is_lost:
            await client.command("TYPE I")
    return read_list(lines, now=time.time())


async def _lines(client: Client, command: str) -> list[bytes]:
    listing = bytearray()
    async with (
        client.transfer(command) as transfer,
        receive_stream(
            transfer.endpoint,
            parameters=client.parameters,
            size_limit=LARGEST_LISTING,
            deadlines=client.deadlines,
        ) as stream,
    ):
        async for data in stream:
            listing += data
    return [bytes(line.rstrip(b"\r")) for line in listing.split(b"\n")]


def read_mlsd(lines: list[bytes]) -> Listing:
    """Make sense of the lines of MLSD (RFC 3659 §7)."""

    entries: list[ListingEntry] = []
    unreadable: list[bytes] = []
    for line in lines:
        try:
            found = parse_mlsx_line(line)
        except InvalidData:
            unreadable.append(line)
        else:
            if found is not None and (found[1].type or "").lower() not in {"cdir", "pdir"}:
                entries.append(entry_from_facts(*found))
    return Listing(tuple(entries), tuple(unreadable))


def read_list(lines: list[bytes], *, now: float) -> Listing:
    """Make sense of the lines of LIST, in any format that is known."""

    entries: list[ListingEntry] = []
    unreadable: list[bytes] = []
    reader = ListReader(now=now)
    for line in lines:
        try:
            entry = reader.read(line)
        except InvalidData:
            unreadable.append(line)
        else:
            if entry is not None and entry.text_name not in {".", ".."}:
                entries.append(entry)
    try:
        reader.finish()
    except InvalidData:
        unreadable.append(lines[-1])
    return Listing(tuple(entries), tuple(unreadable), is_exact=False)


# Fetching


class ConfirmedFile(FileTarget):
    """A file that gets its name once the server has said that it has sent all of it.

    Attributes:
        confirm: Waits until the server has said so.
        on_whole: Called before that, if all promised bytes are there.
        promised: The bytes of the file on the server; None if they are not known.
    """

    confirm: Callable[[], Awaitable[object]]
    on_whole: Callable[[], Awaitable[None]] | None = None
    promised: int | None = None

    async def commit(self, last: bytes = b"", *, timeout: float | None = None) -> None:
        """Publish the file, if it is what the server has sent."""

        is_whole = self.position + len(last) == self.promised
        try:
            if is_whole and self.on_whole is not None:
                await self.on_whole()
            await self.confirm()
        except BaseException as error:
            # If only the reply is lost, the bytes are there all the same.
            if not (isinstance(error, Lost) and is_whole):
                with anyio.CancelScope(shield=True):
                    if last:
                        await self.write(last)
                    await self.keep()
                if isinstance(error, ReplyError):
                    # The client raises the reply itself; the log needs no traceback of it.
                    raise TransferAborted(f"the server says {error}") from error
                raise
        await super().commit(last, timeout=timeout)


async def get(
    client: Client,
    remote: str,
    local: Path,
    *,
    dir_fd: int | None = None,
    facts: Facts | None = None,
    progress: ProgressCallback | None = None,
) -> TransferResult:
    """Fetch a file, and go on with what came of the same version of it, if it was cut before.

    Args:
        client: The session.
        remote: Its path on the server.
        local: The path of the copy, which gets the time of the file, if the server tells it.
        dir_fd: Directory that a relative `local` starts from.
        facts: What the server has told of the file, by MLSD; None asks it.
        progress: Called with the bytes that are here, and their total if it is known.

    Raises:
        FTPDataError, ReplyError, OSError, Aborted: See `Client.transfer`. The local file is as
            it was.
    """

    if facts is None:
        facts = await facts_of(client, remote) or Facts()
    async with _parts(client, remote, local, dir_fd, facts) as (owner, came):
        try:
            # A server that has REST lists it (RFC 3659 §5.4).
            offset = came if may_have(client, "REST") else 0
            result = await _get(client, remote, local, dir_fd, owner, offset, facts, progress)
        except RestRefused as error:
            if not error.is_permanent:
                raise
            client.refused.add("REST")
            result = await _get(client, remote, local, dir_fd, owner, 0, facts, progress)

    if facts.modify is not None:
        times = facts.modify, facts.modify
        await anyio.to_thread.run_sync(
            partial(os.utime, local, times, dir_fd=dir_fd, follow_symlinks=False)
        )
    return result


@contextlib.asynccontextmanager
async def _parts(
    client: Client, remote: str, local: Path, dir_fd: int | None, facts: Facts
) -> AsyncIterator[tuple[PartOwner | None, int]]:
    """Yield who owns the part of a version of a file, and how many bytes the part has."""

    if facts.size is None or facts.modify is None or facts.size < WORTH_RESUMING:
        yield None, 0
        return

    where = client.server
    version = f"{where.host}:{where.port} {where.user} {remote} {facts.size} {facts.modify}"
    directory = dir_fd if dir_fd is not None else os.path.dirname(local) or "."  # noqa: PTH120

    with contextlib.ExitStack() as stack:

        def look() -> tuple[PartOwner, int]:
            # It is closed also where nobody waits any more for what this returns.
            owner = stack.enter_context(PartStore(directory)).owner(version)
            part = owner.look(local, dir_fd=dir_fd)
            return owner, 0 if part is None else part.size

        owner, size = await anyio.to_thread.run_sync(look)
        # Some servers do not begin at the end of a file.
        yield owner, max(0, min(size, facts.size - 1))


async def _get(  # noqa: PLR0917 - what `get` has found out
    client: Client,
    remote: str,
    local: Path,
    dir_fd: int | None,
    owner: PartOwner | None,
    offset: int,
    facts: Facts,
    progress: ProgressCallback | None,
) -> TransferResult:
    mode = WriteMode.RESUME if offset else WriteMode.ATOMIC
    opened = await ConfirmedFile.open(local, dir_fd=dir_fd, mode=mode, offset=offset, parts=owner)
    file = cast("ConfirmedFile", opened)
    file.promised = facts.size
    if isinstance(client, PipeliningClient):
        file.on_whole = client.ask_early
    try:
        async with client.transfer(f"RETR {remote}", offset=offset) as transfer:
            file.confirm = transfer.confirm
            return await receive_file(
                transfer.endpoint,
                file,
                parameters=client.parameters,
                offset=offset,
                expected_size=None if facts.size is None else facts.size - offset,
                progress=_counted(progress, offset, facts.size),
                deadlines=client.deadlines,
            )
    finally:
        # Where it was neither published nor kept by now.
        with anyio.CancelScope(shield=True):
            await file.keep()


# Sending


async def put(
    client: Client,
    local: Path,
    remote: str,
    *,
    dir_fd: int | None = None,
    offset: int = 0,
    progress: ProgressCallback | None = None,
) -> TransferResult:
    """Send a file.

    Args:
        client: The session.
        local: The file.
        remote: Its path on the server.
        dir_fd: Directory that a relative `local` starts from.
        offset: How many of its bytes the server has already (REST).
        progress: Called with the bytes that are there, and their total.

    Raises:
        OSError: The file cannot be read, and nothing was sent; or the connection is lost.
        FTPDataError, ReplyError, Aborted: See `Client.transfer`.
    """

    size = await anyio.to_thread.run_sync(_size_of, local, dir_fd)
    async with client.transfer(f"STOR {remote}", offset=offset) as transfer:
        return await send_file(
            transfer.endpoint,
            local,
            dir_fd=dir_fd,
            parameters=client.parameters,
            offset=offset,
            progress=_counted(progress, offset, size),
            deadlines=client.deadlines,
        )


def _size_of(local: Path, dir_fd: int | None) -> int:
    """Return the size of a file that can be read: what cannot be is not begun on the server."""

    fd = os.open(local, os.O_RDONLY | os.O_NONBLOCK, dir_fd=dir_fd)
    try:
        status = os.fstat(fd)
    finally:
        os.close(fd)
    if not stat.S_ISREG(status.st_mode):
        raise IsADirectoryError(f"{os.fspath(local)!r} is not a regular file")
    return status.st_size


async def verify(client: Client, local: Path, remote: str) -> bool | None:
    """Compare the digests of a file here and on the server (HASH); None if it does not tell."""

    if "HASH" not in client.features or not (reply := await ask(client, f"HASH {remote}")):
        return None
    _, algorithm, _, theirs, *_ = reply.split()

    def ours() -> str:
        with open(local, "rb") as file:  # noqa: PTH123 - a path of any kind
            return hashlib.file_digest(file, algorithm.lower().replace("-", "")).hexdigest()

    return await anyio.to_thread.run_sync(ours) == theirs.lower()


def _counted(
    progress: ProgressCallback | None, offset: int, total: int | None
) -> ProgressCallback | None:
    return None if progress is None else lambda done, _: progress(offset + done, total)
