"""The ways to open and protect data connections, and what a client can do over them. Pure."""

from __future__ import annotations

import enum
from pathlib import Path

import attrs

__all__ = [
    "IPV4",
    "IPV6",
    "PASSIVE",
    "RARE",
    "Abort",
    "Capability",
    "Get",
    "Listing",
    "Protection",
    "Put",
    "Step",
    "Way",
]


class Way(enum.Enum):
    """A command that prepares the data connection, over an address family.

    The value is that command and 4 or 6. PASV and PORT support only IPv4.
    """

    PASV_4 = ("PASV", 4)
    EPSV_4 = ("EPSV", 4)
    PORT_4 = ("PORT", 4)
    EPRT_4 = ("EPRT", 4)
    EPSV_6 = ("EPSV", 6)
    EPRT_6 = ("EPRT", 6)

    @property
    def command(self) -> str:
        """PASV, EPSV, PORT or EPRT."""

        return self.value[0]

    @property
    def family(self) -> int:
        """4 or 6."""

        return self.value[1]

    @property
    def is_passive(self) -> bool:
        """Whether the client connects to the server."""

        return self.command in {"PASV", "EPSV"}

    def __str__(self) -> str:
        return f"{self.command}-IPv{self.family}"


IPV4 = frozenset(way for way in Way if way.family == 4)
IPV6 = frozenset(way for way in Way if way.family == 6)
PASSIVE = frozenset(way for way in Way if way.is_passive)


class Protection(enum.Enum):
    """How control and data connections are protected. The value is shown in the table."""

    TLS_1_2 = "TLS 1.2"
    TLS_1_3 = "TLS 1.3"
    IMPLICIT = "implicit TLS"

    @property
    def is_implicit(self) -> bool:
        """Whether TLS begins with the control connection, and not with AUTH TLS."""

        return self is Protection.IMPLICIT

    @property
    def version(self) -> str:
        """1.2 or 1.3: the only version of TLS that the client may use."""

        return "1.2" if self is Protection.TLS_1_2 else "1.3"

    def __str__(self) -> str:
        return self.value.replace(" ", "-")


class Capability(enum.Enum):
    """What a client may be able to do. The values are rows of the table, in this order."""

    GET = "get"
    PUT = "put"
    RESUME_GET = "resumed get"
    RESUME_PUT = "resumed put"
    LIST = "LIST, hostile names"
    NLST = "NLST, hostile names"
    MLSD = "MLSD, hostile names"
    NAMES = "get by odd and non-UTF-8 names"
    ASCII_GET = "get in ASCII"
    ASCII_PUT = "put in ASCII"
    EMPTY = "0-byte file"
    LAST_BYTE = "last byte of a file over 4 GiB"
    ABORT = "abort, then go on"
    FIFTY = "50 transfers in one session"
    DEFLATE = "MODE Z: get, put, list"
    LOCAL = "TYPE L 8: get, put"
    BY_HAND = "TYPE E, STRU R, MODE B and C, said by hand"
    TLS_FILES = "get, put and LIST through TLS"
    TLS_EMPTY_GET = "get of 0 bytes through TLS"
    TLS_EMPTY_PUT = "put of 0 bytes through TLS"
    TLS_FIFTY = "50 transfers in one session through TLS"
    TLS_DEFLATE = "MODE Z through TLS"

    @property
    def wants_tls(self) -> bool:
        """Whether it is about protected connections."""

        return self.name.startswith("TLS_")

    def __str__(self) -> str:
        return self.name.lower().replace("_", "-")


RARE = frozenset(
    {Capability.DEFLATE, Capability.LOCAL, Capability.BY_HAND, Capability.TLS_DEFLATE}
)
"""Capabilities that only a client has that lists them."""


@attrs.frozen
class Get:
    """Download a file.

    Attributes:
        remote: Path on the server.
        local: Local path.
        offset: Number of bytes that are here already; above 0, the rest is added to them.
        ascii: Whether to use TYPE A.
        before: Commands of the client to run first, unchanged.
    """

    remote: bytes
    local: Path
    offset: int = 0
    ascii: bool = False
    before: tuple[str, ...] = ()


@attrs.frozen
class Put:
    """Upload a file.

    Attributes:
        local: Local path.
        remote: Path on the server.
        offset: Number of bytes that are there already; above 0, the rest is added to them.
        ascii: Whether to use TYPE A.
        before: Commands of the client to run first, unchanged.
    """

    local: Path
    remote: bytes
    offset: int = 0
    ascii: bool = False
    before: tuple[str, ...] = ()


@attrs.frozen
class Listing:
    """List a directory with LIST, NLST or MLSD."""

    remote: bytes
    command: str


@attrs.frozen
class Abort:
    """Begin to download a file, and abort once a part of it has arrived.

    Attributes:
        remote: Path on the server of a file that takes very long.
        local: Local path, for clients that need one.
    """

    remote: bytes
    local: Path


Step = Get | Put | Listing | Abort
