"""A process under torture that breaks its promises: the harness has to notice.

``python -m tests.torture.broken OPTIONS``, as `subject`; the environment says how:

* ``descriptor``: each reply to an error loses a descriptor;
* ``lie``: an error of a write is not reported;
* ``complaint``: an error reaches the event loop's exception handler;
* ``task``: a task is left;
* ``hidden``: the hidden file of an upload that failed is left;
* ``next``: after an error, the next transfer of the session is refused;
* ``harm``: an upload that failed has emptied the old file;
* ``code``: an error that is not about the name is reported as if it were;
* ``death``: the process ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from examples.server import session
from examples.server.reply import Reply
from ftpdata.files import _places
from tests.torture.subject import main

__all__: list[str] = []

SERVED = json.loads(sys.argv[1])["directory"]
HOW = os.environ.get("FTPDATA_BROKEN", "")

# What they import from elsewhere is theirs to use, and nobody else's.
session_module: Any = session
places_module: Any = _places

tasks: list[asyncio.Task[None]] = []


def _break_replies() -> None:
    original = session_module.reply_to

    def reply_to(error: Any) -> Reply:
        loop = asyncio.get_running_loop()
        reply: Reply = original(error)
        if HOW == "descriptor":
            os.open("/dev/null", os.O_RDONLY)
        elif HOW == "complaint":
            loop.call_exception_handler({"message": "broken"})
        elif HOW == "task":
            tasks.append(loop.create_task(asyncio.sleep(1000)))
        elif HOW == "code":
            return Reply(550, "There is no such file.")
        elif HOW == "death":
            os._exit(3)
        elif HOW == "next":
            session_module.COMMANDS.pop("RETR", None)
        return reply

    session_module.reply_to = reply_to


def _break_writes() -> None:
    original = places_module.write_all

    def write_all(fd: int, data: Any) -> None:
        try:
            original(fd, data)
        except OSError:
            if HOW == "harm":
                Path(SERVED, "target").write_bytes(b"")
                raise

    places_module.write_all = write_all


if __name__ == "__main__":
    _break_replies()
    if HOW in ("lie", "harm"):
        _break_writes()
    if HOW == "hidden":
        places_module.HiddenPlace.discard = lambda *_: None
    main()
