"""The transfers: RETR, STOR, APPE, STOU, LIST, NLST, MLSD, and ABOR (RFC 959 §4.1.3).

What can be refused is refused before the 125 or 150: no data connection is
opened for a file that is not there. From the preliminary reply on, the errors of
ftpdata say how the transfer ended, and with which code.
"""

from __future__ import annotations

import functools
import secrets
import time
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, cast

import anyio

from ftpdata import (
    BadArgument,
    DataConnectionError,
    Endpoint,
    FileUnavailable,
    ListFormatter,
    NlstFormatter,
    ReusableConnection,
    TransferResult,
    WriteMode,
    receive_file,
    send_file,
    send_listing,
    send_stream,
)
from ftpdata.codecs import RestartMarker, format_mark_reply
from ftpdata.contracts import ResumableTarget, SentCallback

from ..accounts import Rights
from ..choices import WHOLE, Restart
from ..failures import Refused, not_written
from ..listings import Listing, open_facts, open_listing
from ..paths import is_allowed
from ..reply import Reply
from ..settings import Replies, Uploads
from ..store import Upload
from ..transfer import Operation
from .parameters import can_restart
from .table import command

if TYPE_CHECKING:
    from ..session import Session

__all__: list[str] = []


@command("RETR path", rights=Rights.READ, is_abortable=True)
async def retrieve(session: Session, argument: str) -> Reply:
    """Send a file."""

    operation, restart = _begin(session)
    _check_restart(session, restart)
    path = await session.find(argument)
    file = await session.store.open_reader(path)
    operation.keep(file)
    offset = restart.offset
    end = file.size
    if restart.end is not None:
        # A range beyond the end is 0 bytes long, not an error (draft-bryan-ftp-range §4.3).
        end = min(restart.end, file.size)
        offset = min(offset, end)
    elif offset > file.size:
        return Reply(554, f"The file has {file.size} bytes.")

    text = "Here comes the file."
    if session.choices.parameters.is_identity:
        # Clients look for "(123 bytes)" to show how far they are.
        text = f"Here comes the file ({end - offset} bytes)."
    connection = await _connect(session, operation, text, path)
    send = functools.partial(
        send_stream if file.fd is None else send_file,
        connection,
        parameters=session.choices.parameters,
        options=session.choices.options,
        offset=offset,
        # The reply has promised this size: a file that is shorter by now is an error.
        expected_size=end - offset,
        throttle=session.throttle,
        progress=operation.progress,
        on_sent=_on_sent(session, operation),
        deadlines=session.settings.deadlines,
    )
    if file.fd is None:
        result = await send(file.chunks(offset, end))
    else:
        result = await send(file.fd, length=end - offset)
    return _complete(session, operation, result)


@command("STOR path", rights=Rights.WRITE, is_abortable=True, is_upload=True, read_only_code=553)
async def store(session: Session, argument: str) -> Reply:
    """Receive a file, which takes its name when it is whole.

    After REST it goes on with what came of an upload that was cut, if this user may and there is
    such a part. Otherwise, and after RANG, it is written in place; RANG says how much is to come.
    """

    operation, restart = _begin(session)
    _check_restart(session, restart)
    if session.settings.uploads is Uploads.IN_PLACE:
        mode = WriteMode.IN_PLACE
    elif restart == WHOLE:
        mode = WriteMode.ATOMIC
    else:
        may_resume = restart.end is None and _part_owner(session) is not None
        mode = WriteMode.RESUME if may_resume else WriteMode.IN_PLACE
    path = await _find_target(session, argument)
    # A client that got the size of a part means the part. Another may have made a file of
    # the name since: the rest of one file does not belong into it.
    part_only = session.told_sizes.pop(path, None) is not None
    return await _receive(session, operation, path, mode, restart=restart, part_only=part_only)


@command("APPE path", rights=Rights.APPEND, is_abortable=True, is_upload=True, read_only_code=553)
async def append(session: Session, argument: str) -> Reply:
    """Receive bytes that are appended to a file.

    Some clients (curl) resume an upload in this way, after SIZE. If the reply was the size of a
    part, what comes is appended to the part, and to nothing else: a client that did not ask wants
    to append to the file.
    """

    operation, restart = _begin(session)
    if restart != WHOLE:
        return Reply(450, "REST and APPE exclude each other.")

    path = await _find_target(session, argument)
    told = session.told_sizes.pop(path, 0)
    if not told:
        return await _receive(session, operation, path, WriteMode.APPEND)
    if _part_owner(session) is None:
        return Reply(450, "To go on with this upload, use TYPE I and STRU F.")

    return await _receive(
        session, operation, path, WriteMode.RESUME, restart=Restart(told), part_only=True
    )


@command(
    "STOU [prefix]", rights=Rights.WRITE, is_abortable=True, is_upload=True, read_only_code=553
)
async def store_unique(session: Session, argument: str) -> Reply:
    """Receive a file under a name that nothing else has (RFC 1123 §4.1.2.9)."""

    operation, restart = _begin(session)
    if restart != WHOLE:
        return Reply(450, "REST and STOU exclude each other.")

    # The directory and the extension stay as the client has given them.
    directory, slash, prefix = argument.rpartition("/")
    stem, dot, extension = prefix.rpartition(".")
    if not stem:
        stem, dot, extension = prefix or "ftp", "", ""
    name = f"{directory}{slash}{stem}.{secrets.token_hex(8)}{dot}{extension}"
    path = await _find_target(session, name)
    reply = await _receive(
        session, operation, path, WriteMode.EXCLUSIVE, announcement=f"FILE: {name}"
    )
    return Reply(reply.code, f"{reply.text} FILE: {name}")


@command("LIST [path]", rights=Rights.LIST, is_abortable=True)
async def list_long(session: Session, argument: str) -> Reply:
    """Send a listing as ``ls -l`` prints it."""

    return await _list(session, open_listing(session, argument, ListFormatter(now=time.time())))


@command("NLST [path]", rights=Rights.LIST, is_abortable=True)
async def list_names(session: Session, argument: str) -> Reply:
    """Send names."""

    return await _list(session, open_listing(session, argument, NlstFormatter()))


@command("MLSD [path]", rights=Rights.LIST, is_abortable=True)
async def list_facts(session: Session, argument: str) -> Reply:
    """Send the names and facts of a directory (RFC 3659 §7)."""

    return await _list(session, open_facts(session, argument))


@command("ABOR", needs_login=False)
async def abort(session: Session, _: str) -> Reply:
    """Answer ABOR.

    The transfer that ran was ended when the line came in (see `Session`), and its
    426 is sent. What is left to close is a connection that no transfer has used.
    """

    await session.data.aclose()
    return Reply(226, "Abort done.")


def _begin(session: Session) -> tuple[Operation, Restart]:
    """Return the transfer that runs, and which part of the file it is about."""

    assert session.operation is not None
    restart = session.choices.take_restart()
    if session.settings.require_tls and session.protection.data_tls is None:
        # RFC 4217 §10.2.
        raise Refused(521, "Data connections are protected here: use PROT P.")

    _take_slots(session, session.operation)
    return session.operation, restart


def _take_slots(session: Session, operation: Operation) -> None:
    """Count the transfer and its data connection; both are given back when it is over."""

    usage = session.shared.usage
    try:
        operation.keep(usage.take_transfer(session.user_key))
    except DataConnectionError as error:
        # Nothing is wrong with the data connection: there are too many transfers.
        raise Refused(450, "Too many transfers at this time.") from error

    operation.keep(usage.take_connection(session.peer))


def _check_restart(session: Session, restart: Restart) -> None:
    if restart.offset and not can_restart(session.choices.parameters):
        raise Refused(501, "REST is for TYPE I and STRU F, or for MODE B and MODE C.")
    if restart.end is not None and not session.choices.parameters.is_identity:
        raise Refused(501, "RANG is for TYPE I, STRU F and MODE S.")


async def _connect(
    session: Session, operation: Operation, text: str, path: str, *, is_upload: bool = False
) -> Endpoint | ReusableConnection:
    """Say 125 or 150, and return the data connection.

    Args:
        session: The session.
        operation: The transfer.
        text: Text of that reply.
        path: The virtual path that the transfer is about, for the observer.
        is_upload: Whether the client sends.
    """

    # A client that sends, or negotiates, waits for the reply. One that receives reads data first.
    hold = not is_upload and session.protection.data_tls is None
    announce = functools.partial(session.announce, hold=hold)
    connection = await session.data.take(operation, text, announce)
    if session.settings.observer is not None:
        known = connection if isinstance(connection, Endpoint) else connection.dtp
        known.subject = session.subject(operation, path)
    return connection


async def _receive(
    session: Session,
    operation: Operation,
    path: str,
    mode: WriteMode,
    *,
    restart: Restart = WHOLE,
    part_only: bool = False,
    announcement: str = "Send the file.",
) -> Reply:
    target = await _open_target(session, path, mode, restart.offset, part_only=part_only)
    # From here on, and in `receive_file`: a client that comes back resumes at once, although
    # its first connection seems to live.
    target.watch_takeover(lambda: operation.abort("The upload was resumed elsewhere."))
    # What came before the cut, or nothing.
    stays = target.leaves_part or target.keeps_what_came
    try:
        connection = await _connect(session, operation, announcement, path, is_upload=True)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await (cast("ResumableTarget", target).keep() if stays else target.discard())
        raise

    async def acknowledge(marker: RestartMarker) -> None:
        await session.reply(Reply.parse(format_mark_reply(marker)))

    result = await receive_file(
        connection,
        target,
        parameters=session.choices.parameters,
        options=session.choices.options,
        # Where it goes on: a target of which something may stay says so.
        offset=getattr(target, "position", 0),
        # Acknowledging a marker promises that everything before it stays.
        on_marker=acknowledge if stays else None,
        expected_size=None if restart.end is None else restart.end - restart.offset,
        throttle=session.throttle,
        progress=operation.progress,
        deadlines=session.settings.deadlines,
    )
    return _complete(session, operation, result)


async def _find_target(session: Session, argument: str) -> str:
    """Return the path of a file that is there, or may be made."""

    if not is_allowed(argument):
        raise Refused(553, "A new name has no NUL and no line ends.")

    return await session.find(argument)


def _part_owner(session: Session) -> str | None:
    """Return whose part an upload leaves; None for nobody's.

    A part that REST could not continue is not kept: if bytes are converted, its offsets are not
    those of the client's file.
    """

    return session.part_owner if can_restart(session.choices.parameters) else None


async def _open_target(
    session: Session, path: str, mode: WriteMode, offset: int, *, part_only: bool
) -> Upload:
    """Open a file for an upload; the caller commits, keeps or discards it."""

    if session.settings.may_veto and mode in (WriteMode.IN_PLACE, WriteMode.APPEND):
        raise Refused(550, "Files are checked before they appear here: send the whole file.")

    owner = _part_owner(session)
    opening = functools.partial(
        session.store.open_target,
        path,
        mode,
        offset,
        owner=owner,
        part_only=part_only,
        is_judged=session.settings.may_veto,
    )
    try:
        if session.quota is None:
            return await opening()
        return await session.quota.open(path, owner, opening)
    except BadArgument as error:
        # 501 is for what does not parse; this is an offset beyond the end of the file.
        raise Refused(554, error.message) from error
    except (FileUnavailable, OSError) as error:
        raise not_written(error) from error


async def _list(session: Session, opened: AbstractAsyncContextManager[Listing]) -> Reply:
    operation, _ = _begin(session)
    async with opened as listing:
        result = await send_listing(
            await _connect(session, operation, "Here comes the listing.", listing.path),
            listing.lines,
            parameters=session.choices.parameters,
            options=session.choices.options,
            throttle=session.throttle,
            progress=operation.progress,
            on_sent=_on_sent(session, operation),
            deadlines=session.settings.deadlines,
        )

    return _complete(session, operation, result)


def _on_sent(session: Session, operation: Operation) -> SentCallback | None:
    """Return what says that a download is complete once it has left; None if that is not wanted."""

    if session.settings.replies is Replies.DELIVERED:
        return None

    return lambda result: session.answer_early(operation, _reply_to(result))


def _complete(session: Session, operation: Operation, result: TransferResult) -> Reply:
    protection = ""
    if result.tls_version is not None:
        protection = f", {result.tls_version}{' resumed' if result.tls_resumed else ''}"
    session.log(
        "%s: %d bytes in %.3f s, %s%s", operation.name, result.bytes, result.seconds,
        result.end.value, protection,
    )
    return _reply_to(result)


def _reply_to(result: TransferResult) -> Reply:
    # 250 where the data connection stays open.
    text = f"Complete: {result.bytes} bytes in {result.seconds:.3f} seconds."
    return Reply(result.reply_code, text)
