"""Each check is proved by scripted servers that have just one defect, and by one that has none.

`tests.testing.proofs` says how a defect is added.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path

import anyio.to_thread
import pytest

from ftpdata.testing import Outcome, Protection, ScriptedStream, ServerUnderTest, check_server
from ftpdata.testing._checks import endings, strangers
from ftpdata.testing._checks._frame import CHECKS
from ftpdata.testing._checks._steps import is_open
from tests.harness.packages import skip_where_errors_stay
from tests.testing.proofs import Defect, all_defects, try_check
from tests.testing.scripted_server import PASSWORD, USER, Link, Session, scripted_server

pytestmark = pytest.mark.asyncio_only("the checks are the same on every loop")

DEFECTS = all_defects()


class Hasty(Session):
    """Waits for no data connection for long."""

    patience = 0.3


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let slow checks take less time."""

    monkeypatch.setattr(endings, "_UNREAD", 0.5)
    monkeypatch.setattr(strangers, "_NOBODY", 5.0)


@pytest.mark.parametrize("defect", DEFECTS, ids=str)
async def test_a_check_finds_the_defect(defect: Defect, tmp_path: Path) -> None:
    """It says what is wrong."""

    if defect.protection is not Protection.CLEAR:
        skip_where_errors_stay()
    result = await try_check(
        defect.check,
        tmp_path,
        defect.session,
        protection=defect.protection,
        patience=defect.patience,
        late=defect.late,
    )
    assert result.result is defect.result, result
    assert defect.why in result.why


@pytest.mark.parametrize("name", CHECKS)
async def test_a_check_passes_a_server_without_a_defect(name: str, tmp_path: Path) -> None:
    """In clear, and in TLS if it needs TLS."""

    session = Hasty if CHECKS[name].is_slow else Session
    for protection in (Protection.CLEAR, Protection.EXPLICIT):
        if protection is Protection.EXPLICIT:
            skip_where_errors_stay()
        result = await try_check(name, tmp_path, session, protection=protection)
        if result.result is not Outcome.NOT_OFFERED:
            break
    assert result.result is Outcome.PASS, result


class LeavesUploads(Session):
    """Does not answer the close_notify of an upload."""

    is_upload = False

    async def receive_file(self, link: Link) -> bytes:
        self.is_upload = True
        return await super().receive_file(link)

    async def finish(self, link: Link) -> None:
        if not self.is_upload:
            await super().finish(link)
            return

        self.is_upload = False
        with contextlib.suppress(OSError):
            link.sock.shutdown(socket.SHUT_WR)
        link.close()


@pytest.mark.parametrize(
    "name",
    [
        "appending-by-several",
        "ascii-round-trip",
        "commands-behind-an-upload",
        "resumption-of-another-upload",
        "stor-is-atomic",
        "stou-command",
        "uploads-of-one-name",
    ],
)
async def test_an_upload_that_is_not_answered_is_another_checks_matter(
    name: str, tmp_path: Path
) -> None:
    """``close-notify-after-uploads`` warns of it; no check of files fails for it."""

    skip_where_errors_stay()
    result = await try_check(name, tmp_path, LeavesUploads, protection=Protection.EXPLICIT)
    assert result.result is Outcome.PASS, result


async def test_a_connection_that_nobody_owns_is_not_open() -> None:
    """The system answers with a reset only what it is sent."""

    async def reset_once_asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.transport.abort()

    async with (
        await asyncio.start_server(reset_once_asked, "127.0.0.1", 0) as server,
        await ScriptedStream.connect(*server.sockets[0].getsockname()) as data,
    ):
        assert not await is_open(data, 0.1)


async def test_a_connection_that_takes_data_is_open() -> None:
    """Whoever leaks a connection reads from it, or not."""

    listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        async with await ScriptedStream.connect(*listener.getsockname()) as data:
            assert await is_open(data, 0.1)


async def test_nothing_is_written_without_permission(tmp_path: Path) -> None:
    """Without a writable directory, the checks leave the server's files alone."""

    async with scripted_server(tmp_path) as server:
        await check_server(ServerUnderTest(server.host, server.port, USER, PASSWORD), at_once=8)
    assert await anyio.to_thread.run_sync(os.listdir, tmp_path) == []


def test_every_check_is_proved() -> None:
    """None has no defect that it finds, and no defect is of a check that is gone."""

    assert {defect.check for defect in DEFECTS} == set(CHECKS)
