r"""Virtual hosts: which accounts, certificate and directory a name stands for (RFC 7151).

One address serves several names, each with a certificate, accounts and a directory of its own. A
client names a host by HOST, before USER, or in its TLS handshake (SNI, RFC 6066 §3)::

    python -m examples.server DIRECTORY --accounts sqlite:accounts.db --tls-cert fullchain.pem \
        --virtual-host b.example,cert=b.pem,accounts=sqlite:b.db,directory=/b
"""

from __future__ import annotations

import ipaddress
import re

import attrs

from ftpdata import ServerCertificate

from .accounts import Accounts
from .paths import absolute

__all__ = ["VirtualHost", "host_name"]

_label = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


@attrs.frozen(kw_only=True)
class VirtualHost:
    """One host of several.

    Attributes:
        accounts: Who may log in; None for those of the server.
        certificate: For TLS; None for that of the server.
        directory: The directory of the store that homes are in.
    """

    accounts: Accounts | None = None
    certificate: ServerCertificate | None = None
    directory: str = attrs.field(default="/", converter=absolute)


def host_name(text: str) -> str | None:
    """Return the name of a host as it is compared; None if it is none (RFC 7151 §3.1).

    A domain, whose case does not matter, an IPv4 address, or an IPv6 address in brackets.
    """

    name = text.lower()
    if name.startswith("[") and name.endswith("]"):
        try:
            return f"[{ipaddress.IPv6Address(name[1:-1])}]"
        except ValueError:
            return None

    name = name.removesuffix(".")
    labels = name.split(".")
    is_name = len(name) <= 253 and all(_label.fullmatch(label) for label in labels)  # noqa: PLR2004 - RFC 1035 §2.3.4
    return name if is_name else None
