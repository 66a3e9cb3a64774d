"""The next EPSV goes out before the final reply of a download, if the server bears that."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import anyio
import pytest

from examples.client.files import get, put
from examples.client.mirror import Mirror
from examples.client.pipelining import NOT_BORNE, PipeliningClient
from tests.client.peers import Session, serving


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a directory to serve, with small files in it."""

    served = tmp_path / "served"
    served.mkdir()
    for number in range(8):
        (served / f"{number}").write_bytes(b"x" * number)
    return served


class Waiting(Session):
    """Confirms a download once the next EPSV is there."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked = asyncio.Event()
        self.said: list[str] = []

    def is_urgent(self, line: str) -> bool:
        """Note an EPSV that comes during a transfer."""

        if line == "EPSV":
            self.asked.set()
        return super().is_urgent(line)

    async def do_retr(self, argument: str) -> None:
        """Begin to wait."""

        self.asked.clear()
        await super().do_retr(argument)

    async def reply(self, *lines: str) -> None:
        """Confirm late."""

        if lines[0].startswith("226") and not self.is_upload:
            async with asyncio.timeout(self.patience):
                await self.asked.wait()
        await super().reply(*lines)

    is_upload = False

    async def do_stor(self, argument: str) -> None:
        """Confirm an upload at once."""

        self.is_upload = True
        await super().do_stor(argument)

    async def do_mlsd(self, argument: str) -> None:
        """Confirm a listing at once."""

        self.asked.set()
        await super().do_mlsd(argument)


async def test_next_epsv_goes_out_before_the_final_reply(root: Path) -> None:
    """The server waits for it; its reply is used for the next transfer."""

    async with serving(root, Waiting) as server:
        async with await PipeliningClient.connect(server) as client:
            for number in range(8):
                await get(client, f"{number}", root.parent / "copy")
                assert await anyio.Path(root.parent / "copy").read_bytes() == b"x" * number
            # Another command is sent after the reply, and gets its own.
            assert (await client.command("PWD")).startswith("257")
            await put(client, root / "3", "up")
            assert (await client.command("PWD")).startswith("257")
        assert client.refused == set()
    assert await anyio.Path(root / "up").read_bytes() == b"xxx"


async def test_server_that_answers_in_another_order_is_not_asked_again(root: Path) -> None:
    """A mirror goes on with new sessions; each file arrives."""

    class Hasty(Waiting):
        def is_urgent(self, line: str) -> bool:
            super().is_urgent(line)
            return line == "EPSV"

    refused: set[str] = set()
    async with serving(root, Hasty) as server:
        client = await PipeliningClient.connect(server, refused)
        await get(client, "1", root.parent / "copy")
        with pytest.raises(ConnectionError, match="next EPSV"):
            await get(client, "2", root.parent / "copy")
        assert client.is_lost
    assert refused == {NOT_BORNE}


async def test_mirror_asks_early(root: Path) -> None:
    """And of a server that does not bear it, all files arrive as well."""

    class Swapping(Session):
        """Answers an EPSV that comes during a transfer before the final reply."""

        def is_urgent(self, line: str) -> bool:
            return line == "EPSV" or super().is_urgent(line)

    for session in (Session, Swapping):
        local = root.parent / session.__name__
        async with serving(root, session) as server:
            mirror = await Mirror(server, pause=lambda _: 0.0, pipelines=True).download("/", local)
        assert mirror.failures == []
        assert mirror.transferred == 8


async def test_failure_after_an_early_epsv_is_tried_without(root: Path) -> None:
    """Twisted answers an early EPSV, and refuses the transfer that follows."""

    class Refusing(Session):
        is_early = False

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.asked = asyncio.Event()

        def is_urgent(self, line: str) -> bool:
            if line == "EPSV":
                self.is_early = True
                self.asked.set()
            return super().is_urgent(line)

        async def do_retr(self, argument: str) -> None:
            if self.is_early:
                await self.reply("550 Internal error.")
            else:
                await super().do_retr(argument)

        async def reply(self, *lines: str) -> None:
            if lines[0].startswith("226"):
                with contextlib.suppress(TimeoutError):
                    # Whoever asks early, does so now.
                    async with asyncio.timeout(0.5):
                        await self.asked.wait()
            await super().reply(*lines)

    async with serving(root, Refusing) as server:
        mirror = await Mirror(server, connections=1, pause=lambda _: 0.0, pipelines=True).download(
            "/", root.parent / "copy"
        )
    assert mirror.failures == []
    assert mirror.transferred == 8
