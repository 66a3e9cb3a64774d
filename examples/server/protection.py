"""The TLS of one session: what AUTH, PBSZ, PROT and CCC have brought about (RFC 4217)."""

from __future__ import annotations

import ssl

from ftpdata import DataTLS, SessionReuse

from .settings import Settings

__all__ = ["Protection"]


class Protection:
    """How the control connection and the data connections of a session are protected.

    TLS begins and ends after the reply to a command. The command asks for it
    (`begin_after_reply`, `end_after_reply`); the session then does it, and reports
    that (`began`).

    Args:
        settings: Of the server.

    Attributes:
        has_buffer_size: Whether PBSZ was said, as PROT requires it.
        protects_data: Whether PROT P was said.
        was_begun: Whether TLS protects the control connection, or did before CCC.
    """

    def __init__(self, settings: Settings) -> None:
        self.has_buffer_size: bool = False
        self.protects_data: bool = settings.implicit_tls
        self.was_begun: bool = False
        self._is_implicit = settings.implicit_tls
        self._reuse = (
            SessionReuse.REQUIRED if settings.require_session_reuse else SessionReuse.WANTED
        )
        self._data_tls: DataTLS | None = None
        self._context: ssl.SSLContext | None = None
        self._is_to_end = False

    @property
    def data_tls(self) -> DataTLS | None:
        """How data connections are protected, as PROT said; None for clear."""

        return self._data_tls if self.protects_data else None

    @property
    def is_to_switch(self) -> bool:
        """Whether the last command wants TLS to begin or to end."""

        return self._context is not None or self._is_to_end

    def begin_after_reply(self, context: ssl.SSLContext) -> None:
        """Let TLS begin after the reply (AUTH, or the connection itself on port 990)."""

        self._context = context

    def end_after_reply(self) -> None:
        """Let TLS end after the reply (CCC, REIN)."""

        self._is_to_end = True

    def take_switch(self) -> ssl.SSLContext | None:
        """Return the context that TLS is to begin with, None if it is to end; once."""

        context, self._context = self._context, None
        self._is_to_end = False
        return context

    def began(self, context: ssl.SSLContext) -> None:
        """Take note that the control connection is protected now."""

        self.was_begun = True
        self._data_tls = DataTLS.for_server(context, reuse=self._reuse)

    def forget(self) -> None:
        """Make everything as it was at the greeting (REIN).

        TLS that began with the connection is still there.
        """

        self.has_buffer_size = False
        self.protects_data = self._is_implicit
        self.was_begun = self._is_implicit
        if not self._is_implicit:
            self._data_tls = None
