"""The checks of `ftpdata.testing` against the reference server, and against others.

The reference server passes whole. Of the others, the checks say what they find: what that is
stands in the table of `servers.md`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from ftpdata.testing import CheckResult, Outcome, Protection, check_server
from ftpdata.testing._checks._frame import CHECKS
from tests.interop.daemons import CHECKED, DAEMONS, Daemon, ReferenceServer
from tests.interop.served import missing

RUNS = [(daemon, protection) for daemon in DAEMONS for protection in daemon.protections]


@pytest.mark.parametrize(
    ("daemon", "protection"), RUNS, ids=[f"{daemon.name}-{how.value}" for daemon, how in RUNS]
)
def test_a_server_is_checked(
    daemon: Daemon,
    protection: Protection,
    directory: Path,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    """Every check comes to a verdict, in time, and leaves nothing behind."""

    if daemon.version is None:
        missing(daemon.name)

    served, state = directory / "served", directory / "state"
    served.mkdir()
    state.mkdir()
    with daemon.running(served, state, protection) as server:
        # What is late depends on what else this machine does. No server here takes its time.
        patient = attrs.evolve(server, late=10.0, patience=8.0)
        results = asyncio.run(check_server(patient, at_once=6))
        left = [path.name for path in served.rglob("*")]

    report = "\n".join(map(_line, results))
    request.node.add_report_section("call", "checks", report)
    record_property(CHECKED, [daemon.name, {done.name: done.result.value for done in results}])
    assert [done.name for done in results] == [*CHECKS]
    assert left == ["files"]
    assert "no time was left" not in report
    assert "the check does not understand" not in report
    if isinstance(daemon, ReferenceServer):
        wrong = [done for done in results if done.result in {Outcome.FAIL, Outcome.WARNING}]
        assert not wrong, "\n".join(map(_line, wrong))
    else:
        assert sum(done.result is Outcome.PASS for done in results) > len(results) / 4


def _line(done: CheckResult) -> str:
    return f"{done.result.value}: {done.name} ({done.seconds:.1f} s) {done.why}"
