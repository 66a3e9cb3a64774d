"""Wrong replies of commands that move no file."""

from __future__ import annotations

from typing import ClassVar

from ftpdata.testing import Outcome
from tests.testing.proofs import Defect
from tests.testing.scripted_server import PASSWORD, USER, Session, saying

__all__ = ["DEFECTS"]


class ShowsItsDirectory(Session):
    """Answers PWD before the login."""

    login_free: ClassVar[frozenset[str]] = Session.login_free | {"PWD"}


class TrustsAPassword(Session):
    """Needs no user."""

    async def do_pass(self, argument: str) -> None:
        self.user = USER
        await super().do_pass(argument)


class TrustsAnybody(Session):
    """Takes every password."""

    async def do_pass(self, argument: str) -> None:
        await super().do_pass(PASSWORD)


class KeepsTheLogin(Session):
    """Another USER asks for a password, and the old login goes on."""

    async def do_user(self, argument: str) -> None:
        was_logged_in = self.is_logged_in
        await super().do_user(argument)
        self.is_logged_in = was_logged_in


class StaysAfterQuit(Session):
    """Says goodbye, and does not go."""

    async def do_quit(self, argument: str) -> None:
        await self.reply("221 Goodbye.")


class KnowsCapitals(Session):
    """Knows commands in capitals alone."""

    async def carry_out(self, line: str) -> None:
        await super().carry_out(line if line[:4].isupper() or line[:3].isupper() else "XYZZY")


class QuotesOnce(Session):
    """Doubles no quotation marks."""

    def say(self, verb: str, line: str) -> str:
        return line.replace('""', '"')


class RemovesWhereItIs(Session):
    """RMD without an argument removes the current directory."""

    wants_argument: ClassVar[frozenset[str]] = Session.wants_argument - {"RMD"}


class TakesEveryType(Session):
    """Takes every type."""

    async def do_type(self, argument: str) -> None:
        await self.reply("200 Good.")


class ListsFeaturesFlush(Session):
    """Has no blank before a feature."""

    def feature_rows(self) -> list[str]:
        return [row.strip() for row in super().feature_rows()]


class ListsTooMuch(Session):
    """Has a feature in its list that it has not."""

    features: ClassVar[tuple[str, ...]] = (*Session.features, "HASH SHA-256*;")


DEFECTS = [
    Defect("greeting-and-login", saying("PASS", "200 Welcome."), "answered by '200 Welcome.'"),
    Defect("noop-command", saying("NOOP", "500 what?"), "answered by '500 what?'"),
    Defect("unknown-commands", saying("XYZZY", "550 what?", instead_of="500"), "'550 what?'"),
    Defect("commands-before-login", ShowsItsDirectory, "before the login, 'PWD'"),
    Defect("password-before-user", TrustsAPassword, "answered by '230"),
    Defect("wrong-password", TrustsAnybody, "answered by '230"),
    Defect("wrong-password", saying("PASS", "550 No.", instead_of="530"), "'550 No.'"),
    Defect("mistaken-user", KeepsTheLogin, "the old login still works", Outcome.WARNING),
    Defect("quit-ends-the-session", saying("QUIT", "200 Bye."), "answered by '200 Bye.'"),
    Defect("quit-ends-the-session", StaysAfterQuit, "nothing happened", patience=2.0),
    Defect("reinitialization", saying("REIN", "230 Again."), "answered by '230 Again.'"),
    Defect("account-command", saying("ACCT", "250 Good."), "answered by '250 Good.'"),
    Defect("case-of-commands", KnowsCapitals, "'pwd' was answered by '500"),
    Defect("syst-command", saying("SYST", "200 UNIX"), "answered by '200 UNIX'"),
    Defect("syst-command", saying("SYST", "215 "), "no system's name"),
    Defect("help-command", saying("HELP", "200 Help."), "answered by '200 Help.'"),
    Defect("help-command", saying("HELP", "214 Read\r\nRFC 959"), "'RFC 959'"),
    Defect("stat-command", saying("STAT", "200 Good.", instead_of="211"), "'200 Good.'"),
    Defect("site-command", saying("SITE", "200 Good.", instead_of="500"), "'200 Good.'"),
    Defect("directory-commands", saying("CDUP", "221 Up."), "answered by '221 Up.'"),
    Defect("directory-commands", saying("MKD", "257 Made."), "in quotation marks"),
    Defect("quotation-marks-in-paths", QuotesOnce, "PWD was answered by"),
    Defect("commands-without-their-argument", RemovesWhereItIs, "RMD without an argument"),
    Defect("wrong-types", TakesEveryType, "'TYPE X' was answered by '200"),
    Defect("feat-format", ListsFeaturesFlush, "is no blank and a feature"),
    Defect("features-that-are-listed", ListsTooMuch, "FEAT lists HASH"),
    Defect("opts-command", saying("OPTS", "200 Good.", instead_of="501"), "'200 Good.'"),
]
