"""One entry of a directory, the same for every listing format.

Pure: no file system. The results of `os.stat` are arguments.
"""

from __future__ import annotations

import enum
import re
import stat
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import attrs

from .._checks import check_range, check_type, wrong_type
from ._calendar import epoch_seconds
from ._names import decode_name, encode_name, has_control

__all__ = ["EntryType", "ListingEntry", "Permissions", "StatResult"]


class EntryType(enum.Enum):
    """The type of an entry. The value is the letter that ``ls -l`` shows."""

    FILE = "-"
    DIRECTORY = "d"
    SYMLINK = "l"
    BLOCK = "b"
    CHAR = "c"
    FIFO = "p"
    SOCKET = "s"
    OTHER = "?"

    # Members are singletons. Enum's own hash is written in Python, and would take a quarter
    # of the time that a line needs.
    if not TYPE_CHECKING:
        __hash__ = object.__hash__


class Permissions(int):
    """The twelve permission bits of a mode: an int from 0 to 0o7777.

    Args:
        mode: Any mode; the bits of the file type are dropped.
    """

    __slots__ = ()

    def __new__(cls, mode: int = 0) -> Self:
        """Take the permission bits of a mode."""

        check_type("mode", mode, int, "the permission bits of a mode")
        return super().__new__(cls, mode & 0o7777)

    def __repr__(self) -> str:
        return f"Permissions(0o{int(self):04o})"

    def shorthand(self) -> str:
        """Return the nine letters of ``ls -l``, such as ``rwsr-xr-t``."""

        return stat.filemode(self)[1:]

    def plain_shorthand(self) -> str:
        """Return nine letters without setuid, setgid and sticky, as Twisted does."""

        return stat.filemode(self & 0o777)[1:]


class StatResult(Protocol):
    """The fields of `os.stat_result` that a listing needs.

    `ListingEntry.from_stat` uses others where they are there: ``st_uid`` and ``st_gid``, and
    ``st_dev`` and ``st_ino``, which together tell files apart. What is no file of this system, such
    as an entry of an archive, has none of them.
    """

    @property
    def st_mode(self) -> int:
        """Type and permission bits."""

    @property
    def st_size(self) -> int:
        """Bytes."""

    @property
    def st_nlink(self) -> int:
        """Hard links."""

    @property
    def st_mtime(self) -> float:
        """Seconds since the epoch."""


_NAME: Final = (str, bytes)
_NUMBER: Final = int | None

_FIELDS: Final = (
    ("type", EntryType, "an EntryType"),
    ("name", _NAME, "a string or bytes"),
    ("size", int, "a number of bytes"),
    ("permissions", int, "the permission bits of a mode"),
    ("links", int, "a number"),
    ("owner", _NAME, "a string or bytes"),
    ("group", _NAME, "a string or bytes"),
    ("target", str | bytes | None, "a string, bytes or None"),
    ("unique", str | None, "a string or None"),
    ("uid", _NUMBER, "a whole number or None"),
    ("gid", _NUMBER, "a whole number or None"),
    ("details", Mapping, "a mapping"),
)

_DEFAULT_PERMISSIONS: Final = Permissions(0o644)
_NO_DETAILS: Final[Mapping[str, str]] = {}


def _text(value: str | bytes | None) -> str | None:
    return decode_name(value) if isinstance(value, bytes) else value


def _seconds(value: float | datetime | None) -> float | None:
    return epoch_seconds(value) if isinstance(value, datetime) else value


@attrs.frozen(kw_only=True)
class ListingEntry:
    """One entry of a directory.

    Entries are equal if they say the same: ``b"x"`` equals ``"x"``, and a date equals its
    seconds since the epoch.

    Attributes:
        name: Name, not a path. Bytes, or text with surrogate escapes.
        size: Bytes.
        type: What it is.
        permissions: Permission bits.
        links: Hard links.
        modified: Last modification, in seconds since the epoch or as a date with a zone.
            None if it is not known; formats that need a date then show the epoch.
        owner: Name or number of the owner.
        group: Name or number of the group.
        target: Where a symbolic link leads; not shown for other types.
        unique: Identifier of the file behind the name, for EPLF and MLSx.
        uid: Number of the owner, for MLSx.
        gid: Number of the group, for MLSx.
        details: What a listing of another system says and nothing above can hold, such as
            the record format of a data set of z/OS, by lower-case names of columns, in the
            server's words. A size that is not in bytes and a date that can be read in two
            ways stand here as well, while `size` is 0 and `modified` None. No writer uses it.

    Raises:
        TypeError: A field is of a wrong type.
        ValueError: `modified` is a date without a zone, or another number is negative.
    """

    name: str | bytes = attrs.field(eq=_text)
    size: int = 0
    type: EntryType = EntryType.FILE
    permissions: Permissions = _DEFAULT_PERMISSIONS
    links: int = 1
    modified: float | datetime | None = attrs.field(default=None, eq=_seconds)
    owner: str | bytes = attrs.field(default="ftp", eq=_text)
    group: str | bytes = attrs.field(default="ftp", eq=_text)
    target: str | bytes | None = attrs.field(default=None, eq=_text)
    unique: str | None = None
    uid: int | None = None
    gid: int | None = None
    details: Mapping[str, str] = attrs.field(default=_NO_DETAILS, hash=False)

    def __attrs_post_init__(self) -> None:
        # Checked together: there may be millions of entries, and nearly all are right.
        it: Any = self
        if not (
            type(it.type) is EntryType
            and isinstance(it.name, _NAME)
            and isinstance(it.size, int)
            and isinstance(it.permissions, int)
            and isinstance(it.links, int)
            and isinstance(it.owner, _NAME)
            and isinstance(it.group, _NAME)
            and (it.target is None or isinstance(it.target, _NAME))
            and (it.unique is None or isinstance(it.unique, str))
            and (it.uid is None or (isinstance(it.uid, int) and it.uid >= 0))
            and (it.gid is None or (isinstance(it.gid, int) and it.gid >= 0))
            and (it.details.__class__ is dict or isinstance(it.details, Mapping))
            and it.size >= 0
            and it.links >= 0
            and not (it.size is True or it.links is True or it.uid is True or it.gid is True)
        ):
            for name, kinds, wanted in _FIELDS:
                check_type(name, getattr(self, name), kinds, wanted)
                if getattr(self, name) is True:
                    raise wrong_type(name, wanted, True)
            # All types are right, so a number is negative: the lowest one is.
            lowest = min(("size", "links", "uid", "gid"), key=lambda name: getattr(self, name) or 0)
            check_range(lowest, getattr(self, lowest), 0)

        if self.modified is not None and type(self.modified) is not float:
            epoch_seconds(self.modified)

    @classmethod
    def from_stat(
        cls,
        name: str | bytes,
        status: StatResult,
        *,
        owner: str | bytes | None = None,
        group: str | bytes | None = None,
        target: str | bytes | None = None,
    ) -> ListingEntry:
        """Return an entry made from what `os.stat` or `os.lstat` reports about a file.

        Args:
            name: Name, not a path.
            status: An `os.stat_result`, or what has its fields as far as `StatResult` says.
            owner: Name of the owner; its number by default, or ``ftp`` without one.
            group: Name of the group; its number by default, or ``ftp`` without one.
            target: Where a symbolic link leads.
        """

        mode = status.st_mode
        uid, gid = getattr(status, "st_uid", None), getattr(status, "st_gid", None)
        device, inode = getattr(status, "st_dev", None), getattr(status, "st_ino", None)
        is_unique = device is not None and inode is not None
        return cls(
            name=name,
            size=status.st_size,
            type=entry_type(mode),
            permissions=permissions_of(mode & 0o7777),
            links=status.st_nlink,
            modified=status.st_mtime,
            owner=_owner(uid) if owner is None else owner,
            group=_owner(gid) if group is None else group,
            target=target,
            unique=f"{device:x}g{inode:x}" if is_unique else None,
            uid=uid,
            gid=gid,
        )

    @property
    def text_name(self) -> str:
        """The name as text, with surrogate escapes for bytes that are not UTF-8."""

        return self.name if isinstance(self.name, str) else decode_name(self.name)

    @property
    def wire_name(self) -> bytes:
        """The name as bytes, for use in a command."""

        return self.name if isinstance(self.name, bytes) else encode_name(self.name)

    @property
    def modified_at(self) -> datetime | None:
        """The last modification as a date in UTC, or None."""

        if self.modified is None or isinstance(self.modified, datetime):
            return self.modified and self.modified.astimezone(UTC)

        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=self.modified)

    @property
    def is_directory(self) -> bool:
        """Whether this is a directory."""

        return self.type is EntryType.DIRECTORY

    @property
    def is_plain_name(self) -> bool:
        """Whether the name is safe to join to a path.

        A client that mirrors a directory must check this first: a server may send
        ``../x``, ``/etc/x``, ``..`` or ``C:x`` as a name.
        """

        name = self.text_name
        return name not in {"", ".", ".."} and not _PATH.search(name) and not has_control(name)


_PATH = re.compile(r"[/\\]|^[A-Za-z]:")

_TYPES: Final = {
    stat.S_IFREG: EntryType.FILE,
    stat.S_IFDIR: EntryType.DIRECTORY,
    stat.S_IFLNK: EntryType.SYMLINK,
    stat.S_IFBLK: EntryType.BLOCK,
    stat.S_IFCHR: EntryType.CHAR,
    stat.S_IFIFO: EntryType.FIFO,
    stat.S_IFSOCK: EntryType.SOCKET,
}

permissions_of: Callable[[int], Permissions] = lru_cache(maxsize=4096)(Permissions)
"""The permission bits of a mode. There are few modes, so the objects are kept."""


def _owner(number: int | None) -> str:
    return "ftp" if number is None else str(number)


def entry_type(mode: int) -> EntryType:
    """Return the type that a mode contains."""

    return _TYPES.get(stat.S_IFMT(mode), EntryType.OTHER)
