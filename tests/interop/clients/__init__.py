"""One module for each client: those of the table in its order, then the optional ones."""

from __future__ import annotations

from tests.interop.clients.aioftp_client import Aioftp
from tests.interop.clients.base import Client
from tests.interop.clients.basic_ftp import BasicFtp
from tests.interop.clients.curl import Curl
from tests.interop.clients.ftp_ssl import FtpSsl
from tests.interop.clients.inetutils_ftp import InetutilsFtp
from tests.interop.clients.lftp import Lftp
from tests.interop.clients.net_ftp import NetFtp
from tests.interop.clients.rclone import Rclone
from tests.interop.clients.stdlib_ftplib import Ftplib
from tests.interop.clients.tnftp import Tnftp
from tests.interop.clients.wget import Wget

__all__ = ["CLIENTS"]

CLIENTS: tuple[Client, ...] = (
    Curl(),
    Lftp(),
    Ftplib(),
    Tnftp(),
    NetFtp(),
    Aioftp(),
    BasicFtp(),
    Wget(),
    InetutilsFtp(),
    FtpSsl(),
    Rclone(),
)
