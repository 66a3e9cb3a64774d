"""Where passive data connections come from, and which address clients get for them.

RFC 959 §4.1.2 (PASV), RFC 2428 §3 (EPSV). Decided here, and nowhere else:

* Without a range of ports, each PASV or EPSV gets a listener of its own.
* With a small range, all sessions share its ports, which stay bound: a
  connection belongs to whoever waits for this address on this port, so that a
  few ports serve any number of clients.
* With a large range, again a listener of its own, in the range: there are
  enough, and a port that stays bound costs a file descriptor.
* With FXP the same: a third party comes from an address that nobody knows before.

The address for the client is another matter: behind NAT it is not the one listened on.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from ftpdata import Advertiser, HostPort, ListenerPool, PassiveListener
from ftpdata.limits import Usage
from ftpdata.opening import PassiveEndpoint, PooledEndpoint, PoolMetrics

from .settings import Settings

if TYPE_CHECKING:
    from .session import Session

__all__ = ["PassivePorts"]

SHARED_AT_MOST = 256
"""Ports of a range that is shared. More would not fit beside the files and connections of the
1024 descriptors that a process usually has."""


class PassivePorts:
    """The passive side of a server, for all its sessions.

    Args:
        settings: Of the server.
        usage: Counts the listeners.
    """

    def __init__(self, settings: Settings, usage: Usage) -> None:
        self._settings = settings
        self._usage = usage
        self._pool: ListenerPool | None = None
        self._advertiser = Advertiser(
            settings.advertise,
            exposed_port=settings.exposed_port,
            epsv_only=settings.epsv_only,
        )

    @contextlib.asynccontextmanager
    async def listening(self, hosts: Sequence[str]) -> AsyncIterator[None]:
        """Hold the shared ports, if there are any, as a context manager.

        Args:
            hosts: The addresses that control connections come in on.

        Raises:
            PortsExhausted: Others use all the ports.
            DataConnectionError: It cannot be listened on them.
        """

        settings = self._settings
        ports = settings.passive_ports
        if ports is None or len(ports) > SHARED_AT_MOST or settings.allow_fxp:
            yield
            return

        pool = ListenerPool(
            # Which takes the IPv4 of all others, too.
            "::" if "::" in hosts else hosts,
            ports,
            trusted_proxies=settings.trusted_proxies,
            socket_options=settings.socket_options,
            observer=settings.observer,
        )
        async with pool:
            self._pool = pool
            try:
                yield
            finally:
                self._pool = None

    @property
    def metrics(self) -> PoolMetrics | None:
        """What the shared ports do; None where no ports are shared."""

        return None if self._pool is None else self._pool.metrics

    async def pasv(self, session: Session) -> str:
        """Wait for the client's data connection; return the reply, with its code.

        Raises:
            UnsupportedNetworkProtocol: Only EPSV is to be used. Reply 522.
            DataConnectionError: There is no port for it, no address for the client, or the client
                has too many already. Reply 425.
        """

        endpoint = await self._prepare(session)
        # Not where it is listened: that may be every address, or one behind a proxy.
        address = HostPort(session.addresses.reached.partition("%")[0], endpoint.address.port)
        try:
            return await self._advertiser.pasv_reply(address, session.peer)
        except BaseException:
            await session.data.aclose()
            raise

    async def epsv(self, session: Session) -> str:
        """Do the same as `pasv`, for a reply without an address."""

        return self._advertiser.epsv_reply((await self._prepare(session)).address)

    async def _prepare(self, session: Session) -> PassiveEndpoint | PooledEndpoint:
        # First, so that a client that says PASV again never holds two ports.
        await session.data.aclose()
        slot = self._usage.take_listener(session.peer)
        try:
            endpoint = self._endpoint(session)
        except BaseException:
            slot.release()
            raise

        await session.data.prepare(endpoint, slot)
        return endpoint

    def _endpoint(self, session: Session) -> PassiveEndpoint | PooledEndpoint:
        settings, local = self._settings, session.addresses.local
        if self._pool is not None:
            return self._pool.reserve(
                control_peer=session.peer,
                host=local if local in self._pool.hosts else None,
                owner=session,
                deadlines=settings.deadlines,
                tls=session.protection.data_tls,
            )

        if session.data.listener is None:
            session.data.listener = PassiveListener(
                local,
                control_peer=session.peer,
                ports=settings.passive_ports,
                policy=settings.peer_policy,
                trusted_proxies=settings.trusted_proxies,
                socket_options=settings.socket_options,
                observer=settings.observer,
            )

        return session.data.listener.reserve(
            deadlines=settings.deadlines, tls=session.protection.data_tls
        )
