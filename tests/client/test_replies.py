"""Replies are found in what a server sends, however it is cut; the rest is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.client.replies import LONGEST_REPLY, Lost, ReplyError, ReplyParser

REPLIES = [
    (b"220 ready\r\n", "220 ready"),
    (b"220 ready\n", "220 ready"),
    (b"200\r\n", "200"),
    (b"331-Name\r\n331 okay\r\n", "331-Name\n331 okay"),
    (
        b"211-Features:\r\n SIZE\r\n 211 no end\r\n211 End\r\n",
        "211-Features:\n SIZE\n 211 no end\n211 End",
    ),
    (b"230-one\r\n230-two\r\n230 three\r\n", "230-one\n230-two\n230 three"),
    (b"230-one\r\n226 two\r\n230 three\r\n", "230-one\n226 two\n230 three"),
    (b"230-one\r\n230\r\n", "230-one\n230"),
    (b'257 "caf\xe9"\r\n', '257 "caf\udce9"'),
    (b'257 "\xff\xff"\r\n', '257 "\udcff"'),
]


def parsed(parser: ReplyParser, pieces: list[bytes]) -> list[str]:
    """Return all replies in what comes piece by piece."""

    found = []
    for piece in pieces:
        parser.feed(piece)
        while (reply := parser.next()) is not None:
            found.append(reply)
    return found


@pytest.mark.parametrize(("data", "reply"), REPLIES)
def test_reply_is_found_whole_and_byte_by_byte(data: bytes, reply: str) -> None:
    """RFC 959 §4.2, with LF for CRLF as some send it."""

    assert parsed(ReplyParser(), [data]) == [reply]
    parser = ReplyParser()
    assert parsed(parser, [data[i : i + 1] for i in range(len(data))]) == [reply]
    assert parser.is_empty


@given(st.lists(st.sampled_from(REPLIES), max_size=5), st.data())
def test_replies_are_found_however_they_are_cut(
    replies: list[tuple[bytes, str]], data: st.DataObject
) -> None:
    """Several may come at once."""

    stream = b"".join(raw for raw, _ in replies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert parsed(ReplyParser(), pieces) == [text for _, text in replies]


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.0 400 Bad\r\n", b"\r\n", b"22 x\r\n", b"020 x\r\n", b"920 x\r\n", b"22\xb2 x\r\n"],
)
def test_what_is_no_reply_is_refused(data: bytes) -> None:
    """The server speaks something else."""

    parser = ReplyParser()
    parser.feed(data)
    with pytest.raises(Lost, match="not a reply"):
        parser.next()


@pytest.mark.parametrize("piece", [b"x" * 100, b"x" * 98 + b"\r\n"])
def test_a_reply_has_a_bound(piece: bytes) -> None:
    """Neither a line nor the lines of a reply go on for ever."""

    parser = ReplyParser()
    parser.feed(b"220-")
    for _ in range(LONGEST_REPLY // 100):
        parser.feed(piece)
        assert parser.next() is None
    parser.feed(piece)
    with pytest.raises(Lost, match="does not end"):
        parser.next()


def test_what_comes_behind_a_reply_is_noticed() -> None:
    """Also if it is no whole reply."""

    parser = ReplyParser()
    parser.feed(b"234 go\r\n2")
    assert parser.next() == "234 go"
    assert not parser.is_empty


def test_a_reply_says_whether_to_ask_again() -> None:
    """By its first digit (RFC 959 §4.2.1)."""

    assert ReplyError("550 no").is_permanent
    assert not ReplyError("450 no").is_permanent
