"""GNU Wget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tests.interop.clients.base import Program, names_of, wait_for_some
from tests.interop.served import Site
from tests.interop.ways import Abort, Capability, Get, Listing, Protection, Step, Way

__all__ = ["Wget"]

_NO_UPLOADS = "it only downloads"


class Wget(Program):
    """The command runs once for each step; a pattern fetches many files of one directory."""

    name = "wget"
    executable = "wget"
    version_pattern = r"^GNU Wget (\S+)"
    # PASV and PORT are for IPv4, EPSV and EPRT for IPv6.
    ways = frozenset({Way.PASV_4, Way.PORT_4, Way.EPSV_6, Way.EPRT_6})
    cannot: ClassVar = {
        Capability.PUT: _NO_UPLOADS,
        Capability.RESUME_PUT: _NO_UPLOADS,
        Capability.ASCII_PUT: _NO_UPLOADS,
        Capability.TLS_EMPTY_PUT: _NO_UPLOADS,
        Capability.NLST: "it reads LIST only",
        Capability.MLSD: "it reads LIST only",
    }
    ascii_is_raw = True
    keeps_session = False
    # It waits 50 ms for a ticket of TLS 1.3, sometimes in vain.
    protections: ClassVar = {
        Protection.TLS_1_2: True,
        Protection.TLS_1_3: False,
        Protection.IMPLICIT: False,
    }

    def _do(self, site: Site, steps: Sequence[Step]) -> list[list[bytes]]:
        if len(steps) > 1 and (pattern := _pattern(steps)):
            url = f"{_url(site, pattern)}/*"
            self._run(site, "--directory-prefix", str(_get(steps[0]).local.parent), url)
            return []

        return [names for step in steps if (names := self._step(site, step)) is not None]

    def _step(self, site: Site, step: Step) -> list[bytes] | None:
        url = _url(site, step.remote)
        match step:
            case Get():
                words = ["--continue"] if step.offset else []
                url += ";type=a" if step.ascii else ""
                self._run(site, *words, "--output-document", str(step.local), url)
            case Listing():
                page = str(site.scratch / "index.html")
                self._run(site, "--no-remove-listing", "--output-document", page, f"{url}/")
                return names_of(step, (site.scratch / ".listing").read_bytes())
            case Abort():
                words = [*self._options(site), "--output-document", str(step.local), url]
                with self.start_program(site, *words) as process:
                    wait_for_some(step.local)
                    process.kill()

        return None

    def _run(self, site: Site, *arguments: str) -> None:
        self.run_program(site, *self._options(site), *arguments)

    @staticmethod
    def _options(site: Site) -> list[str]:
        return [
            *("--no-verbose", "--tries=1", "--timeout=20", "--no-iri", "--no-config"),
            *(f"--ftp-user={site.user}", f"--ftp-password={site.password}"),
            *([] if site.way.is_passive else ["--no-passive-ftp"]),
            *_protection(site),
        ]


def _protection(site: Site) -> list[str]:
    if site.protection is None:
        return []

    return [
        f"--ca-certificate={site.authority}",
        f"--ciphers=NORMAL:-VERS-ALL:+VERS-TLS{site.protection.version}",
        *(["--ftps-implicit"] if site.protection.is_implicit else []),
        *([] if Wget.protections[site.protection] else ["--no-ftps-resume-ssl"]),
    ]


def _url(site: Site, path: bytes) -> str:
    # It uses the scheme ftps for explicit TLS, too.
    rest = site.url(path).partition(":")[2]
    return f"{'ftp' if site.protection is None else 'ftps'}:{rest}"


def _get(step: Step) -> Get:
    assert isinstance(step, Get)
    return step


def _pattern(steps: Sequence[Step]) -> bytes | None:
    """Return the remote directory, if the steps fetch files of a single one by their own names."""

    directories = set()
    for step in steps:
        if not isinstance(step, Get):
            return None

        directory, _, name = step.remote.rpartition(b"/")
        if step.offset or step.ascii or step.local.name.encode() != name:
            return None

        directories.add(directory)

    return directories.pop() if len(directories) == 1 else None
