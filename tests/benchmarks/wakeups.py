"""How often the event loop wakes while peers stall: nothing may poll without end.

``python -m tests.benchmarks.wakeups [CONNECTIONS [SECONDS]]``. In each state
that a data connection can wait in, that many peers do nothing, with the default
deadlines. The run counts the turns of the loop in some seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs

from ftpdata.addresses import HostPort
from ftpdata.connection.protocol import DTP
from ftpdata.errors import FTPDataError
from ftpdata.opening.active import connect_active
from ftpdata.opening.endpoint import AcceptedEndpoint, Endpoint
from ftpdata.opening.passive import listen_passive
from ftpdata.opening.pool import ListenerPool
from ftpdata.opening.proxy import TrustedProxies
from ftpdata.testing import tcp_pair
from ftpdata.tls.policy import DataTLS
from ftpdata.transfers import receive_file, relay, send_file, send_stream
from tests.benchmarks.figures import Figures
from tests.harness.proxies import connect_from, free_ports
from tests.harness.tls import TLSPeer, client_context, server_certificate

__all__ = ["STATES", "Bench", "main", "turns_while_stalled"]

HOST = "127.0.0.1"
SMALL = 4096
TURNS = 8.0
"""Turns a second, however many connections stall: they are looked at together."""

SETTLING = 8.0
"""Seconds for the connections to come to their state, and to have been looked at."""

CPU = 2.0 / 2000
"""Percent of a processor for each connection."""

TWICE = frozenset({"stall, relaying", "close, TLS"})
"""Two connections each; and one that is asked more, for half a minute at the most."""


class CountingSelector(selectors.DefaultSelector):
    """Counts the turns of the event loop."""

    turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait, as usual."""

        self.turns += 1
        return super().select(timeout)


@attrs.define
class Bench:
    """What the states are made with.

    Attributes:
        directory: For files.
        context: For TLS, as a server.
        cleaning: Closes what was opened.
    """

    directory: Path
    context: ssl.SSLContext
    cleaning: contextlib.AsyncExitStack

    async def pair(self, tls: DataTLS | None = None) -> tuple[Endpoint, socket.socket]:
        """Give an accepted connection, and its peer, which takes little."""

        accepted, peer = await tcp_pair(receive_buffer=SMALL, send_buffer=64 * 1024)
        self.cleaning.callback(peer.close)
        return AcceptedEndpoint(accepted, tls=tls), peer

    async def connected(self) -> tuple[DTP, socket.socket]:
        """Give an open data connection, and its peer."""

        endpoint, peer = await self.pair()
        return await endpoint.open(), peer


State = Callable[[Bench, int], Awaitable[Awaitable[object]]]


async def _accept(bench: Bench, number: int) -> Awaitable[object]:
    return (await listen_passive(HOST, control_peer=HOST)).open()


async def _accept_pooled(bench: Bench, number: int) -> Awaitable[object]:
    pool = await bench.cleaning.enter_async_context(ListenerPool(HOST, free_ports(1)))
    return pool.reserve(control_peer=HOST).open()


async def _proxy_header(bench: Bench, number: int) -> Awaitable[object]:
    proxies = TrustedProxies([HOST], timeout=60.0)
    endpoint = await listen_passive(HOST, control_peer=HOST, trusted_proxies=proxies)
    peer = await connect_from(HOST, endpoint.address, b"PROXY ")
    bench.cleaning.callback(peer.close)
    return endpoint.open()


async def _connect(bench: Bench, number: int) -> Awaitable[object]:
    listener = socket.create_server((HOST, 0), backlog=0)
    bench.cleaning.callback(listener.close)
    for _ in range(3):
        filler = bench.cleaning.enter_context(socket.socket())
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())

    target = HostPort(HOST, listener.getsockname()[1])
    return connect_active(target, control_peer=HOST).open()


async def _handshake(bench: Bench, number: int) -> Awaitable[object]:
    endpoint, _ = await bench.pair(DataTLS.for_server(bench.context))
    return endpoint.open()


async def _closing_tls(bench: Bench, number: int) -> Awaitable[object]:
    endpoint, peer = await bench.pair(DataTLS.for_server(bench.context))
    opening = asyncio.ensure_future(endpoint.open())
    client = TLSPeer(peer, client_context())
    await client.handshake()
    dtp = await opening
    dtp.write(bytes(48 * 1024))
    return dtp.finish()


async def _first_byte(bench: Bench, number: int) -> Awaitable[object]:
    dtp, _ = await bench.connected()
    return receive_file(dtp, bench.directory / f"first{number}")


async def _sendfile(bench: Bench, number: int) -> Awaitable[object]:
    dtp, _ = await bench.connected()
    return send_file(dtp, bench.directory / "big")


async def _sending(bench: Bench, number: int) -> Awaitable[object]:
    dtp, _ = await bench.connected()
    return send_stream(dtp, _endless())


async def _receiving(bench: Bench, number: int) -> Awaitable[object]:
    dtp, peer = await bench.connected()
    peer.send(b"and no more")
    return receive_file(dtp, bench.directory / f"up{number}")


async def _relaying(bench: Bench, number: int) -> Awaitable[object]:
    (source, peer), (sink, _) = await bench.connected(), await bench.connected()
    peer.send(b"and no more")
    return relay(source, sink)


async def _closing(bench: Bench, number: int) -> Awaitable[object]:
    dtp, _ = await bench.connected()
    # More than the peer's kernel takes, and less than ours.
    dtp.write(bytes(48 * 1024))
    return dtp.finish()


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(SMALL)


STATES: dict[str, State] = {
    "accept": _accept,
    "accept, pooled": _accept_pooled,
    "PROXY header": _proxy_header,
    "connect": _connect,
    "TLS handshake": _handshake,
    "first byte": _first_byte,
    "stall, sendfile": _sendfile,
    "stall, sending": _sending,
    "stall, receiving": _receiving,
    "stall, relaying": _relaying,
    "close": _closing,
    "close, TLS": _closing_tls,
}
"""A kind of waiting, and how to bring it about."""


async def turns_while_stalled(
    state: State, count: int, *, settling: float, seconds: float
) -> tuple[float, float]:
    """Let that many connections wait, and count the turns of the loop.

    Args:
        state: One of `STATES`.
        count: How many.
        settling: Seconds for them to come to it.
        seconds: For how long to count.

    Returns:
        Turns of the loop a second, and the share of a processor. The loop must
        have a `CountingSelector`.
    """

    loop = asyncio.get_running_loop()
    selector: Any = loop._selector  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as name:
        big = Path(name) / "big"
        big.touch()
        os.truncate(big, 1 << 28)
        context = server_certificate().session_context()
        async with contextlib.AsyncExitStack() as cleaning:
            bench = Bench(Path(name), context, cleaning)
            waiting = [
                asyncio.ensure_future(await state(bench, number)) for number in range(count)
            ]
            await asyncio.sleep(settling)
            turns, cpu, started = selector.turns, time.process_time(), loop.time()
            await asyncio.sleep(seconds)
            elapsed = loop.time() - started
            turns, cpu = selector.turns - turns, time.process_time() - cpu
            over = [task for task in waiting if task.done()]
            for task in waiting:
                task.cancel()
            for end in await asyncio.gather(*waiting, return_exceptions=True):
                if isinstance(end, Exception) and not isinstance(end, FTPDataError):
                    raise end

    if over:
        raise RuntimeError(f"{len(over)} did not wait: {over[0]}")

    return turns / elapsed, cpu / elapsed


def main(arguments: list[str]) -> int:
    """Count; return 1 if something polls."""

    count = int(arguments[0]) if arguments else 100
    seconds = float(arguments[1]) if len(arguments) > 1 else 4.0
    figures = Figures(f"turns of the event loop with {count} stalled connections")
    for name, state in STATES.items():
        with asyncio.Runner(
            loop_factory=lambda: asyncio.SelectorEventLoop(CountingSelector())
        ) as runner:
            turns, cpu = runner.run(
                turns_while_stalled(state, count, settling=SETTLING, seconds=seconds)
            )

        figures.at_most(f"{name}: turns a second", turns, TURNS)
        limit = CPU * count * (2 if name in TWICE else 1)
        figures.at_most(f"{name}: CPU, %", cpu * 100, limit)

    return figures.report()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
