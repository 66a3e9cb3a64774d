"""Lines of OS/400 (IBM i): blank columns, dates in the order of the server's job, and types."""

from __future__ import annotations

import pytest

from ftpdata.errors import InvalidData
from ftpdata.listing.entry import EntryType, ListingEntry
from ftpdata.listing.formats import parse_list_line
from ftpdata.listing.hints import DateOrder, ListFormat, ListingHints
from tests.harness.entries import LISTED, epoch

# Our own lines, in the columns of IBM i, Networking: File Transfer Protocol, "File and directory
# entries in IBM i format": owner (10), size (10), date (8), time (8), type (10) and name.
LINES: list[tuple[bytes, str, EntryType, int, str]] = [
    (b"ANNA          135168 08/31/19 13:18:19 *FILE      STOCK", "STOCK", EntryType.FILE,
     135168, "ANNA"),
    (b"ANNA              12 31.08.19 13:18:19 *STMF      a b.txt ", "a b.txt ", EntryType.FILE,
     12, "ANNA"),
    (b"QSYS           77824 31/08/19 13.18.19 *DIR       pub/", "pub", EntryType.DIRECTORY,
     77824, "QSYS"),
    (b"QSYS           77824 31-08-19 13,18,19 *FLR       DOCS", "DOCS", EntryType.DIRECTORY,
     77824, "QSYS"),
    (b"                  12 08/31/19 13:18:19 *STMF      x", "x", EntryType.FILE, 12, "-"),
    (b"QSYS                 08/31/19 13:18:19 *PGM       RUN", "RUN", EntryType.OTHER, 0, "QSYS"),
    (b"QSYS                 08/31/19 13:18:19 *FILE DATA/", "DATA", EntryType.DIRECTORY, 0, "QSYS"),
    (b"QSYS           77824 08/31/19 13:18:19 *DIR       /", "/", EntryType.DIRECTORY,
     77824, "QSYS"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "name", "kind", "size", "owner"), LINES)
@pytest.mark.parametrize("hints", [ListingHints(), ListingHints(format=ListFormat.OS400)])
def test_lines_of_os400(  # noqa: PLR0917 - a table
    line: bytes, name: str, kind: EntryType, size: int, owner: str, hints: ListingHints
) -> None:
    """The day can only be 31 August 2019, in whatever order."""

    found = parse_list_line(line, now=LISTED, hints=hints)
    assert found is not None
    assert (found.name, found.type, found.size, found.owner) == (name, kind, size, owner)
    assert found.modified == epoch(2019, 8, 31, 13, 18, 19)
    assert found.details["type"].startswith("*")
    assert "date" not in found.details


def test_a_member_has_a_name_and_an_owner_only() -> None:
    """It has neither a size nor a date."""

    assert parse_list_line(b"ANNA                 *MEM       STOCK.MBR", now=LISTED) == (
        ListingEntry(name="STOCK.MBR", owner="ANNA", group="-", details={"type": "*MEM"})
    )


LINE = b"ANNA              12 03/04/05 13:18:19 *STMF      x"


@pytest.mark.parametrize(
    ("order", "date"),
    [
        (DateOrder.MONTH_FIRST, (2005, 3, 4)),
        (DateOrder.DAY_FIRST, (2005, 4, 3)),
        (DateOrder.YEAR_FIRST, (2003, 4, 5)),
    ],
)
def test_the_order_is_that_of_the_hint(order: DateOrder, date: tuple[int, int, int]) -> None:
    """The caller knows the format of the job."""

    found = parse_list_line(LINE, now=LISTED, hints=ListingHints(date_order=order))
    assert found is not None
    assert found.modified == epoch(*date, 13, 18, 19)
    assert found.details == {"type": "*STMF"}


@pytest.mark.parametrize(
    ("date", "shown"),
    [
        (b"03/04/05", "03/04/05"),  # three days
        (b"19/243  ", "19/243"),  # the day of the year
        (b"40/50/60", "40/50/60"),  # none
    ],
)
def test_an_ambiguous_date_is_said_to_be_one(date: bytes, shown: str) -> None:
    """The entry has no date, and what the server wrote."""

    found = parse_list_line(LINE.replace(b"03/04/05", date), now=LISTED)
    assert found is not None
    assert (found.name, found.modified) == ("x", None)
    assert found.details == {"type": "*STMF", "date": f"{shown} 13:18:19"}


@pytest.mark.parametrize(
    ("order", "line"),
    [
        (DateOrder.DAY_FIRST, b"03-04-26  10:00AM       12 x"),
        (DateOrder.DAY_FIRST, b"-rw-r--r-- 1 a b 12 03-04-2026 10:00 x"),
        (None, b"-rw-r--r-- 1 a b 12 03-04-2026 10:00 x"),
        (None, b"03.04.26  10:00       12 x"),
        (DateOrder.MONTH_FIRST, b"04-03-26  10:00AM       12 x"),
        (DateOrder.MONTH_FIRST, b"-rw-r--r-- 1 a b 12 04-03-2026 10:00 x"),
        (None, b"04-03-26  10:00AM       12 x"),
    ],
)
def test_the_order_of_other_formats(order: DateOrder | None, line: bytes) -> None:
    """They have an order of their own where there is no hint."""

    found = parse_list_line(line, now=LISTED, hints=ListingHints(date_order=order))
    assert found is not None
    assert found.modified == epoch(2026, 4, 3, 10)


@pytest.mark.parametrize(
    "line",
    [
        b"ANNA              12 03/04/05 13:18:19 *STMF       x",  # x, or a blank and x?
        b"ls: *FILE not found",
        b"ANNA   *FILE      x",
        b"ANNA              12 03/04/05 13:18:19 *STMF      ",
        b"ANNA              12 03/04/05 13:18 *STMF      x",
        b"ANNA   12345678901234567890 03/04/05 13:18:19 *STMF      x",
    ],
)
@pytest.mark.parametrize("hints", [ListingHints(), ListingHints(format=ListFormat.OS400)])
def test_what_is_not_a_line_of_os400(line: bytes, hints: ListingHints) -> None:
    """What could have two meanings is an error."""

    with pytest.raises(InvalidData, match="expected"):
        parse_list_line(line, now=LISTED, hints=hints)


def test_names_keep_their_case() -> None:
    """OS/400 has both cases in its integrated file system."""

    hints = ListingHints(lower_case=True)
    found = parse_list_line(LINE.replace(b"x", b"X"), now=LISTED, hints=hints)
    assert found is not None
    assert found.name == "X"
