"""Builds the package again and again, each time as another person would on another machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["FIRST", "SECOND", "Surroundings", "build", "build_twice", "copy_sources", "tracked"]

ROOT = Path(__file__).parents[2]

_TOP = (
    *(".ci", ".gitignore", "LICENSE", "README.md"),
    *("examples", "ftpdata", "noxfile.py", "pyproject.toml", "tests"),
)

PATIENCE = 200.0
"""Seconds that one build may take."""


class Surroundings:
    """What differs from machine to machine, and must make no difference.

    Args:
        umask: The permissions that new files do not have.
        zone: The time zone.
        hashing: What the hashes of texts depend on, and with them the order of sets.
        moment: When the sources were last changed, in seconds since 1970.
    """

    def __init__(self, *, umask: int, zone: str, hashing: int, moment: int) -> None:
        self.umask = umask
        self.zone = zone
        self.hashing = hashing
        self.moment = moment


FIRST = Surroundings(umask=0o022, zone="UTC", hashing=1, moment=1_000_000_000)
SECOND = Surroundings(umask=0o077, zone="Asia/Kathmandu", hashing=2, moment=2_000_000_001)


def tracked() -> set[str]:
    """Return the files that are, or are about to be, under version control; none without git."""

    if shutil.which("git") is None:
        return set()

    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    names = set(listed.stdout.split("\0")) if listed.returncode == 0 else set()
    # One that was deleted is listed until somebody says so.
    return {name for name in names if (ROOT / name).is_file()}


def _unpacked() -> set[str]:
    """Return the files of the project where they come from an sdist."""

    found = [path for top in _TOP for path in (ROOT / top).rglob("*") if path.is_file()]
    found += [ROOT / top for top in _TOP if (ROOT / top).is_file()]
    return {
        path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts
    }


def copy_sources(target: Path, around: Surroundings) -> None:
    """Copy what the version control has of the project, or what an sdist has.

    Args:
        target: A directory to be made.
        around: When and with which permissions it is copied.
    """

    # In the other direction, for file systems that list what was made first, first.
    for name in sorted(tracked() or _unpacked(), reverse=around is SECOND):
        source, copy = ROOT / name, target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        copy.chmod((0o777 if os.access(source, os.X_OK) else 0o666) & ~around.umask)
        os.utime(copy, (around.moment, around.moment))


def build(source: Path, into: Path, around: Surroundings, *kinds: str) -> list[Path]:
    """Build distributions.

    Args:
        source: The directory of the project.
        into: Where they go.
        around: What it is like there.
        kinds: Which of them, ``sdist`` and ``wheel``; both by default.

    Returns:
        Their files, by name.
    """

    wanted = [argument for kind in kinds for argument in ("-t", kind)]
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(into), *wanted],
        cwd=source,
        env={
            **{name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"},
            "TZ": around.zone,
            "PYTHONHASHSEED": str(around.hashing),
        },
        umask=-1 if sys.platform == "win32" else around.umask,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"hatchling cannot build it:\n{done.stdout}")

    return sorted(into.iterdir())


def build_twice(work: Path) -> tuple[list[Path], list[Path]]:
    """Build both distributions in two places, times, zones and moods.

    Args:
        work: An empty directory.

    Returns:
        The files of the first build, and those of the second.
    """

    made = []
    for name, around in (("first", FIRST), ("elsewhere/second", SECOND)):
        source = work / name / "sources"
        copy_sources(source, around)
        made.append(build(source, work / name / "built", around))

    return made[0], made[1]


def main(into: str) -> None:
    """Build twice, compare, and leave what was built: ``python -m tests.harness.builds INTO``.

    Raises:
        SystemExit: The second build differs from the first.
    """

    with tempfile.TemporaryDirectory() as work:
        first, second = build_twice(Path(work))
        if [path.name for path in first] != [path.name for path in second]:
            sys.exit("two builds have made other files")
        for one, other in zip(first, second, strict=True):
            if one.read_bytes() != other.read_bytes():
                sys.exit(f"two builds of {one.name} differ")
            shutil.copy(one, into)


if __name__ == "__main__":
    main(*sys.argv[1:])
