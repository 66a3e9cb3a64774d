"""An event after an upload has got its name: awaited or spawned, and without a say in it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from ftpdata import End, FTPDataError, TransferResult, receive_file
from ftpdata.observers import ObserverGroup, PublishedObserver, Transfer
from ftpdata.testing import reset
from tests.harness.connections import peer_task, send_all
from tests.harness.waiting import until
from tests.observers.recorder import Recorder
from tests.observers.test_events import LARGE, SMALL, accepted


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_it_is_awaited_once_the_file_is_there(data: bytes, tmp_path: Path) -> None:
    """The transfer ends after it."""

    seen: list[tuple[str | None, bool, TransferResult]] = []

    async def act(transfer: Transfer, result: TransferResult) -> None:
        is_there = await anyio.to_thread.run_sync((tmp_path / "file").exists)
        seen.append((transfer.path, is_there, result))

    async with (
        accepted(PublishedObserver(act)) as (endpoint, peer),
        peer_task(send_all(peer, data)),
    ):
        result = await receive_file(endpoint, tmp_path / "file")
    assert seen == [(str(tmp_path / "file"), True, result)]


async def test_what_is_not_published_is_not_an_event(tmp_path: Path) -> None:
    """An upload that was cut has no name."""

    async def act(*_: object) -> None:
        raise AssertionError("published")

    async with accepted(PublishedObserver(act)) as (endpoint, peer):
        reset(peer)
        with pytest.raises(FTPDataError):
            await receive_file(endpoint, tmp_path / "file")


@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_a_callback_that_fails_or_hangs_changes_nothing(
    how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, others are told, and the file stays."""

    async def act(*_: object) -> None:
        if how == "fails":
            raise ZeroDivisionError("index")
        await asyncio.sleep(3600)

    told: list[str] = []

    async def note(*_: object) -> None:
        told.append("told")

    bad, good = PublishedObserver(act), PublishedObserver(note)
    bad.publish_timeout = 0.05
    group = ObserverGroup(bad, Recorder(), good)
    assert group.wants_published
    async with accepted(group) as (endpoint, peer), peer_task(send_all(peer, SMALL)):
        result = await receive_file(endpoint, tmp_path / "file")
    assert result.end is End.CLEAN
    assert (tmp_path / "file").read_bytes() == SMALL
    assert told == ["told"]
    assert "PublishedObserver has failed in published" in caplog.text


async def test_a_cancellation_meanwhile_does_not_make_it_undone(tmp_path: Path) -> None:
    """The file is there, and the observer is told so."""

    begun, recorder = asyncio.Event(), Recorder()

    async def act(*_: object) -> None:
        begun.set()
        await asyncio.sleep(3600)

    group = ObserverGroup(recorder, PublishedObserver(act))
    async with accepted(group) as (endpoint, peer), peer_task(send_all(peer, SMALL)):
        work = asyncio.ensure_future(receive_file(endpoint, tmp_path / "file"))
        await begun.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
    assert recorder.results[0].end is End.CLEAN
    assert (tmp_path / "file").read_bytes() == SMALL


async def test_in_a_task_group_the_transfer_does_not_wait(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A bounded number runs at a time; one that fails leaves the others alone."""

    go, running, most = asyncio.Event(), 0, 0

    async def act(transfer: Transfer, _: TransferResult) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go.wait()
        running -= 1
        if transfer.path is not None and transfer.path.endswith("0"):
            raise ZeroDivisionError

    async with anyio.create_task_group() as tasks:
        observer = PublishedObserver(act, tasks=tasks, limit=2)

        async def upload(number: int) -> TransferResult:
            async with accepted(observer) as (endpoint, peer), peer_task(send_all(peer, SMALL)):
                return await receive_file(endpoint, tmp_path / str(number))

        first = [await upload(number) for number in range(2)]
        assert [result.end for result in first] == [End.CLEAN] * 2
        await until(lambda: running == 2)
        third = asyncio.ensure_future(upload(2))
        await until((tmp_path / "2").exists)
        assert not third.done()
        go.set()
        assert (await third).end is End.CLEAN
    assert (running, most) == (0, 2)
    assert "PublishedObserver has failed in published" in caplog.text
