"""The LIST lines of HP NonStop (Tandem Guardian), as its FTP server writes them.

Pure. Sources: HP NonStop, Open System Services Shell and Utilities Reference Manual, ftpserver(7)
(the ``O`` of an open file beside its code); Guardian Procedure Calls Reference Manual (names of up
to eight letters and digits, codes, security of reading, writing, executing and purging); the
heading and the columns that Indy's and FluentFTP's parsers document.
"""

from __future__ import annotations

import re
from functools import cache

from ._dates import Dates
from ._reading import number
from .entry import ListingEntry

__all__ = ["is_nonstop_heading", "match_nonstop"]

_HEADING = "File Code EOF Last Modification Owner RWEP"


@cache
def _pattern() -> re.Pattern[str]:
    return re.compile(
        r"""
        (?P<name>[A-Za-z][A-Za-z0-9]{0,7}+)[ ]++(?:(?P<open>O)[ ]++)?(?P<code>\d{1,5})[+A-Z]?[ ]++
        (?P<size>\d++)[ ]++(?P<day>\d{1,2})-(?P<month>[^ \d-]{3,5})-(?P<year>\d{4}|\d{2})[ ]++
        (?P<clock>\d{1,2}:\d{2}:\d{2})[ ]++(?P<group>\d{1,3}),[ ]{0,2}(?P<user>\d{1,3})[ ]++
        "(?P<security>[A-Za-z*-]{4})"[ ]*+
        """,
        re.ASCII | re.VERBOSE,
    )


def is_nonstop_heading(text: str) -> bool:
    """Return whether a line is the heading of a listing."""

    return " ".join(text.split()) == _HEADING


def match_nonstop(text: str, dates: Dates) -> ListingEntry | None:
    """Return the entry of a line of NonStop; None if it is not one.

    Its security has no permission bits: ``security`` in the details is what was written.

    Raises:
        InvalidData: It is one, but its date does not exist, or its size has more than 19 digits.
            Reply 451.
    """

    match = _pattern().fullmatch(text)
    if match is None:
        return None

    details = {"code": match["code"], "security": match["security"]}
    if match["open"]:
        details["open"] = match["open"]

    return ListingEntry(
        name=match["name"],
        size=number(match["size"], text),
        modified=dates.named(match["day"], match["month"], match["year"], match["clock"], text),
        owner=match["user"],
        group=match["group"],
        details=details,
    )
