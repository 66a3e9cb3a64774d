"""Files and directories, without blocking the event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .directories import DirectoryLister, list_directory
    from .directory_reader import DirectoryReader
    from .source import FileSource
    from .target import FileTarget, WriteMode

__all__ = [
    "DirectoryLister",
    "DirectoryReader",
    "FileSource",
    "FileTarget",
    "WriteMode",
    "list_directory",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "directories": ("DirectoryLister", "list_directory"),
            "directory_reader": ("DirectoryReader",),
            "source": ("FileSource",),
            "target": ("FileTarget", "WriteMode"),
        },
    )
