"""Checks of arguments at the call: one clear `TypeError` that says what was expected and what came.

Pure.
"""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import Callable
from types import UnionType
from typing import Any

import attrs

__all__ = ["check_encoding", "check_type", "of_type", "wrong_type"]

Kinds = type | UnionType | tuple[type, ...]


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

    if not isinstance(value, kinds):
        raise wrong_type(name, wanted, value)


def of_type(kinds: Kinds, wanted: str) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    """Return a validator of attrs that checks the type of an attribute."""

    def validate(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        check_type(attribute.name, value, kinds, wanted)

    return validate


def check_encoding(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check the name of a character set, as a validator of attrs.

    Python imports the module of a character set when it is first used. It is better to do
    that here than in the event loop in the middle of a transfer. A name that Python does not
    know is left to whoever uses it.
    """

    if not isinstance(value, str):
        raise wrong_type(attribute.name, "the name of a character set", value)

    with contextlib.suppress(LookupError, ValueError):
        codecs.lookup(value)
