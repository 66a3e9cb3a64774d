"""What runs over data connections, for the host that wants to let it end: see `Endpoint.drain`."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
import attrs

from .outcome import End

__all__ = ["DRAINING", "Abort", "Activity", "Drained", "Running"]

logger: logging.Logger = logging.getLogger("ftpdata.opening.drain")

DRAINING = "the host is about to end"
"""Why nothing new begins, and why what runs is cut; for the log."""

PATIENCE = 10.0
"""Seconds that what was cut may take to end: a started commit is not cut, say."""

Abort = Callable[[End, str], object]


@attrs.frozen
class Drained:
    """How a drain has gone.

    Attributes:
        ended: How many connections have ended in time, by themselves.
        cut: How many had to be cut.
    """

    ended: int
    cut: int


class Running:
    """The activities that have begun and not ended."""

    def __init__(self) -> None:
        self._active: set[Activity] = set()
        self._is_idle = anyio.Event()
        self._begun = 0

    def __len__(self) -> int:
        """How many there are."""

        return len(self._active)

    def note_active(self, activity: Activity) -> None:
        """Take note that an activity has begun."""

        self._active.add(activity)
        self._begun += 1

    def note_idle(self, activity: Activity) -> None:
        """Take note that an activity has ended."""

        self._active.discard(activity)
        if not self._active:
            self._is_idle.set()

    async def drain(self, within: float) -> Drained:
        """Wait until all activities have ended; cut those that have not after `within` seconds."""

        begun_before = self._begun - len(self._active)
        await self._wait(within)
        late = list(self._active)
        is_over = [activity.is_lingering for activity in late]
        for activity in late:
            if not activity.is_lingering:
                logger.warning("cut after %g s: %s", within, str(activity))
            activity.cut()
        await self._wait(PATIENCE)
        for activity in self._active:
            logger.error("has not ended %g s after it was cut: %s", PATIENCE, str(activity))
        cut = is_over.count(False)
        return Drained(ended=self._begun - begun_before - cut, cut=cut)

    async def _wait(self, limit: float) -> None:
        with anyio.move_on_after(limit):
            while self._active:
                if self._is_idle.is_set():
                    # A new one, since others may still wait for this one.
                    self._is_idle = anyio.Event()
                await self._is_idle.wait()


class Activity:
    """What goes on over one connection: it is opened, it is open, a transfer works on it.

    These overlap, and each may be what the others end with: an upload is stored after its
    connection has ended.

    It reports its beginning and its end to each `Running` that it has joined: that of a pool,
    and those of drains.
    """

    __slots__ = ("_joined", "_parts")

    def __init__(self) -> None:
        self._joined: tuple[Running, ...] = ()
        # The circle with what is active ends with it.
        self._parts: list[Abort] = []

    def __str__(self) -> str:
        return ", ".join(str(getattr(part, "__self__", part)) for part in self._parts)

    @property
    def is_active(self) -> bool:
        """Whether something goes on."""

        return bool(self._parts)

    @property
    def is_lingering(self) -> bool:
        """Whether the peer has everything, and only its last word is missing."""

        owners = [getattr(part, "__self__", None) for part in self._parts]
        return all(getattr(owner, "is_lingering", False) for owner in owners)

    def join(self, running: Running) -> None:
        """Let `running` know from now on, besides those that know already."""

        self._joined += (running,)
        if self._parts:
            running.note_active(self)

    def leave(self, running: Running) -> None:
        """Let `running` know no longer."""

        self._joined = tuple(each for each in self._joined if each is not running)

    def begin(self, abort: Abort) -> None:
        """Take note that something has begun, which `abort` cuts."""

        self._parts.append(abort)
        if len(self._parts) == 1:
            for running in self._joined:
                running.note_active(self)

    def end(self, abort: Abort) -> None:
        """Take note that it has ended."""

        self._parts.remove(abort)
        if not self._parts:
            for running in self._joined:
                running.note_idle(self)

    def cut(self) -> None:
        """Cut all that goes on."""

        for abort in list(self._parts):
            abort(End.ABORTED, DRAINING)
