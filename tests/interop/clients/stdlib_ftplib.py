"""ftplib of the standard library."""

from __future__ import annotations

import ftplib
import platform
import ssl
from collections.abc import Sequence
from typing import Any, ClassVar

from tests.interop.clients.base import PATIENCE, Client
from tests.interop.names import names_of_lines
from tests.interop.served import Site
from tests.interop.ways import Abort, Get, Listing, Protection, Put, Step, Way

__all__ = ["Ftplib"]


class _Resuming(ftplib.FTP_TLS):
    """A subclass as in many programs that must resume the session of the control connection."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[Any, int | None]:
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        assert isinstance(self.sock, ssl.SSLSocket)
        try:
            return (
                self.context.wrap_socket(
                    connection, server_hostname=self.host, session=self.sock.session
                ),
                size,
            )
        except BaseException:
            connection.close()
            raise


class Ftplib(Client):
    """The module, in this process; its encoding is latin-1, which preserves bytes."""

    name = "ftplib"
    # It supports PASV and PORT for IPv4, EPSV and EPRT for IPv6.
    ways = frozenset({Way.PASV_4, Way.PORT_4, Way.EPSV_6, Way.EPRT_6})
    protections: ClassVar = {Protection.TLS_1_2: True, Protection.TLS_1_3: True}

    def _find_version(self) -> str:
        return platform.python_version()

    def _do(self, site: Site, steps: Sequence[Step]) -> list[list[bytes]]:
        listings: list[list[bytes]] = []
        with self._ftp(site) as ftp:
            ftp.connect(site.host, site.port)
            ftp.login(site.user, site.password)
            if isinstance(ftp, ftplib.FTP_TLS):
                ftp.prot_p()
            ftp.set_pasv(site.way.is_passive)
            for step in steps:
                names = self._step(ftp, step)
                if isinstance(step, Listing):
                    listings.append(names)

        return listings

    @staticmethod
    def _ftp(site: Site) -> ftplib.FTP:
        if site.protection is None:
            return ftplib.FTP(timeout=PATIENCE, encoding="latin-1")

        return _Resuming(context=site.context, timeout=PATIENCE, encoding="latin-1")

    def _step(self, ftp: ftplib.FTP, step: Step) -> list[bytes]:
        remote = step.remote.decode("latin-1")
        match step:
            case Get(ascii=True):
                with step.local.open("w", encoding="latin-1") as file:
                    ftp.retrlines(f"RETR {remote}", lambda line: print(line, file=file))
            case Get():
                with step.local.open("ab" if step.offset else "wb") as file:
                    ftp.retrbinary(f"RETR {remote}", file.write, rest=step.offset or None)
            case Put(ascii=True):
                with step.local.open("rb") as source:
                    ftp.storlines(f"STOR {remote}", source)
            case Put():
                with step.local.open("rb") as source:
                    source.seek(step.offset)
                    ftp.storbinary(f"STOR {remote}", source, rest=step.offset or None)
            case Abort():
                ftp.voidcmd("TYPE I")
                with ftp.transfercmd(f"RETR {remote}") as connection:
                    connection.recv(1)
                    ftp.abort()
                # The reply so far was the 426; this one is for ABOR.
                ftp.voidresp()
            case Listing(command="LIST"):
                lines: list[str] = []
                ftp.dir(remote, lines.append)
                return names_of_lines([line.encode("latin-1") for line in lines])
            case Listing(command="NLST"):
                return [name.encode("latin-1") for name in ftp.nlst(remote)]
            case Listing():
                entries = ftp.mlsd(remote)
                return [
                    name.encode("latin-1")
                    for name, facts in entries
                    if facts["type"] not in {"cdir", "pdir"}
                ]

        return []
