"""The transfer of a file that is received: `receive_file` (STOR, APPE)."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, cast

import anyio
import attrs

from .._tasks import finish_despite_cancellation
from ..codecs.options import DEFAULT_OPTIONS, CodecOptions
from ..connection.protocol import DTP
from ..contracts import ProgressCallback, ResumableTarget, UploadTarget
from ..deadlines import DEFAULT_DEADLINES, Deadlines
from ..errors import FTPDataError, in_words
from ..files._names import PATH_TYPES, FilePath
from ..files._object_target import FileObjectTarget
from ..files.parts import PartOwner
from ..files.target import FileTarget, WriteMode, unopened
from ..opening.endpoint import Endpoint
from ..outcome import Direction, End, TransferResult
from ..parameters import DEFAULT_PARAMETERS, Structure, TransferParameters, TransmissionMode
from ..throttle import TokenBucket
from ._cuts import leaves_part, resumed_bytes, was_cut
from ._direct import receive_directly
from ._door import AtTheDoor, check_arguments, check_target, is_upload_target
from ._incoming import Incoming, MarkerHandler, SuspectHandler
from ._judging import check_can_be_judged, judge
from ._opened import (
    Connection,
    Opening,
    abort_connection,
    dtp_of,
    observer_of,
    report_on,
)
from ._pending import PendingFile
from ._plain import store
from ._report import Report
from ._sizes import SizeCheck
from ._supervisor import Supervisor
from ._ways import Arrived

__all__ = ["receive_file"]


async def receive_file(
    connection: Connection,
    target: FilePath | BinaryIO | UploadTarget,
    *,
    dir_fd: int | None = None,
    parameters: TransferParameters = DEFAULT_PARAMETERS,
    options: CodecOptions = DEFAULT_OPTIONS,
    offset: int = 0,
    append: bool = False,
    resume: PartOwner | None = None,
    expected_size: int | None = None,
    size_limit: int | None = None,
    throttle: TokenBucket | None = None,
    progress: ProgressCallback | None = None,
    digest: str | None = None,
    on_marker: MarkerHandler | None = None,
    on_suspect: SuspectHandler | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
    limiter: anyio.CapacityLimiter | None = None,
) -> TransferResult:
    """Receive a file (STOR, APPE), and publish it only if all of it has arrived.

    A path without `offset` and `append` is written atomically: under a hidden
    name, renamed on a clean end (see `WriteMode`). An upload that was cut leaves
    nothing under the final name. With `resume`, its bytes stay hidden, and the next
    upload goes on after them with an offset; see `ftpdata.files.parts`.

    Args:
        connection: A connected `DTP`, or an endpoint that is opened here; it is
            closed in any case. A `ReusableConnection` stays open after a clean
            end in MODE B and C.
        target: A path; a binary file object, which stays open and belongs to
            the caller; or an `UploadTarget` such as `FileTarget`, of which either
            `commit` or `discard` is called exactly once, or `keep` if it is a
            `ResumableTarget` and the upload was cut, not refused.
        dir_fd: Directory that a relative path starts from.
        parameters: TYPE, STRU and MODE.
        options: The host's choices about them.
        offset: Where to write a path's first byte, in bytes (REST): in its part if it
            has one (`resume`), otherwise in place. A `ResumableTarget` must be at this position.
        append: Write after a path's last byte (APPE); in place.
        resume: The owner of the part that a path's upload leaves if it is cut, and goes on
            with if it has an offset (`WriteMode.RESUME`). None leaves no part.
        expected_size: Bytes of the file that were promised (ALLO): more or
            fewer are an error. In stream mode this is the only way to notice an
            upload whose sender stopped early and closed the connection cleanly.
        size_limit: Bytes of the file that are accepted; those that arrived before an
            upload was resumed count, too.
        throttle: Limits the rate of bytes on the connection.
        progress: Called with the bytes of the file received so far, and
            `expected_size`.
        digest: Digest to compute over the bytes of the file: a `hashlib` name
            or ``crc32``.
        on_marker: For MODE B and C: awaited for each restart marker, once
            everything before it was written to the target. An exception
            ends the transfer.
        on_suspect: For MODE B and C: called before data that their sender
            marked as suspect, which are stored like any other.
        deadlines: When to give up.
        limiter: Limits the threads of this file's store.

    Raises:
        FTPDataError: The upload is not complete, and was not published;
            carries the result and the reply code: 426 if it was cut, 451,
            452, 550 or 553 if it could not be stored, 552 beyond `size_limit`; 450 if
            another upload writes to its part.

    Cancellation resets the connection, which cuts the upload. Once the commit has
    begun, the transfer ends as the commit does. An upload whose part is resumed
    elsewhere is aborted.
    """

    try:
        with AtTheDoor(Direction.RECEIVED, connection):
            check_arguments(locals())
            check_target(target, offset=offset, append=append, resume=resume)
            observer = observer_of(connection)
            check_can_be_judged(
                observer, target, in_place=append or (offset > 0 and resume is None)
            )
    except (TypeError, ValueError, FTPDataError) as error:
        await _let_go_of_refused(target, error)
        raise

    with report_on(connection, Direction.RECEIVED, offset=offset, digest=digest) as report:
        report.total = expected_size
        report.name_path(target)
        is_judged = observer is not None and observer.wants_uploads
        pending = PendingFile(
            functools.partial(
                _open_target,
                target,
                connection,
                mode=_mode(offset=offset, append=append, resume=resume),
                dir_fd=dir_fd,
                offset=offset,
                parts=resume,
                part_only=is_judged,
                limiter=limiter,
            ),
            unopened=_unopened_target(
                target,
                dir_fd=dir_fd,
                limiter=limiter,
                # What is judged or leaves a part is open before its first bytes come.
                may_be=not (offset or append or resume is not None or is_judged),
            ),
        )
        keeps_what_came = bool(offset or append)
        came_before = offset if resume is not None else 0
        is_part = resume is not None
        if not isinstance(target, PATH_TYPES):
            # It must be committed or discarded in any case.
            given = await pending.get()
            keeps_what_came = isinstance(given, FileTarget) and given.keeps_what_came
            came_before = resumed_bytes(given)
            is_part = leaves_part(given)
        check_size = SizeCheck(expected_size, size_limit, came_before=came_before)
        early: list[bytes] = []
        try:
            if isinstance(connection, Endpoint):
                is_plain = parameters.is_identity and digest is None and throttle is None
                # The direct way fits only if the file ends with the connection. It holds bytes in
                # memory. If the upload is cut, they can be written to a part from there, but not
                # to a file that others see, and not if they must be converted first.
                may_be_direct = (
                    _is_over_with_connection(parameters)
                    and not keeps_what_came
                    and (is_plain or not is_part)
                )
                way = await _open_for_upload(
                    connection,
                    pending,
                    report,
                    early,
                    may_be_direct=may_be_direct,
                    is_plain=is_plain,
                )
                if isinstance(way, Arrived):
                    return await _store_whole(
                        way.data,
                        pending,
                        report,
                        check_size,
                        early,
                        progress=progress,
                        timeout=deadlines.stall,
                    )
                connection = way

            from_peer = connection
            transfer = Supervisor(
                dtp_of(from_peer),
                report,
                deadlines=deadlines,
                throttle=throttle,
                progress=progress,
            )

            async def body() -> None:
                file = await pending.get()
                incoming = Incoming(
                    transfer,
                    from_peer,
                    parameters,
                    options=options,
                    offset=_position(file, offset),
                    on_marker=on_marker,
                    on_suspect=on_suspect,
                    in_place=isinstance(file, FileTarget),
                )
                await store(transfer, incoming, file, check_size, may_splice=digest is None)

            result = await transfer.run(body)
            assert pending.file is not None
            with _failing(transfer):
                await judge(report, pending.file)
        except BaseException as error:
            await pending.settle()
            if pending.file is not None:
                is_cut = was_cut(error, fell_short=check_size.fell_short)
                await _let_go(pending.file, error, deadlines.close, is_cut=is_cut, early=early)
            raise

        return await _commit(transfer, pending.file, result)


async def _open_target(
    target: FilePath | BinaryIO | UploadTarget,
    connection: Connection,
    *,
    mode: WriteMode,
    dir_fd: int | None,
    offset: int,
    parts: PartOwner | None,
    part_only: bool,
    limiter: anyio.CapacityLimiter | None,
) -> UploadTarget:
    """Open the target of an upload; a resumption elsewhere will abort its connection."""

    if not isinstance(target, PATH_TYPES):
        opened = _as_upload_target(target, limiter)
    else:
        opened = await FileTarget.open(
            target,
            dir_fd=dir_fd,
            mode=mode,
            offset=offset,
            parts=parts,
            part_only=part_only,
            limiter=limiter,
        )

    if isinstance(opened, FileTarget):
        opened.watch_takeover(
            lambda: abort_connection(connection, End.ABORTED, "the upload was resumed elsewhere")
        )
    return opened


def _unopened_target(
    target: FilePath | BinaryIO | UploadTarget,
    *,
    dir_fd: int | None,
    limiter: anyio.CapacityLimiter | None,
    may_be: bool,
) -> Callable[[], UploadTarget] | None:
    """Return a function that makes the target of an upload which its first use will open."""

    if not may_be or not isinstance(target, PATH_TYPES):
        return None

    return functools.partial(unopened, target, dir_fd=dir_fd, limiter=limiter)


@contextlib.contextmanager
def _failing(transfer: Supervisor) -> Iterator[None]:
    """Let what is raised here be the failure of a transfer whose bytes have all arrived."""

    try:
        yield
    except Exception as error:
        failure = transfer.failure(error)
        if failure is error:
            raise
        raise failure from failure.__cause__


async def _commit(
    transfer: Supervisor, file: UploadTarget, result: TransferResult
) -> TransferResult:
    """Publish an upload that has arrived completely."""

    try:
        with _failing(transfer):
            await file.commit()
    except asyncio.CancelledError:
        _note_if_published(transfer.report, result, file)
        raise

    return await _published(transfer.report, result, file)


async def _open_for_upload(
    endpoint: Endpoint,
    pending: PendingFile[UploadTarget],
    report: Report,
    early: list[bytes],
    *,
    may_be_direct: bool,
    is_plain: bool,
) -> Arrived | DTP:
    """Open an endpoint for an upload, which may arrive meanwhile.

    Args:
        endpoint: The endpoint at which the upload arrives.
        pending: The file for its bytes.
        report: The report of its transfer.
        early: Receives the bytes that have arrived, until something else has them.
        may_be_direct: Whether it may be received before there is a `DTP`.
        is_plain: Whether the file holds exactly the bytes of the connection, unthrottled.

    Raises:
        FTPDataError: The endpoint or the file does not open; carries the result.
    """

    lost: OSError | None = None
    with Opening(endpoint, report, pending):
        if not (may_be_direct and is_plain and pending.may_be_unopened):
            pending.begin()
        if may_be_direct:
            way = await receive_directly(endpoint, pending if is_plain else None, report, early)
            if isinstance(way, Arrived):
                return way
            lost = way.failure
            pending.begin()

        dtp = await endpoint.open(keep=True)

    if lost is not None:
        # The system reports an error only once.
        dtp.bypass.lost_by(lost)
    else:
        early.clear()
    report.restart_clock()
    return dtp


async def _store_whole(
    data: bytes,
    pending: PendingFile[UploadTarget],
    report: Report,
    check_size: SizeCheck,
    early: list[bytes],
    *,
    progress: ProgressCallback | None,
    timeout: float | None,
) -> TransferResult:
    """Store a small upload that has arrived completely, and publish it.

    Args:
        data: All bytes of the upload.
        pending: The file to write them to, a `FileTarget`.
        report: The report of its transfer.
        check_size: Checks whether its size is acceptable.
        early: The same bytes in pieces, as long as the file does not have them.
        progress: Called once.
        timeout: Seconds that the store may take to write.
    """

    # Make the result before the file is stored: the time to store it does not count.
    result = report.result(End.CLEAN, len(data))
    try:
        check_size(len(data), is_last=True)
        if progress is not None:
            progress(len(data), check_size.expected)
        file = cast("FileTarget", await pending.get_unopened())
        if report.observer is not None and report.observer.wants_uploads:
            await file.write(data)
            early.clear()
            await judge(report, file)
            data = b""
        await file.commit(data, timeout=timeout)
    except asyncio.CancelledError:
        if pending.file is not None:
            _note_if_published(report, result, pending.file)
        raise
    except Exception as error:
        failure = report.failure(error, result.bytes)
        if failure is error:
            raise
        raise failure from error

    return await _published(report, result, file)


async def _published(
    report: Report, result: TransferResult, target: UploadTarget
) -> TransferResult:
    """Record in a result how its upload was published, and tell of it."""

    result = _as_published(result, target)
    await report.publish(result)
    return result


def _note_if_published(report: Report, result: TransferResult, target: UploadTarget) -> None:
    """Note for the observer if an upload has got its name although its transfer was cancelled."""

    if getattr(target, "is_published", False) is True:
        report.note_published(_as_published(result, target))


def _as_published(result: TransferResult, target: UploadTarget) -> TransferResult:
    is_spooled = isinstance(target, FileTarget) and target.is_spooled
    return attrs.evolve(result, spooled=True) if is_spooled else result


async def _let_go(
    target: UploadTarget,
    failure: BaseException,
    timeout: float | None,
    *,
    is_cut: bool,
    early: Iterable[bytes] = (),
) -> None:
    """Keep or discard an upload; a failure to do so must not conceal why the upload ended.

    Args:
        target: The target of the upload.
        failure: Why it ended.
        timeout: Seconds that this may take.
        is_cut: Whether the upload was cut, and not refused.
        early: Bytes that have arrived, but are not written yet.
    """

    async def keep() -> None:
        keeping = cast("ResumableTarget", target)
        try:
            for data in early:
                await keeping.write(data)
        finally:
            await keeping.keep()

    may_keep = is_cut and hasattr(target, "keep")
    try:
        await finish_despite_cancellation(keep() if may_keep else target.discard(), timeout)
    except Exception as error:  # noqa: BLE001 - whatever it was, it is noted
        done = "kept" if may_keep and leaves_part(target) else "discarded"
        failure.add_note(f"the incomplete upload could not be {done}: {in_words(repr, error)}")


async def _let_go_of_refused(target: object, refusal: Exception) -> None:
    """Let go of an upload that was refused at the call, if its target has `discard`.

    Nothing of it has arrived; what arrived in earlier attempts stays.
    """

    if inspect.iscoroutinefunction(getattr(target, "discard", None)):
        timeout = DEFAULT_DEADLINES.close
        await _let_go(cast("UploadTarget", target), refusal, timeout, is_cut=True)


def _mode(*, offset: int, append: bool, resume: PartOwner | None) -> WriteMode:
    """Return how to write to a path."""

    if append:
        return WriteMode.APPEND
    if not offset:
        return WriteMode.ATOMIC

    return WriteMode.IN_PLACE if resume is None else WriteMode.RESUME


def _is_over_with_connection(parameters: TransferParameters) -> bool:
    return (
        parameters.mode is TransmissionMode.STREAM and parameters.structure is Structure.FILE
    )


def _position(target: UploadTarget, offset: int) -> int:
    """Return where the first byte goes, which is not `offset` if data are appended."""

    return target.position if isinstance(target, FileTarget) else offset


def _as_upload_target(
    target: BinaryIO | UploadTarget, limiter: anyio.CapacityLimiter | None
) -> UploadTarget:
    if is_upload_target(target):
        return cast("UploadTarget", target)

    return FileObjectTarget(cast("BinaryIO", target), limiter)
