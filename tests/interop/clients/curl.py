"""curl."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tests.interop.clients.base import Program, names_of
from tests.interop.served import Site
from tests.interop.ways import Abort, Get, Listing, Protection, Put, Step, Way

__all__ = ["Curl"]


class Curl(Program):
    """The command; one invocation does several transfers over one connection."""

    name = "curl"
    executable = "curl"
    version_pattern = r"^curl (\S+)"
    ways = frozenset(Way)
    # The only way in which it ends a download early is to send ABOR and leave.
    keeps_session = False
    protections: ClassVar = dict.fromkeys(Protection, True)

    def _do(self, site: Site, steps: Sequence[Step]) -> list[list[bytes]]:
        arguments: list[str] = ["--fail-early"]
        for number, step in enumerate(steps):
            if number:
                arguments.append("--next")
            arguments += [
                *("--silent", "--show-error"),
                *("--user", f"{site.user}:{site.password}"),
                *self._way(site.way),
                *self._protection(site),
                *self._step(site, number, step),
            ]

        self.run_program(site, *arguments)
        return [
            names_of(step, (site.scratch / f"listing{number}").read_bytes())
            for number, step in enumerate(steps)
            if isinstance(step, Listing)
        ]

    @staticmethod
    def _way(way: Way) -> list[str]:
        return {
            "PASV": ["--disable-epsv"],
            "EPSV": [],
            "PORT": ["--ftp-port", "-", "--disable-eprt"],
            "EPRT": ["--ftp-port", "-"],
        }[way.command]

    @staticmethod
    def _protection(site: Site) -> list[str]:
        if site.protection is None:
            return []

        version = site.protection.version
        return [
            *("--ssl-reqd", "--cacert", str(site.authority)),
            *(f"--tlsv{version}", "--tls-max", version),
        ]

    @staticmethod
    def _step(site: Site, number: int, step: Step) -> list[str]:
        url = site.url(step.remote)
        match step:
            case Get():
                words = ["--output", str(step.local)]
            case Put():
                words = ["--upload-file", str(step.local)]
            case Abort():
                return ["--range", "0-1023", "--output", str(step.local), url]
            case Listing():
                words = ["--output", str(site.scratch / f"listing{number}")]
                words += {"NLST": ["--list-only"], "MLSD": ["--request", "MLSD"]}.get(
                    step.command, []
                )
                return [*words, f"{url}/"]

        if step.offset:
            words += ["--continue-at", str(step.offset)]
        if step.ascii:
            words += ["--use-ascii"]
        return [*words, url]
