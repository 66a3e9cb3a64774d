"""Paths beneath a directory, as clients name them: no step of the way leads out.

`opened_beneath` opens a file or a directory for one command. `open_beneath` is the same for code
that runs in a worker thread, and `locate_beneath` finds the directory that a name is in, to make,
rename or remove what has the name.

Nobody gains anything by exchanging a directory for a link meanwhile: each step is taken from the
descriptor of the step before. On Linux the kernel takes all steps in one call (openat2) if there
is no link on the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Final

import anyio

from .._checks import check_call, check_range
from .._descriptors import let_go
from ._libc import BENEATH, open_resolved
from ._names import ERRORS_OF_NAMES, FilePath
from ._workers import WorkerCalls

__all__ = ["locate_beneath", "open_beneath", "opened_beneath"]

MAX_STEPS: Final = 1024
"""Directories and links that one path may pass through before it is refused."""

_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
# O_PATH needs no read permission on the directories of a path.
_WALK = getattr(os, "O_PATH", os.O_RDONLY) | _DIRECTORY | _NOFOLLOW
# A FIFO that nobody writes to must not hold a worker thread for ever.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | _NOFOLLOW


@contextlib.asynccontextmanager
async def opened_beneath(
    directory: FilePath | int,
    path: FilePath,
    *,
    is_directory: bool = False,
    follow: bool = False,
    limiter: anyio.CapacityLimiter | None = None,
) -> AsyncIterator[int]:
    """Open a regular file or a directory, and close it at the end of the context.

    ::

        async with opened_beneath("/srv/ftp", path) as file:
            await send_file(endpoint, file)

    Args:
        directory: The directory that clients see as ``/``: a path, or a descriptor.
        path: The path from there on; it may begin with ``/``.
        is_directory: Whether a directory is expected, rather than a regular file.
        follow: Whether symbolic links are followed; see `open_beneath`.
        limiter: Bounds the threads.

    Yields:
        A descriptor, open for reading.

    Raises:
        FileUnavailable: There is nothing of that kind and name beneath the directory, or it
            may not be read. Reply 550.
        FTPDataError: The system failed otherwise. Reply 4yz.
        NotImplementedError: The system does not open names in directories (Windows).

    Cancellation leaves nothing open.
    """

    check_call(opened_beneath, locals())
    check_range("directory", directory if isinstance(directory, int) else None, 0)
    calls = WorkerCalls(limiter)
    opened: list[int] = []

    def work() -> None:
        opened.append(open_beneath(directory, path, is_directory=is_directory, follow=follow))

    def close() -> None:
        let_go(*opened)

    try:
        with ERRORS_OF_NAMES:
            await calls.run(work)
    except asyncio.CancelledError:
        if not calls.defer(close):
            close()
        raise

    try:
        yield opened[0]
    finally:
        close()


def open_beneath(
    directory: FilePath | int,
    path: FilePath,
    *,
    is_directory: bool = False,
    follow: bool = False,
) -> int:
    """Open a regular file or a directory for reading. Blocks; see `opened_beneath`.

    Args:
        directory: The directory that clients see as ``/``: a path, or a descriptor.
        path: The path from there on; it may begin with ``/``.
        is_directory: Whether a directory is expected, rather than a regular file.
        follow: Whether symbolic links are followed that lead to something beneath the
            directory. Without it, a link anywhere on the path is refused.

    Returns:
        A descriptor, which belongs to the caller.

    Raises:
        FileNotFoundError: There is nothing of that name.
        NotADirectoryError: It, or something on the way, is not a directory.
        IsADirectoryError: It is a directory, and a file is expected.
        PermissionError: It leads out of the directory, is neither a file nor a
            directory, or may not be read.
        OSError: ELOOP if there is a link that is not followed, or too many of them; or
            as the system says.
        NotImplementedError: The system does not open names in directories (Windows).
    """

    check_call(open_beneath, locals())
    check_range("directory", directory if isinstance(directory, int) else None, 0)
    flags = _READ | _DIRECTORY if is_directory else _READ
    with _opened(directory) as root:
        names = _names_in(path)
        descriptor = _open_in_one_call(root, names, flags)
        if descriptor is None:
            with _walk(root, names, follow=follow, resolve_last=True) as (parent, name):
                descriptor = os.open(name, flags, dir_fd=parent)

    if not is_directory:
        try:
            _require_file(os.fstat(descriptor))
        except BaseException:
            let_go(descriptor)
            raise

    return descriptor


@contextlib.contextmanager
def locate_beneath(
    directory: FilePath | int,
    path: FilePath,
    *,
    follow: bool = False,
    resolve_last: bool = True,
) -> Iterator[tuple[int, bytes]]:
    """Find the directory that the last name of a path is in, as a context manager. Blocks.

    Whatever is done to the last name afterwards must not follow a link either (O_NOFOLLOW,
    AT_SYMLINK_NOFOLLOW): somebody may have put one there meanwhile.

    Args:
        directory: See `open_beneath`.
        path: The path; nothing needs to have its last name.
        follow: Whether symbolic links are followed; see `open_beneath`.
        resolve_last: Whether this applies to a link that has the last name, too. Without
            it the link itself is found, to remove or rename it.

    Yields:
        A descriptor of the directory, which is closed at the end of the context and may be
        good for nothing but to name what is in it (O_PATH); and the last name, which is
        ``b"."`` if the path leads to `directory` itself.

    Raises:
        OSError: See `open_beneath`.
        NotImplementedError: See `open_beneath`.
    """

    check_call(locate_beneath, locals())
    check_range("directory", directory if isinstance(directory, int) else None, 0)
    with (
        _opened(directory) as root,
        _walk(root, _names_in(path), follow=follow, resolve_last=resolve_last) as place,
    ):
        yield place


@contextlib.contextmanager
def _opened(directory: FilePath | int) -> Iterator[int]:
    """Give a descriptor of a directory."""

    if os.open not in os.supports_dir_fd:
        raise NotImplementedError("this system does not open names in directories")

    if isinstance(directory, int):
        yield directory
        return

    fd = os.open(directory, _WALK & ~getattr(os, "O_NOFOLLOW", 0))
    try:
        yield fd
    finally:
        let_go(fd)


def _names_in(path: FilePath) -> list[bytes]:
    raw = os.fsencode(path)
    if b"\0" in raw:
        raise _error(errno.ENOENT)

    return [name for name in raw.split(b"/") if name not in (b"", b".")]


def _open_in_one_call(root: int, names: list[bytes], flags: int) -> int | None:
    """Open what is beneath a directory, with no link on the way.

    None where the system cannot do so: the walk can, or knows the reason.
    """

    if sys.platform != "linux" or b".." in names:
        return None

    try:
        return open_resolved(root, b"/".join(names) or b".", flags, BENEATH)
    except OSError:
        return None


@contextlib.contextmanager
def _walk(
    root: int, names: list[bytes], *, follow: bool, resolve_last: bool
) -> Iterator[tuple[int, bytes]]:
    """Walk to the directory that holds the last name; see `locate_beneath`."""

    pending = names[::-1]
    walked: list[bytes] = []
    steps = 0
    fd = _open_in_one_call(root, names[:-1], _WALK)
    if fd is None:
        fd = os.dup(root)
    else:
        walked, pending = names[:-1], names[-1:]

    try:
        while pending:
            steps += 1
            if steps > MAX_STEPS:
                raise _error(errno.ELOOP)

            name = pending.pop()
            if name == b"..":
                # The parent that was walked through, not the one that the directory
                # may have been moved to.
                if not walked:
                    raise _error(errno.EACCES)
                pending.extend(reversed(walked[:-1]))
                walked = []
                fd = _step(fd, root, None)
                continue

            target = _link_target(fd, name) if pending or resolve_last else None
            if target is not None:
                pending.extend(reversed(_names_in_link(target, follow=follow)))
            elif pending:
                fd = _step(fd, root, name)
                walked.append(name)
            else:
                yield fd, name
                return

        # The path is the directory, or a link that leads back up to it.
        yield fd, b"."
    finally:
        let_go(fd)


def _step(fd: int, root: int, name: bytes | None) -> int:
    """Open a directory in `fd`, or `root` again; close `fd`."""

    following = os.dup(root) if name is None else os.open(name, _WALK, dir_fd=fd)
    let_go(fd)
    return following


def _link_target(fd: int, name: bytes) -> bytes | None:
    """Return where a link leads; None if there is no link of that name."""

    try:
        return os.readlink(name, dir_fd=fd)
    except OSError as error:
        # The next call says which of these it is.
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def _names_in_link(target: bytes, *, follow: bool) -> list[bytes]:
    if not follow:
        raise _error(errno.ELOOP)
    if target.startswith(b"/"):
        raise _error(errno.EACCES)
    return _names_in(target)


def _require_file(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise _error(errno.EISDIR)
    if not stat.S_ISREG(status.st_mode):
        raise _error(errno.EPERM)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
