"""How the DTP pauses, resumes, asks and stops its producer (rule 5)."""

from __future__ import annotations

from typing import Any

import pytest

from ftpdata.connection.protocol import DTP
from ftpdata.errors import ConnectionReset
from ftpdata.outcome import End
from ftpdata.testing import MemoryTransport, RecordingPullProducer, RecordingPushProducer
from tests.harness.dtps import RESET
from tests.harness.waiting import turns


async def test_a_push_producer_is_paused_and_resumed_in_turn() -> None:
    """It is paused above the high-water mark and resumed well below it, until it unregisters."""

    dtp = DTP(high_water=8)
    transport = MemoryTransport(dtp)
    producer = RecordingPushProducer(dtp, [b"12345"] * 6)
    producer.register()
    producer.pump()
    assert producer.calls == ["pause_producing"]
    assert transport.buffered == b"1234512345"
    transport.drain(7)
    assert producer.calls == ["pause_producing"]
    transport.drain(1)
    assert producer.calls == ["pause_producing", "resume_producing", "pause_producing"]
    while not transport.eof_sent:
        transport.drain()

    assert producer.calls == ["pause_producing", "resume_producing"] * (len(producer.calls) // 2)
    assert producer.violations == []
    transport.feed_eof()
    await dtp.wait_closed()


async def test_a_pull_producer_is_asked_once_each_time() -> None:
    """The loop calls resume_producing once for each write, and never after it has unregistered."""

    dtp = DTP()
    transport = MemoryTransport(dtp)
    producer = RecordingPullProducer(dtp, [b"one", b"two", b"three"])
    producer.register()
    assert producer.calls == []
    await turns(20)
    assert producer.calls == ["resume_producing"] * 4
    assert transport.buffered == b"onetwothree"
    assert producer.violations == []
    transport.drain()
    transport.feed_eof()
    await dtp.wait_closed()


async def test_a_pull_producer_that_is_slow_is_not_asked_again() -> None:
    """A producer that has not written yet is not asked again, whatever the transport does."""

    class Slow(RecordingPullProducer):
        def resume_producing(self) -> None:
            self._note("resume_producing")

    dtp = DTP(high_water=0)
    transport = MemoryTransport(dtp)
    producer = Slow(dtp, [])
    producer.register()
    await turns()
    dtp.pause_writing()
    dtp.resume_writing()
    await turns()
    assert producer.calls == ["resume_producing"]
    dtp.write(b"late")
    await turns()
    assert producer.calls == ["resume_producing"]
    transport.drain()
    await turns()
    assert producer.calls == ["resume_producing"] * 2
    dtp.abort()
    await turns()
    assert producer.calls == ["resume_producing"] * 2 + ["stop_producing"]


@pytest.mark.parametrize("producer_class", [RecordingPullProducer, RecordingPushProducer])
@pytest.mark.parametrize("paused", [False, True])
async def test_a_producer_is_stopped_once_when_the_connection_is_lost(
    producer_class: Any, paused: bool
) -> None:
    """stop_producing is called once, and nothing is called after it."""

    dtp = DTP(high_water=0 if paused else 100)
    transport = MemoryTransport(dtp)
    producer = producer_class(dtp, [b"x"] * 50)
    producer.register()
    if producer.streaming and paused:
        producer.pump()

    await turns()
    transport.lose(RESET)
    dtp.resume_writing()
    await turns()
    assert producer.calls.count("stop_producing") == 1
    assert producer.calls[-1] == "stop_producing"
    assert producer.violations == []
    with pytest.raises(ConnectionReset):
        await dtp.wait_closed()


async def test_a_producer_that_has_unregistered_is_not_stopped() -> None:
    """A loss after unregister_producer concerns the transfer, but no longer the producer."""

    dtp = DTP()
    transport = MemoryTransport(dtp)
    producer = RecordingPullProducer(dtp, [b"x"])
    producer.register()
    await turns()
    assert producer.is_done
    transport.lose(RESET)
    assert "stop_producing" not in producer.calls
    assert dtp.end is End.RESET


async def test_nothing_but_stop_comes_once_the_end_is_fixed() -> None:
    """Between abort and the loss of the connection a paused producer is not woken."""

    dtp = DTP(high_water=0)
    MemoryTransport(dtp)
    producer = RecordingPushProducer(dtp, [b"x"] * 5)
    producer.register()
    producer.pump()
    assert producer.calls == ["pause_producing"]
    dtp.abort()
    dtp.resume_writing()
    await turns()
    assert producer.calls == ["pause_producing", "stop_producing"]


@pytest.mark.parametrize("producer_class", [RecordingPullProducer, RecordingPushProducer])
@pytest.mark.parametrize("chunks", [[], [b"one", b"two"]])
async def test_a_producer_registered_before_the_connection(
    producer_class: Any, chunks: list[bytes]
) -> None:
    """Production starts with the connection; a producer with nothing to send ends it."""

    dtp = DTP()
    producer = producer_class(dtp, chunks)
    producer.register()
    if producer.streaming:
        assert producer.calls == ["pause_producing"]
        producer.pump()

    transport = MemoryTransport(dtp, auto_drain=True)
    await turns(20)
    assert transport.sent == b"".join(chunks)
    assert transport.eof_sent
    assert producer.violations == []
    transport.feed_eof()
    await dtp.wait_closed()


async def test_a_producer_that_ended_before_the_connection() -> None:
    """An empty transfer that was over before the connection was made ends with it."""

    dtp = DTP()
    producer = RecordingPullProducer(dtp, [])
    producer.register()
    dtp.unregister_producer()
    transport = MemoryTransport(dtp)
    assert transport.eof_sent
    transport.feed_eof()
    await dtp.wait_closed()
    assert producer.calls == []


async def test_a_second_producer_is_refused() -> None:
    """The second one gets a clear error, and the first one goes on."""

    dtp = DTP()
    MemoryTransport(dtp)
    first = RecordingPullProducer(dtp, [b"x"])
    first.register()
    with pytest.raises(RuntimeError, match="already registered"):
        RecordingPullProducer(dtp, []).register()
    await turns()
    assert first.is_done
    dtp.abort()
    await turns()
