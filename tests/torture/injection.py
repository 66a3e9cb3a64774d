"""Which calls fail, and with what: the harness's side of inject.c."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import attrs

__all__ = ["SHORT", "Call", "Fault", "Injector", "compile_library", "faults_of"]

SOURCE = Path(__file__).with_name("inject.c")

RECORDS = 16384
SHORT = -1
"""Instead of an errno: the call does half of what it is asked for."""


class _Call(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char * 24),
        ("caller", ctypes.c_char * 12),
        ("kind", ctypes.c_char * 12),
    )


class _Shared(ctypes.Structure):
    """``struct shared`` of inject.c."""

    _fields_ = (
        ("mode", ctypes.c_uint32),
        ("control_port", ctypes.c_uint32),
        ("target", _Call),
        ("nth", ctypes.c_uint32),
        ("error", ctypes.c_int32),
        ("reached", ctypes.c_uint32),
        ("fired", ctypes.c_uint32),
        ("recorded", ctypes.c_uint32),
        ("traces", ctypes.c_uint32),
        ("records", _Call * RECORDS),
    )


@attrs.frozen(order=True)
class Call:
    """A kind of system call.

    Attributes:
        name: The function of the C library.
        caller: Who calls it: python, uvloop, openssl, other.
        kind: What its descriptor is: file, directory, pipe, event, control (a socket of a control
            connection), data, listener, wakeup (a socket that is not of TCP), socket (not bound);
            path, if it has none.
    """

    name: str
    caller: str
    kind: str

    def __str__(self) -> str:
        return f"{self.name}:{self.caller}:{self.kind}"

    @classmethod
    def parse(cls, text: str) -> Call:
        """Read what `str` has made."""

        return cls(*text.split(":"))


@attrs.frozen(order=True)
class Fault:
    """One failing call.

    Attributes:
        call: Its kind.
        nth: Which one of this kind, from 1.
        error: The errno, or `SHORT`.
    """

    call: Call
    nth: int
    error: int

    @property
    def error_name(self) -> str:
        """The name of the errno."""

        return "SHORT" if self.error == SHORT else errno.errorcode[self.error]

    def __str__(self) -> str:
        return f"{self.call}:{self.nth}:{self.error_name}"

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read what `str` has made."""

        *call, nth, name = text.split(":")
        error = SHORT if name == "SHORT" else int(getattr(errno, name))
        return cls(Call(*call), int(nth), error)


# Which errors fit

_E = errno

_PATH = (_E.EIO, _E.ENOMEM, _E.EACCES)
_OPEN = (_E.EMFILE, _E.ENFILE, _E.ENOMEM, _E.EIO, _E.EACCES)
_CHANGE = (_E.EIO, _E.ENOSPC, _E.EACCES, _E.EROFS)
_READ = (_E.EIO, _E.ESTALE, _E.EINTR)
_WRITE = (_E.EIO, _E.ENOSPC, _E.EDQUOT, _E.EFBIG, _E.EINTR)
_NEW = (_E.EMFILE, _E.ENFILE, _E.ENOMEM)
_RECEIVE = (_E.ECONNRESET, _E.ETIMEDOUT, _E.ENOMEM, _E.EAGAIN, _E.EINTR)
_SEND = (_E.ECONNRESET, _E.EPIPE, _E.ENOBUFS, _E.ENOMEM, _E.EAGAIN, _E.EINTR)

_ERRORS: dict[str, tuple[int, ...]] = {
    "open": _OPEN, "openat": _OPEN, "fopen": _OPEN, "syscall(437)": (*_OPEN, _E.ENOSYS, _E.EAGAIN),
    "stat": _PATH, "lstat": _PATH, "fstatat": _PATH, "statx": (*_PATH, _E.ENOSYS),
    "access": _PATH, "faccessat": _PATH, "readlink": _PATH, "readlinkat": _PATH,
    "getxattr": (_E.EIO, _E.ENOTSUP), "listxattr": (_E.EIO, _E.ENOTSUP),
    "rename": _CHANGE, "renameat": _CHANGE, "renameat2": (*_CHANGE, _E.EINVAL, _E.ENOSYS),
    "link": _CHANGE, "linkat": (*_CHANGE, _E.EMLINK), "unlink": _CHANGE, "unlinkat": _CHANGE,
    "mkdir": _CHANGE, "mkdirat": _CHANGE, "rmdir": _CHANGE,
    "chmod": (_E.EIO, _E.EPERM), "fchmodat": (_E.EIO, _E.EPERM),
    "fchownat": (_E.EIO, _E.EPERM), "utimensat": (_E.EIO, _E.EPERM),
    "lgetxattr": (_E.EIO, _E.ENOTSUP), "llistxattr": (_E.EIO, _E.ENOTSUP, _E.EACCES),
    "removexattr": (_E.EIO, _E.EPERM), "lremovexattr": (_E.EIO, _E.EPERM),
    "fremovexattr": (_E.EIO, _E.EPERM, _E.ENODATA), "lsetxattr": (_E.ENOSPC, _E.ENOTSUP, _E.EPERM),
    "setxattr": (_E.ENOSPC, _E.ENOTSUP, _E.EPERM),
    "opendir": _OPEN, "fdopendir": (_E.ENOMEM, _E.EMFILE), "readdir": (_E.EIO, _E.ENOMEM),
    "fstat": (_E.EIO, _E.ENOMEM, _E.ESTALE), "fstatfs": (_E.EIO, _E.ENOSYS, _E.EINTR),
    "lseek": (_E.EIO, _E.ESPIPE), "fsync": (_E.EIO, _E.ENOSPC, _E.EDQUOT),
    "fdatasync": (_E.EIO, _E.ENOSPC, _E.EDQUOT), "ftruncate": (_E.EIO, _E.EPERM, _E.EINTR),
    "fallocate": (_E.ENOSPC, _E.EOPNOTSUPP, _E.EIO, _E.EINTR),
    "posix_fallocate": (_E.ENOSPC, _E.EIO), "posix_fadvise": (_E.ESPIPE, _E.EIO),
    "fchmod": (_E.EIO, _E.EPERM), "fchown": (_E.EIO, _E.EPERM), "futimens": (_E.EIO, _E.EPERM),
    "fgetxattr": (_E.EIO, _E.ENOTSUP), "flistxattr": (_E.EIO, _E.ENOTSUP),
    "fsetxattr": (_E.ENOSPC, _E.ENOTSUP, _E.EPERM),
    "flock": (_E.EINTR, _E.ENOLCK), "dup": (_E.EMFILE, _E.ENOMEM),
    "dup2": (_E.EMFILE,), "dup3": (_E.EMFILE,),
    "close": (_E.EIO, _E.EINTR, _E.ENOSPC), "closedir": (_E.EIO,),
    "fcntl(flags)": (), "fcntl(F_SETPIPE_SZ)": (_E.EPERM, _E.EBUSY, _E.ENOMEM),
    "fcntl": (_E.ENOLCK, _E.EINTR), "ioctl": (_E.ENOMEM, _E.EPERM),
    "mmap": (_E.ENOMEM, _E.EAGAIN),
    "pipe": (_E.EMFILE, _E.ENFILE), "pipe2": (_E.EMFILE, _E.ENFILE),
    "socket": (*_NEW, _E.ENOBUFS), "socketpair": _NEW, "eventfd": _NEW, "epoll_create1": _NEW,
    "bind": (_E.EADDRINUSE, _E.EACCES, _E.ENOMEM), "listen": (_E.EADDRINUSE, _E.ENOMEM),
    "accept": (*_NEW, _E.ENOBUFS, _E.ECONNABORTED, _E.EAGAIN, _E.EPERM),
    "connect": (_E.ECONNREFUSED, _E.ETIMEDOUT, _E.EADDRNOTAVAIL, _E.ENETUNREACH, _E.ENOBUFS),
    "getsockname": (_E.ENOBUFS, _E.ENOTCONN), "getpeername": (_E.ENOTCONN, _E.ENOBUFS),
    "getsockopt": (_E.ENOPROTOOPT, _E.ENOMEM),
    "setsockopt": (_E.ENOPROTOOPT, _E.ENOMEM, _E.ENOBUFS),
    "setsockopt(SO_LINGER)": (_E.ENOMEM,),
    "shutdown": (_E.ENOTCONN, _E.ENOBUFS),
    "recv": _RECEIVE, "recvfrom": _RECEIVE, "recvmsg": _RECEIVE,
    "send": _SEND, "sendto": _SEND, "sendmsg": _SEND,
    "sendfile": (*_SEND, _E.EIO, _E.EINVAL), "splice": (_E.EIO, _E.EINVAL, _E.ENOMEM, _E.EAGAIN),
    "copy_file_range": (*_WRITE, _E.EXDEV),
    # Changing or ending a watch needs no memory.
    "epoll_ctl(ADD)": (_E.ENOSPC, _E.ENOMEM), "epoll_ctl": (),
    "epoll_wait": (_E.EINTR,), "epoll_pwait": (_E.EINTR,),
    "poll": (_E.EINTR, _E.ENOMEM),
    # gettid, of a thread that Python starts, cannot fail.
    "pthread_create": (_E.EAGAIN,), "syscall(186)": (),
}
"""By function; variants such as those for 64 bits have the same."""

_OTHER_NAMES = {
    "accept4": "accept", "readdir64": "readdir", "preadv2": "pread", "preadv64v2": "pread",
    "pwritev2": "pwrite", "pwritev64v2": "pwrite", "preadv": "pread", "pwritev": "pwrite",
}

_MOVES = frozenset({
    "read", "write", "pread", "pwrite", "send", "sendto", "recv", "recvfrom", "sendfile", "splice",
    "copy_file_range",
})
"""Those that may do a part only."""

_SOCKETS = frozenset({"control", "data", "wakeup", "socket"})

HOPELESS: dict[str, str] = {
    # libuv has no way to tell, and aborts the process; so does its user.
    "epoll_ctl(ADD):uvloop:*": "libuv aborts the process (uv__io_poll)",
    # Then the loop is not woken up, by asyncio as by libuv: both take it for granted. What fills
    # it (EAGAIN) has woken it up already, and nothing else can go wrong with it.
    "*:*:wakeup": "the event loop's own pipe to itself",
    "write:uvloop:event": "the event loop's own pipe to itself: libuv aborts the process",
    "read:uvloop:event": "the event loop's own pipe to itself: libuv aborts the process",
    "syscall(426):uvloop:*": "epoll_ctl by io_uring: libuv aborts the process",
    # No system fails there; get_extra_info of uvloop's transports would raise.
    "getsockname:uvloop:*": "libuv asks for the name of a socket that it has just been given",
    # The memory of a new thread's stack.
    "mmap:other:*": "memory of the C library",
}
if sys.version_info >= (3, 12):
    # A new thread that has no memory for its first frame ends, and who has started it waits for it
    # for ever (python/cpython#140746): seen on 3.13 to 3.15. On 3.11 the library spares that memory
    # alone, by its size.
    HOPELESS["mmap:python:*"] = "Thread.start() waits for a thread that has failed"
"""Calls that are not failed: by function, caller and kind; and why."""


def _base_name(name: str) -> str:
    name = _OTHER_NAMES.get(name, name)
    return name.removesuffix("64") if name.removesuffix("64") in _ERRORS else name


def errors_of(call: Call) -> tuple[int, ...]:
    """Return the errnos that fit a call; none for one that cannot fail, or need not be tried."""

    name = _base_name(_OTHER_NAMES.get(call.name, call.name.removesuffix("64")))
    for pattern in HOPELESS:
        parts = zip(pattern.split(":"), (name, call.caller, call.kind), strict=True)
        if all(expected in ("*", part) for expected, part in parts):
            return ()

    errors: tuple[int, ...]
    is_socket = call.kind in _SOCKETS
    if name in ("read", "readv", "pread"):
        errors = _RECEIVE if is_socket else _READ
        if call.name.startswith("preadv") and call.name.endswith("v2"):
            errors = (*errors, _E.EOPNOTSUPP, _E.EAGAIN)
    elif name in ("write", "writev", "pwrite"):
        errors = _SEND if is_socket else _WRITE
    else:
        errors = _ERRORS[name]
    if name == "splice" and is_socket:
        errors = (*errors, _E.ECONNRESET)
    if call.name.removesuffix("64") in _MOVES and not call.name.startswith("preadv"):
        errors = (*errors, SHORT)
    return errors


def faults_of(calls: Counter[Call]) -> list[Fault]:
    """Return every fault of a scenario, in order."""

    return [
        Fault(call, nth, error)
        for call in sorted(calls)
        for error in errors_of(call)
        for nth in range(1, calls[call] + 1)
    ]


def compile_library(directory: Path) -> Path:
    """Compile inject.c; return the library.

    Raises:
        RuntimeError: There is no compiler.
    """

    compiler = shutil.which("cc")
    if compiler is None:
        raise RuntimeError("there is no C compiler here (cc)")

    library = directory / "inject.so"
    subprocess.run(
        [compiler, "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True
    )
    return library


class Injector:
    """The file that inject.c maps, too.

    Args:
        path: Its name; it is made.
    """

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(ctypes.sizeof(_Shared)))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._shared = _Shared.from_buffer(self._map)

    def close(self) -> None:
        """Unmap it."""

        del self._shared
        self._map.close()

    def show_stacks(self) -> None:
        """Let the process show where a call fails."""

        self._shared.traces = 1

    def know_control_port(self, port: int) -> None:
        """Tell which connections are control connections."""

        self._shared.control_port = port

    def begin(self, fault: Fault | None = None) -> None:
        """Record the calls from now on, and let one of them fail."""

        shared = self._shared
        shared.mode = 0
        shared.reached = shared.fired = shared.recorded = 0
        if fault is not None:
            shared.target.name = fault.call.name.encode()
            shared.target.caller = fault.call.caller.encode()
            shared.target.kind = fault.call.kind.encode()
            shared.nth = fault.nth
            shared.error = fault.error
        shared.mode = 1 if fault is None else 2

    def end(self) -> None:
        """Leave the calls alone from now on."""

        self._shared.mode = 0

    @property
    def has_fired(self) -> bool:
        """Whether the call has failed."""

        return bool(self._shared.fired)

    def calls(self) -> Counter[Call]:
        """Count the calls that were recorded."""

        number = self._shared.recorded
        if number > RECORDS:
            raise RuntimeError(f"{number} calls are more than the {RECORDS} that can be recorded")
        return Counter(
            Call(record.name.decode(), record.caller.decode(), record.kind.decode())
            for record in self._shared.records[:number]
        )


def read_descriptors(process: int) -> dict[int, str]:
    """Return what the descriptors of a process are."""

    found = {}
    for name in os.listdir(f"/proc/{process}/fd"):  # noqa: PTH208
        try:
            found[int(name)] = os.readlink(f"/proc/{process}/fd/{name}")  # noqa: PTH115
        except FileNotFoundError:
            continue
    return found
