"""Finds the place for an upload: beside a file, in it, or in a part of an upload that was cut.

Everything here may block.
"""

from __future__ import annotations

import errno
import os
import stat

from .._descriptors import let_go
from ..errors import FileBusy, FileNameNotAllowed, error_for_peer
from ._location import Location
from ._names import FilePath
from ._part_locks import HAS_LOCKS
from ._part_place import Keeping, PartPlace
from ._part_rules import PartStatus, Resumption, how_to_resume
from ._places import HiddenPlace, NamedPlace, Place, SpooledPlace

__all__ = ["place_for_new", "place_for_replacing", "place_for_resuming"]


def _regular(found: os.stat_result | None) -> os.stat_result | None:
    """Return the status of what an upload replaces: a regular file."""

    return found if found is not None and stat.S_ISREG(found.st_mode) else None


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
        # So access(2) says, but the system has the last word, and gives the reason.
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
        FileNameNotAllowed: The upload could only be copied in, and must be atomic.
        FileUnavailable: It may not be written, or is not a file.
        OSError: The system refused.
    """

    found = at.status_of_writable()
    replaced = _regular(found)
    can_make = at.may_make_files()
    if replaced is not None and not (can_make and not at.keeps_file(replaced)):
        if atomic_only:
            raise FileNameNotAllowed("the file may be written to, but not replaced")
        return SpooledPlace(at, replaced=replaced, directory=spool_directory)

    may_copy = replaced is not None and not atomic_only
    place: HiddenPlace
    if keeping is None or not HAS_LOCKS:
        place = HiddenPlace(at, permissions=permissions, replaced=replaced, may_copy=may_copy)
    else:
        place = PartPlace(
            at, keeping, permissions=permissions, replaced=replaced, may_copy=may_copy
        )
    if not can_make:
        # So access(2) says, but the system has the last word, and gives the reason.
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
        FileBusy: There is no part, and the file must not be written to.
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
            replaced = _regular(found)
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
