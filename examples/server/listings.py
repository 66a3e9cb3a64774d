"""What LIST, NLST, MLSD, MLST and STAT show of files and directories.

RFC 959 §4.1.3, RFC 3659 §7. Directories are streamed: lines are made of one
batch of entries at a time, whatever the number of entries.
"""

from __future__ import annotations

import contextlib
import fnmatch
import re
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import attrs

from ftpdata import BadArgument, ListingEntry

from .storage import Storage, parent

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Listing"]

_options = re.compile(r"-[a-zA-Z1]+(?: +|$)")


class Listing:
    """What a listing is about: a directory, one file, or the names that match a pattern.

    Made by `find` and `find_directory`, which say what is wrong before a data
    connection is opened.
    """

    def __init__(
        self, storage: Storage, path: str, *, single: ListingEntry | None = None, pattern: str = ""
    ) -> None:
        self._storage = storage
        self._path = path
        self._single = single
        self._pattern = pattern

    @classmethod
    async def find(cls, session: Session, argument: str) -> Listing:
        """Find out what the argument of LIST, NLST or STAT means.

        ``-la`` and the like are options, which change nothing: everything is
        shown in any case. Unless there is a file of that name.

        Raises:
            OSError: There is no such file or directory.
        """

        storage = session.storage
        entry = None
        if argument.startswith("-"):
            with contextlib.suppress(OSError):
                entry = await storage.entry(session.path(argument))
            while entry is None and (option := _options.match(argument)):
                argument = argument[option.end() :]

        path = session.path(argument)
        try:
            entry = await storage.entry(path)
        except FileNotFoundError:
            pattern = path.rpartition("/")[2]
            if not any(c in pattern for c in "*?["):
                raise
            await storage.status(parent(path))
            return cls(storage, parent(path), pattern=pattern)

        if await storage.is_directory(path):
            return cls(storage, path)

        return cls(storage, path, single=attrs.evolve(entry, name=argument))

    @classmethod
    async def find_directory(cls, session: Session, argument: str) -> Listing:
        """Find the directory that the argument of MLSD means.

        Raises:
            BadArgument: It is no directory (RFC 3659 §7.2.1). Reply 501.
            OSError: There is nothing of that name.
        """

        storage, path = session.storage, session.path(argument)
        await storage.status(path)
        if not await storage.is_directory(path):
            raise BadArgument("MLSD is for directories.")

        return cls(storage, path)

    @property
    def is_directory(self) -> bool:
        """Whether it is about a directory, or several names."""

        return self._single is None

    async def entries(self) -> AsyncGenerator[list[ListingEntry], None]:
        """Yield the entries, in batches."""

        if self._single is not None:
            yield [self._single]
            return

        async with contextlib.aclosing(self._storage.entries(self._path)) as batches:
            async for batch in batches:
                if self._pattern:
                    yield [e for e in batch if fnmatch.fnmatchcase(e.text_name, self._pattern)]
                else:
                    yield batch


def _fact_line(session, entry, name):
    return b"size=%d; " % entry.size + name.encode("utf-8","surrogateescape")

def fact_formatter(session):
    return lambda entry: _fact_line(session, entry, entry.name)

async def fact_line(session, path):
    return _fact_line(session, await session.storage.entry(path), path).decode()

def select_facts(option):
    return None, "size;"

def mlst_feature(session):
    return "MLST size*;"
