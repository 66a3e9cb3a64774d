"""The scripted client: what it sends, how it reads replies, and how it fails."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ftpdata import testing
from ftpdata.testing import (
    Failure,
    HostilePeers,
    Protection,
    ScriptedClient,
    ScriptedStream,
    Truncated,
    scripted_client,
)
from ftpdata.testing._words import printable, reason
from tests.harness.tls import HOST_NAME, certificate_files, client_context
from tests.testing.scripted_server import (
    PASSWORD,
    USER,
    Cut,
    Link,
    Session,
    saying,
    scripted_server,
)

Script = Callable[[ScriptedStream], Awaitable[object]]


@contextlib.asynccontextmanager
async def connected(script: Script, *, patience: float = 60.0) -> AsyncIterator[ScriptedClient]:
    """Connect a client to a server that does what a script says."""

    with HostilePeers() as peers:
        async with peers.listening(script) as port:
            stream = await ScriptedStream.connect("127.0.0.1", port, patience=patience)
            async with ScriptedClient(stream, "127.0.0.1") as client:
                yield client


def saying_all(data: bytes, *, stays: bool = True) -> Script:
    """Make a server that says something, and waits until the client has gone."""

    async def script(stream: ScriptedStream) -> None:
        await stream.send(data)
        if stays:
            with contextlib.suppress(OSError):
                await stream.receive_all()

    return script


# Replies


@pytest.mark.parametrize(
    ("said", "code", "lines"),
    [
        (b"200 Fine.\r\n", 200, ["200 Fine."]),
        (b"200\r\n", 200, ["200"]),
        (b"200 Fine.\n", 200, ["200 Fine."]),
        (b"211-a\r\n211-b\r\n 211 c\r\n211 d\r\n", 211, ["211-a", "211-b", " 211 c", "211 d"]),
        (b"211-a\r\n212 b\r\n211\r\n", 211, ["211-a", "212 b", "211"]),
        (b"200 \xff\xff\xfe\r\n", 200, ["200 \udcff\udcfe"]),
    ],
)
async def test_a_reply_is_read(said: bytes, code: int, lines: list[str]) -> None:
    """In one line or several, with or without CR, with 255 doubled."""

    async with connected(saying_all(said + b"220 Next.\r\n")) as client:
        reply = await client.reply()
        assert (reply.code, reply.kind, list(reply.lines)) == (code, code // 100, lines)
        assert reply.text == "\n".join(lines)
        assert (await client.reply()).code == 220


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"hello\r\n", "after connecting came what is no reply: 'hello'"),
        (b"600 x\r\n", "what is no reply"),
        (b"20\r\n", "what is no reply"),
        (b"200x\r\n", "what is no reply"),
        (b"", "after connecting the server closed the control connection"),
        (b"200 Fi", "closed the control connection"),
        (b"200-Fine.\r\n", "closed the control connection"),
    ],
)
async def test_what_is_not_a_reply_is_a_failure(said: bytes, why: str) -> None:
    """The failure says what came instead."""

    async with connected(saying_all(said, stays=False)) as client:
        with pytest.raises(Failure, match=why):
            await client.reply()


@pytest.mark.parametrize("piece", [b"x" * 65536, b"200-" + b"x" * 400 + b"\r\n"])
async def test_a_reply_that_does_not_end_is_a_failure(piece: bytes) -> None:
    """Neither a long line nor many lines fill the memory."""

    async def flood(stream: ScriptedStream) -> None:
        await stream.send(b"200-\r\n")
        with contextlib.suppress(OSError):
            while True:
                await stream.send(piece * (65536 // len(piece)))

    async with connected(flood) as client:
        with pytest.raises(Failure, match="the reply to connecting does not end"):
            await client.reply()


async def test_a_server_that_says_nothing_is_a_failure() -> None:
    """The failure names the command, and the time; never the password."""

    async with connected(saying_all(b""), patience=0.05) as client:
        for line, shown in ((b"NOOP", "b'NOOP'"), ("PASS secret", "'PASS'")):
            await client.send(line)
            with pytest.raises(Failure, match=rf"^no reply to {shown} in 0\.05 s$"):
                await client.reply()


async def test_a_reset_is_a_failure() -> None:
    """In the system's own words."""

    async def reset(stream: ScriptedStream) -> None:
        stream.reset()

    async with connected(reset) as client:
        with pytest.raises(Failure, match="control connection broke: Connection reset by peer"):
            await client.reply()


async def test_an_unexpected_reply_is_a_failure() -> None:
    """It says what was expected; what the server has said is harmless."""

    async with connected(saying_all(b"500 \x1b[2J" + b"x" * 200 + b"\r\n")) as client:
        await client.send("X" * 200)
        with pytest.raises(Failure) as failed:
            await client.expect_reply(2, 331)
    text = str(failed.value)
    assert text.isprintable()
    assert len(text) < 250
    assert text.startswith("'XXX")
    assert "answered by '500 \\x1b[2Jxxx" in text
    assert text.endswith("...', not by 2yz or 331")


# What is sent


async def test_what_is_sent_ends_with_crlf_and_doubles_255() -> None:
    """Several commands go in one piece; bytes go as they are."""

    received = bytearray()

    async def keep(stream: ScriptedStream) -> None:
        received.extend(await stream.receive_all())

    async with connected(keep) as client:
        await client.send("CWD \udcffä", b"NOOP \xff")
        await client.send_bytes(b"\xff\xf4\r")
        client.stream.fin()
        assert await client.stream.receive() == b""
    assert received == b"CWD \xff\xff\xc3\xa4\r\nNOOP \xff\xff\r\n\xff\xf4\r"


async def test_a_peer_that_takes_nothing_is_a_failure() -> None:
    """A send has a deadline, too."""

    gone = asyncio.Event()

    async def take_nothing(stream: ScriptedStream) -> None:
        await gone.wait()

    async with connected(take_nothing, patience=0.05) as client:
        with pytest.raises(Failure, match=r"nothing happened in 0\.05 s of sending"):
            await client.stream.send(bytes(64 * 1024 * 1024))
        gone.set()


# TLS


async def end_by_reset(link: Link) -> None:
    """Reset a connection."""

    link.reset()


async def end_by_fin(link: Link) -> None:
    """End a connection without close_notify."""

    link.close()


async def end_well(link: Link) -> None:
    """End a connection with close_notify."""

    await link.send_close_notify()
    link.close()


@pytest.mark.parametrize(
    ("end", "error"), [(end_by_reset, OSError), (end_by_fin, Truncated), (end_well, None)]
)
async def test_the_end_of_tls_is_reported(
    end: Callable[[Link], Awaitable[None]], error: type[Exception] | None
) -> None:
    """A reset, a truncation and a clean end are three things."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate_files())

    async def serve(stream: ScriptedStream) -> None:
        link = Link(stream.socket)
        await link.start_tls(context)
        assert await link.receive() == b"ready"
        await link.send(b"content")
        await end(link)

    with HostilePeers() as peers:
        async with peers.listening(serve) as port:
            stream = await peers.connect(port)
            await stream.start_tls(client_context(), server_hostname=HOST_NAME)
            assert stream.tls is not None
            await stream.send(b"ready")
            if error is None:
                assert await stream.receive_all() == b"content"
                return
            with pytest.raises(error):
                await stream.receive_all()


@pytest.mark.parametrize("is_clean", [True, False])
async def test_a_client_ends_tls_as_asked(is_clean: bool) -> None:
    """`end` sends close_notify, and `fin` does not."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate_files())
    ends: list[bool] = []

    async def serve(stream: ScriptedStream) -> None:
        link = Link(stream.socket)
        await link.start_tls(context)
        try:
            assert await link.receive() == b""
        except Cut:
            ends.append(False)
        else:
            ends.append(True)

    with HostilePeers() as peers:
        async with peers.listening(serve) as port:
            stream = await peers.connect(port)
            await stream.start_tls(client_context(), server_hostname=HOST_NAME)
            if is_clean:
                await stream.end()
            else:
                stream.fin()
            with contextlib.suppress(Truncated):
                await stream.receive_all()
    assert ends == [is_clean]


# Sessions


@pytest.mark.parametrize("protection", Protection)
async def test_files_are_moved(protection: Protection, tmp_path: Path) -> None:
    """In clear and in TLS, with the session of the control connection."""

    certificate = None if protection is Protection.CLEAR else certificate_files()
    is_implicit = protection is Protection.IMPLICIT
    async with (
        scripted_server(tmp_path, certificate=certificate, is_implicit=is_implicit) as server,
        scripted_client(
            *(server.host, server.port), user=USER, password=PASSWORD, protection=protection
        ) as client,
    ):
        if protection is not Protection.CLEAR:
            await client.keep_private()
        content = bytes(range(256)) * 4096
        assert (await client.upload("STOR file", content)).code == 226
        assert (tmp_path / "file").read_bytes() == content
        assert await client.download("RETR file") == content
        _, data = await client.begin("RETR file")
        async with data:
            assert (data.tls is None) == (protection is Protection.CLEAR)
            assert data.tls is None or data.tls.session_reused
            assert await data.receive_exactly(300) == content[:300]
        await client.expect_reply(426, 226)


async def test_a_refused_transfer_closes_its_connection(tmp_path: Path) -> None:
    """What is sent to it afterwards fails."""

    async with (
        scripted_server(tmp_path) as server,
        scripted_client(server.host, server.port, user=USER, password=PASSWORD) as client,
    ):
        data = await client.passive()
        with pytest.raises(Failure, match="'RETR missing' was answered by '550"):
            await client.begin("RETR missing", data)
        with pytest.raises(OSError, match="descriptor"):
            await data.send(b"x")


@pytest.mark.parametrize(
    ("session", "why"),
    [
        (saying("EPSV", "229 Somewhere."), "no port in the reply to EPSV: '229 Somewhere.'"),
        (saying("EPSV", "500 No."), None),
        (type("Both", (saying("EPSV", "500 No."),), {"do_pasv": Session.do_noop}), "not by 227"),
    ],
)
async def test_a_passive_port_is_found(
    session: type[Session], why: str | None, tmp_path: Path
) -> None:
    """By EPSV; by PASV, where there is no EPSV."""

    async with (
        scripted_server(tmp_path, session) as server,
        scripted_client(server.host, server.port, user=USER, password=PASSWORD) as client,
    ):
        if why is None:
            assert await client.download("NLST") == b""
            return
        with pytest.raises(Failure, match=why):
            await client.passive_port()


async def test_a_port_that_is_not_there_is_refused() -> None:
    """With the error of the system."""

    with socket.socket() as sock, HostilePeers() as peers:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            await peers.connect(sock.getsockname()[1])


# Hostile peers


@pytest.mark.parametrize("how", testing.Cut)
async def test_a_peer_cuts_as_asked(how: testing.Cut) -> None:
    """With a reset, or with an end of file; in the middle of what it gets, or of what it sends."""

    seen: list[bytes | int | None] = []

    async def serve(stream: ScriptedStream) -> None:
        try:
            seen.append(await stream.receive_all())
        except OSError as error:
            seen.append(error.errno)

    with HostilePeers() as peers:
        async with peers.listening(serve) as port:
            await peers.send_then_cut(port, b"half", how)
            assert await peers.receive_then_cut(port, 0, how) == b""
            peers.close()
    cut_short = how is testing.Cut.RESET
    assert len(seen) == 2
    assert (b"half" in seen) != cut_short
    assert (errno.ECONNRESET in seen) == cut_short


async def test_a_script_that_fails_is_heard_of() -> None:
    """The test does not pass by mistake."""

    async def fail(stream: ScriptedStream) -> None:
        raise ValueError(await stream.receive())

    async def meet(peers: HostilePeers) -> None:
        async with peers.listening(fail) as port:
            stream = await peers.connect(port)
            await stream.send(b"x")
            await stream.receive()
            await asyncio.sleep(60)

    with HostilePeers() as peers, pytest.raises(ExceptionGroup) as failed:
        await meet(peers)
    assert failed.group_contains(ValueError, match="x")


# Words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ünïcode is fine", "Ünïcode is fine"),
        ("\x1b\x00\x7f\x9b", r"\x1b\x00\x7f\x9b"),
        ("\udcff\udc80", r"\xff\x80"),
        ("\u202e\ufeff\U000e0001", r"\u202e\ufeff\U000e0001"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
    ],
)
def test_nothing_but_printable_characters_is_shown(text: str, shown: str) -> None:
    """The rest is escaped."""

    assert printable(text) == shown


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('::1', 21)"), "Connection refused"),
        (OSError("odd"), "odd"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service"),
        (ssl.SSLError(1, "[SSL] wrong version number"), r"\[SSL\] wrong version number"),
    ],
)
def test_an_error_has_its_reason(error: OSError, shown: str) -> None:
    """The system's words, where the error has a number of the system's."""

    with pytest.raises(AssertionError, match=shown):
        raise AssertionError(reason(error))
