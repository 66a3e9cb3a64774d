"""What this system offers, and whether transfers work on it: ``python -m ftpdata``.

It needs nothing but the package and its two dependencies, uses loopback alone, and takes about a
second. It prints the version, Python and system, what the library has found that the system
offers, a line for each transfer that was tried, and last the verdict. With ``--json`` it prints
one JSON object and nothing else::

    {"version": …, "python": …, "system": …, "tls": …,
     "offers": [{"name": …, "is_there": …, "detail": …}],
     "transfers": [{"name": …, "failure": null, "size": …, "seconds": …, "sent_by": …,
                    "received_by": …, "protection": …}],
     "works": true, "verdict": "everything works"}

The exit status is 0 if everything works, and 1 if a transfer fails, other bytes arrive, or the
package cannot be loaded. What the system does not offer is told, and is no failure: the library
does without.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

try:
    from ._console import make_printable, say
    from ._offers import setting
    from ._self_check import trials
    from ._self_report import as_json, lines_of_setting, row_of_trial, verdict, works
except ImportError as _error:
    # A dependency is missing, or this Python was built without TLS.
    sys.exit(f"ftpdata cannot be loaded: {_error}")

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Its arguments; those of the command line by default.

    Returns:
        The exit status.

    Raises:
        SystemExit: The arguments are wrong.
    """

    parser = argparse.ArgumentParser(
        prog="python -m ftpdata",
        description="Tell what this system offers to ftpdata, and try a transfer each way over "
        "loopback, in clear and through TLS. Exit status 1 if one fails.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, at the end")
    as_lines = not parser.parse_args(arguments).json
    make_printable()
    with tempfile.TemporaryDirectory(prefix="ftpdata-") as directory:
        where = setting(directory)
        if as_lines:
            say("\n".join(lines_of_setting(where)))
        ended = []
        for trial in trials(Path(directory)):
            ended.append(trial)
            if as_lines:
                say(row_of_trial(trial))

    say(verdict(ended) if as_lines else json.dumps(as_json(where, ended), indent=2))
    return int(not works(ended))


def _end(number: int, _: object) -> NoReturn:
    """End the program as a signal does, after the files have been removed."""

    sys.exit(128 + number)


if __name__ == "__main__":
    for _name in ("SIGTERM", "SIGHUP"):
        _signal = getattr(signal, _name, None)
        # One that is ignored, as by nohup(1), stays so.
        if _signal is not None and signal.getsignal(_signal) is signal.SIG_DFL:
            signal.signal(_signal, _end)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
