"""The checks of `ftpdata.testing.server_check`, one module for each part of the protocol.

They run in the order of these imports.
"""

from __future__ import annotations

from . import (
    aborting,
    control,
    downloads,
    endings,
    files,
    listings,
    names,
    opening,
    replies,
    representation,
    restart,
    strangers,
    tls,
    uploads,
)
from ._frame import CHECKS, Check, NotOffered, Outcome, Protection, ServerUnderTest, Trial

__all__ = [
    "CHECKS",
    "Check",
    "NotOffered",
    "Outcome",
    "Protection",
    "ServerUnderTest",
    "Trial",
    "aborting",
    "control",
    "downloads",
    "endings",
    "files",
    "listings",
    "names",
    "opening",
    "replies",
    "representation",
    "restart",
    "strangers",
    "tls",
    "uploads",
]
