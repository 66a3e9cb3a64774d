"""Sessions with good servers, with those that lack something, and with hostile ones."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import anyio
import attrs
import pytest

from examples.client.client import Client, Security, Server
from examples.client.replies import Aborted, Lost, ReplyError, RestRefused
from ftpdata import FTPDataError, receive_file, receive_stream, send_file
from tests.client.peers import Session, connected, fail_with_a_connection, final, lacking, serving

CONTENT = bytes(range(256)) * 400


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a directory to serve, with a file in it."""

    served = tmp_path / "served"
    served.mkdir()
    (served / "file").write_bytes(CONTENT)
    return served


async def fetched(client: Client, command: str = "RETR file") -> bytes:
    """Run a command that sends data; return them."""

    data = b""
    async with (
        client.transfer(command) as transfer,
        receive_stream(transfer.endpoint, deadlines=client.deadlines) as stream,
    ):
        async for piece in stream:
            data += piece
    return data


async def assert_in_step(client: Client) -> None:
    """Assert that the next command gets its own reply."""

    assert (await client.command("PWD")).startswith("257")


# What works


@pytest.mark.parametrize("security", Security)
@pytest.mark.parametrize("active", [False, True])
async def test_files_move_both_ways(
    root: Path, tmp_path: Path, security: Security, active: bool
) -> None:
    """In clear and in TLS, whose session each data connection resumes: the server wants it."""

    async with connected(root, security=security, active=active) as client:
        for _ in range(3):
            assert await fetched(client) == CONTENT
        async with client.transfer("STOR up") as transfer:
            result = await send_file(transfer.endpoint, root / "file")
        assert result.tls_resumed is (None if security is Security.CLEAR else True)
        async with client.transfer("RETR up") as transfer:
            await receive_file(transfer.endpoint, tmp_path / "copy")
        await assert_in_step(client)

    assert await anyio.Path(tmp_path / "copy").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("missing", "way"),
    [
        ((), "EPSV"),
        (("EPSV",), "PASV"),
        (("EPSV", "PASV"), "EPRT"),
        (("EPSV", "PASV", "EPRT"), "PORT"),
    ],
)
async def test_way_to_a_data_connection_is_found(
    root: Path, missing: tuple[str, ...], way: str
) -> None:
    """The next way is tried if one is refused, which is not asked for again."""

    said: list[str] = []

    class Noting(lacking(*missing)):  # type: ignore[misc]
        async def carry_out(self, line: str) -> None:
            said.append(line.split(maxsplit=1)[0])
            await super().carry_out(line)

    async with connected(root, Noting) as client:
        assert await fetched(client) == CONTENT
        assert await fetched(client) == CONTENT

    ways = [verb for verb in said if verb in {"EPSV", "PASV", "EPRT", "PORT"}]
    assert ways == [*missing, way, way]


async def test_refused_way_may_be_the_last(root: Path) -> None:
    """Then the refusal is what the caller gets."""

    async with connected(root, lacking("EPSV", "PASV", "EPRT", "PORT")) as client:
        for _ in range(2):
            with pytest.raises(ReplyError, match="502"):
                await fetched(client)
        await assert_in_step(client)


async def test_passive_port_that_nobody_answers_is_left(root: Path) -> None:
    """A way that leads nowhere is not tried again: there may be a firewall."""

    class Unreachable(Session):
        async def do_epsv(self, argument: str) -> None:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                port = listener.getsockname()[1]
            await self.reply(f"229 Here (|||{port}|).")

    async with connected(root, Unreachable) as client:
        with pytest.raises((FTPDataError, ReplyError)):
            await fetched(client)
        assert await fetched(client) == CONTENT


async def test_address_in_the_reply_to_pasv_is_not_believed(root: Path) -> None:
    """The data connection goes to where the control connection goes (CVE-2020-8284)."""

    class Elsewhere(lacking("EPSV")):  # type: ignore[misc]
        def say(self, verb: str, line: str) -> str:
            return line.replace("127,0,0,1", "10,11,12,13")

    async with connected(root, Elsewhere) as client:
        assert await fetched(client) == CONTENT


async def test_unreadable_reply_to_epsv_is_a_refusal(root: Path) -> None:
    """The next way is tried."""

    class Odd(Session):
        async def do_epsv(self, argument: str) -> None:
            await self.reply("229 Here (|||0|).")

    async with connected(root, Odd) as client:
        assert await fetched(client) == CONTENT
        assert client.refused == {"EPSV"}


async def test_any_reply_of_the_kind_ends_a_command(root: Path) -> None:
    """Servers differ in the codes, and some say nothing before the data."""

    class Other(Session):
        def say(self, verb: str, line: str) -> str:
            return f"29{line[2:]}" if line[0] == "2" and verb not in {"EPSV", "USER"} else line

    class Brief(Session):
        async def reply(self, *lines: str) -> None:
            if not lines[0].startswith("1"):
                await super().reply(*lines)

    for session in (Other, Brief):
        async with connected(root, session) as client:
            assert await fetched(client) == CONTENT
            assert (await client.command("PWD")).startswith("2")


async def test_login_may_need_no_password_or_an_account(root: Path) -> None:
    """USER may be enough, and ACCT may be wanted (RFC 959 §5.4)."""

    class Open(Session):
        async def do_user(self, argument: str) -> None:
            self.is_logged_in = True
            await self.reply("230 Welcome.")

    class Account(Session):
        async def do_pass(self, argument: str) -> None:
            await self.reply("332 Which account?")

        async def do_acct(self, argument: str) -> None:
            self.is_logged_in = argument == "acc"
            await self.reply("230 Welcome." if self.is_logged_in else "530 No.")

    async with connected(root, Open) as client:
        await assert_in_step(client)
    async with connected(root, Account, account="acc") as client:
        await assert_in_step(client)
    with pytest.raises(ReplyError, match=r"^5(01|30)"):
        async with connected(root, Account):
            pass


async def test_greeting_may_say_to_wait(root: Path) -> None:
    """A 120 precedes the 220 (RFC 959 §5.4)."""

    class Slow(Session):
        async def greet(self) -> None:
            await self.reply("120 Soon.")
            await super().greet()

    async with connected(root, Slow) as client:
        await assert_in_step(client)


async def test_offset_is_where_the_file_begins(root: Path) -> None:
    """REST precedes the command; without it, nothing is transferred."""

    async with connected(root) as client:
        data = b""
        async with (
            client.transfer("RETR file", offset=1000) as transfer,
            receive_stream(transfer.endpoint, offset=1000) as stream,
        ):
            async for piece in stream:
                data += piece
        assert data == CONTENT[1000:]
        await assert_in_step(client)

    async with connected(root, lacking("REST")) as client:
        with pytest.raises(RestRefused, match="502"):
            async with client.transfer("RETR file", offset=1000):
                raise AssertionError
        await assert_in_step(client)


# What is refused, and what fails


@pytest.mark.parametrize("security", [Security.CLEAR, Security.EXPLICIT])
async def test_refusal_is_what_the_caller_gets(root: Path, security: Security) -> None:
    """Whatever became of the data connection meanwhile; the next command has its own reply."""

    async with connected(root, security=security) as client:
        for command in ("RETR nothing", "LIST nothing", "RETR nothing"):
            with pytest.raises(ReplyError, match="550"):
                await fetched(client, command)
            await assert_in_step(client)
        with pytest.raises(ReplyError, match="553"):
            async with client.transfer("STOR no/such") as transfer:
                await send_file(transfer.endpoint, root / "file")
        await assert_in_step(client)


async def test_own_error_is_what_the_caller_gets(root: Path) -> None:
    """The reply to the transfer that it has cut is read as well."""

    async with connected(root) as client:
        with pytest.raises(LookupError):
            async with client.transfer("RETR file") as transfer:
                await fail_with_a_connection(transfer)
        await assert_in_step(client)


async def test_own_error_before_the_connection_is_there_ends_the_server_s_wait(root: Path) -> None:
    """The server would wait for it as long as it likes."""

    class Patient(Session):
        patience = 3600.0

    async with connected(root, Patient) as client:
        with pytest.raises(LookupError):
            async with client.transfer("RETR file"):
                raise LookupError
        await assert_in_step(client)


@pytest.mark.parametrize("code", ["426", "451", "550"])
async def test_final_refusal_is_a_failure(root: Path, code: str) -> None:
    """Also if all data came to a clean end."""

    async with connected(root, final("RETR", lambda _: f"{code} Sorry.")) as client:
        with pytest.raises(ReplyError, match=code):
            await fetched(client)
        await assert_in_step(client)


async def test_data_connection_that_is_cut_is_told_by_the_server(root: Path) -> None:
    """A reset and 426: the reply says more than the reset."""

    class Cutting(Session):
        async def send_file(self, link: object, path: Path, offset: int, size: int) -> None:
            await link.send(CONTENT[:1000])  # type: ignore[attr-defined]
            raise OSError(5, "the disk is broken")

    async with connected(root, Cutting) as client:
        with pytest.raises(ReplyError, match="451"):
            await fetched(client)
        await assert_in_step(client)


async def test_421_ends_the_session(root: Path) -> None:
    """Whether it comes in place of a reply, or of the final one."""

    class Leaving(Session):
        async def do_noop(self, argument: str) -> None:
            await self.reply("421 The machine goes down.")

    async with connected(root, Leaving) as client:
        with pytest.raises(Lost, match="421"):
            await client.command("NOOP")
        assert client.is_lost

    async with connected(root, final("RETR", lambda _: "421 Goodbye.")) as client:
        with pytest.raises(Lost, match="421"):
            await fetched(client)
        assert client.is_lost


async def test_lost_final_reply_is_told(root: Path) -> None:
    """What became of the transfer is not known then."""

    async with connected(root, final("RETR", lambda _: None)) as client:
        with pytest.raises(Lost):
            await fetched(client)
        assert client.is_lost


async def test_silence_has_an_end(root: Path) -> None:
    """A reply that does not come closes the connection: later it would answer another command."""

    class Silent(Session):
        async def do_noop(self, argument: str) -> None:
            pass

    async with connected(root, Silent, patience=0.2) as client:
        with pytest.raises(Lost, match=r"0\.2 s"):
            await client.command("NOOP")
        with pytest.raises(Lost):
            await client.command("PWD")


async def test_data_that_stall_have_an_end(root: Path) -> None:
    """The deadline of the data holds, not that of a reply."""

    class Stalling(Session):
        patience = 1.0

        async def send_file(self, link: object, path: Path, offset: int, size: int) -> None:
            await link.send(CONTENT[:1000])  # type: ignore[attr-defined]
            await asyncio.Event().wait()

    async with connected(root, Stalling, patience=0.5) as client:
        with pytest.raises((FTPDataError, ReplyError, Lost)):
            await fetched(client)


async def test_reply_that_does_not_end_is_refused(root: Path) -> None:
    """It would fill the memory."""

    class Endless(Session):
        async def do_noop(self, argument: str) -> None:
            await self.link.send(b"200-" + b"x" * 100 + b"\r\n")
            for _ in range(10_000):
                await self.link.send(b"x" * 100 + b"\r\n")

    async with connected(root, Endless) as client:
        with pytest.raises(Lost, match="does not end"):
            await client.command("NOOP")
        assert client.is_lost


async def test_server_that_speaks_something_else_is_left() -> None:
    """Its first line is no reply."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n")
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        with pytest.raises(Lost, match="not a reply"):
            await Client.connect(Server("127.0.0.1", port=port))


async def test_server_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason, also where the system gives none; a timeout stays one."""

    with pytest.raises(OSError, match=r"cannot reach 127\.0\.0\.1 port 1: .*(failed|refused)"):
        await Client.connect(Server("127.0.0.1", port=1))

    async def connect_tcp(*_: object) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(anyio, "connect_tcp", connect_tcp)
    with pytest.raises(TimeoutError, match=r"reach 192\.0\.2\.1 port 21: no answer within 0\.01 s"):
        await Client.connect(Server("192.0.2.1", patience=0.01))


@pytest.mark.parametrize("name", ["x\r\nDELE file", "x\nDELE file", "x\rDELE file", "x\0"])
async def test_command_is_one_line(root: Path, name: str) -> None:
    """A line end in a name begins no second command: nothing of it is sent."""

    async with connected(root) as client:
        with pytest.raises(ValueError, match="one line"):
            await fetched(client, f"RETR {name}")
        await assert_in_step(client)
    assert await anyio.Path(root / "file").exists()


async def test_password_is_in_no_message(root: Path) -> None:
    """Neither in what is shown of the server, nor in an error."""

    async with serving(root) as server:
        assert "secret" not in repr(server)
        wrong = attrs.evolve(server, password="secret\r\nx")
        with pytest.raises(ValueError, match="one line") as caught:
            await Client.connect(wrong)
        assert "secret" not in str(caught.value)


# TLS


async def test_certificate_must_be_good(root: Path) -> None:
    """Unless that is not wanted."""

    async with serving(root, security=Security.EXPLICIT) as server:
        with pytest.raises(OSError, match="certificate verify failed"):
            await Client.connect(attrs.evolve(server, ca_file=None))
        with pytest.raises(OSError, match="certificate is not valid for"):
            await Client.connect(attrs.evolve(server, host="localhost"))
        insecure = attrs.evolve(server, ca_file=None, verify=False)
        async with await Client.connect(insecure) as client:
            assert await fetched(client) == CONTENT


async def test_tls_is_never_given_up(root: Path) -> None:
    """A server without TLS, or without protection of data, gets no password and no data."""

    said: list[str] = []

    class Noting(lacking("AUTH")):  # type: ignore[misc]
        async def carry_out(self, line: str) -> None:
            said.append(line)
            await super().carry_out(line)

    with pytest.raises(ReplyError, match="502"):
        async with connected(root, Noting, security=Security.EXPLICIT):
            pass
    assert said == ["AUTH TLS"]
    with pytest.raises(ReplyError, match="502"):
        async with connected(root, lacking("PROT"), security=Security.EXPLICIT):
            pass


async def test_nothing_is_heard_between_auth_and_tls(root: Path) -> None:
    """What an attacker adds to the reply to AUTH does not become a reply in TLS."""

    class Injected(Session):
        async def do_auth(self, argument: str) -> None:
            await self.reply("234 Begin.\r\n230 You are in.")
            await self.start_control_tls()

    with pytest.raises(Lost, match="more than it was asked for"):
        async with connected(root, Injected, security=Security.EXPLICIT):
            pass


# Ends


async def fetch_and_abort(client: Client) -> None:
    """Abort a download when its first bytes are here."""

    async with (
        client.transfer("RETR file") as transfer,
        receive_stream(transfer.endpoint) as stream,
    ):
        async for _ in stream:
            await client.abort()


async def test_abor_ends_a_transfer_and_not_the_session(root: Path) -> None:
    """Both replies are read; without a transfer, nothing is sent."""

    class Stalling(Session):
        patience = 1.0

        async def send_file(self, link: object, path: Path, offset: int, size: int) -> None:
            await link.send(CONTENT[:1000])  # type: ignore[attr-defined]
            await asyncio.Event().wait()

    async with connected(root, Stalling) as client:
        with pytest.raises(Aborted):
            await fetch_and_abort(client)
        await assert_in_step(client)
        await client.abort()
        await assert_in_step(client)


async def test_abor_that_has_no_reply_of_its_own_ends_the_session(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether a second reply is still to come."""

    monkeypatch.setattr("examples.client.client.PATIENCE_WITH_ABOR", 0.1)

    class Sparing(Session):
        async def send_file(self, link: object, path: Path, offset: int, size: int) -> None:
            await link.send(CONTENT[:1000])  # type: ignore[attr-defined]
            await asyncio.Event().wait()

        async def do_abor(self, argument: str) -> None:
            assert self.transfer is not None
            await self.abort(self.transfer)
            await self.reply("226 Aborted.")

    async with connected(root, Sparing) as client:
        with pytest.raises(Aborted):
            await fetch_and_abort(client)
        assert client.is_lost


async def test_cancellation_closes_the_session(root: Path) -> None:
    """And leaves no task and no socket, which the rules of the tests look for."""

    begun = asyncio.Event()

    class Stalling(Session):
        patience = 1.0

        async def send_file(self, link: object, path: Path, offset: int, size: int) -> None:
            begun.set()
            await asyncio.Event().wait()

    async with connected(root, Stalling) as client:
        fetching = asyncio.ensure_future(fetched(client))
        await begun.wait()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        assert client.is_lost


async def test_command_and_data_connection_go_out_together(root: Path) -> None:
    """The command does not wait for the connection, nor the connection for the 150."""

    class Waiting(Session):
        """Says 150 once the client has connected; and accepts it once the command is there."""

        async def do_retr(self, argument: str) -> None:
            assert self.data is not None
            await self.data.open()
            await super().do_retr(argument)

    async with connected(root, Waiting) as client:
        assert await fetched(client) == CONTENT
