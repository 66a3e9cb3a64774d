"""A small FTP server to copy and to build on: downloads, uploads, listings and TLS.

python -m examples.minimal_server DIRECTORY [--host 127.0.0.1] [--port 2121]
    [--user NAME:PASSWORD] [--certificate FILE]

Without ``--user`` anybody may log in and read; with it that user alone may log in, and write.
With ``--certificate`` (a PEM file with the key and the chain) nobody logs in without TLS.

Whatever is open has an owner that closes it: the task group owns the sessions, a session owns
at most one endpoint, a command owns the file that it opens. Every wait has a deadline: those of
a session stand below, those of a transfer are `ftpdata.Deadlines`. Windows cannot run it.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hmac
import logging
import os
import posixpath
import signal
import time
from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSStream

import ftpdata
from ftpdata.files import opened_beneath
from ftpdata.listing import TableFormatter

Transfer = Callable[..., Awaitable[ftpdata.TransferResult]]
logger = logging.getLogger("ftpdata.examples.minimal_server")

MOST_SESSIONS = 100
LONGEST_LINE = 4096  # bytes
COMMAND_TIMEOUT = 300.0  # seconds until the next command
TIMEOUT = 30.0  # seconds for a reply, or for a handshake
GUESS_DELAY = 1.0  # seconds after a wrong password
FEATURES = "211-Features:\r\n AUTH TLS\r\n EPSV\r\n PBSZ\r\n PROT\r\n SIZE\r\n UTF8\r\n211 End."


class Session:
    """One client, from the greeting to the end of its control connection."""

    def __init__(self, stream: SocketStream, options: argparse.Namespace) -> None:
        self.options = options
        self.root: str = options.directory
        self.host: str = stream.extra(SocketAttribute.local_address)[0]
        self.peer: str = stream.extra(SocketAttribute.remote_address)[0]
        self.stream: ByteStream = stream
        self.lines = BufferedByteReceiveStream(stream)
        self.tls: ftpdata.DataTLS | None = None  # after AUTH TLS
        self.data_tls: ftpdata.DataTLS | None = None  # after PROT P
        self.endpoint: ftpdata.Endpoint | None = None  # after PASV or EPSV
        self.name = ""
        self.is_logged_in = False
        self.directory = "/"
        self.parameters = ftpdata.TransferParameters(type=ftpdata.RepresentationType.ASCII)

    async def run(self) -> None:
        """Answer one command after the other until the client leaves."""

        reply = "220 Ready."
        while True:
            await self.reply(reply)
            if reply.startswith("221"):
                return
            if reply.startswith("234"):
                await self.begin_tls()
            with anyio.fail_after(COMMAND_TIMEOUT):
                line = await self.lines.receive_until(b"\n", LONGEST_LINE)
            command, _, argument = line.decode(errors="surrogateescape").strip("\r").partition(" ")
            try:
                reply = await self.answer(command.upper(), argument)
            except ftpdata.FTPDataError as error:
                # Its text may have paths in it, and is for the log. The reply is safe to send.
                logger.info("%s: %s: %s", self.peer, command, error, exc_info=error)
                reply = error.reply

    async def reply(self, text: str) -> None:
        """Send a reply."""

        with anyio.fail_after(TIMEOUT):
            await self.stream.send(f"{text}\r\n".encode(errors="surrogateescape"))

    async def answer(self, command: str, argument: str) -> str:  # noqa: C901, PLR0911, PLR0912
        """Carry out a command; return the reply that ends it."""

        name = ".." if command == "CDUP" else argument
        if command in ("LIST", "NLST") and argument.startswith("-"):  # LIST -a
            name = ""
        path = "/" + posixpath.normpath(posixpath.join(self.directory, name)).lstrip("/")
        match command, argument.upper():
            case _ if {"\r", "\0"} & set(argument):
                return "501 No name has such a character."
            case "QUIT", _:
                return "221 Goodbye."
            case "FEAT", _:
                return FEATURES
            case "SYST", _:
                return "215 UNIX Type: L8"
            case "AUTH", "TLS" if self.options.certificate and self.tls is None:
                return "234 Begin TLS."
            case "PBSZ", _ if self.tls is not None:
                return "200 PBSZ=0"
            case "PROT", "C" | "P" as level if self.tls is not None:
                self.data_tls = self.tls if level == "P" else None
                return f"200 PROT {level}"
            case "USER", _:
                self.name, self.is_logged_in = argument, False
                return "331 Your password?"
            case "PASS", _:
                return await self.log_in(argument)
            case _ if not self.is_logged_in:
                return "530 Log in first."
            case "PWD", _:
                return '257 "{}"'.format(self.directory.replace('"', '""'))
            case "CWD" | "CDUP", _:
                async with opened_beneath(self.root, path, is_directory=True):
                    self.directory = path
                return "250 Done."
            case "TYPE", _:
                self.parameters = self.parameters.with_type(argument)
                return "200 Done."
            case "SIZE", _:
                async with opened_beneath(self.root, path) as file:
                    return f"213 {os.fstat(file).st_size}"
            case "PASV" | "EPSV", _:
                await self.aclose()
                self.endpoint = endpoint = await ftpdata.listen_passive(
                    self.host, control_peer=self.peer, tls=self.data_tls
                )
                if command == "EPSV":
                    return ftpdata.format_epsv_reply(endpoint.address.port)
                return ftpdata.format_pasv_reply(endpoint.address)
            case "RETR", _:
                async with opened_beneath(self.root, path) as file:
                    return await self.transfer(ftpdata.send_file, file=file)
            case "STOR", _ if self.options.user:
                directory, name = posixpath.split(path)
                async with opened_beneath(self.root, directory, is_directory=True) as parent:
                    return await self.transfer(ftpdata.receive_file, target=name, dir_fd=parent)
            case "LIST" | "NLST", _:
                long, short = ftpdata.ListFormatter(now=time.time()), ftpdata.NlstFormatter()
                formatter: TableFormatter = long if command == "LIST" else short
                async with opened_beneath(self.root, path, is_directory=True) as listed:
                    lines = ftpdata.list_directory(listed, formatter)
                    return await self.transfer(ftpdata.send_listing, lines=lines)
            case _:
                return "502 Not here."

    async def begin_tls(self) -> None:
        """Protect the control connection from here on (RFC 4217 §4)."""

        if self.lines.buffer:
            # It came in clear, from whoever is on the way (CVE-2011-0411).
            raise ConnectionAbortedError("something was said between AUTH and TLS")
        # A context for each client, so that no other client can resume its TLS sessions.
        certificate = ftpdata.ServerCertificate(certificate=self.options.certificate)
        context = await anyio.to_thread.run_sync(certificate.session_context)
        with anyio.fail_after(TIMEOUT):
            self.stream = await TLSStream.wrap(
                self.stream, server_side=True, ssl_context=context, standard_compatible=False
            )
        self.lines = BufferedByteReceiveStream(self.stream)
        self.tls = ftpdata.DataTLS.for_server(context)
        self.is_logged_in = False

    async def log_in(self, password: str) -> str:
        """Log in (PASS)."""

        if self.options.certificate and self.tls is None:
            return "530 Say AUTH TLS first."
        given = f"{self.name}:{password}".encode(errors="surrogateescape")
        if self.options.user is None or hmac.compare_digest(given, self.options.user.encode()):
            self.is_logged_in = True
            return "230 Welcome."
        await anyio.sleep(GUESS_DELAY)
        return "530 No."

    async def aclose(self) -> None:
        """Close the endpoint that no transfer has used."""

        endpoint, self.endpoint = self.endpoint, None
        if endpoint is not None:
            await endpoint.aclose()

    async def transfer(self, move: Transfer, **what: object) -> str:
        """Move a file or a listing over the data connection; return the reply that ends it."""

        endpoint, self.endpoint = self.endpoint, None
        if endpoint is None:
            return "425 Say PASV or EPSV first."
        async with endpoint:
            await self.reply("125 Go." if endpoint.is_ready else "150 Connect.")
            result = await move(endpoint, parameters=self.parameters, **what)
        return f"226 {result.bytes} bytes in {result.seconds:.2f} seconds."


async def serve(options: argparse.Namespace, places: anyio.Semaphore, client: SocketStream) -> None:
    """Serve one client. What goes wrong here ends no other session."""

    peer = client.extra(SocketAttribute.remote_address, None)
    try:
        async with client:
            session = Session(client, options)
            if places.value == 0:
                await session.reply("421 Too many clients.")
            else:
                async with places, contextlib.aclosing(session):
                    await session.run()
    except Exception as error:  # noqa: BLE001
        logger.info("%s has left: %r", peer, error)


async def main(options: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM."""

    os.scandir(options.directory).close()  # what cannot be served is told at once
    if options.certificate:
        ftpdata.ServerCertificate(certificate=options.certificate).session_context()
    listener = await anyio.create_tcp_listener(local_host=options.host, local_port=options.port)
    handle = functools.partial(serve, options, anyio.Semaphore(MOST_SESSIONS))
    async with listener, anyio.create_task_group() as sessions:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            sessions.start_soon(listener.serve, handle)
            port = listener.extra(SocketAttribute.local_port)
            print(f"listening on {options.host}:{port}", flush=True)
            await anext(signals)
            sessions.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.minimal_server")
    parser.add_argument("directory")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2121)
    parser.add_argument("--user", metavar="NAME:PASSWORD")
    parser.add_argument("--certificate", metavar="FILE")
    logging.basicConfig(level=logging.INFO)
    try:
        anyio.run(main, parser.parse_args())
    except (OSError, OverflowError) as error:
        parser.error(str(error))
