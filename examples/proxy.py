"""A proxy that relays commands, and each data connection to another one.

python -m examples.proxy UPSTREAM_HOST UPSTREAM_PORT [PORT]

Clients use PASV or EPSV towards the proxy, and so does the proxy towards the server. A transfer
that is cut on one side is cut on the other: nobody ever takes a part of a file for the whole.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

from examples.client.replies import ReplyError
from examples.control import Control
from ftpdata import FTPDataError, format_epsv_reply, format_pasv_reply, listen_passive, relay
from ftpdata.opening import PassiveEndpoint

logger = logging.getLogger("ftpdata.examples.proxy")

UPLOADS = ("STOR", "APPE", "STOU")
DOWNLOADS = ("RETR", "LIST", "NLST", "MLSD")
NOT_HERE = ("PORT", "EPRT", "AUTH", "PBSZ", "PROT")
"""Commands that would act between the client and the server, past the proxy."""

IDLE_TIMEOUT = 300.0
"""Seconds in which a client must say something."""


class ProxySession:
    """One client, and its connection to the server behind the proxy."""

    def __init__(self, upstream: Control, host: str, peer: str) -> None:
        self._upstream = upstream
        self._host = host
        self._peer = peer
        self._endpoint: PassiveEndpoint | None = None

    async def answer(self, line: str, client: asyncio.StreamWriter) -> str:
        """Carry a command out, or hand it on; return the final reply."""

        verb = line.partition(" ")[0].upper()
        if verb in NOT_HERE:
            return "502 Use PASV or EPSV, in clear."

        if line.upper() == "EPSV ALL":
            return "200 Always."

        if verb in ("PASV", "EPSV"):
            await self.close()
            self._endpoint = await listen_passive(self._host, control_peer=self._peer)
            address = self._endpoint.address
            return format_pasv_reply(address) if verb == "PASV" else format_epsv_reply(address.port)

        if verb not in UPLOADS + DOWNLOADS:
            return await self._upstream.command(line, "")

        endpoint, self._endpoint = self._endpoint, None
        if endpoint is None:
            return "425 Use PASV or EPSV first."

        async with endpoint:
            return await self._relay(line, endpoint, client)

    async def _relay(
        self, line: str, endpoint: PassiveEndpoint, client: asyncio.StreamWriter
    ) -> str:
        upstream = await self._upstream.open(line)
        client.write(b"150 Relaying.\r\n")
        try:
            downstream = await endpoint.open()
            is_upload = line[:4].upper() in UPLOADS
            await relay(*(downstream, upstream) if is_upload else (upstream, downstream))
        except FTPDataError as error:
            logger.info("%s: %s: %s", self._peer, line, error)
            upstream.abort()
            await self._upstream.reply()
            return error.reply
        except BaseException:
            upstream.abort()
            raise

        return await self._upstream.reply()

    async def close(self) -> None:
        """Give up the listener."""

        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            await endpoint.aclose()


async def answer_all(
    session: ProxySession, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer one command after the other until the client leaves."""

    reply = "220 Ready."
    while True:
        writer.write(reply.replace("\n", "\r\n").encode(errors="surrogateescape") + b"\r\n")
        if reply.startswith("221"):
            return

        async with asyncio.timeout(IDLE_TIMEOUT):
            await writer.drain()
            line = (await reader.readline()).decode(errors="surrogateescape").rstrip("\r\n")
        if not line:
            return

        try:
            reply = await session.answer(line, writer)
        except ReplyError as error:
            reply = str(error)
        except FTPDataError as error:
            reply = error.reply
        except ValueError:
            reply = "501 A command is one line."


async def serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
) -> None:
    """Serve one client: one connection to the server for each connection to the proxy."""

    local, peer = (writer.get_extra_info(name)[0] for name in ("sockname", "peername"))
    try:
        async with await Control.connect(host, port) as upstream:
            session = ProxySession(upstream, local, peer)
            try:
                await answer_all(session, reader, writer)
            finally:
                await session.close()
    except (OSError, ReplyError, ValueError) as error:
        # The client or the server is gone, or one of them does not speak FTP.
        logger.info("%s: %r", peer, error)
        writer.write(b"421 The proxy cannot go on.\r\n")
    finally:
        writer.close()


async def main(host: str, port: int, listen_port: int) -> None:
    """Serve until interrupted."""

    server = await asyncio.start_server(
        lambda reader, writer: serve(reader, writer, host, port), "127.0.0.1", listen_port
    )
    async with server:
        print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.proxy")
    parser.add_argument("host", metavar="UPSTREAM_HOST")
    parser.add_argument("port", metavar="UPSTREAM_PORT", type=int)
    parser.add_argument("listen_port", metavar="PORT", type=int, nargs="?", default=2122)
    logging.basicConfig(level=logging.INFO)
    try:
        asyncio.run(main(**vars(parser.parse_args())))
    except KeyboardInterrupt:
        pass
    except (OSError, OverflowError) as error:
        sys.exit(f"{parser.prog}: {error}")
