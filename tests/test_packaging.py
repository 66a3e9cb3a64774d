"""What is published: the wheel, the sdist, and what they say of themselves."""

from __future__ import annotations

import email
import importlib.util
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

import ftpdata
from tests.harness.builds import FIRST, build, build_twice, tracked

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
NAME = f"ftpdata-{ftpdata.__version__}"

needs_hatchling = pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None, reason="hatchling is not installed"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path]]:
    """Return what two builds have made in different surroundings."""

    return build_twice(tmp_path_factory.mktemp("builds"))


@pytest.fixture(scope="module")
def wheel(built: tuple[list[Path], list[Path]]) -> Path:
    """Return the wheel."""

    return next(path for path in built[0] if path.suffix == ".whl")


@pytest.fixture(scope="module")
def sdist(built: tuple[list[Path], list[Path]]) -> Path:
    """Return the sdist."""

    return next(path for path in built[0] if path.suffix == ".gz")


@needs_hatchling
def test_two_builds_have_the_same_bytes(built: tuple[list[Path], list[Path]]) -> None:
    """Whoever builds it can compare: place, time, zone, umask and order make no difference."""

    first, second = built
    assert [path.name for path in first] == [f"{NAME}-py3-none-any.whl", f"{NAME}.tar.gz"]
    assert [path.name for path in second] == [path.name for path in first]
    assert [path.read_bytes() for path in second] == [path.read_bytes() for path in first]


@needs_hatchling
def test_the_sdist_has_all_of_the_project(sdist: Path) -> None:
    """Who has it alone can run the tests: nothing that the version control has is missing."""

    with tarfile.open(sdist) as archive:
        names = {name.removeprefix(f"{NAME}/") for name in archive.getnames()}
    assert {"README.md", "LICENSE", "pyproject.toml", "noxfile.py", ".ci/run"} <= names
    if files := tracked():
        assert names ^ files == {"PKG-INFO"}


@needs_hatchling
def test_the_sdist_alone_builds_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    """As those do who package it for a system."""

    with tarfile.open(sdist) as archive:
        # The first releases of 3.11 have no filters.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path)
    (again,) = build(tmp_path / NAME, tmp_path / "built", FIRST, "wheel")
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


@needs_hatchling
def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    """With the mark that it is typed, its license, and the plugin of pytest."""

    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = archive.read(f"{NAME}.dist-info/entry_points.txt").decode()
        metadata = email.message_from_bytes(archive.read(f"{NAME}.dist-info/METADATA"))
    package = {
        str(path.relative_to(ROOT).as_posix())
        for path in (ROOT / "ftpdata").rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    assert "ftpdata/py.typed" in package
    assert names == package | {
        f"{NAME}.dist-info/{name}"
        for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    assert "ftpdata.testing.pytest_plugin" in entry_points
    assert metadata["Version"] == ftpdata.__version__
    assert metadata["License-Expression"] == "MIT"
    required = [value for value in metadata.get_all("Requires-Dist", []) if "extra" not in value]
    assert sorted(re.split(r"\W", value)[0] for value in required) == ["anyio", "attrs"]


def test_the_changelog_begins_with_this_version() -> None:
    """With the day of its release."""

    changelog = README.partition("\n## Changelog\n")[2]
    newest = re.search(r"^### (\S+) \((.*)\)$", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == ftpdata.__version__
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", newest[2])


def test_the_tables_of_servers_are_of_this_version() -> None:
    """``nox -s interop -- --write-table`` writes them anew for each."""

    tables = (ROOT / "tests" / "interop" / "servers.md").read_text("utf-8")
    assert {*re.findall(r"reference server (\d\S*)", tables)} == {ftpdata.__version__}
