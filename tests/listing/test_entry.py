"""Entries of a directory."""

from __future__ import annotations

import os
import pickle
import socket
import stat
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

import attrs
import pytest
from twisted.python.filepath import Permissions as TwistedPermissions

from ftpdata.listing.entry import EntryType, ListingEntry, Permissions


def test_permissions_equal_ls_and_twisted() -> None:
    """All 4,096 modes have the letters of ls with special bits, and those of Twisted without."""

    for mode in range(0o10000):
        permissions = Permissions(mode | stat.S_IFDIR)
        assert permissions == mode
        assert permissions.shorthand() == stat.filemode(mode)[1:]
        assert permissions.plain_shorthand() == TwistedPermissions(mode).shorthand()


def test_permissions_are_shown_in_octal() -> None:
    """They are shown as people write them."""

    assert repr(Permissions(0o4755)) == "Permissions(0o4755)"


def test_entry_types_survive_pickling() -> None:
    """Their hash is that of the object, of which each process has one."""

    assert {pickle.loads(pickle.dumps(kind)) for kind in EntryType} == set(EntryType)


def test_equality_is_about_what_is_said() -> None:
    """Text and bytes are equal, and so are dates and seconds; anything else is not."""

    moment = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    one = ListingEntry(name="é\udcff", owner="é", target="t", modified=moment)
    two = ListingEntry(
        name=b"\xc3\xa9\xff", owner=b"\xc3\xa9", target=b"t", modified=moment.timestamp()
    )
    assert one == two
    assert hash(one) == hash(two)
    assert one != attrs.evolve(two, name="e")
    assert one != attrs.evolve(two, modified=None)


def test_names_both_ways() -> None:
    """A name is available as text and as bytes, whichever it was given as."""

    for name in ("é\udcff", b"\xc3\xa9\xff"):
        assert ListingEntry(name=name).text_name == "é\udcff"
        assert ListingEntry(name=name).wire_name == b"\xc3\xa9\xff"


def test_modified_at() -> None:
    """It is the date in UTC, whichever way the time was given."""

    expected = datetime(2026, 1, 1, tzinfo=UTC)
    local = expected.astimezone(timezone(timedelta(hours=5)))
    assert ListingEntry(name="x").modified_at is None
    assert ListingEntry(name="x", modified=0).modified_at == datetime(1970, 1, 1, tzinfo=UTC)
    for moment in (expected.timestamp(), local):
        found = ListingEntry(name="x", modified=moment).modified_at
        assert found == expected
        assert found is not None
        assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "/", "..\\x", "C:x", "c:", "a\nb", "\x00", "\x85", b"../x", b"\xc2\x85"],
)
def test_names_that_must_not_be_joined_to_a_path(name: str | bytes) -> None:
    """Any name that could lead elsewhere must not be joined."""

    assert not ListingEntry(name=name).is_plain_name


@pytest.mark.parametrize("name", ["x", "...", "12:30", "日本", b"\xff", " ", "-", "a..b"])
def test_names_that_may(name: str | bytes) -> None:
    """Ordinary names can be joined to a path."""

    assert ListingEntry(name=name).is_plain_name


def test_from_stat(tmp_path: Path) -> None:
    """Each type of file is the one that the system reports."""

    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "directory").mkdir(mode=0o750)
    (tmp_path / "symlink").symlink_to("file")
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as unix_socket:
        unix_socket.bind(str(tmp_path / "socket"))

    for kind in ("file", "directory", "symlink", "fifo", "socket"):
        status = (tmp_path / kind).lstat()
        entry = ListingEntry.from_stat(kind, status, target="file" if kind == "symlink" else None)
        assert entry.type is EntryType[kind.upper()]
        assert entry.permissions == stat.S_IMODE(status.st_mode)
        assert (entry.size, entry.links) == (status.st_size, status.st_nlink)
        assert entry.modified == status.st_mtime
        assert (entry.owner, entry.uid) == (str(status.st_uid), status.st_uid)
        assert (entry.group, entry.gid) == (str(status.st_gid), status.st_gid)
        assert entry.unique == f"{status.st_dev:x}g{status.st_ino:x}"
        assert entry.is_directory is (kind == "directory")

    named = ListingEntry.from_stat("x", (tmp_path / "file").lstat(), owner="joe", group=b"users")
    assert (named.owner, named.group) == ("joe", b"users")
    assert ListingEntry.from_stat("x", Path("/dev/null").lstat()).type is EntryType.CHAR


def test_from_what_is_no_file_of_a_system() -> None:
    """What no system reports is left out: an owner, and what tells two files apart."""

    class Status(NamedTuple):
        st_mode: int
        st_size: int
        st_nlink: int
        st_mtime: float

    status = Status(stat.S_IFDIR | 0o750, 0, 2, 1.5)
    entry = ListingEntry.from_stat("x", status)
    assert entry == ListingEntry(
        name="x",
        type=EntryType.DIRECTORY,
        permissions=Permissions(0o750),
        links=2,
        modified=1.5,
    )
    assert (entry.unique, entry.uid, entry.gid) == (None, None, None)
    assert ListingEntry.from_stat("x", status, owner="joe").owner == "joe"
