"""Lets this Python look like that of another system, to a program that begins with it.

What Windows and macOS lack is taken away, and what the calls of Windows refuse is refused: names in
directories that are open, directories that are opened, files that are removed or renamed while they
are open. A file that is opened there without O_BINARY is changed while it is read and written; here
it is refused. So the package runs as it would there, but for the kernel below it.

`pretend` is for a process of its own: nothing is put back.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import functools
import mmap
import os
import select
import selectors
import shutil
import signal
import socket
import ssl
import stat
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio._backends._asyncio

from tests.harness.proactor import StandInLoop

__all__ = ["SYSTEMS", "pretend"]

_NEEDED = (anyio, asyncio, fcntl, selectors, ssl, tempfile)
"""Imported before anything is taken away: these are the system's, not the package's."""

_LINUX_ALONE = {
    os: (
        *("splice", "posix_fadvise", "posix_fallocate", "memfd_create", "pipe2", "eventfd"),
        *("listxattr", "getxattr", "setxattr", "removexattr", "pidfd_open", "copy_file_range"),
        *("O_TMPFILE", "O_PATH", "O_DIRECT", "O_NOATIME", "RWF_NOWAIT", "RWF_HIPRI", "RWF_DSYNC"),
        *("SPLICE_F_MOVE", "SPLICE_F_NONBLOCK", "SPLICE_F_MORE"),
    ),
    select: ("epoll",),
    socket: (
        *("TCP_INFO", "TCP_QUICKACK", "TCP_CORK", "TCP_USER_TIMEOUT", "TCP_NOTSENT_LOWAT"),
        *("TCP_KEEPIDLE", "MSG_MORE", "SO_PEERCRED", "SOCK_CLOEXEC", "SOCK_NONBLOCK"),
        *("IP_BIND_ADDRESS_NO_PORT", "IP_FREEBIND", "TCP_CONGESTION", "TCP_FASTOPEN_CONNECT"),
    ),
    signal: ("SIGRTMIN", "SIGRTMAX", "SIGPWR", "SIGSTKFLT"),
}

_NOT_ON_WINDOWS = {
    os: (
        *("sendfile", "pread", "pwrite", "preadv", "pwritev", "readv", "writev", "fchown", "chown"),
        *("lchown", "fchmod", "fchdir", "geteuid", "getuid", "getegid", "getgid"),
        *("mkfifo", "mknod"),
        *("statvfs", "fstatvfs", "sysconf", "fork", "forkpty", "register_at_fork", "setsid"),
        *("lockf", "sync", "fdatasync", "uname", "getloadavg", "nice", "wait3", "wait4"),
        *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_SYNC", "O_DSYNC"),
        *("O_ACCMODE", "O_ASYNC", "O_NDELAY", "WNOHANG"),
    ),
    select: ("poll",),
    socket: (
        *("AF_UNIX", "SO_REUSEPORT", "MSG_DONTWAIT", "MSG_NOSIGNAL", "CMSG_LEN", "CMSG_SPACE"),
        *("SCM_RIGHTS", "send_fds", "recv_fds", "sethostname", "TCP_DEFER_ACCEPT"),
    ),
    signal: (
        *("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGALRM", "SIGPIPE", "SIGCHLD", "SIGQUIT"),
        *("pthread_sigmask", "pthread_kill", "sigwait", "setitimer", "alarm", "pause"),
    ),
    mmap: ("MAP_PRIVATE", "MAP_ANONYMOUS", "MAP_ANON", "MAP_SHARED", "PROT_READ", "PROT_WRITE"),
}

_MODULES_NOT_ON_WINDOWS = (
    *("fcntl", "termios", "resource", "pwd", "grp", "tty", "pty", "syslog", "readline"),
)

_NO_INHERIT, _BINARY, _TEMPORARY = 1 << 28, 1 << 29, 1 << 30
"""Bits that no flag of open(2) has, for those of Windows."""


def _take_away(names: dict[ModuleType, tuple[str, ...]]) -> None:
    for module, of_module in names.items():
        for name in of_module:
            if hasattr(module, name):
                delattr(module, name)


def _macos() -> None:
    sys.platform = "darwin"
    _take_away(_LINUX_ALONE)


def _windows() -> None:
    # asyncio would look for modules of Windows when it first makes a loop.
    events = vars(asyncio.events)
    (events.get("_get_event_loop_policy") or events["get_event_loop_policy"])()
    # What stays in use below.
    close_on_exec = os.O_CLOEXEC
    setattr(socket, "socketpair", functools.partial(socket.socketpair, socket.AF_UNIX))  # noqa: B010
    sys.platform = "win32"
    _take_away(_LINUX_ALONE)
    _take_away(_NOT_ON_WINDOWS)
    for name in _MODULES_NOT_ON_WINDOWS:
        # So it cannot be imported.
        sys.modules[name] = None  # type: ignore[assignment]
    for named in ("supports_dir_fd", "supports_effective_ids", "supports_fd"):
        setattr(os, named, set())
    os.O_NOINHERIT, os.O_BINARY, os.O_TEMPORARY = _NO_INHERIT, _BINARY, _TEMPORARY  # type: ignore[attr-defined]
    for attribute in ("sendmsg", "recvmsg", "recvmsg_into", "sendmsg_afalg"):
        # They stay in the class below.
        setattr(socket.socket, attribute, property(_lacks(attribute)))

    setattr(socket.socket, "setsockopt", _set_as_on_windows(socket.socket.setsockopt))  # noqa: B010
    for call in ("access", "chmod", "link", "lstat", "mkdir", "readlink", "rmdir", "stat", "utime"):
        setattr(os, call, _without_directories(getattr(os, call)))
    for call in ("remove", "rename", "replace", "unlink"):
        setattr(os, call, _unless_open(_without_directories(getattr(os, call))))
    setattr(os, "rename", _if_new(os.rename))  # noqa: B010
    setattr(os, "open", _open_as_on_windows(os.open, close_on_exec))  # noqa: B010 - mypy
    # What has a reference of its own.
    tempfile._bin_openflags |= _BINARY  # type: ignore[attr-defined]
    removing = vars(shutil)
    removing["_use_fd_functions"] = False
    removing["_rmtree_impl"] = removing.get("_rmtree_unsafe")
    setattr(asyncio.events, "new_event_loop", StandInLoop)  # noqa: B010


def _set_as_on_windows(real: Callable[..., None]) -> Callable[..., None]:
    """Take a ``struct linger`` of two short numbers."""

    def set_option(sock: socket.socket, level: int, option: int, value: Any) -> None:
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            value = struct.pack("ii", *struct.unpack("hh", value))
        real(sock, level, option, value)

    return set_option


def _lacks(name: str) -> Callable[[object], Any]:
    def get(_: object) -> Any:
        raise AttributeError(name)

    return get


def _without_directories(call: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse names in directories that are open."""

    @functools.wraps(call)
    def without(*args: Any, **options: Any) -> Any:
        for name in ("dir_fd", "src_dir_fd", "dst_dir_fd"):
            if options.get(name) is not None:
                raise NotImplementedError(f"{name} unavailable on this platform")
        if options.get("effective_ids"):
            raise NotImplementedError("effective_ids unavailable on this platform")
        return call(*args, **options)

    return without


def _unless_open(call: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse to remove or rename what is open, and to rename to a name whose file is open."""

    @functools.wraps(call)
    def unless_open(*names: Any, **options: Any) -> Any:
        for name in names:
            if _is_open(name):
                raise PermissionError(errno.EACCES, "it is being used by another process", name)
        return call(*names, **options)

    return unless_open


def _if_new(call: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse to rename to a name that something has."""

    @functools.wraps(call)
    def if_new(old: Any, new: Any, **options: Any) -> Any:
        if os.path.lexists(new):
            raise FileExistsError(errno.EEXIST, "File exists", old, None, new)
        return call(old, new, **options)

    return if_new


def _is_open(name: Any) -> bool:
    try:
        status = os.lstat(name)
    except OSError:
        return False

    if not stat.S_ISREG(status.st_mode):
        return False
    for fd in Path("/proc/self/fd").iterdir():
        try:
            if os.path.samestat(os.fstat(int(fd.name)), status):
                return True
        except OSError:
            continue

    return False


def _open_as_on_windows(real: Callable[..., int], close_on_exec: int) -> Callable[..., int]:
    temporary: dict[Any, int] = {}
    unlink = os.unlink.__wrapped__.__wrapped__  # type: ignore[attr-defined]

    def open_it(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if dir_fd is not None:
            raise NotImplementedError("dir_fd unavailable on this platform")
        name = Path(os.fsdecode(path))
        if name.is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", path)
        if not flags & _BINARY and name != Path(os.devnull):
            raise AssertionError(f"{path!r} is opened without O_BINARY")
        bits = flags & ~(_BINARY | _NO_INHERIT | _TEMPORARY) | close_on_exec
        if not flags & _TEMPORARY:
            return real(path, bits, mode)

        # It goes when it is closed, and until then it can be opened by those who know that.
        if not flags & os.O_CREAT:
            return real(f"/proc/self/fd/{temporary[path]}", bits)
        temporary[path] = real(path, bits, mode)
        unlink(path)
        return temporary[path]

    return open_it


SYSTEMS: dict[str, Callable[[], None]] = {"macOS": _macos, "Windows": _windows}


def pretend(system: str) -> None:
    """Make this process look like one of another system, for good.

    Args:
        system: A key of `SYSTEMS`.
    """

    if "ftpdata" in sys.modules:
        raise RuntimeError("the package was imported before")

    SYSTEMS[system]()
