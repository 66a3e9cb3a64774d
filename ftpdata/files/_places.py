"""Where the bytes of an upload are until it is whole, and how it is published.

- `HiddenPlace`: beside the file, under a hidden name that is renamed.
- `PartPlace`: the same, but what came stays if the upload is cut, as the part of its owner.
- `SpooledPlace`: in a file without a name, which is copied into one that may be written but
  not replaced.
- `NamedPlace`: in the file itself.

What is removed when an upload is cut is what the upload itself has made, under a hidden, random
name. A file that others can see is never removed, cut short or replaced by its old content: it
may be another's by then, and to look first and then to act would be a race itself.

Everything here may block, and is for one worker thread at a time.
"""

from __future__ import annotations

import abc
import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Callable

import attrs

from ..errors import BadArgument, FileBusy, FileNameNotAllowed, error_for_peer
from . import _part_locks as locks
from ._attributes import hand_on_attributes
from ._descriptors import let_go, write_all
from ._libc import rename_to_new, reserve
from ._location import Location, require_file
from ._names import FilePath
from ._part_rules import PartStatus, Resumption, how_to_resume
from .parts import Holding, PartOwner

__all__ = [
    "HiddenPlace",
    "Keeping",
    "NamedPlace",
    "PartPlace",
    "Place",
    "SpooledPlace",
    "place_for_new",
    "place_for_replacing",
    "place_for_resuming",
]

PIECE = 1024 * 1024
"""Bytes that are copied at a time."""

_PRIVATE = 0o600

_NOT_REPLACED = frozenset({errno.EACCES, errno.EPERM, errno.EBUSY})
"""What the system says where a name may not be given to another file; EBUSY of a mount point."""


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
        # Nobody is to open what may become a secret of the old owner's.
        permissions = self._permissions if replaced is None else _PRIVATE
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

    def _copy(self, hidden: bytes, *, is_durable: bool) -> None:
        """Copy it into the file, which may not be replaced after all."""

        flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        fd = os.open(hidden, flags, dir_fd=self._at.dir_fd)
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


@attrs.frozen
class Keeping:
    """Who keeps the part of an upload.

    Attributes:
        owner: Whose part it is.
        holding: The right to write to it.
    """

    owner: PartOwner
    holding: Holding


class PartPlace(HiddenPlace):
    """A hidden file that stays if the upload is cut: the part of its owner.

    An upload that is whole before it is written has an ordinary hidden file. Any other one has
    the part's name from its first bytes on, and holds a lock on it until it is published or cut.
    Only its owner reads it until then.

    Args:
        at: Where the upload is to appear.
        keeping: Who keeps the part.
        permissions: See `HiddenPlace`.
        replaced: See `HiddenPlace`.
        may_copy: See `HiddenPlace`.
    """

    def __init__(
        self,
        at: Location,
        keeping: Keeping,
        *,
        permissions: int,
        replaced: os.stat_result | None = None,
        may_copy: bool = False,
    ) -> None:
        super().__init__(at, permissions=permissions, replaced=replaced, may_copy=may_copy)
        self._owner = keeping.owner
        self._holding = keeping.holding
        self._part: bytes = keeping.owner.path_of(at)
        self._mode: int | None = None
        self._is_locked = False
        # Where to cut the part before the first byte is written to it.
        self._cut_at: int | None = None

    def adopt(self, fd: int, offset: int) -> None:
        """Go on with a part that is locked. The descriptor belongs to the place, if this returns.

        What is behind the offset stays until there are bytes to be written.
        """

        os.fchmod(fd, _PRIVATE)
        os.lseek(fd, offset, os.SEEK_SET)
        if self._replaced is None:
            self._mode = self._find_mode()
        self._owner.hold(fd, self._holding)
        self.fd = fd
        self._hidden = self._part
        self.position = self._cut_at = offset
        self._lasts = self._is_locked = True

    def begin(self) -> int:
        """Return the descriptor; first drop what is behind the offset of a resumption."""

        fd = super().begin()
        if self._cut_at is not None:
            os.ftruncate(fd, self._cut_at)
            self._cut_at = None

        return fd

    def publish(self, last: bytes, *, is_durable: bool, before: Callable[[], None]) -> None:
        """Give the upload its name, all at once; the lock is held until then."""

        held = None
        if self.fd is not None and self._lasts:
            try:
                held = os.dup(self.fd)
            except OSError:
                self.keep()
                raise

        try:
            super().publish(last, is_durable=is_durable, before=before)
        finally:
            self._owner.release(self._holding)
            if held is not None:
                self._forget_mark(held)
                let_go(held)

    def keep(self) -> None:
        """Let go of an upload that was cut, but keep what came of it.

        A newer upload of the same name that has begun since, or one that keeps the name busy,
        leaves no part of this one: old and new bytes would be mixed.
        """

        if self.fd is None or not self._lasts:
            self.discard()
            # What is there is of an earlier upload, and this one was to replace it.
            self._owner.remove(self._at.name, dir_fd=self._at.dir_fd)
            return

        status: os.stat_result | None = None
        try:
            if self._may_be_kept(self.fd):
                status = os.fstat(self.fd)
                self._hidden = None
        finally:
            self.discard()

        if status is not None:
            self._owner.keep(self._at, status)

    def discard(self) -> None:
        """Let go of an upload that was cut, and remove the hidden file while it is locked."""

        fd, hidden = self._take(), self._hidden
        try:
            super().discard()
            if fd is not None and hidden == self._part:
                self._owner.remove_mark(self._at, fd)
        finally:
            let_go(fd)
            self._owner.release(self._holding)

    def _forget_mark(self, fd: int) -> None:
        # `PartStore.clean` finds it otherwise.
        with contextlib.suppress(OSError):
            self._owner.remove_mark(self._at, fd)

    def _may_be_kept(self, fd: int) -> bool:
        hidden = self._hidden
        if hidden is None or not self._is_locked or not os.fstat(fd).st_size:
            return False

        if hidden != self._part:
            if not self._owner.take_name(self._at, hidden):
                return False
            self._hidden = self._part

        return not self._owner.is_void(self._at, fd)

    def _begin_to_last(self) -> None:
        if self._replaced is None:
            self._mode = self._find_mode()
        self.discard()
        self.fd, self._hidden, self._is_locked = self._owner.begin(self._at, self._holding)

    def _find_mode(self) -> int:
        """Find out which permissions a new file gets here, from one that is made for it.

        They depend on the process (umask) and on the directory (default ACL).
        """

        if self.fd is not None:
            return stat.S_IMODE(os.fstat(self.fd).st_mode)

        name = self._at.hidden_name()
        fd = self._at.open_new(name, self._permissions)
        try:
            return stat.S_IMODE(os.fstat(fd).st_mode)
        finally:
            let_go(fd)
            locks.unlink(name, self._at.dir_fd)

    def _finish(self, *, is_durable: bool) -> None:
        if self._lasts:
            assert self.fd is not None
            if self._mode is not None:
                os.fchmod(self.fd, self._mode)
            else:
                assert self._replaced is not None
                hand_on_attributes(self._at.path_for_attributes(), self._replaced, self.fd)
        super()._finish(is_durable=is_durable)


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

    def _make(self) -> int:
        directory = tempfile.gettempdir() if self._directory is None else self._directory
        return _open_nameless(directory)

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
            # Or so it is said: the system has the last word, and the reason.
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


def place_for_new(at: Location, *, permissions: int) -> Place:
    """Find the place for an upload whose name must be new.

    Args:
        at: Where it is to appear.
        permissions: Of the file, before the umask.

    Raises:
        FileExistsError: Something has the name.
        OSError: The system refused.
    """

    if at.status() is not None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    place = HiddenPlace(at, permissions=permissions, must_be_new=True)
    if not at.may_make_files():
        # Or so it is said: the system has the last word, and the reason.
        place.begin()

    return place


def place_for_replacing(
    at: Location,
    *,
    permissions: int,
    atomic_only: bool,
    spool_directory: FilePath | None,
    keeping: Keeping | None,
) -> Place:
    """Find the place for an upload that takes the place of what has its name.

    Args:
        at: Where it is to appear.
        permissions: Of a new file, before the umask.
        atomic_only: Whether a file that may be written, but not replaced, is refused.
        spool_directory: Where such an upload waits until it is whole; None for the system's
            own place.
        keeping: Who keeps the part of the upload if it is cut; None for nobody.

    Raises:
        FileNameNotAllowed: It could only be copied in, and is to be atomic.
        FileUnavailable: It may not be written, or is not a file.
        OSError: The system refused.
    """

    found = at.status_of_writable()
    replaced = found if found is not None and stat.S_ISREG(found.st_mode) else None
    can_make = at.may_make_files()
    if replaced is not None and not (can_make and not at.keeps_file(replaced)):
        if atomic_only:
            raise FileNameNotAllowed("the file may be written to, but not replaced")
        return SpooledPlace(at, replaced=replaced, directory=spool_directory)

    may_copy = replaced is not None and not atomic_only
    place: HiddenPlace
    if keeping is None:
        place = HiddenPlace(at, permissions=permissions, replaced=replaced, may_copy=may_copy)
    else:
        place = PartPlace(
            at, keeping, permissions=permissions, replaced=replaced, may_copy=may_copy
        )
    if not can_make:
        # Or so it is said: the system has the last word, and the reason.
        place.begin()

    return place


def place_for_resuming(
    at: Location,
    keeping: Keeping,
    *,
    offset: int,
    permissions: int,
    atomic_only: bool,
    part_only: bool,
) -> Place:
    """Find the place for an upload that begins at an offset: a part, or else the file itself.

    Args:
        at: Where it is to appear.
        keeping: Whose part it is.
        offset: Where it begins, in bytes.
        permissions: Of a new file, before the umask.
        atomic_only: Whether a file that may be written, but not replaced, is refused.
        part_only: Whether the upload must not be written into the file itself.

    Raises:
        LockHeld: Another upload writes to the part.
        BadArgument: The offset is beyond the end of the part, or of the file.
        FileBusy: There is no part, but a file, and that is not to be written to.
        FileUnavailable: There is nothing to go on with, or it may not be written.
        OSError: The system refused.
    """

    found = at.status_of_writable()
    changed_ns = None if found is None else found.st_ctime_ns
    locked = keeping.owner.lock(at)
    if locked is None:
        how_to_resume(offset, None, changed_ns)
    else:
        place = _place_of_part(
            at,
            keeping,
            locked,
            offset=offset,
            permissions=permissions,
            found=found,
            may_copy=not atomic_only,
        )
        if place is not None:
            return place

    if part_only:
        raise error_for_peer(
            FileBusy, "what came of this upload is gone, and there is a file: ask for its size"
        )
    return NamedPlace(at, permissions=permissions, offset=offset)


def _place_of_part(
    at: Location,
    keeping: Keeping,
    locked: tuple[int, os.stat_result],
    *,
    offset: int,
    permissions: int,
    found: os.stat_result | None,
    may_copy: bool,
) -> PartPlace | None:
    """Go on with a part that is locked; None if it was older than the file, and is removed."""

    fd, status = locked
    part = PartStatus(status.st_size, status.st_mtime_ns)
    try:
        how = how_to_resume(offset, part, None if found is None else found.st_ctime_ns)
        if how is Resumption.PART:
            replaced = found if found is not None and stat.S_ISREG(found.st_mode) else None
            place = PartPlace(
                at,
                keeping,
                permissions=permissions,
                replaced=replaced,
                may_copy=may_copy and replaced is not None,
            )
            place.adopt(fd, offset)
            return place
    except BaseException:
        let_go(fd)
        raise

    keeping.owner.remove_locked(at, fd, status)
    return None


def _open_nameless(directory: FilePath) -> int:
    """Open a new file without a name, to write to it and to read it."""

    flags = os.O_RDWR | getattr(os, "O_CLOEXEC", 0)
    if hasattr(os, "O_TMPFILE"):
        try:
            return os.open(directory, flags | os.O_TMPFILE, _PRIVATE)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise

    fd, name = tempfile.mkstemp(dir=os.fsencode(directory), prefix=b".", suffix=b".part")
    try:
        os.unlink(name)  # noqa: PTH108 - bytes
    except BaseException:
        let_go(fd)
        raise

    return fd


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
