"""The public names: what each package exports, and nothing else."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ftpdata
from tests.harness.packages import needs_cpython

PACKAGE = Path(ftpdata.__path__[0])

PACKAGES = (
    "ftpdata",
    "ftpdata.codecs",
    "ftpdata.connection",
    "ftpdata.files",
    "ftpdata.listing",
    "ftpdata.opening",
    "ftpdata.testing",
    "ftpdata.tls",
    "ftpdata.transfers",
)
"""Packages whose names are loaded on demand."""

MODULES = sorted(
    ".".join(("ftpdata", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    )
    for path in PACKAGE.rglob("*.py")
)
LOADED_FIRST = ["ftpdata._lazy", "ftpdata._version"]
SURFACE = Path(__file__).with_name("surface.txt")
"""Every public name of every package, for review: a change of the surface changes this file."""


def exports(module: str) -> list[str]:
    """Return a module's ``__all__``."""

    return list(vars(importlib.import_module(module))["__all__"])


def sort_key(name: str) -> tuple[int, str]:
    """Order names as ruff does: constants, then classes, then the rest."""

    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    return kind, name


def homes(package: str) -> dict[str, str]:
    """Return the home module of each of a package's names, as its imports tell type checkers."""

    path = PACKAGE.joinpath(*package.split(".")[1:], "__init__.py")
    return {
        alias.name: f"{package}.{node.module}"
        for block in ast.parse(path.read_text("utf-8")).body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def run_python(code: str, *options: str) -> list[list[str]]:
    """Run a program that prints lists of module names; return them."""

    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        cwd=PACKAGE.parent,
        capture_output=True,
        check=True,
        timeout=30,
    )
    loaded: list[list[str]] = json.loads(done.stdout)
    return loaded


@pytest.mark.parametrize("module", MODULES)
def test_all_is_sorted_unique_and_true(module: str) -> None:
    """`__all__` of a module is sorted, has no name twice, and only names that exist."""
    names = exports(module)
    assert names == sorted(set(names), key=sort_key)
    loaded = importlib.import_module(module)
    assert [name for name in names if not hasattr(loaded, name)] == []


def test_the_surface_is_the_one_that_was_reviewed() -> None:
    """No name becomes public, or disappears, by accident."""
    public = [
        module
        for module in MODULES
        if not any(part.startswith("_") for part in module.split("."))
    ]
    actual = "".join(f"{module}: {' '.join(exports(module))}\n" for module in public)
    assert actual.splitlines() == SURFACE.read_text("utf-8").splitlines()


def test_the_top_can_be_learned() -> None:
    """Most programs need about sixty names."""
    assert len(exports("ftpdata")) <= 66


@pytest.mark.parametrize("package", PACKAGES)
def test_the_three_tables_of_a_package_agree(package: str) -> None:
    """Type checkers, ``import *`` and the interpreter see the same names."""
    table = homes(package)
    assert sorted(table, key=sort_key) == exports(package)
    loaded = importlib.import_module(package)
    for name, home in table.items():
        assert getattr(loaded, name) is getattr(importlib.import_module(home), name)
    assert {*table, "__all__"} <= set(dir(loaded))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_is_at_home_in_one_module_that_says_so(package: str) -> None:
    """A package exports only what its modules export."""
    for name, home in homes(package).items():
        assert name in exports(home)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_name_is_that_of_a_module(package: str) -> None:
    """Importing the module would put it in the place of the name."""
    inside = {module.removeprefix(f"{package}.") for module in MODULES}
    assert not set(exports(package)) & inside


@pytest.mark.parametrize("package", PACKAGES)
def test_an_unknown_name_is_an_attribute_error(package: str) -> None:
    """A misspelt name is reported as anywhere in Python."""
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nonesuch'"):
        importlib.import_module(package).nonesuch  # noqa: B018


def test_import_waits_for_nothing_that_is_not_asked_for() -> None:
    """The package alone loads hardly any module; a pure one loads no asyncio, anyio or TLS."""
    first, then = run_python(
        "import sys, json, ftpdata; first = [*sys.modules]; ftpdata.format_list_line;"
        "json.dump([first, [*sys.modules]], sys.stdout)"
    )
    assert [name for name in first if name.startswith("ftpdata.")] == LOADED_FIRST
    assert "ftpdata.listing.unix" in then
    assert not {"asyncio", "anyio", "ssl"} & set(then)


@needs_cpython("PyPy names its own modules nowhere")
def test_import_brings_in_only_what_is_declared() -> None:
    """All of `ftpdata` loads anyio, attrs and their dependencies, and no other third party."""
    product = [package for package in PACKAGES if package != "ftpdata.testing"]
    loads = "; ".join(f"from {package} import *" for package in product)
    without, modules = run_python(
        f"import sys, json; {loads}; first = [*sys.modules]; from ftpdata.testing import *;"
        "json.dump([first, [*sys.modules]], sys.stdout)",
        *("-W", "error"),
    )
    # The modules that the interpreter's own start imports, with every installed .pth file.
    (bare,) = run_python("import sys, json; json.dump([[*sys.modules]], sys.stdout)")
    # Dependencies of anyio: idna, and in older versions sniffio, exceptiongroup, typing_extensions.
    declared = {"ftpdata", "anyio", "attr", "attrs", "idna", "sniffio", "typing_extensions"}
    start = {name.partition(".")[0] for name in bare}
    tops = {name.partition(".")[0] for name in modules}
    assert tops - set(sys.stdlib_module_names) - start - declared == set()
    assert "ftpdata.testing" not in without


def test_the_version_is_told() -> None:
    """By the package itself, not by what an installer knew of it."""

    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", ftpdata.__version__)
    assert "__version__" not in exports("ftpdata")
