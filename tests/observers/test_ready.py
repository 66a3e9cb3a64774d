"""The observers that are ready: logging, queued, grouped, xferlog, Prometheus, OpenTelemetry."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import threading
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

import attrs
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ftpdata import Direction, End, HostPort, TransferResult, send_file
from ftpdata.errors import LocalError, PortsExhausted, error_for_end
from ftpdata.observers import (
    LoggingObserver,
    Observer,
    ObserverGroup,
    QueuedObserver,
    Subject,
    Transfer,
    XferlogObserver,
)
from ftpdata.observers.opentelemetry import OpenTelemetryObserver
from ftpdata.observers.prometheus import PrometheusObserver
from tests.harness.connections import peer_task, receive_all
from tests.observers.recorder import Recorder, Stubborn
from tests.observers.test_events import SMALL, accepted

ADDRESS = HostPort("127.0.0.1", 40000)


@attrs.define
class Told:
    """A transfer, as an observer is told of it."""

    number: int = 7
    direction: Direction = Direction.SENT
    offset: int = 0
    subject: Subject | None = None
    path: str | None = None
    file_bytes: int = 0
    total: int | None = None
    peer: HostPort | None = None
    seconds: float = 0.0


def result_of(end: End = End.CLEAN, **facts: Any) -> TransferResult:
    """Make a result."""

    return TransferResult(
        direction=Direction.SENT, end=end, bytes=10, file_bytes=9, seconds=0.5, **facts
    )


def play(observer: Observer) -> None:
    """Tell of a good transfer, a cut one, a stranger and a port that is missing."""

    for number, end in enumerate([End.CLEAN, End.RESET], 1):
        transfer = Told(number=number, subject=Subject(command="RETR", name="/f", user="ann"))
        observer.listening(ADDRESS)
        observer.started(transfer)
        observer.released(ADDRESS)
        observer.progressed(transfer)
        error = None if end is End.CLEAN else error_for_end(end)
        observer.ended(transfer, result_of(end), error)
    observer.stranger(ADDRESS, "192.0.2.1", "not expected")
    observer.refused(PortsExhausted("all in use", end=End.PORTS_EXHAUSTED))


EVENTS = [
    *["listening", "started", "released", "progressed", "ended"] * 2,
    "stranger",
    "refused",
]


# Groups


def test_a_group_tells_all_in_order_whatever_one_of_them_does() -> None:
    """One that fails does not keep the news from the others."""

    first, second = Recorder(), Recorder()
    play(ObserverGroup(first, Stubborn(), second))
    assert first.events == second.events == EVENTS


def test_a_group_wants_what_one_of_them_wants() -> None:
    """What nobody wants costs nothing."""

    class Quiet(Observer):
        pass

    assert not ObserverGroup(Quiet()).wants_progress
    assert ObserverGroup(Quiet(), Recorder()).wants_progress
    assert not ObserverGroup(Recorder()).logs_failures
    assert ObserverGroup(Recorder(), LoggingObserver()).logs_failures
    with pytest.raises(TypeError, match="observers must be Observers, not 'x'"):
        ObserverGroup("x")  # type: ignore[arg-type]


# The log


def logged(caplog: pytest.LogCaptureFixture, tell: Callable[[Observer], None]) -> list[Any]:
    """Return what an observer logs."""

    caplog.set_level(logging.INFO, logger="ftpdata.transfers")
    tell(LoggingObserver())
    return [record for record in caplog.records if record.name == "ftpdata.transfers"]


def test_a_good_transfer_is_one_line_with_its_facts(caplog: pytest.LogCaptureFixture) -> None:
    """The line is printable; the facts are attributes of the record."""

    subject = Subject(command="RETR", name="/a\nb", user="ann", session="17")
    result = result_of(peer="192.0.2.1:40000", tls_version="TLSv1.3", offset=3)
    (record,) = logged(caplog, lambda to: to.ended(Told(subject=subject), result, None))
    assert record.getMessage() == (
        "sent /a\\nb, peer 192.0.2.1:40000: complete after 10 bytes"
    )
    assert (record.levelno, record.exc_info) == (logging.INFO, None)
    assert {key: value for key, value in vars(record).items() if key.startswith("ftp_")} == {
        "ftp_transfer": 7,
        "ftp_direction": "sent",
        "ftp_end": "clean",
        "ftp_reply_code": 226,
        "ftp_bytes": 10,
        "ftp_file_bytes": 9,
        "ftp_seconds": 0.5,
        "ftp_offset": 3,
        "ftp_peer": "192.0.2.1:40000",
        "ftp_tls_version": "TLSv1.3",
        "ftp_fast_path": "none",
        "ftp_digest": None,
        "ftp_command": "RETR",
        "ftp_name": "/a\nb",
        "ftp_user": "ann",
        "ftp_session": "17",
    }


def test_an_error_of_this_side_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Somebody has to act on it."""

    error = LocalError("the disk is broken", end=End.CONSUMER_FAILED)
    (record,) = logged(
        caplog, lambda to: to.ended(Told(path="/f"), result_of(End.CONSUMER_FAILED), error)
    )
    assert record.levelno == logging.ERROR
    assert record.exc_info[1] is error
    assert record.getMessage() == (
        "sent /f, peer unknown: consumer failed after 10 bytes: the disk is broken"
    )


async def test_a_failed_transfer_is_logged_once_with_and_without_the_observer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever logs it, there is one line."""

    caplog.set_level(logging.INFO, logger="ftpdata.transfers")
    for observer in (None, Recorder(), LoggingObserver(), ObserverGroup(LoggingObserver())):
        caplog.clear()
        async with accepted(observer) as (endpoint, _):
            with pytest.raises(Exception, match="No such file"):
                await send_file(endpoint, tmp_path / "nothing")
        (record,) = [each for each in caplog.records if each.name == "ftpdata.transfers"]
        assert "No such file" in record.getMessage()


async def test_a_good_transfer_is_logged_with_the_observer_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By default the log is quiet."""

    caplog.set_level(logging.INFO, logger="ftpdata.transfers")
    (tmp_path / "file").write_bytes(SMALL)
    for observer, lines in [(None, 0), (Recorder(), 0), (LoggingObserver(), 1)]:
        caplog.clear()
        async with accepted(observer) as (endpoint, peer), peer_task(receive_all(peer)):
            await send_file(endpoint, tmp_path / "file")
        assert [each.name for each in caplog.records].count("ftpdata.transfers") == lines


# In a thread


def test_a_queued_observer_is_called_in_order_in_a_thread_of_its_own() -> None:
    """The end of the block waits until everything was told."""

    class Threaded(Recorder):
        threads: set[int]

        def started(self, transfer: Transfer) -> None:
            super().started(transfer)
            self.threads.add(threading.get_ident())

        def ended(self, *about: Any) -> None:
            self.events.append("ended")

    recorder = Threaded()
    recorder.threads = set()
    with QueuedObserver(recorder) as queued:
        play(queued)
    assert recorder.events == EVENTS
    assert threading.get_ident() not in recorder.threads
    assert queued.dropped == 0


def test_what_is_read_of_a_transfer_is_as_it_was() -> None:
    """The thread may come late."""

    recorder, transfer = Recorder(), Told(file_bytes=1)
    queued = QueuedObserver(recorder)
    queued.started(transfer)
    transfer.file_bytes = 2
    queued.progressed(transfer)
    with queued:
        pass
    assert recorder.events == ["started", "progressed"]
    assert recorder.transfers[0].file_bytes == 1


class Unmakeable(Exception):
    """Cannot be made from its own arguments."""

    def __init__(self, text: str, more: object) -> None:
        super().__init__(text)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LocalError("no room", reply_text="sorry"),
        lambda: OSError(28, "no space", "file"),
        lambda: Unmakeable("text", 5),
        asyncio.CancelledError,
    ],
)
def test_an_error_that_waits_holds_no_buffer(make: Callable[[], BaseException]) -> None:
    """Its traceback would hold the frames of the transfer; it becomes a note."""

    class Buffer:
        pass

    buffers: list[weakref.ref[Buffer]] = []

    def fail_here() -> None:
        buffer = Buffer()
        buffers.append(weakref.ref(buffer))
        raise make()

    recorder, transfer = Recorder(), Told()
    queued = QueuedObserver(recorder)
    queued.started(transfer)
    try:
        fail_here()
    except BaseException as error:  # noqa: BLE001 - all kinds
        original, words = type(error), str(error)
        queued.ended(transfer, result_of(End.CONSUMER_FAILED), error)
    gc.collect()
    assert buffers[0]() is None
    with queued:
        pass
    (told,) = recorder.errors
    assert told is not None
    assert told.__traceback__ is None
    assert "fail_here" in told.__notes__[0]
    if original is Unmakeable:
        assert (type(told), str(told)) == (RuntimeError, "Unmakeable('text')")
    else:
        assert (type(told), str(told)) == (original, words)
    if isinstance(told, LocalError):
        assert told.reply == "451 Sorry."


def test_what_finds_no_room_is_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The queue has a bound."""

    recorder = Recorder()
    queued = QueuedObserver(recorder, limit=2)
    for _ in range(5):
        queued.listening(ADDRESS)
    assert queued.dropped == 3
    with queued:
        pass
    assert recorder.events == ["listening", "listening"]
    (record,) = caplog.records
    assert record.getMessage() == (
        "Recorder is too slow: 2 events wait, and what finds no room is only counted"
    )


def test_what_comes_after_the_block_is_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log does not say that the observer is too slow."""

    recorder = Recorder()
    with QueuedObserver(recorder) as queued:
        pass
    for _ in range(2):
        queued.listening(ADDRESS)
    assert queued.dropped == 2
    assert recorder.events == []
    (record,) = caplog.records
    assert record.getMessage() == (
        "Recorder is told of nothing more, since the block of its queue has ended; what comes now "
        "is only counted"
    )


def test_an_observer_that_hangs_does_not_hold_up_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The end of the block has a deadline."""

    release, begun = threading.Event(), threading.Event()

    class Hanging(Observer):
        def listening(self, address: HostPort) -> None:
            begun.set()
            release.wait(60)

    with QueuedObserver(Hanging(), patience=0.01) as queued:
        for _ in range(3):
            queued.listening(ADDRESS)
        assert begun.wait(60)
    assert queued.dropped == 3
    assert "Hanging did not end in 0.01 s; it was not told of 3 events" in caplog.text
    release.set()
    assert queued._thread is not None
    queued._thread.join(60)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_events_that_an_observer_misses_by_ending_its_thread_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is lost without a word."""

    class Ending(Observer):
        def listening(self, address: HostPort) -> None:
            raise SystemExit

    queued = QueuedObserver(Ending())
    for _ in range(3):
        queued.listening(ADDRESS)
    with queued:
        pass
    assert queued.dropped == 2
    assert "it was not told of 2 events" in caplog.text


def test_a_queued_observer_is_entered_once() -> None:
    """One thread only."""

    queued = QueuedObserver(Recorder())
    with queued, pytest.raises(RuntimeError, match="entered once"):
        queued.__enter__()


# xferlog


NOW = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)


class Full(FileIO):
    """A file on a disk that has room for some more bytes."""

    room = 0

    def write(self, data: Any, /) -> int:
        """Take what there is room for."""

        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = super().write(data[: self.room])
        self.room -= taken
        return taken


def test_a_line_that_a_full_disk_tore_is_not_gone_on_with(tmp_path: Path) -> None:
    """The lines that come once there is room again are whole."""

    path = tmp_path / "xferlog"
    with XferlogObserver(path, now=lambda: NOW) as observer, Full(path, "ab") as file:
        assert observer._file is not None
        observer._file.close()
        observer._file = file
        transfer = Told(subject=Subject(command="RETR", name="/file", user="ann"))
        for file.room in (0, 10, 0, 1000):
            with contextlib.suppress(OSError):
                observer.ended(transfer, result_of(), None)
        file.room = 3
        with pytest.raises(OSError, match="No space left"):
            observer.ended(transfer, result_of(), None)
    torn, whole, last = path.read_text().split("\n")
    assert whole.startswith(torn)
    assert (len(torn), last) == (10, whole[:3])
    assert " /file " in whole


def test_a_line_for_each_file_but_none_for_a_listing(tmp_path: Path) -> None:
    """The lines are those of wu-ftpd."""

    log = tmp_path / "xferlog"
    with XferlogObserver(log, now=lambda: NOW) as observer:
        for subject in [
            Subject(command="RETR", name="/a b", user="ann"),
            Subject(command="MLSD", name="/", user="ann"),
            Subject(command="STOR", name="/c", user="bob@x", is_anonymous=True, is_text=True),
            None,
        ]:
            observer.ended(
                Told(subject=subject, path="/srv/x"), result_of(peer="192.0.2.1:4000"), None
            )
    assert log.read_text().splitlines() == [
        "Mon Nov 30 12:00:00 2026 0 192.0.2.1 9 /a_b b _ o r ann ftp 0 * c",
        "Mon Nov 30 12:00:00 2026 0 192.0.2.1 9 /c a _ o a bob@x ftp 0 * c",
        "Mon Nov 30 12:00:00 2026 0 192.0.2.1 9 /srv/x b _ o r unknown ftp 0 * c",
    ]


def test_the_file_is_opened_again_once_it_was_rotated(tmp_path: Path) -> None:
    """Renamed, removed or replaced: the line goes to the file of that name."""

    log, rotated = tmp_path / "xferlog", tmp_path / "xferlog.1"
    with XferlogObserver(log, now=lambda: NOW) as observer:
        observer.ended(Told(path="/1"), result_of(), None)
        log.rename(rotated)
        observer.ended(Told(path="/2"), result_of(), None)
        log.unlink()
        log.touch()
        observer.ended(Told(path="/3"), result_of(), None)
    assert "/1" in rotated.read_text()
    assert "/2" not in rotated.read_text()
    assert "/3" in log.read_text()


def test_a_closed_file_is_not_opened_again(tmp_path: Path) -> None:
    """Nobody would close it; the host's log says what is lost."""

    log = tmp_path / "xferlog"
    with XferlogObserver(log, now=lambda: NOW) as observer:
        observer.ended(Told(path="/1"), result_of(), None)
    with pytest.raises(ValueError, match="xferlog has been closed"):
        observer.ended(Told(path="/2"), result_of(), None)
    assert "/2" not in log.read_text()


def test_a_file_that_cannot_be_opened_is_reported_at_the_door(tmp_path: Path) -> None:
    """The host learns at the start that there will be no log."""

    with pytest.raises(FileNotFoundError), XferlogObserver(tmp_path / "no" / "xferlog"):
        pass


# Prometheus


def metrics(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """Read what a scrape gets, as Prometheus reads it."""

    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): (
            sample.value
        )
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_created"))
    }


def test_what_prometheus_reads() -> None:
    """Prometheus' own parser reads every metric."""

    registry = CollectorRegistry()
    observer = PrometheusObserver(registry=registry, listeners_limit=41)
    play(observer)
    observer.listening(ADDRESS)
    observer.started(Told())
    assert metrics(registry) == {
        ("ftpdata_transfers_total", "sent", "clean"): 1.0,
        ("ftpdata_transfers_total", "sent", "reset"): 1.0,
        ("ftpdata_file_bytes_total", "sent"): 18.0,
        ("ftpdata_transfer_duration_seconds_count", "sent"): 2.0,
        ("ftpdata_transfer_duration_seconds_sum", "sent"): 1.0,
        ("ftpdata_transfers_active", "sent"): 1.0,
        ("ftpdata_listeners_in_use",): 1.0,
        ("ftpdata_listeners_limit",): 41.0,
        ("ftpdata_strangers_total",): 1.0,
        ("ftpdata_refusals_total", "ports_exhausted"): 1.0,
    }


def test_users_are_labels_only_where_asked_for() -> None:
    """All anonymous users are one."""

    registry = CollectorRegistry()
    observer = PrometheusObserver(registry=registry, by_user=True)
    for subject in [
        Subject(user="ann"),
        Subject(user="x@y", is_anonymous=True),
        Subject(user="z@y", is_anonymous=True),
        None,
    ]:
        observer.started(Told(subject=subject))
        observer.ended(Told(subject=subject), result_of(), None)
    assert {
        key: value for key, value in metrics(registry).items() if "transfers_total" in key[0]
    } == {
        ("ftpdata_transfers_total", "sent", "clean", "ann"): 1.0,
        ("ftpdata_transfers_total", "sent", "clean", "anonymous"): 2.0,
        ("ftpdata_transfers_total", "sent", "clean", ""): 1.0,
    }


def test_one_observer_for_each_registry() -> None:
    """A second one would count the same twice."""

    registry = CollectorRegistry()
    PrometheusObserver(registry=registry)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        PrometheusObserver(registry=registry)


# OpenTelemetry


def test_a_span_for_each_transfer() -> None:
    """A span ends with its transfer, in any order."""

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    observer = OpenTelemetryObserver(provider.get_tracer("test"))
    subject = Subject(command="RETR", name="/f", user="ann")
    good = Told(subject=subject, peer=HostPort("192.0.2.1", 4000))
    bad = Told(number=8)
    observer.started(good)
    observer.started(bad)
    observer.ended(bad, result_of(End.RESET), error_for_end(End.RESET))
    observer.ended(good, result_of(), None)
    failed, passed = exporter.get_finished_spans()
    assert (passed.name, failed.name) == ("RETR", "ftp sent")
    assert dict(passed.attributes or {}) == {
        "network.protocol.name": "ftp",
        "network.peer.address": "192.0.2.1",
        "network.peer.port": 4000,
        "file.path": "/f",
        "user.name": "ann",
        "ftpdata.command": "RETR",
        "ftpdata.direction": "sent",
        "ftpdata.end": "clean",
        "ftpdata.reply_code": 226,
        "ftpdata.bytes": 10,
        "ftpdata.file_bytes": 9,
        "ftpdata.offset": 0,
    }
    assert passed.status.status_code is StatusCode.UNSET
    assert failed.status.status_code is StatusCode.ERROR
    assert (failed.attributes or {})["error.type"] == "ConnectionReset"
    provider.shutdown()


async def test_all_of_them_agree_over_real_transfers(tmp_path: Path) -> None:
    """The metrics count what the transfers returned."""

    registry, recorder = CollectorRegistry(), Recorder()
    (tmp_path / "file").write_bytes(SMALL)
    group = ObserverGroup(recorder, PrometheusObserver(registry=registry))
    for _ in range(5):
        async with accepted(group) as (endpoint, peer), peer_task(receive_all(peer)) as received:
            await send_file(endpoint, tmp_path / "file")
            await received
    async with accepted(group) as (endpoint, _):
        work = asyncio.ensure_future(send_file(endpoint, tmp_path / "nothing"))
        with pytest.raises(Exception, match="No such file"):
            await work
    read = metrics(registry)
    assert read["ftpdata_transfers_total", "sent", "clean"] == 5
    assert read["ftpdata_transfers_total", "sent", "producer_failed"] == 1
    assert read["ftpdata_file_bytes_total", "sent"] == 5 * len(SMALL)
    assert read["ftpdata_transfers_active", "sent"] == 0
    assert len(recorder.results) == 6
