"""What commands do with any store."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from examples.server.store import is_about_name


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FileNotFoundError(errno.ENOENT, "not there"), True),
        (NotADirectoryError(errno.ENOTDIR, "a file"), True),
        (PermissionError(errno.EACCES, "not allowed"), True),
        (OSError(errno.EMFILE, "no descriptors"), False),
        (OSError(errno.ENOMEM, "no memory"), False),
        (OSError(errno.EIO, "a broken disk"), False),
        (OSError("nobody knows"), False),
        # Their numbers are their own.
        (ssl.SSLError(1, "bad signature"), False),
        (ssl.SSLZeroReturnError(6, "closed"), False),
        (socket.gaierror(2, "unknown name"), False),
        (socket.herror(1, "unknown host"), False),
    ],
)
def test_what_an_error_is_about(error: OSError, expected: bool) -> None:
    """A name, or the system: then nothing is known about the name."""

    assert is_about_name(error) is expected
