"""What holds for every format of LIST and NLST, written and read."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftpdata.errors import InvalidData
from ftpdata.listing._names import NamePolicy
from ftpdata.listing.entry import EntryType, ListingEntry
from ftpdata.listing.eplf import format_eplf_line, parse_eplf_line
from ftpdata.listing.formats import _SELF_EVIDENT, ListReader, _dates, parse_list_line
from ftpdata.listing.hints import ListFormat, ListingHints
from ftpdata.listing.msdos import format_msdos_line, parse_msdos_line
from ftpdata.listing.nlst import format_nlst_line, parse_nlst_line
from ftpdata.listing.unix import ListingRules, format_list_line, parse_unix_line
from tests.harness.entries import EVIL, LISTED, NOW, epoch

Writer = Callable[..., bytes | None]


def list_line(entry: ListingEntry, *, name_policy: NamePolicy = NamePolicy.ESCAPE) -> bytes | None:
    """Write a line of LIST in the unix format."""

    return format_list_line(entry, now=NOW, name_policy=name_policy)


def twisted_line(
    entry: ListingEntry, *, name_policy: NamePolicy = NamePolicy.ESCAPE
) -> bytes | None:
    """Write a line of LIST in the unix format, by Twisted's rules."""

    return format_list_line(entry, now=NOW, rules=ListingRules.TWISTED, name_policy=name_policy)


WRITERS: list[Writer] = [
    list_line,
    twisted_line,
    format_nlst_line,
    format_msdos_line,
    format_eplf_line,
]


# Writing: one line for one entry


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("policy", [NamePolicy.ESCAPE, NamePolicy.REPLACE])
def test_any_byte_in_a_name_leaves_one_line(writer: Writer, policy: NamePolicy) -> None:
    """Each byte alone, and all together: no control byte is sent, and all others are."""

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
    """SKIP gives no line for a name that has a control character, however it is spelt."""

    assert writer(ListingEntry(name=name), name_policy=NamePolicy.SKIP) is None
    kept = writer(ListingEntry(name="\udc85 é \U0001f4a9\xa0"), name_policy=NamePolicy.SKIP)
    assert (kept or b"").endswith(b"\x85 \xc3\xa9 \xf0\x9f\x92\xa9\xc2\xa0")


# Reading


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\r\n",
        b"  ",
        b"total 12",
        b"total 0\r\n",
        b"total 1,024",
        b"total 1.2M",
        b"Total 12",
        b"TOTAL: 12",
        b"insgesamt 1,5M",
        "összesen 12".encode("iso8859-2"),
        "iš viso 12".encode(),
        "итого 12".encode("koi8-r"),
        "合計 12".encode(),
        b"/pub:",
        b"/pub/a b:",
        b"./a b:\r\n",
        b"sub:",
        b".:",
        b"2020:",
        b"2020/01:",
    ],
)
def test_noise_is_not_an_entry(line: bytes) -> None:
    """Known noise gives None."""

    assert parse_list_line(line, now=LISTED) is None


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
        b"report 12",
        b"a b:",
        b"/pub: permission denied",
        b"-rw-r--r--   1 root root 12 Lipnja 20 10:00 x",
        b"-rw-r--r--   1 root root 12 24-13-2003 10:00 x",
        b"-rw-r--r--   1 root root 12 13\xe6\x9c\x88 20 10:00 x",
        b"-rw-r--r--   1 root root 33.5 Nov 20 10:00 x",
        b"-rw-r--r--   1 root root 33.5q Nov 20 10:00 x",
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
def test_what_is_not_an_entry(line: bytes) -> None:
    """Anything else is an error with its reply code, never a guess."""

    with pytest.raises(InvalidData, match="expected") as caught:
        parse_list_line(line, now=LISTED)
    assert caught.value.reply_code == 451


def test_parsers_by_name() -> None:
    """Each parser reads only its own format."""

    assert parse_unix_line(GOOD, now=LISTED) == parse_list_line(GOOD, now=LISTED)
    msdos = b"01-31-26  05:04PM                    1 x"
    assert parse_msdos_line(msdos) == parse_list_line(msdos, now=LISTED)
    with pytest.raises(InvalidData):
        parse_unix_line(msdos, now=LISTED)
    with pytest.raises(InvalidData):
        parse_msdos_line(GOOD)
    with pytest.raises(InvalidData):
        parse_eplf_line(GOOD)


MSDOS = b"01-31-26  05:04PM                    1 x"
SAMPLES: dict[ListFormat, bytes] = {
    ListFormat.VMS: b"LOGIN.COM;5   3  14-MAR-2019 09:05 [JOE] (RWED,RWED,RE,R)",
    ListFormat.MVS_DATA_SETS: (
        b"WORK01 3390   2024/02/29  1   15  FB      80 27920  PS  SALES.Y2024.DATA"
    ),
    ListFormat.MVS_MEMBERS: b"BUILD     01.03 2023/01/30 2024/02/29 12:34    15    10     0 ANNA",
    ListFormat.MVS_JOBS: b"ANNAA    JOB00061 ANNA     OUTPUT A        RC=0000 2 spool files",
    ListFormat.OS400: b"ANNA          135168 08/31/19 13:18:19 *FILE      STOCK",
    ListFormat.NETWARE: b"d [R----F--] admin                512       Nov 16 18:53    login",
    ListFormat.NONSTOP: b'STOCK         101             2522 27-Aug-02 13:57:10 155,106 "nunu"',
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_line_has_one_format(kind: ListFormat) -> None:
    """No other parser takes it, so nothing depends on which of them is asked first."""

    dates = _dates(LISTED, timedelta(0), ListingHints())
    text = SAMPLES[kind].decode()
    assert [other for other, match in _SELF_EVIDENT.items() if match(text, dates)] == [kind]
    for line in (GOOD, MSDOS, b"+r,\tx"):
        assert _SELF_EVIDENT[kind](line.decode(), dates) is None


@pytest.mark.parametrize("kind", ListFormat)
def test_a_hint_excludes_all_other_formats(kind: ListFormat) -> None:
    """A line of another format is an error then, and an empty one is still none."""

    hints = ListingHints(format=kind)
    own = SAMPLES.get(kind, {ListFormat.UNIX: GOOD, ListFormat.MSDOS: MSDOS,
                             ListFormat.EPLF: b"+r,\tx"}.get(kind))  # fmt: skip
    lines = [*SAMPLES.values(), GOOD, MSDOS, b"+r,\tx"]
    for line in lines:
        if line is own:
            assert parse_list_line(line, now=LISTED, hints=hints) is not None
        else:
            with pytest.raises(InvalidData, match="expected"):
                parse_list_line(line, now=LISTED, hints=hints)

    assert parse_list_line(b" \r\n", now=LISTED, hints=hints) is None


@pytest.mark.parametrize("line", [b"jumla 12", "جمع 12".encode(), b"sumo: 1.2M"])
def test_a_total_in_any_language(line: bytes) -> None:
    """A word and a number are no entry of ls -l, in no language; without the hint, who knows."""

    hints = ListingHints(format=ListFormat.UNIX)
    assert parse_list_line(line, now=LISTED, hints=hints) is None
    with pytest.raises(InvalidData):
        parse_list_line(line, now=LISTED)


def test_a_reader_reads_what_needs_no_reader() -> None:
    """Lines of ls -l, MS-DOS and EPLF are the same in a listing and alone."""

    reader = ListReader(now=LISTED)
    for line in (b"total 12", GOOD, MSDOS, b"+r,\tx", b"", *SAMPLES.values()):
        assert reader.read(line) == parse_list_line(line, now=LISTED)

    assert reader.format is None
    reader.finish()


def test_zone_of_the_server() -> None:
    """Dates are in the zone that the caller gives, in winter and in summer."""

    line = b"-rw-r--r-- 1 root root 12 %s x"
    for date, tz, expected in (
        (b"Nov 20 10:00", timedelta(hours=-5), (2026, 11, 20, 15)),
        (b"Jul 20 10:00", ZoneInfo("Europe/Berlin"), (2026, 7, 20, 8)),
        (b"Jan 20  2020", ZoneInfo("Europe/Berlin"), (2020, 1, 19, 23)),
    ):
        found = parse_list_line(line % date, now=LISTED.timestamp(), tz=tz)
        assert found is not None
        assert found.modified == epoch(*expected)

    found = parse_list_line(
        b"01-31-26  05:04PM       <DIR>          x", now=LISTED, tz=timedelta(1) / 24
    )
    assert found is not None
    assert found.modified == epoch(2026, 1, 31, 16, 4)


def test_names_are_kept_as_they_came() -> None:
    """Bytes that are not UTF-8, trailing blanks, a CR within and dots stay as they were sent."""

    for name in (b"\xff\xe9", b"trail  ", b"a\rb", b"..", b"\\012", b"-> x", b"a -> b"):
        found = parse_list_line(GOOD[:-4] + name, now=LISTED)
        assert found is not None
        assert found.wire_name == name
        assert parse_nlst_line(name) == found.name


@given(st.binary(max_size=80))
@settings(max_examples=400)
def test_any_bytes_are_an_entry_or_an_error(line: bytes) -> None:
    """Whatever a server sends, no other exception is raised."""

    for candidate in (line, GOOD[:41] + line, b"+" + line, b"01-31-26  05:04PM " + line):
        for kind in (None, *ListFormat):
            with contextlib.suppress(InvalidData):
                parse_list_line(candidate, now=LISTED, hints=ListingHints(format=kind))


@given(
    st.sampled_from([GOOD, *SAMPLES.values()]),
    st.integers(0, len(GOOD)),
    st.binary(max_size=4),
    st.integers(0, 6),
)
@settings(max_examples=400)
def test_damaged_lines(line: bytes, at: int, insertion: bytes, removed: int) -> None:
    """A damaged line is an entry or an error, too."""

    with contextlib.suppress(InvalidData):
        parse_list_line(line[:at] + insertion + line[at + removed :], now=LISTED)


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
        b"total " * 30_000,
        b"a:" * 100_000 + b" ",
        b"/" * 200_000,
        b"-rw-r--r-- 1 " + b"12k " * 50_000,
        b"-rw-r--r-- 1 a b 1 " + b"2 " * 100_000,
        b"-rw-r--r-- 1 a b 1 " + b"x" * 200_000,
        b"a" * 200_000 + b";1",
        b"^a" * 100_000 + b";1 %RMS-E-PRV,",
        b"a;1 1 1-JAN-2020 00:00" + b" " * 200_000 + b"x",
        b"A." * 100_000,
        b"WORK01 3390" + b" " * 200_000 + b"A",
        b"Migrated" + b" " * 200_000 + b"A B",
        b"A" + b" 1" * 100_000,
        b"A 000000 000000 00" + b" X" * 100_000,
        b"A JOB00001 " + b" " * 200_000,
        b"A JOB00001 OUTPUT " + b"A " * 100_000,
        b"ANNA " + b"1" * 200_000,
        b"ANNA 1 01/01/01 00:00:00 *FILE" + b" " * 200_000,
        b"d [RRRRRRRR] " + b"1 " * 100_000,
        b"d [RRRRRRRR] 1 a 1 Nov 1 2020" + b" " * 200_000,
        b"A 1 " + b"1" * 200_000,
    ],
)
def test_hostile_lines_take_linear_time(line: bytes) -> None:
    """A long line does not block the client."""

    for kind in (None, *ListFormat):
        began = time.process_time()
        with contextlib.suppress(InvalidData):
            parse_list_line(line, now=LISTED, hints=ListingHints(format=kind))
        assert time.process_time() - began < 1.0, kind
