"""Names of parts, what can be resumed, and what goes first: decided from facts alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata.errors import BadArgument, FileUnavailable
from ftpdata.files._part_rules import (
    KeptPart,
    Kind,
    PartLimits,
    PartStatus,
    Resumption,
    how_to_resume,
    is_expired,
    is_reserved,
    is_stale,
    kind_of,
    owner_tag,
    part_name,
    part_of_void,
    tag_of,
    temporary_name,
    too_many,
    void_name,
)

SECOND = 1_000_000_000

names = st.binary(min_size=1, max_size=255).filter(lambda name: b"/" not in name)


# Names


@given(names, st.binary(min_size=1))
def test_the_name_of_a_part(name: bytes, owner: bytes) -> None:
    """It fits everywhere, is reserved, says whose it is, and nothing of it comes from a client."""

    tag = owner_tag(owner)
    part = part_name(tag, name)
    assert len(part) < 100
    assert part.isascii()
    assert b"/" not in part
    assert is_reserved(part)
    assert kind_of(part) is Kind.PART
    assert tag_of(part) == tag
    void = void_name(part, 0xABC)
    assert kind_of(void) is Kind.VOID
    assert part_of_void(void) == (part, b"abc")
    assert void_name(b"x-part.y/" + part, 0xABC) == b"x-part.y/" + void


@given(names, names, st.binary(min_size=1), st.binary(min_size=1))
def test_two_parts_have_two_names(one: bytes, two: bytes, ann: bytes, bob: bytes) -> None:
    """Only parts of one owner and one name have the same name."""

    is_same = part_name(owner_tag(ann), one) == part_name(owner_tag(bob), two)
    assert is_same == ((one, ann) == (two, bob))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (".ftpdata-part.a.b", Kind.PART),
        (".ftpdata-temp.a", Kind.TEMPORARY),
        (".ftpdata-void.a.b.c", Kind.VOID),
        (".ftpdata-", None),
        (".ftpdata-other", None),
        (".ftpdata-part.a", None),
        (".ftpdata-part.a.b.c", None),
        (".FTPDATA-PART.a.b", None),
    ],
)
def test_reserved_names(name: str, expected: Kind | None) -> None:
    """In any case of letters; but only names that were made here are anything more."""

    assert is_reserved(name)
    assert is_reserved(name.encode())
    assert kind_of(name.encode()) is expected


@pytest.mark.parametrize("name", ["", ".", ".ftpdata", "ftpdata-part.a.b", " .ftpdata-", "\udcff"])
def test_names_that_only_look_reserved(name: str) -> None:
    """What only looks similar is a name like any other."""

    assert not is_reserved(name)
    assert not is_reserved(name.encode("utf-8", "surrogateescape"))
    assert kind_of(name.encode("utf-8", "surrogateescape")) is None


def test_a_temporary_name() -> None:
    """It is reserved, too."""

    assert temporary_name(b"\x01\xff") == b".ftpdata-temp.01ff"
    assert kind_of(temporary_name(b"\x01\xff")) is Kind.TEMPORARY


# Decisions


@pytest.mark.parametrize(("size", "told"), [(0, 0), (1, 0), (2, 1), (1000, 999)])
def test_the_size_in_the_reply(size: int, told: int) -> None:
    """A client that has sent all must send something, or the file would never be published."""

    assert PartStatus(size, 0).told_size == told


@pytest.mark.parametrize(
    ("offset", "part", "changed_ns", "expected"),
    [
        # No file of the name
        (1, None, None, FileUnavailable),
        (0, PartStatus(10, 5), None, Resumption.PART),
        (9, PartStatus(10, 5), None, Resumption.PART),
        (10, PartStatus(10, 5), None, Resumption.PART),
        (11, PartStatus(10, 5), None, BadArgument),
        # A file, and no part, or one that is older
        (1, None, 5, Resumption.IN_PLACE),
        (11, PartStatus(10, 4), 5, Resumption.IN_PLACE),
        # A file, and a part that is younger; of the same moment counts as younger
        (10, PartStatus(10, 6), 5, Resumption.PART),
        (10, PartStatus(10, 5), 5, Resumption.PART),
        (11, PartStatus(10, 6), 5, BadArgument),
    ],
)
def test_what_an_upload_goes_on_with(
    offset: int,
    part: PartStatus | None,
    changed_ns: int | None,
    expected: Resumption | type[Exception],
) -> None:
    """A part that is younger than the file, else the file; never beyond the end of a part."""

    if isinstance(expected, Resumption):
        assert how_to_resume(offset, part, changed_ns) is expected
        return

    with pytest.raises(expected) as caught:
        how_to_resume(offset, part, changed_ns)
    if expected is BadArgument:
        assert f"{offset} is beyond the 10 bytes" in str(caught.value)
        assert ("old file" in str(caught.value)) == (changed_ns is not None)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 3), st.none() | st.integers(0, 3))
def test_old_and_new_are_never_mixed(
    offset: int, size: int, modified_ns: int, changed_ns: int | None
) -> None:
    """An upload resumes a part only within its bytes, and never one older than the file."""

    part = PartStatus(size, modified_ns)
    try:
        how = how_to_resume(offset, part, changed_ns)
    except BadArgument:
        assert offset > size
        return

    assert (how is Resumption.IN_PLACE) == (changed_ns is not None and is_stale(part, changed_ns))
    assert how is Resumption.IN_PLACE or offset <= size


@pytest.mark.parametrize(
    ("modified_ns", "expected"), [(9, (True, True)), (10, (False, True)), (11, (False, False))]
)
def test_a_part_of_the_same_time(modified_ns: int, expected: tuple[bool, bool]) -> None:
    """It is as old as the file, and who asks says what that means."""

    part = PartStatus(1, modified_ns)
    assert (is_stale(part, 10), is_stale(part, 10, in_doubt=True)) == expected


@pytest.mark.parametrize(("now", "expected"), [(9.0, False), (14.9, False), (15.0, True)])
def test_when_a_part_is_too_old(now: float, expected: bool) -> None:
    """It is too old once it has reached the age; a clock that was set back removes nothing."""

    assert is_expired(5 * SECOND, now, 10.0) is expected


# What goes first


def kept(size: int, modified_ns: int) -> KeptPart:
    """Make a part."""

    return KeptPart(size, modified_ns)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (PartLimits(), []),
        (PartLimits(count=2), ["old"]),
        (PartLimits(count=1), ["old", "middle"]),
        (PartLimits(count=0), ["old", "middle", "new"]),
        (PartLimits(size=55), []),
        (PartLimits(size=54), ["old"]),
        (PartLimits(size=44), ["old", "middle"]),
        (PartLimits(size=30), ["old", "middle"]),
        # What does not fit at all does not push the others out.
        (PartLimits(size=29), ["new"]),
        (PartLimits(size=0), ["old", "middle", "new"]),
    ],
)
def test_what_goes_first(limits: PartLimits, expected: list[str]) -> None:
    """The oldest goes first, whatever their order was."""

    parts = {"new": kept(30, 3), "old": kept(10, 1), "middle": kept(15, 2)}
    assert sorted(too_many(parts.items(), limits)) == sorted(expected)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), max_size=12),
    st.integers(0, 12),
    st.integers(0, 100),
)
def test_what_stays_keeps_to_the_limits(
    sizes: list[tuple[int, int]], count: int, size: int
) -> None:
    """Nothing goes that is younger than what stays, unless it is too large by itself."""

    parts = {number: kept(*part) for number, part in enumerate(sizes)}
    goes = too_many(parts.items(), PartLimits(count=count, size=size))
    assert len(set(goes)) == len(goes)
    stays = [part for number, part in parts.items() if number not in goes]
    assert len(stays) <= count
    assert sum(part.size for part in stays) <= size
    for number in goes:
        if parts[number].size <= size:
            assert all(parts[number].modified_ns <= part.modified_ns for part in stays)
    if len(parts) <= count and sum(part.size for part in parts.values()) <= size:
        assert not goes


def test_64_parts_and_64_gibibytes_are_kept_for_a_week_by_default() -> None:
    """One more part, or one more byte, is too many."""

    limits = PartLimits()
    parts = {number: kept(2**30, number) for number in range(64)}
    assert not list(too_many(parts.items(), limits))
    assert list(too_many({**parts, 64: kept(0, 64)}.items(), limits)) == [0]
    assert list(too_many({**parts, 63: kept(2**30 + 1, 63)}.items(), limits)) == [0]
    assert limits.age == timedelta(weeks=1).total_seconds()


@pytest.mark.parametrize("name", ["count", "size", "age"])
@pytest.mark.parametrize("value", [-1, float("nan")])
def test_limits_are_not_negative(name: str, value: Any) -> None:
    """They are refused where they are made."""

    with pytest.raises((TypeError, ValueError), match=name):
        attrs.evolve(PartLimits(), **{name: value})
