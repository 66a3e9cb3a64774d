"""A small FTP server to copy and to build on: downloads, uploads, listings and TLS.

python -m examples.minimal_server DIRECTORY [--host 127.0.0.1] [--port 2121]
    [--user NAME:PASSWORD] [--certificate FILE]

Without ``--user`` anybody may log in and read. With it that user alone may log
in, and may write as well. With ``--certificate`` (a PEM file with the key and
the chain) nobody logs in without TLS.

Whatever is open has an owner that closes it: the task group owns the sessions,
a session owns at most one endpoint, a command owns the file that it opens.
Every wait has a deadline: those of a session stand below, those of a transfer
are `ftpdata.Deadlines`. Needs directory descriptors, which Windows lacks.
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
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import anyio.to_thread
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSStream

from ftpdata import (
    DataTLS,
    Endpoint,
    FileUnavailable,
    FTPDataError,
    ListFormatter,
    NlstFormatter,
    RepresentationType,
    ServerCertificate,
    TransferParameters,
    TransferResult,
    format_epsv_reply,
    format_pasv_reply,
    list_directory,
    listen_passive,
    receive_file,
    send_file,
    send_listing,
)
from ftpdata.errors import error_for_oserror
from ftpdata.listing import TableFormatter

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
        self.host: str = stream.extra(SocketAttribute.local_address)[0]
        self.peer: str = stream.extra(SocketAttribute.remote_address)[0]
        self.stream: ByteStream = stream
        self.lines = BufferedByteReceiveStream(stream)
        self.tls: DataTLS | None = None  # after AUTH TLS
        self.data_tls: DataTLS | None = None  # after PROT P
        self.endpoint: Endpoint | None = None  # after PASV or EPSV
        self.name = ""
        self.is_logged_in = False
        self.directory = "/"
        self.parameters = TransferParameters(type=RepresentationType.ASCII)

    async def run(self) -> None:
        """Answer one command after the other until the client leaves."""

        reply = "220 Ready."
        while True:
            await self.reply(reply)
            if reply.startswith("234"):
                await self.begin_tls()
            if reply.startswith(("221", "421")):
                return

            with anyio.fail_after(COMMAND_TIMEOUT):
                line = await self.lines.receive_until(b"\n", LONGEST_LINE)
            command, _, argument = line.decode(errors="surrogateescape").strip("\r").partition(" ")
            try:
                reply = await self.answer(command.upper(), argument)
            except FTPDataError as error:
                # Its text may have paths in it, and is for the log. The reply is safe to send.
                logger.info("%s: %s: %s", self.peer, command, error, exc_info=error)
                reply = error.reply

    async def reply(self, text: str) -> None:
        """Send a reply."""

        with anyio.fail_after(TIMEOUT):
            await self.stream.send(f"{text}\r\n".encode(errors="surrogateescape"))

    async def answer(self, command: str, argument: str) -> str:  # noqa: C901, PLR0911, PLR0912
        """Carry out a command; return the reply that ends it."""

        path = self.path(argument)
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
                path = path if command == "CWD" else self.path("..")
                async with self.opened(path, stat.S_ISDIR):
                    self.directory = path
                return "250 Done."
            case "TYPE", _:
                self.parameters = self.parameters.with_type(argument)
                return "200 Done."
            case "SIZE", _:
                async with self.opened(path, stat.S_ISREG) as file:
                    return f"213 {os.fstat(file).st_size}"
            case "PASV" | "EPSV", _:
                return await self.listen(command)
            case "RETR", _:
                async with self.opened(path, stat.S_ISREG) as file:
                    return await self.transfer(functools.partial(send_file, file=file))
            case "STOR", _ if self.options.user:
                directory, name = posixpath.split(path)
                async with self.opened(directory, stat.S_ISDIR) as parent:
                    receive = functools.partial(receive_file, target=name, dir_fd=parent)
                    return await self.transfer(receive)
            case "LIST" | "NLST", _:
                path = self.path("") if argument.startswith("-") else path  # LIST -a
                formatter: TableFormatter = NlstFormatter()
                if command == "LIST":
                    formatter = ListFormatter(now=time.time())
                async with self.opened(path, stat.S_ISDIR) as listed:
                    lines = list_directory(listed, formatter)
                    return await self.transfer(functools.partial(send_listing, lines=lines))
            case _:
                return "502 Not here."

    async def begin_tls(self) -> None:
        """Protect the control connection from here on (RFC 4217 §4)."""

        if self.lines.buffer:
            # It came in clear, from whoever is on the way (CVE-2011-0411).
            raise ConnectionAbortedError("something was said between AUTH and TLS")

        # A context for each client, so that no other client can resume its TLS sessions.
        context = await anyio.to_thread.run_sync(self.options.certificate.session_context)
        with anyio.fail_after(TIMEOUT):
            self.stream = await TLSStream.wrap(
                self.stream, server_side=True, ssl_context=context, standard_compatible=False
            )
        self.lines = BufferedByteReceiveStream(self.stream)
        self.tls = DataTLS.for_server(context)
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

    def path(self, argument: str) -> str:
        """Return the path that an argument means, from the root that clients see."""

        return "/" + posixpath.normpath(posixpath.join(self.directory, argument)).lstrip("/")

    @contextlib.asynccontextmanager
    async def opened(self, path: str, is_kind: Callable[[int], bool]) -> AsyncIterator[int]:
        """Open a file or directory for one command."""

        work = functools.partial(open_beneath, self.options.directory, path, is_kind)
        descriptor = await anyio.to_thread.run_sync(work)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    async def listen(self, command: str) -> str:
        """Prepare a data connection (PASV, EPSV), in place of the one before."""

        await self.give_up_endpoint()
        self.endpoint = await listen_passive(self.host, control_peer=self.peer, tls=self.data_tls)
        address = self.endpoint.address
        if command == "EPSV":
            return format_epsv_reply(address.port)

        return format_pasv_reply(address)

    async def give_up_endpoint(self) -> None:
        """Close the endpoint that no transfer has used."""

        endpoint, self.endpoint = self.endpoint, None
        if endpoint is not None:
            await endpoint.aclose()

    async def transfer(self, move: Callable[..., Awaitable[TransferResult]]) -> str:
        """Move a file or a listing over the data connection; return the reply that ends it."""

        endpoint, self.endpoint = self.endpoint, None
        if endpoint is None:
            return "425 Say PASV or EPSV first."

        async with endpoint:
            await self.reply("125 Go." if endpoint.is_ready else "150 Connect.")
            result = await move(endpoint, parameters=self.parameters)

        return f"226 {result.bytes} bytes in {result.seconds:.2f} seconds."


def open_beneath(root: str, path: str, is_kind: Callable[[int], bool]) -> int:
    """Open what clients call `path`. No step of the way follows a link, so none leads out."""

    descriptor = os.open(root, os.O_RDONLY)
    try:
        for part in filter(None, path.split("/")):
            parent = descriptor
            # A pipe is not to be waited for.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(part, flags, dir_fd=parent)
            os.close(parent)
    except OSError as error:
        os.close(descriptor)
        raise error_for_oserror(error) from error

    if not is_kind(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileUnavailable("not a file or directory that this command can use")

    return descriptor


async def serve(options: argparse.Namespace, places: anyio.Semaphore, client: SocketStream) -> None:
    """Serve one client. What goes wrong here ends no other session."""

    async with client:
        session = Session(client, options)
        try:
            if places.value == 0:
                await session.reply("421 Too many clients.")
                return

            async with places:
                await session.run()
        except Exception as error:  # noqa: BLE001
            logger.info("%s has left: %r", session.peer, error)
        finally:
            with anyio.CancelScope(shield=True):
                await session.give_up_endpoint()


async def main(options: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM."""

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
    parser.add_argument("--certificate", type=lambda file: ServerCertificate(certificate=file))
    logging.basicConfig(level=logging.INFO)
    anyio.run(main, parser.parse_args())
