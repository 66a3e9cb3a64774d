"""Observers: they see everything that transfers and their endpoints do, without taking part.

An observer is given to an endpoint, a listener or a pool, and from then on no call needs an
argument for it. It learns when a transfer starts, that it goes on, and how it ended, also
if it was cancelled; when an endpoint listens, and when a stranger is refused. What it
raises is logged once and changes no transfer. This one notes what clients have got::

    import asyncio

    from ftpdata import connect_active, listen_passive, receive_stream, send_file
    from ftpdata.observers import Observer, Subject

    class Notes(Observer):
        def __init__(self):
            self.lines = []

        def ended(self, transfer, result, error):
            self.lines.append(f"{transfer.subject.user}: {result.end.value}")

    async def main():
        notes = Notes()
        server = await listen_passive("127.0.0.1", control_peer="127.0.0.1", observer=notes)
        server.subject = Subject(command="RETR", name="/README.md", user="ann")
        client = connect_active(server.address, control_peer="127.0.0.1")

        async def download():
            async for _ in receive_stream(client):
                pass

        await asyncio.gather(send_file(server, "README.md"), download())
        assert notes.lines == ["ann: complete"]

    asyncio.run(main())

An observer overrides the methods of `Observer` that it needs.

## A veto

Only one method can change a transfer: `Observer.before_publish` is asked before an upload gets
its name, for instance to look for viruses, and may raise `ftpdata.errors.UploadVetoed`::

    import tempfile
    from pathlib import Path

    from ftpdata import FTPDataError, receive_file
    from ftpdata.errors import UploadVetoed

    class Scanner(Observer):
        async def before_publish(self, transfer, upload):
            def has_virus():
                with open(upload.fd, "rb", closefd=False) as file:
                    return b"virus" in file.read()

            if await asyncio.to_thread(has_virus):
                raise UploadVetoed("a virus", reply_text="The file has a virus")

    async def upload(directory):
        server = await listen_passive("127.0.0.1", control_peer="127.0.0.1", observer=Scanner())
        stor = asyncio.create_task(receive_file(server, directory / "file"))
        client = await connect_active(server.address, control_peer="127.0.0.1").open()
        client.write(b"a virus")
        await client.finish()
        try:
            await stor
        except FTPDataError as error:
            assert error.reply == "550 The file has a virus."
        assert not (directory / "file").exists()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(upload(Path(directory)))

It reads an upload into a file before that is renamed, and one into another `UploadTarget`, such
as an object of a store, if a `ftpdata.files.SpooledTarget` keeps a copy of it.

## Metrics

This counts what passes for Prometheus; ``pip install ftpdata[prometheus]``. An `ObserverGroup` is
several observers in the place of one::

    from prometheus_client import CollectorRegistry, generate_latest

    from ftpdata.observers import LoggingObserver, ObserverGroup
    from ftpdata.observers.prometheus import PrometheusObserver

    async def counted():
        registry = CollectorRegistry()
        observer = ObserverGroup(PrometheusObserver(registry=registry), LoggingObserver())
        server = await listen_passive("127.0.0.1", control_peer="127.0.0.1", observer=observer)
        client = connect_active(server.address, control_peer="127.0.0.1")

        async def download():
            async for _ in receive_stream(client):
                pass

        await asyncio.gather(send_file(server, "README.md"), download())
        page = generate_latest(registry).decode()  # what Prometheus fetches
        assert 'ftpdata_transfers_total{direction="sent",end="clean"} 1.0' in page

    asyncio.run(counted())

The pieces:

- `contract`: `Observer`; `Transfer`, what it sees of one; `Subject`, what the host knows
  of a transfer; `Upload`, what may be vetoed;
- `ObserverGroup` (in `group`): several observers in the place of one;
- `QueuedObserver` (in `queued`): for an observer that writes to a file or a network;
- `PublishedObserver` (in `published`): a coroutine function for every upload that has its
  name, awaited before the client's reply, or in a task group of the host's;
- `LoggingObserver` (in `log`): one line a transfer, logger ``ftpdata.transfers``;
- `XferlogObserver` (in `xferlog`): the transfer log of wu-ftpd;
- `prometheus.PrometheusObserver`: metrics, with ``pip install ftpdata[prometheus]``;
- `opentelemetry.OpenTelemetryObserver`: spans, with ``pip install ftpdata[otel]``.

## Loggers

- ``ftpdata.transfers``: transfers that failed, with a traceback if this side has; with a
  `LoggingObserver`, all;
- ``ftpdata.opening.passive``, ``ftpdata.opening.pool``: connections that were refused, and ports
  that are lost;
- ``ftpdata.opening.drain``: connections that were cut, since they did not end in time;
- ``ftpdata.opening.nat``: addresses that clients cannot reach;
- ``ftpdata.observers``: observers that have failed or are too slow;
- ``ftpdata.examples.server``, ``ftpdata.examples.server.trace``: the reference server's sessions
  and commands, and what its ``--trace`` tells;
- ``ftpdata.examples.minimal_server``, ``ftpdata.examples.camera_gateway``,
  ``ftpdata.examples.proxy``: the sessions of these examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .contract import Observer, Subject, Transfer, Upload
    from .group import ObserverGroup
    from .log import LoggingObserver
    from .published import PublishedObserver
    from .queued import QueuedObserver
    from .xferlog import XferlogObserver

__all__ = [
    "LoggingObserver",
    "Observer",
    "ObserverGroup",
    "PublishedObserver",
    "QueuedObserver",
    "Subject",
    "Transfer",
    "Upload",
    "XferlogObserver",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "contract": ("Observer", "Subject", "Transfer", "Upload"),
            "group": ("ObserverGroup",),
            "log": ("LoggingObserver",),
            "published": ("PublishedObserver",),
            "queued": ("QueuedObserver",),
            "xferlog": ("XferlogObserver",),
        },
    )
