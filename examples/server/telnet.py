"""The bytes of a control connection, cut into command lines. Pure.

RFC 959 §5.3 and RFC 1123 §4.1.2.12 (Telnet), RFC 2640 §3.1 (CR NUL). A client is
never trusted to send short lines, text, or correct Telnet.
"""

from __future__ import annotations

__all__ = ["TelnetLines"]

# Telnet commands (RFC 854): those with an operand, and the two marks of a sub-negotiation.
_IAC = 255
_WITH_OPTION = range(251, 255)  # WILL, WONT, DO, DONT
_SB = 250
_SE = 240

_CR = 13


class TelnetLines:
    """Cuts a byte stream into command lines, and removes the Telnet commands.

    Abort sequences begin with IAC IP and IAC DM, partly as urgent data (RFC 959
    §4.1.3, ABOR), and naive clients send option negotiations, too. All of that is
    dropped. An escaped IAC is one byte 255.

    Args:
        limit: Bytes of a line, without its end. The bytes of a longer line are
            dropped as they come.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line = bytearray()
        self._too_long = False
        self._telnet: int | None = None
        self._in_subnegotiation = False
        self._after_cr = False
        self._is_at_start = True

    @property
    def is_within_line(self) -> bool:
        """Whether there are bytes of a line whose end has not come."""

        return bool(self._line) or self._too_long or self._telnet is not None

    def feed(self, data: bytes) -> list[str | None]:
        """Return the lines that end in `data`; None stands for one that was too long."""

        lines: list[str | None] = []
        if self._is_at_start and b"\xff" not in data and b"\0" not in data:
            # Nearly always: whole lines, and no Telnet.
            *ended, data = data.split(b"\n")
            lines += [self._decode(line) for line in ended]
            if not data:
                return lines

        for byte in data:
            if self._telnet is not None:
                self._take_telnet(byte)
            elif byte == _IAC:
                self._telnet = _IAC
            elif self._in_subnegotiation:
                continue
            elif byte == 10:  # noqa: PLR2004 - LF
                lines.append(self._end_line())
            else:
                self._add(byte)

        self._is_at_start = not (self.is_within_line or self._in_subnegotiation)
        return lines

    def _take_telnet(self, byte: int) -> None:
        """Take the byte after IAC, or the operand of a command."""

        command, self._telnet = self._telnet, None
        if command in _WITH_OPTION:
            return
        if byte == _SB:
            self._in_subnegotiation = True
        elif byte == _SE:
            self._in_subnegotiation = False
        elif self._in_subnegotiation:
            return
        elif byte in _WITH_OPTION:
            self._telnet = byte
        elif byte == _IAC:
            self._add(byte)

    def _add(self, byte: int) -> None:
        # RFC 2640 §3.1: a CR within a path is sent as CR NUL.
        if byte == 0 and self._after_cr:
            self._after_cr = False
            return

        self._after_cr = byte == _CR
        if len(self._line) > self._limit:
            self._too_long = True
        else:
            self._line.append(byte)

    def _end_line(self) -> str | None:
        line = bytes(self._line)
        too_long = self._too_long
        self._line.clear()
        self._too_long = self._after_cr = False
        return None if too_long else self._decode(line)

    def _decode(self, line: bytes) -> str | None:
        line = line.removesuffix(b"\r")
        return None if len(line) > self._limit else line.decode("utf-8", "surrogateescape")


