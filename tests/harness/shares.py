"""Selects a part of the tests that covers every test file, and so every module."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import attrs

__all__ = ["Share"]

T = TypeVar("T")


@attrs.frozen
class Share:
    """One of several parts of the tests.

    Attributes:
        part: The number of this part, from 1.
        parts: The number of parts.
    """

    part: int
    parts: int

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read `K/N`.

        Raises:
            ValueError: The text has another form, or K is not from 1 to N.
        """

        part, parts = map(int, text.split("/"))
        if not 1 <= part <= parts:
            raise ValueError(f"{text}: expected K/N with K from 1 to N")

        return cls(part, parts)

    def of(self, tests: Iterable[T], *, file: Callable[[T], object]) -> list[T]:
        """Choose every N-th test of each file, and at least one.

        All shares together are all tests.

        Args:
            tests: The tests; their order is kept.
            file: Returns the file of a test.
        """

        by_file: dict[object, list[T]] = {}
        for test in tests:
            by_file.setdefault(file(test), []).append(test)

        chosen: list[T] = []
        for group in by_file.values():
            chosen += group[(self.part - 1) % len(group) :: self.parts]

        return chosen
