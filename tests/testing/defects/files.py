"""Commands about files and directories that do something else."""

from __future__ import annotations

import shutil
import time
from pathlib import Path, PurePosixPath

from ftpdata.testing import Outcome
from tests.testing.proofs import Defect
from tests.testing.scripted_server import Refusal, Session, saying

__all__ = ["DEFECTS"]


class DeletesNothing(Session):
    """Says that it has deleted."""

    async def do_dele(self, argument: str) -> None:
        self.file(argument)
        await self.reply("250 Gone.")


class DeletesAll(Session):
    """DELE and RMD take whatever it is, with all that is in it."""

    async def do_dele(self, argument: str) -> None:
        path = self.path(argument)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        await self.reply("250 Gone.")

    async def do_rmd(self, argument: str) -> None:
        await self.do_dele(argument)


class MakesAgain(Session):
    """Makes a directory that is there."""

    async def do_mkd(self, argument: str) -> None:
        self.path(argument).mkdir(exist_ok=True)
        await self.reply(f'257 "{self.cwd / argument}" made.')


class MakesBoth(Session):
    """Makes the directories that a new one is in."""

    async def do_mkd(self, argument: str) -> None:
        if argument.startswith("missing/"):
            self.path(argument).parent.mkdir(exist_ok=True)
        await super().do_mkd(argument)


class RenamesFiles(Session):
    """Renames no directories."""

    async def do_rnto(self, argument: str) -> None:
        if self.renamed is not None and self.renamed.is_dir():
            raise Refusal("553 A directory.")
        await super().do_rnto(argument)


class GoesAnywhere(Session):
    """Goes into what is no directory."""

    async def do_cwd(self, argument: str) -> None:
        self.cwd = PurePosixPath("/") / self.path(argument).relative_to(self.server.root).as_posix()
        await self.reply("250 There.")


class Copies(Session):
    """Copies where it should rename."""

    async def do_rnto(self, argument: str) -> None:
        if self.renamed is None:
            raise Refusal("503 RNFR first.")
        shutil.copy(self.renamed, self.path(argument))
        await self.reply("250 Renamed.")


class TakesAnyName(Session):
    """RNFR does not look whether the file is there."""

    async def do_rnfr(self, argument: str) -> None:
        self.renamed = self.path(argument)
        await self.reply("350 And to?")


class RemembersTheName(Session):
    """An RNTO that fails can be said again."""

    kept: Path | None = None

    async def do_rnto(self, argument: str) -> None:
        self.renamed = self.kept = self.renamed or self.kept
        await super().do_rnto(argument)
        self.kept = None


class LeavesTheNew(Session):
    """A rename onto a file is not done, and 250."""

    async def do_rnto(self, argument: str) -> None:
        if self.path(argument).exists():
            await self.reply("250 Renamed.")
        else:
            await super().do_rnto(argument)


class CountsWrong(Session):
    """SIZE tells the size on the disk of whatever it is, in blocks."""

    async def do_size(self, argument: str) -> None:
        await self.reply(f"213 {self.path(argument).stat().st_blocks * 512 + 1}")


class LivesElsewhere(Session):
    """Tells the time of another zone."""

    def format_time(self, path: Path) -> str:
        return time.strftime("%Y%m%d%H%M%S", time.gmtime(path.stat().st_mtime + 3600))


DEFECTS = [
    Defect("dele-command", DeletesNothing, "still there"),
    Defect("dele-of-a-directory", DeletesAll, "answered by '250"),
    Defect("rmd-of-a-file", DeletesAll, "answered by '250"),
    Defect("rmd-of-a-full-directory", DeletesAll, "that holds a file was answered by '250"),
    Defect("mkd-of-what-is-there", MakesAgain, "answered by '257"),
    Defect("mkd-of-what-is-there", MakesBoth, "has made both", Outcome.WARNING),
    Defect("way-into-a-file", GoesAnywhere, "answered by '250"),
    Defect("renames", Copies, "the old name is still there"),
    Defect("renames", RenamesFiles, "a directory cannot be renamed", Outcome.WARNING),
    Defect("rnto-without-rnfr", saying("RNTO", "550 What?", instead_of="503"), "'550 What?'"),
    Defect("rename-of-a-missing-file", TakesAnyName, "answered by '350", Outcome.WARNING),
    Defect("failed-rename-is-forgotten", RemembersTheName, "answered by '250"),
    Defect("rename-onto-a-file", LeavesTheNew, "the new one b'another'"),
    Defect("size-command", CountsWrong, "SIZE of a file of 0 bytes"),
    Defect("size-of-a-directory", CountsWrong, "SIZE of a directory was answered by '213"),
    Defect("mdtm-command", saying("MDTM", "213 yesterday"), "answered by '213 yesterday'"),
    Defect("mdtm-command", LivesElsewhere, "not in UTC", Outcome.WARNING),
    Defect("mdtm-is-exact", LivesElsewhere, "MDTM of a file of 19700101000000"),
    Defect("mfmt-command", saying("MFMT", "213 Done."), "answered by '213 Done.'"),
]
