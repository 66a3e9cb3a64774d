"""The site for the tests: one that was made before, or a new one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.links import Page, read_pages
from tests.docs.modules import ROOT


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that say where the site is, and where its pictures go."""

    group = parser.getgroup("docs")
    group.addoption("--site", type=Path, metavar="DIRECTORY", help="the site; made if not given")
    group.addoption(
        "--screenshots", type=Path, metavar="DIRECTORY", help="where screenshots are written"
    )


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the site."""

    made: Path | None = request.config.getoption("--site")
    if made is not None:
        return made.resolve()

    directory = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "tests.docs", str(directory)], cwd=ROOT, check=True, timeout=120
    )
    return directory


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[str, Page]:
    """Return the pages of the site by their path."""

    return read_pages(site)


@pytest.fixture(scope="session")
def screenshots(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory for screenshots."""

    wanted: Path | None = request.config.getoption("--screenshots")
    directory = wanted or tmp_path_factory.mktemp("screenshots")
    directory.mkdir(parents=True, exist_ok=True)
    return directory
