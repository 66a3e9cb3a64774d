"""Transfers that end as they should."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable

import pytest

from ftpdata.errors import FTPDataError
from ftpdata.outcome import End, TransferResult
from ftpdata.transfers import _sendfile as sending
from tests.harness.connections import peer_task, receive_all

__all__ = ["failed", "finished", "no_sendfile"]


def no_sendfile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the system appear to have no sendfile."""

    def refuse(*_: object) -> int:
        raise NotImplementedError

    monkeypatch.setattr(sending, "sendfile_past", refuse)


async def finished(work: Awaitable[TransferResult], peer: socket.socket) -> bytes:
    """Run a transfer that sends to a clean end; return the bytes that the peer got."""

    async with peer_task(receive_all(peer)) as receiving:
        result = await work
        received = await receiving
        assert isinstance(received, bytes)

    assert result.end is End.CLEAN
    assert result.reply_code == 226
    assert result.bytes == len(received)
    return received


async def failed(work: Awaitable[object], kind: type[FTPDataError], end: End) -> TransferResult:
    """Run a transfer that fails with this error; return its result."""

    async with asyncio.timeout(60):
        with pytest.raises(kind) as caught:
            await work

    result = caught.value.result
    assert result is not None
    assert result.end is end is caught.value.end
    assert result.reply_code == caught.value.reply_code
    assert result.reason
    return result
