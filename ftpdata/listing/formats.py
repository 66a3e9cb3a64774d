"""Chooses the parser for a line of LIST, which may be in any format.

Pure: no clock, no locale. RFC 959 §4.1.3 leaves the text of LIST to the server, and no
command says which format it has, so the line itself must show it. This module knows only the
formats of LIST. It is above them in the layers, since each of them is complete without it.

One rule holds for every parser of `ftpdata.listing`: a line gives one entry, or None if it is
known not to be an entry (an empty line, or one such as ``total 12``), or `InvalidData`. It never
gives a wrong name. Names are returned as the server sent them, as text with surrogate escapes,
so that a client can ask for them: `ListingEntry.wire_name` has the bytes, and
`ListingEntry.is_plain_name` says whether a name may be joined to a path.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from .._checks import check_call
from .entry import ListingEntry
from .eplf import parse_eplf_line
from .msdos import read_msdos_line
from .unix import read_unix_line

__all__ = ["parse_list_line"]


def parse_list_line(
    line: bytes, *, now: datetime | float, tz: tzinfo | timedelta = UTC
) -> ListingEntry | None:
    """Parse one line of a LIST response: ``ls -l`` of many systems, MS-DOS or EPLF.

    Args:
        line: The line, with or without its line end.
        now: The present, to which dates without a year are relative: a date with a zone, or
            seconds since the epoch.
        tz: Zone of the server's dates: a zone, or a fixed offset from UTC.

    Returns:
        The entry, or None for a line that is known not to be one.

    Raises:
        InvalidData: The line is in none of these formats. Reply 451.
        ValueError: `now` has no zone.
    """

    check_call(parse_list_line, locals())
    if line.startswith(b"+"):
        return parse_eplf_line(line)

    if line[:1].isdigit():
        return read_msdos_line(line, tz)

    return read_unix_line(line, now, tz)
