"""How a transfer ended: the facts, and the log lines that are made from them.

Pure: it knows no sockets, no clock, and no replies except their codes. A frozen
`TransferResult` holds the facts about a transfer, and an `End` says how it ended.
Both are data, so that a log line, a metric or a reply depends on them alone.
"""

from __future__ import annotations

import enum
from datetime import datetime

import attrs

from ._checks import check_call

__all__ = [
    "Direction",
    "End",
    "FastPath",
    "TransferResult",
    "format_xferlog_line",
]


class Direction(enum.Enum):
    """Which way the bytes went, seen from the side that runs ftpdata."""

    SENT = "sent"
    RECEIVED = "received"


class End(enum.Enum):
    """How a data connection, or the transfer on it, ended.

    The value is a short phrase that can be shown to a person. `reply_code`
    is the completion code of RFC 959 §4.2 that describes it.
    """

    CLEAN = "complete"
    RESET = "reset by peer"
    LOST = "connection lost by error"
    TLS_TRUNCATED = "cut without a TLS close_notify"
    INCOMPLETE = "end of file without the end mark of the transmission mode"
    ABORTED = "aborted by this side"
    CANCELLED = "cancelled"
    PEER_REJECTED = "peer refused by policy"
    PORTS_EXHAUSTED = "no free port"
    OPEN_FAILED = "data connection could not be opened"
    ACCEPT_TIMEOUT = "timed out waiting for the connection"
    CONNECT_TIMEOUT = "timed out while connecting"
    HANDSHAKE_FAILED = "TLS negotiation failed"
    HANDSHAKE_TIMEOUT = "timed out in the TLS handshake"
    FIRST_BYTE_TIMEOUT = "timed out waiting for the first byte"
    STALLED = "stalled"
    TOO_SLOW = "slower than the minimum rate"
    CLOSE_TIMEOUT = "timed out waiting for the peer to take the end of file"
    CONSUMER_FAILED = "consumer failed"
    PRODUCER_FAILED = "producer failed"
    SIZE_MISMATCH = "size differs from what was promised"
    SIZE_LIMIT = "size limit exceeded"
    BAD_DATA = "data not valid in the representation or mode in use"
    VETOED = "vetoed before it was published"

    @property
    def reply_code(self) -> int:
        """The FTP reply code for this ending (RFC 959 §4.2, RFC 4217 §10.2)."""

        return _REPLY_CODES[self]

    @property
    def is_clean(self) -> bool:
        """Whether the transfer is complete."""

        return self is End.CLEAN

    @property
    def is_timeout(self) -> bool:
        """Whether a deadline ended it."""

        return self in _TIMEOUTS


_REPLY_CODES = {
    End.CLEAN: 226,
    End.RESET: 426,
    End.LOST: 426,
    End.TLS_TRUNCATED: 426,
    End.INCOMPLETE: 426,
    End.ABORTED: 426,
    End.CANCELLED: 426,
    End.PEER_REJECTED: 425,
    End.PORTS_EXHAUSTED: 425,
    End.OPEN_FAILED: 425,
    End.ACCEPT_TIMEOUT: 425,
    End.CONNECT_TIMEOUT: 425,
    End.HANDSHAKE_FAILED: 522,
    End.HANDSHAKE_TIMEOUT: 522,
    End.FIRST_BYTE_TIMEOUT: 426,
    End.STALLED: 426,
    End.TOO_SLOW: 426,
    End.CLOSE_TIMEOUT: 426,
    End.CONSUMER_FAILED: 451,
    End.PRODUCER_FAILED: 451,
    End.SIZE_MISMATCH: 451,
    End.SIZE_LIMIT: 552,
    End.BAD_DATA: 451,
    End.VETOED: 550,
}

_TIMEOUTS = frozenset({
    End.ACCEPT_TIMEOUT,
    End.CONNECT_TIMEOUT,
    End.HANDSHAKE_TIMEOUT,
    End.FIRST_BYTE_TIMEOUT,
    End.STALLED,
    End.TOO_SLOW,
    End.CLOSE_TIMEOUT,
})


class FastPath(enum.Enum):
    """The path that the bytes took through this process."""

    NONE = "none"
    """Through the transport, as any bytes may."""

    SENDFILE = "sendfile"
    """From file to socket within the kernel (sendfile(2))."""

    SPLICE = "splice"
    """From socket to file within the kernel, as far as possible (splice(2), Linux)."""

    BUFFERED = "buffered"
    """From the socket into memory that is used again and again."""

    DIRECT = "direct"
    """Between memory and socket without a transport: a small file that was moved in a moment."""


@attrs.frozen(kw_only=True)
class TransferResult:
    """The facts about one transfer. Immutable, and complete whatever happened.

    Attributes:
        direction: Sent or received, seen from this side.
        end: How it ended.
        bytes: Bytes on the data connection, after encoding: sent ones that
            the kernel took, or received ones that reached the transfer.
        file_bytes: Bytes of the file or stream, before encoding. Equal to
            `bytes` if nothing is converted.
        seconds: From the start of the transfer to its end, by a monotonic
            clock.
        offset: Where in the file the transfer began (REST), in bytes.
        digest: Lower-case hexadecimal digest of the file bytes that passed,
            if one was asked for.
        digest_name: Name of its algorithm, as `hashlib` knows it, or
            ``"crc32"``.
        fast_path: Which fast path ran.
        spooled: Whether an upload was copied into its file once it was whole, where it
            could not be renamed: for a moment, others could see a part of it.
        peer: Address and port of the peer, as text, if it was ever known.
        reason: Why it ended, in words, if `end` alone does not say it.
        tls_version: Negotiated TLS version, None in clear.
        tls_cipher: Negotiated cipher, None in clear.
        tls_resumed: Whether the TLS session was resumed, None in clear.
        reply_code: The FTP reply code that describes it: that of `end`, or a more
            precise one (452 rather than 451 for a full disk).
    """

    direction: Direction
    end: End
    bytes: int = 0
    file_bytes: int = 0
    seconds: float = 0.0
    offset: int = 0
    digest: str | None = None
    digest_name: str | None = None
    fast_path: FastPath = FastPath.NONE
    spooled: bool = False
    peer: str | None = None
    reason: str | None = None
    tls_version: str | None = None
    tls_cipher: str | None = None
    tls_resumed: bool | None = None
    reply_code: int = attrs.field()

    @reply_code.default
    def _reply_code_of_end(self) -> int:
        return self.end.reply_code

    @property
    def is_complete(self) -> bool:
        """Whether every byte arrived, as far as this side can know."""

        return self.end is End.CLEAN

    @property
    def rate(self) -> float:
        """Mean rate in bytes per second; 0.0 for a transfer that took no time."""

        return self.bytes / self.seconds if self.seconds > 0 else 0.0


def _xferlog_word(text: str) -> str:
    """Make a printable field without blanks, so that a record stays one line of fields."""

    return "".join(c if c.isprintable() and not c.isspace() else "_" for c in text) or "_"


def format_xferlog_line(
    result: TransferResult,
    *,
    name: str,
    ended_at: datetime,
    ascii_type: bool = False,
    user: str = "anonymous",
    anonymous: bool = True,
    authenticated_id: str | None = None,
) -> str:
    """Format the transfer-log line of wu-ftpd (xferlog(5)).

    Args:
        result: The transfer.
        name: Name of the file. Blanks and unprintable characters become
            ``_``, as in wu-ftpd, so that no name can forge a record.
        ended_at: When the transfer ended. A date with a time zone is written in
            that zone.
        ascii_type: Whether TYPE A was in use.
        user: User name, or the password that an anonymous user gave.
        anonymous: Whether the user was anonymous; otherwise the access mode
            is that of a real user.
        authenticated_id: User that was authenticated by RFC 931, if any.

    Returns:
        One line without its line end. The last field is ``c`` for a complete
        transfer and ``i`` for any other.
    """

    check_call(format_xferlog_line, locals())
    # The names of months and days are those of the C locale, whatever the process has set.
    moment = ended_at.timetuple()
    date = (
        f"{_DAYS[moment.tm_wday]} {_MONTHS[moment.tm_mon - 1]} {moment.tm_mday:2d} "
        f"{moment.tm_hour:02d}:{moment.tm_min:02d}:{moment.tm_sec:02d} {moment.tm_year}"
    )
    host = result.peer.rpartition(":")[0].strip("[]") if result.peer else ""
    return " ".join((
        date,
        str(max(0, round(result.seconds))),
        _xferlog_word(host),
        str(result.file_bytes),
        _xferlog_word(name),
        "a" if ascii_type else "b",
        "_",
        "o" if result.direction is Direction.SENT else "i",
        "a" if anonymous else "r",
        _xferlog_word(user),
        "ftp",
        "1" if authenticated_id else "0",
        _xferlog_word(authenticated_id) if authenticated_id else "*",
        "c" if result.is_complete else "i",
    ))


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
