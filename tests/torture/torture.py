"""Runs scenarios, lets their calls fail one by one, and judges what comes of it."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import random
import resource
import select
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import attrs

from tests.harness.disks import with_disk
from tests.harness.tls import authority_file, certificate_files
from tests.torture.injection import Call, Fault, Injector, faults_of, read_descriptors
from tests.torture.scenarios import (
    LARGE,
    PATIENCE,
    SMALL,
    Client,
    Lost,
    Scenario,
    Seen,
    download,
    make_files,
    renew,
)

__all__ = ["Dead", "Report", "Setup", "Subject", "Torturer", "Violation"]

ROOT = Path(__file__).parents[2]

SETTLING = 5.0
"""Seconds within which everything is given back. Every deadline of the server is two."""

THREADS_SETTLING = 10.0
"""Seconds within which threads that have nothing to do end."""

NOT_ABOUT_THE_NAME = frozenset({
    *(errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN),
    *(errno.ENOBUFS, errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.ENOSPC),
})
"""Errors whose reply is 4yz: what is asked for may work later."""

GONE = frozenset({errno.ECONNRESET, errno.EPIPE})
"""What the system says of a peer that is gone."""

NO_DESCRIPTORS = Call("descriptors", "system", "limit")
DESCRIPTORS = 12
"""No scenario opens more at one time."""

NO_SPACE = Call("pages", "system", "disk")
DISK, FILLER = 1 << 20, "filler"
PAGES = 56
"""Pages of 4 KiB that are left, from none to more than an upload needs."""

OUTCOMES = ("success", "error", "control lost", "not reached")


class Dead(Exception):
    """The process under torture has ended."""


@attrs.frozen
class Setup:
    """What a process under torture is.

    Attributes:
        loop: asyncio or uvloop.
        protects: Whether everything goes through TLS.
        way: preload, for system calls; python, for the calls of TLS; descriptors and disk,
            where the process has few of them, or little space.
    """

    loop: str
    protects: bool
    way: str = "preload"

    def __str__(self) -> str:
        return f"{self.loop} {'tls' if self.protects else 'clear'} {self.way}"


@attrs.frozen
class Violation:
    """What must not be, and how to see it again."""

    scenario: str
    setup: Setup
    fault: Fault | None
    what: str

    @property
    def replay(self) -> str:
        """The command that does it again."""

        tls = "tls" if self.setup.protects else "clear"
        fault = f" --fault '{self.fault}'" if self.fault is not None else ""
        return (
            f"python -m tests.torture --scenario {self.scenario} --loop {self.setup.loop}"
            f" --protection {tls} --way {self.setup.way}{fault}"
        )

    def __str__(self) -> str:
        return f"{self.scenario} ({self.setup}) {self.fault}: {self.what}\n    {self.replay}"


@attrs.define
class Report:
    """What came of one scenario.

    Attributes:
        calls: Fallible calls that were counted.
        faults: Faults that were tried.
        outcomes: How often each outcome came.
        violations: What must not be.
        seconds: How long it took.
    """

    calls: int = 0
    faults: int = 0
    outcomes: Counter[str] = attrs.field(factory=Counter)
    violations: list[Violation] = attrs.field(factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        outcomes = ", ".join(f"{self.outcomes[name]} {name}" for name in OUTCOMES)
        return (
            f"{self.calls} calls, {self.faults} faults: {outcomes};"
            f" {len(self.violations)} violations; {self.seconds:.1f} s"
        )


class Subject:
    """The process under torture.

    Args:
        setup: What it is.
        directory: What it serves.
        options: More of its options.
        preload: The library of inject.c, and the file that it maps.
        prefix: What runs it.
        module: What is run.
    """

    def __init__(
        self,
        setup: Setup,
        directory: Path,
        options: dict[str, Any],
        *,
        preload: tuple[Path, Path] | None = None,
        prefix: tuple[str, ...] = (),
        module: str = "tests.torture.subject",
    ) -> None:
        given = {
            "loop": setup.loop,
            "directory": str(directory),
            "certificate": [str(path) for path in certificate_files()] if setup.protects else None,
            "uploads": "atomic",
            "ports": None,
            "descriptors": None,
            **options,
        }
        environment = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONDONTWRITEBYTECODE="1")
        if preload is not None:
            environment["LD_PRELOAD"], environment["FTPDATA_TORTURE"] = map(str, preload)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", module, json.dumps(given)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._buffer = b""
        try:
            self.port: int = self._answer(60.0)["port"]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Its number."""

        return self._process.pid

    def ask(self, question: str) -> Any:
        """Ask it something, as `subject` says.

        Raises:
            Dead: It has ended.
            TimeoutError: It does not answer.
        """

        assert self._process.stdin
        try:
            self._process.stdin.write(question.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None
        return self._answer(PATIENCE)

    def _answer(self, patience: float) -> Any:
        assert self._process.stdout
        fd = self._process.stdout.fileno()
        until = time.monotonic() + patience
        while b"\n" not in self._buffer:
            if not select.select([fd], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError("the process does not answer")
            data = os.read(fd, 65536)
            if not data:
                raise self._death()
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def _death(self) -> Dead:
        code = self._process.wait(PATIENCE)
        return Dead(f"the process ended with {code}: {self.read_errors()[-2000:]}")

    def read_errors(self) -> str:
        """Return what it has written to its standard error."""

        self._errors.seek(0)
        return self._errors.read().decode()

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""

        return self._process.poll() is None

    def descriptors(self) -> dict[int, str]:
        """Its descriptors."""

        with contextlib.suppress(OSError):
            return read_descriptors(self.pid)
        return {}

    def close(self) -> None:
        """End it."""

        self._errors.close()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        try:
            self._process.wait(SETTLING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Torturer:
    """Tortures one scenario.

    Args:
        scenario: What is done.
        setup: Where.
        work: An empty directory.
        library: Of inject.c.
        module: What is run.
        tell: Called with a line for each fault.
        traces: Whether each call that fails shows its stack there.
    """

    def __init__(
        self,
        scenario: Scenario,
        setup: Setup,
        work: Path,
        library: Path | None,
        *,
        module: str = "tests.torture.subject",
        tell: Callable[[str], object] = lambda _: None,
        traces: bool = False,
    ) -> None:
        self._tell = tell
        self._scenario = scenario
        self._setup = setup
        self._mount_point = self._directory = work / "served"
        self._directory.mkdir()
        self._names: list[str] = []
        if setup.way != "disk":
            make_files(self._directory)
            self._names = self._list()
        self._module = module
        self._injector: Injector | None = None
        self._preload: tuple[Path, Path] | None = None
        if setup.way == "preload":
            assert library is not None
            self._injector = Injector(work / "calls")
            self._preload = (library, work / "calls")
            if traces:
                self._injector.show_stacks()
        self._subject: Subject | None = None
        self._held: dict[int, str] = {}
        self._tasks: list[str] = []
        self._threads = 0

    def close(self) -> None:
        """End the process."""

        if self._subject is not None:
            self._subject.close()
            self._subject = None
        if self._injector is not None:
            self._injector.close()

    def _list(self) -> list[str]:
        return sorted(path.name for path in self._directory.iterdir())

    @property
    def subject(self) -> Subject:
        """The process, which is started if it does not run."""

        if self._subject is None:
            self._start()
        assert self._subject is not None
        return self._subject

    def _start(self) -> None:
        options: dict[str, Any] = {"uploads": self._scenario.uploads}
        if self._scenario.opening == "pooled":
            options["ports"] = _free_ports()
        has_disk = self._setup.way == "disk"
        subject = Subject(
            self._setup,
            self._mount_point,
            options,
            preload=self._preload,
            prefix=tuple(with_disk(DISK, self._mount_point)) if has_disk else (),
            module=self._module,
        )
        self._subject = subject
        if has_disk:
            # As that process sees it (proc(5)).
            self._directory = Path(f"/proc/{subject.pid}/root{self._mount_point}")
            make_files(self._directory)
            (self._directory / FILLER).touch()
            self._names = self._list()
        if self._injector is not None:
            self._injector.know_control_port(subject.port)
        self._threads = subject.ask("state")["threads"]
        # It is at rest, and what it opens once and for ever is open, after a few times.
        for number in range(3):
            self._tasks = self._rest()
            problems, _ = self._try(None, is_counted=number == 2)
            assert not problems, problems
            self._held = subject.descriptors()

    def _rest(self) -> list[str]:
        """Wait until nothing but the server itself runs; return its tasks."""

        fewest: list[str] | None = None
        unchanged = 0
        while unchanged < 20:
            tasks = self.subject.ask("state")["tasks"]
            if fewest is None or len(tasks) < len(fewest):
                fewest, unchanged = tasks, 0
            unchanged += 1
            time.sleep(0.002)
        assert fewest is not None
        return fewest

    def run(self, *, sample: tuple[int, int] = (0, 1), seed: int = 0) -> Report:
        """Count the calls, and let them fail, or a sample of them.

        Args:
            sample: K of N: one of N shares of the faults.
            seed: Decides which fault is in which share.
        """

        report = Report()
        began_at = time.monotonic()
        calls = self.count()
        report.calls = sum(calls.values())
        faults = self.faults(calls)
        random.Random(f"{seed} {self._scenario.name} {self._setup}").shuffle(faults)
        for fault in sorted(faults[sample[0] :: sample[1]]):
            self.try_fault(fault, report)
        self._check_threads(report)
        report.seconds = time.monotonic() - began_at
        return report

    def count(self) -> Counter[Call]:
        """Count the calls of the scenario."""

        problems, calls = self._try(None)
        assert not problems, problems
        return calls

    def record_all(self) -> Counter[Call]:
        """Do it once, and record every call from the first of the client to the last."""

        assert self._injector is not None
        self._injector.begin()
        problems, _ = self._try(None, is_counted=False)
        problems += self._leftovers().values()
        assert not problems, problems
        self._injector.end()
        return self._injector.calls()

    def faults(self, calls: Counter[Call]) -> list[Fault]:
        """Return every fault of these calls."""

        if self._setup.way == "preload":
            return faults_of(calls)
        if self._setup.way == "descriptors":
            # Without any, a client that arrives waits until there is one.
            fewest = int(self._scenario.opening == "arrival")
            return [
                Fault(NO_DESCRIPTORS, left, errno.EMFILE) for left in range(fewest, DESCRIPTORS)
            ]
        if self._setup.way == "disk":
            return [Fault(NO_SPACE, left, errno.ENOSPC) for left in range(PAGES)]

        return [
            # OpenSSL has numbers of its own.
            Fault(call, nth, errno.EPROTO)
            for call in sorted(calls)
            for nth in range(1, calls[call] + 1)
        ]

    def try_fault(self, fault: Fault, report: Report) -> None:
        """Let one call fail."""

        began_at = time.monotonic()
        try:
            problems, _ = self._try(fault, report)
        except Dead as death:
            problems = [str(death)]
        except TimeoutError as error:
            problems = [f"hangs: {error}"]
        finally:
            self._begin_end(None, begin=False)
        report.faults += 1
        if self._subject is not None and (errors := self._subject.read_errors()):
            self._tell(errors)
        self._tell(f"{fault}: {problems or 'well'} after {time.monotonic() - began_at:.3f} s")
        report.violations += [
            Violation(self._scenario.name, self._setup, fault, problem) for problem in problems
        ]
        if problems and self._subject is not None:
            # What it has lost would be missed again after the next fault.
            self._subject.close()
            self._subject = None

    def _begin_end(self, fault: Fault | None, *, begin: bool) -> tuple[bool, Counter[Call]]:
        """Begin to record, or end; tell whether the call has failed, and what was recorded."""

        if self._injector is not None:
            if begin:
                self._injector.begin(fault)
                return False, Counter()
            self._injector.end()
            return self._injector.has_fired, self._injector.calls()

        if self._setup.way == "descriptors":
            self._leave_descriptors(fault.nth if begin and fault is not None else None)
            return True, Counter()
        if self._setup.way == "disk":
            self._leave_space(fault.nth if begin and fault is not None else None)
            return True, Counter()

        if begin:
            self.subject.ask("ssl" if fault is None else f"ssl {fault}")
            return False, Counter()
        if self._subject is None or not self._subject.is_alive:
            return False, Counter()
        recorded = self._subject.ask("recorded")
        calls = {Call.parse(name): number for name, number in recorded["calls"].items()}
        return recorded["has_fired"], Counter(calls)

    def _try(
        self, fault: Fault | None, report: Report | None = None, *, is_counted: bool = True
    ) -> tuple[list[str], Counter[Call]]:
        """Do it once; return what must not be, and the calls."""

        scenario = self._scenario
        # To start it changes the files, too.
        _ = self.subject
        renew(self._directory)
        client = self._connect()
        calls: Counter[Call] = Counter()
        problems: list[str] = []
        has_fired = is_checked = False
        try:
            scenario.prepare(client, self._directory)
            if is_counted:
                self._begin_end(fault, begin=True)
            if scenario.opening == "relay":
                seen = self._relay()
            else:
                seen = scenario.run(client, self._directory)
            if fault is not None and self._has_fired():
                has_fired, _ = self._begin_end(fault, begin=False)
                if not seen.is_lost and scenario.opening != "relay":
                    problems += self._check_next(client)
                    is_checked = True
            client.quit()
        finally:
            client.close()

        left = self._leftovers() if is_counted else {}
        if is_counted and not has_fired:
            has_fired, calls = self._begin_end(fault, begin=False)
        problems += [f"left open: {text}" for text in left.values()]
        problems += self._judge(seen, fault if has_fired else None)
        if report is not None:
            report.outcomes[_outcome(seen, has_fired)] += 1
        problems += [text for text in self._check_state() if not _is_excused(text, fault)]
        if fault is not None and not is_checked:
            problems += self._check_with_another()
        return problems, calls

    def _check_state(self) -> list[str]:
        """Wait until its tasks have ended; return its complaints, and what is left."""

        problems: list[str] = []
        until = time.monotonic() + SETTLING
        while True:
            state = self.subject.ask("state")
            problems += state["complaints"]
            if state["tasks"] == self._tasks:
                return problems
            if time.monotonic() > until:
                return [*problems, f"tasks: {state['tasks']}"]
            time.sleep(0.001)

    def _leave_descriptors(self, number: int | None) -> None:
        """Let the process open this number of descriptors more; None for as many as ever."""

        if self._subject is None or not self._subject.is_alive:
            return
        most = resource.prlimit(self._subject.pid, resource.RLIMIT_NOFILE)[1]
        limit = most
        if number is not None:
            held = self._subject.descriptors()
            free = (fd for fd in itertools.count() if fd not in held)
            # The first that may not be opened.
            limit = next(itertools.islice(free, number, None))
        resource.prlimit(self._subject.pid, resource.RLIMIT_NOFILE, (limit, most))

    def _leave_space(self, pages: int | None) -> None:
        """Leave this number of pages of the disk; None for all that there are."""

        if self._subject is None or not self._subject.is_alive:
            return
        with (self._directory / FILLER).open("wb") as filler:
            if pages is not None:
                status = os.statvfs(filler.fileno())
                os.posix_fallocate(
                    filler.fileno(), 0, max(1, (status.f_bavail - pages) * status.f_frsize)
                )

    def _has_fired(self) -> bool:
        # That of TLS is only known when it is over.
        if self._setup.way in ("descriptors", "disk"):
            return True
        return self._injector is not None and self._injector.has_fired

    def _connect(self) -> Client:
        try:
            return Client(self.subject.port, authority_file() if self._setup.protects else None)
        except Lost as error:
            if not self.subject.is_alive:
                self.subject.ask("state")
            raise Dead(f"nobody can connect: {error!r}") from error

    def _check_next(self, client: Client) -> list[str]:
        """Look whether the next transfer of this session works."""

        with contextlib.suppress(Lost):
            # The fault may have come between a REST and its transfer.
            client.command("REST 0")
        seen = download(client, "RETR small", "passive")
        if seen.data == SMALL and seen.code == "226" and seen.end == "clean":
            return []
        return [f"the next transfer fails: {seen.replies} {seen.end} {len(seen.data)}"]

    def _check_with_another(self) -> list[str]:
        client = self._connect()
        try:
            problems = self._check_next(client)
            client.quit()
        finally:
            client.close()
        return problems

    def _leftovers(self) -> dict[int, str]:
        """Wait until everything is given back; return what is not."""

        until = time.monotonic() + SETTLING
        while True:
            now = self.subject.descriptors()
            left = {fd: text for fd, text in now.items() if self._held.get(fd) != text}
            if now == self._held or not self.subject.is_alive:
                return {}
            if time.monotonic() > until:
                return left or {-1: f"less is open: {self._held.keys() - now.keys()}"}
            time.sleep(0.001)

    def _judge(self, seen: Seen, fault: Fault | None) -> list[str]:
        """Say what is wrong with what the client has seen."""

        scenario = self._scenario
        kind = fault.call.kind if fault is not None else ""
        told = f"{seen.replies} {seen.end}, {len(seen.data)} bytes"
        problems = []
        hidden = [name for name in self._list() if name.startswith(".")]
        extra = set(self._list()) - set(self._names) - set(hidden) - {"new"}
        if extra:
            problems.append(f"files: {sorted(extra)}")

        is_success = seen.code[:1] == "2" and not seen.is_lost
        may_leave = (scenario.may_leave_part and not is_success) or (
            fault is not None and fault.call.name.startswith("unlink")
        )
        if any(not (may_leave and name.startswith(".ftpdata-")) for name in hidden):
            problems.append(f"hidden files are left: {hidden}")

        if is_success:
            has_begun = seen.has_begun or scenario.opening in ("arrival", "relay")
            if fault is not None and fault.error in GONE and scenario.is_download:
                # A peer that resets when it has all has got it: the end of TLS does not matter.
                seen = attrs.evolve(seen, end="clean")
            if not has_begun or not scenario.is_true(seen, self._directory):
                problems.append(f"a false success: {told}")
            return problems

        if fault is None and not scenario.is_failure:
            return [*problems, f"fails without a fault: {told}"]
        is_harmless = scenario.is_harmless(self._directory)
        # A reply may be lost after all was done.
        if not is_harmless and not (
            seen.is_lost and scenario.is_true(seen, self._directory)
        ):
            problems.append(f"a failure has done harm: {told}")
        if seen.is_lost:
            if scenario.opening != "arrival" and kind != "control":
                problems.append(f"the control connection is lost: {told}")
            return problems

        if fault is not None and scenario.opening != "arrival":
            problems += self._judge_failure(seen, fault, told)
        return problems

    def _judge_failure(self, seen: Seen, fault: Fault, told: str) -> list[str]:
        problems = []
        if seen.code[:1] not in ("4", "5"):
            problems.append(f"no final reply: {told}")
        elif fault.error in NOT_ABOUT_THE_NAME and seen.code[:1] != "4" and seen.code != "522":
            # 522: TLS was not agreed upon, whatever the reason (RFC 4217 §10.2).
            problems.append(f"{fault.error_name} is not about the name: {told}")
        is_download = self._scenario.is_download
        is_whole = is_download and self._scenario.is_true(seen, self._directory)
        if (
            is_download
            and seen.has_begun
            and seen.end == "clean"
            and not is_whole
            and fault.call.name != "setsockopt(SO_LINGER)"
        ):
            problems.append(f"a cut transfer looks whole: {told}")
        return problems

    def _relay(self) -> Seen:
        """Send through the relay, and receive what comes out of it."""

        seen = Seen()
        context: ssl.SSLContext | None = None
        if self._setup.protects:
            context = ssl.create_default_context(cafile=str(authority_file()))
        answer = self.subject.ask(f"relay {'tls' if self._setup.protects else 'clear'}")
        if isinstance(answer, str):
            seen.replies.append(answer)
            return seen

        def send() -> None:
            with contextlib.suppress(OSError), _connected(answer[0], context) as sock:
                sock.sendall(LARGE)
                if isinstance(sock, ssl.SSLSocket):
                    sock.unwrap()
                else:
                    sock.shutdown(socket.SHUT_WR)
                    sock.recv(1)

        sending = threading.Thread(target=send)
        sending.start()
        try:
            with _connected(answer[1], context) as sock:
                while chunk := sock.recv(65536):
                    seen.data += chunk
                seen.end = "clean"
        except OSError:
            seen.end = "cut"
        seen.replies += ["150 Relaying.", self.subject.ask("relayed")]
        sending.join()
        return seen

    def _check_threads(self, report: Report) -> None:
        until = time.monotonic() + THREADS_SETTLING
        while (now := self.subject.ask("state")["threads"]) > self._threads:
            if time.monotonic() > until:
                what = f"{now} threads, {self._threads} at the beginning"
                report.violations.append(
                    Violation(self._scenario.name, self._setup, None, what)
                )
                return
            time.sleep(0.05)


EXCUSED = {
    "close": (
        "Exception in callback _SelectorSocketTransport._call_connection_lost",
        "ResourceWarning: unclosed transport <_SelectorSocketTransport",
    ),
    "epoll_ctl(ADD)": ("Exception in callback _SelectorTransport._add_reader",),
    # uvloop has a transport by then, which it forgets.
    "setsockopt": ("ResourceWarning: unclosed resource <TCPTransport",),
    "ioctl": ("ResourceWarning: unclosed resource <TCPTransport",),
}
"""Complaints of the event loop's own transports about themselves, where nobody else has a say."""


def _is_excused(complaint: str, fault: Fault | None) -> bool:
    if fault is None:
        return False
    if any(text in complaint for text in EXCUSED.get(fault.call.name, ())):
        return True
    # What is no error of the system, and unexpected, is logged with its traceback, and is a 451.
    is_unexpected = fault.call.name == "pthread_create" or fault.call.caller == "tls"
    return is_unexpected and complaint.startswith("ERROR:ftpdata.examples.server:") and (
        "the session failed" not in complaint
    )


def _outcome(seen: Seen, has_fired: bool) -> str:
    if not has_fired:
        return "not reached"
    if seen.is_lost:
        return "control lost"
    return "success" if seen.code[:1] == "2" else "error"


@contextlib.contextmanager
def _connected(port: int, context: ssl.SSLContext | None) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        if context is None:
            yield sock
        else:
            with context.wrap_socket(
                sock, server_hostname="127.0.0.1", suppress_ragged_eofs=False
            ) as protected:
                yield protected


PORTS = 20
"""Of a pool. One that was lost with its session rests for two seconds."""


def _free_ports() -> list[int]:
    """Return the first and the last of some ports that nobody uses."""

    while True:
        with contextlib.suppress(OSError, OverflowError), contextlib.ExitStack() as stack:
            one = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            first = one.getsockname()[1]
            for port in range(first + 1, first + PORTS):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            return [first, first + PORTS - 1]
