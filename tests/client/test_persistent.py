"""A session is made anew when it is lost; nothing is sent twice without a look."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from examples.client.files import WORTH_RESUMING
from examples.client.persistent import (
    LONGEST_PAUSE,
    TRIES,
    OutcomeUnknown,
    Persistent,
    is_worth_another_try,
    pause_before,
)
from examples.client.replies import Lost, ReplyError
from ftpdata import DataConnectionError, FileUnavailable
from ftpdata.errors import ConnectionReset, InsufficientStorage
from tests.client.peers import Session, lacking, serving
from tests.testing.scripted_server import Cut

CONTENT = os.urandom(2 * WORTH_RESUMING)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a directory to serve, with a file in it."""

    served = tmp_path / "served"
    served.mkdir()
    (served / "file").write_bytes(CONTENT)
    return served


@contextlib.asynccontextmanager
async def persistent(root: Path, session: type[Session]) -> AsyncIterator[Persistent]:
    """Run a server, and yield a session that does not wait between attempts."""

    async with (
        serving(root, session) as server,
        Persistent(server, pause=lambda _: 0.0) as made,
    ):
        yield made


def failing(  # noqa: C901 - each way is short
    *ways: str, verb: str = "STOR", base: type[Session] = Session
) -> Any:
    """Make a session that fails in these ways, one transfer after the other, and then no more.

    Its class has `said`, the commands of all its sessions.
    """

    left = list(ways)

    class Failing(base):  # type: ignore[misc, valid-type]
        said: list[str] = []  # noqa: RUF012
        way = ""

        async def carry_out(self, line: str) -> None:
            self.said.append(line)
            if line.startswith((verb, "NOOP")):
                self.way = left.pop(0) if left else ""
                if self.way == "421 before":
                    self.link.sock.shutdown(2)
                    return
            await super().carry_out(line)

        async def receive_file(self, link: Any) -> bytes:
            data = b""
            while self.way == "half" and len(data) < len(CONTENT) // 2:
                data += await link.receive()
            if data:
                self.publish(self.path(self.name), data)
            else:
                data = await super().receive_file(link)
            if self.way in {"half", "nothing"}:
                self.link.sock.shutdown(2)
                raise Cut("lost")
            return data

        async def do_stor(self, argument: str) -> None:
            self.name = argument
            await super().do_stor(argument)

        async def send_file(self, link: Any, path: Path, offset: int, size: int) -> None:
            if self.way == "half":
                size = (offset + size) // 2
            await super().send_file(link, path, offset, size)

        async def reply(self, *lines: str) -> None:
            if lines[0].startswith("226") and self.way == "unsaid":
                self.link.sock.shutdown(2)
            elif lines[0].startswith("226") and self.way == "451":
                await super().reply("451 Try later.")
            else:
                await super().reply(*lines)

    return Failing


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ReplyError("450 busy"), True),
        (ReplyError("550 no"), False),
        (Lost("gone"), True),
        (TimeoutError(), True),
        (ConnectionRefusedError(), True),
        (FileNotFoundError(), False),
        (PermissionError(), False),
        (ConnectionReset("reset"), True),
        (DataConnectionError("no"), True),
        (InsufficientStorage("full"), False),
        (FileUnavailable("no"), False),
        (ValueError(), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, again: bool) -> None:
    """A lost connection, and what a server refuses for the moment."""

    assert is_worth_another_try(error) is again


def test_pauses_grow_to_a_bound() -> None:
    """With some chance, so that many clients do not come back together."""

    for attempt in range(1, 20):
        bound = min(2.0**attempt, LONGEST_PAUSE)
        assert bound / 2 <= pause_before(attempt) <= bound


async def test_what_is_refused_for_good_is_tried_once(root: Path) -> None:
    """And so is a server that cannot be reached at all."""

    session = failing()
    async with persistent(root, session) as client:
        with pytest.raises(ReplyError, match="550"):
            await client.get("nothing", root / "copy")
    assert session.said.count("RETR nothing") == 1
    async with serving(root) as server:
        pass
    async with Persistent(server, pause=lambda _: 0.0) as client:
        with pytest.raises(OSError, match="cannot reach"):
            await client.get("file", root / "copy")


async def test_tries_are_counted_anew_after_progress(root: Path) -> None:
    """Many failures are no reason to give up while the file grows; the same one is."""

    session = failing(*["half"] * 9, verb="RETR")
    async with persistent(root, session) as client:
        await client.get("file", root.parent / "copy")
    assert await anyio.Path(root.parent / "copy").read_bytes() == CONTENT
    rests = [int(line[5:]) for line in session.said if line.startswith("REST")]
    assert rests == sorted(rests)
    assert len(rests) == 9

    session = failing(*["451"] * 99, verb="RETR")
    async with persistent(root, session) as client:
        with pytest.raises(ReplyError, match="451"):
            await client.get("file", root.parent / "again")
    # More if the reply that cuts the data comes before the last of them, now and then.
    assert sum(line.startswith("RETR") for line in session.said) >= TRIES


async def test_session_that_is_lost_is_made_anew(root: Path) -> None:
    """The command is sent again."""

    session = failing("421 before", verb="RETR")
    async with persistent(root, session) as client:
        await client.get("file", root.parent / "copy")
    assert await anyio.Path(root.parent / "copy").read_bytes() == CONTENT
    assert sum(line.startswith("USER") for line in session.said) == 2


# Uploads


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize(
    ("way", "stors", "rests"),
    [
        ("unsaid", 1, []),  # it is there: it is not sent again
        ("half", 2, ["half"]),  # a part is there: the rest is sent
        ("nothing", 2, []),  # what was there before is there: all is sent
        ("451", 1, []),  # it was refused, and is there all the same
        ("", 1, []),
    ],
)
async def test_lost_upload_is_looked_at(
    root: Path, old: bytes | None, way: str, stors: int, rests: list[str]
) -> None:
    """What the server has decides what is sent."""

    if old is not None:
        await anyio.Path(root / "up").write_bytes(old)
    session = failing(way)
    async with persistent(root, session) as client:
        await client.put(root / "file", "up")

    assert await anyio.Path(root / "up").read_bytes() == CONTENT
    assert session.said.count("STOR up") == stors
    assert len([line for line in session.said if line.startswith("REST")]) == len(rests)


async def test_upload_that_always_fails_has_an_end(root: Path) -> None:
    """To look at what is there is no progress."""

    session = failing(*["nothing"] * 99)
    async with persistent(root, session) as client:
        with pytest.raises((Lost, ReplyError)):
            await client.put(root / "file", "up")
    assert session.said.count("STOR up") == 5


async def test_outcome_that_cannot_be_known_is_told(root: Path) -> None:
    """A server without SIZE and MLST does not say what it has: nothing is sent again."""

    session = failing("unsaid", base=lacking("SIZE", "MLST", "MDTM"))
    async with persistent(root, session) as client:
        with pytest.raises(OutcomeUnknown, match="up"):
            await client.put(root / "file", "up")
    assert session.said.count("STOR up") == 1


@pytest.mark.parametrize(
    ("there", "sent", "said"),
    [
        (None, len(CONTENT), []),
        (CONTENT[:1000], len(CONTENT) - 1000, ["REST 1000"]),
        (CONTENT, 0, []),
        (CONTENT + b"more", len(CONTENT), []),
    ],
)
async def test_upload_goes_on_where_it_was_ended(
    root: Path, there: bytes | None, sent: int, said: list[str]
) -> None:
    """If that is asked for; what is longer is another file."""

    if there is not None:
        await anyio.Path(root / "up").write_bytes(there)
    session = failing()
    async with persistent(root, session) as client:
        assert await client.put(root / "file", "up", resume=True) == sent
    assert await anyio.Path(root / "up").read_bytes() == CONTENT
    assert [line for line in session.said if line.startswith("REST")] == said


@pytest.mark.parametrize("reply", ["502 No.", "554 No.", "501 No."])
async def test_server_that_cannot_go_on_gets_all_of_it(root: Path, reply: str) -> None:
    """It refuses REST."""

    class Refusing(Session):
        async def do_rest(self, argument: str) -> None:
            await self.reply(reply)

    await anyio.Path(root / "up").write_bytes(CONTENT[:1000])
    async with persistent(root, Refusing) as client:
        assert await client.put(root / "file", "up", resume=True) == len(CONTENT)
    assert await anyio.Path(root / "up").read_bytes() == CONTENT
