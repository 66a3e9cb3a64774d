"""What the programs of this package print."""

from __future__ import annotations

import io
import os
import sys

__all__ = ["make_printable", "say"]


def make_printable() -> None:
    """Let the standard streams escape what their encoding cannot express."""

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print; if nobody reads any more, be quiet from then on: what was checked still counts."""

    try:
        print(text, flush=True)
    except BrokenPipeError:
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, sys.stdout.fileno())
        os.close(nobody)
