"""Imports the public names of a package when they are first used (PEP 562).

``import ftpdata`` costs little, and a program that only formats listing lines
loads neither asyncio nor TLS. Each package names its public names three times:
for type checkers (imports under ``TYPE_CHECKING``), for ``import *`` (``__all__``),
and for the interpreter (the table given here). `tests/test_exports.py` keeps the
three in agreement.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping

__all__ = ["lazy_names"]


def lazy_names(
    package: str, names: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: Its ``__name__``.
        names: The public names of each module, by the module's name relative
            to the package.
    """

    homes = {name: module for module, of_module in names.items() for name in of_module}
    namespace = vars(sys.modules[package])

    def get(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")

        value = getattr(importlib.import_module(f".{home}", package), name)
        namespace[name] = value
        return value

    def names_of_package() -> list[str]:
        return sorted({*namespace, *homes})

    return get, names_of_package
