"""Lets clients work for a long time, and compares what the server holds whenever all are away.

Once in a period the clients leave, and the server is asked what it holds: sessions, tasks,
descriptors and objects must be what they were the first time, and memory must not grow once it is
warm. Between two such moments, what each client gets is compared with what it must get.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import attrs

from tests.soak.jobs import EXPECTED, JOBS, LATE, Visitor, Wrong
from tests.soak.server import Report, ServerProcess

__all__ = ["LONG", "SHORT", "Bounds", "Soak"]

MEBIBYTE = 1 << 20


@attrs.frozen
class Bounds:
    """How much may grow.

    Attributes:
        warm_after: The share of the periods after which the server is warm, and nothing grows.
        resident: Bytes of memory, from the first quarter after that to the last.
        objects: Objects that the garbage collector knows, likewise.
        threads: Threads at any moment: those of the store, of ftpdata's files and of anyio.
        descriptors: Descriptors that may be open besides those of the first moment.
        moments: How many are compared at least: memory differs by some mebibytes from one to
            the next, whatever the server does.
        seconds: For the server to give everything back once its clients are away.
    """

    warm_after: float = 0.25
    moments: int = 12
    resident: int = 4 * MEBIBYTE
    objects: int = 2000
    threads: int = 48
    descriptors: int = 0
    seconds: float = 20.0


LONG = 600.0
"""Seconds of a soak after which a quarter of it has warmed the server up."""

SHORT = Bounds(resident=24 * MEBIBYTE, moments=4)
"""What is allowed in less: the server is still warming up."""


class Soak:
    """One soak.

    Args:
        process: The server.
        directory: What it serves.
        clients: How many there are.
        seed: Of everything that the clients do.
        pause: Seconds that a client rests between two jobs, at most.
        bounds: What is allowed.
        say: Takes a line for whoever watches.
        stops_early: Whether the first violation ends it.

    Attributes:
        violations: What was wrong.
        reports: What the server held, at the end of each period.
    """

    def __init__(
        self,
        process: ServerProcess,
        directory: Path,
        *,
        clients: int = 6,
        seed: int = 0,
        pause: float = 0.3,
        bounds: Bounds | None = None,
        say: Callable[[str], object] = lambda _: None,
        stops_early: bool = False,
    ) -> None:
        self.violations: list[str] = []
        self.reports: list[Report] = []
        self._process = process
        self._directory = directory
        self._pause = pause
        self._bounds = bounds if bounds is not None else Bounds()
        self._say = say
        self._stops_early = stops_early
        self._logged = 0
        self._visitors = [
            Visitor(
                name=f"c{number}",
                source=f"127.7.0.{number + 1}",
                port=process.port,
                directory=directory,
                random=random.Random(f"{seed}.{number}"),
            )
            for number in range(clients)
        ]

    async def run(self, seconds: float, *, period: float = 60.0) -> bool:
        """Run for so long; return whether all was well.

        Args:
            seconds: How long.
            period: Seconds between two moments at which all clients are away.
        """

        began = time.monotonic()
        await self._work(min(period, 2.0))
        # Everything that is made once has been made.
        first = await self._rest()
        if first is not None:
            self.reports.append(first)
        told = 0
        while not self._is_over(began + seconds):
            await self._work(min(period, max(0.1, began + seconds - time.monotonic())))
            report = await self._rest(first)
            if report is not None:
                self.reports.append(report)
            self._compare()
            self._say(self._line(time.monotonic() - began))
            for violation in self.violations[told:]:
                self._say(f"           {violation}")
            told = len(self.violations)
        return not self.violations

    def _is_over(self, end: float) -> bool:
        if self._process.has_ended:
            self.violations.append("the server has ended")
            return True
        return time.monotonic() >= end or (self._stops_early and bool(self.violations))

    async def _work(self, seconds: float) -> None:
        """Let all clients do job after job, until the time is over and their last one done."""

        end = time.monotonic() + seconds
        await asyncio.gather(*(self._visit(visitor, end) for visitor in self._visitors))

    async def _visit(self, visitor: Visitor, end: float) -> None:
        while time.monotonic() < end and not (self._stops_early and self.violations):
            names = list(JOBS)
            (name,) = visitor.random.choices(names, [JOBS[name][1] for name in names])
            try:
                async with asyncio.timeout(120):
                    await JOBS[name][0](visitor)
            except (Wrong, *EXPECTED, TimeoutError) as error:
                self.violations.append(f"{visitor.name}, {name}: {type(error).__name__}: {error}")
            visitor.jobs[name] += 1
            await asyncio.sleep(visitor.random.random() * self._pause)

    async def _rest(self, first: Report | None = None) -> Report | None:
        """Wait until the server has given everything back; return what it holds then."""

        deadline = time.monotonic() + self._bounds.seconds
        while not self._process.has_ended:
            report = await asyncio.to_thread(self._process.report)
            left = self._left(report, first)
            if not left:
                return report
            if time.monotonic() >= deadline:
                self.violations += left
                return report
            await asyncio.sleep(0.2)
        return None

    def _left(self, report: Report, first: Report | None) -> list[str]:
        """Tell what is left of clients that are away."""

        left = []
        if report.sessions or any(report.counted):
            left.append(f"{report.sessions} sessions are left, and counted are {report.counted}")
        if first is None:
            return left
        if report.tasks > first.tasks:
            left.append(f"{report.tasks} tasks, not {first.tasks}")
        more = len(report.descriptors) - len(first.descriptors)
        if more > self._bounds.descriptors:
            new = sorted(set(report.descriptors.values()) - set(first.descriptors.values()))
            left.append(f"{more} descriptors more, among them {new[:10]}")
        left += [
            f"the file {path.name}"
            for path in self._directory.glob(".*")
            if not path.name.startswith(".ftpdata-part.")
        ]
        return left

    def _compare(self) -> None:
        """Look for what was late, logged, or has grown."""

        for visitor in self._visitors:
            self.violations += visitor.late
            visitor.late.clear()
        lines, self._logged = self._process.lines[self._logged :], len(self._process.lines)
        self.violations += [f"logged: {line}" for line in lines]
        if self.reports and self.reports[-1].threads > self._bounds.threads:
            self.violations.append(f"{self.reports[-1].threads} threads")
        warm = self.reports[max(1, int(len(self.reports) * self._bounds.warm_after)) :]
        if len(warm) < self._bounds.moments:
            return

        quarter = len(warm) // 4
        early, late = warm[:quarter], warm[-quarter:]
        for name, bound in (("resident", self._bounds.resident), ("objects", self._bounds.objects)):
            before = statistics.median(getattr(report, name) for report in early)
            after = statistics.median(getattr(report, name) for report in late)
            if after - before > bound:
                self.violations.append(
                    f"{name} grew from {before:,.0f} to {after:,.0f}, which is more than {bound:,};"
                    f" {_growth(early[0].types, late[-1].types)}"
                )

    def _line(self, seconds: float) -> str:
        jobs = sum(sum(visitor.jobs.values()) for visitor in self._visitors)
        replies = sum(sum(visitor.replies.values()) for visitor in self._visitors)
        slowest = max(visitor.slowest for visitor in self._visitors)
        for visitor in self._visitors:
            visitor.slowest = (0.0, "")
        report = self.reports[-1] if self.reports else None
        held = "" if report is None else (
            f" {report.resident / MEBIBYTE:.1f} MiB, {len(report.descriptors)} descriptors,"
            f" {report.threads} threads, {report.objects} objects, {report.tasks} tasks;"
        )
        return (
            f"{seconds / 60:5.1f} min: {jobs} jobs, {replies} replies;{held}"
            f" slowest {slowest[0]:.2f} s ({slowest[1]}); {len(self.violations)} violations"
        )

    def summary(self) -> list[str]:
        """Return what was done, and every violation, one line each."""

        jobs: Counter[str] = Counter()
        codes: Counter[int] = Counter()
        for visitor in self._visitors:
            jobs += visitor.jobs
            codes += visitor.replies
        resident = [report.resident / MEBIBYTE for report in self.reports[1:]] or [0.0]
        return [
            "jobs: " + ", ".join(f"{number} {name}" for name, number in jobs.most_common()),
            "replies: " + ", ".join(f"{number} × {code}" for code, number in sorted(codes.items())),
            (
                f"memory: {resident[0]:.1f} MiB at first, {resident[-1]:.1f} MiB at last,"
                f" {max(resident):.1f} MiB at most"
            ),
            f"bounds: {attrs.asdict(self._bounds)}; late is {LATE:g} s",
            f"{len(self.violations)} violations",
            *self.violations[:100],
        ]


def _growth(before: dict[str, int], after: dict[str, int]) -> str:
    """Tell of which classes there are more."""

    more = {name: number - before.get(name, 0) for name, number in after.items()}
    found = [f"{number} {name}" for name, number in Counter(more).most_common(5) if number > 0]
    return "more of " + ", ".join(found) if found else "of our own classes there are no more"
