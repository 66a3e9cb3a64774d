"""What a loss means depends on what the transport reports and on the data in flight."""

from __future__ import annotations

import errno
import ssl
from typing import Any

import pytest

from ftpdata.connection._loss import classify_loss, is_truncated
from ftpdata.connection._wire import Wire
from ftpdata.outcome import End
from tests.harness.dtps import RESET


class TLS:
    """A TLS stream whose end was announced, or was not."""

    def __init__(self, has_close_notify: bool) -> None:
        self._has_close_notify = has_close_notify

    def read(self, _: int) -> bytes:
        """Read the end."""

        if self._has_close_notify:
            return b""
        raise ssl.SSLWantReadError


class Delivery:
    """Knows whether the peer has everything."""

    def __init__(self, undelivered: int | None, has_everything: bool) -> None:
        self.undelivered = undelivered
        self.has_everything = has_everything


ANNOUNCED, BARE = TLS(True), TLS(False)
ALL, SOME, UNKNOWN = Delivery(0, True), Delivery(1, False), Delivery(None, False)


@pytest.mark.parametrize(
    ("exc", "tls", "delivery", "is_sending", "eof_received", "end"),
    [
        # The error decides, whatever was in flight.
        (RESET, None, None, False, True, End.RESET),
        (BrokenPipeError(), None, None, True, False, End.RESET),
        (OSError(errno.ENOTCONN, ""), None, UNKNOWN, False, False, End.RESET),
        (OSError(errno.ETIMEDOUT, ""), None, None, False, False, End.LOST),
        (ValueError(), ANNOUNCED, ALL, False, False, End.LOST),
        # A TLS client need not read the close_notify.
        (RESET, ANNOUNCED, ALL, False, False, End.CLEAN),
        (RESET, ANNOUNCED, SOME, False, False, End.RESET),
        # The loss comes after our end of file.
        (None, ANNOUNCED, SOME, False, False, End.LOST),
        (None, ANNOUNCED, ALL, False, False, End.CLEAN),
        (None, None, UNKNOWN, False, False, End.CLEAN),
        # The loss comes before it.
        (None, None, None, True, True, End.LOST),
        (None, None, None, False, True, End.CLEAN),
        (None, None, None, False, False, End.ABORTED),
        (None, ANNOUNCED, None, False, False, End.CLEAN),
        (None, BARE, None, False, False, End.TLS_TRUNCATED),
    ],
)
def test_what_a_loss_means(
    *,
    exc: Exception | None,
    tls: Any,
    delivery: Any,
    is_sending: bool,
    eof_received: bool,
    end: End,
) -> None:
    """Each loss has one end; the message adds what the end and the error do not say."""

    wire = Wire()
    wire.tls = tls
    wire.eof_received = eof_received
    wire.delivery = delivery
    wire.has_writer = is_sending
    found, message = classify_loss(exc, wire, strict_close=True)
    assert found is end
    assert (message is None) == (
        exc is not None or end in {End.CLEAN, End.TLS_TRUNCATED}
    )


@pytest.mark.parametrize(
    ("tls", "strict_close", "truncated"),
    [
        (None, True, False),
        (ANNOUNCED, True, False),
        (BARE, True, True),
        (BARE, False, False),
    ],
)
def test_an_end_that_tls_has_not_announced(tls: Any, strict_close: bool, truncated: bool) -> None:
    """It is a cut, unless the host serves clients that never announce it."""

    wire = Wire()
    wire.tls = tls
    assert is_truncated(wire, strict_close=strict_close) is truncated
