"""Tests of what the consumers of `ftpdata.connection` have in common (`_consumer`)."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from ftpdata.codecs.representation import IdentityDecoder
from ftpdata.connection import (
    DTP,
    DecodingConsumer,
    DigestConsumer,
    FileConsumer,
    MemoryConsumer,
    ReceiveQueue,
    SizeLimitConsumer,
)
from ftpdata.contracts import Consumer, PushProducer
from ftpdata.opening.endpoint import AcceptedEndpoint
from ftpdata.testing import check_consumer, tcp_pair
from tests.harness.pipes import PlainProducer, connect, receive_all

DATA = bytes(range(256)) * 4


HIGH_WATER = 2000


Received = Callable[[Any], bytes | Awaitable[bytes]]


async def written(consumer: FileConsumer) -> bytes:
    """Wait for a file, and read it."""

    await consumer.wait_finished()
    file = consumer._file
    if isinstance(file, io.BytesIO):
        return file.getvalue()

    return await anyio.Path(cast("Path", file)).read_bytes()


def consumers(path: Path) -> dict[str, tuple[Callable[[], Consumer], Received, int | None]]:
    """Yield one consumer of each kind, with what it received and how much it holds."""

    return {
        "queue": (lambda: ReceiveQueue(HIGH_WATER), receive_all, HIGH_WATER),
        "memory": (MemoryConsumer, lambda consumer: consumer.data, None),
        "file": (lambda: FileConsumer(path, high_water=HIGH_WATER), written, HIGH_WATER),
        "file object": (
            lambda: FileConsumer(io.BytesIO(), high_water=HIGH_WATER),
            written,
            HIGH_WATER,
        ),
        "digest": (
            lambda: DigestConsumer(ReceiveQueue(HIGH_WATER), "md5"),
            lambda consumer: receive_all(consumer._consumer),
            HIGH_WATER,
        ),
        "limit": (
            lambda: SizeLimitConsumer(ReceiveQueue(HIGH_WATER), 10**6),
            lambda consumer: receive_all(consumer._consumer),
            HIGH_WATER,
        ),
        "decoder": (
            lambda: DecodingConsumer(ReceiveQueue(HIGH_WATER), IdentityDecoder()),
            lambda consumer: receive_all(consumer._consumer),
            HIGH_WATER,
        ),
        "all links": (
            lambda: DigestConsumer(
                DecodingConsumer(
                    SizeLimitConsumer(ReceiveQueue(HIGH_WATER), 10**6), IdentityDecoder()
                ),
                "crc32",
            ),
            lambda consumer: receive_all(consumer._consumer._consumer._consumer),
            HIGH_WATER,
        ),
    }


KINDS = sorted(consumers(Path("unused")))


@pytest.mark.parametrize("kind", KINDS)
async def test_every_consumer_fulfils_the_contract(tmp_path: Path, kind: str) -> None:
    """Each consumer passes the shared checks: order of calls, pauses, a reset, what it received."""
    make, received, high_water = consumers(tmp_path / "file")[kind]
    made: list[Consumer] = []

    def make_and_note() -> Consumer:
        made.append(make())
        return made[-1]

    await check_consumer(
        make_and_note, data=DATA, received=received, high_water=high_water, patience=60.0
    )
    for consumer in made:
        if isinstance(consumer, FileConsumer):
            await consumer.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_every_consumer_wants_a_push_producer(tmp_path: Path, kind: str) -> None:
    """A pull producer would never be asked to produce."""
    make, _, _ = consumers(tmp_path / "file")[kind]
    with pytest.raises(ValueError, match="push producer"):
        make().register_producer(PlainProducer(), False)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_consumer_receives_from_real_sockets(tmp_path: Path, kind: str) -> None:
    """Every byte arrives, at the pace of the consumer."""
    make, received, _ = consumers(tmp_path / "file")[kind]
    accepted, peer = await tcp_pair()
    dtp = await AcceptedEndpoint(accepted).open()
    consumer = make()
    waiter = dtp.register_consumer(consumer)
    result = received(consumer)
    receiving = None if isinstance(result, bytes) else asyncio.ensure_future(result)
    with peer:
        await asyncio.get_running_loop().sock_sendall(peer, DATA * 500)
    await waiter
    got = received(consumer) if receiving is None else await receiving
    assert got == DATA * 500


def test_what_stands_in_the_contract() -> None:
    """A decoder is a push producer to the consumer behind it."""
    assert isinstance(DecodingConsumer(MemoryConsumer(), IdentityDecoder()), PushProducer)


def decoding(consumer: Any) -> Consumer:
    """Put a decoder in front of a consumer."""

    return DecodingConsumer(consumer, IdentityDecoder())


@pytest.mark.parametrize(
    "hand_over",
    [
        lambda consumer: DTP().register_consumer(consumer),
        decoding,
        lambda consumer: DigestConsumer(consumer, "md5"),
        lambda consumer: SizeLimitConsumer(consumer, 1),
    ],
)
async def test_what_lacks_a_method_of_a_consumer_is_refused(
    hand_over: Callable[[Any], object],
) -> None:
    """It is refused when it is passed in; otherwise a transfer would hang, or lose data."""

    class NeverTold:
        def register_producer(self, producer: object, streaming: bool) -> None:
            raise AssertionError

        def write(self, data: bytes) -> None:
            raise AssertionError

    class Waits(NeverTold):
        async def unregister_producer(self) -> None:
            raise AssertionError

    for wrong in (None, NeverTold(), Waits()):
        with pytest.raises(TypeError, match="register_producer"):
            hand_over(wrong)


async def test_a_connection_that_has_refused_a_consumer_takes_another() -> None:
    """The refusal changes nothing."""
    dtp, transport = connect()
    with pytest.raises(TypeError):
        dtp.register_consumer(cast("Any", object()))
    waiter = dtp.register_consumer(MemoryConsumer())
    transport.feed_eof()
    await waiter


def test_what_is_not_a_decoder_is_refused() -> None:
    """It would otherwise fail with the first data."""
    with pytest.raises(TypeError, match="a decoder, which has a method feed"):
        DecodingConsumer(MemoryConsumer(), cast("Any", None))


def test_limits_are_not_negative() -> None:
    """The limit of a queue, or of what is kept in memory, cannot be negative."""
    for make in (ReceiveQueue, MemoryConsumer):
        with pytest.raises(ValueError, match="at least 0, not -1"):
            make(-1)
