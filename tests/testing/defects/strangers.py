"""Data connections that anybody can have, and ports that are lost."""

from __future__ import annotations

import asyncio
import itertools
import socket

from ftpdata.testing import Outcome
from tests.testing.proofs import Defect
from tests.testing.scripted_server import Refusal, Session, saying

__all__ = ["DEFECTS"]


class AcceptsStrangers(Session):
    """Gives the data connection to whoever comes first."""

    def is_welcome(self, address: str) -> bool:
        return True


class GivesUpForStrangers(Session):
    """Has no data connection for the owner when a stranger has come."""

    def is_welcome(self, address: str) -> bool:
        if address != self.peer:
            self.lose_data()
        return super().is_welcome(address)


class ConnectsAnywhere(Session):
    """Connects to wherever it is sent."""

    def may_connect(self, host: str, port: int) -> bool:
        return True


_counter = itertools.count(20_000)


class Counts(Session):
    """Takes one port after the other."""

    def make_listener(self) -> socket.socket:
        for port in _counter:
            try:
                listener = socket.create_server((self.address, port))
            except OSError:
                continue
            listener.setblocking(False)
            return listener
        raise AssertionError


class KeepsPorts(Session):
    """Forgets its ports and data connections at the end."""

    def close(self) -> None:
        self.lose_data()
        super().close()


class HasFewPorts(Session):
    """Has 30 ports for all its clients, and gives each of them once."""

    def listen(self) -> int:
        given: list[int] = vars(self.server).setdefault("given", [])
        if len(given) == 30:
            raise Refusal("425 No port is free.")
        given.append(super().listen())
        return given[-1]


class SaysThatNobodyCame(Session):
    """Says after a while, unasked, that nobody has connected."""

    patience = 0.1

    async def do_epsv(self, argument: str) -> None:
        await super().do_epsv(argument)
        self.server.spawn(self._complain())

    async def _complain(self) -> None:
        await asyncio.sleep(0.3)
        if self.data is not None:
            await self.reply("425 Nobody came.")


class SaysThatAllWentWell(Session):
    """Says 226 of a listing that nobody fetched."""

    patience = 0.1

    def say(self, verb: str, line: str) -> str:
        return "226 Fine." if line[:3] == "425" else line


class WaitsForAnyTime(Session):
    """Has no deadline for a data connection."""

    patience = 60.0

    async def leave(self) -> None:
        self.close()


def _may_listen_below_1024() -> bool:
    for port in range(1023, 1000, -1):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except PermissionError:
            return False
        except OSError:
            continue
        return True
    return False


DEFECTS = [
    Defect("stranger-gets-nothing", AcceptsStrangers, "went to another address"),
    Defect("stranger-stores-nothing", AcceptsStrangers, "answered by '226"),
    Defect("stranger-takes-no-place", GivesUpForStrangers, "answered by '425"),
    Defect("bounce", ConnectsAnywhere, "the server connected to where 'PORT 127,0,0,77"),
    Defect(
        "bounce-to-low-ports",
        ConnectsAnywhere,
        "'PORT 127,0,0,1,3,",
        Outcome.FAIL if _may_listen_below_1024() else Outcome.WARNING,
    ),
    Defect("passive-ports-cannot-be-guessed", Counts, "the next port was +1"),
    Defect("passive-ports-are-given-back", KeepsPorts, "the passive port is open", patience=1.0),
    Defect("passive-ports-are-not-used-up", HasFewPorts, "425 No port"),
    Defect("passive-and-quit", KeepsPorts, "open after QUIT"),
    Defect("passive-and-quit", saying("QUIT", "200 Bye."), "'QUIT' was answered by '200 Bye.'"),
    Defect("nobody-connects", WaitsForAnyTime, "nothing is said", Outcome.WARNING),
    Defect("nobody-connects", SaysThatAllWentWell, "answered by '226 Fine.'"),
    Defect("nobody-connects", SaysThatNobodyCame, "'425 Nobody came.'"),
]
