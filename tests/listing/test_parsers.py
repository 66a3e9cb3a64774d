"""Parsers of listing lines, against what servers print."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftpdata.errors import InvalidData
from ftpdata.listing.entry import EntryType, ListingEntry, Permissions
from ftpdata.listing.parsers import (
    parse_eplf_line,
    parse_list_line,
    parse_msdos_line,
    parse_nlst_line,
    parse_unix_line,
)

NOW = datetime(2026, 11, 23, 4, 42, 50, tzinfo=UTC)


def moment(*calendar: int) -> float:
    """Give seconds since the epoch of a date in UTC."""

    return datetime(*calendar, tzinfo=UTC).timestamp()  # type: ignore[misc, arg-type]


RECENT = moment(2026, 11, 23, 4, 42)
OLD = moment(2020, 2, 29)


def entry(  # noqa: PLR0917 - a table of many entries
    name: str,
    size: int,
    modified: float,
    mode: int = 0o644,
    kind: str = "-",
    owner: str = "root",
    group: str = "root",
    links: int = 1,
    target: str | None = None,
) -> ListingEntry:
    """Make an entry in few words."""

    return ListingEntry(
        name=name,
        size=size,
        type=EntryType(kind),
        permissions=Permissions(mode),
        links=links,
        modified=modified,
        owner=owner,
        group=group,
        target=target,
    )


# What servers sent when they listed one and the same directory: a name with a leading blank, one
# with a blank within, a queue, a date in the future, links with arrows within, setuid, sticky.

CAPTURED = {
    "vsftpd 3.0.3": [
        (
            b"-rw-r--r--    1 0        0               0 Nov 23 04:42  lead",
            entry(" lead", 0, RECENT, owner="0", group="0"),
        ),
        (
            b"prw-------    1 0        0               0 Nov 23 04:42 fifo",
            entry("fifo", 0, RECENT, 0o600, "p", "0", "0"),
        ),
        (
            b"-rw-r--r--    1 0        0               0 Nov 26  2026 future",
            entry("future", 0, moment(2026, 11, 26), owner="0", group="0"),
        ),
        (
            b"lrwxrwxrwx    1 0        0               7 Nov 23 04:42 l -> k -> /x -> y",
            entry("l -> k", 7, RECENT, 0o777, "l", "0", "0", target="/x -> y"),
        ),
        (
            b"-rwsr-xr-x    1 0        0               0 Feb 29  2020 old",
            entry("old", 0, OLD, 0o4755, owner="0", group="0"),
        ),
        (
            b"drwxrwxrwt    2 0        0            4096 Nov 23 04:42 sub",
            entry("sub", 4096, RECENT, 0o1777, "d", "0", "0", links=2),
        ),
    ],
    "proftpd 1.3.8": [
        (
            b"-rw-r--r--   1 root     root            0 Nov 23 04:42 b c",
            entry("b c", 0, RECENT),
        ),
        (
            b"lrwxrwxrwx   1 root     root            1 Nov 23 04:42 link -> a",
            entry("link", 1, RECENT, 0o777, "l", target="a"),
        ),
        (
            b"-rwsr-xr-x   1 root     root            0 Feb 29  2020 old",
            entry("old", 0, OLD, 0o4755),
        ),
        (
            b"drwxrwxrwt   2 root     root         4096 Nov 23 04:42 sub",
            entry("sub", 4096, RECENT, 0o1777, "d", links=2),
        ),
    ],
    "pure-ftpd 1.0.50": [
        (
            b"-rw-r--r--    1 0          0                   2 Nov 23 04:42 a",
            entry("a", 2, RECENT, owner="0", group="0"),
        ),
        (
            b"lrwxrwxrwx    1 0          0                   7 Nov 23 04:42 l -> k -> /x -> y",
            entry("l -> k", 7, RECENT, 0o777, "l", "0", "0", target="/x -> y"),
        ),
        (
            b"drwxrwxrwt    2 0          0                4096 Nov 23 04:42 sub",
            entry("sub", 4096, RECENT, 0o1777, "d", "0", "0", links=2),
        ),
    ],
    "pyftpdlib 2": [
        (
            b"-rw-r--r--   1 root     root            0 Nov 23 04:42  lead",
            entry(" lead", 0, RECENT),
        ),
        (
            b"prw-------   1 root     root            0 Nov 23 04:42 fifo",
            entry("fifo", 0, RECENT, 0o600, "p"),
        ),
        (
            b"-rwsr-xr-x   1 root     root            0 Feb 29  2020 old",
            entry("old", 0, OLD, 0o4755),
        ),
        (  # a date in the future without its year: nothing tells it from last year's
            b"-rw-r--r--   1 root     root            0 Nov 26 04:42 future",
            entry("future", 0, moment(2025, 11, 26, 4, 42)),
        ),
    ],
    "aioftp": [
        (
            b"-rw-r--r-- 1 none none 0 Nov 23 04:42 b c",
            entry("b c", 0, RECENT, owner="none", group="none"),
        ),
        (
            b"drwxrwxrwt 2 none none 4096 Nov 23 04:42 sub",
            entry("sub", 4096, RECENT, 0o1777, "d", "none", "none", links=2),
        ),
        (
            b"-rwsr-xr-x 1 none none 0 Feb 29  2020 old",
            entry("old", 0, OLD, 0o4755, owner="none", group="none"),
        ),
    ],
    "Twisted": [
        (
            b"drwxrwxrwx   0 user      group                   0 Jan 01  1970 my resum\xc3\xa9",
            entry("my resumé", 0, 0, 0o777, "d", "user", "group", links=0),
        ),
        (
            b"-rwxr-xr-x12345 averylon  group                   5 Feb 03 01:02 x",
            entry("x", 5, moment(2026, 2, 3, 1, 2), 0o755, "-", "averylon", "group", links=12345),
        ),
    ],
}

# Lines as they stand in documentation and in other clients' tests.

COLLECTED = {
    "Solaris, with access control and mandatory locking": [
        (
            b"-rw-r-lr--+  1 root     other        531 Jan 29 03:26 README",
            entry("README", 531, moment(2026, 1, 29, 3, 26), 0o2644, group="other"),
        ),
        (
            b"Drw-r--r--   1 root     root           0 Jan 29  2020 door",
            entry("door", 0, moment(2020, 1, 29), kind="?"),
        ),
    ],
    "BSD ls, ls -lT, and its devices": [
        (
            b"crw-rw-rw-  1 root  wheel    3,   2 Nov 20 10:00 null",
            entry("null", 0, moment(2026, 11, 20, 10), 0o666, "c", group="wheel"),
        ),
        (
            b"brw-r-----  1 root  wheel  1,0 Nov 20 10:00 disk",
            entry("disk", 0, moment(2026, 11, 20, 10), 0o640, "b", group="wheel"),
        ),
        (
            b"-rw-r--r--@ 1 joe  staff  12 Jan  2 03:04:05 2020 f",
            entry("f", 12, moment(2020, 1, 2, 3, 4, 5), owner="joe", group="staff"),
        ),
        (
            b"-rw-r--r--  1 joe  staff  12  2 Jan 03:04 f",
            entry("f", 12, moment(2026, 1, 2, 3, 4), owner="joe", group="staff"),
        ),
        (
            b"-rw-r--r--  1 joe  staff  12  2 Jan  2020 f",
            entry("f", 12, moment(2020, 1, 2), owner="joe", group="staff"),
        ),
    ],
    "GNU ls with other time styles, SELinux' dot": [
        (
            b"-rw-r--r--. 1 root root 12 2020-01-02 03:04 f",
            entry("f", 12, moment(2020, 1, 2, 3, 4)),
        ),
        (
            b"-rw-r--r-- 1 root root 12 2020-01-02 03:04:05.250000000 -0130 f",
            entry("f", 12, moment(2020, 1, 2, 4, 34, 5) + 0.25),
        ),
        (
            b"-rw-r--r-- 1 root root 12 2020-01-02 03:04:05 +0100 f",
            entry("f", 12, moment(2020, 1, 2, 2, 4, 5)),
        ),
        (b"-rw-r--r-- 1 root root 12 11-20 03:04 f", entry("f", 12, moment(2026, 11, 20, 3, 4))),
        (b"-rw-r--r-- 1 root root 12 2020-01-02  f", entry("f", 12, moment(2020, 1, 2))),
    ],
    "groups with blanks, without a group, without either": [
        (
            b"-rw-r--r--   1 joe      Domain Users  12 Nov 20 10:00 f 1 Jan  1 2020",
            entry(
                "f 1 Jan  1 2020", 12, moment(2026, 11, 20, 10), 0o644, "-", "joe", "Domain Users"
            ),
        ),
        (
            b"-rw-r--r--   1 joe  12 Nov 20 10:00 f",
            entry("f", 12, moment(2026, 11, 20, 10), owner="joe", group="-"),
        ),
        (
            b"-rw-r--r--   1  12 Nov 20 10:00 f",
            entry("f", 12, moment(2026, 11, 20, 10), owner="-", group="-"),
        ),
    ],
    "NetPresenz for the Mac": [
        (
            b"-------r--         326  1391972  1392298 Nov 22  1995 MegaPhone.sit",
            entry("MegaPhone.sit", 1392298, moment(1995, 11, 22), 4, "-", "1391972", "-", 326),
        ),
        (
            b"drwxrwxr-x               folder        2 May 10  1996 network",
            entry("network", 2, moment(1996, 5, 10), 0o775, "d", "folder", "-"),
        ),
    ],
    "links without a target": [
        (
            b"lrwxrwxrwx   1 root root 9 Nov 20 10:00 link",
            entry("link", 9, moment(2026, 11, 20, 10), 0o777, "l"),
        ),
        (  # no size tells the arrows apart: the first one counts
            b"lrwxrwxrwx   1 root root 0 Nov 20 10:00 a -> b -> c",
            entry("a", 0, moment(2026, 11, 20, 10), 0o777, "l", target="b -> c"),
        ),
    ],
    "IIS and other Windows": [
        (
            b"01-31-26  05:04PM       <DIR>          name",
            entry("name", 0, moment(2026, 1, 31, 17, 4), 0o755, "d", "-", "-"),
        ),
        (
            b"02-14-2026  12:15AM                 1024  lead",
            entry(" lead", 1024, moment(2026, 2, 14, 0, 15), owner="-", group="-"),
        ),
        (
            b"12-05-99  12:00PM            1,024,000 a b",
            entry("a b", 1024000, moment(1999, 12, 5, 12), owner="-", group="-"),
        ),
        (
            b"7/4/1976  3:30 p          1.024 f",
            entry("f", 1024, moment(1976, 7, 4, 15, 30), owner="-", group="-"),
        ),
        (
            b"2026-01-31  17:04    <DIR>          name",
            entry("name", 0, moment(2026, 1, 31, 17, 4), 0o755, "d", "-", "-"),
        ),
        (
            rb"01-31-26  05:04PM    <JUNCTION>     Documents [C:\Users\x y]",
            entry(
                "Documents", 0, moment(2026, 1, 31, 17, 4), 0o644, "l", "-", "-", 1, r"C:\Users\x y"
            ),
        ),
        (
            b"01-31-26  05:04PM    <SYMLINKD>     Documents",
            entry("Documents", 0, moment(2026, 1, 31, 17, 4), 0o644, "l", "-", "-"),
        ),
        (
            b"01-31-26  05:04PM    <STRANGE>     x",
            entry("x", 0, moment(2026, 1, 31, 17, 4), 0o644, "?", "-", "-"),
        ),
    ],
}


@pytest.mark.parametrize(
    ("line", "expected"),
    [case for cases in (CAPTURED | COLLECTED).values() for case in cases],
)
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_lines_of_servers(line: bytes, expected: ListingEntry, end: bytes) -> None:
    """What servers print is understood, with any line end."""

    assert parse_list_line(line + end, now=NOW) == expected


EPLF = [
    (
        b"+i8388621.48594,m825718503,r,s280,\tdjb.html",
        ListingEntry(
            name="djb.html",
            size=280,
            modified=825718503,
            owner="-",
            group="-",
            unique="8388621.48594",
        ),
    ),
    (
        b"+i8388621.50690,m824255907,/,\t514",
        ListingEntry(
            name="514",
            type=EntryType.DIRECTORY,
            permissions=Permissions(0o755),
            modified=824255907,
            owner="-",
            group="-",
            unique="8388621.50690",
        ),
    ),
    (
        b"+x,unknown,up4711,upx,\t a\tb",
        ListingEntry(
            name=" a\tb",
            type=EntryType.OTHER,
            permissions=Permissions(0o4711),
            owner="-",
            group="-",
        ),
    ),
    (
        b"+r,up99,\tx",
        ListingEntry(name="x", owner="-", group="-"),
    ),
]


@pytest.mark.parametrize(("line", "expected"), EPLF)
def test_eplf(line: bytes, expected: ListingEntry) -> None:
    """The examples of its specification, and facts that are unknown or make no sense."""

    assert parse_list_line(line, now=NOW) == expected
    assert parse_eplf_line(line) == expected


@pytest.mark.parametrize(
    "line", [b"", b"\r\n", b"  ", b"total 12", b"total 0\r\n", b"total 1,024", b"total 1.2M"]
)
def test_noise_is_no_entry(line: bytes) -> None:
    """Known noise gives None."""

    assert parse_list_line(line, now=NOW) is None


def test_empty_lines_of_the_other_formats() -> None:
    """An empty line is never an entry."""

    assert parse_msdos_line(b" \r\n") is None
    assert parse_eplf_line(b" \r\n") is None
    assert parse_nlst_line(b"\r\n") is None


GOOD = b"-rw-r--r--   1 root root 12 Nov 20 10:00 name"


@pytest.mark.parametrize(
    "line",
    [
        b"ftpd: .: permission denied",
        b"total",
        b"total 12 name",
        b"-rw-r--r--   1 root root 12 Nov 20 10:00",
        b"-rw-r--r--   1 root root 12 Nov 20 10:00 ",
        b"-rw-r--r--   1 root root 12 Nov 31 10:00 x",
        b"-rw-r--r--   1 root root 12 Nov 31 2020 x",
        b"-rw-r--r--   1 root root 12 Nov 20 24:00 x",
        b"-rw-r--r--   1 root root 12 Feb 29 2023 x",
        b"-rw-r--r--   1 root root 12 Foo 20 10:00 x",
        b"-rw-r--r--   1 root root 12 13-20 10:00 x",
        b"-rw-r--r--   1 root root 12 2020-01-02 03:04:05 +2400 x",
        b"-rw-r--r--   1 root root 12 2020-01-02 03:04:05 +0060 x",
        b"-rw-r--r--   1 root root 123456789012345678901 Nov 20 10:00 x",
        b"-rw-r--r--   1 root root -12 Nov 20 10:00 x",
        "-rw-r--r--   1 root root \u0661\u0662 Nov 20 10:00 x".encode(),
        "-rw-r--r--   1 root root 12 Nov \u0661\u0662 10:00 x".encode(),
        b"zrw-r--r--   1 root root 12 Nov 20 10:00 x",
        GOOD + b"\n" + GOOD,
        b"01-31-26  05:04PM                      name",
        b"01-32-26  05:04PM       <DIR>          name",
        b"01-31-26  13:04PM       <DIR>          name",
        b"01-31-26  00:04AM       <DIR>          name",
        b"01-31-26  05:04PM       <DIR>          ",
        b"01-31-26  05:04PM   123456789012345678901 name",
        "\u00b9".encode(),
        b"+i1,r,s1",
        b"+i1,r,s1,\t",
        b"+i1,r,sx,\tname",
        b"+r,s,\tname",
        b"+r,m1e3,\tname",
        b"+r,m1234567890123456,\tname",
    ],
)
def test_what_is_no_entry(line: bytes) -> None:
    """Anything else is an error, with its reply code; never a guess."""

    with pytest.raises(InvalidData, match="expected") as caught:
        parse_list_line(line, now=NOW)
    assert caught.value.reply_code == 451


def test_parsers_by_name() -> None:
    """Each parser reads its own format, and that only."""

    assert parse_unix_line(GOOD, now=NOW) == parse_list_line(GOOD, now=NOW)
    msdos = b"01-31-26  05:04PM                    1 x"
    assert parse_msdos_line(msdos) == parse_list_line(msdos, now=NOW)
    with pytest.raises(InvalidData):
        parse_unix_line(msdos, now=NOW)
    with pytest.raises(InvalidData):
        parse_msdos_line(GOOD)
    with pytest.raises(InvalidData):
        parse_eplf_line(GOOD)


@pytest.mark.parametrize(
    ("now", "date", "expected"),
    [
        ((2026, 1, 1), b"Dec 31 23:59", (2025, 12, 31, 23, 59)),
        ((2025, 12, 31, 23), b"Jan  1 10:00", (2026, 1, 1, 10)),  # the server's clock is ahead
        ((2025, 12, 31, 9), b"Jan  1 10:00", (2025, 1, 1, 10)),  # by more than a day: no
        ((2026, 6, 1), b"Jun  1 23:59", (2026, 6, 1, 23, 59)),
        ((2026, 6, 1), b"Jun  3 00:00", (2025, 6, 3)),
        ((2024, 3, 1), b"Feb 29 12:00", (2024, 2, 29, 12)),
        ((2025, 3, 1), b"Feb 29 12:00", (2024, 2, 29, 12)),
        ((2024, 2, 1), b"Feb 29 12:00", (2020, 2, 29, 12)),
        ((1904, 2, 1), b"Feb 29 12:00", (1896, 2, 29, 12)),
        ((1, 1, 1), b"Feb 29 12:00", None),
    ],
)
def test_dates_without_a_year(
    now: tuple[int, ...], date: bytes, expected: tuple[int, ...] | None
) -> None:
    """They are the latest that is not in the future, 29 February included."""

    line = b"-rw-r--r-- 1 root root 12 " + date + b" x"
    present = datetime(*now, tzinfo=UTC)  # type: ignore[misc, arg-type]
    if expected is None:
        with pytest.raises(InvalidData):
            parse_list_line(line, now=present)
        return

    found = parse_list_line(line, now=present)
    assert found is not None
    assert found.modified == moment(*expected)


def test_zone_of_the_server() -> None:
    """Dates are in the zone that the caller says, winter and summer."""

    line = b"-rw-r--r-- 1 root root 12 %s x"
    for date, tz, expected in (
        (b"Nov 20 10:00", timedelta(hours=-5), (2026, 11, 20, 15)),
        (b"Jul 20 10:00", ZoneInfo("Europe/Berlin"), (2026, 7, 20, 8)),
        (b"Jan 20  2020", ZoneInfo("Europe/Berlin"), (2020, 1, 19, 23)),
    ):
        found = parse_list_line(line % date, now=NOW.timestamp(), tz=tz)
        assert found is not None
        assert found.modified == moment(*expected)

    found = parse_list_line(
        b"01-31-26  05:04PM       <DIR>          x", now=NOW, tz=timedelta(1) / 24
    )
    assert found is not None
    assert found.modified == moment(2026, 1, 31, 16, 4)


def test_names_are_kept_as_they_came() -> None:
    """Bytes that are no UTF-8, trailing blanks, a CR within, dots: as the server sent them."""

    for name in (b"\xff\xe9", b"trail  ", b"a\rb", b"..", b"\\012", b"-> x", b"a -> b"):
        found = parse_list_line(GOOD[:-4] + name, now=NOW)
        assert found is not None
        assert found.wire_name == name
        assert parse_nlst_line(name) == found.name


def test_nlst_lines_are_single() -> None:
    """A line end within is an error."""

    with pytest.raises(InvalidData):
        parse_nlst_line(b"a\nb")


@given(st.binary(max_size=80))
@settings(max_examples=400)
def test_any_bytes_are_an_entry_or_an_error(line: bytes) -> None:
    """No other exception, whatever a server sends."""

    for candidate in (line, GOOD[:41] + line, b"+" + line, b"01-31-26  05:04PM " + line):
        with contextlib.suppress(InvalidData):
            parse_list_line(candidate, now=NOW)


@given(st.integers(0, len(GOOD)), st.binary(max_size=4), st.integers(0, 6))
@settings(max_examples=400)
def test_damaged_lines(at: int, insertion: bytes, removed: int) -> None:
    """A line with damage is an entry or an error, too."""

    with contextlib.suppress(InvalidData):
        parse_list_line(GOOD[:at] + insertion + GOOD[at + removed :], now=NOW)


@pytest.mark.parametrize(
    "line",
    [
        b"-rw-r--r--" + b" " * 200_000,
        b"-rw-r--r-- " + b"1" * 200_000,
        b"-rw-r--r-- 1 " + b"a " * 100_000,
        b"-rw-r--r-- 1 " + b"1  " * 70_000,
        b"-rw-r--r-- 1 root root" + b" " * 200_000 + b"x",
        b"lrwxrwxrwx 1 root root 1 Nov 20 10:00 " + b" -> " * 20_000,
        b"01-31-26  05:04PM" + b" " * 200_000,
        b"01-31-26  05:04PM " + b"1," * 100_000,
        b"+" + b"," * 200_000,
        b"total " + b" " * 200_000,
        b"total " + b"1" * 200_000,
    ],
)
def test_hostile_lines_take_linear_time(line: bytes) -> None:
    """A long line does not stop the client."""

    began = time.process_time()
    with contextlib.suppress(InvalidData):
        parse_list_line(line, now=NOW)
    assert time.process_time() - began < 1.0
