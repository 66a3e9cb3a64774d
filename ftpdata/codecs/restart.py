"""Restart markers and suspect data (RFC 959 §3.4.2, §3.5).

Pure. Block and compressed mode carry them besides the bytes of a file, and the reply 110 tells
a sender where the receiver saw its marker. This module knows no modes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs

from .._checks import check_type, checked, ranged
from ..errors import BadArgument, InvalidData, error_for_peer

__all__ = [
    "RestartMarker",
    "SuspectData",
    "format_mark_reply",
    "parse_mark_reply",
]

_MARK_REPLY = re.compile(r"(?:110[ -])?MARK ([!-~]+) = ([!-~]+)\s*", re.ASCII)
_MARKER_CHARACTERS = re.compile(r"[!-~]+", re.ASCII)


@attrs.frozen(field_transformer=checked)
class RestartMarker:
    """A restart marker that was received (RFC 959 §3.5).

    Attributes:
        text: The marker; only its sender knows what it means.
        offset: Where the marker was sent, in bytes of the file as it is stored here. Everything
            before it has been given out, and the reader has taken it.
    """

    text: str
    offset: int = attrs.field(validator=ranged(0))


@attrs.frozen(field_transformer=checked)
class SuspectData:
    """Data that their sender marked as suspect (RFC 959 §3.4.2). They are delivered like any other.

    Attributes:
        offset: Where they start, in bytes of the file as it is stored here.
        size: Their length, in bytes on the connection.
    """

    offset: int = attrs.field(validator=ranged(0))
    size: int = attrs.field(validator=ranged(0))


MarkerCallback = Callable[[RestartMarker], None]
SuspectCallback = Callable[[SuspectData], None]


def format_mark_reply(marker: RestartMarker, *, own: str | None = None) -> str:
    """Format the reply that tells the sender where its marker was seen (RFC 959 §4.2).

    Args:
        marker: The marker that was received.
        own: The receiver's equivalent of it; by default the offset in decimal.

    Returns:
        ``110 MARK yyyy = mmmm``, exactly as in RFC 959.

    Raises:
        ValueError: `own` cannot be a marker.
    """

    check_type("marker", marker, RestartMarker, "a RestartMarker")
    return f"110 MARK {marker.text} = {checked_marker(str(marker.offset) if own is None else own)}"


def parse_mark_reply(text: str) -> tuple[str, str]:
    """Parse reply 110, with or without its number.

    Returns:
        The sender's marker and the receiver's.

    Raises:
        BadArgument: It is not such a reply. Reply 501.
    """

    check_type("text", text, str, "a string")
    match = _MARK_REPLY.fullmatch(text)
    if match is None:
        raise error_for_peer(BadArgument, f"expected 110 MARK yyyy = mmmm, not {text!r:.80}")

    return match[1], match[2]


def checked_marker(marker: str) -> str:
    """Return a marker that may be sent: printable characters, no space (RFC 959 §3.4.2)."""

    check_type("marker", marker, str, "a string")
    if not _MARKER_CHARACTERS.fullmatch(marker):
        raise ValueError(f"a restart marker is printable ASCII without spaces, not {marker!r:.40}")

    return marker


def marker_text(data: bytes, mode: str) -> str:
    """Return a marker that was received, as text.

    Raises:
        InvalidData: It cannot be a marker. Reply 451.
    """

    text = data.decode("latin-1")
    if not _MARKER_CHARACTERS.fullmatch(text):
        raise InvalidData(f"{mode}: not a restart marker: {data!r:.40}")

    return text
