"""Download a file, with a progress bar.

python -m examples.download_with_progress HOST PORT REMOTE LOCAL [--user NAME:PASSWORD]
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from examples.control import Control, ReplyError, Server
from ftpdata import FTPDataError, TransferResult, receive_file


async def download(server: Server, remote: str, local: str) -> TransferResult:
    """Receive `remote` as `local`, which appears only once it is whole."""

    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress("{task.description}", *columns) as bars:
        async with await Control.login(server) as control:
            size = await control.size(remote)
            bar = bars.add_task(remote, total=size)
            async with control.transfer(f"RETR {remote}") as dtp:
                return await receive_file(
                    dtp,
                    local,
                    expected_size=size,
                    progress=lambda done, total: bars.update(bar, completed=done, total=total),
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.download_with_progress")
    Server.add_arguments(parser)
    parser.add_argument("remote", metavar="REMOTE")
    parser.add_argument("local", metavar="LOCAL")
    options = parser.parse_args()
    try:
        done = asyncio.run(download(Server.of_arguments(options), options.remote, options.local))
    except (FTPDataError, ReplyError, OSError) as error:
        sys.exit(f"{options.remote}: {error}")

    print(f"{done.file_bytes} bytes in {done.seconds:.2f} s")
