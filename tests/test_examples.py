"""The examples run unchanged, as a user runs them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ftplib
import functools
import io
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import anyio
import pytest
import trustme
from anyio.abc import SocketAttribute

from examples import (
    control as control_module,
)
from examples import minimal_server, transfer_modes
from examples.client.client import Client, Server
from examples.client.replies import Lost, ReplyError
from examples.control import Control
from examples.demo import ExtendedFTP
from ftpdata import receive_file
from tests.client.peers import fail_with_a_connection

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
CONTENT = os.urandom(300_001)


@contextlib.contextmanager
def running(
    module: str,
    *arguments: str,
    log: Path | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[tuple[str, str]]:
    """Run an example that serves, with its warnings in the log; yield its host and port."""

    command = [sys.executable, "-W", "always", "-m", f"examples.{module}", *arguments]
    with Path(log or os.devnull).open("w") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**ENVIRONMENT, **environment},
            text=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on ")
        host, _, port = line.split()[-1].rpartition(":")
        yield host, port
    finally:
        process.terminate()
        process.communicate(timeout=60)


def run(module: str, *arguments: str, environment: Mapping[str, str] = MappingProxyType({})) -> str:
    """Run an example to its end; return what it printed."""

    command = [sys.executable, "-m", f"examples.{module}", *arguments]
    done = subprocess.run(
        command,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """Return a directory to serve, with a tree in it."""

    directory = tmp_path / "served"
    (directory / "below" / "deeper").mkdir(parents=True)
    (directory / "file.bin").write_bytes(CONTENT)
    (directory / "below" / "text").write_bytes(b"one\ntwo\n")
    (directory / "below" / "deeper" / "Grüße").write_bytes(b"")
    return directory


def assert_same_trees(original: Path, copy: Path) -> None:
    """Assert that everything in a tree is in its copy."""

    for path in original.rglob("*"):
        twin = copy / path.relative_to(original)
        assert twin.is_dir() if path.is_dir() else twin.read_bytes() == path.read_bytes()


# The clients, and a server that follows the spirit of the RFCs but not their letter


class OddSession(minimal_server.Session):
    """A session without EPSV, SIZE and MLSD, which uses other codes of the same kind."""

    async def answer(self, command: str, argument: str) -> str:
        """Carry out a command, or refuse it."""

        match command:
            case "EPSV" | "SIZE":
                return "500 What?"
            case "TYPE" if " " in argument:
                return "501 One letter."
            case "STRU" | "MODE" | "DELE":
                return "202 As you like."
            case "RETR" if argument.endswith("/refused"):
                return "550 Not this one."
            case _:
                reply = await super().answer(command, argument)
                if command == "PASV":
                    return reply
                return re.sub("^(2[0-5])[0-9]", r"\g<1>9", reply, flags=re.MULTILINE)


@contextlib.asynccontextmanager
async def odd_server(served: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """Serve by `OddSession`s."""

    monkeypatch.setattr(minimal_server, "Session", OddSession)
    options = argparse.Namespace(directory=str(served), user="u:p", certificate=None)
    handle = functools.partial(minimal_server.serve, options, anyio.Semaphore(10))
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as sessions,
    ):
        sessions.start_soon(listener.serve, handle)
        port = listener.extra(SocketAttribute.local_port)
        yield Server("127.0.0.1", port=port, user="u", password="p")
        sessions.cancel_scope.cancel()


async def test_transfer_modes_of_an_odd_server(
    served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TYPE A means what it means for TYPE A N, and any 2yz ends a command."""

    async with odd_server(served, monkeypatch) as server:
        await transfer_modes.check(server, "A N", "F", "S")


async def test_the_next_command_has_the_next_reply(
    served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds after a transfer that was refused, and after one that has failed here."""

    async with odd_server(served, monkeypatch) as server, await Client.connect(server) as client:
        with pytest.raises(ReplyError, match="550"):
            async with client.transfer("RETR /refused") as transfer:
                await receive_file(transfer.endpoint, io.BytesIO())
        assert (await client.command("PWD")).startswith("25")
        with pytest.raises(LookupError):
            async with client.transfer("RETR file.bin") as transfer:
                await fail_with_a_connection(transfer)
        assert (await client.command("PWD")).startswith("25")


async def test_the_command_does_not_wait_for_the_data_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are sent together, which saves a round trip."""

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    has_command = asyncio.Event()

    class SlowEndpoint:
        async def open(self, *, keep: bool) -> str:
            assert keep
            await has_command.wait()
            return "connected"

        def abort(self) -> None:
            has_command.set()

    monkeypatch.setattr(control_module, "connect_active", lambda *_, **__: SlowEndpoint())
    connecting = asyncio.ensure_future(Control.connect(*listener.getsockname()))
    peer, _ = await loop.sock_accept(listener)
    peer.send(b"220 ready\r\n")
    async with await connecting as control:
        opening = asyncio.ensure_future(control.open("RETR file"))
        assert await loop.sock_recv(peer, 100) == b"EPSV\r\n"
        peer.send(b"229 here (|||1025|)\r\n")
        assert await loop.sock_recv(peer, 100) == b"RETR file\r\n"
        assert not opening.done()
        has_command.set()
        peer.send(b"125 go\r\n")
        assert await opening == "connected"  # type: ignore[comparison-overlap]

    peer.close()
    listener.close()


def login(kind: type[ftplib.FTP], host: str, port: str, user: str = "") -> ftplib.FTP:
    """Connect ftplib."""

    ftp = kind(timeout=60)
    ftp.connect(host, int(port))
    ftp.login(user, "p" if user else "")
    return ftp


def test_proxy(served: Path) -> None:
    """Downloads, uploads and listings work, by PASV and by EPSV, and so do errors."""
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
                for refused in ("AUTH TLS", "PORT 127,0,0,1,4,1"):
                    with pytest.raises(ftplib.error_perm, match="502"):
                        ftp.sendcmd(refused)
                with pytest.raises(ftplib.error_temp, match="425"):
                    ftp.sendcmd("RETR file.bin")
                assert ftp.quit().startswith("221")


def test_proxy_without_a_server(served: Path) -> None:
    """The client is told that no server answers."""
    with running("server", str(served), "--port", "0", "--anonymous") as address:
        pass  # Nobody listens there any more.
    with (
        running("proxy", *address, "0") as (host, port),
        pytest.raises(ftplib.error_temp, match="421"),
        ftplib.FTP(timeout=60) as ftp,
    ):
        ftp.connect(host, int(port))


# The minimal server

AUTHORITY = trustme.CA()


class ProtectedFTP(ftplib.FTP_TLS):
    """ftplib over TLS, trusting only the authority of these tests."""

    def __init__(self, timeout: float) -> None:
        super().__init__(timeout=timeout, context=ssl.create_default_context())
        AUTHORITY.configure_trust(self.context)

    def login(self, user: str = "", passwd: str = "", acct: str = "", secure: bool = True) -> str:
        """Log in, and protect the data connections."""

        reply = super().login(user, passwd, acct, secure)
        self.prot_p()
        return reply


@contextlib.contextmanager
def running_minimal_server(
    served: Path, way: str = "clear", host: str = "127.0.0.1", log: Path | None = None
) -> Iterator[tuple[str, str]]:
    """Run the minimal server, in clear or with TLS, for user u with password p."""

    certificate = AUTHORITY.issue_cert("127.0.0.1").private_key_and_cert_chain_pem
    with certificate.tempfile() as file:
        arguments = ["--host", host, "--port", "0", "--user", "u:p"]
        if way == "tls":
            arguments += ["--certificate", file]
        with running("minimal_server", str(served), *arguments, log=log) as address:
            yield address


both_ways = pytest.mark.parametrize("way", ["clear", "tls"])
KINDS = {"clear": (ftplib.FTP, ExtendedFTP), "tls": (ProtectedFTP,)}


def need(client: str) -> None:
    """Skip the test where a client is not installed."""

    if shutil.which(client) is None:
        pytest.skip(f"{client} is not installed here")


def test_the_minimal_server_is_small() -> None:
    """The example is short enough to be read in one sitting."""

    source = (ROOT / "examples" / "minimal_server.py").read_text("utf-8")
    assert len(source.splitlines()) <= 250


@both_ways
def test_minimal_server_with_ftplib(way: str, served: Path) -> None:
    """Downloads, uploads and listings work, by PASV and by EPSV; errors have their replies."""

    with running_minimal_server(served, way) as address:
        for kind in KINDS[way]:
            with login(kind, *address, "u") as ftp:
                received = io.BytesIO()
                ftp.retrbinary("RETR file.bin", received.write)
                assert received.getvalue() == CONTENT
                ftp.storbinary("STOR up", io.BytesIO(CONTENT))
                assert (served / "up").read_bytes() == CONTENT
                assert ftp.size("up") == len(CONTENT)
                assert sorted(ftp.nlst()) == ["below", "file.bin", "up"]
                ftp.cwd("below/deeper")
                ftp.cwd("..")
                assert ftp.pwd() == "/below"
                lines: list[str] = []
                ftp.dir(lines.append)
                assert sorted(line.split()[-1] for line in lines) == ["deeper", "text"]
                ftp.retrlines("RETR text", lines.append)
                assert lines[-2:] == ["one", "two"]
                for refused in ("RETR nothing", "RETR deeper", "CWD text", "SIZE deeper"):
                    assert refusal(ftp, refused).startswith("550 ")
                for refused in ("DELE text", "SITE EXEC x", "X"):
                    assert refusal(ftp, refused).startswith("502 ")
                assert refusal(ftp, "TYPE X").startswith("504 ")
                assert refusal(ftp, "RETR a\0b").startswith("501 ")


def refusal(ftp: ftplib.FTP, command: str) -> str:
    """Return the reply that refuses a command, and that quotes no path of the host."""

    ftp.putcmd(command)
    reply = ftp.getmultiline()
    assert reply[0] in "45"
    assert "/" not in reply
    return reply


@both_ways
def test_minimal_server_with_curl(way: str, served: Path, tmp_path: Path) -> None:
    """An upload, a listing and two downloads run over one control connection."""

    need("curl")
    (tmp_path / "local").write_bytes(CONTENT)
    AUTHORITY.cert_pem.write_to_path(tmp_path / "authority.pem")
    with running_minimal_server(served, way) as (host, port):
        common = ["curl", "-sS", "--max-time", "20", "--fail-early", "-u", "u:p"]
        if way == "tls":
            common += ["--ssl-reqd", "--cacert", str(tmp_path / "authority.pem")]
        url = f"ftp://{host}:{port}"
        subprocess.run([*common, "-T", str(tmp_path / "local"), f"{url}/below/up"], check=True)
        outputs = "-o", str(tmp_path / "one"), "-o", str(tmp_path / "two")
        subprocess.run([*common, *outputs, f"{url}/below/up", f"{url}/file.bin"], check=True)
        listed = subprocess.run(
            [*common, f"{url}/below/"], check=True, stdout=subprocess.PIPE, text=True
        )

    assert (served / "below" / "up").read_bytes() == CONTENT
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() == CONTENT
    assert sorted(line.split()[-1] for line in listed.stdout.splitlines()) == [
        *("deeper", "text", "up"),
    ]


@both_ways
def test_minimal_server_with_lftp(way: str, served: Path, tmp_path: Path) -> None:
    """A file is uploaded, and the whole tree is mirrored."""

    need("lftp")
    (tmp_path / "local").write_bytes(CONTENT)
    AUTHORITY.cert_pem.write_to_path(tmp_path / "authority.pem")
    with running_minimal_server(served, way) as (host, port):
        script = (
            f"set ftp:ssl-allow {way == 'tls'}; set ftp:ssl-force {way == 'tls'};"
            f"set ssl:ca-file {tmp_path}/authority.pem; set ssl:check-hostname no;"
            "set ftp:ssl-protect-data yes; set ftp:ssl-protect-list yes;"
            "set cmd:fail-exit yes; set net:max-retries 1; set net:timeout 10;"
            f"open -u u,p ftp://{host}:{port}; put {tmp_path}/local -o up;"
            f"mirror / {tmp_path}/mirror; quit"
        )
        subprocess.run(["lftp", "--norc", "-c", script], check=True, timeout=60)

    assert (served / "up").read_bytes() == CONTENT
    assert_same_trees(served, tmp_path / "mirror")


def test_the_minimal_server_has_one_listener_for_a_session(served: Path, tmp_path: Path) -> None:
    """Each EPSV closes the listener of the previous one; QUIT closes the last one."""

    log = tmp_path / "log"

    # If the system has enough addresses, use one at which no other test listens.
    alone = "127.9.8.7" if sys.platform == "linux" else "127.0.0.1"
    with running_minimal_server(served, host=alone, log=log) as (host, port):
        with login(ftplib.FTP, host, port, "u") as ftp:
            ports = [ftplib.parse229(ftp.sendcmd("EPSV"), (host, 0))[1] for _ in range(20)]
            for old in set(ports[:-1]) - {ports[-1]}:
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((host, old), timeout=60)
            socket.create_connection((host, ports[-1]), timeout=60).close()
            ftp.sendcmd("EPSV")
            last = ftplib.parse229(ftp.sendcmd("EPSV"), (host, 0))[1]
            ftp.quit()
            assert ftp.sock is None

        with login(ftplib.FTP, host, port, "u"), pytest.raises(ConnectionRefusedError):
            # The previous session has ended, and nothing of it is left.
            socket.create_connection((host, last), timeout=60)

    # The library also closes a listener that was forgotten, but not without a word.
    assert "ResourceWarning" not in log.read_text("utf-8")


def test_the_minimal_server_transfers_once_for_each_passive_command(served: Path) -> None:
    """A transfer without its own PASV is refused, before a 150."""

    with running_minimal_server(served) as address, login(ExtendedFTP, *address, "u") as ftp:
        ftp.retrbinary("RETR file.bin", lambda _: None)
        for command in ("RETR file.bin", "LIST", "NLST", "STOR up"):
            assert refusal(ftp, command).startswith("425 ")


def test_no_path_leaves_the_directory_of_the_minimal_server(served: Path, tmp_path: Path) -> None:
    """Neither dots nor links lead out; an upload to the name of a link replaces the link."""

    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (served / "file").symlink_to(secret)
    (served / "outside").symlink_to(tmp_path)
    (served / "below" / "up").symlink_to("..")
    with running_minimal_server(served) as address, login(ExtendedFTP, *address, "u") as ftp:
        for path in ("../secret", "/../secret", "file", "outside/secret", "below/up/file.bin"):
            for command in ("RETR", "SIZE", "CWD", "LIST"):
                ftp.sendcmd("EPSV")
                assert refusal(ftp, f"{command} {path}").startswith("550 ")
        for path in ("outside", "below/up", "outside/served"):
            assert refusal(ftp, f"CWD {path}").startswith("550 ")
        ftp.sendcmd("EPSV")
        assert refusal(ftp, "STOR outside/new").startswith("550 ")
        ftp.cwd("/..//../")
        assert ftp.pwd() == "/"
        ftp.storbinary("STOR file", io.BytesIO(CONTENT))

    assert secret.read_bytes() == b"secret"
    assert not (tmp_path / "new").exists()
    assert (served / "file").read_bytes() == CONTENT
    assert not (served / "file").is_symlink()


def test_who_may_log_in_to_the_minimal_server(served: Path) -> None:
    """A wrong password is refused, and so is a login in clear if there is a certificate."""

    with running_minimal_server(served) as (host, port), ftplib.FTP(timeout=60) as ftp:
        ftp.connect(host, int(port))
        assert refusal(ftp, "RETR file.bin").startswith("530 ")
        for user, password in (("u", "q"), ("v", "p"), ("u", "")):
            with pytest.raises(ftplib.error_perm, match="530"):
                ftp.login(user, password)
        assert refusal(ftp, "RETR file.bin").startswith("530 ")
        ftp.login("u", "p")

    with running_minimal_server(served, "tls") as (host, port), ftplib.FTP(timeout=60) as ftp:
        ftp.connect(host, int(port))
        with pytest.raises(ftplib.error_perm, match="530"):
            ftp.login("u", "p")

    with (
        running("minimal_server", str(served), "--port", "0") as address,
        login(ExtendedFTP, *address) as ftp,
    ):
        ftp.retrbinary("RETR file.bin", lambda _: None)
        ftp.sendcmd("EPSV")
        assert refusal(ftp, "STOR up").startswith("502 ")


def test_nothing_is_said_to_the_minimal_server_between_auth_and_tls(served: Path) -> None:
    """If an attacker on the way adds data to AUTH, the session ends (CVE-2011-0411)."""

    with (
        running_minimal_server(served, "tls") as (host, port),
        socket.create_connection((host, int(port)), timeout=60) as control,
        control.makefile("rb") as lines,
    ):
        assert lines.readline().startswith(b"220 ")
        control.sendall(b"AUTH TLS\r\nUSER u\r\n")
        assert lines.readline().startswith(b"234 ")
        with contextlib.suppress(ConnectionResetError):
            assert lines.read() == b""


def test_a_client_that_resets_at_once_does_not_end_the_minimal_server(served: Path) -> None:
    """Its address may be unknown by the time that its session begins."""

    with running_minimal_server(served) as (host, port):
        for _ in range(50):
            with socket.create_connection((host, int(port)), timeout=60) as control:
                control.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        login(ftplib.FTP, host, port, "u").quit()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_minimal_server_ends_cleanly(number: signal.Signals, served: Path) -> None:
    """A signal ends it with status 0 and no traceback; an upload in progress leaves nothing."""

    before = sorted(served.rglob("*"))
    command = [sys.executable, "-m", "examples.minimal_server", str(served), "--port", "0"]
    with subprocess.Popen(
        [*command, "--user", "u:p"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        text=True,
    ) as process:
        assert process.stdout is not None
        host, _, port = process.stdout.readline().split()[-1].rpartition(":")
        ftp = login(ExtendedFTP, host, port, "u")
        idle = login(ExtendedFTP, host, port, "u")
        data = ftp.transfercmd("STOR up")
        data.sendall(CONTENT)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        for connection in (data, ftp, idle):
            connection.close()

    assert process.returncode == 0
    assert "Traceback" not in errors
    assert sorted(served.rglob("*")) == before


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_transfer_modes(loop: str) -> None:
    """Every combination works in both directions with the example's own server."""
    header, *rows = run("transfer_modes", "--loop", loop).splitlines()
    cells = [row[11:].split() for row in rows if row]
    assert header == "TYPE STRU  MODE S MODE B MODE C MODE Z"
    assert cells == [["✓"] * 4] * 16


def test_transfer_modes_with_a_server_that_lacks_them(served: Path) -> None:
    """Each combination that does not work is reported, and sets the exit code."""
    with running("server", str(served), "--port", "0", "--anonymous") as (host, port):
        command = [sys.executable, "-m", "examples.transfer_modes", f"ftp://{host}:{port}"]
        done = subprocess.run(
            command, env=ENVIRONMENT, capture_output=True, text=True, timeout=250, check=False
        )
    assert done.returncode == 1
    assert "✓" not in done.stdout
    assert "TYPE E C, STRU R, MODE Z: ReplyError('553 Nothing can be changed here.')" in done.stdout


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("minimal_server nowhere", 2, "No such file or directory: 'nowhere'"),
        ("minimal_server . --certificate nowhere", 2, "No such file or directory"),
        ("minimal_server . --port 65536", 2, "port must be 0-65535"),
        ("proxy", 2, "required: UPSTREAM_HOST, UPSTREAM_PORT"),
        ("proxy 127.0.0.1 21 65536", 1, "port must be 0-65535"),
        ("transfer_modes http://u:secret@h/", 2, "expected a URL such as ftp://HOST/PATH"),
        ("mainframe get http://h A local", 2, "expected a URL such as ftp://HOST/PATH"),
        ("mainframe get ftp://h A local --as fixed", 2, "fixed:LENGTH or lines, not 'fixed'"),
        ("mainframe get ftp://h A local --code-page no --as lines", 2, "no code page 'no'"),
        ("mainframe get ftp://127.0.0.1:1 A local", 1, "cannot reach 127.0.0.1 port 1"),
        ("mainframe put nothing ftp://127.0.0.1:1 A", 1, "No such file or directory: 'nothing'"),
        ("aioftp_server nowhere", 1, "cannot serve: [Errno 2]"),
        ("twisted_shell nowhere", 1, "cannot serve: [Errno 2]"),
        ("aioftp_server . --user secret", 2, "expected NAME:PASSWORD"),
        ("aioftp_server . --user a:", 2, "expected NAME:PASSWORD"),
        ("aioftp_server . --port 65536", 1, "cannot serve"),
        ("aioftp_server . --certificate nothing", 1, "cannot serve: [Errno 2]"),
        ("twisted_shell . --user secret", 2, "expected NAME:PASSWORD"),
        ("twisted_shell . --port 65536", 1, "cannot serve"),
        ("twisted_shell . --host 192.0.2.1 --port 0", 1, "cannot serve"),
        ("camera_gateway memory:// --user secret", 2, "expected CAMERA:PASSWORD"),
        ("camera_gateway no://store --user a:b", 2, "cannot use the store"),
        ("camera_gateway memory:// --user a:b --port 65536", 1, "cannot listen"),
        ("mirror_to_store http://u:secret@h/ memory://", 2, "expected a URL such as ftp://"),
        ("mirror_to_store ftp://h/ nonsense", 2, "cannot use the store"),
        ("mirror_to_store ftp://h/ memory:// --connections 0", 2, "expected 1 to 64, not '0'"),
    ],
)
def test_wrong_arguments_are_told(command: str, code: int, said: str, tmp_path: Path) -> None:
    """In a line without a traceback and without a password, where the example begins."""

    module, *arguments = command.split()
    if module in {"camera_gateway", "mirror_to_store"}:
        pytest.importorskip("obstore")
    done = subprocess.run(
        [sys.executable, "-m", f"examples.{module}", *arguments],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_demo() -> None:
    """The demonstration succeeds."""
    assert "everything arrived as it was sent" in run("demo")


@pytest.mark.parametrize("name", ["x\r\nDELE y", "x\nDELE y", "x\rDELE y", "x\0"])
async def test_a_command_is_one_line(name: str) -> None:
    """A name with a line end in it is not a second command: nothing of it is sent."""

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


@pytest.mark.parametrize("piece", [b"220-and on\r\n", b"220 and on "], ids=["lines", "line"])
async def test_a_reply_without_an_end_is_bounded(piece: bytes) -> None:
    """The connection is of no use then, and is told as lost, not as a wrong command."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(piece * 1000)
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        with pytest.raises(Lost, match="does not end"):
            await Control.connect(*server.sockets[0].getsockname())


async def test_control_connection_of_a_client_is_kept_alive() -> None:
    """A NAT does not forget it while a file is transferred."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 Ready.\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        control = await Control.connect("127.0.0.1", server.sockets[0].getsockname()[1])
        sock = control._writer.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        control.close()
