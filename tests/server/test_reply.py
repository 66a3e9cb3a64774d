"""Replies, as lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.server.reply import Reply, printable


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
