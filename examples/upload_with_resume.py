"""Upload a file; begin where an earlier try was cut.

python -m examples.upload_with_resume HOST PORT USER PASSWORD LOCAL REMOTE
"""

from __future__ import annotations

import asyncio
import sys

from examples.control import Control, ReplyError
from ftpdata import FTPDataError, TransferResult, send_file

TRIES = 5


async def upload(control: Control, local: str, remote: str) -> TransferResult:
    """Send what the server does not have yet (SIZE, REST, STOR)."""

    try:
        offset = int((await control.command(f"SIZE {remote}", "213")).split()[1])
    except ReplyError:
        offset = 0

    if offset:
        await control.command(f"REST {offset}", "350")

    result = await send_file(await control.open(f"STOR {remote}"), local, offset=offset)
    await control.reply("226")
    return result


async def main(server: tuple[str, int, str, str], local: str, remote: str) -> None:
    """Try until it is there; a new control connection for each try."""

    for attempt in range(1, TRIES + 1):
        try:
            async with await Control.login(*server) as control:
                result = await upload(control, local, remote)
        except (FTPDataError, OSError) as error:
            print(f"try {attempt}: {error}")
            await asyncio.sleep(attempt)
        else:
            print(f"{result.file_bytes} bytes from offset {result.offset}")
            return

    sys.exit("given up")


if __name__ == "__main__":
    host, port, user, password, local, remote = sys.argv[1:]
    asyncio.run(main((host, int(port), user, password), local, remote))
