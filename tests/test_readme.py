"""The programs of the README run unchanged; what it and the other pages name exists."""

from __future__ import annotations

import ast
import asyncio
import functools
import logging
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import ftpdata.observers
from ftpdata import connect_active, listen_passive, receive_file
from ftpdata.opening import PassiveEndpoint
from ftpdata.testing._checks._frame import CHECKS
from tests.interop.server_table import MARKERS
from tests.interop.table import rows_of

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PROMISES = (ROOT / "tests" / "promises.md").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "tests").rglob("*.md"))]
NAMED = sorted({
    named
    for page in PAGES
    for named in re.findall(
        r"`((?:tests|examples|ftpdata)/[^`\s]*|test_[a-z0-9_]+)`", page.read_text("utf-8")
    )
})
LINKS = sorted({
    (page, target)
    for page in PAGES
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
})
HEADING = re.compile(r"(?m)^#+ (.*)$")


def names_in(path: Path) -> set[str]:
    """Return the names of the functions of a module."""

    body = ast.parse(path.read_text("utf-8")).body
    return {item.name for item in body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}


@functools.cache
def all_tests() -> Counter[str]:
    """Return the names of all tests, and in how many modules each of them is."""

    modules = (ROOT / "tests").rglob("test_*.py")
    return Counter(name for path in modules for name in names_in(path))


@pytest.mark.parametrize("named", NAMED)
def test_what_is_named_is_there(named: str) -> None:
    """A promise names one test that proves it: none that was renamed, and none of several."""

    if "/" not in named:
        assert all_tests()[named] == 1
        return

    file, _, test = named.partition("::")
    assert (ROOT / file).exists()
    if test:
        assert test.partition("[")[0] in names_in(ROOT / file)


@pytest.mark.parametrize(
    ("page", "target"), LINKS, ids=[f"{page.name}-{target}" for page, target in LINKS]
)
def test_links_lead_somewhere(page: Path, target: str) -> None:
    """Links between the pages are relative, to files and headings that are there."""

    name, _, heading = target.partition("#")
    file = page.parent / name if name else page
    assert file.exists()
    if heading:
        headings = HEADING.findall(file.read_text("utf-8"))
        assert heading in {title.lower().replace(" ", "-") for title in headings}


def test_every_page_is_linked() -> None:
    """Who begins with the README finds all pages."""

    linked = {(page.parent / target.partition("#")[0]).resolve() for page, target in LINKS}
    assert {*PAGES[1:]} <= linked


def test_the_map_has_every_guide() -> None:
    """The README leads to the guide of each sub-package."""

    guides = sorted((ROOT / "ftpdata").glob("*/__init__.py"))
    assert {str(guide.relative_to(ROOT)) for guide in guides} <= {target for _, target in LINKS}


def test_the_rooms_are_there() -> None:
    """The guide to the package says where to change what: modules that are there, and names."""

    rows = re.findall(r"(?m)^\| .* \| (``.*) \|$", ftpdata.__doc__ or "")
    assert len(rows) > 10
    for row in rows:
        text = ""
        for name in re.findall(r"``([^`]+)``", row):
            if name.endswith(".py"):
                text = (ROOT / "ftpdata" / name).read_text("utf-8")
            else:
                assert name in text, row


def test_the_table_of_servers_has_every_check() -> None:
    """In the order of the checks, with their sources; ``nox -s interop`` looks at the rest."""

    page = (ROOT / "tests" / "interop" / MARKERS.page).read_text("utf-8")
    rows = rows_of(page, MARKERS)[2:-1]
    assert [(name, source) for name, source, *_ in rows] == [
        (check.name, check.source) for check in CHECKS.values()
    ]


def test_each_promise_is_proved() -> None:
    """Each row of a table of promises names a test."""

    proved = 0
    for table in re.findall(r"(?m)(?:^\|.*\n)+", PROMISES):
        heading, _, *rows = table.splitlines()
        if not re.search(r"\| proved (?:in|by) \|$", heading):
            continue
        proved += 1
        for row in rows:
            assert re.search(r"`tests/|`test_|every test", row.rpartition(" | ")[2]), row
    assert proved > 5


def test_every_attack_is_run_by_nox() -> None:
    """The long runs that the promises name are those of ``nox -s attacks``."""

    runs = set(re.findall(r"`tests/benchmarks/(\w+)\.py`", PROMISES))
    session = (ROOT / "noxfile.py").read_text("utf-8").partition("def attacks(")[2]
    listed = re.search(r"runs = \((.*?)\)", session, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r'"(\w+)"', listed[1])) == runs


PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
FIRST_PROGRAM, HANDLER = PROGRAMS


def test_first_program_of_the_readme(tmp_path: Path) -> None:
    """Pasted into a file, the program copies a file."""
    program, name, content = tmp_path / "first.py", tmp_path / "some.bin", os.urandom(300_001)
    program.write_text(FIRST_PROGRAM, "utf-8")
    name.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program), str(name)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=250,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.startswith(f"complete {len(content)} ")
    assert (tmp_path / "some.bin.copy").read_bytes() == content


Retr = Callable[[PassiveEndpoint, Path, Callable[[str], object]], Awaitable[None]]


@pytest.fixture
def retr() -> Retr:
    """Return the handler from the README, with its imports."""

    names: dict[str, Any] = {}
    exec(compile(HANDLER, "README.md", "exec"), names)
    handler: Retr = names["retr"]
    return handler


async def test_the_handler_of_the_readme(retr: Retr, tmp_path: Path) -> None:
    """It sends the file, and replies before and after it."""

    source, replies = tmp_path / "source", list[str]()
    await asyncio.to_thread(source.write_bytes, b"content")
    server = await listen_passive("127.0.0.1", control_peer="127.0.0.1")
    client = connect_active(server.address, control_peer="127.0.0.1")
    received, _ = await asyncio.gather(
        receive_file(client, tmp_path / "target"), retr(server, source, replies.append)
    )
    assert received.bytes == 7
    assert [reply[:4] for reply in replies] in (["125 ", "226 "], ["150 ", "226 "])


async def test_the_handler_of_the_readme_replies_to_an_error(
    retr: Retr, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets one line without a path; the log gets the reason."""

    replies: list[str] = []
    server = await listen_passive("127.0.0.1", control_peer="127.0.0.1")
    client = connect_active(server.address, control_peer="127.0.0.1")
    async with client:
        # The missing file is reported although nobody connects.
        opening = asyncio.ensure_future(client.open(keep=True))
        await retr(server, tmp_path / "none", replies.append)
    await asyncio.wait([opening])
    opening.exception()
    assert replies[-1].startswith("550 ")
    assert str(tmp_path) not in replies[-1]
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert str(tmp_path) in record.getMessage()
    assert record.exc_info is not None


def test_every_logger_is_named() -> None:
    """Operators find each logger of the package and of the server in the guide to observers."""

    named = set(re.findall(r"``(ftpdata\.[a-z_.]+)``", ftpdata.observers.__doc__ or ""))
    used = {
        name
        for folder in ("ftpdata", "examples/server")
        for path in (ROOT / folder).rglob("*.py")
        for name in re.findall(r'getLogger\("(ftpdata[^"]*)"\)', path.read_text("utf-8"))
    }
    assert "ftpdata.transfers" in used
    assert used <= named
