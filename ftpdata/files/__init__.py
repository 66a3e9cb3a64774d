"""Files and directories, read and written without blocking the event loop.

The transfers open a file themselves if they get a path. To find out what is wrong with a file
before the data connection is opened, or for more options than a path has, open it here. A first
example::

    import asyncio
    import tempfile
    from pathlib import Path

    from ftpdata.files import FileSource, FileTarget, WriteMode

    async def copy(old: Path, new: Path) -> None:
        source = await FileSource.open(old)
        try:
            target = await FileTarget.open(new, mode=WriteMode.EXCLUSIVE)
            try:
                while data := await source.read():
                    await target.write(data)
            except BaseException:
                await target.discard()
                raise
            await target.commit()
        finally:
            source.close()

    with tempfile.TemporaryDirectory() as directory:
        old, new = Path(directory, "old"), Path(directory, "new")
        old.write_bytes(b"content")
        asyncio.run(copy(old, new))
        assert new.read_bytes() == b"content"

The pieces:

- `source`: `FileSource`, a file that is sent. It knows its size, if the file has one.
- `target`: `FileTarget`, a file that is received, and `WriteMode`, which says what happens to an
  existing file. An upload is published when it is complete. If it is cut, only files that the
  upload itself has made are removed.
- `spooled`: `SpooledTarget`, which keeps a copy of any upload to be read before it is committed.
- `parts`: `PartStore` and `PartOwner`, which keep what came of an upload that was cut, so that a
  resumption can go on with it.
- `beneath`: `opened_beneath`, `open_beneath` and `locate_beneath`, which find what a client's path
  means, and nothing outside of the served directory.
- `directories`: `list_directory` and `DirectoryLister`, which make the lines of a directory.
- `directory_reader`: `DirectoryReader`, which reads the entries for them, and blocks.

Every call that may wait for a disk runs in a worker thread. A limiter bounds their number: there is
one for each event loop, unless a store has its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .beneath import locate_beneath, open_beneath, opened_beneath
    from .directories import DirectoryLister, list_directory
    from .directory_reader import DirectoryReader
    from .parts import (
        PartLimits,
        PartOwner,
        PartStatus,
        PartStore,
        RemovedPart,
        is_reserved,
        remove_reserved,
    )
    from .source import FileSource
    from .spooled import SpooledTarget
    from .target import FileTarget, WriteMode

__all__ = [
    "DirectoryLister",
    "DirectoryReader",
    "FileSource",
    "FileTarget",
    "PartLimits",
    "PartOwner",
    "PartStatus",
    "PartStore",
    "RemovedPart",
    "SpooledTarget",
    "WriteMode",
    "is_reserved",
    "list_directory",
    "locate_beneath",
    "open_beneath",
    "opened_beneath",
    "remove_reserved",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "beneath": ("locate_beneath", "open_beneath", "opened_beneath"),
            "directories": ("DirectoryLister", "list_directory"),
            "directory_reader": ("DirectoryReader",),
            "parts": (
                "PartLimits",
                "PartOwner",
                "PartStatus",
                "PartStore",
                "RemovedPart",
                "is_reserved",
                "remove_reserved",
            ),
            "source": ("FileSource",),
            "spooled": ("SpooledTarget",),
            "target": ("FileTarget", "WriteMode"),
        },
    )
