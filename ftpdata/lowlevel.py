"""What the reference server needs to be fast, and other programs hardly ever do.

No transfer needs any of this: a server that does without it is a little slower.
"""

from __future__ import annotations

from ._prompt import PromptFuture
from .files._cache import (
    CachedDirectory,
    is_in_memory,
    lives_in_memory,
    read_cached,
    read_from_memory,
)

__all__ = [
    "CachedDirectory",
    "PromptFuture",
    "is_in_memory",
    "lives_in_memory",
    "read_cached",
    "read_from_memory",
]
