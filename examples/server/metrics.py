"""The page of metrics that Prometheus reads: ``--metrics [HOST:]PORT``.

If ``PROMETHEUS_MULTIPROC_DIR`` is set, several processes count in files there (prometheus-client's
multiprocess mode). One of them has the page, which is of all; when it ends, another takes it over.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

__all__ = ["metrics_page"]

logger = logging.getLogger("ftpdata.examples.server")

RETRY = 1.0
"""Seconds between two attempts to take over the page."""


@contextlib.contextmanager
def metrics_page(host: str, port: int, registry: CollectorRegistry) -> Iterator[None]:
    """Serve the page in a thread.

    Args:
        host: The address to listen on.
        port: The port.
        registry: What this process counts.

    Raises:
        OSError: It cannot listen there; among several processes, for another reason than that
            one of them does.
        UnicodeError: The host cannot be a name.
    """

    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if directory is None:
        with _page(host, port, registry):
            yield
        return

    together = CollectorRegistry()
    counted = MultiProcessCollector(None, directory)  # type: ignore[no-untyped-call]
    together.register(_Living(Path(directory), counted))
    is_over = threading.Event()
    thread = threading.Thread(
        target=_take_turns, args=(host, port, together, is_over), name="metrics", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        mark_process_dead(os.getpid(), directory)  # type: ignore[no-untyped-call]


def _take_turns(
    host: str, port: int, registry: CollectorRegistry, is_over: threading.Event
) -> None:
    while not is_over.is_set():
        try:
            with _page(host, port, registry):
                is_over.wait()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                logger.exception("there is no page of metrics")
                return
            is_over.wait(RETRY)


@contextlib.contextmanager
def _page(host: str, port: int, registry: CollectorRegistry) -> Iterator[None]:
    page, thread = start_http_server(port, host, registry)
    shown = f"[{host}]" if ":" in host else host
    logger.info("metrics on http://%s:%d/metrics", shown, page.server_port)
    try:
        yield
    finally:
        page.shutdown()
        page.server_close()
        thread.join()


class _Living(Collector):
    """Leaves out what a killed process was doing: its files say so for ever."""

    def __init__(self, directory: Path, below: Collector) -> None:
        self._directory = directory
        self._below = below

    def collect(self) -> Iterable[Metric]:
        """See prometheus-client."""

        for file in self._directory.glob("gauge_live*.db"):
            found = re.fullmatch(r".*_(\d+)\.db", file.name)
            if found and not _lives(int(found[1])):
                mark_process_dead(  # type: ignore[no-untyped-call]
                    int(found[1]), str(self._directory)
                )
        return self._below.collect()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # It is another user's, and so is its number by now, perhaps.
        pass
    return True
