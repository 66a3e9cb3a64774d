"""The process under torture: the reference server, and a relay that the harness asks for.

``python -m tests.torture.subject OPTIONS`` (JSON). It prints one line of JSON, with its port; then
it answers each line of its input with one, from a thread that no fault reaches (inject.c):

* ``state``: the tasks that run, and what has been complained about since the last time: to the
  event loop's exception handler, in tracebacks of the log, in ``__del__``, in threads;
* ``relay clear``, ``relay tls``: listen for two data connections, and relay the first to the
  second; gives their ports, or the reply of an error;
* ``relayed``: waits for the end of it, and gives the reply;
* ``ssl``, ``ssl FAULT``: record the calls of TLS from now on, and let one of them fail;
* ``recorded``: what was recorded, and whether the call has failed; no more is recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import functools
import gc
import json
import logging
import resource
import signal
import ssl
import sys
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Coroutine
from typing import Any, ClassVar

from examples.server.accounts import PasswordTable
from examples.server.disk import DiskStore
from examples.server.server import Server
from examples.server.settings import Settings, Uploads
from ftpdata import (
    DataTLS,
    Deadlines,
    FTPDataError,
    PortRange,
    ServerCertificate,
    listen_passive,
    relay,
)
from tests.harness.loops import LOOP_FACTORIES
from tests.torture.injection import Call, Fault

__all__: list[str] = []

DEADLINES = Deadlines(open=2, handshake=2, first_byte=2, stall=2, close=2)

complaints: list[str] = []


class _Complaints(logging.Handler):
    """Takes what is logged with a traceback, and errors."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "ftpdata.transfers":
            # An error of a file, with its traceback: that is what it is for.
            return
        if record.exc_info or record.levelno >= logging.ERROR:
            complaints.append(f"{record.levelname}:{record.name}:{self.format(record)}")


def _complain(kind: str, error: BaseException | None, about: object) -> None:
    lines = traceback.format_exception(error) if error is not None else []
    complaints.append(f"{kind}: {about!r}\n{''.join(lines)}")


# Faults of TLS, which makes no system calls


class _Failures:
    """Which calls of TLS were made, and which one fails."""

    is_recording = False
    fault: Fault | None = None
    has_fired = False
    calls: ClassVar[Counter[Call]] = Counter()

    @classmethod
    def check(cls, name: str) -> None:
        """Record a call; raise what it fails with, if it is to fail."""

        if not cls.is_recording:
            return

        frame: Any = sys._getframe(2)
        while frame is not None and frame.f_code.co_filename.endswith("ssl.py"):
            frame = frame.f_back
        is_control = "control" in frame.f_code.co_filename
        call = Call(name, "tls", "control" if is_control else "data")
        cls.calls[call] += 1
        fault = cls.fault
        if fault is not None and fault.call == call and fault.nth == cls.calls[call]:
            cls.has_fired = True
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, "[SSL: INTERNAL_ERROR] internal error (torture)")


_CALLS = {
    "do_handshake": "SSL_do_handshake",
    "read": "SSL_read",
    "write": "SSL_write",
    "unwrap": "SSL_shutdown",
}


def _watch_tls() -> None:
    """Let each call of OpenSSL pass `_Failures`, whatever class of Python's makes it."""

    for method, name in _CALLS.items():
        original = getattr(ssl.SSLObject, method)

        @functools.wraps(original)
        def call(*arguments: Any, name: str = name, original: Any = original) -> Any:
            _Failures.check(name)
            return original(*arguments)

        setattr(ssl.SSLObject, method, call)


# What the harness asks for


class Subject:
    """Answers the harness.

    Args:
        options: Of the command line.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._certificate: ServerCertificate | None = None
        if options["certificate"]:
            certificate, key = options["certificate"]
            self._certificate = ServerCertificate(certificate=certificate, key=key)
            self._context = self._certificate.session_context()
        self._relay: asyncio.Task[str] | None = None

    async def run(self) -> None:
        """Serve until the harness closes the input."""

        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_on_exception)
        ports = self._options["ports"]
        store = DiskStore(self._options["directory"])
        settings = Settings(
            accounts=PasswordTable([("ann", "secret")]),
            writable=True,
            uploads=Uploads(self._options["uploads"]),
            passive_ports=PortRange(*ports) if ports else None,
            certificate=self._certificate,
            deadlines=DEADLINES,
            login_delay=0.0,
            # asyncio's transport may not get the watch that it needs to read, and says nothing.
            login_timeout=4.0,
            grace=1.0,
        )
        server = Server(store, settings)
        ended = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            started: asyncio.Future[tuple[str, int]] = loop.create_future()
            serving = tasks.create_task(
                server.run("127.0.0.1", 0, task_status=_Started(started))
            )
            _, port = await started
            thread = threading.Thread(target=self._answer_all, args=(loop, ended, port))
            thread.start()
            await ended.wait()
            server.stop()
            await serving
            await asyncio.to_thread(thread.join)
        store.close()

    def _answer_all(
        self, loop: asyncio.AbstractEventLoop, ended: asyncio.Event, port: int
    ) -> None:
        exempt = getattr(ctypes.CDLL(None), "torture_exempt", None)
        if exempt is not None:
            exempt()
        gc.collect()
        gc.freeze()
        _say({"port": port})
        for line in sys.stdin:
            answer = asyncio.run_coroutine_threadsafe(self._answer(line.split()), loop).result()
            _say(answer)
        loop.call_soon_threadsafe(ended.set)

    async def _answer(self, words: list[str]) -> Any:
        match words:
            case ["state"]:
                return await self._state()
            case ["relay", protection]:
                return await self._begin_relay(protection == "tls")
            case ["relayed"]:
                assert self._relay is not None
                relayed, self._relay = self._relay, None
                return await relayed
            case ["ssl", *faults]:
                _Failures.calls.clear()
                _Failures.has_fired = False
                _Failures.fault = Fault.parse(faults[0]) if faults else None
                _Failures.is_recording = True
            case ["recorded"]:
                _Failures.is_recording = False
                calls = {str(call): number for call, number in _Failures.calls.items()}
                return {"calls": calls, "has_fired": _Failures.has_fired}
        return None

    async def _state(self) -> dict[str, Any]:
        # What waits in the loop has its turn, and what waits for the collector too.
        await asyncio.sleep(0)
        gc.collect()
        await asyncio.sleep(0)
        told = complaints[:]
        complaints.clear()
        own = asyncio.current_task()
        tasks = (task for task in asyncio.all_tasks() if task is not own)
        # Those of anyio wait for ten seconds, and end only when another one is used.
        threads = [one for one in threading.enumerate() if not one.name.startswith("AnyIO")]
        return {
            "tasks": sorted(_name_of(task) for task in tasks),
            "complaints": told,
            "threads": len(threads),
        }

    async def _begin_relay(self, protects: bool) -> Any:
        """Listen for both connections; return their ports, or the reply."""

        async with contextlib.AsyncExitStack() as stack:
            endpoints = []
            for _ in range(2):
                tls = DataTLS.for_server(self._context) if protects else None
                try:
                    endpoint = await listen_passive(
                        "127.0.0.1", control_peer="127.0.0.1", deadlines=DEADLINES, tls=tls
                    )
                except FTPDataError as error:
                    return error.reply
                endpoints.append(await stack.enter_async_context(endpoint))
            self._relay = asyncio.create_task(self._run_relay(endpoints, stack.pop_all()))
            return [endpoint.address.port for endpoint in endpoints]

    async def _run_relay(self, endpoints: list[Any], stack: contextlib.AsyncExitStack) -> str:
        async with stack:
            try:
                await relay(*endpoints, deadlines=DEADLINES)
            except FTPDataError as error:
                return error.reply
        return "226 Relayed."


def _name_of(task: asyncio.Task[Any]) -> str:
    coroutine: Coroutine[Any, Any, Any] | None = task.get_coro()  # type: ignore[assignment]
    return getattr(coroutine, "__qualname__", "eager")


class _Started:
    """Anyio's status of a task, as a future."""

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self._future = future

    def started(self, value: Any = None) -> None:
        """Take note of it."""

        self._future.set_result(value)


def _on_exception(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    _complain(f"loop: {context['message']}", context.get("exception"), context)


def _say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run it."""

    options = json.loads(sys.argv[1])
    if options["descriptors"]:
        limit = options["descriptors"]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    # See inject.c.
    faulthandler.register(signal.SIGUSR2, all_threads=False)
    warnings.simplefilter("error", ResourceWarning)
    sys.unraisablehook = lambda hook: _complain("ignored", hook.exc_value, hook.object)
    threading.excepthook = lambda hook: _complain("thread", hook.exc_value, hook.thread)
    logging.basicConfig(level=logging.INFO, handlers=[_Complaints()])
    _watch_tls()
    with asyncio.Runner(loop_factory=LOOP_FACTORIES[options["loop"]]) as runner:
        runner.run(Subject(options).run())


if __name__ == "__main__":
    main()
