"""The control connection of a client, as far as the examples need it.

ftpdata has the data connection and nothing else; this is the other half, in
its shortest form: log in, send a command, read its reply (RFC 959 §4.2).
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from ftpdata import DTP, HostPort, connect_active
from ftpdata.addresses import parse_epsv_reply


class ReplyError(Exception):
    """The server replied with something else than what was wanted."""


class Control:
    """A control connection. Made by `connect` or `login`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, host: str, port: int) -> Control:
        """Connect, and read the greeting."""

        control = cls(*await asyncio.open_connection(host, port))
        try:
            await control.reply("220")
        except BaseException:
            control.close()
            raise

        return control

    @classmethod
    async def login(
        cls, host: str, port: int, user: str = "anonymous", password: str = "guest@"
    ) -> Control:
        """Connect and log in; binary type, as nearly every transfer wants it."""

        control = await cls.connect(host, port)
        try:
            if (await control.command(f"USER {user}", "230", "331")).startswith("331"):
                await control.command(f"PASS {password}", "230")
            await control.command("TYPE I", "200")
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
        """Send a command and return its reply, whose code must begin as wanted."""

        # A name with a line end in it would be a command more.
        if {"\r", "\n", "\0"} & set(line):
            raise ValueError(f"a command is one line, not {line!r:.80}")

        self._writer.write(f"{line}\r\n".encode(errors="surrogateescape"))
        return await self.reply(*wanted)

    async def reply(self, *wanted: str) -> str:
        """Read one reply; of several lines, they are joined."""

        text = line = await self._line()
        while line[3:4] == "-" or line[:3] != text[:3]:
            line = await self._line()
            text = f"{text}\n{line}"
        if wanted and not text.startswith(wanted):
            raise ReplyError(text)

        return text

    async def open(self, command: str) -> DTP:
        """Open a data connection (EPSV) and send the command that uses it.

        The reply behind the transfer is read by ``await control.reply("226")``.
        """

        port = parse_epsv_reply(await self.command("EPSV", "229"))
        endpoint = connect_active(HostPort(self.peer, port), control_peer=self.peer)
        dtp = await endpoint.open()
        try:
            await self.command(command, "125", "150")
        except BaseException:
            dtp.abort()
            raise

        return dtp

    async def _line(self) -> str:
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise ReplyError("the server closed the control connection")

        return line.decode(errors="surrogateescape").rstrip("\r\n")
