r"""Object stores as the other end of transfers: S3, Google Cloud Storage, Azure, memory.

Needs the package obstore: ``pip install ftpdata[objectstore]``. Its stores know where
credentials come from (environment, files, instance metadata). The first line of `main` would be
``from_url("s3://bucket", endpoint="https://s3.example.org")`` for a bucket::

    import asyncio
    import time

    from obstore.store import from_url

    from ftpdata import ListFormatter, connect_active, listen_passive
    from ftpdata import receive_file, receive_stream, send_listing, send_stream
    from ftpdata.objectstore import ObjectTarget, object_chunks, object_entries

    async def both_ends():
        server = await listen_passive("127.0.0.1", control_peer="127.0.0.1")
        return server, connect_active(server.address, control_peer="127.0.0.1")

    async def picture():
        yield b"a picture"

    async def download(endpoint):
        return b"".join([data async for data in receive_stream(endpoint)])

    async def main():
        store = from_url("memory://")

        server, client = await both_ends()  # STOR
        async with ObjectTarget(store, "camera/1.jpg") as target:
            await asyncio.gather(receive_file(server, target), send_stream(client, picture()))

        server, client = await both_ends()  # REST 2, RETR
        chunks = object_chunks(store, "camera/1.jpg", offset=2)
        _, data = await asyncio.gather(send_stream(server, chunks, offset=2), download(client))
        assert data == b"picture"

        server, client = await both_ends()  # LIST
        lines = ListFormatter(now=time.time()).format
        entries = object_entries(store, "camera")
        _, data = await asyncio.gather(
            send_listing(server, entries, formatter=lines), download(client)
        )
        assert data.endswith(b" 1.jpg\r\n")

    asyncio.run(main())

What object stores can and cannot do decides the rest. An upload appears whole, under its
name, or not at all: neither a cancellation nor a reset leaves parts that nobody sees. An upload
that was cut cannot be resumed, and nothing can be appended to an object. A download may begin
anywhere, and is refused with 451 rather than mixed of two versions of an object; a client that
reads slowly outlives the time-outs of a request. Directories are the parts of names up to a slash:
an empty one does not exist. `ftpdata.files.SpooledTarget` lets an observer read an upload before
it is an object.

``examples/server/objects.py`` is a whole server of a bucket, ``examples/camera_gateway.py`` a small
one for uploads, and ``examples/mirror_to_store.py`` copies the files of a server into a bucket.

An await of obstore's that is cancelled midway may leave the parts of an upload in the store,
which cost money and are seen by nobody. Here, each of them runs in a task of its own,
which is waited for however often the transfer is cancelled; the time-outs of the store
bound it. What a killed process leaves, a lifecycle rule of the bucket removes
(``AbortIncompleteMultipartUpload`` on S3). Azure cannot be asked to remove the parts of an upload:
it does so after a week, or when an upload of that name is complete; of two that are sent under one
name at the same time, the one that ends last fails there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs
import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    InvalidPathError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
)
from obstore.store import LocalStore, MemoryStore

from ._checks import check_range, check_type
from ._tasks import whole
from .contracts import Buffer
from .errors import (
    BadArgument,
    FileNameNotAllowed,
    FileUnavailable,
    FTPDataError,
    LocalError,
    QuotaExceeded,
    error_for_peer,
    in_words,
)
from .listing.entry import EntryType, ListingEntry, Permissions

if TYPE_CHECKING:
    from obstore import AsyncWritableFile, Attributes, GetResult, ObjectMeta
    from obstore.store import ObjectStore

__all__ = [
    "ObjectTarget",
    "delete_object",
    "move_object",
    "object_chunks",
    "object_entries",
    "object_status",
]

T = TypeVar("T")

PART_SIZE = 8 * 1024 * 1024
"""Bytes of one part of an upload; what is not larger is sent at once."""

MOST_PARTS = 10_000
"""Parts of one upload, on S3."""

LARGEST_PART = 64 * 1024 * 1024
"""Bytes to which parts grow for an upload of known size: a client may claim any."""

CHUNK_SIZE = 512 * 1024
"""Bytes that a download reads at a time; of less, each costs more than the store's own work."""

PAGE_SIZE = 1000
"""Entries that a listing has in memory."""

_LAST = "\U0010ffff"
"""Follows every other character in a name."""

_WITHOUT_MARKS = (LocalStore, MemoryStore)
"""Stores in which no name ends with a slash."""

LONGEST_NAME = 1024
"""Bytes of a name, on S3 and Google Cloud Storage."""

LOOKS = 16
"""Empty objects of a listing that the store is asked about at a time."""


class ObjectTarget:
    """An upload into an object store: an `ftpdata.contracts.UploadTarget`.

    An asynchronous context manager, which discards what was neither committed nor
    discarded. Up to a part of the upload is in memory for each of `concurrency`, and one more.

    The parts of an upload are of one size, the last one excepted, which is settled when it
    begins (some stores take no others), and S3 takes 10,000 of them. So an upload of unknown
    size ends at 10,000 times `part_size`: 78 GiB, unless the host chooses larger parts. If its size
    is known, the parts are as large as it needs, up to 64 MiB or `part_size`: 625 GiB.

    Args:
        store: The store, of obstore's.
        path: The name of the object, without a slash at its beginning.
        expected_size: Bytes that are to come, if that is known (ALLO).
        part_size: Bytes of a part, at least. S3 takes no less than 5 MiB.
        concurrency: Parts that are sent at a time.
        attributes: Of the object, such as ``{"Content-Type": "image/jpeg"}``.

    Raises:
        FileNameNotAllowed: No object can have that name. Reply 553.
        QuotaExceeded: `expected_size` is more than 10,000 parts can hold. Reply 552.

    Attributes:
        path: As above.
        largest_size: Bytes that the object may have.
        is_published: Whether the object is there, also if its transfer was cancelled meanwhile.
    """

    def __init__(
        self,
        store: ObjectStore,
        path: str,
        *,
        expected_size: int | None = None,
        part_size: int = PART_SIZE,
        concurrency: int = 1,
        attributes: Attributes | None = None,
    ) -> None:
        _check_number("expected_size", expected_size, 0)
        _check_number("part_size", part_size, 1)
        _check_number("concurrency", concurrency, 1)
        check_type("attributes", attributes, dict | None, "a dict")
        _check_path(path)
        self.path: str = path
        least = -(-(expected_size or 0) // MOST_PARTS)
        size = max(part_size, min(least, LARGEST_PART))
        self.largest_size: int = size * MOST_PARTS
        self.is_published: bool = False
        self._size = 0
        self._check_size(expected_size or 0)
        self._writer: AsyncWritableFile | None = obstore.open_writer_async(
            store, path, buffer_size=size, max_concurrency=concurrency, attributes=attributes
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *reason: object) -> None:
        if self._writer is not None:
            await self.discard()

    async def write(self, data: bytes) -> None:
        """Take bytes; return once the store has taken what is more than a part.

        Raises:
            QuotaExceeded: They are more than the object may have. Reply 552.
            FTPDataError: The store failed or refused. Carries the reply code.

        Cancellation waits for the store.
        """

        writer = self._writer
        if writer is None:
            raise ValueError("this upload was committed or discarded already")

        self._check_size(self._size + len(data))
        self._size += len(data)
        await _asked(writer.write(data))

    async def commit(self) -> None:
        """Give the object its name. Once, instead of `discard`.

        Raises:
            FTPDataError: The store failed or refused; nothing was published. Carries the
                reply code.

        Cancellation waits for the store: what it does is done.
        """

        await _asked(self._publish(self._take()))

    async def _publish(self, writer: AsyncWritableFile) -> None:
        await _close(writer)
        self.is_published = True

    async def discard(self) -> None:
        """Remove what came. Once, instead of `commit`; does nothing after that."""

        if self._writer is not None:
            await _asked(_abort(self._take()))

    def _check_size(self, size: int) -> None:
        if size > self.largest_size:
            raise QuotaExceeded(
                f"the object would have {size} bytes, and its parts hold {self.largest_size}",
                reply_text="the file is larger than the store takes in parts of this size",
            )

    def _take(self) -> AsyncWritableFile:
        writer, self._writer = self._writer, None
        if writer is None:
            raise ValueError("this upload was committed or discarded already")

        return writer


async def object_chunks(
    store: ObjectStore,
    path: str,
    *,
    offset: int = 0,
    length: int | None = None,
    etag: str | None = None,
    chunk_size: int = CHUNK_SIZE,
) -> AsyncGenerator[memoryview, None]:
    """Yield the bytes of an object, for `ftpdata.send_stream`.

    Args:
        store: The store.
        path: The name of the object.
        offset: Where to begin, in bytes (REST).
        length: Bytes at most; None for up to the end.
        etag: The version that is meant, as `object_status` tells it in
            `ListingEntry.unique`; None for the one that is there. All bytes are of one version.
        chunk_size: Bytes of each piece; a piece may have up to twice as many.

    Raises:
        FileUnavailable: There is no such object, or it may not be read. Reply 550.
        FileNameNotAllowed: No object can have that name. Reply 553.
        BadArgument: The offset is beyond the end. Reply 501.
        LocalError: Another version has taken its place; or the store failed. Reply 451.

    A request has its time-outs, and a peer may take longer to read the answer. What is left is
    asked for again then, of the same version, as long as each answer brings something.
    """

    _check_path(path)
    _check_number("offset", offset, 0)
    _check_number("length", length, 0)
    _check_number("chunk_size", chunk_size, 1)
    check_type("etag", etag, str | None, "the tag of a version")
    end = None if length is None else offset + length
    while end is None or offset < end:
        found = await _get(store, path, offset, end, etag)
        if found is None:
            return
        etag = found.meta["e_tag"]
        ahead = _ReadAhead(found.stream(min_chunk_size=chunk_size))
        is_first = True
        try:
            while True:
                try:
                    piece = await ahead.next()
                except StopAsyncIteration:
                    return
                except LocalError:
                    if is_first or etag is None:
                        raise
                    break
                is_first = False
                view = memoryview(piece)
                # What a store sends at a time may be much more.
                for start in range(0, len(view), 2 * chunk_size):
                    yield view[start : start + 2 * chunk_size]
                offset += len(view)
        finally:
            await ahead.aclose()


async def object_status(store: ObjectStore, path: str) -> ListingEntry:
    """Return what is known of an object or a directory; the root is ``""``.

    Args:
        store: The store.
        path: Its name.

    Raises:
        FileUnavailable: There is nothing of that name. Reply 550.
        FileNameNotAllowed: Nothing can have that name. Reply 553.
        LocalError: The store failed. Reply 451.
    """

    _check_path(path, may_be_root=True)
    name = path.rpartition("/")[2]
    if path:
        try:
            return _entry(await _asked(obstore.head_async(store, path)), name)
        except FileUnavailable:
            if await _has_any(store, path):
                return _directory(name)
            raise

    return _directory(name)


async def object_entries(
    store: ObjectStore, path: str = "", *, page_size: int = PAGE_SIZE
) -> AsyncGenerator[list[ListingEntry], None]:
    """Yield the entries of a directory, in lists, for `ftpdata.send_listing`.

    They come in the order of the store. Memory is bounded, however many there are. The store is
    asked once for each directory in it, to pass over what that directory holds, and once for each
    empty object, which may be the mark of a directory: many programs mark one with an empty object
    whose name ends with a slash.

    Args:
        store: The store.
        path: The directory; ``""`` is the root.
        page_size: Entries of a list, at most.

    Raises:
        FileNameNotAllowed: No directory can have that name. Reply 553.
        LocalError: The store failed, or is of a kind that lists in no order. Reply 451.
    """

    _check_path(path, may_be_root=True)
    _check_number("page_size", page_size, 1)
    prefix = f"{path}/" if path else ""
    after: str | None = None
    passed: str | None = None
    found: list[ListingEntry] = []
    progress = _Progress()
    while True:
        is_over = True
        progress.begin(after)
        async with contextlib.aclosing(_pages(store, path, after, page_size)) as pages:
            async for whole_page in pages:
                page = progress.without_known(whole_page)
                marks = await _marks(store, prefix, page)
                directory = None
                for meta in page:
                    if not meta["path"].startswith(prefix):
                        # The mark of this directory itself.
                        continue
                    name, slash, _ = meta["path"].removeprefix(prefix).partition("/")
                    if (slash or name in marks) and name == passed:
                        # The name of what is in it begins with the last of all characters.
                        continue
                    if slash or name in marks:
                        directory = name
                        break
                    found.append(_entry(meta, name))
                    if len(found) == page_size:
                        yield found
                        found = []
                if directory is not None:
                    found.append(_directory(directory))
                    # What is in it comes before this name.
                    after, is_over = f"{prefix}{directory}/{_LAST}", False
                    passed = directory
                    break
        if is_over:
            break
        if len(found) >= page_size:
            yield found
            found = []

    if found:
        yield found


async def delete_object(store: ObjectStore, path: str) -> None:
    """Delete an object.

    Raises:
        FileUnavailable: There is no such object, or it may not be deleted. Reply 550.
        FileNameNotAllowed: No object can have that name. Reply 553.
        LocalError: The store failed. Reply 451.
    """

    _check_path(path)
    # Most stores say that what was not there was deleted.
    await _asked(obstore.head_async(store, path))
    await _asked(obstore.delete_async(store, path))


async def move_object(store: ObjectStore, old: str, new: str) -> None:
    """Give an object another name, in place of what may have it: copy it, then delete the old one.

    Stores cannot do both at once. For a while both names exist, and whatever fails leaves both.
    An object that takes the old name meanwhile stays, unless it comes in the moment between
    the last look at the old one and its deletion.

    Raises:
        FileUnavailable: There is no such object, or it may not be moved. Reply 550.
        FileNameNotAllowed: No object can have one of the names. Reply 553.
        LocalError: Another version has taken its place; or the store failed, or does not copy
            an object of this size. Reply 451.

    Cancellation waits for the store, and leaves both names, or the new one.
    """

    _check_path(old)
    _check_path(new)
    before = await _asked(obstore.head_async(store, old))
    if old == new:
        return

    await _asked(obstore.copy_async(store, old, new))
    if _version(await _asked(obstore.head_async(store, old))) != _version(before):
        raise LocalError(
            "the object was replaced while it was copied; both are there",
            reply_text="the file was replaced meanwhile",
        )
    await _asked(obstore.delete_async(store, old))


# Private


_ORDERS: tuple[Callable[[str], bytes], ...] = (
    str.encode,
    lambda name: name.replace("/", "\0").encode(),
)
"""By the bytes of names, as nearly all stores have it, or directory by directory, as SeaweedFS."""


@attrs.define
class _Order:
    """Tells whether names follow one another in an order.

    Attributes:
        key: Makes the order.
        holds: Whether they do so far.
    """

    key: Callable[[str], bytes]
    holds: bool = True
    last: bytes = b""

    def note(self, name: str, *, is_empty: bool) -> None:
        """Look at the next name. That of a mark has lost the slash at its end."""

        for each in (name, f"{name}/") if is_empty else (name,):
            key = self.key(each)
            if key >= self.last:
                self.last = key
                return
        self.holds = False


class _Progress:
    """Knows what a listing has passed, for stores that begin at the first name each time.

    Azure's emulator is such a store. In each order, the names in a directory follow one another
    without another name between them.
    """

    def __init__(self) -> None:
        self._first: str | None = None
        self._after: str | None = None
        self._is_known = False
        self._is_inside = False

    def begin(self, after: str | None) -> None:
        """Begin to list what comes after a name, which sorts after all names of a directory."""

        self._after, self._is_known, self._is_inside = after, False, False

    def without_known(self, page: list[ObjectMeta]) -> list[ObjectMeta]:
        """Return what of the next page was not listed before."""

        if page and self._first is None:
            self._first = page[0]["path"]
        elif page and self._after is not None and not self._is_inside:
            self._is_known = self._is_known or self._is_anew(page[0]["path"], self._after)
        if not self._is_known:
            return page
        return [meta for meta in page if not self._was_listed(meta["path"])]

    def _is_anew(self, name: str, after: str) -> bool:
        return name == self._first or not any(order(name) > order(after) for order in _ORDERS)

    def _was_listed(self, name: str) -> bool:
        assert self._after is not None
        if not self._is_known:
            return False
        if name.startswith(self._after.removesuffix(_LAST)):
            self._is_inside = True
        elif self._is_inside or all(order(name) > order(self._after) for order in _ORDERS):
            self._is_known = False
        return self._is_known


async def _close(writer: AsyncWritableFile) -> None:
    """Complete an upload, or remove its parts. Nothing cancels it, see `_asked`.

    A writer that has asked the store to complete the upload removes them by itself.
    """

    try:
        await writer.close()
    except Exception as error:
        try:
            if not await writer.closed():
                await _abort(writer)
        except Exception as another:  # noqa: BLE001 - it does not conceal why the upload ended
            error.add_note(f"its parts could not be removed: {in_words(repr, another)}")
        raise


async def _abort(writer: AsyncWritableFile) -> None:
    # A writer that is left with an exception removes its parts.
    error = RuntimeError("the upload was discarded")
    await writer.__aexit__(type(error), error, None)


async def _get(
    store: ObjectStore, path: str, offset: int, end: int | None, etag: str | None
) -> GetResult | None:
    """Ask for an object from an offset on; return None if it ends there.

    Raises:
        FTPDataError: As `object_chunks` does.
    """

    options: dict[str, Any] = {}
    if end is not None:
        options["range"] = (offset, end)
    elif offset:
        options["range"] = {"offset": offset}
    if etag is not None:
        options["if_match"] = etag
    try:
        return await _asked(obstore.get_async(store, path, options=options or None))  # type: ignore[arg-type]
    except LocalError:
        # Stores have no range that begins at the end. A client that has everything asks for it.
        if "range" in options and await _is_at_end(store, path, offset, etag):
            return None
        raise


async def _is_at_end(store: ObjectStore, path: str, offset: int, etag: str | None) -> bool:
    """Return whether an object ends exactly at an offset.

    Raises:
        BadArgument: The offset is beyond its end. Reply 501.
    """

    meta = await _asked(obstore.head_async(store, path))
    size = meta["size"]
    if etag not in (None, meta.get("e_tag")):
        return False
    if offset > size:
        raise error_for_peer(
            BadArgument, f"offset {offset} is beyond the end of the object, {size}"
        )
    return offset == size


async def _pages(
    store: ObjectStore, path: str, after: str | None, size: int
) -> AsyncGenerator[list[ObjectMeta], None]:
    stream = obstore.list(store, path or None, offset=after, chunk_size=size)
    orders = [_Order(key) for key in _ORDERS]
    while True:
        try:
            page = list(await _asked(anext(stream)))
        except StopAsyncIteration:
            return
        for meta in page:
            for order in orders:
                order.note(meta["path"], is_empty=not meta["size"])
            if not any(order.holds for order in orders):
                raise LocalError("the store does not list objects in the order of their names")
        yield page


async def _marks(store: ObjectStore, prefix: str, page: list[ObjectMeta]) -> set[str]:
    """Return which names of empty objects are the marks of directories.

    The names behind the first mark, or the first object in a directory, need not be among them: the
    listing leaves the page there.
    """

    if isinstance(store, _WITHOUT_MARKS):
        return set()

    empty: list[str] = []
    for meta in page:
        if not meta["path"].startswith(prefix):
            continue
        name, slash, _ = meta["path"].removeprefix(prefix).partition("/")
        if slash:
            break
        if not meta["size"]:
            empty.append(name)

    marks: set[str] = set()
    for start in range(0, len(empty), LOOKS):
        names = empty[start : start + LOOKS]
        looks = (_is_mark(store, f"{prefix}{name}") for name in names)
        # All of them come to their end, whichever fails.
        for name, is_mark in zip(
            names, await asyncio.gather(*looks, return_exceptions=True), strict=True
        ):
            if isinstance(is_mark, BaseException):
                raise is_mark
            if is_mark:
                marks.add(name)
        if marks:
            break
    return marks


async def _is_mark(store: ObjectStore, path: str) -> bool:
    try:
        await _asked(obstore.head_async(store, path))
    except FileUnavailable as error:
        if isinstance(error.__cause__, PermissionDeniedError):
            raise
        # It is a mark, unless it was an object that has been deleted since.
        return await _has_any(store, path)
    return False


async def _has_any(store: ObjectStore, path: str) -> bool:
    """Return whether there is anything in a directory, or its mark."""

    async with contextlib.aclosing(_pages(store, path, None, 1)) as pages:
        async for page in pages:
            if page:
                return True
    return False


def _version(meta: ObjectMeta) -> object:
    return meta["e_tag"] or (meta["size"], meta["last_modified"])


def _entry(meta: ObjectMeta, name: str) -> ListingEntry:
    return ListingEntry(
        name=name,
        size=meta["size"],
        modified=meta["last_modified"],
        unique=meta.get("e_tag"),
    )


def _directory(name: str) -> ListingEntry:
    return ListingEntry(name=name, type=EntryType.DIRECTORY, permissions=Permissions(0o755))


def _check_number(name: str, value: int | None, least: int) -> None:
    if value is not None:
        check_type(name, value, int, "a whole number")
        check_range(name, value, least)


def _check_path(path: str, *, may_be_root: bool = False) -> None:
    check_type("path", path, str, "the name of an object")
    if may_be_root and not path:
        return
    if len(path.encode(errors="replace")) > LONGEST_NAME:
        raise FileNameNotAllowed(f"expected the name of an object, {LONGEST_NAME} bytes at most")
    has_bad_part = any(part in ("", ".", "..") for part in path.split("/"))
    if has_bad_part or any(_is_never_in_a_name(character) for character in path):
        raise FileNameNotAllowed(f"expected the name of an object, not {path!r:.60}")


def _is_never_in_a_name(character: str) -> bool:
    # Control characters of ASCII, and what stands for bytes that are not UTF-8.
    return character < " " or character == "\x7f" or "\ud800" <= character <= "\udfff"


class _ReadAhead:
    """Asks the store for a piece while the peer takes the one before.

    Args:
        pieces: The answer of the store.
    """

    def __init__(self, pieces: AsyncIterator[Buffer]) -> None:
        self._pieces = pieces
        self._coming: asyncio.Future[Buffer] | None = None

    async def next(self) -> Buffer:
        """Return the next piece. Raises as `_asked`."""

        asked, self._coming = self._coming or self._ask(), None
        piece = await _asked(asked)
        self._coming = self._ask()
        return piece

    async def aclose(self) -> None:
        """Let what was asked for last come to its end: nothing of a store's is cancelled midway."""

        asked, self._coming = self._coming, None
        if asked is not None:
            with contextlib.suppress(FTPDataError, StopAsyncIteration):
                await _asked(asked)

    def _ask(self) -> asyncio.Future[Buffer]:
        return asyncio.ensure_future(anext(self._pieces))


async def _asked(work: Awaitable[T]) -> T:
    """Await an answer of the store to its end.

    Raises:
        FTPDataError: The store failed or refused. Carries the reply code.
        StopAsyncIteration: Its iterator is over.
    """

    try:
        return await whole(work)
    except (BaseError, OSError) as error:
        raise _error_for(error) from error


def _error_for(error: Exception) -> FTPDataError:
    # Its text has the name of the object, the bucket, and pages of the store's answer.
    said = str(error).partition("\n")[0]
    if isinstance(error, (FileNotFoundError, NotFoundError)):
        return FileUnavailable(said, reply_text="no such file or directory")
    if isinstance(error, PermissionDeniedError):
        return FileUnavailable(said, reply_text="permission denied")
    if isinstance(error, AlreadyExistsError):
        return FileUnavailable(said, reply_text="the file exists")
    if isinstance(error, InvalidPathError):
        return FileNameNotAllowed(said, reply_text="no object can have that name")
    if isinstance(error, PreconditionError):
        return LocalError(said, reply_text="the file was replaced meanwhile")
    return LocalError(said)
