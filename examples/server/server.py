"""Listening for clients, limiting them, and ending it all cleanly.

RFC 959 §2.3. A session gets a task of its own; nothing else lives here.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
import socket
from collections.abc import AsyncIterator

import anyio
import anyio.abc
import anyio.to_thread

from ftpdata import FTPDataError, HostPort, TrustedProxies
from ftpdata.errors import InvalidData
from ftpdata.limits import Usage, address_key
from ftpdata.opening import PoolMetrics, ProxyHeader, parse_proxy_header

from .attempts import Blocked
from .control import prepare_socket
from .listening import Listener, listening
from .places import Full, LocalPlaces
from .reply import Reply, printable
from .session import Addresses, Session
from .settings import Settings
from .shared import Shared
from .store import Store

__all__ = ["Server"]

logger = logging.getLogger("ftpdata.examples.server")

ACCEPT_RETRY = 0.1
"""Seconds to wait when the system has no resources for another connection."""

QUIET = 60.0
"""Seconds between two lines of the log that say so."""

_LATER = frozenset({
    errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM, errno.EACCES,
    errno.ENOSPC,
})
"""What passes: there are no descriptors, no memory or no watches (epoll_ctl(2)) left, or somebody
forbids it for now (a firewall, a security module)."""

_LOST_IN_THE_QUEUE = frozenset({
    errno.ECONNABORTED, errno.EPROTO, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.ENETDOWN,
    errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ECONNRESET, errno.ETIMEDOUT,
})
"""What becomes of a connection that waits, not of the listener (accept(2), "Error handling")."""


class Server:
    """An FTP server for one store.

    Args:
        store: What is served.
        settings: How.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._settings = settings
        self._shared = Shared.of(store, settings)
        self._sessions: set[Session] = set()
        self._places = settings.places or LocalPlaces(settings.max_sessions_per_address)
        self._arriving = 0
        self._quiet_until = 0.0
        self._stop = anyio.Event()
        self._renewal = anyio.Event()
        self._has_ended = anyio.Event()

    @property
    def session_count(self) -> int:
        """Clients that are connected."""

        return len(self._sessions)

    @property
    def usage(self) -> Usage:
        """What the clients use of what is limited."""

        return self._shared.usage

    @property
    def passive_metrics(self) -> PoolMetrics | None:
        """What the shared passive ports do; None where no ports are shared."""

        return self._shared.ports.metrics

    async def run(
        self,
        host: str | None = None,
        port: int = 0,
        *,
        listener: Listener | None = None,
        task_status: anyio.abc.TaskStatus[tuple[str, int]] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `stop` is called; then end the sessions, those with a transfer last.

        Args:
            host: Address to listen on; ``::`` for all of this machine, IPv4 included.
            port: Port to listen on; 0 for any.
            listener: Instead of an address: a socket that listens already, a list of them, or
                a listener of anyio. It stays the caller's, open after the end.
            task_status: Gets the address and port once clients can connect
                (``await task_group.start(server.run, host, port)``).

        Raises:
            OSError: It cannot listen there.
            TypeError: There is both an address and a listener, or neither.
            ValueError: The listener does not listen for TCP.
            DataConnectionError: It cannot listen on the passive ports.

        Cancellation ends everything at once.
        """

        async with contextlib.AsyncExitStack() as doors:
            sockets = await doors.enter_async_context(listening(host, port, listener))
            hosts = [_local_address(sock) for sock in sockets]
            async with (
                self._shared.ports.listening(hosts),
                self._certificates(),
                anyio.create_task_group() as sessions,
            ):
                async with anyio.create_task_group() as accepting:
                    for sock in sockets:
                        # Before the first connection, which inherits it.
                        prepare_socket(sock, self._settings.control_options)
                        accepting.start_soon(self._accept, sock, sessions)

                    task_status.started((hosts[0], sockets[0].getsockname()[1]))
                    accepting.start_soon(self._clean_now_and_then)
                    await self._stop.wait()
                    accepting.cancel_scope.cancel()

                # Nobody can connect any more.
                await doors.aclose()
                await self._drain()
                sessions.cancel_scope.cancel()

    async def _clean_now_and_then(self) -> None:
        """Remove what is left of uploads that nobody resumes."""

        if not self._settings.writable:
            return

        while True:
            try:
                removed = await self._shared.store.clean()
            except OSError as error:
                logger.warning("cannot look for parts that are too old: %s", error.strerror)
            else:
                for part in removed:
                    name = printable(os.fsdecode(part.path))
                    logger.info("removed %s, %d bytes: %s", name, part.size, part.reason)
            await anyio.sleep(self._settings.clean_interval)

    @contextlib.asynccontextmanager
    async def _certificates(self) -> AsyncIterator[None]:
        """Hold the certificates, and look at their files now and then, as a context manager."""

        certificates = self._shared.certificates
        if not certificates:
            yield
            return

        try:
            await anyio.to_thread.run_sync(certificates.renew)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._renew_certificates)
                yield
                tasks.cancel_scope.cancel()
        finally:
            certificates.close()

    async def _renew_certificates(self) -> None:
        while True:
            at_once = False
            with anyio.move_on_after(self._settings.certificate_interval):
                await self._renewal.wait()
                self._renewal, at_once = anyio.Event(), True
            renew = functools.partial(self._shared.certificates.renew, at_once=at_once)
            await anyio.to_thread.run_sync(renew)

    def renew_certificates(self) -> None:
        """Look at the files of the certificates now, whether they seem to have changed or not."""

        self._renewal.set()

    def stop(self) -> None:
        """Make `run` come to its end."""

        self._stop.set()

    async def _accept(self, listener: socket.socket, sessions: anyio.abc.TaskGroup) -> None:
        while True:
            # The event loop's sock_accept would lose a connection if it were cancelled at the
            # moment when that has come.
            try:
                await anyio.wait_readable(listener)
                sock, _ = listener.accept()
            except BlockingIOError:
                # It has left again, or another process has taken it.
                continue
            except OSError as error:
                if error.errno in _LATER:
                    self._say_now_and_then(f"cannot accept: {error.strerror}")
                    await anyio.sleep(ACCEPT_RETRY)
                elif error.errno not in _LOST_IN_THE_QUEUE:
                    raise
            else:
                sessions.start_soon(self._serve, sock)

    def _say_now_and_then(self, warning: str) -> None:
        """Log an event that would otherwise fill the log: it may happen ten times a second."""

        now = anyio.current_time()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET
            logger.warning("%s", warning)

    async def _serve(self, sock: socket.socket) -> None:
        try:
            await self._serve_on(sock)
        finally:
            # One whose close fails is closed all the same, and is no reason to leave the others.
            with contextlib.suppress(OSError):
                sock.close()

    async def _serve_on(self, sock: socket.socket) -> None:
        try:
            sock.setblocking(False)
            prepare_socket(sock, self._settings.control_options)
            local = _local_address(sock)
            peer = _unmapped(str(sock.getpeername()[0]))
        except OSError:
            # It was reset before anybody looked at it.
            return

        # The scope of a link-local address says on which side of it we are, not who it is.
        peer = peer.partition("%")[0]
        if len(self._sessions) + self._arriving >= self._settings.max_sessions:
            self._refuse(sock, peer, "Too many sessions.")
            return

        reached = None
        if self._settings.trusted_proxies is not None:
            header = await self._header(sock, peer, self._settings.trusted_proxies)
            if header is None:
                return
            if header.source is None or header.destination is None:
                # It is the proxy itself, which looks whether we are there, and learns it also
                # when there is no place for another client.
                await self._run_session(sock, Addresses(local, peer))
                return
            peer, reached = header.source.host, header.destination.host

        await self._greet(sock, Addresses(local, peer, reached))

    async def _header(
        self, sock: socket.socket, peer: str, proxies: TrustedProxies
    ) -> ProxyHeader | None:
        """Read which client is behind the proxy; log and return None if that is unknown."""

        if not proxies.trusts(peer):
            logger.info("%s refused: it is not a trusted proxy", peer)
            return None

        self._arriving += 1
        try:
            return await read_proxy_header(sock, proxies)
        except FTPDataError as error:
            logger.info("%s refused: %s", peer, error.message)
            return None
        finally:
            self._arriving -= 1

    async def _greet(self, sock: socket.socket, addresses: Addresses) -> None:
        """Run a session, if this client may have one."""

        peer = addresses.peer
        try:
            await self._shared.attempts.check(peer)
            place = await self._places.take(address_key(peer))
        except (Blocked, Full) as error:
            self._refuse(sock, peer, str(error))
            return

        try:
            await self._run_session(sock, addresses)
        finally:
            place.release()

    def _refuse(self, sock: socket.socket, peer: str, reason: str) -> None:
        self._say_now_and_then(f"{peer} refused: {reason}")
        with contextlib.suppress(OSError):
            # It fits into any send buffer: this does not wait.
            sock.send(Reply(421, reason).encode())

    async def _run_session(self, sock: socket.socket, addresses: Addresses) -> None:
        session = Session(sock, addresses=addresses, shared=self._shared)
        self._sessions.add(session)
        try:
            await session.run()
        except Exception:
            # A bug that one client has found is no reason to leave the others.
            logger.exception("%s: the session failed", addresses.peer)
        finally:
            self._sessions.discard(session)
            if not self._sessions:
                self._has_ended.set()

    async def _drain(self) -> None:
        """End the sessions; give running transfers some time, then abort them."""

        for end in (Session.shut_down, Session.abort):
            if not self._sessions:
                return

            busy = sum(session.is_busy for session in self._sessions)
            if busy and end is Session.abort:
                logger.warning("%d transfers are cut: the server stops", busy)
            elif busy:
                logger.info("%d transfers have %g s to end", busy, self._settings.grace)
            self._has_ended = anyio.Event()
            for session in set(self._sessions):
                end(session)
            with anyio.move_on_after(self._settings.grace):
                await self._has_ended.wait()


async def read_proxy_header(sock: socket.socket, proxies: TrustedProxies) -> ProxyHeader:
    """Read the header that a proxy puts before everything else, and not a byte more.

    What follows may be TLS, and is not ours to touch.

    Raises:
        InvalidData: It is not one, or does not come in time.
    """

    loop = asyncio.get_running_loop()
    data = b""
    try:
        async with asyncio.timeout(proxies.timeout):
            while (header := parse_proxy_header(data)) is None:
                if len(data) >= proxies.size_limit:
                    raise InvalidData(
                        f"its PROXY header is longer than {proxies.size_limit} bytes"
                    )

                # Byte by byte: the system keeps the others, and there are few.
                byte = await loop.sock_recv(sock, 1)
                if not byte:
                    raise InvalidData("it left before the end of its PROXY header")
                data += byte
    except TimeoutError:
        raise InvalidData(f"no PROXY header within {proxies.timeout:g} s") from None
    except OSError as error:
        raise InvalidData(f"it was lost before the end of its PROXY header: {error}") from None

    return header


def _local_address(sock: socket.socket) -> str:
    """Return the address that a connection came in on, in a form to listen on again."""

    host, _, *scope = sock.getsockname()
    # Of an IPv6 address: flow and scope. The scope of a link-local one is a part of it.
    return f"{host}%{scope[1]}" if scope and scope[1] else _unmapped(str(host))


def _unmapped(address: str) -> str:
    """Write the address of an IPv4 client as such, also where the listener is one of IPv6."""

    return HostPort(address, 1).host if address.startswith("::ffff:") else address
