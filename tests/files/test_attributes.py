"""What a file hands on to the one that replaces it, where the system lets it."""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path
from typing import Any

import pytest

from ftpdata.files.target import FileTarget
from tests.harness.seams import Seams
from tests.harness.users import as_user, needs_root

ACCESS_LIST = b"".join([
    struct.pack("<I", 2),
    # The owner, user 1234, the group, the mask, all others (linux/posix_acl_xattr.h).
    *(struct.pack("<HHI", *entry) for entry in [
        (0x01, 6, 0xFFFFFFFF), (0x02, 4, 1234), (0x04, 4, 0xFFFFFFFF),
        (0x10, 4, 0xFFFFFFFF), (0x20, 0, 0xFFFFFFFF),
    ]),
])  # fmt: skip


async def replace(path: Path) -> None:
    """Upload a file over another."""

    target = await FileTarget.open(path)
    await target.write(b"new")
    await target.commit()
    assert target.position == 3


@needs_root
async def test_owner_and_group(served_directory: Path) -> None:
    """Root keeps them; bits that make a program run as somebody else are dropped."""

    path = served_directory / "file"
    path.write_bytes(b"old")
    os.chown(path, 1234, 1235)
    path.chmod(0o6751)
    await replace(path)
    status = path.stat()
    assert (status.st_uid, status.st_gid) == (1234, 1235)
    assert stat.S_IMODE(status.st_mode) == 0o751


@needs_root
@pytest.mark.parametrize(("before", "after"), [(0o660, 0o600), (0o666, 0o666), (0o664, 0o644)])
def test_a_group_that_cannot_be_kept(open_directory: Path, before: int, after: int) -> None:
    """Another group gets its permissions only where everybody has them."""

    path = open_directory / "file"
    path.write_bytes(b"old")
    os.chown(open_directory, 1234, 1235)
    os.chown(path, 1234, 4321)
    path.chmod(before)
    assert as_user(1234, 1235, open_directory) == [None, False]
    assert path.read_bytes() == b"new"
    status = path.stat()
    assert (status.st_uid, status.st_gid) == (1234, 1235)
    assert stat.S_IMODE(status.st_mode) == after


@pytest.mark.parametrize("through", ["path", "directory"])
async def test_user_attributes_and_access_list(served_directory: Path, through: str) -> None:
    """They are kept; the attributes of the kernel are not."""

    path = served_directory / "file"
    path.write_bytes(b"old")
    try:
        os.setxattr(path, "user.comment", b"\0 anything")
        os.setxattr(path, "system.posix_acl_access", ACCESS_LIST)
    except (AttributeError, OSError):
        pytest.skip("there are no such attributes here")
    if os.geteuid() == 0:
        os.setxattr(path, "trusted.secret", b"1")
    if through == "path":
        await replace(path)
    else:
        fd = os.open(served_directory, os.O_RDONLY)
        target = await FileTarget.open("file", dir_fd=fd)
        os.close(fd)
        await target.commit(b"new")

    assert sorted(os.listxattr(path)) == ["system.posix_acl_access", "user.comment"]
    assert os.getxattr(path, "user.comment") == b"\0 anything"
    assert os.getxattr(path, "system.posix_acl_access") == ACCESS_LIST
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


async def test_a_list_that_the_directory_would_give(served_directory: Path) -> None:
    """The old file had no list, so the directory's lets nobody in."""

    path = served_directory / "file"
    path.write_bytes(b"old")
    path.chmod(0o640)
    try:
        os.setxattr(served_directory, "system.posix_acl_default", ACCESS_LIST)
    except (AttributeError, OSError):
        pytest.skip("there are no such attributes here")
    await replace(path)
    assert os.listxattr(path) == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


async def test_nobody_may_open_it_before(served_directory: Path, seams: Seams) -> None:
    """The hidden file is private until it has the owner and the permissions of the old one."""

    def fchmod(original: Any, fd: int, mode: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(fd).st_mode))
        original(fd, mode)

    seen: list[int] = []
    seams.replace("fchmod", fchmod)
    path = served_directory / "file"
    path.write_bytes(b"old")
    path.chmod(0o666)
    await replace(path)
    assert seen == [0o600]
    assert stat.S_IMODE(path.stat().st_mode) == 0o666


@pytest.mark.parametrize("name", ["listxattr", "getxattr", "setxattr", "fchown", "fstat"])
async def test_a_system_that_does_not_let_it(
    served_directory: Path, seams: Seams, name: str
) -> None:
    """The upload is published even if the old file's attributes cannot be kept."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    path = served_directory / "file"
    path.write_bytes(b"old")
    seams.replace(name, refuse)
    await replace(path)


@pytest.fixture
def seams(monkeypatch: pytest.MonkeyPatch) -> Seams:
    """Give the means to let system calls fail."""

    return Seams(monkeypatch)
