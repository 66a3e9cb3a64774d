"""The transfers: RETR, STOR, APPE, STOU, LIST, NLST, MLSD, and ABOR (RFC 959 §4.1.3).

What can be refused is refused before the 125 or 150: no data connection is
opened for a file that is not there. From the preliminary reply on, what ftpdata
raises says how it ended, and with which code.
"""

from __future__ import annotations

import functools
import secrets
import time
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import anyio

from ftpdata import (
    BadArgument,
    DataConnectionError,
    Endpoint,
    FileTarget,
    FileUnavailable,
    FTPDataError,
    ListFormatter,
    NlstFormatter,
    ReusableConnection,
    TransferResult,
    WriteMode,
    receive_file,
    send_file,
    send_listing,
)
from ftpdata.codecs import RestartMarker, format_mark_reply
from ftpdata.errors import error_for_oserror
from ftpdata.limits import address_key

from ..control import Reply
from ..listings import Listing, open_facts, open_listing
from ..storage import has_controls
from ..transfer import WHOLE, Operation, Restart
from .parameters import can_restart
from .table import command

if TYPE_CHECKING:
    from ..session import Session

__all__: list[str] = []


@command("RETR path", is_abortable=True)
async def retrieve(session: Session, argument: str) -> Reply:
    """Send a file."""

    operation, restart = _begin(session)
    _check_restart(session, restart)
    file = await session.storage.open_file(session.path(argument))
    operation.keep(file)
    offset = restart.offset
    end = file.size
    if restart.end is not None:
        # A range behind the end is 0 bytes long, not an error (draft-bryan-ftp-range §4.3).
        end = min(restart.end, file.size)
        offset = min(offset, end)
    elif offset > file.size:
        return Reply(554, f"The file has {file.size} bytes.")

    text = "Here comes the file."
    if session.parameters.is_identity:
        # Clients look for "(123 bytes)" to show how far they are.
        text = f"Here comes the file ({end - offset} bytes)."
    result = await send_file(
        await _connect(session, operation, text),
        file.fd,
        parameters=session.parameters,
        options=session.options,
        offset=offset,
        length=end - offset,
        throttle=session.throttle,
        progress=operation.progress,
        deadlines=session.settings.deadlines,
    )

    return _complete(session, operation, result)


@command("STOR path", is_abortable=True, read_only_code=553)
async def store(session: Session, argument: str) -> Reply:
    """Receive a file, which takes its name when it is whole.

    Behind REST or RANG it is written in place; RANG says how much is to come.
    """

    operation, restart = _begin(session)
    _check_restart(session, restart)
    mode = WriteMode.ATOMIC if restart == WHOLE else WriteMode.IN_PLACE
    return await _receive(session, operation, session.path(argument), mode, restart=restart)


@command("APPE path", is_abortable=True, read_only_code=553)
async def append(session: Session, argument: str) -> Reply:
    """Receive what comes behind the end of a file."""

    operation, restart = _begin(session)
    if restart != WHOLE:
        return Reply(450, "REST and APPE exclude each other.")

    path, mode = session.path(argument), WriteMode.APPEND
    try:
        await session.storage.status(path)
    except FileNotFoundError:
        # A new file is not to stay if nothing comes.
        mode = WriteMode.EXCLUSIVE

    return await _receive(session, operation, path, mode)


@command("STOU [prefix]", is_abortable=True, read_only_code=553)
async def store_unique(session: Session, argument: str) -> Reply:
    """Receive a file under a name that nothing else has (RFC 1123 §4.1.2.9)."""

    operation, restart = _begin(session)
    if restart != WHOLE:
        return Reply(450, "REST and STOU exclude each other.")

    path = session.path(f"{argument or 'ftp'}.{secrets.token_hex(8)}")
    name = path.rpartition("/")[2]
    reply = await _receive(
        session, operation, path, WriteMode.EXCLUSIVE, announcement=f"FILE: {name}"
    )
    return Reply(reply.code, f"{reply.text} FILE: {name}")


@command("LIST [path]", is_abortable=True)
async def list_long(session: Session, argument: str) -> Reply:
    """Send a listing as ``ls -l`` prints it."""

    return await _list(session, open_listing(session, argument, ListFormatter(now=time.time())))


@command("NLST [path]", is_abortable=True)
async def list_names(session: Session, argument: str) -> Reply:
    """Send names."""

    return await _list(session, open_listing(session, argument, NlstFormatter()))


@command("MLSD [path]", is_abortable=True)
async def list_facts(session: Session, argument: str) -> Reply:
    """Send the names and facts of a directory (RFC 3659 §7)."""

    return await _list(session, open_facts(session, argument))


@command("ABOR", needs_login=False)
async def abort(session: Session, _: str) -> Reply:
    """Answer for the abort.

    What ran was ended when the line came in (see `Session`), and its 426 is
    sent. What is left to close is a connection that no transfer has used.
    """

    await session.data.aclose()
    return Reply(226, "Abort done.")


def _begin(session: Session) -> tuple[Operation, Restart]:
    """Return the transfer that runs, and which part of the file it is about."""

    assert session.operation is not None
    restart = session.take_restart()
    if session.settings.require_tls and session.data_tls is None:
        raise Unprotected("Data connections are protected here: use PROT P.")

    _take_slots(session, session.operation)
    return session.operation, restart


def _take_slots(session: Session, operation: Operation) -> None:
    """Count the transfer and its data connection; both are given back when it is over."""

    assert session.user is not None
    # Anybody is anonymous: each address is a user of its own.
    user = (session.user.name, address_key(session.peer) if session.user.is_anonymous else "")
    usage = session.shared.usage
    try:
        operation.keep(usage.take_transfer(user))
    except DataConnectionError as error:
        raise Busy(error.message) from error

    operation.keep(usage.take_connection(session.peer))


class Busy(FTPDataError):
    """Too many transfers at this time; nothing is wrong with the data connection."""

    @property
    def reply_code(self) -> int:
        """The code 450."""

        return 450


class Unprotected(FTPDataError):
    """A transfer in clear, where there is none (RFC 4217 §10.2)."""

    @property
    def reply_code(self) -> int:
        """The code 521."""

        return 521


def _check_restart(session: Session, restart: Restart) -> None:
    if restart.offset and not can_restart(session.parameters):
        raise BadArgument("REST is for TYPE I and STRU F, or for MODE B and MODE C.")
    if restart.end is not None and not session.parameters.is_identity:
        raise BadArgument("RANG is for TYPE I, STRU F and MODE S.")


async def _connect(
    session: Session, operation: Operation, text: str, *, is_upload: bool = False
) -> Endpoint | ReusableConnection:
    # Who is to send, or to negotiate, waits for the reply; who receives has the data to read.
    hold = not is_upload and session.data_tls is None
    announce = functools.partial(session.announce, hold=hold)
    return await session.data.take(operation, text, announce)


async def _receive(
    session: Session,
    operation: Operation,
    path: str,
    mode: WriteMode,
    *,
    restart: Restart = WHOLE,
    announcement: str = "Send the file.",
) -> Reply:
    target = await _open_target(session, path, mode, restart.offset)
    try:
        connection = await _connect(session, operation, announcement, is_upload=True)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await target.discard()
        raise

    async def acknowledge(marker: RestartMarker) -> None:
        # What is told to be here is to stay, whatever comes of the rest.
        target.keep_partial = marker.offset > 0
        await session.reply(Reply.parse(format_mark_reply(marker)))

    result = await receive_file(
        connection,
        target,
        parameters=session.parameters,
        options=session.options,
        on_marker=acknowledge,
        expected_size=None if restart.end is None else restart.end - restart.offset,
        throttle=session.throttle,
        progress=operation.progress,
        deadlines=session.settings.deadlines,
    )
    return _complete(session, operation, result)


async def _open_target(session: Session, path: str, mode: WriteMode, offset: int) -> FileTarget:
    """Open a file for an upload; who has it commits or discards it."""

    if has_controls(path):
        raise _NotStored("A new name has no control characters.")

    try:
        if offset:
            # What is not there cannot be gone on with, and is not to be made.
            await session.storage.status(path)
        return await session.storage.open_target(path, mode, offset)
    except BadArgument as error:
        # 501 is for what does not parse; this is an offset behind the end of the file.
        raise _NotStored(error.message, code=554) from error
    except FileUnavailable as error:
        raise _NotStored(error.message) from error
    except OSError as error:
        failure = error_for_oserror(error)
        if isinstance(failure, FileUnavailable):
            raise _NotStored(failure.message) from error
        # Nothing is wrong with the name: the disk is full, or there are no descriptors.
        raise failure from error


class _NotStored(FTPDataError):
    """The name cannot be written to: 553 (RFC 959 §5.4), where RETR would say 550."""

    def __init__(self, message: str, *, code: int = 553) -> None:
        super().__init__(message)
        self._code = code

    @property
    def reply_code(self) -> int:
        return self._code


async def _list(session: Session, opened: AbstractAsyncContextManager[Listing]) -> Reply:
    operation, _ = _begin(session)
    async with opened as listing:
        result = await send_listing(
            await _connect(session, operation, "Here comes the listing."),
            listing.lines,
            parameters=session.parameters,
            options=session.options,
            throttle=session.throttle,
            progress=operation.progress,
            deadlines=session.settings.deadlines,
        )

    return _complete(session, operation, result)


def _complete(session: Session, operation: Operation, result: TransferResult) -> Reply:
    protection = ""
    if result.tls_version is not None:
        protection = f", {result.tls_version}{' resumed' if result.tls_resumed else ''}"
    session.log(
        "%s: %d bytes in %.3f s, %s%s", operation.name, result.bytes, result.seconds,
        result.end.value, protection,
    )
    # 250 where the data connection stays open.
    text = f"Complete: {result.bytes} bytes in {result.seconds:.3f} seconds."
    return Reply(result.reply_code, text)
