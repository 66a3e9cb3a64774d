"""The bytes of a control connection, cut into command lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.server.telnet import TelnetLines

LIMIT = 20

CASES: list[tuple[bytes, list[str | None]]] = [
    (b"NOOP\r\n", ["NOOP"]),
    (b"NOOP\n", ["NOOP"]),
    (b"\r\n\n", ["", ""]),
    (b"USER a\r\nPASS b\r\n", ["USER a", "PASS b"]),
    (b"NOOP", []),
    (b"RETR caf\xe9\r\n", ["RETR caf\udce9"]),
    ("RETR é\r\n".encode(), ["RETR é"]),
    # RFC 2640 §3.1: CR NUL is a CR of the path; a bare NUL is what it is.
    (b"RETR a\r\0b\r\n", ["RETR a\rb"]),
    (b"RETR a\0b\r\n", ["RETR a\0b"]),
    (b"RETR a\rb\r\n", ["RETR a\rb"]),
    # Telnet: IP, Synch (IAC DM), an escaped IAC, negotiations, a sub-negotiation.
    (b"\xff\xf4\xff\xf2ABOR\r\n", ["ABOR"]),
    (b"\xff\xf4\xf2ABOR\r\n", ["\udcf2ABOR"]),
    (b"RETR \xff\xffa\r\n", ["RETR \udcffa"]),
    (b"\xff\xfd\x06NOOP\r\n", ["NOOP"]),
    (b"\xff\xfb\x0aNOOP\r\n", ["NOOP"]),
    (b"\xff\xfa\x18\x00a\nb\xff\xf0NOOP\r\n", ["NOOP"]),
    # Lines that are too long.
    (b"x" * LIMIT + b"\r\n", ["x" * LIMIT]),
    (b"x" * (LIMIT + 1) + b"\r\nNOOP\r\n", [None, "NOOP"]),
    (b"x" * (LIMIT + 1) + b"\nNOOP\r\n", [None, "NOOP"]),
    (b"x" * 1000 + b"\r\nNOOP\r\n", [None, "NOOP"]),
]


@pytest.mark.parametrize(("data", "expected"), CASES)
def test_lines_are_cut_out_of_the_stream(data: bytes, expected: list[str | None]) -> None:
    """Fed whole, byte by byte, and at every split."""

    assert TelnetLines(LIMIT).feed(data) == expected
    lines = TelnetLines(LIMIT)
    assert [line for i in range(len(data)) for line in lines.feed(data[i : i + 1])] == expected
    for split in range(len(data)):
        lines = TelnetLines(LIMIT)
        assert lines.feed(data[:split]) + lines.feed(data[split:]) == expected


@given(st.lists(st.binary(max_size=40)))
def test_any_bytes_give_bounded_lines(pieces: list[bytes]) -> None:
    """Whatever comes, there are lines of bounded length, and bounded memory."""

    lines = TelnetLines(LIMIT)
    for piece in pieces:
        for line in lines.feed(piece):
            assert line is None or len(line.encode("utf-8", "surrogateescape")) <= LIMIT
            assert line is None or "\n" not in line
        assert len(lines._line) <= LIMIT + 1
