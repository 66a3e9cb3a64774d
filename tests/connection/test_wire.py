"""Some transports deliver or read although they are paused."""

from __future__ import annotations

import socket

import pytest

from ftpdata.connection import _wire
from ftpdata.connection.protocol import DTP
from ftpdata.errors import TransferAborted
from ftpdata.outcome import End
from ftpdata.testing import MemoryTransport, RecordingConsumer
from tests.harness.waiting import turns


async def test_a_transport_that_ignores_the_pause_is_cut() -> None:
    """Held data are limited: no peer can fill the memory before a transfer starts."""

    dtp = DTP()
    transport = MemoryTransport(dtp)
    chunk = bytes(64 * 1024)
    for _ in range(_wire.HELD_LIMIT // len(chunk) + 1):
        transport.deliver(chunk)

    assert dtp.end is End.LOST
    with pytest.raises(TransferAborted):
        await dtp.wait_closed()


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_transport_that_forgets_that_it_is_paused(
    wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the first releases of 3.11 asyncio's does: it is paused again after connection_made."""

    monkeypatch.setattr(_wire, "STARTS_READING_ANYWAY", True)
    dtp = DTP()
    here, there = socket.socketpair()
    transport = MemoryTransport(dtp, extra={"socket": here})
    before = len(transport.calls)
    if wanted:
        consumer = dtp.register_consumer(RecordingConsumer())
    await turns()
    calls = ["resume_reading"] if wanted else ["resume_reading", "pause_reading"]
    assert transport.calls[before:] == calls
    dtp.abort()
    if wanted:
        with pytest.raises(TransferAborted):
            await consumer
    here.close()
    there.close()
