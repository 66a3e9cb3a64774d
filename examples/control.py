"""The control connection of a client, as far as the examples need it.

ftpdata is the data connection; this is the other half in its shortest form: log
in, send a command, read its reply (RFC 959 §4.2). Any reply of the kind that
ends a command well (2yz) is taken as such, whatever its exact code is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

import attrs

from ftpdata import DTP, HostPort, SocketOptions, connect_active
from ftpdata.addresses import parse_epsv_reply, parse_pasv_reply

TIMEOUT = 60.0
"""Seconds that a server may take to accept a connection, or to reply."""


class ReplyError(Exception):
    """The server has refused a command; its text is the reply."""

    @property
    def is_permanent(self) -> bool:
        """Whether the same command would be refused again (5yz)."""

        return str(self).startswith("5")


@attrs.frozen
class Server:
    """Where a server is, and who logs in there."""

    host: str
    port: int
    user: str = "anonymous"
    password: str = attrs.field(default="guest@", repr=False)

    @classmethod
    def of_url(cls, url: str) -> Server:
        """Read ``ftp://USER:PASSWORD@HOST:PORT``; all but the host may be missing."""

        parts = urlsplit(url)
        if parts.scheme != "ftp" or not parts.hostname:
            raise ValueError(f"expected ftp://HOST, not {url!r}")

        server = cls(parts.hostname, parts.port or 21)
        if parts.username is None:
            return server

        user, password = unquote(parts.username), unquote(parts.password or "")
        return attrs.evolve(server, user=user, password=password)

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Let a program's user say which server is meant."""

        parser.add_argument("host", metavar="HOST")
        parser.add_argument("port", metavar="PORT", type=int)
        parser.add_argument("--user", metavar="NAME:PASSWORD", default="anonymous:guest@")

    @classmethod
    def of_arguments(cls, options: argparse.Namespace) -> Server:
        """Return the server that was meant."""

        user, _, password = options.user.partition(":")
        return cls(options.host, options.port, user, password)


class Control:
    """A control connection. Made by `connect` or `login`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, host: str, port: int) -> Control:
        """Connect, and read the greeting.

        Raises:
            OSError: Nobody answers there.
            ReplyError: The server takes no more clients just now.
        """

        async with asyncio.timeout(TIMEOUT):
            control = cls(*await asyncio.open_connection(host, port))
        # Nothing goes over it while a file is transferred: a NAT between would forget it.
        SocketOptions().set_on(control._writer.get_extra_info("socket"))
        try:
            await control.reply("2")
        except BaseException:
            control.close()
            raise

        return control

    @classmethod
    async def login(cls, server: Server) -> Control:
        """Connect and log in; files are then moved as they are (TYPE I)."""

        control = await cls.connect(server.host, server.port)
        try:
            if (await control.command(f"USER {server.user}", "2", "331")).startswith("3"):
                await control.command(f"PASS {server.password}")
            await control.command("TYPE I")
        except BaseException:
            control.close()
            raise

        return control

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, whatever is under way."""

        self._writer.close()

    @property
    def peer(self) -> str:
        """Address of the server."""

        return str(self._writer.get_extra_info("peername")[0])

    async def command(self, line: str, *wanted: str) -> str:
        """Send a command and return its reply.

        Args:
            line: The command, without its line end.
            wanted: How the reply may begin; by default with 2.

        Raises:
            ReplyError: It begins otherwise.
            ValueError: `line` is not one line. Nothing was sent.
            OSError: The connection is lost, or the server takes too long.
        """

        # A line end in a name would make a second command of what follows it.
        if {"\r", "\n", "\0"} & set(line):
            raise ValueError(f"a command is one line, not {line!r:.80}")

        self._writer.write(f"{line}\r\n".encode(errors="surrogateescape"))
        return await self.reply(*wanted or "2")

    async def reply(self, *wanted: str) -> str:
        """Read one reply; its lines are joined by line feeds. See `command`."""

        async with asyncio.timeout(TIMEOUT):
            text = line = await self._line()
            while line[3:4] == "-" or line[:3] != text[:3]:
                line = await self._line()
                text = f"{text}\n{line}"
        if wanted and not text.startswith(wanted):
            raise ReplyError(text)

        return text

    async def size(self, path: str) -> int | None:
        """Ask how long a file is; None where the server does not say (RFC 3659 §4)."""

        try:
            return int((await self.command(f"SIZE {path}")).split()[1])
        except (ReplyError, ValueError, LookupError):
            return None

    @contextlib.asynccontextmanager
    async def transfer(self, command: str) -> AsyncIterator[DTP]:
        """Open a data connection for a command, and read the reply that ends the command.

        ::

            async with control.transfer("RETR file") as dtp:
                await receive_file(dtp, "copy")

        Where the transfer fails, the connection is reset and the reply is read
        as well, so that the next command gets the reply that is its own.

        Raises:
            ReplyError: The server has refused the command, or says afterwards
                that the transfer failed.
            FTPDataError: The data connection could not be opened.
        """

        dtp = await self.open(command)
        try:
            yield dtp
        except Exception:
            dtp.abort()
            await self.reply()
            raise
        except BaseException:
            dtp.abort()
            raise

        await self.reply("2")

    async def open(self, command: str) -> DTP:
        """Open a data connection and send the command that uses it.

        They go out together, which saves a round trip. `transfer` does this,
        and reads the reply that comes after the transfer as well.
        """

        endpoint = connect_active(await self._passive_address(), control_peer=self.peer)
        opening = asyncio.ensure_future(endpoint.open(keep=True))
        is_accepted = False
        try:
            await self.command(command, "1")
            is_accepted = True
            return await opening
        except BaseException as error:
            endpoint.abort()
            await asyncio.gather(opening, return_exceptions=True)
            if is_accepted and isinstance(error, Exception):
                # The server has noticed, and says so.
                await self.reply()
            raise

    async def _passive_address(self) -> HostPort:
        """Ask where the server waits for the data connection: at its own address, always."""

        try:
            port = parse_epsv_reply(await self.command("EPSV"))
        except ReplyError as error:
            if not error.is_permanent:
                raise
            # A server of before 1998. What it says of its address may be that of its NAT.
            port = parse_pasv_reply(await self.command("PASV")).port

        return HostPort(self.peer, port)

    async def _line(self) -> str:
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the server has closed the control connection")

        return line.decode(errors="surrogateescape").rstrip("\r\n")
