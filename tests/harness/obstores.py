"""Object stores in tests. obstore is imported where it is used: PyPy cannot have it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.harness.packages import is_available

if TYPE_CHECKING:
    from obstore.store import MemoryStore

__all__ = ["memory_store", "start_runtime"]


def memory_store() -> MemoryStore:
    """Return an object store in memory."""

    from obstore.store import MemoryStore

    return MemoryStore()


def start_runtime() -> None:
    """Start the runtime of obstore, whose descriptors and threads last as long as the process.

    For a fixture with the scope of a module: they are not leaks of a test.
    """

    async def use() -> None:
        import obstore

        await obstore.put_async(memory_store(), "file", b"")

    if is_available("obstore"):
        asyncio.run(use())
