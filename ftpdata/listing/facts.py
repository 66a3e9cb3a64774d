"""Facts about files, which facts a client gets, and time values (RFC 3659 §2.3, §7).

Pure: no clock, no file system. MLST, MLSD, OPTS MLST, MDTM and MFMT use these values; how a
line of MLST or MLSD is written and read is in `ftpdata.listing.mlsx`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from .._checks import check_call, check_range, check_type, checked, ranged, wrong_type
from ..errors import BadArgument, error_for_peer
from ._calendar import civil_date, date_time, epoch_seconds
from ._names import decode_name
from .entry import EntryType, ListingEntry, Permissions

__all__ = [
    "DEFAULT_FACTS",
    "SUPPORTED_FACTS",
    "FactSelection",
    "Facts",
    "entry_from_facts",
    "facts_for_entry",
    "format_time_val",
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
"""The facts that can be written, in the order in which they are written."""

DEFAULT_FACTS: Final = ("type", "size", "modify", "perm", "unique", "unix.mode")
"""The facts for a client that has not chosen: those of RFC 3659 §7.5.10, and the mode."""

FACT_NAME: Final = re.compile(r"""[A-Za-z0-9,.:!@#$%^&()\-_+?/\\'"]+""")
"""The name of a fact (RFC 3659 §7.2: ``token``)."""


# Time values

_TIME_VAL = re.compile(
    r"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})(?:\.([0-9]+))?"
)
_FIRST_YEAR, _LAST_YEAR = 1000, 9999
_MICROSECONDS: Final = 1_000_000
_MICROSECOND_DIGITS: Final = 6
_LEAP_SECOND: Final = 60


def format_time_val(moment: datetime | float, *, digits: int = 0) -> str:
    """Format a time as MDTM, MFMT and the facts use it (RFC 3659 §2.3).

    Args:
        moment: A date with a zone, or seconds since the epoch.
        digits: Digits of the fraction of a second, 0 to 6; further ones are cut off. Do not
            ask for more precision than the time has.

    Returns:
        A time such as ``20260131170405`` or ``20260131170405.123``, in UTC.

    Raises:
        ValueError: The year is not from 1000 to 9999, the date has no zone, or `digits` is
            not from 0 to 6.
    """

    check_type("digits", digits, int, "a whole number")
    check_range("digits", digits, 0, _MICROSECOND_DIGITS)

    # Go through whole microseconds: a float has no more precision, and 0.123456 must not
    # become .123455.
    seconds, micro = divmod(round(epoch_seconds(moment) * _MICROSECONDS), _MICROSECONDS)
    days, second = divmod(seconds, 86_400)
    year, month, day = civil_date(days)
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise ValueError(f"a time value has a year from 1000 to 9999, not {year}")

    text = f"{year}{month:02d}{day:02d}"
    text += f"{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}"
    return f"{text}.{f'{micro:06d}'[:digits]}" if digits else text


def parse_time_val(text: str) -> float:
    """Parse a time as MDTM, MFMT and the facts use it (RFC 3659 §2.3).

    A leap second becomes the first second of the next minute. A fraction is cut off after
    six digits.

    Returns:
        Seconds since the epoch.

    Raises:
        BadArgument: It is not such a time. Reply 501.
    """

    check_type("text", text, str, "a string")
    match = _TIME_VAL.fullmatch(text)
    if match is None:
        raise error_for_peer(BadArgument, f"a time is YYYYMMDDHHMMSS[.sss], not {text!r:.40}")

    year, month, day, hour, minute, second = map(int, match.groups()[:-1])
    moment = date_time((year, month, day, hour, minute, min(second, 59), 0), UTC)
    if moment is None or year < _FIRST_YEAR or second > _LEAP_SECOND:
        raise error_for_peer(BadArgument, f"there is no such time as {text!r:.40}")

    micro = int((match[7] or "")[:_MICROSECOND_DIGITS].ljust(_MICROSECOND_DIGITS, "0"))
    leap = second - moment.second
    return epoch_seconds(moment) + leap + micro / _MICROSECONDS


# Facts


def _check_pairs(_: object, attribute: attrs.Attribute[Any], pairs: tuple[Any, ...]) -> None:
    for pair in pairs:
        is_pair = isinstance(pair, tuple) and len(pair) == 2  # noqa: PLR2004 - name and value
        if not is_pair or not all(isinstance(text, str) for text in pair):
            raise wrong_type(attribute.name, "pairs of two strings", pairs)


@attrs.frozen(kw_only=True, field_transformer=checked)
class Facts:
    """The facts about one file or directory. A fact that is None is left out.

    Attributes:
        type: ``file``, ``dir``, ``cdir`` (the listed directory itself), ``pdir`` (a parent),
            or ``OS.name=kind``.
        size: Bytes; not for directories.
        modify: Last modification, in seconds since the epoch.
        create: Creation, in seconds since the epoch.
        perm: What the user may do, in the letters ``acdeflmprw`` (§7.5.5).
        unique: The same for two names if and only if they are the same file.
        lang: Language of the name.
        media_type: Media type of the content.
        charset: Character set of the name, if it is not UTF-8.
        unix_mode: Permission bits.
        unix_owner: Name of the owner.
        unix_group: Name of the group.
        unix_uid: Number of the owner.
        unix_gid: Number of the group.
        others: Further facts and their values, in order, written as they are. Only those of
            an operating system (``OS/2.ea``) and local ones (``X.desc``) belong here (§7.6).
    """

    type: str | None = None
    size: int | None = attrs.field(default=None, validator=ranged(0))
    modify: float | None = None
    create: float | None = None
    perm: str | None = None
    unique: str | None = None
    lang: str | None = None
    media_type: str | None = None
    charset: str | None = None
    unix_mode: int | None = attrs.field(default=None, validator=ranged(0))
    unix_owner: str | None = None
    unix_group: str | None = None
    unix_uid: int | None = attrs.field(default=None, validator=ranged(0))
    unix_gid: int | None = attrs.field(default=None, validator=ranged(0))
    others: tuple[tuple[str, str], ...] = attrs.field(default=(), validator=_check_pairs)

    @property
    def is_directory(self) -> bool:
        """Whether this is a directory of any kind."""

        return (self.type or "").lower() in {"dir", "cdir", "pdir"}

    def get(self, name: str) -> str | None:
        """Return the value of a fact as it would be written; the case of its name is ignored."""

        key = name.lower()
        for other, value in self.others:
            if other.lower() == key:
                return value

        return supported_value(self, key)


ATTRIBUTES: Final = {fact: fact.replace(".", "_").replace("-", "_") for fact in SUPPORTED_FACTS}


def supported_value(facts: Facts, fact: str) -> str | None:
    """Return the value of one of the supported facts as it would be written, or None."""

    value: str | float | None = getattr(facts, ATTRIBUTES.get(fact, ""), None)
    if value is None or isinstance(value, str):
        return value

    if fact in {"modify", "create"}:
        return _shortest_time_val(value)

    return f"{value:04o}" if fact == "unix.mode" else str(value)


def _shortest_time_val(seconds: float) -> str | None:
    try:
        text = format_time_val(seconds, digits=_MICROSECOND_DIGITS)
    except (ValueError, OverflowError):
        return None  # a year that cannot be expressed: the fact is left out

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
    """Return the facts of an entry.

    A symbolic link becomes ``OS.unix=symlink``. RFC 3659 §7.5.1.5 prefers the file that the
    link leads to: to list that file, pass an entry made from its status.

    Args:
        entry: The entry.
        type: ``cdir`` or ``pdir``, if the entry is one of them.
        perm: What the user may do; see `perm_letters`.
        digits: Digits of the fraction of a second to keep, 0 to 6.
    """

    check_call(facts_for_entry, locals())
    check_range("digits", digits, 0, _MICROSECOND_DIGITS)
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
    """Return the entry for a name and facts, as a client gets them from MLSD."""

    check_call(entry_from_facts, locals())
    types = {kind.lower(): entry_type for entry_type, kind in _OS_TYPES.items()}
    types["file"] = EntryType.FILE
    word = (facts.type or "file").lower()
    if word.startswith("os.unix=slink"):
        word = "os.unix=symlink"  # pure-ftpd's word, with a colon after it

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
        readable: Whether a file may be retrieved, or a directory entered and listed.
        writable: Whether a file may be overwritten and appended to, or whether files may be
            created and deleted in a directory.
        removable: Whether it may itself be deleted and renamed, which depends on the
            directory that contains it.
    """

    check_call(perm_letters, locals())
    letters = "df" if removable else ""
    if readable:
        letters += "el" if is_directory else "r"

    if writable:
        letters += "cmp" if is_directory else "aw"

    return "".join(sorted(letters))


# Selection


def _lower(names: Iterable[str]) -> tuple[str, ...]:
    if isinstance(names, str | bytes) or not isinstance(names, Iterable):
        raise wrong_type("selected and supported", "names of facts, one by one", names)

    lower = []
    for name in names:
        check_type("name of a fact", name, str, "a string")
        lower.append(name.lower())
    return tuple(lower)


@attrs.frozen(kw_only=True)
class FactSelection:
    """Which facts a client gets: the state that OPTS MLST changes (RFC 3659 §7.8, §7.9).

    Attributes:
        selected: Names of the facts that are shown, in lower case.
        supported: Names of all facts that the server has, in lower case. It may add names of
            its own, with their values in `Facts.others`.
    """

    selected: tuple[str, ...] = attrs.field(default=DEFAULT_FACTS, converter=_lower)
    supported: tuple[str, ...] = attrs.field(default=SUPPORTED_FACTS, converter=_lower)

    def select(self, argument: str) -> FactSelection:
        """Return the selection after ``OPTS MLST argument``. See `select_facts`."""

        return select_facts(argument, supported=self.supported)

    @property
    def reply(self) -> str:
        """The text of the reply 200 to OPTS MLST (§7.9.1)."""

        return f"MLST OPTS {''.join(f'{fact};' for fact in self.selected)}".rstrip()

    @property
    def feature(self) -> str:
        """The line of FEAT without its first space; an asterisk marks what is shown (§7.8)."""

        marked = (f"{fact}{'*' * (fact in self.selected)};" for fact in self.supported)
        return f"MLST {''.join(marked)}".rstrip()


def select_facts(argument: str, *, supported: tuple[str, ...] = SUPPORTED_FACTS) -> FactSelection:
    """Select facts as OPTS MLST says (RFC 3659 §7.9).

    Args:
        argument: What follows ``OPTS MLST``: names of facts in any case, each followed by a
            semicolon (clients often forget the last one). Unknown names are ignored. An
            empty argument selects no facts: the lines are names only.
        supported: Names of the facts that the server has.

    Raises:
        BadArgument: There is a space within, or something that cannot be a fact's name.
            Reply 501; the selection stays as it was.
    """

    check_call(select_facts, locals())
    names = argument.strip(" ").removesuffix(";").split(";") if argument.strip(" ") else []
    if not all(FACT_NAME.fullmatch(name) for name in names):
        raise error_for_peer(
            BadArgument, f"expected names of facts, each with a semicolon, not {argument!r:.80}"
        )

    wanted = {name.lower() for name in names}
    selected = tuple(fact for fact in supported if fact.lower() in wanted)
    return FactSelection(selected=selected, supported=supported)
