"""What LIST, NLST, MLSD, MLST and STAT show of files and directories.

RFC 959 §4.1.3, RFC 3659 §7. Directories are streamed: lines are made block by
block, whatever the number of entries. If a directory cannot be read, that is known
before a data connection is opened.
"""

from __future__ import annotations

import contextlib
import fnmatch
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING

import attrs

from ftpdata import (
    EntryType,
    ListingBlock,
    ListingEntry,
    MlsxFormatter,
)
from ftpdata.listing import EntryTable, TableFormatter, perm_letters

from .accounts import Rights
from .failures import Refused
from .paths import parent
from .store import Listing as StoreListing
from .store import is_about_name, is_directory, resolve

if TYPE_CHECKING:
    from .session import Session

__all__ = ["FACTS", "Listing", "fact_line", "open_facts", "open_listing"]

FACTS = ("type", "size", "modify", "perm", "unique", "unix.mode", "unix.uid", "unix.gid")
"""The facts that this server can tell."""

_LETTERS = {"APPE": "a", "RNFR": "f"}
"""What says that a command may be used on an entry (RFC 3659 §7.5.5)."""

_RIGHTS = {
    "a": Rights.APPEND, "c": Rights.WRITE, "d": Rights.DELETE, "f": Rights.RENAME,
    "l": Rights.LIST, "m": Rights.MKDIR, "p": Rights.DELETE, "r": Rights.READ, "w": Rights.WRITE,
}
"""What a user needs for it."""

_options = re.compile(r"-[a-zA-Z1]+(?: +|$)")


@contextlib.asynccontextmanager
async def open_listing(
    session: Session, argument: str, formatter: TableFormatter
) -> AsyncIterator[Listing]:
    """Open what the argument of LIST, NLST or STAT means, as a context manager.

    A directory, one file, or the names that match a pattern. ``-la`` and the
    like are options, which change nothing: everything is shown in any case. A
    file of such a name is ``./-la``.

    Raises:
        OSError: There is no such file or directory, or it cannot be read.
    """

    store = session.store
    while option := _options.match(argument):
        argument = argument[option.end() :]

    argument = await resolve(store, session.directory, argument)
    path = session.path(argument)
    async with contextlib.AsyncExitStack() as stack:
        try:
            lister = await stack.enter_async_context(store.open_listing(path, formatter))
        except OSError as error:
            # Not a directory, or nothing at all, or it cannot be read.
            if not is_about_name(error) or await is_directory(store, path):
                raise
        else:
            yield Listing(path, _lines(lister))
            return

        try:
            entry = await store.status(path, follow=False)
        except FileNotFoundError:
            pattern = path.rpartition("/")[2]
            if not any(c in pattern for c in "*?["):
                raise
            matches = re.compile(fnmatch.translate(pattern)).match
            if not formatter.needs_status:
                # The names of NLST are arguments for RETR, and say where they are, as the
                # name of a single file does.
                formatter = _Prefixed(formatter, argument[: argument.rfind("/") + 1])
            lister = await stack.enter_async_context(
                store.open_listing(
                    parent(path), formatter, is_wanted=lambda name: matches(name) is not None
                )
            )
            yield Listing(path, _lines(lister))
        else:
            block = formatter.format_block([attrs.evolve(entry, name=argument)])
            yield Listing(path, ListingBlock(block), is_directory=False)


@contextlib.asynccontextmanager
async def open_facts(session: Session, argument: str) -> AsyncIterator[Listing]:
    """Open the directory that the argument of MLSD means, as a context manager.

    Raises:
        Refused: It is not a directory (RFC 3659 §7.2.1). Reply 501.
        OSError: There is nothing of that name, or it cannot be read.
    """

    store, path = session.store, await session.find(argument)
    formatter = MlsxFormatter(selection=session.choices.facts, perm=_permissions(session))
    async with contextlib.AsyncExitStack() as stack:
        try:
            lister = await stack.enter_async_context(
                store.open_listing(path, formatter, follow=True)
            )
        except NotADirectoryError as error:
            # Or it is something beneath a file: then there is nothing of that name.
            await store.status(path)
            raise Refused(501, "MLSD is for directories.") from error

        yield Listing(path, _lines(lister))


@attrs.frozen
class _Prefixed:
    """A formatter that puts a directory before each name."""

    formatter: TableFormatter
    prefix: str
    needs_status: bool = False

    def format_block(self, entries: Iterable[ListingEntry], /) -> bytes:
        """Return the lines of all entries."""

        return self.format_table(EntryTable([entry.text_name for entry in entries]))

    def format_table(self, table: EntryTable, /) -> bytes:
        """Return the lines of a table."""

        names = [f"{self.prefix}{name}" for name in table.names]
        return self.formatter.format_table(attrs.evolve(table, names=names))


@attrs.frozen
class Listing:
    """What is listed.

    Attributes:
        path: The virtual path of what is listed.
        lines: All of them in one block, or in several.
        is_directory: Whether it is a directory, or several names.
    """

    path: str
    lines: ListingBlock | AsyncGenerator[ListingBlock, None]
    is_directory: bool = True

    async def blocks(self) -> AsyncGenerator[ListingBlock, None]:
        """Yield the lines, once, in blocks."""

        if isinstance(self.lines, ListingBlock):
            yield self.lines
            return

        async with contextlib.aclosing(self.lines) as blocks:
            async for block in blocks:
                yield block


def _lines(lister: StoreListing) -> ListingBlock | AsyncGenerator[ListingBlock, None]:
    lines = lister.take_all()
    return lister.blocks() if lines is None else lines


async def fact_line(session: Session, path: str) -> str:
    """Return the line of facts of one file or directory, with its full path (MLST).

    A symbolic link has the facts of what it leads to (RFC 3659 §7.5.1.5). One that
    leads nowhere, or out of the store, stays a link.
    """

    entry = await session.store.status(path, follow=False)
    if entry.type is EntryType.SYMLINK:
        try:
            entry = await session.store.status(path)
        except OSError as error:
            if not is_about_name(error):
                raise

    formatter = MlsxFormatter(selection=session.choices.facts, perm=_permissions(session))
    line = formatter.format(attrs.evolve(entry, name=path))
    return (line or b"").decode("utf-8", "surrogateescape")


def _permissions(session: Session) -> Callable[[ListingEntry], str]:
    """Return a function that tells what the user may do with an entry."""

    writable = session.settings.writable
    refused = {letter for verb, letter in _LETTERS.items() if verb in session.store.refused}
    refused |= {letter for letter, right in _RIGHTS.items() if not right & session.login.rights}

    def permissions(entry: ListingEntry) -> str:
        letters = perm_letters(
            is_directory=entry.is_directory, readable=True, writable=writable, removable=writable
        )
        return "".join(letter for letter in letters if letter not in refused)

    return permissions
