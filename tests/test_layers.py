"""Imports go downwards only (design, "Layers"); the table is in pyproject.toml."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ftpdata"

LAYERS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"][
    "ftpdata"
]["layers"]
ORDER = [module for layer in LAYERS.values() for module in layer]
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.stem != "__init__"
)

# Imports that would make a pure module depend on a loop, a connection, a clock, a file, chance or
# place. `datetime` is not among them, for its types; another test checks that nothing asks it for
# the time.
IMPURE = frozenset({
    *("_thread", "anyio", "asyncio", "concurrent", "fcntl", "glob", "io", "locale", "logging"),
    *("mmap", "multiprocessing", "os", "pathlib", "random", "sched", "secrets", "select"),
    *("selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile"),
    *("threading", "time", "uuid", "zoneinfo"),
})
CLOCK_METHODS = frozenset({"now", "today", "utcnow"})


def imported_modules(module: str, source: str) -> Iterator[str]:
    """Return the absolute name of each module that a source of the package imports.

    Imports only for the type checker count, too: they show a dependency as well. A dynamic
    import cannot be read, so it counts as an import of the impure `importlib`.
    """

    package = ["ftpdata", *module.split(".")[:-1]]
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=named, level=level, names=names):
                base = [] if level == 0 else package[: len(package) - level + 1]
                home = ".".join([*base, *([named] if named else [])])
                # `from ftpdata import errors` imports ftpdata.errors; other names are not modules.
                if home.partition(".")[0] == "ftpdata":
                    inner = [f"{home}.{alias.name}" for alias in names]
                    found = [name for name in inner if name.partition(".")[2] in ORDER]
                    yield from found or [home]
                else:
                    yield home
            case ast.Call(func=ast.Name(id="__import__")):
                yield "importlib"


def offences(module: str, source: str) -> list[str]:
    """Return the imports of a module that its place in the table forbids."""

    below = ORDER[: ORDER.index(module)]
    found = []
    for name in imported_modules(module, source):
        top, _, rest = name.partition(".")
        if top == "ftpdata":
            if rest not in below:
                found.append(f"{module} imports {name}, which does not stand below it")
        elif module in LAYERS["pure"] and top in IMPURE | {"importlib"}:
            found.append(f"{module} is pure and imports {name}")

    if module in LAYERS["pure"]:
        found += [
            f"{module} is pure and asks for the time: .{node.func.attr}()"
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in CLOCK_METHODS
            and isinstance(node.func.value, ast.Name | ast.Attribute)
        ]

    return found


def test_every_module_is_in_the_table() -> None:
    """A module without a layer is an error; so is an entry for a module that is gone."""
    assert set(MODULES) == set(ORDER)


def test_the_table_names_each_module_once() -> None:
    """Each module has one place."""
    assert len(set(ORDER)) == len(ORDER)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_downwards(module: str) -> None:
    """A module imports only modules below it; a pure one imports nothing impure."""
    path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    assert offences(module, path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("errors", "from .connection.protocol import DTP"),
        ("errors", "from .connection import protocol"),
        ("errors", "from . import errors"),
        ("errors", "from . import connection"),
        ("errors", "import ftpdata.transfers.sending"),
        ("errors", "import ftpdata"),
        ("errors", "from ftpdata import outcome, limits"),
        ("errors", "from ftpdata.listing import ListingEntry"),
        ("errors", "def f():\n    from .transfers import relay"),
        ("errors", "if TYPE_CHECKING:\n    import asyncio"),
        ("errors", "import os.path"),
        ("errors", "from concurrent.futures import Future"),
        ("errors", "import importlib"),
        ("errors", "__import__('os')"),
        ("listing.entry", "datetime.now(UTC)"),
        ("listing.entry", "datetime.datetime.utcnow()"),
        ("listing.entry", "from .table import ListingBlock"),
        ("listing.entry", "from ..connection.protocol import DTP"),
        ("listing.entry", "from .. import _kernel"),
        ("opening.passive", "from .active import connect_active"),
        ("opening.passive", "from ..transfers import _direct"),
        ("connection.protocol", "from ..testing.transport import MemoryTransport"),
    ],
)
def test_an_upward_import_is_found(module: str, source: str) -> None:
    """The check finds each way to break the order."""
    assert offences(module, source) != []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("errors", "from .outcome import End"),
        ("errors", "from . import outcome"),
        ("errors", "import errno"),
        ("transfers.sending", "import asyncio, os\nfrom ..connection.protocol import DTP"),
        ("transfers.sending", "from ..connection import protocol"),
        ("listing.table", "from .entry import ListingEntry"),
        ("listing.entry", "self.format(entry, now=now)"),
        ("testing.conformance", "from ..transfers.relaying import relay"),
    ],
)
def test_a_downward_import_is_allowed(module: str, source: str) -> None:
    """The check accepts what is in order."""
    assert offences(module, source) == []
