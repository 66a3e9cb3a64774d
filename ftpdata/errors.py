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
    ├── UploadVetoed                   550  by an observer, which may choose another code
    ├── QuotaExceeded                  552
    └── FileNameNotAllowed             553

A reply code does not name a class: 522 is both RFC 2428's "network protocol"
and RFC 4217's "data connection could not be protected".

An error has two texts. ``str(error)`` says everything, for the log: it may quote
what the host's own code has raised. `FTPDataError.reply` is the line for the peer:
the code and words that are chosen here. A message becomes part of the reply only if the code that
raises the error says so (``reply_text``). ftpdata says so for what the peer itself has sent,
`error_for_peer`. No class says it of all its messages: the host's own code may raise any class,
with any message.

What an exception means for a transfer stands here, too, once: `local_error` makes
the error of a transfer, with its `End`, of whatever was raised on this side.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import ClassVar, TypeVar

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
    "UploadVetoed",
    "errno_of",
    "error_for_end",
    "error_for_oserror",
    "local_error",
]

LONGEST_REPLY_TEXT = 200
"""Characters of the text of a reply; some clients read lines of 512 bytes at most."""


LONGEST_DESCRIPTION = 200
"""Characters of the text of an exception that another error quotes."""


class FTPDataError(Exception):
    """Base of all errors that ftpdata raises.

    Args:
        message: What was expected and what came, for a person who reads the log.
        end: How the transfer or connection ended, where that is known.
        result: What the transfer did until then, where there was one.
        reply_code: A more precise reply code than the one of the class.
        reply_text: What the peer may read of it, in `reply`. By default that is a
            phrase chosen by the class or the end, and never the message.

    Attributes:
        reply_code: The FTP reply code to send (RFC 959 §4.2).
    """

    default_reply_code: ClassVar[int] = 451
    default_end: ClassVar[End | None] = None
    """How a transfer ends in which this is raised; None where its direction decides."""

    default_reply_text: ClassVar[str | None] = None
    """What the peer may read; None where the end of the transfer says more."""

    text_without_end: ClassVar[str] = "the transfer failed"
    """What the peer may read where the end is not known either."""

    # As they are in a class of the host's that does not call `__init__`.
    message: str = ""
    end: End | None = None
    result: TransferResult | None = None
    _reply_code: int | None = None
    _reply_text: str | None = None

    def __init__(
        self,
        message: str,
        *,
        end: End | None = None,
        result: TransferResult | None = None,
        reply_code: int | None = None,
        reply_text: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.end = end
        self.result = result
        self._reply_code = reply_code
        self._reply_text = reply_text

    @property
    def reply_code(self) -> int:
        """The FTP reply code to send for this error."""

        return self.default_reply_code if self._reply_code is None else self._reply_code

    @property
    def reply(self) -> str:
        """The line to send for this error, without its line end: the code and a text.

        It is safe to send. The text is ours, apart from numbers and from what the
        peer itself has said: it quotes no exception of the host, no path and no
        word of the system. What could not be printed is escaped.
        """

        return f"{self.reply_code} {_printable_sentence(self._text_for_peers())}"

    def _text_for_peers(self) -> str:
        if self._reply_text is not None:
            return self._reply_text
        if self.default_reply_text is not None:
            return self.default_reply_text
        if self.end is None or self.end is End.CLEAN:
            return self.text_without_end

        words: str = _WORDS_FOR_END.get(self.end, self.end.value)
        return words


_WORDS_FOR_END = {
    End.CONSUMER_FAILED: "the data could not be stored",
    End.PRODUCER_FAILED: "the data could not be read",
}
"""For peers, who do not know what a producer and a consumer are."""


def printable(text: str) -> str:
    """Escape what could not be printed, so that a text stays one line."""

    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )


def in_words(how: Callable[[object], str], error: object) -> str:
    """Describe an exception for the log: by `str` or `repr`, or, where that fails, by its class."""

    try:
        return how(error)[:LONGEST_DESCRIPTION]
    except Exception:  # noqa: BLE001 - the host's own code may raise anything here
        return f"{type(error).__name__}, which cannot be shown"


def _printable_sentence(text: str) -> str:
    """Make one line of a text: printable, of bounded length, with a capital and a full stop."""

    line = printable(text)
    if len(line) > LONGEST_REPLY_TEXT:
        line = f"{line[: LONGEST_REPLY_TEXT - 1]}…"
    if line[:2].isalpha():
        # What begins with notation stays as it is.
        line = line[0].upper() + line[1:]

    return line if line.endswith((".", "…", "!", "?")) else f"{line}."


class DataConnectionError(FTPDataError):
    """The data connection could not be opened, or is not open. Reply 425."""

    default_reply_code = 425
    text_without_end = "there is no data connection"


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

    default_end: ClassVar[End | None] = End.RESET


class TruncatedTransfer(TransferAborted):
    """The peer's end of file came without the mark that proves it. Reply 426."""

    default_end: ClassVar[End | None] = End.INCOMPLETE


class TransferTimeout(TransferAborted):
    """A deadline of the transfer has passed. Reply 426."""


class FileBusy(FTPDataError):
    """The file is in use; later it may not be. Reply 450."""

    default_reply_code = 450
    default_reply_text: ClassVar[str | None] = "the file is in use"


class LocalError(FTPDataError):
    """A producer, a consumer or a file failed on this side. Reply 451."""


class SizeMismatch(FTPDataError):
    """The size differs from what was promised. Reply 451."""

    default_end: ClassVar[End | None] = End.SIZE_MISMATCH
    default_reply_text: ClassVar[str | None] = "the size differs from what was promised"


class InvalidData(FTPDataError):
    """Received data are not valid in the type or mode in use. Reply 451."""

    default_end: ClassVar[End | None] = End.BAD_DATA


class InsufficientStorage(FTPDataError):
    """No space left on the device. Reply 452."""

    default_reply_code = 452
    default_reply_text: ClassVar[str | None] = "there is no space left"


class BadAddress(FTPDataError, ValueError):
    """An address or port that does not parse or is out of range. Reply 501."""

    default_reply_code = 501
    default_reply_text: ClassVar[str | None] = "this address cannot be used"


class BadArgument(FTPDataError, ValueError):
    """An argument of a command that does not parse. Reply 501."""

    default_reply_code = 501
    default_reply_text: ClassVar[str | None] = "this argument cannot be used"


class UnsupportedParameter(FTPDataError):
    """A type, structure or mode that is not supported. Reply 504."""

    default_reply_code = 504
    default_reply_text: ClassVar[str | None] = "this parameter is not supported"


class ProtectionRequired(FTPDataError):
    """The data connection must be protected (RFC 4217 §10.2). Reply 521."""

    default_reply_code = 521
    default_reply_text: ClassVar[str | None] = "the data connection must be protected"


class UnsupportedNetworkProtocol(FTPDataError):
    """An address family that is not supported (RFC 2428 §2). Reply 522.

    Both texts are the words of the RFC, unless others are given.

    Attributes:
        supported: The numbers of the families that are, for the reply.
    """

    default_reply_code = 522

    def __init__(
        self,
        message: str | None = None,
        *,
        supported: tuple[int, ...] = (1, 2),
        end: End | None = None,
        result: TransferResult | None = None,
        reply_text: str | None = None,
    ) -> None:
        families = ",".join(f"{family:d}" for family in supported)
        phrase = f"Network protocol not supported, use ({families})"
        super().__init__(
            message or phrase, end=end, result=result, reply_text=reply_text or phrase
        )
        self.supported = supported


class TLSNegotiationFailed(FTPDataError):
    """The data connection could not be protected (RFC 4217 §10.2). Reply 522."""

    default_reply_code = 522
    default_reply_text: ClassVar[str | None] = "the data connection could not be protected"


class FileUnavailable(FTPDataError):
    """The file is not there, or may not be used. Reply 550."""

    default_reply_code = 550
    default_reply_text: ClassVar[str | None] = "the file is not available"


class QuotaExceeded(FTPDataError):
    """A size limit or a quota is exceeded. Reply 552."""

    default_reply_code = 552
    default_end: ClassVar[End | None] = End.SIZE_LIMIT
    default_reply_text: ClassVar[str | None] = "the size limit is exceeded"


class UploadVetoed(FTPDataError):
    """An observer does not want a whole upload to be published. Permanent, unless it says more.

    Raised by `ftpdata.observers.Observer.before_publish`, which chooses the reply code and
    the text of the reply.
    """

    default_reply_code = 550
    default_end: ClassVar[End | None] = End.VETOED


class FileNameNotAllowed(FTPDataError):
    """This file system cannot have the name. Reply 553."""

    default_reply_code = 553
    default_reply_text: ClassVar[str | None] = "this name is not allowed"


E = TypeVar("E", bound=FTPDataError)


def error_for_peer(kind: type[E], message: str) -> E:
    """Make an error whose message the peer may read.

    For ftpdata's own errors about what the peer itself has sent: the message consists of
    our words, of numbers, and of what the peer said.
    """

    return kind(message, reply_text=message)


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
    End.VETOED: UploadVetoed,
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


_ERRNO_NAMES: dict[str, tuple[type[FTPDataError], str]] = {
    "ENOENT": (FileUnavailable, "no such file or directory"),
    "EACCES": (FileUnavailable, "permission denied"),
    "EPERM": (FileUnavailable, "permission denied"),
    "EISDIR": (FileUnavailable, "it is a directory"),
    "ENOTDIR": (FileUnavailable, "something on the path is not a directory"),
    # The error of opening a socket or a device by its name.
    "ENXIO": (FileUnavailable, "it is not a regular file"),
    "ENODEV": (FileUnavailable, "it is not a regular file"),
    "EROFS": (FileUnavailable, "the file system is read-only"),
    "ELOOP": (FileUnavailable, "the path has too many symbolic links"),
    "ENAMETOOLONG": (FileNameNotAllowed, "the name is too long"),
    "EILSEQ": (FileNameNotAllowed, "the file system cannot have this name"),
    "EBUSY": (FileBusy, "the file is in use"),
    "ETXTBSY": (FileBusy, "the file is in use"),
    "EEXIST": (FileUnavailable, "it exists already"),
    "ENOTEMPTY": (FileUnavailable, "the directory is not empty"),
    "EXDEV": (FileUnavailable, "the two names are on different file systems"),
    "ENOSPC": (InsufficientStorage, "there is no space left"),
    "EFBIG": (QuotaExceeded, "the file would be too large"),
    "EDQUOT": (QuotaExceeded, "the quota is exceeded"),
}
_FOR_ERRNO: dict[int, tuple[type[FTPDataError], str]] = {
    getattr(errno, name): meaning
    for name, meaning in _ERRNO_NAMES.items()
    # By name, since not every system has every error.
    if hasattr(errno, name)
}

_OTHER_NUMBERS = frozenset({"_socket", "_ssl", "socket", "ssl"})
"""Modules whose kinds of `OSError` have numbers of their own: 1 is not EPERM there.

CPython and PyPy differ in which of them a kind is said to be of."""


def error_for_oserror(
    error: OSError, *, end: End | None = None, result: TransferResult | None = None
) -> FTPDataError:
    """Make the error, with its reply code, for what the system said about a file.

    Its message has the system's own words, without the name of the file; its
    `FTPDataError.reply` has words of ours. Chain it: ``raise
    error_for_oserror(error) from error``.
    """

    kind, words = _FOR_ERRNO.get(
        errno_of(error), (LocalError, "local error in processing")
    )
    return kind(
        # Without words of the system, the text of the error may hold the name.
        error.strerror
        if isinstance(error.strerror, str) and error.strerror
        else type(error).__name__,
        end=end,
        result=result,
        reply_text=words,
    )


def errno_of(error: OSError) -> int:
    """Return the errno of an error; 0 where its number means something else.

    TLS and the resolver raise kinds of `OSError` that they number themselves.
    """

    if not _OTHER_NUMBERS.isdisjoint(kind.__module__ for kind in type(error).__mro__):
        return 0

    # The host's own code may have made it of anything.
    return error.errno if isinstance(error.errno, int) else 0


def local_error(error: BaseException, end: End) -> FTPDataError:
    """Make the error of a transfer, with its `End`, of what was raised on this side.

    This is the one table from exception to end and reply code.

    Args:
        error: What was raised. An `FTPDataError` is returned itself: an end that it
            knows stands, its class chooses one otherwise.
        end: Which side has failed, if the exception says no more:
            `End.PRODUCER_FAILED` or `End.CONSUMER_FAILED`.
    """

    if isinstance(error, FTPDataError):
        # Clean is how an earlier transfer on the same connection ended.
        if error.end is None or error.end is End.CLEAN:
            error.end = error.default_end or end
        return error

    if isinstance(error, OSError):
        made = error_for_oserror(error, end=end)
    else:
        made = LocalError(f"{end.value}: {in_words(repr, error)}", end=end)

    made.__cause__ = error
    return made
