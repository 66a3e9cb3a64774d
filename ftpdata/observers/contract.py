"""The contract of observers: the events, and what an observer sees of a transfer.

Pure.
"""

from __future__ import annotations

from typing import Protocol

import attrs

from .._checks import checked
from ..addresses import HostPort
from ..errors import FTPDataError
from ..outcome import Direction, TransferResult

__all__ = ["Observer", "Subject", "Transfer", "Upload"]


@attrs.frozen(kw_only=True, field_transformer=checked)
class Subject:
    """What the host knows of a transfer, and the data connection does not.

    The host sets it as `Endpoint.subject` before the transfer; observers get it back.

    Attributes:
        command: The command that asked for the transfer, such as ``RETR``.
        name: Name of the file as the client knows it.
        user: Who has logged in.
        is_anonymous: Whether that is an anonymous user.
        is_text: Whether TYPE A is in use.
        session: What the host calls the control session.
    """

    command: str | None = None
    name: str | None = None
    user: str | None = None
    is_anonymous: bool = False
    is_text: bool = False
    session: str | None = None


class Transfer(Protocol):
    """A transfer that runs, or has ended. For reading only."""

    @property
    def number(self) -> int:
        """Counts the transfers of this process."""

    @property
    def direction(self) -> Direction:
        """Sent or received, seen from this side."""

    @property
    def offset(self) -> int:
        """Where in the file it began (REST), in bytes."""

    @property
    def subject(self) -> Subject | None:
        """What the host has said of it."""

    @property
    def path(self) -> str | None:
        """The path of the file on this side, if the transfer was given one."""

    @property
    def file_bytes(self) -> int:
        """Bytes of the file that have passed so far."""

    @property
    def total(self) -> int | None:
        """Bytes of the file that will pass, if that is known."""

    @property
    def peer(self) -> HostPort | None:
        """Address and port of the peer, as far as they are known."""

    @property
    def seconds(self) -> float:
        """Seconds since it began, by a monotonic clock."""


@attrs.frozen(field_transformer=checked)
class Upload:
    """A whole upload that is not published yet.

    Attributes:
        fd: A descriptor to read it with, at its first byte. It is closed after the decision;
            ``open(fd, "rb", closefd=False)`` makes a file of it.
        size: Its bytes.
    """

    fd: int
    size: int


class Observer:
    """Sees everything that transfers and their endpoints do. The methods here do nothing.

    Give it to `listen_passive`, `connect_active`, a `PassiveListener`, a `ListenerPool` or
    an `AcceptedEndpoint`, and override what is of interest. The methods are called in the
    event loop, between two steps of a transfer, so they must return at once: an observer
    that writes to a file or a network goes into a `QueuedObserver`. An exception changes no
    transfer. It is logged once for each observer, to the logger ``ftpdata.observers``.

    Attributes:
        logs_failures: Whether it logs failed transfers, so that the report of each need
            not (logger ``ftpdata.transfers``).
        wants_progress: Whether it does anything in `progressed`; known by itself.
        wants_uploads: Whether it does anything in `before_publish`; known by itself.
        wants_published: Whether it does anything in `published`; known by itself.
        publish_timeout: Seconds that `before_publish` may take, and `published`.
    """

    logs_failures: bool = False
    wants_progress: bool = False
    wants_uploads: bool = False
    wants_published: bool = False
    publish_timeout: float = 60.0

    def __init_subclass__(cls, **arguments: object) -> None:
        super().__init_subclass__(**arguments)
        cls.wants_progress = cls.progressed is not Observer.progressed
        cls.wants_uploads = cls.before_publish is not Observer.before_publish
        cls.wants_published = cls.published is not Observer.published

    def listening(self, address: HostPort) -> None:
        """Note that an endpoint waits for its connection at this address."""

    def released(self, address: HostPort) -> None:
        """Note that it waits no more: connected, or given up. Follows each `listening`."""

    def stranger(self, address: HostPort, host: str, reason: str) -> None:
        """Note that a connection was refused.

        Args:
            address: Where it arrived.
            host: Where it came from.
            reason: Why it was refused.
        """

    def refused(self, error: FTPDataError) -> None:
        """Note that no endpoint was made: no free port, a target that the policy refuses."""

    def started(self, transfer: Transfer) -> None:
        """Note that a transfer was called for; its connection may not be there yet."""

    def progressed(self, transfer: Transfer) -> None:
        """Note that bytes have passed. At most ten times a second for each transfer.

        Small files have ended before there is anything to tell.
        """

    async def before_publish(self, transfer: Transfer, upload: Upload) -> None:
        """Decide whether an upload may be published: the only method that changes a transfer.

        It is awaited once everything has arrived, while the client waits for its reply.
        Nobody can see the upload by then, and nobody changes it from then on. Uploads that are
        written where everybody sees them cannot be vetoed: an endpoint whose observer has
        this method refuses APPE, and STOR with an offset unless it goes on with a part.

        Raises:
            UploadVetoed: It is not published, and nothing is left of it. The reply is the
                error's.
            Exception: It is not published either, nor if this takes longer than `publish_timeout`:
                the reply is 451.

        Cancellation cancels the transfer.
        """

    async def published(self, transfer: Transfer, result: TransferResult) -> None:
        """Act on an upload that has its name now, before the transfer ends.

        The client's reply comes after it. An exception, or taking longer than `publish_timeout`, is
        logged once, and changes nothing: the file is there. See `PublishedObserver` for what is to
        run beside the transfers.

        Args:
            transfer: The transfer.
            result: Its result, which is clean.

        Cancellation cancels the transfer, but `ended` gets the clean result. If the transfer is
        cancelled while the upload gets its name, `ended` gets it as well, and this is not called.
        """

    def ended(
        self, transfer: Transfer, result: TransferResult, error: BaseException | None
    ) -> None:
        """Note how it ended. Follows each `started`, exactly once, whatever happened.

        Args:
            transfer: The transfer.
            result: The facts; `End.CANCELLED` for one that was cancelled.
            error: The exception that the transfer raises; None after a clean end.
        """
