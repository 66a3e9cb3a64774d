"""Uploads as another user, if the tests run as root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

__all__ = ["as_user", "needs_root"]

needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be another user"
)

_PROGRAM = """
import asyncio, json, os, sys
import anyio._backends._asyncio  # later, this user may not read it
from ftpdata.errors import FTPDataError
from ftpdata.files.target import FileTarget

fd, uid, gid, options = json.loads(sys.argv[1])
os.setgroups([])
os.setgid(gid)
os.setuid(uid)

async def main():
    try:
        target = await FileTarget.open("file", dir_fd=fd, **options)
        await target.write(b"ne")
        await target.commit(b"w")
    except FTPDataError as error:
        return [error.reply_code, str(error)]
    return [None, target.is_spooled]

print(json.dumps(asyncio.run(main())))
"""


def as_user(uid: int, gid: int, directory: Path, **options: Any) -> list[Any]:
    """Upload ``new`` to ``file`` in a directory, in a program that another user runs.

    Args:
        uid: The user.
        gid: The group.
        directory: The directory.
        options: Options of `FileTarget.open`.

    Returns:
        None, and whether the upload was spooled; or the reply code and the text of the error.
    """

    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, json.dumps([fd, uid, gid, options])],
            cwd=Path(__file__).parent.parent.parent,
            pass_fds=[fd],
            capture_output=True,
            check=True,
            timeout=50,
        )
    finally:
        os.close(fd)

    result: list[Any] = json.loads(done.stdout)
    return result
