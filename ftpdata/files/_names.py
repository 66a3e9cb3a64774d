"""Paths as they are given, and what the system says about them."""

from __future__ import annotations

import os

from ..errors import FileNameNotAllowed, FTPDataError, error_for_oserror

__all__ = ["ERRORS_OF_NAMES", "PATH_TYPES", "FilePath"]

FilePath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

PATH_TYPES = (str, bytes, os.PathLike)
"""The classes of paths, for `isinstance`: what is none of them is a file that is open already."""


class _ErrorsOfNames:
    """Turns what the system, or Python, says about the name of a file into our errors."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, FTPDataError):
            return
        if isinstance(error, OSError):
            raise error_for_oserror(error) from error
        if isinstance(error, ValueError):
            # A NUL, or a character that the encoding of the file system lacks.
            raise FileNameNotAllowed("expected a name that the system can have") from error


ERRORS_OF_NAMES = _ErrorsOfNames()
