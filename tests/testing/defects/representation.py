"""Types that are not what they are called."""

from __future__ import annotations

from tests.testing.proofs import Defect
from tests.testing.scripted_server import Link, Refusal, Session, saying

__all__ = ["DEFECTS"]


class KnowsNoForms(Session):
    """Knows TYPE A, and not TYPE A N."""

    async def do_type(self, argument: str) -> None:
        if argument == "A N":
            raise Refusal("504 Unknown.")
        await super().do_type(argument)


class IsAlwaysAscii(Session):
    """Converts in TYPE I, too."""

    def decode(self, data: bytes) -> bytes:
        return data.replace(b"\r\n", b"\n")


class NeverConverts(Session):
    """Converts nothing."""

    def encode(self, data: bytes) -> bytes:
        return data

    def decode(self, data: bytes) -> bytes:
        return data


class LosesReturns(Session):
    """Drops every CR of an upload."""

    def decode(self, data: bytes) -> bytes:
        return data.replace(b"\r", b"") if self.is_ascii else data


class LeavesTheFirst(Session):
    """Leaves a line feed alone with which a file begins."""

    def encode(self, data: bytes) -> bytes:
        first = len(data) - len(data.removeprefix(b"\n"))
        return data[:first] + super().encode(data[first:])


class LosesTheEnd(Session):
    """Loses what does not fit into a buffer."""

    def decode(self, data: bytes) -> bytes:
        return super().decode(data)[:8192]


class LooksAtSegments(Session):
    """Looks for line ends in each segment alone."""

    async def receive_file(self, link: Link) -> bytes:
        data = b""
        while piece := await link.receive():
            data += self.decode(piece)
        return data


class CountsTheDisk(Session):
    """SIZE tells the size on the disk."""

    async def do_size(self, argument: str) -> None:
        await self.reply(f"213 {self.file(argument).stat().st_size}")


DEFECTS = [
    Defect("types", KnowsNoForms, "'TYPE A N' was answered by '504"),
    Defect("structures", saying("STRU", "504 No."), "answered by '504 No.'"),
    Defect("modes", saying("MODE", "504 No."), "answered by '504 No.'"),
    Defect("image-keeps-every-byte", IsAlwaysAscii, "the upload has"),
    Defect("ascii-download", NeverConverts, "came as b'one\\ntwo"),
    Defect("ascii-upload", NeverConverts, "is stored as b'one\\r\\ntwo"),
    Defect("ascii-round-trip", LosesTheEnd, "came back, or others"),
    Defect("ascii-split-line-ends", LooksAtSegments, "in segments, text is stored as"),
    Defect("ascii-lone-carriage-returns", LosesReturns, "is stored as b'onetwo\\n'"),
    Defect("ascii-lone-line-feeds", LeavesTheFirst, "came as b'\\none'"),
    Defect("size-in-ascii", CountsTheDisk, "bytes come"),
]
