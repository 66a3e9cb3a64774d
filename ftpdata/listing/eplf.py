"""EPLF, the easily parsed LIST format of D. J. Bernstein, its writer and its parser.

Pure: no file system. A line is ``+``, facts with a comma after each, a tab, and the name.
Dates are seconds since the epoch, without a zone, and without a year to guess.
"""

from __future__ import annotations

import re
from typing import Final

from .._checks import check_type
from ._calendar import epoch_seconds
from ._names import NamePolicy, safe_name
from ._reading import is_blank, line_text, number, refuse
from .entry import EntryType, ListingEntry, Permissions

__all__ = ["format_eplf_line", "parse_eplf_line"]

_IDENTIFIER: Final = re.compile(r"[!-+\--~]+")
"""Visible ASCII without the comma, which ends a fact."""

_MODE: Final = re.compile("[0-7]{1,4}")
_SECONDS: Final = re.compile("-?[0-9]{1,15}")


def format_eplf_line(
    entry: ListingEntry, *, name_policy: NamePolicy = NamePolicy.ESCAPE
) -> bytes | None:
    """Format one line of a LIST response in EPLF.

    Args:
        entry: What to list. A symbolic link is listed as a file.
        name_policy: What becomes of control characters in a name.

    Returns:
        The line without its line end, or None if the policy skips it.
    """

    check_type("entry", entry, ListingEntry, "a ListingEntry")
    check_type("name_policy", name_policy, NamePolicy, "a NamePolicy")
    name = safe_name(entry.name, name_policy)
    if name is None:
        return None

    facts = []
    if entry.unique and _IDENTIFIER.fullmatch(entry.unique):
        facts.append(f"i{entry.unique}")

    if entry.modified is not None:
        facts.append(f"m{epoch_seconds(entry.modified) // 1:.0f}")

    if entry.is_directory:
        facts.append("/")
    elif entry.type in {EntryType.FILE, EntryType.SYMLINK}:
        facts.append(f"r,s{entry.size}")

    facts.append(f"up{entry.permissions:o}")
    return f"+{','.join(facts)},\t{name}".encode("utf-8", "surrogateescape")


def parse_eplf_line(line: bytes) -> ListingEntry | None:
    """Parse one line of a LIST response in EPLF.

    Args:
        line: The line, with or without its line end.

    Returns:
        The entry, or None for an empty line.

    Raises:
        InvalidData: The line is not EPLF. Reply 451.
    """

    text = line_text(line)
    if is_blank(text):
        return None

    facts, tab, name = text.partition("\t")
    if not facts.startswith("+") or not tab or not name:
        refuse("a line of EPLF", text)

    found: dict[str, str] = {}
    for fact in facts[1:].split(","):
        key = "up" if fact.startswith("up") else fact[:1]
        found.setdefault(key, fact[len(key) :])

    if "/" in found:
        kind = EntryType.DIRECTORY
    else:
        kind = EntryType.FILE if "r" in found else EntryType.OTHER

    mode = 0o755 if "/" in found else 0o644
    if "up" in found and _MODE.fullmatch(found["up"]):
        mode = int(found["up"], 8)

    modified = found.get("m")
    if modified is not None and not _SECONDS.fullmatch(modified):
        refuse("seconds since the epoch after m", text)

    return ListingEntry(
        name=name,
        size=number(found.get("s", "0"), text),
        type=kind,
        permissions=Permissions(mode),
        modified=None if modified is None else float(modified),
        owner="-",
        group="-",
        unique=found.get("i"),
    )
