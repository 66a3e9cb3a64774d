"""Directory listings (RFC 959 §4.1.3, RFC 3659 §7): entries, and the lines that show them.

Pure: no file system, no clock, no locale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from ._mlsx_formatter import MlsxFormatter
    from .entry import EntryType, ListingEntry, Permissions, StatResult
    from .mlsx import (
        DEFAULT_FACTS,
        SUPPORTED_FACTS,
        Facts,
        FactSelection,
        entry_from_facts,
        facts_for_entry,
        format_mlsx_line,
        format_time_val,
        parse_mlsx_line,
        parse_time_val,
        perm_letters,
        select_facts,
    )
    from .parsers import (
        parse_eplf_line,
        parse_list_line,
        parse_msdos_line,
        parse_nlst_line,
        parse_unix_line,
    )
    from .table import EntryTable, ListingBlock, StatusRow, TableFormatter
    from .writers import (
        ListFormatter,
        ListingRules,
        NamePolicy,
        NlstFormatter,
        format_eplf_line,
        format_list_line,
        format_msdos_line,
        format_nlst_line,
    )

__all__ = [
    "DEFAULT_FACTS",
    "SUPPORTED_FACTS",
    "EntryTable",
    "EntryType",
    "FactSelection",
    "Facts",
    "ListFormatter",
    "ListingBlock",
    "ListingEntry",
    "ListingRules",
    "MlsxFormatter",
    "NamePolicy",
    "NlstFormatter",
    "Permissions",
    "StatResult",
    "StatusRow",
    "TableFormatter",
    "entry_from_facts",
    "facts_for_entry",
    "format_eplf_line",
    "format_list_line",
    "format_mlsx_line",
    "format_msdos_line",
    "format_nlst_line",
    "format_time_val",
    "parse_eplf_line",
    "parse_list_line",
    "parse_mlsx_line",
    "parse_msdos_line",
    "parse_nlst_line",
    "parse_time_val",
    "parse_unix_line",
    "perm_letters",
    "select_facts",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "_mlsx_formatter": ("MlsxFormatter",),
            "entry": ("EntryType", "ListingEntry", "Permissions", "StatResult"),
            "mlsx": (
                "DEFAULT_FACTS",
                "SUPPORTED_FACTS",
                "FactSelection",
                "Facts",
                "entry_from_facts",
                "facts_for_entry",
                "format_mlsx_line",
                "format_time_val",
                "parse_mlsx_line",
                "parse_time_val",
                "perm_letters",
                "select_facts",
            ),
            "parsers": (
                "parse_eplf_line",
                "parse_list_line",
                "parse_msdos_line",
                "parse_nlst_line",
                "parse_unix_line",
            ),
            "table": ("EntryTable", "ListingBlock", "StatusRow", "TableFormatter"),
            "writers": (
                "ListFormatter",
                "ListingRules",
                "NamePolicy",
                "NlstFormatter",
                "format_eplf_line",
                "format_list_line",
                "format_msdos_line",
                "format_nlst_line",
            ),
        },
    )
