"""A transfer from one data connection to another."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Iterator

from .._hangup import HangupWatch
from .._kernel import sight_of
from ..connection._loss import end_of_loss
from ..connection.protocol import DTP
from ..connection.receive_queue import ReceiveQueue
from ..contracts import ProgressCallback
from ..deadlines import DEFAULT_DEADLINES, Deadlines
from ..errors import FTPDataError
from ..opening.endpoint import Endpoint
from ..outcome import Direction, TransferResult
from ..throttle import TokenBucket
from ._door import AtTheDoor, check_arguments
from ._opened import observed_of, opened_together, report_on
from ._supervisor import Supervisor

__all__ = ["relay"]


async def relay(
    source: DTP | Endpoint,
    destination: DTP | Endpoint,
    *,
    throttle: TokenBucket | None = None,
    progress: ProgressCallback | None = None,
    digest: str | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> TransferResult:
    """Forward the data of one connection to another, at the pace of the slower one.

    The destination gets an end of file only if the source ended cleanly. If either
    side is cut, the other one is reset.

    Args:
        source: The connection that the bytes come from: a connected `DTP`, or an endpoint
            that is opened here; it is closed in any case.
        destination: The connection that they are sent over, of the same kinds.
        throttle: Limits the rate.
        progress: Called with the bytes relayed so far; the total is None.
        digest: Digest to compute over the bytes.
        deadlines: When to give up, on either side.

    Returns:
        The result of the destination, whose bytes are the source's.

    Raises:
        FTPDataError: Either side was cut or could not be opened; carries the result
            and the reply code.

    Cancellation resets both connections.
    """

    with AtTheDoor(Direction.SENT, source, destination):
        check_arguments(locals())

    with report_on(observed_of(source, destination), Direction.SENT, digest=digest) as report:
        incoming, outgoing = await opened_together((source, destination), report)
        transfer = Supervisor(
            outgoing,
            report,
            others=(incoming,),
            deadlines=deadlines,
            throttle=throttle,
            progress=progress,
        )

        async def body() -> None:
            queue = ReceiveQueue.attach(incoming)
            with _noticing_loss(incoming):
                while data := await queue.receive():
                    await transfer.pace.send(data)
                    await transfer.note_file_bytes(data)
                    # Do not keep the piece while waiting for the next one: the peer may stall.
                    del data

            with contextlib.suppress(FTPDataError):
                await incoming.finish(deadlines.close)

        return await transfer.run(body)


@contextlib.contextmanager
def _noticing_loss(source: DTP) -> Iterator[None]:
    """Cut a source at once when its peer is gone, even while a slow destination delays it.

    Nothing reads from the source then, so its transport does not notice. Bytes that have arrived
    and were not read are lost, which does no harm: the destination cannot get the whole anyway.
    """

    sock = source.transport.get_extra_info("socket")
    fd = -1 if sock is None else sock.fileno()
    if fd < 0:
        yield
        return

    def look() -> None:
        sight = sight_of(sock)
        error = sight.error
        # A peer that has sent its end of file before it left has sent everything (EPIPE).
        has_ended = error is not None and error.errno == errno.EPIPE
        if sight.is_gone and not has_ended:
            source.abort(end_of_loss(error), cause=error)

    watch = HangupWatch.of(asyncio.get_running_loop())
    watch.add(fd, look)
    try:
        yield
    finally:
        watch.remove(fd, look)
