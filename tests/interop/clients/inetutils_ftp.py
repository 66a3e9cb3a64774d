"""The FTP client of GNU Inetutils."""

from __future__ import annotations

from typing import ClassVar

from tests.interop.clients.base import output_of
from tests.interop.clients.tnftp import Tnftp
from tests.interop.ways import Capability

__all__ = ["InetutilsFtp"]


class InetutilsFtp(Tnftp):
    """A relative of tnftp with the same ancestor, which reads commands from standard input."""

    name = "inetutils-ftp"
    executable = "inetutils-ftp"
    cannot: ClassVar = {Capability.MLSD: "it has no MLSD"}
    options = ("-i", "-n")
    prefers_extended = False

    def _find_version(self) -> str | None:
        return output_of(r"inetutils\) (\S+)", self.executable, "--version")
