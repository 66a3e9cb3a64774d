"""Facts, their selection, and time values (RFC 3659 §2.3, §7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata.errors import BadArgument
from ftpdata.listing.entry import EntryType, ListingEntry, Permissions
from ftpdata.listing.facts import (
    SUPPORTED_FACTS,
    Facts,
    FactSelection,
    entry_from_facts,
    facts_for_entry,
    format_time_val,
    parse_time_val,
    perm_letters,
    select_facts,
)
from tests.harness.facts import FULL

MOMENT = datetime(2026, 1, 31, 17, 4, 5, tzinfo=UTC)
SECONDS = MOMENT.timestamp()


# Time values


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
    """Fractions, leap seconds, and the first and last year are read."""

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
def test_what_is_not_a_time(text: str) -> None:
    """The parser is strict, since these times come from clients, in MFMT and MDTM."""

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
    """Times are written in UTC, with the requested precision."""

    assert format_time_val(moment, digits=digits) == text


def test_microseconds_are_exact() -> None:
    """No microsecond is lost to binary fractions."""

    for micro in range(0, 1_000_000, 997):
        for second, text in ((0, "19700101000000"), (SECONDS, "20260131170405")):
            expected = f"{text}.{micro:06d}"
            assert format_time_val(second + micro / 1_000_000, digits=6) == expected
            assert format_time_val(parse_time_val(expected), digits=6) == expected


@pytest.mark.parametrize("moment", [-3.1e10, 2.6e11, datetime(2026, 1, 1), float("nan")])  # noqa: DTZ001
def test_times_that_cannot_be_expressed(moment: datetime | float) -> None:
    """Years of three or five digits, dates without a zone and NaN are refused."""

    with pytest.raises(ValueError):
        format_time_val(moment)


def test_digits_of_a_fraction() -> None:
    """A fraction has zero to six digits."""

    for digits in (-1, 7):
        with pytest.raises(ValueError, match="digits"):
            format_time_val(0, digits=digits)


times = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda moment: (moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1)
)


@given(times, st.integers(0, 6))
def test_time_round_trip(seconds: float, digits: int) -> None:
    """A time comes back as far as its digits go; with six, it is the same number."""

    back = parse_time_val(format_time_val(seconds, digits=digits))
    assert back <= seconds + 1e-4
    assert seconds - back < 10.0**-digits + 1e-4
    if digits == 6 and abs(seconds) < 2**33:
        assert round(back, 6) == round(seconds, 6)


# Facts and entries


def test_get_tells_as_it_is_written() -> None:
    """Facts are found by name in any case, the unknown ones too."""

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
    """An entry yields the facts that it has; directories have no size."""

    assert facts_for_entry(entry, perm="r") == facts


def test_facts_with_fractions() -> None:
    """Fractions have as many digits as were requested."""

    entry = ListingEntry(name="x", modified=MOMENT + timedelta(microseconds=250_999))
    assert facts_for_entry(entry, digits=2).modify == SECONDS + 0.25
    assert facts_for_entry(entry, type="cdir").type == "cdir"


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
    """Types are read in any case; an unknown type is not a file."""

    assert entry_from_facts("x", Facts(type=told)).type is kind


def test_entries_of_few_facts() -> None:
    """What the facts do not say stays unknown."""

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
    """Each letter is given where it means something (§7.5.5)."""

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
    """The dialogues of RFC 3659 §7.9.2 work, also without the last semicolon."""

    selection = select_facts(argument)
    assert selection.reply == reply
    assert FactSelection().select(argument) == selection


@pytest.mark.parametrize("argument", ["unique type;", "a;;b;", ";", "type=;", "a\tb;", "é;"])
def test_options_that_are_not_valid(argument: str) -> None:
    """A syntax error is refused, and the selection stays."""

    with pytest.raises(BadArgument) as caught:
        FactSelection().select(argument)
    assert caught.value.reply_code == 501


def test_feature_line() -> None:
    """An asterisk marks the selected facts, before and after OPTS (§7.8)."""

    selection = FactSelection(supported=("Type", "size", "X.hidden"), selected=("type",))
    assert selection.feature == "MLST type*;size;x.hidden;"
    selection = selection.select("x.HIDDEN;modify;")
    assert selection.feature == "MLST type;size;x.hidden*;"
    assert selection.reply == "MLST OPTS x.hidden;"
    assert FactSelection(supported=(), selected=()).feature == "MLST"
    assert {fact.rstrip("*") for fact in FactSelection().feature[5:-1].split(";")} == {
        *SUPPORTED_FACTS
    }
