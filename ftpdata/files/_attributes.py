"""What a file hands on to the one that replaces it: owner, group, permissions, attributes."""

from __future__ import annotations

import contextlib
import os

__all__ = ["hand_on_attributes"]

_ACCESS_LIST = "system.posix_acl_access"

_CAN_OWN = hasattr(os, "fchown") and hasattr(os, "fchmod")
_HAS_ATTRIBUTES = hasattr(os, "listxattr")


def hand_on_attributes(path: bytes, replaced: os.stat_result, fd: int) -> None:
    """Give a new file what the file that it replaces has, where the system lets us.

    Never bits that make a program run as somebody else (setuid, setgid), nor the attributes
    of the kernel's (``security.*``, ``trusted.*``): the content is another's now.

    Args:
        path: The file that is replaced.
        replaced: Its status.
        fd: The new file, which nobody but its owner may open yet.
    """

    if not _CAN_OWN:
        return

    with contextlib.suppress(OSError):
        is_group_kept = _hand_on_owner(replaced, fd)
        if _HAS_ATTRIBUTES:
            with contextlib.suppress(OSError):
                _hand_on_extended(path, fd, with_access_list=is_group_kept)

        mode = replaced.st_mode & 0o777
        if not is_group_kept:
            # Another group gets what the old group was allowed only if everybody is allowed it.
            mode &= 0o707 | (mode & 0o007) << 3
        # Last: from here on, others may open it.
        os.fchmod(fd, mode)


def _hand_on_owner(replaced: os.stat_result, fd: int) -> bool:
    """Hand on owner and group; tell whether the file has the group then."""

    status = os.fstat(fd)
    if status.st_uid != replaced.st_uid:
        with contextlib.suppress(PermissionError):
            os.fchown(fd, replaced.st_uid, replaced.st_gid)
            return True

    if status.st_gid != replaced.st_gid:
        try:
            os.fchown(fd, -1, replaced.st_gid)
        except PermissionError:
            return False

    return True


def _hand_on_extended(path: bytes, fd: int, *, with_access_list: bool) -> None:
    names = os.listxattr(path, follow_symlinks=False)
    for name in names:
        if name.startswith("user."):
            with contextlib.suppress(OSError):
                os.setxattr(fd, name, os.getxattr(path, name, follow_symlinks=False))

    with contextlib.suppress(OSError):
        if _ACCESS_LIST in names and with_access_list:
            os.setxattr(
                fd, _ACCESS_LIST, os.getxattr(path, _ACCESS_LIST, follow_symlinks=False)
            )
        else:
            # A directory may give each new file a list, and the old one had none.
            os.removexattr(fd, _ACCESS_LIST)
