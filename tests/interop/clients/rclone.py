"""rclone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tests.interop.clients.base import Program
from tests.interop.served import Site
from tests.interop.ways import Capability, Get, Listing, Put, Step, Way

__all__ = ["Rclone"]

_BY_ITSELF = "it decides by itself"


class Rclone(Program):
    """The command runs once for each step."""

    name = "rclone"
    executable = "rclone"
    is_optional = True
    version_arguments = ("version",)
    version_pattern = r"^rclone v(\S+)"
    ways = frozenset({Way.PASV_4, Way.EPSV_4, Way.EPSV_6})
    cannot: ClassVar = {
        Capability.RESUME_GET: "it never resumes",
        Capability.RESUME_PUT: "it never resumes",
        Capability.LAST_BYTE: "it never resumes",
        Capability.LIST: _BY_ITSELF,
        Capability.NLST: _BY_ITSELF,
        Capability.NAMES: "names are text to it",
        Capability.ASCII_GET: "it knows TYPE I only",
        Capability.ASCII_PUT: "it knows TYPE I only",
        Capability.ABORT: "there is nothing to go on with",
        Capability.FIFTY: "it opens as many sessions as it likes",
    }

    def _do(self, site: Site, steps: Sequence[Step]) -> list[list[bytes]]:
        return [names for step in steps if (names := self._step(site, step)) is not None]

    def _step(self, site: Site, step: Step) -> list[bytes] | None:
        obscured = self.run_program(site, "obscure", site.password).decode().strip()
        host = f"[{site.host}]" if site.way.family == 6 else site.host
        options = [
            *("--config", "/dev/null", "--retries", "1", "--low-level-retries", "1"),
            *("--ftp-host", host, "--ftp-port", str(site.port)),
            *("--ftp-user", site.user, "--ftp-pass", obscured),
        ]
        if site.way.command == "PASV":
            options.append("--ftp-disable-epsv")

        remote = b":ftp:" + step.remote
        match step:
            case Get():
                self.run_program(site, "copyto", *options, remote, step.local)
            case Put():
                self.run_program(site, "copyto", *options, step.local, remote)
            case Listing():
                return self.run_program(site, "lsf", *options, remote).splitlines()

        return None
