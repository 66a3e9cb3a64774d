"""Observers that do what nobody expects change no transfer, and hide nothing."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import attrs
import pytest

from ftpdata import (
    FileTarget,
    FTPDataError,
    ReusableConnection,
    receive_file,
    receive_stream,
    relay,
)
from ftpdata.errors import LocalError
from ftpdata.observers import (
    Observer,
    ObserverGroup,
    PublishedObserver,
    QueuedObserver,
    Transfer,
    Upload,
)
from ftpdata.outcome import End, TransferResult
from ftpdata.testing import sweep
from tests.harness.connections import peer_task, receive_all, send_all
from tests.harness.waiting import until
from tests.observers.recorder import Recorder
from tests.observers.test_events import LARGE, SMALL, accepted, consume
from tests.observers.test_veto import names


def failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged of observers."""

    return [each.getMessage() for each in caplog.records if each.name == "ftpdata.observers"]


@attrs.define
class Equal(Observer):
    """Not hashable, and equal to every other of its kind."""

    def started(self, transfer: Transfer) -> None:
        """Fail."""

        raise RuntimeError

    def ended(self, *_: object) -> None:
        """Fail."""

        raise RuntimeError


async def test_an_observer_need_not_be_hashable(caplog: pytest.LogCaptureFixture) -> None:
    """Each of two that are equal is logged once."""

    observers = ObserverGroup(Equal(), Equal())
    async with accepted(observers) as (endpoint, peer), peer_task(send_all(peer, SMALL)):
        result = await consume(receive_stream(endpoint))
    assert result.end is End.CLEAN
    assert failures(caplog) == [
        "Equal has failed in started; its later failures are not logged"
    ] * 2


async def test_a_cancelled_error_that_an_observer_raises_cancels_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is of a task that the observer has asked about."""

    class Asking(Observer):
        def started(self, transfer: Transfer) -> None:
            raise asyncio.CancelledError

    async with accepted(Asking()) as (endpoint, peer), peer_task(send_all(peer, SMALL)):
        result = await consume(receive_stream(endpoint))
    assert result.end is End.CLEAN
    assert len(failures(caplog)) == 1


async def test_a_judge_whose_own_task_is_cancelled_has_not_decided(tmp_path: Path) -> None:
    """The transfer ends with an error, as it does after any other one of the judge's."""

    class Judge(Observer):
        async def before_publish(self, transfer: Transfer, upload: Upload) -> None:
            raise asyncio.CancelledError

    async with accepted(Judge()) as (endpoint, peer), peer_task(send_all(peer, LARGE)):
        with pytest.raises(LocalError, match="could not decide") as caught:
            await receive_file(endpoint, tmp_path / "file")
    assert caught.value.end is End.VETOED
    assert names(tmp_path) == []


async def test_an_act_whose_own_task_is_cancelled_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is there."""

    class Acting(Observer):
        async def published(self, transfer: Transfer, result: TransferResult) -> None:
            raise asyncio.CancelledError

    async with accepted(Acting()) as (endpoint, peer), peer_task(send_all(peer, LARGE)):
        result = await receive_file(endpoint, tmp_path / "file")
    assert result.end is End.CLEAN
    assert len(failures(caplog)) == 1


class Closing(Observer):
    """Closes what it reads, as the context of a file does."""

    def __init__(self, other: Path) -> None:
        self.seen: list[bytes] = []
        self.opened: list[int] = []
        self._other = other

    async def before_publish(self, transfer: Transfer, upload: Upload) -> None:
        """Read it."""

        await anyio.to_thread.run_sync(self._look, upload)

    def _look(self, upload: Upload) -> None:
        with os.fdopen(upload.fd, "rb") as file:
            self.seen.append(file.read())
        # It takes the number that has become free.
        self.opened.append(os.open(self._other, os.O_RDONLY))


@pytest.mark.parametrize("is_group", [False, True])
async def test_a_judge_may_close_what_it_reads(is_group: bool, tmp_path: Path) -> None:
    """What has the number of the descriptor by then is not closed."""

    other = tmp_path / "other"
    other.write_bytes(b"other")
    first, second = Closing(other), Closing(other)
    observer = ObserverGroup(first, second) if is_group else first
    async with accepted(observer) as (endpoint, peer), peer_task(send_all(peer, LARGE)):
        result = await receive_file(endpoint, tmp_path / "file")
    assert result.end is End.CLEAN
    for judge in (first, second) if is_group else (first,):
        assert judge.seen == [LARGE]
        for fd in judge.opened:
            assert os.read(fd, 10) == b"other"
            os.close(fd)


async def test_a_judge_that_times_out_by_itself_says_so(tmp_path: Path) -> None:
    """It is not the patience of the transfer that was too short."""

    class Judge(Observer):
        async def before_publish(self, transfer: Transfer, upload: Upload) -> None:
            raise TimeoutError("the scanner does not answer")

    async with accepted(Judge()) as (endpoint, peer), peer_task(send_all(peer, LARGE)):
        with pytest.raises(LocalError, match="the scanner does not answer"):
            await receive_file(endpoint, tmp_path / "file")


async def test_a_cancelled_judgement_leaves_no_descriptor(tmp_path: Path) -> None:
    """At whatever await it is cancelled."""

    async def judge() -> None:
        target = await FileTarget.open(tmp_path / "file")
        try:
            await target.write(b"x")
            os.close(await target.open_to_read())
        finally:
            await target.discard()

    await sweep(judge, directories=[tmp_path])


async def test_what_waits_for_transfers_cannot_be_queued() -> None:
    """A judge that is never asked would let everything pass."""

    class Judge(Observer):
        async def before_publish(self, transfer: Transfer, upload: Upload) -> None:
            raise AssertionError

    async def act(*_: object) -> None:
        raise AssertionError

    for observer in (Judge(), ObserverGroup(Judge()), PublishedObserver(act)):
        with pytest.raises(ValueError, match="expected an observer without before_publish"):
            QueuedObserver(observer)


async def test_a_task_group_that_is_over_does_not_use_up_the_limit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The second upload does not wait for a call that never began."""

    async def act(*_: object) -> None:
        raise AssertionError

    async with anyio.create_task_group() as tasks:
        observer = PublishedObserver(act, tasks=tasks, limit=1)
    async with asyncio.timeout(observer.publish_timeout / 2):
        for name in ("first", "second"):
            async with accepted(observer) as (endpoint, peer), peer_task(send_all(peer, SMALL)):
                await receive_file(endpoint, tmp_path / name)
    assert len(failures(caplog)) == 1


@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("opens_itself", [False, True])
async def test_an_upload_that_has_its_name_is_reported_as_clean(
    data: bytes, opens_itself: bool, tmp_path: Path
) -> None:
    """Wherever it was cancelled: what observers are told is what is in the directory."""

    told: list[tuple[Recorder, Path]] = []

    async def upload() -> None:
        recorder, file = Recorder(), tmp_path / f"{len(told)}"
        told.append((recorder, file))
        async with accepted(recorder) as (endpoint, peer), peer_task(send_all(peer, data)):
            connection = endpoint if opens_itself else await endpoint.open(keep=True)
            await receive_file(connection, file)

    await sweep(upload, directories=[tmp_path], may_leave=[f"file {tmp_path}/[0-9]*"])
    assert len(told) > 1
    for recorder, file in told:
        assert recorder.events.count("started") == recorder.events.count("ended")
        ends = [result.end for result in recorder.results]
        assert (ends == [End.CLEAN]) == file.exists()


@pytest.mark.parametrize("turns", range(4))
async def test_a_stream_whose_closing_is_cancelled_is_reported(turns: int) -> None:
    """A second cancellation does not conceal the end."""

    recorder = Recorder()
    async with accepted(recorder) as (endpoint, peer), peer_task(send_all(peer, LARGE)):
        stream = receive_stream(endpoint)
        await anext(stream)
        work = asyncio.ensure_future(stream.aclose())
        for _ in range(turns):
            await asyncio.sleep(0)
        work.cancel()
        await asyncio.wait((work,))
        await stream.aclose()
    assert recorder.events.count("started") == recorder.events.count("ended") == 1
    assert recorder.results[0].end is End.ABORTED


@pytest.mark.parametrize("turns", range(4))
async def test_a_stream_that_is_cancelled_twice_is_reported(turns: int) -> None:
    """Nor does it where the loop waits for data."""

    recorder = Recorder()
    async with accepted(recorder) as (endpoint, _):
        stream = receive_stream(endpoint)
        work = asyncio.ensure_future(anext(stream))
        await until(lambda: bool(recorder.events))
        for _ in range(20):
            await asyncio.sleep(0)
        work.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        work.cancel()
        await asyncio.wait((work,))
        assert work.cancelled()
    assert recorder.events == ["started", "ended"]
    assert recorder.results[0].end is End.CANCELLED


async def test_a_relay_that_is_refused_is_reported_to_its_observer() -> None:
    """To that of the source, if the destination has none."""

    recorder = Recorder()
    async with accepted(recorder) as (incoming, _), accepted(None) as (outgoing, _):
        with pytest.raises(FTPDataError):
            await relay(incoming, outgoing, digest="no such digest")
    assert recorder.events == ["started", "ended"]


async def test_a_relay_takes_a_connection_for_several_files() -> None:
    """As every other transfer does."""

    async with (
        accepted(None) as (incoming, sender),
        accepted(None) as (outgoing, receiver),
        peer_task(send_all(sender, SMALL)),
        peer_task(receive_all(receiver)) as received,
    ):
        to: Any = ReusableConnection(await outgoing.open(keep=True))
        await relay(incoming, to)
        assert await received == SMALL
