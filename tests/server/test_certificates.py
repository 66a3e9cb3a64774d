"""Certificates that are renewed while the server runs, and chosen by the name of a host."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from examples.server.__main__ import main
from examples.server.accounts import Account, PasswordTable
from examples.server.certificates import Certificate
from examples.server.hosts import VirtualHost, host_name
from examples.server.settings import Settings
from ftpdata import ServerCertificate
from tests.harness.authority import CA
from tests.server.client import PATIENCE, Client, Serving, serving
from tests.server.launched import started
from tests.server.test_homes import Anybody
from tests.server.test_tls import TLS_1_2, TLS_1_3, VERSIONS, ReusingFTP, in_thread

AUTHORITY = CA()
SERVER, A, B = "ftp.example", "a.example", "b.example"


def write(directory: Path, name: str, *names: str) -> ServerCertificate:
    """Write a new certificate for some names; return where it is."""

    issued = AUTHORITY.issue_cert(*names)
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    for path, pem in ((certificate, issued.cert_chain_pems[0]), (key, issued.private_key_pem)):
        new = path.with_suffix(".new")
        pem.write_to_path(new)
        new.replace(path)
    return ServerCertificate(certificate=certificate, key=key)


@pytest.fixture
def files(tmp_path: Path) -> ServerCertificate:
    """Return a certificate of the server."""

    return write(tmp_path, "server", SERVER)


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """Return a directory with one in it for each host, and a file that takes a while."""

    served = tmp_path / "served"
    for name in ("a", "b"):
        (served / name).mkdir(parents=True)
    (served / "large").write_bytes(bytes(8 * 1024 * 1024))
    (served / "file").write_bytes(b"content")
    return served


def client_context(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Return a client's context."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def serial(tls: Any) -> str:
    """Return the number of the certificate that the other side has shown."""

    certificate = tls.getpeercert()
    assert certificate
    return str(certificate["serialNumber"])


@contextlib.asynccontextmanager
async def protected(
    server: Serving, name: str | None = SERVER, *, first: str = "", context: Any = None
) -> AsyncIterator[tuple[Client, str]]:
    """Connect, say AUTH TLS and begin it; yield the client and the number of the certificate."""

    context = context or client_context()
    if name is None:
        context.check_hostname = False
    async with server.connected() as client:
        if first:
            assert await client.code(first) == 220
        assert await client.code("AUTH TLS") == 234
        await client.writer.start_tls(context, server_hostname=name)
        yield client, serial(client.writer.get_extra_info("ssl_object"))


@contextlib.asynccontextmanager
async def data_of(client: Client, name: str | None) -> AsyncIterator[str]:
    """Open a TLS data connection for a listing; yield the number of its certificate."""

    assert await client.code("PBSZ 0") == 200
    assert await client.code("PROT P") == 200
    context = client_context()
    context.check_hostname = name is not None
    port = await client.epsv()
    client.send("NLST")
    reader, writer = await asyncio.open_connection(
        client.host, port, ssl=context, server_hostname=name
    )
    try:
        yield serial(writer.get_extra_info("ssl_object"))
        assert (await client.codes(1))[0] in (125, 150)
        await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    assert await client.codes(1) == [226]


async def until_renewed(server: Serving, before: str) -> str:
    """Connect until the certificate is another one; return its number."""

    async with asyncio.timeout(PATIENCE):
        while True:
            async with protected(server) as (_, number):
                if number != before:
                    return number


@pytest.mark.blocking_allowed("the test writes certificates")
@pytest.mark.parametrize("version", VERSIONS)
async def test_certificate_is_renewed_under_a_session_and_a_transfer(
    files: ServerCertificate, served: Path, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """Neither notices; a data connection of the old session resumes it; a new one has the new."""

    async with serving(
        served, certificate=files, certificate_interval=0.01, require_session_reuse=True
    ) as server:
        with contextlib.ExitStack() as stack:
            context = client_context(version)
            context.check_hostname = False

            def open_session() -> tuple[ReusingFTP, str]:
                ftp = stack.enter_context(ReusingFTP(context))
                ftp.connect(server.host, server.port, timeout=PATIENCE)
                ftp.login("ann", "secret")
                ftp.prot_p()
                ftp.voidcmd("TYPE I")
                assert isinstance(ftp.sock, ssl.SSLSocket)
                return ftp, serial(ftp.sock)

            ftp, before = await in_thread(open_session)
            sock, _ = await in_thread(lambda: ftp.ntransfercmd("RETR large"))
            first = await in_thread(lambda: sock.recv(1000))
            await anyio.to_thread.run_sync(write, tmp_path, "server", SERVER)
            assert await until_renewed(server, before) != before

            def finish() -> int:
                total = len(first)
                while data := sock.recv(1 << 16):
                    total += len(data)
                with contextlib.suppress(OSError):
                    sock.unwrap()
                sock.close()
                ftp.voidresp()
                return total

            assert await in_thread(finish) == 8 * 1024 * 1024
            # And further ones, which prove by resumption that they belong to the session.
            got = bytearray()
            await in_thread(lambda: ftp.retrbinary("RETR file", got.extend))
            assert got == b"content"
            assert ftp.resumed == [True, True]
            await in_thread(ftp.quit)


def spoil(files: ServerCertificate, how: str, directory: Path) -> None:
    """Make the files of a certificate useless."""

    path = Path(files.certificate)
    match how:
        case "empty":
            path.write_bytes(b"")
        case "half":
            path.write_bytes(path.read_bytes()[:500])
        case "other key":
            other = write(directory, "other", SERVER)
            shutil.copy(str(other.key), str(files.key))
        case _:
            path.unlink()


@pytest.mark.blocking_allowed("the test writes certificates")
@pytest.mark.parametrize("wrong", ["empty", "half", "other key", "missing"])
async def test_file_that_makes_no_sense_keeps_the_certificate(
    files: ServerCertificate,
    served: Path,
    tmp_path: Path,
    wrong: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged, once; the next one that makes sense is taken."""

    caplog.set_level("INFO")
    async with serving(served, certificate=files, certificate_interval=0.01) as server:
        async with protected(server) as (_, before):
            pass
        spoil(files, wrong, tmp_path)
        async with asyncio.timeout(PATIENCE):
            while "go on with the one before" not in caplog.text:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.001)
        async with protected(server) as (client, number):
            assert number == before
            await client.login()
        await asyncio.sleep(0.1)
        assert caplog.text.count("go on with the one before") <= 2
        write(tmp_path, "server", SERVER)
        await until_renewed(server, before)
    assert "there is a new certificate in" in caplog.text


def test_hangup_renews_the_certificate(
    files: ServerCertificate, served: Path, tmp_path: Path
) -> None:
    """SIGHUP does not wait for the next look, and does not end the server."""

    def number(host: str, port: int) -> str:
        with ReusingFTP(client_context()) as ftp:
            ftp.context.check_hostname = False
            ftp.connect(host, port, timeout=PATIENCE)
            ftp.auth()
            assert isinstance(ftp.sock, ssl.SSLSocket)
            return serial(ftp.sock)

    with started(
        str(served), "--port", "0", "--anonymous",
        "--tls-cert", str(files.certificate), "--tls-key", str(files.key), with_errors=True,
    ) as (process, host, port):
        assert process.stderr
        before = number(host, port)
        write(tmp_path, "server", SERVER)
        process.send_signal(signal.SIGHUP)
        for line in process.stderr:
            if "there is a new certificate" in line:
                break
        assert number(host, port) != before
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_files_are_read_on_demand_even_if_they_seem_unchanged(
    files: ServerCertificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who says so knows better than the times of the files."""

    monkeypatch.setattr(Certificate, "_stamps", lambda _: [])
    certificate = Certificate(files)
    try:
        certificate.renew()
        first = certificate.donor
        write(tmp_path, "server", SERVER)
        certificate.renew()
        assert certificate.donor is first
        certificate.renew(at_once=True)
        assert certificate.donor is not first
    finally:
        certificate.close()


# Virtual hosts


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("FTP.Example.", "ftp.example"), ("a-1_.x", "a-1_.x"), ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8::0:1]", "[2001:db8::1]"), ("2001:db8::1", None), ("[::1", None), ("", None),
        ("a..b", None), ("-a.b", None), ("a b", None), ("a/../b", None), ("x" * 64, None),
        (".".join(["abc"] * 64), None), ("ä.example", None),
    ],
)
def test_names_of_hosts(text: str, name: str | None) -> None:
    """RFC 7151 §3.1; case and a dot at the end do not matter."""

    assert host_name(text) == name


@pytest.fixture
def hosts(tmp_path: Path) -> dict[str, VirtualHost]:
    """Return two hosts with accounts, directories and certificates of their own."""

    return {
        A: VirtualHost(
            accounts=Anybody.of(Account("ann"), Account("bob", quota=1000)),
            certificate=write(tmp_path, "a", A),
            directory="/a",
        ),
        "B.example.": VirtualHost(
            accounts=PasswordTable([("eve", "x")]),
            certificate=write(tmp_path, "b", B),
            directory="b",
        ),
        "alias.example": VirtualHost(),
    }


async def test_host_chooses_the_accounts(served: Path, hosts: Any) -> None:
    """RFC 7151: 220, 504, 501, and 503 after USER; the last one counts; REIN forgets it."""

    accounts = PasswordTable([("host", "x")])
    async with (
        serving(served, certificate=None, accounts=accounts, hosts={
            name: VirtualHost(accounts=host.accounts, directory=host.directory)
            for name, host in hosts.items()
        }) as server,
        server.connected() as client,
    ):
        assert await client.code("HOST") == 501
        assert await client.code("HOST a b") == 501
        assert await client.code("HOST c.example") == 504
        assert await client.command(f"HOST {A}") == f"220 This is {A}."
        assert await client.code("HOST c.example") == 504
        assert await client.code("HOST b.EXAMPLE.") == 220
        assert await client.code("USER eve") == 331
        assert await client.code(f"HOST {A}") == 503
        assert await client.code("PASS x") == 230
        assert await client.code(f"HOST {A}") == 503
        assert (await client.upload("STOR file", b"of eve"))[:3] == "226"
        assert await client.code("REIN") == 220
        await client.login("host", "x")
        listed = (await client.download("NLST b")).split()
        assert listed == [b"file"]
        assert await client.code("REIN") == 220
        assert await client.code(f"HOST {A}") == 220
        # The accounts of the server are none of this host's.
        await client.login("bob")
        assert await client.command("AVBL") == "213 1000"
        assert await client.download("NLST") == b""
        assert " HOST\n" in await client.command("FEAT")
        assert "HOST" in await client.command("HELP")


async def test_without_hosts_there_is_no_such_command(served: Path) -> None:
    """502, and neither FEAT nor HELP has it."""

    async with serving(served) as server, server.connected() as client:
        assert await client.code(f"HOST {A}") == 502
        assert "HOST" not in await client.command("FEAT") + await client.command("HELP")


async def test_parts_of_one_name_at_two_hosts_are_of_two_users(served: Path) -> None:
    """Even in one directory."""

    everybody = Anybody.of(Account("ann"))
    both = {A: VirtualHost(accounts=everybody), B: VirtualHost(accounts=everybody)}
    async with serving(served, hosts=both) as server:
        for name, code in ((A, 213), (B, 550), (A, 213)):
            async with server.connected() as client:
                assert await client.code(f"HOST {name}") == 220
                await client.login("ann")
                assert await client.code("TYPE I") == 200
                if name == A and not (served / "new").exists():
                    data = await client.passive()
                    client.send("STOR new")
                    assert (await client.codes(1))[0] in (125, 150)
                    data.writer.write(bytes(1000))
                    async with asyncio.timeout(PATIENCE):
                        while " 1000 bytes" not in await client.command("STAT"):
                            pass
                    client.send("ABOR")
                    assert await client.codes(2) == [426, 226]
                    await data.close()
                assert await client.code("SIZE new") == code


@pytest.mark.parametrize("version", VERSIONS)
async def test_name_in_the_handshake_chooses_certificate_and_accounts(
    files: ServerCertificate, served: Path, hosts: Any, version: ssl.TLSVersion
) -> None:
    """Data connections have it as well, whatever name they say; other names get the server's."""

    async with serving(served, certificate=files, hosts=hosts) as server:
        async with protected(server, A, context=client_context(version)) as (client, number):
            async with server.connected():
                pass
            await client.login("ann")
            for name in (A, None):
                async with data_of(client, name) as of_data:
                    assert of_data == number
        async with protected(server, None) as (client, of_server):
            assert of_server != number
            assert await client.code("USER ann") == 331
            assert await client.code("PASS secret") == 230


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
async def test_session_of_a_host_is_resumed(
    files: ServerCertificate, served: Path, hosts: Any, version: ssl.TLSVersion
) -> None:
    """Its data connections prove that they are of this client."""

    async with serving(
        served, certificate=files, hosts=hosts, require_session_reuse=True
    ) as server:

        def work() -> list[bool]:
            with Named(client_context(version)) as ftp:
                ftp.connect(server.host, server.port, timeout=PATIENCE)
                ftp.login("ann", "x")
                ftp.prot_p()
                for _ in range(3):
                    ftp.nlst()
                ftp.quit()
                return ftp.resumed

        assert await in_thread(work) == [True] * 3


class Named(ReusingFTP):
    """A client that names a host by TLS, not by its address."""

    def auth(self) -> str:
        """Begin TLS."""

        response = self.voidcmd("AUTH TLS")
        assert isinstance(self.sock, socket.socket)
        self.sock = self.context.wrap_socket(self.sock, server_hostname=A)
        self.file = self.sock.makefile(mode="r", encoding=self.encoding)
        return response

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[Any, int | None]:
        """Open a data connection."""

        self.host = A
        return super().ntransfercmd(cmd, rest)

    def makepasv(self) -> tuple[str, int]:
        """Connect to where the control connection goes."""

        assert isinstance(self.sock, ssl.SSLSocket)
        return self.sock.getpeername()[0], super().makepasv()[1]


async def test_host_before_tls_chooses_the_certificate(
    files: ServerCertificate, served: Path, hosts: Any
) -> None:
    """Also without a name in the handshake; a name of another host there is refused."""

    async with serving(served, certificate=files, hosts=hosts) as server:
        async with protected(server, A) as (_, of_a):
            pass
        async with protected(server, None, first=f"HOST {A}") as (client, number):
            assert number == of_a
            await client.login("bob")
            async with data_of(client, A) as of_data:
                assert of_data == of_a
        async with protected(server, A, first=f"HOST {A}") as (client, number):
            assert number == of_a
        trusting = client_context()
        trusting.check_hostname = False
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            async with protected(server, B, first=f"HOST {A}", context=trusting):
                pass


async def test_host_that_is_not_that_of_the_handshake_is_refused(
    files: ServerCertificate, served: Path, hosts: Any
) -> None:
    """504; without a name in the handshake it is free, and data connections follow it."""

    async with serving(served, certificate=files, hosts=hosts) as server:
        async with protected(server, A) as (client, of_a):
            assert await client.code(f"HOST {B}") == 504
            assert await client.code(f"HOST {A}") == 220
            await client.login("ann")
        async with protected(server, None) as (client, of_server):
            assert of_server != of_a
            assert await client.code(f"HOST {A}") == 220
            await client.login("ann")
            async with data_of(client, A) as of_data:
                assert of_data == of_a
            assert await client.code("REIN") == 220
        async with protected(server, None) as (client, of_server):
            for name in (A, "alias.example"):
                assert await client.code(f"HOST {name}") == 220
            await client.login("ann")
            async with data_of(client, SERVER) as of_data:
                assert of_data == of_server


@pytest.fixture
def one_file(files: ServerCertificate, tmp_path: Path) -> ServerCertificate:
    """Return a certificate whose key is in the same file."""

    assert files.key is not None
    both = tmp_path / "both.pem"
    both.write_bytes(Path(files.certificate).read_bytes() + Path(files.key).read_bytes())
    return ServerCertificate(certificate=both)


async def test_certificate_and_key_may_be_in_one_file(
    one_file: ServerCertificate, served: Path
) -> None:
    """As many tools write them."""

    async with serving(served, certificate=one_file) as server:
        for _ in range(2):
            async with protected(server):
                pass


async def test_implicit_tls_keeps_the_host_of_its_handshake(
    files: ServerCertificate, served: Path, hosts: Any
) -> None:
    """Also after REIN."""

    async with serving(served, certificate=files, hosts=hosts, implicit_tls=True) as server:
        reader, writer = await asyncio.open_connection(
            server.host, server.port, ssl=client_context(), server_hostname=B
        )
        client = Client(reader, writer, server.host)
        assert await client.codes(1) == [220]
        for _ in range(2):
            await client.login("eve", "x")
            assert await client.code("REIN") == 220
        assert await client.code(f"HOST {A}") == 504
        await client.close()


@pytest.mark.blocking_allowed("the test writes certificates")
async def test_certificate_of_a_host_is_renewed(
    files: ServerCertificate, served: Path, hosts: Any, tmp_path: Path
) -> None:
    """As that of the server."""

    async with serving(
        served, certificate=files, hosts=hosts, certificate_interval=0.01
    ) as server:
        async with protected(server, A) as (_, before):
            pass
        write(tmp_path, "a", A)
        async with asyncio.timeout(PATIENCE):
            while True:
                async with protected(server, A) as (_, number):
                    if number != before:
                        break


def test_hosts_of_the_command_line(
    files: ServerCertificate, served: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has what is said of it, and the rest from the server."""

    of_a = write(tmp_path, "a", A)
    own = ("--tls-cert", str(files.certificate), "--tls-key", str(files.key))
    host = f"{A},cert={of_a.certificate},key={of_a.key},directory=a"
    with started(
        str(served), "--port", "0", "--user", "ann:x", *own, "--virtual-host", host
    ) as (_, address, port), Named(client_context()) as ftp:
        ftp.connect(address, port, timeout=PATIENCE)
        ftp.login("ann", "x")
        assert ftp.nlst() == []

    for wrong, reason in {
        "a b": "expected NAME[,cert", f"{A},x=y": "expected NAME[,cert",
        f"{A},cert": "expected NAME[,cert", f"{A},cert=/nowhere": "cannot use the certificate",
        f"{A},accounts=sqlite:/nowhere": "cannot use the accounts",
    }.items():
        with pytest.raises(SystemExit):
            main([str(served), "--anonymous", *own, "--virtual-host", wrong])
        assert reason in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(served), "--anonymous", "--virtual-host", host])
    assert "name no host need a certificate" in capsys.readouterr().err


def test_settings_of_hosts_are_checked(files: ServerCertificate) -> None:
    """When they are made."""

    with pytest.raises(ValueError, match="name of a host, not 'a b'"):
        Settings(hosts={"a b": VirtualHost()})
    with pytest.raises(ValueError, match="clients that name no host"):
        Settings(hosts={A: VirtualHost(certificate=files)})


# The control connection


async def test_control_connection_is_kept_alive(served: Path) -> None:
    """While nothing goes over it, it is probed: NATs forget what is idle."""

    seen: list[Callable[[int, int], int]] = []

    class Watching(PasswordTable):
        async def check(self, name: str, password: str, *, peer: str) -> Account | None:
            seen.extend(session._sock.getsockopt for session in server.server._sessions)
            assert [option(socket.SOL_SOCKET, socket.SO_KEEPALIVE) for option in seen] == [1]
            values = {
                name: seen[0](socket.IPPROTO_TCP, getattr(socket, name))
                for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_NODELAY")
                if hasattr(socket, name)
            }
            assert values == {
                "TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 17, "TCP_NODELAY": 1,
            }
            return await super().check(name, password, peer=peer)

    async with (
        serving(served, accounts=Watching([("ann", "secret")])) as server,
        server.connected() as client,
    ):
        await client.login()
    assert seen
