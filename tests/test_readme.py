"""The programs of the README run unchanged; the files and tests that it names exist."""

from __future__ import annotations

import ast
import asyncio
import logging
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ftpdata import TransferParameters, connect_active, listen_passive, receive_file
from ftpdata.opening import PassiveEndpoint
from ftpdata.testing._checks._frame import CHECKS
from ftpdata.transfers import send_records
from tests.interop.server_table import MARKERS
from tests.interop.table import rows_of

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`((?:tests|examples|ftpdata)/[^`\s]*)`", README)))


def names_in(path: Path) -> set[str]:
    """Return the names of the functions of a module."""

    body = ast.parse(path.read_text("utf-8")).body
    return {item.name for item in body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("named", NAMED)
def test_what_is_named_is_there(named: str) -> None:
    """A promise names the test that proves it; a test that was renamed proves nothing."""

    file, _, test = named.partition("::")
    assert (ROOT / file).exists()
    if test:
        assert test in names_in(ROOT / file)


def test_the_table_of_servers_has_every_check() -> None:
    """In the order of the checks, with their sources; ``nox -s interop`` looks at the rest."""

    rows = rows_of(README, MARKERS)[2:-1]
    assert [(name, source) for name, source, *_ in rows] == [
        (check.name, check.source) for check in CHECKS.values()
    ]


def test_each_promise_is_proved() -> None:
    """Each row of a table of promises names a test."""

    for heading in ("## Promises", "## Security"):
        section = README.partition(f"{heading}\n")[2].partition("\n## ")[0]
        rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
        assert len(rows) > 5
        for row in rows:
            assert "`tests/" in row or "every test" in row, row


def test_every_attack_is_run_by_nox() -> None:
    """The long runs that the README names are those of ``nox -s attacks``."""

    runs = set(re.findall(r"`tests/benchmarks/(\w+)\.py`", README))
    session = (ROOT / "noxfile.py").read_text("utf-8").partition("def attacks(")[2]
    listed = re.search(r"runs = \((.*?)\)", session, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r'"(\w+)"', listed[1])) == runs


PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
FIRST_PROGRAM, HANDLER, LISTING, RECORDS = PROGRAMS


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


def test_listing_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    """The program prints what the listing says."""

    exec(compile(LISTING, "README.md", "exec"), {})
    assert capsys.readouterr().out == "SALES.Y2024.DATA FB 80\n"


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


async def test_the_records_of_the_readme() -> None:
    """They become a file with descriptor words."""

    names: dict[str, Any] = {}
    exec(compile(RECORDS, "README.md", "exec"), names)
    parameters = TransferParameters().with_type("E").with_mode("B")
    server = await listen_passive("127.0.0.1", control_peer="127.0.0.1")
    client = connect_active(server.address, control_peer="127.0.0.1")
    content, _ = await asyncio.gather(
        names["fetch"](client), send_records(server, [b"one", b""], parameters=parameters)
    )
    assert content == b"\0\x07\0\0one\0\x04\0\0"


def test_every_logger_is_named() -> None:
    """Operators find each logger of the package and of the server in the README."""

    named = set(re.findall(r"`(ftpdata\.[a-z_.]+)`", README))
    used = {
        name
        for folder in ("ftpdata", "examples/server")
        for path in (ROOT / folder).rglob("*.py")
        for name in re.findall(r'getLogger\("(ftpdata[^"]*)"\)', path.read_text("utf-8"))
    }
    assert "ftpdata.transfers" in used
    assert used <= named
