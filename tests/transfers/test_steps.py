"""Conversions of a transfer run in small steps, or in a thread, and hold up no other task."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from ftpdata.codecs.deflate import DeflateEncoder
from ftpdata.codecs.options import CodecOptions
from ftpdata.contracts import Buffer
from ftpdata.errors import InvalidData, TransferAborted
from ftpdata.outcome import End
from ftpdata.parameters import Structure, TransferParameters, TransmissionMode
from ftpdata.testing import sweep
from ftpdata.transfers import _outgoing, receive_file, send_listing, send_stream
from ftpdata.transfers._steps import FIRST_PART, LONGEST_STEP, SMALLEST_PART, Steps
from tests.harness.connections import connection, peer_task, receive_all, send_all
from tests.harness.modes import decoded, encoded
from tests.harness.waiting import until

DEFLATE = TransferParameters(mode=TransmissionMode.DEFLATE)
TEXT_RECORDS = TransferParameters(
    structure=Structure.RECORD, mode=TransmissionMode.BLOCK
).with_type("A")


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""

        return self.now

    def pieces(self, *seconds: float) -> Iterator[bytes]:
        """Yield one piece for each span, and take that long for it."""

        for span in seconds:
            self.now += span
            yield b"piece"


class Sink:
    """Takes an upload, and only records its size."""

    size = 0

    async def write(self, data: bytes) -> None:
        """Take data without a pause."""

        self.size += len(data)

    async def commit(self) -> None:
        """Publish."""

    async def discard(self) -> None:
        """Discard the upload."""


async def chunks(content: bytes, size: int) -> AsyncIterator[bytes]:
    """Yield content in chunks."""

    for start in range(0, len(content), size):
        yield content[start : start + size]


async def longest_turn(work: Callable[[], Awaitable[None]]) -> float:
    """Run work; return the longest time, in seconds, for which no other task had a turn."""

    loop = asyncio.get_running_loop()
    longest = 0.0

    async def turn() -> None:
        nonlocal longest
        while True:
            started_at = loop.time()
            await asyncio.sleep(0)
            longest = max(longest, loop.time() - started_at)

    async with peer_task(turn()):
        await asyncio.sleep(0)
        await work()

    return longest


# Steps


async def test_what_takes_long_becomes_less_and_what_does_not_more() -> None:
    """The size of the parts adapts to their slowest step, within its bounds."""

    pace = Steps(4 * FIRST_PART)
    clock = pace._now = Clock()
    assert pace.size == FIRST_PART
    for spans, size in [
        ((LONGEST_STEP / 2,), FIRST_PART),
        ((0.0, 0.0), 2 * FIRST_PART),
        ((), 4 * FIRST_PART),
        ((0.0,), 4 * FIRST_PART),
        ((0.0, 2 * LONGEST_STEP, 0.0), 2 * FIRST_PART),
    ]:
        assert list(pace.each(clock.pieces(*spans))) == [b"piece"] * len(spans)
        assert pace.size == size

    for _ in range(10):
        assert len(list(pace.each(clock.pieces(1.0)))) == 1
    assert pace.size == SMALLEST_PART


async def test_others_have_a_turn_after_so_much_work() -> None:
    """They get one not after each step, but once the steps together took that long."""

    pace = Steps(FIRST_PART)
    clock = pace._now = Clock()
    turns: list[int] = []
    asyncio.get_running_loop().call_soon(turns.append, 1)
    await pace.rest()
    assert list(pace.each(clock.pieces(LONGEST_STEP / 2))) == [b"piece"]
    await pace.rest()
    assert turns == []
    assert list(pace.each(clock.pieces(LONGEST_STEP / 2))) == [b"piece"]
    await pace.rest()
    assert turns == [1]
    asyncio.get_running_loop().call_soon(turns.append, 2)
    await pace.rest()
    assert turns == [1]


@pytest.mark.parametrize("name", ["records", "blocks", "bomb"])
async def test_data_that_are_slow_to_convert_do_not_hold_the_loop(name: str) -> None:
    """Empty records, blocks without data and a deflate bomb are converted in several turns."""

    loop = asyncio.get_running_loop()
    parameters = {"records": TEXT_RECORDS, "blocks": TEXT_RECORDS, "bomb": DEFLATE}[name]
    content = b"\n" * 100_000 if name == "records" else bytes(1 << 24)
    data = b"\0\0\0" * 100_000 + b"\x40\0\0" if name == "blocks" else encoded(parameters, content)

    async def receive() -> None:
        async with connection() as (dtp, peer), peer_task(send_all(peer, data)):
            await receive_file(dtp, Sink(), parameters=parameters)

    async def send() -> None:
        async with connection() as (dtp, peer), peer_task(receive_all(peer)):
            await send_stream(dtp, chunks(content, 1 << 20), parameters=parameters)

    for work in (receive, send):
        started_at = loop.time()
        longest = await longest_turn(work)
        assert longest < (loop.time() - started_at) / 2


# Deflate


async def test_much_is_deflated_in_a_thread_and_little_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file is compressed by a thread, in bounded parts; a few lines are not worth one."""

    calls: list[tuple[threading.Thread, int]] = []
    feed = DeflateEncoder.feed

    def note(self: DeflateEncoder, data: Buffer) -> Iterator[bytes]:
        calls.append((threading.current_thread(), len(data)))
        return feed(self, data)

    monkeypatch.setattr(DeflateEncoder, "feed", note)
    content = os.urandom(1 << 20)
    async with connection() as (dtp, peer), peer_task(receive_all(peer)) as receiving:
        await send_stream(dtp, chunks(content, 1 << 19), parameters=DEFLATE)
        assert decoded(DEFLATE, await receiving) == content  # type: ignore[arg-type]

    here = threading.current_thread()
    assert all(thread is not here and size <= 1 << 16 for thread, size in calls)
    calls.clear()
    async with connection() as (dtp, peer), peer_task(receive_all(peer)):
        await send_listing(dtp, [b"one", b"two"], parameters=DEFLATE)

    assert calls
    assert all(thread is here for thread, _ in calls)


async def test_what_is_good_is_stored_before_what_is_bad_ends_the_transfer() -> None:
    """What came before an error far into deflated data is written."""

    data = bytearray(encoded(DEFLATE, os.urandom(1 << 18) + bytes((1 << 20) + 150_000)))
    data[-1] ^= 1
    sink = Sink()
    async with connection() as (dtp, peer), peer_task(send_all(peer, bytes(data))):
        with pytest.raises(InvalidData) as caught:
            await receive_file(dtp, sink, parameters=DEFLATE)

    assert sink.size > (1 << 18) + (1 << 20)
    assert caught.value.end is End.BAD_DATA


async def test_what_an_encoder_in_a_thread_refuses_ends_the_transfer() -> None:
    """In TYPE E and MODE Z, a file that is not UTF-8 is a 451, as it is without the thread."""

    options = CodecOptions(file_encoding="utf-8")
    parameters = DEFLATE.with_type("E")
    async with connection() as (dtp, _):
        with pytest.raises(InvalidData) as caught:
            await send_stream(
                dtp, chunks(b"\xff" * 9000, 9000), parameters=parameters, options=options
            )

    assert caught.value.reply_code == 451


async def test_an_abort_while_a_thread_deflates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transfer ends, and no thread is left."""

    held = threading.Event()
    has_begun = threading.Event()

    def encode(*_: object) -> list[bytes]:
        has_begun.set()
        held.wait(60)
        return []

    monkeypatch.setattr(_outgoing, "_encode", encode)
    async with connection() as (dtp, _):
        sending = send_stream(dtp, chunks(bytes(9000), 9000), parameters=DEFLATE)
        async with peer_task(sending) as task:
            await until(has_begun.is_set)
            dtp.abort()
            held.set()
            with pytest.raises(TransferAborted) as caught:
                await task

    assert caught.value.end is End.ABORTED


async def test_cancellation_leaves_nothing_behind() -> None:
    """A compressed transfer leaves nothing, at whichever await it is cancelled, on either side."""

    content = os.urandom(20_000)
    data = encoded(DEFLATE, content)

    async def scenario() -> None:
        async with connection() as (dtp, peer), peer_task(receive_all(peer)):
            await send_stream(dtp, chunks(content, 10_000), parameters=DEFLATE)
        async with connection() as (dtp, peer), peer_task(send_all(peer, data)):
            await receive_file(dtp, Sink(), parameters=DEFLATE)

    await sweep(scenario)
