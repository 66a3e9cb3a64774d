"""A disk that is full most of the time: no reply says that a file is stored that is not."""

from __future__ import annotations

import contextlib
import ftplib
import io
import random
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.harness.disks import can_mount, with_disk
from tests.server.client import PATIENCE
from tests.server.launched import started

DISK = 1 << 20
"""Bytes of the whole disk."""

LARGEST = 400_000
"""Bytes of the largest upload: three of them do not fit."""

CLIENTS = 4
ROUNDS = 40

@contextlib.contextmanager
def server(directory: Path) -> Iterator[int]:
    """Run the reference server on a disk of a mebibyte; give its port."""

    arguments = [str(directory), "--port", "0", "--user", "ann:secret", "--writable"]
    with started(*arguments, wrapper=with_disk(DISK, directory)) as (process, _, port):
        yield port
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


class Client:
    """Uploads, appends and deletes files of its own; knows what must be in them."""

    def __init__(self, number: int, port: int) -> None:
        self.random = random.Random(number)
        self.names = [f"{number}-{index}" for index in range(3)]
        self.stored: dict[str, bytes] = {}
        self.refused = 0
        self.acknowledged = 0
        self.ftp = ftplib.FTP()
        self.ftp.connect("127.0.0.1", port, PATIENCE)
        self.ftp.login("ann", "secret")

    def run(self) -> Client:
        """Do all its rounds."""

        with self.ftp:
            for _ in range(ROUNDS):
                self.round()
        return self

    def round(self) -> None:
        """Change one file, and look what is in it."""

        name = self.random.choice(self.names)
        if self.random.random() < 0.2:
            with contextlib.suppress(ftplib.error_perm):
                self.ftp.delete(name)
            self.stored.pop(name, None)
            return

        command = self.random.choice(("STOR", "STOR", "APPE"))
        data = self.random.randbytes(self.random.choice((0, 1000, 60_000, LARGEST)))
        before = self.stored.get(name, b"")
        try:
            reply = self.ftp.storbinary(f"{command} {name}", io.BytesIO(data))
        except (ftplib.Error, ConnectionError) as error:
            # The server cuts the data connection of an upload that it cannot store.
            code = str(error)[:3] if isinstance(error, ftplib.Error) else self.ftp.getresp()[:3]
            if code not in {"452", "451"}:
                raise
            self.refused += 1
            content = self.content(name)
            if command == "STOR":
                assert content == self.stored.get(name)
            elif content is not None:
                # What was appended before the disk was full stays: it was never acknowledged.
                assert content[: len(before)] == before
                assert (before + data).startswith(content)
                self.stored[name] = content
        else:
            assert reply.startswith("226 ")
            self.acknowledged += 1
            self.stored[name] = before + data if command == "APPE" else data
            assert self.content(name) == self.stored[name]

    def content(self, name: str) -> bytes | None:
        """Fetch a file; None if there is none."""

        received = io.BytesIO()
        try:
            self.ftp.retrbinary(f"RETR {name}", received.write)
        except ftplib.error_perm as error:
            if not str(error).startswith("550 "):
                raise
            return None
        return received.getvalue()


@pytest.mark.skipif(not can_mount(), reason="may not mount a disk here")
def test_a_full_disk_is_never_a_226(tmp_path: Path) -> None:
    """What was acknowledged is there, whole; what was not has left the old file as it was."""

    with server(tmp_path) as port, ThreadPoolExecutor(CLIENTS) as threads:
        clients = [Client(number, port) for number in range(CLIENTS)]
        done = list(threads.map(Client.run, clients))

    assert min(client.acknowledged for client in done) > 0
    assert sum(client.refused for client in done) > 0
