"""The place of an upload that stays if it is cut, as the part of its owner.

Everything here may block, and is for one worker thread at a time.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Callable

import attrs

from .._descriptors import let_go
from . import _part_locks as locks
from ._attributes import hand_on_attributes
from ._location import PRIVATE, Location
from ._places import HiddenPlace
from .parts import Holding, PartOwner

__all__ = ["Keeping", "PartPlace"]


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
        self._mode: int | None = None
        self._is_locked = False
        # Where to cut the part before the first byte is written to it.
        self._cut_at: int | None = None

    @functools.cached_property
    def _part(self) -> bytes:
        """The path of the part; most uploads are whole at once, and need none."""

        return self._owner.path_of(self._at)

    def adopt(self, fd: int, offset: int) -> None:
        """Go on with a part that is locked. The descriptor belongs to the place, if this returns.

        What comes after the offset stays until there are bytes to write.
        """

        os.fchmod(fd, PRIVATE)
        os.lseek(fd, offset, os.SEEK_SET)
        if self._replaced is None:
            self._mode = self._find_mode()
        self._owner.hold(fd, self._holding)
        self.fd = fd
        self._hidden = self._part
        self.position = self._cut_at = offset
        self._lasts = self._is_locked = True

    def begin(self) -> int:
        """Return the descriptor; first drop what comes after the offset of a resumption."""

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
            # The file there is of an earlier upload, which this one was to replace.
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
