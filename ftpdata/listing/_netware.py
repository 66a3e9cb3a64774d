"""The LIST lines of Novell NetWare: the type, the rights in brackets, and a line like ls -l's.

Pure. Sources: Novell, NetWare 6.5 FTP Server Administration Guide (the rights S, R, W, C, E, M, F
and A); the lines of D. J. Bernstein's ftpparse and of Indy's list parsers, which show four blanks
before the name, or one.
"""

from __future__ import annotations

import re
from functools import cache

from ._dates import Dates
from ._reading import number
from .entry import EntryType, ListingEntry, Permissions

__all__ = ["match_netware"]


@cache
def _pattern() -> re.Pattern[str]:
    return re.compile(
        r"""
        (?P<type>[-d])[ ]?\[(?P<rights>[-A-Z]{7,9})\][ ]++(?:(?P<links>\d++)[ ]++)?
        (?P<owner>[^ ]++)[ ]++(?P<size>\d++)[ ]++
        (?P<month>[^ \d,.-]{2,12}+)[ ]++(?P<day>\d{1,2})[ ]++
        (?:(?P<clock>\d{1,2}:\d{2})|(?P<year>\d{4}))
        (?:[ ]{4}|[ ])(?P<name>[^ ].*+)
        """,
        re.ASCII | re.DOTALL | re.VERBOSE,
    )


def match_netware(text: str, dates: Dates) -> ListingEntry | None:
    """Return the entry of a line of NetWare; None if it is not one.

    Raises:
        InvalidData: It is one, but its date does not exist, or its size has more than 19 digits.
            Reply 451.
    """

    match = _pattern().fullmatch(text)
    if match is None:
        return None

    is_directory, rights = match["type"] == "d", match["rights"]
    mode = 0o400 * ("R" in rights) | 0o200 * ("W" in rights)
    if is_directory:
        mode |= 0o100 * ("F" in rights)

    return ListingEntry(
        name=match["name"],
        size=number(match["size"], text),
        type=EntryType.DIRECTORY if is_directory else EntryType.FILE,
        permissions=Permissions(mode),
        links=number(match["links"] or "1", text),
        modified=dates.named(
            match["day"], match["month"], match["year"], match["clock"] or "00:00", text
        ),
        owner=match["owner"],
        group="-",
        details={"rights": rights},
    )
