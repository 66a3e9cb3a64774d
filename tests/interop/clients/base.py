"""The driver of a client: what the client can do, as data, and how it is controlled."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs

from tests.interop.names import names_of_lines
from tests.interop.served import Site, clean_environment
from tests.interop.ways import RARE, Capability, Listing, Protection, Step, Way

__all__ = [
    "PATIENCE",
    "Client",
    "Program",
    "names_of",
    "output_of",
    "run_json",
    "wait_for_some",
]

PATIENCE = 60.0
"""Seconds for a client to do its steps."""


class Client(ABC):
    """A driver: translates steps into what one client understands.

    Attributes:
        name: Its name in the table.
        is_optional: Whether it may be missing where every client is required.
        ways: The ways in which it can open data connections.
        cannot: What it cannot do, and why.
        rare: The rare capabilities that it has.
        strips: The listings in which its parser strips blanks from names.
        ascii_is_raw: Whether TYPE A is all that it does for ASCII, without converting line ends.
        keeps_session: Whether its session goes on after an abort; if not, it begins a new one.
        protections: How it can be protected, and whether every data connection then resumes
            the TLS session of the control connection.
        way_of_tls: The way in which it opens data connections then.
    """

    name: ClassVar[str]
    is_optional: ClassVar[bool] = False
    ways: ClassVar[frozenset[Way]]
    cannot: ClassVar[Mapping[Capability, str]] = {}
    rare: ClassVar[frozenset[Capability]] = frozenset()
    strips: ClassVar[frozenset[str]] = frozenset()
    ascii_is_raw: ClassVar[bool] = False
    keeps_session: ClassVar[bool] = True
    protections: ClassVar[Mapping[Protection, bool]] = {}
    way_of_tls: ClassVar[Way] = Way.PASV_4

    @functools.cached_property
    def version(self) -> str | None:
        """The installed version; None if it is not installed."""

        return self._find_version()

    def can(self, capability: Capability) -> bool:
        """Return whether it has a capability."""

        return capability in self.rare if capability in RARE else capability not in self.cannot

    def run(self, site: Site, steps: Sequence[Step]) -> list[list[bytes]]:
        """Log in, do the steps, quit. Return the names that each `Listing` has shown.

        Raises:
            AssertionError: The client reports that something failed.
        """

        return self._do(site, steps)

    @abstractmethod
    def _find_version(self) -> str | None: ...

    @abstractmethod
    def _do(self, site: Site, steps: Sequence[Step]) -> list[list[bytes]]: ...


class Program(Client):
    """A client that is a program of its own."""

    executable: ClassVar[str]
    version_arguments: ClassVar[Sequence[str]] = ("--version",)
    version_pattern: ClassVar[str]

    def _find_version(self) -> str | None:
        return output_of(self.version_pattern, self.executable, *self.version_arguments)

    def run_program(
        self, site: Site, *arguments: str | bytes | Path, stdin: bytes = b""
    ) -> bytes:
        """Run the program in the scratch directory; return its output."""

        with self.start_program(site, *arguments) as process:
            output, _ = process.communicate(stdin, timeout=PATIENCE)

        said = output.decode(errors="backslashreplace")
        assert process.returncode == 0, f"exit code {process.returncode}: {said}"
        return output

    @contextlib.contextmanager
    def start_program(
        self, site: Site, *arguments: str | bytes | Path
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start the program; it never outlives the context."""

        with subprocess.Popen(
            [self.executable, *arguments],
            cwd=site.scratch,
            env=clean_environment(site.scratch),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


def output_of(pattern: str, executable: str, *arguments: str) -> str | None:
    """Return what a pattern finds in a program's output; None if there is no such program."""

    if shutil.which(executable) is None:
        return None

    try:
        done = subprocess.run(
            [executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None

    found = re.search(pattern, done.stdout.decode(errors="replace"))
    return found[1] if found else None


def wait_for_some(path: Path) -> None:
    """Wait until a client has written to a file, by polling: nothing reports it."""

    give_up_at = time.monotonic() + PATIENCE
    while not path.exists() or path.stat().st_size == 0:
        assert time.monotonic() < give_up_at, f"nothing was written to {path.name}"
        time.sleep(0.005)


def names_of(listing: Listing, output: bytes) -> list[bytes]:
    """Return the names in the text that a client shows: lines of ls, bare names, or facts."""

    lines = output.split(b"\n")
    assert lines.pop() == b"", f"the last line does not end: {output!r}"
    lines = [line.removesuffix(b"\r") for line in lines]
    match listing.command:
        case "LIST":
            return names_of_lines(lines)
        case "NLST":
            # Clients differ in whether they show the directory before a name.
            return [line.removeprefix(listing.remote + b"/") for line in lines]
        case _:
            facts = re.compile(rb"(?:[a-zA-Z.\-]+=[^;]*;)+ (.+)", re.DOTALL)
            found = [facts.fullmatch(line) for line in lines]
            assert all(found), f"no lines of MLSD: {lines}"
            kinds = (b"type=cdir;", b"type=pdir;")
            return [
                match[1]
                for match in found
                if match is not None and not any(kind in match[0].lower() for kind in kinds)
            ]


def run_json(
    client: Program, site: Site, script: Path, steps: Sequence[Step]
) -> list[list[bytes]]:
    """Run a script that reads its steps as JSON from its standard input.

    Bytes are characters of latin-1 in both directions. The script prints, as JSON, one array of
    strings for each listing; any other output is an error.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            value = os.fsencode(value)
        return value.decode("latin-1") if isinstance(value, bytes) else value

    job = {
        "host": site.host,
        "port": site.port,
        "user": site.user,
        "password": site.password,
        "command": site.way.command,
        "tls": None
        if site.protection is None
        else {
            "implicit": site.protection.is_implicit,
            "version": site.protection.version,
            "authority": str(site.authority),
        },
        "steps": [
            {"do": type(step).__name__}
            | attrs.asdict(step, value_serializer=lambda _, __, value: plain(value))
            for step in steps
        ],
    }
    output = client.run_program(site, script, stdin=json.dumps(job).encode())
    try:
        listings = json.loads(output)
    except ValueError:
        raise AssertionError(output.decode(errors="backslashreplace")) from None

    return [[line.encode("latin-1") for line in listing] for listing in listings]
