"""The LIST lines of z/OS: data sets, members of a library, load modules, and jobs of JES.

Pure. Source: IBM, z/OS Communications Server: IP User's Guide and Commands, the DIR subcommand,
"JESINTERFACELEVEL differences" and the displays of a job; for PO-E, IBM's technote 1468733.
Files of z/OS UNIX are listed as ``ls -l`` does.

Rules:

1. A heading says which of the four kinds follows. Lines that need it are read only after it: a
   migrated data set, a member without statistics, a load module.
2. A size is in tracks, or in records, except that of a load module. Where it is not in bytes,
   `size` is 0 and the details have it. "Referred" is the day of the last use, not of a change.
3. A library (PO, PO-E) and a pseudo directory are entered with CWD, so they are directories.
   What is migrated, on tape, or VSAM may be anything: its type is OTHER.
4. A job's name is its identifier, as RETR wants it (``JOB00061``); that of one of its spool
   files is ``JOB00061.2``.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from ._dates import Dates
from ._reading import number
from .entry import EntryType, ListingEntry
from .hints import ListFormat

__all__ = [
    "is_job_noise",
    "match_data_set",
    "match_job",
    "match_member",
    "match_module",
    "match_spool_file",
    "mvs_heading",
]

_HEADINGS: Final = {
    "Volume Unit Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname": ListFormat.MVS_DATA_SETS,
    "Name VV.MM Created Changed Size Init Mod Id": ListFormat.MVS_MEMBERS,
    "Name Size TTR Alias-of AC --------- Attributes --------- Amode Rmode": (
        ListFormat.MVS_MODULES
    ),
    "Name Size TTR Alias-of AC--------- Attributes---------Amode Rmode": ListFormat.MVS_MODULES,
    "JOBNAME JOBID OWNER STATUS CLASS": ListFormat.MVS_JOBS,
}

_LETTER: Final = r'[^\x00-"&-,./:-?\\^|~\x7f]'
_QUALIFIERS: Final = rf"{_LETTER}{{1,8}}(?:\.{_LETTER}{{1,8}}){{0,21}}"
_DATA_SET: Final = rf"(?P<name>{_QUALIFIERS}|'{_QUALIFIERS}')"
"""Qualifiers of up to 8 characters. Which are letters depends on the code page, so all are that
cannot be anything else. With quotation marks it is the whole name, and RETR takes it so."""

_MEMBER: Final = rf"(?P<name>{_LETTER}{{1,8}})"
_JOB: Final = r"(?P<id>(?:JOB|STC|TSU)\d{5}|[JST]\d{7})"

_STATES: Final = re.compile(
    rf"(?:(?P<volume>[^ ]{{1,6}}) +(?:(?P<unit>[^ ]{{4}}) +)?)?"
    rf"(?P<state>Migrated|Pseudo Directory|GDG|Tape|VSAM|Error determining attributes"
    rf"|Not Direct Access Device) +{_DATA_SET} *+"
)
_ORGANIZATIONS: Final = {"PO": EntryType.DIRECTORY, "PS": EntryType.FILE}
"""What an organization is, without ``-E`` for extended formats; all others are OTHER."""

_JOB_NOISE: Final = re.compile(
    r" *(?:-{2,}|ID +STEPNAME +PROCSTEP +C +DDNAME +BYTE-COUNT|\d{1,9} [Ss]pool [Ff]iles?"
    r"|STEPNAME +[^ ]{1,8} +PROCNAME +[^ ]{1,8}|CPUTIME +[^ ]+ +ELAPSED TIME +[^ ]+) *+"
)


@cache
def _data_set() -> re.Pattern[str]:
    return re.compile(
        rf"""
        (?P<volume>[^ ]{{1,6}})[ ]++(?P<unit>[^ ]{{4}})[ ]++
        (?P<referred>\d{{4}}/\d{{2}}/\d{{2}}|\*\*NONE\*\*)[ ]++
        (?:(?P<extents>\d{{1,3}})[ ]++(?P<used>\d{{1,7}}|\++)|(?P<allocation>\d{{1,10}}))[ ]++
        (?P<recfm>[A-Z?]{{1,4}})[ ]++(?P<lrecl>\d{{1,5}})[ ]++(?P<blksz>\d{{1,6}})[ ]++
        (?P<dsorg>[A-Z?]{{2,4}}(?:-[A-Z])?)[ ]++{_DATA_SET}[ ]*+
        """,
        re.ASCII | re.VERBOSE,
    )


@cache
def _member() -> re.Pattern[str]:
    return re.compile(
        rf"""
        [ ]*+{_MEMBER}
        (?:[ ]++(?P<version>\d{{2}}\.\d{{2}})[ ]++(?P<created>\d{{4}}/\d{{2}}/\d{{2}})[ ]++
           (?P<year>\d{{4}})/(?P<month>\d{{2}})/(?P<day>\d{{2}})[ ]++
           (?P<clock>\d{{2}}:\d{{2}}(?::\d{{2}})?)[ ]++
           (?P<records>\d{{1,8}})[ ]++(?P<init>\d{{1,8}})[ ]++(?P<mod>\d{{1,8}})
           [ ]++(?P<id>[^ ]{{1,8}}))?
        [ ]*+
        """,
        re.ASCII | re.VERBOSE,
    )


@cache
def _module() -> re.Pattern[str]:
    return re.compile(
        rf"""
        [ ]*+{_MEMBER}[ ]++(?P<size>[0-9A-F]{{6,8}})[ ]++(?P<ttr>[0-9A-F]{{6}})[ ]++
        (?:(?P<alias>[^ ]{{3,8}})[ ]++)?(?P<ac>\d{{2}})(?:[ ]++(?P<attributes>[^ ]{{1,8}}
        (?:[ ]++[^ ]{{1,8}}){{0,16}}?))?
        [ ]++(?P<amode>24|31|64|ANY|MIN)[ ]++(?P<rmode>24|31|64|ANY)[ ]*+
        """,
        re.ASCII | re.VERBOSE,
    )


@cache
def _job() -> re.Pattern[str]:
    return re.compile(
        rf"""
        (?P<job>[^ ]{{1,8}})[ ]++{_JOB}[ ]++(?:(?P<owner>[^ ]{{1,8}})[ ]++)??
        (?P<status>INPUT|ACTIVE|OUTPUT|HELD)
        (?(owner)(?:[ ]++(?P<class>[A-Z0-9]{{1,8}})(?![^ ]))?)(?:[ ]++(?P<result>[^ ].*))?
        """,
        re.ASCII | re.VERBOSE | re.DOTALL,
    )


@cache
def _spool_file() -> re.Pattern[str]:
    return re.compile(
        r"""
        [ ]++(?P<number>\d{3,5})[ ]++(?P<step>[^ ]{1,8})[ ]++(?:(?P<procstep>[^ ]{1,8})[ ]++)?
        (?P<class>[^ ])[ ]++(?P<ddname>[^ ]{1,8})[ ]++(?P<size>\d{1,12})[ ]*+
        """,
        re.ASCII | re.VERBOSE,
    )


def mvs_heading(text: str) -> ListFormat | None:
    """Return the format of the lines behind a heading; None if it is not one."""

    return _HEADINGS.get(" ".join(text.split()))


def match_data_set(text: str, dates: Dates, *, after_heading: bool = True) -> ListingEntry | None:
    """Return the entry of a line about a data set; None if it is not one (rules 1 to 3)."""

    del dates
    if match := _data_set().fullmatch(text):
        return _entry(match, _ORGANIZATIONS.get(match["dsorg"].partition("-")[0], EntryType.OTHER))

    state = _STATES.fullmatch(text) if after_heading else None
    if state is None:
        return None

    is_directory = state["state"] == "Pseudo Directory"
    return _entry(state, EntryType.DIRECTORY if is_directory else EntryType.OTHER)


def match_member(text: str, dates: Dates, *, after_heading: bool = True) -> ListingEntry | None:
    """Return the entry of a line about a member; None if it is not one (rules 1 and 2).

    Raises:
        InvalidData: It is one, but its date does not exist. Reply 451.
    """

    match = _member().fullmatch(text)
    if match is None or not (match["year"] or after_heading):
        return None

    modified = None
    if match["year"]:
        modified = dates.numbered(
            match["year"], match["month"], match["day"], match["clock"], text
        )

    return _entry(match, EntryType.FILE, modified=modified, owner=match["id"])


def match_module(text: str, dates: Dates) -> ListingEntry | None:
    """Return the entry of a line about a load module; None if it is not one (rule 1)."""

    del dates
    match = _module().fullmatch(text)
    return match and _entry(match, EntryType.FILE, size=int(match["size"], 16))


def match_job(text: str, dates: Dates) -> ListingEntry | None:
    """Return the entry of a line about a job; None if it is not one (rule 4)."""

    del dates
    match = _job().fullmatch(text.rstrip(" "))
    return match and _entry(match, EntryType.FILE, name=match["id"], owner=match["owner"])


def is_job_noise(text: str) -> bool:
    """Return whether a line belongs to the display of a job, and is no spool file of it."""

    return _JOB_NOISE.fullmatch(text) is not None


def match_spool_file(text: str, job: str) -> ListingEntry | None:
    """Return the entry of a line about a spool file of a job; None if it is not one (rule 4)."""

    match = _spool_file().fullmatch(text)
    return match and _entry(
        match,
        EntryType.FILE,
        name=f"{job}.{int(match['number'])}",
        size=number(match["size"], text),
    )


_SHOWN: Final = {"name", "size", "id", "owner", "year", "month", "day", "clock", "number"}
"""What the entry itself shows."""


def _entry(
    match: re.Match[str],
    kind: EntryType,
    *,
    name: str | None = None,
    size: int = 0,
    modified: float | None = None,
    owner: str | None = None,
) -> ListingEntry:
    details = {key: " ".join(value.split()) for key, value in match.groupdict().items()
               if value and key not in _SHOWN}  # fmt: skip
    return ListingEntry(
        name=name or match["name"],
        size=size,
        type=kind,
        modified=modified,
        owner=owner or "-",
        group="-",
        details=details,
    )
