"""The examples in the docstrings of the sub-packages run as they are."""

from __future__ import annotations

import importlib
import pkgutil
import re
import textwrap

import pytest

import ftpdata

MODULES = pkgutil.iter_modules(ftpdata.__path__)
PACKAGES = ["ftpdata", *sorted(f"ftpdata.{module.name}" for module in MODULES if module.ispkg)]

BLOCK = re.compile(r"::\n\n((?:[ ]{4}.*\n|\n)+)")
"""A literal block: what is indented after two colons at the end of a line."""


def examples(package: str) -> list[str]:
    """Return the literal blocks in a package's docstring, without their indentation."""

    guide = importlib.import_module(package).__doc__ or ""
    return [textwrap.dedent(block) for block in BLOCK.findall(guide + "\n")]


@pytest.mark.parametrize("package", [package for package in PACKAGES if examples(package)])
def test_the_examples_of_a_guide_run(package: str) -> None:
    """One after the other: a later one may use what an earlier one made."""

    names: dict[str, object] = {"__name__": package}
    for number, example in enumerate(examples(package), 1):
        exec(compile(example, f"<example {number} of {package}>", "exec"), names)


def test_a_guide_has_an_example() -> None:
    """What a sub-package is for is shown first of all."""

    shown = {package for package in PACKAGES if examples(package)}
    assert {"ftpdata.codecs", "ftpdata.listing"} <= shown
