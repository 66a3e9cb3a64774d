"""Soak the reference server: ``python -m tests.soak [MINUTES] [--loop uvloop]``.

It prints a line a minute and a summary, and exits with 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.soak.server import ServerProcess
from tests.soak.soak import LONG, SHORT, Bounds, Soak

__all__ = ["main"]


def main() -> int:
    """Run a soak; return the exit status."""

    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("minutes", nargs="?", type=float, default=60.0)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of what clients do")
    options = parser.parse_args()
    print(f"{options.minutes:g} minutes, seed {options.seed}, {options.loop}", flush=True)
    # Not in /tmp, which many systems keep in memory.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        served = Path(directory, "served")
        served.mkdir()
        with ServerProcess(served, loop=options.loop) as process:
            seconds = options.minutes * 60
            soak = Soak(
                process, served, clients=options.clients, seed=options.seed,
                bounds=Bounds() if seconds >= LONG else SHORT,
                say=lambda line: print(line, flush=True),
            )
            asyncio.run(soak.run(seconds, period=min(60.0, max(1.0, seconds / 20))))
            status = process.end()
    if status:
        soak.violations.append(f"the server ended with {status}")
    print(*soak.summary(), sep="\n", flush=True)
    return 1 if soak.violations else 0


if __name__ == "__main__":
    sys.exit(main())
