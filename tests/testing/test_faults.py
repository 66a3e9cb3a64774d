"""Each fault of a real peer is what its name says."""

from __future__ import annotations

import asyncio
import socket

import pytest

from ftpdata.testing import Cut, half_close, receive_then_cut, reset, send_then_cut, tcp_pair


async def receive_all(sock: socket.socket) -> None:
    """Receive until the end of file."""

    while await asyncio.get_running_loop().sock_recv(sock, 10):
        pass


async def test_each_cut_is_what_it_says() -> None:
    """A reset resets, a close and a half-close end, and only the half-close goes on receiving."""

    loop = asyncio.get_running_loop()
    for how in Cut:
        ours, peer = await tcp_pair()
        await send_then_cut(peer, b"data", how)
        if how is Cut.RESET:
            with pytest.raises(ConnectionResetError):
                await receive_all(ours)
        else:
            assert await loop.sock_recv(ours, 10) == b"data"
            assert await loop.sock_recv(ours, 10) == b""
        if how is Cut.HALF_CLOSE:
            await loop.sock_sendall(ours, b"answer")
            assert await loop.sock_recv(peer, 10) == b"answer"

        ours.close()
        peer.close()


@pytest.mark.parametrize("nbytes", [0, 3, 10])
async def test_a_peer_cuts_after_exactly_that_many_bytes(nbytes: int) -> None:
    """The cut comes within the data, or at the end of file if that is first."""

    ours, peer = await tcp_pair("::1", send_buffer=8192, receive_buffer=8192)
    ours.send(b"12345")
    half_close(ours)
    assert await receive_then_cut(peer, nbytes, Cut.CLOSE) == b"12345"[:nbytes]
    assert peer.fileno() == -1
    reset(ours)
