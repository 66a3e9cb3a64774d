"""Compares the resources of a process before and after a test: descriptors, threads, processes.

On systems without ``/proc`` only threads are compared; pytest's header says so.
"""

from __future__ import annotations

import gc
import os
import socket
import stat
import threading
from pathlib import Path

import attrs

from tests.harness.packages import IS_CPYTHON

__all__ = ["CAN_SEE_DESCRIPTORS", "Holdings", "collect", "hidden_files"]

_DESCRIPTORS = Path("/proc/self/fd")
_TASKS = Path("/proc/self/task")

CAN_SEE_DESCRIPTORS = _DESCRIPTORS.is_dir()

# The seconds that a thread has to end after its owner has asked it to. The owner need not wait for
# it: anyio asks its worker threads when the event loop's main task is done, and they end later.
_THREAD_PATIENCE = 60.0


def collect() -> None:
    """Collect all that nobody refers to, whatever finalizers make of it meanwhile.

    PyPy needs a round for each finalizer that leads to another, and counts no references.
    """

    for _ in range(2 if IS_CPYTHON else 4):
        gc.collect()


def _descriptors() -> dict[int, str]:
    found: dict[int, str] = {}
    if not CAN_SEE_DESCRIPTORS:
        return found

    for link in list(_DESCRIPTORS.iterdir()):
        try:
            found[int(link.name)] = str(link.readlink())
        except OSError:  # The descriptor of the listing itself.
            continue

    return found


def _children() -> frozenset[int]:
    found: set[int] = set()
    for task in _TASKS.glob("*/children"):
        try:
            found.update(map(int, task.read_text().split()))
        except OSError:  # The thread has ended since.
            continue

    return frozenset(found)


def _describe_descriptor(descriptor: int, target: str) -> str:
    """Describe a descriptor; for a socket with its addresses, to find who bound it."""

    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return f"descriptor {descriptor}: {target}"

        with socket.socket(fileno=os.dup(descriptor)) as copy:
            words = [f"descriptor {descriptor}: {target}", f"bound to {copy.getsockname()}"]
            try:
                words.append(f"connected to {copy.getpeername()}")
            except OSError:
                words.append("not connected")
            return ", ".join(words)
    except OSError:
        return f"descriptor {descriptor}: {target}"


@attrs.frozen
class Holdings:
    """The resources that the process holds at one moment."""

    descriptors: dict[int, str]
    threads: frozenset[threading.Thread]
    children: frozenset[int]

    @classmethod
    def now(cls) -> Holdings:
        """Return what is held now."""

        return cls(_descriptors(), frozenset(threading.enumerate()), _children())

    def leaks(self) -> list[str]:
        """Return the resources that are held now and were not held then, one line each."""

        for thread in set(threading.enumerate()) - self.threads:
            if thread is not threading.current_thread():
                thread.join(_THREAD_PATIENCE)

        # An object that only waits for the collector emits a ResourceWarning, which fails the test.
        collect()

        now = Holdings.now()
        found = [f"thread {thread.name}" for thread in now.threads - self.threads]
        found += [f"child process {child}" for child in sorted(now.children - self.children)]
        found += [
            _describe_descriptor(descriptor, target)
            for descriptor, target in sorted(now.descriptors.items())
            if self.descriptors.get(descriptor) != target
        ]
        return found


def hidden_files(directory: Path) -> list[Path]:
    """Return the files below a directory with a hidden name: what a cut upload leaves."""

    return sorted(path for path in directory.rglob(".*") if not path.is_dir())
