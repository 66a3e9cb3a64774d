"""Chooses the parser for a line of LIST, which may be in any format.

Pure: no clock, no locale. RFC 959 §4.1.3 leaves the text of LIST to the server, and no
command says which format it has, so the line itself must show it, or `ListingHints` do. This
module knows only the formats of LIST. It is above them in the layers, since each of them is
complete without it.

One rule holds for every parser of `ftpdata.listing`: a line gives one entry, or None if it is
known not to be an entry (an empty line, a heading, or one such as ``total 12``), or
`InvalidData`. It never gives a wrong name. Names are returned as the server sent them, as text
with surrogate escapes, so that a client can ask for them: `ListingEntry.wire_name` has the bytes,
and `ListingEntry.is_plain_name` says whether a name may be joined to a path.

Some listings need more than a line at a time: a heading of z/OS says what its lines are, and
VMS continues a long name in the next line. `ListReader` reads those.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

import attrs

from .._checks import check_call
from ..errors import InvalidData
from ._calendar import as_zone, epoch_seconds
from ._dates import Dates
from ._mvs import (
    is_job_noise,
    match_data_set,
    match_job,
    match_member,
    match_module,
    match_spool_file,
    mvs_heading,
)
from ._netware import match_netware
from ._nonstop import is_nonstop_heading, match_nonstop
from ._os400 import match_os400
from ._reading import is_noise, is_total_of_any_word, line_text, refuse
from ._vms import is_vms_heading, is_vms_name, match_vms
from .entry import ListingEntry
from .eplf import parse_eplf_line
from .hints import NO_HINTS, ListFormat, ListingHints
from .msdos import read_msdos_line
from .unix import read_unix_line

__all__ = ["ListReader", "parse_list_line"]

_Match = Callable[[str, Dates], ListingEntry | None]


def _whole_data_set(text: str, dates: Dates) -> ListingEntry | None:
    return match_data_set(text, dates, after_heading=False)


def _whole_member(text: str, dates: Dates) -> ListingEntry | None:
    return match_member(text, dates, after_heading=False)


_MATCHES: Final[dict[ListFormat, _Match]] = {
    ListFormat.VMS: match_vms,
    ListFormat.MVS_DATA_SETS: match_data_set,
    ListFormat.MVS_MEMBERS: match_member,
    ListFormat.MVS_MODULES: match_module,
    ListFormat.MVS_JOBS: match_job,
    ListFormat.OS400: match_os400,
    ListFormat.NETWARE: match_netware,
    ListFormat.NONSTOP: match_nonstop,
}

_SELF_EVIDENT: Final[dict[ListFormat, _Match]] = {
    **{kind: match for kind, match in _MATCHES.items() if kind is not ListFormat.MVS_MODULES},
    ListFormat.MVS_DATA_SETS: _whole_data_set,
    ListFormat.MVS_MEMBERS: _whole_member,
}
"""The formats whose lines show by themselves what they are. No line has two of them."""

_CASELESS: Final = frozenset(ListFormat) - {
    ListFormat.UNIX, ListFormat.MSDOS, ListFormat.EPLF, ListFormat.OS400, ListFormat.NETWARE
}  # fmt: skip
"""Systems whose names have no lower case."""


def parse_list_line(
    line: bytes,
    *,
    now: datetime | float,
    tz: tzinfo | timedelta = UTC,
    hints: ListingHints = NO_HINTS,
) -> ListingEntry | None:
    """Parse one line of a LIST response, in any format that is known.

    They are ``ls -l`` of many systems, MS-DOS, EPLF, OpenVMS, z/OS, OS/400, NetWare and NonStop.
    Without a hint, a line must show by itself which one it has. For whole listings of z/OS
    and VMS, `ListReader` reads what needs the lines before.

    Args:
        line: The line, with or without its line end.
        now: The present, to which dates without a year are relative: a date with a zone, or
            seconds since the epoch.
        tz: Zone of the server's dates: a zone, or a fixed offset from UTC.
        hints: What else is known about the listing.

    Returns:
        The entry, or None for a line that is known not to be one.

    Raises:
        InvalidData: The line is in none of these formats, or not in that of the hint. Reply 451.
        ValueError: `now` has no zone.
    """

    check_call(parse_list_line, locals())
    return _read(line, now, tz, hints)


def _read(
    line: bytes, now: datetime | float, tz: tzinfo | timedelta, hints: ListingHints
) -> ListingEntry | None:
    order = hints.date_order
    match hints.format:
        case None:
            return _read_any(line, now, tz, hints)
        case ListFormat.EPLF:
            return parse_eplf_line(line)
        case ListFormat.MSDOS:
            return read_msdos_line(line, tz, order)
        case ListFormat.UNIX:
            if is_total_of_any_word(line_text(line)):
                return None

            return read_unix_line(line, now, tz, order)

    text = line_text(line)
    entry = _MATCHES[hints.format](text, _dates(now, tz, hints))
    if entry is not None:
        return _named(entry, hints.format, hints)

    is_job = hints.format is ListFormat.MVS_JOBS
    if not (is_noise(text) or _heading(text) or (is_job and is_job_noise(text))):
        refuse(f"a line of the format {hints.format.value}", text)

    return None


def _read_any(
    line: bytes, now: datetime | float, tz: tzinfo | timedelta, hints: ListingHints
) -> ListingEntry | None:
    if line.startswith(b"+"):
        return parse_eplf_line(line)

    try:
        if line[:1].isdigit():
            return read_msdos_line(line, tz, hints.date_order)

        return read_unix_line(line, now, tz, hints.date_order)
    except InvalidData:
        text = line_text(line)
        dates = _dates(now, tz, hints)
        for kind, match in _SELF_EVIDENT.items():
            if entry := match(text, dates):
                return _named(entry, kind, hints)

        if _heading(text) is not None:
            return None

        raise


def _dates(now: datetime | float, tz: tzinfo | timedelta, hints: ListingHints) -> Dates:
    return Dates(datetime.fromtimestamp(epoch_seconds(now), UTC), as_zone(tz), hints.date_order)


def _named(entry: ListingEntry, kind: ListFormat, hints: ListingHints) -> ListingEntry:
    if not hints.lower_case or kind not in _CASELESS:
        return entry

    return attrs.evolve(entry, name=entry.text_name.lower())


def _heading(text: str) -> ListFormat | None:
    """Return the format of the lines behind a heading; None if the line is not one."""

    if is_vms_heading(text):
        return ListFormat.VMS

    return ListFormat.NONSTOP if is_nonstop_heading(text) else mvs_heading(text)


class ListReader:
    r"""Reads the lines of one LIST response, some of which mean nothing without those before.

    A heading of z/OS, VMS or NonStop says what follows it, as a hint would, up to the next
    heading. A name of VMS that fills a line belongs to the line behind it. The spool files of a
    job of JES are named after the job::

        reader = ListReader(now=now)
        for line in lines:
            entry = reader.read(line)  # None if there is no entry in it, or not yet
        reader.finish()

    Args:
        now: The present, as in `parse_list_line`.
        tz: Zone of the server's dates.
        hints: What else is known about the listing.

    Raises:
        ValueError: `now` has no zone.
    """

    __slots__ = ("_hints", "_job", "_now", "_tz", "_waiting")

    def __init__(
        self,
        *,
        now: datetime | float,
        tz: tzinfo | timedelta = UTC,
        hints: ListingHints = NO_HINTS,
    ) -> None:
        check_call(ListReader.__init__, locals())
        epoch_seconds(now)
        self._now = now
        self._tz = as_zone(tz)
        self._hints = hints
        self._waiting = b""
        self._job: str | None = None

    @property
    def format(self) -> ListFormat | None:
        """The format that a heading or a hint has told; None if each line shows its own."""

        return self._hints.format

    def read(self, line: bytes) -> ListingEntry | None:
        """Read one line, with or without its line end.

        Returns:
            The entry; None for a line that is known not to be one, or that the next one
            completes.

        Raises:
            InvalidData: As for `parse_list_line`; also if a line of VMS that was to complete the
                one before it does not. Neither gives an entry then. Reply 451.
        """

        text = line_text(line)
        if self._waiting:
            name, self._waiting = self._waiting, b""
            if not text.startswith(" "):
                refuse(f"the rest of the entry {name.decode(errors='replace')!r:.80}", text)

            return _read(name + line, self._now, self._tz, self._hints)

        if self.format in {None, ListFormat.VMS} and is_vms_name(text):
            self._waiting = line.rstrip()
            return None

        if kind := _heading(text):
            self._hints = attrs.evolve(self._hints, format=kind)
            return None

        entry = None
        if self._job and self.format is ListFormat.MVS_JOBS:
            entry = match_spool_file(text, self._job)

        if entry is not None:
            return _named(entry, ListFormat.MVS_JOBS, self._hints)

        entry = _read(line, self._now, self._tz, self._hints)
        if entry is not None and self.format is ListFormat.MVS_JOBS:
            self._job = entry.text_name

        return entry

    def finish(self) -> None:
        """Say that the listing has ended.

        Raises:
            InvalidData: A line was to complete the last one, and did not come. Reply 451.
        """

        if self._waiting:
            name, self._waiting = self._waiting, b""
            refuse("the rest of an entry", name.decode(errors="replace"))
