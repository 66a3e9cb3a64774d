"""A deflate bomb does next to nothing to the process that receives it (MODE Z).

``python -m tests.benchmarks.bomb [GIBIBYTES]`` sends a bomb of that size, by default
10 GiB, in a thousandth of the bytes. It is stopped at the default ratio, and at a
size limit; without either limit it passes in memory that does not grow. Small
transfers beside it go on as they do alone.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from ftpdata.codecs.limits import CodecLimits
from ftpdata.codecs.options import CodecOptions
from ftpdata.errors import FTPDataError
from ftpdata.opening.endpoint import AcceptedEndpoint
from ftpdata.outcome import TransferResult
from ftpdata.parameters import TransferParameters, TransmissionMode
from ftpdata.testing import tcp_pair
from ftpdata.transfers import receive_file, send_stream
from tests.benchmarks.figures import Figures, percentile

__all__ = ["bomb", "main"]

MIB = 1 << 20
GIB = 1 << 30
DEFLATE = TransferParameters(mode=TransmissionMode.DEFLATE)
UNLIMITED = CodecLimits(ratio=None)
GROWTH = 4 * MIB
"""Bytes of resident memory that a bomb may cost."""

SMALL_TRANSFER = bytes(64 * 1024)
PAUSE = 0.005


def bomb(size: int) -> Iterator[bytes]:
    """Yield a zlib stream of that many zeros, a multiple of 64 MiB, in parts."""

    unit = 64 * MIB
    deflater = zlib.compressobj(9, wbits=-15)
    part = deflater.compress(bytes(unit)) + deflater.flush(zlib.Z_FULL_FLUSH)
    yield b"\x78\xda"
    for _ in range(size // unit):
        yield part

    # The last block, empty; and Adler-32, which of zeros counts nothing but how many they are.
    yield b"\x03\x00" + struct.pack(">HH", size % 65521, 1)


def resident() -> int:
    """Return the bytes of this process that are in memory."""

    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


class Sink:
    """Counts an upload, and looks at the memory of the process meanwhile."""

    def __init__(self) -> None:
        self.size = 0
        self.most_resident = 0
        self._look_at = 0

    async def write(self, data: bytes) -> None:
        """Take data."""

        self.size += len(data)
        if self.size >= self._look_at:
            self._look_at += 8 * MIB
            self.most_resident = max(self.most_resident, resident())

    async def commit(self) -> None:
        """Publish."""

    async def discard(self) -> None:
        """Throw away."""


def throw(peer: socket.socket, size: int) -> None:
    """Send a bomb, as far as it is taken."""

    try:
        for part in bomb(size):
            peer.sendall(part)
        peer.shutdown(socket.SHUT_WR)
    except OSError:
        # It was stopped.
        return


async def receive(size: int, options: CodecOptions, size_limit: int | None) -> tuple[Sink, object]:
    """Receive a bomb; return what was counted, and the result or the error."""

    accepted, peer = await tcp_pair()
    peer.setblocking(True)
    thrower = threading.Thread(target=throw, args=(peer, size))
    sink = Sink()
    outcome: TransferResult | FTPDataError
    async with AcceptedEndpoint(accepted) as endpoint:
        dtp = await endpoint.open()
        thrower.start()
        try:
            outcome = await receive_file(
                dtp, sink, parameters=DEFLATE, options=options, size_limit=size_limit
            )
        except FTPDataError as error:
            outcome = error

    await asyncio.to_thread(thrower.join)
    peer.close()
    return sink, outcome


async def one_transfer() -> float:
    """Send a small stream in clear; return the seconds that it took."""

    async def content() -> AsyncIterator[bytes]:
        yield SMALL_TRANSFER

    accepted, peer = await tcp_pair()
    async with AcceptedEndpoint(accepted) as endpoint:
        started_at = time.perf_counter()
        dtp = await endpoint.open()
        sending = asyncio.create_task(send_stream(dtp, content()))
        loop = asyncio.get_running_loop()
        while await loop.sock_recv(peer, 1 << 16):
            pass

        await sending
        peer.close()
        return time.perf_counter() - started_at


async def beside(seconds: list[float]) -> None:
    """Do small transfers one after the other, until cancelled."""

    while True:
        seconds.append(await one_transfer())
        await asyncio.sleep(PAUSE)


async def run(size: int) -> int:
    """Do all of it; return the exit status."""

    figures = Figures(f"a deflate bomb of {size / GIB:g} GiB in {sum(map(len, bomb(size)))} bytes")
    await receive(64 * MIB, CodecOptions(limits=UNLIMITED), None)
    alone: list[float] = []
    task = asyncio.create_task(beside(alone))
    await asyncio.sleep(3)
    task.cancel()
    await asyncio.wait((task,))

    limit = size // 2
    for name, limits, size_limit, code in [
        ("default ratio", CodecLimits(), None, 451),
        ("size limit", UNLIMITED, limit, 552),
        ("no limit", UNLIMITED, None, 226),
    ]:
        seconds: list[float] = []
        task = asyncio.create_task(beside(seconds))
        await asyncio.sleep(0)
        before = resident()
        started_at, worked_at = time.perf_counter(), time.process_time()
        sink, outcome = await receive(size, CodecOptions(limits=limits), size_limit)
        taken, worked = time.perf_counter() - started_at, time.process_time() - worked_at
        task.cancel()
        await asyncio.wait((task,))
        assert isinstance(outcome, TransferResult | FTPDataError)
        figures.equal(f"{name}: reply code", outcome.reply_code, code)
        most = {451: 65 * MIB, 552: limit, 226: size}[code]
        figures.at_most(f"{name}: bytes given out", sink.size, most)
        growth = max(sink.most_resident, resident()) - before
        figures.at_most(f"{name}: growth of resident memory, bytes", growth, GROWTH)
        figures.note(f"{name}: seconds", taken)
        figures.note(f"{name}: MB of the file per second of a processor", sink.size / worked / 1e6)
        figures.note(f"{name}: small transfers beside it", len(seconds))
        for percent in (50, 99):
            figures.note(
                f"{name}: milliseconds of one, {percent} %",
                f"{percentile(seconds, percent) * 1e3:.1f}, alone"
                f" {percentile(alone, percent) * 1e3:.1f}",
            )

    return figures.report()


def main(arguments: list[str]) -> int:
    """Run with the arguments of a command line."""

    return asyncio.run(run(int(arguments[0]) * GIB if arguments else 10 * GIB))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
