"""Tests of `ftpdata.connection.checks`."""

from __future__ import annotations

import hashlib
import zlib

import pytest

from ftpdata.connection import (
    DigestConsumer,
    MemoryConsumer,
    SizeLimitConsumer,
)
from ftpdata.errors import (
    QuotaExceeded,
    UnsupportedParameter,
)
from ftpdata.outcome import End
from ftpdata.testing import RecordingConsumer
from tests.harness.pipes import connect, receive_into

DATA = bytes(range(256)) * 4


@pytest.mark.parametrize("name", ["md5", "SHA-256", "crc32", "sha3_256"])
async def test_a_digest_of_what_passes(name: str) -> None:
    """The digest covers exactly the data that its consumer got."""
    memory = MemoryConsumer()
    consumer = DigestConsumer(memory, name)
    _, transport, waiter = await receive_into(consumer, *(DATA[i : i + 1] for i in range(500)))
    transport.feed_eof()
    await waiter
    assert memory.data == DATA[:500]
    if name == "crc32":
        assert consumer.hexdigest() == f"{zlib.crc32(DATA[:500]):08x}"
    else:
        assert consumer.hexdigest() == hashlib.new(consumer.name, DATA[:500]).hexdigest()


def test_an_unknown_digest_is_504() -> None:
    """An unknown algorithm is refused with 504."""
    with pytest.raises(UnsupportedParameter) as raised:
        DigestConsumer(MemoryConsumer(), "md17")
    assert raised.value.reply_code == 504


@pytest.mark.parametrize("piece", [1, 3, 10, 11, 12])
@pytest.mark.parametrize("size", [0, 9, 10, 11, 30])
async def test_a_size_limit_is_exact(size: int, piece: int) -> None:
    """The allowed number of bytes passes, in any pieces; one more is a 552."""
    memory = MemoryConsumer()
    data = DATA[:size]
    dtp, transport = connect()
    waiter = dtp.register_consumer(SizeLimitConsumer(memory, 10))
    for start in range(0, size, piece):
        transport.deliver(data[start : start + piece])

    transport.feed_eof()
    if size <= 10:
        await waiter
    else:
        with pytest.raises(QuotaExceeded) as raised:
            await waiter
        assert raised.value.reply_code == 552
        assert raised.value.end is End.SIZE_LIMIT
        assert transport.was_aborted
    assert memory.data == data[:10]


async def test_nothing_may_pass_a_limit_of_zero() -> None:
    """The consumer behind the limit gets no empty write."""
    behind = RecordingConsumer()
    _, _, waiter = await receive_into(SizeLimitConsumer(behind, 0), b"x")
    with pytest.raises(QuotaExceeded):
        await waiter
    assert behind.calls == ["register_producer", "unregister_producer"]


def test_a_negative_size_limit_is_an_error() -> None:
    """A limit is a number of bytes."""
    with pytest.raises(ValueError, match="at least 0"):
        SizeLimitConsumer(MemoryConsumer(), -1)
