"""A real S3, SeaweedFS's: uploads through ftpdata leave nothing behind, however they end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import obstore
import pytest
from obstore.store import S3Store

from ftpdata import FTPDataError, receive_file, send_stream
from ftpdata.objectstore import ObjectTarget, object_chunks, object_entries, object_status
from ftpdata.testing import reset
from tests.harness.connections import peer_task, receive_all, send_all
from tests.interop.served import missing
from tests.observers.test_events import accepted

pytestmark = pytest.mark.interop

PATIENCE = 60.0
PART = 5 * 1024 * 1024
"""The smallest part that S3 takes."""

ATTEMPTS = 40
"""Uploads that are cancelled, and as many that are reset."""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run SeaweedFS; give the address of its S3."""

    weed = Path(sys.executable).with_name("weed")
    if not weed.exists():
        missing("weed")
    directory = tmp_path_factory.mktemp("weed")
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(10)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        ports = [sock.getsockname()[1] for sock in sockets]
    s3 = ports[0]
    options = (
        *("s3.port", "s3.port.grpc", "s3.port.iceberg", "s3.port.lance"),
        *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
        *("filer.port", "filer.port.grpc"),
    )
    command = [
        *(str(weed), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={directory}"),
        *("-s3", "-volume.max=50", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"),
        *(f"-{option}={port}" for option, port in zip(options, ports, strict=True)),
    ]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            until = time.monotonic() + PATIENCE
            url = f"http://127.0.0.1:{s3}"
            while True:
                assert process.poll() is None, (directory / "log").read_text()
                try:
                    store_at(url).put("ready", b"")
                    break
                except Exception:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.2)
            yield url
        finally:
            process.kill()
            process.wait()


def store_at(url: str) -> S3Store:
    """Open the bucket of the tests."""

    with contextlib.suppress(OSError):
        request = urllib.request.Request(f"{url}/bucket", method="PUT")
        urllib.request.urlopen(request, timeout=10).close()
    return S3Store(
        "bucket",
        endpoint=url,
        region="us-east-1",
        access_key_id="any",
        secret_access_key="any",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


def multiparts(url: str) -> list[str]:
    """Return the uploads that were begun and neither finished nor aborted."""

    with urllib.request.urlopen(f"{url}/bucket?uploads", timeout=10) as answer:
        tree = ET.fromstring(answer.read())
    return [
        each.text or ""
        for each in tree.iter()
        if each.tag.endswith("}Key") or each.tag == "Key"
    ]


DATA = random.Random(5).randbytes(3 * PART + 12345)


async def test_an_object_goes_up_and_down(endpoint: str) -> None:
    """In parts; a download begins where it is to, and is never of another version."""

    store = store_at(endpoint)
    async with accepted(None) as (to, peer), peer_task(send_all(peer, DATA)):
        result = await receive_file(to, ObjectTarget(store, "dir/a b+ü", part_size=PART))
    assert result.file_bytes == len(DATA)
    status = await object_status(store, "dir/a b+ü")
    assert (status.size, status.unique is not None) == (len(DATA), True)
    async with accepted(None) as (to, peer), peer_task(receive_all(peer)) as received:
        chunks = object_chunks(store, "dir/a b+ü", offset=PART - 1, etag=status.unique)
        await send_stream(to, chunks, offset=PART - 1)
        assert await received == DATA[PART - 1 :]
    assert [entry.name async for page in object_entries(store, "dir") for entry in page] == [
        "a b+ü"
    ]

    await store.put_async("dir/a b+ü", b"new")
    with pytest.raises(FTPDataError) as caught:
        await anext(object_chunks(store, "dir/a b+ü", offset=1, etag=status.unique))
    assert caught.value.reply_code == 451


async def test_what_is_left_can_be_seen(endpoint: str) -> None:
    """Parts of an upload that nobody ends are found by the next test, until they are removed."""

    writer = obstore.open_writer_async(store_at(endpoint), "left", buffer_size=PART)
    await writer.write(bytes(2 * PART + 1))
    await writer.flush()
    assert multiparts(endpoint) == ["left"]
    error = RuntimeError()
    await writer.__aexit__(RuntimeError, error, None)
    assert multiparts(endpoint) == []


@pytest.mark.parametrize("how", ["cancel", "reset"])
async def test_nothing_is_left_of_uploads_that_end_at_any_instant(
    how: str, endpoint: str
) -> None:
    """The object is whole or the old one, and the store has no parts that nobody sees."""

    store, dice = store_at(endpoint), random.Random(20261130)
    await store.put_async("file", b"old")
    completed = 0
    for _ in range(ATTEMPTS):
        async with accepted(None) as (to, peer):
            target = ObjectTarget(store, "file", part_size=PART)
            work = asyncio.ensure_future(receive_file(to, target))
            sending = asyncio.ensure_future(send_all(peer, DATA))
            await asyncio.sleep(dice.random() * 0.15)
            if how == "cancel":
                work.cancel()
            elif not sending.done():
                sending.cancel()
                reset(peer)
            ended = (await asyncio.gather(work, sending, return_exceptions=True))[0]
            if isinstance(ended, BaseException):
                assert isinstance(ended, FTPDataError | asyncio.CancelledError)
            else:
                completed += 1
        found = bytes(await (await store.get_async("file")).bytes_async())
        # A commit that had begun decides, even if the transfer was cancelled by then.
        may_be = [DATA] if not isinstance(ended, BaseException) else [b"old", DATA]
        assert found in may_be
        await store.put_async("file", b"old")
    assert multiparts(endpoint) == []
    assert completed < ATTEMPTS
