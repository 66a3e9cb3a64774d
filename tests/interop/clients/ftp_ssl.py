"""ftp-ssl: the FTP client of NetKit, with SSL."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import ClassVar

from tests.interop.clients.tnftp import Tnftp
from tests.interop.ways import Capability, Way

__all__ = ["FtpSsl"]


class FtpSsl(Tnftp):
    """A relative of tnftp with the same ancestor, which reads commands from standard input."""

    name = "ftp-ssl"
    executable = "ftp-ssl"
    # Over IPv4 it supports neither EPSV nor EPRT.
    ways = frozenset({Way.PASV_4, Way.PORT_4, Way.EPSV_6, Way.EPRT_6})
    cannot: ClassVar = {Capability.MLSD: "it has no MLSD"}
    options = ("-i", "-n", "-z", "nossl")
    active_options = ()
    switch = ""

    def _find_version(self) -> str | None:
        path = shutil.which(self.executable)
        if path is None:
            return None

        # It does not report its version.
        found = re.search(rb"netkit-ftp-([\d.]+)", Path(path).read_bytes())
        return found[1].decode() if found else "?"
