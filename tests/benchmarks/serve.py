"""Start one of the measured servers that are written in Python.

``python -m tests.benchmarks.serve NAME PORT DIRECTORY [CERTIFICATE] [--throttled]``
serves DIRECTORY on 127.0.0.1, writable, for the user of `NAME` and `PASSWORD`,
and says ``ready`` when it does. ``start.sh PORT DIRECTORY [tls]`` is the same for benchmarks
of others. Every server is as its makers have set it up,
but for limits on the number of clients and for logging, which is off.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import logging
import os
import ssl
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

__all__ = ["NAME", "PASSWORD", "SERVERS", "main"]

NAME, PASSWORD = "bench", "bench"

PATIENCE = 1200.0
"""Seconds that a transfer may be stalled: the stalled ones of a measure must stay."""

RATE = 1e11
"""Bytes per second of a throttle that never holds anything back."""

CLIENTS = 4096


@attrs.frozen
class Options:
    """What a server is started with.

    Attributes:
        port: To listen on.
        directory: To serve.
        certificate: With its key, in PEM; None for a server without TLS.
        throttled: Whether transfers pass a throttle, set far above any rate.
    """

    port: int
    directory: Path
    certificate: Path | None
    throttled: bool


def _limit(options: Options) -> None:
    """Serve as fast as blocking calls can: uploads are copied."""

    from tests.benchmarks.limit import serve

    serve(options.port, options.directory, options.certificate, splice=False, ready=_ready)


def _limit_splice(options: Options) -> None:
    """The same, but uploads are spliced."""

    from tests.benchmarks.limit import serve

    serve(options.port, options.directory, options.certificate, splice=True, ready=_ready)


def _ftpdata(options: Options) -> None:
    """Serve with the reference server, on asyncio."""

    _reference_server(options, uvloop=False)


def _ftpdata_uvloop(options: Options) -> None:
    """Serve with the reference server, on uvloop."""

    _reference_server(options, uvloop=True)


def _reference_server(options: Options, *, uvloop: bool) -> None:
    import anyio

    from examples.server.accounts import PasswordTable
    from examples.server.disk import DiskStore
    from examples.server.server import Server
    from examples.server.settings import Settings
    from ftpdata import Deadlines, ServerCertificate

    certificate = options.certificate
    settings = Settings(
        accounts=PasswordTable([(NAME, PASSWORD)]),
        writable=True,
        max_sessions=CLIENTS,
        rate=RATE if options.throttled else None,
        certificate=None if certificate is None else ServerCertificate(certificate=certificate),
        deadlines=attrs.evolve(Deadlines(), stall=PATIENCE),
    )
    store = DiskStore(options.directory)

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            await tasks.start(Server(store, settings).run, "127.0.0.1", options.port)
            _ready()

    anyio.run(run, backend_options={"use_uvloop": uvloop})


def _pyftpdlib(options: Options) -> None:
    """Serve with pyftpdlib."""

    server = _pyftpdlib_server(options, "FTPServer")
    _ready()
    server.serve_forever(handle_exit=False)


def _pyftpdlib_server(options: Options, name: str) -> Any:
    """Return one of pyftpdlib's servers, which listens."""

    # asyncore, on Python 3.11
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyftpdlib import servers
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler, ThrottledDTPHandler, TLS_FTPHandler

    authorizer = DummyAuthorizer()
    authorizer.add_user(NAME, PASSWORD, str(options.directory), perm="elradfmwMT")
    handler = FTPHandler
    if options.certificate is not None:
        handler = TLS_FTPHandler
        handler.certfile = str(options.certificate)

    if options.throttled:
        ThrottledDTPHandler.read_limit = ThrottledDTPHandler.write_limit = RATE
        handler.dtp_handler = ThrottledDTPHandler

    handler.authorizer = authorizer
    handler.timeout = PATIENCE
    server = getattr(servers, name)
    server.max_cons = CLIENTS
    return server(("127.0.0.1", options.port), handler, backlog=1024)


def _aioftp(options: Options) -> None:
    """Serve with aioftp; its TLS is implicit."""

    import aioftp

    _serve_aioftp(aioftp.Server, options)


def _aioftp_ftpdata(options: Options) -> None:
    """Serve with aioftp on ftpdata's data connections, as the example has it."""

    from examples.aioftp_server import Server

    _serve_aioftp(Server, options)


def _serve_aioftp(server_class: Any, options: Options) -> None:
    import aioftp

    context = None
    if options.certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate)

    logging.getLogger("aioftp").setLevel(logging.CRITICAL)
    user = aioftp.User(NAME, PASSWORD, base_path=options.directory)

    async def run() -> None:
        server = server_class([user], ssl=context)
        await server.start("127.0.0.1", options.port)
        _ready()
        await server.serve_forever()

    asyncio.run(run())


def _ftpdata_workers(options: Options, *, count: int) -> None:
    """Serve with that many processes of the reference server, run by gunicorn."""

    arguments = str(options.directory), "--quiet", "--writable", "--user", f"{NAME}:{PASSWORD}"
    serving = f"examples.server.gunicorn_worker:serving{arguments!r}"
    worker = "examples.server.gunicorn_worker.FTPWorker"
    command = [sys.executable, "-m", "gunicorn", "--workers", str(count), "--worker-class", worker]
    command += ["--bind", f"127.0.0.1:{options.port}", "--log-level", "error", serving]
    os.execv(sys.executable, command)


def _pyftpdlib_workers(options: Options, *, count: int) -> None:
    """Serve with that many processes of pyftpdlib, which share a listener from before the fork."""

    server = _pyftpdlib_server(options, "FTPServer")
    server.serve_forever(handle_exit=False, worker_processes=count)


def _pyftpdlib_processes(options: Options) -> None:
    """Serve with pyftpdlib, and a process for each session."""

    server = _pyftpdlib_server(options, "MultiprocessFTPServer")
    server.serve_forever(handle_exit=False)


def _twisted(options: Options) -> None:
    """Serve with Twisted, which has no TLS for FTP."""

    from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
    from twisted.cred.portal import Portal
    from twisted.internet import reactor
    from twisted.protocols import ftp
    from twisted.python.filepath import FilePath

    class Realm(ftp.FTPRealm):
        def getHomeDirectory(self, avatarId: object) -> object:  # noqa: N802, N803 - Twisted's
            return FilePath(str(options.directory))

    # Its types are those of zope.interface, which mypy does not know.
    users: Any = InMemoryUsernamePasswordDatabaseDontUse()
    users.addUser(NAME, PASSWORD)
    realm: Any = Realm
    factory_of: Any = ftp.FTPFactory
    factory = factory_of(Portal(realm(str(options.directory)), [users]))
    factory.timeOut = PATIENCE
    loop: Any = reactor
    loop.listenTCP(options.port, factory, interface="127.0.0.1", backlog=1024)
    _ready()
    loop.run()


SERVERS: dict[str, Callable[[Options], None]] = {
    "limit": _limit,
    "limit-splice": _limit_splice,
    "ftpdata": _ftpdata,
    "ftpdata-uvloop": _ftpdata_uvloop,
    "pyftpdlib": _pyftpdlib,
    "aioftp": _aioftp,
    "aioftp-ftpdata": _aioftp_ftpdata,
    "twisted": _twisted,
    "ftpdata × 1": functools.partial(_ftpdata_workers, count=1),
    "ftpdata × 2": functools.partial(_ftpdata_workers, count=2),
    "pyftpdlib × 1": functools.partial(_pyftpdlib_workers, count=1),
    "pyftpdlib × 2": functools.partial(_pyftpdlib_workers, count=2),
    "pyftpdlib, processes": _pyftpdlib_processes,
}


def _ready() -> None:
    print("ready", flush=True)


def main() -> None:
    """Serve until the process is ended."""

    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=SERVERS)
    parser.add_argument("port", type=int)
    parser.add_argument("directory", type=Path)
    parser.add_argument("certificate", type=Path, nargs="?")
    parser.add_argument("--throttled", action="store_true")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    SERVERS[given.name](Options(given.port, given.directory, given.certificate, given.throttled))


if __name__ == "__main__":
    main()
