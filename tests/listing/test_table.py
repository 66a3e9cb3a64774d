"""A table gives the same lines as its entries, byte for byte, in every format."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftpdata.listing._names import NamePolicy
from ftpdata.listing.entry import EntryType, ListingEntry, Permissions
from ftpdata.listing.facts import FactSelection, perm_letters
from ftpdata.listing.mlsx import MlsxFormatter
from ftpdata.listing.nlst import NlstFormatter
from ftpdata.listing.table import (
    EntryTable,
    ListingBlock,
    StatusColumns,
    StatusRow,
    TableFormatter,
    are_plain,
    folded,
    shown,
    shown_entries,
)
from ftpdata.listing.unix import ListFormatter, ListingRules

NOW = 1_769_879_045
FILE: StatusRow = (1, 10, 20, stat.S_IFREG | 0o640, 77, 1234, NOW - 3600, 0x1B)

kinds = st.sampled_from(
    [
        *(stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFBLK, stat.S_IFCHR, stat.S_IFIFO),
        *(stat.S_IFSOCK, 0),
    ]
)
rows: st.SearchStrategy[StatusRow] = st.tuples(
    st.integers(0, 20_000),
    st.integers(0, 3),
    st.integers(0, 3),
    st.builds(lambda kind, mode: kind | mode, kinds, st.integers(0, 0o7777)),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1) | st.integers(NOW - 40_000_000, NOW + 40_000_000),
    st.integers(0, 3),
)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1) | st.binary(
    min_size=1
).map(lambda name: name.decode("utf-8", "surrogateescape"))


@st.composite
def tables(draw: st.DrawFn) -> EntryTable:
    """Draw tables, most of a few entries that have much in common, by rows or columns."""

    listed = draw(st.lists(st.tuples(names, rows | st.just(FILE)), max_size=8))
    places = st.integers(0, max(0, len(listed) - 1))
    targets = draw(st.dictionaries(places, names, max_size=3)) if listed else {}
    held: Sequence[StatusRow] = [row for _, row in listed]
    if draw(st.booleans()) and listed:
        held = StatusColumns([*zip(*held, strict=True)])

    return EntryTable([name for name, _ in listed], held, targets, lambda number: number * 7)


Maker = Callable[[NamePolicy], TableFormatter]
MAKERS: dict[str, Maker] = {
    "LIST": lambda policy: ListFormatter(now=NOW, name_policy=policy),
    "Twisted": lambda policy: ListFormatter(
        now=NOW, rules=ListingRules.TWISTED, name_policy=policy
    ),
    "NLST": lambda policy: NlstFormatter(name_policy=policy),
    "MLSD": lambda policy: MlsxFormatter(
        selection=FactSelection(), perm=_letters, name_policy=policy
    ),
}


def _letters(entry: ListingEntry) -> str:
    return perm_letters(
        is_directory=entry.is_directory, readable=True, writable=entry.permissions & 0o200 != 0
    )


@pytest.mark.parametrize("policy", NamePolicy)
@pytest.mark.parametrize("kind", MAKERS)
@settings(max_examples=40)  # for each of twelve formatters
@given(tables=st.lists(tables(), max_size=3))
def test_lines_of_a_table_are_those_of_its_entries(
    kind: str, policy: NamePolicy, tables: list[EntryTable]
) -> None:
    """With caches cold and warm, each line is what the formatter makes of one entry."""

    formatter, other = MAKERS[kind](policy), MAKERS[kind](policy)
    for table in tables:
        block = formatter.format_table(table)
        assert block == other.format_block(table.entries())
        assert block == formatter.format_table(table)
        single = [other.format(entry) for entry in table.entries()]  # type: ignore[attr-defined]
        assert block == b"".join(line + b"\r\n" for line in single if line is not None)


@given(tables())
def test_one_entry_is_one_line(table: EntryTable) -> None:
    """This holds for any names and targets; the escaping policy leaves none out."""

    for maker in MAKERS.values():
        block = maker(NamePolicy.ESCAPE).format_table(table)
        assert block.count(b"\n") == block.count(b"\r\n") == len(table.names)


def test_entries_say_what_the_rows_say() -> None:
    """The names of owners and the device numbers are looked up."""

    link: StatusRow = (1, 10, 20, stat.S_IFLNK | 0o777, 78, 5, NOW, 1)
    table = EntryTable(["file", "link"], [FILE, link], {1: "file"}, lambda number: number + 1)
    assert [*table.entries(owner_name=lambda uid: f"user{uid}")] == [
        ListingEntry(
            name="file", size=1234, permissions=Permissions(0o640), modified=NOW - 3600,
            owner="user10", group="20", unique="1cg4d", uid=10, gid=20,
        ),
        ListingEntry(
            name="link", size=5, type=EntryType.SYMLINK, permissions=Permissions(0o777),
            modified=NOW, owner="user10", group="20", target="file", unique="2g4e", uid=10, gid=20,
        ),
    ]  # fmt: skip


OTHER: StatusRow = (2, 10, 20, stat.S_IFDIR | 0o755, 79, 40, NOW - 90, 0x1B)


def test_rows_by_columns_are_rows() -> None:
    """Rows can be added one by one, in parts, and all at once."""

    rows = [FILE, OTHER, FILE]
    by_columns = StatusColumns([*zip(*rows, strict=True)])
    assert [*by_columns] == rows
    assert (len(by_columns), by_columns[1], by_columns[-1]) == (3, OTHER, FILE)
    assert [*by_columns[1:]] == rows[1:]
    assert OTHER in by_columns
    assert EntryTable(["a", "b", "c"], rows).columns == EntryTable([], by_columns).columns
    assert [*EntryTable([]).columns] == [()] * len(FILE)


@pytest.mark.parametrize("kind", [tuple, lambda column: memoryview(bytes(column))])
def test_columns_are_folded_where_all_rows_are_the_same(
    kind: Callable[[tuple[int, ...]], Sequence[int]],
) -> None:
    """They are not folded elsewhere, even if only the last row differs."""

    same, differs = kind((5, 5, 5)), kind((5, 5, 6))
    columns, times = folded(same, kind((7, 7, 7)))
    assert ([[*column] for column in columns], times) == ([[5], [7]], 3)
    columns, times = folded(same, differs)
    assert ([[*column] for column in columns], times) == ([[5, 5, 5], [5, 5, 6]], 1)
    columns, times = folded(kind((5,)))
    assert ([[*column] for column in columns], times) == ([[5]], 1)


def test_ordinary_names_are_shown_as_they_are() -> None:
    """No new table is made; a name that the policy skips is left out with its row."""

    table = EntryTable(["a", "b"], [FILE, OTHER])
    assert shown(table, NamePolicy.SKIP) is table
    odd = EntryTable(["a\n", "b"], [FILE, OTHER])
    assert shown(odd, NamePolicy.SKIP) == EntryTable(["b"], [OTHER])
    assert shown(odd, NamePolicy.REPLACE) == EntryTable(["a?", "b"], [FILE, OTHER])


@given(st.lists(names | st.text(st.characters(max_codepoint=0x7F))))
def test_plain_names_are_printable(listed: list[str]) -> None:
    """ASCII names are checked in another way, with the same result."""

    text = "".join(listed)
    assert are_plain(listed) == (text.isprintable() and "\\" not in text)


def test_entries_with_ordinary_names_are_shown_as_they_are() -> None:
    """All other names follow the policy: bytes, targets, and those that are skipped."""

    plain = [ListingEntry(name="a"), ListingEntry(name="b")]
    assert shown_entries(iter(plain), NamePolicy.SKIP, with_targets=True) == (["a", "b"], plain)

    link = ListingEntry(name="c", type=EntryType.SYMLINK, target="")
    no_link = ListingEntry(name="d", target="x")
    raw, odd = ListingEntry(name=b"\xe9"), ListingEntry(name="e\n")
    bad = attrs.evolve(link, target="\n")
    some = [link, no_link, raw, odd, bad]
    assert shown_entries([link], NamePolicy.SKIP, with_targets=True) == (["c -> "], [link])
    assert shown_entries(some, NamePolicy.SKIP) == (["c", "d", "\udce9", "c"], [*some[:3], bad])
    assert shown_entries(some, NamePolicy.SKIP, with_targets=True) == (
        ["c -> ", "d", "\udce9"],
        some[:3],
    )
    assert shown_entries([odd], NamePolicy.REPLACE) == (["e?"], [odd])


def test_names_without_rows() -> None:
    """They are entries of which only the name is known."""

    table = EntryTable(["a", "b\n"])
    assert [entry.name for entry in table.entries()] == ["a", "b\n"]
    assert NlstFormatter().format_table(table) == b"a\r\nb\\012\r\n"
    assert NlstFormatter(name_policy=NamePolicy.SKIP).format_table(table) == b"a\r\n"
    assert NlstFormatter().format_table(EntryTable([])) == b""
    assert not NlstFormatter().needs_status


@pytest.mark.parametrize("maker", [ListFormatter, MlsxFormatter])
def test_owners_and_groups_can_have_names(maker: type[ListFormatter | MlsxFormatter]) -> None:
    """Each name is looked up once, and kept."""

    asked = []

    def owner_name(uid: int) -> str:
        asked.append(uid)
        return "root"

    moment = {"now": NOW} if maker is ListFormatter else {}
    formatter = maker(**moment, owner_name=owner_name, group_name=lambda gid: f"g{gid}")  # type: ignore[arg-type]
    lines = formatter.format_table(EntryTable(["a", "b"], [FILE, FILE])).splitlines()
    assert len(lines) == 2
    assert all(b"root" in line and b"g20" in line for line in lines)
    assert asked == [10]


def test_a_block_is_bytes() -> None:
    """The block is bytes, and declares itself to be whole lines."""

    assert ListingBlock(b"a\r\n") == b"a\r\n"
    assert isinstance(ListingBlock(b"a\r\n"), bytes)
