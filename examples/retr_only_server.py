"""A server that only does RETR: python -m examples.retr_only_server DIRECTORY PORT."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from ftpdata import Endpoint, FTPDataError, format_epsv_reply, listen_passive, send_file


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one client."""
    host, peer = (writer.get_extra_info(name)[0] for name in ("sockname", "peername"))
    endpoint: Endpoint | None = None
    reply = "220 only EPSV and RETR here"
    while not reply.startswith("221"):
        writer.write(f"{reply}\r\n".encode())
        command, _, argument = (await reader.readline()).decode().strip().partition(" ")
        match command.upper():
            case "USER" | "TYPE":
                reply = "230 welcome" if command.upper() == "USER" else "200 always binary"
            case "EPSV":
                endpoint = await listen_passive(host, control_peer=peer)
                reply = format_epsv_reply(endpoint.address.port)
            case "RETR" if endpoint is not None:
                writer.write(b"150 here it comes\r\n")
                try:
                    async with endpoint:
                        await send_file(endpoint, DIRECTORY / Path(argument).name)
                    reply = "226 all of it"
                except FTPDataError as error:
                    reply = f"{error.reply_code} {error}"
            case _:
                reply = "221 bye" if command.upper() in ("QUIT", "") else "502 not here"
    writer.write(f"{reply}\r\n".encode())
    writer.close()


async def main() -> None:
    """Serve until interrupted."""
    async with await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[2])) as server:
        print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    DIRECTORY = Path(sys.argv[1])
    asyncio.run(main())
