"""A gateway for cameras: what they upload by FTP goes into an object store, and is told.

python -m examples.camera_gateway STORE [--host 127.0.0.1] [--port 2121]
    --user CAMERA:PASSWORD [--user CAMERA:PASSWORD]...

STORE is a URL as obstore has it: s3://bucket/prefix, gs://…, az://…, memory://. Credentials
come from the environment, as for the store's own tools. Each picture becomes the object
CAMERA/PATH, once all of it has arrived. Then a line of JSON about it is printed: put what your
program does with a picture into `notify`.

Cameras are simple clients, and this server takes them as they are: they may use PORT or PASV, say
TYPE A and send a picture, make each directory of a path before they enter it (directories are
nothing to an object store: all are there), and hang up after the last byte without reading the
reply. An upload that is cut leaves nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hmac
import json
import logging
import posixpath
import signal
import sys

import anyio
import attrs
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from ftpdata import (
    Deadlines,
    Endpoint,
    FTPDataError,
    TransferResult,
    connect_active,
    format_epsv_reply,
    format_pasv_reply,
    listen_passive,
    receive_file,
)
from ftpdata.addresses import parse_eprt, parse_port
from ftpdata.objectstore import ObjectTarget, delete_object, object_status
from ftpdata.observers import PublishedObserver, Subject, Transfer

logger = logging.getLogger("ftpdata.examples.camera_gateway")

MOST_CAMERAS = 500
LARGEST_FILE = 2 * 1024**3  # bytes
LONGEST_LINE = 4096  # bytes
COMMAND_TIMEOUT = 300.0  # seconds until the next command
TIMEOUT = 30.0  # seconds for a reply
GUESS_DELAY = 1.0  # seconds after a wrong password
DEADLINES = Deadlines(stall=60.0)  # a camera that has lost its power says nothing


async def notify(transfer: Transfer, result: TransferResult) -> None:
    """Act on a picture that is in the store. The camera does not wait for this."""

    assert transfer.subject is not None
    event = {
        "camera": transfer.subject.user,
        "object": transfer.subject.name,
        "bytes": result.file_bytes,
        "sha256": result.digest,
    }
    print(json.dumps(event), flush=True)


@attrs.frozen
class Gateway:
    """What all sessions share: the store, the passwords of the cameras, and who is told."""

    store: ObjectStore
    passwords: dict[str, str] = attrs.field(repr=False)
    observer: PublishedObserver


class Session:
    """One camera, from the greeting to the end of its control connection."""

    def __init__(self, stream: SocketStream, gateway: Gateway) -> None:
        self.gateway = gateway
        self.host: str = stream.extra(SocketAttribute.local_address)[0]
        self.peer: str = stream.extra(SocketAttribute.remote_address)[0]
        self.stream = stream
        self.lines = BufferedByteReceiveStream(stream)
        self.endpoint: Endpoint | None = None  # after PASV, EPSV, PORT or EPRT
        self.camera = ""
        self.is_logged_in = False
        self.directory = "/"

    async def run(self) -> None:
        """Answer one command after the other until the camera leaves."""

        reply = "220 Ready."
        while True:
            await self.reply(reply)
            if reply.startswith("221"):
                return

            with anyio.fail_after(COMMAND_TIMEOUT):
                line = await self.lines.receive_until(b"\n", LONGEST_LINE)
            command, _, argument = line.decode(errors="surrogateescape").strip("\r").partition(" ")
            try:
                reply = await self.answer(command.upper(), argument)
            except FTPDataError as error:
                # Its text may name the store, and is for the log. The reply is safe to send.
                logger.info("%s: %s: %s", self.peer, command, error, exc_info=error)
                reply = error.reply

    async def reply(self, text: str) -> None:
        """Send a reply."""

        with anyio.fail_after(TIMEOUT):
            await self.stream.send(f"{text}\r\n".encode(errors="surrogateescape"))

    async def answer(self, command: str, argument: str) -> str:  # noqa: C901, PLR0911, PLR0912
        """Carry out a command; return the reply that ends it."""

        match command:
            case _ if {"\r", "\0"} & set(argument):
                return "501 No name has such a character."
            case "QUIT":
                return "221 Goodbye."
            case "NOOP" | "OPTS" | "ALLO":
                return "200 Done."
            case "SYST":
                return "215 UNIX Type: L8"
            case "FEAT":
                return "211-Features:\r\n EPRT\r\n EPSV\r\n SIZE\r\n UTF8\r\n211 End."
            case "USER":
                self.camera, self.is_logged_in = argument, False
                return "331 Your password?"
            case "PASS":
                return await self.log_in(argument)
            case _ if not self.is_logged_in:
                return "530 Log in first."
            case "TYPE" | "MODE" | "STRU" if argument.upper() in ("A", "A N", "I", "L 8", "S", "F"):
                return "200 Bytes are stored as they come."
            case "PWD" | "XPWD":
                return '257 "{}"'.format(self.directory.replace('"', '""'))
            case "CWD" | "XCWD" | "CDUP" | "XCUP":
                self.directory = self.path(".." if command.endswith("UP") else argument)
                return "250 Done."
            case "MKD" | "XMKD":
                return '257 "{}"'.format(self.path(argument).replace('"', '""'))
            case "PASV" | "EPSV":
                return await self.listen(command)
            case "PORT" | "EPRT":
                return await self.call(command, argument)
            case "STOR":
                return await self.store(self.key(argument))
            case "SIZE":
                return f"213 {(await object_status(self.gateway.store, self.key(argument))).size}"
            case "DELE":  # of the file that a camera has written to test its settings
                await delete_object(self.gateway.store, self.key(argument))
                return "250 Deleted."
            case _:
                return "502 Not here."

    async def log_in(self, password: str) -> str:
        """Log in (PASS)."""

        given = password.encode(errors="surrogateescape")
        wanted = self.gateway.passwords.get(self.camera)
        if wanted is not None and hmac.compare_digest(given, wanted.encode()):
            self.is_logged_in = True
            return "230 Welcome."

        await anyio.sleep(GUESS_DELAY)
        return "530 No."

    def path(self, argument: str) -> str:
        """Return the path that an argument means, from the root that this camera sees."""

        return "/" + posixpath.normpath(posixpath.join(self.directory, argument)).lstrip("/")

    def key(self, argument: str) -> str:
        """Return the name of the object that a path means: below that of the camera."""

        return self.camera + self.path(argument)

    async def listen(self, command: str) -> str:
        """Prepare a data connection to which the camera connects (PASV, EPSV)."""

        await self.aclose()
        self.endpoint = await listen_passive(
            self.host, control_peer=self.peer, observer=self.gateway.observer
        )
        address = self.endpoint.address
        if command == "EPSV":
            return format_epsv_reply(address.port)
        return format_pasv_reply(address)

    async def call(self, command: str, argument: str) -> str:
        """Prepare a data connection to the camera, and to nobody else (PORT, EPRT)."""

        await self.aclose()
        target = parse_port(argument) if command == "PORT" else parse_eprt(argument)
        self.endpoint = connect_active(
            target, control_peer=self.peer, observer=self.gateway.observer
        )
        return "200 Done."

    async def aclose(self) -> None:
        """Close the endpoint that no transfer has used."""

        endpoint, self.endpoint = self.endpoint, None
        if endpoint is not None:
            await endpoint.aclose()

    async def store(self, key: str) -> str:
        """Receive a file (STOR); return the reply that ends the command."""

        endpoint, self.endpoint = self.endpoint, None
        if endpoint is None:
            return "425 Say PASV or PORT first."

        endpoint.subject = Subject(command="STOR", name=key, user=self.camera)
        async with endpoint, ObjectTarget(self.gateway.store, key) as target:
            await self.reply("150 Go.")
            result = await receive_file(
                endpoint, target, size_limit=LARGEST_FILE, digest="sha256", deadlines=DEADLINES
            )

        return f"226 {result.file_bytes} bytes."


async def serve(gateway: Gateway, places: anyio.Semaphore, client: SocketStream) -> None:
    """Serve one camera. What goes wrong here ends no other session."""

    peer = client.extra(SocketAttribute.remote_address, None)
    try:
        async with client:
            session = Session(client, gateway)
            if places.value == 0:
                await session.reply("421 Too many cameras.")
            else:
                async with places, contextlib.aclosing(session):
                    await session.run()
    except Exception as error:  # noqa: BLE001
        logger.info("%s has left: %r", peer, error)


async def main(options: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM; uploads that run are cut then, and all events end."""

    listener = await anyio.create_tcp_listener(local_host=options.host, local_port=options.port)
    async with listener, anyio.create_task_group() as events:
        observer = PublishedObserver(notify, tasks=events)
        gateway = Gateway(options.store, dict(options.user), observer)
        handle = functools.partial(serve, gateway, anyio.Semaphore(MOST_CAMERAS))
        async with anyio.create_task_group() as sessions:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                sessions.start_soon(listener.serve, handle)
                port = listener.extra(SocketAttribute.local_port)
                print(f"listening on {options.host}:{port}", flush=True)
                await anext(signals)
                sessions.cancel_scope.cancel()


def camera(text: str) -> tuple[str, str]:
    """Read CAMERA:PASSWORD."""

    name, colon, password = text.partition(":")
    if not name or not colon:
        # Not with the text, which may be a password.
        raise argparse.ArgumentTypeError("expected CAMERA:PASSWORD, with a name")
    return name, password


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.camera_gateway")
    parser.add_argument("store", metavar="STORE")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2121)
    parser.add_argument(
        "--user", metavar="CAMERA:PASSWORD", action="append", required=True, type=camera
    )
    logging.basicConfig(level=logging.INFO)
    options = parser.parse_args()
    try:
        options.store = from_url(options.store)
    except (BaseError, ValueError) as error:
        parser.error(f"cannot use the store: {str(error).partition(chr(10))[0]}")
    try:
        anyio.run(main, options)
    except (OSError, OverflowError) as error:
        sys.exit(f"{parser.prog}: cannot listen: {error}")
