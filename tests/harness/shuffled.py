"""An event loop that takes what is ready in an order of its own."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Hashable
from typing import Any

__all__ = ["ShuffledLoop"]


class ShuffledLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, but that it shuffles its ready queue before each turn.

    Which of two tasks goes on first, or which of two sockets is looked at first, is for the
    network and the clock to decide: here a seed decides, and what races loses soon. Two orders
    that asyncio promises are kept: the callbacks of one future come in the order in which they
    were added, and those of `call_soon` in the order of the calls.

    Args:
        seed: Of the order.

    Attributes:
        exchanged: How many turns had another order than asyncio's.
    """

    _ready: deque[asyncio.Handle]

    def __init__(self, seed: int) -> None:
        self.exchanged = 0
        self._random = random.Random(seed)
        super().__init__()

    def _process_events(self, event_list: Any) -> None:
        """Take note of what the sockets report, which is the last moment before the turn."""

        known = len(self._ready)
        super()._process_events(event_list)  # type: ignore[misc]
        ready = list(self._ready)
        if len(ready) < 2:
            return

        groups: dict[Hashable, deque[asyncio.Handle]] = {}
        keys: list[Hashable] = []
        for position, handle in enumerate(ready):
            key = ("socket", position) if position >= known else _group(handle)
            groups.setdefault(key, deque()).append(handle)
            keys.append(key)
        self._random.shuffle(keys)
        shuffled = [groups[key].popleft() for key in keys]
        if shuffled != ready:
            self.exchanged += 1
            # Another thread may have added to it, on the right.
            for _ in ready:
                self._ready.popleft()
            self._ready.extendleft(reversed(shuffled))


def _group(handle: asyncio.Handle) -> Hashable:
    """Return the same for all that must keep their order."""

    # asyncio has no public way to tell what a handle is of.
    opened: Any = handle
    arguments = opened._args or ()
    if arguments and isinstance(arguments[0], asyncio.Future):
        return ("future", id(arguments[0]))

    owner = getattr(opened._callback, "__self__", None)
    return ("task", id(owner)) if isinstance(owner, asyncio.Task) else ("call_soon",)
