"""Checks of arguments at the call: one clear error that says what was expected and what came.

A wrong type is a `TypeError`, a wrong value a `ValueError`. What a parameter takes stands in its
annotation, and `check_call` and `checked` read it there. True and False are not numbers.

Pure.
"""

from __future__ import annotations

import codecs
import contextlib
import functools
import math
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from types import UnionType
from typing import Any

import attrs

__all__ = [
    "check_call",
    "check_encoding",
    "check_range",
    "check_seconds",
    "check_type",
    "checked",
    "of_type",
    "ranged",
    "seconds",
    "wrong_type",
]

Kinds = type | UnionType | tuple[type, ...]

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def wrong_type(name: str, wanted: str, value: object) -> TypeError:
    """Return the error for an argument of a wrong type."""

    return TypeError(f"{name} must be {wanted}, not {value!r:.60} ({type(value).__name__})")


def check_type(name: str, value: object, kinds: Kinds, wanted: str) -> None:
    """Check the type of an argument.

    Args:
        name: Name of the argument.
        value: What came.
        kinds: The types that are allowed.
        wanted: The same in words.

    Raises:
        TypeError: It is of another type.
    """

    if value.__class__ is kinds:
        return
    if not isinstance(value, kinds) or (value.__class__ is bool and kinds is int):
        raise wrong_type(name, wanted, value)


def of_type(kinds: Kinds, wanted: str) -> Validator:
    """Return a validator of attrs that checks the type of an attribute."""

    def validate(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        check_type(attribute.name, value, kinds, wanted)

    return validate


# By annotation


def check_call(function: Callable[..., object], arguments: Mapping[str, object]) -> None:
    """Check the types of the arguments of a call by the function's annotations.

    Args:
        function: The function that was called.
        arguments: Its arguments by name: ``locals()`` in its first line.

    Raises:
        TypeError: An argument is of another type.
    """

    for name, kinds, wanted in _parameters(function):
        # Each transfer makes some thirty of these checks.
        if arguments[name].__class__ not in kinds:
            wanted.check(name, arguments[name])


def checked(cls: type, fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    """Check the types of all fields of a class by their annotations: a `field_transformer`."""

    del cls
    return [
        field.evolve(validator=_by_annotation(field.validator)) if field.init else field
        for field in fields
    ]


def _by_annotation(then: Validator | None) -> Validator:
    wanted: _Wanted | None = None

    def validate(instance: Any, attribute: attrs.Attribute[Any], value: object) -> None:
        # A listing makes millions of these objects, so annotations are read once for each field:
        # at its first value, since they may name what is defined below the class.
        nonlocal wanted
        if wanted is None:
            wanted = _attributes(instance.__class__)[attribute.name]
        if wanted.kinds is not None and value.__class__ not in wanted.kinds:
            wanted.check(attribute.alias or attribute.name, value)
        if then is not None:
            then(instance, attribute, value)

    return validate


@attrs.frozen
class _Wanted:
    """What a parameter takes.

    Attributes:
        kinds: The types of it; None where the annotation says nothing that can be checked.
        words: The same in words.
    """

    kinds: tuple[type, ...] | None
    words: str

    def check(self, name: str, value: object) -> None:
        """Check a value whose class is none of the types, but may be derived from one."""

        assert self.kinds is not None
        if not isinstance(value, self.kinds) or value.__class__ is bool:
            raise wrong_type(name, self.words, value)


@functools.cache
def _parameters(function: Callable[..., object]) -> list[tuple[str, tuple[type, ...], _Wanted]]:
    """Return the parameters that can be checked: name, types, and what they take."""

    hints = typing.get_type_hints(function)
    hints.pop("return", None)
    each = [(name, _wanted(hint)) for name, hint in hints.items()]
    return [(name, wanted.kinds, wanted) for name, wanted in each if wanted.kinds is not None]


@functools.cache
def _attributes(cls: Hashable) -> dict[str, _Wanted]:
    return {name: _wanted(hint) for name, hint in typing.get_type_hints(cls).items()}


_WORDS: dict[Any, str] = {
    bool: "True or False",
    bytes: "bytes",
    float: "a number",
    int: "a whole number",
    str: "a string",
    types.NoneType: "None",
}


def _wanted(hint: Any) -> _Wanted:
    parts = typing.get_args(hint) if _is_union(hint) else (hint,)
    kinds: list[type] = []
    for part in parts:
        kind = typing.get_origin(part) or part
        # What is read and written need not be a file of `io`; a protocol says what it must have.
        says_nothing = not isinstance(kind, type) or kind is object
        if says_nothing or getattr(kind, "_is_protocol", False) or issubclass(kind, typing.IO):
            return _Wanted(None, "anything")
        kinds.extend((float, int) if kind is float else (kind,))

    words = [_WORDS.get(part) or (typing.get_origin(part) or part).__name__ for part in parts]
    return _Wanted(tuple(kinds), " or ".join(dict.fromkeys(words)))


def _is_union(hint: object) -> bool:
    return typing.get_origin(hint) in (typing.Union, UnionType)


# Ranges


def check_range(
    name: str, value: float | None, least: float, most: float = math.inf
) -> None:
    """Check that a number is within a range, both ends included; None passes.

    Raises:
        ValueError: It is outside, or not a number (NaN).
    """

    if value is not None and not least <= value <= most:
        limits = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise ValueError(f"{name} must be {limits}, not {value!r}")


def check_seconds(name: str, value: float | None, *, or_zero: bool = False) -> None:
    """Check that a duration, or another quantity, is positive and finite; None passes.

    Raises:
        ValueError: It is not.
    """

    if value is None or 0 < value < math.inf or (or_zero and value == 0):
        return

    raise ValueError(f"{name} must be a positive, finite number, not {value!r}")


def ranged(least: float, most: float = math.inf) -> Validator:
    """Return a validator of attrs that does as `check_range`, after `checked`."""

    def validate(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
        check_range(attribute.name, value, least, most)

    return validate


def seconds(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    """Do as `check_seconds`, as a validator of attrs, after `checked`."""

    check_seconds(attribute.name, value)


def check_encoding(_: object, attribute: attrs.Attribute[Any], value: str) -> None:
    """Load a character set by its name, as a validator of attrs, after `checked`.

    Python imports the module of a character set when it is first used. It is better to do
    that here than in the event loop in the middle of a transfer. Whoever uses a name that Python
    does not know gets the error.
    """

    del attribute
    with contextlib.suppress(LookupError, ValueError):
        codecs.lookup(value)
