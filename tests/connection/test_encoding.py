"""Tests of `ftpdata.connection.encoding`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from ftpdata.codecs.representation import IdentityEncoder
from ftpdata.connection import (
    AsyncIterableProducer,
    BytesProducer,
    EncodedProducer,
    IterableProducer,
)
from ftpdata.connection.protocol import DTP
from ftpdata.contracts import Buffer, PushProducer
from ftpdata.errors import (
    FTPDataError,
    LocalError,
)
from ftpdata.outcome import End
from ftpdata.testing import (
    RecordingPullProducer,
)
from tests.harness.pipes import HoldingEncoder, connect, each
from tests.harness.waiting import turns

TEXT = b"line\nline\r\nend\r" * 40_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file of a little more than two pieces."""

    path = tmp_path / "file"
    path.write_bytes(TEXT)
    return path


class FailingEncoder:
    """An encoder that raises."""

    def __init__(self, method: str, error: Exception) -> None:
        self.method = method
        self.error = error

    def feed(self, data: Buffer) -> Iterable[bytes]:
        """Pass data on, or raise."""

        if self.method == "feed":
            raise self.error

        return (bytes(data),)

    def finish(self) -> Iterable[bytes]:
        """Return nothing, or raise."""

        if self.method == "finish":
            raise self.error

        return ()


def cause_of(dtp: DTP) -> BaseException | None:
    """Return the cause of the end of a connection."""

    assert dtp.reason is not None
    return dtp.reason.__cause__ or dtp.reason


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("method", ["feed", "finish"])
async def test_an_encoder_that_raises_ends_the_transfer(method: str, streaming: bool) -> None:
    """Its error is the cause, wherever it raises."""
    error = ValueError("cannot be encoded")
    inner = AsyncIterableProducer(each([b"x"])) if streaming else IterableProducer([b"x"])
    dtp, transport = connect()
    EncodedProducer(inner, FailingEncoder(method, error)).start(dtp)
    with pytest.raises(LocalError):
        await dtp.wait_closed()
    assert dtp.end is End.PRODUCER_FAILED
    assert cause_of(dtp) is error
    assert transport.was_aborted


async def test_a_source_that_fails_while_the_encoder_holds_all_ends_the_transfer() -> None:
    """The error arrives while only the wrapper has asked for data."""

    def chunks() -> Iterator[bytes]:
        yield b"x"
        raise OSError(errno.EIO, "broken")

    dtp, _ = connect()
    EncodedProducer(IterableProducer(chunks()), HoldingEncoder()).start(dtp)
    with pytest.raises(LocalError):
        await dtp.wait_closed()
    assert isinstance(cause_of(dtp), OSError)


async def test_a_wrapper_that_was_stopped_does_not_ask_again() -> None:
    """The connection is lost between what the encoder kept and the next request."""
    asked: list[bytes] = []

    def chunks() -> Iterator[bytes]:
        for chunk in (b"x", b"y", b"z"):
            asked.append(chunk)
            asyncio.get_running_loop().call_soon(transport.lose, ConnectionResetError())
            yield chunk

    dtp, transport = connect()
    EncodedProducer(IterableProducer(chunks()), HoldingEncoder()).start(dtp)
    await turns()
    assert asked == [b"x"]


async def test_a_wrapper_takes_one_producer() -> None:
    """The second of two producers is refused; unregistering twice does nothing."""
    dtp, transport = connect()
    wrapper = EncodedProducer(BytesProducer(b"x"), IdentityEncoder())
    wrapper.start(dtp)
    with pytest.raises(RuntimeError, match="already registered"):
        wrapper.register_producer(RecordingPullProducer(dtp, []), False)
    await turns()
    wrapper.unregister_producer()
    assert transport.calls.count("write_eof") == 1
    dtp.abort()


async def test_pauses_reach_the_producer_within() -> None:
    """A push producer is paused and resumed through the wrapper, strictly in turn."""
    calls: list[str] = []

    class Noted(AsyncIterableProducer):
        def pause_producing(self) -> None:
            calls.append("pause")
            super().pause_producing()

        def resume_producing(self) -> None:
            calls.append("resume")
            super().resume_producing()

    dtp, transport = connect(high_water=0)
    wrapper = EncodedProducer(Noted(each([b"a", b"b"])), IdentityEncoder())
    assert isinstance(wrapper, PushProducer)
    wrapper.start(dtp)
    await turns()
    assert calls == ["pause"]
    transport.drain()
    await turns()
    assert calls == ["pause", "resume", "pause"]
    dtp.abort()
    with contextlib.suppress(FTPDataError):
        await dtp.wait_closed()
