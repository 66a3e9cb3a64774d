"""Tests of `ftpdata.contracts`: wrong objects are refused where they are passed in."""

from __future__ import annotations

import gzip
import io
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ftpdata.contracts import (
    require_binary_file,
    require_consumer,
    require_methods,
    require_producer,
)

CONSUMER = ("register_producer", "unregister_producer", "write")
PULL = ("resume_producing", "stop_producing")
PUSH = (*PULL, "pause_producing")


def with_methods(*names: str) -> object:
    """Return an object that has methods of these names."""

    return type("Made", (), {name: lambda self, *args: None for name in names})()


async def waits(*_: object) -> None:
    """Stand in for a method that was written for ``await``."""


def check_push(producer: object) -> None:
    """Require a push producer."""

    require_producer(producer, streaming=True)


def check_pull(producer: object) -> None:
    """Require a pull producer."""

    require_producer(producer, streaming=False)


CONTRACTS = [(check_push, PUSH), (check_pull, PULL), (require_consumer, CONSUMER)]


@pytest.mark.parametrize(("check", "methods"), CONTRACTS)
def test_an_object_with_the_methods_will_do(check: Any, methods: tuple[str, ...]) -> None:
    """Nothing needs to be inherited."""
    check(with_methods(*methods))


@pytest.mark.parametrize(("check", "methods"), CONTRACTS)
def test_a_method_that_is_missing_is_named(check: Any, methods: tuple[str, ...]) -> None:
    """Each method of the contract is checked."""
    for missing in methods:
        with pytest.raises(TypeError, match=rf"has a method {missing}, not <"):
            check(with_methods(*(name for name in methods if name != missing)))


@pytest.mark.parametrize(("check", "methods"), CONTRACTS)
def test_a_coroutine_is_refused(check: Any, methods: tuple[str, ...]) -> None:
    """Nobody would await it: what it should do would be lost."""
    for wrong in methods:
        thing = with_methods(*methods)
        setattr(thing, wrong, waits)
        with pytest.raises(TypeError, match=f"expected {wrong} of .* not to be async"):
            check(thing)


def test_what_is_not_callable_is_not_a_method() -> None:
    """An attribute of that name is not enough."""
    with pytest.raises(TypeError, match="a decoder, which has a method feed, not <"):
        require_methods(type("Made", (), {"feed": 1})(), "a decoder", ("feed",))


def test_open_binary_files_will_do(tmp_path: Path) -> None:
    """Files in memory, on disk, temporary and compressed pass, and anything that has the method."""
    with (
        tempfile.TemporaryFile() as temporary,
        tempfile.SpooledTemporaryFile() as spooled,
        gzip.open(tmp_path / "file.gz", "wb") as compressed,
    ):
        for file in (io.BytesIO(), temporary, spooled, with_methods("read")):
            require_binary_file(file, "readable")
        for file in (io.BytesIO(), temporary, spooled, compressed, with_methods("write")):
            require_binary_file(file, "writable")


def test_other_files_are_refused(tmp_path: Path) -> None:
    """Text files, closed files and files opened for the other direction are refused."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    with path.open("rb") as reader, path.open("wb") as writer, path.open("w") as text:
        with pytest.raises(ValueError, match="expected a writable file"):
            require_binary_file(reader, "writable")
        with pytest.raises(ValueError, match="expected a readable file"):
            require_binary_file(writer, "readable")
        with pytest.raises(TypeError, match="not a text file"):
            require_binary_file(text, "writable")
    with pytest.raises(ValueError, match="not a closed one"):
        require_binary_file(reader, "readable")
    with pytest.raises(TypeError, match="binary file, which has a method read, not None"):
        require_binary_file(None, "readable")
