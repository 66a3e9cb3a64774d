"""MLSx: listings for machine processing, and the times of MDTM and MFMT (RFC 3659 §2.3, §7).

Pure: no clock, no file system. A line is facts, one space, and the name:
``type=file;size=1024;modify=20260131170405; name``.

Rules:

1. One entry gives one line, without its line end, or None where it must be
   left out. Names follow `ftpdata.listing._names`.
2. A value holds the characters that RFC 3659 §2.1 allows in one (SCHAR), and no
   others: what else there is, is written as ``%`` and hexadecimal digits.
3. Writers are strict, the parser is not: names of facts in any case, unknown
   facts kept, known ones with values that make no sense kept among the unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import attrs

from ..errors import BadArgument, InvalidData
from ._names import NamePolicy, civil_date, decode_name, encode_name, epoch_seconds, safe_name
from .entry import EntryType, ListingEntry, Permissions

__all__ = [
    "DEFAULT_FACTS",
    "SUPPORTED_FACTS",
    "FactSelection",
    "Facts",
    "entry_from_facts",
    "facts_for_entry",
    "format_mlsx_line",
    "format_time_val",
    "parse_mlsx_line",
    "parse_time_val",
    "perm_letters",
    "select_facts",
]

SUPPORTED_FACTS: Final = (
    "type",
    "size",
    "modify",
    "create",
    "perm",
    "unique",
    "lang",
    "media-type",
    "charset",
    "unix.mode",
    "unix.owner",
    "unix.group",
    "unix.uid",
    "unix.gid",
)
"""The facts that can be written, in the order in which they are."""

DEFAULT_FACTS: Final = ("type", "size", "modify", "perm", "unique", "unix.mode")
"""Shown where the client has not chosen: those of RFC 3659 §7.5.10, and the mode."""


# Times

_TIME_VAL = re.compile(
    r"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})(?:\.([0-9]+))?"
)
_FIRST_YEAR, _LAST_YEAR = 1000, 9999
_MICROSECONDS: Final = 1_000_000
_MICROSECOND_DIGITS: Final = 6
_LEAP_SECOND: Final = 60


def format_time_val(moment: datetime | float, *, digits: int = 0) -> str:
    """Format a time as MDTM, MFMT and the facts have it (RFC 3659 §2.3).

    Args:
        moment: A date with a zone, or seconds since the epoch.
        digits: Digits of the fraction of a second, 0 to 6; the rest is cut
            off. Precision that a time does not have must not be invented.

    Returns:
        Such as ``20260131170405`` or ``20260131170405.123``, in UTC.

    Raises:
        ValueError: The year is not from 1000 to 9999, the date has no zone, or
            there are too many digits.
    """

    if not 0 <= digits <= _MICROSECOND_DIGITS:
        raise ValueError(f"a fraction has 0 to 6 digits, not {digits}")

    # By way of whole microseconds: seconds as a float do not hold more, and
    # 0.123456 must not come out as .123455.
    seconds, micro = divmod(round(epoch_seconds(moment) * _MICROSECONDS), _MICROSECONDS)
    days, second = divmod(seconds, 86_400)
    year, month, day = civil_date(days)
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise ValueError(f"a time value has a year from 1000 to 9999, not {year}")

    text = f"{year}{month:02d}{day:02d}"
    text += f"{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}"
    return f"{text}.{f'{micro:06d}'[:digits]}" if digits else text


def parse_time_val(text: str) -> float:
    """Parse a time as MDTM, MFMT and the facts have it (RFC 3659 §2.3).

    A leap second is the first one of the next minute. Of a fraction,
    microseconds are kept.

    Returns:
        Seconds since the epoch.

    Raises:
        BadArgument: It is no such time. Reply 501.
    """

    match = _TIME_VAL.fullmatch(text)
    if match is None:
        raise BadArgument(f"a time is YYYYMMDDHHMMSS[.sss], not {text!r:.40}")

    year, month, day, hour, minute, second = map(int, match.groups()[:-1])
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        moment = None

    if moment is None or year < _FIRST_YEAR or second > _LEAP_SECOND:
        raise BadArgument(f"there is no such time as {text!r:.40}")

    micro = int((match[7] or "")[:_MICROSECOND_DIGITS].ljust(_MICROSECOND_DIGITS, "0"))
    leap = second - moment.second
    return epoch_seconds(moment) + leap + micro / _MICROSECONDS


# Facts


@attrs.frozen(kw_only=True)
class Facts:
    """The facts about one file or directory. None is a fact that is not told.

    Attributes:
        type: ``file``, ``dir``, ``cdir`` (the listed directory itself),
            ``pdir`` (a parent), or ``OS.name=kind``.
        size: Bytes; not for directories.
        modify: Last modification, in seconds since the epoch.
        create: Creation, in seconds since the epoch.
        perm: What the user may do, of the letters ``acdeflmprw`` (§7.5.5).
        unique: Same for two names if, and only if, they are the same file.
        lang: Language of the name.
        media_type: Media type of the content.
        charset: Character set of the name, if not UTF-8.
        unix_mode: Permission bits.
        unix_owner: Name of the owner.
        unix_group: Name of the group.
        unix_uid: Number of the owner.
        unix_gid: Number of the group.
        others: Further facts and their values, in order. Written as they are;
            only those of an OS (``OS/2.ea``) and local ones (``X.desc``)
            belong here (§7.6).
    """

    type: str | None = None
    size: int | None = None
    modify: float | None = None
    create: float | None = None
    perm: str | None = None
    unique: str | None = None
    lang: str | None = None
    media_type: str | None = None
    charset: str | None = None
    unix_mode: int | None = None
    unix_owner: str | None = None
    unix_group: str | None = None
    unix_uid: int | None = None
    unix_gid: int | None = None
    others: tuple[tuple[str, str], ...] = ()

    @property
    def is_directory(self) -> bool:
        """Whether this is a directory of any kind."""

        return (self.type or "").lower() in {"dir", "cdir", "pdir"}

    def get(self, name: str) -> str | None:
        """Return the value of a fact as it would be written, whatever case its name is in."""

        key = name.lower()
        for other, value in self.others:
            if other.lower() == key:
                return value

        return self._value(key) if key in SUPPORTED_FACTS else None

    def _value(self, fact: str) -> str | None:
        value: str | float | None = getattr(self, _ATTRIBUTES[fact])
        if value is None:
            return None

        if isinstance(value, str):
            return value

        if fact in {"modify", "create"}:
            return _shortest_time_val(value)

        return f"{value:04o}" if fact == "unix.mode" else str(value)


_ATTRIBUTES: Final = {fact: fact.replace(".", "_").replace("-", "_") for fact in SUPPORTED_FACTS}


def _shortest_time_val(seconds: float) -> str | None:
    try:
        text = format_time_val(seconds, digits=_MICROSECOND_DIGITS)
    except (ValueError, OverflowError):
        return None  # a year that cannot be expressed is a fact that is not told

    return text.rstrip("0").rstrip(".")


_OS_TYPES: Final = {
    EntryType.SYMLINK: "OS.unix=symlink",
    EntryType.BLOCK: "OS.unix=block",
    EntryType.CHAR: "OS.unix=char",
    EntryType.FIFO: "OS.unix=fifo",
    EntryType.SOCKET: "OS.unix=socket",
    EntryType.OTHER: "OS.unix=other",
}


def facts_for_entry(
    entry: ListingEntry,
    *,
    type: str | None = None,  # noqa: A002 - the fact's own name
    perm: str | None = None,
    digits: int = 0,
) -> Facts:
    """Make the facts of an entry.

    A symbolic link is ``OS.unix=symlink`` here. RFC 3659 §7.5.1.5 would rather
    have the file that it leads to: list an entry made of that file's status.

    Args:
        entry: The entry.
        type: ``cdir`` or ``pdir``, where that is what the entry is.
        perm: What the user may do; see `perm_letters`.
        digits: Digits of the fraction of a second to tell, 0 to 6.
    """

    modify = None
    if entry.modified is not None:
        unit = 10**digits
        modify = epoch_seconds(entry.modified) * unit // 1 / unit

    kind = type or ("dir" if entry.is_directory else _OS_TYPES.get(entry.type, "file"))
    return Facts(
        type=kind,
        size=None if entry.is_directory else entry.size,
        modify=modify,
        perm=perm,
        unique=entry.unique,
        unix_mode=int(entry.permissions),
        unix_owner=_text(entry.owner),
        unix_group=_text(entry.group),
        unix_uid=entry.uid,
        unix_gid=entry.gid,
    )


def entry_from_facts(name: str | bytes, facts: Facts) -> ListingEntry:
    """Make an entry of a name and facts, as a client has them from MLSD."""

    types = {kind.lower(): entry_type for entry_type, kind in _OS_TYPES.items()}
    types["file"] = EntryType.FILE
    word = (facts.type or "file").lower()
    if word.startswith("os.unix=slink"):
        word = "os.unix=symlink"  # pure-ftpd's word, with a colon behind

    kind = EntryType.DIRECTORY if facts.is_directory else types.get(word, EntryType.OTHER)

    mode = facts.unix_mode
    if mode is None:
        mode = 0o755 if facts.is_directory else 0o644

    return ListingEntry(
        name=name,
        size=facts.size or 0,
        type=kind,
        permissions=Permissions(mode),
        modified=facts.modify,
        owner=facts.unix_owner or _number_or_dash(facts.unix_uid),
        group=facts.unix_group or _number_or_dash(facts.unix_gid),
        unique=facts.unique,
        uid=facts.unix_uid,
        gid=facts.unix_gid,
    )


def _number_or_dash(number: int | None) -> str:
    return "-" if number is None else str(number)


def _text(value: str | bytes) -> str:
    return decode_name(value) if isinstance(value, bytes) else value


def perm_letters(
    *, is_directory: bool, readable: bool, writable: bool, removable: bool = False
) -> str:
    """Return the value of the perm fact (RFC 3659 §7.5.5).

    Args:
        is_directory: Whether it is a directory of any kind.
        readable: Whether it may be retrieved; a directory: entered and listed.
        writable: Whether it may be overwritten and appended to; a directory:
            whether things may be made and deleted in it.
        removable: Whether it may itself be deleted and renamed, which is up
            to the directory that it is in.
    """

    letters = "df" if removable else ""
    if readable:
        letters += "el" if is_directory else "r"

    if writable:
        letters += "cmp" if is_directory else "aw"

    return "".join(sorted(letters))


# Lines

_NOT_IN_VALUE = re.compile(rb"""[^A-Za-z0-9,.:!@#$%^&()\-_+?/\\'"=]""")
"""All but SCHAR (RFC 3659 §2.1)."""

_FACT_NAME = re.compile(r"""[A-Za-z0-9,.:!@#$%^&()\-_+?/\\'"]+""")


def clean_value(value: str) -> str:
    """Write what a value may not hold as ``%`` and hexadecimal digits (rule 2)."""

    if value.isalnum() and value.isascii():
        return value

    return _NOT_IN_VALUE.sub(lambda found: b"%%%02X" % found[0][0], encode_name(value)).decode()


def format_mlsx_line(
    name: str | bytes,
    facts: Facts,
    *,
    selection: FactSelection | None = None,
    name_policy: NamePolicy = NamePolicy.ESCAPE,
) -> bytes | None:
    """Format one line of an MLSD response; MLST wants one space before it (§7.2).

    Args:
        name: Name of the entry; for MLST, the path that was asked for.
        facts: What is told about it.
        selection: Which facts the client wants; all that are there by default.
        name_policy: What becomes of control characters in the name.

    Returns:
        The line without its line end. None where the policy skips it, and for
        a ``cdir`` or ``pdir`` while the fact ``type`` is not wanted: it could
        not be told from a directory in the listing (§7.5.1.2).

    Raises:
        ValueError: The name of one of the other facts is none.
    """

    safe = safe_name(name, name_policy)
    if safe is None:
        return None

    wanted = SUPPORTED_FACTS if selection is None else selection.selected
    if (facts.type or "").lower() in {"cdir", "pdir"} and "type" not in wanted:
        return None

    parts = [fact_text(facts, fact) for fact in wanted]
    for fact, value in facts.others:
        if not _FACT_NAME.fullmatch(fact):
            raise ValueError(f"not the name of a fact: {fact!r:.40}")

        if selection is None or fact.lower() in wanted:
            parts.append(f"{fact}={clean_value(value)};")

    return f"{''.join(parts)} {safe}".encode("utf-8", "surrogateescape")


def fact_text(facts: Facts, fact: str) -> str:
    """Return one of the supported facts as it stands in a line; empty where it is not told."""

    value = facts._value(fact) if fact in _ATTRIBUTES else None  # noqa: SLF001 - same module
    return "" if value is None else f"{fact}={clean_value(value)};"


_ALIASES: Final = {
    # ProFTPD's, whose unix.owner and unix.group are numbers.
    "unix.ownername": "unix.owner",
    "unix.groupname": "unix.group",
}
_TIMES: Final = frozenset({"modify", "create"})
_NUMBERS: Final = {
    "size": (re.compile("[0-9]{1,19}"), 10),
    "unix.uid": (re.compile("[0-9]{1,19}"), 10),
    "unix.gid": (re.compile("[0-9]{1,19}"), 10),
    "unix.mode": (re.compile("[0-7]{1,7}"), 8),
}


def parse_mlsx_line(line: bytes, *, is_reply: bool = False) -> tuple[str, Facts]:
    """Parse one line of an MLSD response, or of the reply to MLST.

    Args:
        line: The line, with or without its line end.
        is_reply: Whether it comes from a reply, where one space stands before
            the facts (§7.2).

    Returns:
        The name, as text with surrogate escapes, and the facts. Where a fact
        is told twice, the last one counts.

    Raises:
        InvalidData: There is no space between facts and name, or a line end
            within. Reply 451.
    """

    text = decode_name(line.removesuffix(b"\n").removesuffix(b"\r"))
    if is_reply:
        text = text.removeprefix(" ")

    told, space, name = text.partition(" ")
    if not space or "\n" in text:
        raise InvalidData(f"expected facts, a space and a name, not {text!r:.80}")

    values: dict[str, str | int | float] = {}
    aliases: dict[str, str] = {}
    others: dict[str, tuple[str, str]] = {}
    for fact in told.split(";"):
        original, equals, value = fact.partition("=")
        if not equals or not original:
            continue

        key = original.lower()
        if key in _ALIASES:
            aliases[_ATTRIBUTES[_ALIASES[key]]] = value
            continue

        known = _known_value(key, value)
        if known is None:
            others[key] = (original, value)
        else:
            values[_ATTRIBUTES[key]] = known

    return name, Facts(**{**values, **aliases}, others=tuple(others.values()))  # type: ignore[arg-type]


def _known_value(key: str, value: str) -> str | int | float | None:
    """Return the value of a known fact, or None if it is unknown or makes no sense."""

    if key not in _ATTRIBUTES:
        return None

    if key in _TIMES:
        try:
            return parse_time_val(value)
        except BadArgument:
            return None

    if key in _NUMBERS:
        pattern, base = _NUMBERS[key]
        return int(value, base) if pattern.fullmatch(value) else None

    return value.lower() if key == "perm" else value


# Selection


def _lower(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)


@attrs.frozen(kw_only=True)
class FactSelection:
    """Which facts a client gets: the state that OPTS MLST changes (RFC 3659 §7.8, §7.9).

    Attributes:
        selected: Names of the facts that are shown. Lower case, as all here.
        supported: Names of all facts that the server can tell; may hold names
            of its own, which `Facts.others` has the values of.
    """

    selected: tuple[str, ...] = attrs.field(default=DEFAULT_FACTS, converter=_lower)
    supported: tuple[str, ...] = attrs.field(default=SUPPORTED_FACTS, converter=_lower)

    def select(self, argument: str) -> FactSelection:
        """Return what ``OPTS MLST argument`` makes of it. See `select_facts`."""

        return select_facts(argument, supported=self.supported)

    @property
    def reply(self) -> str:
        """The text of the reply 200 to OPTS MLST (§7.9.1)."""

        return f"MLST OPTS {''.join(f'{fact};' for fact in self.selected)}".rstrip()

    @property
    def feature(self) -> str:
        """The line of FEAT, without its first space: an asterisk marks what is shown (§7.8)."""

        marked = (f"{fact}{'*' * (fact in self.selected)};" for fact in self.supported)
        return f"MLST {''.join(marked)}".rstrip()


def select_facts(argument: str, *, supported: tuple[str, ...] = SUPPORTED_FACTS) -> FactSelection:
    """Select facts as OPTS MLST says (RFC 3659 §7.9).

    Args:
        argument: What follows ``OPTS MLST``: names of facts in any case, each
            with a semicolon (the last one is often forgotten). Unknown ones
            are ignored. None at all: names only.
        supported: Names of the facts that the server can tell.

    Raises:
        BadArgument: There is a space within, or something that can be no
            name. Reply 501; what was selected stays so.
    """

    names = argument.strip(" ").removesuffix(";").split(";") if argument.strip(" ") else []
    if not all(_FACT_NAME.fullmatch(name) for name in names):
        raise BadArgument(f"OPTS MLST wants names with semicolons, not {argument!r:.80}")

    wanted = {name.lower() for name in names}
    selected = tuple(fact for fact in supported if fact.lower() in wanted)
    return FactSelection(selected=selected, supported=supported)
