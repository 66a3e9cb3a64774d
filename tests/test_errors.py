"""The exception tree and its reply codes."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Callable

import pytest

from ftpdata import errors
from ftpdata.addresses import parse_eprt, parse_epsv, parse_port
from ftpdata.digests import Digest
from ftpdata.errors import (
    BadAddress,
    BadArgument,
    ConnectionReset,
    DataConnectionError,
    FileBusy,
    FileNameNotAllowed,
    FileUnavailable,
    FTPDataError,
    InsufficientStorage,
    InvalidData,
    LocalError,
    NotConnected,
    OpenTimeout,
    PeerRejected,
    PortsExhausted,
    ProtectionRequired,
    QuotaExceeded,
    SizeMismatch,
    TLSNegotiationFailed,
    TransferAborted,
    TransferTimeout,
    TruncatedTransfer,
    UnsupportedNetworkProtocol,
    UnsupportedParameter,
    UploadVetoed,
    error_for_end,
    error_for_oserror,
    error_for_peer,
    local_error,
)
from ftpdata.outcome import Direction, End, TransferResult
from ftpdata.parameters import TransferParameters

TREE: list[tuple[type[FTPDataError], type[Exception], int]] = [
    (FTPDataError, Exception, 451),
    (DataConnectionError, FTPDataError, 425),
    (PeerRejected, DataConnectionError, 425),
    (PortsExhausted, DataConnectionError, 425),
    (OpenTimeout, DataConnectionError, 425),
    (NotConnected, DataConnectionError, 425),
    (TransferAborted, FTPDataError, 426),
    (ConnectionReset, TransferAborted, 426),
    (TruncatedTransfer, TransferAborted, 426),
    (TransferTimeout, TransferAborted, 426),
    (LocalError, FTPDataError, 451),
    (SizeMismatch, FTPDataError, 451),
    (InvalidData, FTPDataError, 451),
    (FileBusy, FTPDataError, 450),
    (FileNameNotAllowed, FTPDataError, 553),
    (InsufficientStorage, FTPDataError, 452),
    (BadAddress, FTPDataError, 501),
    (BadArgument, FTPDataError, 501),
    (UnsupportedParameter, FTPDataError, 504),
    (ProtectionRequired, FTPDataError, 521),
    (UnsupportedNetworkProtocol, FTPDataError, 522),
    (TLSNegotiationFailed, FTPDataError, 522),
    (FileUnavailable, FTPDataError, 550),
    (UploadVetoed, FTPDataError, 550),
    (QuotaExceeded, FTPDataError, 552),
]


@pytest.mark.parametrize(("kind", "base", "reply_code"), TREE)
def test_place_and_reply_code(
    kind: type[FTPDataError], base: type[Exception], reply_code: int
) -> None:
    """Each class is where the tree says, and carries the reply code to send."""
    assert kind.__bases__[0] is base
    assert kind("what happened").reply_code == reply_code


def test_the_tree_is_complete() -> None:
    """No public class is missing from the table of this test, and none from the tree to read."""
    public = {getattr(errors, name) for name in errors.__all__}
    classes = {thing for thing in public if isinstance(thing, type)}
    assert classes == {kind for kind, _, _ in TREE}
    drawn = re.findall(r"^    [│├└─ ]*(\w+) +([0-9]{3})", errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted((kind.__name__, str(code)) for kind, _, code in TREE)


def test_bad_input_is_a_value_error() -> None:
    """Code that knows only ValueError can catch errors about text from a peer."""
    assert issubclass(BadAddress, ValueError)
    assert issubclass(BadArgument, ValueError)


def test_error_carries_what_is_known() -> None:
    """An error has its message, how the transfer ended, and what was done until then."""
    bare = FTPDataError("gone")
    assert (str(bare), bare.message, bare.end, bare.result) == ("gone", "gone", None, None)
    result = TransferResult(direction=Direction.SENT, end=End.RESET, bytes=7)
    full = TransferAborted("gone", end=End.RESET, result=result)
    assert full.end is End.RESET
    assert full.result is result


def test_reply_code_can_be_more_precise_than_the_class() -> None:
    """An error may have a more precise code than its class."""
    assert NotConnected("gone", reply_code=426).reply_code == 426
    assert NotConnected("gone").reply_code == 425


def test_unsupported_protocol_carries_the_supported_ones() -> None:
    """522 must name the families that work (RFC 2428 §2)."""
    result = TransferResult(direction=Direction.SENT, end=End.OPEN_FAILED)
    error = UnsupportedNetworkProtocol("no", supported=(1,), end=End.OPEN_FAILED, result=result)
    assert error.supported == (1,)
    assert error.end is End.OPEN_FAILED
    assert error.result is result
    assert UnsupportedNetworkProtocol("no").supported == (1, 2)


@pytest.mark.parametrize("end", [end for end in End if end is not End.CLEAN])
def test_error_for_every_end(end: End) -> None:
    """The error of an end says what the end says, with the same reply code."""
    result = TransferResult(direction=Direction.RECEIVED, end=end, bytes=5)
    error = error_for_end(end, result=result)
    assert str(error) == end.value
    assert error.end is end
    assert error.result is result
    assert error.reply_code == end.reply_code == result.reply_code
    assert str(error_for_end(end, "in other words")) == "in other words"


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (End.RESET, ConnectionReset),
        (End.LOST, TransferAborted),
        (End.ABORTED, TransferAborted),
        (End.CANCELLED, TransferAborted),
        (End.TLS_TRUNCATED, TruncatedTransfer),
        (End.INCOMPLETE, TruncatedTransfer),
        (End.PEER_REJECTED, PeerRejected),
        (End.PORTS_EXHAUSTED, PortsExhausted),
        (End.OPEN_FAILED, DataConnectionError),
        (End.ACCEPT_TIMEOUT, OpenTimeout),
        (End.CONNECT_TIMEOUT, OpenTimeout),
        (End.HANDSHAKE_FAILED, TLSNegotiationFailed),
        (End.HANDSHAKE_TIMEOUT, TLSNegotiationFailed),
        (End.FIRST_BYTE_TIMEOUT, TransferTimeout),
        (End.STALLED, TransferTimeout),
        (End.TOO_SLOW, TransferTimeout),
        (End.CLOSE_TIMEOUT, TransferTimeout),
        (End.CONSUMER_FAILED, LocalError),
        (End.PRODUCER_FAILED, LocalError),
        (End.SIZE_MISMATCH, SizeMismatch),
        (End.SIZE_LIMIT, QuotaExceeded),
        (End.BAD_DATA, InvalidData),
    ],
)
def test_class_for_end(end: End, kind: type[FTPDataError]) -> None:
    """Each end has the narrowest class that fits."""
    assert type(error_for_end(end)) is kind


def test_clean_end_is_not_an_error() -> None:
    """Nobody can raise a success by mistake."""
    with pytest.raises(ValueError, match="clean"):
        error_for_end(End.CLEAN)


@pytest.mark.parametrize(
    ("number", "kind", "reply_code"),
    [
        (errno.ENOENT, FileUnavailable, 550),
        (errno.EACCES, FileUnavailable, 550),
        (errno.EISDIR, FileUnavailable, 550),
        (errno.ENXIO, FileUnavailable, 550),
        (errno.ENODEV, FileUnavailable, 550),
        (errno.EROFS, FileUnavailable, 550),
        (errno.ENOSPC, InsufficientStorage, 452),
        (errno.ENAMETOOLONG, FileNameNotAllowed, 553),
        (errno.EILSEQ, FileNameNotAllowed, 553),
        (errno.EBUSY, FileBusy, 450),
        (errno.ETXTBSY, FileBusy, 450),
        (errno.EDQUOT, QuotaExceeded, 552),
        (errno.EFBIG, QuotaExceeded, 552),
        (errno.EIO, LocalError, 451),
        (errno.EMFILE, LocalError, 451),
    ],
)
def test_error_for_oserror(number: int, kind: type[FTPDataError], reply_code: int) -> None:
    """What the system says about a file becomes a reply code, without the file's name."""
    result = TransferResult(direction=Direction.RECEIVED, end=End.CONSUMER_FAILED)
    error = error_for_oserror(
        OSError(number, "In the system's words", "/home/secret/name"),
        end=End.CONSUMER_FAILED,
        result=result,
    )
    assert type(error) is kind
    assert error.reply_code == reply_code
    assert str(error) == "In the system's words"
    assert error.end is End.CONSUMER_FAILED
    assert error.result is result


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("cannot open /home/secret/name"), "OSError"),
        (OSError(), "OSError"),
        (PermissionError(), "PermissionError"),
        (OSError(errno.ENOENT, None, "/home/secret/name"), "FileNotFoundError"),
        (OSError(errno.ENOENT, "", "/home/secret/name"), "FileNotFoundError"),
    ],
)
def test_oserror_without_words(error: OSError, message: str) -> None:
    """An error without much text still has a message, and never the name of a file."""
    assert str(error_for_oserror(error)) == message


@pytest.mark.parametrize(
    "error",
    [
        ssl.SSLError(1, "bad signature"),
        ssl.SSLCertVerificationError(1, "self-signed"),
        socket.gaierror(2, "unknown name"),
        socket.herror(1, "unknown host"),
        type("StoreError", (socket.gaierror,), {})(13, "unknown service"),
        # As PyPy names it.
        type("gaierror", (OSError,), {"__module__": "_socket"})(2, "unknown name"),
    ],
)
def test_a_number_that_is_not_an_errno_says_nothing(error: OSError) -> None:
    """TLS and the resolver, which a store may use, count their errors from 1: not EPERM."""
    found = local_error(error, End.CONSUMER_FAILED)
    assert (type(found), found.reply) == (LocalError, "451 Local error in processing.")
    assert str(found) == error.strerror


SECRET = "PUT https://store.example/bucket?Signature=abc /srv/secret\r\n226 forged"


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (LocalError(SECRET, end=End.PRODUCER_FAILED), "451 The data could not be read."),
        (LocalError(SECRET, end=End.CONSUMER_FAILED), "451 The data could not be stored."),
        (FTPDataError(SECRET), "451 The transfer failed."),
        (FTPDataError(SECRET, end=End.CLEAN), "451 The transfer failed."),
        (DataConnectionError(SECRET), "425 There is no data connection."),
        (
            DataConnectionError(SECRET, end=End.OPEN_FAILED),
            "425 Data connection could not be opened.",
        ),
        (TransferAborted(SECRET, end=End.ABORTED), "426 Aborted by this side."),
        (FileUnavailable(SECRET), "550 The file is not available."),
        (QuotaExceeded(SECRET, end=End.SIZE_LIMIT), "552 The size limit is exceeded."),
        (SizeMismatch(SECRET), "451 The size differs from what was promised."),
        (
            FileUnavailable(SECRET, reply_text="ask Anna, please!"),
            "550 Ask Anna, please!",
        ),
        (NotConnected(SECRET, end=End.RESET, reply_code=426), "426 Reset by peer."),
        (BadAddress(SECRET), "501 This address cannot be used."),
        (BadArgument(SECRET), "501 This argument cannot be used."),
        (UnsupportedParameter(SECRET), "504 This parameter is not supported."),
        (
            UnsupportedNetworkProtocol(SECRET, supported=(2,)),
            "522 Network protocol not supported, use (2).",
        ),
    ],
)
def test_reply_quotes_nobody_but_us_and_the_peer(error: FTPDataError, reply: str) -> None:
    """What the host's code has raised, with its secrets and line ends, only goes to the log."""
    assert error.reply == reply


def test_the_reply_to_bad_input_says_what_was_wrong() -> None:
    """The peer said it itself; anything that could forge a line is escaped."""
    assert error_for_peer(BadArgument, "expected a number, got a\r\n226 b").reply == (
        "501 Expected a number, got a\\r\\n226 b."
    )
    assert error_for_peer(UnsupportedParameter, "TYPE L 36 is not supported").reply == (
        "504 TYPE L 36 is not supported."
    )


@pytest.mark.parametrize(
    ("parse", "argument", "reply"),
    [
        (parse_port, "1,2,3\r\n", "501 h1,h2,h3,h4,p1,p2 is expected, not '1,2,3\\r\\n'."),
        (parse_port, "1,2,3,4,0,0", "501 a port is a number from 1 to 65535, not 0."),
        (parse_eprt, "|1|x|25|", "501 An address of protocol 1 is expected, not 'x'."),
        (parse_eprt, "|3|x|25|", "522 Network protocol not supported, use (1,2)."),
        (parse_eprt, "|2|fe80::1%1|25|", None),
        (parse_epsv, "9", "522 Network protocol not supported, use (1,2)."),
        (TransferParameters().with_type, "Q", "504 TYPE is one of A, E, I, L, not 'Q'."),
        (Digest, "md9", "504 No digest algorithm is named 'md9'."),
    ],
)
def test_what_the_peer_has_sent_is_quoted_in_the_reply(
    parse: Callable[[str], object], argument: str, reply: str | None
) -> None:
    """The peer knows it already, and can find its mistake."""

    with pytest.raises(FTPDataError) as caught:
        parse(argument)
    if reply is None:
        assert "fe80::1%1" in caught.value.reply
    else:
        assert caught.value.reply == reply


def test_a_class_that_does_not_call_its_base_is_an_error_nevertheless() -> None:
    """It has the default code and text, and takes the end of its transfer."""

    class Theirs(QuotaExceeded):
        def __init__(self, secret: str) -> None:
            self.secret = secret

    error = local_error(Theirs(SECRET), End.CONSUMER_FAILED)
    assert (error.end, error.reply) == (End.SIZE_LIMIT, "552 The size limit is exceeded.")


class Speechless(RuntimeError):
    """An exception that cannot be converted to a string."""

    def __str__(self) -> str:
        raise ValueError(SECRET)

    __repr__ = __str__


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Speechless(), "consumer failed: Speechless, which cannot be shown"),
        (RuntimeError("x" * 1000), f"consumer failed: RuntimeError('{'x' * 186}"),
        (OSError([], ["text"]), "OSError"),
    ],
)
def test_an_exception_that_cannot_be_shown_is_an_error_all_the_same(
    error: Exception, text: str
) -> None:
    """Its class is named, and it stays the cause."""

    made = local_error(error, End.CONSUMER_FAILED)
    assert (str(made), made.__cause__) == (text, error)
    assert made.reply in ("451 The data could not be stored.", "451 Local error in processing.")


def test_a_reply_has_a_bounded_length() -> None:
    """A client reads a line of some hundred bytes, whatever the argument contained."""
    reply = error_for_peer(BadArgument, "x" * 10_000).reply
    assert reply.endswith("xx…")
    assert len(reply) == len("501 ") + errors.LONGEST_REPLY_TEXT


def test_the_system_has_words_of_ours_in_a_reply() -> None:
    """The system's own messages may be in any language, and name anything."""
    path = error_for_oserror(OSError(errno.ENOTDIR, SECRET))
    assert path.reply == "550 Something on the path is not a directory."
    missing = error_for_oserror(OSError(errno.ENOENT, "Datei fehlt", "/srv/secret"))
    assert (str(missing), missing.reply) == ("Datei fehlt", "550 No such file or directory.")
    unknown = error_for_oserror(OSError(errno.EIO, SECRET, "/srv/secret"))
    assert unknown.reply == "451 Local error in processing."


@pytest.mark.parametrize(
    ("error", "end", "kind"),
    [
        (SizeMismatch("1, not 2"), End.SIZE_MISMATCH, SizeMismatch),
        (QuotaExceeded("too much"), End.SIZE_LIMIT, QuotaExceeded),
        (InvalidData("not EBCDIC"), End.BAD_DATA, InvalidData),
        (TruncatedTransfer("no mark"), End.INCOMPLETE, TruncatedTransfer),
        (FileUnavailable("gone"), End.CONSUMER_FAILED, FileUnavailable),
        (QuotaExceeded("too much", end=End.ABORTED), End.ABORTED, QuotaExceeded),
        (InvalidData("earlier", end=End.CLEAN), End.BAD_DATA, InvalidData),
        (OSError(errno.ENOSPC, "full"), End.CONSUMER_FAILED, InsufficientStorage),
        (RuntimeError("oops"), End.CONSUMER_FAILED, LocalError),
    ],
)
def test_what_an_exception_means(error: Exception, end: End, kind: type[FTPDataError]) -> None:
    """One table says how a transfer ends in which this was raised."""
    made = local_error(error, End.CONSUMER_FAILED)
    assert (made.end, type(made)) == (end, kind)
    assert made is error or made.__cause__ is error
