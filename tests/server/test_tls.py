"""TLS of the example server: real clients, the switch, and what each command answers."""

from __future__ import annotations

import asyncio
import contextlib
import ftplib
import io
import shutil
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from examples.server.__main__ import main
from ftpdata import ServerCertificate
from ftpdata.connection import _delivery
from ftpdata.testing import Cut, send_then_cut
from ftpdata.tls._channel import TLSChannel
from tests.harness.packages import errors_stay
from tests.harness.tls import HOST_NAME, TLSPeer, client_context, server_certificate
from tests.server.client import PATIENCE, Client, Serving, make_file, names, serving

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = [pytest.param(TLS_1_2, id="TLS1.2"), pytest.param(TLS_1_3, id="TLS1.3")]


class ReusingFTP(ftplib.FTP_TLS):
    """What Python's client becomes when it resumes the session of its control connection.

    Attributes:
        resumed: Whether each data connection did.
        sessions: The identifiers of the sessions that they offered.
    """

    def __init__(self, context: ssl.SSLContext, *, reuse: bool = True, implicit: bool = False):
        super().__init__(context=context)
        self.reuse = reuse
        self.implicit = implicit
        self.resumed: list[bool] = []
        self.sessions: list[bytes] = []

    def connect(self, host: str = "", port: int = 0, *arguments: Any, **options: Any) -> str:
        """Connect; begin TLS before the greeting, if it is implicit."""

        if not self.implicit:
            return super().connect(host, port, *arguments, **options)

        self.host, self.port = host, port
        raw = socket.create_connection((host, port), PATIENCE)
        self.sock = self.context.wrap_socket(raw, server_hostname=host)
        self.af = self.sock.family
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome

    def take_session(self) -> ssl.SSLSession | None:
        """Return the session that the next data connection offers."""

        assert isinstance(self.sock, ssl.SSLSocket)
        return self.sock.session

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[Any, int | None]:
        """Open a data connection."""

        sock, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if not self._prot_p:  # type: ignore[attr-defined]
            return sock, size

        session = self.take_session() if self.reuse else None
        if session is not None:
            self.sessions.append(bytes(session.id))
        try:
            wrapped = self.context.wrap_socket(sock, server_hostname=self.host, session=session)
        except BaseException:
            sock.close()
            raise
        self.resumed.append(bool(wrapped.session_reused))
        return wrapped, size


def send_on(sock: socket.socket) -> None:
    """Send until the other side says that it is closed."""

    sock.settimeout(PATIENCE)
    while True:
        sock.sendall(b"more")


async def in_thread(work: Any) -> Any:
    """Run a client that blocks."""

    return await anyio.to_thread.run_sync(work)


@contextlib.asynccontextmanager
async def protected_server(directory: Path, **settings: Any) -> AsyncIterator[Serving]:
    """Run a server with a certificate."""

    settings.setdefault("certificate", server_certificate())
    async with serving(directory, **settings) as server:
        yield server


@contextlib.asynccontextmanager
async def protected_client(
    server: Serving, *, log_in: bool = True
) -> AsyncIterator[tuple[Client, ssl.SSLContext]]:
    """Connect a client that has said AUTH TLS and begun it."""

    context = client_context()
    async with server.connected() as client:
        assert await client.code("AUTH TLS") == 234
        await client.writer.start_tls(context, server_hostname=HOST_NAME)
        if log_in:
            await client.login()
        yield client, context


# Real clients


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("implicit", [False, True])
async def test_pythons_client_does_everything(
    version: ssl.TLSVersion, implicit: bool, served_directory: Path
) -> None:
    """Uploads, downloads and listings, all resumed, where all that can be required is."""

    content = bytes(range(256)) * 2000

    def work() -> list[bool]:
        with ReusingFTP(client_context(version), implicit=implicit) as ftp:
            ftp.connect(server.host, server.port, timeout=PATIENCE)
            ftp.login("ann", "secret")
            ftp.prot_p()
            for number in range(3):
                # Over PASV and PORT: the client of FTP is that of TLS, whoever connects.
                ftp.set_pasv(number != 1)
                ftp.storbinary(f"STOR file{number}", io.BytesIO(content))
                received = io.BytesIO()
                ftp.retrbinary(f"RETR file{number}", received.write)
                assert received.getvalue() == content
            ftp.storbinary("APPE file0", io.BytesIO(b"more"))
            lines: list[str] = []
            ftp.retrlines("LIST", lines.append)
            assert len(lines) == 3
            assert dict(ftp.mlsd())["file0"]["size"] == str(len(content) + 4)
            return ftp.resumed

    async with protected_server(
        served_directory, implicit_tls=implicit, require_tls=True, require_session_reuse=True
    ) as server:
        assert await in_thread(work) == [True] * 9

    assert names(served_directory) == ["file0", "file1", "file2"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("required", [False, True])
async def test_a_client_that_does_not_resume(
    version: ssl.TLSVersion, required: bool, served_directory: Path
) -> None:
    """It is served unless resuming is required; then it gets 522, and nothing else is harmed."""

    def work() -> None:
        with ReusingFTP(client_context(version), reuse=False) as ftp:
            ftp.connect(server.host, server.port, timeout=PATIENCE)
            ftp.login("ann", "secret")
            ftp.prot_p()
            if not required:
                ftp.storbinary("STOR file", io.BytesIO(b"content"))
                return

            sock, _ = ftp.ntransfercmd("STOR file")
            sock.close()
            with pytest.raises(ftplib.error_perm, match=r"^522"):
                ftp.voidresp()
            assert names(served_directory) == []
            ftp.reuse = True
            ftp.storbinary("STOR file", io.BytesIO(b"content"))

    async with protected_server(served_directory, require_session_reuse=required) as server:
        await in_thread(work)

    assert (served_directory / "file").read_bytes() == b"content"


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_rules_of_filezilla(version: ssl.TLSVersion, served_directory: Path) -> None:
    """What FileZilla wants of a server, and others forgive.

    Every data connection resumes, whoever requires it; a download ends with a close_notify and
    an end of file, never with a reset; the end of an upload is answered with a close_notify.
    """

    context = client_context(version)
    context.set_alpn_protocols(["x-filezilla-ftp", "ftp"])
    sizes = [0, 1, 16_384, 1_000_000]
    content = {f"file{size}": b"z" * size for size in sizes}

    async with protected_server(
        served_directory, require_tls=True, require_session_reuse=True
    ) as server, server.connected() as client:
        assert await client.code("AUTH TLS") == 234
        await client.writer.start_tls(context, server_hostname=HOST_NAME)
        await client.login()
        for line in ("PBSZ 0", "PROT P", "TYPE I"):
            assert await client.code(line) == 200
        control = client.writer.get_extra_info("ssl_object")
        loop = asyncio.get_running_loop()

        async def transfer(line: str, data: bytes) -> bytes:
            with socket.socket() as sock:
                sock.setblocking(False)
                await loop.sock_connect(sock, (server.host, await client.epsv()))
                client.send(line)
                assert (await client.codes(1))[0] in {125, 150}
                peer = TLSPeer(sock, context, session=control.session)
                await peer.handshake()
                assert peer.tls.session_reused
                if data or line.startswith("STOR"):
                    await peer.send(data)
                    await peer.put(peer.close_notify())
                # An end without a close_notify raises here, and so does a reset.
                received = await peer.receive_all()
                if not line.startswith("STOR"):
                    await peer.put(peer.close_notify())
                assert await loop.sock_recv(sock, 1) == b""
            assert await client.codes(1) == [226]
            return received

        for name, data in content.items():
            assert await transfer(f"STOR {name}", data) == b""
            assert await transfer(f"RETR {name}", b"") == data
        listing = await transfer("MLSD", b"")
        assert len(listing.splitlines()) >= len(sizes)
        await client.quiet()

    assert {name: (served_directory / name).read_bytes() for name in content} == content


async def test_a_client_that_negotiates_before_it_says_what_it_wants(
    served_directory: Path,
) -> None:
    """The handshake begins when the connection is there; what is not used then is closed."""

    make_file(served_directory, b"file", b"content")
    async with (
        protected_server(served_directory) as server,
        protected_client(server) as (client, context),
    ):
        for line in ("PBSZ 0", "PROT P", "TYPE I"):
            assert await client.code(line) == 200
        for line in ("RETR file", "PROT C"):
            with socket.socket() as sock:
                sock.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(sock, (server.host, await client.epsv()))
                peer = TLSPeer(sock, context)
                async with asyncio.timeout(PATIENCE):
                    await peer.handshake()
                    if line == "PROT C":
                        assert await client.code(line) == 200
                        with pytest.raises(OSError, match=r"reset|EOF"):
                            await peer.receive()
                        continue

                    assert await client.code(line) == 125
                    assert await peer.receive_all() == b"content"
                    await peer.put(peer.close_notify())
            assert await client.codes(1) == [226]


@pytest.mark.parametrize("then", ["EPSV", "QUIT", "nothing"])
async def test_a_reply_does_not_wait_for_the_end_of_tls(
    then: str, served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client may answer that after the 226; the connection is closed before long."""

    # Whether the system acknowledges at once is its own affair.
    monkeypatch.setattr(TLSChannel, "undelivered", lambda *_: 0)
    monkeypatch.setattr(_delivery, "ANSWER_PATIENCE", 0.05 if then == "nothing" else PATIENCE)
    make_file(served_directory, b"file", b"content")
    loop = asyncio.get_running_loop()
    async with (
        protected_server(served_directory) as server,
        protected_client(server) as (client, context),
    ):
        for line in ("PBSZ 0", "PROT P", "TYPE I"):
            assert await client.code(line) == 200
        for _ in range(2):
            with socket.socket() as sock:
                sock.setblocking(False)
                await loop.sock_connect(sock, (server.host, await client.epsv()))
                peer = TLSPeer(sock, context)
                async with asyncio.timeout(PATIENCE):
                    assert await client.code("RETR file") in (125, 150)
                    await peer.handshake()
                    assert await client.codes(1) == [226]
                    assert await peer.receive_all() == b"content"
                    if then == "EPSV":
                        await client.epsv()
                    elif then == "QUIT":
                        assert await client.code("QUIT") == 221
                    # The socket there is closed, so that whatever is said is too much.
                    with pytest.raises(ConnectionError):
                        await anyio.to_thread.run_sync(send_on, sock)
            if then == "QUIT":
                return


async def test_a_ticket_is_used_once(served_directory: Path) -> None:
    """A client that lets itself be asked for a certificate has a new one for each transfer."""

    def work() -> list[bytes]:
        context = client_context(TLS_1_3)
        context.post_handshake_auth = True
        with ReusingFTP(context) as ftp:
            ftp.connect(server.host, server.port, timeout=PATIENCE)
            ftp.login("ann", "secret")
            ftp.prot_p()
            for number in range(4):
                ftp.storbinary(f"STOR file{number}", io.BytesIO(b"content"))
            with pytest.raises(ftplib.error_perm, match=r"^550"):
                ftp.retrbinary("RETR missing", print)
            assert len(ftp.nlst()) == 4
            return ftp.sessions

    async with protected_server(
        served_directory, require_tls=True, require_session_reuse=True
    ) as server:
        sessions = await in_thread(work)

    assert len(sessions) == 5
    assert len(set(sessions)) == 5


class OneTicketFTP(ReusingFTP):
    """Keeps one ticket, the newest, and uses it once in TLS 1.3, as PHP does.

    It takes tickets from data connections, too, and cannot be asked for a certificate.
    """

    def __init__(self, context: ssl.SSLContext):
        super().__init__(context)
        self.ticket: ssl.SSLSession | None = None

        class TicketSocket(ssl.SSLSocket):
            def unwrap(sock) -> socket.socket:  # noqa: N805 - `self` is the client
                # SSLSocket forgets its session with its TLS, which has read the last ticket.
                tls = sock._sslobj  # type: ignore[attr-defined]
                below = super().unwrap()
                self.ticket = tls.session
                return below

        context.sslsocket_class = TicketSocket

    def prot_p(self) -> str:
        """Protect data connections, with the ticket that has come by now."""

        reply = super().prot_p()
        assert isinstance(self.sock, ssl.SSLSocket)
        self.ticket = self.sock.session
        return reply

    def take_session(self) -> ssl.SSLSession | None:
        """Take the ticket; a session of TLS 1.2 is not used up."""

        ticket = self.ticket
        is_used_up = self.context.maximum_version is TLS_1_3
        if is_used_up and ticket and bytes(ticket.id) in self.sessions:
            return None

        return ticket


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("passive", [True, False])
async def test_a_client_that_keeps_one_ticket(
    version: ssl.TLSVersion, passive: bool, served_directory: Path
) -> None:
    """Every data connection brings the ticket for the next one, with the transfer or after it."""

    content = bytes(range(256)) * 1000

    def work() -> OneTicketFTP:
        with OneTicketFTP(client_context(version)) as ftp:
            ftp.connect(server.host, server.port, timeout=PATIENCE)
            ftp.login("ann", "secret")
            ftp.prot_p()
            ftp.set_pasv(passive)
            for size in (0, 1, 5_000, len(content)):
                ftp.storbinary(f"STOR file{size}", io.BytesIO(content[:size]))
                ftp.storbinary(f"APPE file{size}", io.BytesIO(content[:size]))
                received = io.BytesIO()
                ftp.retrbinary(f"RETR file{size}", received.write)
                assert received.getvalue() == content[:size] * 2
            # Without a data connection, no ticket is used.
            with pytest.raises(ftplib.error_perm, match=r"^550"):
                ftp.retrbinary("RETR missing", print)
            assert len(ftp.nlst()) == 4
            return ftp

    async with protected_server(
        served_directory, require_tls=True, require_session_reuse=True
    ) as server:
        client = await in_thread(work)

    assert client.resumed == [True] * 13
    if version is TLS_1_3:
        assert len(set(client.sessions)) == 13


@pytest.mark.skipif(shutil.which("php") is None, reason="no php here")
@pytest.mark.parametrize("passive", ["true", "false"])
async def test_php(passive: str, served_directory: Path, tmp_path: Path) -> None:
    """Many transfers of PHP for one login."""

    sizes = [0, 1, 5_000, 300_000]
    for size in sizes:
        (tmp_path / f"file{size}").write_bytes(b"x" * size)
    script = """
        [$_, $host, $port, $passive, $directory] = $argv;
        $ftp = ftp_ssl_connect($host, (int)$port, 30);
        ftp_login($ftp, 'ann', 'secret') or exit('login');
        ftp_pasv($ftp, $passive == 'true') or exit('PASV');
        foreach ([0, 1, 5000, 300000] as $size) {
            ftp_put($ftp, "file$size", "$directory/file$size", FTP_BINARY) or exit("put $size");
            ftp_get($ftp, "$directory/got$size", "file$size", FTP_BINARY) or exit("get $size");
        }
        count(ftp_nlist($ftp, '.')) == 4 or exit('list');
        ftp_close($ftp);
        echo 'done';
    """
    async with protected_server(
        served_directory, require_tls=True, require_session_reuse=True
    ) as server:
        process = await asyncio.create_subprocess_exec(
            *("php", "-r", script, "--", server.host, str(server.port), passive, str(tmp_path)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert output == b"done"

    for size in sizes:
        assert (served_directory / f"file{size}").read_bytes() == b"x" * size
        assert (tmp_path / f"got{size}").read_bytes() == b"x" * size


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
@pytest.mark.parametrize("implicit", [False, True])
async def test_curl(implicit: bool, served_directory: Path, tmp_path: Path) -> None:
    """An upload and a download with curl, the session resumed."""

    (tmp_path / "source").write_bytes(b"content" * 10_000)
    async with protected_server(
        served_directory, implicit_tls=implicit, require_tls=True, require_session_reuse=True
    ) as server:
        base = f"{'ftps' if implicit else 'ftp'}://{server.host}:{server.port}/file"
        common = ("curl", "-sS", "-k", "--ssl-reqd", "-u", "ann:secret", "--max-time", "10")
        for arguments in (
            ("-T", str(tmp_path / "source"), base),
            ("-o", str(tmp_path / "target"), base),
        ):
            process = await asyncio.create_subprocess_exec(
                *common, *arguments, stderr=asyncio.subprocess.PIPE
            )
            _, errors = await process.communicate()
            assert process.returncode == 0, errors

    assert (tmp_path / "target").read_bytes() == b"content" * 10_000


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_many_transfers_of_curl(
    version: str, served_directory: Path, tmp_path: Path
) -> None:
    """All in one session, upload after upload: curl uses a ticket of TLS 1.3 only once."""

    sizes = [0, 1, 5_000, 300_000]
    for number, size in enumerate(sizes):
        (tmp_path / f"file{number}").write_bytes(b"x" * size)
    async with protected_server(
        served_directory, require_tls=True, require_session_reuse=True
    ) as server:
        url = f"ftp://{server.host}:{server.port}/"
        common = ("curl", "-sS", "-k", "--ssl-reqd", "-u", "ann:secret", "--max-time", "30")
        files = f"file[0-{len(sizes) - 1}]"
        for arguments in (
            ("-T", f"{tmp_path}/{files}", url),
            ("-o", f"{tmp_path}/got#1", url + files),
        ):
            process = await asyncio.create_subprocess_exec(
                *(*common, f"--tlsv{version}", "--tls-max", version, "--fail-early"),
                *arguments,
                stderr=asyncio.subprocess.PIPE,
            )
            _, errors = await process.communicate()
            assert process.returncode == 0, errors

    for number, size in enumerate(sizes):
        assert (served_directory / f"file{number}").stat().st_size == size
        assert (tmp_path / f"got{number}").stat().st_size == size


@pytest.mark.skipif(shutil.which("lftp") is None, reason="no lftp here")
async def test_lftp(served_directory: Path, tmp_path: Path) -> None:
    """An upload, a listing and a download with lftp, which reads ends of TLS strictly."""

    (tmp_path / "source").write_bytes(b"content" * 10_000)
    async with protected_server(
        served_directory, require_tls=True, require_session_reuse=True
    ) as server:
        script = (
            "set ssl:verify-certificate no; set ftp:ssl-force yes; set ftp:ssl-protect-data yes;"
            "set ftp:ssl-protect-list yes; set net:max-retries 1; set net:timeout 10;"
            f"open -u ann,secret ftp://{server.host}:{server.port};"
            f"put {tmp_path}/source -o file; ls; get file -o {tmp_path}/target; quit"
        )
        process = await asyncio.create_subprocess_exec(
            *("lftp", "--norc", "-c", script),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output
        assert b"file" in output

    assert (tmp_path / "target").read_bytes() == b"content" * 10_000


# The command line


@pytest.mark.parametrize("newest", [None, "1.2", "1.3"])
async def test_the_options(newest: str | None, served_directory: Path) -> None:
    """Certificate and key on the command line; nobody gets in without TLS, or without resuming."""

    assert isinstance(server_certificate().certificate, Path)
    certificate, key = map(str, (server_certificate().certificate, server_certificate().key))
    arguments = ("--tls-cert", certificate, "--tls-key", key, "--require-tls")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "examples.server", str(served_directory), "--anonymous"),
        *("--port", "0", *arguments, "--require-session-reuse", "--implicit-tls"),
        *(() if newest is None else ("--tls-max", newest)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        host, _, port = (await process.stdout.readline()).decode().split()[-1].rpartition(":")

        def work() -> None:
            with ReusingFTP(client_context(), implicit=True) as ftp:
                ftp.connect(host, int(port))
                ftp.login()
                assert isinstance(ftp.sock, ssl.SSLSocket)
                assert ftp.sock.version() == f"TLSv{newest or '1.3'}"
                ftp.prot_p()
                assert ftp.nlst() == []
                assert ftp.resumed == [True]

        await in_thread(work)
    finally:
        process.terminate()
        await process.communicate()


@pytest.mark.parametrize(
    "options",
    [
        ["--require-tls"],
        ["--implicit-tls"],
        ["--require-session-reuse"],
        ["--tls-key", "x"],
        ["--tls-max", "1.2"],
        ["--tls-cert", "/nonexistent.pem"],
    ],
)
def test_options_that_make_no_sense(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that could not keep its promise does not start."""

    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path), "--anonymous", *options])
    assert caught.value.code == 2
    assert "certificate" in capsys.readouterr().err


# The switch


@pytest.mark.parametrize(
    "line",
    [
        b"AUTH TLS\r\nMKD injected\r\n",
        b"AUTH TLS\r\nUSER ann\r\nPASS secret\r\nMKD injected\r\n",
        b"AUTH TLS\r\nMKD inj",
        b"auth tls\nMKD injected\n",
    ],
)
async def test_nothing_said_in_clear_is_taken_across_the_switch(
    line: bytes, served_directory: Path
) -> None:
    """Commands that are pipelined after AUTH end the session; none of them is run."""

    async with protected_server(served_directory) as server, server.connected() as client:
        await client.login()
        client.send(line)
        assert await client.codes(1) == [421]
        assert await client.is_closed()
        await server.all_left()

    assert names(served_directory) == []


async def test_what_comes_after_the_reply_in_clear_fails_the_handshake(
    served_directory: Path,
) -> None:
    """A command in place of a ClientHello is not run, and the session ends."""

    async with protected_server(served_directory) as server, server.connected() as client:
        await client.login()
        assert await client.code("AUTH TLS") == 234
        client.send("MKD injected")
        await client.is_closed()
        await server.all_left()

    assert names(served_directory) == []


async def test_a_login_in_clear_is_not_one_in_tls(served_directory: Path) -> None:
    """AUTH makes everything as it was before the login (RFC 2228 §3)."""

    async with protected_server(served_directory) as server, server.connected() as client:
        await client.login()
        assert await client.code("AUTH TLS") == 234
        await client.writer.start_tls(client_context(), server_hostname=HOST_NAME)
        assert await client.code("PWD") == 530
        await client.login()
        assert await client.code("PWD") == 257


async def test_a_handshake_that_stalls_ends_the_session(served_directory: Path) -> None:
    """This holds on the control connection, too."""

    for implicit in (False, True):
        async with protected_server(
            served_directory, implicit_tls=implicit, handshake_timeout=0.1
        ) as server:
            reader, writer = await asyncio.open_connection(server.host, server.port)
            client = Client(reader, writer, server.host)
            if not implicit:
                assert await client.codes(1) == [220]
                assert await client.code("AUTH TLS") == 234
            assert await client.is_closed()
            await client.close()
            await server.all_left()


async def test_a_browser_is_not_served(served_directory: Path) -> None:
    """A client that offers foreign application protocols only gets no control connection."""

    context = client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with (
        protected_server(served_directory, implicit_tls=True) as server,
    ):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(
                server.host, server.port, ssl=context, server_hostname=HOST_NAME
            )
        await server.all_left()


async def test_the_command_channel_in_clear_again(served_directory: Path) -> None:
    """CCC ends TLS on the control connection; data connections stay protected (RFC 4217 §6)."""

    def work() -> None:
        with ReusingFTP(client_context()) as ftp:
            ftp.connect(server.host, server.port, timeout=PATIENCE)
            ftp.login("ann", "secret")
            ftp.prot_p()
            assert isinstance(ftp.sock, ssl.SSLSocket)
            session = ftp.sock.session
            assert ftp.ccc()[:3] == "200"
            assert ftp.pwd() == "/"
            sock, _ = ftplib.FTP.ntransfercmd(ftp, "STOR file")
            with ftp.context.wrap_socket(
                sock, server_hostname=ftp.host, session=session
            ) as data:
                data.sendall(b"content")
                data.unwrap().close()
            assert ftp.voidresp()[:3] == "226"
            with pytest.raises(ftplib.error_perm, match=r"^534"):
                ftp.sendcmd("AUTH TLS")

    async with protected_server(served_directory, require_session_reuse=True) as server:
        await in_thread(work)

    assert (served_directory / "file").read_bytes() == b"content"


async def test_reinitialize_ends_tls(served_directory: Path) -> None:
    """The reply comes in TLS, what follows in clear; PBSZ and PROT are forgotten (RFC 4217 §13)."""

    def work() -> None:
        with ReusingFTP(client_context()) as ftp:
            ftp.connect(server.host, server.port, timeout=PATIENCE)
            for _ in range(2):
                ftp.login("ann", "secret")
                ftp.prot_p()
                ftp.nlst()
                assert isinstance(ftp.sock, ssl.SSLSocket)
                assert ftp.sendcmd("REIN")[:3] == "220"
                ftp.sock.unwrap()
                ftp.sock = socket.socket(fileno=ftp.sock.detach())
                ftp.sock.settimeout(PATIENCE)
                ftp.file = ftp.sock.makefile("r", encoding=ftp.encoding)
                for line, code in (("PWD", "530"), ("PBSZ 0", "503"), ("PROT P", "503")):
                    with pytest.raises(ftplib.Error, match=f"^{code}"):
                        ftp.sendcmd(line)

            # In clear, data connections too.
            ftplib.FTP.login(ftp, "ann", "secret")
            ftp._prot_p = False  # type: ignore[attr-defined]
            assert ftp.nlst() == []

    async with protected_server(served_directory) as server:
        await in_thread(work)


async def test_reinitialize_keeps_tls_that_was_there_from_the_start(
    served_directory: Path,
) -> None:
    """Where TLS is implicit; data connections are protected again as at the start."""

    def work() -> None:
        with ReusingFTP(client_context(), implicit=True) as ftp:
            ftp.connect(server.host, server.port)
            ftp.login("ann", "secret", secure=False)
            ftp.sendcmd("PBSZ 0")
            ftp.prot_c()
            assert ftp.nlst() == []
            assert ftp.sendcmd("REIN")[:3] == "220"
            with pytest.raises(ftplib.error_perm, match=r"^530"):
                ftp.pwd()
            with pytest.raises(ftplib.error_perm, match=r"^503"):
                ftp.sendcmd("PROT C")
            ftp.login("ann", "secret", secure=False)
            ftp._prot_p = True  # type: ignore[attr-defined]
            assert ftp.nlst() == []
            assert ftp.resumed == [True]

    async with protected_server(served_directory, implicit_tls=True) as server:
        await in_thread(work)


async def test_reinitialize_with_more_after_it(served_directory: Path) -> None:
    """In TLS nothing may be said before it has ended; in clear lines are lines."""

    async with protected_server(served_directory) as server:
        async with protected_client(server) as (client, _):
            client.send(b"REIN\r\nUSER ann\r\n")
            assert await client.codes(1) == [421]
            assert await client.is_closed()
        async with server.logged_in() as client:
            client.send(b"REIN\r\nUSER ann\r\nPASS secret\r\nPWD\r\n")
            assert await client.codes(4) == [220, 331, 230, 257]


@pytest.mark.parametrize("line", ["AUTH TLS", "CCC", "REIN"])
async def test_abort_after_a_switch_that_waits(line: str, served_directory: Path) -> None:
    """The transfer before both is aborted; but after the reply to the switch nothing may be sent.

    So nothing is taken across it, whoever has said it.
    """

    async with protected_server(served_directory) as server:
        opened = server.logged_in() if line == "AUTH TLS" else protected_client(server)
        async with opened as given:
            client = given[0] if isinstance(given, tuple) else given
            assert await client.code("TYPE I") == 200
            data = await client.passive()
            client.send("STOR file")
            assert (await client.codes(1))[0] in {125, 150}
            client.send(f"{line}\r\nABOR\r\nMKD injected\r\n".encode())
            assert await client.codes(2) == [426, 421]
            with contextlib.suppress(ConnectionError):
                assert await client.is_closed()
            await server.all_left()
            await data.close()

    assert names(served_directory) == []


# Data connections


async def test_an_upload_that_was_cut_is_not_published(served_directory: Path) -> None:
    """A bare end of file gets 426, and leaves nothing."""

    async with (
        protected_server(served_directory) as server,
        protected_client(server) as (client, context),
    ):
        assert [await client.code(line) for line in ("PBSZ 0", "PROT P")] == [200, 200]
        data = await client.passive()
        client.send("STOR file")
        assert (await client.codes(1))[0] in {125, 150}
        await data.writer.start_tls(context, server_hostname=HOST_NAME)
        data.writer.write(b"half a fi")
        await data.writer.drain()
        # On a transport with TLS that is an end of file without close_notify.
        data.writer.transport.abort()
        assert await client.codes(1) == [426]
        assert names(served_directory) == []
        await client.quiet()


RECORDS = (b"first " * 50, b"second " * 300, b"last")


def cut_points(wire: list[bytes]) -> list[int]:
    """Give every record's beginning, and places in its header and its middle, and its last byte."""

    points = []
    start = 0
    for record in wire:
        points += [start, start + 3, start + len(record) // 2, start + len(record) - 1]
        start += len(record)

    return points


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("command", ["STOR new", "APPE new", "APPE old", "STOU"])
async def test_no_upload_that_was_cut_is_published(
    version: ssl.TLSVersion, command: str, served_directory: Path
) -> None:
    """Wherever a client leaves without a close_notify, it gets 426, and no file is made.

    What APPE finds, or has made, stays, with a part of what was to come after it.
    """

    make_file(served_directory, b"old", b"old ")
    appended = served_directory / command.removeprefix("APPE ")
    async with (
        protected_server(served_directory) as server,
        protected_client(server) as (client, _),
    ):
        context = client_context(version)
        lines = ("PBSZ 0", "PROT P", "TYPE I")
        assert [await client.code(line) for line in lines] == [200, 200, 200]
        points = [0]
        index = 0
        while index <= len(points):
            with socket.socket() as sock:
                sock.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(sock, (server.host, await client.epsv()))
                client.send(command)
                assert (await client.codes(1))[0] in {125, 150}
                peer = TLSPeer(sock, context)
                await peer.handshake()
                wire = [*(peer.record(data) for data in RECORDS), peer.close_notify()]
                points = cut_points(wire)
                # And, in the end, one that is whole.
                stop = points[index] if index < len(points) else None
                await send_then_cut(sock, b"".join(wire)[:stop], Cut.CLOSE)

            index += 1
            if stop is None:
                assert await client.codes(1) == [226]
                break

            assert await client.codes(1) == [426], stop
            if appended.exists():
                kept = appended.read_bytes().removeprefix(b"old ")
                assert b"".join(RECORDS).startswith(kept)
                appended.unlink()
                if command == "APPE old":
                    appended.write_bytes(b"old ")
            assert names(served_directory) == ["old"]
            assert (served_directory / "old").read_bytes() == b"old "

        await client.quiet()

    assert index == 4 * 4 + 1
    [target] = [name for name in names(served_directory) if name != "old"] or ["old"]
    assert (served_directory / target).read_bytes().removeprefix(b"old ") == b"".join(RECORDS)


@errors_stay
async def test_a_failed_data_handshake_harms_that_transfer_only(served_directory: Path) -> None:
    """The transfer gets 522, and the next one succeeds."""

    async with (
        protected_server(served_directory) as server,
        protected_client(server) as (client, _),
    ):
        assert [await client.code(line) for line in ("PBSZ 0", "PROT P")] == [200, 200]
        data = await client.passive()
        client.send("STOR file")
        data.writer.write(b"this is no ClientHello")
        assert (await client.codes(1))[0] in {125, 150}
        assert await client.codes(1) == [522]
        await data.close()
        assert names(served_directory) == []
        await client.quiet()


# What each command answers


@pytest.mark.parametrize(
    ("settings", "dialogue"),
    [
        ({}, [("AUTH GSSAPI", 504), ("AUTH", 501), ("PBSZ 0", 503), ("PROT P", 503)]),
        ({}, [("USER ann", 331), ("PASS secret", 230), ("CCC", 533)]),
        ({"require_tls": True}, [("USER ann", 530), ("PASS secret", 503), ("FEAT", 211)]),
    ],
)
async def test_before_tls(
    settings: dict[str, Any], dialogue: list[tuple[str, int]], served_directory: Path
) -> None:
    """Some commands are refused before AUTH (RFC 2228 §3, RFC 4217 §10)."""

    async with (
        protected_server(served_directory, **settings) as server,
        server.connected() as client,
    ):
        assert [(line, await client.code(line)) for line, _ in dialogue] == dialogue


@pytest.mark.parametrize(
    ("settings", "dialogue"),
    [
        ({}, [("AUTH TLS", 534), ("PROT P", 503), ("PBSZ x", 501), ("PBSZ 0", 200)]),
        ({}, [("PBSZ 16384", 200), ("PROT S", 536), ("PROT E", 536), ("PROT X", 504)]),
        ({}, [("PBSZ 0", 200), ("PROT P", 200), ("PROT C", 200), ("PROT p", 200)]),
        ({"require_tls": True}, [("PBSZ 0", 200), ("PROT C", 534), ("CCC", 534)]),
        ({"require_tls": True}, [("EPSV", 229), ("LIST", 521), ("PBSZ 0", 200), ("PROT P", 200)]),
    ],
)
async def test_within_tls(
    settings: dict[str, Any], dialogue: list[tuple[str, int]], served_directory: Path
) -> None:
    """Commands that are answered and refused after AUTH."""

    async with (
        protected_server(served_directory, **settings) as server,
        protected_client(server) as (client, _),
    ):
        assert [(line, await client.code(line)) for line, _ in dialogue] == dialogue


async def test_features_tell_of_tls(served_directory: Path) -> None:
    """FEAT has a line for each; without a certificate it has no such lines (RFC 4217 §6)."""

    async with protected_server(served_directory) as server, server.connected() as client:
        lines = (await client.command("FEAT")).split("\n")
        assert {" AUTH TLS", " PBSZ", " PROT"} <= set(lines)
        assert " AUTH" in await client.command("HELP")

    async with serving(served_directory) as server, server.connected() as client:
        assert "AUTH" not in await client.command("FEAT")
        assert "AUTH" not in await client.command("HELP")
        assert await client.code("AUTH TLS") == 502


async def test_a_certificate_that_cannot_be_read(served_directory: Path, tmp_path: Path) -> None:
    """AUTH gets 431: the certificate may be readable later (RFC 2228 §3)."""

    gone = ServerCertificate(certificate=tmp_path / "gone.pem")
    async with (
        protected_server(served_directory, certificate=gone) as server,
        server.connected() as client,
    ):
        assert await client.code("AUTH TLS") == 431
        await client.quiet()


async def test_a_change_of_level_drops_what_was_prepared(served_directory: Path) -> None:
    """A data connection prepared in clear is not used after PROT P."""

    async with (
        protected_server(served_directory) as server,
        protected_client(server) as (client, _),
    ):
        await client.epsv()
        assert [await client.code(line) for line in ("PBSZ 0", "PROT P")] == [200, 200]
        assert await client.code("LIST") == 425
