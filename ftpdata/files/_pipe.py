"""Reading a pipe in a worker thread, without leaving the thread there for ever."""

from __future__ import annotations

import contextlib
import os
import select

from ..errors import FileUnavailable

__all__ = ["PipeReader"]

LOOK = 0.5
"""Seconds between two checks whether anybody still waits for a silent writer."""

_FIRST = 64 * 1024
"""Bytes that a pipe holds (pipe(7))."""


class PipeReader:
    """Reads what comes, to the end.

    Args:
        fd: The pipe.
        must_have_writer: Whether a pipe that nobody writes to is refused. It is open without
            blocking then, and was opened just now.

    Raises:
        FileUnavailable: Nobody writes to it.
    """

    def __init__(self, fd: int, *, must_have_writer: bool) -> None:
        self._fd = fd
        self._first = b""
        self._is_given_up = False
        if must_have_writer:
            # Without a writer it is at its end. One that waits for its reader counts.
            with contextlib.suppress(BlockingIOError):
                self._first = os.read(fd, _FIRST)
                if not self._first:
                    raise FileUnavailable("nobody writes to this pipe")

    def read(self, count: int, _position: int) -> bytes:
        """Return what there is, at most `count` bytes; ``b""`` at the end, or once given up."""

        if self._first:
            data, self._first = self._first[:count], self._first[count:]
            return data

        while True:
            if hasattr(select, "poll"):
                poll = select.poll()
                poll.register(self._fd, select.POLLIN)
                while not poll.poll(LOOK * 1000):
                    if self._is_given_up:
                        return b""

            # Another reader may have been faster.
            with contextlib.suppress(BlockingIOError):
                return os.read(self._fd, count)

    def give_up(self) -> None:
        """Let a read that waits come back soon."""

        self._is_given_up = True
