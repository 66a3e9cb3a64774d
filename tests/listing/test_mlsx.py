"""Lines of MLSD and MLST, written and read, one and many (RFC 3659 §7)."""

from __future__ import annotations

import contextlib
import re
import time
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftpdata.errors import InvalidData
from ftpdata.listing import mlsx
from ftpdata.listing._names import NamePolicy, safe_name
from ftpdata.listing.entry import EntryType, ListingEntry, Permissions
from ftpdata.listing.facts import (
    DEFAULT_FACTS,
    SUPPORTED_FACTS,
    Facts,
    FactSelection,
    entry_from_facts,
    facts_for_entry,
    select_facts,
)
from ftpdata.listing.mlsx import MlsxFormatter, format_mlsx_line, parse_mlsx_line
from tests.harness.facts import FULL, FULL_LINE, SECONDS


def parsed(line: bytes, *, is_reply: bool = False) -> tuple[str, Facts]:
    """Parse a line that is not empty."""

    found = parse_mlsx_line(line, is_reply=is_reply)
    assert found is not None
    return found


# One line


def test_every_fact() -> None:
    """All facts are written in order; values have no blank, semicolon or control character."""

    assert format_mlsx_line(" a b ", FULL) == FULL_LINE
    assert parsed(FULL_LINE) == (
        " a b ",
        attrs.evolve(FULL, unix_group="Domain%20Users", others=(("X.desc", "a%3Bb%0D%0A"),)),
    )


def test_no_fact() -> None:
    """A line with only a name keeps its space (§7.2)."""

    assert format_mlsx_line("x", Facts()) == b" x"
    assert format_mlsx_line("", Facts(type="dir")) == b"type=dir; "
    assert parsed(b" x") == ("x", Facts())
    assert parsed(b"  x", is_reply=True) == ("x", Facts())
    assert parsed(b"  x") == (" x", Facts())


def test_values_are_those_of_the_rfc() -> None:
    """Characters outside ASCII are escaped, byte by byte, and so is the escape character."""

    line = format_mlsx_line("x", Facts(unix_owner="é\udcff*~", unique="100%"))
    assert line == b"unique=100%;unix.owner=%C3%A9%FF%2A%7E; x"


def test_times_that_cannot_be_expressed_are_left_out() -> None:
    """A broken time stamp breaks no listing."""

    for modify in (1e15, -1e15, float("nan"), float("inf")):
        assert format_mlsx_line("x", Facts(size=1, modify=modify)) == b"size=1; x"


def test_names_of_other_facts() -> None:
    """A fact's name that could not be read back is refused."""

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
    """No control byte is sent, and all others are."""

    for name in [*(bytes([byte]) for byte in range(256)), bytes(range(256))]:
        line = format_mlsx_line(name, FULL)
        assert line is not None
        assert re.search(rb"[\x00-\x1f\x7f]", line) is None
        for byte in name:
            assert byte < 0x20 or byte == 0x7F or byte in line

    assert format_mlsx_line("a\nb", FULL, name_policy=NamePolicy.SKIP) is None
    assert format_mlsx_line("a\nb", Facts(), name_policy=NamePolicy.REPLACE) == b" a?b"


def test_selection_decides_what_is_shown() -> None:
    """The default facts, those of OPTS, and local ones can be selected."""

    line = format_mlsx_line("x", FULL, selection=FactSelection())
    assert line is not None
    told = [fact.partition("=")[0] for fact in line.decode().partition(" ")[0].split(";")]
    assert tuple(told[:-1]) == DEFAULT_FACTS
    assert format_mlsx_line("x", FULL, selection=select_facts("")) == b" x"
    local = FactSelection(supported=("size", "X.Desc"), selected=("size", "X.Desc"))
    assert format_mlsx_line("x", FULL, selection=local) == b"size=12;X.desc=a%3Bb%0D%0A; x"


@pytest.mark.parametrize("kind", [*EntryType])
def test_types_both_ways(kind: EntryType) -> None:
    """An entry stays the same when it is written and read."""

    entry = ListingEntry(
        name="x", type=kind, modified=SECONDS, unique="1", uid=1, gid=2, owner="o", group="g"
    )
    line = format_mlsx_line(entry.name, facts_for_entry(entry))
    assert line is not None
    assert entry_from_facts(*parsed(line)) == entry


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
    # Lines outside the grammar
    (
        b"type=file;size=1;;X.A=1;x.a=2;size=2; a; b",
        "a; b",
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

    assert parsed(line + end) == (name, facts)
    assert parsed(b" " + line + end, is_reply=True) == (name, facts)


@pytest.mark.parametrize("line", [b"", b"\n", b"\r\n"])
def test_an_empty_line_is_not_an_entry(line: bytes) -> None:
    """An empty line is not an entry, as in LIST."""

    assert parse_mlsx_line(line) is None
    assert parse_mlsx_line(line, is_reply=True) is None


@pytest.mark.parametrize(
    "line",
    [
        b" ",
        b"x",
        b"x; y",
        b"; x",
        b"type=file;",
        b"type=file; ",
        b"type=file; a\nb",
        # Without a semicolon, or with something else, between the facts and a name that may have
        # one.
        b"type=file name",
        b"type=file a; b",
        b"type=file;size=2 a; b",
        b"type=file;modify=20260131170405 a; b",
        b"type=dir;perm=el a; b",
        b"type=file;size=1;\tname",
        b"type=file;size=1;\ta; b",
        b"type=file;size=1;a; b",
        b"type=file;novalue; x",
        b"type=file;=x; y",
        b"type = file; x",
        # With blanks before the facts.
        b" type=file;size=1; name",
        b"  Type=file; name",
        b" X.a=1;size=1; name",
        b" \tsize=1; name",
        b"\ttype=file; name",
    ],
)
def test_what_is_not_a_line(line: bytes) -> None:
    """A line without facts and a space has no name, and a wrong name is worse than none."""

    with pytest.raises(InvalidData, match="expected") as caught:
        parse_mlsx_line(line)
    assert caught.value.reply_code == 451


@pytest.mark.parametrize(
    ("line", "name", "facts"),
    [
        (
            b"UNIX.groupname=domain users;UNIX.mode=0644; name",
            "name",
            Facts(unix_group="domain users", unix_mode=0o644),
        ),
        (
            b"type=OS.unix=slink:/a b;media-type=text/plain, x; l",
            "l",
            Facts(type="OS.unix=slink:/a b", media_type="text/plain, x"),
        ),
        (b"X.note=a b;size=5; c=d; e", "c=d; e", Facts(size=5, others=(("X.note", "a b"),))),
        (b" a=b; c", "a=b; c", Facts()),
        (b"type=file; type=dir; x", "type=dir; x", Facts(type="file")),
    ],
)
def test_blanks_in_values_and_names(line: bytes, name: str, facts: Facts) -> None:
    """The facts end at the first semicolon that a space follows."""

    assert parse_mlsx_line(line) == (name, facts)
    assert parse_mlsx_line(b" " + line, is_reply=True) == (name, facts)


@pytest.mark.parametrize(
    "line",
    [
        b"a=1;" * 50_000,
        b" " + b"a=1;" * 50_000,
        b" " * 200_000,
        b" " + b"a" * 200_000,
        b" " + b"; " * 100_000,
        b"a" * 200_000 + b"; x",
    ],
)
def test_hostile_lines_take_linear_time(line: bytes) -> None:
    """A long line does not block the client."""

    began = time.process_time()
    with contextlib.suppress(InvalidData):
        parse_mlsx_line(line)
    assert time.process_time() - began < 1.0


@given(st.binary(max_size=60))
@settings(max_examples=300)
def test_any_bytes_are_a_line_or_an_error(line: bytes) -> None:
    """Whatever a server sends, no other exception is raised, and what was read can be written."""

    try:
        name, facts = parsed(b"size=1;" + line)
    except InvalidData:
        return

    assert name is not None
    assert facts.get("nothing") is None


# Round trips

tokens = st.text(
    st.sampled_from("abcXYZ019,.:!@#$%^&()-_+?/\\'\"="), min_size=1, max_size=8
) | st.none()  # fmt: skip
numbers = st.integers(0, 10**19 - 1) | st.none()
short_times = st.integers(-3 * 10**10, 2 * 10**11).map(float) | st.none()
words = st.sampled_from(["x.a", "X.B", "OS/2.ea", "sizd"])


@given(
    st.binary(min_size=1, max_size=12) | st.text(min_size=1, max_size=12),
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
    """What is written is read back completely."""

    line = format_mlsx_line(name, facts)
    assert line is not None
    assert parsed(line) == (safe_name(name, NamePolicy.ESCAPE), facts)


@given(st.text(), st.text(), st.sampled_from([*NamePolicy]))
@settings(max_examples=300)
def test_nothing_can_make_a_second_line_or_fact(name: str, value: str, policy: NamePolicy) -> None:
    """Whatever a name or value is, there is one line with the given facts and the name."""

    facts = Facts(unique=value, unix_owner=value, type=value, others=(("X.x", value),))
    line = format_mlsx_line(name, facts, name_policy=policy)
    if line is not None:
        assert len(line.decode().splitlines()) == 1
        told, _, shown = line.partition(b" ")
        assert told.count(b";") == 4
        assert shown.decode() == safe_name(name, policy)


# Many lines

owners = st.text(max_size=6) | st.sampled_from(["100%", "%s", "a;b c"])
moments = (
    st.none()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.floats(0, 2e9)
    | st.datetimes(timezones=st.just(UTC))
)
entries = st.builds(
    ListingEntry,
    name=st.text(min_size=1) | st.binary(min_size=1),
    size=st.integers(0, 2**63),
    type=st.sampled_from(EntryType),
    permissions=st.builds(Permissions, st.integers(0, 0o7777)),
    modified=moments,
    owner=owners,
    group=owners,
    unique=st.none() | owners,
    uid=st.none() | st.integers(0, 3),
    gid=st.none() | st.integers(0, 3),
)
selections = st.none() | st.builds(
    lambda selected: FactSelection(selected=tuple(selected)),
    st.lists(st.sampled_from([*SUPPORTED_FACTS, "x.unknown"])),
)


@given(st.lists(entries, max_size=8), selections, st.sampled_from(NamePolicy), st.none() | owners)
def test_a_block_is_its_lines(
    listed: list[ListingEntry],
    selection: FactSelection | None,
    policy: NamePolicy,
    perm: str | None,
) -> None:
    """This holds for any entries and any facts in any order, even if a fact is repeated."""

    formatter = MlsxFormatter(selection=selection, name_policy=policy, perm=lambda _: perm)
    lines = [
        format_mlsx_line(
            entry.name, facts_for_entry(entry, perm=perm), selection=selection, name_policy=policy
        )
        for entry in listed
    ]
    assert [formatter.format(entry) for entry in listed] == lines
    block = b"".join(line + b"\r\n" for line in lines if line is not None)
    assert formatter.format_block(listed) == block
    assert formatter.format_block(iter(listed)) == block


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), -float("inf"), 2**63, -(2**63)])
def test_a_time_that_cannot_be_expressed_is_left_out(moment: float) -> None:
    """The fact is left out, and the line is written."""

    entry = ListingEntry(name="a", size=1, modified=moment)
    line = MlsxFormatter().format_block([entry])
    assert b"modify=" not in line
    assert line.endswith(b" a\r\n")


def test_without_permissions() -> None:
    """The fact is left out."""

    line = MlsxFormatter().format_block([ListingEntry(name="x", modified=int(SECONDS))])
    assert parsed(line)[1].perm is None


def test_permissions_are_asked_for_once_for_all_that_have_them_in_common() -> None:
    """Type, permissions, owner and group matter; size, time and name do not."""

    asked = []

    def perm(entry: ListingEntry) -> str:
        asked.append((entry.type, entry.permissions))
        return "r"

    formatter = MlsxFormatter(perm=perm)
    for number in range(10):
        kind = EntryType.DIRECTORY if number % 2 else EntryType.FILE
        formatter.format_block([ListingEntry(name=str(number), type=kind, size=number)])
    assert len(asked) == 2


def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cache is emptied when it is full, and the lines stay correct."""

    monkeypatch.setattr(mlsx, "CACHE_LIMIT", 3)
    formatter = MlsxFormatter()
    start = datetime(2026, 1, 31, tzinfo=UTC)
    for number in range(10):
        entry = ListingEntry(
            name="x", uid=number, modified=(start + timedelta(hours=23 * number)).timestamp()
        )
        line = format_mlsx_line("x", facts_for_entry(entry))
        assert line is not None
        assert formatter.format_block([entry]) == line + b"\r\n"
    for cache in (formatter._templates, formatter._days):
        assert 0 < len(cache) <= 3
