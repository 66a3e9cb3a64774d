"""``--reply sent``: 226 when a download has left the server; the truth is told to the log."""

from __future__ import annotations

import contextlib
import errno
import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from examples.server.settings import Replies
from ftpdata.connection import _delivery_watch
from ftpdata.connection._delivery import Sight
from ftpdata.opening import _link
from ftpdata.transfers import _direct
from tests.harness.waiting import until
from tests.server.client import Client, serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")

ON_ITS_WAY, ARRIVED = Sight(9, unsent=0), Sight(0, unsent=0)
LOST = Sight(
    9, is_gone=True, error=ConnectionResetError(errno.ECONNRESET, "reset by peer"), unsent=0
)
COMMANDS = ["RETR small", "RETR large", "LIST", "MLSD", "NLST"]


class Road:
    """The way to the client: all that was sent is on it until the test says otherwise."""

    def __init__(self) -> None:
        self.sight = ON_ITS_WAY

    def look(self, _: object) -> Sight:
        """Stand in for the kernel."""

        return self.sight


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> Road:
    """Return the way of the data connections to the client."""

    road = Road()
    monkeypatch.setattr(_link, "sight_of", road.look)
    monkeypatch.setattr(_delivery_watch, "sight_of", road.look)
    # On a busy machine the direct way shall not give up before the test does.
    monkeypatch.setattr(_direct, "DELIVERY_MOMENT", 30.0)
    return road


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """Return a directory with files for both ways."""

    (tmp_path / "small").write_bytes(bytes(1000))
    (tmp_path / "large").write_bytes(bytes(3_000_000))
    return tmp_path


@contextlib.asynccontextmanager
async def session(served: Path, replies: Replies) -> AsyncIterator[Client]:
    """Log in at a server."""

    async with serving(served, replies=replies) as server, server.logged_in() as client:
        assert await client.code("TYPE I") == 200
        yield client


async def fetch(client: Client, line: str) -> None:
    """Run a download until all of it is here."""

    data = await client.passive()
    client.send(line)
    await data.read()
    await data.close()


async def download(client: Client, line: str) -> list[int]:
    """Run a download; return the codes that came once all of it is here."""

    await fetch(client, line)
    return await client.codes(2)


@pytest.mark.parametrize("then", [ARRIVED, LOST], ids=["arrived", "lost"])
@pytest.mark.parametrize("line", COMMANDS)
async def test_it_is_said_before_the_client_is_known_to_have_it(
    line: str, then: Sight, served: Path, road: Road, caplog: pytest.LogCaptureFixture
) -> None:
    """The transfer goes on until that is known, and the log says so; nothing more is replied."""

    caplog.set_level(logging.INFO)
    async with session(served, Replies.SENT) as client:
        assert (await download(client, line))[1] == 226
        assert ", complete" not in caplog.text
        road.sight = then
        await until(lambda: f"{line}: " in caplog.text)
        assert (", complete" in caplog.text) is (then is ARRIVED)
        assert await client.code("NOOP") == 200


async def test_abor_after_the_reply_has_a_reply_of_its_own(served: Path, road: Road) -> None:
    """And only that: the transfer has had its own."""

    async with session(served, Replies.SENT) as client:
        assert (await download(client, "RETR small"))[1] == 226
        assert await client.code("ABOR") == 226
        road.sight = ARRIVED
        assert await client.code("NOOP") == 200
        assert (await download(client, "RETR small"))[1] == 226


@pytest.mark.parametrize("line", COMMANDS)
async def test_by_default_what_is_said_is_true(line: str, served: Path, road: Road) -> None:
    """A loss is an error, since nothing was said before."""

    async with session(served, Replies.DELIVERED) as client:
        await fetch(client, line)
        road.sight = LOST
        assert (await client.codes(2))[1] == 426
