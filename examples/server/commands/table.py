"""The table of commands: what each one is, and who may use it.

A handler takes the session and the argument, and returns the final reply or
raises: an `FTPDataError` or `OSError` becomes the reply of its kind (`failures`),
so exactly one final reply is sent. Handlers send preliminary replies themselves.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import attrs

from ..accounts import Rights
from ..failures import Refused
from ..reply import Reply

if TYPE_CHECKING:
    from ..session import Session

__all__ = [
    "COMMANDS",
    "Argument",
    "Command",
    "EndSession",
    "Handler",
    "check_right",
    "check_store",
    "command",
    "find_command",
    "is_there",
]

Handler = Callable[["Session", str], Awaitable[Reply]]

NOT_IMPLEMENTED = frozenset({
    *("ACCT", "SMNT", "LPRT", "LPSV", "HOST", "LANG"),
    *("AUTH", "ADAT", "PBSZ", "PROT", "CCC", "MIC", "CONF", "ENC"),
})
"""Commands of the standards that are known here and not implemented: 502, not 500."""


TAKES_RESTART = frozenset({"RETR", "STOR", "APPE", "STOU", "LIST", "NLST", "MLSD", "HASH"})
"""Commands that REST and RANG are for, or that make them forgotten."""


class EndSession(Exception):
    """The session ends after this reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


class Argument(enum.Enum):
    """Whether a command takes an argument."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@attrs.frozen(kw_only=True)
class Command:
    """One command.

    Attributes:
        handler: What it does.
        syntax: How it is written, for HELP.
        argument: Whether it takes an argument.
        needs_login: Whether the user must have logged in.
        rights: What the user may do, of which one is enough; none if everybody may.
        is_abortable: Whether it may take long: ABOR ends it, and other
            commands wait for its end.
        is_upload: Whether it is an upload, which goes on after the end of the
            control connection.
        is_protection: Whether it is about TLS: a server without a certificate
            has no such command.
        is_hosting: Whether it is about virtual hosts: a server without them has no
            such command.
        read_only_code: Code of the reply on a server that is not writable,
            None for a command that changes nothing.
        at_once: Answers the command without an argument while a transfer
            runs; None for a command that waits for the transfer's end.
    """

    handler: Handler
    syntax: str
    argument: Argument
    needs_login: bool = True
    rights: Rights = Rights.NONE
    is_abortable: bool = False
    is_upload: bool = False
    is_protection: bool = False
    is_hosting: bool = False
    read_only_code: int | None = None
    at_once: Callable[[Session], Reply] | None = None


COMMANDS: dict[str, Command] = {}


def command(
    syntax: str,
    *aliases: str,
    needs_login: bool = True,
    rights: Rights = Rights.NONE,
    is_abortable: bool = False,
    is_upload: bool = False,
    is_protection: bool = False,
    is_hosting: bool = False,
    read_only_code: int | None = None,
    at_once: Callable[[Session], Reply] | None = None,
) -> Callable[[Handler], Handler]:
    """Put a handler into the table.

    Args:
        syntax: The command and its argument, if it takes one; in brackets if
            that is optional: ``LIST [path]``.
        aliases: Other names of the command.
        needs_login: See `Command`.
        rights: See `Command`.
        is_abortable: See `Command`.
        is_upload: See `Command`.
        is_protection: See `Command`.
        is_hosting: See `Command`.
        read_only_code: See `Command`.
        at_once: See `Command`.
    """

    name, _, argument = syntax.partition(" ")
    kind = Argument.NONE
    if argument:
        kind = Argument.OPTIONAL if argument.startswith("[") else Argument.REQUIRED

    def add(handler: Handler) -> Handler:
        for verb in (name, *aliases):
            COMMANDS[verb] = Command(
                handler=handler,
                syntax=f"{verb} {argument}".rstrip(),
                argument=kind,
                needs_login=needs_login,
                rights=rights,
                is_abortable=is_abortable,
                is_upload=is_upload,
                is_protection=is_protection,
                is_hosting=is_hosting,
                read_only_code=read_only_code,
                at_once=at_once,
            )
        return handler

    return add


def find_command(session: Session, verb: str, argument: str) -> Command:
    """Look a command up.

    Raises:
        Refused: It may not run here and now.
        EndSession: The client has said too much that nobody knows.
    """

    found = COMMANDS.get(verb)
    if found is None or not is_there(session, verb):
        raise _unknown(session, verb)

    session.unknown_commands = 0
    if found.needs_login and session.login.user is None:
        raise Refused(530, "Log in with USER and PASS.")
    try:
        _check(session, found, verb, argument)
    except Refused:
        if verb in TAKES_RESTART:
            # It is good for one command, also for one that is refused.
            session.choices.take_restart()
        raise

    return found


def _check(session: Session, found: Command, verb: str, argument: str) -> None:
    if found.argument is (Argument.NONE if argument else Argument.REQUIRED):
        raise Refused(501, f"Syntax: {found.syntax}")
    if found.read_only_code is not None and not session.settings.writable:
        raise Refused(found.read_only_code, "Nothing can be changed here.")
    check_right(session, found.rights)
    check_store(session, verb)


def check_right(session: Session, rights: Rights) -> None:
    """Refuse what the user may not do; every command is asked here.

    Args:
        session: The session.
        rights: One of these is needed; if there are none, everybody may.

    Raises:
        Refused: The user has none of them. Reply 550.
    """

    if rights is not Rights.NONE and not _are_common(rights, session.login.rights):
        raise Refused(550, "You may not do that here.")


@functools.lru_cache(maxsize=1024)
def _are_common(some: Rights, others: Rights) -> bool:
    # To combine two flags of an enumeration takes five times as long as to remember the answer.
    return bool(some & others)


def is_there(session: Session, verb: str) -> bool:
    """Whether a command of the table is one of this server, with its settings."""

    settings, found = session.settings, COMMANDS[verb]
    if found.is_protection and settings.certificate is None:
        return False
    return bool(settings.hosts) or not found.is_hosting


def check_store(session: Session, name: str) -> None:
    """Refuse a command that the store cannot carry out.

    Raises:
        Refused: As the store says.
    """

    refusal = session.store.refused.get(name)
    if refusal is not None:
        raise Refused(refusal.code, refusal.text)


def _unknown(session: Session, verb: str) -> Refused | EndSession:
    if verb in NOT_IMPLEMENTED:
        return Refused(502, "Not implemented.")

    session.unknown_commands += 1
    if session.unknown_commands >= session.settings.max_unknown_commands:
        return EndSession(Reply(421, "Too many unknown commands."))
    return Refused(500, "Unknown command.")
