"""The modules whose docstrings are the guides and the reference."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

__all__ = ["ROOT", "docstring_of", "documented", "example_modules", "path_of", "public_modules"]

ROOT = Path(__file__).parents[2]


def documented() -> list[str]:
    """Return the names of the modules that have a page: all that are public, and the examples."""

    return [*public_modules(), *example_modules()]


def public_modules() -> list[str]:
    """Return the names of the package, and of the public modules in it."""

    package = importlib.import_module("ftpdata")
    inside = (info.name for info in pkgutil.walk_packages(package.__path__, "ftpdata."))
    return ["ftpdata", *sorted(name for name in inside if "._" not in name)]


def example_modules() -> list[str]:
    """Return the names of the examples, and of the modules that they consist of."""

    files = (path.relative_to(ROOT) for path in (ROOT / "examples").rglob("*.py"))
    names = {".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files}
    return sorted(name for name in names if "._" not in name)


def path_of(module: str) -> Path:
    """Return the file of a module."""

    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def docstring_of(module: str) -> str:
    """Return the docstring of a module, which is not imported."""

    found = ast.get_docstring(ast.parse(path_of(module).read_text("utf-8")))
    return inspect.cleandoc(found or "")
