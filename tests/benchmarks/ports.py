"""Which ports are given out: uniform by a chi-square test, and soon enough (RFC 2577 §8).

``python -m tests.benchmarks.ports [ALLOCATIONS]`` takes that many ports from a free
range, from one of which nine tenths are in use, and from a pool. A stranger that
could guess the next port could be there first.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise

from ftpdata.opening.endpoint import Endpoint
from ftpdata.opening.passive import PassiveEndpoint, listen_passive
from ftpdata.opening.pool import ListenerPool, PooledEndpoint
from ftpdata.opening.ports import PortRange
from tests.benchmarks.figures import Figures, percentile
from tests.harness.proxies import free_ports

__all__ = ["chi_square", "main", "threshold"]

HOST = "127.0.0.1"
PORTS = 100
POOLED_PORTS = 10


def chi_square(counts: Counter[int], cells: int) -> float:
    """Return the statistic of a uniform distribution over that many cells."""

    expected = counts.total() / cells
    seen = sum((count - expected) ** 2 / expected for count in counts.values())
    return seen + (cells - len(counts)) * expected


def threshold(cells: int) -> float:
    """Return what the statistic exceeds once in a million runs (Wilson and Hilferty)."""

    freedom = cells - 1
    quantile = 4.7534  # of the normal distribution, at 1 - 1e-6
    term = 2 / (9 * freedom)
    return freedom * (1 - term + quantile * math.sqrt(term)) ** 3


async def allocate(
    make: Callable[[], Awaitable[PassiveEndpoint | PooledEndpoint]], count: int
) -> tuple[list[int], list[float]]:
    """Get that many ports, one after the other; return them, and the seconds that each took."""

    ports, seconds = [], []
    for _ in range(count):
        started = time.perf_counter()
        endpoint = await make()
        seconds.append(time.perf_counter() - started)
        ports.append(endpoint.address.port)
        endpoint.abort()

    return ports, seconds


def judge(
    figures: Figures, name: str, found: tuple[list[int], list[float]], cells: int
) -> None:
    """Add the figures of one run."""

    ports, seconds = found
    figures.note(f"{name}: allocations", len(ports))
    counts = Counter(ports)
    figures.equal(f"{name}: different ports", len(counts), cells)
    figures.at_most(f"{name}: chi-square", chi_square(counts, cells), threshold(cells))
    # The ports in their order, so that what is in use makes no gaps.
    order = {port: index for index, port in enumerate(sorted(counts))}
    steps = Counter((order[b] - order[a]) % cells for a, b in pairwise(ports))
    figures.at_most(
        f"{name}: chi-square of the steps", chi_square(steps, cells), threshold(cells)
    )
    shown = (f"{percentile(seconds, percent) * 1e6:.0f}" for percent in (50, 99))
    figures.note(f"{name}: microseconds, median and 99 %", ", ".join(shown))


async def _measure(figures: Figures, count: int) -> None:
    ports = free_ports(PORTS)

    async def listen() -> PassiveEndpoint:
        return await listen_passive(HOST, control_peer=HOST, ports=ports)

    judge(figures, "free range", await allocate(listen, count), PORTS)

    # Two holes side by side and others here and there: a walk would prefer some of them.
    free = {0, 1, 3, 20, 21, 50, 60, 75, 98, 99}
    held: list[Endpoint] = [
        await listen_passive(
            HOST, control_peer=HOST, ports=PortRange(ports.first + index, ports.first + index)
        )
        for index in range(PORTS)
        if index not in free
    ]
    judge(figures, "nine tenths in use", await allocate(listen, count), len(free))
    for endpoint in held:
        await endpoint.aclose()

    async with ListenerPool(HOST, free_ports(POOLED_PORTS), rest=0.0) as pool:

        async def reserve() -> PooledEndpoint:
            return pool.reserve(control_peer=HOST)

        judge(figures, "pool", await allocate(reserve, count), POOLED_PORTS)
        figures.equal("pool: reservations left", pool.metrics.in_use, 0)


def main(arguments: list[str]) -> int:
    """Run; return 1 if a distribution is not uniform."""

    figures = Figures("passive ports; a threshold is passed once in a million runs")
    asyncio.run(_measure(figures, int(arguments[0]) if arguments else 100_000))
    return figures.report()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
