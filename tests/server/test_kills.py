"""A server that is killed (SIGKILL) at any moment: nothing half is published, what came is resumed.

``--kills 500`` kills more often.
"""

from __future__ import annotations

import asyncio
import contextlib
import ftplib
import io
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from ftpdata.files import PartStore, is_reserved
from tests.harness.leaks import hidden_files
from tests.server.launched import started

SIZES = (1, 1000, 65_536, 400_000, 3_000_000)
CLIENTS = 3
ENOUGH = 10
LONGEST = 0.6
"""Seconds after which the server is killed at the latest."""


def version(seed: str) -> bytes:
    """Make a file of a random size, of which no two bytes at one place are those of another."""

    chooser = random.Random(seed)
    pattern = chooser.randbytes(4093)
    size = chooser.choice(SIZES)
    return (pattern * (size // len(pattern) + 1))[:size]


@contextlib.contextmanager
def running(
    directory: Path, rate: int = 10**9
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a server in a process of its own; kill it at the end.

    Args:
        directory: What is served.
        rate: Bytes per second of each session: slow uploads are killed in the middle.
    """

    arguments = ["--port", "0", "--writable", "--quiet", "--user", "ann:secret"]
    with started(str(directory), *arguments, "--rate", str(rate)) as (process, _, port):
        yield process, port


@attrs.define
class Uploader:
    """A client that uploads versions of one file, one after the other, until the server is dead.

    Attributes:
        name: The file.
        versions: All that it has begun to send, the newest last.
        confirmed: How many of them had their 226.
    """

    name: str
    versions: list[bytes] = attrs.field(factory=list)
    confirmed: int = 0

    def run(self, port: int) -> None:
        """Upload."""

        with contextlib.suppress(*ftplib.all_errors), ftplib.FTP() as client:
            client.connect("127.0.0.1", port, timeout=60)
            client.login("ann", "secret")
            while True:
                content = version(f"{self.name} {len(self.versions)}")
                self.versions.append(content)
                client.storbinary(f"STOR {self.name}", io.BytesIO(content), blocksize=65_536)
                self.confirmed = len(self.versions)

    def check(self, directory: Path) -> None:
        """Check that a version is published, whole, and none that is older than the last 226."""

        path = directory / self.name
        if not path.exists():
            assert not self.confirmed
            return
        content = path.read_bytes()
        assert content in self.versions[max(0, self.confirmed - 1) :], len(content)

    def finish(self, client: ftplib.FTP, directory: Path) -> bool:
        """Resume the newest version where a part of it is left; tell whether there was one."""

        path, content = directory / self.name, self.versions[-1]
        path.unlink(missing_ok=True)
        try:
            size = client.size(self.name)
        except ftplib.error_perm:
            return False
        assert size is not None
        assert size < len(content)
        client.storbinary(f"STOR {self.name}", io.BytesIO(content[size:]), rest=size or None)
        assert path.read_bytes() == content
        return True


@pytest.mark.timeout(7200)
def test_a_server_that_is_killed(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """At random moments of uploads: every 226 was true, and what is left is resumed or removed."""

    chooser = random.Random(20)
    resumed = 0
    for number in range(pytestconfig.getoption("kills")):
        directory = tmp_path / f"{number}"
        directory.mkdir()
        uploaders = [Uploader(f"file{client}") for client in range(CLIENTS)]
        with running(directory, chooser.choice([10**9, 5 * 10**6])) as (process, port):
            threads = [
                threading.Thread(target=uploader.run, args=(port,)) for uploader in uploaders
            ]
            for thread in threads:
                thread.start()
            time.sleep(chooser.uniform(0, LONGEST))
            process.send_signal(signal.SIGKILL)
            for thread in threads:
                thread.join()

        for uploader in uploaders:
            uploader.check(directory)
        for path in directory.iterdir():
            assert path.name in {up.name for up in uploaders} or is_reserved(path.name), path

        with running(directory) as (_, port), ftplib.FTP() as client:
            client.connect("127.0.0.1", port, timeout=60)
            client.login("ann", "secret")
            client.voidcmd("TYPE I")
            resumed += sum(
                uploader.finish(client, directory) for uploader in uploaders if uploader.versions
            )

        with PartStore(directory) as store:
            asyncio.run(store.clean(temporary_age=0))
        assert not hidden_files(directory), number

    # Or nothing was tested.
    assert resumed or pytestconfig.getoption("kills") < ENOUGH
