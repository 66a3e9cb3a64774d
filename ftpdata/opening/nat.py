"""The address for clients, if somebody must be asked for it: names, callables, log.

`ftpdata.opening.advertising` decides which address it is; this module waits for the answers. A name
is resolved anew after a while, since home and cloud addresses change.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .._checks import check_call, check_seconds
from ..addresses import HostPort, format_epsv_reply, format_pasv_reply
from ..errors import BadAddress, DataConnectionError, UnsupportedNetworkProtocol, error_for_peer
from ..outcome import End
from .advertising import AddressTable, Advertisement, PortMapping, advertise, expose

__all__ = ["AddressCallable", "Advertiser"]

logger: logging.Logger = logging.getLogger("ftpdata.opening.nat")

MAX_WARNINGS = 1000
"""Different warnings that are logged; nobody reads more, and a log must not fill up."""

MAX_NAMES = 1000
"""Names whose answers are kept. A server has one or two; a callable may return any number."""

K = TypeVar("K")
V = TypeVar("V")

AddressCallable = Callable[[str], str | Awaitable[str | None] | None]
"""From the client's address to the address or name to tell it; None for the bound one."""


class Advertiser:
    """Tells clients where to connect to, on behalf of a server behind NAT.

    Args:
        source: An address or a name for all clients, a table by client
            network, or a callable, plain or async. None for the address that
            is listened on.
        exposed_port: How the port that the NAT exposes follows from the bound
            one: a number to add, or a function.
        epsv_only: Whether PASV is refused: EPSV tells no address, so none can
            be wrong, and a NAT has nothing to translate.
        resolve_every: Seconds for which the answer about a name is used. If a
            name cannot be resolved again the last answer is.
        resolve_timeout: Seconds to wait for it, or for an async callable, and to ask
            no more after a name has failed: clients get their 425 at once meanwhile.
    """

    def __init__(
        self,
        source: str | AddressTable | AddressCallable | None = None,
        *,
        exposed_port: PortMapping = 0,
        epsv_only: bool = False,
        resolve_every: float = 60.0,
        resolve_timeout: float = 5.0,
    ) -> None:
        check_call(Advertiser.__init__, locals())
        check_seconds("resolve_every", resolve_every, or_zero=True)
        check_seconds("resolve_timeout", resolve_timeout)
        self.epsv_only = epsv_only
        self._source = source
        self._exposed_port = exposed_port
        self._resolve_every = resolve_every
        self._resolve_timeout = resolve_timeout
        self._answers: dict[tuple[str, int], tuple[float, str]] = {}
        self._failed_at: dict[tuple[str, int], float] = {}
        self._resolving = asyncio.Lock()
        self._warned: set[str] = set()

    async def advertisement(self, bound: HostPort, client: str) -> Advertisement:
        """Ask what to tell a client; a warning is logged, each one once.

        Args:
            bound: What is listened on: `address` of an endpoint.
            client: Address of the control connection's peer.

        Raises:
            DataConnectionError: The name cannot be resolved, or the callable
                failed or gave no address. Reply 425.
        """

        host = await self._host_for(client)
        try:
            if host is not None and not _is_address(host):
                family = socket.AF_INET6 if _is_ipv6(client) else socket.AF_INET
                host = await self._resolve(host, family)

            told = advertise(bound, client, host=host, exposed_port=self._exposed_port)
        except BadAddress as error:
            raise DataConnectionError(
                f"there is no address to tell: {error.message}", end=End.OPEN_FAILED
            ) from error

        if told.warning is not None:
            self._warn(told.warning)

        return told

    async def pasv_reply(self, bound: HostPort, client: str) -> str:
        """Format the reply to PASV (RFC 959 §4.2), with its code and no line end.

        Raises:
            UnsupportedNetworkProtocol: The address is an IPv6 one, or only
                EPSV is to be used. Reply 522.
            DataConnectionError: See `advertisement`. Reply 425.
        """

        if self.epsv_only:
            raise error_for_peer(UnsupportedNetworkProtocol, "PASV is switched off, use EPSV")

        told = await self.advertisement(bound, client)
        return format_pasv_reply(told.address)

    def epsv_reply(self, bound: HostPort) -> str:
        """Format the reply to EPSV (RFC 2428 §3): the exposed port, and no address.

        Raises:
            BadAddress: The exposed port is not a port. Reply 501.
        """

        return format_epsv_reply(expose(bound.port, self._exposed_port))

    # Private

    async def _host_for(self, client: str) -> str | None:
        if self._source is None or isinstance(self._source, str):
            return self._source

        if isinstance(self._source, AddressTable):
            return self._source.lookup(client)

        try:
            async with asyncio.timeout(self._resolve_timeout):
                answer = self._source(client)
                return await answer if inspect.isawaitable(answer) else answer
        except Exception as error:
            raise DataConnectionError(
                f"there is no address to tell: {type(error).__name__}", end=End.OPEN_FAILED
            ) from error

    async def _resolve(self, name: str, family: socket.AddressFamily) -> str:
        key = (name, int(family))
        loop = asyncio.get_running_loop()
        # One question at a time: tasks that wait here find the answer.
        async with self._resolving:
            asked_at, known = self._answers.get(key, (float("-inf"), None))
            if known is not None and loop.time() < asked_at + self._resolve_every:
                return known

            failed_at = self._failed_at.get(key, float("-inf"))
            if known is None and loop.time() < failed_at + self._resolve_timeout:
                # A task that has waited for that answer does not wait for another one.
                raise _unresolved(name)

            try:
                async with asyncio.timeout(self._resolve_timeout):
                    address = await _ask_resolver(name, family)
            except (OSError, UnicodeError, IndexError) as error:
                # TimeoutError is an OSError.
                if known is None:
                    _remember(self._failed_at, key, loop.time())
                    raise _unresolved(name) from error

                self._warn(f"{name!r:.80} cannot be resolved again, {known} is still advertised")
                address = known

            self._failed_at.pop(key, None)
            _remember(self._answers, key, (loop.time(), address))
            return address

    def _warn(self, warning: str) -> None:
        if warning not in self._warned and len(self._warned) < MAX_WARNINGS:
            self._warned.add(warning)
            logger.warning("%s", warning)


def _remember(known: dict[K, V], key: K, value: V) -> None:
    """Keep what is known of one more name, and of no more than `MAX_NAMES`: the latest ones."""

    known.pop(key, None)
    known[key] = value
    while len(known) > MAX_NAMES:
        del known[next(iter(known))]


def _unresolved(name: str) -> DataConnectionError:
    return DataConnectionError(
        f"the name {name!r:.80} of this server cannot be resolved", end=End.OPEN_FAILED
    )


async def _ask_resolver(name: str, family: socket.AddressFamily) -> str:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, None, family=family, type=socket.SOCK_STREAM)
    return str(found[0][4][0])


def _is_ipv6(client: str) -> bool:
    return HostPort(client.partition("%")[0], 1).is_ipv6


def _is_address(host: str) -> bool:
    try:
        HostPort(host, 1)
    except BadAddress:
        return False

    return True
