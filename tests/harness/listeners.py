"""Listeners whose accept(2) fails."""

from __future__ import annotations

import asyncio
import os
import socket

from ftpdata.opening._acceptor import Acceptor

__all__ = ["FaultyListener", "make_faulty"]


class FaultyListener:
    """A listener whose accept raises as long as `error` is set.

    Attributes:
        error: The error to raise.
        once: Whether it is raised only once.
        accepts: The number of calls.
    """

    def __init__(self, sock: socket.socket, error: int) -> None:
        self.error: int | None = error
        self.once = False
        self.accepts = 0
        self._sock = sock
        self.fileno = sock.fileno
        self.close = sock.close

    def accept(self) -> tuple[socket.socket, object]:
        """Raise the error, or accept."""

        self.accepts += 1
        if self.error is not None:
            error = self.error
            if self.once:
                self.error = None
            raise OSError(error, os.strerror(error))

        return self._sock.accept()


def make_faulty(acceptor: Acceptor, error: int) -> FaultyListener:
    """Make accept fail from now on."""

    listener = acceptor._listener
    assert listener is not None
    loop = asyncio.get_running_loop()
    loop.remove_reader(listener)
    faulty = FaultyListener(listener, error)
    acceptor._listener = faulty  # type: ignore[assignment]
    loop.add_reader(faulty, acceptor.accept)
    return faulty
