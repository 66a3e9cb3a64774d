"""The one place where an error becomes a reply."""

from __future__ import annotations

from ftpdata import FileUnavailable, FTPDataError
from ftpdata.errors import error_for_oserror

from .reply import Reply

__all__ = ["Refused", "as_failure", "not_written", "reply_to"]


class Refused(FTPDataError):
    """A command that is refused, with a code and text of this server's own."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message, reply_code=code, reply_text=message)


def not_written(error: FTPDataError | OSError) -> FTPDataError:
    """Return the error of a name that cannot be written to.

    The code is 553 (RFC 959 §5.4), where a command that reads would say 550. If
    nothing is wrong with the name (the disk is full, there are no descriptors), the
    error stays as it is.
    """

    failure = as_failure(error)
    if not isinstance(failure, FileUnavailable):
        return failure

    return Refused(553, reply_to(failure).text)


def as_failure(error: FTPDataError | OSError) -> FTPDataError:
    """Return the error of ftpdata that says the same."""

    return error if isinstance(error, FTPDataError) else error_for_oserror(error)


def reply_to(error: FTPDataError | OSError) -> Reply:
    """Return the one reply that tells a client of an error.

    Its words are ftpdata's or this server's. What else there is to say, the log says.
    """

    return Reply.parse(as_failure(error).reply)
