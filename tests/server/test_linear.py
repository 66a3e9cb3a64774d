"""The checker of histories: it explains what can happen, and nothing else."""

from __future__ import annotations

import pytest

from tests.server.linear import Command, Kind, Step, explain


def _store(name: str, data: bytes, start: float, end: float) -> Command:
    return Command(f"STOR {name}", start, end, ((Step(Kind.STORE, name, data),),))


def _append(name: str, data: bytes, start: float, end: float) -> Command:
    steps = Step(Kind.BIND, name), Step(Kind.APPEND, name, data)
    return Command(f"APPE {name}", start, end, (steps,))


def _delete(name: str, start: float, end: float, *, found: bool = True) -> Command:
    kind = Kind.DELETE if found else Kind.MISSING
    return Command(f"DELE {name}", start, end, ((Step(kind, name),),))


def _rename(name: str, new: str, start: float, end: float) -> Command:
    return Command(f"RNTO {new}", start, end, ((Step(Kind.RENAME, name, new=new),),))


EXPLAINED: dict[str, tuple[list[Command], dict[str, bytes], dict[str, bytes]]] = {
    "nothing": ([], {"a": b"1"}, {"a": b"1"}),
    "one after the other": (
        [_store("a", b"1", 0, 1), _store("a", b"2", 2, 3)], {}, {"a": b"2"},
    ),
    "at once, in one order": ([_store("a", b"1", 0, 3), _store("a", b"2", 1, 2)], {}, {"a": b"1"}),
    "at once, in the other": ([_store("a", b"1", 0, 3), _store("a", b"2", 1, 2)], {}, {"a": b"2"}),
    "appended to a file that is replaced": (
        [_append("a", b"1", 0, 3), _store("a", b"2", 1, 2)], {}, {"a": b"2"},
    ),
    "appended to a file that was renamed": (
        [_append("a", b"3", 0, 9), _rename("a", "b", 1, 2), _append("b", b"2", 3, 4)],
        {"a": b"1"}, {"b": b"123"},
    ),
    "removed after it was made": ([_store("a", b"1", 0, 3), _delete("a", 1, 2)], {}, {}),
    "not there before it was made": (
        [_store("a", b"1", 0, 3), _delete("a", 1, 2, found=False)], {}, {"a": b"1"},
    ),
    "nobody read the reply": (
        [
            Command.unanswered("STOR a", 0, (Step(Kind.STORE, "a", b"1"),)),
            _delete("a", 1, 2, found=False),
        ],
        {}, {"a": b"1"},
    ),
    "cut: some of it, or nothing": (
        [Command("APPE a", 0, 1, ((), (Step(Kind.BIND, "a"), Step(Kind.APPEND, "a", b"1"))))],
        {}, {"a": b"1"},
    ),
}

UNEXPLAINED: dict[str, tuple[list[Command], dict[str, bytes], dict[str, bytes]]] = {
    "lost": ([_store("a", b"1", 0, 1)], {}, {}),
    "the earlier one stays": (
        [_store("a", b"1", 0, 1), _store("a", b"2", 2, 3)], {}, {"a": b"1"},
    ),
    "mixed": ([_store("a", b"1", 0, 3), _store("a", b"2", 1, 2)], {}, {"a": b"12"}),
    "an append that overwrites": (
        [_append("a", b"1", 0, 2), _append("a", b"2", 1, 3)], {}, {"a": b"2"},
    ),
    "a file of another is removed": (
        [_append("a", b"1", 0, 1), _store("a", b"2", 2, 3)], {}, {},
    ),
    "a false 550": ([_delete("a", 0, 1, found=False)], {"a": b"1"}, {"a": b"1"}),
    "a false 250": ([_delete("a", 0, 1)], {}, {}),
    "an upload that was cut is published": (
        [Command("STOR a", 0, 1, ((),))], {}, {"a": b"1"},
    ),
    "renamed, and still there": (
        [_rename("a", "b", 0, 1)], {"a": b"1"}, {"a": b"1", "b": b"1"},
    ),
}


@pytest.mark.parametrize(("commands", "before", "after"), EXPLAINED.values(), ids=EXPLAINED)
def test_what_can_happen_is_explained(
    commands: list[Command], before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    """By an order that has every command in it."""

    order = explain(commands, before, after)
    assert order is not None
    assert {step.partition(" [")[0] for step in order} == {command.text for command in commands}


@pytest.mark.parametrize(("commands", "before", "after"), UNEXPLAINED.values(), ids=UNEXPLAINED)
def test_what_cannot_happen_is_not_explained(
    commands: list[Command], before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    """Nothing is lost, mixed or false in any order."""

    assert explain(commands, before, after) is None
