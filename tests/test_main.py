"""``python -m ftpdata``: what it says, when it fails, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ftpdata
from ftpdata import DataTLS, TransferResult, _self_check
from ftpdata.__main__ import main

ROOT = Path(__file__).parent.parent

NAMES = ["download in clear", "upload in clear", "download through TLS", "upload through TLS"]

WORKS = "everything works"


def run(
    directory: Path, *arguments: str, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command as a program.

    Args:
        directory: Where it makes its temporary files.
        arguments: Its arguments.
        before: A program to run before it.
    """

    program = (
        f"{before}\nimport runpy, sys\nsys.argv[1:] = {list(arguments)}\n"
        'runpy.run_module("ftpdata", run_name="__main__", alter_sys=True)'
    )
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_it_works_here(tmp_path: Path) -> None:
    """It tells where it runs and of each transfer; the verdict is the last line."""

    done = run(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    first, python, *_, verdict = lines = done.stdout.splitlines()
    assert first == f"ftpdata {ftpdata.__version__}"
    assert python.startswith("Python {}.{}.{}".format(*sys.version_info))
    assert verdict == WORKS
    assert [line[:22].rstrip() for line in lines[-5:-1]] == NAMES
    assert all("works: 4,194,305 bytes" in line for line in lines[-5:-1])
    assert list(tmp_path.iterdir()) == []


def test_json_is_all_that_is_printed(tmp_path: Path) -> None:
    """A program can read it."""

    done = run(tmp_path, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert set(told) == {
        *("version", "python", "system", "tls", "offers", "transfers", "works", "verdict")
    }
    assert told["version"] == ftpdata.__version__
    assert told["tls"] == ssl.OPENSSL_VERSION
    assert (told["works"], told["verdict"]) == (True, WORKS)
    assert [trial["name"] for trial in told["transfers"]] == NAMES
    in_clear = [trial["name"] for trial in told["transfers"] if trial["protection"] is None]
    assert in_clear == NAMES[:2]


def offers_in(done: subprocess.CompletedProcess[str]) -> dict[str, bool]:
    """Return what a run with ``--json`` has found to be there."""

    return {offer["name"]: offer["is_there"] for offer in json.loads(done.stdout)["offers"]}


def ways_in(done: subprocess.CompletedProcess[str]) -> set[str]:
    """Return the fast paths of the transfers of a run with ``--json``."""

    trials = json.loads(done.stdout)["transfers"]
    return {trial[way] for trial in trials for way in ("sent_by", "received_by")}


@pytest.mark.skipif(sys.platform != "linux", reason="needs what only Linux offers")
@pytest.mark.parametrize(
    ("missing", "names", "way"),
    [
        ("os.sendfile", {"sendfile"}, "sendfile"),
        pytest.param(
            *("os.splice", {"splice"}, "splice"),
            marks=pytest.mark.skipif(not hasattr(os, "splice"), reason="Python has no splice"),
        ),
        ("select.epoll", {"hang-up watch"}, None),
    ],
)
def test_what_a_system_does_not_offer_is_told(
    tmp_path: Path, missing: str, names: set[str], way: str | None
) -> None:
    """It is no failure: the library does without, and the check uses the library's own rule."""

    module, _, name = missing.partition(".")
    # The event loop has its own reference to what it needs of this.
    before = f"import asyncio, {module}; del {module}.{name}"
    here, without = run(tmp_path, "--json"), run(tmp_path, "--json", before=before)
    assert without.returncode == 0, without.stderr
    there = {name for name, is_there in offers_in(here).items() if is_there}
    assert names <= there
    assert {name for name, is_there in offers_in(without).items() if is_there} == there - names
    assert ways_in(here) - ways_in(without) == ({way} if way else set())


def test_what_is_not_there_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what it means."""

    monkeypatch.delattr(os, "sendfile", raising=False)
    assert main([]) == 0
    told = capsys.readouterr().out
    assert "sendfile              no (files are read into memory and sent from there)\n" in told


def failing(
    monkeypatch: pytest.MonkeyPatch, receive: Callable[..., Any], *, patience: float = 50.0
) -> None:
    """Let the check receive files in another way."""

    monkeypatch.setattr(_self_check, "receive_file", receive)
    monkeypatch.setattr(_self_check, "PATIENCE", patience)


def replace_a_byte(path: Path) -> None:
    """Change the last byte of a file."""

    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def lose_a_byte(path: Path) -> None:
    """Drop the last byte of a file."""

    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (replace_a_byte, "the bytes that arrived are not those sent"),
        (lose_a_byte, "4,194,304 of 4,194,305 bytes arrived"),
    ],
)
def test_a_wrong_byte_is_found(
    damage: Callable[[Path], None],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What arrived is compared, whatever the transfer says of itself."""

    async def receive(endpoint: Any, target: Path) -> TransferResult:
        result = await ftpdata.receive_file(endpoint, target)
        if result.tls_version is None:
            await asyncio.to_thread(damage, target)
        return result

    failing(monkeypatch, receive)
    assert main([]) == 1
    *_, verdict = capsys.readouterr().out.splitlines()
    assert verdict == "2 of 4 transfers failed: " + "; ".join(
        f"{name}: {words}" for name in NAMES[:2]
    )


def test_refused_tls_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The transfers in clear work all the same."""

    def refuse(_: DataTLS, __: ssl.SSLObject) -> str:
        return "not with this one"

    monkeypatch.setattr(DataTLS, "refusal", refuse)
    assert main(["--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["works"] is False
    works = [trial["name"] for trial in told["transfers"] if trial["failure"] is None]
    assert works == NAMES[:2]
    assert told["verdict"].startswith("2 of 4 transfers failed: download through TLS: ")
    assert "not with this one" in told["verdict"]


def test_tls_that_has_no_such_cipher_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What could not be tried does not count as working."""

    monkeypatch.setattr(_self_check, "_CIPHERS", "NONE-SUCH")
    assert main([]) == 1
    *_, verdict = capsys.readouterr().out.splitlines()
    assert verdict.startswith("2 of 4 transfers failed: download through TLS: ")
    assert "cipher" in verdict


def test_a_transfer_that_does_not_end_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is waited for without a limit."""

    async def receive(*_: object) -> None:
        await asyncio.Event().wait()

    failing(monkeypatch, receive, patience=0.02)
    assert main([]) == 1
    *_, verdict = capsys.readouterr().out.splitlines()
    assert verdict.startswith("4 of 4 transfers failed: ")
    assert verdict.count("it has not ended within 0.02 s") == 4


@pytest.mark.parametrize("module", ["_ssl", "attrs", "anyio"])
def test_a_package_that_cannot_be_loaded_is_said_in_one_line(tmp_path: Path, module: str) -> None:
    """A dependency is missing, or Python was built without TLS."""

    done = run(tmp_path, before=f"import sys; sys.modules[{module!r}] = None")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("ftpdata cannot be loaded: ")
    assert module in line


ENDED_BY = """
import os, signal
from ftpdata import _self_check

async def receive(*_):
    os.kill(os.getpid(), signal.{})

_self_check.receive_file = receive
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_leaves_no_file_behind(tmp_path: Path, name: str, status: int) -> None:
    """The files are removed before the program ends."""

    # Whoever runs the tests under nohup(1) has it ignored.
    how = "default_int_handler" if name == "SIGINT" else "SIG_DFL"
    before = f"import signal; signal.signal(signal.{name}, signal.{how})\n"
    done = run(tmp_path, before=before + ENDED_BY.format(name))
    assert done.returncode == status, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    """As nohup(1) wants it."""

    before = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    done = run(tmp_path, before=before + ENDED_BY.format("SIGHUP"))
    assert done.returncode == 1
    assert "failed" in done.stdout.splitlines()[-1]


def test_nobody_who_reads_is_no_error(tmp_path: Path) -> None:
    """``python -m ftpdata | head -1`` ends quietly."""

    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "ftpdata"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == ""
        assert program.wait(100) == 0


def test_signals_are_left_to_the_caller() -> None:
    """`main` is a function like others: only the program ends by a signal as described."""

    before = signal.getsignal(signal.SIGTERM)
    assert main(["--json"]) == 0
    assert signal.getsignal(signal.SIGTERM) is before
