"""Other FTP servers, and the reference server, as programs to run the checks of servers against.

The Debian packages of three of them conflict with each other: unpacked side by side into one
directory, they are found by the variable FTPDATA_SERVERS, which names it. Each is as its makers
have set it up, but for what makes it serve one directory, writable, on a port of its own.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import ftpdata
from ftpdata.testing import Protection, ServerUnderTest
from tests.benchmarks import serve
from tests.harness.proxies import free_ports
from tests.harness.tls import certificate_files
from tests.harness.waiting import wait_until
from tests.interop.served import PASSWORD, USER, reference_server

__all__ = ["CHECKED", "DAEMONS", "Daemon", "ReferenceServer"]

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"

CHECKED = "checked"
"""The property of a test's report: the name of a server, and the outcome of each check."""

_PATIENCE = 60.0
"""Seconds for a server to start, and to stop."""


class Daemon(ABC):
    """A server that can be checked.

    Attributes:
        name: Its name in the table.
        protections: How it can be protected here.
    """

    name: ClassVar[str]
    protections: ClassVar[tuple[Protection, ...]] = (Protection.CLEAR,)

    @property
    @abstractmethod
    def version(self) -> str | None:
        """Its version; None if it is not installed."""

    @abstractmethod
    def running(
        self, directory: Path, state: Path, protection: Protection
    ) -> contextlib.AbstractContextManager[ServerUnderTest]:
        """Run it within the context.

        Args:
            directory: The directory that it serves, empty.
            state: An empty directory for what it keeps.
            protection: How connections are protected.
        """


def _files(directory: Path) -> dict[str, Any]:
    """Make a directory that everybody may write: vsftpd refuses to serve one by itself."""

    files = directory / "files"
    files.mkdir()
    files.chmod(0o777)
    return {"writable": "/files", "local": files}


class ReferenceServer(Daemon):
    """The server of ``examples/server``."""

    name = "reference server"
    protections = (Protection.CLEAR, Protection.EXPLICIT, Protection.IMPLICIT)
    version = ftpdata.__version__

    @contextlib.contextmanager
    def running(
        self, directory: Path, state: Path, protection: Protection
    ) -> Iterator[ServerUnderTest]:
        """Run it with the certificate of the tests, if it is to be protected."""

        options: list[str] = []
        if protection is not Protection.CLEAR:
            certificate, key = certificate_files()
            options += ["--tls-cert", str(certificate), "--tls-key", str(key), "--require-tls"]
        if protection is Protection.IMPLICIT:
            options += ["--implicit-tls"]
        with reference_server(directory, state / "log", 4, *options) as port:
            yield ServerUnderTest(
                *(HOST, port, USER, PASSWORD, protection), **_files(directory)
            )


class Program(Daemon):
    """A server that is a program of its own."""

    user: ClassVar[str] = serve.NAME
    password: ClassVar[str] = serve.PASSWORD
    greets: bool = True
    """Whether it says something before the TLS handshake."""

    @abstractmethod
    def command(self, port: int, directory: Path, state: Path) -> list[str]:
        """Return the command that runs it in the foreground, on a port of `HOST`."""

    @contextlib.contextmanager
    def running(
        self, directory: Path, state: Path, protection: Protection
    ) -> Iterator[ServerUnderTest]:
        """Run its command; end it with the processes of its sessions."""

        port = free_ports(1).first
        with (
            (state / "log").open("wb") as log,
            subprocess.Popen(
                self.command(port, directory, state),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            ) as process,
        ):
            try:
                self._wait(process, port, state / "log")
                yield ServerUnderTest(
                    *(HOST, port, self.user, self.password, protection),
                    **_files(directory),
                )
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5.0)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def _wait(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        """Wait until it greets."""

        def greets() -> bool:
            assert process.poll() is None, f"{self.name} has ended: {log.read_text()}"
            with (
                contextlib.suppress(OSError),
                socket.create_connection((HOST, port), timeout=_PATIENCE) as sock,
            ):
                return not self.greets or bool(sock.recv(1))
            return False

        wait_until(greets, f"{self.name}, whose log is {log}")


class InPython(Program):
    """A server that is a Python package, set up as for the benchmarks."""

    package: ClassVar[str]

    @property
    def version(self) -> str | None:
        """Its version; None if it is not installed."""

        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(self.package)
        return None

    def command(self, port: int, directory: Path, state: Path) -> list[str]:
        """Return the command that runs it as the benchmarks do."""

        return [
            *(sys.executable, "-m", "tests.benchmarks.serve"),
            *(self.package, str(port), str(directory)),
        ]


class Pyftpdlib(InPython):
    """https://github.com/giampaolo/pyftpdlib."""

    name = package = "pyftpdlib"


class Aioftp(InPython):
    """https://github.com/aio-libs/aioftp."""

    name = package = "aioftp"


def _find(program: str) -> str | None:
    """Find a program: in FTPDATA_SERVERS, on PATH, or among daemons."""

    root = os.environ.get("FTPDATA_SERVERS")
    unpacked = f"{root}/usr/sbin:{root}/usr/bin" if root else ""
    for path in (unpacked, None, "/usr/sbin:/usr/local/sbin"):
        if found := shutil.which(program, path=path):
            return found
    return None


class Installed(Program):
    """A server that the system has, or that was unpacked for the tests; it is run by root."""

    programs: ClassVar[tuple[str, ...]]
    version_arguments: ClassVar[tuple[str, ...]] = ("--version",)

    @property
    def version(self) -> str | None:
        """Its version; None if it is not installed, or cannot be run."""

        if os.geteuid() != 0 or not all(map(_find, self.programs)):
            return None
        done = subprocess.run(
            [self.program(self.programs[0]), *self.version_arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        found = re.search(r"\d+\.\d+(\.\d+)?[a-z]?", done.stdout)
        return found[0] if found else None

    def program(self, name: str) -> str:
        """Return the path of one of its programs."""

        found = _find(name)
        assert found is not None
        return found

    def account(self, directory: Path) -> str:
        """Return the fields of a password file for the user, from the hash on."""

        nobody = pwd.getpwnam("nobody")
        done = subprocess.run(
            ["openssl", "passwd", "-6", self.password],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
        )
        return f"{done.stdout.strip()}:{nobody.pw_uid}:{nobody.pw_gid}::{directory}"


class Vsftpd(Installed):
    """https://security.appspot.com/vsftpd.html: for anonymous users, who may do everything."""

    name = "vsftpd"
    programs = ("vsftpd",)
    version_arguments = ("-v",)
    user = "anonymous"
    password = "guest@"

    @property
    def version(self) -> str | None:
        """Its version, which it says on its standard input."""

        if (path := _find("vsftpd")) is None or os.geteuid() != 0:
            return None
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(_PATIENCE)
            subprocess.run([path, "-v"], stdin=theirs.fileno(), timeout=_PATIENCE, check=False)
            found = re.search(rb"\d+\.\d+\.\d+", ours.recv(200))
        return found[0].decode() if found else None

    def command(self, port: int, directory: Path, state: Path) -> list[str]:
        """Write its configuration; return its command."""

        empty = state / "empty"
        empty.mkdir(mode=0o755)
        settings = {
            "listen": "YES",
            "listen_address": HOST,
            "listen_port": port,
            "background": "NO",
            "anonymous_enable": "YES",
            "local_enable": "NO",
            "anon_root": directory,
            "ftp_username": "daemon",  # whose home directory exists
            "nopriv_user": "nobody",
            "secure_chroot_dir": empty,
            "write_enable": "YES",
            "anon_upload_enable": "YES",
            "anon_mkdir_write_enable": "YES",
            "anon_other_write_enable": "YES",
            "anon_world_readable_only": "NO",
            "anon_umask": "022",
            "max_per_ip": 0,
            "ascii_upload_enable": "YES",
            "ascii_download_enable": "YES",
        }
        configuration = state / "vsftpd.conf"
        configuration.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        return [self.program("vsftpd"), str(configuration)]


class Proftpd(Installed):
    """http://www.proftpd.org."""

    name = "proftpd"
    programs = ("proftpd", "openssl")
    version_arguments = ("-v",)

    def command(self, port: int, directory: Path, state: Path) -> list[str]:
        """Write its configuration; return its command."""

        passwords = state / "passwd"
        passwords.write_text(f"{self.user}:{self.account(directory)}:/bin/sh\n")
        passwords.chmod(0o600)
        configuration = state / "proftpd.conf"
        configuration.write_text(
            f"""\
ServerName checked
ServerType standalone
DefaultAddress {HOST}
SocketBindTight on
UseIPv6 off
Port {port}
User nobody
Group nogroup
AuthUserFile {passwords}
AuthOrder mod_auth_file.c
RequireValidShell off
DefaultRoot {directory}
AllowOverwrite on
AllowStoreRestart on
AllowRetrieveRestart on
UseReverseDNS off
WtmpLog off
TransferLog none
SystemLog {state}/proftpd.log
PidFile {state}/proftpd.pid
ScoreboardFile {state}/proftpd.score
DelayTable none
<IfModule mod_delay.c>
  DelayEngine off
</IfModule>
"""
        )
        return [self.program("proftpd"), "-n", "-q", "-c", str(configuration)]


class PureFTPd(Installed):
    """https://www.pureftpd.org."""

    name = "pure-ftpd"
    programs = ("pure-ftpd", "pure-pw", "openssl")
    version_arguments = ("--help",)

    def command(self, port: int, directory: Path, state: Path) -> list[str]:
        """Write its passwords; return its command."""

        passwords, database = state / "pure.passwd", state / "pure.pdb"
        passwords.write_text(f"{self.user}:{self.account(directory)}/./:::::::::::::\n")
        subprocess.run(
            [self.program("pure-pw"), "mkdb", str(database), "-f", str(passwords)],
            timeout=_PATIENCE,
            check=True,
        )
        return [
            *(self.program("pure-ftpd"), "-S", f"{HOST},{port}", "-l", f"puredb:{database}"),
            # No names of clients, no log; the user nobody may log in; many sessions of one client.
            *("-E", "-H", "-f", "none", "-u", "1", "-C", "100", "-c", "100"),
            *("-g", str(state / "pure.pid"), "-4"),
        ]


DAEMONS: tuple[Daemon, ...] = (
    ReferenceServer(),
    Vsftpd(),
    Proftpd(),
    PureFTPd(),
    Pyftpdlib(),
    Aioftp(),
)
