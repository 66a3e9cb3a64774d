"""A relay between a source and a destination that are not equally fast."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator

import attrs
import pytest

from ftpdata.connection.protocol import DTP
from ftpdata.errors import ConnectionReset
from ftpdata.outcome import End, TransferResult
from ftpdata.testing import half_close, reset
from ftpdata.transfers import relay
from tests.harness.connections import connection, read_until_cut, receive_all
from tests.harness.outcomes import failed
from tests.harness.waiting import turns, until

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports the reset")

BUFFER = 32 * 1024
PIECE = os.urandom(16 * 1024)


@attrs.frozen
class Stalled:
    """A relay that has stopped because its destination takes nothing.

    Attributes:
        task: The relay.
        source: Where its bytes come from; it is not read from any more.
        sender: The peer of the source.
        receiver: The peer of the destination, which has not read anything.
        sent: Bytes that the sender has sent.
    """

    task: asyncio.Task[TransferResult]
    source: DTP
    sender: socket.socket
    receiver: socket.socket
    sent: int


async def fill(source: DTP, sender: socket.socket) -> int:
    """Send until the relay stops reading; return the bytes that were sent."""

    sent = 0
    quiet = 0
    while quiet < 50:
        # Send slowly, so that the relay has received everything that was sent by then.
        if source.transport.is_reading():
            sent += sender.send(PIECE)
            quiet = 0
        quiet += 1
        await turns(5)

    return sent


@contextlib.asynccontextmanager
async def stalled_relay() -> AsyncIterator[Stalled]:
    """Yield a relay that has stalled, and end it afterwards."""

    async with (
        connection() as (source, sender),
        connection(send_buffer=BUFFER, receive_buffer=BUFFER) as (target, receiver),
    ):
        task = asyncio.create_task(relay(source, target))
        try:
            await until(source.transport.is_reading)
            sent = await fill(source, sender)
            assert not task.done()
            yield Stalled(task, source, sender, receiver, sent)
        finally:
            task.cancel()
            await asyncio.wait((task,))


@only_linux
async def test_a_source_that_resets_is_noticed_while_the_destination_stalls() -> None:
    """The relay fails although it is not reading; the destination is reset."""

    async with stalled_relay() as it:
        reset(it.sender)
        # The destination has not read a byte yet.
        await failed(it.task, ConnectionReset, End.RESET)
        assert (await read_until_cut(it.receiver))[1]


@only_linux
async def test_a_source_that_has_sent_everything_may_go() -> None:
    """A reset after its end of file takes nothing back: the destination gets everything."""

    async with stalled_relay() as it:
        it.sender.send(PIECE)
        half_close(it.sender)
        reset(it.sender)
        await turns(50)
        assert not it.task.done()
        assert await receive_all(it.receiver) == PIECE * (it.sent // len(PIECE) + 1)
        assert (await it.task).end is End.CLEAN
        await until(lambda: it.source.end is not None)
        assert it.source.end is End.CLEAN
