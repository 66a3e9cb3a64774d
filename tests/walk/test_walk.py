"""Random walks through sessions; and servers with a defect, which each check of a walk finds."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import attrs
import hypothesis
import pytest
from hypothesis.stateful import run_state_machine_as_test

from examples.server.commands import COMMANDS, Command
from examples.server.reply import Reply
from examples.server.session import Session
from ftpdata.limits import Slot
from ftpdata.testing.client import Failure
from tests.harness.loops import LOOP_FACTORIES
from tests.walk.machine import Grounds, Walk
from tests.walk.model import Violation

STEPS = 50
"""Steps of a walk."""

SHORT = 5000
"""Steps of all walks of a test run, unless an option asks for more."""

MANY = 10_000
"""Steps in which everything happens."""

Handler = Callable[[Session, str], Coroutine[Any, Any, Reply]]


def walk(
    grounds: Grounds, steps: int, *phases: hypothesis.Phase, is_repeatable: bool = False
) -> None:
    """Take that many steps, or some more; the same ones each time if it is to be repeatable."""

    settings = hypothesis.settings(
        derandomize=is_repeatable,
        max_examples=max(1, steps // STEPS),
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        report_multiple_bugs=False,
        phases=phases or tuple(hypothesis.Phase),
    )
    make: Any = functools.partial(Walk, grounds)
    run_state_machine_as_test(make, settings=settings)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("loop", LOOP_FACTORIES)
@pytest.mark.parametrize("is_tls", [False, True], ids=["clear", "TLS"])
def test_walks(
    served_directory: Path, request: pytest.FixtureRequest, is_tls: bool, loop: str
) -> None:
    """``--steps 100000`` walks further, and another way each time.

    The short walk is the same each time, and is not shortened if it fails: that takes minutes.
    """

    factory = LOOP_FACTORIES[loop]
    if factory is None:
        pytest.skip(f"no {loop} here")
    wanted = request.config.getoption("steps")
    is_short, steps = wanted <= SHORT, wanted // 4
    phases = (hypothesis.Phase.generate,) if is_short else ()
    with Grounds(served_directory, is_tls=is_tls, loop_factory=factory) as grounds:
        walk(grounds, steps, *phases, is_repeatable=is_short)
        assert grounds.steps >= steps // 2
        # It has been where most of it happens; in many steps, everywhere.
        codes = {code for _, code in grounds.replies}
        assert codes >= {125, 150, 200, 226, 331, 425}
        if steps >= MANY:
            assert codes >= {213, 250, 257, 350, 426, 450, 500, 501, 503, 504, 530, 550, 553}


# What is proved


def _handler(
    verb: str, spoil: Callable[[Command], Handler]
) -> Callable[[pytest.MonkeyPatch], None]:
    """Replace the handler of a command."""

    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        command = COMMANDS[verb]
        monkeypatch.setitem(COMMANDS, verb, attrs.evolve(command, handler=spoil(command)))

    return apply


def _session(act: Callable[[Session], object]) -> Callable[[pytest.MonkeyPatch], None]:
    """Do something at the beginning of each session."""

    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        run = Session.run

        async def spoiled(self: Session) -> None:
            act(self)
            await run(self)

        monkeypatch.setattr(Session, "run", spoiled)

    return apply


def _path(session: Session, name: str) -> Path:
    return Path(f"/proc/self/fd/{session.store._root}", name)  # type: ignore[attr-defined]


def _twice(command: Command) -> Handler:
    async def handler(session: Session, argument: str) -> Reply:
        await session.reply(Reply(200, "Once."))
        return await command.handler(session, argument)

    return handler


def _never_refused(command: Command) -> Handler:
    async def handler(session: Session, argument: str) -> Reply:
        try:
            return await command.handler(session, argument)
        except OSError:
            return Reply(250, "As you say.")

    return handler


def _loses_what_it_stored(command: Command) -> Handler:
    async def handler(session: Session, argument: str) -> Reply:
        reply: Reply = await command.handler(session, argument)
        _path(session, session.path(argument)[1:]).unlink()
        return reply

    return handler


def _keeps_what_was_cut(command: Command) -> Handler:
    async def handler(session: Session, argument: str) -> Reply:
        reply: Reply
        try:
            reply = await command.handler(session, argument)
        except BaseException:
            if session.operation is not None and session.operation.connection is not None:
                _path(session, session.path(argument)[1:]).write_bytes(b"half")
            raise
        return reply

    return handler


def _changes_what_it_sends(command: Command) -> Handler:
    async def handler(session: Session, argument: str) -> Reply:
        path = _path(session, session.path(argument)[1:])
        before = path.read_bytes() if path.is_file() and path.name != "big" else None
        try:
            if before is not None:
                path.write_bytes(before.upper())
            return await command.handler(session, argument)
        finally:
            if before is not None:
                path.write_bytes(before)

    return handler


kept: list[int] = []


def _keep_descriptor(_: Session) -> None:
    kept.append(os.dup(1))


def _keep_task(_: Session) -> None:
    asyncio.get_running_loop().create_task(asyncio.sleep(3600), name="left")


def _leave_file(session: Session) -> None:
    _path(session, ".left").touch()


def _count_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slot, "release", lambda self: None)


DEFECTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "two replies": (_handler("SYST", _twice), "one of|answered|after|not"),
    "a false 250": (_handler("DELE", _never_refused), "250, not one of"),
    "a false 226": (_handler("STOR", _loses_what_it_stored), "done=True, and the file has None"),
    "a false 426": (_handler("STOR", _keeps_what_was_cut), "done=False, and the file has 4 bytes"),
    "wrong bytes": (_handler("RETR", _changes_what_it_sends), "not these"),
    "a descriptor": (_session(_keep_descriptor), "the walk left:\ndescriptor"),
    "a task": (_session(_keep_task), "the walk left:\n(?s:.*)name=.left"),
    "a file": (_session(_leave_file), "the walk left:\nfile .*/.left"),
    "a place among the transfers": (_count_for_ever, "the walk left:\ncounted"),
    "a line of the log": (
        _session(lambda _: logging.getLogger("x").warning("what?")), "logged: what?",
    ),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_walk_finds_a_defect(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It names what is wrong."""

    spoil, complaint = DEFECTS[name]
    monkeypatch.setattr("tests.walk.machine.PATIENCE", 2.0)
    try:
        with Grounds(served_directory) as grounds:
            spoil(monkeypatch)
            with pytest.raises((Violation, Failure), match=complaint):
                walk(grounds, 10_000, hypothesis.Phase.generate, is_repeatable=True)
            monkeypatch.undo()
    finally:
        for descriptor in kept:
            os.close(descriptor)
        kept.clear()
        (served_directory / ".left").unlink(missing_ok=True)
