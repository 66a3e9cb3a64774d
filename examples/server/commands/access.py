"""Access control, and directories (RFC 959 §4.1.1 and §4.1.3, RFC 1123 §4.1.3.1)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import anyio

from ..accounts import Account, Rights
from ..attempts import Blocked
from ..hosts import host_name
from ..paths import is_allowed, parent, show
from ..reply import Reply
from ..store import is_about_name, is_directory
from .table import EndSession, command

if TYPE_CHECKING:
    from ..session import Session

__all__: list[str] = []

logger = logging.getLogger("ftpdata.examples.server")


@command("USER name", needs_login=False)
async def take_user(session: Session, argument: str) -> Reply:
    """Take the name, known or not: the reply does not say which."""

    if session.settings.require_tls and not session.protection.was_begun:
        return Reply(530, "Only with TLS: AUTH TLS comes first.")

    session.forget()
    session.login.pending_user = argument
    return Reply(331, "Password, please.")


@command("HOST name", needs_login=False, is_hosting=True)
async def choose_host(session: Session, argument: str) -> Reply:
    """Choose one of several hosts, before the login (RFC 7151)."""

    if session.login.user is not None or session.login.pending_user is not None:
        return Reply(503, "HOST comes before USER.")

    name = host_name(argument)
    if name is None:
        return Reply(501, "HOST takes a name, or an address.")

    return await session.choose_host(name)


@command("PASS [password]", needs_login=False)
async def password(session: Session, argument: str) -> Reply:
    """Check the password; too many wrong ones end the session."""

    name, session.login.pending_user = session.login.pending_user, None
    if name is None:
        return Reply(503, "USER comes first.")

    settings = session.settings
    try:
        # Again, not only at the greeting: other sessions of this address may have failed since.
        async with session.shared.attempts.of(session.peer) as attempt:
            user = await _check(session, name, argument)
            attempt.is_right = user is not None
    except Blocked as error:
        raise EndSession(Reply(421, str(error))) from error

    if user is not None:
        # Wrong passwords still count: whoever guesses may have an account, too.
        return await _let_in(session, user)

    session.log("wrong password for %s", name)
    session.login.failures += 1
    await anyio.sleep(settings.login_delay)
    if session.login.failures >= settings.max_login_failures:
        raise EndSession(Reply(421, "Too many wrong passwords."))
    return Reply(530, "Wrong name or password.")


async def _check(session: Session, name: str, password: str) -> Account | None:
    """Ask whether the password is right.

    Raises:
        EndSession: Nobody can say. It is no wrong password, and none that is to be said again:
            421 lets clients try later.
    """

    settings = session.settings
    try:
        async with asyncio.timeout(settings.check_timeout):
            return await session.accounts.check(name, password, peer=session.peer)
    except TimeoutError:
        session.warn("nobody said within %g s whether %s may log in", settings.check_timeout, name)
    except Exception:
        logger.exception("%s: nobody can say whether a user may log in", session.peer)

    raise EndSession(Reply(421, "Nobody can log in at this time, try later."))


async def _let_in(session: Session, user: Account) -> Reply:
    try:
        await session.enter(user)
    except OSError as error:
        if not is_about_name(error):
            raise
        session.warn("%s has no home %s: %s", user.name, user.home, error.strerror)
        return Reply(530, "Your directory is not there.")

    session.log("logged in as %s", user.name)
    return Reply(230, "Logged in.")


@command("REIN", needs_login=False)
async def reinitialize(session: Session, _: str) -> Reply:
    """Forget everything but the connection. A transfer before it has come to its end."""

    # What began with TLS (port 990) was never without, and keeps it. Otherwise TLS ends
    # after the reply (RFC 4217 §13), and AUTH may begin it again.
    if session.speaks_tls and not session.settings.implicit_tls:
        session.refuse_more()
        session.protection.end_after_reply()

    await session.data.aclose()
    session.data.epsv_only = False
    session.forget()
    session.forget_host()
    session.protection.forget()
    return Reply(220, "Ready for a new user.")


@command("QUIT", needs_login=False)
async def leave(_: Session, __: str) -> Reply:
    """End the session, in its turn: a transfer that runs comes to its end first."""

    raise EndSession(Reply(221, "Goodbye."))


@command("PWD", "XPWD")
async def print_directory(session: Session, _: str) -> Reply:
    """Tell the current directory."""

    return Reply(257, f"{quoted(session.directory)} is the current directory.")


@command("CWD path", "XCWD")
async def change_directory(session: Session, argument: str) -> Reply:
    """Change the current directory."""

    return await _change(session, await session.find(argument))


@command("CDUP", "XCUP")
async def change_up(session: Session, _: str) -> Reply:
    """Change to the parent directory; in ``/`` that is ``/``.

    The reply is that of CWD (RFC 959 §4.1.1 and appendix II; §5.4 alone says 200).
    """

    return await _change(session, parent(session.directory))


async def _change(session: Session, path: str) -> Reply:
    if not await is_directory(session.store, path):
        return Reply(550, "No such directory.")

    session.directory = path
    return Reply(250, f"{quoted(path)} is the current directory.")


@command("MKD path", "XMKD", rights=Rights.MKDIR, read_only_code=550)
async def make_directory(session: Session, argument: str) -> Reply:
    """Make a directory."""

    if not is_allowed(argument):
        return Reply(550, "A new name has no NUL and no line ends.")

    path = await session.find(argument)
    await session.store.make_directory(path)
    return Reply(257, f"{quoted(path)} was created.")


@command("RMD path", "XRMD", rights=Rights.DELETE, read_only_code=550)
async def remove_directory(session: Session, argument: str) -> Reply:
    """Remove an empty directory."""

    await session.store.remove_directory(await session.find(argument))
    return Reply(250, "Removed.")


def quoted(path: str) -> str:
    """Quote a path as 257 does: its own quotation marks are doubled (RFC 959 appendix II)."""

    return '"' + show(path).replace('"', '""') + '"'
