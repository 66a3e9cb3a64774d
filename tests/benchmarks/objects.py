"""An object store behind ftpdata costs little memory, and little of its speed.

``python -m tests.benchmarks.objects [ROUNDS]`` starts SeaweedFS and moves objects of 256 MiB
through data connections of this machine, beside obstore's own put and get of the same objects: a
put with as many parts at a time, and a get whose pieces go to a peer through a socket, since the
peer takes its share of the machine, too. A get that drops its pieces is shown beside them.
ROUNDS, by default 7, is how often each is done, in turn. What it takes of memory is measured in
a process for each kind of transfer, in which only a small one has run before. Peers are processes
of their own: what they do is not counted.
"""

from __future__ import annotations

import asyncio
import functools
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import obstore
from obstore.store import ObjectStore

from ftpdata import AcceptedEndpoint, ListFormatter, receive_file, send_listing, send_stream
from ftpdata.objectstore import (
    CHUNK_SIZE,
    PART_SIZE,
    ObjectTarget,
    object_chunks,
    object_entries,
)
from tests.benchmarks.figures import Figures
from tests.interop.stores import StoreServer, running_store, s3_store

__all__ = ["main"]

MIB = 1 << 20
SIZE = 256 * MIB
OBJECTS = 100_000
MAKERS = 64
"""Objects that are made at a time."""

SETTLING = 3.0
"""Seconds in which a stalled download fills whatever it fills."""

SPAWN = multiprocessing.get_context("spawn")


# Peers


def send_to(address: tuple[str, int], size: int) -> None:
    """Send that many bytes."""

    data = bytes(MIB)
    with socket.create_connection(address) as sock:
        for _ in range(size // MIB):
            sock.sendall(data)


def read_from(address: tuple[str, int], pause: float) -> None:
    """Read everything; after the first byte, wait."""

    buffer = bytearray(MIB)
    with socket.create_connection(address) as sock:
        sock.recv_into(buffer, 1)
        time.sleep(pause)
        while sock.recv_into(buffer):
            pass


class Peer:
    """A process that peers run in, one after the other."""

    def __init__(self) -> None:
        self._pool = SPAWN.Pool(1)

    def close(self) -> None:
        """End it."""

        self._pool.terminate()
        self._pool.join()

    async def meet(
        self,
        program: Callable[[tuple[str, int], Any], None],
        argument: float,
        move: Callable[[socket.socket], Awaitable[object]],
    ) -> float:
        """Let a peer connect, and move something; return the seconds that this took."""

        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            done = self._pool.apply_async(program, (listener.getsockname(), argument))
            accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
        started = time.perf_counter()
        accepted.setblocking(False)
        await move(accepted)
        taken = time.perf_counter() - started
        await asyncio.to_thread(done.get, 60)
        return taken


# Memory


class Memory:
    """How much memory this process takes, at most, from now on."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._before = _status("VmRSS")

    @property
    def peak(self) -> float:
        """MiB more than at the beginning, at most."""

        return (_status("VmHWM") - self._before) / MIB


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


# Transfers


def over(
    move: Callable[[ObjectStore, AcceptedEndpoint], Awaitable[object]], store: ObjectStore
) -> Callable[[socket.socket], Awaitable[None]]:
    """Return what moves something over an accepted socket."""

    async def run(accepted: socket.socket) -> None:
        async with AcceptedEndpoint(accepted) as endpoint:
            await move(store, endpoint)

    return run


def up(
    store: ObjectStore, endpoint: AcceptedEndpoint, *, concurrency: int = 1
) -> Awaitable[object]:
    """Receive a file into an object."""

    return receive_file(endpoint, ObjectTarget(store, "up", concurrency=concurrency))


def down(
    store: ObjectStore, endpoint: AcceptedEndpoint, *, path: str = "down"
) -> Awaitable[object]:
    """Send an object."""

    return send_stream(endpoint, object_chunks(store, path))


def show(store: ObjectStore, endpoint: AcceptedEndpoint) -> Awaitable[object]:
    """Send the listing of a directory."""

    return send_listing(endpoint, lines(store))


async def lines(store: ObjectStore) -> AsyncIterator[bytes]:
    """Yield the lines of a directory."""

    formatter = ListFormatter(now=time.time())
    async for page in object_entries(store, "many"):
        for entry in page:
            line = formatter.format(entry)
            assert line is not None
            yield line


async def put(store: ObjectStore, *, concurrency: int) -> float:
    """Put an object as obstore does, in as large parts; return the seconds that this took."""

    started = time.perf_counter()
    await obstore.put_async(
        store, "up", bytes(SIZE), chunk_size=PART_SIZE, max_concurrency=concurrency
    )
    return time.perf_counter() - started


async def get(store: ObjectStore) -> float:
    """Get an object as obstore does; return the seconds that this took."""

    started = time.perf_counter()
    async for _ in await obstore.get_async(store, "down"):
        pass
    return time.perf_counter() - started


async def fill(store: ObjectStore, count: int) -> None:
    """Make that many objects in a directory."""

    numbers = iter(range(count))

    async def make() -> None:
        for number in numbers:
            await obstore.put_async(store, f"many/{number:06}", b"!", use_multipart=False)

    await asyncio.gather(*(make() for _ in range(MAKERS)))


# What is measured


async def memory_of(kind: str, store: ObjectStore) -> float:
    """Do one transfer; return the MiB that it took."""

    peer = Peer()
    try:
        await peer.meet(send_to, 0, over(up, store))
        await peer.meet(read_from, 0.0, over(functools.partial(down, path="up"), store))
        memory = Memory()
        if kind == "up":
            await peer.meet(send_to, SIZE, over(up, store))
        elif kind == "down":
            await peer.meet(read_from, 0.0, over(down, store))
        elif kind == "stalled":
            moving = peer.meet(read_from, 2 * SETTLING, over(down, store))
            task = asyncio.ensure_future(moving)
            await asyncio.sleep(SETTLING)
            stalled = memory.peak
            await task
            return stalled
        else:
            await peer.meet(read_from, 0.0, over(show, store))
        return memory.peak
    finally:
        peer.close()


def measured_memory(kind: str, url: str) -> float:
    """Return what `memory_of` does, of a new process."""

    command = [sys.executable, "-m", "tests.benchmarks.objects", "memory", kind, url]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


async def get_to_socket(store: ObjectStore, accepted: socket.socket) -> None:
    """Send what obstore gets, in the pieces of a download, until the peer has it."""

    loop = asyncio.get_running_loop()
    with accepted:
        got = await obstore.get_async(store, "down")
        async for piece in got.stream(min_chunk_size=CHUNK_SIZE):
            await loop.sock_sendall(accepted, memoryview(piece))
        accepted.shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(accepted, 1) == b""


async def measure_speed(store: ObjectStore, figures: Figures, rounds: int) -> None:
    """Measure uploads and downloads, and obstore's own, in turn."""

    peer = Peer()

    def sent(concurrency: int) -> Callable[[], Awaitable[float]]:
        move = functools.partial(up, concurrency=concurrency)
        return functools.partial(peer.meet, send_to, SIZE, over(move, store))

    def read(
        move: Callable[[socket.socket], Awaitable[object]],
    ) -> Callable[[], Awaitable[float]]:
        return functools.partial(peer.meet, read_from, 0.0, move)

    ways: dict[str, Callable[[], Awaitable[float]]] = {
        "put, a part at a time": functools.partial(put, store, concurrency=1),
        "upload, a part at a time": sent(1),
        "put, 12 parts at a time": functools.partial(put, store, concurrency=12),
        "upload, 12 parts at a time": sent(12),
        "get": functools.partial(get, store),
        "get to a socket": read(functools.partial(get_to_socket, store)),
        "download": read(over(down, store)),
    }
    found: dict[str, list[float]] = {what: [] for what in ways}
    try:
        for _ in range(rounds):
            for what, way in ways.items():
                found[what].append(await way())
    finally:
        peer.close()
    rates = {what: SIZE / MIB / statistics.median(taken) for what, taken in found.items()}
    for what, rate in rates.items():
        figures.note(f"MiB a second, {what}", rate)
    for how in ("a part at a time", "12 parts at a time"):
        ratio = rates[f"upload, {how}"] / rates[f"put, {how}"]
        figures.at_least(f"upload to put, {how}", ratio, 0.9)
    figures.note("download to get", rates["download"] / rates["get"])
    ratio = rates["download"] / rates["get to a socket"]
    figures.at_least("download to get to a socket", ratio, 0.8)


def measure(server: StoreServer, rounds: int) -> int:
    """Do all of it; return the exit status."""

    figures = Figures(f"objects of {SIZE // MIB} MiB in SeaweedFS, {rounds} rounds")
    obstore.put(server.store, "down", bytes(SIZE))
    asyncio.run(measure_speed(server.store, figures, rounds))
    figures.at_most("MiB of memory, upload", measured_memory("up", server.url), 16.0)
    figures.at_most("MiB of memory, download", measured_memory("down", server.url), 16.0)
    figures.at_most(
        "MiB of memory, download with a stalled reader",
        measured_memory("stalled", server.url),
        4.0,
    )
    asyncio.run(fill(server.store, OBJECTS))
    figures.at_most(
        f"MiB of memory, listing of {OBJECTS:,} objects", measured_memory("list", server.url), 8.0
    )
    return figures.report()


def main(arguments: list[str]) -> int:
    """Measure; return 1 if a promise is broken."""

    if arguments[:1] == ["memory"]:
        _, kind, url = arguments
        print(asyncio.run(memory_of(kind, s3_store(url))))
        return 0

    rounds = int(arguments[0]) if arguments else 7
    shared = "/dev/shm"
    with (
        tempfile.TemporaryDirectory(dir=shared if Path(shared).is_dir() else None) as directory,
        running_store("seaweedfs", Path(directory)) as server,
    ):
        return measure(server, rounds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
