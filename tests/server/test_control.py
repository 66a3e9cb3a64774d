"""The control connection as text."""

from __future__ import annotations

import socket

import anyio
import anyio.abc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.server.control import ControlConnection, Reply, TelnetLines, printable

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


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(200, "Fine."), b"200 Fine.\r\n"),
        (Reply(211, "End", ("Features:", "SIZE")), b"211-Features:\r\n SIZE\r\n211 End\r\n"),
        # A line that could be taken for the last one, and one that could be a second one.
        (Reply(211, "End", ("One", "211 no")), b"211-One\r\n 211 no\r\n211 End\r\n"),
        (Reply(257, '"a\r\n200 b"'), b'257 "a\\r\\n200 b"\r\n'),
        (Reply(257, "caf\udce9 é"), b"257 caf\xe9 \xc3\xa9\r\n"),
    ],
)
def test_replies_are_encoded(reply: Reply, expected: bytes) -> None:
    """One line each; names keep their bytes, and forge nothing."""

    assert reply.encode() == expected


@given(st.text(), st.lists(st.text()))
def test_a_reply_is_the_lines_it_says(text: str, before: list[str]) -> None:
    """Whatever is in the text, the number of lines is that of the reply."""

    text = text.encode("utf-8", "ignore").decode()
    before = [line.encode("utf-8", "ignore").decode() for line in before]
    lines = Reply(200, text, tuple(before)).encode().split(b"\r\n")
    assert len(lines) == len(before) + 2
    assert all(b"\n" not in line and b"\r" not in line for line in lines)


def test_printable_text_is_one_line() -> None:
    """For logs: line ends, escapes and undecodable bytes are written out."""

    assert printable("a\r\nb\x1b[2J\udcff\u202e é") == "a\\r\\nb\\x1b[2J\\udcff\\u202e é"


async def _connected() -> tuple[anyio.abc.SocketStream, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = await anyio.connect_tcp(*listener.getsockname())
        client, _ = listener.accept()
        return stream, client


async def test_client_that_takes_no_replies_is_cut_off() -> None:
    """Its full buffers hold nothing up for longer than the timeout."""

    stream, client = await _connected()
    control = ControlConnection(stream, line_limit=100, send_timeout=0.05)
    reply = Reply(200, "x" * 1_000_000)
    with anyio.fail_after(10):
        while not control.is_lost:
            await control.send(reply)
        await control.send(reply)
    client.close()


async def test_lines_end_with_the_connection() -> None:
    """A clean end and a reset both just end the iteration; only one of them is a loss."""

    for reset in (False, True):
        stream, client = await _connected()
        control = ControlConnection(stream, line_limit=100, send_timeout=1)
        client.sendall(b"NOOP\r\nhalf")
        lines = control.lines()
        assert await anext(lines) == "NOOP"
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert [line async for line in lines] == []
        assert control.is_lost is reset
        await stream.aclose()


