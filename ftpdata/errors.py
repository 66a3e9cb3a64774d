"""The exceptions of ftpdata. Each class carries the FTP reply code to send.

Pure. The tree::

    FTPDataError                       451
    ├── DataConnectionError            425  could not be opened
    │   ├── PeerRejected               425
    │   ├── PortsExhausted             425
    │   ├── OpenTimeout                425
    │   └── NotConnected               425  written to before or after its life (then 426)
    ├── TransferAborted                426  was open, and did not end cleanly
    │   ├── ConnectionReset            426
    │   ├── TruncatedTransfer          426
    │   └── TransferTimeout            426  stalled, too slow, no first byte …
    ├── FileBusy                       450
    ├── LocalError                     451  a producer, a consumer, a file
    ├── SizeMismatch                   451
    ├── InvalidData                    451
    ├── InsufficientStorage            452
    ├── BadAddress                     501  (also a ValueError)
    ├── BadArgument                    501  (also a ValueError)
    ├── UnsupportedParameter           504
    ├── ProtectionRequired             521
    ├── UnsupportedNetworkProtocol     522
    ├── TLSNegotiationFailed           522
    ├── FileUnavailable                550
    ├── QuotaExceeded                  552
    └── FileNameNotAllowed             553

A reply code does not name a class: 522 is both RFC 2428's "network protocol"
and RFC 4217's "data connection could not be protected".
"""

from __future__ import annotations

import errno
from typing import ClassVar

from .outcome import End, TransferResult

__all__ = [
    "BadAddress",
    "BadArgument",
    "ConnectionReset",
    "DataConnectionError",
    "FTPDataError",
    "FileBusy",
    "FileNameNotAllowed",
    "FileUnavailable",
    "InsufficientStorage",
    "InvalidData",
    "LocalError",
    "NotConnected",
    "OpenTimeout",
    "PeerRejected",
    "PortsExhausted",
    "ProtectionRequired",
    "QuotaExceeded",
    "SizeMismatch",
    "TLSNegotiationFailed",
    "TransferAborted",
    "TransferTimeout",
    "TruncatedTransfer",
    "UnsupportedNetworkProtocol",
    "UnsupportedParameter",
    "error_for_end",
    "error_for_oserror",
]


class FTPDataError(Exception):
    """Base of all errors that ftpdata raises.

    Args:
        message: What was expected and what came, for a person.
        end: How the transfer or connection ended, where that is known.
        result: What the transfer did until then, where there was one.
        reply_code: A more precise reply code than the one of the class.

    Attributes:
        reply_code: The FTP reply code to send (RFC 959 §4.2).
    """

    default_reply_code: ClassVar[int] = 451

    def __init__(
        self,
        message: str,
        *,
        end: End | None = None,
        result: TransferResult | None = None,
        reply_code: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.end = end
        self.result = result
        self._reply_code = reply_code

    @property
    def reply_code(self) -> int:
        """The FTP reply code to send for this error."""

        return self.default_reply_code if self._reply_code is None else self._reply_code


class DataConnectionError(FTPDataError):
    """The data connection could not be opened, or is not open. Reply 425."""

    default_reply_code = 425


class PeerRejected(DataConnectionError):
    """The peer policy refuses this address or port (RFC 2577). Reply 425."""


class PortsExhausted(DataConnectionError):
    """Every port of the range is in use. Reply 425."""


class OpenTimeout(DataConnectionError):
    """Nobody connected, or the peer did not answer, in time. Reply 425."""


class NotConnected(DataConnectionError):
    """Data were written to a connection that is not open.

    Reply 425; or that of the reason, where it was open and is no more.
    """


class TransferAborted(FTPDataError):
    """The connection was open and did not end cleanly. Reply 426."""

    default_reply_code = 426


class ConnectionReset(TransferAborted):
    """The peer reset the connection. Reply 426."""


class TruncatedTransfer(TransferAborted):
    """The peer's end of file came without the mark that proves it. Reply 426."""


class TransferTimeout(TransferAborted):
    """A deadline of the transfer has passed. Reply 426."""


class FileBusy(FTPDataError):
    """The file is in use; later it may not be. Reply 450."""

    default_reply_code = 450


class LocalError(FTPDataError):
    """A producer, a consumer or a file failed on this side. Reply 451."""


class SizeMismatch(FTPDataError):
    """The size differs from what was promised. Reply 451."""


class InvalidData(FTPDataError):
    """Received data are not valid in the type or mode in use. Reply 451."""


class InsufficientStorage(FTPDataError):
    """No space left on the device. Reply 452."""

    default_reply_code = 452


class BadAddress(FTPDataError, ValueError):
    """An address or port that does not parse or is out of range. Reply 501."""

    default_reply_code = 501


class BadArgument(FTPDataError, ValueError):
    """An argument of a command that does not parse. Reply 501."""

    default_reply_code = 501


class UnsupportedParameter(FTPDataError):
    """A type, structure or mode that is not supported. Reply 504."""

    default_reply_code = 504


class ProtectionRequired(FTPDataError):
    """The data connection must be protected (RFC 4217 §10.2). Reply 521."""

    default_reply_code = 521


class UnsupportedNetworkProtocol(FTPDataError):
    """An address family that is not supported (RFC 2428 §2). Reply 522.

    Attributes:
        supported: The numbers of the families that are, for the reply.
    """

    default_reply_code = 522

    def __init__(
        self,
        message: str,
        *,
        supported: tuple[int, ...] = (1, 2),
        end: End | None = None,
        result: TransferResult | None = None,
    ) -> None:
        super().__init__(message, end=end, result=result)
        self.supported = supported


class TLSNegotiationFailed(FTPDataError):
    """The data connection could not be protected (RFC 4217 §10.2). Reply 522."""

    default_reply_code = 522


class FileUnavailable(FTPDataError):
    """The file is not there, or may not be used. Reply 550."""

    default_reply_code = 550


class QuotaExceeded(FTPDataError):
    """A size limit or a quota is exceeded. Reply 552."""

    default_reply_code = 552


class FileNameNotAllowed(FTPDataError):
    """The name is none that this file system can have. Reply 553."""

    default_reply_code = 553


_CLASS_FOR_END: dict[End, type[FTPDataError]] = {
    End.RESET: ConnectionReset,
    End.TLS_TRUNCATED: TruncatedTransfer,
    End.INCOMPLETE: TruncatedTransfer,
    End.PEER_REJECTED: PeerRejected,
    End.PORTS_EXHAUSTED: PortsExhausted,
    End.OPEN_FAILED: DataConnectionError,
    End.ACCEPT_TIMEOUT: OpenTimeout,
    End.CONNECT_TIMEOUT: OpenTimeout,
    End.HANDSHAKE_FAILED: TLSNegotiationFailed,
    End.HANDSHAKE_TIMEOUT: TLSNegotiationFailed,
    End.FIRST_BYTE_TIMEOUT: TransferTimeout,
    End.STALLED: TransferTimeout,
    End.TOO_SLOW: TransferTimeout,
    End.CLOSE_TIMEOUT: TransferTimeout,
    End.CONSUMER_FAILED: LocalError,
    End.PRODUCER_FAILED: LocalError,
    End.SIZE_MISMATCH: SizeMismatch,
    End.SIZE_LIMIT: QuotaExceeded,
    End.BAD_DATA: InvalidData,
}


def error_for_end(
    end: End, message: str | None = None, *, result: TransferResult | None = None
) -> FTPDataError:
    """Make the error that belongs to an ending.

    Raises:
        ValueError: `end` is clean; there is no error to make.
    """

    if end is End.CLEAN:
        raise ValueError("a clean end is not an error")

    return _CLASS_FOR_END.get(end, TransferAborted)(message or end.value, end=end, result=result)


_CLASS_FOR_ERRNO_NAME: dict[str, type[FTPDataError]] = {
    "ENOENT": FileUnavailable,
    "EACCES": FileUnavailable,
    "EPERM": FileUnavailable,
    "EISDIR": FileUnavailable,
    "ENOTDIR": FileUnavailable,
    "EROFS": FileUnavailable,
    "ELOOP": FileUnavailable,
    "ENAMETOOLONG": FileNameNotAllowed,
    "EILSEQ": FileNameNotAllowed,
    "EBUSY": FileBusy,
    "ETXTBSY": FileBusy,
    "EEXIST": FileUnavailable,
    "ENOTEMPTY": FileUnavailable,
    "EXDEV": FileUnavailable,
    "ENOSPC": InsufficientStorage,
    "EFBIG": QuotaExceeded,
    "EDQUOT": QuotaExceeded,
}
# By name, since not every system has every error.
_CLASS_FOR_ERRNO: dict[int, type[FTPDataError]] = {
    getattr(errno, name): kind
    for name, kind in _CLASS_FOR_ERRNO_NAME.items()
    if hasattr(errno, name)
}


def error_for_oserror(
    error: OSError, *, end: End | None = None, result: TransferResult | None = None
) -> FTPDataError:
    """Make the error, with its reply code, for what the system said about a file.

    The system's own words are kept; the name of the file is left out, since
    it may be a path that the peer must not learn. Chain it: ``raise
    error_for_oserror(error) from error``.
    """

    kind = _CLASS_FOR_ERRNO.get(error.errno or 0, LocalError)
    # Without words of the system, the text of the error may hold the name.
    return kind(error.strerror or type(error).__name__, end=end, result=result)
