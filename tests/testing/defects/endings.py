"""Transfers that end in the wrong way, or too late."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

from ftpdata.testing import Outcome
from tests.testing.proofs import Defect
from tests.testing.scripted_server import BLOCK, Cut, Link, Refusal, Session, saying

__all__ = ["DEFECTS"]


def _blocks(path: Path) -> list[bytes]:
    content = path.read_bytes()
    return [content[start : start + BLOCK] for start in range(0, len(content), BLOCK)]


class StopsAtTheFIN(Session):
    """Takes a client's FIN for the end of its download."""

    async def send_file(self, link: Link, path: Path, offset: int, size: int) -> None:
        for block in _blocks(path):
            with contextlib.suppress(BlockingIOError):
                if not link.sock.recv(1, socket.MSG_PEEK):
                    return
            await link.send(block)


class IsLateToSee(StopsAtTheFIN):
    """Says that the client has gone when it has sent its FIN."""

    def say(self, verb: str, line: str) -> str:
        return "426 Gone." if line[:3] == "226" and verb == "RETR" else line


class SaysItBeforeTheEnd(Session):
    """Says 226 as soon as it has begun to send."""

    async def send_file(self, link: Link, path: Path, offset: int, size: int) -> None:
        await self.reply("226 All there, I hope.")
        await super().send_file(link, path, offset, size)


class GivesUpInSilence(Session):
    """Cuts a client that does not read, and says 226."""

    async def send_file(self, link: Link, path: Path, offset: int, size: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await super().send_file(link, path, offset, size)
                return
        link.reset()


class IsLate(Session):
    """Thinks before it says 226."""

    async def reply(self, *lines: str) -> None:
        if lines[-1][:3] == "226":
            await asyncio.sleep(0.15)
        await super().reply(*lines)


class WaitsForTheClient(Session):
    """Says 226 when the client has closed."""

    async def finish(self, link: Link) -> None:
        await link.send_close_notify()
        with contextlib.suppress(OSError, Cut):
            link.sock.shutdown(socket.SHUT_WR)
            while await link.receive():
                pass
        link.close()


class HasNoStatusDuringTransfers(Session):
    """Does not answer STAT during a transfer."""

    async def do_stat(self, argument: str) -> None:
        if self.transfer is None:
            await super().do_stat(argument)


class ForgetsNOOP(Session):
    """Does not know NOOP after a transfer."""

    async def do_noop(self, argument: str) -> None:
        if self.done:
            raise Refusal("500 What?")
        await super().do_noop(argument)


class QuitsAtOnce(Session):
    """Cuts what runs when QUIT is said."""

    def is_urgent(self, line: str) -> bool:
        return super().is_urgent(line) or line == "QUIT"

    async def leave(self) -> None:
        self.close()


class WritesInPlace(Session):
    """Shows what has come of an upload under its name, and ends it with the control connection."""

    async def do_stor(self, argument: str) -> None:
        path = self.path(argument)

        async def move(link: Link) -> None:
            path.write_bytes(b"")
            while piece := await link.receive():
                self.append(path, piece)

        self.begin(move)

    async def leave(self) -> None:
        self.close()


class LosesTheRest(Session):
    """Publishes the first half of an upload that ended cleanly."""

    def publish(self, path: Path, content: bytes) -> None:
        super().publish(path, content[: len(content) // 2 + 1])


class EndsHalfDownloads(Session):
    """Ends a download cleanly in the middle when the control connection has gone."""

    is_gone = False

    async def leave(self) -> None:
        self.is_gone = True
        await super().leave()

    async def send_file(self, link: Link, path: Path, offset: int, size: int) -> None:
        for block in _blocks(path):
            if not self.is_gone:
                await link.send(block)


class SendsForever(Session):
    """Goes on with a download when the control connection has gone, and never ends it."""

    async def send_file(self, link: Link, path: Path, offset: int, size: int) -> None:
        await super().send_file(link, path, offset, size)
        await asyncio.sleep(3600)


DEFECTS = [
    Defect(
        "download-that-is-reset", saying("RETR", "226 Fine.", instead_of="426"), "'226 Fine.'"
    ),
    Defect(
        "download-that-is-closed-early",
        saying("RETR", "226 Fine.", instead_of="426"),
        "answered by '226 Fine.'",
    ),
    Defect("half-closed-download", StopsAtTheFIN, "bytes came, and '226"),
    Defect("half-closed-download", IsLateToSee, "takes a FIN", Outcome.WARNING),
    Defect("client-that-reads-slowly", SaysItBeforeTheEnd, "'226 All there, I hope.' after"),
    Defect("client-that-never-reads", GivesUpInSilence, "answered by '226"),
    Defect("reply-after-a-download", IsLate, "the reply to RETR", Outcome.WARNING, late=0.1),
    Defect("reply-after-an-upload", IsLate, "the reply to STOR", Outcome.WARNING, late=0.1),
    Defect("reply-after-an-upload", LosesTheRest, "7 bytes were sent"),
    Defect(
        *("reply-with-the-data-connection-open", WaitsForTheClient, "only after the client's"),
        *(Outcome.WARNING,),
        late=0.1,
    ),
    Defect(
        "status-during-a-transfer", HasNoStatusDuringTransfers, "no reply to 'STAT'", patience=2.0
    ),
    Defect("noop-during-a-transfer", ForgetsNOOP, "'NOOP' was answered by '500 What?'"),
    Defect("quit-during-a-download", QuitsAtOnce, "QUIT cut the download"),
    Defect(
        *("control-connection-that-ends-in-an-upload", WritesInPlace, "the name of the whole"),
        *(Outcome.WARNING,),
    ),
    Defect("control-connection-that-ends-in-an-upload", LosesTheRest, "that ended cleanly"),
    Defect(
        *("control-connection-that-ends-in-a-download", EndsHalfDownloads, "as if that was all"),
        *(Outcome.WARNING,),
    ),
    Defect(
        *("control-connection-that-ends-in-a-download", SendsForever, "nothing happened"),
        patience=2.0,
    ),
]
