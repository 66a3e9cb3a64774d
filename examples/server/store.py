"""What commands want of a store: the contract between them and a disk, or anything else.

`disk` and `objects` are the stores that this server has. Another one has the same methods,
and no command changes for it. The functions here are what commands do with any store.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol, Self

from ftpdata import ListingBlock, ListingEntry, UploadTarget, WriteMode
from ftpdata.contracts import Buffer
from ftpdata.errors import errno_of
from ftpdata.files import PartStatus, RemovedPart
from ftpdata.listing import TableFormatter, unescape_name

from .paths import join
from .reply import Reply

__all__ = [
    "Listing",
    "Reader",
    "Store",
    "Upload",
    "exists",
    "find",
    "is_about_name",
    "is_directory",
    "resolve",
    "system_error",
]


class Reader(Protocol):
    """A file, open for reading; closed by `release`, or at the end of its ``with`` block.

    Attributes:
        fd: The descriptor of the open file, to be sent by; None if the store has
            no such thing, and `chunks` is the only way.
        size: Bytes in the file when it was opened.
    """

    fd: int | None
    size: int

    def chunks(self, start: int = 0, end: int | None = None) -> AsyncGenerator[Buffer, None]:
        """Yield the bytes from `start` to `end`, or to where the file ends."""

    def release(self) -> None:
        """Close it. Once."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Upload(UploadTarget, Protocol):
    """Where an upload goes. It is a `ftpdata.contracts.ResumableTarget` if anything may stay."""

    @property
    def keeps_what_came(self) -> bool:
        """Whether what came stays where everybody sees it, if the upload is cut."""
        ...

    @property
    def leaves_part(self) -> bool:
        """Whether what came stays as a part if the upload is cut, for a resumption."""
        ...

    def watch_takeover(self, on_takeover: Callable[[], None]) -> None:
        """Be called when a resumption wants the part of this upload, which is to end."""


class Listing(Protocol):
    """A directory that is being listed. Its lines can be had once, from one of the methods."""

    def take_all(self) -> ListingBlock | None:
        """Give all lines, if they are made already; None if not."""

    def blocks(self) -> AsyncGenerator[ListingBlock, None]:
        """Yield the lines in blocks.

        Raises:
            OSError: The directory cannot be read on.
        """


class Store(Protocol):
    """Files and directories.

    All methods take virtual paths (see `paths`) and raise `OSError` with the
    errno that says why: `FileNotFoundError` if there is nothing of that name,
    `NotADirectoryError` if something on the way is not a directory, and so on. A
    cancelled call leaves nothing open.

    Attributes:
        refused: The commands that it cannot carry out, and what is answered.
    """

    refused: Mapping[str, Reply]

    def close(self) -> None:
        """Release what it has open. Calls that run keep what they use."""

    async def at(self, directory: str) -> Store:
        """Return a store of what is beneath a directory, from which no path leads out.

        It is closed on its own, before this one. `clean` of this one looks there, too.

        Raises:
            OSError: There is no such directory.
        """

    async def status(self, path: str, *, follow: bool = True) -> ListingEntry:
        """Return what is known about a file or directory.

        Args:
            path: Its path.
            follow: Whether a symbolic link at its end is followed.
        """

    async def open_reader(self, path: str) -> Reader:
        """Open a regular file for reading.

        Raises:
            IsADirectoryError: It is a directory.
            OSError: EPERM if it is neither file nor directory.
        """

    def open_listing(
        self,
        path: str,
        formatter: TableFormatter,
        *,
        is_wanted: Callable[[str], bool] | None = None,
        follow: bool = False,
    ) -> AbstractAsyncContextManager[Listing]:
        """Open a directory for listing, as a context manager.

        Args:
            path: The directory.
            formatter: Makes the lines.
            is_wanted: Tells by its name whether an entry is listed.
            follow: Whether a symbolic link is listed as what it leads to within
                the store (RFC 3659 §7.5.1.5).

        Raises:
            NotADirectoryError: It is something else.
        """

    async def open_target(
        self,
        path: str,
        mode: WriteMode,
        offset: int,
        *,
        owner: str | None = None,
        part_only: bool = False,
        is_judged: bool = False,
    ) -> Upload:
        """Open a file for an upload: the one that a symbolic link at the end of `path` leads to.

        With an offset, and no part to resume, there must be a file.

        Args:
            path: The file.
            mode: What happens to a file that is there.
            offset: Where to begin to write, in bytes.
            owner: Whose part is left if the upload is cut, and resumed; None for nobody's.
            part_only: Whether to refuse, with `FileBusy`, to write into the file itself where
                there is no part to resume.
            is_judged: Whether an observer decides about the upload before it is published: it
                must be a `ftpdata.contracts.ReadableTarget`.

        Raises:
            FTPDataError: As `ftpdata.FileTarget.open` raises it; `FileUnavailable`
                if the path leads to anything but a file.
        """

    async def part_status(self, path: str, owner: str) -> PartStatus | None:
        """Return what came of an upload of this name and owner that was cut; None if nothing."""

    async def remove_part(self, path: str, owner: str, *, only_stale: bool = False) -> bool:
        """Remove what came of an upload that was cut.

        Args:
            path: The file that it would have become.
            owner: Whose it is.
            only_stale: Whether to remove it only if it is older than the file.

        Returns:
            Whether there was something.
        """

    async def clean(self) -> list[RemovedPart]:
        """Remove parts that are too old or too many, and what killed processes have left."""

    async def free_space(self) -> int:
        """Return the bytes that may still be written."""

    async def used_space(self, most: int) -> int:
        """Return the bytes of all files, those of parts included.

        Args:
            most: Files and directories to count.

        Raises:
            OSError: E2BIG: there are more.
        """

    async def make_directory(self, path: str) -> None:
        """Make a directory."""

    async def remove_directory(self, path: str) -> None:
        """Remove a directory that is empty, or holds only parts that nobody writes to."""

    async def remove_file(self, path: str) -> None:
        """Remove a file, or a symbolic link and not what it leads to."""

    async def rename(self, old: str, new: str) -> None:
        """Rename a file, directory or link; what has the new name is replaced."""

    async def set_modified(self, path: str, seconds: float) -> None:
        """Set the modification time, in seconds since 1970 (UTC)."""

    async def set_mode(self, path: str, mode: int) -> None:
        """Set the permission bits of a file or directory."""


def system_error(number: int) -> OSError:
    """Return the error of a system call that fails with this errno."""

    return OSError(number, os.strerror(number))


_ABOUT_NAMES = frozenset({
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM),
    *(errno.ELOOP, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL),
})


def is_about_name(error: OSError) -> bool:
    """Whether an error says something about the name, rather than about the system.

    If there are no descriptors, no memory, or the disk fails, nothing is known about
    the name: it must not be taken for one that does not exist.
    """

    return errno_of(error) in _ABOUT_NAMES


async def exists(store: Store, path: str) -> bool:
    """Whether there is anything of that name, including a link that leads nowhere.

    Raises:
        OSError: Nobody knows: the system has failed.
    """

    try:
        await store.status(path, follow=False)
    except OSError as error:
        if is_about_name(error):
            return False
        raise

    return True


async def is_directory(store: Store, path: str) -> bool:
    """Whether the path leads to a directory; no error if it leads nowhere.

    Raises:
        OSError: Nobody knows: the system has failed.
    """

    try:
        return (await store.status(path)).is_directory
    except OSError as error:
        if is_about_name(error):
            return False
        raise


async def find(store: Store, directory: str, argument: str) -> str:
    """Return the virtual path of what an argument names.

    Listings show the control characters of a name as escapes, so an escape in an
    argument may stand for one. Each name is the literal one if that exists, else
    the decoded one if that exists, else again the literal one.

    Args:
        store: Where to look.
        directory: What relative arguments start from.
        argument: A path, as the client wrote it.
    """

    return join(directory, await resolve(store, directory, argument))


async def resolve(store: Store, directory: str, argument: str) -> str:
    """Do as `find`, and return the argument itself, with the names that were found."""

    if "\\" not in argument:
        # Nearly always.
        return argument

    parts = argument.split("/")
    for place, part in enumerate(parts):
        decoded = unescape_name(part)
        if decoded == part:
            continue

        before = parts[:place]
        if await exists(store, join(directory, "/".join([*before, part]))):
            continue
        if await exists(store, join(directory, "/".join([*before, decoded]))):
            parts[place] = decoded

    return "/".join(parts)
