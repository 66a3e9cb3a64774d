"""Servers of several processes on one host: ``python -m tests.benchmarks.workers [ROUNDS]``.

The reference server with one and two workers of gunicorn beside pyftpdlib, with as many workers
and with a process for each session, and pure-ftpd, which has a process for each session. Two
processes are the clients, with half of the sessions each; they and the servers share all cores of
the machine. Each server has its first round, then each its second (by default there are five);
shown are medians, and the processor time of the server. Ratios are those to one worker of the
reference server.
"""

from __future__ import annotations

import json
import select
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from tests.benchmarks import files, servers
from tests.benchmarks.serve import PASSWORD
from tests.benchmarks.servers import ROOT, RunningServer, ServerKind

__all__ = ["main"]

CLIENTS = 2
SESSIONS = 32
"""Of all clients together."""

PATIENCE = 30.0
"""Seconds that the clients of one round may take."""

OURS = "ftpdata × 1"


@attrs.frozen
class Load:
    """What the clients do.

    Attributes:
        title: For people.
        job: A measure of `tests.benchmarks.client`.
        arguments: Its arguments, for each client.
        counted: What is counted of its result; nothing if each session moves a file of `files.TEN`.
        unit: Of the figure.
    """

    title: str
    job: str
    arguments: dict[str, Any]
    counted: str
    unit: str

    def rate(self, results: Sequence[dict[str, Any]]) -> float:
        """Return what all clients did in a second."""

        seconds: float = max(result["seconds"] for result in results)
        if self.counted:
            return sum(float(result[self.counted]) for result in results) / seconds
        return SESSIONS * files.TEN / files.MIB / seconds


SMALL: dict[str, Any] = {"transfers": 10**6, "seconds": 2.0, "sessions": SESSIONS // CLIENTS}
LARGE: dict[str, Any] = {"size": files.TEN, "clients": SESSIONS // CLIENTS}
LOADS = (
    Load("RETR 1 KiB", "small_parallel", {"name": "/small", **SMALL}, "transfers", "/s"),
    Load(
        "STOR 1 KiB", "small_parallel", {"name": "/up/a", "store": True, **SMALL}, "transfers", "/s"
    ),
    Load("RETR 10 MiB", "many", {"name": "/ten", "store": False, **LARGE}, "", "MiB/s"),
    Load("STOR 10 MiB", "many", {"name": "/up/a", "store": True, **LARGE}, "", "MiB/s"),
)
WARM_UP = Load("", "small_parallel", {"name": "/small", **SMALL, "seconds": 0.5}, "transfers", "")


def _kinds() -> Iterator[ServerKind]:
    for name in (OURS, "ftpdata × 2", "pyftpdlib × 1", "pyftpdlib × 2", "pyftpdlib, processes"):
        yield ServerKind(name)
    pure_ftpd = servers.kinds()["pure-ftpd"]
    if pure_ftpd.missing:
        print(f"pure-ftpd is left out: {pure_ftpd.missing}")
    else:
        yield pure_ftpd


def _client(load: Load, server: RunningServer, number: int) -> subprocess.Popen[str]:
    arguments = dict(load.arguments)
    if arguments.get("store"):
        arguments["name"] += str(number)
    job = {
        "port": server.port,
        "user": server.kind.user,
        "password": PASSWORD,
        "tls": "",
        "measure": load.job,
        "arguments": arguments,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.client", json.dumps(job)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=server.join_network,  # noqa: PLW1509 - this process has one thread
    )


def _run(load: Load, server: RunningServer) -> tuple[float, float]:
    """Run the clients; return the rate, and the server's seconds of processor time."""

    before = server.cpu_seconds()
    processes = [_client(load, server, number) for number in range(CLIENTS)]
    try:
        # They hold their sessions meanwhile: the processor time of a process that has ended
        # cannot be had.
        results = [_result(process) for process in processes]
        used = server.cpu_seconds() - before
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    for result in results:
        if "error" in result:
            raise RuntimeError(f"{result['error']}\n{server.log()[-2000:]}")
    return load.rate(results), used


def _result(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], PATIENCE)[0]:
        raise TimeoutError(f"no end within {PATIENCE} s")
    result: dict[str, Any] = json.loads(process.stdout.readline())
    return result


def _measure(load: Load, kind: ServerKind, root: Path, state: Path) -> tuple[float, float]:
    """Do one round with a new server, in a network of its own: no socket is in TIME_WAIT there."""

    is_isolated = servers.can_isolate()
    with RunningServer(kind, root, state, is_isolated=is_isolated, is_pinned=False) as server:
        # All workers are there, and have imported what they need.
        _run(WARM_UP, server)
        files.remove_uploads(root)
        return _run(load, server)


def _report(load: Load, found: dict[str, list[tuple[float, float]]]) -> None:
    rates = {name: statistics.median(rate for rate, _ in each) for name, each in found.items()}
    print(f"\n{load.title}, {SESSIONS} sessions", flush=True)
    for name, rate in rates.items():
        used = statistics.median(used for _, used in found[name])
        print(
            f"{name:22} {rate:9,.0f} {load.unit:6} {rate / rates[OURS]:5.2f}"
            f"   {used:.2f} s of the server's processor time, logins included"
        )


def main(arguments: Sequence[str]) -> int:
    """Measure, and print the tables."""

    rounds = int(arguments[0]) if arguments else 5
    kinds = {kind.name: kind for kind in _kinds()}
    with (
        files.served_directory() as root,
        tempfile.TemporaryDirectory() as state,
    ):
        Path(state).chmod(0o755)
        files.make_files(root, files.TEN)
        for load in LOADS:
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
            for _ in range(rounds):
                for kind in list(found):
                    try:
                        found[kind].append(_measure(load, kinds[kind], root, Path(state)))
                    except (RuntimeError, TimeoutError) as error:
                        print(f"{kind} is left out: {error}", flush=True)
                        del found[kind], kinds[kind]
            _report(load, found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
