"""Lets every call of every scenario fail: ``python -m tests.torture --help``."""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.torture.injection import Fault, compile_library
from tests.torture.scenarios import SCENARIOS
from tests.torture.torture import Report, Setup, Torturer

WAYS = ("preload", "python", "descriptors", "disk")
LOOPS = ("asyncio", "uvloop")
PROTECTIONS = ("clear", "tls")


def setups(options: argparse.Namespace) -> Iterator[Setup]:
    """Give every kind of process that is asked for."""

    for way in options.way or WAYS:
        for loop in options.loop or LOOPS:
            for protection in options.protection or PROTECTIONS:
                if way != "python" or protection == "tls":
                    yield Setup(loop, protection == "tls", way)


def main() -> int:
    """Run it; return 1 if something was that must not be."""

    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), metavar="NAME")
    parser.add_argument("--loop", action="append", choices=LOOPS)
    parser.add_argument("--protection", action="append", choices=PROTECTIONS)
    parser.add_argument(
        "--way",
        action="append",
        choices=WAYS,
        help="what fails: system calls, the calls of TLS, or what needs one of the last "
        "descriptors, or of the last pages of the disk",
    )
    parser.add_argument("--sample", default="0/1", metavar="K/N", help="one of N shares")
    parser.add_argument("--seed", type=int, default=0, help="decides what is in which share")
    parser.add_argument("--fault", action="append", type=Fault.parse, default=[])
    parser.add_argument("--count", action="store_true", help="only show the calls")
    parser.add_argument("--verbose", action="store_true", help="show each fault")
    parser.add_argument("--trace", action="store_true", help="show where each call fails")
    options = parser.parse_args()
    tells = options.verbose or options.trace
    tell: Callable[[str], object] = functools.partial(print, flush=True) if tells else str
    share, shares = map(int, options.sample.split("/"))

    total = Report()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        work = Path(directory)
        library = compile_library(work)
        for setup in setups(options):
            for name in options.scenario or SCENARIOS:
                if setup.way == "disk" and not SCENARIOS[name].stores:
                    continue
                place = work / f"{name} {setup}"
                place.mkdir()
                torturer = Torturer(
                    SCENARIOS[name], setup, place, library, tell=tell, traces=options.trace
                )
                try:
                    report = Report()
                    if options.count:
                        for call, number in sorted(torturer.count().items()):
                            print(f"{number:6} {call}")
                    elif options.fault:
                        for fault in options.fault:
                            torturer.try_fault(fault, report)
                    else:
                        report = torturer.run(sample=(share, shares), seed=options.seed)
                finally:
                    torturer.close()
                print(f"{name} ({setup}): {report}", flush=True)
                for violation in report.violations:
                    print(f"  {violation}", flush=True)
                total.calls += report.calls
                total.faults += report.faults
                total.outcomes += report.outcomes
                total.violations += report.violations
                total.seconds += report.seconds
    print(f"in all: {total}")
    return bool(total.violations)


if __name__ == "__main__":
    sys.exit(main())
