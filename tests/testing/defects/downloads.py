"""Downloads that are cut, mixed, or of something else."""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from ftpdata.testing import Outcome
from tests.testing.proofs import Defect
from tests.testing.scripted_server import BLOCK, Link, Session, saying

__all__ = ["DEFECTS"]


class SendsTheBeginning(Session):
    """Loses bytes of each block."""

    def encode(self, data: bytes) -> bytes:
        return data[:65_000]


class SendsNothing(Session):
    """A missing file is an empty one."""

    async def do_retr(self, argument: str) -> None:
        if self.path(argument).exists():
            await super().do_retr(argument)
            return

        async def move(link: Link) -> None:
            pass

        self.begin(move)


class LooksAfterwards(Session):
    """Notices after the 150 that a file is missing."""

    async def do_retr(self, argument: str) -> None:
        if self.path(argument).exists():
            await super().do_retr(argument)
            return

        async def move(link: Link) -> None:
            raise FileNotFoundError(errno.ENOENT, "No such file")

        self.begin(move)


class SendsDirectories(Session):
    """Sends what is in a directory."""

    async def do_retr(self, argument: str) -> None:
        if self.path(argument).is_dir():
            self.send_rows(["total 0"])
        else:
            await super().do_retr(argument)


class WaitsForEver(Session):
    """Waits for a data connection that nobody has asked for."""

    def begin(
        self, move: Callable[[Link], Coroutine[Any, Any, None]], note: str = "Here it goes."
    ) -> None:
        if self.data is not None:
            super().begin(move, note)


class StopsWhereItEnds(Session):
    """Stops where the file ends by now."""

    async def send_file(self, link: Link, path: Path, offset: int, size: int) -> None:
        with path.open("rb") as file:
            file.seek(offset)
            while data := file.read(BLOCK):
                await link.send(data)


class PromisesTheSize(StopsWhereItEnds):
    """Says how much comes, and stops where the file ends by now."""

    def say(self, verb: str, line: str) -> str:
        return line.replace("Here it goes.", "Here it goes (8388608 bytes).")


class BeginsAgain(Session):
    """Sends a file that has grown once more."""

    async def send_file(self, link: Link, path: Path, offset: int, size: int) -> None:
        await super().send_file(link, path, offset, size)
        if path.stat().st_size > size:  # noqa: ASYNC240 - blocking calls, as all of it
            await link.send(path.read_bytes()[:1000])  # noqa: ASYNC240


class OpensAgain(Session):
    """Opens the file for each block; if the file is gone, takes that for its end."""

    async def send_file(self, link: Link, path: Path, offset: int, size: int) -> None:
        for start in range(offset, size, BLOCK):
            if not path.exists():  # noqa: ASYNC240
                return
            with path.open("rb") as file:
                file.seek(start)
                await link.send(file.read(BLOCK))


class HasShortNumbers(Session):
    """Has sizes of 32 bits."""

    async def do_size(self, argument: str) -> None:
        await self.reply(f"213 {self.file(argument).stat().st_size % 2**32}")


class HasShortOffsets(Session):
    """Has offsets of 32 bits: from there on, too much would come."""

    async def do_rest(self, argument: str) -> None:
        await super().do_rest(argument)
        self.offset = self.offset % 2**32 + 2**32 + 1


DEFECTS = [
    Defect("file-of-more-than-4-gib", HasShortNumbers, "'213 30'"),
    Defect("file-of-more-than-4-gib", HasShortOffsets, "came b'he end"),
    Defect("downloads-of-every-size", SendsTheBeginning, "RETR of 65535 bytes: 65000"),
    Defect("download-of-a-missing-file", SendsNothing, "RETR of a missing file sent b''"),
    Defect("download-of-a-missing-file", LooksAfterwards, "then '451", Outcome.WARNING),
    Defect("download-of-a-directory", SendsDirectories, "b'total 0"),
    Defect(
        "download-without-a-data-connection",
        WaitsForEver,
        "no reply",
        Outcome.WARNING,
        patience=2.0,
    ),
    Defect(
        "download-without-a-data-connection",
        saying("RETR", "226 Done.", instead_of="425"),
        "answered by '226 Done.'",
    ),
    Defect("file-that-shrinks", StopsWhereItEnds, "bytes 7388608 came", Outcome.WARNING),
    Defect("file-that-shrinks", PromisesTheSize, "(8388608 bytes)."),
    Defect("file-that-grows", BeginsAgain, "of a file that grew"),
    Defect("file-that-is-replaced", OpensAgain, "old and new are mixed"),
    Defect("file-that-is-deleted", OpensAgain, "of 8388608 bytes came, and '226"),
]
