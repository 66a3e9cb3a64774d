"""Defects that a server may be given, to prove that a soak notices them."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from examples.server.commands import COMMANDS, transfers
from examples.server.reply import Reply
from examples.server.session import Session

__all__ = ["SPOILED"]

_kept: list[Any] = []


def _before_each_session(act: Callable[[Session], None]) -> None:
    run = Session.run

    async def spoiled(self: Session) -> None:
        act(self)
        await run(self)

    Session.run = spoiled  # type: ignore[method-assign]


def _leak_memory() -> None:
    _before_each_session(lambda _: _kept.append(bytes(b"x" * 8 * 1024 * 1024)))


def _leak_objects() -> None:
    _before_each_session(lambda session: _kept.append([session, [[] for _ in range(500)]]))


def _leak_descriptors() -> None:
    _before_each_session(lambda _: _kept.append(os.dup(1)))


def _leak_threads() -> None:
    never = threading.Event()

    def act(_: Session) -> None:
        for _number in range(4):
            threading.Thread(target=never.wait, daemon=True).start()

    _before_each_session(act)


def _leak_tasks() -> None:
    never = asyncio.Event()
    _before_each_session(lambda _: _kept.append(asyncio.ensure_future(never.wait())))


def _log() -> None:
    _before_each_session(lambda _: logging.getLogger("spoiled").warning("what is that?"))


def _answer(verb: str, handler: Callable[[Session, str], Any]) -> None:
    COMMANDS[verb] = attrs.evolve(COMMANDS[verb], handler=handler, at_once=None)


def _answer_late() -> None:
    async def late(_: Session, __: str) -> Reply:
        await asyncio.sleep(6)
        return Reply(200, "At last.")

    _answer("NOOP", late)


def _answer_twice() -> None:
    async def twice(session: Session, _: str) -> Reply:
        await session.reply(Reply(200, "Once."))
        return Reply(200, "Twice.")

    _answer("NOOP", twice)


def _send_wrong_bytes() -> None:
    module: Any = transfers
    send = module.send_file

    async def spoiled(connection: Any, file: Any, **options: Any) -> Any:
        fd = os.memfd_create("spoiled")
        try:
            content = os.pread(file, 1 << 26, 0)
            os.write(fd, content[:-1] + bytes([content[-1] ^ 1]) if content else b"")
            return await send(connection, fd, **options)
        finally:
            os.close(fd)

    module.send_file = spoiled


def _leave_files() -> None:
    def act(session: Session) -> None:
        Path(f"/proc/self/fd/{session.store._root}", f".spoiled{len(_kept)}").touch()  # type: ignore[attr-defined]
        _kept.append(None)

    _before_each_session(act)


SPOILED: dict[str, Callable[[], None]] = {
    "memory": _leak_memory,
    "objects": _leak_objects,
    "descriptors": _leak_descriptors,
    "threads": _leak_threads,
    "tasks": _leak_tasks,
    "log": _log,
    "late": _answer_late,
    "twice": _answer_twice,
    "bytes": _send_wrong_bytes,
    "files": _leave_files,
}
"""What gives each defect to the server of this process."""
