"""Networks of their own, for tests with several hosts: namespaces of Linux, joined by cables.

A namespace is there as long as somebody is in it or holds it open, so that nothing is left of it
after the tests, however they end.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Self

__all__ = ["Namespace", "can_isolate", "connect"]

_NEW_NETWORK = 0x40000000
"""CLONE_NEWNET of unshare(2)."""

_library = ctypes.CDLL(None, use_errno=True)
_HERE = Path("/proc/thread-self/ns/net")
_RESERVED = Path("/proc/sys/net/ipv4/ip_local_reserved_ports")
"""Of the network of the thread that looks."""


class Namespace:
    """A network without anything in it but its loopback; a context manager.

    Raises:
        OSError: It may not be made: that needs root.
    """

    def __enter__(self) -> Self:
        before = os.open(_HERE, os.O_RDONLY)
        try:
            _check(_library.unshare(_NEW_NETWORK))
            try:
                self.fd = os.open(_HERE, os.O_RDONLY)
                ip("link", "set", "lo", "up")
            finally:
                _enter(before)
        finally:
            os.close(before)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Let this thread be in it, and what it starts: sockets, processes and threads."""

        before = os.open(_HERE, os.O_RDONLY)
        try:
            _enter(self.fd)
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(before)

    def reserve(self, first: int, last: int) -> None:
        """Keep ports for listeners: no connection that begins here gets one of them."""

        with self.entered():
            _RESERVED.write_text(f"{first}-{last}")


def connect(one: Namespace, other: Namespace, network: str, *, name: str) -> tuple[str, str]:
    """Join two namespaces by a cable; return their addresses on it.

    Args:
        one: Here the interface is called `name`.
        other: Here it is called ``uplink``, and the way to everywhere.
        network: The first three bytes of the addresses.
        name: See above.
    """

    addresses = f"{network}.1", f"{network}.2"
    with one.entered():
        ip("link", "add", name, "type", "veth", "peer", "name", "uplink")
        ip("link", "set", "uplink", "netns", f"/proc/self/fd/{other.fd}", fd=other.fd)
        ip("address", "add", f"{addresses[0]}/24", "dev", name)
        ip("link", "set", name, "up")
    with other.entered():
        ip("address", "add", f"{addresses[1]}/24", "dev", "uplink")
        ip("link", "set", "uplink", "up")
        ip("route", "add", "default", "via", addresses[0])
    return addresses


def ip(*arguments: str, fd: int | None = None) -> None:
    """Run the program of that name in the namespace of this thread."""

    passed = () if fd is None else (fd,)
    subprocess.run(["ip", *arguments], pass_fds=passed, check=True, timeout=60)


@functools.cache
def can_isolate() -> bool:
    """Whether this user may make networks, on this system."""

    unshare = shutil.which("unshare")
    return unshare is not None and (
        subprocess.run([unshare, "--net", "true"], capture_output=True, check=False).returncode == 0
    )


def _enter(fd: int) -> None:
    _check(_library.setns(fd, _NEW_NETWORK))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
