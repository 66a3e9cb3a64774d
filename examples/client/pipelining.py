"""A session that asks for its next data connection before the last transfer is confirmed.

Once all bytes of a download are here, its final reply is only a matter of time. The next EPSV goes
out at once, and for many small files that saves a round trip each. After an upload nobody does so:
pyftpdlib would close the data connection, from which it has not read everything.

A server that answers in another order, or whose next transfer fails, may not bear it (Twisted does
not). Then the session is closed, and those that share what is known of the server do without.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator

from examples.client.client import Client, Transfer
from examples.client.replies import Lost, ReplyError
from ftpdata import Endpoint, FTPDataError, HostPort, connect_active
from ftpdata.addresses import parse_epsv_reply

__all__ = ["NOT_BORNE", "PipeliningClient"]

NOT_BORNE = "EPSV before the final reply"
"""Stands among the commands that a server refuses."""

FRESH = 5.0  # seconds in which a server surely still listens


class PipeliningClient(Client):
    """A `Client` with `ask_early`."""

    _is_waiting = False
    _is_early = False
    _held: tuple[float, str] | None = None

    async def ask_early(self) -> None:
        """Send the EPSV of the next transfer. Call it when all data of a download are here."""

        if self._way == "EPSV" and NOT_BORNE not in self.refused and not self._is_waiting:
            await self._send("EPSV")
            self._is_waiting = True

    async def command(self, line: str, *wanted: str) -> str:
        """Do as `Client.command`, after what was sent early."""

        await self._catch_up()
        return await super().command(line, *wanted)

    @contextlib.asynccontextmanager
    async def transfer(self, command: str, *, offset: int = 0) -> AsyncIterator[Transfer]:
        """Do as `Client.transfer`.

        Raises:
            Lost: In place of any other error, if the data connection was asked for early: perhaps
                the server does not bear that (Twisted). The session was closed.
        """

        self._is_early = False
        try:
            async with super().transfer(command, offset=offset) as transfer:
                yield transfer
        except (FTPDataError, ReplyError, OSError) as error:
            if not self._is_early:
                raise
            self.refused.add(NOT_BORNE)
            await self.aclose()
            raise Lost(f"after an early EPSV: {error}") from error

    async def _catch_up(self) -> None:
        """Read the reply to what was sent early.

        Raises:
            Lost: It is not the reply to EPSV. The session was closed.
        """

        if self._is_waiting:
            self._is_waiting = False
            reply = await self.reply(self.server.patience)
            if not reply.startswith("229"):
                self.refused.add(NOT_BORNE)
                await self.aclose()
                raise Lost(f"the server has not answered the next EPSV, but says {reply}")
            self._held = time.monotonic(), reply

    async def _passive_endpoint(self, way: str, peer: str) -> Endpoint:
        await self._catch_up()
        held, self._held = self._held, None
        if held is None or way != "EPSV" or time.monotonic() - held[0] > FRESH:
            return await super()._passive_endpoint(way, peer)

        self._is_early = True
        target = HostPort(peer, parse_epsv_reply(held[1]))
        return connect_active(target, control_peer=peer, tls=self._tls(), deadlines=self.deadlines)
