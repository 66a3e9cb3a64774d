"""Lines of MLSD and MLST, for machines to read (RFC 3659 §7): their writers and their parser.

Pure: no clock, no file system. A line is facts, one space, and the name:
``type=file;size=1024;modify=20260131170405; name``. The facts, and the choice of those that
a client gets, are in `ftpdata.listing.facts`.

`MlsxFormatter` writes many lines at a time. The facts of a directory's files are mostly the
same: they become a template with room for size, time, identifier and name, and one
formatting operation fills in all lines of a block.

Rules:

1. One entry gives one line, without its line end, or None if it must be left out. Names
   follow `ftpdata.listing._names`.
2. A value has the characters that RFC 3659 §2.1 allows in one (SCHAR) and no others: any
   other byte is written as ``%`` and two hexadecimal digits.
3. Writers are strict. The parser accepts names of facts in any case and blanks within values,
   and keeps unknown facts and invalid values among the others. It never guesses where a
   name begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Final

from .._checks import check_call, check_type
from ..errors import BadArgument
from ._calendar import MINUTES_PER_DAY, epoch_seconds
from ._names import NamePolicy, encode_name, safe_name
from ._reading import line_text, refuse
from .entry import ListingEntry
from .facts import (
    ATTRIBUTES,
    FACT_NAME,
    SUPPORTED_FACTS,
    Facts,
    FactSelection,
    facts_for_entry,
    format_time_val,
    parse_time_val,
    supported_value,
)
from .table import CACHE_LIMIT, Column, EntryTable, folded, shown, shown_entries

__all__ = ["MlsxFormatter", "format_mlsx_line", "parse_mlsx_line"]


# Writing one line

_NOT_IN_VALUE = re.compile(rb"""[^A-Za-z0-9,.:!@#$%^&()\-_+?/\\'"=]""")
"""All but SCHAR (RFC 3659 §2.1)."""


def clean_value(value: str) -> str:
    """Write characters that a value may not have as ``%`` and two hexadecimal digits (rule 2)."""

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
    """Format one line of an MLSD response; in the reply to MLST, put a space before it (§7.2).

    Args:
        name: Name of the entry; for MLST, the path that the client asked for.
        facts: What is known about it.
        selection: Which facts the client wants; by default all that are known.
        name_policy: What becomes of control characters in the name.

    Returns:
        The line without its line end. None if the policy skips it, and for a ``cdir`` or
        ``pdir`` while the fact ``type`` is not selected: it would look like a directory in
        the listing (§7.5.1.2).

    Raises:
        ValueError: The name of one of `facts.others` cannot be a fact's name.
    """

    check_type("name", name, str | bytes, "a string or bytes")
    check_type("facts", facts, Facts, "Facts")
    check_type("selection", selection, FactSelection | None, "a FactSelection or None")
    check_type("name_policy", name_policy, NamePolicy, "a NamePolicy")
    safe = safe_name(name, name_policy)
    if safe is None:
        return None

    wanted = SUPPORTED_FACTS if selection is None else selection.selected
    if (facts.type or "").lower() in {"cdir", "pdir"} and "type" not in wanted:
        return None

    parts = [fact_text(facts, fact) for fact in wanted]
    for fact, value in facts.others:
        if not FACT_NAME.fullmatch(fact):
            raise ValueError(f"this cannot be the name of a fact: {fact!r:.40}")

        if selection is None or fact.lower() in wanted:
            parts.append(f"{fact}={clean_value(value)};")

    return f"{''.join(parts)} {safe}".encode("utf-8", "surrogateescape")


def fact_text(facts: Facts, fact: str) -> str:
    """Return one of the supported facts as it appears in a line; empty if it is None."""

    value = supported_value(facts, fact)
    return "" if value is None else f"{fact}={clean_value(value)};"


# Reading

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


def parse_mlsx_line(line: bytes, *, is_reply: bool = False) -> tuple[str, Facts] | None:
    """Parse one line of an MLSD response, or of the reply to MLST.

    The facts end at the first semicolon that a space follows, so a value may have blanks
    (``UNIX.groupname=domain users;``), and the name anything.

    Args:
        line: The line, with or without its line end.
        is_reply: Whether it comes from a reply, where one space precedes the facts (§7.2).

    Returns:
        The name, as text with surrogate escapes, and the facts. If a fact occurs twice, the
        last one counts. None for an empty line.

    Raises:
        InvalidData: The line has no name; or what precedes it is not facts; or it begins
            with a blank and facts, so that nobody knows where the name begins; or there is a
            line end within. Reply 451.
    """

    check_call(parse_mlsx_line, locals())
    text = line_text(line)
    if not text:
        return None

    if is_reply:
        text = text.removeprefix(" ")

    if text.startswith(" "):
        facts, name = Facts(), text[1:]
        if _FACTS_AHEAD.match(name):
            refuse("facts at the beginning of the line", text)
    else:
        told, end, name = text.partition("; ")
        if not end or not told:
            refuse(_EXPECTED, text)

        facts = _parse_facts(told, text)

    if not name:
        refuse(_EXPECTED, text)

    return name, facts


_EXPECTED: Final = "facts with a semicolon after each, a space and a name"

_KNOWN: Final = "|".join(map(re.escape, (*ATTRIBUTES, *_ALIASES)))
_FACTS_AHEAD: Final = re.compile(
    rf"[ \t]*+(?:[^=; \t]++=[^;]*+;)*?(?:{_KNOWN})=[^;]*+;",
    re.IGNORECASE,
)
"""Facts, one of them known. Where a line has no facts, a name that begins so is refused."""

_ONE_WORD: Final = frozenset({*_NUMBERS, *_TIMES, "perm"})
"""Facts whose values have no blank. A blank in one is the space before the name, and the
semicolon between them is missing."""


def _parse_facts(told: str, line: str) -> Facts:
    """Parse facts, with semicolons between them.

    Raises:
        InvalidData: There is something else between them. Reply 451.
    """

    values: dict[str, str | int | float] = {}
    aliases: dict[str, str] = {}
    others: dict[str, tuple[str, str]] = {}
    for fact in told.split(";"):
        original, equals, value = fact.partition("=")
        key = original.lower()
        if " " in value and not _may_hold_blank(key, value):
            refuse(_EXPECTED, line)

        known = _known_value(key, value)
        if known is not None:
            values[ATTRIBUTES[key]] = known
        elif key in _ALIASES:
            aliases[ATTRIBUTES[_ALIASES[key]]] = value
        elif equals and FACT_NAME.fullmatch(original):
            others[key] = (original, value)
        elif fact:
            refuse(_EXPECTED, line)

    return Facts(**{**values, **aliases}, others=tuple(others.values()))  # type: ignore[arg-type]


def _may_hold_blank(key: str, value: str) -> bool:
    # The type of a symbolic link may say where it leads (RFC 3659 §7.5.1).
    return key not in _ONE_WORD and (key != "type" or value.lower().startswith("os."))


def _known_value(key: str, value: str) -> str | int | float | None:
    """Return the value of a known fact, or None if the fact is unknown or its value is invalid."""

    if key not in ATTRIBUTES:
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


# Writing many lines

_FIELDS: Final = ("size", "modify", "unique")
"""The facts that differ from file to file, in the order of the values of a line."""

_IN_ORDER: Final = (0, 1, 2, 3)
"""The indices of these three and of the name."""

_SECONDS_PER_DAY: Final = 86_400
_CLOCK: Final = tuple(f"{minute // 60:02d}{minute % 60:02d}" for minute in range(MINUTES_PER_DAY))
_SECONDS: Final = tuple(f"{second:02d};" for second in range(60))

_NOTHING: Final = "%.0s"
"""Takes a value and writes nothing."""


class MlsxFormatter:
    """Writes the lines of MLSD for the entries of a directory.

    Each line is what `format_mlsx_line` makes of the facts of `facts_for_entry`,
    byte for byte.

    Args:
        selection: Which facts the client wants; by default all that are known.
        perm: Returns the value of the perm fact (see `perm_letters`), or None to leave it
            out. Its answers are cached, so they must depend on type, permissions, owner and
            group of the entry and on nothing else.
        name_policy: What becomes of control characters in a name.
        owner_name: Returns the name for a uid of a table, which holds numbers only; the
            number itself by default. Its answers are cached.
        group_name: Returns the name for a gid; as `owner_name`.
    """

    __slots__ = (
        *("_days", "_group_name", "_order", "_owner_name", "_perm", "_policy", "_selection"),
        *("_templates", "_wanted"),
    )

    needs_status = True

    def __init__(
        self,
        *,
        selection: FactSelection | None = None,
        perm: Callable[[ListingEntry], str | None] | None = None,
        name_policy: NamePolicy = NamePolicy.ESCAPE,
        owner_name: Callable[[int], str] = str,
        group_name: Callable[[int], str] = str,
    ) -> None:
        check_call(MlsxFormatter.__init__, locals())
        self._selection = selection
        self._wanted = SUPPORTED_FACTS if selection is None else selection.selected
        self._perm = perm
        self._policy = name_policy
        self._owner_name = owner_name
        self._group_name = group_name
        self._templates: dict[tuple[object, ...], str] = {}
        self._days: dict[int, str] = {}
        written = [_FIELDS.index(fact) for fact in self._wanted if fact in _FIELDS]
        self._order = (*written, *(index for index in _IN_ORDER if index not in written))

    def format(self, entry: ListingEntry) -> bytes | None:
        """Return one line without its line end, or None if the policy skips it."""

        facts = facts_for_entry(entry, perm=self._perm(entry) if self._perm is not None else None)
        return format_mlsx_line(
            entry.name, facts, selection=self._selection, name_policy=self._policy
        )

    def format_block(self, entries: Iterable[ListingEntry]) -> bytes:
        """Return the lines of all entries, each with its CR LF."""

        kinds = self._templates
        last, modify = None, ""
        templates: list[str] = []
        values: list[str | int] = []
        for name, entry in zip(*shown_entries(entries, self._policy), strict=True):
            modified = entry.modified
            if modified != last:
                last, modify = modified, self._modify(modified)

            unique = entry.unique
            if unique is not None:
                unique = f"unique={clean_value(unique)};"

            values += entry.size, modify, unique or "", name
            kind = (entry.type, entry.permissions)
            key = (*kind, entry.owner, entry.group, entry.uid, entry.gid)
            try:
                templates.append(kinds[key])
            except KeyError:
                templates.append(self._add_template(key, entry, "%s"))

        return self._block(templates, values)

    def format_table(self, table: EntryTable) -> bytes:
        """Return the lines of a whole table, each with its CR LF: the fastest way.

        The result is byte for byte what `format_block` makes of the table's entries.
        """

        table = shown(table, self._policy)
        count = len(table.names)
        if not count:
            return b""

        _, uids, gids, modes, inodes, sizes, modified, devices = table.columns
        kinds, times = folded(uids, gids, modes, devices)
        templates = self._row_templates(table, kinds) * times
        values: list[str | int] = [""] * (count * len(_IN_ORDER))
        values[0 :: len(_IN_ORDER)] = sizes
        values[1 :: len(_IN_ORDER)] = self._modify_all(modified)
        values[2 :: len(_IN_ORDER)] = inodes
        values[3 :: len(_IN_ORDER)] = table.names
        return self._block(templates, values)

    def _row_templates(self, table: EntryTable, kinds: Sequence[Column]) -> list[str]:
        """Return the templates of rows with these uids, gids, modes and devices."""

        templates = self._templates
        try:
            return [*map(templates.__getitem__, zip(*kinds, strict=True))]
        except KeyError:
            keys = zip(*kinds, strict=True)
            return [templates.get(key) or self._add_row(table, key) for key in keys]

    def _add_row(self, table: EntryTable, key: tuple[int, ...]) -> str:
        uid, gid, mode, device = key
        row = (1, uid, gid, mode, 0, 0, 0, device)
        entry = table.nameless(row, self._owner_name, self._group_name)
        unique = f"unique={table.device_number(device):x}g%x;"
        return self._add_template(key, entry, unique)

    def _block(self, templates: list[str], values: list[str | int]) -> bytes:
        if self._order != _IN_ORDER:
            columns = (values[index :: len(_IN_ORDER)] for index in self._order)
            values = [*chain.from_iterable(zip(*columns, strict=True))]

        return ("".join(templates) % tuple(values)).encode("utf-8", "surrogateescape")

    def _modify(self, modified: datetime | float | None) -> str:
        """Return the fact modify; empty for a time that cannot be expressed."""

        if modified is None:
            return ""

        try:
            return self._modify_all((int(epoch_seconds(modified) // 1),))[0]
        except (ValueError, OverflowError):  # not a number, or infinite
            return ""

    def _modify_all(self, moments: Column) -> list[str]:
        """Return the fact modify of many files."""

        # The hot loop: every file pays for what happens here.
        facts = []
        days = self._days
        last, fact = None, ""
        for seconds in moments:
            # Files that were unpacked or copied together often follow each other.
            if seconds != last:
                last = seconds
                minute = seconds // 60
                try:
                    day = days[minute // MINUTES_PER_DAY]
                except KeyError:
                    day = self._add_day(minute // MINUTES_PER_DAY)

                clock = _CLOCK[minute % MINUTES_PER_DAY]
                fact = day and f"{day}{clock}{_SECONDS[seconds % 60]}"

            facts.append(fact)

        return facts

    def _add_day(self, day: int) -> str:
        if len(self._days) >= CACHE_LIMIT:
            self._days.clear()

        self._days[day] = text = _day_text(day)
        return text

    def _add_template(self, key: tuple[object, ...], entry: ListingEntry, unique: str) -> str:
        """Add and return the template for the lines of all entries that share a key.

        Args:
            key: What the entries share.
            entry: One of them.
            unique: How to write the third value.
        """

        facts = facts_for_entry(entry, perm=self._perm(entry) if self._perm is not None else None)
        forms = {
            "size": _NOTHING if entry.is_directory else "size=%d;",
            "modify": "%s",
            "unique": unique,
        }
        parts = [
            forms.get(fact) or fact_text(facts, fact).replace("%", "%%") for fact in self._wanted
        ]
        unwritten = [_NOTHING for fact in forms if fact not in self._wanted]
        template = f"{''.join((*parts, *unwritten))} %s\r\n"
        if len(self._templates) >= CACHE_LIMIT:
            self._templates.clear()

        self._templates[key] = template
        return template


@lru_cache(4096)
def _day_text(day: int) -> str:
    """Return the beginning of the fact modify on a day; empty if it cannot be expressed.

    All formatters share this cache: they are made anew for each listing, and days stay
    the same.
    """

    try:
        return f"modify={format_time_val(day * _SECONDS_PER_DAY).removesuffix('000000')}"
    except (ValueError, OverflowError):
        return ""  # not a year from 1000 to 9999
