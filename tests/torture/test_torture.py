"""A sample of the torture; ``nox -s torture`` lets every call fail. And the torture tortured."""

from __future__ import annotations

import errno
import hashlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.loops import LOOP_FACTORIES
from tests.torture.injection import SHORT, Call, Fault, compile_library
from tests.torture.scenarios import SCENARIOS, Scenario
from tests.torture.torture import Report, Setup, Torturer

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None,
    reason="needs Linux and a C compiler",
)

SCENARIO_SHARES = 4
FAULT_SHARES = {"preload": 8, "python": 2}
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
        if (number + offset) % SCENARIO_SHARES == 0:
            yield scenario


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the compiled library."""

    return compile_library(tmp_path_factory.mktemp("library"))


# A client's: Python loses it if the peer is gone before it has a name.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("protects", "way"), [(False, "preload"), (True, "preload"), (True, "python")]
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
