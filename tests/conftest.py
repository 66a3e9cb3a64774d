"""Rules for every test: event loops, leaks, blocking calls.

* ``async def test_…`` runs in a new event loop in debug mode, once on asyncio and once on uvloop.
* ftpdata and examples must not block the loop of an async test.
* No test leaves behind tasks, threads, child processes, file descriptors (bound ports among
  them), unclosed transports, temporary files, or exceptions that nobody retrieved.

Exceptions from these rules are markers, each with a reason (``pytest --markers``).
``test_conftest.py`` tests that the rules are enforced.
"""

from __future__ import annotations

import asyncio.constants
import gc
import inspect
import itertools
import linecache
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from ftpdata.files._cache import lives_in_memory
from ftpdata.files._threads import Job, WorkerThreads
from tests.harness.blocking import AVAILABLE as CAN_SEE_BLOCKING
from tests.harness.blocking import detect_blocking_calls, remove_late_wrappers
from tests.harness.leaks import CAN_SEE_DESCRIPTORS, Holdings, hidden_files
from tests.harness.loops import LOOP_FACTORIES, run_in_new_loop, warm_up
from tests.harness.packages import reason_to_skip, skipping
from tests.harness.shares import Share

# On a busy machine a time limit for examples would fail at random.
hypothesis.settings.register_profile(
    "ftpdata",
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("ftpdata")

_LOOP_FIXTURE = "loop_name"

TESTS = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that choose the loops and the share."""

    parser.addoption(
        "--loop",
        action="append",
        choices=sorted(LOOP_FACTORIES),
        help="event loop of async tests; may be given again (default: all)",
    )
    parser.addoption(
        "--share",
        type=Share.parse,
        metavar="K/N",
        help="run one of N parts of the tests; each part has tests of every file",
    )
    parser.addoption(
        "--chains", type=int, default=200, help="chains of uploads that are cut and resumed"
    )
    parser.addoption("--first-chain", type=int, default=0, help="the first of them")
    parser.addoption(
        "--seeds", type=int, default=2, help="orders in which each session is shuffled"
    )
    parser.addoption("--steps", type=int, default=5000, help="steps of random walks")
    parser.addoption("--first-seed", type=int, default=0, help="the first of them")
    parser.addoption(
        "--all-sweeps", action="store_true", help="cancel every session in every way"
    )
    parser.addoption(
        "--kills", type=int, default=12, help="how often a server is killed while it receives"
    )


def pytest_configure() -> None:
    """Keep the files of the tests on a disk, if there is one.

    Many systems keep /tmp in memory, where ftpdata needs no threads: tests that let a thread
    hang, or count waits, would find none. Files in memory have tests of their own, in /dev/shm.
    """

    if _is_in_memory(tempfile.gettempdir()) and not _is_in_memory(_ON_DISK):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _ON_DISK)


_ON_DISK = "/var/tmp"  # survives a restart (hier(7)), and so is not in memory


def _is_in_memory(directory: str) -> bool:
    try:
        fd = os.open(directory, os.O_RDONLY)
    except OSError:
        return True

    try:
        return lives_in_memory(fd)
    finally:
        os.close(fd)


END_TO_END = frozenset({
    *("client", "server", "soak", "sweeps", "torture", "walk"),
    *("test_benchmarks.py", "test_conftest.py", "test_examples.py", "test_imports.py"),
    *("test_main.py", "test_packaging.py", "test_systems.py"),
})
"""The files and folders of tests that run programs, or a whole server."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests that run programs, or a whole server."""

    if item.path.is_relative_to(TESTS) and item.path.relative_to(TESTS).parts[0] in END_TO_END:
        item.add_marker("end_to_end")


def _loops(config: pytest.Config) -> list[str]:
    chosen = config.getoption("--loop")
    return [name for name in LOOP_FACTORIES if not chosen or name in chosen]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Report which of the checks this system permits."""

    return [
        "event loops: " + ", ".join(name for name in _loops(config) if LOOP_FACTORIES[name]),
        f"blocking calls: {'detected' if CAN_SEE_BLOCKING else 'NOT DETECTED HERE'}",
        f"leaked descriptors: {'detected' if CAN_SEE_DESCRIPTORS else 'NOT DETECTED HERE'}",
    ]


# Async tests


def _async_function(function: Any) -> Callable[..., Coroutine[Any, Any, object]] | None:
    """Return the coroutine function of a test, if it has one, also under ``@given``."""

    inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    return inner if inspect.iscoroutinefunction(inner) else None


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: Any) -> None:
    """Give every async test the name of a loop as a parameter."""

    if collector.istestfunction(obj, name) and _async_function(obj):
        pytest.mark.usefixtures(_LOOP_FIXTURE)(obj)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every async test once on each loop; a loop that is not installed is a visible skip."""

    if _LOOP_FIXTURE not in metafunc.fixturenames:
        return

    only_asyncio = metafunc.definition.get_closest_marker("asyncio_only")
    _reason(only_asyncio)
    metafunc.parametrize(
        _LOOP_FIXTURE,
        [
            pytest.param(
                name,
                marks=(
                    pytest.mark.skipif(make is None, reason=f"no {name} here"),
                    *([pytest.mark.uvloop] if name == "uvloop" else []),
                ),
            )
            for name, make in LOOP_FACTORIES.items()
            if name in _loops(metafunc.config) and (name == "asyncio" or not only_asyncio)
        ],
    )


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test in a new loop."""

    function = pyfuncitem.obj
    async_function = _async_function(function)
    if async_function is None:
        return None

    loop_name = str(pyfuncitem.callspec.params[_LOOP_FIXTURE])
    may_block = pyfuncitem.get_closest_marker("blocking_allowed")
    _reason(may_block)

    def run(*args: Any, **kwargs: Any) -> None:
        with nullcontext() if may_block else detect_blocking_calls():
            run_in_new_loop(loop_name, async_function(*args, **kwargs))

    names = inspect.signature(function).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names if name in pyfuncitem.funcargs}
    if async_function is function:
        run(**arguments)
        return True

    # Hypothesis calls the inner test for every example: each gets its own loop.
    function.hypothesis.inner_test = run
    try:
        function(**arguments)
    finally:
        function.hypothesis.inner_test = async_function

    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, object, object]:
    """Restore the functions that the detector of blocking calls watches, after all fixtures."""

    try:
        return (yield)
    finally:
        remove_late_wrappers()


def _reason(mark: pytest.Mark | None) -> None:
    """Require a reason for an exception from the rules."""

    if mark is not None and not (len(mark.args) == 1 and isinstance(mark.args[0], str)):
        raise pytest.UsageError(f"mark {mark.name} wants one argument, the reason")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Skip the files of tests that need a package which this Python cannot have."""

    report = yield
    failure = report.call.excinfo if report.failed else None
    if failure is not None and (reason := reason_to_skip(failure.value)):
        report.outcome, report.longrepr = "skipped", (str(collector.path), 0, f"Skipped: {reason}")

    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """Skip the tests that need a package which this Python cannot have."""

    with skipping():
        yield


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the requested share of the tests."""

    share: Share | None = config.getoption("--share")
    if share is None:
        return

    chosen = share.of(items, file=lambda item: item.path)
    kept = set(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = chosen


# Leaks


def pytest_collection_finish() -> None:
    """Open what stays open for ever, and hide all that exists from the garbage collector."""

    warm_up()
    # In debug mode, asyncio records where each callback was made, and each time asks the system
    # whether the sources have changed since: a sixth of the time of all tests.
    linecache.checkcache = _believe_the_cache
    # And writes down ten frames, a quarter of that time: the next ones are enough to find it.
    setattr(asyncio.constants, "DEBUG_STACK_DEPTH", 3)  # noqa: B010 - mypy takes it for final
    gc.collect()
    _freeze()


def _freeze() -> None:
    """Hide all that exists from the garbage collector, where Python can: PyPy cannot."""

    getattr(gc, "freeze", int)()


def _believe_the_cache(filename: str | None = None) -> None:
    """Assume that no source file changes while the tests run."""


_tests_run = itertools.count(1)
_FREEZE_EVERY = 16


def _spare_the_collector() -> None:
    """Freeze what outlives the tests now and then, since each test adds to it (reports, caches).

    This is not done after every test, since the objects of the last test would stay for ever.
    """

    if next(_tests_run) % _FREEZE_EVERY == 0:
        _freeze()


class _AsyncioErrors(logging.Handler):
    """Keeps the errors that event loops report: exceptions never retrieved, tasks destroyed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # Debug mode adds where the object was made; pytest shows it with the captured log.
        text = record.getMessage().partition("\nsource_traceback")[0]
        if record.exc_info and record.exc_info[1] is not None:
            text += f"\n  {record.exc_info[1]!r}"

        self.messages.append(text)


@contextmanager
def _unraisable_exceptions() -> Iterator[list[str]]:
    """Keep what finalizers raise, above all ResourceWarnings, as text.

    pytest would do so, too, but it blames the next test if this one fails for another reason.
    """

    messages: list[str] = []

    def keep(unraisable: sys.UnraisableHookArgs) -> None:
        # Keep only text: a reference to the object would resurrect it.
        message = unraisable.err_msg or f"exception ignored in {unraisable.object!r}"
        messages.append(f"{message}: {unraisable.exc_value!r}")

    previous, sys.unraisablehook = sys.unraisablehook, keep
    try:
        yield messages
    finally:
        sys.unraisablehook = previous


@pytest.fixture(autouse=True)
def _nothing_left_behind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Fail a test that leaves something behind. It is set up first, so that it checks last."""

    allowed = request.node.get_closest_marker("leaks_allowed")
    _reason(allowed)

    errors = _AsyncioErrors()
    logger = logging.getLogger("asyncio")
    logger.addHandler(errors)
    scratch = _scratch_directory(tmp_path_factory)
    previous_tempdir = tempfile.tempdir
    tempfile.tempdir = str(scratch)
    before = Holdings.now()

    yield

    with _unraisable_exceptions() as unraisable:
        leaks = before.leaks()
    _spare_the_collector()

    logger.removeHandler(errors)
    tempfile.tempdir = previous_tempdir
    temporary = sorted(scratch.iterdir())
    for path in temporary:
        path.rename(tmp_path_factory.mktemp("leaked") / path.name)

    complaints = [] if allowed else [*leaks, *(f"temporary file {path.name}" for path in temporary)]
    complaints += [*unraisable, *errors.messages]
    if complaints:
        pytest.fail("the test left behind:\n" + "\n".join(complaints), pytrace=False)


_scratch: list[Path] = []


def _scratch_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not _scratch:
        _scratch.append(tmp_path_factory.mktemp("scratch"))

    return _scratch[0]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Abandon hanging threads at once."""

    monkeypatch.setattr("ftpdata.files._workers.ABANDON_AFTER", 0.01)


@pytest.fixture
def served_directory(tmp_path: Path) -> Iterator[Path]:
    """Return an empty directory to serve; fail if it keeps a hidden file that nobody can resume."""

    directory = tmp_path / "served"
    directory.mkdir()
    yield directory
    left = [path for path in hidden_files(directory) if ".ftpdata-part." not in path.name]
    if left:
        names = "\n".join(f"  {path.relative_to(directory)}" for path in left)
        pytest.fail(f"partial uploads left in the served directory:\n{names}", pytrace=False)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Give a directory beside the served one, with a secret in it."""

    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "secret").write_bytes(b"secret")
    return directory


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Return what worker threads are given from now on."""

    given: list[Job] = []
    start = WorkerThreads.start

    def counted(threads: WorkerThreads, job: Job) -> None:
        given.append(job)
        start(threads, job)

    monkeypatch.setattr(WorkerThreads, "start", counted)
    return given
