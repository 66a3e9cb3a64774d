"""Places for sessions: how many there may be, in all and of one address.

They are counted in this process (`LocalPlaces`), in all processes of this host that share a file
(`HostPlaces`), or over all nodes of a cluster (`cluster.ClusterPlaces`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
from collections import Counter
from typing import Protocol

import attrs

__all__ = ["Full", "HostLocks", "HostPlaces", "LocalPlaces", "Place", "Places"]


class Full(Exception):
    """There is no place left; the text is for the client."""


class Place(Protocol):
    """A place that a session has taken."""

    def release(self) -> None:
        """Give it back. Idempotent."""


class Places(Protocol):
    """The places of a server."""

    async def take(self, address: str) -> Place:
        """Take a place for a client of this address (`ftpdata.limits.address_key`).

        Raises:
            Full: There is none.
        """


@attrs.define
class _LocalPlace:
    places: LocalPlaces
    address: str | None

    def release(self) -> None:
        address, self.address = self.address, None
        if address is not None:
            self.places.leave(address)


class LocalPlaces:
    """Places that one process gives, as many as its server takes.

    Args:
        per_address: How many an address may have.
    """

    def __init__(self, per_address: int) -> None:
        self._per_address = per_address
        self._by_address: Counter[str] = Counter()

    async def take(self, address: str) -> Place:
        """See `Places`."""

        if self._by_address[address] >= self._per_address:
            raise Full("Too many sessions of one address.")

        self._by_address[address] += 1
        return _LocalPlace(self, address)

    def leave(self, address: str) -> None:
        """Give a place back."""

        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


class HostLocks:
    """Numbers that the processes of one host take from each other, by locks on bytes of a file.

    The system gives a number back when its process ends, however that ends (fcntl(2)). The file
    stays empty: a lock needs no byte. No other descriptor of the file may be closed in a process
    that holds numbers, since that gives them all back.

    Args:
        fd: The file, opened before the processes were forked.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        # The system lets a process lock twice.
        self._held: set[int] = set()

    def take(self, first: int, count: int, *, start: int = 0) -> int | None:
        """Take one of `count` numbers; None if others have all.

        Args:
            first: The lowest of the numbers.
            count: How many there are.
            start: Which of them is tried first.
        """

        for step in range(count):
            number = first + (start + step) % count
            if number in self._held:
                continue
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number, os.SEEK_SET)
            except (BlockingIOError, PermissionError):
                # Another process has it (fcntl(2): EAGAIN or EACCES).
                continue
            self._held.add(number)
            return number

        return None

    def give_back(self, number: int) -> None:
        """Give a number back that was taken."""

        self._held.remove(number)
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, number, os.SEEK_SET)


_SESSIONS_FROM = 1 << 20
"""Numbers of the places of all sessions; below are those of passive ports."""

_ADDRESSES_FROM = 1 << 40
"""Numbers of the places of an address, `_MOST_PER_ADDRESS` for each."""

_MOST_PER_ADDRESS = 1 << 20


@attrs.define
class _HostPlace:
    locks: HostLocks
    numbers: list[int]

    def release(self) -> None:
        while self.numbers:
            self.locks.give_back(self.numbers.pop())


class HostPlaces:
    """Places that all processes of a host give together. That of a killed process is free again.

    Two addresses have their places in common once in 2**40 pairs.

    Args:
        locks: What the processes share.
        in_all: How many places there are.
        per_address: How many an address may have.
        chance: Chooses where the search begins, so that it is short.
    """

    def __init__(
        self,
        locks: HostLocks,
        in_all: int,
        per_address: int,
        *,
        chance: random.Random | None = None,
    ) -> None:
        self._locks = locks
        self._in_all = in_all
        self._per_address = min(per_address, in_all, _MOST_PER_ADDRESS)
        self._chance = chance or random.SystemRandom()

    async def take(self, address: str) -> Place:
        """See `Places`."""

        place = _HostPlace(self._locks, [])
        for first, count, reason in (
            (_SESSIONS_FROM, self._in_all, "Too many sessions."),
            (_first_of(address), self._per_address, "Too many sessions of one address."),
        ):
            number = self._locks.take(first, count, start=self._chance.randrange(count))
            if number is None:
                place.release()
                raise Full(reason)
            place.numbers.append(number)

        return place


def _first_of(address: str) -> int:
    digest = hashlib.blake2b(address.encode(), digest_size=5).digest()
    return _ADDRESSES_FROM + int.from_bytes(digest, "big") * _MOST_PER_ADDRESS
