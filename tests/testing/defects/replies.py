"""Wrong replies of commands that move no file."""

from __future__ import annotations

from tests.testing.proofs import Defect
from tests.testing.scripted_server import saying

__all__ = ["DEFECTS"]

DEFECTS = [
    Defect("greeting-and-login", saying("NOOP", "500 what?"), "answered by '500 what?'"),
]
