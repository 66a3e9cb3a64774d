"""The rules of `conftest` are enforced: each offence, in a pytest run of its own, is caught."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.harness.blocking import AVAILABLE as CAN_SEE_BLOCKING
from tests.harness.leaks import CAN_SEE_DESCRIPTORS
from tests.harness.loops import LOOP_FACTORIES
from tests.harness.shares import Share

ROOT = Path(__file__).resolve().parent.parent

OFFENDERS = '''
import asyncio
import inspect
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import anyio.to_thread
import pytest
from hypothesis import given, settings, strategies as st

import ftpdata
from tests.harness import leaks

# The thread of an offender never ends: nobody need wait a minute for it.
leaks._THREAD_PATIENCE = 5.0

kept = []
finish = threading.Event()

# Code that blocks, as if it stood in a module of ftpdata.
offender = {"os": os, "time": time}
exec(compile("""
def sleep():
    time.sleep(0)

def read(path):
    with open(path, "rb") as file:
        return file.read()

def os_open(path):
    os.close(os.open(path, os.O_RDONLY))
""", os.path.join(ftpdata.__path__[0], "offender.py"), "exec"), offender)


async def forever():
    await asyncio.Event().wait()


async def raiser():
    raise ValueError("nobody looks")


# What is allowed


def test_clean_sync(tmp_path):
    (tmp_path / "file").write_bytes(b"x")


async def test_clean_async(tmp_path):
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    task.cancel()
    assert await anyio.to_thread.run_sync(Path.exists, tmp_path)
    (tmp_path / "file").write_bytes(b"test code may block")


async def test_loop_is_named(loop_name):
    assert type(asyncio.get_running_loop()).__module__.partition(".")[0] == loop_name
    assert asyncio.get_running_loop().get_debug()


@pytest.mark.asyncio_only("checks the exemption")
async def test_asyncio_only(loop_name):
    assert loop_name == "asyncio"


class TestInClass:
    async def test_method(self):
        await asyncio.sleep(0)


@settings(max_examples=5)
@given(number=st.integers())
async def test_hypothesis(number, loop_name):
    assert isinstance(number, int)
    await asyncio.sleep(0)


@pytest.mark.leaks_allowed("checks the exemption")
def test_leak_allowed():
    kept.append(os.open(os.devnull, os.O_RDONLY))


def test_served_directory(served_directory):
    (served_directory / "whole").write_bytes(b"")


# Offences


async def test_assertion():
    await asyncio.sleep(0)
    assert 1 == 2


@settings(max_examples=5)
@given(st.integers())
async def test_hypothesis_assertion(number):
    await asyncio.sleep(0)
    assert number != 0


async def test_task():
    kept.append(asyncio.create_task(forever()))
    await asyncio.sleep(0)


async def test_task_exception():
    task = asyncio.create_task(raiser())
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_future_exception():
    asyncio.get_running_loop().create_future().set_exception(ValueError("nobody looks"))


async def test_callback_exception():
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)


async def test_server():
    kept.append(await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0))


async def test_transport():
    ours, theirs = socket.socketpair()
    kept.append(theirs)
    ours.setblocking(False)
    await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, ours)


def test_descriptor():
    kept.append(os.open(os.devnull, os.O_RDONLY))


def test_bound_port():
    listener = socket.create_server(("127.0.0.1", 0))
    kept.append(listener)


def test_unclosed_file(tmp_path):
    open(tmp_path / "file", "wb")


def test_thread():
    thread = threading.Thread(target=finish.wait, name="offender", daemon=True)
    thread.start()


def test_child():
    kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))


def test_temporary_file():
    descriptor, _ = tempfile.mkstemp(prefix="offender")
    os.close(descriptor)


def test_partial_upload(served_directory):
    (served_directory / "deep").mkdir()
    (served_directory / "deep" / ".upload.partial").write_bytes(b"")


def test_warning():
    warnings.warn("old", DeprecationWarning)


async def test_never_awaited():
    forever()


async def test_blocking_sleep():
    offender["sleep"]()


async def test_blocking_open(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    offender["read"](tmp_path / "file")


async def test_blocking_os_open(tmp_path):
    offender["os_open"](tmp_path)


@pytest.mark.blocking_allowed("checks the exemption")
async def test_blocking_allowed():
    offender["sleep"]()


async def test_a_watched_function_keeps_its_abilities():
    assert os.open in os.supports_dir_fd
    assert os.scandir in os.supports_fd


async def test_a_watched_function_is_replaced(monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: True)


def test_no_wrapper_stays():
    assert inspect.isbuiltin(os.access)


async def test_unblocked_in_thread():
    await asyncio.to_thread(offender["sleep"])


def test_blocking_in_sync_test():
    offender["sleep"]()


@pytest.mark.timeout(1)
async def test_timeout():
    await forever()


@pytest.mark.timeout(1)
async def test_timeout_in_callback():
    loop = asyncio.get_running_loop()

    def spin():
        until = loop.time() + 3
        while loop.time() < until:
            pass

    loop.call_soon(spin)
    await forever()


@pytest.mark.leaks_allowed
def test_no_reason():
    pass
'''

LOOPS = [
    pytest.param(name, marks=pytest.mark.skipif(make is None, reason=f"no {name} here"))
    for name, make in LOOP_FACTORIES.items()
]
needs_proc = pytest.mark.skipif(not CAN_SEE_DESCRIPTORS, reason="no /proc here")
needs_blockbuster = pytest.mark.skipif(not CAN_SEE_BLOCKING, reason="no blockbuster here")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run the offenders once; return what pytest said about each, "" for a pass."""

    directory = tmp_path_factory.mktemp("offenders")
    tests = directory / "test_offenders.py"
    tests.write_text(OFFENDERS)
    report = directory / "report.xml"
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml"),
            *("--rootdir", directory, "-p", "tests.conftest", "-p", "no:cacheprovider"),
            *("-o", "junit_logging=no", f"--junitxml={report}", tests),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=250,
    )
    found: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):
        said = [
            f"{kind.get('message')}\n{kind.text}"
            for kind in case
            if kind.tag in ("failure", "error", "skipped")
        ]
        name = case.attrib["name"]
        found[name] = found.get(name, "") + "\n".join(said)

    return found


@pytest.mark.parametrize(
    "name",
    [
        "test_clean_sync",
        "test_leak_allowed",
        "test_served_directory",
        "test_blocking_in_sync_test",
        "test_no_wrapper_stays",
        "test_asyncio_only[asyncio]",
    ],
)
def test_honest_tests_pass(outcomes: dict[str, str], name: str) -> None:
    """A test that leaves nothing behind passes, and so does one with an exemption."""
    assert outcomes[name] == ""


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "name",
    [
        "test_clean_async",
        "test_loop_is_named",
        "test_method",
        "test_hypothesis",
        "test_blocking_allowed",
        "test_a_watched_function_keeps_its_abilities",
        "test_a_watched_function_is_replaced",
        "test_unblocked_in_thread",
    ],
)
def test_honest_async_tests_pass(outcomes: dict[str, str], name: str, loop: str) -> None:
    """An async test runs on each loop, and passes if it leaves nothing behind."""
    assert outcomes[f"{name}[{loop}]"] == ""


def test_asyncio_only_leaves_out_the_other_loops(outcomes: dict[str, str]) -> None:
    """The mark `asyncio_only` excludes the other loops."""
    assert [name for name in outcomes if "asyncio_only" in name] == ["test_asyncio_only[asyncio]"]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        pytest.param("test_descriptor", "/dev/null", marks=needs_proc),
        pytest.param("test_bound_port", "bound to ('127.0.0.1', ", marks=needs_proc),
        pytest.param("test_child", "child process", marks=needs_proc),
        ("test_unclosed_file", "unclosed file"),
        ("test_thread", "thread offender"),
        ("test_temporary_file", "temporary file offender"),
        ("test_partial_upload", "deep/.upload.partial"),
        ("test_warning", "DeprecationWarning: old"),
        ("test_no_reason", "wants one argument, the reason"),
    ],
)
def test_offence_is_caught(outcomes: dict[str, str], name: str, complaint: str) -> None:
    """A test that leaves something behind, or warns, fails, and the report says what it was."""
    assert complaint in outcomes[name].replace(os.sep, "/")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("test_assertion", "assert 1 == 2"),
        ("test_hypothesis_assertion", "number=0"),
        ("test_task", "the test left tasks behind"),
        ("test_task_exception", r"ValueError\('nobody looks'\)"),
        ("test_future_exception", r"ValueError\('nobody looks'\)"),
        ("test_callback_exception", "ZeroDivisionError"),
        ("test_server", "unclosed|bound to"),
        ("test_transport", "unclosed"),
        ("test_never_awaited", "was never awaited"),
        pytest.param("test_blocking_sleep", "call to time.sleep", marks=needs_blockbuster),
        pytest.param("test_blocking_open", "call to builtins.open", marks=needs_blockbuster),
        pytest.param("test_blocking_os_open", "call to os.open", marks=needs_blockbuster),
        ("test_timeout", "Timeout"),
        ("test_timeout_in_callback", "Timeout"),
    ],
)
def test_async_offence_is_caught(
    outcomes: dict[str, str], name: str, complaint: str, loop: str
) -> None:
    """An async test that leaves something on its loop, blocks it or hangs, fails on each loop."""
    assert re.search(complaint, outcomes[f"{name}[{loop}]"])


# Shares of the tests


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_shares_together_are_all_tests_and_each_touches_every_file(parts: int) -> None:
    """This holds for any number of tests in a file, even fewer than there are shares."""
    tests = [(file, number) for file in range(1, 12) for number in range(file)]
    together = []
    for part in range(1, parts + 1):
        chosen = Share.parse(f"{part}/{parts}").of(tests, file=lambda test: test[0])
        assert {file for file, _ in chosen} == set(range(1, 12))
        assert chosen == sorted(set(chosen))
        together += chosen

    assert set(together) == set(tests)


@pytest.mark.parametrize("text", ["0/7", "8/7", "1", "1/2/3", "a/b", ""])
def test_a_share_that_there_is_not(text: str) -> None:
    """A share that does not exist is refused."""
    with pytest.raises(ValueError):
        Share.parse(text)


def test_a_share_runs_alone(tmp_path: Path) -> None:
    """Only the share runs; the other tests count as deselected."""
    (tmp_path / "test_five.py").write_text("def test_first(): pass\ndef test_second(): pass\n")
    command = (sys.executable, "-m", "pytest", "-v", "-c", str(ROOT / "pyproject.toml"))
    run = subprocess.run(
        [*command, "-p", "tests.conftest", "-p", "no:cacheprovider", "--share=2/7", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "test_second PASSED" in run.stdout
    assert "1 passed, 1 deselected" in run.stdout
