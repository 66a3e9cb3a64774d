"""The examples in docstrings that are guides run as they are: of sub-packages, and of others."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import pkgutil
import re
import textwrap

import pytest

# Its descriptors last as long as the process: no test is to be the first to use it.
import twisted.internet.reactor  # noqa: F401

import ftpdata
from tests.harness.obstores import start_runtime

# The first import of the reactor makes it, for good: it must not look like what a test has left.
importlib.import_module("twisted.internet.reactor")

MODULES = pkgutil.iter_modules(ftpdata.__path__)
PACKAGES = ["ftpdata", *sorted(f"ftpdata.{module.name}" for module in MODULES if module.ispkg)]
GUIDES = [*PACKAGES, "ftpdata.connection.twisted", "ftpdata.objectstore"]

BLOCK = re.compile(r"::\n\n((?:[ ]{4}.*\n|\n)+)")
"""A literal block: the indented text after two colons at the end of a line."""


def examples(package: str) -> list[str]:
    """Return the programs in a package's docstring: the literal blocks that begin with an import.

    Other literal blocks are fragments or drawings.
    """

    guide = importlib.import_module(package).__doc__ or ""
    blocks = [textwrap.dedent(block) for block in BLOCK.findall(guide + "\n")]
    return [block for block in blocks if block.startswith(("import ", "from "))]


@pytest.fixture(scope="module", autouse=True)
def runtime() -> None:
    """Let no test be the first to use obstore."""

    start_runtime()


@pytest.mark.parametrize("package", [package for package in GUIDES if examples(package)])
def test_the_examples_of_a_guide_run(package: str) -> None:
    """They run in order and may await; a later one may use the names of an earlier one."""

    names: dict[str, object] = {"__name__": package}
    for number, example in enumerate(examples(package), 1):
        title = f"<example {number} of {package}>"
        code = compile(example, title, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        done = eval(code, names)
        if inspect.iscoroutine(done):
            asyncio.run(done)


def test_a_guide_has_an_example() -> None:
    """Each sub-package shows a program; the guide of the transfers continues one of a server."""

    shown = {package for package in GUIDES if examples(package)}
    assert {*GUIDES} - {"ftpdata", "ftpdata.transfers"} <= shown
