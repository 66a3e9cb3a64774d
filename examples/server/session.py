"""One client: which command runs, which wait, and what reaches past a transfer.

RFC 959 §5.4. The session's task takes the lines that wait, one after the
other, runs each to its end and sends its replies: so replies come in the order
of the commands. What cannot wait for a transfer is done as the line comes in:

* ABOR ends the transfer that runs; its own reply follows in its turn, so that
  a client sees 426 and then 226 (RFC 959 §4.1.3). A transfer that still waits
  in the queue before an ABOR is not begun.
* NOOP and STAT are answered, if nothing else waits before them.
* The end of the control connection ends the transfer, unless the client has
  said QUIT before, which takes its turn behind the transfer (§4.1.1).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl

import anyio
import anyio.to_thread

from ftpdata import (
    DataTLS,
    FactSelection,
    FTPDataError,
    PassiveListener,
    PeerPolicy,
    RepresentationType,
    SessionReuse,
    TokenBucket,
    TransferParameters,
)
from ftpdata.errors import error_for_oserror

from .accounts import User
from .commands import COMMANDS, Argument, Command, EndSession
from .control import ControlConnection, Reply, printable
from .listings import FACTS
from .shared import Shared
from .storage import join
from .transfer import WHOLE, DataChannel, Operation, Restart

__all__ = ["Session"]

logger = logging.getLogger("ftpdata.examples.server")

NOT_IMPLEMENTED = frozenset({
    *("ACCT", "SMNT", "LPRT", "LPSV", "HOST", "LANG"),
    *("AUTH", "ADAT", "PBSZ", "PROT", "CCC", "MIC", "CONF", "ENC"),
})
"""Commands of the standards that are known here and not implemented: 502, not 500."""

WATCHED = frozenset({"ABOR", "QUIT"})
"""Commands that mean something already when they come, not only when it is their turn."""

KEEPS_RENAME = frozenset({"RNTO", "NOOP", "STAT"})
"""What may stand between RNFR and its RNTO."""

ALL_FACTS = FactSelection(supported=FACTS)

ABORTED = "Aborted."
GONE = "The client is gone."


class Session:
    """One control connection, from the greeting to its end.

    Args:
        sock: The connection; it is closed when `run` is done.
        local: The address of this machine that it came in on.
        peer: The client's address.
        shared: What all sessions have in common.
        reached: The address that the client has connected to, where that is a
            proxy's.

    Attributes:
        user: Who has logged in.
        pending_user: The name that USER gave, while PASS is awaited.
        directory: The virtual path that relative paths start from.
        parameters: TYPE, STRU and MODE.
        options: What TYPE, STRU and MODE leave open; OPTS MODE sets some of it.
        restart: What REST or RANG said, for the next transfer command.
        rename_from: What RNFR said, for an RNTO right behind it.
        hash_name: The algorithm of HASH.
        facts: Which facts MLST and MLSD show.
        data: The data connection, prepared or not.
        login_by: When the session ends if nobody has logged in.
        has_buffer_size: Whether PBSZ was said, as PROT wants it.
        protect_data: Whether PROT P was said.
        listener: Where passive data connections come in, if it is a listener
            of this session's own.
        operation: What runs, if it is something that takes long.
    """

    # As it is at the greeting, and as most of it stays.
    listener: PassiveListener | None = None
    operation: Operation | None = None
    throttle: TokenBucket | None = None
    login_failures = 0
    has_buffer_size = False
    protect_data = False
    _tls: DataTLS | None = None
    _protection: ssl.SSLContext | None = None
    _wants_clear = False
    _was_protected = False
    _waiting_aborts = 0
    _unknown = 0
    _has_quit = False
    _is_gone = False
    _is_shut_down = False
    _aborted = ("", "")

    def __init__(
        self,
        sock: socket.socket,
        *,
        local: str,
        peer: str,
        shared: Shared,
        reached: str | None = None,
    ) -> None:
        settings = shared.settings
        self.shared = shared
        self.settings = settings
        self.storage = shared.storage
        self.local = local
        self.peer = peer
        self.reached = reached or local
        self.is_proxied = reached is not None
        self.policy = PeerPolicy.any() if settings.allow_fxp else PeerPolicy.exact()
        self.data = DataChannel(keeps_open=settings.keep_data_connection)
        self._clock = asyncio.get_running_loop().time
        self.login_by = self._clock() + settings.login_timeout
        self.reset()

        self._sock = sock
        self._control = ControlConnection(
            line_limit=settings.max_line,
            max_waiting=settings.max_waiting,
            send_timeout=settings.reply_timeout,
            watch=self._watch,
            on_end=self._ended,
        )

    def reset(self) -> None:
        """Make everything as it was before the login (USER, AUTH)."""

        self.user: User | None = None
        self.pending_user: str | None = None
        self.directory = "/"
        # RFC 959 §5.1: ASCII Non-print is the default; most clients say TYPE I at once.
        self.parameters = TransferParameters(
            type=RepresentationType.ASCII, encoding=self.settings.code_page
        )
        self.options = self.settings.codec_options
        self.restart = WHOLE
        self.rename_from: str | None = None
        self.hash_name = "SHA-256"
        self.facts = ALL_FACTS

    @property
    def is_protected(self) -> bool:
        """Whether the user's name and password come over TLS, or came."""

        return self._was_protected

    @property
    def speaks_tls(self) -> bool:
        """Whether the control connection is protected now."""

        return self._control.tls is not None

    def protect(self, context: ssl.SSLContext) -> None:
        """Begin TLS behind the reply (AUTH).

        Raises:
            EndSession: The client has said more already, in clear.
        """

        self._refuse_more()
        self._protection = context

    def unprotect(self) -> None:
        """End TLS behind the reply (CCC).

        Raises:
            EndSession: The client has said more already, in TLS.
        """

        self._refuse_more()
        self._wants_clear = True

    def reinitialize(self) -> None:
        """Make everything as it was at the greeting (REIN).

        TLS ends behind the reply, as RFC 4217 §13 wants it, and AUTH may begin it
        anew. What began with TLS (port 990) was never without, and keeps it.

        Raises:
            EndSession: The client has said more already, in TLS.
        """

        is_implicit = self.settings.implicit_tls
        if self.speaks_tls and not is_implicit:
            self.unprotect()

        self.reset()
        self.has_buffer_size = False
        self.protect_data = is_implicit
        self._was_protected = is_implicit
        if not is_implicit:
            self._tls = None

    def _refuse_more(self) -> None:
        # It may be another one who has said it (CVE-2011-1575, CVE-2011-0411).
        if self._control.has_more:
            raise EndSession(Reply(421, "Nothing may be said before the reply to this."))

    @property
    def is_busy(self) -> bool:
        """Whether a transfer runs, or something else that takes long."""

        return self.operation is not None

    def path(self, argument: str) -> str:
        """Return the virtual path that an argument means."""

        return join(self.directory, argument)

    def take_restart(self) -> Restart:
        """Return what REST or RANG said; it is good for this one command."""

        restart, self.restart = self.restart, WHOLE
        return restart

    async def reply(self, reply: Reply) -> None:
        """Send a reply."""

        self._answer(reply)
        await self._control.drain()

    def _answer(self, reply: Reply) -> None:
        """Send a reply, without a wait in which the command could still be aborted."""

        self._log_reply(reply)
        self._control.write(reply.encode())

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

        if self._control.tls is not None and self.data_tls is not None:
            # What the client needs to resume its TLS session once more.
            self.data_tls.renew_ticket(self._control.tls)

    def _log_reply(self, reply: Reply) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s < %d %s", self.peer, reply.code, printable(reply.text))

    def log(self, message: str, *arguments: object) -> None:
        """Log one line about this client; what came from it cannot make a second one."""

        if logger.isEnabledFor(logging.INFO):
            logger.info("%s: %s", self.peer, printable(message % arguments))

    async def send_all(self, data: bytes) -> None:
        """Send lines of a reply that is too long to be held in memory."""

        await self._control.send_all(data)

    # The life of a session

    async def run(self) -> None:
        """Serve the client until it leaves, is thrown out, or the session is cancelled."""

        self.log("connected")
        try:
            if self.settings.implicit_tls:
                assert self.settings.certificate is not None
                make_context = self.settings.certificate.session_context
                self._protection = await anyio.to_thread.run_sync(make_context)
                self._control.expect_tls(self._protection)
                self.protect_data = True

            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(lambda: self._control, self._sock)
            if not self._is_to_switch or await self._switch():
                await self._serve()
        finally:
            await self.data.aclose()
            if self.listener is not None:
                self.listener.close()
            await self._control.aclose()
            self.log("left")

    def shut_down(self) -> None:
        """End the session with 421: at once if it is idle, else behind what runs."""

        self._is_shut_down = True
        self._control.wake()

    def abort(self, reason: str = "Aborted by the server.") -> None:
        """Abort what runs, if anything does; the client is told the reason."""

        if self.operation is not None:
            self.operation.abort(reason)

    def _watch(self, line: str | None) -> bool:
        """Look at a line that has just come; tell whether that was all it wanted."""

        if self.operation is None and (line is None or line[:4].upper() not in WATCHED):
            # Nearly always.
            return False

        verb, argument = _split(line)
        if verb == "ABOR":
            self._waiting_aborts += 1
            self.abort(ABORTED)
        elif verb == "QUIT":
            self._has_quit = True
        elif self.is_busy and not argument and not self._control.has_line:
            command = COMMANDS.get(verb)
            if command is not None and command.at_once is not None and not self._control.is_full:
                # Nothing waits before it, and there is room for its few bytes.
                self._control.write(command.at_once(self).encode())
                return True

        return False

    def _ended(self) -> None:
        self._is_gone = self._control.is_lost or not self._has_quit
        if self._is_gone:
            self.abort(GONE)

    async def _serve(self) -> None:
        try:
            await self.reply(Reply(220, "ftpdata example server ready."))
            is_over = False
            while not is_over:
                # One for many commands: to make one for each takes as long as to look it up.
                with anyio.CancelScope() as self._scope:
                    is_over = await self._run_lines()
                if self._scope.cancelled_caught:
                    # Not 426, which follows a 125 or 150 only (RFC 959 §5.4): none was sent.
                    self.log("%s: %s", *self._aborted)
                    self._answer(Reply(450, self._aborted[1]))
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
            if self._is_to_switch and not await self._switch():
                return True

        return True

    @property
    def _is_to_switch(self) -> bool:
        """Whether the last command wants TLS to begin or to end."""

        return self._protection is not None or self._wants_clear

    async def _switch(self) -> bool:
        """Begin or end TLS; tell whether that went well."""

        context, self._protection = self._protection, None
        self._wants_clear = False
        control = self._control
        if context is not None and control.tls is None:
            control.expect_tls(context)

        try:
            async with asyncio.timeout(self.settings.handshake_timeout):
                await (control.unprotect() if context is None else control.handshake())
        except OSError as error:
            # ssl.SSLError and TimeoutError are some.
            self.log("TLS failed: %s", str(error) or type(error).__name__)
            return False

        if context is None:
            return True

        # Whoever logged in did so in clear, and may have been somebody else (RFC 2228 §3).
        self.reset()
        self._was_protected = True
        self._tls = DataTLS.for_server(
            context,
            reuse=SessionReuse.REQUIRED
            if self.settings.require_session_reuse
            else SessionReuse.WANTED,
        )
        return True

    @property
    def data_tls(self) -> DataTLS | None:
        """How data connections are protected: as PROT said."""

        return self._tls if self.protect_data else None

    async def _wait_for_line(self) -> bool:
        """Wait for the next command; False where none will come."""

        control = self._control
        while not self._is_shut_down:
            patience = self.settings.idle_timeout
            if self.user is None:
                # Not only where nothing is said: a client that says NOOP all the time is none.
                patience = min(patience, self.login_by - self._clock())
                if patience <= 0:
                    raise EndSession(Reply(421, "Nobody has logged in."))
            if control.has_line:
                return True
            if control.has_ended:
                return False

            try:
                await control.wait(patience)
            except TimeoutError:
                raise EndSession(Reply(421, "Nothing said for too long.")) from None

        raise EndSession(Reply(421, "The server shuts down."))

    # One command

    async def _run_line(self, line: str | None) -> None:
        """Run one command, and send its one final reply."""

        if line is None:
            self._answer(Reply(500, "Line too long."))
            return

        verb, argument = _split(line)
        if logger.isEnabledFor(logging.DEBUG):
            shown = "***" if verb == "PASS" else printable(argument)
            logger.debug("%s > %s %s", self.peer, printable(verb), shown)
        if verb == "ABOR":
            self._waiting_aborts -= 1
        if verb not in KEEPS_RENAME:
            self.rename_from = None

        try:
            command = self._find(verb, argument)
            if command.is_abortable:
                await self._run_operation(command, verb, argument)
                return

            reply = await command.handler(self, argument)
        except FTPDataError as error:
            reply = Reply(error.reply_code, _sentence(error.message))
        except OSError as error:
            mapped = error_for_oserror(error)
            reply = Reply(mapped.reply_code, _sentence(mapped.message))
        except EndSession:
            raise
        except Exception:
            logger.exception("%s: %s failed", self.peer, printable(verb))
            reply = Reply(451, "Internal error.")

        self._answer(reply)

    def _find(self, verb: str, argument: str) -> Command:
        """Look the command up; refuse what may not run here and now."""

        command = COMMANDS.get(verb)
        if command is None or (command.is_protection and self.settings.certificate is None):
            if verb in NOT_IMPLEMENTED:
                raise _Refused(502, "Not implemented.")
            self._unknown += 1
            if self._unknown >= self.settings.max_unknown_commands:
                raise EndSession(Reply(421, "Too many unknown commands."))
            raise _Refused(500, "Unknown command.")

        self._unknown = 0
        if command.needs_login and self.user is None:
            raise _Refused(530, "Log in with USER and PASS.")
        if command.argument is Argument.REQUIRED and not argument:
            raise _Refused(501, f"Syntax: {command.syntax}")
        if command.argument is Argument.NONE and argument:
            raise _Refused(501, f"Syntax: {command.syntax}")
        if command.read_only_code is not None and not self.settings.writable:
            raise _Refused(command.read_only_code, "Nothing can be changed here.")

        return command

    async def _run_operation(self, command: Command, verb: str, argument: str) -> None:
        """Run what takes long, and send its final reply, unless that is an error."""

        if self._waiting_aborts or self._is_gone:
            # Not 426, see above.
            self.take_restart()
            self._answer(Reply(450, GONE if self._is_gone else ABORTED))
            return

        operation = Operation(f"{verb} {argument}".rstrip(), self._clock(), self._scope)
        self.operation = operation
        try:
            # Who waits for it waits no longer than for the reply.
            self._answer(await command.handler(self, argument))
        except FTPDataError as error:
            self.log("%s: %s", operation.name, error.message)
            raise
        finally:
            self.operation = None
            self._aborted = operation.name, operation.reason
            operation.release()
            if operation.connection is not None:
                await self.data.settle()


class _Refused(FTPDataError):
    """A command that is not even begun."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self._code = code

    @property
    def reply_code(self) -> int:
        return self._code


def _split(line: str | None) -> tuple[str, str]:
    """Split a line into the verb, in upper case, and the argument, as it is."""

    verb, _, argument = (line or "").partition(" ")
    return verb.upper(), argument


def _sentence(message: str) -> str:
    """Make a sentence of what an error says; one that begins with notation stays as it is."""

    begun = message[:1].upper() + message[1:] if message[:2].isalpha() else message
    return begun if begun.endswith(".") else f"{begun}."
