"""Finds calls that block the event loop, with blockbuster and the file calls of ftpdata.

A call counts if a frame of `ftpdata` or `examples` is on the stack and an event loop runs in
the thread. Test code itself may block, since it keeps no other task waiting.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

try:
    from blockbuster import BlockBuster
    from blockbuster.blockbuster import BlockBusterFunction
except ImportError:  # Not CPython: its dependency patches C types.
    AVAILABLE = False
else:
    AVAILABLE = True

__all__ = ["AVAILABLE", "detect_blocking_calls", "remove_late_wrappers"]

WATCHED_PACKAGES = ("ftpdata", "examples")

# Calls that blockbuster does not watch by itself, and that ftpdata could make.
_EXTRA_OS_CALLS = (
    "chmod",
    "copy_file_range",
    "fdatasync",
    "fsync",
    "ftruncate",
    "lstat",
    "open",
    "posix_fallocate",
    "pread",
    "pwrite",
    "pwritev",
    "scandir",
    "sync",
    "truncate",
    "utime",
)

_EXEMPTIONS = (
    # `os.sendfile` of data in memory, to a socket that does not block.
    ("ftpdata/transfers/_direct.py", {"_send_file"}),
    ("ftpdata/_kernel.py", {"sendfile_past"}),
    # Reading source lines for the text of an exception in debug mode.
    ("linecache.py", {"checkcache", "updatecache"}),
    # An import inside a function reads files, once.
    ("<frozen importlib._bootstrap>", {"_find_and_load"}),
    # pytest rewrites the asserts of a module when it is imported, also within a test.
    ("_pytest/assertion/rewrite.py", {"exec_module"}),
    # coverage checks each file the first time that a line of it runs.
    ("coverage/control.py", {"_should_trace"}),
    ("coverage/inorout.py", {"should_trace"}),
)


def _reads_cache_only(*arguments: Any) -> bool:
    """Return whether `preadv` was asked to return at once if the page is not cached."""

    nowait: int = getattr(os, "RWF_NOWAIT", 0)
    flags: int = arguments[3] if len(arguments) > 3 else 0
    return bool(flags & nowait)


def _never(*_: Any, **__: Any) -> bool:
    return False


@contextmanager
def detect_blocking_calls() -> Iterator[None]:
    """Make calls that block an event loop raise `blockbuster.BlockingError`."""

    if not AVAILABLE:
        yield
        return

    detector = _detector()
    for function in detector.functions.values():
        # What a fixture has put there, perhaps.
        function.original_func = getattr(function.module, function.func_name, None)
    detector.activate()
    _wrappers.update({
        name: getattr(function.module, function.func_name, None)
        for name, function in detector.functions.items()
        if function.activated
    })
    with _known_abilities(detector):
        try:
            yield
        finally:
            detector.deactivate()


_wrappers: dict[str, Any] = {}


@contextmanager
def _known_abilities(detector: BlockBuster) -> Iterator[None]:
    """Let the sets that say what a function of `os` can do say the same of its wrapper.

    A module that asks them when it is imported may be imported for the first time now.
    """

    sets: list[set[Any]] = [os.supports_fd, os.supports_dir_fd, os.supports_effective_ids]
    sets.append(os.supports_follow_symlinks)
    added = []
    for name, function in detector.functions.items():
        for able in sets:
            if name in _wrappers and function.original_func in able:
                able.add(_wrappers[name])
                added.append((able, _wrappers[name]))
    try:
        yield
    finally:
        for able, wrapper in added:
            able.discard(wrapper)


def remove_late_wrappers() -> None:
    """Remove what a test that replaced a watched function has put back after the detection.

    A test replaces what is there while it runs, which is the detector's wrapper; ``monkeypatch``
    restores that once the detector has gone, and later tests would be watched for ever.
    """

    for name, wrapper in _wrappers.items():
        function = _detector().functions[name]
        if getattr(function.module, function.func_name, None) is wrapper:
            function.activated = True
            function.deactivate()
    _wrappers.clear()


@functools.cache
def _detector() -> BlockBuster:
    # It takes milliseconds, and serves thousands of tests.
    watched = [importlib.import_module(name) for name in WATCHED_PACKAGES]
    detector = BlockBuster(watched)

    def watch(module: str, name: str, may_block: Callable[..., bool] = _never) -> None:
        owner: ModuleType = importlib.import_module(module)
        detector.functions[f"{module}.{name}"] = BlockBusterFunction(
            owner, name, scanned_modules=watched, can_block_predicate=may_block
        )

    for name in _EXTRA_OS_CALLS:
        watch("os", name)

    watch("os", "preadv", _reads_cache_only)
    watch("builtins", "open")
    watch("io", "open")
    watch("socket", "getaddrinfo")
    for function in detector.functions.values():
        for file, names in _EXEMPTIONS:
            function.can_block_in(file, names)

    return detector
