"""Accounts in an LDAP directory: a user is who can bind with the password.

::

    python -m examples.server DIRECTORY --writable \
        --accounts 'ldaps://ldap.example.org/ou=people,dc=example,dc=org?uid?sub?(objectClass=posixAccount)'

An LDAP URL (RFC 4516) says where to look: below which entry, by which attribute, how deep, and
among which entries. ``homeDirectory`` is the home. Where the directory wants to know who searches,
``LDAP_BIND_DN`` and ``LDAP_BIND_PASSWORD`` of the environment say it. What goes to another machine
by ``ldap://`` is protected by StartTLS first.

python-ldap waits in a thread, where it lets all others run. (bonsai, the other one that is looked
after, holds the interpreter while it connects, and polls without a pause while it waits.)
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
import ldap
import ldap.dn
import ldap.filter

from .server.accounts import Account, Waiting

__all__ = ["LDAPAccounts", "account_of"]

SCOPES = {"base": ldap.SCOPE_BASE, "one": ldap.SCOPE_ONELEVEL, "sub": ldap.SCOPE_SUBTREE}

TIMEOUT = 5.0
"""Seconds for each step: to connect, to bind, to search."""


def account_of(name: str, entry: Mapping[str, list[bytes]]) -> Account:
    """Make an account of an entry. Yours may look for groups, and for a quota.

    Args:
        name: What the user said.
        entry: The attributes that the searching user may see.
    """

    home = entry.get("homeDirectory", [b"/"])[0]
    return Account(name, home=home.decode("utf-8", "surrogateescape"))


@attrs.frozen
class _Place:
    """What an LDAP URL says (RFC 4516)."""

    server: str
    base: str
    attribute: str
    scope: int
    filter: str
    wants_tls: bool

    @classmethod
    def parse(cls, url: str) -> _Place:
        parts = urlsplit(url)
        if parts.scheme not in ("ldap", "ldaps", "ldapi") or not parts.path.strip("/"):
            raise ValueError("expected ldaps://HOST/BASE?ATTRIBUTE?SCOPE?FILTER")

        attribute, scope, condition, *_ = map(unquote, f"{parts.query}??".split("?"))
        scope = scope or "sub"
        if scope not in SCOPES:
            raise ValueError(f"expected base, one or sub as the scope, not {scope!r}")
        return cls(
            f"{parts.scheme}://{parts.netloc}",
            unquote(parts.path.lstrip("/")),
            attribute or "uid",
            SCOPES[scope],
            condition or "(objectClass=*)",
            parts.scheme == "ldap" and not _is_here(parts.hostname or ""),
        )


class LDAPAccounts:
    """The accounts of a directory.

    Args:
        url: Where they are, as above.
        bind: Name and password of who searches; None for nobody.
        make_account: Makes an account of an entry.

    Raises:
        ValueError: The URL makes no sense.
    """

    def __init__(
        self,
        url: str,
        *,
        bind: tuple[str, str] | None = None,
        make_account: Callable[[str, Mapping[str, list[bytes]]], Account] = account_of,
    ) -> None:
        self._place = _Place.parse(url)
        self._bind = bind
        self._make_account = make_account
        self._waiting = Waiting(8)

    @classmethod
    def from_environment(cls, url: str) -> LDAPAccounts:
        """Search as the environment says."""

        name = os.environ.get("LDAP_BIND_DN")
        password = os.environ.get("LDAP_BIND_PASSWORD", "")
        return cls(url, bind=None if name is None else (name, password))

    async def check(self, name: str, password: str, *, peer: str) -> Account | None:
        """See `examples.server.accounts.Accounts`."""

        return await self._waiting.run_in_thread(self._check, name, password)

    def _check(self, name: str, password: str) -> Account | None:
        # Without a password, a directory says yes to everybody (RFC 4513 §5.1.2). NUL ends
        # strings of C; and no entry has a name that is not UTF-8.
        is_sensible = bool(password) and name.isprintable() and "\0" not in password
        found = self._find(name) if is_sensible else []
        if len(found) == 1:
            entry_name, entry = found[0]
        else:
            # Nobody, or nobody knows who: asking takes the same time.
            entry_name, entry = f"cn={secrets.token_hex(8)},{self._place.base}", {}
            password = secrets.token_hex(8)
        try:
            with self._connected((entry_name, password)):
                pass
        except (ldap.INVALID_CREDENTIALS, ldap.NO_SUCH_OBJECT, ldap.INVALID_DN_SYNTAX):
            return None

        return self._make_account(name, entry)

    def _find(self, name: str) -> list[tuple[str, Mapping[str, list[bytes]]]]:
        place = self._place
        wanted = ldap.filter.escape_filter_chars(name)
        condition = f"(&{place.filter}({place.attribute}={wanted}))"
        with self._connected(self._bind) as directory:
            found = directory.search_ext_s(
                place.base, place.scope, condition, timeout=TIMEOUT, sizelimit=2
            )
        # Those without a name are references to other directories.
        return [(entry_name, entry) for entry_name, entry in found if entry_name is not None]

    @contextlib.contextmanager
    def _connected(self, bind: tuple[str, str] | None) -> Iterator[Any]:
        directory = ldap.initialize(self._place.server)
        try:
            directory.set_option(ldap.OPT_NETWORK_TIMEOUT, TIMEOUT)
            directory.set_option(ldap.OPT_TIMEOUT, TIMEOUT)
            directory.set_option(ldap.OPT_REFERRALS, 0)
            if self._place.wants_tls:
                directory.start_tls_s()
            if bind is not None:
                name, password = bind
                directory.simple_bind_s(name, password.encode("utf-8", "surrogateescape"))
            yield directory
        finally:
            with contextlib.suppress(ldap.LDAPError):
                directory.unbind_s()


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
