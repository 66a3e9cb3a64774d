r"""Opens data connections: passive, pooled, active, or accepted elsewhere.

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

## The commands

What a session does with the argument of each command, and what it replies::

    from ftpdata import FTPDataError, format_epsv_reply, format_pasv_reply
    from ftpdata.addresses import parse_eprt, parse_port

    async def command(verb, argument, *, local="127.0.0.1", peer="127.0.0.1"):
        # `local` and `peer` are the addresses of the control connection.
        try:
            if verb == "PASV":
                endpoint = await listen_passive(local, control_peer=peer)
                return endpoint, format_pasv_reply(endpoint.address)
            if verb == "EPSV":
                endpoint = await listen_passive(local, control_peer=peer)
                return endpoint, format_epsv_reply(endpoint.address.port)
            target = parse_port(argument) if verb == "PORT" else parse_eprt(argument)
            return connect_active(target, control_peer=peer), "200 Done."
        except FTPDataError as error:
            return None, error.reply

    async def commands():
        endpoint, reply = await command("EPSV", "")
        assert reply.startswith("229 ")
        await endpoint.aclose()  # no transfer came
        _, reply = await command("PORT", "192,0,2,1,0,21")  # somebody else's port
        assert reply.startswith("425 ")
        _, reply = await command("EPRT", "nonsense")
        assert reply.startswith("501 ")

    asyncio.run(commands())

By default a peer is exactly the one of the control connection. `PeerPolicy` allows more: the
network of a client with several addresses (`PeerPolicy.same_network`), known sites
(`PeerPolicy.allow`), or everybody, for FXP (`PeerPolicy.any`).

## Behind a firewall or NAT

Few passive ports are enough: a `ListenerPool` listens on all of them all the time, and a
connection belongs to the client whom the port was promised. An `Advertiser` makes the reply with
the address by which clients reach the server: one for all, a name that is looked up again, or one
for each network of clients; `exposed_port` says how a port differs outside::

    from ftpdata import AddressTable, Advertiser, ListenerPool, PortRange

    async def behind_nat():
        table = AddressTable({"10.0.0.0/8": "10.1.2.3"}, default="198.51.100.7")
        advertiser = Advertiser(table)
        async with ListenerPool("127.0.0.1", PortRange(50000, 50009)) as pool:
            endpoint = pool.reserve(control_peer="127.0.0.1")
            reply = await advertiser.pasv_reply(endpoint.address, "203.0.113.9")  # to this client
            assert "198,51,100,7" in reply
            await endpoint.aclose()

    asyncio.run(behind_nat())

The firewall then has to let these ports in, beside the one of the control connection. On Linux,
``sysctl net.ipv4.ip_local_reserved_ports=50000-50009`` keeps them from connections that begin on
the same host. A warning is logged if a client from the internet would get a private address. The
reference server does all of this with two options::

    python -m examples.server DIRECTORY --anonymous --host :: --passive-ports 50000-50009 \
        --advertise ftp.example.org

## Behind a load balancer

Behind HAProxy, control and data connections both go through it, each with a PROXY header.
`TrustedProxies` names whom to believe: `listen_passive`, `PassiveListener` and `ListenerPool` take
it as `trusted_proxies`, and then the address in the header is the one that is judged. The header of
the control connection has the address that the client has connected to: that goes into the reply
to PASV, unless another one is advertised. (In the reference server: ``--trust-proxy 192.0.2.1``.)
A client may use IPv6 even if the proxy and the server speak IPv4 with each other. HAProxy's side
of it::

    listen ftp
        mode tcp
        bind :::21 v4v6
        server ftp 192.0.2.2:2121 send-proxy-v2
    listen ftp-data
        mode tcp
        bind :::50000-50009 v4v6
        # No port: the same one.
        server ftp 192.0.2.2 send-proxy-v2

## Several processes

Each process needs passive ports of its own, since no other one knows to whom they were promised:
``PortRange(50000, 50099).slice(worker, workers)`` gives each its part. Where a supervisor starts
new processes before the old ones have ended, count both. A process that gets connections
from another one, by ``SCM_RIGHTS`` or from systemd, makes an `AcceptedEndpoint` of each, or gives a
socket that listens to `listen_passive` as `sock`. ``examples/server/gunicorn_worker.py`` has a
whole server in several processes.

## Ending, and letting transfers end

`Endpoint.drain` and `ListenerPool.drain` let nothing new begin, let what runs end until a deadline,
and then cut it (426), which they log. An upload that is just being stored is waited for::

    from ftpdata import receive_stream, send_file

    async def drained():
        async with ListenerPool("127.0.0.1", PortRange(50000, 50009)) as pool:
            server = pool.reserve(control_peer="127.0.0.1")
            retr = asyncio.create_task(send_file(server, "README.md"))
            client = await connect_active(server.address, control_peer="127.0.0.1").open()
            ...  # then comes SIGTERM
            drain = asyncio.create_task(pool.drain(within=30.0))
            async for _ in receive_stream(client):
                pass
            assert (await retr).is_complete
            assert (await drain).cut == 0

    asyncio.run(drained())
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
