"""Restart markers, and the reply that reports where they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ftpdata.codecs.block import BlockEncoder
from ftpdata.codecs.compressed import CompressedEncoder
from ftpdata.codecs.restart import RestartMarker, format_mark_reply, parse_mark_reply
from ftpdata.errors import BadArgument


def test_six_character_marker_of_rfc_959() -> None:
    """RFC 959 §3.4.2: "to transmit a six-character marker, the following would be sent"."""

    assert b"".join(BlockEncoder().marker("MARKER")) == b"\x10\0\6MARKER"
    assert b"".join(CompressedEncoder(0).marker("MARKER")) == b"\0\x10\6MARKER"


@pytest.mark.parametrize("make", [BlockEncoder, lambda: CompressedEncoder(0x20)])
@pytest.mark.parametrize("text", ["", "a b", " ", "a\n", "\x7f", "é", "\0"])
def test_markers_that_are_none_are_not_sent(
    make: Callable[[], BlockEncoder | CompressedEncoder], text: str
) -> None:
    """A marker is printable ASCII without spaces."""

    with pytest.raises(ValueError, match="printable"):
        list(make().marker(text))


def test_mark_reply_is_to_the_letter() -> None:
    """RFC 959 §4.2.1: "the text is exact … MARK yyyy = mmmm"."""

    assert format_mark_reply(RestartMarker("yyyy", 4096)) == "110 MARK yyyy = 4096"
    assert format_mark_reply(RestartMarker("yyyy", 0), own="mmmm") == "110 MARK yyyy = mmmm"
    for own in ("", "a b", "a\r\n226 Done"):
        with pytest.raises(ValueError, match="printable"):
            format_mark_reply(RestartMarker("yyyy", 0), own=own)

    for text in ("110 MARK yyyy = mmmm", "110-MARK yyyy = mmmm", "MARK yyyy = mmmm\r\n"):
        assert parse_mark_reply(text) == ("yyyy", "mmmm")
    for text in ("", "110 MARK a=b", "110 MARK a = ", "111 MARK a = b", "110 MARK a b = c"):
        with pytest.raises(BadArgument) as caught:
            parse_mark_reply(text)
        assert caught.value.reply_code == 501
