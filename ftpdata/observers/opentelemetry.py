"""Spans for OpenTelemetry. Needs its interface only: ``pip install ftpdata[otel]``."""

from __future__ import annotations

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, get_tracer

from .._checks import check_call
from ..outcome import TransferResult
from .contract import Observer, Transfer

__all__ = ["OpenTelemetryObserver"]


class OpenTelemetryObserver(Observer):
    """Makes a span of each transfer, from its call to its end.

    The parent is the span that is current where the transfer is called for. The attributes
    are ``network.protocol.name`` (``ftp``), ``network.peer.address`` and
    ``network.peer.port``, ``ftpdata.direction``, ``ftpdata.end``, ``ftpdata.reply_code``,
    ``ftpdata.bytes``, ``ftpdata.file_bytes``, ``ftpdata.offset``; ``error.type`` if it did not
    end cleanly; and with a `Subject`, ``file.path``, ``user.name`` and ``ftpdata.command``.

    Args:
        tracer: Makes the spans; by default that of the global provider.
    """

    def __init__(self, tracer: Tracer | None = None) -> None:
        check_call(OpenTelemetryObserver.__init__, locals())
        self._tracer = get_tracer("ftpdata") if tracer is None else tracer
        self._spans: dict[int, Span] = {}

    def started(self, transfer: Transfer) -> None:
        """Begin its span."""

        subject = transfer.subject
        command = None if subject is None else subject.command
        span = self._tracer.start_span(
            command or f"ftp {transfer.direction.value}", kind=SpanKind.SERVER
        )
        self._spans[transfer.number] = span
        facts: dict[str, str | None] = {
            "network.protocol.name": "ftp",
            "ftpdata.direction": transfer.direction.value,
        }
        if subject is not None:
            facts |= {
                "file.path": subject.name,
                "user.name": subject.user,
                "ftpdata.command": command,
            }
        span.set_attributes({name: value for name, value in facts.items() if value is not None})

    def ended(
        self, transfer: Transfer, result: TransferResult, error: BaseException | None
    ) -> None:
        """End its span."""

        span = self._spans.pop(transfer.number)
        if transfer.peer is not None:
            span.set_attribute("network.peer.address", transfer.peer.host)
            span.set_attribute("network.peer.port", transfer.peer.port)
        span.set_attributes({
            "ftpdata.end": result.end.name.lower(),
            "ftpdata.reply_code": result.reply_code,
            "ftpdata.bytes": result.bytes,
            "ftpdata.file_bytes": result.file_bytes,
            "ftpdata.offset": result.offset,
        })
        if not result.is_complete:
            name = result.end.name.lower() if error is None else type(error).__qualname__
            span.set_attribute("error.type", name)
            span.set_status(Status(StatusCode.ERROR, result.end.value))
        span.end()
