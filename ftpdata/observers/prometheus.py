"""Metrics for Prometheus. Needs the package prometheus-client: ``pip install ftpdata[prometheus]``.

- ``ftpdata_transfers_total``, by ``direction`` and ``end``: transfers that have ended; ``end``
  is the name of an `End` in lower case;
- ``ftpdata_file_bytes_total``, by ``direction``: bytes of files, before encoding;
- ``ftpdata_transfer_duration_seconds``, by ``direction``: a histogram;
- ``ftpdata_transfers_active``, by ``direction``: transfers that run, or wait for their
  connection;
- ``ftpdata_listeners_in_use``: endpoints that wait for their connection, and
  ``ftpdata_listeners_limit``: how many there may be, if the host has said so;
- ``ftpdata_strangers_total``: connections that were refused;
- ``ftpdata_refusals_total``, by ``end``: endpoints that were not made.
"""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from .._checks import check_call, check_range
from ..addresses import HostPort
from ..errors import FTPDataError
from ..outcome import End, TransferResult
from .contract import Observer, Subject, Transfer

__all__ = ["PrometheusObserver"]

DURATIONS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0, 1800.0, 7200.0)
"""Seconds, the upper bounds of the histogram."""


class PrometheusObserver(Observer):
    """Counts transfers, bytes, listeners and strangers for Prometheus.

    A registry takes one of them. In prometheus-client's multiprocess mode, the gauges are sums over
    the processes that live.

    Args:
        registry: Where the metrics are registered; by default the one of the process.
        by_user: Whether the metrics of transfers have a label ``user``, which is
            `Subject.user`. Each user is a time series of its own, so this is for hosts with
            few users; anonymous users are one.
        listeners_limit: How many listeners there may be, if that is known.
        durations: Upper bounds of the histogram of durations, in seconds.

    Raises:
        ValueError: The registry has such metrics already; or the bounds do not increase.
    """

    def __init__(
        self,
        *,
        registry: CollectorRegistry | None = None,
        by_user: bool = False,
        listeners_limit: int | None = None,
        durations: tuple[float, ...] = DURATIONS,
    ) -> None:
        check_call(PrometheusObserver.__init__, locals())
        check_range("listeners_limit", listeners_limit, 0)
        to = REGISTRY if registry is None else registry
        self._by_user = by_user
        labels = ["direction", "user"] if by_user else ["direction"]
        self._transfers = Counter(
            "ftpdata_transfers_total", "Transfers that have ended", [*labels, "end"], registry=to
        )
        self._bytes = Counter(
            "ftpdata_file_bytes_total", "Bytes of files, before encoding", labels, registry=to
        )
        self._durations = Histogram(
            "ftpdata_transfer_duration_seconds",
            "Seconds from the connection of a transfer to its end",
            labels,
            registry=to,
            buckets=durations,
        )
        self._active = Gauge(
            "ftpdata_transfers_active",
            "Transfers that run, or wait for their connection",
            labels,
            registry=to,
            multiprocess_mode="livesum",
        )
        self._listeners = Gauge(
            "ftpdata_listeners_in_use",
            "Endpoints that wait for their connection",
            registry=to,
            multiprocess_mode="livesum",
        )
        if listeners_limit is not None:
            Gauge(
                "ftpdata_listeners_limit",
                "Endpoints that may wait for their connection at a time",
                registry=to,
                multiprocess_mode="livesum",
            ).set(listeners_limit)
        self._strangers = Counter(
            "ftpdata_strangers_total", "Connections that were refused", registry=to
        )
        self._refusals = Counter(
            "ftpdata_refusals_total", "Endpoints that were not made", ["end"], registry=to
        )

    def listening(self, address: HostPort) -> None:
        """Count it."""

        self._listeners.inc()

    def released(self, address: HostPort) -> None:
        """Count it."""

        self._listeners.dec()

    def stranger(self, address: HostPort, host: str, reason: str) -> None:
        """Count it."""

        self._strangers.inc()

    def refused(self, error: FTPDataError) -> None:
        """Count it."""

        self._refusals.labels(end=(error.end or End.OPEN_FAILED).name.lower()).inc()

    def started(self, transfer: Transfer) -> None:
        """Count it."""

        self._active.labels(**self._labels(transfer)).inc()

    def ended(
        self, transfer: Transfer, result: TransferResult, error: BaseException | None
    ) -> None:
        """Count it."""

        labels = self._labels(transfer)
        self._active.labels(**labels).dec()
        self._transfers.labels(**labels, end=result.end.name.lower()).inc()
        self._bytes.labels(**labels).inc(result.file_bytes)
        self._durations.labels(**labels).observe(result.seconds)

    def _labels(self, transfer: Transfer) -> dict[str, str]:
        labels = {"direction": transfer.direction.value}
        if self._by_user:
            subject = transfer.subject or Subject()
            labels["user"] = "anonymous" if subject.is_anonymous else subject.user or ""
        return labels
