"""Uploads that are stored wrong, or acknowledged without being stored."""

from __future__ import annotations

import re
from pathlib import Path

from ftpdata.testing import Outcome
from tests.testing.proofs import Defect
from tests.testing.scripted_server import Cut, Link, Session, saying

__all__ = ["DEFECTS"]


class StoresTheBeginning(Session):
    """Stores no more than a buffer."""

    def publish(self, path: Path, content: bytes) -> None:
        super().publish(path, content[:65_535])


class WritesOver(Session):
    """Writes over what is there, and leaves the rest of it."""

    def publish(self, path: Path, content: bytes) -> None:
        path.touch()
        with path.open("r+b") as file:
            file.write(content)


class TakesResetsForTheEnd(Session):
    """Takes a reset for the end of the file."""

    async def receive_file(self, link: Link) -> bytes:
        data = b""
        try:
            while piece := await link.receive():
                data += piece
        except Cut:
            pass
        return self.decode(data)


class EmptiesFirst(Session):
    """Empties the file before anything else."""

    async def do_stor(self, argument: str) -> None:
        self._target(argument).write_bytes(b"")
        await super().do_stor(argument)


class WritesInPlace(Session):
    """Writes to the file as it comes, from REST on, whoever else does."""

    async def do_stor(self, argument: str) -> None:
        path, offset = self._target(argument), self.offset
        path.touch()

        async def move(link: Link) -> None:
            with path.open("r+b", buffering=0) as file:
                file.truncate(offset)
                file.seek(offset)
                while piece := await link.receive():
                    file.write(piece)

        self.begin(move)


class AppendsNothing(Session):
    """APPE stores as STOR does."""

    def append(self, path: Path, content: bytes) -> None:
        self.publish(path, content)


class AppendsToWhatWas(Session):
    """Appends to what was there when APPE came."""

    async def do_appe(self, argument: str) -> None:
        path = self._target(argument)
        old = path.read_bytes() if path.exists() else b""

        async def move(link: Link) -> None:
            self.publish(path, old + await self.receive_file(link))

        self.begin(move)


class HasOneUniqueName(Session):
    """Has one name that is unique."""

    def unique_name(self) -> str:
        return "unique"


class KeepsTheName(Session):
    """Does not tell the name."""

    def say(self, verb: str, line: str) -> str:
        return re.sub("FILE: .*", "Send it.", line)


class TellsTheNameElsewhere(Session):
    """Tells the name in words of its own."""

    def say(self, verb: str, line: str) -> str:
        return line.replace("150 FILE:", "150 Its FILE:").replace("125 FILE:", "125 Its FILE:")


class MakesWay(Session):
    """Makes directories that are not there."""

    def path(self, argument: str) -> Path:
        path = super().path(argument)
        if argument.startswith("missing/"):
            path.parent.mkdir(exist_ok=True)
        return path


class LosesTheWay(MakesWay):
    """Keeps nothing that it is sent for them."""

    def publish(self, path: Path, content: bytes) -> None:
        if path.parent.name != "missing":
            super().publish(path, content)


class SaysSo(Session):
    """Says that a file is stored which is not."""

    def _target(self, argument: str) -> Path:
        return self.path(argument)

    def publish(self, path: Path, content: bytes) -> None:
        if path.parent.stat().st_mode & 0o222:
            super().publish(path, content)


DEFECTS = [
    Defect("uploads-of-every-size", StoresTheBeginning, "an upload of 65536 bytes: 65535"),
    Defect("stor-of-a-shorter-file", WritesOver, "100000 bytes, not 5"),
    Defect("reset-upload", TakesResetsForTheEnd, "was reset was answered by '226"),
    Defect("reset-upload-over-a-file", TakesResetsForTheEnd, "was answered by '226"),
    Defect("reset-upload-over-a-file", EmptiesFirst, "the old file is gone", Outcome.WARNING),
    Defect("stor-is-atomic", WritesInPlace, "others see", Outcome.WARNING),
    Defect("appe-command", AppendsNothing, "4 bytes, not 7"),
    Defect("appending-by-several", AppendsToWhatWas, "1 are there"),
    Defect("stou-command", HasOneUniqueName, "twice"),
    Defect("stou-command", KeepsTheName, "tells no name"),
    Defect("stou-command", TellsTheNameElsewhere, "not by `150 FILE: name`", Outcome.WARNING),
    Defect("uploads-of-one-name", WritesInPlace, "bytes at once"),
    Defect(
        "uploads-to-nowhere", MakesWay, "STOR missing/file was answered by '226", Outcome.WARNING
    ),
    Defect("uploads-to-nowhere", LosesTheWay, "STOR missing/file was answered by '226"),
    Defect("upload-without-permission", SaysSo, "there is no such file"),
    Defect("upload-without-a-data-connection", EmptiesFirst, "the old file is now b''"),
    Defect("allo-command", saying("ALLO", "250 Good."), "answered by '250 Good.'"),
    Defect(
        "resumption-of-another-upload", WritesInPlace, "the beginning is another's", Outcome.WARNING
    ),
]
