"""Makes system calls of the tested modules fail or hang."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ftpdata import _descriptors
from ftpdata.files import (
    _attributes,
    _finding,
    _location,
    _part_locks,
    _part_place,
    _part_sweep,
    _places,
    parts,
    source,
    target,
)
from ftpdata.files._libc import may_write
from tests.harness.waiting import until

__all__ = ["Gate", "Hang", "Seams", "cancelled", "descriptors", "opened_below"]


class _Calls:
    """Stands in for the module `os`, with some functions replaced.

    A descriptor that is closed twice fails the test: it could be another file's by then.
    """

    def __init__(self, below: Any) -> None:
        self._below = below

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)

    def close(self, fd: int) -> None:
        """Close a descriptor that is open."""

        try:
            self._below.close(fd)
        except OSError as error:
            if error.errno == errno.EBADF:
                # No handler of exceptions catches this.
                pytest.fail(f"descriptor {fd} is closed twice")
            raise


_FILES = (
    *(_attributes, _descriptors, _finding, _location, _part_locks, _part_place),
    *(_part_sweep, _places, parts, source, target),
)
"""The modules that open, read and write files."""


class Seams:
    """Replaces functions of `os`, only in some modules; by default in those of files.

    ``access`` stands for `ftpdata.files._libc.may_write`, in the module of locations.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
        modules = modules or _FILES
        self._below: Any = vars(modules[0])["os"]
        self._calls = _Calls(self._below)
        self._may_write: Callable[..., Any]
        for module in modules:
            monkeypatch.setattr(module, "os", self._calls)
        # Not of `os`, which does not tell a refusal from a failure.
        self._may_write = may_write
        if _location in modules:
            monkeypatch.setattr(_location, "may_write", self._call_may_write)

    def _call_may_write(self, *arguments: Any) -> Any:
        return self._may_write(*arguments)

    def replace(self, name: str, wrapper: Callable[..., Any]) -> None:
        """Call ``wrapper(original, *args, **kwargs)`` instead of ``os.name``."""

        original: Any = may_write if name == "access" else getattr(_Calls(self._below), name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return wrapper(original, *args, **kwargs)

        if name == "access":
            self._may_write = call
        else:
            setattr(self._calls, name, call)

    def fail(self, name: str, k: int, code: int = errno.EIO) -> list[int]:
        """Let the k-th call fail; return a list that has an item once it has failed."""

        failed: list[int] = []
        calls = 0

        def wrapper(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls != k:
                return original(*args, **kwargs)

            failed.append(k)
            if name == "close":
                # A failed close has closed the descriptor all the same.
                original(*args, **kwargs)
            raise OSError(code, os.strerror(code))

        self.replace(name, wrapper)
        return failed


class Hang:
    """Lets a call in a worker thread hang until the test releases it."""

    def __init__(
        self, seams: Seams, name: str, k: int = 1, wrapper: Callable[..., Any] | None = None
    ) -> None:
        self._wrapper = wrapper or (lambda original, *args, **kwargs: original(*args, **kwargs))
        self._entered = threading.Event()
        self._go_on = threading.Event()
        self._left = k
        seams.replace(name, self._call)

    def _call(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            self._entered.set()
            assert self._go_on.wait(60)

        return self._wrapper(original, *args, **kwargs)

    async def entered(self) -> None:
        """Wait until the call hangs."""

        await asyncio.to_thread(self._entered.wait, 30)

    def go_on(self) -> None:
        """Let the call return."""

        self._go_on.set()


class Gate:
    """A call that waits in its thread until it is released."""

    def __init__(self) -> None:
        self._has_begun = threading.Event()
        self._may_end = threading.Event()
        self.is_over = False

    def __call__(self) -> str:
        """Wait in the thread."""

        self._has_begun.set()
        assert self._may_end.wait(60)
        self.is_over = True
        return "done"

    async def entered(self) -> None:
        """Wait until the thread has begun the call."""

        await until(self._has_begun.is_set)

    def open(self) -> None:
        """Release the call."""

        self._may_end.set()


def descriptors() -> set[str]:
    """Return the open descriptors."""

    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208


def opened_below(directory: Path) -> list[str]:
    """Return the paths that are open below a directory."""

    opened = []
    for fd in descriptors():
        with contextlib.suppress(OSError):
            opened.append(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: PTH115 - also of no file
    return [name for name in opened if name.startswith(os.fspath(directory))]


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and check that it is cancelled."""

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
