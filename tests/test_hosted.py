"""The scripts of continuous integration name what there is."""

from __future__ import annotations

import ast
import re
import tomllib
from itertools import takewhile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path for path in (ROOT / ".ci").rglob("*") if path.is_file())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PYTHONS = [
    name.removeprefix("Programming Language :: Python :: ")
    for name in PROJECT["classifiers"]
    if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", name)
]


def sessions() -> set[str]:
    """Return the names of the sessions of nox."""

    found = set()
    for node in ast.parse((ROOT / "noxfile.py").read_text("utf-8")).body:
        if not isinstance(node, ast.FunctionDef):
            continue

        for decorator in node.decorator_list:
            if ast.unparse(decorator).startswith("nox.session"):
                keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
                named = [ast.literal_eval(each.value) for each in keywords if each.arg == "name"]
                found.add(named[0] if named else node.name)

    return found


def named_in(script: str) -> set[str]:
    """Return the sessions that a script runs; one may have the Python in its name."""

    plain = re.sub(r"\$\{.*?\}+", "", script).replace('"', "")
    runs = re.findall(r"\bnox\b[^\n]*? -s ([\w -]+)", plain)
    words = (takewhile(lambda word: not word.startswith("-"), names.split()) for names in runs)
    return {word.partition("-")[0] for of_run in words for word in of_run}


def test_sessions_are_found() -> None:
    """Those with another name, too; so the tests below can fail."""

    assert {"tests", "all", "package", "lint"} <= sessions()
    assert "everything" not in sessions()
    script = 'x -m nox -s one two -- 2\n nox --python 3 -s three-${{ a.b }}\n nox -s "${x[@]}" four'
    assert named_in(script) == {"one", "two", "three", "four"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_session_that_is_named_exists(script: Path) -> None:
    """One that was renamed would be seen only where the script runs."""

    named = named_in(script.read_text("utf-8"))
    assert {"tests", "lint", "typing", "package"} <= named
    assert named <= sessions()


def test_the_hosted_checks_run_on_every_python() -> None:
    """On each that the classifiers name, in each job that has a list."""

    script = (ROOT / ".ci" / "hosted" / "github-actions.yml").read_text("utf-8")
    lists = re.findall(r"^ +python: \[(.*)\]$", script, re.MULTILINE)
    assert len(lists) == 2
    assert all(re.findall(r'"([\d.]+)"', each) == PYTHONS for each in lists)
