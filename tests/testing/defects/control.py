"""Control lines that are not read as they were meant."""

from __future__ import annotations

import asyncio

from ftpdata.testing import Outcome
from tests.testing.proofs import Defect
from tests.testing.scripted_server import Session

__all__ = ["DEFECTS"]


class TakesOneOfASegment(Session):
    """Drops what comes with a command in one segment."""

    async def read_line(self) -> str | None:
        line = await super().read_line()
        self.buffer.clear()
        return line


class TakesSegmentsForLines(Session):
    """Takes each segment for a line."""

    async def read_line(self) -> str | None:
        data = await self.link.receive()
        return self.decode_line(data.removesuffix(b"\n")) if data else None


class TakesTheReturn(Session):
    """Takes a CR at the end of a segment for the end of the line, and the LF for another."""

    async def read_line(self) -> str | None:
        if not self.buffer:
            self.buffer += await self.link.receive()
        if self.buffer.endswith(b"\r"):
            line = self.decode_line(bytes(self.buffer))
            self.buffer.clear()
            return line
        return await super().read_line()


class EndsLinesAtReturns(Session):
    """Takes a CR for the end of a line, too."""

    async def read_line(self) -> str | None:
        self.buffer[:] = self.buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        while b"\n" not in self.buffer:
            if not (piece := await self.link.receive()):
                return None
            self.buffer += piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return await super().read_line()


class ForgetsWhatWaits(Session):
    """Drops commands that came during a transfer."""

    def _go_on(self, done: asyncio.Task[None]) -> None:
        self.waiting.clear()
        super()._go_on(done)


class IsSilent(Session):
    """Does not answer a command that a blank follows, nor a long one."""

    async def carry_out(self, line: str) -> None:
        if not line.endswith(" ") and len(line) < 2000:
            await super().carry_out(line)


class AnswersNothing(Session):
    """Answers an empty line as if it were a command."""

    async def carry_out(self, line: str) -> None:
        if line.strip():
            await super().carry_out(line)
        else:
            await self.reply("250 Done.")


class EchoesLines(Session):
    """Takes a line feed for a part of the line, and says the line again."""

    async def read_line(self) -> str | None:
        while (end := self.buffer.find(b"\r\n")) < 0:
            if not (piece := await self.link.receive()):
                return None
            self.buffer += piece
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        return self.decode_line(line)

    async def carry_out(self, line: str) -> None:
        if "\n" in line:
            await self.reply(f"500 What is {line}?")
        else:
            await super().carry_out(line)


class CutsLines(Session):
    """Takes the rest of a long line for another."""

    async def read_line(self) -> str | None:
        while b"\n" not in self.buffer and len(self.buffer) < 512:
            if not (piece := await self.link.receive()):
                return None
            self.buffer += piece
        end = self.buffer.find(b"\n", 0, 512)
        end = 511 if end < 0 else end
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        return self.decode_line(line)


class KnowsNoTelnet(Session):
    """Takes the bytes of a line as they come."""

    def decode_line(self, line: bytes) -> str:
        return line.removesuffix(b"\r").decode("utf-8", "surrogateescape")


class DropsEveryEscape(Session):
    """Drops IAC IAC, too."""

    def decode_line(self, line: bytes) -> str:
        return super().decode_line(line.replace(b"\xff\xff", b""))


class EndsAtNul(Session):
    """Has strings that end with NUL."""

    def decode_line(self, line: bytes) -> str:
        return super().decode_line(line.partition(b"\0")[0])


DEFECTS = [
    Defect("pipelined-commands", TakesOneOfASegment, "no reply", patience=2.0),
    Defect("commands-in-pieces", TakesSegmentsForLines, "answered by '50"),
    Defect("line-ends-in-pieces", TakesTheReturn, "answered by '500"),
    Defect("carriage-returns-alone", EndsLinesAtReturns, "TYPE I was answered by '257"),
    Defect("commands-behind-a-download", ForgetsWhatWaits, "no reply", patience=2.0),
    Defect("commands-behind-an-upload", ForgetsWhatWaits, "no reply", patience=2.0),
    Defect("trailing-blanks", IsSilent, "no reply to 'PWD '", patience=2.0),
    Defect("empty-lines", AnswersNothing, "answered by '250 Done.'"),
    Defect("line-feeds-alone", EchoesLines, "what is no reply"),
    Defect("lines-that-are-too-long", CutsLines, "500 Unknown command."),
    Defect("long-arguments", IsSilent, "a name of 2048 bytes: no reply", patience=2.0),
    Defect("telnet-escapes-in-names", KnowsNoTelnet, "two bytes 255", Outcome.WARNING),
    Defect("telnet-escapes-in-names", DropsEveryEscape, "is told as"),
    Defect("telnet-commands-in-lines", KnowsNoTelnet, "with IP and DM", Outcome.WARNING),
    Defect("nul-bytes", EndsAtNul, "it led to the name"),
]
