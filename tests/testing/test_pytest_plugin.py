"""The fixtures of `ftpdata.testing.pytest_plugin`, in runs of pytest of their own."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGIN = "ftpdata.testing.pytest_plugin"

STYLES = {
    "no plugin": ("", "", ""),
    "pytest-asyncio": ("pytest_asyncio.plugin", "@pytest.mark.asyncio", "async "),
    "anyio": ("anyio.pytest_plugin", "@pytest.mark.anyio", "async "),
}
"""The plugin that runs asynchronous tests, its mark, and how such a test begins."""

PROGRAM = '''
import asyncio
import os
import socket
import threading

import pytest

from ftpdata.testing import Cut, ServerUnderTest, leaks
from tests.testing.scripted_server import PASSWORD, USER, saying, scripted_server

NAME = "noop-command"
kept = []
leaks.PATIENCE = 0.5

@pytest.fixture
def anyio_backend():
    return "asyncio"

async def check(tmp_path, check_server, session, **options):
    async with scripted_server(tmp_path, session) as server:
        tested = ServerUnderTest(server.host, server.port, USER, PASSWORD)
        return await check_server(tested, only=[NAME], **options)

MARK
ASYNCdef test_good_server(tmp_path, ftpdata_check_server):
    session = saying("NOOP", "200 Fine.")
    (result,) = RUN(check(tmp_path, ftpdata_check_server, session))
    assert result.name == NAME

MARK
ASYNCdef test_bad_server(tmp_path, ftpdata_check_server):
    RUN(check(tmp_path, ftpdata_check_server, saying("NOOP", "500 what?")))

MARK
ASYNCdef test_allowed_server(tmp_path, ftpdata_check_server):
    session = saying("NOOP", "500 what?")
    RUN(check(tmp_path, ftpdata_check_server, session, allow={NAME}))

async def talk(tmp_path, connect):
    async with scripted_server(tmp_path) as server:
        async with connect(server.host, server.port) as client:
            await client.expect("PWD", 530)
        async with connect(server.host, server.port, user=USER, password=PASSWORD) as client:
            await client.expect("PWD", 257)

MARK
ASYNCdef test_client(tmp_path, ftpdata_client, ftpdata_leaks):
    RUN(talk(tmp_path, ftpdata_client))

async def misbehave(peers):
    async def greet(stream):
        assert await stream.receive() == b"hello"
        await stream.send(b"0123456789" * 100_000)

    async with peers.listening(greet) as port:
        await peers.send_then_cut(port, b"hello", Cut.HALF_CLOSE)
        reader = await peers.slow_reader(port)
        await reader.send(b"hello")
        assert await reader.receive_exactly(10) == b"0123456789"
        stranger = await peers.stranger(port)
        assert stranger.local_address[0] == "127.0.0.77"
        await stranger.send(b"hello")
        stranger.reset()

MARK
ASYNCdef test_peers(ftpdata_peers):
    with pytest.raises(BaseExceptionGroup, match="unhandled errors"):
        RUN(misbehave(ftpdata_peers))

async def leave_a_task(check):
    async with check.tasks():
        kept.append(asyncio.create_task(asyncio.sleep(60), name="sleeper"))

MARK
ASYNCdef test_leaves_a_task(ftpdata_leaks):
    with pytest.raises(AssertionError, match="\\\\ntask sleeper: sleep$"):
        RUN(leave_a_task(ftpdata_leaks))
    kept.clear()

def test_leaves_a_descriptor(ftpdata_leaks):
    kept.append(os.open("/dev/null", os.O_RDONLY))

def test_leaves_a_thread(ftpdata_leaks):
    thread = threading.Thread(target=threading.Event().wait, name="waiter", daemon=True)
    thread.start()

def test_may_leave_a_socket_and_a_thread(ftpdata_leaks):
    ftpdata_leaks.allow("thread waiter-*", "descriptor * bound to ('127.0.0.1', *")
    thread = threading.Thread(target=threading.Event().wait, name="waiter-1", daemon=True)
    thread.start()
    kept.append(socket.create_server(("127.0.0.1", 0)))
'''

FAILURES = {
    "test_bad_server": "1 of 1 checks of the server fail\n"
    "noop-command: 'NOOP' was answered by '500 what?', not by 200 [",
    "test_leaves_a_descriptor": "the test has left behind\ndescriptor ",
    "test_leaves_a_thread": "the test has left behind\nthread waiter\n",
}
"""What each test that is to fail says."""


def run_pytest(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a directory, with no plugins but those that are named."""

    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-c", os.devnull, *arguments],
        cwd=directory,
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "200",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("style", STYLES)
def test_the_fixtures_work(style: str, tmp_path: Path) -> None:
    """With each plugin that runs asynchronous tests, and with none."""

    plugin, mark, begin = STYLES[style]
    if plugin and importlib.util.find_spec(plugin.partition(".")[0]) is None:
        pytest.skip(f"no {style} here")
    program = PROGRAM.replace("MARK", mark).replace("ASYNC", begin)
    program = program.replace("RUN(", "await (" if begin else "asyncio.run(")
    (tmp_path / "test_them.py").write_text(program)
    plugins = [f"-p{name}" for name in (PLUGIN, plugin) if name]
    if style == "pytest-asyncio":
        plugins += ["-o", "asyncio_default_fixture_loop_scope=function"]
    done = run_pytest(tmp_path, *plugins, "-q", "-rA", "--rootdir", str(tmp_path), "-W", "error")
    tests = set(re.findall(r"def (test_\w+)", program))
    found = re.findall(r"^(PASSED|FAILED|ERROR) test_them\.py::(\w+)", done.stdout, re.MULTILINE)
    bad = {name for outcome, name in found if outcome != "PASSED"}
    assert {name for _, name in found} == tests, done.stdout + done.stderr
    assert bad == set(FAILURES), done.stdout
    for words in FAILURES.values():
        assert words in done.stdout


def test_a_run_of_pytest_that_does_not_use_it_loads_nothing_of_it(tmp_path: Path) -> None:
    """The suites of others start as fast as before, and have nothing autouse."""

    (tmp_path / "test_it.py").write_text(
        "import json, sys\n"
        "def test_it(request):\n"
        "    loaded = sorted(name for name in sys.modules if name.startswith('ftpdata'))\n"
        "    print(json.dumps([loaded, request.fixturenames]))\n"
    )
    done = run_pytest(tmp_path, f"-p{PLUGIN}", "-q", "-s")
    loaded, fixtures = json.loads(done.stdout[done.stdout.index("[[") :].splitlines()[0])
    of_the_package = ["ftpdata", "ftpdata._lazy", "ftpdata._version"]
    assert loaded == [*of_the_package, "ftpdata.testing", PLUGIN]
    assert fixtures == ["request"]
    assert "1 passed" in done.stdout


def test_the_fixtures_are_listed(tmp_path: Path) -> None:
    """``pytest --fixtures`` says what each is for."""

    done = run_pytest(tmp_path, f"-p{PLUGIN}", "--fixtures")
    shown = re.findall(r"^(ftpdata_\w+) -- .*\n +(\w+)", done.stdout, re.MULTILINE)
    assert {name for name, _ in shown} == {
        *("ftpdata_check_server", "ftpdata_client", "ftpdata_leaks", "ftpdata_peers")
    }


def test_the_plugin_is_an_entry_point() -> None:
    """An installed ftpdata brings it."""

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"ftpdata": PLUGIN}


def test_the_tools_for_tests_need_no_pytest() -> None:
    """All of `ftpdata.testing` but the plugin is imported without it."""

    subprocess.run(
        [
            *(sys.executable, "-c"),
            "import sys; sys.modules['pytest'] = None; from ftpdata.testing import *",
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=60,
    )
