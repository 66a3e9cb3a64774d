"""Mirror a directory of a server, and all below it, over MLSD.

python -m examples.mirror HOST PORT REMOTE LOCAL

Files whose size and time of change are those of the local copy are left alone.
A name that would lead out of the local directory is refused.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import anyio

from examples.control import Control
from ftpdata import parse_mlsx_line, receive_file, receive_stream
from ftpdata.listing import Facts


async def entries(control: Control, remote: str) -> list[tuple[str, Facts]]:
    """Read a directory (RFC 3659 §7)."""

    listing = b""
    async with receive_stream(await control.open(f"MLSD {remote}"), size_limit=1 << 24) as stream:
        async for data in stream:
            listing += data

    await control.reply("226")
    return [parse_mlsx_line(line) for line in listing.splitlines()]


async def mirror(control: Control, remote: str, local: Path) -> int:
    """Make `local` like `remote`; return how many files were transferred."""

    await anyio.Path(local).mkdir(parents=True, exist_ok=True)
    transferred = 0
    for name, facts in await entries(control, remote):
        kind = (facts.type or "").lower()
        if kind in ("cdir", "pdir"):
            continue
        if name in ("", ".", "..") or "/" in name or os.sep in name:
            raise ValueError(f"the server lists a name that leads elsewhere: {name!r}")

        path = local / name
        if kind == "dir":
            transferred += await mirror(control, f"{remote}/{name}", path)
        elif kind == "file" and not is_same(path, facts):
            dtp = await control.open(f"RETR {remote}/{name}")
            await receive_file(dtp, path, expected_size=facts.size)
            await control.reply("226")
            transferred += 1
            if facts.modify is not None:
                os.utime(path, (facts.modify, facts.modify))

    return transferred


def is_same(path: Path, facts: Facts) -> bool:
    """Tell whether the local copy is what the server has, as far as facts can say."""

    if not path.is_file():
        return False

    status = path.stat()
    return status.st_size == facts.size and int(status.st_mtime) == int(facts.modify or -1)


async def main(host: str, port: int, remote: str, local: str) -> None:
    """Mirror once."""

    async with await Control.login(host, port) as control:
        print(f"{await mirror(control, remote, Path(local))} files transferred")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]))
