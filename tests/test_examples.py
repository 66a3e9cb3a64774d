"""The examples and the programs of the README run as they stand, as a user runs them."""

from __future__ import annotations

import asyncio
import contextlib
import ftplib
import io
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.control import Control
from examples.demo import ExtendedFTP

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
CONTENT = os.urandom(300_001)


@contextlib.contextmanager
def running(module: str, *arguments: str) -> Iterator[tuple[str, str]]:
    """Run an example that serves; yield its host and port."""

    command = [sys.executable, "-m", f"examples.{module}", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on ")
        host, _, port = line.split()[-1].rpartition(":")
        yield host, port
    finally:
        process.terminate()
        process.communicate(timeout=10)


def run(module: str, *arguments: str) -> str:
    """Run an example to its end; return what it printed."""

    command = [sys.executable, "-m", f"examples.{module}", *arguments]
    done = subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A directory to serve, with a tree in it."""

    directory = tmp_path / "served"
    (directory / "below" / "deeper").mkdir(parents=True)
    (directory / "file.bin").write_bytes(CONTENT)
    (directory / "below" / "text").write_bytes(b"one\ntwo\n")
    (directory / "below" / "deeper" / "Grüße").write_bytes(b"")
    return directory


def test_download_with_progress(served: Path, tmp_path: Path) -> None:
    """The file arrives whole, and the bar is shown."""
    local = tmp_path / "copy"
    with running("server", str(served), "--port", "0", "--anonymous") as address:
        printed = run("download_with_progress", *address, "file.bin", str(local))
    assert local.read_bytes() == CONTENT
    assert f"{len(CONTENT)} bytes in" in printed


@pytest.mark.parametrize("present", [None, 0, 100_000])
def test_upload_with_resume(served: Path, tmp_path: Path, present: int | None) -> None:
    """Only what the server lacks is sent, and the file is whole."""
    local, remote = tmp_path / "local", served / "upload"
    local.write_bytes(CONTENT)
    if present is not None:
        remote.write_bytes(CONTENT[:present])
    arguments = str(served), "--port", "0", "--user", "u:p", "--writable"
    with running("server", *arguments) as address:
        printed = run("upload_with_resume", *address, "u", "p", str(local), "upload")
    assert remote.read_bytes() == CONTENT
    assert printed == f"{len(CONTENT) - (present or 0)} bytes from offset {present or 0}\n"


def test_mirror(served: Path, tmp_path: Path) -> None:
    """The tree is copied; a second time only what has changed."""
    local = tmp_path / "mirror"
    with running("server", str(served), "--port", "0", "--anonymous") as address:
        assert run("mirror", *address, "/", str(local)) == "3 files transferred\n"
        (served / "below" / "text").write_bytes(b"changed")
        assert run("mirror", *address, "/", str(local)) == "1 files transferred\n"

    for path in served.rglob("*"):
        copy = local / path.relative_to(served)
        assert copy.is_dir() if path.is_dir() else copy.read_bytes() == path.read_bytes()


def login(kind: type[ftplib.FTP], host: str, port: str, user: str = "") -> ftplib.FTP:
    """Connect ftplib."""

    ftp = kind(timeout=20)
    ftp.connect(host, int(port))
    ftp.login(user, "p" if user else "")
    return ftp


def test_proxy(served: Path) -> None:
    """Downloads, uploads and listings go through, by PASV and by EPSV; errors too."""
    arguments = str(served), "--port", "0", "--user", "u:p", "--writable"
    with (
        running("server", *arguments) as upstream,
        running("proxy", *upstream, "0") as address,
    ):
        for kind in (ftplib.FTP, ExtendedFTP):
            with login(kind, *address, "u") as ftp:
                received = io.BytesIO()
                ftp.retrbinary("RETR file.bin", received.write)
                assert received.getvalue() == CONTENT
                ftp.storbinary("STOR up", io.BytesIO(CONTENT))
                assert (served / "up").read_bytes() == CONTENT
                assert sorted(ftp.nlst()) == ["below", "file.bin", "up"]
                with pytest.raises(ftplib.error_perm, match="550"):
                    ftp.retrbinary("RETR nothing", received.write)
                assert ftp.voidcmd("NOOP").startswith("200")


def test_retr_only_server(served: Path) -> None:
    """It sends a file, says 550 for one that is not there, and is under 40 lines of code."""
    with (
        running("retr_only_server", str(served), "0") as address,
        login(ExtendedFTP, *address) as ftp,
    ):
        received = io.BytesIO()
        ftp.retrbinary("RETR file.bin", received.write)
        assert received.getvalue() == CONTENT
        with pytest.raises(ConnectionResetError):
            # Its 150 comes before it looks for the file; the reset says that nothing was sent.
            ftp.retrbinary("RETR nothing", received.write)
        with pytest.raises(ftplib.error_perm, match="550"):
            ftp.voidresp()

    source = (ROOT / "examples" / "retr_only_server.py").read_text("utf-8")
    code = source.partition("from ftpdata")[2].splitlines()
    assert len([line for line in code if line.strip()]) < 40


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_transfer_modes(loop: str) -> None:
    """Every combination works both ways, with a server of its own."""
    header, *rows = run("transfer_modes", "--loop", loop).splitlines()
    cells = [row[11:].split() for row in rows if row]
    assert header == "TYPE STRU  MODE S MODE B MODE C MODE Z"
    assert cells == [["✓"] * 4] * 16


def test_transfer_modes_with_a_server_that_has_none(served: Path) -> None:
    """What does not work is said of each combination, and is the exit code."""
    with running("server", str(served), "--port", "0", "--anonymous") as (host, port):
        command = [sys.executable, "-m", "examples.transfer_modes", f"ftp://{host}:{port}"]
        done = subprocess.run(
            command, env=ENVIRONMENT, capture_output=True, text=True, timeout=50, check=False
        )
    assert done.returncode == 1
    assert "✓" not in done.stdout
    assert "TYPE E C, STRU R, MODE Z: ReplyError('553 Nothing can be changed here.')" in done.stdout


def test_demo() -> None:
    """The demonstration ends well."""
    assert "everything arrived as it was sent" in run("demo")


@pytest.mark.parametrize("name", ["x\r\nDELE y", "x\nDELE y", "x\rDELE y", "x\0"])
async def test_a_command_is_one_line(name: str) -> None:
    """A name with a line end in it is no second command: nothing of it is sent."""

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    connecting = asyncio.ensure_future(Control.connect(*listener.getsockname()))
    peer, _ = await loop.sock_accept(listener)
    peer.send(b"220 ready\r\n")
    control = await connecting
    with pytest.raises(ValueError, match="one line"):
        await control.command(f"RETR {name}", "150")
    control.close()
    assert await loop.sock_recv(peer, 100) == b""
    peer.close()
    listener.close()


README = (ROOT / "README.md").read_text("utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_first_program_of_the_readme(tmp_path: Path) -> None:
    """Pasted into a file, it copies a file."""
    program, name = tmp_path / "first.py", tmp_path / "some.bin"
    program.write_text(PROGRAMS[0], "utf-8")
    name.write_bytes(CONTENT)
    done = subprocess.run(
        [sys.executable, str(program), str(name)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert done.stdout.startswith(f"complete {len(CONTENT)} ")
    assert (tmp_path / "some.bin.copy").read_bytes() == CONTENT


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_of_the_readme_compile(program: str) -> None:
    """What stands in the README is Python."""
    compile(program, "README.md", "exec")
