"""Listings of z/OS: data sets, members, load modules, jobs of JES and their spool files."""

from __future__ import annotations

import pytest

from ftpdata.errors import InvalidData
from ftpdata.listing.entry import EntryType, ListingEntry
from ftpdata.listing.formats import ListReader, parse_list_line
from ftpdata.listing.hints import ListFormat, ListingHints
from tests.harness.entries import LISTED, epoch

# Our own lines, in the columns that IBM shows: z/OS Communications Server: IP User's Guide and
# Commands (SC27-3662), DIR subcommand, its examples for data sets and members; PO-E: IBM technote
# 1468733; VSAM, migrated and pseudo directories: the notes of FileZilla's and FluentFTP's parsers.
DATA_SETS = b"""\
Volume Unit    Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname
WORK01 3390   2024/02/29  1   15  FB      80 27920  PS  SALES.Y2024.DATA
WORK01 3390   2024/02/29  2  158  FB      80 27920  PO  SALES.CNTL
WORK01 3390   2024/02/29  2  158  VBA    255 27998  PO-E  SALES.LIST
WORK02 3390   **NONE**    1    1  U        0  6144  DA  SALES.OLD
WORK02 3390   2024/02/29 163000  U         0  6144  PS  'PROD.BIG'
WORK02 3390                                        VSAM SALES.KSDS
Migrated                                                SALES.Y2001
Pseudo Directory                                        SALES.DEEP
V00001 Tape                                             SALES.TAPE
ARCIVE Not Direct Access Device                         SALES.Y1999
"""


def test_data_sets() -> None:
    """A library is a directory; what may be anything is OTHER; no last use is a change."""

    reader = ListReader(now=LISTED)
    found = [reader.read(line) for line in DATA_SETS.splitlines()]
    assert reader.format is ListFormat.MVS_DATA_SETS
    assert found[0] is None
    assert [(entry.name, entry.type.name) for entry in found if entry] == [
        ("SALES.Y2024.DATA", "FILE"),
        ("SALES.CNTL", "DIRECTORY"),
        ("SALES.LIST", "DIRECTORY"),
        ("SALES.OLD", "OTHER"),
        ("'PROD.BIG'", "FILE"),
        ("SALES.KSDS", "OTHER"),
        ("SALES.Y2001", "OTHER"),
        ("SALES.DEEP", "DIRECTORY"),
        ("SALES.TAPE", "OTHER"),
        ("SALES.Y1999", "OTHER"),
    ]
    assert all(entry.modified is None and entry.size == 0 for entry in found if entry)
    assert found[1] == ListingEntry(
        name="SALES.Y2024.DATA",
        owner="-",
        group="-",
        details={
            "volume": "WORK01",
            "unit": "3390",
            "referred": "2024/02/29",
            "extents": "1",
            "used": "15",
            "recfm": "FB",
            "lrecl": "80",
            "blksz": "27920",
            "dsorg": "PS",
        },
    )
    together = found[5]
    assert together is not None
    assert together.details["allocation"] == "163000", "one of two columns, and none knows where"
    vsam = found[6]
    assert vsam is not None
    assert vsam.details == {"volume": "WORK02", "unit": "3390", "state": "VSAM"}


@pytest.mark.parametrize("number", range(1, 6))
def test_a_data_set_with_all_columns_needs_no_heading(number: int) -> None:
    """Its columns show what it is."""

    line = DATA_SETS.splitlines()[number]
    hints = ListingHints(format=ListFormat.MVS_DATA_SETS)
    found = parse_list_line(line, now=LISTED)
    assert found is not None
    assert found == parse_list_line(line, now=LISTED, hints=hints)


@pytest.mark.parametrize("number", range(6, 11))
def test_the_others_need_one(number: int) -> None:
    """Two words may be anything: without the heading or a hint, there is no name."""

    line = DATA_SETS.splitlines()[number]
    with pytest.raises(InvalidData):
        parse_list_line(line, now=LISTED)


MEMBERS = b"""\
 Name     VV.MM   Created       Changed      Size  Init   Mod   Id
BUILD     01.03 2023/01/30 2024/02/29 12:34    15    10     0 ANNA
$RUN#1    02.00 2023/01/30 2024/02/29 12:34:56    15    10     0 ANNA
 EMPTY
"""


def test_members() -> None:
    """A size in records is no size in bytes; a member may have no statistics."""

    reader = ListReader(now=LISTED)
    found = [reader.read(line) for line in MEMBERS.splitlines()]
    assert reader.format is ListFormat.MVS_MEMBERS
    details = {"created": "2023/01/30", "records": "15", "init": "10", "mod": "0"}
    assert found == [
        None,
        ListingEntry(
            name="BUILD",
            modified=epoch(2024, 2, 29, 12, 34),
            owner="ANNA",
            group="-",
            details={"version": "01.03", **details},
        ),
        ListingEntry(
            name="$RUN#1",
            modified=epoch(2024, 2, 29, 12, 34, 56),
            owner="ANNA",
            group="-",
            details={"version": "02.00", **details},
        ),
        ListingEntry(name="EMPTY", owner="-", group="-"),
    ]
    assert parse_list_line(MEMBERS.splitlines()[1], now=LISTED) == found[1]
    with pytest.raises(InvalidData):
        parse_list_line(b" EMPTY", now=LISTED)


@pytest.mark.parametrize(
    "line",
    [
        b"BUILD     01.03 2023/01/30 2023/02/29 12:34    15    10     0 ANNA",
        b"BUILD     01.03 2023/01/30 2024/02/29 25:34    15    10     0 ANNA",
        b"TOOLONGNAME",
        b"TWO WORDS",
        b"A.B",
    ],
)
def test_what_is_not_a_member(line: bytes) -> None:
    """A heading makes no member of anything."""

    reader = ListReader(now=LISTED)
    reader.read(MEMBERS.splitlines()[0])
    with pytest.raises(InvalidData):
        reader.read(line)


MODULES = b"""\
 Name      Size     TTR   Alias-of AC --------- Attributes --------- Amode Rmode
SORTIT     005F48   000011 SORTER   00 FO             RN RU            31    ANY
SORTER     005F48   000011          01 FO                              24    24
"""


@pytest.mark.parametrize("heading", [MODULES.splitlines()[0],
    b" Name      Size   TTR   Alias-of AC--------- Attributes---------Amode Rmode"])  # fmt: skip
def test_load_modules(heading: bytes) -> None:
    """Their size is in bytes, in hexadecimal digits; an alias says of what."""

    reader = ListReader(now=LISTED)
    found = [reader.read(line) for line in (heading, *MODULES.splitlines()[1:])]
    assert reader.format is ListFormat.MVS_MODULES
    assert found == [
        None,
        ListingEntry(
            name="SORTIT",
            size=0x5F48,
            owner="-",
            group="-",
            details={
                "ttr": "000011",
                "alias": "SORTER",
                "ac": "00",
                "attributes": "FO RN RU",
                "amode": "31",
                "rmode": "ANY",
            },
        ),
        ListingEntry(
            name="SORTER",
            size=0x5F48,
            owner="-",
            group="-",
            details={
                "ttr": "000011", "ac": "01", "attributes": "FO", "amode": "24", "rmode": "24",
            },
        ),
    ]  # fmt: skip
    with pytest.raises(InvalidData, match="mvs modules"):
        reader.read(b"SORTER")


# JESINTERFACELEVEL 2: IP User's Guide and Commands, "Displaying the status of a job", and IBM's
# page on the differences of the levels (RETR and NLST take and give job identifiers).
JOBS = b"""\
JOBNAME  JOBID    OWNER    STATUS CLASS
ANNAA    JOB00061 ANNA     OUTPUT A        RC=0000 2 spool files
ANNAB    J0000062 ANNA     OUTPUT A        (JCL error) 3 spool files
ANNA     TSU00007 ANNA     ACTIVE TSU
ANNAC    JOB00063 ANNA     INPUT  A        -HELD-
"""


def test_jobs() -> None:
    """A job's name is what RETR takes: its identifier."""

    reader = ListReader(now=LISTED)
    found = [reader.read(line) for line in JOBS.splitlines()]
    assert reader.format is ListFormat.MVS_JOBS
    assert found[:2] == [
        None,
        ListingEntry(
            name="JOB00061",
            owner="ANNA",
            group="-",
            details={
                "job": "ANNAA",
                "status": "OUTPUT",
                "class": "A",
                "result": "RC=0000 2 spool files",
            },
        ),
    ]
    assert [(entry.name, entry.details["status"]) for entry in found[2:] if entry] == [
        ("J0000062", "OUTPUT"),
        ("TSU00007", "ACTIVE"),
        ("JOB00063", "INPUT"),
    ]
    for number in range(1, 5):
        assert parse_list_line(JOBS.splitlines()[number], now=LISTED) == found[number]


def test_jobs_of_the_first_level() -> None:
    """JESINTERFACELEVEL 1 has neither a heading nor an owner."""

    found = parse_list_line(b"ANNAA    JOB00061  OUTPUT    3 Spool Files", now=LISTED)
    assert found is not None
    assert (found.name, found.owner) == ("JOB00061", "-")
    assert found.details == {"job": "ANNAA", "status": "OUTPUT", "result": "3 Spool Files"}


SPOOL = b"""\
JOBNAME  JOBID    OWNER    STATUS CLASS
ANNAA    JOB00061 ANNA     OUTPUT A        RC=0000
--------
         ID  STEPNAME PROCSTEP C DDNAME   BYTE-COUNT
         001 JES2              A JESMSGLG       975
         102 STEP1    RUN      B SYSPRINT     12345
2 spool files
"""


def test_spool_files_of_a_job() -> None:
    """Their names are the job's with their numbers, as GET JOB00061.102 takes them."""

    reader = ListReader(now=LISTED, hints=ListingHints(lower_case=True))
    found = [reader.read(line) for line in SPOOL.splitlines()]
    assert [(entry.name, entry.size) for entry in found if entry] == [
        ("job00061", 0),
        ("job00061.1", 975),
        ("job00061.102", 12345),
    ]
    assert found[5] is not None
    assert found[5].details == {"step": "STEP1", "procstep": "RUN", "class": "B",
                                "ddname": "SYSPRINT"}  # fmt: skip
    assert found[5].type is EntryType.FILE


def test_a_spool_file_without_its_job_has_no_name() -> None:
    """Its name begins with that of its job."""

    reader = ListReader(now=LISTED, hints=ListingHints(format=ListFormat.MVS_JOBS))
    with pytest.raises(InvalidData, match="mvs jobs"):
        reader.read(SPOOL.splitlines()[4])


ACTIVE = b"""\
JOBNAME  JOBID    OWNER    STATUS CLASS
ANNAB    JOB00064 ANNA     ACTIVE A
--------
        STEPNAME STEP1    PROCNAME        N/A
        CPUTIME     0.012 ELAPSED TIME    117.515
"""


def test_what_runs_has_no_spool_files() -> None:
    """The step that runs is no entry."""

    reader = ListReader(now=LISTED)
    found = [reader.read(line) for line in ACTIVE.splitlines()]
    assert [entry.name for entry in found if entry] == ["JOB00064"]


def test_the_next_heading_counts() -> None:
    """A listing may hold several."""

    reader = ListReader(now=LISTED)
    for line in (MEMBERS + DATA_SETS + MEMBERS).splitlines():
        reader.read(line)

    assert reader.format is ListFormat.MVS_MEMBERS
    assert reader.read(b"") is None
