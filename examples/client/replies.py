"""The replies of a server (RFC 959 §4.2), and what goes wrong with them. Pure."""

from __future__ import annotations

__all__ = ["Aborted", "Lost", "ReplyError", "ReplyParser", "RestRefused"]

LONGEST_REPLY = 1 << 18  # bytes; the longest are those of FEAT, HELP and STAT


class ReplyError(Exception):
    """The server has refused a command; the text is its reply."""

    @property
    def is_permanent(self) -> bool:
        """Whether the same command would be refused again (5yz)."""

        return str(self).startswith("5")


class RestRefused(ReplyError):
    """The server cannot begin within a file (REST)."""


class Lost(ConnectionError):
    """The control connection has ended, perhaps with a 421, or there is no FTP to be heard."""


class Aborted(Exception):
    """The transfer was aborted by `Client.abort`."""


class ReplyParser:
    """Finds the replies in what a server sends (RFC 959 §4.2). Bounded."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._lines: list[str] = []
        self._size = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing came behind the last reply."""

        return not self._buffer and not self._lines

    def feed(self, data: bytes) -> None:
        """Take what came."""

        self._buffer += data

    def next(self) -> str | None:
        """Return a reply, its lines joined by line feeds; None if there is no whole one.

        Raises:
            Lost: It is not a reply, or too long.
        """

        while (end := self._buffer.find(b"\n")) >= 0:
            line = self._buffer[:end].rstrip(b"\r").replace(b"\xff\xff", b"\xff")
            del self._buffer[: end + 1]
            self._size += end + 1
            self._lines.append(line.decode(errors="surrogateescape"))
            first, last = self._lines[0], self._lines[-1]
            if not (first[:3].isascii() and first[:3].isdigit() and first[0] in "12345"):
                raise Lost(f"the server says {first!r:.80}, which is not a reply")
            if first[3:4] != "-" or (last[:3] == first[:3] and last[3:4] in ("", " ")):
                reply, self._lines, self._size = "\n".join(self._lines), [], 0
                return reply
        if self._size + len(self._buffer) > LONGEST_REPLY:
            raise Lost("a reply of the server does not end")
        return None
