"""What a consumer gets, and when it is released (rule 3)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from ftpdata.connection.protocol import DTP
from ftpdata.errors import ConnectionReset, FTPDataError, TransferAborted
from ftpdata.outcome import End
from ftpdata.testing import MemoryTransport, RecordingConsumer
from tests.harness.dtps import RESET, WHOLE, receiving
from tests.harness.waiting import turns


def holding() -> tuple[DTP, MemoryTransport, RecordingConsumer, Awaitable[None]]:
    """Return a DTP whose consumer has paused after ``one``, so that it holds ``two``."""

    dtp, transport, consumer, waiter = receiving(RecordingConsumer(pause_every=1))
    transport.deliver(b"one")
    transport.deliver(b"two")
    return dtp, transport, consumer, waiter


def early(data: bytes) -> tuple[DTP, MemoryTransport, RecordingConsumer]:
    """Return a DTP that got data before its consumer, which is not registered yet."""

    dtp = DTP()
    transport = MemoryTransport(dtp)
    transport.deliver(data)
    return dtp, transport, RecordingConsumer()


async def test_the_consumer_is_unregistered_before_the_awaitable_fires() -> None:
    """When the awaitable is done, the consumer is unregistered, and its file is closed."""

    dtp, transport, consumer, waiter = receiving()
    seen: list[list[str]] = []

    async def watch() -> None:
        await waiter
        seen.append(list(consumer.calls))

    task = asyncio.ensure_future(watch())
    transport.feed(b"data")
    transport.feed_eof()
    await task
    assert seen == [WHOLE]
    await dtp.wait_closed()
    assert consumer.calls == WHOLE


@pytest.mark.parametrize("how", ["reset", "abort"])
async def test_a_paused_consumer_is_unregistered_too(how: str) -> None:
    """unregister_producer is called exactly once, also while paused with data held."""

    dtp, transport, consumer, waiter = holding()
    if how == "abort":
        dtp.abort()
    else:
        transport.lose(RESET)

    with pytest.raises(FTPDataError):
        await waiter
    assert consumer.calls == WHOLE
    assert consumer.chunks == [b"one"]


async def test_held_data_outlive_a_clean_end() -> None:
    """A paused consumer gets the rest when it resumes, although the connection has ended."""

    dtp, transport, consumer, waiter = holding()
    assert not dtp.eof_received()
    transport.close()
    await dtp.wait_closed()
    assert consumer.calls == WHOLE[:2]
    consumer.resume()
    await waiter
    assert consumer.chunks == [b"one", b"two"]
    assert consumer.calls == ["register_producer", "write", "write", "unregister_producer"]


@pytest.mark.parametrize("end", [End.ABORTED, End.STALLED])
async def test_a_replay_after_a_clean_end_can_be_aborted(end: End) -> None:
    """An abort reaches a consumer that is paused before it has the rest of an ended connection."""

    dtp, transport, consumer, waiter = holding()
    assert not dtp.eof_received()
    transport.close()
    await dtp.wait_closed()
    dtp.abort(end)
    with pytest.raises(FTPDataError) as caught:
        await waiter
    assert caught.value.end is end
    assert consumer.calls == WHOLE


async def test_a_consumer_registered_after_the_end_gets_what_was_held() -> None:
    """It gets everything and is unregistered at once, and the awaitable is done."""

    dtp, transport, consumer = early(b"data")
    dtp.eof_received()
    transport.lose()
    waiter = dtp.register_consumer(consumer)
    assert waiter.done()
    await waiter
    assert consumer.calls == WHOLE


async def test_a_consumer_registered_after_a_reset_gets_nothing() -> None:
    """A transfer that starts on a lost connection fails at once, with the reason."""

    dtp, transport, consumer = early(b"data")
    transport.lose(RESET)
    with pytest.raises(ConnectionReset):
        await dtp.register_consumer(consumer)
    assert consumer.calls == ["register_producer", "unregister_producer"]


async def test_a_consumer_registered_before_the_connection() -> None:
    """A transfer may be set up first; reading starts with the connection."""

    dtp, consumer = DTP(), RecordingConsumer()
    waiter = dtp.register_consumer(consumer)
    transport = MemoryTransport(dtp)
    transport.feed(b"data")
    transport.feed_eof()
    await waiter
    assert consumer.calls == WHOLE
    await dtp.wait_closed()


async def test_finishing_here_is_not_the_peers_end_of_file() -> None:
    """finish() while the peer is still sending does not make its upload a complete one."""

    dtp, transport, consumer, waiter = receiving()
    transport.feed(b"half")
    await turns()
    finishing = asyncio.ensure_future(dtp.finish())
    await turns()
    transport.lose(None)
    with pytest.raises(TransferAborted) as caught:
        await waiter
    assert caught.value.end is End.ABORTED
    await finishing
    assert consumer.calls == WHOLE


async def test_a_pause_before_there_is_a_consumer_holds_it_back() -> None:
    """It has the same effect as a pause from within the consumer's own `register_producer`."""

    dtp, transport, consumer = early(b"early")
    dtp.pause_producing()
    waiter = dtp.register_consumer(consumer)
    transport.feed_eof()
    await turns()
    assert consumer.calls == ["register_producer"]
    dtp.resume_producing()
    await waiter
    assert consumer.calls == WHOLE
