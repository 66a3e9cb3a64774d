"""The examples with an object store run unchanged, as a user runs them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ftplib
import functools
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import attrs
import obstore
import pytest
from anyio.abc import SocketAttribute
from obstore.store import MemoryStore

from examples import camera_gateway, minimal_server, mirror_to_store
from examples.client.client import Server
from ftpdata import (
    MlsxFormatter,
    TransferResult,
    list_directory,
    send_file,
    send_listing,
    send_stream,
)
from ftpdata.files import opened_beneath
from ftpdata.observers import PublishedObserver, Transfer
from ftpdata.testing import reset
from tests.harness.obstores import start_runtime
from tests.harness.waiting import until
from tests.test_examples import CONTENT, ENVIRONMENT, running, served

__all__ = ["served"]


@pytest.fixture(scope="module", autouse=True)
def runtime() -> None:
    """Let no test be the first to use obstore."""

    start_runtime()


def objects(store: MemoryStore) -> dict[str, bytes]:
    """Return all that is in a store."""

    return {
        meta["path"]: bytes(obstore.get(store, meta["path"]).bytes())
        for page in obstore.list(store)
        for meta in page
    }


# Cameras


@attrs.define
class Served:
    """A gateway that runs, and what it has told of."""

    host: str
    port: int
    store: MemoryStore
    told: list[tuple[str | None, str | None, int, str | None]] = attrs.field(factory=list)

    async def note(self, transfer: Transfer, result: TransferResult) -> None:
        """Note an event."""

        assert transfer.subject is not None
        subject = transfer.subject
        self.told.append((subject.user, subject.name, result.file_bytes, result.digest))

    def login(self) -> ftplib.FTP:
        """Connect a camera."""

        ftp = ftplib.FTP(timeout=60)
        ftp.connect(self.host, self.port)
        ftp.login("gate", "p:w")
        return ftp


@contextlib.asynccontextmanager
async def gateway() -> AsyncIterator[Served]:
    """Serve cameras into a store in memory."""

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        port = listener.extra(SocketAttribute.local_port)
        running = Served("127.0.0.1", port, MemoryStore())
        observer = PublishedObserver(running.note, tasks=tasks)
        shared = camera_gateway.Gateway(running.store, {"gate": "p:w"}, observer)
        handle = functools.partial(camera_gateway.serve, shared, anyio.Semaphore(10))
        tasks.start_soon(listener.serve, handle)
        yield running
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("is_passive", [True, False])
async def test_a_camera_uploads_pictures(is_passive: bool) -> None:
    """It makes each directory, says TYPE A, uses absolute paths, and PORT or PASV."""

    def upload(running: Served) -> None:
        with running.login() as ftp:
            ftp.set_pasv(is_passive)
            ftp.cwd("/")
            for directory in ("/2026", "/2026/11", "30"):
                ftp.mkd(directory)
                ftp.cwd(directory)
            assert ftp.pwd() == "/2026/11/30"
            # ftplib makes a text of what is sent so; cameras do not.
            ftp.sendcmd("TYPE A")
            with ftp.transfercmd("STOR 1.jpg") as data:
                data.sendall(CONTENT)
            assert ftp.voidresp().startswith("226")
            ftp.storbinary("STOR /elsewhere/./2.jpg", io.BytesIO(b"small"))
            ftp.storbinary("STOR ../../../../../etc/3.jpg", io.BytesIO(b""))
            assert ftp.size("/elsewhere/2.jpg") == 5
            ftp.delete("/etc/3.jpg")
            for refused in ("RETR 1.jpg", "DELE /etc/3.jpg", "STOR 1.jpg", "STOR x\0"):
                with pytest.raises(ftplib.Error, match=r"^[45]\d\d "):
                    ftp.sendcmd(refused)

    async with gateway() as running:
        await asyncio.to_thread(upload, running)
        await until(lambda: len(running.told) == 3)
    assert objects(running.store) == {
        "gate/2026/11/30/1.jpg": CONTENT,
        "gate/elsewhere/2.jpg": b"small",
    }
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert ("gate", "gate/2026/11/30/1.jpg", len(CONTENT), digest) in running.told


@pytest.mark.parametrize("how", ["leaves", "cut"])
async def test_a_camera_that_hangs_up(how: str) -> None:
    """Its picture is stored if all of it came, and told; otherwise there is nothing."""

    def upload(running: Served) -> None:
        ftp = running.login()
        data = ftp.transfercmd("STOR /1.jpg")
        data.sendall(CONTENT)
        if how == "leaves":
            data.close()
            assert ftp.sock is not None
            reset(ftp.sock)
            ftp.close()
        else:
            reset(data)
            with pytest.raises(ftplib.error_temp, match=r"^426 "):
                ftp.voidresp()
            ftp.quit()
            ftp.close()

    async with gateway() as running:
        await asyncio.to_thread(upload, running)
        if how == "leaves":
            await until(lambda: bool(running.told))
    assert objects(running.store) == ({"gate/1.jpg": CONTENT} if how == "leaves" else {})
    assert len(running.told) == (how == "leaves")


async def test_who_is_no_camera_stores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password is refused, and a data connection goes to the camera alone."""

    def intrude(running: Served) -> None:
        with ftplib.FTP(timeout=60) as ftp:
            ftp.connect(running.host, running.port)
            for user, password in (("gate", "wrong"), ("other", "p:w"), ("", "")):
                with pytest.raises(ftplib.error_perm, match=r"^530 "):
                    ftp.login(user, password)
            with pytest.raises(ftplib.error_perm, match=r"^530 "):
                ftp.sendcmd("STOR 1.jpg")
        with running.login() as ftp:
            with pytest.raises(ftplib.error_temp, match=r"^425 "):
                ftp.sendcmd("PORT 192,0,2,1,100,1")
            with pytest.raises(ftplib.error_temp, match=r"^425 "):
                ftp.sendcmd("STOR 1.jpg")

    monkeypatch.setattr(camera_gateway, "GUESS_DELAY", 0)
    async with gateway() as running:
        await asyncio.to_thread(intrude, running)
    assert (objects(running.store), running.told) == ({}, [])


def test_the_gateway_prints_an_event() -> None:
    """It is a line of JSON, for each picture."""

    command = [sys.executable, "-m", "examples.camera_gateway", "memory://", "--port", "0"]
    command += ["--user", "gate:p"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            host, _, port = process.stdout.readline().split()[-1].rpartition(":")
            with ftplib.FTP(timeout=60) as ftp:
                ftp.connect(host, int(port))
                ftp.login("gate", "p")
                ftp.storbinary("STOR /1.jpg", io.BytesIO(CONTENT))
                event = json.loads(process.stdout.readline())
        finally:
            process.terminate()
    assert process.returncode == 0
    assert event == {
        "camera": "gate",
        "object": "gate/1.jpg",
        "bytes": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }


# The mirror


def files_of(directory: Path) -> dict[str, bytes]:
    """Return what all files below a directory hold."""

    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_mirror_to_a_store(served: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tree is copied; the second time, only changed files are."""

    store, old = MemoryStore(), 1_700_000_000
    for path in served.rglob("*"):
        os.utime(path, (old, old))
    with running("server", str(served), "--port", "0", "--user", "u:p") as (host, port):
        for content in (b"one\ntwo\n", b"changed"):
            (served / "below" / "text").write_bytes(content)
            os.utime(served / "below" / "text", (old, old))
            server = Server(host, port=int(port), user="u", password="p")
            assert asyncio.run(mirror_to_store.main(server, "/", store)) == 0
            assert objects(store) == files_of(served)
    copied = [line for line in capsys.readouterr().out.splitlines() if "copied" in line]
    assert copied == ["3 files copied", "1 files copied"]


def test_the_mirror_is_a_program(served: Path) -> None:
    """It runs from the command line; a store in memory ends with it."""

    with running("server", str(served), "--port", "0", "--user", "u:p") as (host, port):
        command = [sys.executable, "-m", "examples.mirror_to_store", f"ftp://u:p@{host}:{port}/"]
        done = subprocess.run(
            [*command, "memory://", "--connections", "2"],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=250,
            check=True,
        )
    assert done.stdout.splitlines()[-1] == "3 files copied"
    assert done.stderr == ""


class CuttingSession(minimal_server.Session):
    """A session with MLSD, MDTM and REST, which cuts downloads.

    Attributes:
        cuts: How many downloads are still to be cut.
        changes: Whether a file changes when its download is cut.
        offsets: Where downloads have begun.
    """

    cuts = 0
    changes = False
    version = 20261130000000
    offsets: list[int]
    offset = 0

    async def answer(self, command: str, argument: str) -> str:
        """Carry out a command."""

        kind = CuttingSession
        match command:
            case "MLSD":
                async with opened_beneath(self.root, argument, is_directory=True) as listed:
                    lines = list_directory(listed, MlsxFormatter())
                    return await self.transfer(send_listing, lines=lines)
            case "MDTM":
                return f"213 {kind.version}"
            case "REST":
                self.offset = int(argument)
                return "350 Go on."
            case "RETR":
                offset, self.offset = self.offset, 0
                kind.offsets.append(offset)
                if kind.cuts and argument == "/file.bin":
                    kind.cuts -= 1
                    kind.version += kind.changes
                    return await self.transfer(send_stream, chunks=cut(offset))
                async with opened_beneath(self.root, argument) as file:
                    return await self.transfer(send_file, file=file, offset=offset)
            case _:
                return await super().answer(command, argument)


async def cut(offset: int) -> AsyncIterator[bytes]:
    """Yield some bytes of a file, then fail."""

    yield CONTENT[offset : offset + 100_000]
    await asyncio.sleep(0.05)
    raise OSError("the disk is gone")


@contextlib.asynccontextmanager
async def cutting_server(
    directory: Path, monkeypatch: pytest.MonkeyPatch, cuts: int, *, changes: bool = False
) -> AsyncIterator[Server]:
    """Serve by `CuttingSession`s."""

    monkeypatch.setattr(minimal_server, "Session", CuttingSession)
    monkeypatch.setattr(CuttingSession, "cuts", cuts)
    monkeypatch.setattr(CuttingSession, "changes", changes)
    monkeypatch.setattr(CuttingSession, "offsets", [], raising=False)
    options = argparse.Namespace(directory=str(directory), user="u:p", certificate=None)
    handle = functools.partial(minimal_server.serve, options, anyio.Semaphore(10))
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as sessions,
    ):
        sessions.start_soon(listener.serve, handle)
        port = listener.extra(SocketAttribute.local_port)
        yield Server("127.0.0.1", port=port, user="u", password="p")
        sessions.cancel_scope.cancel()


@pytest.fixture
def one_file(tmp_path: Path) -> Path:
    """Return a directory with one file."""

    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "file.bin").write_bytes(CONTENT)
    return tmp_path / "one"


async def test_a_download_that_is_cut_goes_on(
    one_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last byte that came; the object is whole."""

    store = MemoryStore()
    async with cutting_server(one_file, monkeypatch, cuts=2) as server:
        assert await mirror_to_store.main(server, "/", store, connections=1) == 0
    assert objects(store) == {"file.bin": CONTENT}
    first, *others = CuttingSession.offsets
    assert first == 0
    assert len(others) == 2
    assert sorted(others) == others
    assert others[-1] > 0


async def test_a_file_that_changes_meanwhile_is_not_mixed(
    one_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is reported, and there is no object."""

    store = MemoryStore()
    async with cutting_server(one_file, monkeypatch, cuts=1, changes=True) as server:
        assert await mirror_to_store.main(server, "/", store) == 1
    assert objects(store) == {}
    assert "the file was changed" in capsys.readouterr().err


async def test_a_file_that_is_cut_again_and_again_is_reported(
    one_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest of the tree is copied, and nothing half is left."""

    monkeypatch.setattr(mirror_to_store, "TRIES", 1)
    store = MemoryStore()
    await asyncio.to_thread((one_file / "other").write_bytes, b"other")
    async with cutting_server(one_file, monkeypatch, cuts=1) as server:
        assert await mirror_to_store.main(server, "/", store, connections=1) == 1
    assert objects(store) == {"other": b"other"}
    assert capsys.readouterr().err.startswith("'/file.bin': ")


async def test_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """It is reported like any other failure."""

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert await mirror_to_store.main(Server("127.0.0.1", port=port), "/", MemoryStore()) == 1
    assert "'/':" in capsys.readouterr().err
