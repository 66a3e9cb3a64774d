r"""Several processes of the reference server on one host, run by gunicorn.

gunicorn (23 or later) listens, starts the workers, starts new ones for those that end, and
reloads; each worker is a whole server that shares the listening socket with the others::

    gunicorn --workers 2 --bind 0.0.0.0:2121 --graceful-timeout 60 \
        --worker-class examples.server.gunicorn_worker.FTPWorker \
        'examples.server.gunicorn_worker:serving("/srv/ftp", "--anonymous", \
            "--passive-ports", "50000-50199")'

- The arguments are those of ``python -m examples.server``, but for ``--host``, ``--port``,
  ``--fd``, ``--grace`` and ``--live``: gunicorn listens (``--bind``), and gives the workers time
  to end (``--graceful-timeout``).
- TERM to gunicorn drains the workers; HUP starts new ones first, and then drains the old ones:
  nobody is refused meanwhile. A worker that is killed breaks its own transfers only.
- Passive ports are of one worker. While gunicorn reloads there are twice as many workers, so
  the range is divided by twice their number; a worker gives its slice back when it has ended.
- The limits of sessions hold over all workers. Wrong passwords are counted by each worker, unless
  ``--cluster`` counts both over all nodes.
- With ``--metrics``, set ``PROMETHEUS_MULTIPROC_DIR``: the page is of all workers then.
- gunicorn's USR2 (a second gunicorn beside the first) would use the same passive ports: let
  systemd hold the listening socket instead, and start anew.
- What a second worker gives depends on the cores that are left for it:
  ``tests/benchmarks/results.md`` has figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from typing import IO, Any, ClassVar

import anyio
import attrs
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from ftpdata import PortRange

from .command_line import CommandLine
from .places import HostLocks, HostPlaces
from .server import Server
from .settings import Settings
from .store import Store

__all__ = ["FTPWorker", "Serving", "serving", "slice_of"]

ENDING = 0.8
"""The part of gunicorn's graceful timeout that running transfers have; then they are cut."""

NOTICE = 1.0
"""Seconds between two signs of life for gunicorn."""


@attrs.frozen
class Serving:
    """What the workers serve: a command line of ``python -m examples.server``."""

    arguments: tuple[str, ...]

    def __call__(self, *_: object) -> None:
        """Refuse to be called: gunicorn wants its applications callable."""

        raise TypeError(f"this is no WSGI application: it needs {FTPWorker.__qualname__}")


def serving(*arguments: str) -> Serving:
    """Return what gunicorn is to serve; see the module."""

    return Serving(arguments)


def slice_of(ports: PortRange, number: int, count: int) -> PortRange:
    """Return one of `count` slices of a range of ports, as large as the others or one larger.

    Raises:
        ValueError: There are more slices than ports.
    """

    if len(ports) < count:
        raise ValueError(f"expected at least {count} passive ports, not {len(ports)}")

    ends = [ports.first + len(ports) * part // count for part in (number, number + 1)]
    return PortRange(ends[0], ends[1] - 1)


class FTPWorker(Worker):  # type: ignore[misc]
    """A worker of gunicorn that is an FTP server."""

    # Made before the first fork, so that all generations of workers share it.
    _shared: ClassVar[IO[bytes] | None] = None

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        if FTPWorker._shared is None:
            FTPWorker._shared = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as gunicorn

    def load_wsgi(self) -> None:
        """Read the command line. A mistake in it would only come again: it ends gunicorn."""

        super().load_wsgi()
        try:
            self._line = CommandLine.parse(self.wsgi.arguments)
            if self._line.options.live or self._line.options.fd is not None:
                self._line.fail("gunicorn's workers have neither --live nor --fd")
        except SystemExit:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    def init_signals(self) -> None:
        """Leave the signals to the event loop, but for those of gunicorn's own."""

        super().init_signals()
        signal.set_wakeup_fd(-1)

    def run(self) -> None:
        """Serve until gunicorn says that it is enough."""

        line = self._line
        line.set_up_logging()
        with contextlib.ExitStack() as stack:
            settings = line.settings(line.observer(stack))
            store = stack.enter_context(contextlib.closing(line.open_store()))
            anyio.run(
                self._serve,
                store,
                settings,
                backend_options={"use_uvloop": line.options.loop == "uvloop"},
            )

    async def _serve(self, store: Store, settings: Settings) -> None:
        assert self._shared is not None
        locks = HostLocks(self._shared.fileno())
        slot = await self._slot(locks)
        ports = settings.passive_ports
        settings = attrs.evolve(
            settings,
            grace=self.cfg.graceful_timeout * ENDING,
            passive_ports=None if ports is None else slice_of(ports, slot, self._slots),
            places=HostPlaces(locks, settings.max_sessions, settings.max_sessions_per_address),
        )
        async with self._line.joined(settings) as of_all_nodes:
            await self._run(Server(store, of_all_nodes))

    async def _run(self, server: Server) -> None:
        async with anyio.create_task_group() as tasks:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, server.stop)
            for number in (signal.SIGINT, signal.SIGQUIT):
                loop.add_signal_handler(number, tasks.cancel_scope.cancel)
            tasks.start_soon(self._give_signs_of_life, server)
            await server.run(listener=[each.sock for each in self.sockets])
            tasks.cancel_scope.cancel()

    @property
    def _slots(self) -> int:
        # Two generations live at once while gunicorn reloads.
        return 2 * int(self.cfg.workers)

    async def _slot(self, locks: HostLocks) -> int:
        """Take a number that no other worker has; wait for one if a generation still ends."""

        while (slot := locks.take(0, self._slots)) is None:
            self.notify()
            await anyio.sleep(NOTICE)
        return slot

    async def _give_signs_of_life(self, server: Server) -> None:
        """Tell gunicorn that the event loop runs; end when gunicorn has."""

        while os.getppid() == self.ppid:
            self.notify()
            await anyio.sleep(NOTICE)
        server.stop()
