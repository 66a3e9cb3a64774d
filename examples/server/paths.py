"""Virtual paths: absolute, with ``/`` for the top of the store. Pure.

Names are text with surrogate escapes, so that a name that is not UTF-8 can be
listed and fetched again.
"""

from __future__ import annotations

from ftpdata.files import is_reserved
from ftpdata.listing import format_nlst_line

__all__ = ["absolute", "has_reserved_name", "is_allowed", "join", "parent", "show"]


def join(directory: str, path: str) -> str:
    """Return the absolute virtual path of `path`, seen from `directory`.

    ``..`` is removed from the text, as shells do it: after a change into a link
    to a directory, ``..`` leads back to where the link is. It stops at ``/``.
    """

    parts: list[str] = []
    for part in (path if path.startswith("/") else f"{directory}/{path}").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)

    return "/" + "/".join(parts)


def absolute(path: str) -> str:
    """Return the absolute virtual path of `path`, seen from the top of the store."""

    return join("/", path)


def parent(path: str) -> str:
    """Return the virtual path of the directory that `path` is in."""

    return path.rpartition("/")[0] or "/"


def is_allowed(path: str) -> bool:
    """Whether a client may give a new name to something.

    NUL is the end of a name for the system; a line end would end a line in most
    clients. Every other character may be in a name, and listings show it safely.
    """

    return not any(c in path for c in "\0\r\n")


def has_reserved_name(path: str) -> bool:
    """Whether a name on the path is one of those that parts of uploads have.

    No client names them, whoever they belong to.
    """

    # Each transfer asks: a generator would take as long as the answer.
    for name in path.split("/"):  # noqa: SIM110
        if name and is_reserved(name):
            return True

    return False


def show(path: str) -> str:
    """Return a path as listings show it: with escapes for control characters."""

    if path.isprintable() and "\\" not in path:
        return path

    return (format_nlst_line(path) or b"").decode("utf-8", "surrogateescape")
