"""Whole transfers: files, listings, streams and relays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .reuse import ReusableConnection
    from .transfers import (
        ReceivedStream,
        receive_file,
        receive_stream,
        relay,
        send_file,
        send_listing,
        send_stream,
    )

__all__ = [
    "ReceivedStream",
    "ReusableConnection",
    "receive_file",
    "receive_stream",
    "relay",
    "send_file",
    "send_listing",
    "send_stream",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "reuse": ("ReusableConnection",),
            "transfers": (
                "ReceivedStream",
                "receive_file",
                "receive_stream",
                "relay",
                "send_file",
                "send_listing",
                "send_stream",
            ),
        },
    )
