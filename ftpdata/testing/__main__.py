"""The conformance run from the command line: ``python -m ftpdata.testing HOST PORT``.

It prints a line for each check as it ends, and a summary; with ``--json``, one JSON object and
nothing else::

    {"checks": [{"name": …, "result": "pass|fail|warning|not offered", "why": …, "source": …}]}

The exit status is 0 if no check fails, 1 if one does, and 2 if there is nothing to check: the
arguments are wrong, or the server cannot be reached or logged in to.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .._console import make_printable, say
from ._checks._frame import CHECKS
from ._words import printable, reason
from .client import Failure
from .server_check import CheckResult, Outcome, Protection, ServerUnderTest, check_server

__all__ = ["main"]

_PROGRAM = "python -m ftpdata.testing"

_NARROWEST = 60
"""Columns that a line has at least, however narrow the terminal is."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Check an FTP server: its replies, its data connections, what becomes of "
        "files. Exit status 1 if a check fails.",
    )
    parser.add_argument("host", metavar="HOST", nargs="?", help="name or address of the server")
    parser.add_argument("port", metavar="PORT", nargs="?", type=_port, help="its port")
    parser.add_argument(
        "--user",
        metavar="NAME:PASSWORD",
        default="anonymous:guest@",
        help="who logs in (default: %(default)s)",
    )
    parser.add_argument(
        "--tls",
        choices=[Protection.EXPLICIT.value, Protection.IMPLICIT.value],
        help="how connections are protected: by AUTH TLS and PROT P, or from the start; any "
        "certificate is accepted",
    )
    parser.add_argument(
        "--writable",
        metavar="REMOTE",
        help="a directory of the server in which a directory for this run may be made; without "
        "it, checks that need files are not made",
    )
    parser.add_argument(
        "--local",
        metavar="DIRECTORY",
        type=Path,
        help="the directory REMOTE as this machine sees it, for checks that change files under "
        "the server",
    )
    parser.add_argument(
        "--allow-slow", action="store_true", help="make checks that take long, too"
    )
    parser.add_argument(
        "--only", metavar="NAME", nargs="+", default=[], help="make these checks alone"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, at the end")
    parser.add_argument(
        "--list", action="store_true", help="list the checks and their sources, and end"
    )
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 1 << 16:
        raise ValueError
    return port


_port.__name__ = "port"  # what argparse calls it: "invalid port value"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Its arguments; those of the command line by default.

    Returns:
        The exit status.

    Raises:
        SystemExit: The arguments are wrong.
    """

    make_printable()
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list:
        _print_list()
        return 0

    server = _server(parser, options)
    try:
        return asyncio.run(_check(server, options.only, as_json=options.json))
    except Failure as error:
        why = str(error)
    except OSError as error:
        why = f"{server.host} port {server.port}: {reason(error)}"
    except KeyboardInterrupt:
        return 130

    print(f"{_PROGRAM}: {printable(why)}", file=sys.stderr)
    return 2


def _server(parser: argparse.ArgumentParser, options: argparse.Namespace) -> ServerUnderTest:
    """Make the server of the arguments; end the program if they are wrong."""

    if options.port is None:
        parser.error("HOST and PORT are wanted (or --list)")
    user, colon, password = options.user.partition(":")
    if not user or not colon:
        parser.error("--user wants NAME:PASSWORD")
    if options.local is not None and options.writable is None:
        parser.error("--local wants --writable, the same directory as the server names it")
    if options.local is not None and not options.local.is_dir():
        parser.error(f"--local wants a directory, not {options.local}")
    if unknown := [name for name in options.only if name not in CHECKS]:
        parser.error(f"there is no check {printable(unknown[0])!r}; --list lists them")

    return ServerUnderTest(
        options.host,
        options.port,
        user,
        password,
        Protection(options.tls) if options.tls else Protection.CLEAR,
        writable=options.writable,
        local=options.local,
        is_slow_allowed=options.allow_slow,
    )


async def _check(server: ServerUnderTest, only: Sequence[str], *, as_json: bool) -> int:
    began = time.monotonic()
    table = _Table(only or list(CHECKS))
    on_result = None if as_json else table.print_row
    results = await check_server(server, only=only, on_result=on_result)
    if as_json:
        checks = [
            {
                "name": result.name,
                "result": result.result.value,
                "why": result.why,
                "source": result.source,
            }
            for result in results
        ]
        say(json.dumps({"checks": checks}, indent=2))
    else:
        say(f"\n{summary(results)}, in {time.monotonic() - began:.1f} s")
    return int(any(result.result is Outcome.FAIL for result in results))


def summary(results: Sequence[CheckResult]) -> str:
    """Say how many checks have ended in which way."""

    counted = Counter(result.result for result in results)
    return ", ".join(f"{counted[outcome]} {outcome.value}" for outcome in Outcome)


class _Table:
    """Prints a row for each result, as wide as the terminal.

    Args:
        names: The checks that will be printed.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._width = max(_NARROWEST, shutil.get_terminal_size((100, 24)).columns)
        self._results = max(len(outcome.value) for outcome in Outcome)
        self._names = max(map(len, names))

    def print_row(self, result: CheckResult) -> None:
        head = f"{result.result.value:{self._results}}  {result.name:{self._names}}  "
        why = result.why
        if result.result in {Outcome.FAIL, Outcome.WARNING}:
            why = f"{why} [{result.source}]"
        indent = len(head)
        if self._width - indent < _NARROWEST // 2:
            # A narrow terminal has the reason in lines of its own.
            head, indent = f"{head.rstrip()}\n", 4
            head += " " * indent if why else ""
        lines = textwrap.wrap(why, self._width - indent, break_on_hyphens=False)
        say((head + f"\n{' ' * indent}".join(lines)).rstrip())


def _print_list() -> None:
    width = max(_NARROWEST, shutil.get_terminal_size((100, 24)).columns)
    for check in CHECKS.values():
        slow = ", slow" if check.is_slow else ""
        say(f"{check.name} ({check.source}{slow})")
        say(textwrap.indent(textwrap.fill(check.sentence, width - 4), "    "))


if __name__ == "__main__":
    sys.exit(main())
