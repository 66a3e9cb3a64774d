"""Restarts at another place, and numbers that are taken for others."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ftpdata.testing import Outcome
from tests.testing.proofs import Defect
from tests.testing.scripted_server import Link, Session

__all__ = ["DEFECTS"]


class BeginsOneLater(Session):
    """Begins one byte too late."""

    async def send_file(self, link: Link, path: Path, offset: int, size: int) -> None:
        await super().send_file(link, path, offset + bool(offset), size)


class IgnoresZero(Session):
    """REST 0 is no number."""

    async def do_rest(self, argument: str) -> None:
        offset = self.offset
        await super().do_rest(argument)
        self.offset = self.offset or offset


class KeepsTheOffset(Session):
    """Keeps the offset for the next transfer."""

    async def carry_out(self, line: str) -> None:
        offset = self.offset
        await super().carry_out(line)
        if line[:4] == "RETR":
            self.offset = offset


class BeginsAgainAtTheEnd(Session):
    """From the end or beyond, it begins at the beginning."""

    async def do_retr(self, argument: str) -> None:
        path = self.path(argument)
        if path.is_file() and self.offset >= path.stat().st_size:
            self.offset = 0
        await super().do_retr(argument)


class StopsAtTheEnd(Session):
    """Beyond the end there is nothing, and 226."""

    async def do_retr(self, argument: str) -> None:
        path = self.path(argument)
        if path.is_file():
            self.offset = min(self.offset, path.stat().st_size)
        await super().do_retr(argument)


class Overflows(Session):
    """Has numbers of 32 bits."""

    async def do_rest(self, argument: str) -> None:
        await super().do_rest(argument)
        self.offset %= 2**32


class TakesPythonsNumbers(Session):
    """Takes what Python takes."""

    async def do_rest(self, argument: str) -> None:
        try:
            await super().do_rest(str(abs(int(argument))))
        except ValueError:
            await super().do_rest(argument)


class StoresTheRest(Session):
    """STOR and APPE know no offset."""

    async def do_stor(self, argument: str) -> None:
        self.offset = 0
        await super().do_stor(argument)

    async def do_appe(self, argument: str) -> None:
        self.offset = 0
        await super().do_appe(argument)


class MakesHoles(Session):
    """Beyond the end, there are zeros."""

    async def do_stor(self, argument: str) -> None:
        path = self.path(argument)
        if path.is_file():
            content = path.read_bytes()
            path.write_bytes(content.ljust(self.offset, b"\0"))
        await super().do_stor(argument)


class RestartsListings(Session):
    """Begins a listing at the offset, too."""

    def send_rows(self, rows: list[str]) -> None:
        offset = self.offset

        async def move(link: Link) -> None:
            text = "".join(f"{row}\r\n" for row in rows)[offset:]
            await link.send(text.encode("utf-8", "surrogateescape"))

        self.begin(move)


class CountsBytesOfTheFile(Session):
    """In TYPE A, the offset is one in the file."""

    async def do_retr(self, argument: str) -> None:
        path, offset = self.file(argument), self.offset

        async def move(link: Link) -> None:
            await self.send_file(link, path, offset, path.stat().st_size)

        self.begin(move)


class HidesRest(Session):
    """Does not tell that it has REST."""

    features: ClassVar[tuple[str, ...]] = tuple(
        feature for feature in Session.features if feature != "REST STREAM"
    )


class RefusesRest(Session):
    """Tells that it has REST, and takes no number but 0."""

    async def do_rest(self, argument: str) -> None:
        await super().do_rest(argument if argument == "0" else "")


DEFECTS = [
    Defect("rest-and-retr", BeginsOneLater, "after REST 1: 998 bytes, not 999"),
    Defect("rest-zero", IgnoresZero, "995 bytes, not 1000"),
    Defect("rest-is-for-one-transfer", KeepsTheOffset, "the second RETR after REST 5"),
    Defect("restart-after-a-failure", KeepsTheOffset, "REST is kept", Outcome.WARNING),
    Defect("rest-at-the-end", BeginsAgainAtTheEnd, "1000 bytes came"),
    Defect("rest-beyond-the-end", BeginsAgainAtTheEnd, "1000 bytes came"),
    Defect("rest-beyond-the-end", StopsAtTheEnd, "is an empty file", Outcome.WARNING),
    Defect("rest-of-large-numbers", Overflows, "after REST 4294967296"),
    Defect("rest-of-no-number", TakesPythonsNumbers, "REST takes '-1', '+1', '1_0', "),
    Defect("rest-and-stor", StoresTheRest, "40000 bytes, not 100000"),
    Defect("rest-and-stor-beyond-the-end", MakesHoles, "with a hole", Outcome.WARNING),
    Defect("rest-and-appe", StoresTheRest, "REST before APPE is ignored", Outcome.WARNING),
    Defect("rest-and-listings", RestartsListings, "LIST after REST 3 has"),
    Defect("rest-in-ascii", CountsBytesOfTheFile, "from 7 on is"),
    Defect("rest-stream-feature", HidesRest, "no line `REST STREAM`", Outcome.WARNING),
    Defect("rest-stream-feature", RefusesRest, "REST 1 was answered by '501"),
]
