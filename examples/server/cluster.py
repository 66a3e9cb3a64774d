"""What all nodes of a cluster count together: sessions and wrong passwords, in a Valkey server.

Several machines share their files, by ``--store`` or a directory, and count in a server of Valkey
or Redis: ``--cluster valkey://HOST:PORT`` (``pip install ftpdata[cluster]``). A session has a
lease, which its node renews while it lives: the sessions of a node that was killed free
themselves when their leases end, after ``--cluster-lease`` seconds. A process counts its own
sessions and failures all the time, too, so that no limit is gone when the Valkey server is: each
process has the limits for itself then, the log says so, and the server is tried again beside the
sessions. A session waits for it once, two seconds at most, and none waits for a server that is
known not to answer.

Valkey 7.2 or later, or Redis from 5 on. The time is the server's, so the nodes' clocks may differ.

``examples/deploy/`` has HAProxy's configuration for two nodes, a unit and a socket of systemd, and
a manifest for Kubernetes; each says which ports, how many, what is shared, and why nothing else is.
``tests/benchmarks/results.md`` tells what came of killing nodes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol, Self

import anyio
import attrs
from valkey.asyncio import ConnectionPool, Valkey
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff
from valkey.exceptions import ValkeyError

from ftpdata.limits import address_key

from .attempts import FailureCounter, LocalFailures
from .places import Full, LocalPlaces, Place, Places
from .settings import Settings

__all__ = ["LEASE", "Cluster", "Counters", "Script", "ValkeyCounters", "joined"]

logger = logging.getLogger("ftpdata.examples.server")

LEASE = 30.0
"""Seconds until the sessions of a killed node are free, unless the host says otherwise."""

RENEWALS = 3
"""How often a lease is renewed in its time."""

DEADLINE = 2.0
"""Seconds for one answer of the counters, connecting included."""

RETRY = 1.0
"""Seconds from one try to the next while the counters do not answer."""

CONNECTIONS = 32
"""How many calls are under way at a time; others wait within their deadlines."""

AT_A_TIME = 200
"""Leases in one call."""

_SESSIONS = "ftpdata:sessions"
_SESSIONS_OF = "ftpdata:sessions:{}"
_FAILURES_OF = "ftpdata:failures:{}"

_REFUSALS = {1: "Too many sessions.", 2: "Too many sessions of one address."}
"""What ENTER answers if there is no place."""


@attrs.frozen
class Script:
    """A script of the Valkey server, which runs as a whole or not at all."""

    text: str


_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(number) return string.format('%.0f', number) end
"""
"""Milliseconds of the server's clock; a number as text, which Lua would round."""

ENTER = Script(
    _NOW
    + """
local lease, member = tonumber(ARGV[1]), ARGV[2]
for place, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', whole(now))
  if redis.call('ZCARD', key) >= tonumber(ARGV[2 + place]) then return place end
end
for _, key in ipairs(KEYS) do
  redis.call('ZADD', key, whole(now + lease), member)
  redis.call('PEXPIRE', key, lease)
end
return 0
"""
)
"""Take a place: of all (KEYS[1]), and of an address (KEYS[2]), if there are fewer than ARGV[3]
and ARGV[4]. ARGV[1] is the lease in milliseconds, ARGV[2] the session."""

KEEP = Script(
    _NOW
    + """
local lease, kept = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
for place = 2, #KEYS do
  local member = ARGV[place + 1]
  for _, key in ipairs({KEYS[1], KEYS[place]}) do
    if place <= kept + 1 then
      redis.call('ZADD', key, whole(now + lease), member)
      redis.call('PEXPIRE', key, lease)
    else
      redis.call('ZREM', key, member)
    end
  end
end
return 0
"""
)
"""Renew the first ARGV[2] of the sessions ARGV[3…], each of the address KEYS[2…], and give the
others back. A session that lives has its lease again, also if the server has lost it."""

TAKE_FAILURE = Script(
    _NOW
    + """
local interval, window, counts = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local forgotten = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local blocked = forgotten - now - (window - interval)
if blocked > 0 then return blocked end
if counts then
  forgotten = forgotten + interval
  redis.call('SET', KEYS[1], whole(forgotten), 'PX', whole(forgotten - now))
end
return 0
"""
)
"""Count a failure of an address, unless it is blocked: the rule of `ftpdata.limits.FailedAttempts`.
ARGV are milliseconds from one failure to the next that is forgotten, those of all, and whether to
count it. Answers the milliseconds for which it is blocked."""

GIVE_FAILURE_BACK = Script(
    _NOW
    + """
local forgotten = tonumber(redis.call('GET', KEYS[1]) or '0') - tonumber(ARGV[1])
if forgotten > now then
  redis.call('SET', KEYS[1], whole(forgotten), 'PX', whole(forgotten - now))
else
  redis.call('DEL', KEYS[1])
end
return 0
"""
)
"""Take back what was counted. ARGV[1] as in TAKE_FAILURE."""


class Counters(Protocol):
    """A server that runs scripts."""

    name: str
    """What it is called in the log."""

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str]) -> int:
        """Run one.

        Raises:
            OSError: The server does not answer, or cannot. It may have run the script.
        """

    async def aclose(self) -> None:
        """Close the connections."""


class ValkeyCounters:
    """A Valkey server, or one of Redis.

    Args:
        url: ``valkey://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]``; ``valkeys://`` for TLS, whose
            certificate must be valid; ``redis://`` and ``rediss://`` mean the same.

    Raises:
        ValueError: It is no such URL.
    """

    def __init__(self, url: str) -> None:
        secure = {"ssl_check_hostname": True} if url.startswith(("valkeys:", "rediss:")) else {}
        # Connecting and waiting for an answer are subject to the deadline of the call.
        pool = ConnectionPool.from_url(
            url,
            socket_timeout=None,
            socket_keepalive=True,
            # It would say so by two calls for each connection.
            lib_name=None,
            lib_version=None,
            retry=Retry(NoBackoff(), 0),
            **secure,
        )
        where = pool.connection_kwargs
        self.name = where.get("path") or (
            f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"
        )
        self._client = Valkey.from_pool(pool)
        # The pool's own limit awaits a lock to give a connection back, and a cancellation there
        # would lose that.
        self._connections = asyncio.Semaphore(CONNECTIONS)
        self._registered: dict[Script, Any] = {}

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str]) -> int:
        """See `Counters`."""

        if script not in self._registered:
            self._registered[script] = self._client.register_script(script.text)
        try:
            async with self._connections:
                return int(await self._registered[script](keys=keys, args=arguments))
        except (ValkeyError, EOFError, ValueError) as error:
            # The last two: what answers there is something else.
            raise OSError(str(error)) from error

    async def aclose(self) -> None:
        """See `Counters`."""

        with contextlib.suppress(ValkeyError, OSError):
            await self._client.aclose()


@attrs.frozen(eq=False)
class _Lease:
    """A session that all nodes know of."""

    member: str
    key: str


class Cluster:
    """The counters that all nodes share.

    Within its context (``async with``) the leases are renewed.

    Args:
        counters: The server that has them.
        lease: Seconds until the sessions of a killed node are free.
    """

    def __init__(self, counters: Counters, *, lease: float = LEASE) -> None:
        self._counters = counters
        self._lease = lease
        self._node = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._live: dict[str, _Lease] = {}
        self._left: dict[str, _Lease] = {}
        self._wake = asyncio.Event()
        self._answers: bool | None = None
        self._stack = contextlib.AsyncExitStack()

    @property
    def answers(self) -> bool:
        """Whether the counters have answered when they were asked last."""

        return bool(self._answers)

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._close)
            # The first client finds out nothing at its own cost.
            await self._keep()
            tasks = await stack.enter_async_context(anyio.create_task_group())
            tasks.start_soon(self._keep_on)
            stack.callback(tasks.cancel_scope.cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self._stack.aclose()

    async def _close(self) -> None:
        try:
            if self.answers:
                self._left |= self._live
                await self._give_back()
        finally:
            with anyio.move_on_after(DEADLINE):
                await self._counters.aclose()

    # What sessions call

    async def ask(
        self, script: Script, keys: Sequence[str], arguments: Sequence[str]
    ) -> int | None:
        """Run a script; return its answer, or None if the counters do not answer for now."""

        return await self._try(script, keys, arguments) if self._answers else None

    async def enter(self, address: str, in_all: int, per_address: int) -> _Lease:
        """Take a lease for a session.

        Raises:
            Full: All nodes together have too many.
        """

        member = f"{self._node}-{next(self._numbers)}"
        lease = _Lease(member, _SESSIONS_OF.format(address))
        arguments = [self._milliseconds, member, str(in_all), str(per_address)]
        try:
            answer = await self.ask(ENTER, [_SESSIONS, lease.key], arguments)
        except BaseException:
            # Nobody knows whether it was taken.
            self.leave(lease)
            raise

        if answer:
            raise Full(_REFUSALS[answer])
        # Without an answer, too: it has one when the counters are back.
        self._live[member] = lease
        return lease

    def leave(self, lease: _Lease) -> None:
        """Give a lease back; the other nodes learn it at once, if they can."""

        self._live.pop(lease.member, None)
        if self._answers:
            self._left[lease.member] = lease
            self._wake.set()

    # Keeping the leases

    async def _keep_on(self) -> None:
        """Renew the leases now and then, and give back those of sessions that have ended."""

        loop = asyncio.get_running_loop()
        pause = self._lease / RENEWALS
        renewal = loop.time() + pause
        while True:
            until = renewal if self._answers else loop.time() + min(RETRY, pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._wake.wait()
            if self._wake.is_set():
                await self._give_back()
            # Also where somebody leaves all the time.
            if loop.time() >= until:
                await self._keep()
                renewal = loop.time() + pause

    @property
    def _milliseconds(self) -> str:
        return str(math.ceil(self._lease * 1000))

    async def _keep(self) -> None:
        # One call at least: it also tells whether the counters are back.
        for some in _some_at_a_time(list(self._live.values())) or [[]]:
            alive = [lease for lease in some if lease.member in self._live]
            if await self._try_to_keep(alive, []) is None:
                return

    async def _give_back(self) -> None:
        self._wake.clear()
        while self._left and self._answers:
            some = list(self._left.values())[:AT_A_TIME]
            await self._try_to_keep([], some)
            # Not before: whoever closes the cluster meanwhile gives them back.
            for lease in some:
                self._left.pop(lease.member, None)

    async def _try_to_keep(
        self, alive: Sequence[_Lease], left: Sequence[_Lease]
    ) -> int | None:
        leases = [*alive, *left]
        keys = [_SESSIONS, *(lease.key for lease in leases)]
        members = (lease.member for lease in leases)
        return await self._try(KEEP, keys, [self._milliseconds, str(len(alive)), *members])

    async def _try(
        self, script: Script, keys: Sequence[str], arguments: Sequence[str]
    ) -> int | None:
        try:
            async with asyncio.timeout(DEADLINE):
                answer = await self._counters.run(script, keys, arguments)
        except TimeoutError:
            self._note(f"no answer within {DEADLINE:g} s")
        except OSError as error:
            self._note(str(error))
        else:
            self._note(None)
            return answer

        return None

    def _note(self, failure: str | None) -> None:
        """Take note of an answer, or of why there is none; log what has changed."""

        before, self._answers = self._answers, failure is None
        name = self._counters.name
        if failure is None and before is False:
            logger.warning("the counters of the cluster are back: %s", name)
        elif failure is not None and before is not False:
            # The leases of what has ended meanwhile end by themselves.
            self._left.clear()
            # The next renewal is the next try, and comes soon.
            self._wake.set()
            logger.warning(
                "no counters of the cluster, each process counts alone: %s: %s", name, failure
            )


def _some_at_a_time(leases: list[_Lease]) -> list[list[_Lease]]:
    return [leases[at : at + AT_A_TIME] for at in range(0, len(leases), AT_A_TIME)]


@attrs.frozen
class _ClusterPlace:
    own: Place
    cluster: Cluster
    lease: _Lease

    def release(self) -> None:
        self.own.release()
        self.cluster.leave(self.lease)


@attrs.frozen
class ClusterPlaces:
    """Places that all nodes give together; while they cannot, this one gives its own.

    Attributes:
        own: What this process, or this host, gives.
        cluster: What all nodes count.
        in_all: How many places all nodes give.
        per_address: How many an address may have.
    """

    own: Places
    cluster: Cluster
    in_all: int
    per_address: int

    async def take(self, address: str) -> Place:
        """See `Places`."""

        place = await self.own.take(address)
        try:
            lease = await self.cluster.enter(address, self.in_all, self.per_address)
        except BaseException:
            place.release()
            raise
        return _ClusterPlace(place, self.cluster, lease)


@attrs.frozen
class ClusterFailures:
    """Counts the wrong passwords that all nodes have seen, and those of this process as well.

    Attributes:
        own: Counts those of this process.
        cluster: Counts those of all.
        limit: Failures within `window` that block an address.
        window: Seconds.
    """

    own: FailureCounter
    cluster: Cluster
    limit: int
    window: float

    async def blocked_for(self, address: str) -> float:
        """See `FailureCounter`."""

        return await self.own.blocked_for(address) or await self._ask(address, counts=False)

    async def take(self, address: str) -> float:
        """See `FailureCounter`."""

        blocked_for = await self.own.take(address)
        if not blocked_for:
            blocked_for = await self._ask(address, counts=True)
            if blocked_for:
                await self.own.give_back(address)
        return blocked_for

    async def give_back(self, address: str) -> None:
        """See `FailureCounter`."""

        await self.own.give_back(address)
        await self.cluster.ask(GIVE_FAILURE_BACK, [_key(address)], [self._interval])

    async def _ask(self, address: str, *, counts: bool) -> float:
        # A whole number of intervals, however they are rounded.
        window = str(int(self._interval) * self.limit)
        arguments = [self._interval, window, str(int(counts))]
        answer = await self.cluster.ask(TAKE_FAILURE, [_key(address)], arguments)
        return (answer or 0) / 1000

    @property
    def _interval(self) -> str:
        return str(math.ceil(self.window * 1000 / self.limit))


def _key(address: str) -> str:
    return _FAILURES_OF.format(address_key(address))


@contextlib.asynccontextmanager
async def joined(settings: Settings, cluster: Cluster) -> AsyncIterator[Settings]:
    """Let the limits of a server hold over all nodes of a cluster, within this context.

    Args:
        settings: Of the server; what it counts by itself stays.
        cluster: What all nodes count.
    """

    limit, window = settings.max_failures_per_address, settings.failure_window
    in_all, per_address = settings.max_sessions, settings.max_sessions_per_address
    places = settings.places or LocalPlaces(per_address)
    failures = settings.failures or LocalFailures(limit, window)
    async with cluster:
        yield attrs.evolve(
            settings,
            places=ClusterPlaces(places, cluster, in_all, per_address),
            failures=ClusterFailures(failures, cluster, limit, window),
        )
