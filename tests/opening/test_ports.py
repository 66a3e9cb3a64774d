"""Tests of `ftpdata.opening.ports`: every port comes once, in an order that cannot be guessed."""

from __future__ import annotations

import errno
from collections import Counter
from itertools import pairwise
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata.errors import BadAddress, DataConnectionError
from ftpdata.opening.ports import PortRange
from tests.benchmarks.ports import chi_square, threshold


@given(first=st.integers(1, 65535), size=st.integers(1, 300))
def test_shuffled_is_every_port_once(first: int, size: int) -> None:
    """Each port of the range comes exactly once."""

    ports = PortRange(first, min(65535, first + size - 1))
    shuffled = list(ports.shuffled())
    assert sorted(shuffled) == list(range(ports.first, ports.last + 1))
    assert len(shuffled) == len(ports)
    assert all(port in ports for port in shuffled)
    assert ports.first - 1 not in ports
    assert ports.last + 1 not in ports
    assert "21" not in ports


@given(first=st.integers(1, 60000), size=st.integers(1, 500), data=st.data())
def test_slices_are_disjoint_and_complete(first: int, size: int, data: st.DataObject) -> None:
    """The slices of all workers make up the range, and their sizes differ by one at most."""

    ports = PortRange(first, first + size - 1)
    workers = data.draw(st.integers(1, size))
    slices = [ports.slice(worker, workers) for worker in range(workers)]
    together = [port for part in slices for port in range(part.first, part.last + 1)]
    assert together == list(range(ports.first, ports.last + 1))
    sizes = [len(part) for part in slices]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("first", "last"), [(0, 10), (1, 65536), (-1, 5), (10, 9), (70000, 70001)]
)
def test_what_is_not_a_range_of_ports(first: int, last: int) -> None:
    """Ports are 1 to 65535, in order. The error has reply 501, and is a `ValueError`."""

    with pytest.raises(BadAddress) as caught:
        PortRange(first, last)
    assert caught.value.reply_code == 501
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(("worker", "workers"), [(0, 0), (-1, 2), (2, 2), (0, 11)])
def test_what_is_not_a_slice(worker: int, workers: int) -> None:
    """A worker's number is less than the count of workers, and each gets at least one port."""

    with pytest.raises(BadAddress):
        PortRange(1, 10).slice(worker, workers)


def test_without_a_random_number_there_is_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyPy opens a file for each, and may have no descriptor for it."""

    monkeypatch.setattr("secrets.randbelow", Mock(side_effect=OSError(errno.EMFILE, "too many")))
    with pytest.raises(DataConnectionError, match="cannot choose a port: too many") as caught:
        next(PortRange(1, 10).shuffled())
    assert caught.value.reply_code == 425


def test_the_first_port_cannot_be_guessed() -> None:
    """The first choice is uniform: chi-square over 16 ports, 15 degrees of freedom."""

    ports = PortRange(1000, 1015)
    draws = 4096
    counts = Counter(next(ports.shuffled()) for _ in range(draws))
    expected = draws / len(ports)
    chi_square = sum((counts[port] - expected) ** 2 / expected for port in range(1000, 1016))
    # One draw of 10**9 lies above this, so that the test does not fail at random.
    assert chi_square < 72
    assert len(counts) == 16


def test_the_next_port_does_not_follow_from_the_last() -> None:
    """Each distance between successive ports is as likely as any other."""

    ports = PortRange(1000, 1015)
    last = [next(ports.shuffled()) for _ in range(4097)]
    distances = Counter((b - a) % 16 for a, b in pairwise(last))
    chi_square = sum((distances[distance] - 256) ** 2 / 256 for distance in range(16))
    assert chi_square < 72


def test_the_last_ports_are_not_a_sequence_either() -> None:
    """The last ports of a range are not tried in order."""

    ports = PortRange(1000, 1100)
    tails = [list(ports.shuffled())[20:] for _ in range(20)]
    steps = {(tail[1] - tail[0]) % len(ports) for tail in tails}
    assert len(steps) > 3
    assert len({tail[0] for tail in tails}) > 3


def test_the_last_free_ports_cannot_be_guessed() -> None:
    """If most of the range is in use, each free port is as likely as any other."""

    ports = PortRange(1000, 1099)
    # Two neighbours after a long row in use, and single ports here and there.
    free = {1000, 1001, 1003, 1020, 1021, 1050, 1060, 1075, 1098, 1099}
    counts = Counter(next(p for p in ports.shuffled() if p in free) for _ in range(20_000))
    assert chi_square(counts, len(free)) < threshold(len(free))
