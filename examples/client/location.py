"""Where a file is: URLs (RFC 1738 §3.2), and the passwords in ``~/.netrc``."""

from __future__ import annotations

import argparse
import netrc
import os
from urllib.parse import unquote, urlsplit

import attrs

from examples.client.client import Security, Server

__all__ = ["SCHEMES", "Location", "is_url", "url", "with_netrc"]

SCHEMES = {
    "ftp": Security.CLEAR,
    "ftpes": Security.EXPLICIT,
    "ftps": Security.IMPLICIT,
}


def is_url(text: str) -> bool:
    """Tell whether a text is the URL of a server, and not a path of this machine."""

    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme.lower() in SCHEMES


@attrs.frozen
class Location:
    """A path of a server.

    Attributes:
        server: The server, and who logs in.
        path: The path, from the directory on in which a login begins; absolute if the URL has
            ``%2F`` in front of it. Text with surrogate escapes.
        names_user: Whether the URL says who logs in.
    """

    server: Server
    path: str
    names_user: bool

    @classmethod
    def parse(cls, url: str) -> Location:
        """Read ``ftp://USER:PASSWORD@HOST:PORT/PATH``; all but the host may be missing.

        ``ftpes://`` is TLS by AUTH TLS, and ``ftps://`` TLS from the first byte on.

        Raises:
            ValueError: It is not such a URL. The message has no password.
        """

        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("the URL has no valid host or port") from None
        if not is_url(url) or not parts.hostname:
            raise ValueError(f"expected a URL such as ftp://HOST/PATH, not {_shown(url)!r}")
        if port == 0 or parts.query or parts.fragment:
            raise ValueError("a URL of FTP has no port 0, and %3F and %23 for ? and #")

        path, _, kind = parts.path.removeprefix("/").partition(";type=")
        if kind not in {"", "i", "I"}:
            raise ValueError(f"files are moved as they are (;type=i), not ;type={kind}")

        security = SCHEMES[parts.scheme]
        server = Server(parts.hostname, security=security)
        if port is not None:
            server = attrs.evolve(server, port=port)
        if parts.username is not None:
            password = _unquoted(parts.password or "")
            server = attrs.evolve(server, user=_unquoted(parts.username), password=password)
        path = _unquoted(path)
        if {"\r", "\n", "\0"} & set(server.user + server.password + path):
            raise ValueError("a name of FTP has no line end")
        return cls(server, path, parts.username is not None)


def url(text: str) -> Location:
    """Read a URL that is an argument of a program.

    Raises:
        argparse.ArgumentTypeError: It is no such URL; see `Location.parse`.
    """

    try:
        return Location.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _unquoted(text: str) -> str:
    return unquote(text, errors="surrogateescape")


def _shown(url: str) -> str:
    """Return a URL without what may be a password."""

    scheme, _, rest = url.partition("://")
    return f"{scheme}://…{rest.rpartition('@')[2]}" if "@" in rest else url[:80]


def with_netrc(location: Location, path: str | os.PathLike[str] | None = None) -> Server:
    """Return the server of a location, with the user and password that netrc has for its host.

    Where the URL names a user, it is obeyed. Reads a file.

    Args:
        location: The location.
        path: The file; by default ``~/.netrc``, which need not exist.

    Raises:
        netrc.NetrcParseError: The file cannot be understood, or others can read it.
        OSError: It cannot be read.
    """

    if location.names_user:
        return location.server
    try:
        found = netrc.netrc(None if path is None else os.fspath(path))
    except FileNotFoundError:
        if path is not None:
            raise
        return location.server

    entry = found.authenticators(location.server.host)
    if entry is None:
        return location.server

    user, account, password = entry
    return attrs.evolve(
        location.server, user=user, password=password or "", account=account or None
    )
