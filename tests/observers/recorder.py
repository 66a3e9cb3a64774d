"""An observer that remembers what it was told."""

from __future__ import annotations

from typing import Any

from ftpdata.addresses import HostPort
from ftpdata.errors import FTPDataError
from ftpdata.observers import Observer, Transfer
from ftpdata.outcome import TransferResult

__all__ = ["Recorder", "Stubborn"]


class Recorder(Observer):
    """Remembers all events, and the transfers and results that came with them."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.transfers: list[Transfer] = []
        self.results: list[TransferResult] = []
        self.errors: list[BaseException | None] = []
        self.about: list[Any] = []

    def listening(self, address: HostPort) -> None:
        """Remember it."""

        self.events.append("listening")
        self.about.append(address)

    def released(self, address: HostPort) -> None:
        """Remember it."""

        self.events.append("released")
        self.about.append(address)

    def stranger(self, address: HostPort, host: str, reason: str) -> None:
        """Remember it."""

        self.events.append("stranger")
        self.about.append((address, host, reason))

    def refused(self, error: FTPDataError) -> None:
        """Remember it."""

        self.events.append("refused")
        self.about.append(error)

    def started(self, transfer: Transfer) -> None:
        """Remember it."""

        self.events.append("started")
        self.transfers.append(transfer)

    def progressed(self, transfer: Transfer) -> None:
        """Remember it."""

        self.events.append("progressed")

    def ended(
        self, transfer: Transfer, result: TransferResult, error: BaseException | None
    ) -> None:
        """Remember it."""

        self.events.append("ended")
        assert transfer in self.transfers
        self.results.append(result)
        self.errors.append(error)


class Stubborn(Observer):
    """Fails at everything."""

    def listening(self, address: HostPort) -> None:
        """Remember it."""

        raise RuntimeError("listening")

    def released(self, address: HostPort) -> None:
        """Remember it."""

        raise RuntimeError("released")

    def stranger(self, address: HostPort, host: str, reason: str) -> None:
        """Remember it."""

        raise RuntimeError("stranger")

    def refused(self, error: FTPDataError) -> None:
        """Remember it."""

        raise RuntimeError("refused")

    def started(self, transfer: Transfer) -> None:
        """Remember it."""

        raise RuntimeError("started")

    def progressed(self, transfer: Transfer) -> None:
        """Remember it."""

        raise RuntimeError("progressed")

    def ended(
        self, transfer: Transfer, result: TransferResult, error: BaseException | None
    ) -> None:
        """Remember it."""

        raise RuntimeError("ended")
