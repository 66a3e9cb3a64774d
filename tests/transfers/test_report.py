"""The one place where results and errors are made, and logged."""

from __future__ import annotations

import logging
import ssl

import pytest

from ftpdata.addresses import HostPort
from ftpdata.errors import (
    FileUnavailable,
    InsufficientStorage,
    LocalError,
    QuotaExceeded,
    UnsupportedParameter,
    error_for_end,
)
from ftpdata.outcome import Direction, End, FastPath
from ftpdata.transfers._report import INLINE_DIGEST, Report


class Wire:
    """A connection in clear to a peer."""

    peer = HostPort("192.0.2.1", 40000)
    tls: ssl.SSLObject | None = None


async def test_what_a_result_says() -> None:
    """It has all counts of its transfer, and none of other transfers."""

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
    """With the same digest."""

    whole, pieces = (Report(Direction.SENT, digest="sha256") for _ in range(2))
    data = bytes(range(256)) * (INLINE_DIGEST // 128)
    for report in (whole, pieces):
        report.begin_digest()
    await whole.count(data)
    for start in range(0, len(data), 1000):
        await pieces.count(data[start : start + 1000])
    assert whole.result(End.CLEAN, 0).digest == pieces.result(End.CLEAN, 0).digest


async def test_a_connection_that_stays_open_is_a_250() -> None:
    """RFC 959 §4.2; any other end has its own code."""

    report = Report(Direction.SENT)
    report.keep_open = True
    assert report.result(End.CLEAN, 0).reply_code == 250
    assert report.result(End.RESET, 0).reply_code == 426


async def test_an_unknown_digest() -> None:
    """It is refused when the digest begins."""

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
    """The log has it in full, on one line, with the traceback if this side has failed."""

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
    assert bool(record.exc_info) is (level == logging.ERROR)
