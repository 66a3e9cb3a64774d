"""Writers of listing lines: unix, NLST, MS-DOS, EPLF; the policies; Twisted to the byte."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.protocols import ftp as twisted_ftp
from twisted.python.filepath import Permissions as TwistedPermissions

from ftpdata.listing import writers as listing
from ftpdata.listing._names import field_word, safe_name
from ftpdata.listing.parsers import (
    parse_eplf_line,
    parse_list_line,
    parse_msdos_line,
    parse_nlst_line,
)
from ftpdata.listing.writers import (
    EntryType,
    ListFormatter,
    ListingEntry,
    ListingRules,
    NamePolicy,
    Permissions,
    format_eplf_line,
    format_list_line,
    format_msdos_line,
    format_nlst_line,
)

NOW = datetime(2026, 1, 31, 17, 4, 5, tzinfo=UTC)
EVIL = "x\r\n-rw-r--r--   1 root root 0 Jan  1 1970 forged"

Writer = Callable[..., bytes | None]


def list_line(entry: ListingEntry, *, name_policy: NamePolicy = NamePolicy.ESCAPE) -> bytes | None:
    """Write a unix line now."""

    return format_list_line(entry, now=NOW, name_policy=name_policy)


def twisted_line(
    entry: ListingEntry, *, name_policy: NamePolicy = NamePolicy.ESCAPE
) -> bytes | None:
    """Write a unix line now, by Twisted's rules."""

    return format_list_line(entry, now=NOW, rules=ListingRules.TWISTED, name_policy=name_policy)


WRITERS: list[Writer] = [
    list_line,
    twisted_line,
    format_nlst_line,
    format_msdos_line,
    format_eplf_line,
]


def epoch(*calendar: int) -> float:
    """Give seconds since the epoch of a date in UTC."""

    return datetime(*calendar, tzinfo=UTC).timestamp()  # type: ignore[misc, arg-type]


# Unix: today's rules


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
    """No type is mistaken for a file."""

    line = list_line(ListingEntry(name="x", type=entry_type))
    assert line is not None
    assert line.startswith(letter + b"rw-r--r-- ")


MINUTE = 60.0
SIX_MONTHS = 31_556_952 // 2 // 60 * 60


@pytest.mark.parametrize(
    ("seconds_from_now", "date"),
    [
        (0, b"Jan 31 17:04"),
        (54, b"Jan 31 17:04"),  # the same minute: a line cannot tell it from now
        (55, b"Jan 31  2026"),
        (3 * 86400, b"Feb  3  2026"),
        (-SIX_MONTHS + 60, b"Aug  2 02:11"),
        (-SIX_MONTHS, b"Aug  2  2025"),
        (-SIX_MONTHS - 60, b"Aug  2  2025"),
        (-86400 * 31, b"Dec 31 17:04"),  # last year, and still with its time
    ],
)
def test_six_month_rule(seconds_from_now: float, date: bytes) -> None:
    """The time is shown for the last six months; the year before, and in the future."""

    line = list_line(ListingEntry(name="x", modified=NOW.timestamp() + seconds_from_now))
    assert line is not None
    assert line[-14:-2] == date


def test_the_new_year_is_no_change() -> None:
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
    """Dates are in the zone that was asked for."""

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
    """A date without a zone is refused rather than guessed."""

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


# Unix: Twisted's rules


def twisted_now(monkeypatch: pytest.MonkeyPatch, now: float) -> twisted_ftp.DTP:
    """Give Twisted's DTP, in whose world it is `now`."""

    def gmtime(seconds: float = now) -> time.struct_time:
        return time.gmtime(seconds)

    monkeypatch.setattr(twisted_ftp, "time", SimpleNamespace(gmtime=gmtime))
    return twisted_ftp.DTP()


def random_entry(source: random.Random, now: float) -> ListingEntry:
    """Give an entry of any kind, without control characters."""

    owners = ["root", "averylongowner", "é ü", "ÿ" * 9, "Domain Users", "", "1000", "Ã©Ã©Ã©Ã©x"]
    names = ["x", "a b", " lead", "-> x", "é", "日本語", "\u3000", "\\012", "e\u0301" * 80]
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
def test_twisted_rules_equal_twisted(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    """3,000 entries at each of four moments: byte for byte what Twisted's DTP writes."""

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
    """The reference line of Twisted's test suite."""

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
    """Owners cannot hold a line end, nor fail for want of latin-1; bytes will do."""

    entry = ListingEntry(name="x", owner="a\r\nb\x85", group="日本")
    assert b" a__b_     ??        " in (twisted_line(entry) or b"")
    entry = ListingEntry(name="x", owner=b"a\nb", group=b"\xc3\xa9")
    assert b" a_b       \xe9         " in (twisted_line(entry) or b"")


def test_twisted_rules_know_utc_only() -> None:
    """Another zone is an error, not a surprise."""

    with pytest.raises(ValueError, match="UTC"):
        ListFormatter(now=NOW, rules=ListingRules.TWISTED, tz=timedelta(hours=1))
    ListFormatter(now=NOW, rules=ListingRules.TWISTED, tz=timedelta(0))


# One line for one entry


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("policy", [NamePolicy.ESCAPE, NamePolicy.REPLACE])
def test_any_byte_in_a_name_leaves_one_line(writer: Writer, policy: NamePolicy) -> None:
    """Each byte alone and all together: no control byte goes out, and all others do."""

    for name in [*(bytes([byte]) for byte in range(256)), bytes(range(256)), EVIL.encode()]:
        line = writer(
            ListingEntry(name=name, target=name, type=EntryType.SYMLINK), name_policy=policy
        )
        assert line is not None
        assert re.search(rb"[\x00-\x1f\x7f]", line.replace(b",\t", b"")) is None
        for byte in name:
            assert byte < 0x20 or byte == 0x7F or byte in line


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(
    "name",
    [
        EVIL,
        EVIL.encode(),
        "\x00",
        "\x1b[2J",
        "\x7f",
        "\x85",
        b"\xc2\x85",
        "\udcc2\udc85",  # the same bytes, as escapes
        "\u2028",
        "\u2029",
        b"\xe2\x80\xa8",
        "\udce2\udc80\udca9",
    ],
)
def test_skip_leaves_out_what_it_must(writer: Writer, name: str | bytes) -> None:
    """SKIP gives no line for a name that holds a control character, however it is spelt."""

    assert writer(ListingEntry(name=name), name_policy=NamePolicy.SKIP) is None
    kept = writer(ListingEntry(name="\udc85 é \U0001f4a9\xa0"), name_policy=NamePolicy.SKIP)
    assert (kept or b"").endswith(b"\x85 \xc3\xa9 \xf0\x9f\x92\xa9\xc2\xa0")


def test_skip_looks_at_targets() -> None:
    """A link whose target could forge an entry is left out; the rest of the block is not."""

    bad = ListingEntry(name="l", type=EntryType.SYMLINK, target=EVIL)
    good = ListingEntry(name="ok")
    formatter = ListFormatter(now=NOW, name_policy=NamePolicy.SKIP)
    assert formatter.format(bad) is None
    assert formatter.format_block([bad, good, ListingEntry(name="\n")]).count(b"\r\n") == 1
    assert list(formatter.format_blocks([bad])) == []


def test_escape_is_octal_of_the_bytes() -> None:
    """As ls -b; a backslash stays single, so that ordinary names can be retrieved."""

    assert format_nlst_line("a\nb\x85\u2028\\") == rb"a\012b\302\205\342\200\250" + b"\\"
    assert format_nlst_line("a\nb\x85\\", name_policy=NamePolicy.REPLACE) == b"a?b?\\"


def test_names_of_windows_do_not_raise() -> None:
    """Lone surrogates have bytes, too, and cannot spell a line end."""

    assert format_nlst_line("\ud800x\udc80\udc0a") == b"\xed\xa0\x80x\x80\xed\xb0\x8a"


@given(
    st.text(), st.text(), st.text() | st.none(), st.sampled_from([*ListingRules]),
    st.sampled_from([*NamePolicy]),
)  # fmt: skip
@settings(max_examples=300)
def test_no_field_can_make_a_second_line(
    name: str, owner: str, target: str | None, rules: ListingRules, policy: NamePolicy
) -> None:
    """Whatever name, owner and target are: one line, whoever splits it."""

    entry = ListingEntry(name=name, owner=owner, group=owner, target=target, type=EntryType.SYMLINK)
    line = format_list_line(entry, now=NOW, rules=rules, name_policy=policy)
    if line is not None:
        assert len(line.decode("utf-8", "surrogateescape").splitlines()) == 1
        assert len(line.splitlines()) == 1


# Many entries


def test_blocks_equal_lines() -> None:
    """Blocks hold the lines of `format`, each with its CR LF, in order and in bounded number."""

    entries = [ListingEntry(name=f"f{n}", modified=NOW.timestamp() - 1e5 * n) for n in range(1030)]
    formatter = ListFormatter(now=NOW)
    lines = [formatter.format(entry) for entry in entries]
    blocks = list(formatter.format_blocks(iter(entries)))
    assert [block.count(b"\r\n") for block in blocks] == [512, 512, 6]
    assert b"".join(blocks).split(b"\r\n") == [*lines, b""]
    assert lines == [list_line(entry) for entry in entries]
    assert formatter.format_block([]) == b""


def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million owners or days do not stay in memory, and change no line."""

    monkeypatch.setattr(listing, "CACHE_LIMIT", 4)
    formatter = ListFormatter(now=NOW)
    entries = [ListingEntry(name="x", owner=str(n), modified=n * 86400.5) for n in range(50)]
    for entry in entries:
        assert formatter.format(entry) == list_line(entry)
        assert len(formatter._prefixes) <= 4


# MS-DOS


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (
            ListingEntry(name="name", type=EntryType.DIRECTORY, modified=epoch(2026, 1, 31, 17, 4)),
            b"01-31-26  05:04PM       <DIR>          name",
        ),
        (
            ListingEntry(name=" a b", size=1024, modified=epoch(2026, 2, 14, 0, 15)),
            b"02-14-26  12:15AM                 1024  a b",
        ),
        (
            ListingEntry(name="x", size=10**12, modified=epoch(1999, 12, 5, 12)),
            b"12-05-99  12:00PM        1000000000000 x",
        ),
        (
            ListingEntry(name="x", modified=epoch(1968, 12, 31, 23)),
            b"12-31-1968  11:00PM                    0 x",
        ),
        (
            ListingEntry(name="x", modified=epoch(2069, 1, 1)),
            b"01-01-2069  12:00AM                    0 x",
        ),
        (ListingEntry(name="x"), b"01-01-70  12:00AM                    0 x"),
    ],
)
def test_msdos_line(entry: ListingEntry, line: bytes) -> None:
    """The line of IIS; years that two digits cannot tell are written in full."""

    assert format_msdos_line(entry) == line


def test_msdos_options() -> None:
    """Four digits of the year, and a zone."""

    entry = ListingEntry(name="x", modified=epoch(2026, 1, 1))
    line = format_msdos_line(entry, four_digit_year=True, tz=timedelta(hours=-1))
    assert line == b"12-31-2025  11:00PM                    0 x"


# EPLF


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (
            ListingEntry(name="djb.html", size=280, modified=825718503.7, unique="8388621.48594"),
            b"+i8388621.48594,m825718503,r,s280,up644,\tdjb.html",
        ),
        (
            ListingEntry(
                name="514", type=EntryType.DIRECTORY, permissions=Permissions(0o755), modified=-1.5
            ),
            b"+m-2,/,up755,\t514",
        ),
        (ListingEntry(name="q", type=EntryType.FIFO, unique="a,b"), b"+up644,\tq"),
        (ListingEntry(name="l", type=EntryType.SYMLINK, unique="a b"), b"+r,s0,up644,\tl"),
    ],
)
def test_eplf_line(entry: ListingEntry, line: bytes) -> None:
    """Facts are told where they are known and fit."""

    assert format_eplf_line(entry) == line


# Round trips

names = st.one_of(
    st.binary(min_size=1, max_size=12),
    st.text(min_size=1, max_size=12),
    st.sampled_from(["a -> b", " -> ", " lead", "trail ", "total 12", ".", "12 Jan  1  1970 x"]),
)
words = st.text(max_size=12) | st.sampled_from(["2020-01-31", "5", "Jan", "31", "12:00"])
seconds = st.floats(-3e10, 2.5e11) | st.floats(-2e7, 1e5).map(lambda s: NOW.timestamp() + s)
zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@st.composite
def entries(draw: st.DrawFn) -> ListingEntry:
    """Draw an entry; the size of a link is that of its target, as lstat has it."""

    kind = draw(st.sampled_from([*EntryType]))
    target = draw(names) if kind is EntryType.SYMLINK else None
    size = draw(st.integers(0, 10**19 - 1))
    if target is not None:
        shown = safe_name(target, NamePolicy.ESCAPE) or ""
        size = len(shown.encode("utf-8", "surrogateescape"))

    def word() -> str:
        # A device shows "major, minor" for a size: no group is called "8,".
        return draw(words).replace(",", "_")

    return ListingEntry(
        name=draw(names),
        size=size,
        type=kind,
        permissions=Permissions(draw(st.integers(0, 0o7777))),
        links=draw(st.integers(0, 10**9)),
        modified=draw(seconds),
        owner=word(),
        group=word(),
        target=target,
    )


def shown_moment(moment: float, tz: timezone) -> float:
    """Give what a unix line tells of a moment, without the arithmetic of the writer."""

    minute = datetime.fromtimestamp(0, UTC) + timedelta(minutes=moment // 60)
    this_minute = NOW.replace(second=0)
    half_a_year = timedelta(seconds=SIX_MONTHS)
    if not this_minute - half_a_year < minute <= this_minute:
        minute = minute.astimezone(tz).replace(hour=0, minute=0)

    return minute.timestamp()


@given(entries(), zones)
@settings(max_examples=600)
def test_unix_round_trip(entry: ListingEntry, tz: timezone) -> None:
    """What is written is read back: names exactly, dates as far as they are told."""

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


@given(entries(), zones, st.booleans())
@settings(max_examples=300)
def test_msdos_round_trip(entry: ListingEntry, tz: timezone, four_digit_year: bool) -> None:
    """Name, kind, size and minute come back."""

    line = format_msdos_line(entry, tz=tz, four_digit_year=four_digit_year)
    assert line is not None
    assert isinstance(entry.modified, float)
    assert parse_list_line(line, now=NOW, tz=tz) == parse_msdos_line(line, tz=tz)
    assert parse_msdos_line(line, tz=tz) == ListingEntry(
        name=safe_name(entry.name, NamePolicy.ESCAPE) or "",
        size=0 if entry.is_directory else entry.size,
        type=EntryType.DIRECTORY if entry.is_directory else EntryType.FILE,
        permissions=Permissions(0o755 if entry.is_directory else 0o644),
        modified=entry.modified // 60 * 60,
        owner="-",
        group="-",
    )


@given(entries(), st.from_regex(r"[!-+\--~]{1,20}", fullmatch=True) | st.none())
@settings(max_examples=300)
def test_eplf_round_trip(entry: ListingEntry, unique: str | None) -> None:
    """Name, kind, size, second, permissions and identifier come back."""

    kind = entry.type
    if kind is EntryType.SYMLINK:
        kind = EntryType.FILE
    elif kind not in {EntryType.FILE, EntryType.DIRECTORY}:
        kind = EntryType.OTHER

    line = format_eplf_line(attrs.evolve(entry, unique=unique))
    assert line is not None
    assert isinstance(entry.modified, float)
    assert parse_list_line(line, now=NOW) == parse_eplf_line(line)
    assert parse_eplf_line(line) == ListingEntry(
        name=safe_name(entry.name, NamePolicy.ESCAPE) or "",
        size=entry.size if kind is EntryType.FILE else 0,
        type=kind,
        permissions=entry.permissions,
        modified=entry.modified // 1,
        owner="-",
        group="-",
        unique=unique,
    )


@given(names)
def test_nlst_round_trip(name: str | bytes) -> None:
    """A name comes back, from an entry and from itself."""

    line = format_nlst_line(name)
    assert line == format_nlst_line(ListingEntry(name=name))
    assert parse_nlst_line((line or b"") + b"\r\n") == safe_name(name, NamePolicy.ESCAPE)
