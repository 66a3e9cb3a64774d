"""Fixtures of pytest for tests of FTP servers and clients.

They are there wherever ftpdata is installed, do nothing unless a test asks for them, and import
nothing before. They need no plugin for asynchronous tests, and work with any that runs asyncio.
The guide in `ftpdata.testing` shows tests that use them.

- ``ftpdata_check_server``: checks a whole server; the test fails if a check fails;
- ``ftpdata_client``: connects a scripted client (`ftpdata.testing.scripted_client`);
- ``ftpdata_peers``: peers that behave badly (`ftpdata.testing.HostilePeers`);
- ``ftpdata_leaks``: fails the test if it leaves descriptors or threads behind
  (`ftpdata.testing.LeakCheck`, with its allow-list).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from .client import ScriptedClient
    from .leaks import LeakCheck
    from .peers import HostilePeers
    from .server_check import CheckResult, ServerUnderTest

__all__ = [
    "CheckServer",
    "ftpdata_check_server",
    "ftpdata_client",
    "ftpdata_leaks",
    "ftpdata_peers",
]


class CheckServer(Protocol):
    """What ``ftpdata_check_server`` is."""

    def __call__(
        self,
        server: ServerUnderTest,
        *,
        only: Sequence[str] = (),
        allow: Collection[str] = (),
        at_once: int = 4,
    ) -> Awaitable[list[CheckResult]]:
        """Check a server; fail the test if a check fails.

        Args:
            server: The server, and what may be done to it.
            only: Names of the checks that run; all if empty.
            allow: Names of checks that may fail; one that does not is no failure.
            at_once: How many checks run at the same time.

        Returns:
            A result for each check.
        """
        ...


@pytest.fixture
def ftpdata_check_server() -> CheckServer:
    """Return a coroutine function that checks a server, and fails the test if a check fails."""

    from . import server_check

    async def check(
        server: ServerUnderTest,
        *,
        only: Sequence[str] = (),
        allow: Collection[str] = (),
        at_once: int = 4,
    ) -> list[CheckResult]:
        results = await server_check.check_server(server, only=only, at_once=at_once)
        wrong = [
            f"{result.name}: {result.why} [{result.source}]"
            for result in results
            if result.result is server_check.Outcome.FAIL and result.name not in allow
        ]
        if wrong:
            lines = [f"{len(wrong)} of {len(results)} checks of the server fail", *wrong]
            pytest.fail("\n".join(lines), pytrace=False)
        return results

    return check


@pytest.fixture
def ftpdata_client() -> Callable[..., AbstractAsyncContextManager[ScriptedClient]]:
    """Return `ftpdata.testing.scripted_client`, whose calls are asynchronous contexts."""

    from .peers import scripted_client

    return scripted_client


@pytest.fixture
def ftpdata_peers() -> Iterator[HostilePeers]:
    """Return peers that behave badly; close what they have opened after the test."""

    from .peers import HostilePeers

    with HostilePeers() as peers:
        yield peers


@pytest.fixture
def ftpdata_leaks() -> Iterator[LeakCheck]:
    """Fail the test if it leaves descriptors or threads behind; ``allow()`` makes exceptions."""

    from .leaks import LeakCheck

    check = LeakCheck()
    yield check
    if left := check.left():
        pytest.fail("\n".join(["the test has left behind", *left]), pytrace=False)
