"""What the objects that work for a `DTP` need of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from ..outcome import End
from ._wire import Wire

__all__ = ["Owner", "report_failure"]


class Owner(Protocol):
    """The part of a `DTP` that is used by the objects that work for it."""

    high_water: int
    strict_close: bool
    close_timeout: float | None
    stall_timeout: float | None

    def abort(
        self, end: End = ..., message: str | None = None, *, cause: BaseException | None = None
    ) -> None:
        """End the connection with a reset."""


def report_failure(dtp: Owner, wire: Wire, method: Callable[[], None], error: Exception) -> None:
    """Report what a call has raised that announced the end: the end stands all the same."""

    asyncio.get_running_loop().call_exception_handler({
        "message": f"{method!r} failed when it was called at the end of the data connection",
        "exception": error,
        "protocol": dtp,
        "transport": wire.transport,
    })
