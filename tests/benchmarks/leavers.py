"""Ten passive ports and a thousand clients of the reference server (RFC 2577 §8).

``python -m tests.benchmarks.leavers [CLIENTS]``. Clients from different
addresses say PASV or EPSV and leave, in every way there is; find all ports
taken; and, where the ports are shared, hold a port each at the same time and
download a file of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import sys
import tempfile
import time
from pathlib import Path

import attrs

from tests.benchmarks.figures import Figures, percentile
from tests.benchmarks.server_process import ServerProcess, raise_descriptor_limit
from tests.harness.proxies import free_ports
from tests.server.client import Client, reset

__all__ = ["main"]

PORTS = 10
AT_ONCE = 100
ASKING_AT_ONCE = 4
"""So few that the server's answer is measured and not the way there."""

PATIENCE = 60.0
QUIET_LOOKS = 10


def source(number: int) -> str:
    """Give the address of one of many clients."""

    return f"127.3.{number >> 8}.{number & 255}"


@attrs.define
class Outcome:
    """What the clients have seen.

    Attributes:
        prepared: PASV and EPSV that were answered with a port.
        refused: That were answered with 425.
        wrong: Anything else: another answer, or none in time.
        seconds: That each refusal took.
    """

    prepared: int = 0
    refused: int = 0
    wrong: list[str] = attrs.field(factory=list)
    seconds: list[float] = attrs.field(factory=list)

    async def ask(self, client: Client, verb: str) -> int | None:
        """Ask for a port; return it, None for a refusal."""

        started = time.perf_counter()
        reply = await client.command(verb)
        if reply.startswith("425 "):
            self.seconds.append(time.perf_counter() - started)
            self.refused += 1
            return None

        if found := re.fullmatch(r"229 .*\(\|\|\|(\d+)\|\)\.?", reply):
            self.prepared += 1
            return int(found[1])

        if found := re.fullmatch(r"227 .*\((?:\d+,){4}(\d+),(\d+)\)\.?", reply):
            self.prepared += 1
            return int(found[1]) * 256 + int(found[2])

        self.wrong.append(f"{verb}: {reply!r}")
        return None


async def leave(server: ServerProcess, clients: int, outcome: Outcome, seed: int) -> None:
    """Let clients ask for a port and leave, a hundred at a time."""

    random_ = random.Random(seed)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with gate:
            try:
                async with asyncio.timeout(PATIENCE), server.client(source(number)) as client:
                    await _ask_and_leave(client, outcome, random_)
            except (TimeoutError, AssertionError, ConnectionError, ValueError) as error:
                outcome.wrong.append(f"client {number}: {error!r}")

    await asyncio.gather(*(one(number) for number in range(clients)))


async def _ask_and_leave(client: Client, outcome: Outcome, random_: random.Random) -> None:
    port = None
    for _ in range(random_.choice((1, 1, 1, 3))):
        port = await outcome.ask(client, random_.choice(("PASV", "EPSV"))) or port

    way = random_.choice(("close", "reset", "QUIT", "ABOR", "connect", "transfer", "linger"))
    if way == "reset":
        reset(client.writer)
    elif way == "QUIT":
        client.send("QUIT")
    elif way == "ABOR":
        await client.command("ABOR")
    elif way == "linger":
        await asyncio.sleep(random_.random() / 10)
    elif port is not None:
        with contextlib.suppress(OSError):
            data = await client.connect(port, local_addr=(client.source, 0))
            if way == "transfer":
                client.send("RETR big")
                await data.reader.read(1)
            data.writer.transport.abort()


async def fill(server: ServerProcess, clients: int, outcome: Outcome) -> None:
    """Take all ports, and let others ask in vain."""

    gate = asyncio.Semaphore(ASKING_AT_ONCE)

    async def one(number: int) -> None:
        async with gate, server.client(source(number)) as client:
            await outcome.ask(client, "EPSV" if number % 2 else "PASV")

    async with contextlib.AsyncExitStack() as holding:
        for number in range(PORTS):
            client = await holding.enter_async_context(server.client(source(10_000 + number)))
            await Outcome().ask(client, "EPSV")

        await asyncio.gather(*(one(number) for number in range(clients)))


async def hold(server: ServerProcess, address: str | None) -> int:
    """Return how many clients can have a port at the same time: all ports, if none was lost."""

    outcome = Outcome()
    async with contextlib.AsyncExitStack() as holding:
        for number in range(PORTS + 1):
            at = address or source(20_000 + number)
            client = await holding.enter_async_context(server.client(at))
            await outcome.ask(client, "EPSV")

    assert not outcome.wrong, outcome.wrong
    return outcome.prepared


async def download_together(server: ServerProcess, clients: int) -> tuple[int, int]:
    """Let all hold a port at once, then download at once; return how many held, and how many got.

    Each gets a file that has its own number in it.
    """

    held = got = 0
    gate = asyncio.Semaphore(AT_ONCE)

    async def connect(number: int, holding: contextlib.AsyncExitStack) -> tuple[Client, int | None]:
        async with gate:
            client = await holding.enter_async_context(server.client(source(number)))
            return client, await Outcome().ask(client, "EPSV" if number % 2 else "PASV")

    async def download(number: int, client: Client, port: int) -> bool:
        async with gate:
            data = await client.connect(port, local_addr=(client.source, 0))
            client.send(f"RETR {number}")
            assert (await client.codes(1))[0] in (125, 150)
            content = await data.read()
            return await client.codes(1) == [226] and content == b"%d" % number

    async with contextlib.AsyncExitStack() as holding:
        pairs = await asyncio.gather(*(connect(number, holding) for number in range(clients)))
        held = sum(port is not None for _, port in pairs)
        order = [(number, *pair) for number, pair in enumerate(pairs)]
        random.shuffle(order)
        for got_it in await asyncio.gather(
            *(download(number, client, port) for number, client, port in order if port is not None)
        ):
            got += got_it

    return held, got


async def settled(server: ServerProcess) -> int:
    """Wait until the server closes nothing more; return how many descriptors it has."""

    last, same = server.descriptors(), 0
    while same < QUIET_LOOKS:
        await asyncio.sleep(0.1)
        now = server.descriptors()
        same = same + 1 if now == last else 0
        last = now

    return last


async def _measure(figures: Figures, clients: int, directory: Path) -> None:
    seed = random.randrange(1 << 32)
    figures.note("seed", str(seed))
    # Where third parties may connect, ports cannot be shared: a listener for each.
    for kind, settings in (("own", {"allow_fxp": True}), ("shared", {"allow_fxp": False})):
        ports = free_ports(PORTS)
        bound = 0 if kind == "own" else PORTS
        with ServerProcess(
            directory, ports=ports, max_sessions=2 * clients + 100, **settings
        ) as server:
            async with server.client(source(0)):
                pass
            before = await settled(server)
            outcome = Outcome()
            await leave(server, clients, outcome, seed)
            figures.equal(f"{kind} ports: clients that left", clients, clients)
            figures.note(f"{kind} ports: ports given to them", outcome.prepared)
            figures.equal(f"{kind} ports: wrong or late replies", len(outcome.wrong), 0)
            for wrong in outcome.wrong[:5]:
                sys.stdout.write(wrong + "\n")
            figures.equal(f"{kind} ports: descriptors left", await settled(server), before)
            figures.equal(f"{kind} ports: listeners left", len(server.listening()), bound)
            if kind == "own":
                full = Outcome()
                await fill(server, clients, full)
                figures.equal("own ports: refusals", (full.refused, full.prepared), (clients, 0))
                median, slowest = (percentile(full.seconds, part) * 1e3 for part in (50, 100))
                figures.note("own ports: ms of a refusal, median", median)
                figures.at_most("own ports: ms of a refusal, at most", slowest, 50.0)
            # Behind one address, sharing helps nobody: one port for each.
            together = await hold(server, source(30_000))
            figures.equal(f"{kind} ports: of one address, at once", together, PORTS)
            if kind == "shared":
                held, got = await download_together(server, clients)
                figures.equal("shared ports: ports held at once", held, clients)
                figures.equal("shared ports: own file downloaded", got, clients)
            figures.equal(f"{kind} ports: descriptors left", await settled(server), before)


def main(arguments: list[str]) -> int:
    """Run; return 1 if a port is lost, or a reply is late."""

    clients = int(arguments[0]) if arguments else 1000
    raise_descriptor_limit()
    figures = Figures(f"{clients:,} clients on {PORTS} passive ports")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "big").write_bytes(bytes(1 << 22))
        for number in range(clients):
            (directory / str(number)).write_text(str(number))
        asyncio.run(_measure(figures, clients, directory))

    return figures.report()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
