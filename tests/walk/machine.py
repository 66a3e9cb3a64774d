"""Walks at random through sessions of the reference server, and compares each step with a model.

A walk says whatever a client may say, in any order, one command or several at once, and does
to its data connections whatever a client can do. Each command has exactly one last reply, which
the model allows; the files are what the model says; and when the walk is over, nothing is left.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import re
import shutil
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Self, TypeVar

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
)

from examples.server.settings import Uploads
from ftpdata.codecs import TransferEncoder, encoder_for
from ftpdata.testing.cancellation import describe_descriptors, open_descriptors
from ftpdata.testing.client import Failure, Reply, ScriptedClient, ScriptedStream, Truncated
from tests.harness.leaks import hidden_files
from tests.harness.tls import client_context, server_certificate
from tests.server.client import Serving, serving
from tests.walk.model import DOWNLOADS, UPLOADS, Model, Transfer, Violation

__all__ = ["Grounds", "Walk"]

T = TypeVar("T")

PATIENCE = 10.0
SLOW_BUFFER = 16 * 1024
"""SO_RCVBUF of the client's data connections: `big` does not fit into what is under way."""

LINE = b"a line of text\n"
SMALL, BIG = LINE * 3, LINE * 400_000
FILES = {"/a": SMALL, "/d/a": LINE, "/big": BIG}
DIRECTORIES = {"/", "/d", "/empty"}

LONG = "x" * 5000

_NAMES = ["a", "b", "d", "d/a", "d/b", "empty", "/a", "new", "missing/x", "..", "/d"]

_PLAIN = [
    *("NOOP", "NOOP anything", "SYST", "FEAT", "HELP", "STAT", "STAT .", "STAT a", "STAT missing"),
    *("PWD", "PWD x", "CWD d", "CWD ..", "CWD /", "CWD a", "CWD missing", "CWD", "CDUP"),
    *("MKD new", "MKD d", "MKD missing/x", "RMD new", "RMD d", "RMD a", "RMD empty"),
    *("DELE a", "DELE b", "DELE d", "DELE missing", "DELE /d/a"),
    *("RNFR a", "RNFR b", "RNFR d", "RNFR missing", "RNFR", "RNFR empty"),
    *("RNTO a", "RNTO b", "RNTO new", "RNTO missing/x", "RNTO d", "RNTO d/b", "RNTO empty"),
    *("SIZE a", "SIZE d", "SIZE missing", "MDTM a", "MDTM missing", "MLST", "MLST a", "MLST b"),
    *("HASH a", "HASH d", "HASH missing"),
    *("TYPE I", "TYPE I", "TYPE A", "TYPE A N", "TYPE L 8", "TYPE E", "TYPE X", "TYPE"),
    *("MODE S", "MODE S", "MODE B", "MODE C", "MODE Z", "MODE X", "STRU F", "STRU R", "STRU P"),
    *("REST 0", "REST 5", "REST 1000000", "REST x", "REST 18446744073709551616"),
    *("ALLO 5", "ALLO x", "ALLO 9223372036854775807"),
    *("OPTS UTF8 ON", "OPTS MLST type;size;", "OPTS NONSENSE", "SITE HELP", "SITE NONSENSE"),
    *("EPSV ALL", "EPSV 2", "PORT nonsense", "PORT 127,0,0,2,99,99", "EPRT nonsense"),
    *("EPRT |2|::1|2000|", "EPRT |1|10.0.0.1|2000|", "PORT 127,0,0,1,0,22"),
    *("NONSENSE", "ACCT x", "", f"NONSENSE {LONG}"),
    *("PBSZ 0", "PBSZ x", "PROT P", "PROT C", "PROT S", "PROT X", "AUTH X"),
    *("USER ann", "PASS secret", "PASS wrong", "REIN x", "QUIT x", "ABOR x", "ABOR"),
]
_LOGIN = ["USER ann", "PASS secret", "PASS wrong", "STOR a", "NOOP"]
_OPENING = ["EPSV", "EPSV", "PASV", "PORT", "EPRT"]
_TRANSFERS = [
    *(f"{verb} {name}" for verb in ("STOR", "APPE", "RETR") for name in _NAMES),
    *("RETR big", "RETR big", "RETR big", "STOU", "STOU b", "STOU d/b", "STOR", "RETR"),
    *("LIST", "NLST", "MLSD", "LIST d", "NLST d", "MLSD d", "MLSD a", "LIST missing", "NLST a"),
]
_SWITCHES = ["AUTH TLS", "CCC", "REIN"]

commands = st.one_of(
    st.sampled_from(_PLAIN), st.sampled_from([*_OPENING, *_TRANSFERS, "TYPE I", "MODE S"])
)
followers = st.one_of(commands, st.sampled_from(["ABOR", "ABOR", "NOOP", "STAT", "QUIT"]))


def _logged_in(self: Walk) -> bool:
    return not self.model.is_over and self.model.user is not None and len(self.queue) < 6


def _long_enough(self: Walk) -> bool:
    """Whether the session has gone on for a while: it would end too soon most times."""

    return not self.model.is_over and not self.queue and self.said > 15


class _Log(logging.Handler):
    """Keeps what should not be logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Grounds:
    """Where walks take place: a server, in an event loop that runs only while a walk takes a step.

    Args:
        directory: What is served.
        is_tls: Whether the server knows TLS.
        loop_factory: Makes the event loop.
        settings: Of the server.
    """

    def __init__(
        self,
        directory: Path,
        *,
        is_tls: bool = False,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
        **settings: Any,
    ) -> None:
        self.directory = directory
        self.is_tls = is_tls
        self.steps = 0
        self.replies: collections.Counter[tuple[str, int]] = collections.Counter()
        self.log = _Log()
        self.complaints: list[str] = []
        self._settings = settings
        self._runner = asyncio.Runner(loop_factory=loop_factory)
        self._serving: Serving | None = None

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self.log)
        loop = self._runner.get_loop()
        loop.set_exception_handler(
            lambda _, context: self.complaints.append(f"{context.get('message')}: {context}")
        )
        self._runner.run(self._begin())
        return self

    def __exit__(self, *_: object) -> None:
        async def end() -> None:
            self._stop.set()
            await self._server

        try:
            self._runner.run(end())
        finally:
            self._runner.close()
            logging.getLogger().removeHandler(self.log)

    async def _begin(self) -> None:
        self._stop, ready = asyncio.Event(), asyncio.Event()

        async def serve() -> None:
            settings: dict[str, Any] = {
                "uploads": Uploads.ATOMIC,
                "max_failures_per_address": 10**9,
                "certificate": server_certificate() if self.is_tls else None,
                **self._settings,
            }
            async with serving(self.directory, **settings) as self._serving:
                ready.set()
                await self._stop.wait()

        self._server = asyncio.create_task(serve())
        started = asyncio.create_task(ready.wait())
        await asyncio.wait((self._server, started), return_when=asyncio.FIRST_COMPLETED)
        # uvloop keeps a descriptor in reserve, for each loop that has had a transport.
        async with self.serving.connected():
            pass
        await self.serving.all_left()

    @property
    def serving(self) -> Serving:
        """The server."""

        assert self._serving is not None
        return self._serving

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the loop until this is done."""

        return self._runner.run(work)

    def reset_files(self) -> None:
        """Make the files as they are at the beginning of each walk."""

        for path in self.directory.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "big":
                path.unlink()
        for name in sorted(DIRECTORIES - {"/"}):
            (self.directory / name[1:]).mkdir()
        for name, content in FILES.items():
            if name != "/big" or not (self.directory / "big").exists():
                (self.directory / name[1:]).write_bytes(content)

    def contents(self) -> tuple[dict[str, bytes], set[str]]:
        """Return the files and directories there are."""

        files, directories = {}, {"/"}
        for path in self.directory.rglob("*"):
            name = f"/{path.relative_to(self.directory)}"
            if path.is_dir():
                directories.add(name)
            elif name == "/big":
                files[name] = BIG
            else:
                files[name] = path.read_bytes()
        return files, directories

    def held(self, path: str) -> bytes | None:
        """Return what a file holds now."""

        try:
            return (self.directory / path[1:]).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    async def held_at_first(self) -> tuple[set[int], int]:
        """Return the descriptors and the number of tasks that there are without a client.

        Within the loop: uvloop has some descriptors only while it runs.
        """

        return open_descriptors(), len(asyncio.all_tasks())

    async def end_sessions(self) -> None:
        """End sessions in which an upload may wait, to a deadline, for a client that has failed."""

        server = self.serving.server
        async with asyncio.timeout(PATIENCE):
            while server.session_count:
                for session in set(server._sessions):
                    session.abort()
                    session.shut_down()
                await asyncio.sleep(0.001)

    async def leaks(self, descriptors: set[int], tasks: int) -> list[str]:
        """Wait until all sessions are over; tell what is left then."""

        await self.serving.all_left()
        server = self.serving.server
        found: list[str] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while True:
                    usage = server.usage
                    counted = usage.transfers, usage.connections, usage.listeners
                    found = [f"counted: {counted}"] if any(counted) else []
                    found += describe_descriptors(open_descriptors() - descriptors)
                    if len(asyncio.all_tasks()) > tasks:
                        found += [str(task) for task in asyncio.all_tasks()]
                    if not found:
                        break
                    await asyncio.sleep(0.001)
        found += [f"file {path}" for path in hidden_files(self.directory)]
        found += [f"logged: {line}" for line in self.log.lines] + self.complaints
        self.log.lines.clear()
        self.complaints.clear()
        return found


@attrs.define
class _Data:
    """The client's end of a data connection.

    Attributes:
        stream: The connection; None if it was reset.
        is_ended: Whether the client has sent the end.
    """

    stream: ScriptedStream | None
    is_ended: bool = False


class Walk(RuleBasedStateMachine):
    """One walk, over several sessions of one client.

    Args:
        grounds: The server.
    """

    def __init__(self, grounds: Grounds) -> None:
        super().__init__()
        self.grounds = grounds
        self.has_failed = False
        grounds.reset_files()
        self.model = Model(grounds.is_tls, dict(FILES), set(DIRECTORIES))
        self.model.is_over = True
        self.client: ScriptedClient
        self.queue: collections.deque[tuple[str, str]] = collections.deque()
        self.running: Transfer | None = None
        self.data: _Data | None = None
        self.port = 0
        self.listener: socket.socket | None = None
        self.announced: dict[str, socket.socket] = {}
        self.said = 0
        self._encoder: TransferEncoder | None = None
        self._descriptors, self._tasks = grounds.run(grounds.held_at_first())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            self.grounds.run(work)
        except TimeoutError as error:
            self.has_failed = True
            raise Violation("what must happen now does not") from error
        except BaseException:
            self.has_failed = True
            raise

    # Sessions

    @initialize(is_private=st.booleans())
    def begin(self, is_private: bool) -> None:
        """Begin, logged in."""

        self.connect(is_private=is_private, is_known=True)

    @rule(is_private=st.booleans(), is_known=st.sampled_from([True, True, True, False]))
    @precondition(lambda self: self.model.is_over)
    def connect(self, is_private: bool, is_known: bool) -> None:
        """Connect, and read the greeting; mostly, log in."""

        self._step()
        self._run(self._connect())
        protect = ["AUTH TLS", "PBSZ 0", "PROT P"] if self.grounds.is_tls and is_private else []
        log_in = ["USER ann", "PASS secret", "TYPE I"] if is_known else []
        for line in (*protect, *log_in):
            self._run(self._say(line))

    async def _connect(self) -> None:
        serving = self.grounds.serving
        stream = await ScriptedStream.connect(serving.host, serving.port, patience=PATIENCE)
        context = client_context()
        context.check_hostname = False
        self.client = ScriptedClient(stream, serving.host, context=context)
        await self.client.expect_reply(220)
        self.said = 0
        self.model = Model(self.grounds.is_tls, self.model.files, self.model.directories)

    def _step(self) -> None:
        self.grounds.steps += 1

    # Commands

    @rule(line=commands)
    @precondition(_logged_in)
    def say(self, line: str) -> None:
        """Say one command, also while a transfer runs."""

        self._step()
        self._run(self._say(line))

    @rule(line=st.sampled_from(_LOGIN))
    @precondition(lambda self: not self.model.is_over and self.model.user is None)
    def log_in(self, line: str) -> None:
        """Say what logs in, or has to wait for that."""

        self._step()
        self._run(self._say(line))

    @rule(line=st.sampled_from(_OPENING))
    @precondition(lambda self: _logged_in(self) and self.model.prepared is None)
    def prepare(self, line: str) -> None:
        """Ask for a data connection."""

        self._step()
        self._run(self._say(line))

    @rule(line=st.sampled_from(_TRANSFERS))
    @precondition(
        lambda self: _logged_in(self) and self.model.prepared is not None and not self.running
    )
    def transfer(self, line: str) -> None:
        """Say a transfer command while there may be a data connection for it."""

        self._step()
        self._run(self._say(line))

    @rule(line=st.sampled_from(_TRANSFERS))
    @precondition(lambda self: _logged_in(self) and not self.running and not self.queue)
    def transfer_whole(self, line: str) -> None:
        """Transfer something from beginning to end, as most clients do."""

        self._step()
        self._run(self._transfer_whole(line))

    async def _transfer_whole(self, line: str) -> None:
        await self._say("EPSV")
        await self._connect_data()
        await self._say(line)
        if self.running is None:
            return
        if self.running.verb in UPLOADS:
            await self._send(LINE * 7)
            await self._finish_upload()
        else:
            self.running.is_ended = True
            await self._go_on()

    @rule(line=commands, follower=followers)
    @precondition(_logged_in)
    def say_both(self, line: str, follower: str) -> None:
        """Say two commands in one piece."""

        self._step()
        self._run(self._say(line, follower))

    @rule(line=st.sampled_from(_SWITCHES))
    @precondition(
        lambda self: self.grounds.is_tls and _long_enough(self) and self.running is None
    )
    def switch(self, line: str) -> None:
        """Begin TLS or end it, while nothing else was said."""

        self._step()
        self._run(self._say(line))

    @rule()
    @precondition(lambda self: not self.model.is_over and self.running is not None)
    def abort(self) -> None:
        """Say ABOR."""

        self._step()
        self._run(self._say("ABOR"))

    async def _say(self, *lines: str) -> None:
        lines = tuple(self._with_port(line) for line in lines)
        self.said += len(lines)
        is_idle = not self.queue
        await self.client.send(*lines)
        for line in lines:
            verb, _, argument = line.partition(" ")
            if verb in {"NOOP", "STAT"} and not argument and self.running and is_idle:
                # Answered at once.
                code = (await self._reply(verb)).code
                self.model.meet(verb, argument, code)
                continue

            is_idle = False
            self.queue.append((verb, argument))
            if line == "ABOR" and self.running is not None:
                self.running.is_aborted = True
        await self._go_on()

    def _with_port(self, line: str) -> str:
        """Complete PORT and EPRT with a port of ours."""

        if line not in {"PORT", "EPRT"}:
            return line

        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        port = listener.getsockname()[1]
        argument = f"127,0,0,1,{port >> 8},{port & 255}"
        if line == "EPRT":
            argument = f"|1|127.0.0.1|{port}|"
        self.announced[argument] = listener
        return f"{line} {argument}"

    def _take_listener(self, argument: str, code: int) -> None:
        """Listen on the port that the server has taken from now on, and no longer on another."""

        listener = self.announced.pop(argument, None)
        if code == 200:
            listener, self.listener = self.listener, listener
        if listener is not None:
            listener.close()

    async def _reply(self, verb: str) -> Reply:
        reply = await self.client.reply()
        self.grounds.replies[verb, reply.code] += 1
        return reply

    # Replies

    async def _go_on(self) -> None:
        """Read every reply that must come now."""

        while not self.model.is_over:
            if self.running is not None:
                if not await self._may_be_over(self.running):
                    return
                self.running = None
            elif self.queue:
                await self._answer(*self.queue.popleft())
            else:
                return

        self.queue.clear()
        await self._leave()

    async def _answer(self, verb: str, argument: str) -> None:
        model, offset, spoke_tls = self.model, self.model.offset, self.model.speaks_tls
        reply = await self._reply(verb)
        is_aborted = ("ABOR", "") in self.queue
        path, before = model.path(argument), model.prepared
        model.meet(verb, argument, reply.code, may_be_aborted=is_aborted)
        if verb in {"PORT", "EPRT"}:
            self._take_listener(argument, reply.code)
        match verb, reply.code:
            case ("EPSV", 229) | ("PASV", 227):
                self._drop_data()
                numbers = [int(number) for number in re.findall(r"\d+", reply.text[4:])]
                self.port = numbers[-1] if verb == "EPSV" else numbers[-2] * 256 + numbers[-1]
            case ("PORT" | "EPRT" | "ABOR" | "REIN", 200 | 226 | 220):
                self._drop_data()
            case ("AUTH", 234):
                self._drop_data()
                assert self.client.context is not None
                await self.client.stream.start_tls(self.client.context)
            case ("SIZE", 213) if model.parameters.is_identity:
                self._same(reply, str(len(model.files[path])))
            case ("PWD", 257):
                self._same(reply, f'"{model.cwd}"')
            case (_, 125 | 150):
                if reply.code == 125 and self.data is None:
                    raise Violation(f"{verb}: 125 without a data connection")
                self.running = model.begin(verb, argument, offset)
                self.running.is_aborted = is_aborted
                await self._began(self.running)
        if before is not None and model.prepared is None:
            self._drop_data()
        if spoke_tls and not model.speaks_tls:
            await self._end_tls()

    def _same(self, reply: Reply, text: str) -> None:
        if reply.text.split()[1] != text:
            raise Violation(f"{reply}: not {text}")

    async def _end_tls(self) -> None:
        """End TLS as the server asks for it, and go on in clear."""

        stream = self.client.stream
        tls, loop = stream.tls, asyncio.get_running_loop()
        assert tls is not None
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            tls.unwrap()
        await stream._flush()
        while True:
            try:
                tls.unwrap()
            except ssl.SSLWantReadError:
                await stream._fill()
            else:
                break
        assert loop is not None
        self.client.stream = ScriptedStream(stream.socket, patience=PATIENCE)

    async def _leave(self) -> None:
        """Check that the server has ended the session, and close everything."""

        rest = await self.client.stream.receive()
        if rest:
            raise Violation(f"after the last reply: {rest!r}")
        self._close()

    def _close(self) -> None:
        self.client.close()
        self._drop_data()
        self._stop_listening()
        self.running = None
        self.queue.clear()
        self.model.is_over = True

    def _stop_listening(self) -> None:
        listeners = [*self.announced.values()]
        if self.listener is not None:
            listeners.append(self.listener)
        for listener in listeners:
            listener.close()
        self.listener = None
        self.announced.clear()

    # Data connections

    @rule()
    @precondition(
        lambda self: not self.model.is_over
        and self.model.prepared == "passive"
        and self.data is None
        and not self.queue
    )
    def connect_data(self) -> None:
        """Connect to the passive port, before the command or after it."""

        self._step()
        self._run(self._connect_data())

    async def _connect_data(self) -> None:
        stream = await self.client.connect(self.port, receive_buffer=SLOW_BUFFER)
        self.data = _Data(stream)
        if self.model.is_private:
            self.client.is_private = True
            await self.client.secure(stream)
        if self.running is not None:
            await self._go_on()

    async def _began(self, transfer: Transfer) -> None:
        """Be the other side of a transfer that has begun."""

        self._encoder = None
        if transfer.verb in UPLOADS:
            self._encoder = encoder_for(transfer.parameters, offset=transfer.offset)
        if self.model.prepared == "active":
            assert self.listener is not None
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(PATIENCE):
                accepted, _ = await loop.sock_accept(self.listener)
            stream = ScriptedStream(accepted, patience=PATIENCE)
            self.data = _Data(stream)
            if self.model.is_private:
                self.client.is_private = True
                # Cut by an ABOR that follows, it may fail.
                with contextlib.suppress(Failure) if transfer.is_aborted else nullcontext():
                    await self.client.secure(stream)
        if self.data is not None:
            is_plain = transfer.parameters.mode.value == "S"
            is_plain = is_plain and transfer.parameters.structure.value == "F"
            # An end before the command is an empty file only if no other end mark is due.
            is_cut = self.data.is_ended and transfer.verb in UPLOADS and not is_plain
            transfer.is_reset = self.data.stream is None or is_cut
            transfer.is_ended = self.data.is_ended and not is_cut

    async def _may_be_over(self, transfer: Transfer) -> bool:
        """Read the end of a transfer, if it must come now; tell whether it did."""

        is_upload = transfer.verb in UPLOADS
        must_end = transfer.is_aborted or transfer.is_reset
        if not must_end and self.data is None:
            return False
        if not must_end and (is_upload or transfer.path == "/big") and not transfer.is_ended:
            return False

        received: bytes | None = None
        if self.data is not None and self.data.stream is not None and not is_upload:
            with contextlib.suppress(OSError, Truncated):
                received = await self.data.stream.receive_all()
                await self.client.leave(self.data.stream)
        reply = await self._reply(transfer.verb)
        name = None
        if transfer.verb == "STOU" and reply.code == 226:
            name = reply.text.rpartition("FILE: ")[2].rpartition("/")[2]
        if not is_upload and received is not None:
            # Also after a 426: what was aborted when all had gone out is whole, and nothing else.
            self.model.check_download(transfer, received)
        if not is_upload and received is None and reply.code == 226:
            raise Violation(f"{transfer}: 226, and the data did not come")
        path = transfer.path
        if name is not None:
            path = f"{path.rpartition('/')[0]}/{name}"
        self.model.end(transfer, reply.code, self.grounds.held(path), name)
        self._drop_data()
        return True

    def _drop_data(self) -> None:
        data, self.data = self.data, None
        if data is not None and data.stream is not None:
            data.stream.close()

    def _sends(self) -> bool:
        """Whether an upload runs, which the client can send something."""

        return (
            self.running is not None
            and self.running.verb in UPLOADS
            and self.data is not None
            and not self.running.is_ended
        )

    @rule(lines=st.sampled_from([1, 10, 1000, 10_000]))
    @precondition(_sends)
    def send(self, lines: int) -> None:
        """Send something of an upload."""

        self._step()
        self._run(self._send(LINE * lines))

    async def _send(self, content: bytes) -> None:
        assert self.running is not None
        assert self._encoder is not None
        assert self.data is not None
        assert self.data.stream is not None
        await self.data.stream.send(b"".join(self._encoder.feed(content)))
        self.running.sent += content

    @rule()
    @precondition(_sends)
    def finish_upload(self) -> None:
        """Send the end of an upload."""

        self._step()
        self._run(self._finish_upload())

    async def _finish_upload(self) -> None:
        assert self.running is not None
        await self._send_end()
        await self._go_on()

    async def _send_end(self) -> None:
        assert self.running is not None
        assert self._encoder is not None
        assert self.data is not None
        assert self.data.stream is not None
        await self.data.stream.send(b"".join(self._encoder.finish()))
        await self.data.stream.end()
        self.running.is_ended = True

    @rule()
    @precondition(
        lambda self: self.data is not None and self.data.stream is not None and not self.queue
    )
    def reset_data(self) -> None:
        """Reset the data connection, whether a transfer runs or not."""

        self._step()
        self._run(self._reset_data())

    async def _reset_data(self) -> None:
        assert self.data is not None
        assert self.data.stream is not None
        self.data.stream.reset()
        self.data.stream = None
        if self.running is not None:
            self.running.is_reset = True
            await self._go_on()

    @rule()
    @precondition(
        lambda self: self.running is None
        and self.data is not None
        and self.data.stream is not None
        and not self.data.is_ended
    )
    def end_data(self) -> None:
        """Send the end before the command: an empty upload, or half a connection."""

        self._step()
        self._run(self._end_data())

    async def _end_data(self) -> None:
        assert self.data is not None
        assert self.data.stream is not None
        await self.data.stream.end()
        self.data.is_ended = True

    @rule()
    @precondition(
        lambda self: self.running is not None
        and self.running.verb in DOWNLOADS
        and self.data is not None
    )
    def read(self) -> None:
        """Read a large download to its end."""

        self._step()
        assert self.running is not None
        self.running.is_ended = True
        self._run(self._go_on())

    # The end of the control connection

    @rule(by_reset=st.booleans(), is_whole=st.booleans())
    @precondition(
        lambda self: _long_enough(self)
        or (not self.model.is_over and not self.queue and self.running is not None)
    )
    def vanish(self, by_reset: bool, is_whole: bool) -> None:
        """Close the control connection; an upload goes on, and has its own end."""

        self._step()
        self._run(self._vanish(by_reset, is_whole))

    async def _vanish(self, by_reset: bool, is_whole: bool) -> None:
        transfer = self.running
        if transfer is not None and transfer.verb in UPLOADS and self.data is None:
            # Otherwise the server waits for it, to its deadline.
            self.running = None
            await self._connect_data()
            self.running = transfer
        self._stop_listening()
        if by_reset:
            self.client.stream.reset()
        else:
            self.client.stream.close()
        if transfer is not None and transfer.verb in UPLOADS:
            assert self.data is not None
            assert self.data.stream is not None
            if is_whole:
                await self._send_end()
            else:
                self.data.stream.reset()
                transfer.is_reset = True
        await self.grounds.serving.all_left()
        if transfer is not None and transfer.verb in UPLOADS:
            self._check_unread(transfer, is_whole=is_whole)
        self._close()

    def _check_unread(self, transfer: Transfer, *, is_whole: bool) -> None:
        """Check the file of an upload whose reply nobody has read."""

        name, code = None, 226 if is_whole else 426
        path = transfer.path
        if transfer.verb == "STOU" and is_whole:
            directory = path.rpartition("/")[0]
            files, _ = self.grounds.contents()
            (path,) = {file for file in files if file.rpartition("/")[0] == directory} - {
                *self.model.files
            }
            name = path.rpartition("/")[2]
        self.model.end(transfer, code, self.grounds.held(path), name)

    def teardown(self) -> None:
        """Leave, and check that nothing is left."""

        if self.has_failed:
            # What is left is no news.
            self._close()
            self.grounds.run(self.grounds.end_sessions())
            self.grounds.run(self.grounds.leaks(self._descriptors, self._tasks))
            return
        if not self.model.is_over and self.queue:
            # An upload that waits would begin, and wait for its data to a deadline.
            self._run(self._say("ABOR"))
        if not self.model.is_over:
            self._run(self._vanish(by_reset=True, is_whole=False))
        left = self.grounds.run(self.grounds.leaks(self._descriptors, self._tasks))
        if left:
            raise Violation("the walk left:\n" + "\n".join(left))
        if self.grounds.contents() != (self.model.files, self.model.directories):
            files, directories = self.grounds.contents()
            raise Violation(f"{files.keys()}, {directories}: not what {self.model} says")
