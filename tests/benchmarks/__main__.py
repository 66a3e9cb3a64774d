"""Measure the reference server and others side by side: ``python -m tests.benchmarks``.

A server runs on one core, the client on another. Rounds are interleaved: each
server has its first, then each its second; the figure is the median. Ratios
are those of one run: what a machine does varies more from hour to hour than
servers differ. Prints a table and writes it, with the raw results and a plot of
each measure, into a directory. What is not installed is named, and left out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from tests.benchmarks import files, micro, plot, servers
from tests.benchmarks.measures import MEASURES, Measure, Scale
from tests.benchmarks.report import Figure, Row, format_table
from tests.benchmarks.serve import PASSWORD
from tests.benchmarks.servers import ROOT, RunningServer, ServerKind

__all__ = ["main"]

OURS, LIMIT = "ftpdata", "limit"
QUICK = Scale(size=256 * files.MIB, transfers=500, seconds=1.0, stalled=200, endurance=10_000)
MOST_IN_TIME_WAIT = 5000
PATIENCE = 600
"""Seconds that one job of the client may take."""

Results = dict[str, list[dict[str, Any]]]
"""Of one measure: what each round gave, by name of the server."""


@attrs.frozen
class Bench:
    """Where everything is.

    Attributes:
        root: What the servers serve.
        state: Their configuration, the certificate, and the library of the slow store.
        certificate: For TLS.
        scale: How much is done.
        rounds: How often.
    """

    root: Path
    state: Path
    certificate: Path
    scale: Scale
    rounds: int

    def run(self, measure: Measure, kinds: Sequence[ServerKind]) -> Results:
        """Measure these servers, round by round."""

        if directory := measure.directory(self.scale):
            files.make_directory(self.root, directory)
        preload = slow_store(self.state) if measure.is_slow else None
        results: Results = {}
        taking_part = []
        for kind in kinds:
            if not _takes_part(kind, measure):
                continue
            results[kind.name] = []
            if measure.tls and not kind.tls:
                results[kind.name].append({"error": "has no TLS"})
            else:
                taking_part.append(kind)

        def start(kind: ServerKind) -> RunningServer:
            return RunningServer(
                kind,
                self.root,
                self.state,
                certificate=self.certificate if measure.tls else None,
                throttled=measure.throttled,
                preload=preload,
                is_isolated=measure.waits and servers.can_isolate(),
            )

        rounds = range(1 if measure.is_once else self.rounds)
        with contextlib.ExitStack() as stack:
            running: dict[str, RunningServer] = {}
            if not measure.waits:
                running = {kind.name: stack.enter_context(start(kind)) for kind in taking_part}

            for kind in [kind for _ in rounds for kind in taking_part]:
                if any("error" in result for result in results[kind.name]):
                    continue
                if kind.name in running:
                    results[kind.name].append(self._measure(measure, running[kind.name]))
                else:
                    # Sockets that it has left in TIME_WAIT must not slow down the next server.
                    with start(kind) as server:
                        results[kind.name].append(self._measure(measure, server))

        return results

    def _measure(self, measure: Measure, server: RunningServer) -> dict[str, Any]:
        """Let the client do one round with one server."""

        if measure.waits and not server.is_isolated:
            wait_for_ports()
        files.remove_uploads(self.root)
        if size := measure.uploads(self.scale):
            files.warm_pages(self.root, size)
        job = {
            "port": server.port,
            "user": server.kind.user,
            "password": PASSWORD,
            "tls": server.kind.tls if measure.tls else "",
            "measure": measure.job,
            "arguments": measure.arguments(self.scale),
        }
        if measure.holds:
            return self._weigh(job, server)
        if measure.waits:
            # A server that has just been started is at its first transfers.
            _warm_up(job, server, transfers=100, seconds=1.0)

        cpu = server.cpu_seconds()
        with client(job, server) as process:
            result = _first_result(process)
            result["cpu"] = server.cpu_seconds() - cpu
        if size and "error" not in result:
            stored = sum(path.stat().st_size for path in (self.root / "up").iterdir())
            if stored != size:
                result["error"] = f"{stored} of {size} bytes were stored"
        return result

    def _weigh(self, job: dict[str, Any], server: RunningServer) -> dict[str, Any]:
        """Weigh a server before and while the client holds connections."""

        # Once through, so that code which is loaded when it is first needed is not counted.
        _warm_up(job, server, transfers=3, seconds=5.0)
        before = server.memory()
        with client(job, server) as process:
            result = _first_result(process)
            time.sleep(1)
            loaded = server.memory()
            process.communicate("\n", timeout=PATIENCE)

        if before is None or loaded is None:
            return {"error": "its memory cannot be seen"}
        if "error" not in result:
            result["kib"] = (loaded - before) / result["open"]
        return result


def _takes_part(kind: ServerKind, measure: Measure) -> bool:
    if measure.servers is not None:
        return kind.name in measure.servers

    # Only uploads in clear are spliced.
    return kind.name != "limit-splice" or (measure.job == "stor" and not measure.tls)


@contextlib.contextmanager
def client(job: dict[str, Any], server: RunningServer) -> Iterator[subprocess.Popen[str]]:
    """Run the client of a server on its core; it is ended with the context."""

    def prepare() -> None:
        servers.pinned(servers.CLIENT_CORE)
        server.join_network()

    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.client", json.dumps(job)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,  # noqa: PLW1509 - this process has one thread
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _warm_up(job: dict[str, Any], server: RunningServer, **limits: float) -> None:
    arguments = {"name": "/small", **limits}
    with client({**job, "measure": "small", "arguments": arguments}, server) as process:
        process.communicate(timeout=PATIENCE)


def _first_result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for what the client prints first. It goes on holding its sessions."""

    assert process.stdout is not None
    if not select.select([process.stdout], [], [], PATIENCE)[0]:
        return {"error": f"no end within {PATIENCE} s"}

    output = process.stdout.readline()
    try:
        result: dict[str, Any] = json.loads(output)
    except ValueError:
        return {"error": "the client failed"}
    return result


def wait_for_ports() -> None:
    """Wait until few sockets are in TIME_WAIT.

    Each data connection leaves one for a minute. A server that binds port 0
    for each transfer becomes slow once they fill its part of the port range:
    what was measured before it would be measured with it.
    """

    for _ in range(140):
        words = Path("/proc/net/sockstat").read_text().split()
        if int(words[words.index("tw") + 1]) < MOST_IN_TIME_WAIT:
            return
        time.sleep(0.5)


def slow_store(state: Path) -> Path:
    """Compile the library of the slow store."""

    library = state / "slow_store.so"
    if not library.exists():
        source = ROOT / "tests" / "benchmarks" / "slow_store.c"
        subprocess.run(
            ["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True
        )
    return library


def row_of(measure: Measure, results: Results) -> Row:
    """Read the figures of a measure from its results."""

    figures = {}
    for name, rounds in results.items():
        good = [result for result in rounds if "error" not in result]
        problem = next((result["error"] for result in rounds if "error" in result), "")
        if measure.name == "endurance":
            values = tuple(value for result in good for value in result["y"])
        else:
            values = tuple(measure.reading.figure(result) for result in good)
        done = sum(result.get(measure.reading.counted, 0) for result in good)
        used = sum(result.get("cpu", 0.0) for result in good)
        figures[name] = Figure(values, (used, done), problem)

    return Row(measure.title, measure.reading.value, measure.reading.is_better_if_more, figures)


def cpu_row(measure: Measure, row: Row) -> Row | None:
    """Return the row of processor time, which compares servers even on a busy machine."""

    reading = measure.reading
    if not reading.counted:
        return None

    scale, unit = (2**30, "s/GiB") if reading.counted == "bytes" else (10**6, "µs each")
    figures = {
        name: Figure(() if (each := figure.cpu_of_each) is None else (each * scale,))
        for name, figure in row.figures.items()
    }
    return Row(f"{measure.title}: CPU of the server", unit, False, figures)


def draw(measure: Measure, row: Row, results: Results) -> str:
    """Draw the plot of a measure."""

    if measure.name == "endurance":
        series = {
            name: (rounds[0]["x"], rounds[0]["y"])
            for name, rounds in results.items()
            if rounds and "y" in rounds[0]
        }
        return plot.lines(row.title, row.unit, series)

    return plot.bars(row.title, row.unit, row.figures, ours=OURS)


def machine() -> str:
    """Describe the machine in words."""

    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    cores = len(servers.CORES)
    return (
        f"{time.strftime('%d %B %Y')}, {model}, {cores} cores (one for the server, one for the"
        f" client), {platform.system()} {platform.release().split('-')[0]},"
        f" Python {platform.python_version()}"
    )


def _select(options: argparse.Namespace) -> list[Measure]:
    known = {measure.name: measure for measure in MEASURES}
    if not options.only:
        return [measure for measure in MEASURES if not measure.is_long or options.long]

    names = [name for word in options.only for name in word.split(",")]
    for name in names:
        if name not in known:
            sys.exit(f"no such measure: {name}; there are {', '.join(known)}, micro")
    return [known[name] for name in names]


def _select_servers(names: str | None) -> list[ServerKind]:
    known = servers.kinds()
    if names is None:
        return list(known.values())

    for name in names.split(","):
        if name not in known:
            sys.exit(f"no such server: {name}; there are {', '.join(known)}")
    return [known[name] for name in names.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME[,NAME...]", help="measures")
    parser.add_argument("--servers", metavar="NAME[,NAME...]")
    parser.add_argument("--rounds", type=int, help="3, or 1 with --quick")
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--long", action="store_true", help="with the measure that takes minutes")
    parser.add_argument(
        "--million", action="store_true", help="the first line of a directory of 1,000,000"
    )
    parser.add_argument("--transfers", type=int, help="of the measure that takes minutes")
    parser.add_argument("--micro", action="store_true", help="only the pure functions")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "benchmarks")
    parser.add_argument("--list", action="store_true", help="name the measures and the servers")
    return parser


def main() -> int:
    """Run what the command line asks for."""

    options = _parser().parse_args()
    if sys.platform != "linux":
        print("the benchmarks need Linux: they pin processes, and read /proc")
        return 1
    if options.list:
        for measure in MEASURES:
            print(f"{measure.name:16} {measure.title}")
        for kind in servers.kinds().values():
            print(f"{kind.name:16} {kind.missing}")
        return 0

    # The servers are no children of the terminal: they end with this program.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options.output.mkdir(parents=True, exist_ok=True)
    if options.micro:
        _run_micro(options.output)
        return 0

    scale = QUICK if options.quick else Scale()
    if options.million:
        scale = attrs.evolve(scale, entries="d1m")
    if options.transfers:
        scale = attrs.evolve(scale, endurance=options.transfers)
    kinds = _select_servers(options.servers)
    for kind in kinds:
        if kind.missing:
            print(f"{kind.name} is left out: {kind.missing}")

    with files.served_directory() as root, tempfile.TemporaryDirectory() as state:
        Path(state).chmod(0o755)
        files.make_files(root, scale.size)
        bench = Bench(
            root,
            Path(state),
            files.certificate(Path(state)),
            scale,
            options.rounds or (1 if options.quick else 3),
        )
        _run(bench, _select(options), kinds, options.output)
    if not options.only:
        _run_micro(options.output)
    return 0


def _run(
    bench: Bench, measures: Sequence[Measure], kinds: Sequence[ServerKind], output: Path
) -> None:
    present = [kind for kind in kinds if not kind.missing]
    everything: dict[str, Results] = {}
    rows: list[Row] = []
    text = ""
    peers = [kind.name for kind in present if not kind.name.startswith((OURS, LIMIT))]
    for measure in measures:
        if measure.is_slow and shutil.which("gcc") is None:
            print(f"{measure.name} is left out: there is no gcc")
            continue

        began = time.monotonic()
        results = everything.get(measure.read_from) or bench.run(measure, present)
        everything[measure.name] = results
        row = row_of(measure, results)
        rows.append(row)
        if (processor := cpu_row(measure, row)) is not None:
            rows.append(processor)
        print(f"{measure.name}: {time.monotonic() - began:.0f} s", flush=True)
        for name, figure in row.figures.items():
            if figure.problem:
                print(f"  {name}: {figure.problem}")

        # What is measured is kept, whatever becomes of the rest.
        (output / f"{measure.name}.svg").write_text(draw(measure, row, results))
        names = [kind.name for kind in present]
        table = format_table(rows, names, ours=OURS, limit=LIMIT, peers=peers)
        text = f"{machine()}; interleaved rounds: {bench.rounds}; medians.\n\n{table}"
        (output / "table.md").write_text(text)
        raw = {"machine": machine(), "rounds": bench.rounds, "results": everything}
        (output / "results.json").write_text(json.dumps(raw, indent=1))

    print(f"\n{text}\nplots and raw results: {os.path.relpath(output)}")


def _run_micro(output: Path) -> None:
    text = micro.run()
    print(f"\n{text}")
    (output / "micro.md").write_text(text)


if __name__ == "__main__":
    sys.exit(main())
