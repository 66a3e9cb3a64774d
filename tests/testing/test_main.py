"""``python -m ftpdata.testing``: what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ftpdata.testing import __main__ as command
from ftpdata.testing._checks._frame import CHECKS
from tests.testing.scripted_server import PASSWORD, USER, Session, saying, scripted_server

ROOT = Path(__file__).parents[2]
LOGIN = ["--user", f"{USER}:{PASSWORD}"]
NAME = "noop-command"

pytestmark = pytest.mark.asyncio_only("the command has a loop of its own, in a thread")


async def run(root: Path, *options: str, session: type[Session] = Session) -> int:
    """Run the command against a scripted server; return its exit status."""

    async with scripted_server(root, session) as server:
        return await asyncio.to_thread(
            command.main, [server.host, str(server.port), *LOGIN, *options]
        )


async def test_a_check_that_passes_has_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is nothing to say of it."""

    assert await run(tmp_path, "--only", NAME) == 0
    row, empty, summary = capsys.readouterr().out.splitlines()
    assert row.split() == ["pass", NAME]
    assert empty == ""
    assert summary.startswith("1 pass, 0 fail, 0 warning, 0 not offered, in ")


async def test_a_check_that_fails_says_why_and_where_it_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source follows the reason."""

    monkeypatch.setenv("COLUMNS", "200")
    session = saying("NOOP", "500 what?")
    assert await run(tmp_path, "--only", NAME, session=session) == 1
    row = capsys.readouterr().out.splitlines()[0]
    assert row.split(maxsplit=2) == [
        *("fail", NAME),
        f"'NOOP' was answered by '500 what?', not by 200 [{CHECKS[NAME].source}]",
    ]


@pytest.mark.parametrize("columns", ["1", "62", "90", "400"])
async def test_rows_fit_the_terminal(
    columns: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reason goes on in the next line, below where it has begun."""

    monkeypatch.setenv("COLUMNS", columns)
    session = saying("NOOP", "500 " + "what is that supposed to be " * 3)
    assert await run(tmp_path, "--only", NAME, session=session) == 1
    out = capsys.readouterr().out
    rows = out.partition("\n\n")[0].splitlines()
    assert max(map(len, rows)) <= max(60, int(columns))
    assert "supposed to be" in " ".join(out.split())


async def test_json_is_all_that_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program can read it."""

    session = saying("NOOP", "500 what?")
    assert await run(tmp_path, "--only", NAME, "--json", session=session) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {
        "checks": [
            {
                "name": NAME,
                "result": "fail",
                "why": "'NOOP' was answered by '500 what?', not by 200",
                "source": CHECKS[NAME].source,
            }
        ]
    }
    assert printed.err == ""


async def test_what_a_server_says_does_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither in the table, nor where nobody can log in."""

    evil = "\x1b]0;owned\x07\x9b31m\u202e\udcff"
    for verb, status in (("NOOP", 1), ("PASS", 2)):
        session = saying(verb, f"530 {evil}")
        assert await run(tmp_path, "--only", NAME, session=session) == status
        printed = capsys.readouterr()
        text = "".join((printed.out + printed.err).split())
        assert "owned" in text
        assert text.isprintable()
        assert not {"\x1b", "\x9b", "\u202e", "\udcff"} & set(text)
        assert r"\x1b]0;owned\x07\x9b31m\u202e\xff" in text


async def test_a_server_that_refuses_the_login_is_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The password is not shown."""

    assert await run(tmp_path, "--user", "ann:wrong") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        "python -m ftpdata.testing: the login fails: 'PASS' was answered by '530 No.', not by 2yz\n"
    )


async def test_a_directory_that_cannot_be_written_is_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no use in trying the checks."""

    assert await run(tmp_path, "--writable", "/missing") == 2
    assert "no directory can be made in /missing: 'MKD " in capsys.readouterr().err


async def test_a_local_directory_that_is_another_is_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is seen at once, and nothing is left behind."""

    served, other = tmp_path / "served", tmp_path / "other"
    served.mkdir()
    other.mkdir()
    assert await run(served, "--writable", "/", "--local", str(other)) == 2
    assert capsys.readouterr().err.endswith(f": what is made in / is not seen in {other}\n")
    assert list(served.iterdir()) == []


def test_a_server_that_is_not_there_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    """There is one line, which says why."""

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert command.main(["127.0.0.1", str(port)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"python -m ftpdata.testing: 127.0.0.1 port {port}: Connection refused\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "HOST and PORT are wanted"),
        (["host"], "HOST and PORT are wanted"),
        (["host", "x"], "invalid port value: 'x'"),
        (["host", "65536"], "invalid port value: '65536'"),
        (["host", "21", "--user", "ann"], "--user wants NAME:PASSWORD"),
        (["host", "21", "--local", "."], "--local wants --writable"),
        (["host", "21", "--writable", "/", "--local", "./missing"], "--local wants a directory"),
        (["host", "21", "--only", "no\x1bpe"], r"there is no check 'no\\x1bpe'; --list lists them"),
        (["host", "21", "--tls", "ssl"], "invalid choice"),
    ],
)
def test_wrong_arguments_are_status_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The complaint names the argument."""

    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert complaint in printed.err
    assert printed.out == ""


def test_nobody_has_to_read_to_the_end() -> None:
    """A closed pipe ends the output, without a complaint."""

    with subprocess.Popen(
        [sys.executable, "-m", "ftpdata.testing", "--list"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_every_check_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """With its source."""

    assert command.main(["--list"]) == 0
    out = capsys.readouterr().out
    assert [line.partition(" ")[0] for line in out.splitlines() if line[:1] != " "] == [*CHECKS]
    for check in CHECKS.values():
        assert check.source in out


def test_the_command_needs_only_what_the_library_needs() -> None:
    """It runs as a module, and in a locale without any letter but English ones."""

    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "ftpdata.testing", "--list"],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert NAME in done.stdout
    assert done.stderr == ""
