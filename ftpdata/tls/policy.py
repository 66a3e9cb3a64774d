"""TLS on the data connection (PROT P, RFC 4217), bound to its control connection.

The rule of this module is one `ssl.SSLContext` for each control session. A
session or ticket of another client was made by another context and does not
resume on this one. So a data connection that resumes a session belongs to the
client that logged in on this control connection. With one context for all
sessions, resumption would prove nothing.

Python's `ssl` and asyncio leave three more things to this module:

- A client that uses a ticket of TLS 1.3 only once needs a further one for each data
  connection, if resumption is required (`ftpdata.tls` tells which clients do). It gets one
  on every data connection, but never while it may still be sending
  (`ftpdata.tls._channel.TLSChannel.take`), or on the control connection
  (`DataTLS.renew_ticket`).
- A client that offers only foreign application protocols is refused.
- A stream that ends without a close_notify was cut (`ftpdata.connection.protocol`).
"""

from __future__ import annotations

import contextlib
import enum
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from .._checks import check_call, checked
from ..errors import InvalidData, TLSNegotiationFailed
from ..outcome import End
from ._client_hello import ClientHello, may_offer_protocols, parse_client_hello

__all__ = ["DataTLS", "ServerCertificate", "SessionReuse"]

LEFT_OVER = 16384
"""Bytes of a TLS record, at most."""

MOST_LOOKED_AT = 4 * 1024 * 1024
"""Bytes of ClientHellos to parse: each piece makes all bytes so far count again.

A ClientHello of 2,800 bytes may arrive byte by byte."""

FTP_PROTOCOLS = ("ftp-data", "ftp", "x-filezilla-ftp")
"""Application protocols of FTP: two in common use, and FileZilla's own."""


class SessionReuse(enum.Enum):
    """Whether a data connection must resume the TLS session of its control connection."""

    OFF = "off"
    """Every data connection negotiates anew."""

    WANTED = "wanted"
    """Resumption is offered; a client that cannot resume is served all the same."""

    REQUIRED = "required"
    """A data connection that does not resume is refused: nobody can steal it."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class ServerCertificate:
    """A server's certificate and key, from which each control session gets its own context.

    Attributes:
        certificate: Path of the certificate chain, in PEM.
        key: Path of the private key, in PEM; None if it is in the same file.
        password: Password of the private key.
        minimum_version: The oldest version of TLS that is spoken.
        maximum_version: The newest one. Use TLS 1.2 if reuse is required and some
            clients use a ticket of TLS 1.3 only once, close their uploads without
            reading, and do not allow `DataTLS.renew_ticket`, as Perl's Net::FTP.
        prepare: Called with every new context, for settings of your own:
            ciphers, client certificates.
    """

    certificate: Path | str
    key: Path | str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    maximum_version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED
    prepare: Callable[[ssl.SSLContext], object] | None = None

    def session_context(self) -> ssl.SSLContext:
        """Make the context of one control session, for its control and data connections.

        A client that offers only foreign application protocols is refused on
        both: it is a browser that was lured here (ALPACA, CVE-2021-3618).

        The method reads two files, which takes about a millisecond: call it in a
        worker thread, or accept the delay.

        Raises:
            OSError: A file cannot be read.
            ssl.SSLError: The certificate and the key do not belong together.
        """

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self.minimum_version
        context.maximum_version = self.maximum_version
        context.load_cert_chain(self.certificate, self.key, self.password)
        context.set_alpn_protocols(list(FTP_PROTOCOLS))
        context.sslobject_class = _ControlObject
        if self.prepare is not None:
            self.prepare(context)

        return context


@attrs.frozen(kw_only=True, field_transformer=checked)
class DataTLS:
    """How the data connections of one control session are protected.

    Make it with `for_server` or `for_client`, once the control connection is
    protected.

    Attributes:
        context: The control session's own context.
        server_side: Which role this side has in the handshake. The FTP client is
            the TLS client, whichever side connects (RFC 4217 §7).
        server_hostname: Name that the server's certificate must have; for the
            client.
        reuse: Whether the control connection's session must be resumed.
        strict_close: Whether an end of file without close_notify counts as a cut.

    Raises:
        TypeError: `context` is not an `ssl.SSLContext`, or `reuse` not a `SessionReuse`.
        ValueError: The context is for the other side; or it checks the name of the
            server (`check_hostname`), and no name is given.
    """

    context: ssl.SSLContext = attrs.field(validator=attrs.validators.instance_of(ssl.SSLContext))
    server_side: bool = True
    server_hostname: str | None = None
    reuse: SessionReuse = attrs.field(
        default=SessionReuse.WANTED, validator=attrs.validators.instance_of(SessionReuse)
    )
    strict_close: bool = True

    def __attrs_post_init__(self) -> None:
        other = ssl.PROTOCOL_TLS_CLIENT if self.server_side else ssl.PROTOCOL_TLS_SERVER
        if self.context.protocol == other:
            side = "server" if self.server_side else "client"
            raise ValueError(f"expected the context of a {side}, not {self.context.protocol!r}")
        # ssl.SSLSocket refuses this; ssl.SSLObject would accept a certificate for any name.
        if not self.server_side and self.context.check_hostname and not self.server_hostname:
            raise ValueError("check_hostname requires server_hostname")

    @classmethod
    def for_server(
        cls,
        context: ssl.SSLContext,
        *,
        reuse: SessionReuse = SessionReuse.WANTED,
        strict_close: bool = True,
    ) -> DataTLS:
        """Take over the context of a control connection whose handshake is done.

        From now on the context refuses clients that offer foreign application
        protocols only. It sends one ticket on each data connection if the session
        must be resumed, for the client's next data connection, and none otherwise.

        Args:
            context: The context of this control session alone
                (`ServerCertificate.session_context`).
            reuse: Whether its session must be resumed.
            strict_close: False serves clients that are known never to send a
                close_notify; their cut uploads look like complete ones.

        Raises:
            TypeError: See `DataTLS`.
            ValueError: The context is a client's.
        """

        check_call(DataTLS.for_server, locals())
        made = cls(context=context, reuse=reuse, strict_close=strict_close)
        context.num_tickets = 1 if reuse is SessionReuse.REQUIRED else 0
        context.set_alpn_protocols(list(FTP_PROTOCOLS))
        context.sslobject_class = _ServerObject
        if reuse is SessionReuse.OFF:
            context.options |= ssl.OP_NO_TICKET

        return made

    @classmethod
    def for_client(
        cls,
        context: ssl.SSLContext,
        *,
        session: ssl.SSLSession | None,
        server_hostname: str | None = None,
        reuse: SessionReuse = SessionReuse.WANTED,
        strict_close: bool = True,
    ) -> DataTLS:
        """Resume the session of a control connection.

        Args:
            context: The context of the control connection, of this session alone.
            session: ``ssl_object.session`` of the control connection, read
                after its first reply: TLS 1.3 sends tickets after the
                handshake.
            server_hostname: As for the control connection.
            reuse: Whether the server must accept the session.
            strict_close: Whether an end of file without close_notify counts as a cut.

        Raises:
            TypeError: See `DataTLS`; or `session` is not an `ssl.SSLSession`.
            ValueError: See `DataTLS`; or the session must be resumed and is not
                given, or it belongs to another context.
        """

        check_call(DataTLS.for_client, locals())
        made = cls(
            context=context,
            server_side=False,
            server_hostname=server_hostname,
            reuse=reuse,
            strict_close=strict_close,
        )
        if session is None and reuse is SessionReuse.REQUIRED:
            raise ValueError("a session must be resumed, and none is given")

        before, context.sslobject_class = context.sslobject_class, _LeavingObject
        try:
            # This refuses now what ssl would refuse at the first connection.
            context.wrap_bio(
                ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=server_hostname, session=session
            )
        except BaseException:
            context.sslobject_class = before
            raise

        if session is not None and reuse is not SessionReuse.OFF:

            class Resuming(_LeavingObject):
                @classmethod
                def _create(cls, *args: Any, **options: Any) -> Any:
                    return super()._create(*args, **{**options, "session": session})

            context.sslobject_class = Resuming

        return made

    def renew_ticket(self, control: ssl.SSLObject) -> bool:
        """Send the client a new ticket for a further data connection, in TLS 1.3.

        Call this once for each data connection, before the reply that ends its
        transfer. If resumption is required, a client that uses a ticket only once and
        closes its uploads without reading (curl) could otherwise protect no data
        connection after an upload: it has not read the ticket of that connection. If
        resumption is not required, nothing is done.

        TLS sends a ticket after every authentication of the client, and Python has
        no other way to send one on an established connection. So the next data that
        are sent carry a request for a certificate. The client answers that it has
        none, and the ticket is sent as soon as that answer is read (RFC 8446 §4.6).
        A client that does have a certificate, for which the host has never asked,
        sends it and is cut off, since the server cannot verify it: it needs
        `SessionReuse.WANTED`.

        Args:
            control: ``ssl_object`` of the control connection; its context was
                made by `ServerCertificate.session_context`.

        Returns:
            Whether there will be a ticket. There is none in TLS 1.2, which does not
            need it; for a client that does not allow the request; and while another
            one is under way.
        """

        if self.reuse is not SessionReuse.REQUIRED or not self.server_side:
            return False

        try:
            control.verify_client_post_handshake()
        except (ssl.SSLError, NotImplementedError):
            return False

        return True

    def refusal(self, tls: ssl.SSLObject) -> str | None:
        """Return why a connection whose handshake is done is refused, or None."""

        if self.reuse is SessionReuse.REQUIRED and not tls.session_reused:
            return "the data connection must resume the TLS session of its control connection"

        return None


class _LeavingObject(ssl.SSLObject):
    """An SSLObject whose session outlives it."""

    _has_announced: bool
    _received: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO

    @classmethod
    def _create(cls, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **options: Any) -> Any:
        self = super()._create(incoming, outgoing, **options)  # type: ignore[misc]
        self._received = incoming
        self._outgoing = outgoing
        self._has_announced = False
        return self

    def unwrap(self) -> None:
        """Announce the end."""

        self._has_announced = True
        super().unwrap()

    def leave(self) -> None:
        """Keep the session valid although its connection is gone, however it ended.

        OpenSSL forgets a session whose connection was not shut down, and a client
        that resumes by session identifier, not by ticket (curl, in TLS 1.2), could
        not protect its next data connection. The bytes that this makes are dropped.
        """

        if self._has_announced:
            return

        # OpenSSL would take unread data for an error.
        self._received.read()
        with contextlib.suppress(ssl.SSLError, ValueError):
            while self.read(LEFT_OVER):
                pass
        with contextlib.suppress(ssl.SSLError, ValueError):
            self.unwrap()


class _ServerObject(_LeavingObject):
    """An SSLObject that looks at the ClientHello before the handshake begins."""

    needs_details = False
    _incoming: ssl.MemoryBIO | None
    _seen: bytes
    _looked_at: int

    @classmethod
    def _create(cls, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **options: Any) -> Any:
        self = super()._create(incoming, outgoing, **options)
        self._incoming = incoming
        self._seen = b""
        self._looked_at = 0
        return self

    def do_handshake(self) -> None:
        """Go on with the handshake, unless the client wants something other than FTP."""

        if self._incoming is not None and self._incoming.pending:
            # The only way to look into a MemoryBIO is to read it and write the data back.
            data = self._incoming.read()
            self._incoming.write(data)
            self._look_at(data)

        super().do_handshake()

    def _look_at(self, data: bytes) -> None:
        self._seen += data
        self._looked_at += len(self._seen)
        if self._looked_at > MOST_LOOKED_AT:
            raise ssl.SSLError("the ClientHello comes in too many pieces")

        if not self.needs_details and not may_offer_protocols(self._seen):
            self._incoming, self._seen = None, b""
            return

        try:
            hello = parse_client_hello(self._seen)
        except InvalidData:
            # OpenSSL sends the right alert for it.
            hello = ClientHello()

        if hello is None:
            return

        offered = [name.decode("latin-1") for name in hello.protocols]
        if offered and not set(offered) & set(FTP_PROTOCOLS):
            raise ssl.SSLError(f"the client offers foreign protocols only: {offered!r:.80}")

        self._meet(hello)
        self._incoming, self._seen = None, b""

    def _meet(self, hello: ClientHello) -> None:
        """Get ready for this client."""


class _ControlObject(_ServerObject):
    """An SSLObject that can ask a client for a certificate later, if the client allows it.

    See `DataTLS.renew_ticket`. The setting must not stand in the session's context,
    which would ask clients of TLS 1.2 at once; and it cannot be set on an existing
    object.
    """

    needs_details = True
    _context: ssl.SSLContext
    _sslobj: Any

    @classmethod
    def _create(cls, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **options: Any) -> Any:
        self = super()._create(incoming, outgoing, **options)
        self._context = options["context"]
        return self

    def _meet(self, hello: ClientHello) -> None:
        context = self._context
        if (
            not hello.allows_post_handshake_auth
            or context.verify_mode is not ssl.CERT_NONE
            or not _speaks_tls_1_3(context)
        ):
            return

        assert self._incoming is not None
        context.verify_mode, context.post_handshake_auth = ssl.CERT_OPTIONAL, True
        try:
            again: Any = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        finally:
            context.verify_mode, context.post_handshake_auth = ssl.CERT_NONE, False

        self._sslobj = again._sslobj  # noqa: SLF001 - another object of this class
        self._sslobj.owner = self
        # The previous object may have taken a part of it.
        self._incoming.read()
        self._incoming.write(self._seen)


def _speaks_tls_1_3(context: ssl.SSLContext) -> bool:
    latest = {ssl.TLSVersion.MAXIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_3}
    return context.maximum_version in latest and not context.options & ssl.OP_NO_TLSv1_3


def negotiation_failed(reason: BaseException | str) -> TLSNegotiationFailed:
    """Make the error of a data connection that could not be protected. Reply 522."""

    words = reason if isinstance(reason, str) else (str(reason) or type(reason).__name__)
    return TLSNegotiationFailed(
        f"{End.HANDSHAKE_FAILED.value}: {words}", end=End.HANDSHAKE_FAILED
    )
