r"""The served bucket: objects of S3, Google Cloud Storage, Azure or memory as files.

The server serves a bucket in place of a directory, with one command::

    pip install -e '.[objectstore]'
    export AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...
    python -m examples.server --user ann:secret --writable \
        --store 's3://bucket/prefix?endpoint=https://s3.example.org&region=us-east-1'

``gs://bucket/prefix``, ``az://container/prefix`` and ``memory://``, which is gone with the process,
take the same place. Behind the question mark stand settings of obstore's, and ``part_size`` in
bytes. Credentials have no place there; they come from the environment:

- S3: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``, or the identity of
  the container or machine; ``AWS_REGION``;
- Google: ``GOOGLE_APPLICATION_CREDENTIALS`` or ``GOOGLE_SERVICE_ACCOUNT``, paths of files, or the
  identity of the machine;
- Azure: ``AZURE_STORAGE_ACCOUNT_NAME`` with ``AZURE_STORAGE_ACCOUNT_KEY`` or
  ``AZURE_STORAGE_SAS_TOKEN``, or an identity (``AZURE_CLIENT_ID``).

On S3 they need ``s3:ListBucket``, without which nobody learns what is not there, ``s3:GetObject``,
and, for ``--writable``, ``s3:PutObject``, ``s3:DeleteObject`` and ``s3:AbortMultipartUpload``.

``tests/promises.md`` has a table of what each command does with a bucket, with its tests. A commit
that has begun decides: if the store's answer to it is lost, the reply is 451, and the object may be
there nevertheless. Nothing that was acknowledged is lost. A server that is killed leaves the parts
of its uploads, which cost money and are not seen; on S3, and in the same way on Google's, this rule
removes them after a day::

    aws s3api put-bucket-lifecycle-configuration --bucket bucket --lifecycle-configuration \
        '{"Rules": [{"ID": "parts", "Status": "Enabled", "Filter": {},
          "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}]}'

Rules of this file:

1. What is acknowledged is there. An upload is an object when it is whole, and 226 follows the
   store's own answer. A download is of one version, or it fails.
2. What an object store cannot do is refused, and looks like nothing else: there is no
   appending, no resuming of an upload, no time or mode to be set. A rename copies, so it is the
   host's choice.
3. A directory is a part of names up to a slash. One that was made and is empty has an
   object, `MARK`, which nobody sees. To write into a directory makes it.
4. A name is of a file or of a directory, as far as uploads are concerned: neither hides the
   other. Two uploads at the same moment could, as could other programs; both are listed then.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Self, TypeVar
from urllib.parse import parse_qsl, urlsplit

import attrs
import obstore
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError
from obstore.store import MemoryStore, from_url

from ftpdata import EntryType, ListingBlock, ListingEntry, WriteMode
from ftpdata.errors import FileNameNotAllowed, FileUnavailable, LocalError
from ftpdata.files import PartStatus, RemovedPart, SpooledTarget, is_reserved
from ftpdata.listing import TableFormatter
from ftpdata.objectstore import (
    ObjectTarget,
    delete_object,
    move_object,
    object_chunks,
    object_entries,
    object_status,
)

from .failures import Refused
from .reply import Reply
from .store import system_error

__all__ = ["ObjectReader", "ObjectStore", "open_object_store"]

T = TypeVar("T")

MARK = ".ftpdata-directory"
"""The last name of an empty object that stands for a directory."""

PAGE = 250
"""Entries of which the lines are made at a time."""

SECRETS = (
    *("access_key", "account_key", "api_key", "master_key", "secret", "password", "token", "sas"),
)
"""What is in the names of settings that no command line should have."""

PART_SIZE = 8 * 1024 * 1024
"""Bytes of an upload that are sent at a time."""

LONGEST_NAME = 1024
"""Bytes of a name, with the prefix: beyond that, stores fail once they have everything."""

PATIENCE = 30
"""Seconds after which a request that has failed is not sent again: clients wait for its end."""

SCHEMES = frozenset({"s3", "gs", "az", "memory"})

REST = 0.05
"""Seconds for the threads of obstore to let go of what they have answered."""

_NO_RENAMES = Reply(502, "Objects cannot be renamed.")

REFUSED = MappingProxyType({
    "APPE": Reply(554, "Objects cannot be appended to. Send the whole file."),
    "MFMT": Reply(502, "Objects have the time of their upload."),
    "RNFR": _NO_RENAMES,
    "RNTO": _NO_RENAMES,
    "SITE CHMOD": Reply(504, "Objects have no mode."),
    "SITE UTIME": Reply(504, "Objects have the time of their upload."),
})


def open_object_store(url: str, *, renames: bool = False) -> ObjectStore:
    """Open what a URL names, and look whether it can be listed. Blocks.

    Args:
        url: Such as ``s3://bucket/prefix?endpoint=https://s3.example.org``. What follows the
            question mark are settings of obstore's, and ``part_size``, in bytes.
        renames: Whether renaming is allowed, by copying.

    Raises:
        ValueError: The URL makes no sense, or has what is to be kept secret.
        OSError: The store cannot be listed.
        BaseError: obstore says no otherwise.
    """

    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"expected s3://, gs://, az:// or memory://, not {parts.scheme}://")
    if parts.fragment or parts.username or parts.password:
        raise ValueError("expected a bucket, and perhaps a prefix and settings")

    query = parts.query
    settings = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    for name in settings:
        if any(secret in name.lower() for secret in SECRETS):
            raise ValueError(f"{name} belongs into the environment, where nobody else reads it")

    part_size = settings.pop("part_size", str(PART_SIZE))
    if not part_size.isdecimal() or not int(part_size):
        raise ValueError(f"expected part_size in bytes, not {part_size}")
    if parts.scheme == "memory":
        if settings:
            raise ValueError(f"memory:// has no {', '.join(settings)}")
        store: obstore.store.ObjectStore = MemoryStore()
    else:
        is_clear = settings.get("endpoint", "").startswith("http://")
        store = from_url(
            f"{parts.scheme}://{parts.netloc}{parts.path}",
            config=settings,  # type: ignore[call-overload]
            # Else the environment decides.
            client_options={"allow_http": True} if is_clear else {},
            retry_config={"retry_timeout": timedelta(seconds=PATIENCE)},
        )
    # Whether it is there, and we may: better now than at the first command.
    next(iter(obstore.list(store, chunk_size=1)), None)
    return ObjectStore(store, renames=renames, part_size=int(part_size))


@attrs.define
class ObjectReader:
    """An object, to be read; see `store.Reader`. Nothing is open.

    Attributes:
        size: Bytes of it.
        fd: None.
    """

    size: int
    _store: obstore.store.ObjectStore
    _key: str
    _etag: str | None
    fd: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def chunks(self, start: int = 0, end: int | None = None) -> AsyncGenerator[memoryview, None]:
        """Yield the bytes from `start` to `end`, of the version that was opened."""

        length = (self.size if end is None else min(end, self.size)) - start
        return object_chunks(
            self._store, self._key, offset=start, length=max(0, length), etag=self._etag
        )

    def release(self) -> None:
        """Do nothing."""


class _WholeUpload:
    """What an upload into an object store is to its session; see `store.Upload`."""

    keeps_what_came = False
    leaves_part = False

    def watch_takeover(self, on_takeover: Callable[[], None]) -> None:
        """Do nothing: there is no part that another upload could want."""


class ObjectUpload(_WholeUpload, ObjectTarget):
    """An upload into an object store."""


class JudgedUpload(_WholeUpload, SpooledTarget):
    """The same, with a copy on the disk for an observer that may veto it."""


class ObjectListing:
    """A directory that is being listed; see `store.Listing`.

    Args:
        pages: Its entries, from the second page on.
        first: The first page.
        is_all: Whether there are no others.
        formatter: Makes the lines.
        is_wanted: Tells by its name whether an entry is listed.
    """

    def __init__(
        self,
        pages: AsyncIterator[list[ListingEntry]],
        first: list[ListingEntry],
        formatter: TableFormatter,
        is_wanted: Callable[[str], bool] | None,
        *,
        is_all: bool,
    ) -> None:
        self._pages = pages
        self._first = first
        self._is_all = is_all
        self._formatter = formatter
        self._is_wanted = is_wanted

    def take_all(self) -> ListingBlock | None:
        """Give all lines, if they are made already; None if not."""

        return self._block(self._first) if self._is_all else None

    async def blocks(self) -> AsyncGenerator[ListingBlock, None]:
        """Yield the lines in blocks."""

        yield self._block(self._first)
        with _system_errors():
            async for page in self._pages:
                yield self._block(page)

    def _block(self, page: list[ListingEntry]) -> ListingBlock:
        wanted = self._is_wanted
        return ListingBlock(
            self._formatter.format_block([
                entry
                for entry in page
                if not is_reserved(entry.name) and (wanted is None or wanted(entry.text_name))
            ])
        )


class ObjectStore:
    """The objects of a bucket, or of a prefix in it; see `store.Store`.

    A cancelled call waits for the store.

    Args:
        store: The store, of obstore's.
        renames: Whether renaming is allowed. It copies, then deletes; see
            `ftpdata.objectstore.move_object` for what may happen between.
        part_size: Bytes that an upload has in memory, twice. There may be 10,000 parts.
        home: What comes before each name, with a slash at its end, if not all are served.
    """

    def __init__(
        self,
        store: obstore.store.ObjectStore,
        *,
        renames: bool = False,
        part_size: int = PART_SIZE,
        home: str = "",
    ) -> None:
        self._store = store
        self._part_size = part_size
        self._prefix = getattr(store, "prefix", None) or ""
        self._home = home
        self._renames = renames
        self.refused: Mapping[str, Reply] = {
            verb: reply for verb, reply in REFUSED.items() if not (renames and reply is _NO_RENAMES)
        }

    async def at(self, directory: str) -> ObjectStore:
        """Return a store of the objects beneath a prefix, whether there are any or not."""

        home = f"{self._key(directory)}/"
        return ObjectStore(
            self._store, renames=self._renames, part_size=self._part_size, home=home
        )

    def close(self) -> None:
        """Let the store go."""

        if self._home:
            # The one above does.
            return

        # A thread of obstore's that lets go of an answer while the interpreter ends aborts the
        # process.
        time.sleep(REST)

    # Looking

    async def status(self, path: str, *, follow: bool = True) -> ListingEntry:
        """Return what is known about a file or directory; there are no links to follow."""

        del follow
        if self._home and not path.strip("/"):
            # It is there, whether anything is in it or not.
            return ListingEntry(name="/", type=EntryType.DIRECTORY)
        return await _asked(object_status(self._store, self._key(path)))

    async def open_reader(self, path: str) -> ObjectReader:
        """Look at a file that is to be read."""

        entry = await self.status(path)
        if entry.is_directory:
            raise system_error(errno.EISDIR)
        return ObjectReader(entry.size, self._store, self._key(path), entry.unique)

    @contextlib.asynccontextmanager
    async def open_listing(
        self,
        path: str,
        formatter: TableFormatter,
        *,
        is_wanted: Callable[[str], bool] | None = None,
        follow: bool = False,
    ) -> AsyncIterator[ObjectListing]:
        """Open a directory for listing, as a context manager."""

        del follow
        pages = object_entries(self._store, self._key(path), page_size=PAGE)
        async with contextlib.aclosing(pages):
            first = await _asked(_next(pages))
            if not first and not (await self.status(path)).is_directory:
                raise system_error(errno.ENOTDIR)
            yield ObjectListing(pages, first, formatter, is_wanted, is_all=len(first) < PAGE)

    async def free_space(self) -> int:
        """Return the bytes of the largest upload."""

        return 10_000 * self._part_size

    async def used_space(self, most: int) -> int:
        """Return the bytes of all objects."""

        used = seen = 0
        with _system_errors():
            try:
                async for page in obstore.list(self._store, self._home or None, chunk_size=PAGE):
                    used += sum(meta["size"] for meta in page)
                    seen += len(page)
                    if seen > most:
                        raise system_error(errno.E2BIG)
            except BaseError as error:
                raise system_error(errno.EIO) from error
        return used

    # Changing

    async def open_target(
        self,
        path: str,
        mode: WriteMode,
        offset: int,
        *,
        owner: str | None = None,
        part_only: bool = False,
        is_judged: bool = False,
    ) -> ObjectUpload | JudgedUpload:
        """Begin an upload, which replaces the object when it is whole."""

        del owner, part_only
        if offset or mode in (WriteMode.APPEND, WriteMode.IN_PLACE, WriteMode.RESUME):
            raise Refused(554, "An object is written as a whole. Send the file from its beginning.")

        status = await self._free_for_file(path)
        if mode is WriteMode.EXCLUSIVE and status is not None:
            raise system_error(errno.EEXIST)

        upload = ObjectUpload(self._store, self._key(path), part_size=self._part_size)
        return JudgedUpload(upload) if is_judged else upload

    async def part_status(self, path: str, owner: str) -> PartStatus | None:
        """Return None: nothing is left of an upload that was cut."""

        del path, owner
        return None

    async def remove_part(self, path: str, owner: str, *, only_stale: bool = False) -> bool:
        """Return that there is nothing."""

        del path, owner, only_stale
        return False

    async def clean(self) -> list[RemovedPart]:
        """Remove nothing: what killed processes leave, the store's own rules remove."""

        return []

    async def make_directory(self, path: str) -> None:
        """Make a directory, and those that it is in."""

        if await self._free_for_file(path, may_be_directory=True) is not None:
            raise system_error(errno.EEXIST)

        await _asked(ObjectTarget(self._store, self._key(f"{path}/{MARK}")).commit())

    async def remove_directory(self, path: str) -> None:
        """Remove a directory that is empty."""

        if not path.strip("/"):
            raise system_error(errno.EPERM)
        if not (await self.status(path)).is_directory:
            raise system_error(errno.ENOTDIR)

        async with contextlib.aclosing(
            object_entries(self._store, self._key(path), page_size=2)
        ) as pages:
            first = await _asked(_next(pages))
        if any(entry.name != MARK for entry in first):
            raise system_error(errno.ENOTEMPTY)
        if not first:
            # Another program has marked it, with a name that we cannot say.
            raise system_error(errno.EPERM)

        await _asked(delete_object(self._store, self._key(f"{path}/{MARK}")))

    async def remove_file(self, path: str) -> None:
        """Remove a file."""

        await _asked(delete_object(self._store, self._key(path)))

    async def rename(self, old: str, new: str) -> None:
        """Rename a file, by copying it; what has the new name is replaced."""

        if (await self.status(old)).is_directory:
            raise Refused(553, "Directories of an object store cannot be renamed.")

        await self._free_for_file(new)
        await _asked(move_object(self._store, self._key(old), self._key(new)))

    async def set_modified(self, path: str, seconds: float) -> None:
        """Refuse it."""

        del path, seconds
        raise system_error(errno.ENOTSUP)

    async def set_mode(self, path: str, mode: int) -> None:
        """Refuse it."""

        del path, mode
        raise system_error(errno.ENOTSUP)

    def _key(self, path: str) -> str:
        return f"{self._home}{path.strip('/')}".rstrip("/")

    async def _free_for_file(
        self, path: str, *, may_be_directory: bool = False
    ) -> ListingEntry | None:
        """Return what has a name that is to be a file; None for nothing.

        Raises:
            OSError: EISDIR: it is a directory. ENOTDIR: something above it is a file.
                ENAMETOOLONG: its name is too long, with the prefix of the store.
            FileNameNotAllowed: No object can have that name. Reply 553.
        """

        name = f"{self._prefix}/{self._key(path)}" if self._prefix else self._key(path)
        if len(name.encode(errors="replace")) > LONGEST_NAME:
            raise system_error(errno.ENAMETOOLONG)

        names = path.strip("/").split("/")
        above = [self._key("/".join(names[:depth])) for depth in range(1, len(names))]
        # All of them come to their end, whichever fails.
        found, *files = await asyncio.gather(
            self._status_of_new(path),
            *(self._is_file(each) for each in above),
            return_exceptions=True,
        )
        for answer in (found, *files):
            if isinstance(answer, BaseException):
                raise answer
        assert found is None or isinstance(found, ListingEntry)
        if any(files):
            raise system_error(errno.ENOTDIR)
        if found is not None and found.is_directory and not may_be_directory:
            raise system_error(errno.EISDIR)
        return found

    async def _status_of_new(self, path: str) -> ListingEntry | None:
        try:
            if self._home and not path.strip("/"):
                return await self.status(path)
            return await _asked(object_status(self._store, self._key(path)), may_be_new=True)
        except FileNotFoundError:
            return None

    async def _is_file(self, key: str) -> bool:
        try:
            # If it is cancelled, it leaves nothing in the store.
            await obstore.head_async(self._store, key)
        except (FileNotFoundError, NotFoundError):
            return False
        except BaseError as error:
            raise system_error(errno.EIO) from error
        return True


async def _next(pages: AsyncIterator[list[ListingEntry]]) -> list[ListingEntry]:
    return await anext(pages, [])


async def _asked(work: Awaitable[T], *, may_be_new: bool = False) -> T:
    with _system_errors(may_be_new=may_be_new):
        return await work


@contextlib.contextmanager
def _system_errors(*, may_be_new: bool = False) -> Iterator[None]:
    """Make `OSError` of errors, as every store raises them.

    Args:
        may_be_new: Whether the name is to be given, and a wrong one is to be told as such.
    """

    try:
        yield
    except FileNameNotAllowed as error:
        if may_be_new:
            raise
        # What cannot be is not there.
        raise system_error(errno.ENOENT) from error
    except FileUnavailable as error:
        is_denied = isinstance(error.__cause__, PermissionDeniedError)
        raise system_error(errno.EACCES if is_denied else errno.ENOENT) from error
    except LocalError as error:
        raise OSError(errno.EIO, error.message) from error
