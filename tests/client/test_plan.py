"""What a mirror does with one directory is decided by a pure function."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.client.plan import Kind, Plan, Seen, plan_directory, seen_in_listing
from ftpdata import EntryType, ListingEntry

FILE = Seen(Kind.FILE, 5, 1000.0)
OLDER, NEWER = Seen(Kind.FILE, 5, 999.0), Seen(Kind.FILE, 5, 1001.0)
LARGER, UNKNOWN = Seen(Kind.FILE, 6, 1000.0), Seen(Kind.FILE, 5)
DIRECTORY, LINK = Seen(Kind.DIRECTORY), Seen(Kind.OTHER, 5, 1000.0)


@pytest.mark.parametrize(
    ("source", "target", "down", "up"),
    [
        (FILE, None, "transfer", "transfer"),
        (FILE, FILE, "same", "same"),
        (FILE, Seen(Kind.FILE, 5, 1000.9), "same", "same"),
        (FILE, OLDER, "transfer", "transfer"),
        (FILE, NEWER, "transfer", "same"),
        (FILE, LARGER, "transfer", "transfer"),
        (FILE, UNKNOWN, "look", "look"),
        (UNKNOWN, FILE, "look", "look"),
        (UNKNOWN, LARGER, "transfer", "transfer"),
        (UNKNOWN, None, "transfer", "transfer"),
        (FILE, DIRECTORY, "problems", "problems"),
        (FILE, LINK, "transfer", "transfer"),
        (DIRECTORY, None, "make", "make"),
        (DIRECTORY, DIRECTORY, "enter", "enter"),
        (DIRECTORY, FILE, "problems", "problems"),
        (DIRECTORY, LINK, "problems", "problems"),
        (LINK, None, "problems", "problems"),
        (LINK, LINK, "problems", "problems"),
    ],
)
def test_each_pair_has_one_fate(source: Seen, target: Seen | None, down: str, up: str) -> None:
    """A download has the time of its original; an upload may be younger."""

    there = {} if target is None else {"x": target}
    for is_upload, fate in ((False, down), (True, up)):
        plan = plan_directory({"x": source}, there, is_upload=is_upload)
        assert [name for name, found in fates(plan).items() if found] == [fate]


def fates(plan: Plan) -> dict[str, list[str]]:
    """Return the names of a plan by their fates."""

    found = {"enter": plan.enter, "make": plan.make, "transfer": plan.transfer}
    found |= {"look": plan.look, "same": plan.same}
    return {**found, "problems": [name for name, _ in plan.problems]}


seen = st.builds(
    Seen, st.sampled_from(Kind), st.none() | st.integers(0, 9), st.none() | st.floats(0, 9)
)
directories = st.dictionaries(st.text(min_size=1, max_size=2), seen, max_size=6)


@given(directories, directories, st.booleans())
def test_every_entry_has_exactly_one_fate(
    source: dict[str, Seen], target: dict[str, Seen], is_upload: bool
) -> None:
    """And nothing else is touched: what only the target has is not mentioned."""

    plan = plan_directory(source, target, is_upload=is_upload)
    assert sorted(name for names in fates(plan).values() for name in names) == sorted(source)


@given(directories, st.booleans())
def test_copy_of_itself_needs_nothing(source: dict[str, Seen], is_upload: bool) -> None:
    """Unless something is not known."""

    plan = plan_directory(source, source, is_upload=is_upload)
    assert not plan.transfer
    assert not plan.make
    assert all(None in (source[name].size, source[name].modified) for name in plan.look)


def entry(name: str | bytes, kind: EntryType = EntryType.FILE) -> ListingEntry:
    """Return an entry of a listing."""

    return ListingEntry(name=name, size=5, type=kind, modified=1000.0)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "..",
            ".",
            "",
            "../evil",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "C:x",
            "a\nb",
            "a\x1b[31m",
            "a\0",
        ),
        *(b"../evil", b"a\r\nb"),
    ],
)
def test_name_that_could_lead_elsewhere_is_not_used(name: str | bytes) -> None:
    """Whatever the server says it is."""

    for kind in EntryType:
        found, problems = seen_in_listing([entry("good"), entry(name, kind)], is_exact=True)
        assert list(found) == ["good"]
        assert len(problems) == 1


def test_entry_that_is_listed_twice_is_told() -> None:
    """The first one counts; `b"x"` is the same name."""

    found, problems = seen_in_listing([entry("x"), entry(b"x", EntryType.DIRECTORY)], is_exact=True)
    assert found == {"x": FILE}
    assert problems == [("x", "the server lists it twice")]


def test_times_count_only_if_they_are_exact() -> None:
    """Those of LIST are in minutes at best, and in a zone that nobody knows."""

    found, _ = seen_in_listing([entry("x"), entry("d", EntryType.DIRECTORY)], is_exact=False)
    assert found == {"x": UNKNOWN, "d": Seen(Kind.DIRECTORY, 5)}
    links, _ = seen_in_listing([entry("l", EntryType.SYMLINK)], is_exact=True)
    assert links["l"].kind is Kind.OTHER
