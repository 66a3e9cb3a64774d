"""Arguments that make no sense are refused at the call, with one clear error."""

from __future__ import annotations

import asyncio
import io
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ftpdata.addresses import HostPort
from ftpdata.errors import BadArgument, DataConnectionError, UnsupportedParameter
from ftpdata.opening.active import connect_active
from ftpdata.opening.endpoint import Endpoint
from ftpdata.outcome import End
from ftpdata.parameters import Structure, TransferParameters
from ftpdata.throttle import TokenBucket
from ftpdata.transfers import (
    receive_file,
    receive_stream,
    relay,
    send_file,
    send_listing,
    send_stream,
)

Call = Callable[[Endpoint, Any], Awaitable[object]]


def endpoint() -> Endpoint:
    """Return an endpoint that would connect to an address where nobody listens."""

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = HostPort(*unused.getsockname())

    return connect_active(address, control_peer="127.0.0.1")


class Target:
    """An upload target that records its calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def write(self, data: bytes) -> None:
        """Take data."""

        self.calls.append("write")

    async def commit(self) -> None:
        """Publish."""

        self.calls.append("commit")

    async def discard(self) -> None:
        """Discard the upload."""

        self.calls.append("discard")


class WithoutCommit:
    """A target that lacks a method."""

    async def write(self, data: bytes) -> None:
        """Take data."""

    async def discard(self) -> None:
        """Discard the upload."""


class Plain:
    """A target whose methods are not coroutine functions."""

    def write(self, data: bytes) -> None:
        """Take data."""

    def commit(self) -> None:
        """Publish."""

    def discard(self) -> None:
        """Discard the upload."""


class OneWay(io.BytesIO):
    """A file object that was opened for the other direction."""

    def readable(self) -> bool:
        """Return False."""

        return False

    def writable(self) -> bool:
        """Return False."""

        return False


def closed_file() -> io.BytesIO:
    """Return a file object that is closed."""

    file = io.BytesIO(b"data")
    file.close()
    return file


async def chunks() -> AsyncIterator[bytes]:
    """Yield one chunk."""

    yield b"chunk"


SEND_FILE: list[tuple[str, Call, type[Exception]]] = [
    ("None", lambda e, _: send_file(e, None), TypeError),  # type: ignore[arg-type]
    ("a text file", lambda e, _: send_file(e, io.StringIO("x")), TypeError),  # type: ignore[arg-type]
    ("a closed file", lambda e, _: send_file(e, closed_file()), ValueError),
    ("a write-only file", lambda e, _: send_file(e, OneWay()), ValueError),
    ("a closed descriptor", lambda e, _: send_file(e, 999_999), ValueError),
    ("fd=-1", lambda e, _: send_file(e, -1), ValueError),
    ("offset=-1", lambda e, p: send_file(e, p, offset=-1), ValueError),
    ("offset='1'", lambda e, p: send_file(e, p, offset="1"), TypeError),  # type: ignore[arg-type]
    ("length=-1", lambda e, p: send_file(e, p, length=-1), ValueError),
    ("expected_size=-1", lambda e, p: send_file(e, p, expected_size=-1), ValueError),
    ("throttle=1000", lambda e, p: send_file(e, p, throttle=1000), TypeError),  # type: ignore[arg-type]
    ("progress=1", lambda e, p: send_file(e, p, progress=1), TypeError),  # type: ignore[arg-type]
    ("digest=1", lambda e, p: send_file(e, p, digest=1), TypeError),  # type: ignore[arg-type]
    ("deadlines=5", lambda e, p: send_file(e, p, deadlines=5), TypeError),  # type: ignore[arg-type]
    ("deadlines=None", lambda e, p: send_file(e, p, deadlines=None), TypeError),  # type: ignore[arg-type]
    ("parameters='A'", lambda e, p: send_file(e, p, parameters="A"), TypeError),  # type: ignore[arg-type]
    ("options={}", lambda e, p: send_file(e, p, options={}), TypeError),  # type: ignore[arg-type]
    ("limiter=4", lambda e, p: send_file(e, p, limiter=4), TypeError),  # type: ignore[arg-type]
    ("dir_fd='.'", lambda e, p: send_file(e, p, dir_fd="."), TypeError),  # type: ignore[arg-type]
]
OTHERS: list[tuple[str, Call, type[Exception]]] = [
    ("None", lambda e, _: receive_file(e, None), TypeError),  # type: ignore[arg-type]
    ("a closed file", lambda e, _: receive_file(e, closed_file()), ValueError),
    ("a read-only file", lambda e, _: receive_file(e, OneWay()), ValueError),
    ("no commit", lambda e, _: receive_file(e, WithoutCommit()), TypeError),  # type: ignore[arg-type]
    ("plain methods", lambda e, _: receive_file(e, Plain()), TypeError),  # type: ignore[arg-type]
    ("size_limit=-1", lambda e, p: receive_file(e, p / "n", size_limit=-1), ValueError),
    ("append, offset", lambda e, p: receive_file(e, p / "n", append=True, offset=1), ValueError),
    ("append, target", lambda e, _: receive_file(e, Target(), append=True), ValueError),
    ("append=1", lambda e, p: receive_file(e, p / "n", append=1), TypeError),  # type: ignore[arg-type]
    ("on_marker=1", lambda e, p: receive_file(e, p / "n", on_marker=1), TypeError),  # type: ignore[arg-type]
    ("bytes", lambda e, _: send_stream(e, b"abc"), TypeError),  # type: ignore[arg-type]
    ("a list", lambda e, _: send_stream(e, [b"abc"]), TypeError),  # type: ignore[arg-type]
    ("offset=-1", lambda e, _: send_stream(e, chunks(), offset=-1), ValueError),
    ("a line", lambda e, _: send_listing(e, b"line"), TypeError),  # type: ignore[arg-type]
    ("text", lambda e, _: send_listing(e, "line"), TypeError),  # type: ignore[arg-type]
    ("formatter=1", lambda e, _: send_listing(e, [], formatter=1), TypeError),  # type: ignore[arg-type]
    ("throttle=1", lambda e, _: relay(e, e, throttle=1), TypeError),  # type: ignore[arg-type]
    ("None", lambda e, _: relay(e, None), TypeError),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(
    ("call", "kind"),
    [pytest.param(call, kind, id=name) for name, call, kind in [*SEND_FILE, *OTHERS]],
)
async def test_what_cannot_be_meant_is_refused(
    call: Call, kind: type[Exception], tmp_path: Path
) -> None:
    """The call says what was expected and what it got instead, and aborts the connection."""

    gave = endpoint()
    with pytest.raises(kind, match="expected ") as caught:
        await call(gave, tmp_path)

    assert type(caught.value) in {TypeError, BadArgument}
    if isinstance(caught.value, BadArgument):
        assert caught.value.result is not None
        assert caught.value.result.end is caught.value.end
    with pytest.raises(Exception, match="refused at its call"):
        await gave.open()
    assert not await asyncio.to_thread(lambda: list(tmp_path.iterdir()))


PAGES = TransferParameters(structure=Structure.PAGE)


@pytest.mark.parametrize(
    "call",
    [
        lambda endpoint, path: send_file(endpoint, path, digest="nonsense"),
        lambda endpoint, path: send_file(endpoint, path, parameters=PAGES),
        lambda endpoint, path: receive_file(endpoint, path, digest="nonsense"),
        lambda endpoint, path: receive_file(endpoint, path, parameters=PAGES),
        lambda endpoint, _: send_listing(endpoint, [b"x"], parameters=PAGES),
        lambda endpoint, _: send_stream(endpoint, chunks(), digest="nonsense"),
        lambda one, _: relay(one, endpoint(), digest="nonsense"),
    ],
)
async def test_what_nobody_can_do_waits_for_no_peer(call: Call, tmp_path: Path) -> None:
    """It is 504 at the call: nothing listens at the address, and nobody finds that out."""

    path = tmp_path / "file"
    path.write_bytes(b"content")
    with pytest.raises(UnsupportedParameter) as caught:
        await call(endpoint(), path)

    assert caught.value.reply_code == 504
    assert caught.value.result is not None
    assert path.read_bytes() == b"content"


@pytest.mark.parametrize("wrong", [None, "127.0.0.1:20", 9999])
async def test_what_is_not_a_connection_is_refused(wrong: object, tmp_path: Path) -> None:
    """Every function checks its connection before anything else."""

    anything: Any = wrong
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: send_file(anything, tmp_path),
        lambda: receive_file(anything, tmp_path / "new"),
        lambda: send_stream(anything, chunks()),
        lambda: send_listing(anything, []),
        lambda: relay(anything, anything),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="expected a DTP, an Endpoint or a ReusableConnection"):
            await call()
    with pytest.raises(TypeError, match="expected a DTP"):
        receive_stream(anything)


async def test_a_refused_stream_is_refused_at_the_call() -> None:
    """A stream is refused at the call, not when its first piece is asked for."""

    with pytest.raises(ValueError, match="expected size_limit to be 0 or more, not -1"):
        receive_stream(endpoint(), size_limit=-1)


async def test_what_was_refused_is_discarded_and_closed() -> None:
    """A refused target is discarded, and a generator closed, even one that has not begun."""

    target = Target()
    with pytest.raises(BadArgument):
        await receive_file(endpoint(), target, offset=-1)
    assert target.calls == ["discard"]

    generator = chunks()
    with pytest.raises(BadArgument):
        await send_stream(endpoint(), generator, offset=-1)
    with pytest.raises(StopAsyncIteration):
        await anext(generator)


async def test_a_target_may_be_decorated() -> None:
    """A wrapper of a coroutine function is accepted, and so is a callable object."""

    class Wrapped(Target):
        class Write:
            async def __call__(self, data: bytes) -> None:
                """Take data."""

        write = Write()

    with pytest.raises(DataConnectionError) as caught:
        await receive_file(endpoint(), Wrapped())
    assert caught.value.end is End.OPEN_FAILED


async def test_a_bucket_of_another_clock_lets_bytes_pass() -> None:
    """The bucket's clock, the time of day, is far ahead of the event loop's."""

    bucket = TokenBucket(1000.0, burst=1000.0, now=time.time())
    assert bucket.reserve(500, 10.0) == 0.0
    assert bucket.reserve(500, 10.0) == 0.0
    assert bucket.reserve(500, 10.0) == pytest.approx(0.5)
