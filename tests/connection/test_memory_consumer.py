"""Tests of `ftpdata.connection.memory_consumer`."""

from __future__ import annotations

import pytest

from ftpdata.connection import (
    MemoryConsumer,
)
from ftpdata.errors import (
    QuotaExceeded,
)
from ftpdata.outcome import End
from tests.harness.pipes import connect


async def test_memory_has_a_limit() -> None:
    """One byte more than allowed is a 552, and ends the transfer."""
    dtp, transport = connect()
    consumer = MemoryConsumer(10)
    waiter = dtp.register_consumer(consumer)
    transport.deliver(b"x" * 10)
    assert consumer.data == b"x" * 10
    transport.deliver(b"y")
    with pytest.raises(QuotaExceeded) as raised:
        await waiter
    assert raised.value.reply_code == 552
    assert raised.value.end is End.SIZE_LIMIT
    assert consumer.data == b"x" * 10
    assert transport.was_aborted
