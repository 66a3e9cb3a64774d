"""The checks of `ftpdata.testing.server_check`, one module for each part of the protocol.

They run in the order of these imports.
"""

from __future__ import annotations

from . import (
    control,
    downloads,
    files,
    listings,
    names,
    replies,
    representation,
    restart,
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
    "control",
    "downloads",
    "files",
    "listings",
    "names",
    "replies",
    "representation",
    "restart",
    "uploads",
]
