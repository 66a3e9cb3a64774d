"""What this system offers, as the modules that use it find out: no rule is repeated here."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import ssl

from ._descriptors import let_go
from ._hangup import can_watch_for_hangup
from ._kernel import acknowledged_on, close_socket, has_sendfile
from ._self_report import Offer, Setting
from ._version import __version__
from .files._cache import CachedDirectory
from .files._libc import has_renameat2
from .files._status import statx_call
from .opening._acceptor import bind_listener
from .transfers._splice import has_splice

__all__ = ["setting"]


def setting(directory: str) -> Setting:
    """Find out where the library runs. Blocks for a moment.

    Args:
        directory: The directory whose file system is looked at.
    """

    python = f"Python {platform.python_version()} ({platform.python_implementation()})"
    system = f"{platform.system()} {platform.release()} ({platform.machine()})"
    offers = [
        _offer("sendfile", has_sendfile(), "files are read into memory and sent from there"),
        _offer("splice", has_splice(), "uploads are received into memory and written from there"),
        _offer("statx", statx_call() is not None, "a listing asks about one file at a time"),
        _offer("renameat2", has_renameat2(), "a name that must be new is given in another way"),
        _offer("openat2", _opens_cached(directory), "every file is opened in a worker thread"),
        _offer("acknowledgements", _knows_acknowledged(), "nobody can tell what has arrived"),
        _offer("hang-up watch", can_watch_for_hangup(), "the next write notices a lost peer"),
        _offer("IPv6 loopback", _has_ipv6_loopback(), "the system has no ::1"),
        _uvloop(),
    ]
    return Setting(__version__, python, system, ssl.OPENSSL_VERSION, offers)


def _offer(name: str, is_there: bool, otherwise: str) -> Offer:
    """Make a row of the table.

    Args:
        name: The name of the row.
        is_there: Whether the system offers it.
        otherwise: What it means that it does not.
    """

    return Offer(name, is_there, "" if is_there else otherwise)


def _opens_cached(directory: str) -> bool:
    """Whether what is in memory of the file system can be opened at once."""

    try:
        fd = os.open(directory, os.O_RDONLY)
    except OSError:
        # Windows opens no directories.
        return False

    opened: int | None = None
    try:
        cached = CachedDirectory(fd)
        opened = cached.open_directory(b".")
        return cached.is_available
    finally:
        let_go(fd, opened)


def _knows_acknowledged() -> bool:
    """Whether the system says what a peer has acknowledged."""

    sock = socket.socket()
    try:
        return acknowledged_on(sock) is not None
    finally:
        close_socket(sock)


def _has_ipv6_loopback() -> bool:
    try:
        close_socket(bind_listener("::1", 0, backlog=1))
    except OSError:
        return False

    return True


def _uvloop() -> Offer:
    try:
        version = importlib.metadata.version("uvloop")
    except importlib.metadata.PackageNotFoundError:
        return Offer("uvloop", is_there=False, detail="not installed")

    return Offer("uvloop", is_there=True, detail=version)
