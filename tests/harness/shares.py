"""Selects a part of the tests that has tests of every file, and so of every module."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import attrs

__all__ = ["Share"]

T = TypeVar("T")


@attrs.frozen
class Share:
    """One of a number of parts.

    Attributes:
        part: Which one, from 1.
        parts: How many there are.
    """

    part: int
    parts: int

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read `K/N`.

        Raises:
            ValueError: It is something else, or K is not from 1 to N.
        """

        part, parts = map(int, text.split("/"))
        if not 1 <= part <= parts:
            raise ValueError(f"{text}: expected K/N with K from 1 to N")

        return cls(part, parts)

    def of(self, tests: Iterable[T], *, file: Callable[[T], object]) -> list[T]:
        """Choose every N-th test of each file, and at least one.

        All shares together are all tests.

        Args:
            tests: In their order, which is kept.
            file: Returns the file of a test.
        """

        by_file: dict[object, list[T]] = {}
        for test in tests:
            by_file.setdefault(file(test), []).append(test)

        chosen: list[T] = []
        for group in by_file.values():
            chosen += group[(self.part - 1) % len(group) :: self.parts]

        return chosen
