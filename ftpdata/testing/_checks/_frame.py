"""What a check is made of: its registry, what it knows of the server, how it fails."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import re
import secrets
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NoReturn

import anyio
import attrs

from ..client import Failure, ScriptedClient, ScriptedStream

__all__ = [
    "CHECKS",
    "Check",
    "NotOffered",
    "Outcome",
    "Protection",
    "ServerUnderTest",
    "Trial",
    "check",
]


STRANGER = "127.0.0.77"
"""A loopback address that no client of a test has by itself."""


class Protection(enum.Enum):
    """How a server protects its connections (RFC 4217)."""

    CLEAR = "clear"
    EXPLICIT = "explicit"
    IMPLICIT = "implicit"


class Outcome(enum.Enum):
    """How a check has ended."""

    PASS = "pass"
    FAIL = "fail"
    WARNING = "warning"
    NOT_OFFERED = "not offered"


class NotOffered(Exception):
    """The check cannot be made: the server, or who runs it, does not offer what it needs."""


@attrs.frozen
class ServerUnderTest:
    """A server, and what may be done to it.

    Attributes:
        host: Its address.
        port: Its port.
        user: Who logs in.
        password: The password for that.
        protection: How connections are protected.
        writable: A directory of the server in which files may be made and deleted; None
            if there is none.
        local: The same directory as this machine sees it; None if it does not.
        is_slow_allowed: Whether checks run that take longer than a few seconds.
        patience: Seconds for each wait for the server.
        late: Seconds after which a reply is late, which is a warning.
    """

    host: str
    port: int
    user: str = "anonymous"
    password: str = attrs.field(default="guest@", repr=False)
    protection: Protection = Protection.CLEAR
    writable: str | None = None
    local: Path | None = None
    is_slow_allowed: bool = False
    patience: float = 10.0
    late: float = 1.0


@attrs.define
class Trial:
    """One run of one check against a server.

    Attributes:
        server: The server.
        directory: The directory of the server that was made for this check alone, absolute;
            None if the server is not writable.
        warnings: What is not wrong, and not as it should be.
    """

    server: ServerUnderTest
    directory: str | None = None
    warnings: list[str] = attrs.field(factory=list)

    # Verdicts

    def fail(self, why: str) -> NoReturn:
        """End the check: the server is wrong."""

        raise Failure(why)

    def require(self, condition: object, why: str) -> None:
        """End the check unless the condition is true."""

        if not condition:
            raise Failure(why)

    def not_offered(self, why: str) -> NoReturn:
        """End the check: it cannot be made here."""

        raise NotOffered(why)

    def warn(self, why: str) -> None:
        """Note what is not as it should be, and go on."""

        self.warnings.append(why)

    def note_delay(self, seconds: float, what: str) -> None:
        """Warn if something took longer than it should."""

        if seconds > self.server.late:
            self.warn(f"{what} came after {seconds:.1f} s")

    # Clients

    @contextlib.asynccontextmanager
    async def arrived(
        self, *, source: str | None = None, context: ssl.SSLContext | None = None
    ) -> AsyncIterator[ScriptedClient]:
        """Connect a client that has not read the greeting (with implicit TLS, in TLS).

        Args:
            source: Address to connect from.
            context: TLS context of the session; a new one if not given.
        """

        server = self.server
        stream = await ScriptedStream.connect(
            server.host, server.port, source=source, patience=server.patience
        )
        async with ScriptedClient(stream, server.host, source=source) as client:
            if server.protection is Protection.IMPLICIT:
                client.context = context or self.tls_context()
                await stream.start_tls(client.context)
            yield client

    @contextlib.asynccontextmanager
    async def greeted(
        self, *, source: str | None = None, context: ssl.SSLContext | None = None
    ) -> AsyncIterator[ScriptedClient]:
        """Connect a client that has read the greeting, in TLS if that is wanted (see `arrived`).

        A server that has too many clients says 421 (RFC 959 §4.2.2): other checks may run, so it
        is asked again for a while.
        """

        deadline = time.monotonic() + self.server.patience
        async with contextlib.AsyncExitStack() as stack:
            while True:
                client = await stack.enter_async_context(
                    self.arrived(source=source, context=context)
                )
                greeting = await client.reply()
                if greeting.code != 421 or time.monotonic() > deadline:
                    break
                client.close()
                await asyncio.sleep(0.2)
            client.check(greeting, 220)
            if self.server.protection is Protection.EXPLICIT:
                await client.protect(context or self.tls_context())
            yield client

    @contextlib.asynccontextmanager
    async def client(
        self, *, source: str | None = None, context: ssl.SSLContext | None = None
    ) -> AsyncIterator[ScriptedClient]:
        """Connect a client that has logged in, said PROT P with TLS, and TYPE I (see `arrived`).

        It is in the directory of this check, if there is one.
        """

        async with self.greeted(source=source, context=context) as client:
            await client.login(self.server.user, self.server.password)
            if self.server.protection is not Protection.CLEAR:
                await client.keep_private()
            await client.expect("TYPE I", 2)
            if self.directory is not None:
                await client.expect(f"CWD {self.directory}", 2)
            yield client

    def tls_context(self) -> ssl.SSLContext:
        """Make a TLS context for one session, which trusts any certificate."""

        if self.server.protection is Protection.CLEAR:
            self.not_offered("needs TLS")

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def stranger(self) -> str:
        """Return an address of this machine that is not the client's.

        Only a server on an IPv4 loopback address can be reached from two addresses without
        asking what this machine has; and not every system has all of these addresses.
        """

        if not self.server.host.startswith("127."):
            self.not_offered("needs a server on 127.0.0.0/8, to come from another address")

        address = STRANGER if self.server.host != STRANGER else "127.0.0.78"
        try:
            with socket.socket() as sock:
                sock.bind((address, 0))
        except OSError:
            self.not_offered(f"needs the address {address} on this machine")
        return address

    # Files

    def writable(self) -> str:
        """Return the directory of this check; the check is not offered without one."""

        if self.directory is None:
            self.not_offered("needs --writable, a directory in which it may write")
        return self.directory

    def local(self) -> Path:
        """Return that directory as this machine sees it; not offered without one."""

        directory = self.writable()
        if self.server.local is None or self.server.writable is None:
            self.not_offered("needs --local, the writable directory as this machine sees it")
        return self.server.local / directory.removeprefix(self.server.writable).lstrip("/")

    def new_name(self, suffix: str = ".bin") -> str:
        """Return a name that nothing has."""

        return f"f-{secrets.token_hex(6)}{suffix}"

    async def put(self, client: ScriptedClient, name: str, content: bytes) -> None:
        """Make a file by an upload, which must be acknowledged.

        Raises:
            Failure: The server does not take it.
        """

        self.writable()
        client.check(await client.upload(f"STOR {name}", content), 2)

    async def content(self, client: ScriptedClient, name: str) -> bytes | None:
        """Return what a file holds: from the disk where it is seen, else by RETR.

        Returns:
            None if there is no such file.
        """

        if self.server.local is not None and self.directory is not None:
            return await anyio.to_thread.run_sync(_read, self.local() / name)

        data = await client.passive()
        async with data:
            await client.send(f"RETR {name}")
            reply = await client.reply()
            if reply.kind == 5:
                return None
            client.check(reply, 125, 150)
            await client.secure(data)
            content = await data.receive_all()
            await client.leave(data)
        await client.expect_reply(2)
        return content


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


@attrs.frozen
class Check:
    """A check of a server.

    Attributes:
        name: Its name, for ``--only``.
        sentence: What a good server does.
        source: Where that is written, or who got it wrong.
        is_slow: Whether it runs only where slow checks are allowed.
        run: Makes it.
    """

    name: str
    sentence: str
    source: str
    is_slow: bool
    run: Callable[[Trial], Awaitable[None]]


CHECKS: dict[str, Check] = {}
"""All checks, by name, in the order in which they run."""


def check(
    source: str, *, is_slow: bool = False
) -> Callable[[Callable[[Trial], Awaitable[None]]], Callable[[Trial], Awaitable[None]]]:
    """Register a coroutine function as a check.

    Its name is the check's, with hyphens; the first line of its docstring is the sentence.
    It returns if the server is right, and ends by the methods of `Trial` otherwise.
    """

    def register(
        function: Callable[[Trial], Awaitable[None]],
    ) -> Callable[[Trial], Awaitable[None]]:
        name = re.sub("_", "-", function.__name__)
        sentence = (function.__doc__ or "").strip().partition("\n")[0]
        if not sentence or name in CHECKS:
            raise ValueError(f"expected a new check with a docstring, not {name}")

        CHECKS[name] = Check(name, sentence, source, is_slow, function)
        return function

    return register
