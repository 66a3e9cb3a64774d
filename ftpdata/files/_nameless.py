"""Files without a name, which are gone once nobody has them open."""

from __future__ import annotations

import errno
import os
import tempfile

from .._descriptors import let_go
from ._location import PRIVATE
from ._names import FilePath
from ._part_rules import temporary_name

__all__ = ["open_nameless", "open_nameless_twice"]

_ANY = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

_TEMPORARY: int = getattr(os, "O_TEMPORARY", 0)
"""Windows removes no file that is open, but one goes when it is closed, if everybody who has opened
it has said that it is temporary."""

_NOT_KNOWN = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL})
"""What a system says if it, or its file system, makes no files without a name."""


def open_nameless(directory: FilePath | None) -> int:
    """Make a file without a name, and open it to read and to write. Blocks.

    Args:
        directory: Where it is; None for where temporary files are.

    Raises:
        OSError: The system refused.
    """

    if hasattr(os, "O_TMPFILE"):
        try:
            return os.open(_where(directory), _ANY | os.O_RDWR | os.O_TMPFILE, PRIVATE)
        except OSError as error:
            if error.errno not in _NOT_KNOWN:
                raise

    fd, name = _make(directory)
    try:
        _take_name(name)
    except BaseException:
        let_go(fd)
        raise

    return fd


def open_nameless_twice(directory: FilePath | None) -> tuple[int, int]:
    """Do the same, and open it once more, only to read, with a position of its own."""

    writing, name = _make(directory)
    reading: int | None = None
    try:
        try:
            reading = os.open(name, _ANY | _TEMPORARY | os.O_RDONLY)
        finally:
            _take_name(name)
    except BaseException:
        let_go(writing, reading)
        raise

    return writing, reading


def _where(directory: FilePath | None) -> bytes:
    return os.fsencode(tempfile.gettempdir() if directory is None else directory)


def _make(directory: FilePath | None) -> tuple[int, bytes]:
    # pathlib has no names of bytes.
    name = os.path.join(_where(directory), temporary_name(os.urandom(8)))  # noqa: PTH118
    return os.open(name, _ANY | _TEMPORARY | os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE), name


def _take_name(name: bytes) -> None:
    if not _TEMPORARY:
        os.unlink(name)  # noqa: PTH108 - bytes
