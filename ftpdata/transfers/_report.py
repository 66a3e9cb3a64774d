"""The report of one transfer: the only place where its result and its error are made.

It also logs each failed transfer once, to the logger ``ftpdata.transfers``: as an error
with its traceback if this side has failed, and as information if the peer has. The peer
gets `FTPDataError.reply`, which says less.

Every way that a transfer can take, direct or through a `DTP`, counts its bytes here. It
gets the `TransferResult` of a clean end from here, or the `FTPDataError` of any other end,
which carries the same result.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Protocol

import anyio.to_thread

from .._kernel import describe_tls
from ..addresses import HostPort
from ..contracts import Buffer
from ..digests import Digest
from ..errors import (
    FTPDataError,
    InsufficientStorage,
    LocalError,
    in_words,
    local_error,
    printable,
)
from ..outcome import Direction, End, FastPath, TransferResult

__all__ = ["Report", "Wire"]

logger = logging.getLogger("ftpdata.transfers")

INLINE_DIGEST = 16 * 1024
"""Bytes that are digested at once; larger pieces go to a thread."""

FILE_DONE = 250
"""Reply code of a complete transfer whose data connection stays open (RFC 959 §4.2)."""


class Wire(Protocol):
    """The facts that a report needs from a connection: a `DTP`, or the link of an endpoint."""

    @property
    def peer(self) -> HostPort | None:
        """Address of the peer, as far as it is known."""

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS object, which knows how the connection is protected; None in clear."""


class Report:
    """The facts about one transfer so far.

    Args:
        direction: The direction of the bytes.
        offset: Where in the file the transfer starts, in bytes.
        digest: Name of a digest to compute over the bytes of the file.

    Attributes:
        file_bytes: Bytes of the file that have passed.
        total: Bytes of the file that will pass, if known.
        fast_path: Which fast path ran.
        foreign_bytes: Bytes on the connection that belong to other transfers.
        keep_open: Whether the connection stays open after a clean end.
    """

    def __init__(
        self, direction: Direction, *, offset: int = 0, digest: str | None = None
    ) -> None:
        self.direction = direction
        self.file_bytes: int = 0
        self.total: int | None = None
        self.fast_path: FastPath = FastPath.NONE
        self.foreign_bytes: int = 0
        self.keep_open: bool = False
        self._offset = offset
        self._digest: Digest | None = None
        self._digest_name = digest
        self._peer: HostPort | None = None
        self._tls: ssl.SSLObject | None = None
        self._is_logged = False
        self._clock = asyncio.get_running_loop().time
        self._started_at = self._clock()

    def meet(self, wire: Wire) -> None:
        """Record the peer, and how the connection is protected."""

        self._peer, self._tls = wire.peer, wire.tls

    def note_direct(self, wire: Wire, nbytes: int) -> None:
        """Record a connection without a `DTP`, and the bytes of the file that it carried."""

        self.meet(wire)
        self.file_bytes = nbytes
        self.fast_path = FastPath.DIRECT

    def restart_clock(self) -> None:
        """Count the seconds of the transfer from now on: its connection is made."""

        self._started_at = self._clock()

    def begin_digest(self) -> None:
        """Begin to compute the digest, if one was asked for. Idempotent.

        Raises:
            UnsupportedParameter: There is no such digest. Reply 504.
        """

        if self._digest is None and self._digest_name is not None:
            self._digest = Digest(self._digest_name)

    async def count(self, data: Buffer) -> None:
        """Count bytes of the file that have passed, and digest them."""

        if self._digest is not None:
            if len(data) <= INLINE_DIGEST:
                self._digest.update(data)
            else:
                await anyio.to_thread.run_sync(self._digest.update, data)

        self.file_bytes += len(data)

    @property
    def failed_side(self) -> End:
        """The end for an exception on this side that implies no more precise end."""

        is_sent = self.direction is Direction.SENT
        return End.PRODUCER_FAILED if is_sent else End.CONSUMER_FAILED

    def result(
        self,
        end: End,
        wire_bytes: int,
        *,
        reason: str | None = None,
        reply_code: int | None = None,
    ) -> TransferResult:
        """Describe the transfer as it is now.

        Args:
            end: How it ended.
            wire_bytes: Bytes that passed over the connection, in the transfer's direction.
            reason: Why it ended, if the end alone does not say so.
            reply_code: A more precise reply code than that of the end.
        """

        version, cipher, resumed = describe_tls(self._tls)
        digest = self._digest
        return TransferResult(
            direction=self.direction,
            end=end,
            bytes=max(0, wire_bytes - self.foreign_bytes),
            file_bytes=self.file_bytes,
            seconds=self._clock() - self._started_at,
            offset=self._offset,
            digest=None if digest is None else digest.hexdigest(),
            digest_name=None if digest is None else digest.name,
            fast_path=self.fast_path,
            peer=None if self._peer is None else str(self._peer),
            reason=reason,
            tls_version=version,
            tls_cipher=cipher,
            tls_resumed=resumed,
            reply_code=reply_code or self._reply_code(end),
        )

    def failure(self, error: Exception, wire_bytes: int) -> FTPDataError:
        """Turn an exception into the transfer's error, with its result.

        Only the first failure of a transfer is logged.

        Args:
            error: The exception that was raised, here or by the connection.
            wire_bytes: Bytes that passed over the connection, in the transfer's direction.
        """

        failure = local_error(error, self.failed_side)
        assert failure.end is not None
        failure.result = self.result(
            failure.end, wire_bytes, reason=in_words(str, failure), reply_code=failure.reply_code
        )
        if not self._is_logged:
            # What fails afterwards is a consequence of it.
            self._is_logged = True
            _log(failure, failure.result)
        return failure

    def _reply_code(self, end: End) -> int:
        # RFC 959 §4.2: 226 is for "closing data connection".
        return FILE_DONE if end is End.CLEAN and self.keep_open else end.reply_code


_RAISED_HERE = frozenset({End.CONSUMER_FAILED, End.PRODUCER_FAILED})
"""The ends of transfers that the connection and its peer have not brought about."""


def _log(failure: FTPDataError, result: TransferResult) -> None:
    """Log a failure on one line, with its traceback if something on this side has raised it.

    It is an error of this side only if somebody here has to act: a file that is not there is the
    client's mistake, or a defect of the host's, and only the traceback shows which.
    """

    is_ours = isinstance(failure, LocalError | InsufficientStorage)
    logger.log(
        logging.ERROR if is_ours else logging.INFO,
        "%s, peer %s: %s after %d bytes: %s",
        result.direction.value,
        result.peer or "unknown",
        result.end.value,
        result.bytes,
        printable(in_words(str, failure)),
        exc_info=failure if failure.end in _RAISED_HERE else None,
    )
