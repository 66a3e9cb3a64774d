"""Names that are changed, hidden, or taken for something else."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from pathlib import Path

from tests.testing.proofs import Defect
from tests.testing.scripted_server import Refusal, Session

__all__ = ["DEFECTS"]


class ShowsAnother(Session):
    """Shows a tilde as something else."""

    def names(self, directory: Path) -> list[str]:
        return [name.replace("~", "_") for name in super().names(directory)]


class ShowsQuestionMarks(Session):
    """Shows control characters as question marks, by which nobody finds the file."""

    def names(self, directory: Path) -> list[str]:
        return [re.sub(r"[\x00-\x1f]", "?", name) for name in super().names(directory)]


class Normalises(Session):
    """Makes one name of two that look alike."""

    def path(self, argument: str) -> Path:
        return super().path(unicodedata.normalize("NFC", argument))


class KnowsUtf8(Session):
    """Replaces what is not UTF-8."""

    def decode_line(self, line: bytes) -> str:
        return line.removesuffix(b"\r").decode("utf-8", "replace")


class StripsLines(Session):
    """Drops the blanks at the end of a line."""

    async def carry_out(self, line: str) -> None:
        await super().carry_out(line.rstrip())


class HidesOptions(Session):
    """Hides names that look like options."""

    def names(self, directory: Path) -> list[str]:
        return [name for name in super().names(directory) if not name.startswith("-")]


class DeletesPatterns(Session):
    """DELE takes patterns."""

    async def do_dele(self, argument: str) -> None:
        names = fnmatch.filter(self.names(self.path("")), argument)
        if not names:
            raise Refusal("550 No such file.")
        for name in names:
            self.path(name).unlink()
        await self.reply("250 Gone.")


class DeletesDots(Session):
    """Says that it has deleted the current directory."""

    async def do_dele(self, argument: str) -> None:
        if argument == ".":
            await self.reply("250 Gone.")
        else:
            await super().do_dele(argument)


class CutsNames(Session):
    """Cuts long names off."""

    def path(self, argument: str) -> Path:
        return super().path("/".join(part[:100] for part in argument.split("/")))


class CutsTooLongNames(Session):
    """Cuts names off that the system would refuse."""

    def path(self, argument: str) -> Path:
        return super().path("/".join(part[:255] for part in argument.split("/")))


class QuotesOnce(Session):
    """Doubles no quotation marks."""

    def say(self, verb: str, line: str) -> str:
        return line.replace('""', '"')


class ShowsAll(Session):
    """Shows names as they are."""

    def names(self, directory: Path) -> list[str]:
        return sorted(path.name for path in directory.iterdir())


DEFECTS = [
    Defect("names-of-printable-ascii", ShowsAnother, "and not b'n"),
    Defect("names-with-control-characters", ShowsQuestionMarks, "as NLST shows it"),
    Defect("names-in-utf8", Normalises, "and not b'cafe"),
    Defect("names-not-in-utf8", KnowsUtf8, "and not b'n\\x80"),
    Defect("names-with-blanks", StripsLines, "NLST shows b' two'"),
    Defect("names-like-options", HidesOptions, "and not b'-'"),
    Defect("names-like-patterns", DeletesPatterns, "as NLST shows it, sent b''"),
    Defect("patterns-name-nothing-else", DeletesPatterns, "DELE * of a directory"),
    Defect("names-of-directories", QuotesOnce, "PWD tells"),
    Defect("names-of-dots", DeletesDots, "DELE . was answered by '250"),
    Defect("names-at-the-limit-of-length", CutsNames, "NLST shows b'xxx"),
    Defect("names-at-the-limit-of-length", CutsTooLongNames, "with a name of 256 bytes"),
    Defect("hostile-names-in-listings", ShowsAll, "a name with a line end makes the line"),
    Defect("hostile-names-in-replies", ShowsAll, "forges a reply"),
]
