"""What a mirror does with one directory: a plan, from what both sides have. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

import attrs

from ftpdata import EntryType, ListingEntry

__all__ = ["Kind", "Plan", "Seen", "plan_directory", "seen_in_listing"]


class Kind(enum.Enum):
    """What an entry is, as far as a mirror cares."""

    FILE = "file"
    DIRECTORY = "directory"
    OTHER = "neither a file nor a directory"


@attrs.frozen
class Seen:
    """An entry of a directory on either side.

    Attributes:
        kind: What it is.
        size: Bytes of a file.
        modified: Seconds since the epoch; None if they are not known to the second.
    """

    kind: Kind
    size: int | None = None
    modified: float | None = None


@attrs.define
class Plan:
    """What is to be done in a directory.

    Attributes:
        enter: Directories that are there on both sides.
        make: Directories that are to be made first.
        transfer: Files that differ, or that are missing.
        look: Files for which the listing says too little: the server is to be asked.
        same: Files that are left alone.
        problems: What is passed over, and why.
    """

    enter: list[str] = attrs.field(factory=list)
    make: list[str] = attrs.field(factory=list)
    transfer: list[str] = attrs.field(factory=list)
    look: list[str] = attrs.field(factory=list)
    same: list[str] = attrs.field(factory=list)
    problems: list[tuple[str, str]] = attrs.field(factory=list)


def seen_in_listing(
    entries: Iterable[ListingEntry], *, is_exact: bool
) -> tuple[dict[str, Seen], list[tuple[str, str]]]:
    """Return what a listing of a server shows by name, and what of it must not be used.

    A name that is a path, or has control characters, could lead out of a directory, or forge
    what is shown. Of two entries with one name, nobody knows which is meant.
    """

    found: dict[str, Seen] = {}
    problems: list[tuple[str, str]] = []
    for entry in entries:
        name = entry.text_name
        kinds = {EntryType.FILE: Kind.FILE, EntryType.DIRECTORY: Kind.DIRECTORY}
        if not entry.is_plain_name:
            problems.append((name, "the name leads elsewhere"))
        elif name in found:
            problems.append((name, "the server lists it twice"))
        else:
            modified = entry.modified_at
            found[name] = Seen(
                kinds.get(entry.type, Kind.OTHER),
                entry.size,
                modified.timestamp() if modified is not None and is_exact else None,
            )
    return found, problems


def is_same(source: Seen, target: Seen, *, is_upload: bool) -> bool | None:
    """Tell whether a file is a copy of another one, by size and time; None if that is not known.

    A download gets the time of its original. An upload may have the time at which it was sent:
    then it is a copy of an older file.
    """

    if source.size is None or target.size is None:
        return None
    if source.size != target.size:
        return False
    if source.modified is None or target.modified is None:
        return None
    if is_upload:
        return int(target.modified) >= int(source.modified)
    return int(target.modified) == int(source.modified)


def plan_directory(
    source: Mapping[str, Seen], target: Mapping[str, Seen], *, is_upload: bool
) -> Plan:
    """Decide what to do so that a directory gets what another one has. Nothing is removed."""

    plan = Plan()
    for name, seen in sorted(source.items()):
        there = target.get(name)
        if seen.kind is Kind.OTHER:
            plan.problems.append((name, f"it is {seen.kind.value}"))
        elif seen.kind is Kind.DIRECTORY:
            if there is None:
                plan.make.append(name)
            elif there.kind is Kind.DIRECTORY:
                plan.enter.append(name)
            else:
                plan.problems.append((name, "the target has something else of this name"))
        elif there is None:
            plan.transfer.append(name)
        elif there.kind is Kind.DIRECTORY:
            plan.problems.append((name, "the target has a directory of this name"))
        else:
            is_file = there.kind is Kind.FILE
            same = is_same(seen, there, is_upload=is_upload) if is_file else False
            {True: plan.same, False: plan.transfer, None: plan.look}[same].append(name)
    return plan
