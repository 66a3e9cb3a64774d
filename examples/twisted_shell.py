"""Twisted's FTP server with its realms, shells and files, on ftpdata's data connections.

python -m examples.twisted_shell DIRECTORY [--host 127.0.0.1] [--port 2121] [--user NAME:PASSWORD]

`FTP` takes the place of `twisted.protocols.ftp.FTP` in an ``FTPFactory``. Every ``IFTPShell`` works
unchanged, with its ``IReadFile`` and ``IWriteFile``; here it is Twisted's own ``FTPShell``. Twisted
has to run on the event loop that ftpdata runs on: its asyncio reactor.

What its users gain: TYPE A on Python 3; only the client of the session gets its data connection,
and PORT leads to nobody else; commands are answered during a transfer, ABOR too; an upload that was
cut is a 426; and 226 comes when the client has everything.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fnmatch
import ipaddress
import logging
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from twisted.internet import asyncioreactor

_loop = asyncio.new_event_loop()
asyncio.set_event_loop(_loop)
_install: Any = asyncioreactor.install
_install(_loop)

# Twisted's modules take the reactor that is installed. Its types say less than its documentation.
from twisted.cred.checkers import (  # noqa: E402
    AllowAnonymousAccess,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.portal import Portal  # noqa: E402
from twisted.internet import reactor as _reactor  # noqa: E402
from twisted.internet.defer import Deferred, maybeDeferred  # noqa: E402
from twisted.internet.error import CannotListenError  # noqa: E402
from twisted.internet.interfaces import IConsumer, IPushProducer  # noqa: E402
from twisted.protocols import ftp  # noqa: E402
from zope.interface import implementer  # noqa: E402

import ftpdata  # noqa: E402
from ftpdata.addresses import NetworkProtocol, parse_eprt, parse_epsv, parse_port  # noqa: E402

Move = Callable[..., Awaitable[ftpdata.TransferResult]]
logger = logging.getLogger("ftpdata.examples.twisted_shell")
reactor: Any = _reactor
to_segments: Any = ftp.toSegments
KEYS = ("size", "directory", "permissions", "hardlinks", "modified", "owner", "group")
DEADLINES = ftpdata.Deadlines(open=30.0)


@implementer(IConsumer)
class Chunks:
    """What an ``IReadFile`` sends, for `ftpdata.send_stream`: it is asked when more is wanted."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._producer: Any = None
        self._is_push = False
        self._has_begun = False
        self._data: deque[bytes] = deque()
        self._news = asyncio.Event()

    async def __call__(self) -> AsyncIterator[bytes]:
        """Yield the file. One that fails raises what it fails with."""

        self._has_begun = True
        sent = self._file.send(self).asFuture(asyncio.get_running_loop())
        sent.add_done_callback(lambda _: self._news.set())
        try:
            while self._producer is not None and not sent.done():
                self._news.clear()
                self._producer.resumeProducing()
                if not self._data:
                    await self._news.wait()
                while self._data:
                    yield self._data.popleft()
            while self._data:
                yield self._data.popleft()
            await sent
        finally:
            if self._producer is not None:
                self._producer.stopProducing()
            with contextlib.suppress(Exception):
                await sent

    async def aclose(self) -> None:
        """Let the file end that nobody has asked for: an ``IReadFile`` has no other way."""

        if not self._has_begun:
            sent = self._file.send(self).asFuture(asyncio.get_running_loop())
            if self._producer is not None:
                self._producer.stopProducing()
            with contextlib.suppress(Exception):
                await sent

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: N802 - Twisted's
        """Take note of who writes; a push producer waits until it is asked."""

        self._producer, self._is_push = producer, streaming
        if streaming:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:  # noqa: N802 - Twisted's name
        """Take note of the end."""

        self._producer = None
        self._news.set()

    def write(self, data: bytes) -> None:
        """Take a piece, and for now no more."""

        self._data.append(data)
        self._news.set()
        if self._is_push and self._producer is not None:
            self._producer.pauseProducing()


@implementer(IPushProducer)
class Upload:
    """An ``IWriteFile`` with its consumer, as the `ftpdata.UploadTarget` of an upload."""

    def __init__(self, file: Any, consumer: Any) -> None:
        self._file = file
        self._consumer = consumer
        self._may_write = asyncio.Event()
        self._is_stopped = False
        self._may_write.set()
        consumer.registerProducer(self, True)

    async def write(self, data: bytes) -> None:
        """Hand a piece on; return when the consumer wants more."""

        self._consumer.write(data)
        await self._may_write.wait()
        if self._is_stopped:
            raise OSError("the consumer wants no more")

    async def commit(self) -> None:
        """End what is whole; the client's 226 waits for this."""

        await self.discard()

    async def discard(self) -> None:
        """End what was cut: an ``IWriteFile`` cannot tell the difference, but the client can."""

        self._consumer.unregisterProducer()
        await self._file.close().asFuture(asyncio.get_running_loop())

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Hold the client back."""

        self._may_write.clear()

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Go on."""

        self._may_write.set()

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Refuse the rest."""

        self._is_stopped = True
        self._may_write.set()


def command(method: Callable[..., Coroutine[Any, Any, str]]) -> Any:
    """Let a coroutine that returns a reply be a command of Twisted's."""

    def wrapper(self: FTP, *arguments: str) -> Deferred[None]:
        async def run() -> None:
            try:
                line = await method(self, *arguments)
            except ftpdata.FTPDataError as error:
                line = error.reply
            self.say(line)

        return Deferred.fromFuture(asyncio.ensure_future(run()))

    return wrapper


class FTP(ftp.FTP):
    """Twisted's interpreter of commands, whose data connections are ftpdata's."""

    shell: Any
    workingDirectory: list[str]  # noqa: N815 - Twisted's name
    endpoint: ftpdata.Endpoint | None = None
    running: asyncio.Task[None] | None = None
    moving: ftpdata.Endpoint | None = None

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802 - Twisted's name
        """End what is left of a session."""

        for endpoint in (self.endpoint, self.moving):
            if endpoint is not None:
                endpoint.abort()
        parent: Any = super()
        parent.connectionLost(reason)

    def say(self, line: str) -> None:
        """Send a reply, unless the client has left."""

        if self.transport is not None:
            send: Any = self.sendLine
            send(line.encode("utf-8", "surrogateescape"))

    # How the data connection comes

    @command
    async def ftp_PASV(self) -> str:  # noqa: N802 - Twisted's names, as all that follow
        """Listen for it."""

        if self._epsvAll:
            return "503 You said EPSV ALL."
        return ftpdata.format_pasv_reply(await self._listen())

    @command
    async def ftp_EPSV(self, argument: str = "") -> str:  # noqa: N802
        """Listen for it, or promise to use no other command."""

        is_ipv6 = ":" in self._address("getHost")
        family = NetworkProtocol.IPV6 if is_ipv6 else NetworkProtocol.IPV4
        if parse_epsv(argument, supported=(family,)) == "ALL":
            self._epsvAll = True
            return "200 EPSV ALL"
        return ftpdata.format_epsv_reply((await self._listen()).port)

    @command
    async def ftp_PORT(self, argument: str) -> str:  # noqa: N802
        """Connect to the client, once a transfer needs it."""

        return self._connect(parse_port(argument))

    @command
    async def ftp_EPRT(self, argument: str) -> str:  # noqa: N802
        """Connect to the client, once a transfer needs it."""

        return self._connect(parse_eprt(argument))

    def _connect(self, target: ftpdata.HostPort) -> str:
        if self._epsvAll:
            return "503 You said EPSV ALL."
        self._forget()
        self.endpoint = ftpdata.connect_active(
            target,
            control_peer=self._address("getPeer"),
            local_address=(self._address("getHost"), 0),
            deadlines=DEADLINES,
        )
        return "200 Ready."

    async def _listen(self) -> ftpdata.HostPort:
        self._forget()
        self.endpoint = endpoint = await ftpdata.listen_passive(
            self._address("getHost"), control_peer=self._address("getPeer"), deadlines=DEADLINES
        )
        return endpoint.address

    def _forget(self) -> None:
        endpoint, self.endpoint = self.endpoint, None
        if endpoint is not None:
            endpoint.abort()

    def _address(self, end: str) -> str:
        transport: Any = self.transport
        address = ipaddress.ip_address(getattr(transport, end)().host)
        return str(getattr(address, "ipv4_mapped", None) or address)

    # What is transferred

    @command
    async def ftp_RETR(self, path: str) -> str:  # noqa: N802
        """Send a file of the shell."""

        self._check()
        chunks = Chunks(await self._ask(self.shell.openForReading, path))

        async def move(endpoint: ftpdata.Endpoint, **options: Any) -> ftpdata.TransferResult:
            async with contextlib.aclosing(chunks):
                return await ftpdata.send_stream(endpoint, chunks(), **options)

        return self._begin(move)

    @command
    async def ftp_STOR(self, path: str) -> str:  # noqa: N802
        """Receive a file of the shell."""

        self._check()
        file = await self._ask(self.shell.openForWriting, path)
        upload = Upload(file, await file.receive().asFuture(asyncio.get_running_loop()))

        async def move(endpoint: ftpdata.Endpoint, **options: Any) -> ftpdata.TransferResult:
            return await ftpdata.receive_file(endpoint, upload, **options)

        return self._begin(move)

    @command
    async def ftp_LIST(self, path: str = "") -> str:  # noqa: N802
        """List what the shell lists."""

        self._check()
        path = "" if path.startswith("-") else path  # LIST -la
        listed = await self._ask(self.shell.list, path, KEYS)
        lines = [_entry(name, *values) for name, values in listed]
        return self._begin(_listing(lines, ftpdata.ListFormatter(now=time.time())))

    @command
    async def ftp_NLST(self, path: str = "") -> str:  # noqa: N802
        """List its names, those that match a pattern if there is one."""

        self._check()
        directory, _, pattern = path.rpartition("/")
        if not any(character in pattern for character in "*?["):
            directory, pattern = path, "*"
        listed = await self._ask(self.shell.list, directory)
        lines = [
            ftpdata.ListingEntry(name=name)
            for name, _ in listed
            if fnmatch.fnmatch(_text(name), pattern)
        ]
        return self._begin(_listing(lines, ftpdata.NlstFormatter()))

    async def _ask(self, method: Any, path: str, *arguments: Any) -> Any:
        """Let the shell do something; what it fails with becomes the reply."""

        try:
            segments = to_segments(self.workingDirectory, path)
            done: Any = maybeDeferred(method, segments, *arguments)
            return await done.asFuture(asyncio.get_running_loop())
        except ftp.FTPCmdError as error:
            response: Any = error.response
            reply = response()
            raise ftpdata.FileUnavailable(
                repr(error), reply_code=int(reply[:3]), reply_text=reply[4:]
            ) from error
        except Exception as error:
            raise ftpdata.FileUnavailable(repr(error), reply_text="not here") from error

    # How a transfer runs, and ends

    def _check(self) -> None:
        """Refuse a transfer that could not begin, before the shell opens anything for it."""

        if self.endpoint is None:
            text = "use PASV, EPSV, PORT or EPRT first"
            raise ftpdata.DataConnectionError(text, reply_text=text)
        if self.running is not None:
            text = "one transfer at a time"
            raise ftpdata.DataConnectionError(text, reply_code=450, reply_text=text)

    def _begin(self, move: Move) -> str:
        endpoint, self.endpoint = self.endpoint, None
        assert endpoint is not None  # no other command has come since `_check`
        self.moving = endpoint
        self.running = asyncio.ensure_future(self._run(endpoint, move))
        return "125 Go." if endpoint.is_ready else "150 Connect."

    async def _run(self, endpoint: ftpdata.Endpoint, move: Move) -> None:
        timeout: Any = self.setTimeout
        timeout(None)
        kind = ftpdata.RepresentationType.IMAGE if self.binary else ftpdata.RepresentationType.ASCII
        try:
            async with endpoint:
                result = await move(
                    endpoint,
                    parameters=ftpdata.TransferParameters(type=kind),
                    deadlines=endpoint.deadlines,
                )
            line = f"226 {result.bytes} bytes in {result.seconds:.2f} seconds."
        except ftpdata.FTPDataError as error:
            # Its text may have paths in it, and is for the log. The reply is safe to send.
            logger.info("%s", error, exc_info=error)
            is_aborted = error.end is ftpdata.End.ABORTED
            line = f"426{error.reply[3:]}" if is_aborted else error.reply
        finally:
            self.running = self.moving = None
        self.say(line)
        if self.transport is not None:
            timeout(self.timeOut)

    @command
    async def ftp_ABOR(self) -> str:  # noqa: N802
        """End a transfer, which says 426 unless it is over; then say 226."""

        running, moving = self.running, self.moving
        if running is None or moving is None:
            self._forget()
            return "226 Nothing to abort."
        moving.abort(ftpdata.End.ABORTED, "the client has sent ABOR")
        await asyncio.wait([running])
        return "226 Aborted."

    def ftp_QUIT(self) -> Any:  # noqa: N802
        """Leave after the transfer that runs (RFC 959 §4.1.1)."""

        async def leave() -> Any:
            if self.running is not None:
                await asyncio.wait([self.running])
            if self.transport is not None:
                quit_: Any = super(FTP, self).ftp_QUIT
                quit_()

        return Deferred.fromFuture(asyncio.ensure_future(leave()))


def _listing(lines: list[ftpdata.ListingEntry], formatter: Any) -> Move:
    async def move(endpoint: ftpdata.Endpoint, **options: Any) -> ftpdata.TransferResult:
        return await ftpdata.send_listing(endpoint, lines, formatter=formatter.format, **options)

    return move


def _entry(  # noqa: PLR0917 - the order is Twisted's
    name: str | bytes,
    size: int,
    directory: bool,
    permissions: Any,
    links: int,
    modified: float,
    owner: str,
    group: str,
) -> ftpdata.ListingEntry:
    """Make an entry of what a shell says of a file, in the order of `KEYS`."""

    mode = permissions
    if not isinstance(permissions, int):
        mode = int("".join("01"[letter != "-"] for letter in permissions.shorthand()), 2)
    return ftpdata.ListingEntry(
        name=name,
        size=size,
        type=ftpdata.EntryType.DIRECTORY if directory else ftpdata.EntryType.FILE,
        permissions=ftpdata.Permissions(mode),
        links=links,
        modified=modified,
        owner=owner,
        group=group,
    )


def _text(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")


class Realm(ftp.BaseFTPRealm):
    """Everybody who may log in works in one directory."""

    def getHomeDirectory(self, avatarId: Any) -> Any:  # noqa: N802, N803 - Twisted's names
        """Return it."""

        return self.anonymousRoot


def account(text: str) -> tuple[str, str]:
    """Read NAME:PASSWORD."""

    name, _, password = text.partition(":")
    if not name or not password:
        # Not with the text, which may be a password.
        raise argparse.ArgumentTypeError("expected NAME:PASSWORD")
    return name, password


def main() -> None:
    """Serve until SIGINT or SIGTERM, which Twisted's reactor handles."""

    parser = argparse.ArgumentParser(prog="python -m examples.twisted_shell")
    parser.add_argument("directory")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2121)
    parser.add_argument("--user", metavar="NAME:PASSWORD", type=account)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    untyped: Any = (Realm, AllowAnonymousAccess, InMemoryUsernamePasswordDatabaseDontUse, Portal)
    realm, anonymous, database, portal = untyped
    checker = database()
    if options.user:
        checker.addUser(*options.user)
    checkers = [checker] if options.user else [anonymous()]
    factory: Any = ftp.FTPFactory
    factory = factory(portal(realm(options.directory), checkers))
    factory.protocol = FTP
    factory.allowAnonymous = not options.user
    try:
        os.scandir(options.directory).close()  # what cannot be served is told at once
        port = reactor.listenTCP(options.port, factory, interface=options.host)
    except (OSError, CannotListenError, OverflowError) as error:
        sys.exit(f"{parser.prog}: cannot serve: {error}")
    print(f"listening on {options.host}:{port.getHost().port}", flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
