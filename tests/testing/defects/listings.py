"""Listings that are wrong, or end wrong."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import ClassVar

from ftpdata.testing import Outcome
from tests.testing.proofs import Defect
from tests.testing.scripted_server import DataOpening, Link, Session, saying

__all__ = ["DEFECTS"]


class ListsSizesWrong(Session):
    """Tells a size that is too large, in LIST and in MLSD."""

    def list_row(self, path: Path) -> str:
        return super().list_row(path).replace(" 12345 ", " 12346 ")

    def facts(self, path: Path, name: str) -> str:
        return super().facts(path, name).replace("=12345;", "=12346;")


class ListsItsOwnWay(Session):
    """Has a format that nobody knows."""

    def list_row(self, path: Path) -> str:
        return f"{path.name}: {path.stat().st_size} bytes"


class ListsNoFile(Session):
    """Lists what is in directories alone, and what is no directory is an empty one."""

    def list_rows(self, argument: str) -> list[str]:
        return super().list_rows(argument) if self.path(argument).is_dir() else []

    def nlst_rows(self, argument: str) -> list[str]:
        return super().nlst_rows(argument) if self.path(argument).is_dir() else []

    def mlsd_rows(self, argument: str) -> list[str]:
        return super().mlsd_rows(argument) if self.path(argument).is_dir() else []


class ListsTheParent(Session):
    """Lists the current directory if the one that was asked for does not exist."""

    def list_rows(self, argument: str) -> list[str]:
        return super().list_rows(argument if self.path(argument).exists() else "/")


class DecoratesNames(Session):
    """Puts a slash after the names of directories."""

    def nlst_rows(self, argument: str) -> list[str]:
        where = self.path(argument)
        return [row + "/" if (where / row).is_dir() else row for row in super().nlst_rows(argument)]


class HasNoBlank(Session):
    """The line of MLST has no blank before it."""

    async def do_mlst(self, argument: str) -> None:
        path = self.file(argument)
        await self.reply("250-Here:", self.facts(path, argument), "250 End.")


class IgnoresOptions(Session):
    """OPTS MLST changes nothing."""

    async def do_opts(self, argument: str) -> None:
        await self.reply("200 MLST OPTS size;")


class TalksOfNothing(Session):
    """Says in words that a directory is empty."""

    def nlst_rows(self, argument: str) -> list[str]:
        return super().nlst_rows(argument) or ["No files found"]


class KeepsConnections(Session):
    """Forgets a data connection that was not used, and does not close it."""

    kept: ClassVar[list[DataOpening | None]] = []

    def listen(self) -> int:
        self.kept.append(self.data)
        self.data = None
        return super().listen()

    def close(self) -> None:
        for opening in self.kept:
            if opening is not None:
                opening.close()
        self.kept.clear()
        super().close()


class TakesOptionsForPaths(Session):
    """Knows no options."""

    def list_rows(self, argument: str) -> list[str]:
        return super().list_rows(re.sub(r"^-", "./-", argument))


class ListsNothingForOptions(Session):
    """An option is an empty directory."""

    def list_rows(self, argument: str) -> list[str]:
        return [] if argument.startswith("-") else super().list_rows(argument)


class EndsLinesItsOwnWay(Session):
    """Ends lines with LF."""

    def send_rows(self, rows: list[str]) -> None:
        async def move(link: Link) -> None:
            await link.send("".join(f"{row}\n" for row in rows).encode("utf-8", "surrogateescape"))

        self.begin(move)


class StopsEarly(Session):
    """Lists 255 entries."""

    def names(self, directory: Path) -> list[str]:
        return super().names(directory)[:255]


class LooksLate(Session):
    """Looks at each file when its turn comes, and gives up at one that is gone."""

    async def do_list(self, argument: str) -> None:
        paths = [self.path(argument) / name for name in self.names(self.path(argument))]

        async def move(link: Link) -> None:
            await link.send(f"{self.list_row(paths[0])}\r\n".encode() * 20)
            while all(path.exists() for path in paths):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
            for path in paths:
                await link.send(f"{self.list_row(path)}\r\n".encode())

        self.begin(move)


class ShowsTheHour(Session):
    """Shows every date with a time of day and no year."""

    def list_date(self, moment: float) -> str:
        return super().list_date(moment)[:6] + " 12:00"


class FollowsLinks(Session):
    """Fails at a link that leads nowhere."""

    def list_row(self, path: Path) -> str:
        path.stat()
        return super().list_row(path)


DEFECTS = [
    Defect("list-command", ListsSizesWrong, "12346"),
    Defect("list-command", ListsItsOwnWay, "a line in no known format"),
    Defect("list-of-a-file", ListsNoFile, "LIST of a file shows []"),
    Defect("nlst-command", DecoratesNames, "b'directory/'"),
    Defect("nlst-of-a-directory", DecoratesNames, "b'directory/'"),
    Defect("nlst-of-a-file", ListsNoFile, "shows []", Outcome.WARNING),
    Defect("mlsd-command", ListsSizesWrong, "tells the sizes (0, 12346)"),
    Defect("mlsd-command", saying("MLSD", "200 Done."), "'200 Done.'"),
    Defect("mlst-command", HasNoBlank, "MLST was answered by"),
    Defect("mlsd-of-a-file", ListsNoFile, "MLSD of a file sent b''"),
    Defect("mlsd-options", IgnoresOptions, "the facts are ' type=file;"),
    Defect("empty-directories", TalksOfNothing, "b'No files found"),
    Defect("what-is-not-there", ListsNoFile, "is an empty listing", Outcome.WARNING),
    Defect("what-is-not-there", ListsTheParent, "LIST of a missing path sent"),
    Defect("refused-listing-lets-go", KeepsConnections, "nothing happened", patience=2.0),
    Defect("list-with-options", TakesOptionsForPaths, "LIST -a was", Outcome.WARNING),
    Defect("list-with-options", ListsNothingForOptions, "does not show the directory"),
    Defect("line-ends-of-listings", EndsLinesItsOwnWay, "in TYPE A, LIST sent"),
    Defect("listing-of-many", StopsEarly, "LIST shows 255 of 500 entries"),
    Defect("file-that-vanishes", LooksLate, "answered by '451"),
    Defect("dates-in-listings", ShowsTheHour, "seems to be of", Outcome.WARNING),
    Defect("dangling-links", FollowsLinks, "LIST beside such a link"),
]
