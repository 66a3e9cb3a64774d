"""A small disk, for one process: it is mounted in a namespace that ends with the process."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["can_mount", "with_disk"]

_MOUNT = 'mount -t tmpfs -o size="$1" disk "$2" && shift 2 && exec "$@"'


def can_mount() -> bool:
    """Whether this user may mount a disk, in a namespace of its own."""

    return (
        os.name == "posix"
        and shutil.which("unshare") is not None
        and subprocess.run(
            ["unshare", "--mount", "mount", "-t", "tmpfs", "disk", "/mnt"],
            capture_output=True,
            check=False,
        ).returncode
        == 0
    )


def with_disk(size: int, directory: Path) -> list[str]:
    """Return what to put before a command that is to see a disk of `size` bytes in a directory."""

    return ["unshare", "--mount", "sh", "-c", _MOUNT, "sh", str(size), str(directory)]
