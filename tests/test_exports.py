"""The public names: `import ftpdata` gives them all, and gives nothing else away."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import ftpdata

PACKAGE = Path(ftpdata.__path__[0])

NOT_REEXPORTED = {
    "buffering",  # a way of `receive_file`; nobody else needs it
    "conversion",  # what the transfers share; nobody else needs it
    "direct",  # a way of `send_file` and `receive_file`; nobody else needs it
    "kernel",  # what the DTP asks the system; nobody else needs it
    "listener",  # what the passive listeners share; nobody else needs it
    "memory",  # what files and uploads are read into; nobody else needs it
    "pending",  # a way of `send_file` and `receive_file`; nobody else needs it
    "sending",  # a way of `send_file`; nobody else needs it
    "splicing",  # a way of `receive_file`; nobody else needs it
    "tls_transport",  # the TLS of the endpoints; nobody else needs it
    "supervision",  # what the transfers share; nobody else needs it
    "listing_dates",  # what the modules of listings share; nobody else needs it
    "listing_text",  # the same
    "workers",  # what files and directories share; nobody else needs it
    "threads",  # the same
    "testing",  # for tests: imported by its name, it stays out of programs
    "testing_conformance",  # its parts
    "testing_faults",
    "testing_recording",
    "testing_sweep",
    "testing_transport",
}
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("_"))


def exports(module: str) -> list[str]:
    """Give a module's ``__all__``."""

    return list(vars(importlib.import_module(f"ftpdata.{module}"))["__all__"])


def exported_by_package() -> list[str]:
    """Give the package's ``__all__``."""

    return list(vars(ftpdata)["__all__"])


def sort_key(name: str) -> tuple[int, str]:
    """Order names as ruff does: constants, then classes, then the rest."""

    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    return kind, name


@pytest.mark.parametrize("module", MODULES)
def test_all_is_sorted_unique_and_true(module: str) -> None:
    """`__all__` of a module is sorted, has no name twice, and only names that are there."""
    names = exports(module)
    assert names == sorted(set(names), key=sort_key)
    loaded = importlib.import_module(f"ftpdata.{module}")
    assert [name for name in names if not hasattr(loaded, name)] == []


def test_package_exports_every_public_name() -> None:
    """Every public name of every module is a public name of the package, and no other is."""
    public = {name for module in set(MODULES) - NOT_REEXPORTED for name in exports(module)}
    assert {name for name in exported_by_package() if not name.startswith("__")} == public


def test_package_all_is_sorted_and_unique() -> None:
    """`__all__` of the package is sorted and has no name twice."""
    names = exported_by_package()
    assert names == sorted(set(names), key=sort_key)


def test_each_name_is_the_same_object_everywhere() -> None:
    """A name of the package is the very object of the module that exports it."""
    for module in set(MODULES) - NOT_REEXPORTED:
        loaded = importlib.import_module(f"ftpdata.{module}")
        for name in exports(module):
            assert getattr(ftpdata, name) is getattr(loaded, name)


def test_import_waits_for_nothing_that_is_not_asked_for() -> None:
    """The package alone loads none of its modules; a pure one loads no asyncio, anyio or TLS."""
    code = (
        "import sys, json, ftpdata; first = [*sys.modules]; ftpdata.format_list_line;"
        "json.dump([first, [*sys.modules]], sys.stdout)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PACKAGE.parent,
        capture_output=True,
        check=True,
        timeout=30,
    )
    first, then = map(set, json.loads(done.stdout))
    assert not [name for name in first if name.startswith("ftpdata.")]
    assert "ftpdata.listing" in then
    assert not {"asyncio", "anyio", "ssl"} & then


def test_an_unknown_name_is_an_attribute_error() -> None:
    """And a module of public names is an attribute, as after its import."""
    with pytest.raises(AttributeError, match="no attribute 'formt_list_line'"):
        ftpdata.formt_list_line  # type: ignore[attr-defined]  # noqa: B018

    assert vars(ftpdata)["__getattr__"]("mlsx") is importlib.import_module("ftpdata.mlsx")
    assert {"DTP", "mlsx", "__all__"} <= set(dir(ftpdata))


def test_the_names_for_type_checkers_are_the_names() -> None:
    """What they read as imports is what the interpreter is told, name by name."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    imports = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imports == vars(ftpdata)["_HOMES"]


def test_no_public_name_is_that_of_a_module() -> None:
    """The import of the module would put itself in the place of the name."""
    assert not set(exported_by_package()) & set(MODULES)


def test_import_brings_in_only_what_is_declared() -> None:
    """All of `ftpdata` loads anyio, attrs and what these need, and no other third party."""
    code = "import sys, json; from ftpdata import *; json.dump([*sys.modules], sys.stdout)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=PACKAGE.parent,
        capture_output=True,
        check=True,
        timeout=30,
    )
    tops = {name.partition(".")[0] for name in json.loads(done.stdout)}
    # Of anyio: idna, sniffio and exceptiongroup in its older versions, typing_extensions.
    declared = {"ftpdata", "anyio", "attr", "attrs", "idna", "sniffio", "typing_extensions"}
    # What the interpreter's own start brings in, with every installed .pth file.
    bare = subprocess.run(
        [sys.executable, "-c", "import sys, json; json.dump([*sys.modules], sys.stdout)"],
        capture_output=True,
        check=True,
        timeout=30,
    )
    start = {name.partition(".")[0] for name in json.loads(bare.stdout)}
    foreign = tops - set(sys.stdlib_module_names) - start - declared
    assert foreign == set()
    assert "ftpdata.testing" not in json.loads(done.stdout)
