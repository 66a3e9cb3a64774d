"""Shows real transfers between the reference server and Python's own ftplib.

python -m examples.demo

Starts the server on a temporary directory and moves a tree of files up and
down through each way of opening a data connection, and through TLS whose data
connections resume the control connection's session; checks every digest, lists
the tree in three formats, resumes a download that was cut, prints a summary,
and exits with status 0 only if all of it was right.
"""

from __future__ import annotations

import contextlib
import ftplib
import functools
import hashlib
import io
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import trustme
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn
from rich.table import Table

BLOCK = 64 * 1024
LARGE = 48 * 1024 * 1024
USER, PASSWORD = "demo", "correct horse"


class ExtendedFTP(ftplib.FTP):
    """ftplib with EPSV and EPRT on IPv4 too, where it keeps to PASV and PORT by itself."""

    def makepasv(self) -> tuple[str, int]:
        """Ask for an extended passive connection (RFC 2428 §3)."""

        assert self.sock is not None
        return ftplib.parse229(self.sendcmd("EPSV"), self.sock.getpeername())

    def sendport(self, host: str, port: int) -> str:
        """Offer an extended active connection (RFC 2428 §2)."""

        return self.voidcmd(f"EPRT |1|{host}|{port}|")


class ResumingFTP(ftplib.FTP_TLS):
    """ftplib over TLS; each data connection resumes the control connection's session."""

    def ntransfercmd(
        self, cmd: str, rest: int | str | None = None
    ) -> tuple[socket.socket, int | None]:
        """Open a data connection, and protect it as the server requires."""

        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        assert isinstance(self.sock, ssl.SSLSocket)
        protected = self.context.wrap_socket(
            connection, server_hostname=self.host, session=self.sock.session
        )
        return protected, size


WAYS: dict[str, tuple[type[ftplib.FTP], bool]] = {
    "PASV": (ftplib.FTP, True),
    "EPSV": (ExtendedFTP, True),
    "PORT": (ftplib.FTP, False),
    "EPRT": (ExtendedFTP, False),
    "TLS": (ResumingFTP, True),
}

AUTHORITY = trustme.CA()
"""A throw-away authority: this process trusts it, and nobody else does."""


def make_tree(root: Path) -> dict[str, bytes]:
    """Write a tree of files to move; return the digest of each file."""

    contents = {
        "README.txt": b"A tree to move.\n" * 40,
        "empty": b"",
        "one byte": b"!",
        "Grüße/aus Köln.txt": "Viele Grüße\n".encode() * 1000,
        "large.bin": os.urandom(LARGE),
    }
    for number in range(20):
        contents[f"many/{number:02}.dat"] = os.urandom(1 + number * 4999)

    for name, data in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return {name: hashlib.sha256(data).digest() for name, data in contents.items()}


@contextlib.contextmanager
def running_server(directory: Path) -> Iterator[tuple[str, int]]:
    """Run the reference server; yield its address."""

    command = [sys.executable, "-m", "examples.server", str(directory), "--port", "0"]
    command += ["--user", f"{USER}:{PASSWORD}", "--writable"]
    with (
        AUTHORITY.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.tempfile() as certificate,
        tempfile.TemporaryFile("w+") as log,
    ):
        command += ["--tls-cert", certificate, "--require-session-reuse"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert server.stdout is not None
        try:
            line = server.stdout.readline()
            if not line.startswith("listening on "):
                log.seek(0)
                raise RuntimeError(f"the server did not start:\n{log.read()}")

            host, _, port = line.removeprefix("listening on ").rpartition(":")
            yield host, int(port)
        finally:
            server.terminate()
            server.wait(10)
            server.stdout.close()


def connect(way: str, address: tuple[str, int]) -> ftplib.FTP:
    """Log in with a client that opens its data connections in this way."""

    kind, passive = WAYS[way]
    ftp = kind(encoding="utf-8", timeout=30)
    if isinstance(ftp, ftplib.FTP_TLS):
        ftp.context = ssl.create_default_context()
        AUTHORITY.configure_trust(ftp.context)

    ftp.connect(*address)
    ftp.login(USER, PASSWORD)
    if isinstance(ftp, ftplib.FTP_TLS):
        ftp.prot_p()

    ftp.set_pasv(passive)
    return ftp


def upload(ftp: ftplib.FTP, local: Path, remote: str, moved: Callable[[int], object]) -> None:
    """Store every file of the tree below `remote`."""

    ftp.mkd(remote)
    for path in sorted(local.rglob("*")):
        name = f"{remote}/{path.relative_to(local).as_posix()}"
        if path.is_dir():
            ftp.mkd(name)
        else:
            with path.open("rb") as file:
                ftp.storbinary(f"STOR {name}", file, BLOCK, lambda block: moved(len(block)))


def download(
    ftp: ftplib.FTP, remote: str, digests: dict[str, bytes], moved: Callable[[int], object]
) -> int:
    """Retrieve every file and compare it; return how many were right."""

    right = 0
    for name, digest in digests.items():
        found = hashlib.sha256()

        def take(block: bytes, found: hashlib._Hash = found) -> None:
            found.update(block)
            moved(len(block))

        ftp.retrbinary(f"RETR {remote}/{name}", take, BLOCK)
        right += found.digest() == digest

    return right


def resume(ftp: ftplib.FTP, remote: str, size: int) -> bytes:
    """Cut a download in the middle, then get the rest (REST); return all of it."""

    received = io.BytesIO()
    ftp.voidcmd("TYPE I")
    connection = ftp.transfercmd(f"RETR {remote}")
    while received.tell() < size // 3:
        received.write(connection.recv(BLOCK))

    connection.close()
    with contextlib.suppress(ftplib.error_temp):
        # The server has noticed the cut, and reports it.
        ftp.voidresp()

    ftp.retrbinary(f"RETR {remote}", received.write, BLOCK, rest=received.tell())
    return received.getvalue()


def main() -> int:
    """Run the demonstration; return the exit status."""

    console = Console()
    summary = Table("way", "files up", "files down", "MiB", "up MiB/s", "down MiB/s")
    all_right = True
    with tempfile.TemporaryDirectory() as temporary:
        local, served = Path(temporary, "local"), Path(temporary, "served")
        local.mkdir()
        served.mkdir()
        digests = make_tree(local)
        size = sum(path.stat().st_size for path in local.rglob("*") if path.is_file())
        columns = BarColumn(), DownloadColumn(), TransferSpeedColumn()
        with running_server(served) as address, Progress("{task.description}", *columns) as bars:
            console.print(f"the reference server listens on {address[0]}:{address[1]}")
            for way in WAYS:
                with connect(way, address) as ftp:
                    bar = bars.add_task(f"{way} up", total=size)
                    started_at = time.perf_counter()
                    upload(ftp, local, way, functools.partial(bars.advance, bar))
                    up = time.perf_counter() - started_at
                    bar = bars.add_task(f"{way} down", total=size)
                    started_at = time.perf_counter()
                    right = download(ftp, way, digests, functools.partial(bars.advance, bar))
                    down = time.perf_counter() - started_at

                stored = sum(
                    hashlib.sha256((served / way / name).read_bytes()).digest() == digest
                    for name, digest in digests.items()
                )
                all_right &= stored == right == len(digests)
                mib = size / 2**20
                rates = f"{mib / up:.0f}", f"{mib / down:.0f}"
                summary.add_row(
                    way, f"{stored}/{len(digests)}", f"{right}/{len(digests)}", f"{mib:.0f}", *rates
                )

            with connect("PASV", address) as ftp:
                lines: list[str] = []
                ftp.dir("PASV", lines.append)
                names = ftp.nlst("PASV/many")
                facts = dict(ftp.mlsd("PASV"))
                resumed = hashlib.sha256(resume(ftp, "PASV/large.bin", LARGE)).digest()

        console.print("\n".join(["LIST:", *lines]), highlight=False, markup=False)
        console.print(f"NLST of many/: {len(names)} names")
        console.print(f"MLSD: large.bin has {facts['large.bin']['size']} bytes")
        checks = {
            "LIST shows every entry": len(lines) == len(list(local.iterdir())),
            "NLST shows every name": len(names) == len(list((local / "many").iterdir())),
            "MLSD shows the true size": int(facts["large.bin"]["size"]) == LARGE,
            "a cut download was resumed": resumed == digests["large.bin"],
        }
        for check, passed in checks.items():
            console.print(f"{'yes' if passed else 'NO '}  {check}")
            all_right &= passed

    console.print(summary)
    console.print("everything arrived as it was sent" if all_right else "SOMETHING WENT WRONG")
    return 0 if all_right else 1


if __name__ == "__main__":
    sys.exit(main())
