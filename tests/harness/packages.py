"""What only CPython has: tests that need it are skipped in sight elsewhere, on PyPy."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

__all__ = [
    "IS_CPYTHON",
    "errors_stay",
    "is_available",
    "needs_cpython",
    "needs_cryptography",
    "needs_o_path",
    "reason_to_skip",
    "skip_where_errors_stay",
    "skip_without",
    "skipping",
]

IS_CPYTHON = platform.python_implementation() == "CPython"

_CPYTHON_ONLY = frozenset({"_tracemalloc", "cryptography", "obstore", "trustme"})
"""What PyPI has no builds of for PyPy, what needs that, and a module of CPython's own."""


def is_available(package: str) -> bool:
    """Return whether this implementation of Python can have the package."""

    return IS_CPYTHON or package not in _CPYTHON_ONLY


def skip_without(package: str) -> None:
    """Skip a test whose programs need a package that this implementation of Python cannot have."""

    if not is_available(package):
        pytest.skip(f"{package} cannot be had for this Python")


def needs_cpython(reason: str) -> pytest.MarkDecorator:
    """Mark a test that tries what PyPy does otherwise."""

    return pytest.mark.skipif(not IS_CPYTHON, reason=reason)


needs_o_path = pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="Python has no O_PATH")

needs_cryptography = needs_cpython("the cryptography package writes these records")

_ERRORS_STAY = "PyPy's ssl takes the error of one connection for that of another"

errors_stay = needs_cpython(_ERRORS_STAY)


def skip_where_errors_stay() -> None:
    """Skip a test in which TLS fails on one connection and another has to go on."""

    if not IS_CPYTHON:
        pytest.skip(_ERRORS_STAY)


def reason_to_skip(error: BaseException | None) -> str | None:
    """Return why a test is skipped that raised this; None if it has failed.

    A package that this Python could have, and that is not installed, is a failure.
    """

    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            package = (error.name or "").partition(".")[0]
            return None if is_available(package) else f"{package} cannot be had for this Python"
        error = error.__cause__
    return None


@contextmanager
def skipping() -> Iterator[None]:
    """Skip the test that imports a package which this Python cannot have."""

    try:
        yield
    except ModuleNotFoundError as error:
        reason = reason_to_skip(error)
        if reason is None:
            raise

        pytest.skip(reason)
