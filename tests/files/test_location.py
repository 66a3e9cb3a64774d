"""A name in a directory: what is there, and what another does to it meanwhile."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftpdata.errors import FileUnavailable, LocalError
from ftpdata.files import _libc, _location
from ftpdata.files.target import FileTarget
from tests.harness.seams import Seams


@pytest.mark.parametrize("meanwhile", ["deleted", "renamed", "replaced"])
async def test_a_file_that_is_taken_away_while_it_is_looked_at(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """access(2) says no of what is not there; that is no refusal, and the upload goes on."""

    path, other = served_directory / "file", served_directory / "other"

    def access(original: Callable[..., bool], name: bytes, *args: Any, **kwargs: Any) -> bool:
        if name.endswith(b"file") and not looked:
            looked.append(name)
            if meanwhile == "renamed":
                path.rename(other)
            else:
                path.unlink()
            may = original(name, *args, **kwargs)
            if meanwhile == "replaced":
                path.write_bytes(b"another's")
            return may
        return original(name, *args, **kwargs)

    looked: list[bytes] = []
    path.write_bytes(b"old")
    # A number that another file is not given at once.
    os.link(path, served_directory / "kept")
    Seams(monkeypatch, _location).replace("access", access)
    target = await FileTarget.open(path)
    await target.commit(b"new")
    assert looked
    assert path.read_bytes() == b"new"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells why access says no")
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOMEM])
async def test_a_failure_to_look_is_not_a_refusal(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A failure of the system is not taken for one of the name."""

    class Library:
        def faccessat(self, *_: object) -> int:
            return -1

        def errno(self) -> int:
            return code

    monkeypatch.setattr(_libc, "libc", Library)
    path = served_directory / "file"
    path.write_bytes(b"old")
    with pytest.raises(LocalError) as caught:
        await FileTarget.open(path)
    assert caught.value.reply_code == 451


async def test_a_file_that_changes_all_the_time(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not looked at for ever."""

    def access(*_: Any, **__: Any) -> bool:
        path.rename(served_directory / "old")
        path.write_bytes(b"another's")
        return False

    path = served_directory / "file"
    path.write_bytes(b"old")
    Seams(monkeypatch, _location).replace("access", access)
    with pytest.raises(FileUnavailable):
        await FileTarget.open(path)
