"""Several observers in the place of one."""

from __future__ import annotations

import asyncio
import os

from ..addresses import HostPort
from ..errors import FTPDataError
from ..outcome import TransferResult
from ._telling import lent, tell, tell_published
from .contract import Observer, Transfer, Upload

__all__ = ["ObserverGroup"]


class ObserverGroup(Observer):
    """Tells several observers, in their order; what one of them raises concerns no other.

    Args:
        observers: The observers.

    Attributes:
        observers: As above.
        logs_failures: Whether one of them does.
        wants_progress: Whether one of them does.
        wants_uploads: Whether one of them does.
        wants_published: Whether one of them does.
        publish_timeout: Seconds for all of them together.
    """

    def __init__(self, *observers: Observer) -> None:
        for observer in observers:
            if not isinstance(observer, Observer):
                raise TypeError(f"observers must be Observers, not {observer!r:.60}")

        self.observers: tuple[Observer, ...] = observers
        self.logs_failures: bool = any(each.logs_failures for each in observers)
        self._watching: tuple[Observer, ...] = tuple(
            each for each in observers if each.wants_progress
        )
        self._judging: tuple[Observer, ...] = tuple(
            each for each in observers if each.wants_uploads
        )
        self.wants_progress: bool = bool(self._watching)
        self.wants_uploads: bool = bool(self._judging)
        self._acting: tuple[Observer, ...] = tuple(
            each for each in observers if each.wants_published
        )
        self.wants_published: bool = bool(self._acting)
        self.publish_timeout: float = sum(
            each.publish_timeout for each in observers if each.wants_uploads or each.wants_published
        )

    def listening(self, address: HostPort) -> None:
        """Tell them."""

        for observer in self.observers:
            tell(observer, "listening", address)

    def released(self, address: HostPort) -> None:
        """Tell them."""

        for observer in self.observers:
            tell(observer, "released", address)

    def stranger(self, address: HostPort, host: str, reason: str) -> None:
        """Tell them."""

        for observer in self.observers:
            tell(observer, "stranger", address, host, reason)

    def refused(self, error: FTPDataError) -> None:
        """Tell them."""

        for observer in self.observers:
            tell(observer, "refused", error)

    def started(self, transfer: Transfer) -> None:
        """Tell them."""

        for observer in self.observers:
            tell(observer, "started", transfer)

    def progressed(self, transfer: Transfer) -> None:
        """Tell those that want to know."""

        for observer in self._watching:
            tell(observer, "progressed", transfer)

    async def before_publish(self, transfer: Transfer, upload: Upload) -> None:
        """Ask those that want to be asked, one after the other; the first veto counts."""

        for observer in self._judging:
            with lent(os.dup(upload.fd)) as fd:
                os.lseek(fd, 0, os.SEEK_SET)
                async with asyncio.timeout(observer.publish_timeout):
                    await observer.before_publish(transfer, Upload(fd, upload.size))

    async def published(self, transfer: Transfer, result: TransferResult) -> None:
        """Tell those that want to know, one after the other."""

        for observer in self._acting:
            await tell_published(observer, transfer, result)

    def ended(
        self, transfer: Transfer, result: TransferResult, error: BaseException | None
    ) -> None:
        """Tell them."""

        for observer in self.observers:
            tell(observer, "ended", transfer, result, error)
