"""The example server with few file descriptors, whose turns of the event loop can be asked for.

``python -m tests.server.counted DESCRIPTORS ARGUMENT...``: SIGUSR1 prints the number of turns so
far. A loop that is woken by what it cannot take turns ten thousands of times a second.
"""

from __future__ import annotations

import resource
import selectors
import signal
import sys
from typing import Any

from examples.server.__main__ import main

__all__: list[str] = []

_turns = 0


class _Counting(selectors.DefaultSelector):
    """Counts how often the loop looks for events."""

    def select(self, timeout: float | None = None) -> Any:
        global _turns  # noqa: PLW0603 - one loop in one process
        _turns += 1
        return super().select(timeout)


if __name__ == "__main__":
    selectors.DefaultSelector = _Counting  # type: ignore[misc]
    signal.signal(signal.SIGUSR1, lambda *_: print(_turns, flush=True))  # noqa: T201 - asked for
    limit = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    sys.exit(main(sys.argv[2:]))
