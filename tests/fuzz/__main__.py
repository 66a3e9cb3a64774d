"""Fuzz one harness: ``python -m tests.fuzz NAME [options and directories of libFuzzer]``.

Needs atheris. ``nox -s fuzz`` runs them all.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import atheris

from tests.fuzz.tracing import Tracing

TRACING = Tracing("ftpdata")
with TRACING:
    from tests.fuzz.harnesses import HARNESSES


def main() -> None:
    """Run until the options say so, or until an input fails."""

    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in HARNESSES:
        sys.exit(f"usage: python -m tests.fuzz {{{','.join(HARNESSES)}}} [options of libFuzzer]")

    (library,) = Path(atheris.__file__).parent.glob("core_with_libfuzzer.*")
    TRACING.register(library)
    gc.freeze()  # the modules are never garbage
    atheris.Setup(sys.argv, HARNESSES[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
