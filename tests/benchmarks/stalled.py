"""Stalled data connections by the thousand: memory, CPU, deadlines, and a healthy transfer beside.

``python -m tests.benchmarks.stalled [CONNECTIONS [SECONDS]]``: first the memory
of each way to stall, then all ways together until their deadline, SECONDS,
ends them. The transfers run in a process of their own; the peers, which do
nothing, are in this one. ``python -m tests.benchmarks.stalled trace KIND``
shows where the memory of one kind was allocated.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from ftpdata.connection.protocol import DTP
from ftpdata.deadlines import Deadlines
from ftpdata.errors import FTPDataError
from ftpdata.opening.endpoint import AcceptedEndpoint
from ftpdata.parameters import RepresentationType, TransferParameters
from ftpdata.transfers import receive_file, send_file, send_listing, send_stream
from tests.benchmarks.figures import Figures

__all__ = ["KINDS", "main"]

HOST = "127.0.0.1"
MIB = 1 << 20
HEALTHY = 256 * MIB
ROUNDS = 20
SETTLING = 2.0
"""Seconds for all transfers to have come to their stall."""

ASCII = TransferParameters(type=RepresentationType.ASCII)


# The process in which they stall


async def _endless() -> AsyncIterator[bytes]:
    piece = b"x" * 8192
    while True:
        yield piece


async def _lines() -> AsyncIterator[list[bytes]]:
    batch = [b"-rw-r--r--   1 user      group          1000 Jan 01  1970 file%04d" % n
             for n in range(100)]
    while True:
        yield batch


async def _listing(dtp: DTP, deadlines: Deadlines) -> object:
    return await send_listing(dtp, _lines(), deadlines=deadlines)


KINDS: dict[str, Callable[[DTP, Path, int, Deadlines], Awaitable[object]]] = {
    "RETR": lambda dtp, at, number, deadlines: send_file(dtp, at / "big", deadlines=deadlines),
    "RETR, TYPE A": lambda dtp, at, number, deadlines: send_file(
        dtp, at / "big", parameters=ASCII, deadlines=deadlines
    ),
    "RETR, generated": lambda dtp, at, number, deadlines: send_stream(
        dtp, _endless(), deadlines=deadlines
    ),
    "LIST": lambda dtp, at, number, deadlines: _listing(dtp, deadlines),
    "STOR": lambda dtp, at, number, deadlines: receive_file(
        dtp, at / f"up{number}", deadlines=deadlines
    ),
    "STOR, TYPE A": lambda dtp, at, number, deadlines: receive_file(
        dtp, at / f"up{number}", parameters=ASCII, deadlines=deadlines
    ),
    "nothing sent": lambda dtp, at, number, deadlines: receive_file(
        dtp, at / f"up{number}", deadlines=deadlines
    ),
}
"""How peers stall. "RETR" reads nothing; "STOR" sends a little, and then no more."""

MADE = frozenset({"RETR, TYPE A", "RETR, generated", "LIST"})
"""Kinds whose data are converted or made, and wait in the process until the peer takes them."""


def resident() -> int:
    """Return the bytes of this process that are in memory."""

    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024

    raise RuntimeError("the system does not say")


class _Server:
    """The process in which transfers stall; it does what its input says."""

    def __init__(self, kinds: list[str], stall: float, directory: Path) -> None:
        self._kinds = kinds
        self._stall = stall
        self._deadlines = Deadlines(stall=stall, first_byte=stall, close=stall)
        self._directory = directory
        self._listener = socket.create_server((HOST, 0), backlog=4096)
        self._listener.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._stalled: list[asyncio.Task[None]] = []
        self._ends: Counter[str] = Counter()
        self._late: dict[str, list[float]] = {kind: [] for kind in kinds}

    async def run(self) -> None:
        """Obey until the input ends."""

        commands = asyncio.StreamReader()
        await self._loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
        )
        self._tell(port=self._listener.getsockname()[1])
        with self._listener:
            while line := (await commands.readline()).decode().strip():
                command, _, argument = line.partition(" ")
                await {
                    "healthy": self._healthy,
                    "stall": self._stall_all,
                    "trace": self._trace,
                    "idle": self._idle,
                    "end": self._end,
                }[command](argument)

    async def _connection(self) -> DTP:
        sock, _ = await self._loop.sock_accept(self._listener)
        return await AcceptedEndpoint(sock, deadlines=self._deadlines).open()

    async def _healthy(self, _: str) -> None:
        await send_file(await self._connection(), self._directory / "healthy")

    async def _stall_all(self, count: str) -> None:
        before = resident()
        for number in range(int(count)):
            kind = self._kinds[number % len(self._kinds)]
            transfer = self._stall_on(await self._connection(), kind, number)
            self._stalled.append(asyncio.create_task(transfer))

        await asyncio.sleep(SETTLING)
        self._tell(memory=(resident() - before) / int(count))

    async def _stall_on(self, dtp: DTP, kind: str, number: int) -> None:
        # What counts is the last byte that moved. For a download that is at its
        # start: the kernels fill themselves at once. An upload comes when its file is open.
        moved_at = self._loop.time()
        received = dtp.data_received

        def note_received(data: bytes) -> None:
            nonlocal moved_at
            moved_at = self._loop.time()
            received(data)

        dtp.data_received = note_received  # type: ignore[method-assign]
        dtp.closed.add_done_callback(lambda _: self._note_end(kind, moved_at))
        try:
            await KINDS[kind](dtp, self._directory, number, self._deadlines)
        except FTPDataError as error:
            self._ends[error.end.name if error.end is not None else str(error)] += 1

    def _note_end(self, kind: str, moved_at: float) -> None:
        self._late[kind].append(self._loop.time() - moved_at - self._stall)

    async def _trace(self, count: str) -> None:
        tracemalloc.start(12)
        await self._stall_all(count)
        for statistic in tracemalloc.take_snapshot().statistics("lineno")[:30]:
            sys.stderr.write(f"{statistic.size / int(count):9,.0f} bytes each  {statistic}\n")

        tracemalloc.stop()

    async def _idle(self, seconds: str) -> None:
        cpu, started = time.process_time(), self._loop.time()
        await asyncio.sleep(float(seconds))
        self._tell(cpu=(time.process_time() - cpu) / (self._loop.time() - started))

    async def _end(self, _: str) -> None:
        await asyncio.wait(self._stalled)
        late = {kind: max(seconds) for kind, seconds in self._late.items()}
        early = min(min(seconds) for seconds in self._late.values())
        self._tell(ends=self._ends, late=late, early=early)

    @staticmethod
    def _tell(**figures: Any) -> None:
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()


# The peers


class _Process:
    """A process in which transfers stall, and the peers of its transfers."""

    def __init__(self, kinds: list[str], stall: float, at: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "serve", json.dumps(kinds), str(stall), str(at)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._kinds = kinds
        self._peers: list[socket.socket] = []
        self._port: int = self._answer()["port"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for peer in self._peers:
            peer.close()

        self._process.kill()
        self._process.communicate()

    def healthy(self) -> float:
        """Take one whole file; return bytes per second."""

        self._tell("healthy")
        with socket.create_connection((HOST, self._port)) as sock:
            buffer = bytearray(MIB)
            left = HEALTHY - sock.recv_into(buffer)
            started = time.perf_counter()
            while left > 0 and (received := sock.recv_into(buffer)):
                left -= received

            return HEALTHY / (time.perf_counter() - started)

    def stall(self, count: int, command: str = "stall") -> float:
        """Let that many peers stall; return the bytes of memory of each."""

        self._tell(f"{command} {count}")
        for number in range(count):
            kind = self._kinds[number % len(self._kinds)]
            peer = socket.socket()
            self._peers.append(peer)
            # What the kernel keeps is the machine's memory, not the process's. Less of it
            # shows sooner what the process keeps.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.connect((HOST, self._port))
            if kind.startswith("STOR"):
                peer.setblocking(False)
                peer.send(b"a line, and no more\r\n" * 5000)

        memory: float = self._answer()["memory"]
        return memory

    def idle(self, seconds: float) -> float:
        """Return the share of a processor that is used while nothing happens."""

        self._tell(f"idle {seconds}")
        cpu: float = self._answer()["cpu"]
        return cpu

    def ends(self) -> dict[str, Any]:
        """Wait for all ends; return how they were, and how late."""

        self._tell("end")
        return self._answer()

    def _tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def _measure_memory(figures: Figures, count: int, at: Path) -> None:
    for kind in KINDS:
        with _Process([kind], 600.0, at) as process:
            half = process.stall(count // 2)
            memory = process.stall(count // 2)

        limit = 64.0 if kind in MADE else 24.0
        figures.at_most(f"KiB each, {kind}", (half + memory) / 2 / 1024, limit)
        figures.at_most(f"second half to first, {kind}", memory / half, 1.25)


def _measure_together(figures: Figures, count: int, stall: float, at: Path) -> None:
    kinds = list(KINDS)
    with _Process(kinds, stall, at) as process, _Process(kinds, stall, at) as other:
        process.stall(count)
        figures.at_most("CPU while they stall, %", process.idle(stall / 4) * 100, 2.0)
        rates = [(process.healthy(), other.healthy()) for _ in range(ROUNDS)]
        # The fastest of each: on a machine that others use, too, the rest says little.
        beside, alone = (max(found) for found in zip(*rates, strict=True))
        figures.at_least("speed of a transfer beside them, to one alone", beside / alone, 0.9)
        found = process.ends()

    nothing = sum(kinds[number % len(kinds)] == "nothing sent" for number in range(count))
    expected = {"FIRST_BYTE_TIMEOUT": nothing, "STALLED": count - nothing}
    figures.equal("ends", dict(sorted(found["ends"].items())), expected)
    figures.at_least("seconds after the deadline, at least", found["early"], 0.0)
    for kind, late in found["late"].items():
        figures.at_most(f"seconds after the deadline, {kind}", late, 1.0)


def main(arguments: list[str]) -> int:
    """Measure; return 1 if a promise is broken."""

    if arguments[:1] == ["serve"]:
        _, kinds, seconds, directory = arguments
        asyncio.run(_serve(json.loads(kinds), float(seconds), Path(directory)))
        return 0

    count = int(arguments[0]) if arguments and arguments[0].isdigit() else 2000
    stall = float(arguments[1]) if len(arguments) > 1 and arguments[0].isdigit() else 60.0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 3 * count), hard), hard))
    figures = Figures(f"{count:,} stalled data connections, deadline {stall:g} s")
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if Path(memory).is_dir() else None) as name:
        at = Path(name)
        # A sparse file is enough: nobody looks at what is in it.
        for file in ("healthy", "big"):
            (at / file).touch()
            os.truncate(at / file, HEALTHY)

        if arguments[:1] == ["trace"]:
            with _Process(arguments[1:2], 600.0, at) as process:
                process.stall(10)
                process.stall(200, "trace")
            return 0

        _measure_memory(figures, count, at)
        _measure_together(figures, count, stall, at)

    return figures.report()


async def _serve(kinds: list[str], stall: float, directory: Path) -> None:
    await _Server(kinds, stall, directory).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
