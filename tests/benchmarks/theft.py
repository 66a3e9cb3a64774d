"""Theft races: strangers come first to a passive port, and get nothing (RFC 2577 §8).

``python -m tests.benchmarks.theft [RACES [SEED]]`` runs that many races with separate
listeners, and as many with a pool. In each race a stranger, from an address of
its own, is connected before the owner is; others come at the same moment. Half
of the transfers are uploads, half are downloads; in half of them the server
waits already, in the other half the connections come before the command.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import sys

import attrs

from ftpdata.errors import FTPDataError
from ftpdata.opening.endpoint import Endpoint
from ftpdata.opening.passive import PassiveEndpoint, listen_passive
from ftpdata.opening.pool import ListenerPool, PooledEndpoint
from ftpdata.testing import RecordingConsumer
from tests.benchmarks.figures import Figures
from tests.harness.proxies import connect_from, free_ports

__all__ = ["Outcome", "main", "races"]

HOST = "127.0.0.1"
AT_ONCE = 40
POOLED_PORTS = 10
PATIENCE = 60.0


@attrs.define
class Outcome:
    """What became of the races.

    Attributes:
        races: Transfers that were begun.
        strangers: Connections that strangers tried to make.
        stolen: Transfers of which a stranger saw a byte, or that took a stranger's.
        served: Transfers whose owner got, or brought, exactly its own data.
    """

    races: int = 0
    strangers: int = 0
    stolen: int = 0
    served: int = 0


async def races(kind: str, count: int, seed: int = 0) -> Outcome:
    """Run races, some of them at the same time.

    Args:
        kind: "listener" or "pool".
        count: How many.
        seed: Decides who is where, and when.
    """

    random_ = random.Random(seed)
    outcome = Outcome()
    gate = asyncio.Semaphore(AT_ONCE)

    async def run(number: int, pool: ListenerPool | None) -> None:
        # An owner that is kept out is one that was not served.
        async with gate:
            with contextlib.suppress(OSError, FTPDataError):
                async with asyncio.timeout(PATIENCE):
                    await _race(number, pool, random_, outcome)

    if kind == "listener":
        await asyncio.gather(*(run(number, None) for number in range(count)))
    else:
        async with ListenerPool(HOST, free_ports(POOLED_PORTS)) as pool:
            await asyncio.gather(*(run(number, pool) for number in range(count)))

    return outcome


async def _race(
    number: int, pool: ListenerPool | None, random_: random.Random, outcome: Outcome
) -> None:
    outcome.races += 1
    owner_address = f"127.1.{number >> 8 & 255}.{number & 255}"
    endpoint: PassiveEndpoint | PooledEndpoint
    if pool is None:
        endpoint = await listen_passive(HOST, control_peer=owner_address)
    else:
        endpoint = pool.reserve(control_peer=owner_address)

    async def stranger() -> socket.socket | None:
        address = f"127.{random_.randint(2, 200)}.{random_.randrange(256)}.{random_.randrange(256)}"
        outcome.strangers += 1
        try:
            return await connect_from(address, endpoint.address, b"stolen")
        except OSError:
            # The owner is there already, and the listener closed.
            return None

    async with endpoint:
        waits_already = random_.random() < 0.5
        is_upload = random_.random() < 0.5
        secret = b"race %d" % number
        transfer = _receive(endpoint) if is_upload else _send(endpoint, secret)
        server = asyncio.ensure_future(transfer) if waits_already else None
        thieves = [await stranger()]
        come = [asyncio.ensure_future(stranger()) for _ in range(random_.randrange(3))]
        await asyncio.sleep(0)
        owner = await connect_from(
            owner_address, endpoint.address, secret if is_upload else b""
        )
        come += [asyncio.ensure_future(stranger()) for _ in range(random_.randrange(3))]
        thieves += [await coming for coming in come]
        if is_upload:
            owner.shutdown(socket.SHUT_WR)

        told = await (server or asyncio.ensure_future(transfer))
        got = await _read(owner)
        # A stranger's bytes in our upload, or ours in its hands: either is theft.
        seen = [await _read(thief) for thief in thieves if thief is not None]
        if any(seen) or (is_upload and told != secret):
            outcome.stolen += 1
        elif is_upload or got == secret:
            outcome.served += 1


async def _send(endpoint: Endpoint, data: bytes) -> bytes:
    dtp = await endpoint.open()
    dtp.write(data)
    await dtp.finish()
    return b""


async def _receive(endpoint: Endpoint) -> bytes:
    dtp = await endpoint.open()
    consumer = RecordingConsumer()
    await dtp.register_consumer(consumer)
    await dtp.wait_closed()
    return bytes(consumer.data)


async def _read(sock: socket.socket) -> bytes:
    """Read all there is for somebody, and close."""

    data = b""
    try:
        while piece := await asyncio.get_running_loop().sock_recv(sock, 1024):
            data += piece
    except ConnectionResetError:
        return data
    finally:
        sock.close()

    return data


def main(arguments: list[str]) -> int:
    """Run the races; return 1 if anything was stolen, or an owner has not got its data."""

    count = int(arguments[0]) if arguments else 10_000
    seed = int(arguments[1]) if len(arguments) > 1 else random.randrange(1 << 32)
    # A line for each stranger is right for a server, and too much for this.
    logging.getLogger("ftpdata").addHandler(logging.NullHandler())
    figures = Figures(f"theft races, seed {seed}")
    for kind in ("listener", "pool"):
        outcome = asyncio.run(races(kind, count, seed))
        figures.equal(f"{kind}: races", outcome.races, count)
        figures.at_least(f"{kind}: connections of strangers", outcome.strangers, count)
        figures.equal(f"{kind}: stolen", outcome.stolen, 0)
        figures.equal(f"{kind}: owners that got their data", outcome.served, count)

    return figures.report()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
