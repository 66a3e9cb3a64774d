"""The package on systems that are not here, as far as this one can look like them.

See `tests.harness.other_systems` for what is taken away and what is refused, and
`tests.harness.proactor` for the event loop of Windows.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from ftpdata import _reading
from ftpdata._kernel import is_proactor, reset_at_loss
from ftpdata._reading import pause_reading, resume_reading
from tests.harness import foreign
from tests.harness.other_systems import SYSTEMS
from tests.harness.packages import needs_cpython
from tests.harness.proactor import StandInLoop

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="the stand-ins are made of Linux"
)

ASKS_AGAIN = needs_cpython("PyPy's ssl asks which system it is on, and not only when imported")

IMPORTING = """
import importlib, importlib.util, pkgutil, sys
# What others have made does not count.
for name in ("obstore", "opentelemetry", "prometheus_client", "pytest"):
    if importlib.util.find_spec(name) is not None:
        importlib.import_module(name)
from tests.harness.other_systems import pretend
pretend(sys.argv[1])
import ftpdata
for module in pkgutil.walk_packages(ftpdata.__path__, "ftpdata."):
    print(module.name)
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] not in {"obstore", "opentelemetry", "prometheus_client"}:
            raise
"""

CHECKING = """
import sys
from tests.harness.other_systems import pretend
pretend(sys.argv.pop(1))
from ftpdata.__main__ import main
sys.exit(main(["--json"]))
"""


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of Python whose temporary files are in a directory."""

    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(directory), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_module_can_be_imported(system: str, tmp_path: Path) -> None:
    """None of them needs what the system has not."""

    done = run(tmp_path, "-c", IMPORTING, system)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ftpdata.transfers.sending" in done.stdout.split()


@pytest.mark.parametrize(
    ("system", "missing"),
    [
        ("macOS", {"splice", "statx", "renameat2", "openat2", "acknowledgements", "hang-up watch"}),
        pytest.param(
            *("Windows", {"sendfile", "splice", "statx", "openat2", "acknowledgements"}),
            marks=ASKS_AGAIN,
        ),
    ],
)
def test_the_check_of_the_package_works(system: str, missing: set[str], tmp_path: Path) -> None:
    """It says that the system does not offer what the package uses elsewhere."""

    done = run(tmp_path, "-c", CHECKING, system)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["works"]
    assert missing <= {offer["name"] for offer in told["offers"] if not offer["is_there"]}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "system",
    [pytest.param(each, marks=ASKS_AGAIN if each == "Windows" else ()) for each in SYSTEMS],
)
def test_transfers_of_every_kind(system: str, tmp_path: Path) -> None:
    """Whole ones are whole, cut ones are cut, and nothing is left behind."""

    done = run(tmp_path, "-X", "dev", "-m", "tests.harness.foreign", system)
    assert done.returncode == 0, done.stdout + done.stderr
    expected = [f"{kind.__name__}{how}" for kind in foreign.KINDS for how in ("", " through TLS")]
    assert done.stdout.splitlines() == expected
    assert list(tmp_path.iterdir()) == []


# The event loop of Windows, on its own


def on_proactor(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine on the stand-in; fail on what the loop reports."""

    reported: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=StandInLoop) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: reported.append(context))
        runner.run(main())
    assert reported == []


class Receiver(asyncio.Protocol):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.is_over = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pause at once, and go on at once: nobody has said yet where the data go."""

        assert isinstance(transport, asyncio.Transport)
        pause_reading(transport)
        resume_reading(transport)

    def data_received(self, data: bytes) -> None:
        """Keep it."""

        self.received += data

    def eof_received(self) -> None:
        """Close."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of it."""

        self.is_over.set()


async def connected(
    protocol: asyncio.Protocol,
) -> tuple[asyncio.Transport, asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect a protocol to a stream; return its transport and the stream."""

    streams: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    server = await asyncio.start_server(lambda *pair: streams.put(pair), "127.0.0.1", 0)
    async with server:
        address = server.sockets[0].getsockname()
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: protocol, *address
        )
        reader, writer = await streams.get()
    return transport, reader, writer


CONTENT = bytes(range(256)) * 4096


def test_a_transport_that_is_paused_for_a_moment_loses_nothing() -> None:
    """Neither while its connection is made, nor in the middle, however often."""

    async def main() -> None:
        receiver = Receiver()
        transport, _, writer = await connected(receiver)
        assert is_proactor(transport)
        writer.write(CONTENT)
        writer.write_eof()
        while not receiver.is_over.is_set():
            for _ in range(3):
                pause_reading(transport)
                resume_reading(transport)
            # Whoever pauses it at every turn gets nothing.
            for _ in range(4):
                await asyncio.sleep(0)
        assert receiver.received == CONTENT
        writer.close()
        await writer.wait_closed()

    on_proactor(main)


def test_a_transport_that_is_paused_again_stays_so() -> None:
    """What was asked for last counts."""

    async def main() -> None:
        receiver = Receiver()
        transport, _, writer = await connected(receiver)
        pause_reading(transport)
        resume_reading(transport)
        resume_reading(transport)
        pause_reading(transport)
        assert not _reading._resuming
        writer.write(CONTENT)
        writer.write_eof()
        for _ in range(20):
            await asyncio.sleep(0)
        # A read that is under way is delivered only when it goes on.
        assert not transport.is_reading()
        assert receiver.received == b""
        resume_reading(transport)
        await receiver.is_over.wait()
        assert receiver.received == CONTENT
        writer.close()
        await writer.wait_closed()

    on_proactor(main)


@pytest.mark.asyncio_only("the other loop is a stand-in")
async def test_other_transports_are_resumed_at_once() -> None:
    """There is nothing to wait for."""

    receiver = Receiver()
    transport, _, writer = await connected(receiver)
    assert not is_proactor(transport)
    pause_reading(transport)
    assert not transport.is_reading()
    resume_reading(transport)
    assert transport.is_reading()
    writer.close()
    await writer.wait_closed()
    await receiver.is_over.wait()


def test_a_lost_connection_is_a_reset_for_the_peer() -> None:
    """Its transport would send an end of file first, and a cut file would look whole."""

    class Leaving(Receiver):
        def connection_lost(self, exc: Exception | None) -> None:
            reset_at_loss(transport)
            super().connection_lost(exc)

    transport: asyncio.Transport

    async def main() -> None:
        nonlocal transport
        leaving = Leaving()
        transport, reader, writer = await connected(leaving)
        transport.abort()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await leaving.is_over.wait()
        writer.close()

    on_proactor(main)
