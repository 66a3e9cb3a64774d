"""basic-ftp, a package of npm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.interop.clients.base import Program, output_of, run_json
from tests.interop.served import Site
from tests.interop.ways import Capability, Protection, Step, Way

__all__ = ["BasicFtp"]


class BasicFtp(Program):
    """The package, driven by a script beside this file; ``NODE_PATH`` says where it is."""

    name = "basic-ftp"
    executable = "node"
    ways = frozenset({Way.PASV_4, Way.EPSV_4, Way.EPSV_6})
    cannot: ClassVar = {
        Capability.NLST: "it has no NLST",
        Capability.TLS_EMPTY_PUT: "Node.js sends no close_notify where it has sent nothing else",
    }
    ascii_is_raw = True
    # It only has close().
    keeps_session = False
    protections: ClassVar = dict.fromkeys(Protection, True)

    def _find_version(self) -> str | None:
        program = 'console.log("version " + require("basic-ftp/package.json").version)'
        return output_of(r"version (\S+)", "node", "--eval", program)

    def _do(self, site: Site, steps: Sequence[Step]) -> list[list[bytes]]:
        return run_json(self, site, Path(__file__).with_suffix(".cjs"), steps)
