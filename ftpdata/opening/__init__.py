"""How a data connection comes to be: passive, pooled, active or accepted elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .active import ActiveEndpoint, connect_active
    from .advertising import AddressTable, Advertisement, PortMapping, advertise, unreachable_reason
    from .endpoint import AcceptedEndpoint, Endpoint
    from .nat import AddressCallable, Advertiser
    from .passive import PassiveEndpoint, PassiveListener, PortRange, listen_passive
    from .pool import ListenerPool, PooledEndpoint, PoolMetrics
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
            "endpoint": ("AcceptedEndpoint", "Endpoint"),
            "nat": ("AddressCallable", "Advertiser"),
            "passive": ("PassiveEndpoint", "PassiveListener", "PortRange", "listen_passive"),
            "pool": ("ListenerPool", "PoolMetrics", "PooledEndpoint"),
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
