"""MLSx: times, facts, lines, selection (RFC 3659 §2.3, §7)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftpdata.errors import BadArgument, InvalidData
from ftpdata.listing._names import NamePolicy, safe_name
from ftpdata.listing.entry import EntryType, ListingEntry, Permissions
from ftpdata.listing.mlsx import (
    DEFAULT_FACTS,
    SUPPORTED_FACTS,
    Facts,
    FactSelection,
    entry_from_facts,
    facts_for_entry,
    format_mlsx_line,
    format_time_val,
    parse_mlsx_line,
    parse_time_val,
    perm_letters,
    select_facts,
)

MOMENT = datetime(2026, 1, 31, 17, 4, 5, tzinfo=UTC)
SECONDS = MOMENT.timestamp()


# Times


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20260131170405", SECONDS),
        ("20260131170405.25", SECONDS + 0.25),
        ("20260131170405.0", SECONDS),
        ("20260131170405.123456999", SECONDS + 0.123456),
        ("19700101000000", 0),
        ("19691231235959.5", -0.5),
        ("20161231235960", datetime(2017, 1, 1, tzinfo=UTC).timestamp()),  # a leap second
        ("10000101000000", datetime(1000, 1, 1, tzinfo=UTC).timestamp()),
        ("99991231235960", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp() + 1),
    ],
)
def test_parse_time_val(text: str, seconds: float) -> None:
    """Fractions, leap seconds, the first year and the last."""

    assert parse_time_val(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026013117040",
        "202601311704055",
        "20260131170405.",
        "20260131170405.x",
        "20260131170405 ",
        "20260131170405\n",
        "20261331170405",
        "20260132170405",
        "20260229170405",
        "20260131240405",
        "20260131176005",
        "20260131170461",
        "09990131170405",
        "00000131170405",
        "+2026013117040",
        "\u0662\u0660260131170405",
    ],
)
def test_what_is_no_time(text: str) -> None:
    """Strict: this comes from clients, in MFMT and MDTM."""

    with pytest.raises(BadArgument) as caught:
        parse_time_val(text)
    assert caught.value.reply_code == 501


@pytest.mark.parametrize(
    ("moment", "digits", "text"),
    [
        (MOMENT, 0, "20260131170405"),
        (MOMENT.astimezone(timezone(timedelta(hours=14))), 0, "20260131170405"),
        (SECONDS + 0.999, 0, "20260131170405"),  # cut off, not rounded
        (SECONDS + 0.999, 1, "20260131170405.9"),
        (SECONDS + 0.123456, 6, "20260131170405.123456"),
        (SECONDS, 3, "20260131170405.000"),
        (-0.5, 1, "19691231235959.5"),
    ],
)
def test_format_time_val(moment: datetime | float, digits: int, text: str) -> None:
    """In UTC, with the precision that was asked for."""

    assert format_time_val(moment, digits=digits) == text


def test_microseconds_are_exact() -> None:
    """No microsecond is lost on the way through binary fractions."""

    for micro in range(0, 1_000_000, 997):
        for second, text in ((0, "19700101000000"), (SECONDS, "20260131170405")):
            expected = f"{text}.{micro:06d}"
            assert format_time_val(second + micro / 1_000_000, digits=6) == expected
            assert format_time_val(parse_time_val(expected), digits=6) == expected


@pytest.mark.parametrize("moment", [-3.1e10, 2.6e11, datetime(2026, 1, 1), float("nan")])  # noqa: DTZ001
def test_times_that_cannot_be_told(moment: datetime | float) -> None:
    """Years of three or five digits, no zone, no number."""

    with pytest.raises(ValueError):
        format_time_val(moment)


def test_digits_of_a_fraction() -> None:
    """Zero to six."""

    for digits in (-1, 7):
        with pytest.raises(ValueError, match="digits"):
            format_time_val(0, digits=digits)


times = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda moment: (moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1)
)


@given(times, st.integers(0, 6))
def test_time_round_trip(seconds: float, digits: int) -> None:
    """A time comes back, as far as its digits go; with six, it is the same number."""

    back = parse_time_val(format_time_val(seconds, digits=digits))
    assert back <= seconds + 1e-4
    assert seconds - back < 10.0**-digits + 1e-4
    if digits == 6 and abs(seconds) < 2**33:
        assert round(back, 6) == round(seconds, 6)


# Lines

FULL = Facts(
    type="file",
    size=12,
    modify=SECONDS,
    create=0.5,
    perm="adfrw",
    unique="fe00g20c5af",
    lang="en-US",
    media_type="text/plain",
    charset="latin-1",
    unix_mode=0o4755,
    unix_owner="joe",
    unix_group="Domain Users",
    unix_uid=1000,
    unix_gid=0,
    others=(("X.desc", "a;b\r\n"),),
)
FULL_LINE = (
    b"type=file;size=12;modify=20260131170405;create=19700101000000.5;perm=adfrw;"
    b"unique=fe00g20c5af;lang=en-US;media-type=text/plain;charset=latin-1;unix.mode=4755;"
    b"unix.owner=joe;unix.group=Domain%20Users;unix.uid=1000;unix.gid=0;X.desc=a%3Bb%0D%0A;  a b "
)


def test_every_fact() -> None:
    """All facts in order; values without blank, semicolon or control character."""

    assert format_mlsx_line(" a b ", FULL) == FULL_LINE
    assert parse_mlsx_line(FULL_LINE) == (
        " a b ",
        attrs.evolve(FULL, unix_group="Domain%20Users", others=(("X.desc", "a%3Bb%0D%0A"),)),
    )


def test_no_fact() -> None:
    """Names only: the space stays (§7.2)."""

    assert format_mlsx_line("x", Facts()) == b" x"
    assert format_mlsx_line("", Facts(type="dir")) == b"type=dir; "
    assert parse_mlsx_line(b" x") == ("x", Facts())
    assert parse_mlsx_line(b"  x", is_reply=True) == ("x", Facts())
    assert parse_mlsx_line(b"  x") == (" x", Facts())


def test_values_are_those_of_the_rfc() -> None:
    """Non-ASCII is escaped, byte by byte, and so is what escapes stand for."""

    line = format_mlsx_line("x", Facts(unix_owner="é\udcff*~", unique="100%"))
    assert line == b"unique=100%;unix.owner=%C3%A9%FF%2A%7E; x"


def test_times_that_cannot_be_told_are_not() -> None:
    """A broken time stamp breaks no listing."""

    for modify in (1e15, -1e15, float("nan"), float("inf")):
        assert format_mlsx_line("x", Facts(size=1, modify=modify)) == b"size=1; x"


def test_names_of_other_facts() -> None:
    """What could not be read back is refused."""

    for name in ("a b", "a=b", "a;b", "", "a\n"):
        with pytest.raises(ValueError, match="fact"):
            format_mlsx_line("x", Facts(others=((name, "v"),)))


@pytest.mark.parametrize("kind", ["cdir", "pdir", "CDir"])
def test_the_listed_directory_needs_its_type(kind: str) -> None:
    """Without the type fact, cdir and pdir would look like entries (§7.5.1.2)."""

    facts = Facts(type=kind, perm="el")
    assert format_mlsx_line(".", facts, selection=select_facts("perm;")) is None
    assert format_mlsx_line(".", facts, selection=select_facts("type;")) is not None
    assert format_mlsx_line("d", Facts(type="dir"), selection=select_facts("perm;")) == b" d"


def test_any_byte_in_a_name_leaves_one_line() -> None:
    """No control byte goes out, and all others do."""

    for name in [*(bytes([byte]) for byte in range(256)), bytes(range(256))]:
        line = format_mlsx_line(name, FULL)
        assert line is not None
        assert re.search(rb"[\x00-\x1f\x7f]", line) is None
        for byte in name:
            assert byte < 0x20 or byte == 0x7F or byte in line

    assert format_mlsx_line("a\nb", FULL, name_policy=NamePolicy.SKIP) is None
    assert format_mlsx_line("a\nb", Facts(), name_policy=NamePolicy.REPLACE) == b" a?b"


# What servers sent, and the examples of RFC 3659 §7.7

CAPTURED = [
    (  # proftpd 1.3.8
        (
            b"modify=20261123044213;perm=flcdmpe;type=dir;unique=FE00U20C5B0;UNIX.group=0;"
            b"UNIX.groupname=nogroup;UNIX.mode=01777;UNIX.owner=0;UNIX.ownername=nobody; sub"
        ),
        "sub",
        Facts(
            type="dir",
            modify=1795408933,
            perm="flcdmpe",
            unique="FE00U20C5B0",
            unix_mode=0o1777,
            unix_owner="nobody",
            unix_group="nogroup",
        ),
    ),
    (  # pure-ftpd 1.0.50
        (
            b"type=cdir;sizd=4096;modify=20261123044213;UNIX.mode=0755;UNIX.uid=0;UNIX.gid=0;"
            b"unique=fe00g20c273; ."
        ),
        ".",
        Facts(
            type="cdir",
            modify=1795408933,
            unix_mode=0o755,
            unix_uid=0,
            unix_gid=0,
            unique="fe00g20c273",
            others=(("sizd", "4096"),),
        ),
    ),
    (
        b"type=OS.unix=slink:;size=7;modify=20261123044213;UNIX.mode=0777; l -> k",
        "l -> k",
        Facts(type="OS.unix=slink:", size=7, modify=1795408933, unix_mode=0o777),
    ),
    (  # pyftpdlib 2
        b"modify=20261123044213;perm=r;size=0;type=file;unique=fe00g20c3f2;  lead",
        " lead",
        Facts(type="file", size=0, modify=1795408933, perm="r", unique="fe00g20c3f2"),
    ),
    (  # aioftp
        b"Size=0;Create=20261123044213;Modify=20261126044213;Type=file; future",
        "future",
        Facts(type="file", size=0, create=1795408933, modify=1795668133),
    ),
    (b"Type=unknown; l -> k", "l -> k", Facts(type="unknown")),
    (  # RFC 3659
        b"Type=cdir;Perm=el;Unique=keVO1+ZF4; test",
        "test",
        Facts(type="cdir", perm="el", unique="keVO1+ZF4"),
    ),
    (
        b"Type=OS.unix=slink:/foobar;Perm=;Unique=keVO1+4G4; foobar",
        "foobar",
        Facts(type="OS.unix=slink:/foobar", perm="", unique="keVO1+4G4"),
    ),
    (
        b"tYPE=file;SIZE=25730;MoDIFY=19940728095854;PErm=R; cap60.pl198.tar.gz",
        "cap60.pl198.tar.gz",
        Facts(type="file", size=25730, modify=775389534, perm="r"),
    ),
    # What the grammar does not have
    (
        b"type=file;size=1;novalue;=x;;X.A=1;x.a=2;size=2 no semicolon",
        "no semicolon",
        Facts(type="file", size=2, others=(("x.a", "2"),)),
    ),
    (
        b"size=-1;modify=yesterday;unix.mode=rw-;unix.uid=joe;unix.gid="
        + b"9" * 20
        + b";create=20260230000000; x",
        "x",
        Facts(
            others=(
                ("size", "-1"),
                ("modify", "yesterday"),
                ("unix.mode", "rw-"),
                ("unix.uid", "joe"),
                ("unix.gid", "9" * 20),
                ("create", "20260230000000"),
            )
        ),
    ),
]


@pytest.mark.parametrize(("line", "name", "facts"), CAPTURED)
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_lines_of_servers(line: bytes, name: str, facts: Facts, end: bytes) -> None:
    """What servers send is understood; what they should not send is kept."""

    assert parse_mlsx_line(line + end) == (name, facts)
    assert parse_mlsx_line(b" " + line + end, is_reply=True) == (name, facts)


@pytest.mark.parametrize("line", [b"", b"\r\n", b"type=file;", b"type=file; a\nb", b"x"])
def test_what_is_no_line(line: bytes) -> None:
    """Without the space there is no name; two lines are not one."""

    with pytest.raises(InvalidData) as caught:
        parse_mlsx_line(line)
    assert caught.value.reply_code == 451


@given(st.binary(max_size=60))
@settings(max_examples=300)
def test_any_bytes_are_a_line_or_an_error(line: bytes) -> None:
    """No other exception, whatever a server sends; what was read can be written."""

    try:
        name, facts = parse_mlsx_line(b"size=1;" + line)
    except InvalidData:
        return

    assert name is not None
    assert facts.get("nothing") is None


tokens = st.text(
    st.sampled_from("abcXYZ019,.:!@#$%^&()-_+?/\\'\"="), min_size=1, max_size=8
) | st.none()  # fmt: skip
numbers = st.integers(0, 10**19 - 1) | st.none()
short_times = st.integers(-3 * 10**10, 2 * 10**11).map(float) | st.none()
words = st.sampled_from(["x.a", "X.B", "OS/2.ea", "sizd"])


@given(
    st.binary(max_size=12) | st.text(max_size=12),
    st.builds(
        Facts,
        type=tokens,
        size=numbers,
        modify=short_times,
        create=short_times,
        perm=st.text(st.sampled_from("acdeflmprw"), max_size=10) | st.none(),
        unique=tokens,
        lang=tokens,
        media_type=tokens,
        charset=tokens,
        unix_mode=st.integers(0, 0o7777) | st.none(),
        unix_owner=tokens,
        unix_group=tokens,
        unix_uid=numbers,
        unix_gid=numbers,
        others=st.dictionaries(words, tokens.map(lambda value: value or "")).map(
            lambda found: tuple(found.items())
        ),
    ),
)
@settings(max_examples=400)
def test_round_trip(name: str | bytes, facts: Facts) -> None:
    """What is written is read back, whole."""

    line = format_mlsx_line(name, facts)
    assert line is not None
    assert parse_mlsx_line(line) == (safe_name(name, NamePolicy.ESCAPE), facts)


@given(st.text(), st.text(), st.sampled_from([*NamePolicy]))
@settings(max_examples=300)
def test_nothing_can_make_a_second_line_or_fact(name: str, value: str, policy: NamePolicy) -> None:
    """Whatever a name or value is: one line, the facts that there are, the name."""

    facts = Facts(unique=value, unix_owner=value, type=value, others=(("X.x", value),))
    line = format_mlsx_line(name, facts, name_policy=policy)
    if line is not None:
        assert len(line.decode().splitlines()) == 1
        told, _, shown = line.partition(b" ")
        assert told.count(b";") == 4
        assert shown.decode() == safe_name(name, policy)


# Facts and entries


def test_get_tells_as_it_is_written() -> None:
    """By name in any case, the unknown ones too."""

    assert FULL.get("Modify") == "20260131170405"
    assert FULL.get("UNIX.mode") == "4755"
    assert FULL.get("media-Type") == "text/plain"
    assert FULL.get("x.DESC") == "a;b\r\n"
    assert FULL.get("x.other") is None
    assert Facts().get("size") is None
    assert Facts(size=0).get("size") == "0"


@pytest.mark.parametrize(
    ("entry", "facts"),
    [
        (
            ListingEntry(
                name="x",
                size=5,
                modified=SECONDS + 0.75,
                permissions=Permissions(0o640),
                owner="joe",
                group=b"users",
                uid=1000,
                gid=100,
                unique="1g2",
            ),
            Facts(
                type="file",
                size=5,
                modify=SECONDS,
                unix_mode=0o640,
                unix_owner="joe",
                unix_group="users",
                unix_uid=1000,
                unix_gid=100,
                unique="1g2",
                perm="r",
            ),
        ),
        (
            ListingEntry(name="d", size=4096, type=EntryType.DIRECTORY, modified=None),
            Facts(type="dir", unix_mode=0o644, unix_owner="ftp", unix_group="ftp", perm="r"),
        ),
    ],
)
def test_facts_for_entry(entry: ListingEntry, facts: Facts) -> None:
    """What an entry knows; directories have no size."""

    assert facts_for_entry(entry, perm="r") == facts


def test_facts_with_fractions() -> None:
    """As many digits as were asked for."""

    entry = ListingEntry(name="x", modified=MOMENT + timedelta(microseconds=250_999))
    assert facts_for_entry(entry, digits=2).modify == SECONDS + 0.25
    assert facts_for_entry(entry, type="cdir").type == "cdir"


@pytest.mark.parametrize("kind", [*EntryType])
def test_types_both_ways(kind: EntryType) -> None:
    """An entry that went over the wire is the same entry."""

    entry = ListingEntry(
        name="x", type=kind, modified=SECONDS, unique="1", uid=1, gid=2, owner="o", group="g"
    )
    line = format_mlsx_line(entry.name, facts_for_entry(entry))
    assert line is not None
    assert entry_from_facts(*parse_mlsx_line(line)) == entry


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ("File", EntryType.FILE),
        ("DIR", EntryType.DIRECTORY),
        ("pdir", EntryType.DIRECTORY),
        ("OS.unix=slink:/target", EntryType.SYMLINK),
        ("os.UNIX=Symlink", EntryType.SYMLINK),
        ("OS.mac=fork", EntryType.OTHER),
        ("unknown", EntryType.OTHER),
        (None, EntryType.FILE),
    ],
)
def test_types_of_other_servers(told: str | None, kind: EntryType) -> None:
    """In any case, and what is not known is no file."""

    assert entry_from_facts("x", Facts(type=told)).type is kind


def test_entries_of_few_facts() -> None:
    """What was not told is left open."""

    assert entry_from_facts(b"x", Facts(type="dir", unix_uid=7)) == ListingEntry(
        name="x",
        type=EntryType.DIRECTORY,
        permissions=Permissions(0o755),
        owner="7",
        group="-",
        uid=7,
    )


@pytest.mark.parametrize(
    ("is_directory", "readable", "writable", "removable", "letters"),
    [
        (False, True, False, False, "r"),
        (False, True, True, True, "adfrw"),
        (False, False, False, False, ""),
        (True, True, False, False, "el"),
        (True, True, True, True, "cdeflmp"),
        (True, False, False, True, "df"),
    ],
)
def test_perm_letters(
    is_directory: bool, readable: bool, writable: bool, removable: bool, letters: str
) -> None:
    """Each letter where it means something (§7.5.5)."""

    found = perm_letters(
        is_directory=is_directory, readable=readable, writable=writable, removable=removable
    )
    assert found == letters


# Selection


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("Type;UNIX.mode;Perm;", "MLST OPTS type;perm;unix.mode;"),
        ("lang;type;charset;create;", "MLST OPTS type;create;lang;charset;"),
        ("size;frogs;", "MLST OPTS size;"),
        ("SIZE;size", "MLST OPTS size;"),
        ("fish;cakes;", "MLST OPTS"),
        ("", "MLST OPTS"),
        (" ", "MLST OPTS"),
    ],
)
def test_options(argument: str, reply: str) -> None:
    """The dialogues of RFC 3659 §7.9.2; and a client that forgets the last semicolon."""

    selection = select_facts(argument)
    assert selection.reply == reply
    assert FactSelection().select(argument) == selection


@pytest.mark.parametrize("argument", ["unique type;", "a;;b;", ";", "type=;", "a\tb;", "é;"])
def test_options_that_are_none(argument: str) -> None:
    """A syntax error is refused, and what was selected stays."""

    with pytest.raises(BadArgument) as caught:
        FactSelection().select(argument)
    assert caught.value.reply_code == 501


def test_feature_line() -> None:
    """An asterisk marks what is shown, before and after OPTS (§7.8)."""

    selection = FactSelection(supported=("Type", "size", "X.hidden"), selected=("type",))
    assert selection.feature == "MLST type*;size;x.hidden;"
    selection = selection.select("x.HIDDEN;modify;")
    assert selection.feature == "MLST type;size;x.hidden*;"
    assert selection.reply == "MLST OPTS x.hidden;"
    assert FactSelection(supported=(), selected=()).feature == "MLST"
    assert {fact.rstrip("*") for fact in FactSelection().feature[5:-1].split(";")} == {
        *SUPPORTED_FACTS
    }


def test_selection_decides_what_is_told() -> None:
    """The default facts, those of OPTS, and local ones that were asked for."""

    line = format_mlsx_line("x", FULL, selection=FactSelection())
    assert line is not None
    told = [fact.partition("=")[0] for fact in line.decode().partition(" ")[0].split(";")]
    assert tuple(told[:-1]) == DEFAULT_FACTS
    assert format_mlsx_line("x", FULL, selection=select_facts("")) == b" x"
    local = FactSelection(supported=("size", "X.Desc"), selected=("size", "X.Desc"))
    assert format_mlsx_line("x", FULL, selection=local) == b"size=12;X.desc=a%3Bb%0D%0A; x"
