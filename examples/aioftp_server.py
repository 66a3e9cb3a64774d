"""aioftp's server with ftpdata's data connections, to copy beside a server of your own.

python -m examples.aioftp_server DIRECTORY [--host 127.0.0.1] [--port 2121]
    [--user NAME:PASSWORD] [--certificate FILE]

`Server` takes the place of `aioftp.Server`, whose users, permissions, limits and path layers stay
as they are. All that concerns data connections is ftpdata's: TYPE A converts; only the client of
the session gets its data connection, by PASV, EPSV (with arguments), PORT or EPRT; the command and
the connection come in either order; ABOR has its two replies; a transfer that was cut is a 426 and
never a 226, also in TLS, and an upload that was cut replaces no file. NLST, PORT, EPRT, STRU and
MODE are new. ``--certificate`` (PEM, with the key) is aioftp's implicit TLS.

Files of aioftp's two layers of the disk (`Server.on_disk`) go through the kernel where that is
possible. Every other layer is read and written by its own methods, in place, as aioftp does.

Every check of `ftpdata.testing` that is about data connections passes; what fails still is how
aioftp reads commands and names. An offset behind the end of a file on the disk is refused, and MLSD
of a file is a 550, where aioftp fills with zeros and lists nothing. ``tests/benchmarks/results.md``
tells what it costs and saves.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import logging
import os
import re
import secrets
import signal
import socket
import ssl
import sys
import time
import types
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path, PurePosixPath
from typing import Any

import aioftp
import attrs
from aioftp.server import ConnectionConditions, PathConditions, PathPermissions

import ftpdata
from ftpdata.addresses import NetworkProtocol, parse_eprt, parse_epsv, parse_port

Connection = aioftp.Connection
Rest = str | PurePosixPath
logger = logging.getLogger("ftpdata.examples.aioftp_server")

# aioftp's conditions, which are typed for methods of its own class only.
Condition = Callable[[Any], Any]
logged_in: Condition = ConnectionConditions(ConnectionConditions.login_required)
prepared: Condition = ConnectionConditions(
    ConnectionConditions.data_connection_made, fail_code="425", fail_info="use PASV or EPSV first"
)
existing: Condition = PathConditions(PathConditions.path_must_exists)
a_file: Condition = PathConditions(
    PathConditions.path_must_exists, PathConditions.path_must_be_file
)
a_directory: Condition = PathConditions(
    PathConditions.path_must_exists, PathConditions.path_must_be_dir
)
readable: Condition = PathPermissions(PathPermissions.readable)
writable: Condition = PathPermissions(PathPermissions.writable)


def answering(command: Callable[..., Awaitable[bool]]) -> Any:
    """Answer a command that ftpdata refuses with the reply of its error."""

    @functools.wraps(command)
    async def answered(self: Server, connection: Connection, *arguments: Any) -> bool:
        try:
            return await command(self, connection, *arguments)
        except ftpdata.FTPDataError as error:
            return reply(connection, error.reply)

    return answered


def transferring(command: Callable[..., Awaitable[bool]]) -> Any:
    """Let ABOR and QUIT wait until a transfer has begun, or was refused."""

    @functools.wraps(command)
    async def noted(self: Server, connection: Connection, *arguments: Any) -> bool:
        task, beginning = asyncio.current_task(), connection.session.beginning
        beginning.add(task)
        try:
            return await command(self, connection, *arguments)
        finally:
            beginning.discard(task)

    return noted


def reply(connection: Connection, line: str) -> bool:
    """Queue a reply; the session goes on."""

    connection.response(line[:3], line[4:])
    return True


@attrs.define
class Session:
    """What a client has agreed upon, and its transfers: those that begin, and those that run."""

    tls: ftpdata.DataTLS | None
    parameters: ftpdata.TransferParameters
    epsv_only: bool = False
    beginning: set[asyncio.Task[Any]] = attrs.field(factory=set)
    running: dict[asyncio.Task[Any], ftpdata.Endpoint] = attrs.field(factory=dict)

    async def all_begun(self) -> dict[asyncio.Task[Any], ftpdata.Endpoint]:
        """Wait for those that begin; return those that run."""

        if self.beginning:
            await asyncio.wait(set(self.beginning))
        return dict(self.running)


@attrs.frozen
class Prepared:
    """What PASV or PORT has prepared, which aioftp closes when the session ends."""

    endpoint: ftpdata.Endpoint

    def close(self) -> None:
        """Give it up."""

        self.endpoint.abort()


@attrs.define
class PathTarget:
    """A file of a path layer, as the target of an upload. It is opened when its bytes come."""

    context: Any
    offset: int
    _file: Any = None

    async def write(self, data: bytes) -> None:
        """Write."""

        await (await self._opened()).write(data)

    async def commit(self) -> None:
        """Close what is whole, and may be empty."""

        await (await self._opened()).close()

    async def discard(self) -> None:
        """Close what was cut: no layer takes back what it has written."""

        if self._file is not None:
            await self._file.close()

    async def _opened(self) -> Any:
        if self._file is None:
            self._file = await self.context
            if self.offset:
                await self._file.seek(self.offset)
        return self._file


class Server(aioftp.Server):
    """An `aioftp.Server` whose data connections are ftpdata's.

    Args:
        users: See `aioftp.Server`, as for all others.
        wait_future_timeout: Seconds that a client may take to connect after its command.
        block_size: Bytes that are read from a path layer at a time.
    """

    on_disk: tuple[Any, ...] = (aioftp.PathIO, aioftp.AsyncPathIO)

    def __init__(
        self,
        users: Any = None,
        *,
        wait_future_timeout: float | None = 30,
        block_size: int = 65536,
        **options: Any,
    ) -> None:
        options.update(wait_future_timeout=wait_future_timeout, block_size=block_size)
        super().__init__(users, **options)
        self.commands_mapping.update(port=self.port, eprt=self.eprt, nlst=self.nlst)
        for name, method in {"stru": "with_structure", "mode": "with_mode"}.items():
            self.commands_mapping[name] = functools.partial(self._choose, method)
        # One context serves all clients here, so that a session resumed proves nothing.
        self.data_tls = None if self.ssl is None else ftpdata.DataTLS.for_server(self.ssl)
        self._buckets: weakref.WeakKeyDictionary[aioftp.Throttle, ftpdata.TokenBucket] = (
            weakref.WeakKeyDictionary()
        )
        if (given := self.available_data_ports) is not None:
            self.available_data_ports = asyncio.PriorityQueue()
            while not given.empty():
                self._give_back(given.get_nowait()[1])

    async def greeting(self, connection: Connection, rest: Rest) -> bool:
        """Begin a session."""

        ascii_type = ftpdata.TransferParameters(type=ftpdata.RepresentationType.ASCII)
        connection.session = Session(self.data_tls, ascii_type)
        sock = connection.command_connection.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)  # ABOR may come as urgent data
        return await super().greeting(connection, rest)

    async def quit(self, connection: Connection, rest: Rest) -> bool:
        """End a session after its transfers (RFC 959 §4.1.1)."""

        if running := await connection.session.all_begun():
            await asyncio.wait(running)
        return await super().quit(connection, rest)

    async def parse_command(self, stream: Any, *censored: Any) -> tuple[str, str]:
        """Read a command, without the Telnet signals that announce ABOR (RFC 959 §4.1.3)."""

        async def readline() -> bytes:
            return re.sub(rb"^[\xf2\xf4\xff]+", b"", await stream.readline())

        plain: Any = types.SimpleNamespace(readline=readline)
        return await super().parse_command(plain, *censored)

    # What is agreed upon

    async def type(self, connection: Connection, rest: Any) -> bool:
        """Choose how files are represented."""

        chosen: bool = await self._choose("with_type", connection, rest)
        return chosen

    async def _choose(self, method: str, connection: Connection, rest: Any) -> Any:
        return await self._chosen(connection, rest, method)

    @logged_in
    @answering
    async def _chosen(self, connection: Connection, rest: str, method: str) -> bool:
        session = connection.session
        session.parameters = getattr(session.parameters, method)(rest)
        return reply(connection, "200 As you like")

    @logged_in
    async def prot(self, connection: Connection, rest: str) -> bool:
        """Protect data connections or not; at first they are as the control connection is."""

        if self.data_tls is None:
            return reply(connection, "503 The control connection is not protected")
        if (level := rest.upper()) not in {"C", "P"}:
            return reply(connection, "504 PROT is C or P")
        connection.session.tls = self.data_tls if level == "P" else None
        return reply(connection, f"200 PROT {level}")

    # How the data connection comes

    @logged_in
    @answering
    async def pasv(self, connection: Connection, rest: Rest) -> bool:
        """Listen for it."""

        address = await self._listen(connection)
        if self.ipv4_pasv_forced_response_address:
            address = ftpdata.HostPort(self.ipv4_pasv_forced_response_address, address.port)
        return reply(connection, ftpdata.format_pasv_reply(address))

    @logged_in
    @answering
    async def epsv(self, connection: Connection, rest: str) -> bool:
        """Listen for it, or promise to use no other command."""

        is_ipv6 = ":" in connection.server_host
        family = NetworkProtocol.IPV6 if is_ipv6 else NetworkProtocol.IPV4
        if parse_epsv(rest, supported=(family,)) == "ALL":
            connection.session.epsv_only = True
            return reply(connection, "200 EPSV ALL")
        address = await self._listen(connection, extended=True)
        return reply(connection, ftpdata.format_epsv_reply(address.port))

    @logged_in
    @answering
    async def port(self, connection: Connection, rest: str) -> bool:
        """Connect to the client, once a transfer needs it."""

        return self._connect(connection, parse_port(rest))

    @logged_in
    @answering
    async def eprt(self, connection: Connection, rest: str) -> bool:
        """Connect to the client, once a transfer needs it."""

        return self._connect(connection, parse_eprt(rest))

    def _connect(self, connection: Connection, target: ftpdata.HostPort) -> bool:
        self._forget(connection)
        endpoint = ftpdata.connect_active(
            target,
            control_peer=connection.client_host,
            local_address=(connection.server_host, 0),
            deadlines=self._deadlines(),
            tls=connection.session.tls,
        )
        connection.data_connection = Prepared(endpoint)
        return reply(connection, "200 Ready")

    async def _listen(
        self, connection: Connection, *, extended: bool = False
    ) -> ftpdata.HostPort:
        self._forget(connection, extended=extended)
        how: dict[str, Any] = {"deadlines": self._deadlines(), "tls": connection.session.tls}
        here, client = connection.server_host, connection.client_host
        if self.available_data_ports is None:
            # Transfers in quick succession share a port. aioftp closes it with the session.
            if not connection.future.passive_server.done():
                listener = ftpdata.PassiveListener(here, control_peer=client)
                connection.passive_server = listener
            endpoint = connection.passive_server.reserve(**how)
        else:
            if self.available_data_ports.empty():
                raise ftpdata.DataConnectionError("no port is free", reply_text="no port is free")
            port = self.available_data_ports.get_nowait()[1]
            try:
                endpoint = await ftpdata.listen_passive(
                    here, control_peer=client, ports=ftpdata.PortRange(port, port), **how
                )
            except BaseException:
                self._give_back(port)
                raise
            endpoint.on_release(functools.partial(self._give_back, port))
        connection.data_connection = Prepared(endpoint)
        address: ftpdata.HostPort = endpoint.address
        return address

    def _give_back(self, port: int) -> None:
        assert self.available_data_ports is not None
        # In no order, so that nobody can tell which one is next.
        self.available_data_ports.put_nowait((secrets.randbits(32), port))

    def _forget(self, connection: Connection, *, extended: bool = False) -> None:
        """Close what was prepared, to prepare another data connection."""

        if connection.session.epsv_only and not extended:
            raise ftpdata.BadArgument("EPSV ALL", reply_code=503, reply_text="you said EPSV ALL")
        if connection.future.data_connection.done():
            connection.data_connection.close()
            del connection.data_connection

    def _deadlines(self) -> ftpdata.Deadlines:
        deadlines = ftpdata.Deadlines(open=self.wait_future_timeout)
        if self.socket_timeout is None:
            return deadlines
        return attrs.evolve(deadlines, stall=self.socket_timeout)

    # What is transferred

    @logged_in
    async def rest(self, connection: Connection, rest: str) -> bool:
        """Note where the next transfer begins."""

        if connection.session.parameters.type is ftpdata.RepresentationType.ASCII:
            return reply(connection, "501 REST is for TYPE I")
        return await super().rest(connection, rest)

    async def retr(self, connection: Connection, rest: Rest) -> Any:
        """Send a file."""

        # aioftp forgets the offset with the next command, which may come early.
        return await self._retr(connection, rest, connection.restart_offset)

    @transferring
    @logged_in
    @prepared
    @a_file
    @readable
    async def _retr(self, connection: Connection, rest: Rest, offset: int) -> bool:
        path, _ = self.get_paths(connection, rest)

        async def move(endpoint: ftpdata.Endpoint, **options: Any) -> ftpdata.TransferResult:
            async with connection.path_io.open(path, mode="rb") as file:
                if self._is_on_disk(connection):
                    return await ftpdata.send_file(endpoint, file.file, offset=offset, **options)
                await file.seek(offset)
                blocks = file.iter_by_block(connection.block_size)
                return await ftpdata.send_stream(endpoint, blocks, offset=offset, **options)

        return self._begin(connection, move, "write")

    async def stor(self, connection: Connection, rest: Rest, mode: str = "wb") -> Any:
        """Receive a file."""

        return await self._stor(connection, rest, mode, connection.restart_offset)

    @transferring
    @logged_in
    @prepared
    @writable
    async def _stor(self, connection: Connection, rest: Rest, mode: str, offset: int) -> bool:
        path, _ = self.get_paths(connection, rest)
        if not await connection.path_io.is_dir(path.parent):
            return reply(connection, "550 path unreachable")

        def move(endpoint: ftpdata.Endpoint, **options: Any) -> Any:
            if self._is_on_disk(connection):
                append = mode == "ab" and not offset
                return ftpdata.receive_file(
                    endpoint, path, offset=offset, append=append, **options
                )
            file = connection.path_io.open(path, mode="r+b" if offset else mode)
            return ftpdata.receive_file(endpoint, PathTarget(file, offset), **options)

        return self._begin(connection, move, "read")

    async def list(self, connection: Connection, rest: Rest) -> Any:
        """Send the lines of a directory, or of one file."""

        formatter = ftpdata.ListFormatter(now=time.time())
        return await self._list(connection, _without_options(rest), formatter)

    async def nlst(self, connection: Connection, rest: Rest) -> Any:
        """Send the names in a directory, or that of one file."""

        return await self._list(connection, _without_options(rest), ftpdata.NlstFormatter())

    @transferring
    @logged_in
    @a_directory
    async def mlsd(self, connection: Connection, rest: Rest) -> Any:
        """Send the facts about all that is in a directory."""

        return await self._list(connection, rest, ftpdata.MlsxFormatter())

    @transferring
    @logged_in
    @prepared
    @existing
    @readable
    async def _list(self, connection: Connection, rest: Rest, formatter: Any) -> bool:
        path_io = connection.path_io
        path, _ = self.get_paths(connection, rest)
        is_directory = await path_io.is_dir(path)

        def lines() -> Any:
            if is_directory and self._is_on_disk(connection) and self.encoding == "utf-8":
                follow = functools.partial(_status, path)
                return ftpdata.list_directory(path, formatter, follow=follow)
            return entries()

        async def entries() -> AsyncIterator[ftpdata.ListingEntry]:
            async for one in path_io.list(path) if is_directory else _only(path):
                if await path_io.exists(one):
                    name = one.name.encode(self.encoding, "surrogateescape")
                    yield ftpdata.ListingEntry.from_stat(name, await path_io.stat(one))

        def move(endpoint: ftpdata.Endpoint, **options: Any) -> Any:
            format_one = formatter.format
            return ftpdata.send_listing(endpoint, lines(), formatter=format_one, **options)

        return self._begin(connection, move, "write")

    def _is_on_disk(self, connection: Connection) -> bool:
        return connection.path_io.__class__ in self.on_disk

    # How a transfer runs, and ends

    def _begin(self, connection: Connection, move: Callable[..., Any], way: str) -> bool:
        """Begin a transfer, whose bytes aioftp reads from the client ("read") or writes to it."""

        if not connection.future.data_connection.done():
            return reply(connection, "425 another command has taken the data connection")
        endpoint: ftpdata.Endpoint = connection.data_connection.endpoint
        del connection.data_connection
        session: Session = connection.session
        move = functools.partial(
            move,
            endpoint,
            parameters=session.parameters,
            throttle=self._throttle(connection, way),
            deadlines=endpoint.deadlines,
        )
        worker = asyncio.ensure_future(self._run(connection, (endpoint, move)))
        session.running[worker] = endpoint

        def ended(_: object) -> None:
            del session.running[worker]
            if worker.cancelled():  # before it began
                endpoint.abort()

        worker.add_done_callback(ended)
        connection.extra_workers.add(worker)
        return reply(connection, "125 Go" if endpoint.is_ready else "150 Connect")

    @aioftp.worker
    async def _run(self: Any, connection: Connection, transfer: Any) -> bool:
        endpoint, move = transfer
        try:
            async with endpoint:
                result = await move()
        except ftpdata.FTPDataError as error:
            # Its text may have paths in it, and is for the log. The reply is safe to send.
            logger.info("%s: %s", connection.client_host, error, exc_info=error)
            is_aborted = error.end is ftpdata.End.ABORTED
            return reply(connection, f"426{error.reply[3:]}" if is_aborted else error.reply)
        return reply(connection, f"226 {result.bytes} bytes in {result.seconds:.2f} seconds")

    @logged_in
    async def abor(self, connection: Connection, rest: Rest) -> bool:
        """End the transfers, which say 426 unless they are over; then say 226, once."""

        running = await connection.session.all_begun()
        for endpoint in running.values():
            endpoint.abort(ftpdata.End.ABORTED, "the client has sent ABOR")
        if running:
            await asyncio.wait(running)
        elif connection.future.data_connection.done():
            connection.data_connection.close()
            del connection.data_connection
        return reply(connection, f"226 {'abort successful' if running else 'nothing to abort'}")

    def _throttle(self, connection: Connection, way: str) -> ftpdata.TokenBucket | None:
        """Return aioftp's limits of one way as buckets, each above the next, if there are any."""

        now = asyncio.get_running_loop().time()
        throttles = connection.command_connection.throttles
        bucket, is_limited = None, False
        names = ("server_global", "user_global", "server_per_connection", "user_per_connection")
        for name in names:
            throttle = getattr(throttles[name], way)
            if throttle not in self._buckets:
                self._buckets[throttle] = ftpdata.TokenBucket(None, parent=bucket, now=now)
            bucket = self._buckets[throttle]
            if bucket.rate != (throttle.limit or None):
                bucket.rate = throttle.limit or None
            is_limited |= bucket.rate is not None
        return bucket if is_limited else None


def _without_options(rest: Rest) -> str:
    """Drop options as of ls: clients send LIST -la."""

    return re.sub(r"^(-\w+( +|$))+", "", str(rest))


async def _only(path: Path) -> AsyncIterator[Path]:
    yield path


def _status(directory: Path, name: str) -> os.stat_result | None:
    """Return the status of what a link leads to, if it leads anywhere."""

    with contextlib.suppress(OSError):
        return (directory / name).stat()
    return None


def account(text: str) -> tuple[str, str]:
    """Read NAME:PASSWORD."""

    name, _, password = text.partition(":")
    if not name or not password:
        # Not with the text, which may be a password.
        raise argparse.ArgumentTypeError("expected NAME:PASSWORD")
    return name, password


async def main(options: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM."""

    context = None
    if options.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate)
    name, password = options.user or (None, None)
    permission = aioftp.Permission(writable=name is not None)
    user = aioftp.User(name, password, base_path=options.directory, permissions=[permission])
    server = Server([user], ssl=context)
    await server.start(options.host, options.port)
    print(f"listening on {options.host}:{server.server_port}", flush=True)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        await stopped.wait()
    finally:
        await server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.aioftp_server")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2121)
    parser.add_argument("--user", metavar="NAME:PASSWORD", type=account)
    parser.add_argument("--certificate", metavar="FILE")
    logging.basicConfig(level=logging.INFO)
    options = parser.parse_args()
    try:
        os.scandir(options.directory).close()  # what cannot be served is told at once
        asyncio.run(main(options))
    except (OSError, OverflowError) as error:
        sys.exit(f"{parser.prog}: cannot serve: {error}")
