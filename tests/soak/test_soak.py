"""The soak: a sound server passes a short one, and each check of it finds its defect."""

from __future__ import annotations

import asyncio
from pathlib import Path

import attrs
import pytest

from tests.harness.loops import factory_of
from tests.soak.server import ServerProcess
from tests.soak.soak import SHORT, Soak
from tests.soak.spoiled import SPOILED

COMPLAINTS = {
    "memory": "resident grew",
    "objects": "objects grew",
    "descriptors": "descriptors more, among them",
    "threads": "threads",
    "tasks": "tasks, not",
    "log": "logged: WARNING spoiled what is that?",
    "late": "was answered after 6",
    "twice": "was answered by '200 Twice.'",
    "bytes": "Wrong: RETR",
    "files": "the file .spoiled",
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_sound_server_passes(served_directory: Path, loop: str) -> None:
    """In ten seconds; ``python -m tests.soak`` takes an hour."""

    factory_of(loop)
    lines: list[str] = []
    with ServerProcess(served_directory, loop=loop) as process:
        soak = Soak(process, served_directory, seed=1, bounds=SHORT, say=lines.append)
        assert asyncio.run(soak.run(10, period=2)), "\n".join(soak.summary())
        assert process.end() == 0
    assert lines
    assert "0 violations" in soak.summary()


def test_each_defect_has_its_complaint() -> None:
    """No check is without proof."""

    assert COMPLAINTS.keys() == SPOILED.keys()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", COMPLAINTS)
def test_a_spoiled_server_does_not_pass(served_directory: Path, name: str) -> None:
    """The soak ends with the violation, as soon as it sees it."""

    with ServerProcess(served_directory, spoiled=name) as process:
        soak = Soak(
            process, served_directory, seed=2, pause=0.05, stops_early=True,
            bounds=attrs.evolve(SHORT, seconds=1.0),
        )
        assert not asyncio.run(soak.run(60, period=0.5))
    for path in served_directory.glob(".spoiled*"):
        path.unlink()
    assert any(COMPLAINTS[name] in violation for violation in soak.violations), soak.violations
