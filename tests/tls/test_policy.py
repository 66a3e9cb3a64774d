"""Tests of `ftpdata.tls.policy`: who may resume, what is refused, and what counts as an end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from ftpdata import (
    Deadlines,
    End,
    FastPath,
    FTPDataError,
    ReusableConnection,
    TransferParameters,
    TransferResult,
    connect_active,
    listen_passive,
    receive_file,
    relay,
    send_file,
    send_listing,
    send_stream,
)
from ftpdata.codecs import decoder_for
from ftpdata.codecs.block import BlockDecoder
from ftpdata.connection._receive_buffer import ReceiveBuffer
from ftpdata.connection.memory_consumer import MemoryConsumer
from ftpdata.connection.protocol import DTP
from ftpdata.connection.stream import DTPStream
from ftpdata.errors import TLSNegotiationFailed
from ftpdata.opening.endpoint import AcceptedEndpoint, Endpoint, link_of
from ftpdata.testing import Cut, RecordingConsumer, reset, send_then_cut, sweep, tcp_pair
from ftpdata.tls.policy import DataTLS, ServerCertificate, SessionReuse
from ftpdata.transfers import send_records

from ..harness.authority import CA
from ..harness.connections import peer_task
from ..harness.dtps import only_linux
from ..harness.packages import errors_stay
from ..harness.tls import HOST_NAME, TLSPeer, client_context, server_certificate
from ..harness.waiting import turns, until

HOST = "127.0.0.1"
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = [pytest.param(TLS_1_2, id="TLS1.2"), pytest.param(TLS_1_3, id="TLS1.3")]
QUICK = Deadlines(open=5, handshake=5, first_byte=5, stall=5, close=5)


@attrs.frozen
class Control:
    """A control connection in memory after its handshake, with the contexts of both sides."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    session: ssl.SSLSession
    here: ssl.SSLObject
    there: ssl.SSLObject

    def command(self) -> None:
        """Send a command, and let the server read it, with all that comes before it."""

        self.here.write(b"NOOP\r\n")
        assert self.there.read() == b"NOOP\r\n"

    def reply(self) -> None:
        """Send a reply, and let the client read it, with all that comes before it."""

        self.there.write(b"200 Noted.\r\n")
        assert self.here.read() == b"200 Noted.\r\n"


def log_in(
    version: ssl.TLSVersion | None = None,
    *,
    client: ssl.SSLContext | None = None,
    certificate: ServerCertificate | None = None,
) -> Control:
    """Do the handshake of a control connection in memory, and read the tickets after it."""

    server = (certificate or server_certificate(version)).session_context()
    client = client or client_context(version)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname=HOST_NAME)
    there = server.wrap_bio(to_server, to_client, server_side=True)
    pending = {here, there}
    while pending:
        for side in tuple(pending):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
                pending.discard(side)

    there.write(b"230 Logged in.\r\n")
    assert here.read()
    assert here.session is not None
    return Control(server, client, here.session, here, there)


@contextlib.asynccontextmanager
async def sockets(
    *, send_buffer: int | None = None, receive_buffer: int | None = None
) -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    """Provide two connected sockets, of which the first is for an endpoint to take over."""

    accepted, peer = await tcp_pair(send_buffer=send_buffer, receive_buffer=receive_buffer)
    try:
        yield accepted, peer
    finally:
        accepted.close()
        peer.close()


async def open_with(
    tls: DataTLS,
    accepted: socket.socket,
    peer: TLSPeer,
    *,
    deadlines: Deadlines = QUICK,
) -> DTP:
    """Open a protected connection with a peer that does its part of the handshake."""

    async with (
        AcceptedEndpoint(accepted, tls=tls, deadlines=deadlines) as endpoint,
        peer_task(peer.handshake()) as handshake,
    ):
        dtp = await endpoint.open()
        await handshake
        return dtp


@contextlib.asynccontextmanager
async def protected(
    control: Control,
    *,
    session: ssl.SSLSession | None = None,
    reuse: SessionReuse = SessionReuse.WANTED,
    strict_close: bool = True,
    deadlines: Deadlines = QUICK,
    send_buffer: int | None = None,
    receive_buffer: int | None = None,
) -> AsyncIterator[tuple[DTP, TLSPeer]]:
    """Provide a server's `DTP` and the client at its other end."""

    tls = DataTLS.for_server(control.server, reuse=reuse, strict_close=strict_close)
    async with sockets(send_buffer=send_buffer, receive_buffer=receive_buffer) as (accepted, sock):
        peer = TLSPeer(sock, control.client, session=session)
        dtp = await open_with(tls, accepted, peer, deadlines=deadlines)
        try:
            yield dtp, peer
        finally:
            dtp.abort()
            with contextlib.suppress(FTPDataError):
                await dtp.wait_closed()


async def endpoints(passive: DataTLS, active: DataTLS) -> tuple[Endpoint, Endpoint]:
    """Make two endpoints for one connection."""

    listening = await listen_passive(HOST, control_peer=HOST, tls=passive, deadlines=QUICK)
    connecting = connect_active(
        listening.address, control_peer=HOST, tls=active, deadlines=QUICK
    )
    return listening, connecting


async def is_over(sock: socket.socket) -> bool:
    """Wait until the other side has ended the connection, and drop what it sends before."""

    loop = asyncio.get_running_loop()
    try:
        while await loop.sock_recv(sock, 4096):
            pass
    except ConnectionResetError:
        return True

    return True


# Handshakes


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("server_is_passive", [True, False])
async def test_both_roles_over_both_endpoints(
    version: ssl.TLSVersion, server_is_passive: bool, tmp_path: Path
) -> None:
    """The server sends the client a file, whichever connects; both results say how TLS was used."""

    control = log_in(version)
    server = DataTLS.for_server(control.server, reuse=SessionReuse.REQUIRED)
    client = DataTLS.for_client(
        control.client,
        session=control.session,
        server_hostname=HOST_NAME,
        reuse=SessionReuse.REQUIRED,
    )
    sides = (server, client) if server_is_passive else (client, server)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"0123456789" * 100_000)
    dtps = await asyncio.gather(*(endpoint.open() for endpoint in await endpoints(*sides)))

    sender, receiver = dtps if server_is_passive else (dtps[1], dtps[0])
    sent, received = await asyncio.gather(
        send_file(sender, source, deadlines=QUICK),
        receive_file(receiver, target, deadlines=QUICK),
    )
    assert target.read_bytes() == source.read_bytes()
    assert received.fast_path is FastPath.BUFFERED
    for result in (sent, received):
        assert result.end is End.CLEAN
        assert result.tls_version == {TLS_1_2: "TLSv1.2", TLS_1_3: "TLSv1.3"}[version]
        assert result.tls_cipher
        assert result.tls_resumed is True


def without_name_check() -> ssl.SSLContext:
    """Make the context of a client that accepts a certificate of any name, explicitly."""

    context = client_context()
    context.check_hostname = False
    return context


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (ValueError, {"server_hostname": None}),
        (ValueError, {"server_hostname": ""}),
        (ValueError, {"server_hostname": ".example"}),
        (ValueError, {"reuse": SessionReuse.REQUIRED}),
        (ValueError, {"context": "server"}),
        (ValueError, {"session": "another's"}),
        (TypeError, {"session": "nonsense"}),
        (TypeError, {"reuse": "required"}),
        (TypeError, {"context": None}),
    ],
)
def test_what_a_clients_context_refuses_is_refused_at_the_call(
    error: type[Exception], options: dict[str, Any]
) -> None:
    """The errors are those of `ssl`, which raises some at the first connection only.

    The context stays as it was.
    """

    control = log_in()
    context = client_context()
    class_before = context.sslobject_class
    given = {"context": context, "session": None, "server_hostname": HOST_NAME, **options}
    if options.get("context") == "server":
        given["context"] = server_certificate().session_context()
    if options.get("session") == "another's":
        given["session"] = control.session
    with pytest.raises(error):
        DataTLS.for_client(**given)
    assert context.sslobject_class is class_before


def test_a_name_need_not_be_given_where_none_is_checked() -> None:
    """A context that checks no name can be used without one."""

    tls = DataTLS.for_client(without_name_check(), session=None)
    assert tls.server_hostname is None
    assert DataTLS(context=without_name_check(), server_side=False).server_hostname is None


def test_a_clients_context_is_not_a_servers() -> None:
    """A context for the wrong side is refused at the call, not at the first connection."""

    with pytest.raises(ValueError, match="server"):
        DataTLS.for_server(client_context())
    with pytest.raises(ValueError, match="check_hostname"):
        DataTLS(context=client_context(), server_side=False)
    with pytest.raises(TypeError, match="SSLContext"):
        DataTLS.for_server(server_certificate())  # type: ignore[arg-type]


async def test_a_client_checks_the_name_of_the_server() -> None:
    """A certificate of another name ends the handshake on both sides, with reply 522."""

    control = log_in()
    server = DataTLS.for_server(control.server)
    client = DataTLS.for_client(client_context(), session=None, server_hostname="other.example")
    opened = [endpoint.open() for endpoint in await endpoints(server, client)]
    outcomes = await asyncio.gather(*opened, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, DTP):
            # In TLS 1.3 the server may have finished before the client refuses.
            with pytest.raises(FTPDataError):
                await outcome.wait_closed()
        else:
            assert isinstance(outcome, TLSNegotiationFailed)
            assert outcome.reply_code == 522


@pytest.mark.parametrize("session", ["own", "none"])
async def test_no_tickets_are_sent_where_none_is_needed(session: str) -> None:
    """Unless the session must be resumed, nothing follows the handshake."""

    control = log_in(TLS_1_3)
    assert control.session.has_ticket
    async with protected(control, session=control.session if session == "own" else None) as pair:
        dtp, peer = pair
        assert control.server.num_tickets == 0
        # OpenSSL would process tickets while it reads the data after them.
        dtp.write(b"the first record")
        assert await peer.receive() == b"the first record"
        assert peer.tls.session is None or not peer.tls.session.has_ticket or session == "own"
        assert dtp.transport.get_extra_info("ssl_object").session_reused is (session == "own")


# Resumption: the ticket matrix


async def negotiate(
    control: Control, session: ssl.SSLSession | None, reuse: SessionReuse
) -> tuple[bool, bool]:
    """Open a connection with a session; return whether it was accepted, and whether it resumed."""

    try:
        async with protected(control, session=session, reuse=reuse) as (dtp, _):
            return True, bool(dtp.transport.get_extra_info("ssl_object").session_reused)
    except TLSNegotiationFailed as error:
        refusal = error

    assert refusal.reply_code == 522
    assert refusal.end is End.HANDSHAKE_FAILED
    assert "resume" in str(refusal)
    return False, False


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("whose", ["own", "own twice", "another client's", "none"])
@pytest.mark.parametrize("reuse", SessionReuse)
async def test_who_resumes(version: ssl.TLSVersion, whose: str, reuse: SessionReuse) -> None:
    """If reuse is required, only the client's own session is accepted; otherwise everybody is."""

    control, other = log_in(version), log_in(version)
    session = {"none": None, "another client's": other.session}.get(whose, control.session)
    # This client offers the session of another control connection to this one's context.
    client = other.client if whose == "another client's" else control.client
    control = attrs.evolve(control, client=client)
    is_own = whose.startswith("own")
    expected = (is_own or reuse is not SessionReuse.REQUIRED, is_own)
    if reuse is SessionReuse.OFF:
        # Nobody checks it: a session that was issued before may resume or not.
        expected = (True, (await negotiate(control, session, reuse))[1])

    for _ in range(2 if whose == "own twice" else 1):
        assert await negotiate(control, session, reuse) == expected


def by_identifier() -> ssl.SSLContext:
    """Make the context of a client without tickets, which resumes by session identifier."""

    context = client_context(TLS_1_2)
    context.options |= ssl.OP_NO_TICKET
    return context


CLIENTS: dict[str, Callable[[], ssl.SSLContext]] = {
    "identifier": by_identifier,
    "TLS1.2": lambda: client_context(TLS_1_2),
    "TLS1.3": lambda: client_context(TLS_1_3),
}


@pytest.mark.parametrize("kind", CLIENTS)
async def test_the_last_transfer_resumes_as_the_first(kind: str) -> None:
    """One session serves all transfers, and no attempt of a stranger changes that.

    ``FTPDATA_TRANSFERS=1000`` makes it 1,000 transfers.
    """

    control, other = log_in(client=CLIENTS[kind]()), log_in(client=CLIENTS[kind]())
    stranger = attrs.evolve(control, client=other.client)
    count = int(os.environ.get("FTPDATA_TRANSFERS", "50"))
    verdicts: Counter[tuple[str, tuple[bool, bool]]] = Counter()
    for number in range(count):
        tried: list[tuple[str, Control, ssl.SSLSession | None]]
        tried = [("own", control, control.session)]
        if number % 5 == 0:
            tried += [("another client's", stranger, other.session), ("none", control, None)]
        for whose, offering, session in tried:
            verdict = await negotiate(offering, session, SessionReuse.REQUIRED)
            verdicts[whose, verdict] += 1

    assert verdicts == {
        ("own", (True, True)): count,
        ("another client's", (False, False)): (count + 4) // 5,
        ("none", (False, False)): (count + 4) // 5,
    }


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    "end", ["whole", "cut", "cut in a record", "reset", "aborted", "aborted unread", "refused"]
)
async def test_a_session_outlives_its_connections(kind: str, end: str) -> None:
    """However a data connection has ended, the client's next one resumes."""

    control = log_in(client=CLIENTS[kind]())
    for _ in range(3):
        async with protected(control, session=control.session) as (dtp, peer):
            assert dtp.transport.get_extra_info("ssl_object").session_reused
            wire = peer.record(b"data" * 1000)
            if end == "whole":
                wire += peer.close_notify()
            elif end == "cut in a record":
                wire = wire[:-1]
            if end == "aborted unread":
                await peer.put(wire + b"".join(peer.record(b"more" * 4000) for _ in range(10)))
                await asyncio.sleep(0)
            elif end != "aborted":
                cut = Cut.RESET if end == "reset" else Cut.CLOSE
                await send_then_cut(peer.sock, wire, cut)
                consumer = RecordingConsumer(fail_at=1 if end == "refused" else None)
                received = dtp.register_consumer(consumer)
                with contextlib.suppress(FTPDataError):
                    await received
                    await dtp.wait_closed()
                assert (dtp.end is End.CLEAN) == (end == "whole")
            peer.leave()
        # OpenSSL would forget the session when the last reference to its connection goes.
        del dtp
        gc.collect()

    assert await negotiate(control, control.session, SessionReuse.REQUIRED) == (True, True)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("is_early", [True, False])
async def test_a_session_outlives_connections_that_nobody_took(kind: str, is_early: bool) -> None:
    """A command that fails before its transfer begins leaves the client its session."""

    control = log_in(client=CLIENTS[kind]())
    tls = DataTLS.for_server(control.server, reuse=SessionReuse.REQUIRED)
    for _ in range(2):
        async with sockets() as (accepted, sock):
            peer = TLSPeer(sock, control.client, session=control.session)
            async with (
                AcceptedEndpoint(accepted, tls=tls, deadlines=QUICK) as endpoint,
                peer_task(peer.handshake()) as handshake,
            ):
                if not is_early:
                    await link_of(endpoint)
                await handshake
                async with asyncio.timeout(60):
                    link = endpoint._link
                    assert link is not None
                    while link.channel is None:  # noqa: ASYNC110 - it tells nobody
                        await asyncio.sleep(0)
                assert link.channel.object.session_reused
            peer.leave()
            del link
        del endpoint
        gc.collect()

    assert await negotiate(control, control.session, SessionReuse.REQUIRED) == (True, True)


# Tickets for clients that use each only once


def asked_later(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Make the context of a client that allows later requests for a certificate, as curl does."""

    context = client_context(version)
    context.post_handshake_auth = True
    return context


def with_foreign_certificate(context: ssl.SSLContext) -> ssl.SSLContext:
    """Load a client certificate that the server has no reason to trust."""

    CA().issue_cert("client.example").configure_cert(context)
    return context


async def test_the_next_ticket_comes_on_the_control_connection() -> None:
    """With a renewal after each transfer, every data connection has an unused ticket."""

    control = log_in(client=asked_later())
    tls = DataTLS.for_server(control.server, reuse=SessionReuse.REQUIRED)
    used = set()
    for _ in range(5):
        session = control.here.session
        assert session is not None
        assert bytes(session.id) not in used
        used.add(bytes(session.id))
        assert await negotiate(control, session, SessionReuse.REQUIRED) == (True, True)
        assert tls.renew_ticket(control.there)
        # A request is under way already.
        assert not tls.renew_ticket(control.there)
        control.reply()
        control.command()
        control.reply()


async def upload_and_read_the_end(dtp: DTP, peer: TLSPeer) -> None:
    """Upload as PHP does; check that nothing comes before the client's end."""

    content = b"data" * 10_000
    consumer = MemoryConsumer()
    received = dtp.register_consumer(consumer)
    await peer.send(content)
    await until(lambda: dtp.bytes_received == len(content))
    with pytest.raises(BlockingIOError):
        peer.sock.recv(1)
    await peer.put(peer.close_notify())
    assert await peer.receive() == b""
    await received
    assert consumer.data == content


@pytest.mark.parametrize("direction", ["upload", "download"])
async def test_a_data_connection_brings_the_ticket_for_the_next_one(direction: str) -> None:
    """A client that uses each ticket once and cannot be asked, as PHP, protects all of them.

    While the client may be sending, nothing comes that it could leave unread.
    """

    control = log_in(TLS_1_3)
    session = control.session
    used = set()
    for _ in range(5):
        assert bytes(session.id) not in used
        used.add(bytes(session.id))
        async with protected(control, session=session, reuse=SessionReuse.REQUIRED) as pair:
            dtp, peer = pair
            if direction == "download":
                dtp.write(b"data" * 10_000)
                assert await peer.receive()
            else:
                await upload_and_read_the_end(dtp, peer)
            assert peer.tls.session_reused
            assert peer.tls.session is not None
            session = peer.tls.session


@pytest.mark.parametrize("size", [0, 1, 5_000, 1_000_000])
async def test_a_client_that_leaves_its_ticket_unread_loses_nothing(
    size: int, tmp_path: Path
) -> None:
    """The client closes right after its end, while its last data are still on their way."""

    control = log_in(TLS_1_3)
    tls = DataTLS.for_server(control.server, reuse=SessionReuse.REQUIRED)
    content = bytes(range(250)) * (size // 250 + 1)
    for _ in range(5):
        async with sockets(send_buffer=1 << 21, receive_buffer=4096) as (accepted, sock):
            peer = TLSPeer(sock, control.client, session=control.session)
            endpoint = AcceptedEndpoint(accepted, tls=tls, deadlines=QUICK)
            receiving = asyncio.ensure_future(receive_file(endpoint, tmp_path / "file"))
            await peer.handshake()
            wire = peer.record(content[:size]) if size else b""
            await send_then_cut(sock, wire + peer.close_notify(), Cut.CLOSE)
            result = await receiving
        assert result.end is End.CLEAN
        assert (tmp_path / "file").read_bytes() == content[:size]


async def test_a_stranger_gets_no_ticket() -> None:
    """A refused data connection gets no ticket, which would open the next one."""

    control = log_in(TLS_1_3)
    tls = DataTLS.for_server(control.server, reuse=SessionReuse.REQUIRED)
    async with sockets() as (accepted, sock):
        peer = TLSPeer(sock, control.client)
        async with AcceptedEndpoint(accepted, tls=tls, deadlines=QUICK) as endpoint:
            opening = asyncio.ensure_future(endpoint.open())
            await peer.handshake()
            with pytest.raises(TLSNegotiationFailed):
                await opening
        with pytest.raises(ConnectionResetError):
            await peer.receive()
    assert peer.tls.session is not None
    assert not peer.tls.session.has_ticket


@pytest.mark.parametrize(
    ("client", "reuse"),
    [
        (asked_later(TLS_1_2), SessionReuse.REQUIRED),
        (asked_later(), SessionReuse.WANTED),
        (asked_later(), SessionReuse.OFF),
        (client_context(), SessionReuse.REQUIRED),
    ],
)
async def test_nobody_is_asked_in_vain(client: ssl.SSLContext, reuse: SessionReuse) -> None:
    """No certificate is requested where no ticket is needed, or where the client forbids it."""

    control = log_in(client=client)
    tls = DataTLS.for_server(control.server, reuse=reuse)
    assert not tls.renew_ticket(control.there)
    control.reply()
    control.command()
    control.reply()
    assert control.here.session is not None
    assert control.here.session.id == control.session.id


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("limited", ["neither", "client", "server", "server, by an option"])
async def test_no_client_is_asked_for_a_certificate_in_its_handshake(
    version: ssl.TLSVersion, limited: str
) -> None:
    """A client with an untrusted certificate gets in and transfers, in all versions of TLS."""

    if limited == "server, by an option":

        def prepare(context: ssl.SSLContext) -> None:
            if version is TLS_1_2:
                with pytest.warns(DeprecationWarning, match="OP_NO"):
                    context.options |= ssl.OP_NO_TLSv1_3

        certificate = attrs.evolve(server_certificate(), prepare=prepare)
    else:
        certificate = server_certificate(version if limited == "server" else None)
    client = with_foreign_certificate(asked_later(version if limited == "client" else None))
    control = log_in(client=client, certificate=certificate)
    assert control.server.verify_mode is ssl.CERT_NONE
    assert not control.server.post_handshake_auth
    for reuse in (SessionReuse.WANTED, SessionReuse.REQUIRED):
        assert await negotiate(control, control.session, reuse) == (True, True)
    control.reply()
    control.command()


async def test_a_host_that_wants_certificates_still_gets_them() -> None:
    """If `prepare` asks for certificates, clients are asked at once and for each ticket."""

    def prepare(context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)

    authority = CA()
    certificate = attrs.evolve(server_certificate(), prepare=prepare)
    with pytest.raises(ssl.SSLError):
        log_in(client=asked_later(), certificate=certificate)

    client = asked_later()
    authority.issue_cert("client.example").configure_cert(client)
    control = log_in(client=client, certificate=certificate)
    assert control.there.getpeercert()
    tls = DataTLS.for_server(control.server, reuse=SessionReuse.REQUIRED)
    assert tls.renew_ticket(control.there)
    control.reply()
    control.command()
    control.reply()
    assert control.there.getpeercert()
    assert control.here.session is not None
    assert control.here.session.id != control.session.id


def test_the_hello_of_a_client_that_can_be_asked_may_come_in_pieces() -> None:
    """No bytes are lost that were read before the ClientHello was complete."""

    context = server_certificate().session_context()
    client = asked_later()
    hello, here, to_client = client_hello(client)
    to_server, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = context.wrap_bio(to_server, outgoing, server_side=True)
    for at in range(0, len(hello), 7):
        to_server.write(hello[at : at + 7])
        with pytest.raises(ssl.SSLWantReadError):
            there.do_handshake()
    to_client.write(outgoing.read())
    here.do_handshake()
    assert here.version() == "TLSv1.3"


async def test_a_client_can_demand_resumption_too() -> None:
    """A client that requires reuse refuses a server that does not resume its session."""

    control, other = log_in(), log_in()
    server = DataTLS.for_server(other.server)
    client = DataTLS.for_client(
        control.client,
        session=control.session,
        server_hostname=HOST_NAME,
        reuse=SessionReuse.REQUIRED,
    )
    listening, connecting = await endpoints(server, client)
    opened, refused = await asyncio.gather(
        listening.open(), connecting.open(), return_exceptions=True
    )
    assert isinstance(refused, TLSNegotiationFailed)
    assert isinstance(opened, DTP)
    with pytest.raises(FTPDataError):
        await opened.register_consumer(MemoryConsumer())


# Before the handshake: foreign protocols, and bytes that are not TLS


def client_hello(context: ssl.SSLContext) -> tuple[bytes, ssl.SSLObject, ssl.MemoryBIO]:
    """Make a ClientHello."""

    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=HOST_NAME)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()

    return outgoing.read(), tls, incoming


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("protocols", [["http/1.1"], ["h2", "http/1.1"], ["smtp"]])
async def test_foreign_protocols_are_refused(
    version: ssl.TLSVersion, whole: bool, protocols: list[str]
) -> None:
    """A browser that was lured here gets no connection, however its ClientHello is split."""

    control = log_in(version)
    control.client.set_alpn_protocols(protocols)
    hello, _, _ = client_hello(control.client)
    tls = DataTLS.for_server(control.server)
    async with sockets() as (accepted, sock), AcceptedEndpoint(accepted, tls=tls) as endpoint:
        opening = asyncio.ensure_future(endpoint.open())
        loop = asyncio.get_running_loop()
        for piece in [hello] if whole else [hello[i : i + 37] for i in range(0, len(hello), 37)]:
            await loop.sock_sendall(sock, piece)
            await asyncio.sleep(0)

        with pytest.raises(TLSNegotiationFailed, match="foreign") as caught:
            await opening
        assert caught.value.reply_code == 522
        assert await is_over(sock)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "protocols", [None, ["ftp"], ["ftp-data"], ["x-filezilla-ftp"], ["http/1.1", "ftp"]]
)
async def test_the_protocols_of_ftp_are_accepted(
    version: ssl.TLSVersion, protocols: list[str] | None
) -> None:
    """A client is served if it offers FTP, alone or among others, or offers nothing."""

    control = log_in(version)
    if protocols is not None:
        control.client.set_alpn_protocols(protocols)
    assert (await negotiate(control, None, SessionReuse.WANTED))[0]


def test_a_client_hello_cannot_be_split_without_an_end() -> None:
    """Each piece makes all bytes so far be parsed again, so the number of pieces is limited."""

    tls, incoming = DataTLS.for_server(log_in().server), ssl.MemoryBIO()
    server = tls.context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
    for byte in b"\x01\0\xff\xff\x03\x03" + bytes(500):
        incoming.write(b"\x16\x03\x01\0\x01" + bytes((byte,)))
        with pytest.raises(ssl.SSLWantReadError):
            server.do_handshake()

    def go_on() -> None:
        for _ in range(1500):
            incoming.write(b"\x16\x03\x01\0\x01\0")
            with contextlib.suppress(ssl.SSLWantReadError):
                server.do_handshake()

    with pytest.raises(ssl.SSLError, match="pieces"):
        go_on()


async def test_a_split_client_hello_of_a_friend_is_accepted() -> None:
    """A ClientHello of FTP may come byte by byte."""

    control = log_in()
    control.client.set_alpn_protocols(["ftp"])
    tls = DataTLS.for_server(control.server)
    async with sockets() as (accepted, sock), AcceptedEndpoint(accepted, tls=tls) as endpoint:
        opening = asyncio.ensure_future(endpoint.open())
        peer = TLSPeer(sock, control.client)
        with contextlib.suppress(ssl.SSLWantReadError):
            peer.tls.do_handshake()
        hello = peer.outgoing.read()
        for i in range(len(hello)):
            await peer.put(hello[i : i + 1])
            await asyncio.sleep(0)
        await peer.handshake()
        dtp = await opening
        assert dtp.is_connected
        dtp.abort()
        with pytest.raises(FTPDataError):
            await dtp.wait_closed()


@errors_stay
@pytest.mark.parametrize("junk", [b"\0", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03", b"\x80\x2e\x01"])
async def test_bytes_before_the_client_hello(junk: bytes) -> None:
    """Other bytes before the handshake end this connection, and no other one."""

    control = log_in()
    async with protected(control, session=control.session) as (other, other_peer):
        tls = DataTLS.for_server(control.server)
        limits = Deadlines(handshake=0.3)
        async with (
            sockets() as (accepted, sock),
            AcceptedEndpoint(accepted, tls=tls, deadlines=limits) as endpoint,
        ):
            opening = asyncio.ensure_future(endpoint.open())
            hello, _, _ = client_hello(control.client)
            await asyncio.get_running_loop().sock_sendall(sock, junk + hello)
            with pytest.raises(TLSNegotiationFailed) as caught:
                await opening
            assert caught.value.reply_code == 522
            assert await is_over(sock)

        other.write(b"unharmed")
        assert await other_peer.receive() == b"unharmed"
        assert await negotiate(control, control.session, SessionReuse.REQUIRED) == (True, True)


async def test_a_peer_that_leaves_in_the_handshake() -> None:
    """An end of file or a reset during the handshake fails it."""

    control = log_in()
    hello, _, _ = client_hello(control.client)
    for cut in (socket.socket.close, reset):
        for size in (0, 1, 5, 100, len(hello)):
            tls = DataTLS.for_server(control.server)
            async with sockets() as (accepted, sock), AcceptedEndpoint(accepted, tls=tls) as end:
                opening = asyncio.ensure_future(end.open())
                await asyncio.get_running_loop().sock_sendall(sock, hello[:size])
                cut(sock)
                with pytest.raises(FTPDataError) as caught:
                    await opening
                assert caught.value.reply_code in {522, 425}


# Deadlines, abort, cancellation


@pytest.mark.parametrize("sent", [0, 1, 60, None])
async def test_a_stalled_handshake_ends_at_its_deadline(sent: int | None) -> None:
    """The deadline holds for a peer that sends nothing, a part of its ClientHello, or all of it."""

    control = log_in()
    hello, _, _ = client_hello(control.client)
    tls = DataTLS.for_server(control.server)
    loop = asyncio.get_running_loop()
    async with sockets() as (accepted, sock):
        limits = Deadlines(handshake=0.1)
        async with AcceptedEndpoint(accepted, tls=tls, deadlines=limits) as endpoint:
            await loop.sock_sendall(sock, hello[:sent])
            started_at = loop.time()
            with pytest.raises(FTPDataError) as caught:
                await endpoint.open()
            assert 0.09 <= loop.time() - started_at < 1.1
            assert caught.value.end is End.HANDSHAKE_TIMEOUT
            assert caught.value.reply_code == 522
            assert await is_over(sock)


async def test_abort_during_the_handshake() -> None:
    """The task that waits for the handshake gets the reason, and the peer sees an end."""

    control = log_in()
    tls = DataTLS.for_server(control.server)
    async with sockets() as (accepted, sock), AcceptedEndpoint(accepted, tls=tls) as endpoint:
        opening = asyncio.ensure_future(endpoint.open())
        for _ in range(5):
            await asyncio.sleep(0)
        endpoint.abort(End.ABORTED, "the user said so")
        with pytest.raises(FTPDataError, match="the user said so"):
            await opening
        assert await is_over(sock)


@pytest.mark.parametrize("server_side", [True, False])
async def test_cancellation_at_each_step_of_a_handshake(server_side: bool) -> None:
    """Cancelled at any step, `open` leaves no task and no descriptor behind."""

    control = log_in()
    if server_side:
        tls = DataTLS.for_server(control.server)
        context = control.client
    else:
        tls = DataTLS.for_client(control.client, session=None, server_hostname=HOST_NAME)
        context = control.server

    async def scenario() -> None:
        async with sockets() as (accepted, sock):
            peer = TLSPeer(sock, context, server_side=not server_side)
            async with (
                peer_task(peer.handshake()),
                AcceptedEndpoint(accepted, tls=tls, deadlines=QUICK) as endpoint,
            ):
                dtp = await endpoint.open()
                dtp.abort()
                with contextlib.suppress(FTPDataError):
                    await dtp.wait_closed()

    assert await sweep(scenario) >= 2


async def test_a_cancel_scope_around_a_stalled_handshake() -> None:
    """A cancel scope cancels at every turn of the loop; the handshake still closes its socket."""

    control = log_in()
    for server_side in (True, False):
        tls = DataTLS.for_server(control.server)
        if not server_side:
            tls = DataTLS.for_client(control.client, session=None, server_hostname=HOST_NAME)
        async with sockets() as (accepted, sock):
            with anyio.move_on_after(0.05) as scope:
                async with AcceptedEndpoint(accepted, tls=tls) as endpoint:
                    await endpoint.open()
            assert scope.cancelled_caught
            assert accepted.fileno() == -1
            assert await is_over(sock)


# Truncation: the peer leaves at every boundary of records, and within records


def names_in(directory: Path) -> list[str]:
    """List a directory, including its hidden files."""

    return sorted(path.name for path in directory.iterdir())


RECORDS = (b"first " * 50, b"second " * 300, b"last")


def cut_points(wire: list[bytes]) -> list[int]:
    """Return places in every record: its beginning, its header, its middle, its last byte."""

    points = []
    start = 0
    for record in wire:
        points += [start, start + 1, start + 5, start + len(record) // 2, start + len(record) - 1]
        start += len(record)

    return points


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("append", [False, True], ids=["STOR", "APPE"])
@pytest.mark.parametrize("cut", Cut)
async def test_no_cut_upload_is_taken_for_a_whole_one(
    version: ssl.TLSVersion, append: bool, cut: Cut, served_directory: Path
) -> None:
    """An upload counts as cut wherever the peer stops, within a record or between two."""

    control = log_in(version)
    target = served_directory / "upload"
    index = 0
    points = [0]
    while index < len(points):
        if append:
            target.write_bytes(b"old ")

        async with protected(control, session=control.session) as (dtp, peer):
            wire = [*(peer.record(data) for data in RECORDS), peer.close_notify()]
            points = cut_points(wire)
            receiving = asyncio.ensure_future(
                receive_file(dtp, target, append=append, deadlines=QUICK)
            )
            await send_then_cut(peer.sock, b"".join(wire)[: points[index]], cut)
            with pytest.raises(FTPDataError) as caught:
                await receiving

        result = caught.value.result
        assert result is not None
        assert result.end is (End.RESET if cut is Cut.RESET else End.TLS_TRUNCATED), points[index]
        assert result.reply_code == 426
        if append:
            assert (b"old " + b"".join(RECORDS)).startswith(target.read_bytes())
        else:
            assert names_in(served_directory) == []
        index += 1

    assert index == 5 * 4


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("cut", [Cut.CLOSE, Cut.HALF_CLOSE])
async def test_an_upload_that_was_announced_to_end_is_whole(
    version: ssl.TLSVersion, cut: Cut, tmp_path: Path
) -> None:
    """Data, close_notify, and end of file that arrive together are a whole upload."""

    control = log_in(version)
    target = tmp_path / "upload"
    async with protected(control, session=control.session) as (dtp, peer):
        wire = [*(peer.record(data) for data in RECORDS), peer.close_notify()]
        receiving = asyncio.ensure_future(receive_file(dtp, target, deadlines=QUICK))
        await send_then_cut(peer.sock, b"".join(wire), cut)
        result = await receiving

    assert result.end is End.CLEAN
    assert result.file_bytes == sum(map(len, RECORDS))
    assert target.read_bytes() == b"".join(RECORDS)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_that_never_says_goodbye_is_served_where_the_host_says_so(
    version: ssl.TLSVersion, tmp_path: Path
) -> None:
    """With `strict_close=False` a bare end of file is a clean end; a reset still is not."""

    control = log_in(version)
    target = tmp_path / "upload"
    async with protected(control, strict_close=False) as (dtp, peer):
        await send_then_cut(peer.sock, peer.record(b"whole, perhaps"), Cut.CLOSE)
        result = await receive_file(dtp, target, deadlines=QUICK)

    assert result.end is End.CLEAN
    assert target.read_bytes() == b"whole, perhaps"
    async with protected(control, strict_close=False) as (dtp, peer):
        await send_then_cut(peer.sock, peer.record(b"cut"), Cut.RESET)
        with pytest.raises(FTPDataError) as caught:
            await receive_file(dtp, target, deadlines=QUICK)

    assert caught.value.end is End.RESET
    assert target.read_bytes() == b"whole, perhaps"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("is_whole", [True, False])
async def test_what_came_while_the_consumer_was_busy(
    version: ssl.TLSVersion, is_whole: bool
) -> None:
    """A slow consumer gets all data, even if the end of file has come long before."""

    control = log_in(version)
    data = b"slow " * 20_000
    async with protected(control) as (dtp, peer):
        consumer = RecordingConsumer()
        received = dtp.register_consumer(consumer)
        consumer.pause()
        pieces = [peer.record(data[i : i + 10_000]) for i in range(0, len(data), 10_000)]
        goodbye = peer.close_notify() if is_whole else b""
        await send_then_cut(peer.sock, b"".join(pieces) + goodbye, Cut.CLOSE)
        for _ in range(20):
            await asyncio.sleep(0)
        if dtp.reason is None:
            consumer.resume()
        if is_whole:
            await received
            assert consumer.data == data
            assert dtp.bytes_received == len(data)
        else:
            with pytest.raises(FTPDataError) as caught:
                await received
            assert caught.value.end is End.TLS_TRUNCATED


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("is_early", [True, False])
async def test_the_tls_of_the_event_loop(
    version: ssl.TLSVersion, is_whole: bool, is_early: bool
) -> None:
    """A DTP also works over it: the handshake needs no consumer, and no data are lost."""

    context = server_certificate(version).session_context()
    context.num_tickets = 0
    loop = asyncio.get_running_loop()
    data = b"slow " * 20_000

    async def take() -> bytes:
        taken = b""
        while piece := await buffer.receive():
            taken += piece
        await received
        return taken

    async with sockets() as (accepted, sock):
        peer = TLSPeer(sock, client_context(version))
        dtp = DTP()
        async with peer_task(peer.handshake()) as handshake, asyncio.timeout(60):
            await loop.connect_accepted_socket(lambda: dtp, accepted, ssl=context)
            await handshake
            pieces = [peer.record(data[i : i + 10_000]) for i in range(0, len(data), 10_000)]
            goodbye = peer.close_notify() if is_whole else b""
            buffer = ReceiveBuffer()
            if is_early:
                received = dtp.register_consumer(buffer)
                buffer.pause()
            await send_then_cut(peer.sock, b"".join(pieces) + goodbye, Cut.CLOSE)
            for _ in range(20):
                await asyncio.sleep(0)
            if not is_early:
                received = dtp.register_consumer(buffer)
                buffer.pause()
            assert not buffer.is_direct
            if dtp.reason is None:
                buffer.resume()
            if is_whole:
                assert await take() == data
            else:
                with pytest.raises(FTPDataError) as caught:
                    await take()
                assert caught.value.end is End.TLS_TRUNCATED
        dtp.abort()
        with contextlib.suppress(FTPDataError):
            await dtp.wait_closed()


# Downloads: their announced end, and what was acknowledged


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [0, 1, 16384, 1_000_000])
async def test_every_download_ends_with_a_close_notify(
    version: ssl.TLSVersion, size: int, tmp_path: Path
) -> None:
    """A strict client sees that its file is whole, even if the file is empty."""

    control = log_in(version)
    source = tmp_path / "download"
    source.write_bytes(b"x" * size)
    async with protected(control, session=control.session) as (dtp, peer):
        sending = asyncio.ensure_future(send_file(dtp, source, deadlines=QUICK))
        assert await peer.receive_all() == b"x" * size
        await peer.put(peer.close_notify())
        result = await sending
        peer.sock.setblocking(False)
        # An end of file follows the close_notify, not a reset.
        assert await asyncio.get_running_loop().sock_recv(peer.sock, 1) == b""

    assert result.end is End.CLEAN
    assert result.bytes == size
    assert result.tls_resumed is True


async def _numbers() -> AsyncIterator[bytes]:
    yield b"one"
    yield b"two"


BLOCKS = TransferParameters().with_mode("B")
PATIENT = Deadlines(stall=3600, close=3600)
OTHER_WAYS: dict[str, tuple[Callable[[DTP], Awaitable[TransferResult]], bytes]] = {
    "stream": (lambda dtp: send_stream(dtp, _numbers(), deadlines=PATIENT), b"onetwo"),
    "listing": (
        lambda dtp: send_listing(dtp, [b"one", b"two"], deadlines=PATIENT), b"one\r\ntwo\r\n",
    ),
    "empty listing": (lambda dtp: send_listing(dtp, [], deadlines=PATIENT), b""),
    "records": (
        lambda dtp: send_records(dtp, [b"one"], parameters=BLOCKS, deadlines=PATIENT),
        b"\x80\0\3one\x40\0\0",
    ),
    "block mode": (
        lambda dtp: send_stream(dtp, _numbers(), parameters=BLOCKS, deadlines=PATIENT),
        b"\0\0\3one\0\0\3two\x40\0\0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", OTHER_WAYS)
@pytest.mark.parametrize("is_answered", [True, pytest.param(False, marks=only_linux)])
async def test_whatever_is_sent_ends_with_a_close_notify(
    version: ssl.TLSVersion, way: str, is_answered: bool
) -> None:
    """What has an end mark of its own has it, too, and nothing waits for the peer's."""

    send, expected = OTHER_WAYS[way]
    async with protected(log_in(version)) as (dtp, peer), asyncio.timeout(60):
        sending = asyncio.ensure_future(send(dtp))
        assert await peer.receive_all() == expected
        if is_answered:
            await peer.put(peer.close_notify())
        assert (await sending).end is End.CLEAN
        if is_answered:
            # An end of file follows, not a reset.
            assert await asyncio.get_running_loop().sock_recv(peer.sock, 1) == b""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("goodbye", ["nothing", "end of file", "close", "reset"])
async def test_a_close_notify_need_not_be_answered(
    version: ssl.TLSVersion, goodbye: str, tmp_path: Path
) -> None:
    """A client that has every byte has its file, whether or not it answers the close_notify.

    RFC 8446 §6.1 and RFC 5246 §7.2.1 require nobody to wait for the answer. The 226
    says that the peer's kernel has acknowledged everything.
    """

    control = log_in(version)
    source = tmp_path / "download"
    source.write_bytes(b"y" * 300_000)
    loop = asyncio.get_running_loop()
    async with protected(control, session=control.session) as (dtp, peer):
        limits = Deadlines(close=0.4)
        started_at = loop.time()
        sending = asyncio.ensure_future(send_file(dtp, source, deadlines=limits))
        assert await peer.receive_all() == b"y" * 300_000
        if sys.platform == "linux":
            # After a reset nothing is acknowledged any more.
            peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        if goodbye == "end of file":
            peer.sock.shutdown(socket.SHUT_WR)
        elif goodbye == "close":
            peer.sock.close()
        elif goodbye == "reset":
            reset(peer.sock)
        result = await sending
        assert loop.time() - started_at < 1.4

    assert result.end is End.CLEAN


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [0, 1000])
async def test_a_client_that_knows_the_size_need_not_read_the_end(
    version: ssl.TLSVersion, size: int, tmp_path: Path
) -> None:
    """It closes with the close_notify unread, which sends a reset, and still has its file."""

    control = log_in(version)
    source = tmp_path / "download"
    source.write_bytes(b"k" * size)
    for _ in range(5):
        async with protected(control, session=control.session) as (dtp, peer):
            sending = asyncio.ensure_future(send_file(dtp, source, deadlines=QUICK))
            if size:
                assert await peer.receive() == b"k" * size
            while not dtp.is_finishing:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.001)
            peer.sock.close()
            assert (await sending).end is End.CLEAN


GOODBYES = pytest.mark.parametrize("goodbye", ["close_notify", "close_notify, end of file"])
SLOW: dict[str, Any] = {"send_buffer": 1 << 20, "receive_buffer": 8192}
"""What is sent waits in the system until the peer reads it."""


async def say_goodbye(peer: TLSPeer, goodbye: str, announcement: bytes = b"") -> None:
    """End the peer's side, as TLS wants it, with or without the end of file; read nothing."""

    await peer.put(announcement or peer.close_notify())
    if goodbye != "close_notify":
        peer.sock.shutdown(socket.SHUT_WR)


@GOODBYES
@pytest.mark.parametrize("mode", ["S", "B", "C"])
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_may_end_its_side_before_it_reads(
    version: ssl.TLSVersion, mode: str, goodbye: str, tmp_path: Path
) -> None:
    """Its end says nothing of what it still takes (RFC 8446 §6.1): that decides."""

    control = log_in(version)
    source = tmp_path / "download"
    content = os.urandom(60_000)
    source.write_bytes(content)
    parameters = TransferParameters().with_type("I").with_mode(mode)
    async with protected(control, **SLOW) as (dtp, peer):
        await say_goodbye(peer, goodbye)
        sending = asyncio.ensure_future(
            send_file(dtp, source, parameters=parameters, deadlines=QUICK)
        )
        await until(lambda: dtp.is_finishing)
        # Everything is in the system, and the peer's end has been read.
        await turns()
        received = await peer.receive_all()
        assert await asyncio.get_running_loop().sock_recv(peer.sock, 1) == b""
        assert (await sending).end is End.CLEAN

    decoder = decoder_for(parameters)
    assert b"".join([*decoder.feed(received), *decoder.finish()]) == content


@GOODBYES
async def test_the_destination_of_a_relay_may_end_its_side_before_it_reads(goodbye: str) -> None:
    """As with a file."""

    content = os.urandom(60_000)
    async with sockets() as (accepted, sender), protected(log_in(), **SLOW) as (dtp, peer):
        await say_goodbye(peer, goodbye)
        source = AcceptedEndpoint(accepted, deadlines=QUICK)
        relaying = asyncio.ensure_future(relay(source, dtp, deadlines=QUICK))
        await send_then_cut(sender, content, Cut.CLOSE)
        await until(lambda: dtp.is_finishing)
        await turns()
        assert await peer.receive_all() == content
        assert (await relaying).end is End.CLEAN


@GOODBYES
async def test_a_client_may_end_its_side_within_the_last_of_several_files(
    goodbye: str, tmp_path: Path
) -> None:
    """The connection reads then; it still sends all of the file, and ends with it."""

    source = tmp_path / "download"
    content = os.urandom(6_000_000)
    source.write_bytes(content)
    parameters = TransferParameters().with_type("I").with_mode("B")
    async with protected(log_in(), receive_buffer=8192) as (dtp, peer):
        connection = ReusableConnection(dtp)
        # OpenSSL makes it only while there is nothing to read.
        announcement = peer.close_notify()
        for is_last in (False, True):
            sending = asyncio.ensure_future(
                send_file(connection, source, parameters=parameters, deadlines=QUICK)
            )
            decoder = BlockDecoder()
            received = bytearray()
            if is_last:
                await say_goodbye(peer, goodbye, announcement)
                await turns()
            while not decoder.complete:
                data = await peer.receive()
                assert data
                received += b"".join(decoder.feed(data))
            assert received == content
            result = await sending
            assert result.end is End.CLEAN
            assert connection.is_open is not is_last

        assert result.reply_code == 226
        assert await peer.receive_all() == b""


@GOODBYES
async def test_a_stream_goes_on_sending_after_the_end_of_its_peer(goodbye: str) -> None:
    """Each direction has an end of its own, in TLS as well."""

    content = os.urandom(60_000)
    async with protected(log_in(), **SLOW) as (dtp, peer):
        stream = DTPStream(dtp)
        await peer.send(b"a question")
        await say_goodbye(peer, goodbye)
        assert await stream.receive() == b"a question"
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        await stream.send(content)
        closing = asyncio.ensure_future(stream.aclose())
        await until(lambda: dtp.is_finishing)
        await turns()
        assert await peer.receive_all() == content
        await closing
        assert dtp.end is End.CLEAN


@pytest.mark.parametrize("goodbye", ["close_notify", "end of file", "close", "reset", "nothing"])
async def test_a_client_that_leaves_early_has_no_whole_file(goodbye: str, tmp_path: Path) -> None:
    """A download counts as cut if the client takes nothing more while a part is on its way.

    It has left once its system says so, which a close does with a reset.
    """

    control = log_in()
    source = tmp_path / "download"
    source.write_bytes(b"z" * 60_000)
    async with protected(control, **SLOW) as (dtp, peer):
        limits = Deadlines(close=0.1, stall=0.3)
        sending = asyncio.ensure_future(send_file(dtp, source, deadlines=limits))
        await peer.receive()
        # Everything is written now, and finishing has begun. The peer has received a part.
        while not dtp.is_finishing:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)
        if goodbye == "close_notify":
            await peer.put(peer.close_notify())
        elif goodbye == "end of file":
            peer.sock.shutdown(socket.SHUT_WR)
        elif goodbye == "close":
            peer.sock.close()
        elif goodbye == "reset":
            reset(peer.sock)
        with pytest.raises(FTPDataError) as caught:
            await sending

    assert caught.value.reply_code == 426
    has_left = goodbye in {"close", "reset"}
    assert caught.value.end is (End.RESET if has_left else End.STALLED)


async def test_a_transport_that_its_host_closes_has_not_delivered_the_rest(tmp_path: Path) -> None:
    """It is closed without an error, and a part is still on its way."""

    source = tmp_path / "download"
    source.write_bytes(b"z" * 60_000)
    async with protected(log_in(), **SLOW) as (dtp, _):
        sending = asyncio.ensure_future(send_file(dtp, source, deadlines=QUICK))
        await until(lambda: dtp.is_finishing)
        dtp.transport.abort()
        with pytest.raises(FTPDataError, match="before it had everything") as caught:
            await sending

    assert caught.value.end is End.LOST


async def test_a_slow_client_that_goes_on_taking_is_not_given_up(tmp_path: Path) -> None:
    """The deadline limits the time without progress, not the time for the rest."""

    control = log_in()
    source = tmp_path / "download"
    source.write_bytes(b"s" * 200_000)
    async with protected(control, send_buffer=1 << 20, receive_buffer=8192) as (dtp, peer):
        limits = Deadlines(close=0.25, stall=0.25)
        sending = asyncio.ensure_future(send_file(dtp, source, deadlines=limits))
        received = 0
        while data := await peer.receive():
            received += len(data)
            await asyncio.sleep(0.05)
        await peer.put(peer.close_notify())
        assert (await sending).end is End.CLEAN

    assert received == 200_000


@pytest.mark.parametrize("answers", [True, False])
async def test_where_the_system_does_not_tell_what_was_acknowledged(
    answers: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then only the peer's answer proves that it has everything."""

    monkeypatch.setattr("ftpdata.opening._link.acknowledged_on", lambda _: None)
    control = log_in()
    source = tmp_path / "download"
    source.write_bytes(b"w" * 100_000)
    async with protected(control) as (dtp, peer):
        limits = Deadlines(close=5 if answers else 0.2)
        sending = asyncio.ensure_future(send_file(dtp, source, deadlines=limits))
        assert await peer.receive_all() == b"w" * 100_000
        if answers:
            await peer.put(peer.close_notify())
            assert (await sending).end is End.CLEAN
        else:
            with pytest.raises(FTPDataError) as caught:
                await sending
            assert caught.value.end is End.CLOSE_TIMEOUT


# During a transfer


class Hesitating(RecordingConsumer):
    """A consumer that pauses at every write, and resumes a moment later."""

    def write(self, data: bytes) -> None:
        """Take data, and pause."""

        super().write(data)
        self.pause()
        asyncio.get_running_loop().call_later(0.001, self.go_on)

    def go_on(self) -> None:
        """Resume, if the producer is still registered."""

        if self.producer is not None:
            self.resume()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_hesitating_consumer_gets_everything(version: ssl.TLSVersion) -> None:
    """Wherever the pauses fall between records and end, no data are lost."""

    control = log_in(version)
    data = bytes(range(256)) * 8000
    for _ in range(3):
        async with protected(control) as (dtp, peer):
            consumer = Hesitating()
            received = dtp.register_consumer(consumer)
            wire = b"".join(peer.record(data[i : i + 16000]) for i in range(0, len(data), 16000))
            async with peer_task(send_then_cut(peer.sock, wire + peer.close_notify(), Cut.CLOSE)):
                async with asyncio.timeout(60):
                    await received

        assert consumer.data == data
        assert dtp.end is End.CLEAN


@pytest.mark.parametrize("state", ["paused upload", "half-closed upload", "stalled download"])
async def test_a_peer_that_stalls_costs_no_time(state: str) -> None:
    """The event loop does not spin over a connection on which nothing can happen."""

    control = log_in()
    async with protected(control, receive_buffer=8192) as (dtp, peer):
        if state == "stalled download":
            dtp.write(b"x" * 1_000_000)
        else:
            consumer = RecordingConsumer()
            dtp.register_consumer(consumer)
            consumer.pause()
            await peer.send(b"x" * 1000)
            if state == "half-closed upload":
                peer.sock.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0.1)
        before = time.process_time()
        await asyncio.sleep(0.5)
        assert time.process_time() - before < 0.1
