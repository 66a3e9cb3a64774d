r"""Directory listings: entries, and the lines that show them (RFC 959 §4.1.3, RFC 3659 §7).

A server turns entries into lines; a client turns lines into entries. Everything here is pure:
the present, the time zone and the results of `os.stat` are arguments. A first example::

    from datetime import UTC, datetime

    from ftpdata.listing import EntryType, ListingEntry, format_list_line, parse_list_line

    now = datetime(2026, 1, 31, 17, 4, tzinfo=UTC)
    entry = ListingEntry(name="notes.txt", size=1024, modified=now, owner="joe", group="users")
    line = format_list_line(entry, now=now)
    assert line == b"-rw-r--r--   1 joe       users                1024 Jan 31 17:04 notes.txt"

    found = parse_list_line(line, now=now)
    assert found is not None
    assert (found.type, found.wire_name) == (EntryType.FILE, b"notes.txt")

For a whole directory, a formatter does the same in blocks, many times faster::

    from ftpdata.listing import FactSelection, ListFormatter, MlsxFormatter

    assert ListFormatter(now=now).format_block([entry, entry]) == (line + b"\r\n") * 2
    mlsd = MlsxFormatter(selection=FactSelection(selected=("type", "size")))
    assert mlsd.format_block([entry]) == b"type=file;size=1024; notes.txt\r\n"

A client reads what a server sends. `parse_list_line` reads ``ls -l`` in 36 languages, MS-DOS,
EPLF, and the lines of OpenVMS, z/OS (data sets, members, jobs of JES), OS/400, NetWare and NonStop.
`ListReader` reads a whole listing, where a heading says what follows, or a name of VMS goes on in
the next line::

    import time

    from ftpdata.listing import ListReader

    reader = ListReader(now=time.time())
    for line in (
        b"Volume Unit    Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname",
        b"WORK01 3390   2024/02/29  1   15  FB      80 27920  PS  SALES.Y2024.DATA",
    ):
        entry = reader.read(line)
        if entry is not None:
            assert entry.name == "SALES.Y2024.DATA"
            assert (entry.details["recfm"], entry.details["lrecl"]) == ("FB", "80")
    reader.finish()

What an entry has no field for stands in its ``details``, in the server's words. What is ambiguous
is not guessed: OS/400's 03/04/05 gives an entry without a date, unless `ListingHints` tell the
order, and a line that could hold two names is an error. (The lines in the tests are our own,
written from published descriptions; none of these systems was at hand.)

A server sends a directory of the disk by ``send_listing(endpoint, list_directory(path,
formatter))``; see `ftpdata.files`. Any other store yields entries, or lists of them, and
``send_listing`` makes the lines with ``formatter=ListFormatter(now=now).format``; or it makes
blocks of lines itself, of an `EntryTable`, which is the fastest way. `select_facts` makes the
selection of OPTS MLST, and `format_mlsx_line` the line of MLST.

Each format has one module with its writers and its parser, which a round-trip test holds
together:

- `unix`: the lines of ``ls -l`` (`ListFormatter`, `format_list_line`, `parse_unix_line`);
- `msdos`: the lines of Windows;
- `eplf`: the easily parsed format of D. J. Bernstein;
- `nlst`: bare names;
- `mlsx`: the lines of MLSD and MLST. The facts in them, the selection that OPTS MLST changes,
  and the time values of MDTM and MFMT are in `facts`.

Around them:

- `entry`: `ListingEntry`, which all formats share;
- `table`: `EntryTable`, many entries of one directory as columns: the fastest way;
- `formats`: `parse_list_line`, which recognises the format of a line of LIST; those of OpenVMS,
  z/OS, OS/400, NetWare and NonStop have a parser only; and `ListReader`, for listings in which a
  line depends on those before it;
- `hints`: `ListingHints`, what a client knows besides: the format, the order of day and month.

No name, owner or link target can forge a second line: `NamePolicy` decides what becomes of
control characters, and `unescape_name` finds the name that an escaped one stands for. A parser
returns an entry, or None for a line that is known not to be one, or raises `InvalidData`; it
never returns a wrong name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from ._names import NamePolicy, unescape_name
    from .entry import (
        EntryType,
        ListingEntry,
        Permissions,
        StatResult,
    )
    from .eplf import (
        format_eplf_line,
        parse_eplf_line,
    )
    from .facts import (
        DEFAULT_FACTS,
        SUPPORTED_FACTS,
        Facts,
        FactSelection,
        entry_from_facts,
        facts_for_entry,
        format_time_val,
        parse_time_val,
        perm_letters,
        select_facts,
    )
    from .formats import (
        ListReader,
        parse_list_line,
    )
    from .hints import (
        DateOrder,
        ListFormat,
        ListingHints,
    )
    from .mlsx import (
        MlsxFormatter,
        format_mlsx_line,
        parse_mlsx_line,
    )
    from .msdos import (
        format_msdos_line,
        parse_msdos_line,
    )
    from .nlst import (
        NlstFormatter,
        format_nlst_line,
        parse_nlst_line,
    )
    from .table import (
        EntryTable,
        ListingBlock,
        StatusRow,
        TableFormatter,
    )
    from .unix import (
        ListFormatter,
        ListingRules,
        format_list_line,
        parse_unix_line,
    )

__all__ = [
    "DEFAULT_FACTS",
    "SUPPORTED_FACTS",
    "DateOrder",
    "EntryTable",
    "EntryType",
    "FactSelection",
    "Facts",
    "ListFormat",
    "ListFormatter",
    "ListReader",
    "ListingBlock",
    "ListingEntry",
    "ListingHints",
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
    "unescape_name",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "_names": ("NamePolicy", "unescape_name"),
            "entry": (
                "EntryType",
                "ListingEntry",
                "Permissions",
                "StatResult",
            ),
            "eplf": (
                "format_eplf_line",
                "parse_eplf_line",
            ),
            "facts": (
                "DEFAULT_FACTS",
                "SUPPORTED_FACTS",
                "Facts",
                "FactSelection",
                "entry_from_facts",
                "facts_for_entry",
                "format_time_val",
                "parse_time_val",
                "perm_letters",
                "select_facts",
            ),
            "formats": ("ListReader", "parse_list_line"),
            "hints": ("DateOrder", "ListFormat", "ListingHints"),
            "mlsx": (
                "MlsxFormatter",
                "format_mlsx_line",
                "parse_mlsx_line",
            ),
            "msdos": (
                "format_msdos_line",
                "parse_msdos_line",
            ),
            "nlst": (
                "NlstFormatter",
                "format_nlst_line",
                "parse_nlst_line",
            ),
            "table": (
                "EntryTable",
                "ListingBlock",
                "StatusRow",
                "TableFormatter",
            ),
            "unix": (
                "ListFormatter",
                "ListingRules",
                "format_list_line",
                "parse_unix_line",
            ),
        },
    )
