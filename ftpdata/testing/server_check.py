"""Checks a whole server, one's own or anybody else's, over its control connection.

`check_server` tries what the field knows: the replies of commands, who may connect to a
passive port, what becomes of an upload that is cut, what ABOR does in each phase, how TLS
ends. ``python -m ftpdata.testing HOST PORT`` does the same from the command line.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import anyio
import anyio.to_thread
import attrs

# The package imports the modules of its checks, and so fills CHECKS.
from ._checks._frame import (
    CHECKS,
    Check,
    NotOffered,
    Outcome,
    Protection,
    ServerUnderTest,
    Trial,
)
from ._words import printable, reason
from .client import Failure, ScriptedClient, ScriptedStream

__all__ = ["CheckResult", "Outcome", "Protection", "ServerUnderTest", "check_server"]

CHECK_LIMIT = 20.0
"""Seconds for one check."""

SLOW_CHECK_LIMIT = 120.0
"""Seconds for one slow check."""


RUN_LIMIT = 95.0
"""Seconds after which no check begins, if there are no slow ones; the last ones then end."""


@attrs.frozen
class CheckResult:
    """How one check has ended.

    Attributes:
        name: The check.
        result: How it has ended.
        why: One line: what was wrong, or why it was not made; empty if it passed. What the
            server has said in it has no control characters.
        source: Where it is written what a server has to do, or who got it wrong.
        sentence: What a good server does.
        seconds: How long the check took.
    """

    name: str
    result: Outcome
    why: str
    source: str
    sentence: str
    seconds: float = attrs.field(eq=False)


async def check_server(
    server: ServerUnderTest,
    *,
    only: Sequence[str] = (),
    on_result: Callable[[CheckResult], object] | None = None,
    at_once: int = 4,
) -> list[CheckResult]:
    """Check a server.

    The files of the run are in a directory of its own in `ServerUnderTest.writable`, which
    is deleted at the end; each check has one in it. Without slow checks, a run takes two
    minutes at most: checks for which no time is left are not made.

    Args:
        server: The server, and what may be done to it.
        only: Names of the checks that run; all if empty.
        on_result: Called with each result, in the order of the checks, as soon as it is
            there.
        at_once: How many checks run at the same time; most of them wait most of the time.

    Returns:
        A result for each check, in the order of the checks.

    Raises:
        ValueError: There is no check of that name.
        Failure: The server cannot be logged in to, or the directory of the run cannot be
            made.
        OSError: The server cannot be reached.
    """

    for name in only:
        if name not in CHECKS:
            raise ValueError(f"expected names of checks ({', '.join(CHECKS)}), not {name!r}")

    server = await _resolve(server)
    checks = [check for name, check in CHECKS.items() if not only or name in only]
    results: list[CheckResult | None] = [None] * len(checks)
    waiting = iter(enumerate(checks))
    told = 0

    async def work(directory: str | None, deadline: float) -> None:
        nonlocal told
        for number, check in waiting:
            own = None if directory is None else f"{directory}/{number}"
            results[number] = await _run(check, Trial(server, own), deadline)
            while on_result and told < len(results) and (result := results[told]) is not None:
                told += 1
                on_result(result)

    async with _directory(server, len(checks)) as directory:
        deadline = math.inf if server.is_slow_allowed else time.monotonic() + RUN_LIMIT
        async with asyncio.TaskGroup() as workers:
            for _ in range(at_once):
                workers.create_task(work(directory, deadline))

    return [result for result in results if result is not None]


async def _run(check: Check, trial: Trial, deadline: float) -> CheckResult:
    began = time.monotonic()
    result, why = Outcome.PASS, ""
    limit = SLOW_CHECK_LIMIT if check.is_slow else CHECK_LIMIT
    try:
        if check.is_slow and not trial.server.is_slow_allowed:
            trial.not_offered("needs --allow-slow")
        if began > deadline:
            trial.not_offered(f"no time was left of the {RUN_LIMIT:g} s of a run")
        async with asyncio.timeout(limit):
            await check.run(trial)
    except NotOffered as error:
        result, why = Outcome.NOT_OFFERED, str(error)
    except Failure as error:
        result, why = Outcome.FAIL, str(error)
    except TimeoutError:
        result, why = Outcome.FAIL, f"it did not end in {limit:g} s"
    except OSError as error:
        result, why = Outcome.FAIL, f"a connection broke: {reason(error)}"
    except Exception as error:  # noqa: BLE001 - one odd server must not end the run of all checks
        result, why = Outcome.FAIL, f"the check does not understand the server: {error!r}"
    else:
        if trial.warnings:
            result, why = Outcome.WARNING, "; ".join(trial.warnings)

    why = printable(" ".join(why.split()))
    return CheckResult(
        check.name, result, why, check.source, check.sentence, time.monotonic() - began
    )


async def _resolve(server: ServerUnderTest) -> ServerUnderTest:
    """Return the server with an address for its name, so that all connections go to the same."""

    found = await asyncio.get_running_loop().getaddrinfo(
        server.host, server.port, type=socket.SOCK_STREAM
    )
    refusal: OSError | None = None
    for *_, address in found:
        try:
            stream = await ScriptedStream.connect(
                str(address[0]), server.port, patience=server.patience
            )
        except OSError as error:
            refusal = error
        else:
            stream.close()
            return attrs.evolve(server, host=str(address[0]))

    assert refusal is not None
    raise refusal


@contextlib.asynccontextmanager
async def _directory(server: ServerUnderTest, size: int) -> AsyncIterator[str | None]:
    """Make a directory for the files of this run, and directories in it; delete all of it.

    Args:
        server: The server.
        size: How many directories there are in it, whose names are numbers.
    """

    trial = Trial(server)
    if server.writable is None:
        async with _logged_in(trial):
            yield None
        return

    name = f"check-{secrets.token_hex(6)}"
    path = f"{server.writable.rstrip('/')}/{name}"
    async with _logged_in(trial) as client:
        try:
            await client.expect(f"MKD {path}", 2)
        except Failure as error:
            raise Failure(f"no directory can be made in {server.writable}: {error}") from error
    try:
        if server.local is not None and not await anyio.Path(server.local / name).is_dir():
            raise Failure(f"what is made in {server.writable} is not seen in {server.local}")
        async with _logged_in(trial) as client:
            for number in range(size):
                await client.expect(f"MKD {path}/{number}", 2)
        yield path
    finally:
        if server.local is None or not await anyio.to_thread.run_sync(_clear, server.local / name):
            # What the checks have found is worth more than what they leave behind.
            with contextlib.suppress(Failure, OSError, NotOffered):
                async with trial.client() as client:
                    await _remove(client, path)


@contextlib.asynccontextmanager
async def _logged_in(trial: Trial) -> AsyncIterator[ScriptedClient]:
    """Log in, or say that this is impossible: there is no use in trying the checks."""

    async with contextlib.AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(trial.client())
        except Failure as error:
            raise Failure(f"the login fails: {error}") from error
        yield client


def _clear(directory: Path) -> bool:
    """Delete a directory here, with names that no server shows; tell whether it is gone."""

    if not directory.exists():
        return False
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


async def _remove(client: ScriptedClient, path: str, *, depth: int = 3) -> None:
    """Delete the files of a directory, and the directory, as far as the server does it."""

    await client.expect(f"CWD {path}", 2)
    listed = await client.download("NLST")
    for name in {line.rpartition(b"/")[2] for line in listed.split(b"\r\n")} - {b"", b".", b".."}:
        if (await client.command(b"DELE " + name)).kind == 2:
            continue
        if (await client.command(b"RMD " + name)).kind != 2 and depth:
            with contextlib.suppress(Failure):
                inner = f"{path}/{name.decode('utf-8', 'surrogateescape')}"
                await _remove(client, inner, depth=depth - 1)
            await client.expect(f"CWD {path}", 2)
    await client.expect("CWD /", 2)
    await client.command(f"RMD {path}")
