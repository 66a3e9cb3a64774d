"""Places for sessions, counted in one process or over all of a host."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.server.places import Full, HostLocks, HostPlaces, LocalPlaces, Places
from tests.server.client import serving

ROOT = Path(__file__).parents[2]

OTHER = """
import asyncio, random, sys
from examples.server.places import HostLocks, HostPlaces

async def main():
    places = HostPlaces(HostLocks(int(sys.argv[1])), 4, 2, chance=random.Random(1))
    for address in sys.argv[2:]:
        await places.take(address)
    print("taken", flush=True)
    sys.stdin.read()

asyncio.run(main())
"""
"""Another process that takes places, and keeps them until it ends."""


@pytest.fixture
def fd() -> Iterator[int]:
    """Return the descriptor of a file that processes share."""

    with tempfile.TemporaryFile() as file:
        yield file.fileno()


def other(fd: int, *addresses: str) -> subprocess.Popen[str]:
    """Start a process that has a place for each address."""

    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(fd), *addresses],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[fd],
    )
    assert process.stdout
    assert process.stdout.readline() == "taken\n"
    return process


@pytest.mark.parametrize("kind", ["local", "host"])
async def test_an_address_has_its_places_and_no_more(fd: int, kind: str) -> None:
    """What is given back can be taken again; giving back twice gives back once."""

    places: Places = (
        LocalPlaces(2) if kind == "local" else HostPlaces(HostLocks(fd), 100, 2)
    )
    taken = [await places.take("a"), await places.take("a"), await places.take("b")]
    for _ in range(2):
        with pytest.raises(Full, match="of one address"):
            await places.take("a")
    for _ in range(2):
        taken[0].release()
    await places.take("a")
    with pytest.raises(Full):
        await places.take("a")
    await places.take("b")


async def test_what_is_refused_has_taken_nothing(fd: int) -> None:
    """An address that is refused takes no place from the others."""

    places = HostPlaces(HostLocks(fd), 4, 2)
    for _ in range(2):
        await places.take("a")
    for _ in range(10):
        with pytest.raises(Full, match="of one address"):
            await places.take("a")
    for _ in range(2):
        await places.take("b")
    with pytest.raises(Full, match=r"^Too many sessions\.$"):
        await places.take("c")


@pytest.mark.blocking_allowed("the test waits for its own processes")
async def test_a_killed_process_gives_its_places_back(fd: int) -> None:
    """All processes share the places, and the system frees those of one that is gone."""

    places = HostPlaces(HostLocks(fd), 4, 2, chance=random.Random(1))
    with other(fd, "a", "b") as first, other(fd, "a", "c") as second:
        with pytest.raises(Full, match=r"^Too many sessions\.$"):
            await places.take("d")
        first.kill()
        first.wait()
        mine = await places.take("a")
        with pytest.raises(Full, match="of one address"):
            await places.take("a")
        mine.release()
        await places.take("d")
        await places.take("b")
        second.kill()


def test_numbers_are_of_one_process_each(fd: int) -> None:
    """A process that has a number does not get it twice, although the system would let it."""

    locks = HostLocks(fd)
    assert [locks.take(7, 3, start=1) for _ in range(4)] == [8, 9, 7, None]
    locks.give_back(9)
    assert [locks.take(7, 3), locks.take(7, 3)] == [9, None]


async def test_servers_of_one_host_share_their_places(fd: int, served_directory: Path) -> None:
    """The client that is one too many gets 421, whichever server it reaches."""

    places = HostPlaces(HostLocks(fd), 2, 2)
    async with (
        serving(served_directory, places=places) as one,
        serving(served_directory, places=places) as other_one,
        one.connected() as client,
        other_one.connected(),
    ):
        for server in (one, other_one):
            async with server.arrived() as refused:
                assert await refused.codes(1) == [421]
                assert await refused.is_closed()
        assert await client.code("QUIT") == 221
        await one.all_left()
        async with one.connected():
            pass
