"""The reference server in a process of its own, which tells what it holds when it is asked.

``python -m tests.soak.server JSON``; the parent reads one line with the port, and one with a
report for each SIGUSR1.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

import anyio
import attrs

from examples.server.accounts import PasswordTable
from examples.server.disk import DiskStore
from examples.server.server import Server
from examples.server.settings import Settings
from ftpdata import ServerCertificate
from tests.harness.tls import certificate_files
from tests.soak.spoiled import SPOILED

__all__ = ["Report", "ServerProcess"]

HOST = "127.0.0.1"
OURS = ("ftpdata", "examples")


@attrs.frozen
class Report:
    """What the server holds at one moment.

    Attributes:
        sessions: Clients that are connected.
        counted: Transfers, data connections and listeners that it counts.
        tasks: Tasks of its event loop.
        objects: Objects that the garbage collector knows.
        types: How many there are of each of our own classes.
        resident: Bytes that are in memory.
        descriptors: What is open, by descriptor.
        threads: Threads that run.
    """

    sessions: int
    counted: list[int]
    tasks: int
    objects: int
    types: dict[str, int]
    resident: int = 0
    descriptors: dict[str, str] = attrs.field(factory=dict)
    threads: int = 0


class ServerProcess:
    """A server that runs; a context manager.

    Args:
        directory: What it serves.
        loop: Which event loop it uses.
        spoiled: The name of a defect that it is to have; see `spoiled`.

    Attributes:
        port: That it listens on.
        lines: What it has logged.
    """

    def __init__(self, directory: Path, *, loop: str = "asyncio", spoiled: str = "") -> None:
        certificate, key = certificate_files()
        told = {
            "directory": str(directory), "loop": loop, "spoiled": spoiled,
            "certificate": str(certificate), "key": str(key),
        }
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps(told)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._answers: IO[str] = self._process.stdout
        self._reader = threading.Thread(target=self._keep, args=(self._process.stderr,))
        self._reader.start()
        line = self._answers.readline()
        if not line:
            self.end()
            raise RuntimeError("the server does not start:\n" + "\n".join(self.lines))
        self.port: int = int(line)

    def _keep(self, log: IO[str]) -> None:
        for line in log:
            self.lines.append(line.rstrip())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> int:
        """End it as a system does; return its exit status."""

        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._answers.close()
        assert self._process.stderr is not None
        self._process.stderr.close()
        return self._process.returncode

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""

        return self._process.poll() is not None

    def report(self) -> Report:
        """Ask what it holds."""

        self._process.send_signal(signal.SIGUSR1)
        told = json.loads(self._answers.readline())
        proc = Path(f"/proc/{self._process.pid}")
        status = dict(
            line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line
        )
        return Report(
            **told,
            resident=int(status["VmRSS"].split()[0]) * 1024,
            threads=int(status["Threads"]),
            descriptors=dict(_descriptors(proc / "fd")),
        )


def _descriptors(directory: Path) -> Iterator[tuple[str, str]]:
    for link in directory.iterdir():
        with contextlib.suppress(OSError):
            yield link.name, str(link.readlink())


def _report(server: Server) -> None:
    for _ in range(3):
        gc.collect()
    everything = gc.get_objects()
    types = collections.Counter(type(thing) for thing in everything)
    ours = {
        f"{kind.__module__}.{kind.__qualname__}": number
        for kind, number in types.items()
        if str(getattr(kind, "__module__", "")).startswith(OURS)
    }
    usage = server.usage
    report = Report(
        sessions=server.session_count,
        counted=[usage.transfers, usage.connections, usage.listeners],
        tasks=len(asyncio.all_tasks()),
        objects=len(everything),
        types=ours,
    )
    told = attrs.asdict(report)
    for measured in ("resident", "descriptors", "threads"):
        del told[measured]
    print(json.dumps(told), flush=True)


async def _serve(told: dict[str, Any], store: DiskStore) -> None:
    settings = Settings(
        accounts=PasswordTable([("ann", "secret"), ("bob", "secret")], anonymous=True),
        writable=True,
        certificate=ServerCertificate(certificate=told["certificate"], key=told["key"]),
        max_sessions=500,
        login_delay=0.05,
        max_failures_per_address=10**9,
    )
    server = Server(store, settings)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, _report, server)
    loop.add_signal_handler(signal.SIGTERM, server.stop)
    async with anyio.create_task_group() as tasks:
        _, port = await tasks.start(server.run, HOST, 0)
        print(port, flush=True)


def main() -> None:
    """Serve until SIGTERM."""

    told = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    if told["spoiled"]:
        SPOILED[told["spoiled"]]()
    store = DiskStore(told["directory"])
    try:
        use_uvloop = told["loop"] == "uvloop"
        anyio.run(_serve, told, store, backend_options={"use_uvloop": use_uvloop})
    finally:
        store.close()


if __name__ == "__main__":
    main()
