"""Quotas: how many bytes there may be in a home.

What is there is counted at first use, by walking through the home, and then kept up to date:

* Bytes of an upload count as they are written, so that several sessions of a user together stay
  within the quota. Parts of uploads that were cut are files like others.
* A file that is deleted or replaced gives its bytes back at that moment, not before: for an
  upload that replaces a file, both need room.
* Whatever else frees something (a part that is too old, a directory that goes with the parts in
  it, another program) is noticed by the next walk. There is one when a quota is about to be
  exceeded, and one after a while in any case; but never while an upload runs.

The count is of this process: several workers of one host learn of each other by the next walk.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import anyio
import attrs

from ftpdata import EntryType
from ftpdata.contracts import ReadableTarget, ResumableTarget

from .failures import Refused
from .store import Store, Upload, is_about_name, system_error

__all__ = ["HomeUsage", "HomeUsages", "Quota"]

logger = logging.getLogger("ftpdata.examples.server")

GOOD_FOR = 600.0
"""Seconds after which what is in a home is counted again."""

GOOD_FOR_REFUSAL = 5.0
"""Seconds after which it is counted again before an upload is refused."""

MOST_ENTRIES = 1_000_000
"""Files and directories of a home with a quota."""

MOST_HOMES = 1000
"""Homes whose count is kept while nobody is there."""


@attrs.define
class HomeUsage:
    """What is in one home, for all sessions that see it.

    Attributes:
        used: Bytes of the files in it; None if nobody has counted them.
        held: Bytes that running uploads have written.
        uploads: How many of these there are.
        counted_at: When they were counted, in seconds of the event loop's clock.
        sessions: How many see it.
        lock: Held while something is counted, or gives its bytes back.
    """

    used: int | None = None
    held: int = 0
    uploads: int = 0
    counted_at: float = -math.inf
    sessions: int = 0
    lock: anyio.Lock = attrs.field(factory=anyio.Lock)


class HomeUsages:
    """What is in each home that has a quota."""

    def __init__(self) -> None:
        self._homes: dict[str, HomeUsage] = {}

    def enter(self, home: str) -> HomeUsage:
        """Return what is in a home, for one more session."""

        usage = self._homes.pop(home, None) or HomeUsage()
        # The one that was used last is the last.
        self._homes[home] = usage
        usage.sessions += 1
        if len(self._homes) > MOST_HOMES:
            for name in [name for name, each in self._homes.items() if not each.sessions][:1]:
                del self._homes[name]
        return usage

    def leave(self, usage: HomeUsage) -> None:
        """Take note that a session has ended that `enter` was called for."""

        usage.sessions -= 1


class Quota:
    """The quota of one session.

    Args:
        limit: Bytes that may be in the home.
        usage: What is in it.
        store: The home.
    """

    def __init__(self, limit: int, usage: HomeUsage, store: Store) -> None:
        self._limit = limit
        self._usage = usage
        self._store = store

    async def left(self) -> int:
        """Return the bytes that may still be written.

        Raises:
            OSError: They cannot be counted.
        """

        async with self._usage.lock:
            await self._count(GOOD_FOR)
            return max(0, self._left)

    async def check(self, size: int) -> None:
        """Refuse what does not fit.

        Raises:
            Refused: There is no room for so many bytes. Reply 552.
            OSError: What is there cannot be counted.
        """

        async with self._usage.lock:
            await self._check(size)

    async def open(
        self, path: str, owner: str | None, opening: Callable[[], Awaitable[Upload]]
    ) -> Upload:
        """Open a file for an upload that is counted.

        Args:
            path: The file.
            owner: Whose part it may go on with.
            opening: Opens it.

        Raises:
            Refused: There is no room. Reply 552.
            OSError: What is there cannot be counted.
        """

        usage = self._usage
        async with usage.lock:
            await self._check(1)
            usage.uploads += 1
        try:
            upload = await opening()
            try:
                there = await self._size_below(path, owner, upload)
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await upload.discard()
                raise
        except BaseException:
            usage.uploads -= 1
            raise

        can_stay = upload.keeps_what_came or upload.leaves_part
        counted = _ResumableUpload if can_stay else _CountedUpload
        return cast("Upload", counted(self, upload, path, owner, there))

    async def _size_below(self, path: str, owner: str | None, upload: Upload) -> int:
        """Return how far an upload writes over bytes that are counted already."""

        if not upload.keeps_what_came and not getattr(upload, "position", 0):
            return 0
        # It may go on before the end of the part, of which the rest is dropped then.
        return await self.size_kept(path, owner, upload)

    async def size_kept(self, path: str, owner: str | None, upload: Upload) -> int:
        """Return the size of the file that keeps what came of an upload, or of its part."""

        if upload.keeps_what_came:
            return await self._size(path)
        part = None if owner is None else await self._store.part_status(path, owner)
        return 0 if part is None else part.size

    @contextlib.asynccontextmanager
    async def freeing(self, path: str, *, unless: str | None = None) -> AsyncIterator[None]:
        """Give the bytes of a file back if it is removed within this context, or replaced.

        Args:
            path: The file, or a link, which has none.
            unless: Another path, which may be of the same file: then nothing is given back.
        """

        async with self._usage.lock:
            size = await self._size(path, unless=unless, follow=False)
            yield
            self._free(size)

    @contextlib.asynccontextmanager
    async def freeing_part(self, path: str, owner: str) -> AsyncIterator[Callable[[], None]]:
        """Give the bytes of a part back if the function is called that this yields."""

        async with self._usage.lock:
            part = await self._store.part_status(path, owner)
            yield lambda: self._free(0 if part is None else part.size)

    # For uploads

    def take(self, nbytes: int) -> None:
        """Count bytes that an upload is about to write.

        Raises:
            OSError: EDQUOT: there is no room for them.
        """

        if nbytes > self._left:
            raise system_error(errno.EDQUOT)
        self._usage.held += nbytes

    async def publish(self, upload: Upload, path: str, held: int) -> None:
        """Commit an upload; give the bytes of the file back that it replaces."""

        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._usage.lock)
                replaced = 0 if upload.keeps_what_came else await self._size(path)
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await upload.discard()
                raise
            await upload.commit()
            self._free(replaced)
            self.end(held, stays=held)

    def end(self, held: int, *, stays: int) -> None:
        """Take note that an upload is over, and how many of its bytes stay."""

        self._usage.uploads -= 1
        self._usage.held -= held
        self._free(-stays)

    # What is there

    @property
    def _left(self) -> int:
        return self._limit - (self._usage.used or 0) - self._usage.held

    def _free(self, nbytes: int) -> None:
        if self._usage.used is not None:
            self._usage.used = max(0, self._usage.used - nbytes)

    async def _check(self, size: int) -> None:
        await self._count(GOOD_FOR)
        if size > self._left:
            await self._count(GOOD_FOR_REFUSAL)
        if size > self._left:
            raise Refused(552, "Your quota is exceeded.")

    async def _count(self, good_for: float) -> None:
        """Count what is in the home, unless that was done not long ago, or uploads run."""

        usage, now = self._usage, asyncio.get_running_loop().time()
        if usage.used is None or (now - usage.counted_at > good_for and not usage.uploads):
            try:
                usage.used = await self._store.used_space(MOST_ENTRIES)
            except OSError as error:
                logger.warning("cannot count what is in a home: %s", error.strerror)
                raise
            usage.counted_at = now

    async def _size(self, path: str, *, unless: str | None = None, follow: bool = True) -> int:
        try:
            entry = await self._store.status(path, follow=follow)
            if unless is not None:
                other = await self._store.status(unless, follow=False)
                if path == unless or entry.unique in (None, other.unique):
                    return 0
        except OSError as error:
            if is_about_name(error):
                return 0
            raise

        return entry.size if entry.type is EntryType.FILE else 0


class _CountedUpload:
    """An upload that counts what is written.

    Args:
        quota: Of its session.
        upload: The upload.
        path: Where it goes.
        owner: Whose part it may leave.
        there: Bytes from the beginning of the file that are counted already.
    """

    def __init__(
        self, quota: Quota, upload: Upload, path: str, owner: str | None, there: int
    ) -> None:
        self.keeps_what_came: bool = upload.keeps_what_came
        self.leaves_part: bool = upload.leaves_part
        self.watch_takeover = upload.watch_takeover
        self._quota = quota
        self._upload = upload
        self._path = path
        self._owner = owner
        self._there = there
        self._held = 0
        self._at: int = getattr(upload, "position", 0)
        if hasattr(upload, "open_to_read"):
            self.open_to_read = cast("ReadableTarget", upload).open_to_read

    @property
    def position(self) -> int:
        """See `ftpdata.contracts.ResumableTarget`."""

        return self._at

    @property
    def is_published(self) -> bool:
        """See `ftpdata.contracts.UploadTarget`."""

        return getattr(self._upload, "is_published", False) is True

    async def write(self, data: bytes) -> None:
        """Count data, then write them."""

        new = max(0, self._at + len(data) - self._there) - self._held
        if new > 0:
            self._quota.take(new)
            self._held += new
        await self._upload.write(data)
        self._at += len(data)

    async def commit(self) -> None:
        """Publish."""

        try:
            await self._quota.publish(self._upload, self._path, self._held)
        except BaseException:
            self._quota.end(self._held, stays=0)
            raise

    async def discard(self) -> None:
        """Discard what came; of what is written in place, that stays."""

        try:
            await self._upload.discard()
        finally:
            self._quota.end(self._held, stays=self._held if self.keeps_what_came else 0)


class _ResumableUpload(_CountedUpload):
    """One of which something may stay."""

    async def keep(self) -> None:
        """Keep what came."""

        stays = self._held
        try:
            await cast("ResumableTarget", self._upload).keep()
            if self._at < self._there + self._held:
                # The last write was cut, perhaps before it began.
                with contextlib.suppress(OSError):
                    size = await self._quota.size_kept(self._path, self._owner, self._upload)
                    stays = min(max(0, size - self._there), self._held)
        finally:
            self._quota.end(self._held, stays=stays)
