"""The servers that the example client is tried against, in clear and in TLS.

They are those of `tests.interop.daemons`, with certificates where they can have them, and three
more: Twisted, ftp-srv (npm), and the one of GNU inetutils, for which this is the inetd.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs

from examples.client.client import Security, Server
from ftpdata.testing import Protection, ServerUnderTest
from tests.harness.tls import authority_file, certificate_files
from tests.interop.daemons import (
    Aioftp,
    Daemon,
    InPython,
    Installed,
    Proftpd,
    Program,
    PureFTPd,
    Pyftpdlib,
    ReferenceServer,
    Vsftpd,
)

__all__ = ["PEERS", "TRIED", "Peer", "Site"]

HOST = "127.0.0.1"

TRIED = "tried"
"""The property of a test's report: the name of a server, and the mark of each step."""

CLEAR, EXPLICIT, IMPLICIT = Protection.CLEAR, Protection.EXPLICIT, Protection.IMPLICIT


@attrs.frozen
class Site:
    """A server that runs.

    Attributes:
        server: Where it is.
        remote: The directory of the server that may be written.
        local: The same directory, as this machine sees it.
    """

    server: Server
    remote: str
    local: Path


@attrs.frozen
class Peer:
    """A server, and how it can be protected here."""

    daemon: Daemon
    protections: tuple[Protection, ...] = (CLEAR,)

    @property
    def name(self) -> str:
        """Its name in the table."""

        return self.daemon.name

    @property
    def version(self) -> str | None:
        """Its version; None if it is not installed."""

        return self.daemon.version

    @contextlib.contextmanager
    def running(self, directory: Path, state: Path, protection: Protection) -> Iterator[Site]:
        """Run it within the context; see `Daemon.running`."""

        security = Security[protection.name]
        with self.daemon.running(directory, state, protection) as found:
            server = Server(
                found.host,
                port=found.port,
                user=found.user,
                password=found.password,
                security=security,
                ca_file=None if security is Security.CLEAR else str(authority_file()),
            )
            assert found.local is not None
            assert found.writable is not None
            yield Site(server, found.writable, found.local)


def certificate_and_key(state: Path) -> Path:
    """Write a certificate with its key into one file."""

    path = state / "both.pem"
    certificate, key = certificate_files()
    path.write_bytes(key.read_bytes() + certificate.read_bytes())
    path.chmod(0o600)
    return path


class InTLS(Program):
    """A server whose configuration depends on how it is to be protected."""

    protection: Protection = CLEAR

    @contextlib.contextmanager
    def running(
        self, directory: Path, state: Path, protection: Protection
    ) -> Iterator[ServerUnderTest]:
        """Remember the protection for `command`."""

        self.protection = protection
        self.greets = protection is not IMPLICIT
        with super().running(directory, state, protection) as server:
            yield server


class ProtectedVsftpd(InTLS, Vsftpd):
    """vsftpd, which requires that sessions are resumed."""

    def command(self, port: int, directory: Path, state: Path) -> list[str]:
        """Add TLS to its configuration."""

        command = super().command(port, directory, state)
        if self.protection is not CLEAR:
            certificate, key = certificate_files()
            settings = {
                "ssl_enable": "YES",
                "allow_anon_ssl": "YES",
                "force_anon_data_ssl": "YES",
                "force_anon_logins_ssl": "YES",
                "require_ssl_reuse": "YES",
                "ssl_ciphers": "HIGH",
                "rsa_cert_file": certificate,
                "rsa_private_key_file": key,
            }
            with (state / "vsftpd.conf").open("a") as file:
                file.writelines(f"{name}={value}\n" for name, value in settings.items())
        return command


class ProtectedProftpd(InTLS, Proftpd):
    """proftpd, which requires that sessions are resumed, as it does by itself."""

    def command(self, port: int, directory: Path, state: Path) -> list[str]:
        """Add TLS to its configuration."""

        command = super().command(port, directory, state)
        if self.protection is not CLEAR:
            certificate, key = state / "server.pem", state / "server.key"
            for source, target in zip(certificate_files(), (certificate, key), strict=True):
                shutil.copy(source, target)
                target.chmod(0o600)
            path = state / "proftpd.conf"
            root = os.environ.get("FTPDATA_SERVERS")
            modules = f"ModulePath {root}/usr/lib/proftpd\n" if root else ""
            path.write_text(
                f"{modules}LoadModule mod_tls.c\n{path.read_text()}"
                f"TLSEngine on\nTLSRequired on\nTLSRSACertificateFile {certificate}\n"
                f"TLSRSACertificateKeyFile {key}\nTLSLog {state}/tls.log\n"
            )
        return command


class ProtectedPureFTPd(InTLS, PureFTPd):
    """pure-ftpd."""

    def command(self, port: int, directory: Path, state: Path) -> list[str]:
        """Add the options for TLS."""

        command = super().command(port, directory, state)
        if self.protection is not CLEAR:
            command += ["-Y", "3", "-2", str(certificate_and_key(state))]
        return command


class ProtectedInPython(InTLS, InPython):
    """A server that is a Python package, with a certificate."""

    def command(self, port: int, directory: Path, state: Path) -> list[str]:
        """Add the certificate."""

        command = super().command(port, directory, state)
        return command if self.protection is CLEAR else [*command, str(certificate_and_key(state))]


class ProtectedPyftpdlib(ProtectedInPython, Pyftpdlib):
    """pyftpdlib."""


class ProtectedAioftp(ProtectedInPython, Aioftp):
    """aioftp, whose TLS is implicit."""


class Twisted(InPython):
    """https://twisted.org."""

    name = package = "twisted"


class FtpSrv(InTLS):
    """https://www.npmjs.com/package/ftp-srv."""

    name = "ftp-srv"
    user = "ada"
    password = "lovelace"

    @property
    def version(self) -> str | None:
        """Its version; None if it is not installed, by NODE_PATH or in the usual place."""

        done = (
            subprocess.run(
                ["node", "-p", "require('ftp-srv/package.json').version"],
                capture_output=True,
                text=True,
                check=False,
            )
            if shutil.which("node")
            else None
        )
        return done.stdout.strip() if done and done.returncode == 0 else None

    def command(self, port: int, directory: Path, state: Path) -> list[str]:
        """Write a program that serves the directory."""

        certificate, key = certificate_files()
        options = {
            "url": f"ftp://{HOST}:{port}",
            "pasv_url": HOST,
            "pasv_min": 61000,
            "pasv_max": 65000,
        }
        tls = (
            ""
            if self.protection is CLEAR
            else (
                f"options.tls = {{cert: fs.readFileSync({json.dumps(str(certificate))}),"
                f" key: fs.readFileSync({json.dumps(str(key))})}};"
            )
        )
        program = state / "serve.js"
        program.write_text(f"""\
const fs = require("fs"), {{FtpSrv}} = require("ftp-srv");
const options = {json.dumps(options)};
options.log = require("bunyan").createLogger({{name: "ftp-srv", level: 60}});
{tls}
const server = new FtpSrv(options);
server.on("login", ({{username, password}}, resolve, reject) =>
    username === {json.dumps(self.user)} && password === {json.dumps(self.password)}
        ? resolve({{root: {json.dumps(str(directory))}}}) : reject(new Error("no")));
server.listen();
""")
        return ["node", str(program)]


class InetutilsFtpd(Installed):
    """https://www.gnu.org/software/inetutils/, for anonymous users: this is its inetd.

    An anonymous session of it is confined to the home directory of the user ftp, so that this
    has a list of users of its own, in a name space of its own.
    """

    name = "inetutils-ftpd"
    programs = ("ftpd", "unshare")
    user = "anonymous"
    password = "guest@"

    def command(self, port: int, directory: Path, state: Path) -> list[str]:
        """Return the command of the inetd."""

        nobody = pwd.getpwnam("nobody")
        users = state / "passwd"
        users.write_text(
            f"root:x:0:0::/root:/bin/sh\n"
            f"ftp:x:{nobody.pw_uid}:{nobody.pw_gid}::{directory}:/bin/sh\n"
        )
        program = self.program("ftpd")
        mounts = f"mount --bind {users} /etc/passwd"
        inetd = [sys.executable, "-m", "tests.interop.inetd", HOST, str(port), program, "-A"]
        return ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "inetd", *inetd]


PEERS = (
    Peer(ReferenceServer(), (CLEAR, EXPLICIT, IMPLICIT)),
    Peer(ProtectedVsftpd(), (CLEAR, EXPLICIT)),
    Peer(ProtectedProftpd(), (CLEAR, EXPLICIT)),
    Peer(ProtectedPureFTPd(), (CLEAR, EXPLICIT)),
    Peer(ProtectedPyftpdlib(), (CLEAR, EXPLICIT)),
    Peer(ProtectedAioftp(), (CLEAR, IMPLICIT)),
    Peer(Twisted()),
    Peer(FtpSrv(), (CLEAR, EXPLICIT)),
    Peer(InetutilsFtpd()),
)
