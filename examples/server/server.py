"""Listening for clients, limiting them, and ending it all cleanly.

RFC 959 §2.3. A session gets a task of its own; nothing else lives here.
"""

from __future__ import annotations

import contextlib
import errno
import logging

import anyio
import anyio.abc
from anyio.abc import SocketAttribute

from ftpdata import TokenBucket

from .control import Reply, prepare_socket
from .session import Session
from .settings import Settings
from .storage import Storage

__all__ = ["Server"]

logger = logging.getLogger("ftpdata.examples.server")

ACCEPT_RETRY = 0.1
"""Seconds to wait when the system has no resources for another connection."""

_NO_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_LOST_IN_THE_QUEUE = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EPERM})


class Server:
    """An FTP server for one directory.

    Args:
        storage: What is served.
        settings: How.
    """

    def __init__(self, storage: Storage, settings: Settings) -> None:
        self._storage = storage
        self._settings = settings
        self._sessions: set[Session] = set()
        self._stop = anyio.Event()
        self._has_ended = anyio.Event()

    @property
    def session_count(self) -> int:
        """Clients that are connected."""

        return len(self._sessions)

    async def run(
        self,
        host: str,
        port: int,
        *,
        task_status: anyio.abc.TaskStatus[tuple[str, int]] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `stop` is called; then end the sessions, those with a transfer last.

        Args:
            host: Address to listen on.
            port: Port to listen on; 0 for any.
            task_status: Told the address and port once clients can connect
                (``await task_group.start(server.run, host, port)``).

        Raises:
            OSError: It cannot listen there.

        Cancellation ends everything at once.
        """

        listeners = await anyio.create_tcp_listener(local_host=host, local_port=port)
        async with listeners, anyio.create_task_group() as sessions:
            async with anyio.create_task_group() as accepting:
                for listener in listeners.listeners:
                    assert isinstance(listener, anyio.abc.SocketListener)
                    # Before the first connection, which inherits it.
                    prepare_socket(listener.extra(SocketAttribute.raw_socket))
                    accepting.start_soon(self._accept, listener, sessions)

                address = listeners.listeners[0].extra(SocketAttribute.local_address)
                task_status.started((str(address[0]), int(address[1])))
                await self._stop.wait()
                accepting.cancel_scope.cancel()

            await listeners.aclose()
            await self._drain()
            sessions.cancel_scope.cancel()

    def stop(self) -> None:
        """Make `run` come to its end."""

        self._stop.set()

    async def _accept(
        self,
        listener: anyio.abc.SocketListener,
        sessions: anyio.abc.TaskGroup,
    ) -> None:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno in _NO_RESOURCES:
                    logger.warning("cannot accept: %s", error.strerror)
                    await anyio.sleep(ACCEPT_RETRY)
                elif error.errno not in _LOST_IN_THE_QUEUE:
                    raise
            else:
                sessions.start_soon(self._serve, stream)

    async def _serve(self, stream: anyio.abc.SocketStream) -> None:
        async with stream:
            try:
                prepare_socket(stream.extra(SocketAttribute.raw_socket))
                local = str(stream.extra(SocketAttribute.local_address)[0])
                peer = str(stream.extra(SocketAttribute.remote_address)[0])
            except OSError:
                # It was reset before it was looked at.
                return

            if len(self._sessions) < self._settings.max_sessions:
                await self._run_session(stream, local, peer)
            else:
                logger.warning("%s: too many sessions", peer)
                with contextlib.suppress(anyio.BrokenResourceError):
                    # Fits into any send buffer: nothing is waited for.
                    await stream.send(Reply(421, "Too many sessions.").encode())

    async def _run_session(self, stream: anyio.abc.SocketStream, local: str, peer: str) -> None:
        session = Session(
            stream, local=local, peer=peer, settings=self._settings, storage=self._storage
        )
        if self._settings.rate is not None:
            session.throttle = TokenBucket(self._settings.rate, now=anyio.current_time())

        self._sessions.add(session)
        try:
            await session.run()
        except Exception:
            # A bug that one client has found is no reason to leave the others.
            logger.exception("%s: the session failed", peer)
        finally:
            self._sessions.discard(session)
            if not self._sessions:
                self._has_ended.set()

    async def _drain(self) -> None:
        """End the sessions; give running transfers some time, then abort them."""

        for end in (Session.shut_down, Session.abort):
            if not self._sessions:
                return

            self._has_ended = anyio.Event()
            for session in set(self._sessions):
                end(session)
            with anyio.move_on_after(self._settings.grace):
                await self._has_ended.wait()

