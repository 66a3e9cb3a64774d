"""Results and errors are made, and logged, in one place."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from ftpdata.addresses import HostPort
from ftpdata.codecs import CodecOptions, RestartMarker, encoder_for
from ftpdata.connection.protocol import DTP
from ftpdata.errors import (
    BadAddress,
    BadArgument,
    FileUnavailable,
    FTPDataError,
    InsufficientStorage,
    LocalError,
    QuotaExceeded,
    UnsupportedNetworkProtocol,
    UnsupportedParameter,
    error_for_end,
)
from ftpdata.outcome import Direction, End, FastPath
from ftpdata.parameters import TransferParameters, TransmissionMode
from ftpdata.transfers import receive_file, send_listing, send_stream
from ftpdata.transfers._report import INLINE_DIGEST, Report
from tests.harness.connections import connection, peer_task, receive_all, send_all


class Wire:
    """A connection in clear to a peer."""

    peer = HostPort("192.0.2.1", 40000)
    tls: ssl.SSLObject | None = None


async def test_what_a_result_says() -> None:
    """A result has all counts of its own transfer, and nothing of other transfers."""

    report = Report(Direction.RECEIVED, offset=7, digest="crc32")
    report.meet(Wire())
    report.foreign_bytes = 100
    report.fast_path = FastPath.SPLICE
    report.begin_digest()
    report.begin_digest()
    await report.count(b"1234")
    await report.count(b"56789")
    result = report.result(End.CLEAN, 109)
    assert (result.direction, result.end, result.reply_code) == (
        Direction.RECEIVED,
        End.CLEAN,
        226,
    )
    assert (result.bytes, result.file_bytes, result.offset) == (9, 9, 7)
    assert (result.digest, result.digest_name) == ("cbf43926", "crc32")
    assert (result.peer, result.fast_path) == ("192.0.2.1:40000", FastPath.SPLICE)
    assert (result.tls_version, result.reason) == (None, None)
    assert result.seconds >= 0


async def test_large_pieces_are_digested_in_a_thread() -> None:
    """The digest is the same as without a thread."""

    whole, pieces = (Report(Direction.SENT, digest="sha256") for _ in range(2))
    data = bytes(range(256)) * (INLINE_DIGEST // 128)
    for report in (whole, pieces):
        report.begin_digest()
    await whole.count(data)
    for start in range(0, len(data), 1000):
        await pieces.count(data[start : start + 1000])
    assert whole.result(End.CLEAN, 0).digest == pieces.result(End.CLEAN, 0).digest


async def test_a_connection_that_stays_open_is_a_250() -> None:
    """RFC 959 §4.2: an open connection is reported with 250; any other end has its own code."""

    report = Report(Direction.SENT)
    report.keep_open = True
    assert report.result(End.CLEAN, 0).reply_code == 250
    assert report.result(End.RESET, 0).reply_code == 426


async def test_an_unknown_digest() -> None:
    """An unknown digest is refused when digesting begins."""

    report = Report(Direction.SENT, digest="nonsense")
    with pytest.raises(UnsupportedParameter):
        report.begin_digest()


SECRET = "PUT https://store.example/?Signature=abc\r\n226 forged"


@pytest.mark.parametrize(
    ("error", "level", "end"),
    [
        (RuntimeError(SECRET), logging.ERROR, End.CONSUMER_FAILED),
        (LocalError(SECRET), logging.ERROR, End.CONSUMER_FAILED),
        (OSError(5, SECRET), logging.ERROR, End.CONSUMER_FAILED),
        (InsufficientStorage(SECRET), logging.ERROR, End.CONSUMER_FAILED),
        (FileUnavailable(SECRET), logging.INFO, End.CONSUMER_FAILED),
        (QuotaExceeded(SECRET), logging.INFO, End.SIZE_LIMIT),
        (error_for_end(End.RESET, SECRET), logging.INFO, End.RESET),
    ],
)
async def test_a_failure_is_logged_once(
    error: Exception, level: int, end: End, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has it in full, on one line, with a traceback if this side has raised it."""

    report = Report(Direction.RECEIVED)
    report.meet(Wire())
    with caplog.at_level(logging.DEBUG, "ftpdata.transfers"):
        failure = report.failure(error, 12)

    assert failure.result is not None
    assert failure.result.end is failure.end is end
    assert failure.result.reason == str(failure)
    assert "Signature" not in failure.reply
    assert "\r" not in failure.reply
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("ftpdata.transfers", level)
    line = record.getMessage()
    assert line.startswith(f"received, peer 192.0.2.1:40000: {end.value} after 12 bytes: ")
    assert "Signature=abc" in line
    assert line.isprintable()
    assert bool(record.exc_info) is (end is End.CONSUMER_FAILED)


class WithReply(RuntimeError):
    """An exception of the host's own that resembles one of ftpdata's."""

    reply = f"226 {SECRET}"
    reply_code = 226
    end = End.CLEAN


class Speechless(RuntimeError):
    """An exception that cannot be converted to a string."""

    def __str__(self) -> str:
        raise ValueError(SECRET)

    __repr__ = __str__


class SpeechlessArgument(BadArgument):
    """A host's subclass of an ftpdata error that cannot be converted to a string."""

    def __init__(self) -> None:
        """Set nothing."""

    def __str__(self) -> str:
        raise ValueError(SECRET)


HOST_ERRORS = [
    BadArgument(SECRET),
    BadAddress(SECRET),
    UnsupportedParameter(SECRET),
    UnsupportedNetworkProtocol(SECRET),
    WithReply(SECRET),
    Speechless(),
    SpeechlessArgument(),
    ExceptionGroup(SECRET, [BadArgument(SECRET), RuntimeError(SECRET)]),
    ConnectionResetError(104, SECRET),
]
BLOCK = TransferParameters(mode=TransmissionMode.BLOCK)


def encoded_with_markers(data: bytes) -> bytes:
    """Encode a file in MODE B, with a restart marker every ten bytes."""

    encoder = encoder_for(BLOCK, options=CodecOptions(marker_interval=10))
    assert encoder is not None
    return b"".join((*encoder.feed(data), *encoder.finish()))


class Target:
    """A host's target, some of whose methods fail."""

    def __init__(self, **failing: Exception) -> None:
        self._failing = failing

    async def write(self, _: bytes) -> None:
        """Take data."""

        self._fail("write")

    async def commit(self) -> None:
        """Publish."""

        self._fail("commit")

    async def discard(self) -> None:
        """Discard the upload."""

        self._fail("discard")

    def _fail(self, method: str) -> None:
        if method in self._failing:
            raise self._failing[method]


async def write_fails(dtp: DTP, error: Exception) -> None:
    """Receive into a target whose write fails."""

    await receive_file(dtp, Target(write=error))


async def discard_fails_too(dtp: DTP, error: Exception) -> None:
    """Receive into a target whose write fails, and then its discard."""

    await receive_file(dtp, Target(write=RuntimeError(SECRET), discard=error))


async def commit_fails(dtp: DTP, error: Exception) -> None:
    """Receive into a target that fails to publish."""

    await receive_file(dtp, Target(commit=error))


async def marker_fails(dtp: DTP, error: Exception) -> None:
    """Receive restart markers that cannot be reported."""

    async def fail(_: RestartMarker) -> None:
        raise error

    await receive_file(dtp, Target(), parameters=BLOCK, on_marker=fail)


async def progress_fails(dtp: DTP, error: Exception) -> None:
    """Receive with a progress callback that fails."""

    def fail(*_: object) -> None:
        raise error

    await receive_file(dtp, Target(), progress=fail)


async def generator_fails(dtp: DTP, error: Exception) -> None:
    """Send from a generator that fails."""

    async def generate() -> AsyncIterator[bytes]:
        yield b"data"
        raise error

    await send_stream(dtp, generate())


async def listing_fails(dtp: DTP, error: Exception) -> None:
    """Send a listing whose lines fail."""

    async def generate() -> AsyncIterator[bytes]:
        yield b"line"
        raise error

    await send_listing(dtp, generate())


async def consumer_fails(dtp: DTP, error: Exception) -> None:
    """Receive with a consumer that fails."""

    class Consumer:
        def register_producer(self, producer: object, streaming: bool) -> None:
            """Ignore the producer."""

        def write(self, data: bytes) -> None:
            raise error

        def unregister_producer(self) -> None:
            """Do nothing."""

    await dtp.register_consumer(Consumer())


@pytest.mark.parametrize("error", HOST_ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("work", "sends"),
    [
        (write_fails, True),
        (discard_fails_too, True),
        (commit_fails, True),
        (marker_fails, True),
        (progress_fails, True),
        (consumer_fails, True),
        (generator_fails, False),
        (listing_fails, False),
    ],
)
async def test_what_the_host_raises_is_never_quoted_in_a_reply(
    work: Callable[[DTP, Exception], Awaitable[None]], sends: bool, error: Exception
) -> None:
    """Whatever its class, the peer reads only ftpdata's words, and the log has the rest."""

    data = encoded_with_markers(bytes(20)) if work is marker_fails else b"data"
    async with connection() as (dtp, peer):
        peer_work = send_all(peer, data) if sends else receive_all(peer)
        async with peer_task(peer_work):
            with pytest.raises(FTPDataError) as caught:
                await work(dtp, error)

    reply = caught.value.reply
    assert reply.isprintable()
    assert reply[:3] in ("451", "501", "504", "522")
    for word in ("Signature", "PUT", "226", "store.example"):
        assert word not in reply
