"""Uploads that the kernel moves: from socket to pipe to file, by splice(2) (Linux).

`can_splice` decides, `splice_upload` moves. A worker thread moves the bytes that have
piled up in the socket until there are no more; then the transport goes on reading. So splice
never waits: as always, the transport handles the end of file, a slow peer, and whatever
splice cannot do.

A pipe lives for one call in a thread: 1,000 stalled uploads hold no pipe.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
import time
from collections.abc import Callable

from .._descriptors import let_go, write_all
from .._kernel import close_socket
from ..connection.protocol import DTP
from ..contracts import UploadTarget
from ..files.target import FileTarget
from ..outcome import FastPath
from ._supervisor import Supervisor

if sys.platform == "linux":
    import fcntl

__all__ = ["ENOUGH_TO_SPLICE", "can_splice", "has_splice", "splice_upload"]

ENOUGH_TO_SPLICE = 128 * 1024
"""Bytes of one piece that show that the socket probably has more than can be read at once."""

PIPE_SIZE = 1024 * 1024
"""Bytes of a pipe. An unprivileged user may have 64 such pipes at a time (pipe(7))."""

LARGEST_BURST = 16 * 1024 * 1024
"""Bytes that one call in a thread moves at most."""

LONGEST_BURST = 0.02
"""Seconds after which a call in a thread returns, so that the transfer can count, wait, or be
cancelled."""


def has_splice() -> bool:
    """Whether the system has splice(2), and Python can call it: PyPy cannot."""

    return sys.platform == "linux" and hasattr(os, "splice")


def can_splice(dtp: DTP, target: UploadTarget) -> bool:
    """Return whether splice is worth trying."""

    return (
        has_splice()
        and isinstance(target, FileTarget)
        and target.can_splice
        and dtp.tls is None
    )


async def splice_upload(
    transfer: Supervisor,
    target: UploadTarget,
    data: bytes,
    room: Callable[[int], int | None],
) -> None:
    """Write a piece, then move the data in the socket after it until the socket is empty.

    Args:
        transfer: The transfer; nothing else may read from its connection.
        target: The target for the bytes, for which `can_splice` is true.
        data: The piece that was received last.
        room: Returns how many more bytes are acceptable for a file of a given size; None for
            any number. Further bytes are left in the socket.

    Raises:
        FTPDataError: The connection was lost, or the system refused to write.

    Cancellation waits for the thread, as in `ftpdata.files._workers`.
    """

    assert isinstance(target, FileTarget)
    bypass = transfer.dtp.bypass
    burst = _Burst(bypass.lend_socket(), data)
    try:
        while burst.has_more:
            left = room(transfer.report.file_bytes + len(burst.data))
            most = transfer.pace.piece_up_to(LARGEST_BURST)
            burst.most = most if left is None else min(most, left)
            # A call that never begins has received nothing: forget the count of the last one.
            burst.received = 0
            try:
                await target.fill(burst.move)
            finally:
                bypass.account_received(burst.received)

            if burst.received:
                transfer.report.fast_path = FastPath.SPLICE
            transfer.report.file_bytes += len(burst.data) + burst.received
            burst.data = b""
            transfer.report_progress()
            await transfer.pace.wait_for_turn(burst.received)
            if burst.failure is not None:
                raise bypass.lost_by(burst.failure) from burst.failure
    finally:
        burst.close()

    if burst.is_refused:
        target.can_splice = False


class _Burst:
    """The work of one call in a thread, repeated as long as there is more.

    Args:
        sock: A second socket of the connection; None if the connection has none to lend.
        data: Bytes to be written before those of the socket.

    Attributes:
        most: Bytes to take from the socket at most.
        received: Bytes that the last call took.
        has_more: Whether there was more than the last call might take.
        is_refused: Whether the socket or the file does not support splice.
        failure: The error that the system reported for the connection.
    """

    def __init__(self, sock: socket.socket | None, data: bytes) -> None:
        self.data = data
        self.most = 0
        self.received = 0
        self.has_more = True
        self.is_refused = False
        self.failure: OSError | None = None
        self._socket = sock
        # Held only during calls that do not wait: the loop's thread takes it, too.
        self._lock = threading.Lock()

    def close(self) -> None:
        """Release the socket at once, even if a disk still holds the thread."""

        with self._lock:
            sock, self._socket = self._socket, None
            if sock is not None:
                close_socket(sock)

    def move(self, fd: int) -> int:
        """Write to a file; return how many bytes. Runs in a worker thread.

        Raises:
            OSError: The file could not be written.
        """

        self.received = 0
        self.has_more = False
        write_all(fd, self.data)
        pipe = _open_pipe()
        if pipe is None:
            return len(self.data)

        reading, writing = pipe
        try:
            end_at = time.monotonic() + LONGEST_BURST
            while count := self._take(writing):
                self._put(reading, fd, count)
                if time.monotonic() >= end_at or self.received == self.most:
                    self.has_more = not self.is_refused
                    break
        finally:
            let_go(reading, writing)

        return len(self.data) + self.received

    def _take(self, pipe: int) -> int:
        """Move bytes from the socket into the pipe; return how many, 0 if there are none."""

        with self._lock:
            if self._socket is None or self.is_refused or self.received == self.most:
                return 0

            try:
                count = os.splice(
                    self._socket.fileno(),
                    pipe,
                    min(self.most - self.received, PIPE_SIZE),
                    flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK,
                )
            except BlockingIOError:
                return 0
            except OSError as error:
                if error.errno in _REFUSALS:
                    self.is_refused = True
                else:
                    self.failure = error
                return 0

        self.received += count
        return count

    def _put(self, pipe: int, fd: int, count: int) -> None:
        """Move bytes from the pipe to the file; read and write if the file has no splice."""

        while count and not self.is_refused:
            try:
                count -= os.splice(pipe, fd, count, flags=os.SPLICE_F_MOVE)
            except OSError as error:
                if error.errno not in _REFUSALS:
                    raise
                self.is_refused = True

        while count:
            data = os.read(pipe, count)
            count -= len(data)
            write_all(fd, data)


def _open_pipe() -> tuple[int, int] | None:
    """Open a pipe of `PIPE_SIZE`; return None if there is none, as smaller ones are too slow."""

    try:
        reading, writing = os.pipe2(os.O_CLOEXEC)
    except OSError:
        return None

    try:
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    except OSError:
        let_go(reading, writing)
        return None

    return reading, writing


_REFUSALS = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})
"""Errors that mean that a file or a socket does not support splice, or that it is forbidden."""
