"""The reference server in a process of its own, with settings that its command line has not."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import anyio

from examples.server.accounts import PasswordTable
from examples.server.disk import DiskStore
from examples.server.server import Server
from examples.server.settings import Settings
from ftpdata.opening.ports import PortRange
from tests.benchmarks.servers import listening_ports
from tests.server.client import Client

__all__ = ["ServerProcess", "raise_descriptor_limit"]

HOST = "127.0.0.1"


def raise_descriptor_limit() -> None:
    """Let this process, and those it starts, open as many descriptors as the system allows."""

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class ServerProcess:
    """A server that runs; a context manager.

    Args:
        directory: What it serves.
        ports: Its passive ports.
        trace: Whether to note where memory is allocated.
        settings: Of the server, as far as JSON has them.

    Attributes:
        pid: Of the process.
        port: That it listens on.
    """

    def __init__(
        self,
        directory: Path,
        *,
        ports: PortRange | None = None,
        trace: bool = False,
        **settings: Any,
    ) -> None:
        told = {
            "directory": str(directory),
            "ports": None if ports is None else [ports.first, ports.last],
            "trace": trace,
            "settings": settings,
        }
        self._ports = ports
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps(told)], stdout=subprocess.PIPE, text=True
        )
        self.pid: int = self._process.pid
        assert self._process.stdout is not None
        self.port: int = int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    @contextlib.asynccontextmanager
    async def client(self, source: str) -> AsyncIterator[Client]:
        """Connect a client from an address, logged in; close it in the end."""

        reader, writer = await asyncio.open_connection(HOST, self.port, local_addr=(source, 0))
        client = Client(reader, writer, HOST, source)
        try:
            assert (await client.reply())[:3] == "220"
            await client.login()
            yield client
        finally:
            await client.close()

    def descriptors(self) -> int:
        """Return how many descriptors it has open."""

        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def listening(self) -> set[int]:
        """Return which of its passive ports are listened on."""

        ports = self._ports
        return {port for port in listening_ports(self.pid) if ports is not None and port in ports}

    def resident(self) -> int:
        """Return the bytes of it that are in memory."""

        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024

        raise RuntimeError("the system does not say")

    def cpu(self) -> float:
        """Return the seconds of a processor that it has used."""

        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def show_traces(self) -> None:
        """Let it write where the memory that it uses was allocated, if it has noted it."""

        self._process.send_signal(signal.SIGUSR1)


async def _run(told: dict[str, Any]) -> None:
    settings = Settings(
        accounts=PasswordTable([("ann", "secret")], anonymous=True),
        writable=True,
        passive_ports=PortRange(*told["ports"]) if told["ports"] else None,
        **told["settings"],
    )
    server = Server(await anyio.to_thread.run_sync(DiskStore, told["directory"]), settings)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    if told["trace"]:
        tracemalloc.start(16)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _show_traces)

    async with anyio.create_task_group() as tasks:
        _, port = await tasks.start(server.run, HOST, 0)
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()


def _show_traces() -> None:
    gc.collect()
    snapshot = tracemalloc.take_snapshot()
    tracemalloc.clear_traces()
    for statistic in snapshot.statistics("lineno")[:400]:
        sys.stderr.write(f"{statistic}\n")


if __name__ == "__main__":
    asyncio.run(_run(json.loads(sys.argv[1])))
