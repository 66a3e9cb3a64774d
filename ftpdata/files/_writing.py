"""Writing to a descriptor until everything is written."""

from __future__ import annotations

import os

__all__ = ["write_all"]


def write_all(fd: int, data: bytes) -> None:
    """Write all of it, however little the system takes at a time.

    Raises:
        OSError: The system refused. Some of it may be written.
    """

    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
