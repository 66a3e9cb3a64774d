"""The ways in which a case is swept, and which of them a run of the tests takes."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import Literal

import attrs
import pytest

from tests.harness.loops import EAGER_TASKS

__all__ = ["Reset", "Way", "ways"]

Reset = Literal["data", "control"]


@attrs.frozen
class Way:
    """How a case is swept.

    Attributes:
        name: Of the test.
        is_twice: Whether a second cancellation follows, where the first is dealt with.
        reset: Which of the client's connections are reset in the turn of the cancellation.
        is_eager: Whether tasks start at once.
    """

    name: str
    is_twice: bool = False
    reset: Reset | None = None
    is_eager: bool = False

    def __str__(self) -> str:
        return self.name + (", eager" if self.is_eager else "")


ONCE = Way("once")
OTHERS = [
    Way("twice", is_twice=True),
    Way("data reset", reset="data"),
    Way("control reset", reset="control"),
]


def ways(cases: Collection[str], config: pytest.Config) -> list[tuple[str, Way]]:
    """Choose the ways for each case: all, or once and another one in turn."""

    if config.getoption("--all-sweeps"):
        every = [ONCE, *OTHERS]
        if EAGER_TASKS:
            every += [attrs.evolve(way, is_eager=True) for way in every]
        return list(itertools.product(cases, every))

    others = [attrs.evolve(way, is_eager=EAGER_TASKS) for way in OTHERS]
    return [
        pair
        for case, other in zip(cases, itertools.cycle(others), strict=False)
        for pair in ((case, ONCE), (case, other))
    ]
