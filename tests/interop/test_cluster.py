"""Two nodes, each a host of its own, behind HAProxy, under load: one is killed, one drained.

Eight clients work: Python's, curl and lftp. Whatever happens, a transfer is whole, or its client
sees an error.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.harness.namespaces import can_isolate
from tests.interop.hosts import (
    PATIENCE,
    Cluster,
    Directory,
    Files,
    Node,
    Objects,
    running_cluster,
    until,
)
from tests.interop.load import Load, Transfer, Upload
from tests.interop.served import lacking, missing
from tests.interop.test_haproxy import HAPROXY

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

LARGE = random.Random(21).randbytes(24 * 1024 * 1024)

DAYS = 86400.0


@pytest.fixture(autouse=True)
def _programs() -> None:
    for program in ("ip", "unshare", "curl", "lftp"):
        if shutil.which(program) is None:
            missing(program)
    if HAPROXY is None:
        missing("HAProxy")
    if not can_isolate():
        lacking("networks of their own need root")


@pytest.mark.parametrize("kind", [Objects, Directory])
def test_one_node_is_killed_and_one_is_drained(
    kind: type[Files], tmp_path: Path
) -> None:
    """Every transfer is whole, or its client sees an error; the store has nothing half."""

    began_at = time.monotonic()
    with running_cluster(kind, tmp_path) as cluster, contextlib.ExitStack() as stack:
        first, second = cluster.nodes
        with Load(tmp_path) as load:
            load.wait_for_more()
            until(lambda: cluster.valkey.sessions() > 1, "sessions that all nodes know of")

            # One is killed.
            victim = Upload(cluster.login_at(1, stack), "victim", LARGE, 20 * 1024 * 1024)
            victim.start()
            until(lambda: cluster.files.has_begun("victim"), "a part of the upload")
            until(lambda: cluster.proxy.data_connections(1) > 1, "transfers beside it")
            killed_at = time.monotonic()
            first.send(signal.SIGKILL)
            assert first.wait() == -signal.SIGKILL
            # Before HAProxy has noticed.
            cluster.login().close()
            victim.go_on.set()
            victim.join(PATIENCE)
            assert victim.error is not None
            until(lambda: not cluster.proxy.is_up(1), "HAProxy notices")
            load.wait_for_more()
            if isinstance(cluster.files, Directory):
                resume(cluster, "victim")
            first.start()
            until(lambda: cluster.proxy.is_up(1), "the node is back")
            restarted_at = time.monotonic()
            load.wait_for_more()

            # The other one is drained.
            steady = Upload(cluster.login_at(2, stack), "steady", LARGE[:4_000_000], 3_999_999)
            late = Upload(cluster.login_at(2, stack), "late", LARGE, 20 * 1024 * 1024)
            for upload in (steady, late):
                upload.start()
            until(lambda: cluster.files.has_begun("late"), "a part of the upload")
            drained_at = time.monotonic()
            second.send(signal.SIGTERM)
            until(lambda: not cluster.proxy.is_up(2), "HAProxy notices")
            steady.go_on.set()
            steady.join(PATIENCE)
            assert steady.reply[:3] == "226", steady.error
            cluster.login().close()
            load.wait_for_more()
            assert second.wait() == 0
            late.go_on.set()
            late.join(PATIENCE)
            assert late.error is not None
            gone_at = time.monotonic()
            load.wait_for_more()

        first.send(signal.SIGTERM)
        assert first.wait() == 0
        stack.close()
        check(cluster, load, (killed_at, restarted_at), (drained_at, gone_at))
        tell(kind, load, began_at, killed_at, restarted_at, drained_at, gone_at)
        for node in cluster.nodes:
            assert "Traceback" not in node.log.read_text()
        if isinstance(cluster.files, Directory):
            clean(cluster.files, first)


def resume(cluster: Cluster, name: str) -> None:
    """Go on with an upload at the node that lives."""

    with contextlib.closing(cluster.login()) as client:
        size = client.size(name)
        assert size is not None
        assert size > 1_000_000
        client.storbinary(f"STOR {name}", io.BytesIO(LARGE[size:]), rest=size)
    assert cluster.files.content(name) == LARGE


def check(
    cluster: Cluster, load: Load, kill: tuple[float, float], drain: tuple[float, float]
) -> None:
    """Compare what the clients believe with what there is.

    Args:
        cluster: What is left of it.
        load: What the clients have done.
        kill: When a node was killed, and when it was back.
        drain: When the other one was to end, and when it had.
    """

    def meets(each: Transfer, event: tuple[float, float]) -> bool:
        return each.began_at <= event[1] and each.ended_at >= event[0]

    errors = [each for each in load.all if each.error is not None]
    assert [each for each in errors if not (meets(each, kill) or meets(each, drain))] == []
    assert [each for each in load.all if not each.is_right] == []

    names = cluster.files.names()
    tried = {each.name: each for each in load.all if each.is_upload}
    assert names <= {*tried, "victim", "steady"}
    for name, each in tried.items():
        # The upload was whole before the error, or there is nothing of that name.
        if each.error is None or name in names:
            assert cluster.files.content(name) == each.content, name
    assert cluster.files.content("steady") == LARGE[:4_000_000]

    if isinstance(cluster.files, Objects):
        # A killed node cannot clean up, and the rule of the bucket does it
        # (`examples.server.objects`); one that is drained leaves nothing.
        left = cluster.files.unfinished()
        assert "victim" in left
        assert left <= {"victim", *(each.name for each in errors if meets(each, kill))}

    until(lambda: not cluster.valkey.keys(), "the leases of the killed node end")


def clean(files: Directory, node: Node) -> None:
    """Let a node find what is left when it is old."""

    for name in files.hidden():
        then = time.time() - 8 * DAYS
        os.utime(files.path / name, (then, then))
    node.start()
    until(lambda: not files.hidden(), "the janitor")
    node.send(signal.SIGTERM)
    assert node.wait() == 0


def tell(kind: type, load: Load, *moments: float) -> None:
    """Show the figures to whoever looks at what the tests print."""

    began_at, *events = moments
    errors = [each for each in load.all if each.error is not None]
    ends = [0.0, *events, time.monotonic()]
    counts = [
        sum(start <= each.ended_at < end for each in errors)
        for start, end in itertools.pairwise(ends)
    ]
    lines = [
        f"{kind.__name__}: {ends[-1] - began_at:.0f} s, {len(load.all)} transfers",
        f"errors before the kill, then until restart, drain, its end, ours: {counts}",
        *(f"{each.name}, {'up' if each.is_upload else 'down'}: {each.error}" for each in errors),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
