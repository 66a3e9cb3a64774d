"""Real clients go on with uploads that were cut, and what is published is whole.

A client of the test's own cuts the upload. Each real client then finds out by itself how much
the server has, or gets the offset that its user would read from the server.
"""

from __future__ import annotations

import contextlib
import ftplib
import re
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.harness.waiting import wait_until
from tests.interop.conftest import Certificate
from tests.interop.served import (
    PASSWORD,
    ROOT,
    USER,
    clean_environment,
    missing,
    reference_server,
)

CONTENT = bytes(i * 7 % 251 for i in range(1_500_000))
PATIENCE = 120.0
HOST = "127.0.0.1"
BLOCK = 4096
OBSCURED = "ewIwh2_P7AGqy_YmimqFDd9dqPSEe6Qt"
"""The password, as ``rclone obscure`` writes it."""


@attrs.frozen
class Job:
    """What a client is to do.

    Attributes:
        port: Port of the server.
        local: The file, in a directory of its own.
        offset: The offset at which the server says that the upload goes on.
        authority: The certificate to trust; None for an upload in clear.
    """

    port: int
    local: Path
    offset: int
    authority: Path | None


@attrs.frozen(kw_only=True)
class Resumer:
    """A client that resumes.

    Attributes:
        program: The program that it needs.
        arguments: Its command line; ``{port}`` and the like are filled in.
        script: Its standard input.
        tls: Further arguments, or the first lines of the script, for TLS; None without TLS.
        begins_anew: Whether it rightly sends everything again.
        is_optional: Whether few systems have it.
    """

    program: str
    arguments: tuple[str, ...] = ()
    script: str = ""
    tls: tuple[str, ...] | None = None
    begins_anew: bool = False
    is_optional: bool = False

    def require(self) -> str:
        """Return the path of the program; without one, skip the test or let it fail."""

        program = sys.executable if self.program == "python" else shutil.which(self.program)
        if program is None:
            missing(self.program, is_optional=self.is_optional)
        return program

    def run(self, job: Job) -> None:
        """Upload the file.

        Raises:
            AssertionError: The client reports that it failed.
        """

        program = self.require()
        words = {
            "user": USER,
            "password": PASSWORD,
            "obscured": OBSCURED,
            "host": HOST,
            "port": job.port,
            "offset": job.offset,
            "local": job.local,
            "directory": job.local.parent,
            "authority": job.authority,
            "tls": "" if job.authority is None else " ".join(self.tls or ()),
        }
        words["tls"] = str(words["tls"]).format(**words)
        options = [] if job.authority is None or self.script else list(self.tls or ())
        if any("{tls}" in argument for argument in self.arguments):
            options = []
        done = subprocess.run(
            [program, *(word.format(**words) for word in (*options, *self.arguments))],
            input=self.script.format(**words).encode(),
            capture_output=True,
            timeout=PATIENCE,
            cwd=ROOT if self.program == "python" else job.local.parent,
            env=clean_environment(job.local.parent.parent),
            check=False,
        )
        assert done.returncode == 0, done


LFTP_TLS = ("set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set ssl:ca-file {authority};",)
LFTP = "set net:max-retries 1; set ftp:use-mode-z no; {tls} "
LFTP += "open -u {user},{password} {host}:{port}; "
BSD_SCRIPT = """\
open {host} {port}
user {user} {password}
binary
restart {offset}
put {local} file
bye
"""

RESUMERS = {
    "lftp put": Resumer(
        program="lftp",
        arguments=("--norc", "-c", LFTP + "put -c {local} -o file; bye"),
        tls=LFTP_TLS,
    ),
    "lftp mirror": Resumer(
        program="lftp",
        arguments=("--norc", "-c", LFTP + "mirror -R -c {directory} .; bye"),
        tls=LFTP_TLS,
        # It believes the listing, which does not show unfinished files.
        begins_anew=True,
    ),
    "curl": Resumer(
        program="curl",
        arguments=(
            *("-sS", "-C", "-", "-T", "{local}"),
            "ftp://{user}:{password}@{host}:{port}/file",
        ),
        tls=("--ssl-reqd", "--cacert", "{authority}"),
    ),
    "inetutils": Resumer(
        program="inetutils-ftp", arguments=("-i", "-n", "-p"), script=BSD_SCRIPT
    ),
    "tnftp": Resumer(program="tnftp", arguments=("-i", "-n"), script=BSD_SCRIPT),
    "wput": Resumer(
        program="wput",
        arguments=("{local}", "ftp://{user}:{password}@{host}:{port}/file"),
    ),
    "rclone": Resumer(
        program="rclone",
        arguments=(
            *("copyto", "{local}"),
            ":ftp,host={host},port={port},user={user},pass={obscured}:file",
        ),
        begins_anew=True,
        is_optional=True,
    ),
    "our own": Resumer(
        program="python",
        arguments=(
            *("-m", "examples.client", "put", "--continue", "{local}"),
            "ftp://{user}:{password}@{host}:{port}/file",
        ),
    ),
}

CASES = [
    pytest.param(resumer, has_tls, id=f"{name}-{'tls' if has_tls else 'clear'}")
    for name, resumer in RESUMERS.items()
    for has_tls in (False, True)
    if not has_tls or resumer.tls is not None
]


@contextlib.contextmanager
def logged_in(port: int) -> Iterator[ftplib.FTP]:
    """Connect a client of the test's own."""

    with ftplib.FTP() as client:
        client.connect(HOST, port, timeout=PATIENCE)
        client.login(USER, PASSWORD)
        client.voidcmd("TYPE I")
        yield client


def cut(served: Path, port: int, size: int) -> int:
    """Upload a part of the file, and reset the connection; return the offset to go on from."""

    with logged_in(port) as client:
        connection = client.transfercmd("STOR file")
        connection.sendall(CONTENT[:size])
        wait_until(
            lambda: sum(part.stat().st_size for part in served.glob(".ftpdata-part.*")) >= size,
            "the part",
            patience=PATIENCE,
        )
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        with pytest.raises(ftplib.error_temp):
            client.voidresp()
        offset = client.size("file")
    assert offset == size - 1
    return offset


@pytest.mark.interop
@pytest.mark.parametrize("size", [len(CONTENT) // 2, len(CONTENT)], ids=["half", "all"])
@pytest.mark.parametrize(("resumer", "has_tls"), CASES)
def test_a_client_resumes(
    tmp_path: Path, certificate: Certificate, resumer: Resumer, *, has_tls: bool, size: int
) -> None:
    """It resumes from any kept part; the server sees how much is sent again."""

    resumer.require()
    served, home = tmp_path / "served", tmp_path / "home" / "here"
    served.mkdir()
    home.mkdir(parents=True)
    local, log = home / "file", tmp_path / "log"
    local.write_bytes(CONTENT)
    options = ["--tls-cert", str(certificate.server)] if has_tls else []
    with reference_server(served, log, 4, *options) as port:
        offset = cut(served, port, size)
        assert not (served / "file").exists()
        resumer.run(Job(port, local, offset, certificate.authority if has_tls else None))
        assert (served / "file").read_bytes() == CONTENT

    sent = [int(found) for found in re.findall(r"(?:STOR|APPE) .*: (\d+) bytes", log.read_text())]
    least = len(CONTENT) - (0 if resumer.begins_anew else offset)
    # Some clients go back to the beginning of a block (wput).
    assert least <= sent[-1] < least + BLOCK
    assert [path.name for path in served.iterdir()] == ["file"]
