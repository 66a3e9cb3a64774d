"""TLS of a control connection, between two buffers in memory: begun, used and ended.

RFC 4217, and RFC 2228 §3 for its end (CCC). Knows no socket and no commands.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterator

__all__ = ["ControlTLS"]

READ_SIZE = 2048
"""Bytes in clear that are read at a time."""


class ControlTLS:
    """The server's side of TLS.

    What comes from the client goes into `advance` while a step is under way (`handshake`, `end`,
    and also before `handshake` was called), else into `read`.

    Args:
        context: The certificate, and how it is used.
        send: Sends bytes to the client.
        wait: Waits until something changes: more has come to `advance`, or the client has left,
            which raises ConnectionError.

    Attributes:
        object: The connection, as the `ssl` module sees it.
        has_ended: Whether the client has ended TLS: it sends no more.
        is_in_step: Whether a step is under way.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        send: Callable[[bytes], None],
        wait: Callable[[], Awaitable[None]],
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.object: ssl.SSLObject = context.wrap_bio(
            self._incoming, self._outgoing, server_side=True
        )
        self.has_ended = False
        self.is_in_step = True
        self._send = send
        self._wait = wait
        self._step: Callable[[], object] | None = None
        self._failure: ssl.SSLError | None = None

    def write(self, data: bytes) -> None:
        """Protect bytes, and send them.

        Raises:
            ssl.SSLError: TLS cannot go on.
        """

        try:
            self.object.write(data)
        finally:
            self._flush()

    def read(self, records: bytes = b"") -> Iterator[bytes]:
        """Yield in clear what has come, after which `has_ended` may be true.

        Args:
            records: What comes in addition to what came in the handshake.

        Raises:
            ssl.SSLError: TLS cannot go on.
        """

        self._incoming.write(records)
        try:
            while data := self.object.read(READ_SIZE):
                yield data
            self.has_ended = True
        except ssl.SSLWantReadError:
            pass
        finally:
            # Also a ticket that is due.
            self._flush()

    async def handshake(self) -> None:
        """Begin TLS. Commands may come with the client's last message: `read` them.

        Raises:
            ssl.SSLError: There is no agreement.
            ConnectionError: The client has left.
        """

        await self._run(self.object.do_handshake)

    async def end(self) -> bytes:
        """End TLS; return what the client has sent in clear after its own end of TLS.

        Raises:
            ssl.SSLError: The client does not end it.
            ConnectionError: The client has left.
        """

        await self._run(self.object.unwrap)
        return self._incoming.read()

    def advance(self, records: bytes = b"") -> None:
        """Try the step that is under way again, with what has come."""

        self._incoming.write(records)
        if self._step is None:
            return

        try:
            self._step()
            self._step = None
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            self._failure = error
        finally:
            self._flush()

    async def _run(self, step: Callable[[], object]) -> None:
        self._step, self._failure = step, None
        self.is_in_step = True
        try:
            self.advance()
            while self._step is not None:
                if self._failure is not None:
                    raise self._failure
                await self._wait()
        finally:
            self._step = None
            self.is_in_step = False

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            self._send(data)
