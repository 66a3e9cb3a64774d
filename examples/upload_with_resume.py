"""Upload a file; begin where an earlier try was cut.

python -m examples.upload_with_resume HOST PORT USER PASSWORD LOCAL REMOTE
"""

from __future__ import annotations

import asyncio
import sys

import anyio

from examples.control import Control, ReplyError, Server
from ftpdata import FTPDataError, TransferResult, send_file

TRIES = 5
CANNOT_GO_ON = ("450", "554")
"""The part is gone, or a file has the name by now; the offset is beyond what came."""


async def upload(control: Control, local: str, remote: str) -> TransferResult:
    """Send what the server does not have yet (SIZE, REST, STOR)."""

    offset = await control.size(remote) or 0
    if offset > (await anyio.Path(local).stat()).st_size:
        # Another file: nothing of it is ours.
        offset = 0

    try:
        return await send(control, local, remote, offset)
    except ReplyError as error:
        if not offset or not str(error).startswith(CANNOT_GO_ON):
            raise

    # What the server has of this name is not what it could go on with.
    return await send(control, local, remote, 0)


async def send(control: Control, local: str, remote: str, offset: int) -> TransferResult:
    """Send a file from an offset on."""

    if offset:
        await control.command(f"REST {offset}", "350")

    async with control.transfer(f"STOR {remote}") as dtp:
        return await send_file(dtp, local, offset=offset)


async def main(server: Server, local: str, remote: str) -> int:
    """Try until it is there, with a new control connection for each try; return the status."""

    for attempt in range(1, TRIES + 1):
        try:
            async with await Control.login(server) as control:
                result = await upload(control, local, remote)
        except (FTPDataError, ReplyError, OSError) as error:
            print(f"try {attempt}: {error}", file=sys.stderr)
            if isinstance(error, FileNotFoundError) or getattr(error, "is_permanent", False):
                return 1
            if attempt < TRIES:
                await asyncio.sleep(attempt)
        else:
            print(f"{result.file_bytes} bytes from offset {result.offset}")
            return 0

    return 1


if __name__ == "__main__":
    host, port, user, password, local, remote = sys.argv[1:]
    sys.exit(asyncio.run(main(Server(host, int(port), user, password), local, remote)))
