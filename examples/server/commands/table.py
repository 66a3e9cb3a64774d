"""The table of commands: what each one is, and who may use it.

A handler takes the session and the argument, and returns the final reply or
raises: an `FTPDataError` or `OSError` becomes the reply of its kind, so exactly
one final reply is sent. Handlers send preliminary replies themselves.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import attrs

from ..control import Reply

if TYPE_CHECKING:
    from ..session import Session

__all__ = ["COMMANDS", "Argument", "Command", "EndSession", "Handler", "command"]

Handler = Callable[["Session", str], Awaitable[Reply]]


class EndSession(Exception):
    """The session ends behind this reply."""

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
        is_abortable: Whether it may take long: ABOR ends it, and other
            commands wait behind it.
        is_protection: Whether it is about TLS: there is no such command on a
            server without a certificate.
        read_only_code: Code of the reply on a server that is not writable,
            None for a command that changes nothing.
        at_once: Answers the command without an argument while a transfer
            runs; None for a command that waits for the transfer's end.
    """

    handler: Handler
    syntax: str
    argument: Argument
    needs_login: bool = True
    is_abortable: bool = False
    is_protection: bool = False
    read_only_code: int | None = None
    at_once: Callable[[Session], Reply] | None = None


COMMANDS: dict[str, Command] = {}


def command(
    syntax: str,
    *aliases: str,
    needs_login: bool = True,
    is_abortable: bool = False,
    is_protection: bool = False,
    read_only_code: int | None = None,
    at_once: Callable[[Session], Reply] | None = None,
) -> Callable[[Handler], Handler]:
    """Put a handler into the table.

    Args:
        syntax: The command and its argument, if it takes one, in brackets if
            that is optional: ``LIST [path]``.
        aliases: Other names of the command.
        needs_login: See `Command`.
        is_abortable: See `Command`.
        is_protection: See `Command`.
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
                is_abortable=is_abortable,
                is_protection=is_protection,
                read_only_code=read_only_code,
                at_once=at_once,
            )
        return handler

    return add
