"""A small, plain FTP server for the proofs of the checks: each behaviour is a method of its own.

It passes every check of `ftpdata.testing`, and shares no code with ftpdata or with the
reference server. A defect is a subclass of `Session` that overrides one method::

    class AcceptsStrangers(Session):
        def is_welcome(self, address: str) -> bool:
            return True

    async with scripted_server(tmp_path, AcceptsStrangers) as server:
        ...

A wrong reply needs no class of its own: ``saying("CDUP", "999 what?")`` is a session that says
this instead of its reply 2yz to CDUP. See `tests.testing.proofs` for how a defect proves a check.

It serves a directory, whose files it reads and writes with blocking calls. An upload is held
in memory and published whole.
"""

from __future__ import annotations

import asyncio
import calendar
import contextlib
import contextvars
import fcntl
import fnmatch
import os
import re
import secrets
import socket
import ssl
import stat
import struct
import termios
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Self

__all__ = [
    "PASSWORD",
    "USER",
    "Cut",
    "Link",
    "Refusal",
    "ScriptedServer",
    "Session",
    "saying",
    "scripted_server",
]

USER, PASSWORD = "ann", "secret"

BLOCK = 64 * 1024
FACTS = ("type", "size", "modify")
PATIENCE = 10.0
"""Seconds that the server waits for a data connection, and for a client to go on."""

_verb: contextvars.ContextVar[str] = contextvars.ContextVar("verb", default="")
"""The command that is carried out, also in the task of its transfer."""


class Refusal(Exception):
    """A command is not carried out; the text is the reply."""


class Cut(Exception):
    """A connection ended before its end: by a reset, or in TLS without close_notify."""


class Link:
    """A connection, in clear or TLS. Its methods raise `Cut` where the peer has broken it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.tls: ssl.SSLObject | None = None
        self.hello = b""
        self.is_at_end = False
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.hello = b""
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLError as error:
                with contextlib.suppress(Cut):
                    await self._flush()
                raise Cut(f"TLS: {error}") from error
            else:
                break
        self.tls = tls
        await self._flush()

    async def _flush(self) -> None:
        await self._send_all(self._outgoing.read())

    async def _fill(self) -> None:
        if data := await self._receive(BLOCK):
            self.hello = self.hello or data
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _receive(self, limit: int) -> bytes:
        try:
            return await asyncio.get_running_loop().sock_recv(self.sock, limit)
        except OSError as error:
            self.is_at_end = True
            raise Cut(str(error)) from error

    async def _send_all(self, data: bytes) -> None:
        try:
            await asyncio.get_running_loop().sock_sendall(self.sock, data)
        except OSError as error:
            raise Cut(str(error)) from error

    async def receive(self, limit: int = BLOCK) -> bytes:
        """Receive what comes next; nothing at the end."""

        while self.tls is not None:
            try:
                return self.tls.read(limit)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLZeroReturnError:
                self.is_at_end = True
                return b""
            except ssl.SSLError as error:
                raise Cut(f"TLS: {error}") from error

        data = await self._receive(limit)
        self.is_at_end = not data
        return data

    async def send(self, data: bytes) -> None:
        if self.tls is None:
            await self._send_all(data)
            return

        for start in range(0, len(data), BLOCK):
            self.tls.write(data[start : start + BLOCK])
            await self._flush()

    async def send_close_notify(self) -> None:
        if self.tls is not None:
            with contextlib.suppress(ssl.SSLError):
                self.tls.unwrap()
            with contextlib.suppress(Cut):
                await self._flush()

    async def finish(self) -> None:
        """Send the end of file; wait until the peer's system has it all, if it was sent anything.

        A peer that has sent its own end needs nothing more, and may have gone. A defect may have
        closed the connection before.
        """

        await self.send_close_notify()
        if not self.is_at_end and self.sock.fileno() >= 0:
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError as error:
                raise Cut(str(error)) from error
            while self._unacknowledged():
                if error_number := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise Cut(os.strerror(error_number))
                await asyncio.sleep(0.001)
        self.close()

    def _unacknowledged(self) -> int:
        found: int = struct.unpack("i", fcntl.ioctl(self.sock, termios.TIOCOUTQ, b"\0" * 4))[0]
        return found

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


async def accept(listener: socket.socket) -> tuple[socket.socket, str]:
    """Accept a connection; return it with the peer's address. A cancellation loses none.

    Whoever closes the listener does it when this has ended.
    """

    loop = asyncio.get_running_loop()
    while True:
        try:
            sock, address = listener.accept()
        except BlockingIOError:
            readable = loop.create_future()
            loop.add_reader(listener, _set, readable)
            try:
                await readable
            finally:
                loop.remove_reader(listener)
        else:
            sock.setblocking(False)
            return sock, str(address[0])


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class DataOpening:
    """How the next data connection comes to be: by a listener, or by a connect to the client."""

    def __init__(self) -> None:
        self.link: Link | None = None

    async def open(self) -> Link:
        raise NotImplementedError

    def close(self) -> None:
        if self.link is not None:
            self.link.close()


class Listening(DataOpening):
    """Accepts from now on; a stranger is closed, and the wait goes on."""

    def __init__(self, session: Session, listener: socket.socket) -> None:
        super().__init__()
        self.session = session
        self.listener = listener
        self.task = session.server.spawn(self._accept())
        self.task.add_done_callback(lambda _: listener.close())

    async def _accept(self) -> None:
        while self.link is None:
            sock, address = await accept(self.listener)
            if self.session.is_welcome(address):
                self.link = Link(sock)
            else:
                Link(sock).reset()

    async def open(self) -> Link:
        await asyncio.shield(self.task)
        assert self.link is not None
        return self.link

    def close(self) -> None:
        self.task.cancel()
        super().close()


class Connecting(DataOpening):
    """Connects when the transfer begins."""

    def __init__(self, source: str, address: tuple[str, int]) -> None:
        super().__init__()
        self.source = source
        self.address = address

    async def open(self) -> Link:
        sock = socket.socket(socket.AF_INET6 if ":" in self.source else socket.AF_INET)
        self.link = Link(sock)
        sock.setblocking(False)
        sock.bind((self.source, 0))
        await asyncio.get_running_loop().sock_connect(sock, self.address)
        return self.link


class Session:
    """A control connection, and all that a client can do with it."""

    patience: ClassVar[float] = PATIENCE
    requires_resumption: ClassVar[bool] = True
    """Whether a data connection has to resume the TLS session of the control connection."""
    login_free: ClassVar[frozenset[str]] = frozenset({
        *("USER", "PASS", "ACCT", "AUTH", "PBSZ", "PROT", "QUIT", "REIN"),
        *("FEAT", "HELP", "NOOP", "SYST", "OPTS"),
    })
    features: ClassVar[tuple[str, ...]] = (
        *("AUTH TLS", "EPRT", "EPSV", "MDTM", "MFMT", "MLST type*;size*;modify*;"),
        *("PBSZ", "PROT", "REST STREAM", "SIZE", "TVFS", "UTF8"),
    )
    """What FEAT says, where there is a certificate."""
    wants_argument: ClassVar[frozenset[str]] = frozenset({
        *("USER", "ACCT", "AUTH", "PBSZ", "PROT", "TYPE", "STRU", "MODE", "PORT", "EPRT"),
        *("RETR", "STOR", "APPE", "REST", "SIZE", "MDTM", "MFMT", "RNFR", "RNTO", "DELE"),
        *("MKD", "RMD", "CWD", "OPTS", "ALLO"),
    })

    def __init__(self, server: ScriptedServer, link: Link, peer: str) -> None:
        self.server = server
        self.link = link
        self.peer = peer
        self.address: str = link.sock.getsockname()[0]
        self.context: ssl.SSLContext | None = None
        self.buffer = bytearray()
        self.writing = asyncio.Lock()
        self.waiting: deque[str] = deque()
        self.busy: asyncio.Task[None] | None = None
        self.transfer: asyncio.Task[None] | None = None
        self.is_over = False
        self.data: DataOpening | None = None
        self.reset_state()

    def reset_state(self) -> None:
        """What a client begins with, and has again after REIN."""

        self.user = ""
        self.is_logged_in = False
        self.cwd = PurePosixPath("/")
        self.is_ascii = True
        self.is_private = False
        self.has_pbsz = False
        self.only_epsv = False
        self.offset = 0
        self.renamed: Path | None = None
        self.wanted_facts = list(FACTS)
        self.done = 0
        self.drop_data()

    def drop_data(self) -> None:
        if self.data is not None:
            self.data.close()
            self.data = None

    def lose_data(self) -> None:
        """Forget what was opened for the next transfer, and leave it open. For defects."""

        if self.data is not None:
            self.server.at_end.callback(self.data.close)
            self.data = None

    # Commands and replies

    async def run(self) -> None:
        with contextlib.suppress(Cut):
            await self.greet()
            while not self.is_over and (line := await self.read_line()) is not None:
                if self.busy is None or self.is_urgent(line):
                    await self.carry_out(line)
                else:
                    self.waiting.append(line)
        await self.leave()

    async def greet(self) -> None:
        if self.server.is_implicit:
            await self.start_control_tls()
        await self.reply("220 Ready.")

    def is_urgent(self, line: str) -> bool:
        """Whether a command is carried out during a transfer, and does not wait for its end."""

        return line.upper() in {"ABOR", "STAT"}

    async def leave(self) -> None:
        """The control connection is over: a transfer that runs may end by itself."""

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.patience):
                while self.busy is not None:
                    await asyncio.wait([self.busy])
                    await asyncio.sleep(0)
        self.close()

    def close(self) -> None:
        self.waiting.clear()
        if self.busy is not None:
            self.busy.cancel()
        self.drop_data()
        self.link.close()

    async def read_line(self) -> str | None:
        while (end := self.buffer.find(b"\n")) < 0:
            if len(self.buffer) > 8192:
                # The rest of it is dropped, and answered once.
                del self.buffer[16:]
                self.buffer[:] = b"\0" * 16
            try:
                piece = await self.link.receive()
            except Cut:
                return None
            if not piece:
                return None
            self.buffer += piece

        line = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        return self.decode_line(line)

    def decode_line(self, line: bytes) -> str:
        """Undo Telnet (RFC 854, RFC 2640 §3.1): its commands, IAC IAC, CR NUL."""

        line = re.sub(
            rb"\xff(?:(\xff)|[\xfb-\xfe].|[\xf0-\xfa])",
            lambda found: found[1] or b"",
            line.removesuffix(b"\r"),
            flags=re.DOTALL,
        ).replace(b"\r\0", b"\r")
        return line.decode("utf-8", "surrogateescape")

    async def reply(self, *lines: str) -> None:
        text = "\r\n".join(self.say(_verb.get(), line) for line in lines)
        data = text.encode("utf-8", "surrogateescape").replace(b"\xff", b"\xff\xff")
        async with self.writing:
            # Whoever reads commands notices a client that has gone.
            with contextlib.suppress(Cut):
                await self.link.send(data + b"\r\n")

    def say(self, verb: str, line: str) -> str:
        """Return the line of a reply to a command: what it is. For defects."""

        return line

    async def carry_out(self, line: str) -> None:
        verb, _, argument = line.partition(" ")
        verb = verb.upper()
        verb = {"XCWD": "CWD", "XMKD": "MKD", "XRMD": "RMD", "XPWD": "PWD", "XCUP": "CDUP"}.get(
            verb, verb
        )
        _verb.set(verb)
        command: Callable[[str], Awaitable[None]] | None = getattr(self, f"do_{verb.lower()}", None)
        try:
            if command is None or not verb.isalpha():
                await self.reply("500 Unknown command.")
            elif not self.is_logged_in and verb not in self.login_free:
                await self.reply("530 Log in first.")
            elif "\0" in argument or (not argument and verb in self.wants_argument):
                await self.reply("501 Wrong argument.")
            else:
                await command(argument)
        except Refusal as refusal:
            await self.reply(str(refusal))
        except FileNotFoundError:
            await self.reply("550 No such file or directory.")
        except OSError as error:
            await self.reply(f"550 {os.strerror(error.errno or 0)}.")
        if verb not in {"REST", "PASV", "EPSV", "PORT", "EPRT", "TYPE", "ABOR", "STAT"}:
            self.offset = 0
        if verb != "RNFR":
            self.renamed = None

    # Login

    async def do_user(self, argument: str) -> None:
        self.user, self.is_logged_in = argument, False
        await self.reply("331 Which password?")

    async def do_pass(self, argument: str) -> None:
        if not self.user:
            raise Refusal("503 USER first.")
        self.is_logged_in = (self.user, argument) == (USER, PASSWORD)
        if not self.is_logged_in:
            self.user = ""
            raise Refusal("530 No.")
        await self.reply("230 Welcome.")

    async def do_acct(self, argument: str) -> None:
        await self.reply("202 Not needed.")

    async def do_rein(self, argument: str) -> None:
        self.reset_state()
        await self.reply("220 Begin again.")

    async def do_quit(self, argument: str) -> None:
        self.is_over = True
        await self.reply("221 Goodbye.")
        await self.link.send_close_notify()
        with contextlib.suppress(OSError):
            self.link.sock.shutdown(socket.SHUT_WR)

    # Protection (RFC 4217)

    async def start_control_tls(self) -> None:
        self.context = self.server.make_context()
        await self.link.start_tls(self.context)
        self.refuse_browsers(self.link)
        # Tickets of a data connection would not be read by a client that only sends.
        self.context.num_tickets = 0

    def refuse_browsers(self, link: Link) -> None:
        """End a connection whose client says by ALPN that it speaks HTTP (CVE-2021-3618)."""

        if b"\x08http/1.1" in link.hello:
            raise Cut("no FTP")

    async def do_auth(self, argument: str) -> None:
        if self.server.certificate is None:
            raise Refusal("502 No certificate.")
        if argument.upper() not in {"TLS", "TLS-C", "SSL"} or self.link.tls is not None:
            raise Refusal("504 AUTH TLS, once.")
        await self.reply("234 Begin.")
        self.forget_clear_text()
        await self.start_control_tls()
        self.reset_state()

    def forget_clear_text(self) -> None:
        """Drop what was sent in clear after AUTH, whoever sent it."""

        self.buffer.clear()

    async def do_pbsz(self, argument: str) -> None:
        if self.link.tls is None:
            raise Refusal("503 AUTH first.")
        self.has_pbsz = True
        await self.reply("200 PBSZ=0")

    async def do_prot(self, argument: str) -> None:
        if self.link.tls is None:
            raise Refusal("503 AUTH first.")
        if not self.has_pbsz:
            raise Refusal("503 PBSZ first.")
        if argument.upper() not in {"P", "C"}:
            raise Refusal("504 P or C." if argument.upper() in {"S", "E"} else "501 P or C.")
        self.is_private = argument.upper() == "P"
        await self.reply("200 Good.")

    # Parameters

    async def do_type(self, argument: str) -> None:
        words = argument.upper().split()
        if words in (["A"], ["A", "N"]):
            self.is_ascii = True
        elif words in (["I"], ["L", "8"], ["L8"]):
            self.is_ascii = False
        elif words[:1] in (["A"], ["E"], ["L"]):
            raise Refusal("504 A N, I or L 8.")
        else:
            raise Refusal("501 A N, I or L 8.")
        await self.reply("200 Good.")

    async def do_stru(self, argument: str) -> None:
        await self._one_of(argument, "F", "RP")

    async def do_mode(self, argument: str) -> None:
        await self._one_of(argument, "S", "BC")

    async def _one_of(self, argument: str, only: str, known: str) -> None:
        if argument.upper() == only:
            await self.reply("200 Good.")
        elif len(argument) == 1 and argument.upper() in known:
            raise Refusal(f"504 {only} alone.")
        else:
            raise Refusal(f"501 {only} alone.")

    async def do_rest(self, argument: str) -> None:
        if not argument.isascii() or not argument.isdigit():
            raise Refusal("501 A number.")
        self.offset = int(argument)
        await self.reply(f"350 At {self.offset}.")

    # Data connections

    def make_listener(self) -> socket.socket:
        """Listen on a port that cannot be guessed, at the address of the control connection."""

        sock = socket.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET)
        while True:
            try:
                sock.bind((self.address, 20_000 + secrets.randbelow(12_000)))
            except OSError:
                continue
            break
        sock.listen(4)
        sock.setblocking(False)
        return sock

    def is_welcome(self, address: str) -> bool:
        """Whether a data connection may come from an address."""

        return address == self.peer

    def may_connect(self, host: str, port: int) -> bool:
        """Whether a client may ask for a connection to an address (RFC 2577 §3)."""

        return host == self.peer and port >= 1024

    def listen(self) -> int:
        """Listen for the next transfer; what was opened for it before is closed."""

        self.drop_data()
        listener = self.make_listener()
        self.data = Listening(self, listener)
        return int(listener.getsockname()[1])

    def refuse_after_epsv_all(self) -> None:
        if self.only_epsv:
            raise Refusal("503 EPSV ALL was said.")

    async def do_pasv(self, argument: str) -> None:
        self.refuse_after_epsv_all()
        if ":" in self.address:
            raise Refusal("522 EPSV, over IPv6.")
        high, low = divmod(self.listen(), 256)
        await self.reply(f"227 Passive ({self.address.replace('.', ',')},{high},{low}).")

    async def do_epsv(self, argument: str) -> None:
        family = "2" if ":" in self.address else "1"
        if argument.upper() == "ALL":
            self.only_epsv = True
            await self.reply("200 Only EPSV now.")
            return
        if argument not in {"", family}:
            raise Refusal(f"522 Only ({family})." if argument.isdigit() else "501 A number.")
        await self.reply(f"229 Passive (|||{self.listen()}|).")

    async def do_port(self, argument: str) -> None:
        self.refuse_after_epsv_all()
        numbers = argument.split(",")
        if len(numbers) != 6 or not all(
            part.isascii() and part.isdigit() and int(part) < 256 for part in numbers
        ):
            raise Refusal("501 Six numbers.")
        self.prepare_to_connect(".".join(numbers[:4]), int(numbers[4]) * 256 + int(numbers[5]))
        await self.reply("200 Good.")

    async def do_eprt(self, argument: str) -> None:
        self.refuse_after_epsv_all()
        found = re.fullmatch(r"([!-~])(\d+)\1([^|]+)\1(\d+)\1", argument)
        if not found or not 0 < int(found[4]) < 65536:
            raise Refusal("501 |family|address|port|.")
        family = "2" if ":" in self.address else "1"
        if found[2] != family:
            raise Refusal(f"522 Only ({family}).")
        try:
            socket.inet_pton(socket.AF_INET6 if family == "2" else socket.AF_INET, found[3])
        except OSError:
            raise Refusal("501 No address.") from None
        self.prepare_to_connect(found[3], int(found[4]))
        await self.reply("200 Good.")

    def prepare_to_connect(self, host: str, port: int) -> None:
        if not self.may_connect(host, port):
            raise Refusal("504 Only to the client itself.")
        self.drop_data()
        self.data = Connecting(self.address, (host, port))

    async def secure(self, link: Link) -> None:
        """Protect a data connection, if it is to be, with the context of this session."""

        if self.is_private:
            assert self.context is not None
            await link.start_tls(self.context)
            self.refuse_browsers(link)
            assert link.tls is not None
            if self.requires_resumption and not link.tls.session_reused:
                raise Cut("the session of the control connection was not resumed")

    async def finish(self, link: Link) -> None:
        """End a data connection that has brought or taken everything."""

        await link.finish()

    # Transfers

    def begin(
        self, move: Callable[[Link], Coroutine[Any, Any, None]], note: str = "Here it goes."
    ) -> None:
        """Begin a transfer: from here on, commands wait, except urgent ones."""

        self.busy = self.transfer = self.server.spawn(self._transfer(move, note))
        self.transfer.add_done_callback(self._go_on)

    def _go_on(self, done: asyncio.Task[None]) -> None:
        if self.transfer is done:
            self.transfer = None
        if self.busy is done:
            self.busy = None
            if self.waiting and not self.is_over:
                self.busy = self.server.spawn(self.carry_out(self.waiting.popleft()))
                self.busy.add_done_callback(self._go_on)

    async def _transfer(
        self, move: Callable[[Link], Coroutine[Any, Any, None]], note: str
    ) -> None:
        opening, self.data = self.data, None
        self.done = 0
        if opening is None:
            await self.reply("425 PASV or PORT first.")
            return
        try:
            await self.reply(f"{150 if opening.link is None else 125} {note}")
            await self.reply(await self._move(opening, move))
        finally:
            opening.close()

    async def _move(
        self, opening: DataOpening, move: Callable[[Link], Coroutine[Any, Any, None]]
    ) -> str:
        try:
            async with asyncio.timeout(self.patience):
                link = await opening.open()
                await self.secure(link)
        except (OSError, TimeoutError, Cut):
            return "425 No data connection."

        try:
            await move(link)
            await self.finish(link)
        except Cut:
            link.reset()
            return "426 The data connection was cut."
        except OSError as error:
            link.reset()
            return f"451 {error.strerror}."
        except BaseException:
            link.reset()
            raise
        return "226 All there."

    async def do_abor(self, argument: str) -> None:
        if self.transfer is not None and not self.transfer.done():
            await self.abort(self.transfer)
            await self.reply("426 Aborted.")
        self.drop_data()
        await self.reply("226 Nothing goes on.")

    async def abort(self, transfer: asyncio.Task[None]) -> None:
        """Cut a transfer, and wait until it is over."""

        transfer.cancel()
        await asyncio.wait([transfer])

    async def do_stat(self, argument: str) -> None:
        if argument:
            rows = [f" {row}" for row in self.list_rows(argument)]
            await self.reply("213-Status:", *rows, "213 End.")
        else:
            await self.reply("211-Status:", f" {self.done} bytes moved.", "211 End.")

    # Files

    def path(self, argument: str) -> Path:
        """Return the path of what a client names; never outside of what is served."""

        found: list[str] = []
        for part in (self.cwd / argument).parts[1:]:
            if part == "..":
                del found[-1:]
            else:
                found.append(part)
        return self.server.root.joinpath(*found)

    def file(self, argument: str) -> Path:
        path = self.path(argument)
        if not path.is_file():
            raise Refusal("550 No such file." if not path.is_dir() else "550 A directory.")
        return path

    async def do_retr(self, argument: str) -> None:
        path = self.file(argument)
        size, offset = path.stat().st_size, self.offset
        if self.is_ascii and offset:
            raise Refusal("504 No REST in ASCII.")
        if offset > size:
            raise Refusal("554 Beyond the end.")

        async def move(link: Link) -> None:
            await self.send_file(link, path, offset, size)

        self.begin(move)

    async def send_file(self, link: Link, path: Path, offset: int, size: int) -> None:
        """Send a file from an offset to the size that it had."""

        with path.open("rb") as file:
            file.seek(offset)
            position = offset
            while position < size:
                data = file.read(min(BLOCK, size - position))
                if not data:
                    raise Cut("the file has become shorter")
                position += len(data)
                await link.send(self.encode(data))
                self.done += len(data)

    def encode(self, data: bytes) -> bytes:
        """Encode for the network: in ASCII, lines end with CRLF."""

        return data.replace(b"\n", b"\r\n") if self.is_ascii else data

    def decode(self, data: bytes) -> bytes:
        """Decode a whole upload: in ASCII, CRLF is the end of a line, and a lone CR is not."""

        return data.replace(b"\r\n", b"\n") if self.is_ascii else data

    async def receive_file(self, link: Link) -> bytes:
        """Receive a whole upload; raise `Cut` if it does not end well."""

        data = bytearray()
        while piece := await link.receive():
            data += piece
            self.done += len(piece)
        return self.decode(bytes(data))

    async def do_stor(self, argument: str) -> None:
        path, offset = self._target(argument), self.offset
        old = path.read_bytes()[:offset] if offset and path.exists() else b""
        if self.is_ascii and offset:
            raise Refusal("504 No REST in ASCII.")
        if len(old) < offset:
            raise Refusal("554 Beyond the end.")

        async def move(link: Link) -> None:
            self.publish(path, old + await self.receive_file(link))

        self.begin(move)

    def _target(self, argument: str) -> Path:
        path = self.path(argument)
        if path.is_dir() or not path.parent.is_dir():
            raise Refusal("553 No file can have this name.")
        if not path.parent.stat().st_mode & 0o222:
            # Also where the tests run as a user who may write everywhere.
            raise Refusal("553 Nobody may write there.")
        return path

    def publish(self, path: Path, content: bytes) -> None:
        """Give a whole upload its name."""

        part = path.with_name(f".{secrets.token_hex(8)}")
        part.write_bytes(content)
        part.replace(path)

    async def do_appe(self, argument: str) -> None:
        path = self._target(argument)
        if self.offset:
            raise Refusal("503 REST and APPE exclude each other.")

        async def move(link: Link) -> None:
            self.append(path, await self.receive_file(link))

        self.begin(move)

    def append(self, path: Path, content: bytes) -> None:
        with path.open("ab") as file:
            file.write(content)

    async def do_stou(self, argument: str) -> None:
        name = self.unique_name()
        path = self._target(name)

        async def move(link: Link) -> None:
            self.publish(path, await self.receive_file(link))

        self.begin(move, f"FILE: {name}")

    def unique_name(self) -> str:
        return f"u-{secrets.token_hex(8)}"

    async def do_allo(self, argument: str) -> None:
        await self.reply("202 Not needed.")

    async def do_size(self, argument: str) -> None:
        if self.is_ascii:
            raise Refusal("550 No size in ASCII.")
        await self.reply(f"213 {self.file(argument).stat().st_size}")

    async def do_mdtm(self, argument: str) -> None:
        await self.reply(f"213 {self.format_time(self.file(argument))}")

    def format_time(self, path: Path) -> str:
        return time.strftime("%Y%m%d%H%M%S", time.gmtime(self.status(path).st_mtime))

    async def do_mfmt(self, argument: str) -> None:
        moment, _, name = argument.partition(" ")
        if not re.fullmatch(r"\d{14}", moment) or not name:
            raise Refusal("501 A time, and a name.")
        path = self.file(name)
        seconds = _seconds(moment)
        os.utime(path, (seconds, seconds))
        await self.reply(f"213 Modify={moment}; {name}")

    async def do_dele(self, argument: str) -> None:
        self.file(argument).unlink()
        await self.reply("250 Gone.")

    async def do_rnfr(self, argument: str) -> None:
        path = self.path(argument)
        if not path.exists():
            raise Refusal("550 No such file.")
        self.renamed = path
        await self.reply("350 And to?")

    async def do_rnto(self, argument: str) -> None:
        renamed, self.renamed = self.renamed, None
        if renamed is None:
            raise Refusal("503 RNFR first.")
        renamed.replace(self.path(argument))
        await self.reply("250 Renamed.")

    async def do_mkd(self, argument: str) -> None:
        self.path(argument).mkdir()
        await self.reply(f"257 {_quoted(self.cwd / argument)} made.")

    async def do_rmd(self, argument: str) -> None:
        self.path(argument).rmdir()
        await self.reply("250 Gone.")

    async def do_cwd(self, argument: str) -> None:
        path = self.path(argument)
        if not path.is_dir():
            raise Refusal("550 No such directory.")
        self.cwd = PurePosixPath("/") / path.relative_to(self.server.root).as_posix()
        await self.reply("250 There.")

    async def do_cdup(self, argument: str) -> None:
        await self.do_cwd("..")

    async def do_pwd(self, argument: str) -> None:
        await self.reply(f"257 {_quoted(self.cwd)}")

    # Listings

    def names(self, directory: Path) -> list[str]:
        """Return what a listing shows: no name that would make a line of its own."""

        return sorted(
            path.name for path in directory.iterdir() if not {"\r", "\n"} & set(path.name)
        )

    def list_rows(self, argument: str) -> list[str]:
        argument = re.sub(r"^-[A-Za-z]+ ?", "", argument)
        path = self.path(argument)
        if path.is_dir():
            return [self.list_row(path / name) for name in self.names(path)]
        if path.is_file():
            return [self.list_row(path)]
        raise Refusal("550 No such file or directory.")

    def list_row(self, path: Path) -> str:
        status = self.status(path)
        return (
            f"{stat.filemode(status.st_mode)} 1 ftp ftp {status.st_size} "
            f"{self.list_date(status.st_mtime)} {path.name}"
        )

    def status(self, path: Path) -> os.stat_result:
        """Return the status of a file, or that of a link which leads nowhere."""

        return path.stat() if path.exists() else path.lstat()

    def list_date(self, moment: float) -> str:
        age = time.time() - moment
        form = "%b %d %H:%M" if -60 < age < 180 * 86400 else "%b %d  %Y"
        return time.strftime(form, time.gmtime(moment))

    def nlst_rows(self, argument: str) -> list[str]:
        argument = re.sub(r"^-[A-Za-z]+ ?", "", argument)
        path = self.path(argument)
        if path.is_dir():
            return self.names(path)
        if path.is_file():
            return [argument]
        if re.search(r"[*?\[]", path.name) and path.parent.is_dir():
            prefix = argument.removesuffix(path.name)
            return [prefix + name for name in fnmatch.filter(self.names(path.parent), path.name)]
        raise Refusal("550 No such file or directory.")

    def mlsd_rows(self, argument: str) -> list[str]:
        path = self.path(argument)
        if not path.is_dir():
            raise Refusal("501 No directory." if path.exists() else "550 No such directory.")
        return [self.facts(path / name, name) for name in self.names(path)]

    def facts(self, path: Path, name: str) -> str:
        told = {"type": "dir" if path.is_dir() else "file", "modify": self.format_time(path)}
        if not path.is_dir():
            told["size"] = str(self.status(path).st_size)
        return "".join(f"{fact}={told[fact]};" for fact in self.wanted_facts if fact in told) + (
            f" {name}"
        )

    async def do_list(self, argument: str) -> None:
        self.send_rows(self.list_rows(argument))

    async def do_nlst(self, argument: str) -> None:
        self.send_rows(self.nlst_rows(argument))

    async def do_mlsd(self, argument: str) -> None:
        self.send_rows(self.mlsd_rows(argument))

    async def do_mlst(self, argument: str) -> None:
        path = self.path(argument)
        if not path.exists():
            raise Refusal("550 No such file or directory.")
        name = str(self.cwd / argument)
        await self.reply("250-Here:", f" {self.facts(path, name)}", "250 End.")

    def send_rows(self, rows: list[str]) -> None:
        """Send a listing; its lines end with CRLF, whatever the type."""

        async def move(link: Link) -> None:
            text = "".join(f"{row}\r\n" for row in rows)
            await link.send(text.encode("utf-8", "surrogateescape"))

        self.begin(move)

    # The rest

    async def do_noop(self, argument: str) -> None:
        await self.reply("200 Nothing done.")

    async def do_syst(self, argument: str) -> None:
        await self.reply("215 UNIX Type: L8")

    async def do_feat(self, argument: str) -> None:
        await self.reply("211-Features:", *self.feature_rows(), "211 End")

    def feature_rows(self) -> list[str]:
        of_tls = {"AUTH TLS", "PBSZ", "PROT"} if self.server.certificate is None else set()
        return [f" {feature}" for feature in self.features if feature not in of_tls]

    async def do_help(self, argument: str) -> None:
        await self.reply("214 Read RFC 959.")

    async def do_opts(self, argument: str) -> None:
        words = argument.upper().split()
        if words == ["UTF8", "ON"]:
            await self.reply("200 UTF-8, always.")
        elif words[:1] == ["MLST"]:
            wanted = "".join(words[1:]).lower().split(";")
            self.wanted_facts = [fact for fact in FACTS if fact in wanted]
            await self.reply(f"200 MLST OPTS {''.join(f'{f};' for f in self.wanted_facts)}")
        else:
            raise Refusal("501 Not known.")

    async def do_site(self, argument: str) -> None:
        if argument.upper() == "HELP":
            await self.reply("214 None.")
        else:
            raise Refusal("500 Not known.")


def _quoted(path: PurePosixPath) -> str:
    doubled = str(path).replace('"', '""').replace("\r", "\r\0")
    return f'"{doubled}"'


def _seconds(moment: str) -> float:
    try:
        parsed = time.strptime(moment, "%Y%m%d%H%M%S")
    except ValueError:
        raise Refusal("501 No such time.") from None
    return float(calendar.timegm(parsed))


def saying(verb: str, line: str, *, instead_of: str = "2") -> type[Session]:
    """Make a session that says a line to a command instead of its usual one.

    Args:
        verb: The command.
        line: What is said; empty lines and line ends are sent as they are.
        instead_of: How the usual line begins.
    """

    class Says(Session):
        def say(self, verb_: str, line_: str) -> str:
            return line if verb_ == verb and line_.startswith(instead_of) else line_

    Says.__name__ = Says.__qualname__ = f"says {line!r} to {verb or 'who comes'}"
    return Says


class ScriptedServer:
    """The server: it accepts control connections, and has a `Session` for each.

    Args:
        root: The directory that it serves.
        session: The class of its sessions.
        certificate: Files of a certificate and its key, for TLS.
        is_implicit: Whether TLS begins with the connection.

    Attributes:
        at_end: Closes at the end what sessions with a defect have lost.
    """

    def __init__(
        self,
        root: Path,
        session: type[Session] = Session,
        *,
        certificate: tuple[Path, Path] | None = None,
        is_implicit: bool = False,
    ) -> None:
        self.root = root
        self.session = session
        self.certificate = certificate
        self.is_implicit = is_implicit
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.host, self.port = self.listener.getsockname()
        self.at_end = contextlib.ExitStack()
        self._tasks: set[asyncio.Task[None]] = set()

    def make_context(self) -> ssl.SSLContext:
        """Make the TLS context of one session, whose tickets are good in no other."""

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if self.certificate is not None:
            context.load_cert_chain(*self.certificate)
        return context

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task until the server ends, at the latest."""

        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def __aenter__(self) -> Self:
        self.spawn(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.at_end.close()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
        self.listener.close()

    async def _accept(self) -> None:
        while True:
            sock, peer = await accept(self.listener)
            self.spawn(self._serve(sock, peer))

    async def _serve(self, sock: socket.socket, peer: str) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = self.session(self, Link(sock), peer)
        try:
            await session.run()
        finally:
            session.close()


@contextlib.asynccontextmanager
async def scripted_server(
    root: Path,
    session: type[Session] = Session,
    *,
    certificate: tuple[Path, Path] | None = None,
    is_implicit: bool = False,
) -> AsyncIterator[ScriptedServer]:
    """Run a scripted server (see `ScriptedServer`)."""

    async with ScriptedServer(
        root, session, certificate=certificate, is_implicit=is_implicit
    ) as server:
        yield server
