"""Opens data connections: passive, pooled, active, or accepted elsewhere.

PASV and EPSV make a passive endpoint, PORT and EPRT an active one. An endpoint knows who
may be its peer, and opens once; all transfers take it as their connection. This program
opens both ends of one connection::

    import asyncio

    from ftpdata import DTPStream
    from ftpdata.opening import connect_active, listen_passive

    async def main():
        server = await listen_passive("127.0.0.1", control_peer="127.0.0.1")
        # A server sends server.address in its reply to PASV or EPSV.
        client = connect_active(server.address, control_peer="127.0.0.1")
        receiver, sender = await asyncio.gather(server.open(), client.open())
        async with DTPStream(receiver) as receiving, DTPStream(sender) as sending:
            await sending.send(b"hello")
            await sending.send_eof()
            assert await receiving.receive() == b"hello"

    asyncio.run(main())

The pieces:

- `passive`: `listen_passive` and `PassiveEndpoint` listen for one connection; a
  `PassiveListener` serves one session again and again;
- `ports`: a `PortRange` bounds the ports;
- `pool`: a `ListenerPool` shares a few ports between all sessions of a server;
- `active`: `connect_active` connects to the address of PORT or EPRT, if the policy allows it;
- `endpoint`: `Endpoint`, which all of them have in common, and `AcceptedEndpoint` for a
  connection that the host has accepted itself;
- `advertising` and `nat`: the address that PASV sends to a client if the server is behind
  NAT: `Advertiser`, with an `AddressTable` of client networks;
- `proxy`: PROXY headers of load balancers, from `TrustedProxies` only;
- `socket_options`: `SocketOptions`, the options of every data socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .active import ActiveEndpoint, connect_active
    from .advertising import AddressTable, Advertisement, PortMapping, advertise, unreachable_reason
    from .endpoint import AcceptedEndpoint, Drained, Endpoint
    from .nat import AddressCallable, Advertiser
    from .passive import PassiveEndpoint, PassiveListener, listen_passive
    from .pool import ListenerPool, PooledEndpoint, PoolMetrics
    from .ports import PortRange
    from .proxy import (
        PROXY_HEADER_LIMIT,
        ProxyHeader,
        TrustedProxies,
        format_proxy_header,
        parse_proxy_header,
    )
    from .socket_options import SocketOptions

__all__ = [
    "PROXY_HEADER_LIMIT",
    "AcceptedEndpoint",
    "ActiveEndpoint",
    "AddressCallable",
    "AddressTable",
    "Advertisement",
    "Advertiser",
    "Drained",
    "Endpoint",
    "ListenerPool",
    "PassiveEndpoint",
    "PassiveListener",
    "PoolMetrics",
    "PooledEndpoint",
    "PortMapping",
    "PortRange",
    "ProxyHeader",
    "SocketOptions",
    "TrustedProxies",
    "advertise",
    "connect_active",
    "format_proxy_header",
    "listen_passive",
    "parse_proxy_header",
    "unreachable_reason",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "active": ("ActiveEndpoint", "connect_active"),
            "advertising": (
                "AddressTable",
                "Advertisement",
                "PortMapping",
                "advertise",
                "unreachable_reason",
            ),
            "endpoint": ("AcceptedEndpoint", "Drained", "Endpoint"),
            "nat": ("AddressCallable", "Advertiser"),
            "passive": ("PassiveEndpoint", "PassiveListener", "listen_passive"),
            "pool": ("ListenerPool", "PoolMetrics", "PooledEndpoint"),
            "ports": ("PortRange",),
            "proxy": (
                "PROXY_HEADER_LIMIT",
                "ProxyHeader",
                "TrustedProxies",
                "format_proxy_header",
                "parse_proxy_header",
            ),
            "socket_options": ("SocketOptions",),
        },
    )
