"""Where the bytes of an upload are until it is whole, and how it is published.

- `HiddenPlace`: beside the file, under a hidden name that is renamed.
- `SpooledPlace`: in a file without a name, which is copied into one that may be written but
  not replaced.
- `NamedPlace`: in the file itself.

What is removed when an upload is cut is what the upload itself has made, under a hidden, random
name. A file that others can see is never removed, cut short or replaced by its old content: it may
be another's by then, and looking first and acting then would be a race itself.

Everything here may block, and is for one worker thread at a time.
"""

from __future__ import annotations

import abc
import errno
import os
import stat
from collections.abc import Callable

from .._descriptors import let_go, write_all
from ..errors import BadArgument, error_for_peer
from . import _part_locks as locks
from ._attributes import hand_on_attributes
from ._libc import rename_to_new, reserve
from ._location import PRIVATE, Location, require_file
from ._nameless import open_nameless
from ._names import FilePath

__all__ = ["HiddenPlace", "NamedPlace", "Place", "SpooledPlace"]

PIECE = 1024 * 1024
"""Bytes that are copied at a time."""

_READING = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

_NOT_REPLACED = frozenset({errno.EACCES, errno.EPERM, errno.EBUSY})
"""Errors of a system that does not give a name to another file; EBUSY is that of a mount point."""


class Place(abc.ABC):
    """The bytes of an upload that is not published yet.

    Args:
        at: Where the upload is to appear; the place closes it.

    Attributes:
        position: Where the first byte goes, in bytes.
        replaced_size: Bytes of the file that is replaced, whose memory is given back.
        is_spooled: Whether the upload is copied into the file when it is whole.
        fd: What the bytes are written to, once it is open.
    """

    def __init__(self, at: Location) -> None:
        self.position = 0
        self.replaced_size = 0
        self.is_spooled = False
        self._at = at
        self.fd: int | None = None
        self._lasts = False

    def begin(self) -> int:
        """Return the descriptor that the bytes are written to; made for the first of them."""

        if self.fd is None:
            self.fd = self._make()
        return self.fd

    def open(self) -> int:
        """Do what `begin` does, for an upload that is not whole when its first bytes are written.

        What is whole by then is written and published at once.
        """

        if not self._lasts:
            self._begin_to_last()
            self._lasts = True
        return self.begin()

    def publish(self, last: bytes, *, is_durable: bool, before: Callable[[], None]) -> None:
        """Give the upload its name, all at once. In any case the place is over.

        Args:
            last: Bytes to write before that.
            is_durable: Whether the bytes are to be on the disk first.
            before: Called before anybody can see the upload. What it raises keeps it unseen.

        Raises:
            OSError: The system refused, and nothing was published.
        """

        try:
            write_all(self.begin(), last)
            self._publish(is_durable=is_durable, before=before)
        except BaseException as error:
            try:
                self.discard()
            except OSError as another:
                error.add_note(f"what came of the upload could not be removed: {another!r}")
            raise

    def open_to_read(self) -> int:
        """Open what has come, before it is published, for somebody who is to judge it.

        Raises:
            BadArgument: Everybody can see it.
            OSError: The system refused.
        """

        raise error_for_peer(
            BadArgument, "expected an upload that nobody can see before it is published"
        )

    def keep(self) -> None:
        """Let go of an upload that was cut, but keep what came of it."""

        self.discard()

    def discard(self) -> None:
        """Let go of an upload that was cut, with what nobody can see."""

        let_go(self._take())

    def sync_directory(self) -> None:
        """Flush to the disk that the upload was published."""

        self._at.sync_directory()

    def close(self) -> None:
        """Close the directory."""

        self._at.close()

    def _begin_to_last(self) -> None:
        """Prepare for an upload that takes longer than a moment."""

    @abc.abstractmethod
    def _make(self) -> int:
        """Make or open what the bytes are written to."""

    @abc.abstractmethod
    def _publish(self, *, is_durable: bool, before: Callable[[], None]) -> None:
        """Do what `publish` does."""

    def _take(self) -> int | None:
        """Return the descriptor, which is the caller's to close."""

        fd, self.fd = self.fd, None
        return fd

    def _finish(self, *, is_durable: bool) -> None:
        """Flush the bytes, and close the descriptor."""

        fd = self._take()
        assert fd is not None
        try:
            if is_durable:
                os.fsync(fd)
        except BaseException:
            let_go(fd)
            raise
        # It may report what write did not (EDQUOT and EIO on network disks).
        os.close(fd)


class HiddenPlace(Place):
    """A hidden file beside the one that is replaced, or to be new.

    Args:
        at: Where the upload is to appear.
        permissions: Of a file that replaces none, before the umask.
        replaced: Status of the file that is replaced; None where none is.
        must_be_new: Whether nothing may have the name when the upload is published.
        may_copy: Whether it may be copied into a file that turns out not to be replaceable.
    """

    def __init__(
        self,
        at: Location,
        *,
        permissions: int,
        replaced: os.stat_result | None = None,
        must_be_new: bool = False,
        may_copy: bool = False,
    ) -> None:
        super().__init__(at)
        self._permissions = permissions
        self._replaced = replaced
        self._must_be_new = must_be_new
        self._may_copy = may_copy
        self._hidden: bytes | None = None
        if replaced is not None:
            self.replaced_size = replaced.st_size

    def _make(self) -> int:
        hidden = self._at.hidden_name()
        replaced = self._replaced
        # Nobody else may open what may become a secret of the old owner.
        permissions = self._permissions if replaced is None else PRIVATE
        fd = self._at.open_new(hidden, permissions)
        self._hidden = hidden
        if replaced is not None:
            hand_on_attributes(self._at.path_for_attributes(), replaced, fd)
        return fd

    def _begin_to_last(self) -> None:
        # Whoever cleans up sees that the upload runs.
        locks.lock_new(self.begin())

    def _publish(self, *, is_durable: bool, before: Callable[[], None]) -> None:
        hidden, dir_fd = self._hidden, self._at.dir_fd
        assert hidden is not None
        self._finish(is_durable=is_durable)
        before()
        if self._must_be_new:
            rename_to_new(hidden, self._at.name, dir_fd)
        else:
            try:
                os.replace(hidden, self._at.name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
            except OSError as error:
                if not self._may_copy or error.errno not in _NOT_REPLACED:
                    raise
                self._copy(hidden, is_durable=is_durable)
                return

        self._hidden = None

    def open_to_read(self) -> int:
        """Open it by its hidden name."""

        hidden = self._hidden
        assert hidden is not None
        return os.open(hidden, _READING, dir_fd=self._at.dir_fd)

    def _copy(self, hidden: bytes, *, is_durable: bool) -> None:
        """Copy it into the file, which may not be replaced after all."""

        fd = os.open(hidden, _READING, dir_fd=self._at.dir_fd)
        try:
            _copy_into(self._at, fd, is_durable=is_durable)
        finally:
            let_go(fd)

        self.is_spooled = True
        self.discard()

    def discard(self) -> None:
        """Let go of an upload that was cut, and remove the hidden file."""

        super().discard()
        hidden, self._hidden = self._hidden, None
        if hidden is not None:
            locks.unlink(hidden, self._at.dir_fd)


class SpooledPlace(Place):
    """A file without a name, copied into the one that may be written, but not replaced.

    Args:
        at: Where the upload is to appear.
        replaced: Status of the file.
        directory: Where the file without a name is made; None for the system's own place.
    """

    def __init__(
        self, at: Location, *, replaced: os.stat_result, directory: FilePath | None
    ) -> None:
        super().__init__(at)
        self.is_spooled = True
        self.replaced_size = replaced.st_size
        self._directory = directory

    def open_to_read(self) -> int:
        """Open it once more, since it has no name."""

        assert self.fd is not None
        try:
            return os.open(f"/proc/self/fd/{self.fd}", _READING)
        except FileNotFoundError:
            # There is no /proc. The position is shared, and `_copy_into` sets it anew.
            fd = os.dup(self.fd)
            os.lseek(fd, 0, os.SEEK_SET)
            return fd

    def _make(self) -> int:
        return open_nameless(self._directory)

    def _publish(self, *, is_durable: bool, before: Callable[[], None]) -> None:
        assert self.fd is not None
        before()
        _copy_into(self._at, self.fd, is_durable=is_durable)
        let_go(self._take())


class NamedPlace(Place):
    """The file itself. What was written to it stays, however the upload ends.

    Args:
        at: Where the file is.
        permissions: Of a file that is made, before the umask.
        appends: Whether the bytes go to the end of the file, wherever that is by then.
        offset: Where the first byte goes otherwise, in bytes. Without one the file is emptied,
            once there are bytes to be written.

    Raises:
        BadArgument: The offset is beyond the end.
        FileUnavailable: It is not a file.
        OSError: The system refused.
    """

    def __init__(
        self,
        at: Location,
        *,
        permissions: int,
        appends: bool = False,
        offset: int = 0,
    ) -> None:
        super().__init__(at)
        self.position = offset
        self._permissions = permissions
        self._appends = appends
        self._has_begun = False
        found = at.status()
        if found is not None and not stat.S_ISLNK(found.st_mode):
            require_file(found)
        if found is not None or offset:
            try:
                self.fd = at.open_named(flags=self._flags)
            except FileNotFoundError:
                if offset:
                    raise
                # Another has removed or renamed it since: it is made as a new one is.
        if self.fd is None and not at.may_make_files():
            # So access(2) says, but the system has the last word, and gives the reason.
            self.fd = self._make()
        if self.fd is not None:
            try:
                self._start(self.fd)
            except BaseException:
                self.discard()
                raise

    @property
    def _flags(self) -> int:
        return os.O_APPEND if self._appends else 0

    def begin(self) -> int:
        """Return the descriptor; empty the file first, if it is to be written anew."""

        fd = super().begin()
        if not self._has_begun:
            if not self._appends and not self.position:
                os.ftruncate(fd, 0)
            self._has_begun = True

        return fd

    def _make(self) -> int:
        return self._at.open_named(flags=self._flags | os.O_CREAT, permissions=self._permissions)

    def _start(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        if self._appends:
            self.position = size
        elif self.position > size:
            raise error_for_peer(
                BadArgument, f"offset {self.position} is beyond the end of the file, {size}"
            )
        elif self.position:
            os.lseek(fd, self.position, os.SEEK_SET)

    def _publish(self, *, is_durable: bool, before: Callable[[], None]) -> None:
        self._finish(is_durable=is_durable)
        before()


def _copy_into(at: Location, source: int, *, is_durable: bool) -> None:
    """Copy a whole upload into the file that has its name.

    Room is set aside first, and what the old content has more is cut off last: a full disk
    changes nothing.
    """

    fd = _open_for_copy(at)
    try:
        size = os.lseek(source, 0, os.SEEK_END)
        os.lseek(source, 0, os.SEEK_SET)
        reserve(fd, 0, size)
        while data := os.read(source, PIECE):
            write_all(fd, data)
        os.ftruncate(fd, size)
        if is_durable:
            os.fsync(fd)
    except BaseException:
        let_go(fd)
        raise

    os.close(fd)


def _open_for_copy(at: Location) -> int:
    try:
        return at.open_named()
    except FileNotFoundError:
        # Another has removed it meanwhile.
        return at.open_named(flags=os.O_CREAT | os.O_EXCL)
