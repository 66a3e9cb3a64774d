"""Virtual paths: absolute, with ``/`` for the top of the store. Pure.

Names are text with surrogate escapes, so that a name that is not UTF-8 can be
listed and fetched again.
"""

from __future__ import annotations

import unicodedata

__all__ = ["has_controls", "join", "parent"]


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


def parent(path: str) -> str:
    """Return the virtual path of the directory that `path` is in."""

    return path.rpartition("/")[0] or "/"


def has_controls(path: str) -> bool:
    """Whether there are control characters in a path, which no new name may have.

    They serve to forge listings and logs, and nothing else. Bytes that are not
    UTF-8 are not control characters.
    """

    # Nearly always: nothing that is printable is one.
    if path.isprintable():
        return False

    return any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in path)
