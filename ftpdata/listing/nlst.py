"""NLST: a name on each line (RFC 959 §4.1.3), its writers and its parser.

Pure: no file system.
"""

from __future__ import annotations

from collections.abc import Iterable

from .._checks import check_type
from ._names import NamePolicy, safe_name
from ._reading import line_text
from .entry import ListingEntry
from .table import EntryTable, are_plain, entry_names

__all__ = ["NlstFormatter", "format_nlst_line", "parse_nlst_line"]


def format_nlst_line(
    entry: ListingEntry | str | bytes, *, name_policy: NamePolicy = NamePolicy.ESCAPE
) -> bytes | None:
    """Format one line of an NLST response.

    Args:
        entry: An entry, or a name or path.
        name_policy: What becomes of control characters.

    Returns:
        The line without its line end, or None if the policy skips it.
    """

    check_type("entry", entry, ListingEntry | str | bytes, "a ListingEntry or a name")
    check_type("name_policy", name_policy, NamePolicy, "a NamePolicy")
    name = safe_name(entry.name if isinstance(entry, ListingEntry) else entry, name_policy)
    return None if name is None else name.encode("utf-8", "surrogateescape")


def parse_nlst_line(line: bytes) -> str | None:
    """Parse a line of an NLST response: a name, or from some servers a path.

    Args:
        line: The line, with or without its line end.

    Returns:
        The name as text with surrogate escapes, or None for an empty line.

    Raises:
        InvalidData: There is a line end within. Reply 451.
    """

    return line_text(line) or None


class NlstFormatter:
    """Writes the names of many entries: `format_nlst_line` for a whole block.

    Args:
        name_policy: What becomes of control characters in a name.
    """

    __slots__ = ("_policy",)

    needs_status = False

    def __init__(self, *, name_policy: NamePolicy = NamePolicy.ESCAPE) -> None:
        check_type("name_policy", name_policy, NamePolicy, "a NamePolicy")
        self._policy = name_policy

    def format(self, entry: ListingEntry) -> bytes | None:
        """Return one line without its line end, or None if the policy skips it."""

        return format_nlst_line(entry, name_policy=self._policy)

    def format_block(self, entries: Iterable[ListingEntry]) -> bytes:
        """Return the lines of all entries, each with its CR LF."""

        return self._lines(entry_names(entries))

    def format_table(self, table: EntryTable) -> bytes:
        """Return the lines of a whole table, each with its CR LF."""

        check_type("table", table, EntryTable, "an EntryTable")
        return _name_lines(table.names) if are_plain(table.names) else self._lines(table.names)

    def _lines(self, names: Iterable[str | bytes]) -> bytes:
        safe = (safe_name(name, self._policy) for name in names)
        return _name_lines([name for name in safe if name is not None])


def _name_lines(names: Iterable[str]) -> bytes:
    return "\r\n".join([*names, ""]).encode("utf-8", "surrogateescape")
