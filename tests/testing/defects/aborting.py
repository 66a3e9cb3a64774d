"""Wrong ways of ABOR."""

from __future__ import annotations

from ftpdata.testing import Outcome
from tests.testing.proofs import Defect
from tests.testing.scripted_server import Session, saying

__all__ = ["DEFECTS"]


class KnowsNoTelnet(Session):
    """Takes the signals of Telnet for a part of the command."""

    def decode_line(self, line: bytes) -> str:
        return line.removesuffix(b"\r").decode("latin-1")


class KeepsTheConnection(Session):
    """Closes no data connection that has no transfer yet."""

    async def do_abor(self, argument: str) -> None:
        data, self.data = self.data, None
        await super().do_abor(argument)
        self.data = data


class SaysTooLittle(Session):
    """Has no reply for the transfer that is aborted."""

    async def do_abor(self, argument: str) -> None:
        if self.transfer is not None:
            await self.abort(self.transfer)
        self.drop_data()
        await self.reply("226 Nothing goes on.")


class SaysTooMuch(Session):
    """Has one more reply after a transfer."""

    async def do_abor(self, argument: str) -> None:
        await super().do_abor(argument)
        if self.done:
            await self.reply("226 Now it is over.")


class SaysItInTheWrongOrder(Session):
    """Answers ABOR before the transfer, which so seems to be complete."""

    async def do_abor(self, argument: str) -> None:
        transfer, self.transfer = self.transfer, None
        await super().do_abor(argument)
        if transfer is not None:
            await self.abort(transfer)
            await self.reply("426 Aborted.")


class HearsNothing(Session):
    """Hears ABOR when the transfer is over."""

    def is_urgent(self, line: str) -> bool:
        return False


DEFECTS = [
    Defect("abort-of-nothing", saying("ABOR", "200 Fine."), "answered by '200 Fine.'"),
    Defect("abort-with-telnet-signals", KnowsNoTelnet, "answered by '500"),
    Defect("abort-after-passive", KeepsTheConnection, "open after ABOR", Outcome.WARNING),
    Defect("abort-before-the-connection", SaysTooLittle, "no reply to 'ABOR'", patience=1.0),
    Defect("abort-before-the-connection", HearsNothing, "until the client", Outcome.WARNING),
    Defect("abort-of-a-download", SaysTooLittle, "no reply to 'ABOR'", patience=2.0),
    Defect("abort-of-a-download", SaysItInTheWrongOrder, "answered by '226 Nothing"),
    Defect("abort-of-a-download", HearsNothing, "does not read", Outcome.WARNING),
    Defect("abort-of-an-upload", SaysTooLittle, "no reply to 'ABOR'", patience=1.0),
    Defect("abort-of-an-upload", SaysItInTheWrongOrder, "answered by '226 Nothing"),
    Defect("abort-of-an-upload", HearsNothing, "before the data have ended", Outcome.WARNING),
    Defect("abort-of-a-listing", SaysTooLittle, "no reply to 'ABOR'", patience=1.0),
    Defect("abort-after-the-end", SaysTooMuch, "226 Now it is over."),
]
