"""One client: which command runs, which commands wait, and what acts on a transfer at once.

RFC 959 §5.4. The session's task takes the lines that wait, one after the
other, runs each to its end and sends its replies, so replies come in the order
of the commands. What cannot wait for a transfer happens as the line comes in:

* ABOR ends the transfer that runs. Its own reply follows in its turn, so that
  a client sees 426 and then 226 (RFC 959 §4.1.3). A transfer that still waits
  in the queue before an ABOR does not begin.
* NOOP and STAT are answered, if nothing else waits before them.
* The end of the control connection, by FIN or by a reset, ends a download, unless
  the client has said QUIT before, which waits for the end of the transfer (§4.1.1).

An upload goes on, to its own end, and commands that have come whole are still
carried out. Cameras and scripts send their file and close both connections at once,
and often with a reset, since they have not read the 150. RFC 959 §4.1.1 wants an
abort there, which would lose about one in twenty of these files; other servers
deviate in the same way. `Settings.cut_with_control` keeps to the letter.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import ssl

import anyio
import anyio.to_thread
import attrs

from ftpdata import End, FTPDataError, RepresentationType, TokenBucket
from ftpdata.limits import address_key
from ftpdata.observers import Subject

from .accounts import Account, Accounts
from .choices import Choices
from .commands import COMMANDS, Command, EndSession, find_command
from .control import ControlConnection
from .failures import Refused, reply_to
from .hosts import VirtualHost, host_name
from .login import Login
from .paths import has_reserved_name, join
from .protection import Protection
from .quota import Quota
from .reply import Reply, printable
from .settings import Uploads
from .shared import Shared
from .store import find
from .transfer import DataChannel, Operation

__all__ = ["Addresses", "Session"]

logger = logging.getLogger("ftpdata.examples.server")
trace = logging.getLogger("ftpdata.examples.server.trace")
"""What goes over control connections: verbs, codes, sizes and times, never what is said."""

WATCHED = frozenset({"ABOR", "QUIT"})
"""Commands that have an effect as they come, not only when it is their turn."""

KEEPS_RENAME = frozenset({"RNTO", "NOOP", "STAT"})
"""What may stand between RNFR and its RNTO."""

_numbers = itertools.count(1)

DEFAULT_HOST = VirtualHost()
"""What a client gets that names none."""

ABORTED = "Aborted."
GONE = "The client is gone."


@attrs.frozen
class Addresses:
    """Both ends of a control connection.

    Attributes:
        local: The address of this machine that it came in on.
        peer: The client's address.
        proxy: The address of a proxy that the client has connected to; None if
            it has connected to this machine.
    """

    local: str
    peer: str
    proxy: str | None = None

    @property
    def reached(self) -> str:
        """The address that the client has connected to."""

        return self.proxy or self.local


class Session:
    """One control connection, from the greeting to its end.

    Args:
        sock: The connection; it is closed when `run` is done.
        addresses: Both of its ends.
        shared: What all sessions have in common.

    Attributes:
        name: What it is called in the log: the client's address, and a number.
        store: What the client sees: from a login on, the user's home.
        login: Who the client is.
        protection: TLS.
        choices: What the client has chosen for the transfers that follow.
        data: The data connection, prepared or not.
        directory: The virtual path that relative paths start from.
        rename_from: What RNFR said, for an RNTO that follows at once.
        told_sizes: The sizes of parts that were replied to SIZE: APPE goes on there.
        unknown_commands: How many unknown commands came one after the other.
        operation: What runs, if it is something that takes long.
        throttle: Bounds the rate of this session; None for no bound.
        quota: Bounds what may be in the user's home; None for no bound.
    """

    def __init__(self, sock: socket.socket, *, addresses: Addresses, shared: Shared) -> None:
        settings = shared.settings
        self._clock = asyncio.get_running_loop().time
        self.name = f"{addresses.peer}#{next(_numbers)}"
        self._began_at = self._clock()
        self._logs_all = _logs_all()
        self.shared = shared
        self.settings = settings
        self.store = shared.store
        self.addresses = addresses
        self.peer = addresses.peer
        self.login = Login(until=self._clock() + settings.login_timeout)
        self.protection = Protection(settings)
        self.choices = Choices.defaults(settings)
        self.data = DataChannel(keeps_open=settings.keep_data_connection)
        self.directory = "/"
        self.rename_from: str | None = None
        self.told_sizes: dict[str, int] = {}
        self.unknown_commands = 0
        self.operation: Operation | None = None
        self._throttle: TokenBucket | None = None
        if settings.rate is not None:
            self._throttle = TokenBucket(settings.rate, now=anyio.current_time())
        self.throttle = self._throttle
        self.quota: Quota | None = None
        self._leaving = contextlib.ExitStack()
        self._home = "/"
        self._host = DEFAULT_HOST
        self._named: VirtualHost | None = None
        self._context: ssl.SSLContext | None = None

        self._sock = sock
        self._queue = Queue()
        self._control = ControlConnection(
            line_limit=settings.max_line,
            max_waiting=settings.max_waiting,
            send_timeout=settings.reply_timeout,
            watch=self._watch,
            on_end=self._ended,
        )

    async def enter(self, user: Account) -> None:
        """Let a user in, who sees his home.

        Raises:
            OSError: There is no such directory.
        """

        home = join(self._host.directory, user.home.lstrip("/"))
        if home != "/":
            self.store = await self.shared.store.at(home)
        self._home = home
        self.login.succeed(user)
        if user.rate is not None:
            bucket = self.shared.rates.enter(self.user_key, user.rate, now=self._clock())
            self._leaving.callback(self.shared.rates.leave, self.user_key)
            self.throttle = TokenBucket(self.settings.rate, parent=bucket, now=self._clock())
        if user.quota is not None:
            usage = self.shared.homes.enter(home)
            self._leaving.callback(self.shared.homes.leave, usage)
            self.quota = Quota(user.quota, usage, self.store)

    def forget(self) -> None:
        """Make everything as it was before the login (USER, AUTH)."""

        self._leave()
        self.login.forget()
        self.choices = Choices.defaults(self.settings)
        self.directory = "/"
        self.rename_from = None
        self.told_sizes.clear()

    def forget_host(self) -> None:
        """Make the host what it was at the greeting (REIN)."""

        if not self.settings.implicit_tls:
            self._named = self._context = None
        self._host = self._named or DEFAULT_HOST

    def _leave(self) -> None:
        self._leaving.close()
        home, self.store = self.store, self.shared.store
        self._home = "/"
        self.throttle, self.quota = self._throttle, None
        if home is not self.store:
            home.close()

    def freeing(
        self, path: str, *, unless: str | None = None
    ) -> contextlib.AbstractAsyncContextManager[None]:
        """Count a file that is removed or replaced within this context; see `Quota.freeing`."""

        if self.quota is None:
            return contextlib.nullcontext()
        return self.quota.freeing(path, unless=unless)

    @property
    def user_key(self) -> tuple[str, str]:
        """Stands for the user. Anybody can be anonymous: each address is a user of its own."""

        user = self.login.user
        assert user is not None
        return self._whole_name(user), address_key(self.peer) if user.is_anonymous else ""

    def _whole_name(self, user: Account) -> str:
        """Return a name that no user of another host has."""

        if self._host.accounts is None:
            return user.name
        names = (name for name, host in self.settings.hosts.items() if host is self._host)
        # NUL is in no name of a host, and in none that the server's own accounts have.
        return f"{user.name}\0{next(names)}"

    @property
    def part_owner(self) -> str | None:
        """Whose part an upload leaves if it is cut; None for nobody's.

        An anonymous user may be anybody, and resumes nothing.
        """

        user = self.login.user
        if user is None or user.is_anonymous or self.settings.uploads is not Uploads.RESUMABLE:
            return None
        return self._whole_name(user)

    def subject(self, operation: Operation, path: str) -> Subject:
        """Say for observers what a transfer is about.

        Args:
            operation: The transfer.
            path: The virtual path of its file or directory, as the user sees it. Observers get
                the one in the store.
        """

        user = self.login.user
        assert user is not None
        return Subject(
            command=operation.verb,
            name=join(self._home, path.lstrip("/")),
            user=user.name,
            is_anonymous=user.is_anonymous,
            is_text=self.choices.parameters.type is RepresentationType.ASCII,
            session=self.name,
        )

    @property
    def speaks_tls(self) -> bool:
        """Whether the control connection is protected now."""

        return self._control.tls is not None

    def refuse_more(self) -> None:
        """Make sure that the client has said nothing after the command that runs.

        Before TLS begins or ends: another one may have said it (CVE-2011-1575,
        CVE-2011-0411).

        Raises:
            EndSession: It has.
        """

        if self._control.has_more:
            raise EndSession(Reply(421, "Nothing may be said before the reply to this."))

    @property
    def is_busy(self) -> bool:
        """Whether a transfer runs, or something else that takes long."""

        return self.operation is not None

    def path(self, argument: str) -> str:
        """Return the virtual path of something new that an argument names.

        Raises:
            Refused: A name is reserved. Reply 553.
        """

        return _free(join(self.directory, argument))

    async def find(self, argument: str) -> str:
        """Return the virtual path of what an argument names; see `store.find`.

        Raises:
            Refused: A name is reserved. Reply 553.
        """

        return _free(await find(self.store, self.directory, argument))

    # Replies

    async def reply(self, reply: Reply) -> None:
        """Send a reply."""

        self._answer(reply)
        await self._control.drain()

    def _answer(self, reply: Reply) -> None:
        """Send a reply, without a wait in which the command could still be aborted."""

        self._log_reply(reply)
        self._control.write(reply.encode())

    def answer_early(self, operation: Operation, reply: Reply) -> None:
        """Send the final reply of a transfer that is not over."""

        operation.is_answered = True
        self._answer(reply)

    async def announce(self, reply: Reply, *, hold: bool) -> None:
        """Send the preliminary reply of a transfer.

        Args:
            reply: The reply.
            hold: Whether it can wait for what follows in this turn of the event loop.
        """

        if hold:
            self._log_reply(reply)
            self._control.hold(reply)
        else:
            await self.reply(reply)

        data_tls = self.protection.data_tls
        if self._control.tls is not None and data_tls is not None and not self._is_gone:
            # What the client needs to resume its TLS session once more.
            data_tls.renew_ticket(self._control.tls)

    def _log_failure(self, name: str, error: FTPDataError) -> None:
        """Log why something failed, with the traceback of what this side has raised, if any."""

        cause = error.__cause__
        # What has a result was a transfer, whose traceback `ftpdata.transfers` has logged.
        is_logged = error.result is not None
        if is_logged or cause is None or isinstance(cause, (OSError, FTPDataError)):
            self.log("%s: %s", name, error.message)
        else:
            message = printable(f"{name}: {error.message}")
            logger.error("%s: %s", self.peer, message, exc_info=error)

    async def send_all(self, data: bytes) -> None:
        """Send lines of a reply that is too long to be held in memory."""

        await self._control.send_all(data)

    def _log_command(self, verb: str, argument: str, length: int) -> None:
        if trace.isEnabledFor(logging.DEBUG):
            trace.debug("%s > %s, %d bytes", self.name, printable(verb[:8]), length)
        if logger.isEnabledFor(logging.DEBUG):
            shown = "***" if verb == "PASS" else printable(argument)
            logger.debug("%s > %s %s", self.peer, printable(verb), shown)

    def _log_reply(self, reply: Reply) -> None:
        if not self._logs_all:
            return

        if trace.isEnabledFor(logging.DEBUG):
            seconds = self._clock() - self._began_at
            trace.debug(
                "%s < %d, %d bytes, after %.3f s",
                self.name,
                reply.code,
                len(reply.encode()),
                seconds,
            )
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s < %d %s", self.peer, reply.code, printable(reply.text))

    def log(self, message: str, *arguments: object) -> None:
        """Log one line about this client; what came from it cannot make a second one."""

        if logger.isEnabledFor(logging.INFO):
            logger.info("%s: %s", self.peer, printable(message % arguments))

    def warn(self, message: str, *arguments: object) -> None:
        """Log one line that the host should read."""

        logger.warning("%s: %s", self.peer, printable(message % arguments))

    # The life of a session

    async def run(self) -> None:
        """Serve the client until it leaves, is thrown out, or the session is cancelled."""

        self.log("connected")
        try:
            if self.settings.implicit_tls:
                await self._expect_tls()

            try:
                await self._control.begin(self._sock)
            except OSError as error:
                self.log("the connection cannot be used: %s", error.strerror)
                return
            if not self.protection.is_to_switch or await self._switch():
                await self._serve()
        finally:
            # Each of them, also if another cancellation meets the one before.
            try:
                await self.data.close_all()
            finally:
                self._leave()
                await self._control.aclose()
                self.log("left")

    async def _expect_tls(self) -> None:
        """Let TLS begin with the connection."""

        context = await self.make_context()
        self.protection.begin_after_reply(context)
        self._control.expect_tls(context)

    async def make_context(self) -> ssl.SSLContext:
        """Make what TLS is to begin with: for this session alone.

        A resumed TLS session then tells whose it is.

        Raises:
            OSError: The certificate cannot be read.
        """

        files = self._host.certificate or self.settings.certificate
        assert files is not None
        certificate = self.shared.certificates.of(files)
        context = await anyio.to_thread.run_sync(certificate.session_context)
        if self.settings.hosts:
            context.sni_callback = self._meet
        return context

    def _meet(self, tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        """Choose the host that a client names in its handshake, unless it did by HOST."""

        named = self.settings.hosts.get(host_name(name or "") or "")
        if named is None or named is self._host:
            # A name that nobody knows says no more than none.
            self._named = named
            return None
        if self._host is not DEFAULT_HOST:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

        self._host = self._named = named
        if named.certificate is not None:
            donor = self.shared.certificates.of(named.certificate).donor
            if donor is None:
                return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
            tls.context = donor
        return None

    async def choose_host(self, name: str) -> Reply:
        """Be the host of this name from now on (RFC 7151 §3)."""

        host = self.settings.hosts.get(name)
        if host is None or (self._named is not None and host is not self._named):
            return Reply(504, "There is no such host here.")

        self._host = host
        if self._context is not None:
            await self._take_certificate(self._context)
        return Reply(220, f"This is {name}.")

    async def _take_certificate(self, context: ssl.SSLContext) -> None:
        """Let data connections have the certificate of the host."""

        files = self._host.certificate or self.settings.certificate
        if files is not None:
            load = self.shared.certificates.of(files).load_into
            await anyio.to_thread.run_sync(load, context)

    @property
    def accounts(self) -> Accounts:
        """Who may log in, at the host that was chosen."""

        return self.settings.accounts if self._host.accounts is None else self._host.accounts

    def shut_down(self) -> None:
        """End the session with 421: after what runs, and `Settings.shutdown_idle`."""

        self._queue.is_shut_down = True
        self._control.wake()

    def abort(self, reason: str = "Aborted by the server.") -> None:
        """Abort what runs, if anything does; the reply gives the reason to the client."""

        if self.operation is not None:
            self.operation.abort(reason)

    def _watch(self, line: str | None) -> bool:
        """Look at a line that has just come; return whether nothing is left to do about it."""

        if self.operation is None and (line is None or line[:4].upper() not in WATCHED):
            # Nearly always.
            return False

        verb, argument = _split(line)
        if argument:
            # None of these takes one: it is answered with 501 in its turn, and does nothing.
            return False
        if verb == "ABOR":
            self._queue.aborts += 1
            self.abort(ABORTED)
        elif verb == "QUIT":
            self._queue.has_quit = True
        elif self.is_busy and not self._control.has_line:
            command = COMMANDS.get(verb)
            if command is not None and command.at_once is not None and not self._control.is_full:
                # Nothing waits before it, and there is room for its few bytes.
                self._control.write(command.at_once(self).encode())
                return True

        return False

    def _ended(self) -> None:
        operation = self.operation
        if operation is None or not self._is_gone:
            return

        # No upload goes on of a client that was thrown out: it might go on for ever.
        may_go_on = operation.is_upload and not self._control.is_given_up
        if not (may_go_on and (self._lets_uploads_end or operation.has_all)):
            self.abort(GONE)

    @property
    def _lets_uploads_end(self) -> bool:
        """Whether uploads go on after the end of the control connection.

        If not, only those go on whose bytes are all in this system when that end is
        noticed. So it makes no difference which of the two ends is noticed first.
        """

        return not self.settings.cut_with_control

    @property
    def _is_gone(self) -> bool:
        """Whether the client has left without a QUIT, or can be sent nothing."""

        control = self._control
        return control.is_lost or (control.has_ended and not self._queue.has_quit)

    async def _serve(self) -> None:
        try:
            await self.reply(Reply(220, "ftpdata example server ready."))
            is_over = False
            while not is_over:
                # One scope for many commands: making one takes as long as looking up a command.
                with anyio.CancelScope() as self._scope:
                    is_over = await self._run_lines()
                if self._scope.cancelled_caught:
                    # Not 426, which follows a 125 or 150 only (RFC 959 §5.4): none was sent.
                    self.log("%s: %s", *self._queue.aborted)
                    self._answer(Reply(450, self._queue.aborted[1]))
                await self._control.drain()
        except EndSession as end:
            await self.reply(end.reply)

    async def _run_lines(self) -> bool:
        """Run commands until the session is over, or one was aborted; return whether it is over."""

        while await self._wait_for_line():
            await self._run_line(self._control.take_line())
            if self._scope.cancel_called:
                # The command was as good as over, and has its reply: nothing may wait here now.
                return False
            await self._control.drain()
            if self.protection.is_to_switch and not await self._switch():
                return True

        return True

    async def _switch(self) -> bool:
        """Begin or end TLS; return whether that went well."""

        context, control = self.protection.take_switch(), self._control
        if context is not None and control.tls is None:
            control.expect_tls(context)

        try:
            async with asyncio.timeout(self.settings.handshake_timeout):
                await (control.unprotect() if context is None else control.handshake())
        except OSError as error:
            # ssl.SSLError and TimeoutError are among them.
            self.log("TLS failed: %s", str(error) or type(error).__name__)
            return False

        if context is not None:
            context.sni_callback = None
            self._context = context
            if self._named is not None:
                await self._take_certificate(context)
            # Whoever logged in did so in clear, and may have been somebody else (RFC 2228 §3).
            self.forget()
            self.protection.began(context)
        return True

    async def _wait_for_line(self) -> bool:
        """Wait for the next command; False if none will come."""

        control, login = self._control, self.login
        while True:
            patience = self.settings.idle_timeout
            if login.user is None:
                # Even if the client speaks: one that says NOOP all the time has not logged in.
                patience = min(patience, login.until - self._clock())
                if patience <= 0:
                    raise EndSession(Reply(421, "Nobody has logged in."))
            if self._queue.is_shut_down:
                # Who is in the middle of a login, or between two files, may go on.
                quiet = self._clock() - self._began_at
                patience = min(patience, self.settings.shutdown_idle - quiet)
                if quiet >= self.settings.shutdown_idle:
                    raise EndSession(Reply(421, "The server shuts down."))
            if control.has_line:
                return True
            if control.has_ended:
                return False

            try:
                await control.wait(patience)
            except TimeoutError:
                if not self._queue.is_shut_down:
                    raise EndSession(Reply(421, "Nothing said for too long.")) from None

    # One command

    async def _run_line(self, line: str | None) -> None:
        """Run one command, and send its one final reply."""

        if line is None:
            self._answer(Reply(500, "Line too long."))
            return

        verb, argument = _split(line)
        self._began_at = self._clock()
        # Asked once for a command and its replies.
        self._logs_all = _logs_all()
        if self._logs_all:
            self._log_command(verb, argument, len(line))
        if verb == "ABOR" and not argument:
            self._queue.aborts -= 1
        if verb not in KEEPS_RENAME:
            self.rename_from = None

        try:
            command = find_command(self, verb, argument)
            if command.is_abortable:
                await self._run_operation(command, verb, argument)
                return

            reply = await command.handler(self, argument)
        except EndSession:
            raise
        except (FTPDataError, OSError) as error:
            reply = reply_to(error)
        except Exception:
            logger.exception("%s: %s failed", self.peer, printable(verb))
            reply = Reply(451, "Internal error.")

        self._answer(reply)

    async def _run_operation(self, command: Command, verb: str, argument: str) -> None:
        """Run what takes long, and send its final reply, unless that is an error."""

        is_lost = self._is_gone and not (
            command.is_upload and (self._lets_uploads_end or self.data.has_all)
        )
        if self._queue.aborts or is_lost:
            # Not 426, see above.
            self.choices.take_restart()
            self._answer(Reply(450, GONE if is_lost else ABORTED))
            return

        operation = Operation(
            verb, argument, self._began_at, self._scope, is_upload=command.is_upload
        )
        self.operation = operation
        try:
            reply = await command.handler(self, argument)
            if not operation.is_answered:
                # A client that waits for the end waits no longer than for the reply.
                self._answer(reply)
        except FTPDataError as error:
            self._log_failure(operation.name, error)
            if operation.is_answered:
                return
            if operation.reason and error.end is End.ABORTED:
                # RFC 959 §4.1.3, whether there was a data connection or not.
                raise Refused(426, "Aborted by this side.") from error
            raise
        except Exception:
            if not operation.is_answered:
                raise
            logger.exception("%s: %s failed after its reply", self.peer, operation.name)
        finally:
            self.operation = None
            self._queue.aborted = operation.name, operation.reason
            operation.release()
            if operation.connection is not None:
                await self.data.settle()


@attrs.define
class Queue:
    """What is known about the commands of a session, beyond the lines that wait.

    Attributes:
        aborts: How many ABORs wait for their turn.
        aborted: The name of the operation that ran last, and why it was aborted.
        has_quit: Whether a QUIT has come.
        is_shut_down: Whether the server wants the session to end.
    """

    aborts: int = 0
    aborted: tuple[str, str] = ("", "")
    has_quit: bool = False
    is_shut_down: bool = False


def _logs_all() -> bool:
    """Whether a log wants every command and every reply."""

    return logger.isEnabledFor(logging.DEBUG) or trace.isEnabledFor(logging.DEBUG)


def _free(path: str) -> str:
    if has_reserved_name(path):
        raise Refused(553, "That name is reserved.")

    return path


def _split(line: str | None) -> tuple[str, str]:
    """Split a line into the verb, in upper case, and the argument, as it is."""

    verb, _, argument = (line or "").partition(" ")
    return verb.upper(), argument
