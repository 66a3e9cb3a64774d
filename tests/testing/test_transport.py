"""The transport in memory does what a network may do, when the test says so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ftpdata.testing import MemoryTransport, pair
from tests.harness.waiting import turns


class Script(asyncio.Protocol):
    """A protocol that records the calls of its transport."""

    def __init__(self, *, keep_open: bool = False) -> None:
        self.calls: list[Any] = []
        self.keep_open = keep_open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Record the call."""
        self.calls.append("made")

    def connection_lost(self, exc: Exception | None) -> None:
        """Record the call."""
        self.calls.append(exc or "lost")

    def data_received(self, data: bytes) -> None:
        """Record the call."""
        self.calls.append(data)

    def eof_received(self) -> bool:
        """Record the call."""
        self.calls.append("eof")
        return self.keep_open

    def pause_writing(self) -> None:
        """Record the call."""
        self.calls.append("pause")

    def resume_writing(self) -> None:
        """Record the call."""
        self.calls.append("resume")


async def test_the_network_takes_what_the_test_lets_it() -> None:
    """Writing pauses above the high-water mark and resumes at the low one."""

    script = Script()
    transport = MemoryTransport(script)
    assert transport.get_protocol() is script
    transport.set_write_buffer_limits(high=4, low=2)
    assert transport.get_write_buffer_limits() == (2, 4)
    transport.write(b"1234")
    assert not transport.is_writing_paused
    transport.write(memoryview(b"5"))
    assert script.calls == ["made", "pause"]
    assert transport.drain(2) == 2
    assert script.calls == ["made", "pause"]
    transport.drain(1)
    assert script.calls == ["made", "pause", "resume"]
    transport.write_eof()
    ends = [transport.eof_sent]
    assert bytes(transport.sent) + transport.buffered == b"12345"
    with pytest.raises(RuntimeError):
        transport.write(b"6")
    transport.drain()
    ends.append(transport.eof_sent)
    assert ends == [False, True]
    assert transport.sent == b"12345"
    assert transport.most_buffered == 5
    transport.lose()
    transport.lose()
    assert script.calls == ["made", "pause", "resume", "lost"]
    assert transport.calls == ["write", "write", "write_eof", "write"]


async def test_what_is_fed_waits_until_it_is_read() -> None:
    """As in a kernel, data arrive in order, only while reading, and the end of file last."""

    script = Script(keep_open=True)
    transport = MemoryTransport(script)
    transport.pause_reading()
    transport.feed(b"one", b"two")
    transport.feed_eof()
    await turns()
    assert script.calls == ["made"]
    transport.deliver(b"zero")
    transport.resume_reading()
    await turns()
    assert script.calls == ["made", b"zero", b"one", b"two", "eof"]
    assert not transport.is_closing()
    transport.abort()
    await turns()
    assert script.calls[-1] == "lost"
    assert transport.was_aborted


async def test_an_end_of_file_closes_unless_kept_open() -> None:
    """As in asyncio, it closes after the buffered data; with TLS it closes in any case."""

    for tls, keep_open, closes in (
        (False, False, True),
        (False, True, False),
        (True, True, True),
    ):
        script = Script(keep_open=keep_open)
        transport = MemoryTransport(script, tls=tls)
        transport.write(b"rest")
        transport.feed_eof()
        await turns()
        assert transport.is_closing() is closes
        assert not transport.is_lost
        transport.drain()
        transport.close()
        await turns()
        assert transport.sent == b"rest"
        assert script.calls[-1] == "lost"


async def test_tls_has_no_half_close_and_tells_of_a_cut() -> None:
    """There is no write_eof; the ssl_object says whether the end was announced."""

    transport = MemoryTransport(Script(), tls=True)
    assert not transport.can_write_eof()
    with pytest.raises(NotImplementedError):
        transport.write_eof()
    tls = transport.get_extra_info("ssl_object")
    assert tls.read(1) == b""
    transport.feed_eof(close_notify=False)
    with pytest.raises(OSError, match=r".*"):
        tls.read(1)
    transport.lose()


async def test_a_pair_is_one_connection() -> None:
    """What one side sends the other receives; an abort is a reset for the other side."""

    first, second = Script(keep_open=True), Script(keep_open=True)
    one, two = pair(first, second)
    one.write(b"there")
    two.write(b"back")
    one.write_eof()
    await turns()
    assert second.calls == ["made", b"there", "eof"]
    assert first.calls == ["made", b"back"]
    two.abort()
    await turns()
    assert isinstance(first.calls[-1], ConnectionResetError)
    assert second.calls[-1] == "lost"
    assert one.is_lost
    assert two.is_lost
