"""Whole sessions of the reference server, cancelled at each suspension of the session's task.

After each cancellation nothing is left of the session, and the files are what the client's last
reply says. ``--all-sweeps`` runs every case in every way; otherwise each case runs in two.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ftpdata.testing import sweep
from tests.harness.loops import start_tasks_eagerly
from tests.sweeps.sessions import CASES, PATIENCE, staged
from tests.sweeps.ways import Way, ways

PART = "file *.ftpdata-part.*"
"""What is kept for a resumption."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the ways in which each case runs."""

    if "way" in metafunc.fixturenames:
        metafunc.parametrize(("name", "way"), ways(CASES, metafunc.config), ids=str)


@pytest.mark.blocking_allowed("the sweep runs the test's own file calls")
@pytest.mark.timeout(900)
async def test_cancelling_a_session(served_directory: Path, name: str, way: Way) -> None:
    """Nothing is left, and what the replies said is so."""

    if way.is_eager:
        start_tasks_eagerly()
    reset = way.reset
    async with staged(CASES[name], served_directory) as stage:
        await stage.play_undisturbed()
        published = {f"file */{file}" for state in stage.case.states for file in state}
        suspensions = await sweep(
            stage.run,
            check=stage.check,
            patience=PATIENCE,
            twice=way.is_twice,
            disturb=None if reset is None else lambda: stage.cut(reset),
            directories=[served_directory],
            may_leave={PART, *published},
        )
    assert suspensions > 4
