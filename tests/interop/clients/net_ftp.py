"""Net::FTP of Perl."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.interop.clients.base import Program, names_of, output_of, run_json
from tests.interop.served import Site
from tests.interop.ways import Capability, Listing, Protection, Step, Way

__all__ = ["NetFtp"]


class NetFtp(Program):
    """The module, driven by a script beside this file."""

    name = "Net::FTP"
    executable = "perl"
    # It supports PASV and PORT for IPv4, EPSV and EPRT for IPv6.
    ways = frozenset({Way.PASV_4, Way.PORT_4, Way.EPSV_6, Way.EPRT_6})
    cannot: ClassVar = {Capability.MLSD: "it has no MLSD"}
    # It resumes a session only over PORT, uses a ticket of TLS 1.3 once, and cannot be asked for a
    # certificate.
    way_of_tls = Way.PORT_4
    protections: ClassVar = {
        Protection.TLS_1_2: True,
        Protection.TLS_1_3: False,
        Protection.IMPLICIT: False,
    }

    def _find_version(self) -> str | None:
        return output_of(
            r"version (\S+)", "perl", "-MNet::FTP", "-e", 'print "version $Net::FTP::VERSION\n"'
        )

    def _do(self, site: Site, steps: Sequence[Step]) -> list[list[bytes]]:
        listings = run_json(self, site, Path(__file__).with_suffix(".pl"), steps)
        wanted = [step for step in steps if isinstance(step, Listing)]
        return [
            names_of(step, b"".join(line + b"\n" for line in lines))
            for step, lines in zip(wanted, listings, strict=True)
        ]
