"""Each event loop has one epoll, which notices peers that are gone, and wakes for nothing else."""

from __future__ import annotations

import asyncio
import errno
import gc
import select
import socket
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ftpdata import _hangup
from ftpdata._hangup import HangupWatch
from ftpdata.testing import half_close, reset, tcp_pair
from tests.harness.connections import connection, peer_task, receive_all
from tests.harness.leaks import collect
from tests.harness.loops import LOOP_FACTORIES
from tests.harness.waiting import turns, until

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="only Linux has epoll")


async def test_a_reset_is_noticed_once_and_nothing_else_is() -> None:
    """Data, the end of one direction, and room to send are not reported."""

    watch = HangupWatch.of(asyncio.get_running_loop())
    ours, theirs = await tcp_pair()
    noticed: list[str] = []

    def notice() -> None:
        noticed.append("gone")

    watch.add(ours.fileno(), notice)
    theirs.send(b"data")
    ours.send(b"data")
    half_close(theirs)
    await turns(20)
    assert not noticed
    reset(theirs)
    await until(lambda: bool(noticed))
    await turns(20)
    assert noticed == ["gone"]
    watch.remove(ours.fileno(), notice)
    ours.close()


def descriptors() -> int:
    """Count the descriptors of this process."""

    return len(list(Path("/proc/self/fd").iterdir()))


async def test_its_descriptor_lives_as_long_as_something_is_watched() -> None:
    """All connections share one descriptor, and the last connection closes it."""

    watch = HangupWatch.of(asyncio.get_running_loop())
    assert HangupWatch.of(asyncio.get_running_loop()) is watch
    before = descriptors()
    pairs = [socket.socketpair() for _ in range(3)]
    callbacks = [lambda: None for _ in pairs]
    for (ours, _), callback in zip(pairs, callbacks, strict=True):
        watch.add(ours.fileno(), callback)
    assert descriptors() == before + 7
    for (ours, theirs), callback in zip(pairs, callbacks, strict=True):
        watch.remove(ours.fileno(), callback)
        watch.remove(ours.fileno(), callback)
        ours.close()
        theirs.close()
    assert descriptors() == before


async def test_a_number_that_is_another_s_by_now_stays_its_own() -> None:
    """On uvloop a socket is closed before the report: a late removal must not hit a newer one."""

    watch = HangupWatch.of(asyncio.get_running_loop())
    noticed: list[str] = []

    def first() -> None:
        noticed.append("first")

    def second() -> None:
        noticed.append("second")

    ours, theirs = await tcp_pair()
    duplicate = ours.dup()
    watch.add(ours.fileno(), first)
    watch.add(ours.fileno(), second)
    watch.remove(ours.fileno(), first)
    duplicate.close()
    reset(theirs)
    await until(lambda: bool(noticed))
    assert noticed == ["second"]
    watch.remove(ours.fileno(), second)
    ours.close()


async def test_where_there_is_no_epoll_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is noticed by the next write there."""

    monkeypatch.delattr(select, "epoll")
    watch = HangupWatch.of(asyncio.get_running_loop())
    watch.add(0, turns)  # type: ignore[arg-type]
    watch.remove(0, turns)  # type: ignore[arg-type]


async def test_where_the_loop_watches_no_descriptors_nothing_is_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection is not lost for that, and no descriptor is left open."""

    before = descriptors()
    monkeypatch.setattr(_hangup, "watch_readable", lambda *_: False)
    watch = HangupWatch()
    watch.add(0, turns)  # type: ignore[arg-type]
    assert descriptors() == before
    watch.remove(0, turns)  # type: ignore[arg-type]


class Owner:
    """Stands in for a connection: an object that knows its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.ours, self.theirs = socket.socketpair()
        HangupWatch.of(loop).add(self.ours.fileno(), self.notice)

    def notice(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("make", [*filter(None, LOOP_FACTORIES.values())])
def test_a_loop_that_was_closed_over_its_connections_is_freed(
    make: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """Its descriptor is closed, too, although nothing was removed before."""

    async def watch_and_forget() -> None:
        owner = Owner(asyncio.get_running_loop())
        owner.ours.close()
        owner.theirs.close()

    before = descriptors()
    loop = make()
    loop.run_until_complete(watch_and_forget())
    loop.close()
    freed = weakref.ref(loop)
    del loop
    collect()
    assert freed() is None
    assert descriptors() == before


class NoEpoll:
    """An epoll on a system that has no memory left to watch anything."""

    def __init__(self) -> None:
        self._sock = socket.socket()

    def fileno(self) -> int:
        """Return a number that can be watched."""

        return self._sock.fileno()

    def register(self, *_: object) -> None:
        """Fail."""

        raise OSError(errno.ENOSPC, "no space for another watch")

    def close(self) -> None:
        """Close the descriptor."""

        self._sock.close()


def no_descriptor() -> NoEpoll:
    """Fail to make an epoll."""

    raise OSError(errno.EMFILE, "too many open files")


@pytest.mark.parametrize("epoll", [NoEpoll, no_descriptor])
async def test_a_connection_works_where_it_cannot_be_watched(
    epoll: Callable[[], NoEpoll], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transfer does not fail because no descriptor, or no memory, is left to watch it."""

    monkeypatch.setattr(select, "epoll", epoll)
    async with connection() as (dtp, peer):
        await dtp.connected
        dtp.write(b"data")
        async with peer_task(receive_all(peer)) as received:
            await dtp.finish()
            assert await received == b"data"
    assert HangupWatch.of(asyncio.get_running_loop())._epoll is None


async def test_no_epoll_is_left_that_the_loop_cannot_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else nobody would close it, and whoever comes next would not be told of anything."""

    def no_watch(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no watch left")

    watch = HangupWatch()
    before = descriptors()
    loop = SimpleNamespace(add_reader=no_watch, remove_reader=lambda _: False)
    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "get_running_loop", lambda: loop)
        watch.add(0, gc.enable)
    assert descriptors() == before
