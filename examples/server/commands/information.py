"""What the server says about itself (RFC 959 §4.1.3, RFC 2389)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import attrs

from ftpdata import ListFormatter
from ftpdata.codecs import parse_deflate_level
from ftpdata.listing import parse_time_val

from ..accounts import Rights
from ..failures import reply_to
from ..listings import open_listing
from ..reply import Reply, printable
from ..store import is_directory
from .files import HASH_NAMES
from .table import COMMANDS, check_right, check_store, command, is_there

if TYPE_CHECKING:
    from ..session import Session

__all__: list[str] = []


def _nothing(_: Session) -> Reply:
    return Reply(200, "Nothing done.")


@command("NOOP [anything]", needs_login=False, at_once=_nothing)
async def do_nothing(session: Session, _: str) -> Reply:
    """Do nothing."""

    return _nothing(session)


@command("SYST", needs_login=False)
async def system(_: Session, __: str) -> Reply:
    """Tell which system this is: what clients take ``ls -l`` listings from."""

    return Reply(215, "UNIX Type: L8")


@command("FEAT", needs_login=False)
async def features(session: Session, _: str) -> Reply:
    """Tell which extensions there are (RFC 2389 §3)."""

    hashes = "".join(f"{name}{'*' * (name == session.choices.hash_name)};" for name in HASH_NAMES)
    lines = [
        *("AVBL", "EPRT", "EPSV", f"HASH {hashes}", "MDTM", "MFMT", session.choices.facts.feature),
        *("MODE Z", "RANG STREAM", "REST STREAM", "SIZE", "TVFS", "UTF8"),
        *("XCRC", "XMD5", "XSHA1", "XSHA256"),
    ]
    if session.settings.certificate is not None:
        lines = sorted([*lines, "AUTH TLS", "CCC", "PBSZ", "PROT"])
    if session.settings.hosts:
        lines = sorted([*lines, "HOST"])
    lines = [line for line in lines if line.partition(" ")[0] not in session.store.refused]
    return Reply(211, "End", ("Features:", *lines))


@command("OPTS command [options]", needs_login=False)
async def options(session: Session, argument: str) -> Reply:
    """Set options of a command (RFC 2389 §4, draft-preston-ftpext-deflate §3.4)."""

    name, _, option = argument.partition(" ")
    match name.upper(), option.upper():
        case "UTF8" | "UTF-8", "ON" | "":
            return Reply(200, "Names are always UTF-8.")
        case "MLST", _:
            session.choices.facts = session.choices.facts.select(option)
            return Reply(200, session.choices.facts.reply)
        case "MODE", "Z":
            session.choices.options = session.settings.codec_options
            return Reply(200, f"MODE Z LEVEL set to {session.choices.options.deflate_level}.")
        case "MODE", _:
            level = parse_deflate_level(option)
            session.choices.options = attrs.evolve(session.choices.options, deflate_level=level)
            return Reply(200, f"MODE Z LEVEL set to {level}.")
        case "HASH", "":
            return Reply(200, session.choices.hash_name)
        case "HASH", wanted if wanted in HASH_NAMES:
            session.choices.hash_name = wanted
            return Reply(200, session.choices.hash_name)
        case "HASH", _:
            return Reply(501, "Unknown algorithm, current selection not changed.")
        case _:
            return Reply(501, "There is no such option.")


@command("HELP [command]", needs_login=False)
async def show_help(session: Session, argument: str) -> Reply:
    """Tell which commands there are, or how one is written."""

    if argument:
        found = COMMANDS.get(argument.upper())
        return Reply(214, f"Syntax: {found.syntax}") if found else Reply(501, "Unknown command.")

    names = sorted(
        name
        for name in COMMANDS
        if is_there(session, name) and name not in session.store.refused
    )
    rows = [" ".join(names[i : i + 8]) for i in range(0, len(names), 8)]
    return Reply(214, "End", ("Commands:", *rows))


@command("AVBL [path]")
async def available(session: Session, argument: str) -> Reply:
    """Tell how many bytes may still be written.

    draft-peterson-streamlined-ftp-command-extensions, AVBL.
    """

    if argument and not await is_directory(session.store, await session.find(argument)):
        return Reply(550, "No such directory.")

    free = await session.store.free_space()
    if session.quota is not None:
        free = min(free, await session.quota.left())
    return Reply(213, str(free))


def _state(session: Session) -> Reply:
    assert session.login.user is not None
    parameters, structure = session.choices.parameters, session.choices.parameters.structure.value
    doing = "Nothing is being transferred."
    if session.operation is not None:
        doing = session.operation.describe(asyncio.get_running_loop().time())
    lines = (
        "Status:",
        f"Connected from {session.peer}",
        f"Logged in as {printable(session.login.user.name)}",
        f"TYPE {parameters.type.value}, STRU {structure}, MODE {parameters.mode.value}",
        printable(doing),
        *_passive_ports(session),
    )
    return Reply(211, "End", lines)


@command("STAT [path]", at_once=_state)
async def status(session: Session, argument: str) -> Reply:
    """Tell how the session is, also while a transfer runs; or list a path, right here."""

    return await _list_here(session, argument) if argument else _state(session)


def _passive_ports(session: Session) -> list[str]:
    metrics = session.shared.ports.metrics
    if metrics is None:
        return []

    used = f"{metrics.ports} passive ports: {metrics.in_use} in use, {metrics.waiting} waiting"
    refused = f"{metrics.strangers} strangers, {metrics.exhausted} reservations refused"
    return [used, f"So far: {refused}, {metrics.expired} expired"]


async def _list_here(session: Session, argument: str) -> Reply:
    """Send a listing over the control connection, block by block."""

    check_right(session, Rights.LIST)
    async with open_listing(session, argument, ListFormatter(now=time.time())) as listing:
        code = 212 if listing.is_directory else 213
        await session.send_all(b"%d-Status:\r\n" % code)
        try:
            async with contextlib.aclosing(listing.blocks()) as blocks:
                async for block in blocks:
                    lines = block.splitlines(keepends=True)
                    await session.send_all(b"".join(b" " + line for line in lines))
        except OSError as error:
            # A reply ends with the code that it began with.
            return Reply(code, f"Incomplete: {reply_to(error).text}")

    return Reply(code, "End")


@command("SITE command [arguments]")
async def site(session: Session, argument: str) -> Reply:
    """Run a command of this server's own."""

    name, _, rest = argument.partition(" ")
    if name.upper() in ("CHMOD", "UTIME"):
        if not session.settings.writable:
            return Reply(550, "Nothing can be changed here.")
        check_right(session, Rights.CHANGE)

    check_store(session, f"SITE {name.upper()}")
    match name.upper():
        case "HELP":
            return Reply(214, "End", ("SITE commands:", *SITE_COMMANDS))
        case "CHMOD":
            return await _change_mode(session, rest)
        case "UTIME":
            return await _set_time(session, rest)
        case _:
            return Reply(501, "There is no such SITE command.")


SITE_COMMANDS = ("CHMOD mode path", "HELP", "UTIME time path")


async def _change_mode(session: Session, argument: str) -> Reply:
    mode, _, path = argument.partition(" ")
    # Neither setuid nor sticky: an uploaded file must never run as its owner.
    if not path or len(mode) not in (3, 4) or mode.lstrip("01234567") or mode[:-3] not in ("", "0"):
        return Reply(501, "Syntax: SITE CHMOD mode path")

    await session.store.set_mode(await session.find(path), int(mode, 8))
    return Reply(200, "Mode set.")


async def _set_time(session: Session, argument: str) -> Reply:
    moment, _, path = argument.partition(" ")
    if not path:
        return Reply(501, "Syntax: SITE UTIME time path")

    await session.store.set_modified(await session.find(path), parse_time_val(moment))
    return Reply(200, "Time set.")
