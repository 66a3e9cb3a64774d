"""The transfer log of wu-ftpd (xferlog(5)), which log analysers read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import Self

from .._checks import check_call
from ..outcome import TransferResult, format_xferlog_line
from .contract import Observer, Transfer

__all__ = ["XferlogObserver"]


class XferlogObserver(Observer):
    """Appends a line to a file for each transfer of a file that has ended.

    A context manager, which closes the file; afterwards nothing is written. It writes while it is
    called: put it into a `QueuedObserver`. The file is opened again when another has taken its
    name, or none has it, so that logrotate need not signal anybody. Listings are not logged: they
    are transfers whose `Subject.command` is one of LIST, NLST and MLSD.

    Args:
        path: The file; it is made if it is not there.
        now: Tells the time, in the zone that is to be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        check_call(XferlogObserver.__init__, locals())
        self._path = Path(path)
        self._now = now
        self._file: FileIO | None = None
        self._is_torn = False
        self._is_closed = False

    def __enter__(self) -> Self:
        """Open the file.

        Raises:
            OSError: It cannot be opened.
        """

        self._file = self._open()
        return self

    def __exit__(self, *reason: object) -> None:
        self._is_closed = True
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def ended(
        self, transfer: Transfer, result: TransferResult, error: BaseException | None
    ) -> None:
        """Write its line.

        Raises:
            OSError: It cannot be written.
            ValueError: The file has been closed.
        """

        if self._is_closed:
            raise ValueError(f"{self._path} has been closed")
        subject = transfer.subject
        if subject is not None and subject.command in _LISTINGS:
            return

        line = format_xferlog_line(
            result,
            name=_name_of(transfer),
            ended_at=self._now(),
            ascii_type=subject is not None and subject.is_text,
            user="unknown" if subject is None or subject.user is None else subject.user,
            anonymous=subject is not None and subject.is_anonymous,
        )
        self._append(line.encode("utf-8", "surrogateescape") + b"\n")

    def _append(self, line: bytes) -> None:
        file = self._current()
        if self._is_torn:
            line = b"\n" + line
        # A disk that becomes full takes what it can: no other line may continue that one.
        written = file.write(line) or 0
        if written:
            self._is_torn = written < len(line)
        if written < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

    def _current(self) -> FileIO:
        """Return the file that has the name now."""

        if self._file is not None:
            mine = os.fstat(self._file.fileno())
            try:
                named = self._path.stat()
            except FileNotFoundError:
                named = None
            if named is not None and (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino):
                return self._file
            self._file.close()

        self._is_torn = False
        self._file = self._open()
        return self._file

    def _open(self) -> FileIO:
        # Unbuffered: each line is one write(2), which appends it whole, whoever else appends.
        return self._path.open("ab", buffering=0)


_LISTINGS = frozenset({"LIST", "NLST", "MLSD"})


def _name_of(transfer: Transfer) -> str:
    subject = transfer.subject
    name = transfer.path if subject is None else subject.name
    return "-" if name is None else name
