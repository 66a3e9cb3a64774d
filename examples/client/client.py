"""A session with an FTP server (RFC 959): commands, replies, and data connections.

::

    async with await Client.connect(Server("ftp.example.org")) as client:
        async with client.transfer("RETR file") as transfer:
            await receive_file(transfer.endpoint, "copy")

Rules:

1. A transfer has succeeded if the data came to a clean end, and a reply of the kind 2yz came.
2. What goes out together saves a round trip: the command and the data connection do not wait for
   each other (RFC 959 §5.4 lets a server wait for either).
3. Where it is not certain any more which command a reply belongs to, the session is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import ssl
from collections.abc import AsyncIterator
from typing import Self

import anyio
import anyio.to_thread
import attrs
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

from examples.client.replies import Aborted, Lost, ReplyError, ReplyParser, RestRefused
from ftpdata import (
    DataConnectionError,
    DataTLS,
    Deadlines,
    End,
    Endpoint,
    HostPort,
    TransferAborted,
    TransferParameters,
    connect_active,
    listen_passive,
)
from ftpdata.addresses import format_eprt, format_port, parse_epsv_reply, parse_pasv_reply
from ftpdata.errors import BadAddress, SizeMismatch, TLSNegotiationFailed

OF_THE_CONNECTION = (DataConnectionError, TransferAborted, SizeMismatch, TLSNegotiationFailed)
"""Errors of this side that may be the server's doing: then its reply says why."""

LOSSES = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
UNREACHABLE = (End.OPEN_FAILED, End.CONNECT_TIMEOUT)
PATIENCE_WITH_REFUSAL = 5.0  # seconds; the port may be closed because the command is refused
PATIENCE_WITH_QUIT = 2.0  # seconds
PATIENCE_WITH_ABOR = 5.0  # seconds; some servers have one reply for it and the transfer


class Security(enum.Enum):
    """How connections are protected (RFC 4217)."""

    CLEAR = "clear"
    EXPLICIT = "explicit"  # by AUTH TLS
    IMPLICIT = "implicit"  # from the first byte on


@attrs.frozen
class Server:
    """Where a server is, who logs in there, and how."""

    host: str
    security: Security = Security.CLEAR
    port: int = attrs.field()
    user: str = "anonymous"
    password: str = attrs.field(default="guest@", repr=False)
    account: str | None = attrs.field(default=None, repr=False)  # few servers want one (ACCT)
    ca_file: str | None = None  # certificates to trust, in PEM, besides those of the system
    verify: bool = True  # whether the server's certificate must be good
    newest_tls: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED
    active: bool = False  # whether the server shall connect to this side (EPRT, PORT) if it can
    compress: bool = False  # whether data are compressed (MODE Z) if the server can
    patience: float = 60.0  # seconds for a reply, for a connection, and for data that stall

    @port.default
    def _usual_port(self) -> int:
        return 990 if self.security is Security.IMPLICIT else 21

    def context(self) -> ssl.SSLContext:
        """Make the TLS context of one session. Reads files."""

        context = ssl.create_default_context()
        context.maximum_version = self.newest_tls
        if self.ca_file is not None:
            context.load_verify_locations(self.ca_file)
        if not self.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


class Client:
    """A session with a server, for one task at a time. Made by `connect`.

    Attributes:
        server: Where it is.
        refused: Commands that it does not have; connections to one server may share the set.
        features: What it offers (FEAT, RFC 2389): parameters by upper-case names.
        parameters: TYPE, STRU and MODE of files.
        deadlines: Of data connections.
        is_lost: Whether the session is over.
    """

    def __init__(self, server: Server, stream: ByteStream, refused: set[str] | None = None) -> None:
        self.server = server
        self.refused: set[str] = set() if refused is None else refused
        self.features: dict[str, str] = {}
        self.parameters = TransferParameters()
        limits = ("open", "handshake", "first_byte", "stall", "close")
        self.deadlines = Deadlines(**dict.fromkeys(limits, server.patience))
        self.is_lost = False
        self._stream = stream
        self._replies = ReplyParser()
        self._context: ssl.SSLContext | None = None
        self._way = ""
        self._transfer: Transfer | None = None

    @classmethod
    async def connect(
        cls, server: Server, refused: set[str] | None = None, *, logs_in: bool = True
    ) -> Self:
        """Connect, protect the connection, and log in; files are then moved as they are (TYPE I).

        Raises:
            OSError: Nobody answers there, or the connection cannot be protected.
            ReplyError: The server takes no more clients just now, or not this one.
        """

        try:
            async with asyncio.timeout(server.patience):
                stream = await anyio.connect_tcp(server.host, server.port)
        except OSError as error:
            why = str(error.__cause__ or error) or f"no answer within {server.patience:g} s"
            raise type(error)(f"cannot reach {server.host} port {server.port}: {why}") from error
        self = cls(server, stream, refused)
        async with self._waiting():
            if server.security is Security.IMPLICIT:
                await self._protect()
            while (await self._expect("1", "2")).startswith("1"):
                pass  # 120: ready in some minutes
            if server.security is Security.EXPLICIT:
                await self.command("AUTH TLS")
                if not self._replies.is_empty:
                    # Somebody on the way has added it (CVE-2011-0411).
                    raise Lost("the server says more than it was asked for")
                await self._protect()
            if logs_in:
                await self._log_in()
        return self

    @contextlib.asynccontextmanager
    async def _waiting(self, patience: float | None = None) -> AsyncIterator[None]:
        """Limit a wait, in seconds; close the connection if it ends in any error."""

        try:
            async with asyncio.timeout(patience):
                yield
        except BaseException as error:
            await self.aclose()
            if isinstance(error, TimeoutError):
                raise Lost(f"the server did not answer within {patience} s") from None
            if isinstance(error, LOSSES):
                raise Lost("the control connection is closed") from error
            raise

    async def _protect(self) -> None:
        self._context = await anyio.to_thread.run_sync(self.server.context)
        async with self._waiting(self.server.patience):
            self._stream = await TLSStream.wrap(
                self._stream,
                hostname=self.server.host,
                ssl_context=self._context,
                standard_compatible=False,
            )

    async def _log_in(self) -> None:
        reply = await self.command(f"USER {self.server.user}", "2", "33")
        if reply.startswith("331"):
            reply = await self.command(f"PASS {self.server.password}", "2", "332")
        if reply.startswith("332"):
            await self.command(f"ACCT {self.server.account or ''}")
        with contextlib.suppress(ReplyError):
            for line in (await self.command("FEAT")).splitlines()[1:-1]:
                name, _, parameters = line.strip().partition(" ")
                self.features[name.upper()] = parameters
        if self._context is not None:
            await self.command("PBSZ 0")
            await self.command("PROT P")
        if "UTF8" in self.features:
            with contextlib.suppress(ReplyError):
                await self.command("OPTS UTF8 ON")
        if self.server.compress and "Z" in self.features.get("MODE", "").split():
            await self.command("MODE Z")
            self.parameters = self.parameters.with_mode("Z")
        await self.command("TYPE I")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, *reason: object) -> None:
        if kind is None and not self.is_lost:
            with contextlib.suppress(OSError):
                await self._send("QUIT")
                await self.reply(PATIENCE_WITH_QUIT)
        await self.aclose()

    async def aclose(self) -> None:
        """Close the control connection, whatever is under way."""

        self.is_lost = True
        with anyio.CancelScope(shield=True):
            await anyio.aclose_forcefully(self._stream)

    # Commands and replies

    async def command(self, line: str, *wanted: str) -> str:
        """Send a command and return its reply, which begins with 2, or as is wanted.

        Raises:
            ReplyError: It begins otherwise.
            ValueError: `line` is not one line. Nothing was sent.
            OSError: The connection is lost, or the server takes too long.
        """

        await self._send(line)
        return await self._expect(*wanted or "2")

    async def _expect(self, *wanted: str) -> str:
        reply = await self.reply(self.server.patience)
        if not reply.startswith(wanted):
            raise ReplyError(reply)
        return reply

    async def reply(self, patience: float | None) -> str:
        """Read one reply, whatever it is; None waits as long as something else has a deadline.

        Raises:
            OSError: The connection is lost, or the server takes too long.
        """

        async with self._waiting(patience):
            while (reply := self._replies.next()) is None:
                self._replies.feed(await self._stream.receive())
            if reply.startswith("421"):
                raise Lost(reply)
            return reply

    async def _send(self, line: str) -> None:
        # A line end in a name would make a second command of what follows it.
        if {"\r", "\n", "\0"} & set(line):
            raise ValueError("a command is one line, and a name with a line end cannot be in it")
        data = line.encode(errors="surrogateescape").replace(b"\xff", b"\xff\xff")
        async with self._waiting(self.server.patience):
            await self._stream.send(data + b"\r\n")

    # Data connections

    @contextlib.asynccontextmanager
    async def transfer(self, command: str, *, offset: int = 0) -> AsyncIterator[Transfer]:
        """Run a command that uses a data connection; leave the context when the data are over.

        The transfer begins `offset` bytes within the file (REST). Any error that is raised in the
        context resets the data connection.

        Raises:
            ReplyError: The server has refused the command, or says that the transfer has failed.
            RestRefused: It cannot begin there. Nothing was transferred.
            FTPDataError: The data connection could not be opened, or was cut.
            Lost: The control connection is lost; what became of the transfer is not known.
            Aborted: `abort` was called.
        """

        async with await self._endpoint() as endpoint:
            if offset:
                await self._send(f"REST {offset}")
                if not (reply := await self.reply(self.server.patience)).startswith("3"):
                    raise RestRefused(reply)
            await self._send(command)
            self._transfer = transfer = Transfer(self, endpoint)
            try:
                yield transfer
                await transfer.confirm()
            except Exception as error:
                is_far = isinstance(error, DataConnectionError) and error.end in UNREACHABLE
                failure = await transfer.settle(error, PATIENCE_WITH_REFUSAL if is_far else None)
                if (is_far and failure is error) or str(failure).startswith("425"):
                    # Perhaps a firewall is on this way, and not on the next one.
                    self.refused.add(self._way)
                if failure is error:
                    raise
                raise failure from error
            finally:
                endpoint.abort()
                self._transfer = None
                await transfer.aclose()

    async def abort(self) -> None:
        """Abort the transfer that runs in another task, if there is one (ABOR)."""

        if self._transfer is not None:
            self._transfer.is_aborted = True
            self._transfer.endpoint.abort()
            await self._send("ABOR")

    async def _endpoint(self) -> Endpoint:
        """Prepare a data connection, in the first way that the server does not refuse."""

        peer = str(self._stream.extra(SocketAttribute.remote_address)[0])
        local = str(self._stream.extra(SocketAttribute.local_address)[0])
        passive, active = ("EPSV", "PASV"), ("EPRT", "PORT")
        every = active + passive if self.server.active else passive + active
        ways = [way for way in every if ":" not in peer or way.startswith("E")]
        ways = [way for way in ways if way not in self.refused] or ways
        while True:
            self._way = way = ways.pop(0)
            try:
                if way in active:
                    return await self._active_endpoint(way, local, peer)
                return await self._passive_endpoint(way, peer)
            except (ReplyError, BadAddress) as error:
                if not ways or not getattr(error, "is_permanent", True):
                    raise
                self.refused.add(way)

    async def _passive_endpoint(self, way: str, peer: str) -> Endpoint:
        reply = await self.command(way)
        port = parse_epsv_reply(reply) if way == "EPSV" else parse_pasv_reply(reply).port
        # The address that PASV tells may be that of a NAT, or of a third party.
        target = HostPort(peer, port)
        return connect_active(target, control_peer=peer, tls=self._tls(), deadlines=self.deadlines)

    async def _active_endpoint(self, way: str, local: str, peer: str) -> Endpoint:
        endpoint = await listen_passive(
            local, control_peer=peer, tls=self._tls(), deadlines=self.deadlines
        )
        address = (format_eprt if way == "EPRT" else format_port)(endpoint.address)
        try:
            await self.command(f"{way} {address}")
        except BaseException:
            await endpoint.aclose()
            raise
        return endpoint

    def _tls(self) -> DataTLS | None:
        """Return how data connections are protected: in the session of the control connection."""

        if self._context is None:
            return None
        session = self._stream.extra(TLSAttribute.ssl_object).session
        return DataTLS.for_client(self._context, session=session, server_hostname=self.server.host)


class Transfer:
    """A command that uses a data connection. Made by `Client.transfer`.

    Attributes:
        endpoint: The data connection, for the functions of ftpdata.
        is_aborted: Whether `Client.abort` was called.
    """

    def __init__(self, client: Client, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.is_aborted = False
        self._client = client
        self._failure: BaseException | None = None
        self._watching = asyncio.ensure_future(self._watch())

    async def _watch(self) -> str:
        """Read the replies while the data move; a refusal ends the data connection, too."""

        reply = ""
        try:
            reply = await self._client.reply(self._client.server.patience)
            if reply.startswith("1"):
                # The data have deadlines, and after them there is one in `confirm`.
                reply = await self._client.reply(None)
        finally:
            if not reply.startswith(("1", "2")):
                self.endpoint.abort()
        return reply

    async def confirm(self, patience: float | None = None) -> str:
        """Wait for the final reply and return it; raise as `Client.transfer` does. Idempotent."""

        await asyncio.wait((self._watching,), timeout=patience or self._client.server.patience)
        if not self._watching.done():
            self._failure = Lost("the server does not say what became of the transfer")
        elif (error := self._watching.exception()) is not None:
            self._failure = error
        elif not self._watching.result().startswith("2"):
            self._failure = ReplyError(self._watching.result())
        if self._failure is not None:
            raise self._failure
        return self._watching.result()

    async def settle(self, error: Exception, patience: float | None) -> BaseException:
        """Reset the data connection; return why a transfer failed in which an error was raised."""

        is_own = not isinstance(error, OF_THE_CONNECTION)
        was_made = self.endpoint.is_open or self.endpoint.peer_has_ended
        self.endpoint.abort()
        if self._failure is None:
            with contextlib.suppress(OSError, ReplyError):
                if is_own and not was_made:
                    await self._client.abort()  # or the server waits for a connection in vain
                await self.confirm(patience)
            if is_own:
                return error
        return Aborted("the transfer was aborted") if self.is_aborted else self._failure or error

    async def aclose(self) -> None:
        """End what was begun for the transfer."""

        self._watching.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait((self._watching,))
            if self._watching.cancelled() or self._watching.exception() is not None:
                await self._client.aclose()
            elif self.is_aborted:
                # If there is no reply, the connection is closed: it could still come.
                with contextlib.suppress(OSError):
                    await self._client.reply(PATIENCE_WITH_ABOR)
