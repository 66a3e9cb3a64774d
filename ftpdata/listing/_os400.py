"""The LIST lines of OS/400 (IBM i) in its own format, which SITE LISTFMT 0 selects.

Pure. Source: IBM i, Networking: File Transfer Protocol, "File and directory entries in IBM i
format": owner, size, date, time, type, name. Owner and size may be blank; members have neither a
size nor a date. The date has the order and the separators of the server's job.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from ._dates import Dates
from ._reading import number, refuse
from .entry import EntryType, ListingEntry, Permissions

__all__ = ["match_os400"]

_TYPES: Final = {
    "*DIR": EntryType.DIRECTORY,
    "*DDIR": EntryType.DIRECTORY,
    "*LIB": EntryType.DIRECTORY,
    "*FLR": EntryType.DIRECTORY,
    "*FILE": EntryType.FILE,
    "*MEM": EntryType.FILE,
    "*STMF": EntryType.FILE,
    "*DSTMF": EntryType.FILE,
    "*DOC": EntryType.FILE,
    "*SYMLNK": EntryType.SYMLINK,
}
_TYPE_COLUMN: Final = 11
"""The type has ten characters, and a blank follows. More blanks belong to the name."""


@cache
def _pattern() -> re.Pattern[str]:
    return re.compile(
        r"""
        (?P<owner>[A-Z$#@][A-Z0-9$#@_.]{0,9}+)?[ ]++
        (?:(?P<size>\d++)[ ]++(?=\d))?
        (?:(?P<date>\d{2,4}[-/.,]\d{2,3}(?:[-/.,]\d{2,4})?)[ ]++
           (?P<clock>\d{2}[:.,]\d{2}[:.,]\d{2})[ ]++)?
        (?P<type>\*[A-Z0-9]{1,9}+)(?P<blanks>[ ]++)(?P<name>.++)
        """,
        re.ASCII | re.DOTALL | re.VERBOSE,
    )


def match_os400(text: str, dates: Dates) -> ListingEntry | None:
    """Return the entry of a line of OS/400; None if it is not one.

    A date that can be read in more than one order is not guessed: the entry has no date then,
    and ``date`` in its details is what was written.

    Raises:
        InvalidData: It is one, but it cannot be told where its name begins, or its size has more
            than 19 digits. Reply 451.
    """

    match = _pattern().fullmatch(text)
    if match is None or not (match["date"] or match["type"] == "*MEM"):
        return None

    if len(match["type"]) + len(match["blanks"]) > _TYPE_COLUMN:
        refuse("a name that does not begin with a blank", text)

    details = {"type": match["type"]}
    modified = dates.of_digits(match["date"], match["clock"]) if match["date"] else None
    if match["date"] and modified is None:
        details["date"] = f"{match['date']} {match['clock']}"

    name, kind = match["name"], _TYPES.get(match["type"], EntryType.OTHER)
    if name.endswith("/") and len(name) > 1:
        name, kind = name[:-1], EntryType.DIRECTORY

    return ListingEntry(
        name=name,
        size=number(match["size"] or "0", text),
        type=kind,
        permissions=Permissions(0o755 if kind is EntryType.DIRECTORY else 0o644),
        modified=modified,
        owner=match["owner"] or "-",
        group="-",
        details=details,
    )
