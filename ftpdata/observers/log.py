"""One line of the log for each transfer, with its facts as structured extras."""

from __future__ import annotations

import logging
from typing import Any

from ..errors import FTPDataError, InsufficientStorage, LocalError, in_words, printable
from ..outcome import End, TransferResult
from .contract import Observer, Transfer

__all__ = ["LoggingObserver"]

logger: logging.Logger = logging.getLogger("ftpdata.transfers")

_RAISED_HERE = frozenset({End.CONSUMER_FAILED, End.PRODUCER_FAILED})
"""The ends of transfers that neither the connection nor its peer has caused."""


def log_end(
    result: TransferResult,
    error: BaseException | None,
    *,
    transfer: Transfer,
) -> None:
    """Log the end of a transfer on one line, with a traceback if something on this side raised it.

    It is an error of this side only if somebody here has to act: a file that is not there is
    the client's mistake, or a defect of the host's, and only the traceback shows which.
    """

    subject = transfer.subject
    is_ours = isinstance(error, LocalError | InsufficientStorage)
    name = transfer.path if subject is None else subject.name
    named = "" if name is None else f" {printable(name)}"
    why = "" if error is None else f": {printable(in_words(str, error))}"
    logger.log(
        logging.ERROR if is_ours else logging.INFO,
        "%s%s, peer %s: %s after %d bytes%s",
        result.direction.value,
        named,
        result.peer or "unknown",
        result.end.value,
        result.bytes,
        why,
        exc_info=error if isinstance(error, FTPDataError) and error.end in _RAISED_HERE else None,
        extra=_extra(result, transfer),
    )


def _extra(result: TransferResult, transfer: Transfer) -> dict[str, Any]:
    """Return the facts under names that no attribute of a log record has."""

    facts: dict[str, Any] = {
        "ftp_transfer": transfer.number,
        "ftp_direction": result.direction.value,
        "ftp_end": result.end.name.lower(),
        "ftp_reply_code": result.reply_code,
        "ftp_bytes": result.bytes,
        "ftp_file_bytes": result.file_bytes,
        "ftp_seconds": result.seconds,
        "ftp_offset": result.offset,
        "ftp_peer": result.peer,
        "ftp_tls_version": result.tls_version,
        "ftp_fast_path": result.fast_path.value,
        "ftp_digest": result.digest,
    }
    if (subject := transfer.subject) is not None:
        facts |= {
            "ftp_command": subject.command,
            "ftp_name": subject.name,
            "ftp_user": subject.user,
            "ftp_session": subject.session,
        }
    return facts


class LoggingObserver(Observer):
    """Logs every transfer, once it has ended, to the logger ``ftpdata.transfers``.

    Without any observer only failed transfers are logged. A line is of level ERROR if somebody
    here has to act (`LocalError`, `InsufficientStorage`), of level INFO otherwise, and has a
    traceback if the consumer or the producer of this side raised the error. Names and reasons are
    printable, so that no client can forge a line. The facts are extras of the log record:
    ``ftp_transfer`` (a number), ``ftp_direction``, ``ftp_end``, ``ftp_reply_code``,
    ``ftp_bytes`` (on the connection), ``ftp_file_bytes``, ``ftp_seconds``, ``ftp_offset``,
    ``ftp_peer``, ``ftp_tls_version``, ``ftp_fast_path`` and ``ftp_digest``; with a
    `Subject`, also ``ftp_command``, ``ftp_name``, ``ftp_user`` and ``ftp_session``.
    """

    logs_failures: bool = True

    def ended(
        self, transfer: Transfer, result: TransferResult, error: BaseException | None
    ) -> None:
        """Log it."""

        log_end(result, error, transfer=transfer)
