"""Operations on a descriptor of any kind of file."""

from __future__ import annotations

import contextlib
import os

__all__ = ["let_go", "write_all"]


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of the data, however little the system takes at a time.

    Raises:
        OSError: The system refused. Some of the data may be written.
    """

    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def let_go(*fds: int | None) -> None:
    """Close descriptors through which nothing was written that could be lost.

    A close that fails has given the number back all the same (close(2)): the number is never
    closed a second time, since it may be another's by then.
    """

    for fd in fds:
        if fd is not None:
            with contextlib.suppress(OSError):
                os.close(fd)
