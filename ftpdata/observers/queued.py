"""An observer that may take its time: its methods are called in a thread of its own."""

from __future__ import annotations

import collections
import copy
import logging
import threading
import traceback
from typing import Self

import attrs

from .._checks import check_call, check_range, check_seconds
from ..addresses import HostPort
from ..errors import FTPDataError, in_words
from ..outcome import Direction, TransferResult
from ._telling import Event, tell
from .contract import Observer, Subject, Transfer

__all__ = ["QueuedObserver"]

logger: logging.Logger = logging.getLogger("ftpdata.observers")


@attrs.frozen
class _Snapshot:
    """A transfer as it was at an event, which reaches the thread later."""

    number: int
    direction: Direction
    offset: int
    subject: Subject | None
    path: str | None
    file_bytes: int
    total: int | None
    peer: HostPort | None
    seconds: float

    @classmethod
    def of(cls, transfer: Transfer) -> _Snapshot:
        """Take one."""

        return cls(
            transfer.number,
            transfer.direction,
            transfer.offset,
            transfer.subject,
            transfer.path,
            transfer.file_bytes,
            transfer.total,
            transfer.peer,
            transfer.seconds,
        )


class _Raised:
    """An exception that waits: without its frames, which hold the buffers of a transfer."""

    def __init__(self, error: BaseException) -> None:
        self._text = traceback.TracebackException.from_exception(error, lookup_lines=False)
        self._like = _like(error)

    def told(self) -> BaseException:
        """Return one like it; its traceback is a note."""

        self._like.add_note("".join(self._text.format()).rstrip())
        return self._like


def _like(error: BaseException) -> BaseException:
    """Return an exception of the same class and with the same facts, which nobody has raised."""

    try:
        like = copy.copy(error)
    except Exception:  # noqa: BLE001 - an exception of the host's may be made in any way
        return RuntimeError(in_words(repr, error))
    # The notes are in the text already.
    vars(like).pop("__notes__", None)
    return like


class QueuedObserver(Observer):
    """Tells an observer in a thread of its own, so that it may write to a file or a network.

    A context manager: the thread runs within the block, and at its end every event that
    waits is still delivered. Events wait in the order in which they happened, up to `limit` of
    them; those that find no room, or come after the block, are counted in `dropped`, and the first
    of them is logged (logger ``ftpdata.observers``). What the observer reads of a transfer is as it
    was when the event happened. An exception comes without its traceback, which is a note of it:
    its frames would keep what a transfer had in memory.

    Args:
        observer: The observer; only this thread calls it from now on.
        limit: Events that may wait.
        patience: Seconds that the end of the block waits for the observer.

    Raises:
        ValueError: The observer has `before_publish` or `published`, which transfers wait for:
            they would never be called.

    Attributes:
        observer: As above.
        dropped: Events that found no room, were not delivered in time at the end, or came after it.
    """

    def __init__(
        self, observer: Observer, *, limit: int = 1000, patience: float = 10.0
    ) -> None:
        check_call(QueuedObserver.__init__, locals())
        check_range("limit", limit, 1)
        check_seconds("patience", patience)
        if observer.wants_uploads or observer.wants_published:
            raise ValueError(
                "expected an observer without before_publish and published, for which transfers "
                f"wait, not {type(observer).__qualname__}"
            )
        self.observer: Observer = observer
        self.dropped: int = 0
        self.logs_failures: bool = observer.logs_failures
        self.wants_progress: bool = observer.wants_progress
        self._limit = limit
        self._patience = patience
        self._events: collections.deque[tuple[Event, tuple[object, ...]]] = collections.deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start the thread.

        Raises:
            RuntimeError: It was entered before.
        """

        if self._thread is not None:
            raise RuntimeError("a QueuedObserver is entered once")

        # A thread of an observer that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="ftpdata-observer", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        assert self._thread is not None
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(self._patience)
        with self._changed:
            # The thread ends early if the observer ends it (SystemExit).
            left = len(self._events) + self._thread.is_alive()
            self._events.clear()
        if left:
            self.dropped += left
            logger.error(
                "%s did not end in %g s; it was not told of %d events",
                type(self.observer).__qualname__,
                self._patience,
                left,
            )

    def _put(self, event: Event, *about: object) -> None:
        with self._changed:
            is_over = self._is_closing
            if len(self._events) < self._limit and not is_over:
                self._events.append((event, about))
                self._changed.notify()
                return

        self.dropped += 1
        if self.dropped > 1:
            return

        if is_over:
            logger.error(
                "%s is told of nothing more, since the block of its queue has ended; what comes "
                "now is only counted",
                type(self.observer).__qualname__,
            )
        else:
            logger.error(
                "%s is too slow: %d events wait, and what finds no room is only counted",
                type(self.observer).__qualname__,
                self._limit,
            )

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._events and not self._is_closing:
                    self._changed.wait()
                if not self._events:
                    return
                event, waiting = self._events.popleft()
            about = [each.told() if isinstance(each, _Raised) else each for each in waiting]
            del waiting
            tell(self.observer, event, *about)

    # The events

    def listening(self, address: HostPort) -> None:
        """Pass it on."""

        self._put("listening", address)

    def released(self, address: HostPort) -> None:
        """Pass it on."""

        self._put("released", address)

    def stranger(self, address: HostPort, host: str, reason: str) -> None:
        """Pass it on."""

        self._put("stranger", address, host, reason)

    def refused(self, error: FTPDataError) -> None:
        """Pass it on."""

        self._put("refused", _Raised(error))

    def started(self, transfer: Transfer) -> None:
        """Pass it on."""

        self._put("started", _Snapshot.of(transfer))

    def progressed(self, transfer: Transfer) -> None:
        """Pass it on."""

        self._put("progressed", _Snapshot.of(transfer))

    def ended(
        self, transfer: Transfer, result: TransferResult, error: BaseException | None
    ) -> None:
        """Pass it on."""

        raised = None if error is None else _Raised(error)
        self._put("ended", _Snapshot.of(transfer), result, raised)
