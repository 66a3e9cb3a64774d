"""What the README names is there: files, and tests in them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`((?:tests|examples|ftpdata)/[^`\s]*)`", README)))


def names_in(path: Path) -> set[str]:
    """Return the functions of a module."""

    body = ast.parse(path.read_text("utf-8")).body
    return {item.name for item in body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("named", NAMED)
def test_what_is_named_is_there(named: str) -> None:
    """A promise points to the test that proves it; one that was renamed proves nothing."""

    file, _, test = named.partition("::")
    assert (ROOT / file).exists()
    if test:
        assert test in names_in(ROOT / file)


def test_each_promise_is_proved() -> None:
    """Each row of a table of promises names a test."""

    for heading in ("## Promises", "## Security"):
        section = README.partition(f"{heading}\n")[2].partition("\n## ")[0]
        rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
        assert len(rows) > 5
        for row in rows:
            assert "`tests/" in row or "every test" in row, row


def test_every_attack_is_run_by_nox() -> None:
    """What the README names as a long run, and what ``nox -s attacks`` runs, are the same."""

    runs = set(re.findall(r"`tests/benchmarks/(\w+)\.py`", README))
    session = (ROOT / "noxfile.py").read_text("utf-8").partition("def attacks(")[2]
    listed = re.search(r"runs = \((.*?)\)", session, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r'"(\w+)"', listed[1])) == runs
