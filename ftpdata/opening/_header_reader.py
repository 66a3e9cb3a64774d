"""Reads the PROXY header of one connection, and not a byte more (HAProxy's proxy-protocol.txt).

`ftpdata.opening.proxy` knows what a header says, and the acceptor whom to believe.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from .._kernel import reset_socket, watch_readable
from ..errors import InvalidData
from .proxy import ProxyHeader, TrustedProxies, parse_proxy_header

__all__ = ["HeaderReader"]

READ_RETRY = 0.1
"""Seconds between two looks at a socket that the event loop cannot watch (Windows)."""


class HeaderReader:
    """Reads the PROXY header of one connection, and not a byte more.

    Its owner calls `read` once it knows the reader, which may be done then.
    """

    def __init__(
        self,
        sock: socket.socket,
        host: str,
        number: int,
        proxies: TrustedProxies,
        done: Callable[[HeaderReader, ProxyHeader | None, str], None],
    ) -> None:
        self.sock = sock
        self.host = host
        self.number = number
        self._done = done
        self._limit = proxies.size_limit
        self._data = b""
        self._is_over = False
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(
            proxies.timeout, self._finish, None, f"no PROXY header within {proxies.timeout:g} s"
        )
        self._retry: asyncio.TimerHandle | None = None
        self._watches = watch_readable(self._loop, sock, self.read)
        if not self._watches:
            # Not at once: the owner would keep a reader that is done before it knows it.
            self._read_later()

    def read(self) -> None:
        """Take what has come of the header."""

        if self._is_over:
            return

        try:
            peeked = self.sock.recv(self._limit, socket.MSG_PEEK)
            header = parse_proxy_header(self._data + peeked)
            # As long as the header is not complete all that came belongs to it. It
            # is taken from the socket, or the loop would call again at once.
            size = len(peeked) if header is None else header.size - len(self._data)
            self._data += self.sock.recv(size) if size else b""
        except (BlockingIOError, InterruptedError):
            return
        except InvalidData as error:
            self._finish(None, error.message)
        except OSError as error:
            self._finish(None, f"lost before its PROXY header: {error.strerror}")
        else:
            if len(self._data) > self._limit:
                self._finish(None, f"its PROXY header is longer than {self._limit} bytes")
            elif header is not None:
                self._finish(header)
            elif not peeked:
                self._finish(None, "closed before the end of its PROXY header")

    def give_up(self, reason: str) -> None:
        """Read no more; the connection is refused."""

        self._finish(None, reason)

    def close(self) -> None:
        """Give up, without a word to anybody."""

        self._stop()
        reset_socket(self.sock)

    def _read_later(self) -> None:
        self._retry = self._loop.call_later(READ_RETRY, self._read_again)

    def _read_again(self) -> None:
        self.read()
        if not self._is_over:
            self._read_later()

    def _stop(self) -> None:
        self._is_over = True
        self._timer.cancel()
        if self._retry is not None:
            self._retry.cancel()
        if self._watches:
            self._loop.remove_reader(self.sock.fileno())

    def _finish(self, header: ProxyHeader | None, reason: str = "") -> None:
        self._stop()
        self._done(self, header, reason)
