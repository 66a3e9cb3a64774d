"""The reference server in a process of its own, as its command line starts it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["ROOT", "started"]

ROOT: Path = Path(__file__).parents[2]
"""The directory in which ``python -m examples.server`` finds the server."""


@contextlib.contextmanager
def started(
    *arguments: str,
    wrapper: Sequence[str] = (),
    pass_fds: Sequence[int] = (),
    with_errors: bool = False,
) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """Start a server, and kill it at the end unless it has ended.

    Args:
        arguments: Those of the command line.
        wrapper: A command that runs the server, with its arguments.
        pass_fds: Descriptors that the server inherits.
        with_errors: Whether stderr can be read from the process; otherwise nobody sees it.

    Yields:
        The process, and the host and the port where it listens.
    """

    process = subprocess.Popen(
        [*wrapper, sys.executable, "-m", "examples.server", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if with_errors else subprocess.DEVNULL,
        text=True,
        pass_fds=pass_fds,
    )
    with process:
        try:
            assert process.stdout
            found = re.fullmatch(r"listening on (\S+):(\d+)\n", process.stdout.readline())
            assert found
            yield process, found[1].strip("[]"), int(found[2])
        finally:
            process.kill()
