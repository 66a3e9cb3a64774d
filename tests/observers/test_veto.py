"""An observer may refuse a whole upload before anybody sees it, and nothing else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from ftpdata import (
    Deadlines,
    FileTarget,
    FTPDataError,
    TransferResult,
    WriteMode,
    _descriptors,
    receive_file,
)
from ftpdata.errors import BadArgument, FileBusy, LocalError, UploadVetoed
from ftpdata.files.parts import PartOwner, PartStore
from ftpdata.observers import ObserverGroup, Transfer, Upload, _telling
from ftpdata.observers._telling import lent
from ftpdata.outcome import End
from tests.harness.connections import peer_task, send_all
from tests.harness.seams import Seams
from tests.harness.waiting import until
from tests.observers.recorder import Recorder
from tests.observers.test_events import LARGE, SMALL, accepted


class Judge(Recorder):
    """Reads every upload, and does what it is told."""

    def __init__(self, decide: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__()
        self.seen: list[bytes] = []
        self.names: list[list[str]] = []
        self.directory: Path | None = None
        self._decide = decide

    async def before_publish(self, transfer: Transfer, upload: Upload) -> None:
        """Look, then decide."""

        assert transfer in self.transfers
        await anyio.to_thread.run_sync(self._look, upload)
        if self._decide is not None:
            await self._decide()

    def _look(self, upload: Upload) -> None:
        assert not os.get_inheritable(upload.fd)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(upload.fd, b"x")
        self.seen.append(os.read(upload.fd, upload.size + 1))
        if self.directory is not None:
            self.names.append([
                name for name in names(self.directory) if not name.startswith(".")
            ])


def names(directory: Path) -> list[str]:
    """Return all names in a directory."""

    return [path.name for path in directory.iterdir()]


async def veto() -> None:
    """Find a virus."""

    raise UploadVetoed("Eicar", reply_code=552, reply_text="The file has a virus")


async def upload(judge: Recorder, data: bytes, to: object, **options: Any) -> TransferResult:
    """Receive an upload in the presence of a judge."""

    async with accepted(judge) as (endpoint, peer), peer_task(send_all(peer, data)):
        return await receive_file(endpoint, to, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("digest", [None, "crc32"])
@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
async def test_an_upload_is_shown_whole_before_it_has_its_name(
    data: bytes, digest: str | None, tmp_path: Path
) -> None:
    """Whichever way it came, the judge reads all of it, and nobody else sees it."""

    judge = Judge()
    judge.directory = tmp_path
    result = await upload(judge, data, tmp_path / "file", digest=digest)
    assert result.end is End.CLEAN
    assert judge.seen == [data]
    assert judge.names == [[]]
    assert (tmp_path / "file").read_bytes() == data


@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
async def test_a_veto_leaves_the_old_file_and_nothing_else(data: bytes, tmp_path: Path) -> None:
    """The reply is the veto's."""

    (tmp_path / "file").write_bytes(b"old")
    judge = Judge(veto)
    with pytest.raises(UploadVetoed) as caught:
        await upload(judge, data, tmp_path / "file")
    assert caught.value.reply == "552 The file has a virus."
    assert caught.value.result is not None
    assert (caught.value.result.end, caught.value.result.bytes) == (End.VETOED, len(data))
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]
    assert [event for event in judge.events if event != "progressed"] == ["started", "ended"]
    assert judge.results == [caught.value.result]


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[PartOwner]:
    """Owns the parts of a directory."""

    with PartStore(tmp_path) as store:
        yield store.owner("ann")


async def test_a_veto_leaves_no_part(owner: PartOwner, tmp_path: Path) -> None:
    """What is refused must not be resumed."""

    with pytest.raises(UploadVetoed):
        await upload(Judge(veto), LARGE, tmp_path / "file", resume=owner)
    assert names(tmp_path) == []


async def test_an_upload_that_goes_on_with_a_part_is_shown_whole(
    owner: PartOwner, tmp_path: Path
) -> None:
    """The judge sees what came before, too."""

    half = len(LARGE) // 2
    first = Recorder()
    async with accepted(first) as (endpoint, peer):
        work = asyncio.ensure_future(receive_file(endpoint, tmp_path / "file", resume=owner))
        async with peer_task(asyncio.get_running_loop().sock_sendall(peer, LARGE[:half])) as sent:
            await sent
            await until(lambda: bool(first.transfers and first.transfers[0].file_bytes))
        endpoint.abort()
        with pytest.raises(FTPDataError):
            await work
    (part,) = names(tmp_path)
    offset = (tmp_path / part).stat().st_size
    assert 0 < offset <= half
    judge = Judge()
    await upload(judge, LARGE[offset:], tmp_path / "file", offset=offset, resume=owner)
    assert judge.seen == [LARGE]
    assert (tmp_path / "file").read_bytes() == LARGE


async def test_a_spooled_upload_is_shown_whole(tmp_path: Path) -> None:
    """A file without a name can be read as well."""

    directory = tmp_path / "sticky"
    directory.mkdir()
    target = await FileTarget.open(directory / "file")
    judge = Judge()
    await upload(judge, LARGE, target)
    assert judge.seen == [LARGE]


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_an_observer_that_fails_to_decide_keeps_the_upload_hidden(
    data: bytes, tmp_path: Path
) -> None:
    """A scanner that is broken lets nothing pass; the client may try again."""

    async def fail() -> None:
        raise ZeroDivisionError("the scanner is gone")

    with pytest.raises(LocalError) as caught:
        await upload(Judge(fail), data, tmp_path / "file")
    assert caught.value.reply_code == 451
    assert "scanner" not in caught.value.reply
    assert names(tmp_path) == []


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_an_observer_that_decides_too_late_keeps_the_upload_hidden(
    data: bytes, tmp_path: Path
) -> None:
    """So does one that hangs."""

    judge = Judge(lambda: asyncio.sleep(3600))
    judge.publish_timeout = 0.05
    with pytest.raises(LocalError, match=r"has not decided in 0\.05 s") as caught:
        await upload(judge, data, tmp_path / "file")
    assert caught.value.reply_code == 451
    assert names(tmp_path) == []


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_a_transfer_can_be_cancelled_while_it_is_judged(
    data: bytes, tmp_path: Path
) -> None:
    """Nothing is left of the upload."""

    asked = asyncio.Event()

    async def hang() -> None:
        asked.set()
        await asyncio.sleep(3600)

    judge = Judge(hang)
    work = asyncio.ensure_future(upload(judge, data, tmp_path / "file"))
    await asked.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert names(tmp_path) == []
    assert judge.results[0].end is End.CANCELLED


async def test_uploads_that_everybody_sees_are_refused_at_the_call(tmp_path: Path) -> None:
    """There would be nothing to veto."""

    file = tmp_path / "file"
    file.write_bytes(b"old")
    in_place = await FileTarget.open(file, mode=WriteMode.IN_PLACE)
    with (tmp_path / "other").open("wb") as opened:
        refused: list[tuple[object, dict[str, Any]]] = [
            (file, {"append": True}),
            (file, {"offset": 3}),
            (in_place, {}),
            (opened, {}),
        ]
        for to, options in refused:
            judge = Judge()
            with pytest.raises(BadArgument, match="since it may be vetoed"):
                await upload(judge, SMALL, to, **options)
            assert judge.seen == []
    assert file.read_bytes() == b"old"


async def test_a_resumption_without_a_part_is_refused(
    owner: PartOwner, tmp_path: Path
) -> None:
    """It would write into the file."""

    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(FileBusy):
        await upload(Judge(), SMALL, tmp_path / "file", offset=3, resume=owner)
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_lent_descriptor_whose_close_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was written through it, so nothing can be lost: the upload goes on."""

    path = tmp_path / "file"
    path.write_bytes(SMALL)
    fd = os.open(path, os.O_RDONLY)
    failed = Seams(monkeypatch, _descriptors, _telling).fail("close", 1)
    with lent(fd):
        pass
    assert failed


async def test_a_group_asks_those_that_want_to_be_asked(tmp_path: Path) -> None:
    """Each of them reads from the first byte."""

    first, recorder, second = Judge(), Recorder(), Judge(veto)
    group = ObserverGroup(first, recorder, second)
    assert group.wants_uploads
    assert group.publish_timeout == first.publish_timeout + second.publish_timeout
    with pytest.raises(UploadVetoed):
        async with accepted(group) as (endpoint, peer), peer_task(send_all(peer, SMALL)):
            await receive_file(endpoint, tmp_path / "file", deadlines=Deadlines())
    assert first.seen == second.seen == [SMALL]
    assert not ObserverGroup(recorder).wants_uploads
