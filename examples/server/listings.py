"""What LIST, NLST, MLSD, MLST and STAT show of files and directories.

RFC 959 §4.1.3, RFC 3659 §7. Directories are streamed: lines are made of one
batch of entries at a time, whatever the number of entries.
"""

from __future__ import annotations

import contextlib
import fnmatch
import re
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

import attrs

from ftpdata import (
    BadArgument,
    EntryType,
    ListingEntry,
    facts_for_entry,
    format_mlsx_line,
    perm_letters,
)

from .storage import Storage, join, parent

if TYPE_CHECKING:
    from .session import Session

__all__ = ["FACTS", "Listing", "fact_formatter", "fact_line"]

FACTS = ("type", "size", "modify", "perm", "unique", "unix.mode", "unix.uid", "unix.gid")
"""The facts that this server can tell."""

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

    async def entries(self, *, follow: bool = False) -> AsyncGenerator[list[ListingEntry], None]:
        """Yield the entries, in batches.

        Args:
            follow: Whether to tell of what a symbolic link leads to, and not
                of the link.
        """

        if self._single is not None:
            yield [self._single]
            return

        async with contextlib.aclosing(self._storage.entries(self._path)) as batches:
            async for batch in batches:
                found = batch
                if self._pattern:
                    found = [e for e in batch if fnmatch.fnmatchcase(e.text_name, self._pattern)]
                if follow:
                    found = [
                        await _followed(self._storage, join(self._path, entry.text_name), entry)
                        for entry in found
                    ]
                yield found


def fact_formatter(session: Session) -> Callable[[ListingEntry], bytes | None]:
    """Return what makes a line of MLSD of an entry, with the facts that the client wants."""

    return lambda entry: _fact_line(session, entry, entry.name)


async def fact_line(session: Session, path: str) -> str:
    """Return the line of facts of one file or directory, with its full path (MLST)."""

    entry = await _followed(session.storage, path, await session.storage.entry(path))
    line = _fact_line(session, entry, path)
    return (line or b"").decode("utf-8", "surrogateescape")


def _fact_line(session: Session, entry: ListingEntry, name: str | bytes) -> bytes | None:
    writable = session.settings.writable
    perm = perm_letters(
        is_directory=entry.is_directory, readable=True, writable=writable, removable=writable
    )
    facts = facts_for_entry(entry, perm=perm)
    return format_mlsx_line(name, facts, selection=session.facts)


async def _followed(storage: Storage, path: str, entry: ListingEntry) -> ListingEntry:
    """Return the entry of what a symbolic link leads to, as RFC 3659 §7.5.1.5 wants it.

    A link that leads nowhere, or out of the tree, stays a link.
    """

    if entry.type is EntryType.SYMLINK:
        with contextlib.suppress(OSError):
            return ListingEntry.from_stat(entry.name, await storage.status(path))

    return entry
