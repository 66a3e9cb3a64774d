"""Opens the endpoint of a transfer, and closes it if that fails."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from .._tasks import give_up
from ..connection.protocol import DTP
from ..contracts import SentCallback
from ..errors import FTPDataError
from ..observers.contract import Observer
from ..opening.endpoint import Endpoint
from ..outcome import Direction, End
from ._pending import PendingFile
from ._report import Report
from .reuse import ReusableConnection

__all__ = [
    "Connection",
    "Opening",
    "abort_connection",
    "dtp_of",
    "observed_of",
    "observer_of",
    "opened",
    "opened_together",
    "report_on",
]

Connection = DTP | Endpoint | ReusableConnection
"""The types that the transfer functions take as their connection."""


def dtp_of(connection: DTP | ReusableConnection) -> DTP:
    """Return the `DTP` that the bytes pass over."""

    return connection if isinstance(connection, DTP) else connection.dtp


def report_on(
    connection: Connection,
    direction: Direction,
    *,
    offset: int = 0,
    digest: str | None = None,
    on_sent: SentCallback | None = None,
) -> Report:
    """Begin the report of a transfer over this connection, for its observer.

    Args:
        connection: The connection.
        direction: The direction of the bytes.
        offset: Where in the file the transfer starts, in bytes.
        digest: Name of a digest to compute over the bytes of the file.
        on_sent: Called when everything has left this system.
    """

    known = _observed_part(connection)
    return Report(
        direction,
        offset=offset,
        digest=digest,
        observer=known.observer,
        subject=known.subject,
        activity=known.activity,
        cut=functools.partial(abort_connection, connection),
        on_sent=on_sent,
    )


def observer_of(connection: Connection) -> Observer | None:
    """Return the observer of the transfer over a connection."""

    return _observed_part(connection).observer


def _observed_part(connection: Connection) -> Endpoint | DTP:
    return connection if isinstance(connection, Endpoint) else dtp_of(connection)


def observed_of(*connections: Connection) -> Connection:
    """Return the last of the connections of a transfer that has an observer, if one has."""

    for connection in reversed(connections):
        if observer_of(connection) is not None:
            return connection

    return connections[-1]


def abort_connection(connection: Connection, end: End, message: str | None = None) -> None:
    """Reset the connection of a transfer that does not begin."""

    if isinstance(connection, Endpoint):
        connection.abort(end, message)
    else:
        dtp_of(connection).abort(end, message)


class Opening:
    """A context manager in which an endpoint is opened.

    If it does not open, it is closed, and the error gets the result.

    Args:
        endpoint: The endpoint.
        report: The report of its transfer.
        pending: A file that is opened meanwhile. If that fails, the transfer
            fails with the file's error, whether a peer connects or not.
    """

    def __init__(
        self, endpoint: Endpoint, report: Report, pending: PendingFile[Any] | None = None
    ) -> None:
        self._endpoint = endpoint
        self._report = report
        self._pending = pending

    def __enter__(self) -> None:
        if self._pending is not None:
            self._pending.on_failure = self._endpoint.abort

    def __exit__(self, _: object, raised: BaseException | None, __: object) -> None:
        pending = self._pending
        try:
            if isinstance(raised, FTPDataError):
                failure = None if pending is None else pending.failure
                self._fail(raised if failure is None else self._report.failure(failure, 0), raised)
            elif raised is not None:
                self._endpoint.abort(End.CANCELLED)
        finally:
            if pending is not None:
                pending.on_failure = None

    def _fail(self, error: FTPDataError, raised: FTPDataError) -> None:
        if error.end is None:
            error.end = End.OPEN_FAILED
        if error.result is None:
            self._report.failure(error, 0)
        self._endpoint.abort(error.end)
        if error is not raised:
            raise error from error.__cause__


async def opened(
    connection: Connection, report: Report, pending: PendingFile[Any] | None = None
) -> DTP | ReusableConnection:
    """Open an endpoint; return anything else as it is.

    Args:
        connection: The connection of a transfer.
        report: The report of that transfer.
        pending: A file that is opened while the connection is made; see `Opening`.

    Raises:
        FTPDataError: The endpoint does not open; carries the result. See `Endpoint.open`.
    """

    if not isinstance(connection, Endpoint):
        return connection

    with Opening(connection, report, pending):
        if pending is not None:
            pending.begin()
        dtp = await connection.open(keep=True)

    report.restart_clock()
    return dtp


async def opened_together(
    connections: tuple[DTP | Endpoint, ...], report: Report
) -> tuple[DTP, ...]:
    """Open several endpoints at the same time.

    Raises:
        FTPDataError: One of them does not open, and all of them are closed.
    """

    tasks = [asyncio.ensure_future(opened(each, report)) for each in connections]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()
        return tuple(dtp_of(task.result()) for task in tasks)
    except BaseException as error:
        end = (isinstance(error, FTPDataError) and error.end) or End.CANCELLED
        for connection in connections:
            abort_connection(connection, end)
        await give_up(*tasks)
        raise
