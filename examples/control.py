"""The control connection of a client in its shortest form, for `examples.proxy`.

A proxy hands on what others say: it sends a command, reads its reply (RFC 959 §4.2), and tells
its client when the server begins. For a client of your own, take `examples.client`. Any reply of
the kind that ends a command well (2yz) is taken as such, whatever its exact code is.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from examples.client.replies import LONGEST_REPLY, Lost, ReplyError
from ftpdata import DTP, HostPort, SocketOptions, connect_active
from ftpdata.addresses import parse_epsv_reply, parse_pasv_reply

TIMEOUT = 60.0
"""Seconds that a server may take to accept a connection, or to reply."""


class Control:
    """A control connection. Made by `connect`."""

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
                if len(text) > LONGEST_REPLY:
                    raise Lost("a reply of the server does not end")
                line = await self._line()
                text = f"{text}\n{line}"
        if wanted and not text.startswith(wanted):
            raise ReplyError(text)

        return text

    async def open(self, command: str) -> DTP:
        """Open a data connection and send the command that uses it.

        They go out together, which saves a round trip. The reply that ends the command comes
        after the transfer.

        Raises:
            ReplyError: The server has refused the command.
            FTPDataError: The data connection could not be opened.
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
        try:
            line = await self._reader.readline()
        except ValueError:
            raise Lost("a line of the server does not end") from None
        if not line.endswith(b"\n"):
            raise Lost("the server has closed the control connection")

        return line.decode(errors="surrogateescape").rstrip("\r\n")
