"""The observers of a server's transfers: a log, a page of metrics, a screen.

These options of the command line are made of the observers of `ftpdata.observers`:
``--metrics [HOST:]PORT`` is a page for Prometheus (on this machine only unless there is a host),
``--xferlog FILE`` the transfer log of wu-ftpd, opened again when it was rotated; ``--trace`` logs
sizes and times of all that goes over each connection, never content or passwords; and ``--live``
shows what runs on the screen.
"""

from __future__ import annotations

import argparse
import contextlib
import logging

from ftpdata import FTPDataError, HostPort, TransferResult
from ftpdata.observers import Observer, ObserverGroup, QueuedObserver, Transfer, XferlogObserver

__all__ = ["TraceObserver", "observing"]

logger = logging.getLogger("ftpdata.examples.server")
trace = logging.getLogger("ftpdata.examples.server.trace")


def observing(options: argparse.Namespace, stack: contextlib.ExitStack) -> Observer | None:
    """Make the observer that the options of the command line want.

    Args:
        options: ``xferlog``, ``metrics``, ``trace`` and ``live``.
        stack: Ends it.

    Returns:
        The observer; None if nobody wants to know anything.

    Raises:
        OSError: The file cannot be opened, or the port is taken.
        UnicodeError: The host of ``metrics`` cannot be a name.
        ImportError: A package is missing: prometheus-client for ``metrics``, rich for ``live``.
    """

    observers: list[Observer] = []
    if options.xferlog is not None:
        log = stack.enter_context(XferlogObserver(options.xferlog))
        observers.append(stack.enter_context(QueuedObserver(log)))
    if options.metrics is not None:
        observers.append(_metrics(options, stack))
    if options.trace:
        trace.setLevel(logging.DEBUG)
        observers.append(TraceObserver())
    if options.live:
        from .live import LiveObserver  # noqa: PLC0415 - it needs a package of its own

        observers.append(stack.enter_context(LiveObserver()))

    return ObserverGroup(*observers) if observers else None


def _metrics(options: argparse.Namespace, stack: contextlib.ExitStack) -> Observer:
    """Count for Prometheus, and serve the page that it reads, in a thread."""

    # They need a package of their own.
    from prometheus_client import CollectorRegistry  # noqa: PLC0415

    from ftpdata.observers.prometheus import PrometheusObserver  # noqa: PLC0415

    from .metrics import metrics_page  # noqa: PLC0415

    registry, ports = CollectorRegistry(), options.passive_ports
    observer = PrometheusObserver(
        registry=registry, listeners_limit=None if ports is None else len(ports)
    )
    host, port = options.metrics
    stack.enter_context(metrics_page(host, port, registry))
    return observer


class TraceObserver(Observer):
    """Logs what happens on each data connection: sizes and times, never content.

    On level DEBUG of the logger ``ftpdata.examples.server.trace``.
    """

    def listening(self, address: HostPort) -> None:
        """Log it."""

        trace.debug("listening on %s", address)

    def released(self, address: HostPort) -> None:
        """Log it."""

        trace.debug("no longer listening on %s", address)

    def stranger(self, address: HostPort, host: str, reason: str) -> None:
        """Log it."""

        trace.debug("%s refused on %s: %s", host, address, reason)

    def refused(self, error: FTPDataError) -> None:
        """Log it."""

        trace.debug("no data connection: %s", error.message)

    def started(self, transfer: Transfer) -> None:
        """Log it."""

        trace.debug("%s: began at offset %d", _name(transfer), transfer.offset)

    def progressed(self, transfer: Transfer) -> None:
        """Log it."""

        trace.debug(
            "%s: %d bytes of the file after %.3f s",
            _name(transfer),
            transfer.file_bytes,
            transfer.seconds,
        )

    def ended(
        self, transfer: Transfer, result: TransferResult, error: BaseException | None
    ) -> None:
        """Log it."""

        trace.debug(
            "%s: %s, %d bytes, %d of the file, %.3f s, way %s, TLS %s, peer %s",
            _name(transfer),
            result.end.value,
            result.bytes,
            result.file_bytes,
            result.seconds,
            result.fast_path.value,
            result.tls_version or "none",
            result.peer or "unknown",
        )


def _name(transfer: Transfer) -> str:
    subject = transfer.subject
    session, command = ("", "") if subject is None else (subject.session, subject.command)
    return f"{session} transfer {transfer.number} ({command})"
