"""Eight clients on four names: some order of their commands explains what was seen.

Each round is drawn from its seed: STOR, APPE, DELE, RNFR and RNTO, some of them aborted,
some cut by a reset of the data connection or of both. The checker is `linear`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from contextlib import AsyncExitStack
from pathlib import Path

import attrs
import pytest

from examples.server.settings import Uploads
from tests.server.client import PATIENCE, Client, Serving, names, reset, serving
from tests.server.linear import Command, Kind, Step, explain

CLIENTS = 8
NAMES = ("one", "two", "three", "four")
COMMANDS = int(os.environ.get("FTPDATA_COMMANDS", "2"))
"""Commands of each client in a round."""

ROUNDS = int(os.environ.get("FTPDATA_ROUNDS", "50"))
SEED = int(os.environ.get("FTPDATA_SEED", "13"))


@attrs.define
class Round:
    """What was said in a round.

    Attributes:
        number: Its number.
        random: Draws everything.
        commands: The history so far.
    """

    number: int
    random: random.Random
    commands: list[Command] = attrs.field(factory=list)
    _clock: itertools.count[int] = attrs.field(factory=itertools.count)
    _tokens: itertools.count[int] = attrs.field(factory=itertools.count)

    def now(self) -> int:
        """Return the time, which passes with each look."""

        return next(self._clock)

    def data(self) -> bytes:
        """Return bytes that nobody else sends, in this round or another."""

        name, filler = f"{self.number}.{next(self._tokens)}", self.random.randrange(20, 200)
        return f"<{name}:{'x' * filler}>".encode()

    async def pause(self) -> None:
        """Let others go on, for a while."""

        for _ in range(self.random.randrange(6)):
            await asyncio.sleep(0)

    def note(self, text: str, start: int, *ways: tuple[Step, ...]) -> None:
        """Take note of a command whose reply was read just now."""

        self.commands.append(Command(text, start, self.now(), ways))


class User:
    """One client, which logs in again after it has cut its own connection.

    Args:
        server: The server.
        stack: Owns its connections.
    """

    def __init__(self, server: Serving, stack: AsyncExitStack) -> None:
        self._server = server
        self._stack = stack
        self._client: Client | None = None

    async def run(self, round_: Round) -> None:
        """Say some commands."""

        for _ in range(COMMANDS):
            if self._client is None:
                self._client = await self._stack.enter_async_context(self._server.logged_in())
            await round_.pause()
            verb = round_.random.choice(("STOR", "STOR", "APPE", "APPE", "DELE", "RNTO"))
            name = round_.random.choice(NAMES)
            if verb == "DELE":
                await self._delete(round_, self._client, name)
            elif verb == "RNTO":
                await self._rename(round_, self._client, name)
            else:
                await self._upload(round_, self._client, verb, name)

    async def _delete(self, round_: Round, client: Client, name: str) -> None:
        start = round_.now()
        code = await client.code(f"DELE {name}")
        assert code in (250, 550)
        kind = Kind.DELETE if code == 250 else Kind.MISSING
        round_.note(f"DELE {name}: {code}", start, (Step(kind, name),))

    async def _rename(self, round_: Round, client: Client, name: str) -> None:
        new = round_.random.choice(NAMES)
        start = round_.now()
        code = await client.code(f"RNFR {name}")
        assert code in (350, 550)
        kind = Kind.EXISTS if code == 350 else Kind.MISSING
        round_.note(f"RNFR {name}: {code}", start, (Step(kind, name),))
        if code == 550:
            return

        await round_.pause()
        start = round_.now()
        code = await client.code(f"RNTO {new}")
        assert code in (250, 553)
        done = Step(Kind.RENAME, name, new=new) if code == 250 else Step(Kind.MISSING, name)
        round_.note(f"RNTO {name} {new}: {code}", start, (done,))

    async def _upload(self, round_: Round, client: Client, verb: str, name: str) -> None:
        """Upload, and let it end in one of the ways."""

        whole, how = round_.data(), round_.random.choice(
            ("whole", "whole", "ABOR", "late ABOR", "reset", "leave", "vanish")
        )
        half = whole[: len(whole) // 2]
        data = await client.passive()
        start = round_.now()
        client.send(f"{verb} {name}")
        await round_.pause()
        ends_cleanly = how in ("whole", "late ABOR", "leave")
        data.writer.write(whole if ends_cleanly else half)
        await round_.pause()
        text = f"{verb} {name} {how} {whole[:10].decode()}"
        if ends_cleanly:
            data.writer.close()
            await round_.pause()
        if how in ("reset", "vanish"):
            await data.writer.drain()
            reset(data.writer)
            await round_.pause()
        if how in ("leave", "vanish"):
            # Nobody reads the reply. What has come whole is stored, some time.
            reset(client.writer)
            self._client = None
            ways = [_done(verb, name, whole)] if how == "leave" else _cut(verb, name, half)
            round_.commands.append(Command.unanswered(text, start, *ways))
            return

        if how in ("ABOR", "late ABOR"):
            client.send("ABOR")
        code = await _final(client)
        if how in ("ABOR", "late ABOR"):
            assert await _final(client) == 226
        await data.close()
        assert code == 226 or (how != "whole" and code in (426, 450)), (text, code)
        if code == 226:
            assert ends_cleanly, text
            ways = [_done(verb, name, whole)]
        else:
            ways = _cut(verb, name, whole if ends_cleanly else half)
        round_.note(f"{text}: {code}", start, *ways)


async def _final(client: Client) -> int:
    """Read replies up to a final one; return its code."""

    while (code := (await client.codes(1))[0]) < 200:
        pass
    return code


def _done(verb: str, name: str, data: bytes) -> tuple[Step, ...]:
    """Return what an upload does that came whole."""

    if verb == "STOR":
        return (Step(Kind.STORE, name, data),)
    return Step(Kind.BIND, name), Step(Kind.APPEND, name, data)


def _cut(verb: str, name: str, data: bytes) -> list[tuple[Step, ...]]:
    """Return what an upload may have done that was cut.

    STOR has done nothing. What was appended stays: bytes that came before the end.
    """

    return [()] if verb == "STOR" else [(), _done(verb, name, data)]


def _contents(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in names(directory)}


@pytest.mark.timeout(max(240, 5 * ROUNDS))
async def test_some_order_explains_what_was_seen(served_directory: Path) -> None:
    """Every reply, and what the files hold after each round.

    ``FTPDATA_ROUNDS=1000`` takes more rounds, ``FTPDATA_SEED`` others, ``FTPDATA_COMMANDS``
    longer ones.
    """

    async with (
        # The model has no parts: `test_chains` is about those.
        serving(
            served_directory, max_sessions_per_address=100, uploads=Uploads.ATOMIC
        ) as server,
        AsyncExitStack() as stack,
    ):
        users = [User(server, stack) for _ in range(CLIENTS)]
        before: dict[str, bytes] = {}
        for number in range(ROUNDS):
            round_ = Round(number, random.Random(SEED * 100_000 + number))
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(user.run(round_) for user in users))
            await _settled(server, users)
            after = _contents(served_directory)
            history = "\n".join(map(str, round_.commands))
            assert explain(round_.commands, before, after) is not None, (
                f"round {number}\n{history}\n{before}\n{after}"
            )
            before = after


async def _settled(server: Serving, users: list[User]) -> None:
    """Wait until only the users that are connected have a session."""

    connected = sum(user._client is not None for user in users)
    async with asyncio.timeout(PATIENCE):
        while server.server.session_count > connected:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.001)
