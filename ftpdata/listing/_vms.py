"""The LIST lines of OpenVMS: TCP/IP Services (UCX), MultiNet, TCPware, MadGoat.

Pure. Sources: HP OpenVMS DCL Dictionary, DIRECTORY (the columns of /SIZE/DATE/OWNER/PROTECTION
and the messages of RMS); OpenVMS Guide to Extended File Specifications (``^`` in names); the
lines of UCX and MultiNet that D. J. Bernstein's ftpparse describes.

Rules:

1. The name of a file has its version (``LOGIN.COM;5``), since a directory may hold several. A
   directory is ``PUB.DIR;1`` and is entered as ``PUB``, so that is its name.
2. A long name stands in a line of its own, and the rest of the entry in the next one, which
   begins with a blank.
3. A size is in blocks of 512 bytes. The size of the entry is that of the blocks in use, so the file
   may be up to a block shorter, and ``blocks`` in its details is what was written.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from ._dates import Dates
from ._reading import number
from .entry import EntryType, ListingEntry, Permissions

__all__ = ["is_vms_heading", "is_vms_name", "match_vms"]

_BLOCK: Final = 512
_NAME: Final = r'(?P<name>(?:[^ ^;"\x00-\x1f]|\^.)++;\d{1,5}+)'
_HEADING: Final = re.compile(
    r"Directory [^ ]+\[[^ \]]+\]|(?:Grand )?[Tt]otal of \d+ (?:files?|director(?:y|ies)), .*"
)
_DIRECTORY: Final = re.compile(r"(.+)\.DIR;1", re.IGNORECASE)


@cache
def _pattern() -> re.Pattern[str]:
    size = r"(?P<{0}>\d++(?:/\d++)?)"
    date = (
        r"(?P<{0}>\d{{1,2}})-(?P<{1}>[^ \d-]{{3,5}})-(?P<{2}>\d{{4}})"
        r"[ ]++(?P<{3}>\d{{1,2}}:\d{{2}}(?::\d{{2}})?)(?:\.\d++)?"
    )
    size_first = f"{size.format('size')}[ ]++{date.format('day', 'month', 'year', 'clock')}"
    date_first = f"{date.format('day_1', 'month_1', 'year_1', 'clock_1')}[ ]++"
    return re.compile(
        rf"""
        {_NAME}[ ]++
        (?:(?P<error>%[A-Z]++-[A-Z]-.++|[Nn]o\ privilege\ .++|[Ii]nsufficient\ privilege.*+)
          |(?:{size_first}|{date_first}{size.format("size_1")})
           (?:[ ]++\[(?:(?P<group>[^],]++),)?(?P<owner>[^],]++)\])?
           (?:[ ]++\((?P<protection>[RWED]*+(?:,[RWED]*+){{3}})\))?
           [ ]*+
        )
        """,
        re.ASCII | re.VERBOSE,
    )


def is_vms_heading(text: str) -> bool:
    """Return whether a line is the first or the last one of a directory."""

    return _HEADING.fullmatch(text.strip(" ")) is not None


def is_vms_name(text: str) -> bool:
    """Return whether a line is a name with its version, and nothing else (rule 2)."""

    return re.fullmatch(rf"{_NAME} *+", text) is not None


def match_vms(text: str, dates: Dates) -> ListingEntry | None:
    """Return the entry of a line of OpenVMS; None if it is not one.

    Raises:
        InvalidData: It is one, but its date does not exist, or its size has more than 19 digits.
            Reply 451.
    """

    match = _pattern().fullmatch(text)
    if match is None:
        return None

    name, kind = match["name"], EntryType.FILE
    if directory := _DIRECTORY.fullmatch(name):
        name, kind = directory[1], EntryType.DIRECTORY

    if match["error"]:
        # The name is known, and nothing else.
        details = {"error": match["error"].rstrip(" ")}
        return ListingEntry(name=name, type=kind, owner="-", group="-", details=details)

    blocks = match["size"] or match["size_1"]
    return ListingEntry(
        name=name,
        size=number(blocks.partition("/")[0], text) * _BLOCK,
        type=kind,
        permissions=_permissions(match["protection"]),
        modified=dates.named(
            match["day"] or match["day_1"],
            match["month"] or match["month_1"],
            match["year"] or match["year_1"],
            match["clock"] or match["clock_1"],
            text,
        ),
        owner=match["owner"] or "-",
        group=match["group"] or "-",
        details={"blocks": blocks},
    )


def _permissions(protection: str | None) -> Permissions:
    """Return the permissions for those of system, owner, group and world.

    Deletion is a right over the file itself there, and has no bit here.
    """

    if protection is None:
        return Permissions(0o644)

    mode = 0
    for letters in protection.split(",")[1:]:
        bits = (("R", 4), ("W", 2), ("E", 1))
        mode = mode << 3 | sum(bit for letter, bit in bits if letter in letters)

    return Permissions(mode)
