"""A server of Valkey, or of Redis where Debian has no other, for the tests."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import valkey

from tests.harness.proxies import free_ports
from tests.interop.served import missing

__all__ = ["ValkeyServer", "running_valkey"]

PATIENCE = 60.0

PROGRAM = shutil.which("valkey-server") or shutil.which("redis-server")


class ValkeyServer:
    """A server that can be stopped, and started again with nothing in it.

    Args:
        directory: An empty directory for it.
        options: More options of its command line; those of TLS replace the clear port.
        host: Its address.
        client: Options for the client that looks into it.

    Attributes:
        port: Where it listens.
        url: That, as `--cluster` takes it.
    """

    def __init__(
        self,
        directory: Path,
        options: Sequence[str] = (),
        *,
        host: str = "127.0.0.1",
        **client: Any,
    ) -> None:
        self.port = free_ports(1).first
        self.url = f"valkey://{host}:{self.port}"
        secure = any(option.startswith("--tls") for option in options)
        ports = ("--port", "0", "--tls-port") if secure else ("--port",)
        self._command = [
            *(str(PROGRAM), *ports, str(self.port), "--bind", host, "--protected-mode", "no"),
            *("--dir", str(directory), "--save", "", "--appendonly", "no", *options),
        ]
        self._log = directory / "log"
        self._client = valkey.Valkey(host, self.port, socket_timeout=PATIENCE, **client)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""

        with self._log.open("ab") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output)
        until = time.monotonic() + PATIENCE
        while True:
            assert self._process.poll() is None, self._log.read_text()
            try:
                self._client.ping()
            except (valkey.ConnectionError, valkey.TimeoutError):
                assert time.monotonic() < until, self._log.read_text()
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """End it; all is forgotten."""

        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._client.connection_pool.disconnect()

    def hold(self) -> None:
        """Let it answer nothing, and close nothing, either."""

        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def let_go(self) -> None:
        """Let it go on."""

        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def sessions(self, address: str | None = None) -> int:
        """Return how many leases there are, in all or of an address, ended ones included."""

        key = "ftpdata:sessions" + (f":{address}" if address else "")
        return int(self._ask("ZCARD", key))

    def keys(self) -> list[bytes]:
        """Return the names of all that is in it."""

        return sorted(self._ask("KEYS", "*"))

    def _ask(self, *command: str) -> Any:
        return self._client.execute_command(*command)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """End it for good."""

        self.stop()
        self._client.close()  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def running_valkey(
    directory: Path, options: Sequence[str] = (), **keywords: Any
) -> Iterator[ValkeyServer]:
    """Run a server; for the arguments see `ValkeyServer`."""

    if PROGRAM is None:
        missing("valkey-server or redis-server")
    server = ValkeyServer(directory, options, **keywords)
    try:
        server.start()
        yield server
    finally:
        server.close()
