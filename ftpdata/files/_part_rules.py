"""The rules for parts of uploads that were cut: names, sizes, and which go first.

A part is what came of an upload that was cut. It is a hidden file in the directory of the file
that it would have become, and belongs to one owner and one name. Pure: nothing here looks at a
file or at the clock.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Hashable, Iterable
from typing import TypeVar

import attrs

from .._checks import check_type, checked
from ..errors import BadArgument, FileUnavailable, error_for_peer

__all__ = [
    "RESERVED",
    "KeptPart",
    "Kind",
    "PartLimits",
    "PartStatus",
    "RemovedPart",
    "Resumption",
    "how_to_resume",
    "is_expired",
    "is_reserved",
    "is_stale",
    "kind_of",
    "owner_tag",
    "part_name",
    "part_of_void",
    "tag_of",
    "temporary_name",
    "too_many",
    "void_name",
]

K = TypeVar("K", bound=Hashable)

RESERVED = ".ftpdata-"
"""The beginning of every name that this package keeps for itself."""

NANOSECONDS = 1_000_000_000

OWNER_SIZE, NAME_SIZE = 10, 16
"""Bytes of the digests of an owner and of a name: a name may be as long as the system allows."""


class Kind(enum.Enum):
    """What a file with a reserved name is."""

    PART = "part"
    """What came of an upload, written now or cut. Its writer holds a lock on it."""

    TEMPORARY = "temp"
    """An upload that leaves nothing if it is cut."""

    VOID = "void"
    """A mark: the part with that inode number must not be resumed."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class PartLimits:
    """How much is kept of the uploads of one owner that were cut, and for how long.

    If the limits are exceeded, the oldest parts go first.

    Attributes:
        count: Parts of one owner; 0 keeps none.
        size: Bytes of all parts of one owner.
        age: Seconds after the last byte was written to a part until it is removed.
    """

    count: int = 64
    size: int = 64 * 1024**3
    age: float = 7 * 86400.0

    def __attrs_post_init__(self) -> None:
        for name in ("count", "size", "age"):
            value = getattr(self, name)
            if not value >= 0:
                raise ValueError(f"expected {name} to be 0 or more, not {value!r}")


@attrs.frozen
class PartStatus:
    """What is known of a part.

    Attributes:
        size: Bytes of it: an upload can go on at any offset up to here.
        modified_ns: When it was written last, in nanoseconds since 1970 (UTC).
    """

    size: int
    modified_ns: int

    @property
    def told_size(self) -> int:
        """The size to tell a client: one byte less than the part has.

        All bytes may have come, and only their end was lost. A client that gets the size of
        its own file believes that it has nothing left to send, and the file would never be
        published.
        """

        return max(0, self.size - 1)


@attrs.frozen
class KeptPart:
    """A part in the account of its owner.

    Attributes:
        size: Bytes of it.
        modified_ns: See `PartStatus`.
        path: Where it was when it was seen last; None if that is not known. A relative path
            starts from the store's directory.
    """

    size: int
    modified_ns: int
    path: bytes | None = None


@attrs.frozen
class RemovedPart:
    """A file that was removed.

    Attributes:
        path: Its path. A relative one starts from the store's directory.
        size: Bytes of it.
        reason: Why it was removed, in words.
    """

    path: bytes
    size: int
    reason: str


# Names


def is_reserved(name: str | bytes) -> bool:
    """Whether a name is reserved for parts, and for nobody's files.

    In any case of letters, since a file system may take them all for the same.

    Args:
        name: One name, not a path.
    """

    check_type("name", name, (str, bytes), "a string or bytes")
    text = name[: len(RESERVED)]
    return (text.decode("latin-1") if isinstance(text, bytes) else text).lower() == RESERVED


def kind_of(name: bytes) -> Kind | None:
    """Return what kind of file has a name; None if it is not one of ours."""

    fields = name.split(b".")
    for kind, length in ((Kind.PART, 4), (Kind.TEMPORARY, 3), (Kind.VOID, 5)):
        if fields[:2] == [b"", b"ftpdata-" + kind.value.encode()] and len(fields) == length:
            return kind

    return None


def owner_tag(owner: bytes) -> bytes:
    """Return the letters that stand for an owner in the names of the owner's parts."""

    return hashlib.blake2b(owner, digest_size=OWNER_SIZE).hexdigest().encode()


def part_name(tag: bytes, name: bytes) -> bytes:
    """Return the name of the part of a file.

    Args:
        tag: Stands for the owner, see `owner_tag`.
        name: The last name of the file's path.
    """

    digest = hashlib.blake2b(name, digest_size=NAME_SIZE).hexdigest()
    return b".ftpdata-part.%s.%s" % (tag, digest.encode())


def tag_of(part: bytes) -> bytes:
    """Return the letters that stand for the owner in the name of a part."""

    return part.split(b".")[2]


def void_name(part: bytes, inode: int) -> bytes:
    """Return the name of the mark that says that a part must not be resumed.

    Args:
        part: The name of the part, or its path.
        inode: Its inode number: a part that has the name later is another one.
    """

    before, _, after = part.rpartition(b"-part.")
    return b"%s-void.%s.%x" % (before, after, inode)


def part_of_void(void: bytes) -> tuple[bytes, bytes]:
    """Return the name of the part that a mark is about, and its inode number as it is written."""

    name, _, inode = void.rpartition(b".")
    return name.replace(b"-void.", b"-part."), inode


def temporary_name(random: bytes) -> bytes:
    """Return the name of an upload that leaves nothing if it is cut."""

    return b".ftpdata-temp." + random.hex().encode()


# Decisions


class Resumption(enum.Enum):
    """What an upload that begins at an offset goes on with."""

    PART = "part"
    IN_PLACE = "in place"


def is_stale(part: PartStatus, changed_ns: int, *, in_doubt: bool = False) -> bool:
    """Whether a part is older than the file that has its name.

    Args:
        part: The part.
        changed_ns: When the file was made, renamed or changed last (st_ctime_ns). Not when it
            was modified: a client may set that time to any value (MFMT).
        in_doubt: The answer for a part of the same time: the clock of a file system ticks every
            few milliseconds.
    """

    return part.modified_ns < changed_ns or (in_doubt and part.modified_ns == changed_ns)


def how_to_resume(
    offset: int, part: PartStatus | None, changed_ns: int | None
) -> Resumption:
    """Decide what an upload that begins at an offset goes on with (REST and STOR).

    Args:
        offset: Where it begins, in bytes.
        part: The part of its owner and name, if there is one.
        changed_ns: See `is_stale`; None if no file has the name.

    Raises:
        FileUnavailable: There is neither a part nor a file. Reply 550.
        BadArgument: The offset is beyond the part. Reply 501.
    """

    if part is None or (changed_ns is not None and is_stale(part, changed_ns)):
        if changed_ns is None:
            raise error_for_peer(
                FileUnavailable, "there is nothing that the upload could go on with"
            )
        return Resumption.IN_PLACE

    if offset > part.size:
        text = f"offset {offset} is beyond the {part.size} bytes that came of the upload"
        if changed_ns is not None:
            text += ", which would go on, not the old file"
        raise error_for_peer(BadArgument, text)

    return Resumption.PART


def is_expired(modified_ns: int, now: float, age: float) -> bool:
    """Whether something that was written last at a time has reached an age, in seconds."""

    return now - modified_ns / NANOSECONDS >= age


def too_many(
    parts: Iterable[tuple[K, KeptPart]], limits: PartLimits
) -> list[K]:
    """Return which parts of one owner go, so that the others keep to the limits.

    A part that alone exceeds the limit goes itself; then the oldest go first.

    Args:
        parts: The parts, and what each is called by the caller.
        limits: Of each owner.
    """

    goes: list[K] = []
    stays: list[tuple[K, KeptPart]] = []
    for name, part in parts:
        if part.size > limits.size:
            goes.append(name)
        else:
            stays.append((name, part))

    stays.sort(key=lambda item: item[1].modified_ns, reverse=True)
    total = sum(part.size for _, part in stays)
    while stays and (len(stays) > limits.count or total > limits.size):
        name, part = stays.pop()
        goes.append(name)
        total -= part.size

    return goes
