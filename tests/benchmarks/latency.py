"""How long the final reply takes once the client has everything, or has left.

``python -m tests.benchmarks.latency [--rounds N] [--resets N] [--loop asyncio|uvloop]``. The
reference server runs in a process of its own. The client is one of three kinds: it closes the data
connection at the end of file, or keeps it open until the reply is there, or resets it when it has
read half. What is counted is the time from there to the reply. A kernel may delay an
acknowledgement by 40 ms, and does so for a client that keeps the connection open; where it
acknowledges at once, the reply comes at once.

With ``--resets`` only small downloads are made that are reset half read, as many as are wanted:
no reply may take longer than 100 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.benchmarks.figures import Figures, percentile
from tests.harness.tls import certificate_files, client_context

__all__ = ["main"]

SIZES = (0, 1, 1_460, 40_000, 300_000, 5_000_000)
LISTINGS = ("LIST", "NLST", "MLSD")
PATIENCE = 60.0
RESET_SIZE = 40_000

AT_ONCE = 0.005
DELAYED = 0.060
RESET = 0.100
"""Seconds that the reply may take: where the kernel acknowledges at once, where it may delay that,
and after a reset."""

LINGER_ZERO = struct.pack("ii", 1, 0)


class Client:
    """A logged-in control connection, with blocking sockets.

    Args:
        port: Where the server listens.
        protect: Whether to use TLS, for both kinds of connections.
    """

    def __init__(self, port: int, *, protect: bool = False) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._context: ssl.SSLContext | None = None
        self.reply()
        if protect:
            context = client_context()
            context.check_hostname = False
            self.command("AUTH TLS")
            self._sock = context.wrap_socket(self._sock)
            self._context = context
        lines = ["USER anonymous", "PASS x", "TYPE I"]
        for line in lines + (["PBSZ 0", "PROT P"] if protect else []):
            self.command(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def reply(self) -> int:
        """Read one reply; return its code."""

        while True:
            line, found, rest = self._received.partition(b"\r\n")
            if found:
                self._received = rest
                if line[:3].isdigit() and line[3:4] == b" ":
                    self._last = line
                    return int(line[:3])
                continue
            data = self._sock.recv(65536)
            if not data:
                raise EOFError("the server has closed the control connection")
            self._received += data

    def command(self, line: str) -> int:
        """Send a command; return the code of its reply."""

        self._sock.sendall(line.encode() + b"\r\n")
        return self.reply()

    def open(self, line: str) -> socket.socket:
        """Say EPSV and a transfer command; return the data connection, after the 150."""

        self.command("EPSV")
        port = int(self._last.split(b"|")[3])
        data = socket.create_connection(("127.0.0.1", port), PATIENCE)
        code = self.command(line)
        if code not in (125, 150):
            raise RuntimeError(f"{line}: {self._last!r}")
        if self._context is None:
            return data

        assert isinstance(self._sock, ssl.SSLSocket)
        return self._context.wrap_socket(data, session=self._sock.session)

    def wait(self, line: str, how: str) -> tuple[float, int]:
        """Make one transfer; return the seconds for which its reply was waited for, and its code.

        Args:
            line: The command.
            how: ``closes``, ``awaits`` or ``resets``.
        """

        data = self.open(line)
        with data:
            if how == "resets":
                data.recv(RESET_SIZE // 2)
                data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
                started_at = time.perf_counter()
                data.close()
            else:
                while data.recv(1 << 18):
                    pass
                started_at = time.perf_counter()
                if how == "closes":
                    data.close()
            code = self.reply()
            return time.perf_counter() - started_at, code


@contextlib.contextmanager
def serving(directory: Path, loop: str) -> Iterator[int]:
    """Run the reference server; give its port."""

    certificate, key = certificate_files()
    command = [sys.executable, "-m", "examples.server", str(directory), "--port", "0"]
    command += ["--anonymous", "--loop", loop]
    command += ["--tls-cert", str(certificate), "--tls-key", str(key)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.terminate()


def measure(port: int, rounds: int, figures: Figures) -> None:
    """Make every kind of transfer, several times; note how long the replies took."""

    for protect in (False, True):
        with Client(port, protect=protect) as client:
            lines = [f"RETR {size}" for size in SIZES] + list(LISTINGS)
            for line in lines:
                for how, limit in (("closes", AT_ONCE), ("awaits", DELAYED)):
                    seconds = []
                    for _ in range(rounds):
                        taken, code = client.wait(line, how)
                        if code != 226:
                            raise RuntimeError(f"{line}, {how}: {code}")
                        seconds.append(taken * 1000)
                    name = f"{'TLS' if protect else 'clear'}, {line}, client {how}: ms, median"
                    figures.at_most(name, percentile(seconds, 50), limit * 1000)
            seconds = [client.wait(f"RETR {RESET_SIZE}", "resets")[0] for _ in range(rounds)]
            name = f"{'TLS' if protect else 'clear'}, client resets: ms, longest"
            figures.at_most(name, max(seconds) * 1000, RESET * 1000)


def reset_often(port: int, count: int, figures: Figures) -> None:
    """Reset many small downloads that were half read; note how many replies came late."""

    seconds: list[float] = []
    codes: dict[int, int] = {}
    with Client(port) as client:
        for _ in range(count):
            taken, code = client.wait(f"RETR {RESET_SIZE}", "resets")
            seconds.append(taken)
            codes[code] = codes.get(code, 0) + 1
    late = sum(taken > RESET for taken in seconds)
    print(f"{count} downloads of {RESET_SIZE} bytes were reset half read; replies: {codes}")
    figures.at_most(f"replies after more than {RESET * 1000:g} ms", late, 0)
    figures.at_most("longest, ms", max(seconds) * 1000, RESET * 1000)
    figures.at_most("99th percentile, ms", percentile(seconds, 99) * 1000, RESET * 1000)


def main(arguments: list[str]) -> int:
    """Measure; return 1 if a reply takes too long."""

    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.latency")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--resets", type=int, default=0)
    parser.add_argument("--loop", default="asyncio", choices=["asyncio", "uvloop"])
    options = parser.parse_args(arguments)
    figures = Figures(f"time until the final reply, on {options.loop}")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for size in SIZES:
            (directory / str(size)).write_bytes(bytes(size))
        with serving(directory, options.loop) as port:
            if options.resets:
                reset_often(port, options.resets, figures)
            else:
                measure(port, options.rounds, figures)

    return figures.report()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
