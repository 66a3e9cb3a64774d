"""Object stores in tests."""

from __future__ import annotations

import asyncio

import obstore
from obstore.store import MemoryStore

__all__ = ["start_runtime"]


def start_runtime() -> None:
    """Start the runtime of obstore, whose descriptors and threads last as long as the process.

    For a fixture with the scope of a module: they are not leaks of a test.
    """

    async def use() -> None:
        await obstore.put_async(MemoryStore(), "file", b"")

    asyncio.run(use())
