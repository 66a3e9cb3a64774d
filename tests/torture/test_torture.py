"""A sample of the torture; ``nox -s torture`` lets every call fail. And the torture tortured."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.disks import can_mount
from tests.harness.loops import LOOP_FACTORIES
from tests.harness.packages import needs_cpython
from tests.torture.injection import SHORT, Call, Fault, compile_library
from tests.torture.scenarios import SCENARIOS, Scenario
from tests.torture.torture import Report, Setup, Torturer

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or shutil.which("cc") is None,
        reason="needs Linux and a C compiler",
    ),
    needs_cpython("the calls that PyPy makes for itself are others in each run"),
]

SCENARIO_SHARES = 6
FAULT_SHARES = {"preload": 24, "python": 4, "descriptors": 4, "disk": 8}
"""In how many commits, about, each scenario and each of its faults has its turn."""


def turn() -> int:
    """Return a number that is another one whenever the sources are others, and only then."""

    digest = hashlib.sha256()
    for package in ("ftpdata", "examples/server", "tests/torture"):
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return int.from_bytes(digest.digest()[:8], "big")


def sampled(setup: Setup) -> Iterator[Scenario]:
    """Give the scenarios whose turn it is."""

    offset = turn() + sum(str(setup).encode())
    for number, scenario in enumerate(SCENARIOS.values()):
        if (number + offset) % SCENARIO_SHARES == 0 and (setup.way != "disk" or scenario.stores):
            yield scenario


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the compiled library."""

    return compile_library(tmp_path_factory.mktemp("library"))


# A client's: Python loses it if the peer is gone before it has a name.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("protects", "way"),
    [
        (False, "preload"),
        (True, "preload"),
        (True, "python"),
        (True, "descriptors"),
        pytest.param(
            *(False, "disk"),
            marks=pytest.mark.skipif(not can_mount(), reason="may not mount a disk here"),
        ),
    ],
)
def test_a_sample_of_the_faults(
    loop: str, protects: bool, way: str, library: Path, tmp_path: Path
) -> None:
    """An error with a reply, or a success that is true; nothing is left, and all goes on."""

    if LOOP_FACTORIES[loop] is None:
        pytest.skip(f"no {loop} here")
    setup = Setup(loop, protects, way)
    shares = FAULT_SHARES[way]
    share = turn() // SCENARIO_SHARES % shares
    faults = 0
    for scenario in sampled(setup):
        work = tmp_path / scenario.name
        work.mkdir()
        torturer = Torturer(scenario, setup, work, library)
        try:
            report = torturer.run(sample=(share, shares))
        finally:
            torturer.close()
        assert not report.violations, "\n".join(map(str, report.violations))
        faults += report.faults
    assert faults


FAULT = Fault(Call("write", "python", "file"), 1, errno.ENOSPC)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("", None),
        ("descriptor", "left open: /dev/null"),
        ("lie", "a false success"),
        ("complaint", "broken"),
        ("task", "tasks: "),
        ("hidden", "hidden files are left"),
        ("next", "the next transfer fails"),
        ("harm", "a failure has done harm"),
        ("code", "ENOSPC is not about the name"),
        ("death", "the process ended with 3"),
    ],
)
def test_a_broken_promise_is_noticed(
    how: str,
    expected: str | None,
    library: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each kind of it, with what does it again."""

    monkeypatch.setenv("FTPDATA_BROKEN", how)
    monkeypatch.setattr("tests.torture.torture.SETTLING", 0.5)
    torturer = Torturer(
        SCENARIOS["stor-small"],
        Setup("asyncio", protects=False),
        tmp_path,
        library,
        module="tests.torture.broken",
    )
    report = Report()
    try:
        torturer.try_fault(FAULT, report)
    finally:
        torturer.close()
    assert report.faults == 1
    if expected is None:
        assert not report.violations
        assert report.outcomes == {"error": 1}
    else:
        assert any(expected in violation.what for violation in report.violations)
        assert f"--fault '{FAULT}'" in report.violations[0].replay


def test_a_fault_is_read_as_it_is_written() -> None:
    """What a violation shows is what ``--fault`` takes."""

    for error in (errno.EIO, SHORT):
        fault = Fault(Call("splice", "uvloop", "data"), 3, error)
        assert Fault.parse(str(fault)) == fault


# What the library of the harness does not see

SYSTEM_CALLS = {
    **dict.fromkeys(("open", "open64", "openat64"), "openat"),
    **dict.fromkeys(("fstat64", "fstatat64", "stat64", "lstat64"), "newfstatat"),
    **dict.fromkeys(("dup", "fcntl(flags)", "fcntl(F_SETPIPE_SZ)", "fcntl64"), "fcntl"),
    **dict.fromkeys(("epoll_ctl(ADD)",), "epoll_ctl"),
    **dict.fromkeys(("setsockopt(SO_LINGER)",), "setsockopt"),
    "closedir": "close",
    "send": "sendto",
    "recv": "recvfrom",
    "preadv64v2": "preadv2",
    "sendfile64": "sendfile",
    "faccessat": "faccessat2",
    "fallocate64": "fallocate",
    "ftruncate64": "ftruncate",
    "lseek64": "lseek",
    "mmap64": "mmap",
    "pthread_create": "clone3",
    "readdir64": "getdents64",
    "syscall(426)": "io_uring_enter",
    "syscall(437)": "openat2",
}
"""By the function of the C library that makes it, where the names differ."""

NEVER_FAIL = frozenset({
    *("futex", "munmap", "madvise", "mprotect", "brk", "sched_yield", "gettid", "getpid"),
    *("rt_sigprocmask", "rt_sigaction", "rt_sigreturn", "clock_gettime", "clock_nanosleep"),
    *("geteuid", "lseek"),  # the second in rewinddir(3), which has no result
    *("set_robust_list", "rseq", "exit", "restart_syscall", "getrandom", "sched_getaffinity"),
})
"""And those whose failure only the C library sees, or nobody: its memory and threads."""

ITS_OWN = {"newfstatat", "getsockname", "getsockopt"}
"""What the library itself asks about each descriptor."""

ONE_BY_ONE = (
    *("openat", "close", "sendto", "recvfrom", "accept4", "socket", "bind", "listen", "shutdown"),
    *("setsockopt", "sendfile", "splice", "pipe2", "preadv2", "renameat", "unlinkat", "fallocate"),
    *("write", "read", "fchmod", "flock"),
)
"""Calls of which none may go past the library; for the others, C has more than one way."""


def traced(path: Path) -> Counter[str]:
    """Count what strace has seen, but for the thread that works for the harness."""

    lines = [line.split(maxsplit=1) for line in path.read_text(errors="replace").splitlines()]
    harness = {thread for thread, call in lines if call.startswith("read(0")}
    names = (
        re.match(r"(\w+)\(", call) for thread, call in lines if thread not in harness
    )
    return Counter(name[1] for name in names if name)


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("name", ["retr-large", "stor", "mlsd", "resume"])
def test_no_system_call_goes_past_the_harness(
    name: str, loop: str, library: Path, tmp_path: Path
) -> None:
    """What strace sees, the library has recorded, and so every call that may fail does fail."""

    if LOOP_FACTORIES[loop] is None:
        pytest.skip(f"no {loop} here")
    torturer = Torturer(SCENARIOS[name], Setup(loop, protects=False), tmp_path, library)
    trace = tmp_path / "trace"
    try:
        pid = torturer.subject.pid
        command = ["strace", "-f", "-o", str(trace), "-p", str(pid)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            try:
                assert strace.stderr
                if "attached" not in strace.stderr.readline():
                    pytest.skip("may not trace a process here")
                calls = torturer.record_all()
            finally:
                strace.send_signal(signal.SIGINT)
                strace.communicate()
    finally:
        torturer.close()

    seen = traced(trace)
    recorded: Counter[str] = Counter()
    for call, number in calls.items():
        recorded[SYSTEM_CALLS.get(call.name, call.name)] += number
    past = seen.keys() - recorded.keys() - NEVER_FAIL - ITS_OWN
    assert past == set()
    assert {name: seen[name] for name in ONE_BY_ONE} == {
        name: recorded[name] for name in ONE_BY_ONE
    }
