"""asyncio's proactor event loop, which is that of Windows, on systems that have none of its kernel.

The loop and its transports are asyncio's own (`asyncio.proactor_events`); only the proactor below
them is a stand-in, which tries a socket again whenever a selector says that it is ready. So
`add_reader` and `add_writer` do not exist, a transport has a read under way although it is paused,
and what a transport sends is written by the proactor, later.
"""

from __future__ import annotations

import asyncio
import errno
import selectors
import socket
from asyncio import proactor_events
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["StandInLoop"]



class _Overlapped(asyncio.Future[Any]):
    """The result of a call, which is taken back at once when it is cancelled."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_cancel: Callable[[], None]) -> None:
        super().__init__(loop=loop)
        self._on_cancel = on_cancel

    def cancel(self, msg: Any = None) -> bool:
        is_cancelled = super().cancel(msg)
        if is_cancelled:
            # Before the number of the socket can be another's.
            self._on_cancel()
        return is_cancelled


_Call = tuple[_Overlapped, Callable[[], Any]]


class _StandInProactor:
    """Does what `asyncio.IocpProactor` does, with a selector."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._calls: dict[int, dict[int, deque[_Call]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def set_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[object]:
        """Wait for sockets, and end what they have kept waiting."""

        for key, events in self._selector.select(timeout):
            for event in (selectors.EVENT_READ, selectors.EVENT_WRITE):
                if events & event:
                    self._try(key.fd, event)
        return []

    def close(self) -> None:
        """Give up what waits."""

        for fd in list(self._calls):
            for calls in self._calls.pop(fd).values():
                for future, _ in calls:
                    future.cancel()
        self._selector.close()

    # What transports and the loop call

    def recv(self, sock: socket.socket, size: int, flags: int = 0) -> asyncio.Future[bytes]:
        return self._begin(sock, selectors.EVENT_READ, lambda: sock.recv(size, flags))

    def recv_into(self, sock: socket.socket, buffer: Any, flags: int = 0) -> asyncio.Future[int]:
        return self._begin(
            sock, selectors.EVENT_READ, lambda: sock.recv_into(buffer, 0, flags)
        )

    def send(self, sock: socket.socket, data: Any, flags: int = 0) -> asyncio.Future[int]:
        """Send all of it, as the kernel of Windows does."""

        left = memoryview(data).cast("B")
        size = len(left)

        def send() -> int:
            nonlocal left
            while left:
                left = left[sock.send(left, flags) :]
            return size

        return self._begin(sock, selectors.EVENT_WRITE, send)

    def accept(self, listener: socket.socket) -> asyncio.Future[tuple[socket.socket, Any]]:
        def accept() -> tuple[socket.socket, Any]:
            sock, address = listener.accept()
            sock.setblocking(False)
            return sock, address

        return self._begin(listener, selectors.EVENT_READ, accept)

    def connect(self, sock: socket.socket, address: Any) -> asyncio.Future[None]:
        is_under_way = False

        def connect() -> None:
            nonlocal is_under_way
            if is_under_way:
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, "connect failed")
            else:
                is_under_way = True
                sock.connect(address)

        return self._begin(sock, selectors.EVENT_WRITE, connect)

    def _stop_serving(self, listener: socket.socket) -> None:
        self._forget(listener.fileno())

    # Private

    def _begin(
        self, sock: socket.socket, event: int, call: Callable[[], Any]
    ) -> asyncio.Future[Any]:
        """Try a call until the socket does not say that it would block."""

        assert self._loop is not None
        assert sock.gettimeout() == 0, "a proactor wants sockets that do not block"
        fd = sock.fileno()
        future = _Overlapped(self._loop, lambda: self._watch(fd))
        calls = self._calls.setdefault(fd, {}).setdefault(event, deque())
        # Two would be in order, but asyncio's transports do not bear it: they lose data.
        assert not calls, "a proactor is asked twice at a time"
        calls.append((future, call))
        # As a kernel does, at once; its transport hears of it in a later turn.
        self._try(fd, event)
        return future

    def _try(self, fd: int, event: int) -> None:
        calls = self._calls.get(fd, {}).get(event, deque())
        while calls:
            future, call = calls[0]
            if not future.done():
                try:
                    result = call()
                except (BlockingIOError, InterruptedError):
                    break
                except OSError as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
            calls.popleft()
        self._watch(fd)

    def _watch(self, fd: int) -> None:
        """Watch a socket for what still waits, and for nothing else."""

        waiting = self._calls.get(fd)
        if waiting is None:
            return

        events = 0
        for event, calls in waiting.items():
            while calls and calls[0][0].done():
                calls.popleft()
            events |= event if calls else 0
        if not events:
            self._forget(fd)
        elif fd not in self._selector.get_map():
            self._selector.register(fd, events)
        else:
            self._selector.modify(fd, events)

    def _forget(self, fd: int) -> None:
        self._calls.pop(fd, None)
        if fd in self._selector.get_map():
            self._selector.unregister(fd)


class _Transport(proactor_events._ProactorSocketTransport):
    """asyncio's transport, above a socket that says of its end what one of Windows says."""

    # What the package knows it by.
    __module__ = proactor_events.__name__

    def _call_connection_lost(self, exc: Exception | None) -> None:
        transport: Any = self
        sock = transport._sock
        asyncios: Any = super()
        try:
            asyncios._call_connection_lost(exc)
        except OSError as error:
            # Linux calls a socket that both ends have shut down not connected; Windows does not.
            if error.errno != errno.ENOTCONN:
                raise
            sock.close()
            transport._sock = None
            transport._called_connection_lost = True


class StandInLoop(proactor_events.BaseProactorEventLoop):
    """The event loop, above the stand-in."""

    def __init__(self) -> None:
        super().__init__(_StandInProactor())

    def run_forever(self) -> None:
        """Watch, as long as it runs, for other threads that wake it."""

        loop: Any = self
        self.call_soon(loop._loop_self_reading)
        try:
            super().run_forever()
        finally:
            if loop._self_reading_future is not None:
                loop._self_reading_future.cancel()
                loop._self_reading_future = None

    def _make_socket_transport(  # noqa: PLR0917 - as asyncio has it
        self,
        sock: socket.socket,
        protocol: Any,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
        context: object = None,
    ) -> _Transport:
        # asyncio's own has no use for a context either.
        return _Transport(self, sock, protocol, waiter, extra, server)
