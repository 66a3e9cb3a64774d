"""Tools that make the reference server fast, and that other programs rarely need.

No transfer depends on them: a server without them is a little slower.
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
