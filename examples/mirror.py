"""Mirror a directory of a server, and all below it.

python -m examples.mirror HOST PORT REMOTE LOCAL [--user NAME:PASSWORD]

Files whose size and time of change are those of the local copy are left alone,
if the server has MLSD (RFC 3659); the dates of LIST are too coarse for that.
What the server refuses, and names that would lead out of the local directory,
are passed over and reported at the end; the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time

import anyio
import anyio.to_thread
import attrs

from examples.control import Control, ReplyError, Server
from ftpdata import (
    EntryType,
    FTPDataError,
    parse_list_line,
    parse_mlsx_line,
    receive_file,
    receive_stream,
)

LARGEST_LISTING = 1 << 24  # bytes
TYPES = {EntryType.FILE: "file", EntryType.DIRECTORY: "dir"}


@attrs.frozen
class Found:
    """An entry of a directory of the server; None stands for what is not known."""

    name: str
    type: str
    size: int | None = None  # bytes
    modified: float | None = None  # seconds since the epoch


class Mirror:
    """One run.

    Attributes:
        transferred: How many files were transferred.
        failures: What was not transferred, and why.
    """

    def __init__(self, control: Control) -> None:
        self.transferred = 0
        self.failures: list[str] = []
        self._control = control
        self._has_mlsd = True

    async def run(self, remote: str, local: anyio.Path) -> None:
        """Make `local` like `remote`.

        Raises:
            OSError: The control connection is lost.
        """

        waiting = [(remote, local, Found("", "dir"))]
        while waiting:
            path, copy, found = waiting.pop()
            try:
                if found.type == "dir":
                    await copy.mkdir(parents=True, exist_ok=True)
                    for inner in await self._read_directory(path):
                        inner_path = f"{path.rstrip('/')}/{inner.name}"
                        if leads_elsewhere(inner.name):
                            self.failures.append(f"{inner_path!r}: the name leads elsewhere")
                        else:
                            waiting.append((inner_path, copy / inner.name, inner))
                elif found.type == "file" and not await is_same(copy, found):
                    await self._fetch(path, copy, found)
            except (ConnectionError, TimeoutError):
                raise
            except (FTPDataError, ReplyError, OSError, ValueError) as error:
                self.failures.append(f"{path!r}: {error}")

    async def _fetch(self, path: str, copy: anyio.Path, found: Found) -> None:
        async with self._control.transfer(f"RETR {path}") as dtp:
            await receive_file(dtp, copy, expected_size=found.size)

        self.transferred += 1
        if found.modified is not None:
            times = found.modified, found.modified
            await anyio.to_thread.run_sync(os.utime, copy, times)

    async def _read_directory(self, path: str) -> list[Found]:
        if self._has_mlsd:
            try:
                entries = [found_by_mlsd(line) for line in await self._lines(f"MLSD {path}")]
                return [found for found in entries if found.type not in ("cdir", "pdir")]
            except ReplyError as error:
                # 500 or 502: there is no such command (RFC 959 §4.2).
                if not str(error).startswith("50"):
                    raise
                self._has_mlsd = False

        entries = [found_by_list(line) for line in await self._lines(f"LIST {path}")]
        return [found for found in entries if found.name not in ("", ".", "..")]

    async def _lines(self, command: str) -> list[bytes]:
        listing = b""
        async with (
            self._control.transfer(command) as dtp,
            receive_stream(dtp, size_limit=LARGEST_LISTING) as stream,
        ):
            async for data in stream:
                listing += data

        return [line for line in listing.splitlines() if line]


def found_by_mlsd(line: bytes) -> Found:
    """Make sense of a line of MLSD (RFC 3659 §7)."""

    parsed = parse_mlsx_line(line)
    if parsed is None:
        raise ValueError("the server sends an empty line for an entry")

    name, facts = parsed
    return Found(name, (facts.type or "").lower(), facts.size, facts.modify)


def found_by_list(line: bytes) -> Found:
    """Make sense of a line of LIST; what is not an entry has no name."""

    entry = parse_list_line(line, now=time.time())
    if entry is None:
        return Found("", "")

    return Found(os.fsdecode(entry.name), TYPES.get(entry.type, ""))


def leads_elsewhere(name: str) -> bool:
    """Tell whether a name is a path that leads elsewhere."""

    return name in ("", ".", "..") or "/" in name or os.sep in name


async def is_same(copy: anyio.Path, found: Found) -> bool:
    """Tell whether the local copy is what the server has, as far as facts can say."""

    if found.modified is None or not await copy.is_file():
        return False

    status = await copy.stat()
    return status.st_size == found.size and int(status.st_mtime) == int(found.modified)


async def main(server: Server, remote: str, local: str) -> int:
    """Mirror once; return the exit status."""

    async with await Control.login(server) as control:
        mirror = Mirror(control)
        await mirror.run(remote, anyio.Path(local))

    print(f"{mirror.transferred} files transferred")
    print(*mirror.failures, sep="\n", end="\n" if mirror.failures else "", file=sys.stderr)
    return 1 if mirror.failures else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.mirror")
    Server.add_arguments(parser)
    parser.add_argument("remote", metavar="REMOTE")
    parser.add_argument("local", metavar="LOCAL")
    options = parser.parse_args()
    sys.exit(asyncio.run(main(Server.of_arguments(options), options.remote, options.local)))
