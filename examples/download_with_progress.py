"""Download a file, with a progress bar.

python -m examples.download_with_progress HOST PORT REMOTE LOCAL
"""

from __future__ import annotations

import asyncio
import sys

from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from examples.control import Control
from ftpdata import TransferResult, receive_file


async def download(host: str, port: int, remote: str, local: str) -> TransferResult:
    """Receive `remote` as `local`, which appears only once it is whole."""

    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress("{task.description}", *columns) as bars:
        async with await Control.login(host, port) as control:
            size = int((await control.command(f"SIZE {remote}", "213")).split()[1])
            bar = bars.add_task(remote, total=size)
            dtp = await control.open(f"RETR {remote}")
            result = await receive_file(
                dtp,
                local,
                expected_size=size,
                progress=lambda done, total: bars.update(bar, completed=done, total=total),
            )
            await control.reply("226")

    return result


if __name__ == "__main__":
    done = asyncio.run(download(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]))
    print(f"{done.file_bytes} bytes in {done.seconds:.2f} s")
