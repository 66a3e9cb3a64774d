"""What is shown of a server's words, and of the system's errors."""

from __future__ import annotations

import os
import socket
import ssl

__all__ = ["printable", "reason"]


def printable(text: str) -> str:
    r"""Escape all that is no printable character: what a hostile server says is shown, not obeyed.

    A byte that is not UTF-8, which is a surrogate in text, is shown as ``\xff``.
    """

    return "".join(
        char
        if char.isprintable()
        else f"\\x{ord(char) - 0xDC00:02x}"
        if "\udc80" <= char <= "\udcff"
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def reason(error: OSError) -> str:
    """Say why a connection failed, in the system's own words."""

    if isinstance(error, ssl.SSLError | socket.gaierror) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno)
