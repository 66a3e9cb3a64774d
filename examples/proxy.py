"""A proxy that relays commands, and each data connection to another one.

python -m examples.proxy UPSTREAM_HOST UPSTREAM_PORT [PORT]

Clients use PASV or EPSV towards the proxy, the proxy EPSV towards the server.
A transfer that is cut on one side is cut on the other: nobody ever takes a
part of a file for the whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

from examples.control import Control, ReplyError
from ftpdata import FTPDataError, format_epsv_reply, format_pasv_reply, listen_passive, relay
from ftpdata.opening import PassiveEndpoint

UPLOADS = ("STOR", "APPE", "STOU")
DOWNLOADS = ("RETR", "LIST", "NLST", "MLSD")


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
        if verb in ("PASV", "EPSV"):
            await self.close()
            self._endpoint = await listen_passive(self._host, control_peer=self._peer)
            address = self._endpoint.address
            return (
                format_pasv_reply(address) if verb == "PASV" else format_epsv_reply(address.port)
            )

        if verb in ("PORT", "EPRT"):
            return "502 use PASV or EPSV"

        if verb not in UPLOADS + DOWNLOADS:
            return await self._upstream.command(line)

        if self._endpoint is None:
            return "425 use PASV or EPSV first"

        upstream = await self._upstream.open(line)
        client.write(b"150 relaying\r\n")
        try:
            async with self._endpoint as endpoint:
                downstream = await endpoint.open()
                pair = (downstream, upstream) if verb in UPLOADS else (upstream, downstream)
                await relay(*pair)
        except FTPDataError as error:
            upstream.abort()
            await self._upstream.reply()
            return f"{error.reply_code} {error}"
        finally:
            self._endpoint = None

        return await self._upstream.reply()

    async def close(self) -> None:
        """Give the listener up."""

        if self._endpoint is not None:
            await self._endpoint.aclose()
            self._endpoint = None


async def serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
) -> None:
    """Serve one client: one connection to the server for each connection to the proxy."""

    local, peer = (writer.get_extra_info(name)[0] for name in ("sockname", "peername"))
    with contextlib.suppress(ConnectionError):
        async with await Control.connect(host, port) as upstream:
            session = ProxySession(upstream, local, peer)
            try:
                writer.write(b"220 proxy\r\n")
                while line := (await reader.readline()).decode(errors="surrogateescape").strip():
                    try:
                        reply = await session.answer(line, writer)
                    except (FTPDataError, ReplyError) as error:
                        reply = f"{getattr(error, 'reply_code', '')} {error}".strip()
                    writer.write(reply.replace("\n", "\r\n").encode(errors="surrogateescape"))
                    writer.write(b"\r\n")
                    await writer.drain()
            finally:
                await session.close()

    writer.close()


async def main(host: str, port: int, listen_port: int = 2122) -> None:
    """Serve until interrupted."""

    server = await asyncio.start_server(
        lambda reader, writer: serve(reader, writer, host, port), "127.0.0.1", listen_port
    )
    async with server:
        print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:4])))
