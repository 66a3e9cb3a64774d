"""Unix lines of LIST: today's rules, Twisted's to the byte, many lines, and other servers."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.protocols import ftp as twisted_ftp
from twisted.python.filepath import Permissions as TwistedPermissions

from ftpdata.errors import InvalidData
from ftpdata.listing import unix
from ftpdata.listing._names import NamePolicy, field_word, safe_name
from ftpdata.listing.entry import EntryType, ListingEntry, Permissions
from ftpdata.listing.formats import parse_list_line
from ftpdata.listing.hints import DateOrder, ListingHints
from ftpdata.listing.unix import ListFormatter, ListingRules, format_list_line
from tests.harness.entries import EVIL, LISTED, NOW, entries, entry, epoch, zones
from tests.harness.packages import needs_cpython


def list_line(entry: ListingEntry, *, name_policy: NamePolicy = NamePolicy.ESCAPE) -> bytes | None:
    """Write a line of LIST in the unix format."""

    return format_list_line(entry, now=NOW, name_policy=name_policy)


def twisted_line(
    entry: ListingEntry, *, name_policy: NamePolicy = NamePolicy.ESCAPE
) -> bytes | None:
    """Write a line of LIST in the unix format, by Twisted's rules."""

    return format_list_line(entry, now=NOW, rules=ListingRules.TWISTED, name_policy=name_policy)


# Writing: today's rules


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (
            ListingEntry(name="a b", size=12, modified=epoch(2026, 1, 31, 17, 4)),
            b"-rw-r--r--   1 ftp       ftp                    12 Jan 31 17:04 a b",
        ),
        (
            ListingEntry(
                name=" lead ",
                type=EntryType.DIRECTORY,
                permissions=Permissions(0o1777),
                links=12345,
                modified=epoch(1999, 12, 5),
                owner="a very long owner",
                group=b"domain users",
                size=4096,
            ),
            b"drwxrwxrwt 12345 a_very_long_owner domain_users            4096 Dec  5  1999  lead ",
        ),
        (
            ListingEntry(
                name="link",
                type=EntryType.SYMLINK,
                permissions=Permissions(0o777),
                target="../x y",
                modified=epoch(2026, 1, 1),
            ),
            b"lrwxrwxrwx   1 ftp       ftp                     0 Jan  1 00:00 link -> ../x y",
        ),
        (
            ListingEntry(name="f", target="ignored", permissions=Permissions(0o6755), owner=""),
            b"-rwsr-sr-x   1 -         ftp                     0 Jan  1  1970 f",
        ),
    ],
)
def test_default_line(entry: ListingEntry, line: bytes) -> None:
    """Columns, letters, dates, targets and words are those of ls."""

    assert list_line(entry) == line


@pytest.mark.parametrize(
    ("entry_type", "letter"),
    [
        (EntryType.FILE, b"-"),
        (EntryType.DIRECTORY, b"d"),
        (EntryType.SYMLINK, b"l"),
        (EntryType.BLOCK, b"b"),
        (EntryType.CHAR, b"c"),
        (EntryType.FIFO, b"p"),
        (EntryType.SOCKET, b"s"),
        (EntryType.OTHER, b"?"),
    ],
)
def test_every_type_has_its_letter(entry_type: EntryType, letter: bytes) -> None:
    """No special file is mistaken for a regular one."""

    line = list_line(ListingEntry(name="x", type=entry_type))
    assert line is not None
    assert line.startswith(letter + b"rw-r--r-- ")


MINUTE = 60.0
SIX_MONTHS = 31_556_952 // 2 // 60 * 60


@pytest.mark.parametrize(
    ("seconds_from_now", "date"),
    [
        (0, b"Jan 31 17:04"),
        (54, b"Jan 31 17:04"),  # the same minute: a line cannot distinguish it from now
        (55, b"Jan 31  2026"),
        (3 * 86400, b"Feb  3  2026"),
        (-SIX_MONTHS + 60, b"Aug  2 02:11"),
        (-SIX_MONTHS, b"Aug  2  2025"),
        (-SIX_MONTHS - 60, b"Aug  2  2025"),
        (-86400 * 31, b"Dec 31 17:04"),  # last year, and still with its time
    ],
)
def test_six_month_rule(seconds_from_now: float, date: bytes) -> None:
    """The time is shown for the last six months, the year for older and future dates."""

    line = list_line(ListingEntry(name="x", modified=NOW.timestamp() + seconds_from_now))
    assert line is not None
    assert line[-14:-2] == date


def test_the_new_year_changes_nothing() -> None:
    """Yesterday's file has its time on 1 January, unlike with Twisted's rules."""

    entry = ListingEntry(name="x", modified=epoch(2025, 12, 31, 23, 59))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert (format_list_line(entry, now=now) or b"")[-14:] == b"Dec 31 23:59 x"
    line = format_list_line(entry, now=now, rules=ListingRules.TWISTED)
    assert (line or b"")[-14:] == b"Dec 31  2025 x"


@pytest.mark.parametrize(
    ("tz", "date"),
    [
        (UTC, b"Jan  1 00:30"),
        (timedelta(0), b"Jan  1 00:30"),
        (timedelta(hours=-1), b"Dec 31 23:30"),
        (timezone(timedelta(hours=5, minutes=45)), b"Jan  1 06:15"),
        (ZoneInfo("Europe/Berlin"), b"Jan  1 01:30"),
    ],
)
def test_zone_of_dates(tz: timezone | timedelta, date: bytes) -> None:
    """Dates are in the requested zone."""

    entry = ListingEntry(name="x", modified=epoch(2026, 1, 1, 0, 30))
    assert (format_list_line(entry, now=NOW, tz=tz) or b"")[-14:-2] == date


def test_zone_with_summer_time() -> None:
    """Each date has the offset of its own day."""

    formatter = ListFormatter(
        now=datetime(2026, 4, 1, 12, tzinfo=UTC), tz=ZoneInfo("Europe/Berlin")
    )
    winter = ListingEntry(name="x", modified=epoch(2026, 3, 29, 0, 59))
    summer = ListingEntry(name="x", modified=epoch(2026, 3, 29, 1, 0))
    assert (formatter.format(winter) or b"")[-14:] == b"Mar 29 01:59 x"
    assert (formatter.format(summer) or b"")[-14:] == b"Mar 29 03:00 x"


@pytest.mark.parametrize(
    ("seconds", "date"),
    [
        (-0.5, b"Dec 31  1969"),
        (253402300800.0, b"Jan  1 10000"),
        (-62135596801.0, b"Dec 31     0"),
        (2.0**63, b"Dec  4 292277026596"),
    ],
)
@pytest.mark.parametrize("tz", [UTC, timedelta(0), ZoneInfo("Europe/Paris")])
def test_dates_that_datetime_cannot_hold(
    seconds: float, date: bytes, tz: timezone | timedelta
) -> None:
    """A broken time stamp breaks no listing."""

    if seconds != -0.5 or tz in {UTC, timedelta(0)}:
        line = format_list_line(ListingEntry(name="x", modified=seconds), now=NOW, tz=tz)
        assert (line or b"").endswith(b" " + date + b" x")


def test_a_moment_needs_a_zone() -> None:
    """A date without a zone is refused instead of guessed."""

    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - what is refused
    with pytest.raises(ValueError, match="zone"):
        ListFormatter(now=naive)
    with pytest.raises(ValueError, match="zone"):
        list_line(ListingEntry(name="x", modified=naive))


def test_dates_and_seconds_are_one() -> None:
    """`now` and `modified` may be dates or seconds."""

    moment = datetime(2026, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=3)))
    by_date = format_list_line(ListingEntry(name="x", modified=moment), now=NOW)
    by_seconds = format_list_line(
        ListingEntry(name="x", modified=int(moment.timestamp())), now=NOW.timestamp()
    )
    assert by_date == by_seconds
    assert (by_date or b"")[-14:] == b"Jan  2 00:04 x"


# Writing: Twisted's rules


def twisted_now(monkeypatch: pytest.MonkeyPatch, now: float) -> twisted_ftp.DTP:
    """Return Twisted's DTP, for which it is `now`."""

    def gmtime(seconds: float = now) -> time.struct_time:
        return time.gmtime(seconds)

    monkeypatch.setattr(twisted_ftp, "time", SimpleNamespace(gmtime=gmtime))
    return twisted_ftp.DTP()


def random_entry(source: random.Random, now: float) -> ListingEntry:
    """Return an entry of any kind, without control characters."""

    owners = ["root", "averylongowner", "é ü", "ÿ" * 9, "Domain Users", "", "1000", "Ã©Ã©Ã©Ã©x"]
    names = ["x", "a b", " lead", "-> x", "é", "日本語", "\u3000", "\\o12", "e\u0301" * 80]
    name: str | bytes = source.choice(names) + str(source.randrange(100))
    if source.random() < 0.4:
        name = bytes(source.choice([*range(0x20, 0x7F), *range(0xA0, 0x100)]) for _ in range(9))

    return ListingEntry(
        name=name,
        size=source.choice([0, 1, 4096, 10**15 - 1, 10**15, 2**63, source.randrange(10**10)]),
        type=source.choice(list(EntryType)),
        permissions=Permissions(source.randrange(0o10000)),
        links=source.choice([0, 1, 2, 999, 1000, 9999, 10000, 12345678]),
        modified=source.choice(
            [
                0,
                -0.5,
                -1e9,
                now,
                now + 1e6,
                now + source.uniform(-4e7, 4e7),
                source.uniform(-6e10, 6e11),
                float(source.randrange(-(10**10), 10**10)),
            ]
        ),
        owner=source.choice(owners),
        group=source.choice(owners),
        target=source.choice([None, "target"]),
    )


@pytest.mark.parametrize(
    "now",
    [
        epoch(2026, 1, 1),
        epoch(2025, 12, 31, 23, 59, 59) + 0.9,
        epoch(2024, 2, 29, 12),
        epoch(1969, 12, 31, 23, 59, 59),
    ],
)
@needs_cpython("PyPy rounds the fraction of a moment before 1970 up")
def test_twisted_rules_equal_twisted(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    """The lines of 3,000 entries at each of four moments equal those of Twisted's DTP."""

    source = random.Random(repr(now))
    dtp = twisted_now(monkeypatch, now)
    formatter = ListFormatter(now=now, rules=ListingRules.TWISTED)
    entries = [random_entry(source, now) for _ in range(3000)]
    expected = [
        dtp._formatOneListResponse(  # type: ignore[no-untyped-call]
            entry.wire_name,
            entry.size,
            entry.is_directory,
            TwistedPermissions(entry.permissions),
            entry.links,
            entry.modified,
            entry.owner,
            entry.group,
        )
        for entry in entries
    ]
    assert [formatter.format(entry) for entry in entries] == expected
    assert formatter.format_block(entries) == b"".join(line + b"\r\n" for line in expected)


def test_the_line_that_twisteds_own_tests_assert() -> None:
    """The reference line of Twisted's test suite is written exactly."""

    entry = ListingEntry(
        name=b"my resum\xc3\xa9",
        type=EntryType.DIRECTORY,
        permissions=Permissions(0o777),
        links=0,
        modified=0,
        owner="user",
        group="group",
    )
    assert (
        twisted_line(entry)
        == b"drwxrwxrwx   0 user      group                   0 Jan 01  1970 my resum\xc3\xa9"
    )


def test_where_twisted_rules_differ_from_twisted() -> None:
    """Owners cannot have a line end, need not be latin-1, and may be bytes."""

    entry = ListingEntry(name="x", owner="a\r\nb\x85", group="日本")
    assert b" a__b_     ??        " in (twisted_line(entry) or b"")
    assert (twisted_line(ListingEntry(name="\\012")) or b"").endswith(rb" \134012")
    entry = ListingEntry(name="x", owner=b"a\nb", group=b"\xc3\xa9")
    assert b" a_b       \xe9         " in (twisted_line(entry) or b"")


def test_twisted_rules_know_utc_only() -> None:
    """Another zone is an error, not a surprise."""

    with pytest.raises(ValueError, match="UTC"):
        ListFormatter(now=NOW, rules=ListingRules.TWISTED, tz=timedelta(hours=1))
    ListFormatter(now=NOW, rules=ListingRules.TWISTED, tz=timedelta(0))


# Writing: one line for one entry


def test_skip_looks_at_targets() -> None:
    """A link whose target could forge an entry is left out; the rest of the block stays."""

    bad = ListingEntry(name="l", type=EntryType.SYMLINK, target=EVIL)
    good = ListingEntry(name="ok")
    formatter = ListFormatter(now=NOW, name_policy=NamePolicy.SKIP)
    assert formatter.format(bad) is None
    assert formatter.format_block([bad, good, ListingEntry(name="\n")]).count(b"\r\n") == 1
    assert list(formatter.format_blocks([bad])) == []


@given(
    st.text(), st.text(), st.text() | st.none(), st.sampled_from([*ListingRules]),
    st.sampled_from([*NamePolicy]),
)  # fmt: skip
@settings(max_examples=300)
def test_no_field_can_make_a_second_line(
    name: str, owner: str, target: str | None, rules: ListingRules, policy: NamePolicy
) -> None:
    """Whatever name, owner and target are, there is one line, by any splitting rule."""

    entry = ListingEntry(name=name, owner=owner, group=owner, target=target, type=EntryType.SYMLINK)
    line = format_list_line(entry, now=NOW, rules=rules, name_policy=policy)
    if line is not None:
        assert len(line.decode("utf-8", "surrogateescape").splitlines()) == 1
        assert len(line.splitlines()) == 1


# Writing: many entries


def test_blocks_equal_lines() -> None:
    """Blocks have the lines of `format`, each with its CR LF, in order and of bounded size."""

    entries = [ListingEntry(name=f"f{n}", modified=NOW.timestamp() - 1e5 * n) for n in range(1030)]
    formatter = ListFormatter(now=NOW)
    lines = [formatter.format(entry) for entry in entries]
    blocks = list(formatter.format_blocks(iter(entries)))
    assert [block.count(b"\r\n") for block in blocks] == [512, 512, 6]
    assert b"".join(blocks).split(b"\r\n") == [*lines, b""]
    assert lines == [list_line(entry) for entry in entries]
    assert formatter.format_block([]) == b""


def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million owners or days do not stay in memory, and the lines stay correct."""

    monkeypatch.setattr(unix, "CACHE_LIMIT", 4)
    formatter = ListFormatter(now=NOW)
    some = [ListingEntry(name="x", owner=str(n), modified=n * 86400.5) for n in range(50)]
    for one in some:
        assert formatter.format(one) == list_line(one)
        assert len(formatter._prefixes) <= 4


# Reading

RECENT = epoch(2026, 11, 23, 4, 42)
OLD = epoch(2020, 2, 29)

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
            entry("future", 0, epoch(2026, 11, 26), owner="0", group="0"),
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
        (  # a future date without its year, which looks like last year's
            b"-rw-r--r--   1 root     root            0 Nov 26 04:42 future",
            entry("future", 0, epoch(2025, 11, 26, 4, 42)),
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
            entry("x", 5, epoch(2026, 2, 3, 1, 2), 0o755, "-", "averylon", "group", links=12345),
        ),
    ],
}

# Lines from documentation and from the tests of other clients.

COLLECTED = {
    "Solaris, with access control and mandatory locking": [
        (
            b"-rw-r-lr--+  1 root     other        531 Jan 29 03:26 README",
            entry("README", 531, epoch(2026, 1, 29, 3, 26), 0o2644, group="other"),
        ),
        (
            b"Drw-r--r--   1 root     root           0 Jan 29  2020 door",
            entry("door", 0, epoch(2020, 1, 29), kind="?"),
        ),
    ],
    "BSD ls, ls -lT, and its devices": [
        (
            b"crw-rw-rw-  1 root  wheel    3,   2 Nov 20 10:00 null",
            entry("null", 0, epoch(2026, 11, 20, 10), 0o666, "c", group="wheel"),
        ),
        (
            b"brw-r-----  1 root  wheel  1,0 Nov 20 10:00 disk",
            entry("disk", 0, epoch(2026, 11, 20, 10), 0o640, "b", group="wheel"),
        ),
        (
            b"-rw-r--r--@ 1 joe  staff  12 Jan  2 03:04:05 2020 f",
            entry("f", 12, epoch(2020, 1, 2, 3, 4, 5), owner="joe", group="staff"),
        ),
        (
            b"-rw-r--r--  1 joe  staff  12  2 Jan 03:04 f",
            entry("f", 12, epoch(2026, 1, 2, 3, 4), owner="joe", group="staff"),
        ),
        (
            b"-rw-r--r--  1 joe  staff  12  2 Jan  2020 f",
            entry("f", 12, epoch(2020, 1, 2), owner="joe", group="staff"),
        ),
    ],
    "GNU ls with other time styles, SELinux' dot": [
        (
            b"-rw-r--r--. 1 root root 12 2020-01-02 03:04 f",
            entry("f", 12, epoch(2020, 1, 2, 3, 4)),
        ),
        (
            b"-rw-r--r-- 1 root root 12 2020-01-02 03:04:05.250000000 -0130 f",
            entry("f", 12, epoch(2020, 1, 2, 4, 34, 5) + 0.25),
        ),
        (
            b"-rw-r--r-- 1 root root 12 2020-01-02 03:04:05 +0100 f",
            entry("f", 12, epoch(2020, 1, 2, 2, 4, 5)),
        ),
        (b"-rw-r--r-- 1 root root 12 11-20 03:04 f", entry("f", 12, epoch(2026, 11, 20, 3, 4))),
        (b"-rw-r--r-- 1 root root 12 2020-01-02  f", entry("f", 12, epoch(2020, 1, 2))),
    ],
    "groups with blanks, without a group, without either": [
        (
            b"-rw-r--r--   1 joe      Domain Users  12 Nov 20 10:00 f 1 Jan  1 2020",
            entry(
                "f 1 Jan  1 2020", 12, epoch(2026, 11, 20, 10), 0o644, "-", "joe", "Domain Users"
            ),
        ),
        (
            b"-rw-r--r--   1 joe  12 Nov 20 10:00 f",
            entry("f", 12, epoch(2026, 11, 20, 10), owner="joe", group="-"),
        ),
        (
            b"-rw-r--r--   1  12 Nov 20 10:00 f",
            entry("f", 12, epoch(2026, 11, 20, 10), owner="-", group="-"),
        ),
    ],
    "NetPresenz for the Mac": [
        (
            b"-------r--         326  1391972  1392298 Nov 22  1995 MegaPhone.sit",
            entry("MegaPhone.sit", 1392298, epoch(1995, 11, 22), 4, "-", "1391972", "-", 326),
        ),
        (
            b"drwxrwxr-x               folder        2 May 10  1996 network",
            entry("network", 2, epoch(1996, 5, 10), 0o775, "d", "folder", "-"),
        ),
    ],
    "dates as other languages and other servers write them": [
        (
            b"-rw-r--r--   1 joe users 12 Sept 20 10:00 f",
            entry("f", 12, epoch(2026, 9, 20, 10), owner="joe", group="users"),
        ),
        (
            b"-rw-r--r--   1 joe users 12 20 septembre 2020 f",
            entry("f", 12, epoch(2020, 9, 20), owner="joe", group="users"),
        ),
        (
            b"-rw-r--r--   1 joe users 12 December 20 2020 f",
            entry("f", 12, epoch(2020, 12, 20), owner="joe", group="users"),
        ),
        (
            b"dr-xr-xr-x   2 joe users  2235 26. Juli, 20:10 f",
            entry("f", 2235, epoch(2026, 7, 26, 20, 10), 0o555, "d", "joe", "users", 2),
        ),
        (
            b"-rw-r--r--   1 joe users 12 2.   Okt.  2003 f",
            entry("f", 12, epoch(2003, 10, 2), owner="joe", group="users"),
        ),
        (
            b"-rw-r--r--   1 joe users 12 30. Jan., 12:40 2014 f",
            entry("2014 f", 12, epoch(2026, 1, 30, 12, 40), owner="joe", group="users"),
        ),
        (
            "-rw-r--r--   1 joe users 12 févr. 20 10:00 f".encode("latin-1"),
            entry("f", 12, epoch(2026, 2, 20, 10), owner="joe", group="users"),
        ),
        (
            "-rw-r--r--   1 joe users 12 ИЮЛ 20 2020 ф".encode(),
            entry("ф", 12, epoch(2020, 7, 20), owner="joe", group="users"),
        ),
        (
            "-rw-r--r--   1 joe users 12 11月 20 10:00 f".encode(),
            entry("f", 12, epoch(2026, 11, 20, 10), owner="joe", group="users"),
        ),
        (
            "-rw-r--r--   1 joe users 12 1月 20日 2020年 f".encode(),
            entry("f", 12, epoch(2020, 1, 20), owner="joe", group="users"),
        ),
        (
            "-rw-r--r--   1 joe users 12 2005년  1월  6일 f".encode(),
            entry("f", 12, epoch(2005, 1, 6), owner="joe", group="users"),
        ),
        (
            b"-rw-r--r--   1 joe users 12 Oct 08, 2002 09:47 f",
            entry("f", 12, epoch(2002, 10, 8, 9, 47), owner="joe", group="users"),
        ),
        (
            b"-rw-r--r--   1 joe users 12 1999/10/12 17:12 f",
            entry("f", 12, epoch(1999, 10, 12, 17, 12), owner="joe", group="users"),
        ),
        (
            b"-rw-r--r--   1 joe users 12 04-05-2003 17:12 f",
            entry("f", 12, epoch(2003, 5, 4, 17, 12), owner="joe", group="users"),
        ),
    ],
    "sizes with a unit": [
        (
            b"-rw-r--r--   1 joe users 33.5k Oct 5 21:22 f",
            entry("f", 34304, epoch(2026, 10, 5, 21, 22), owner="joe", group="users"),
        ),
        (
            b"-rw-r--r--   1 joe users 1,5M Oct 5 21:22 f",
            entry("f", 1536 * 1024, epoch(2026, 10, 5, 21, 22), owner="joe", group="users"),
        ),
        (
            b"-rw-r--r--   1 joe users 2GiB Oct 5 21:22 f",
            entry("f", 2 << 30, epoch(2026, 10, 5, 21, 22), owner="joe", group="users"),
        ),
    ],
    "no letter for the type": [
        (
            b"rw-r--r--   1 joe users 12 Nov 20 10:00 f",
            entry("f", 12, epoch(2026, 11, 20, 10), 0o644, "?", "joe", "users"),
        ),
        (
            b"---------   1 joe users 12 Nov 20 10:00 f",
            entry("f", 12, epoch(2026, 11, 20, 10), 0, "?", "joe", "users"),
        ),
    ],
    "links without a target": [
        (
            b"lrwxrwxrwx   1 root root 9 Nov 20 10:00 link",
            entry("link", 9, epoch(2026, 11, 20, 10), 0o777, "l"),
        ),
        (  # no size distinguishes the arrows: the first one counts
            b"lrwxrwxrwx   1 root root 0 Nov 20 10:00 a -> b -> c",
            entry("a", 0, epoch(2026, 11, 20, 10), 0o777, "l", target="b -> c"),
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

    assert parse_list_line(line + end, now=LISTED) == expected


GOOD = b"-rw-r--r--   1 root root 12 Nov 20 10:00 name"


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
    """They get the latest year that is not in the future, also on 29 February."""

    line = b"-rw-r--r-- 1 root root 12 " + date + b" x"
    present = datetime(*now, tzinfo=UTC)  # type: ignore[misc, arg-type]
    if expected is None:
        with pytest.raises(InvalidData):
            parse_list_line(line, now=present)
        return

    found = parse_list_line(line, now=present)
    assert found is not None
    assert found.modified == epoch(*expected)


# Round trip


def shown_moment(moment: float, tz: timezone) -> float:
    """Return what a unix line says of a moment, without the writer's arithmetic."""

    minute = datetime.fromtimestamp(0, UTC) + timedelta(minutes=moment // 60)
    this_minute = NOW.replace(second=0)
    half_a_year = timedelta(seconds=SIX_MONTHS)
    if not this_minute - half_a_year < minute <= this_minute:
        minute = minute.astimezone(tz).replace(hour=0, minute=0)

    return minute.timestamp()


@given(entries(), zones)
@settings(max_examples=600)
def test_unix_round_trip(entry: ListingEntry, tz: timezone) -> None:
    """What is written is read back: names exactly, dates as precisely as they are shown."""

    line = format_list_line(entry, now=NOW, tz=tz)
    assert line is not None
    assert isinstance(entry.modified, float)
    assert parse_list_line(line, now=NOW, tz=tz) == attrs.evolve(
        entry,
        name=safe_name(entry.name, NamePolicy.ESCAPE) or "",
        target=entry.target and safe_name(entry.target, NamePolicy.ESCAPE),
        owner=field_word(entry.owner),
        group=field_word(entry.group),
        modified=shown_moment(entry.modified, tz),
    )


@pytest.mark.parametrize(
    ("date", "order", "expected"),
    [
        (b"29/01/2003 03:26", None, (2003, 1, 29, 3, 26)),
        (b"01/29/2003 03:26", None, (2003, 1, 29, 3, 26)),
        (b"03/03/2003 03:26", None, (2003, 3, 3, 3, 26)),
        (b"03/04/2003 03:26", DateOrder.DAY_FIRST, (2003, 4, 3, 3, 26)),
        (b"03/04/2003 03:26", DateOrder.MONTH_FIRST, (2003, 3, 4, 3, 26)),
        (b"03/04/2003 03:26", None, None),
    ],
)
def test_a_date_with_strokes(
    date: bytes, order: DateOrder | None, expected: tuple[int, ...] | None
) -> None:
    """Its order is that of the hint, or the only one that makes a date; else there is no date."""

    line = b"-rw-r--r-- 1 root other 531 %s 03:27 x" % date
    found = parse_list_line(line, now=LISTED, hints=ListingHints(date_order=order))
    assert found is not None
    assert found.name == "03:27 x"
    assert found.modified == (None if expected is None else epoch(*expected))
    assert found.details == ({"date": date.decode()} if expected is None else {})


@pytest.mark.parametrize("date", [b"31/02/2003 03:26", b"13/13/2003 03:26", b"03/04/2003 24:00"])
def test_a_date_with_strokes_that_does_not_exist(date: bytes) -> None:
    """It is an error in either order."""

    with pytest.raises(InvalidData, match="a date that exists"):
        parse_list_line(b"-rw-r--r-- 1 root other 531 %s x" % date, now=LISTED)
