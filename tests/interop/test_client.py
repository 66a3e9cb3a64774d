"""The example client with the reference server and eight others, in clear and in TLS."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from ftpdata.testing import Protection
from tests.interop.client_peers import PEERS, TRIED, Peer, Site
from tests.interop.client_steps import STEPS, NotOffered, Trial, clean
from tests.interop.client_table import (
    DONE,
    FAILED,
    MARKERS,
    NOT_OFFERED,
    TriedServer,
    compare_trials,
    format_trials,
    worst_of,
)
from tests.interop.served import missing
from tests.interop.table import BadTable, replace_section

PATIENCE = 120.0
"""Seconds for one step."""

RUNS = [(peer, protection) for peer in PEERS for protection in peer.protections]

KNOWN = {
    ("ftp-srv", "0 bytes, both ways"): "in TLS, it says 425 to an upload of nothing",
    ("ftp-srv", "mirror up, again, 4 connections"): "there is a file of 0 bytes in it",
    ("twisted", "odd names, both ways"): "it does not find names that are not ASCII",
}
"""What servers do wrong, and no client could help."""


@pytest.mark.parametrize(
    ("peer", "protection"), RUNS, ids=[f"{peer.name}-{how.value}" for peer, how in RUNS]
)
def test_client_is_tried(
    peer: Peer,
    protection: Protection,
    directory: Path,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    """Each step is done, or the server does not offer it, or is known to fail."""

    if peer.version is None:
        missing(peer.name)

    places = served, state, here = [directory / name for name in ("served", "state", "here")]
    for place in places:
        place.mkdir()
    with peer.running(served, state, protection) as site:
        outcomes = {name: _outcome(name, site, here, request.node) for name in STEPS}

    log = state / "log"
    if log.exists():
        request.node.add_report_section("call", "server", log.read_text(errors="replace")[-4000:])
    record_property(TRIED, [peer.name, outcomes])
    failed = {name for name, mark in outcomes.items() if mark == FAILED}
    assert failed <= {name for server, name in KNOWN if server == peer.name}


def _outcome(name: str, site: Site, here: Path, node: pytest.Item) -> str:
    clean(here)
    clean(site.local)
    try:
        asyncio.run(asyncio.wait_for(STEPS[name](Trial(site, here)), PATIENCE))
    except NotOffered:
        return NOT_OFFERED
    except Exception:  # noqa: BLE001 - it is reported, and the next step is tried
        node.add_report_section("call", name, traceback.format_exc())
        return FAILED
    return DONE


# The table, without any server

STEP_NAMES = ("get", "put")
GOOD = TriedServer("good one", "1.2", "clear", dict.fromkeys(STEP_NAMES, DONE))


def _page(*servers: TriedServer) -> str:
    empty = f"a\n{MARKERS.begin}\n{MARKERS.end}\nz\n"
    return replace_section(empty, format_trials(servers, STEP_NAMES), MARKERS)


def test_table_agrees_with_itself_in_any_version() -> None:
    """And another mark is a difference."""

    newer = TriedServer("good one", "2", "clear", {"get": DONE, "put": FAILED})
    assert compare_trials(_page(GOOD), [GOOD], STEP_NAMES) == []
    assert compare_trials(_page(GOOD), [newer], STEP_NAMES) == [
        "good one, put: servers.md has ✓, now ✗"
    ]


def test_table_must_have_all_rows_and_columns() -> None:
    """Otherwise it is to be written anew."""

    with pytest.raises(BadTable, match="other rows"):
        compare_trials(_page(GOOD), [GOOD], ("get",))
    other = TriedServer("other", "1", "clear", GOOD.marks)
    with pytest.raises(BadTable, match="no column for other"):
        compare_trials(_page(GOOD), [other], STEP_NAMES)


def test_worst_mark_counts() -> None:
    """What is offered in one way may not be in another."""

    assert worst_of(
        [
            {"get": DONE, "put": NOT_OFFERED, "list": NOT_OFFERED},
            {"get": FAILED, "put": DONE, "list": NOT_OFFERED},
        ]
    ) == {"get": FAILED, "put": DONE, "list": NOT_OFFERED}
