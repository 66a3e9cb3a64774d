"""Wrong types are refused at the call, with what was expected and what came instead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from ftpdata import listing
from tests.harness.entries import NOW

ENTRY = listing.ListingEntry(name="x")
WRONG: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {
    "type": (listing.ListingEntry, (), {"name": "x", "type": "d"}),
    "name": (listing.ListingEntry, (), {"name": 5}),
    "size": (listing.ListingEntry, (), {"name": "x", "size": "5"}),
    "permissions": (listing.ListingEntry, (), {"name": "x", "permissions": "rwx"}),
    "links": (listing.ListingEntry, (), {"name": "x", "links": None}),
    "moment": (listing.ListingEntry, (), {"name": "x", "modified": "today"}),
    "owner": (listing.ListingEntry, (), {"name": "x", "owner": 0}),
    "group": (listing.ListingEntry, (), {"name": "x", "group": None}),
    "target": (listing.ListingEntry, (), {"name": "x", "target": 5}),
    "unique": (listing.ListingEntry, (), {"name": "x", "unique": b"1"}),
    "rules": (listing.ListFormatter, (), {"now": NOW, "rules": "twisted"}),
    "tz": (listing.ListFormatter, (), {"now": NOW, "tz": "UTC"}),
    "now": (listing.ListFormatter, (), {"now": "now"}),
    "name_policy": (listing.ListFormatter, (), {"now": NOW, "name_policy": "skip"}),
    "name_policy ": (listing.NlstFormatter, (), {"name_policy": "skip"}),
    "name_policy  ": (listing.MlsxFormatter, (), {"name_policy": "skip"}),
    "selection": (listing.MlsxFormatter, (), {"selection": ("size",)}),
    "entry": (listing.format_list_line, ("x",), {"now": NOW}),
    "entry ": (listing.format_msdos_line, ("x",), {}),
    "entry  ": (listing.format_eplf_line, ("x",), {}),
    "entry   ": (listing.format_nlst_line, (5,), {}),
    "entry    ": (listing.facts_for_entry, ("x",), {}),
    "entry of a block": (listing.ListFormatter(now=NOW).format_block, ([ENTRY, "x"],), {}),
    "entry of a block ": (listing.MlsxFormatter().format_block, ([ENTRY, "x"],), {}),
    "entry of a block  ": (listing.NlstFormatter().format_block, ([ENTRY, "x"],), {}),
    "table": (listing.ListFormatter(now=NOW).format_table, ([ENTRY],), {}),
    "table ": (listing.MlsxFormatter().format_table, ([ENTRY],), {}),
    "table  ": (listing.NlstFormatter().format_table, ([ENTRY],), {}),
    "facts": (listing.format_mlsx_line, ("x", {"size": 1}), {}),
    "name of a line": (listing.format_mlsx_line, (5, listing.Facts()), {}),
    "details": (listing.ListingEntry, (), {"name": "x", "details": "a=b"}),
    "hints": (listing.parse_list_line, (b"",), {"now": NOW, "hints": "vms"}),
    "hints ": (listing.ListReader, (), {"now": NOW, "hints": "vms"}),
    "format": (listing.ListingHints, (), {"format": "vms"}),
    "date_order": (listing.ListingHints, (), {"date_order": "dmy"}),
    "line of a reader": (listing.ListReader(now=NOW).read, ("x",), {}),
    "line": (listing.parse_list_line, ("-rw",), {"now": NOW}),
    "line ": (listing.parse_unix_line, (None,), {"now": NOW}),
    "line  ": (listing.parse_msdos_line, ("x",), {}),
    "line   ": (listing.parse_eplf_line, ("+,\tx",), {}),
    "line    ": (listing.parse_nlst_line, ("x",), {}),
    "line     ": (listing.parse_mlsx_line, ("size=1; x",), {}),
    "text": (listing.parse_time_val, (b"20260131170405",), {}),
    "moment  ": (listing.format_time_val, ("20260131170405",), {}),
    "argument": (listing.select_facts, (b"size;",), {}),
    "selected": (listing.FactSelection, (), {"selected": "size;"}),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_types(name: str) -> None:
    """Each is one error, which names the argument."""

    call, arguments, keywords = WRONG[name]
    argument = name.split(maxsplit=1)[0]
    with pytest.raises(TypeError, match=rf"^{argument}\b.* must be .+, not .+ \(\w+\)$"):
        call(*arguments, **keywords)


def test_a_date_needs_a_zone() -> None:
    """A date without a zone is refused as soon as it is given."""

    with pytest.raises(ValueError, match="zone"):
        listing.ListingEntry(name="x", modified=datetime(2026, 1, 1))  # noqa: DTZ001 - refused
