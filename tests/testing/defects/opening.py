"""Data connections that are opened in the wrong way, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from ftpdata.testing import Outcome
from tests.testing.proofs import Defect
from tests.testing.scripted_server import Connecting, DataOpening, Link, Refusal, Session, saying

__all__ = ["DEFECTS"]

Move = Callable[[Link], Coroutine[Any, Any, None]]


class ForgetsEarlyConnections(Session):
    """Has no use for a client that connects before its command."""

    def begin(self, move: Move, note: str = "Here it goes.") -> None:
        if self.data is not None and self.data.link is not None:
            self.drop_data()
        super().begin(move, note)


class WantsTheConnectionFirst(Session):
    """Has no use for a command before the connection."""

    def begin(self, move: Move, note: str = "Here it goes.") -> None:
        if self.data is not None and self.data.link is None:
            raise Refusal("425 Connect first.")
        super().begin(move, note)


class Impatient(Session):
    """Waits for a data connection as long as aioftp."""

    patience = 1.0


class SaysItLate(Session):
    """Says 150 when the data connection is there."""

    async def _transfer(self, move: Move, note: str) -> None:
        if self.data is not None:
            await self.data.open()
        await super()._transfer(move, note)


class Blocks(Session):
    """Hears nothing between EPSV and the data connection."""

    async def do_epsv(self, argument: str) -> None:
        await super().do_epsv(argument)
        assert self.data is not None
        await self.data.open()


class KeepsWhatIsOld(Session):
    """Keeps the port and the connection of the EPSV before."""

    def listen(self) -> int:
        self.lose_data()
        return super().listen()


class TellsAnotherAddress(Session):
    """Tells an address that the client is not connected to."""

    def say(self, verb: str, line: str) -> str:
        return line.replace("127,0,0,1", "127,0,0,2")


class TakesAnyFamily(Session):
    """Ignores the argument of EPSV."""

    async def do_epsv(self, argument: str) -> None:
        await super().do_epsv("")


class ForgetsThatItIsOnlyEPSV(Session):
    """Says 200 to EPSV ALL, and no more."""

    def refuse_after_epsv_all(self) -> None:
        pass


class Connected(DataOpening):
    """A connection that is there."""

    async def open(self) -> Link:
        assert self.link is not None
        return self.link


class ConnectsAtOnce(Session):
    """Connects when PORT is said."""

    async def do_port(self, argument: str) -> None:
        await super().do_port(argument)
        assert self.data is not None
        connected = Connected()
        connected.link = await self.data.open()
        self.data = connected


class ConnectsFromElsewhere(Session):
    """Connects from another address than that of the control connection."""

    def prepare_to_connect(self, host: str, port: int) -> None:
        self.data = Connecting("127.0.0.3", (host, port))


class LosesTheEnd(Session):
    """Loses the last byte of each block."""

    def encode(self, data: bytes) -> bytes:
        return data[:-1]


DEFECTS = [
    Defect("connection-before-the-command", ForgetsEarlyConnections, "answered by '425"),
    Defect("connection-before-the-command", LosesTheEnd, "bytes came that are not the"),
    Defect("connection-after-the-command", WantsTheConnectionFirst, "answered by '425"),
    Defect("connection-a-while-after-the-command", Impatient, "1.3 s after the command"),
    Defect("first-reply-before-the-connection", SaysItLate, "stalls", Outcome.WARNING),
    Defect(
        "commands-between-passive-and-connection", Blocks, "no reply to 'PWD'", patience=1.0
    ),
    Defect(
        "data-connection-ended-before-the-command",
        saying("RETR", "226 Fine.", instead_of="426"),
        "the answer was '226 Fine.'",
    ),
    Defect(
        "second-transfer-without-a-new-connection",
        saying("LIST", "226 Fine.", instead_of="425"),
        "answered by '226 Fine.'",
    ),
    Defect("new-passive-port-replaces-the-old-one", KeepsWhatIsOld, "is still open"),
    Defect("newest-data-connection-is-used", KeepsWhatIsOld, "stays open", Outcome.WARNING),
    Defect("pasv-address", saying("PASV", "227 (0,0,0,0,99,9)"), "nobody can connect"),
    Defect("pasv-address", saying("PASV", "227 Go ahead."), "no address in"),
    Defect("pasv-address", TellsAnotherAddress, "127.0.0.2", Outcome.WARNING),
    Defect("epsv-and-its-arguments", saying("EPSV", "229 Port 5000."), "RFC 2428 §3"),
    Defect("epsv-and-its-arguments", TakesAnyFamily, "'EPSV 3' was answered by '229"),
    Defect("epsv-all", ForgetsThatItIsOnlyEPSV, "'PASV' was answered by '227"),
    Defect("active-connection-by-port", saying("PORT", "502 No."), "answered by '502 No.'"),
    Defect(
        "active-connection-by-port", ConnectsAtOnce, "before there is a transfer", Outcome.WARNING
    ),
    Defect(
        "active-connection-by-eprt", ConnectsFromElsewhere, "from 127.0.0.3", Outcome.WARNING
    ),
    Defect("active-connection-by-eprt", LosesTheEnd, "bytes came that are not the"),
    Defect("malformed-port", saying("PORT", "200 Good.", instead_of="5"), "'PORT' was answered"),
    Defect("malformed-eprt", saying("EPRT", "200 Good.", instead_of="5"), "'EPRT' was answered"),
]
