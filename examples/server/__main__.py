"""Serve a directory or a bucket over FTP: ``python -m examples.server DIRECTORY``."""

from __future__ import annotations

import argparse
import contextlib
import functools
import signal
import socket
import sys
from collections.abc import Sequence

import anyio

from ftpdata import FTPDataError

from .command_line import CommandLine
from .server import Server
from .settings import Settings
from .store import Store

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""

    line = CommandLine.parse(arguments)
    line.set_up_logging()
    code = 0
    with contextlib.ExitStack() as stack:
        settings = line.settings(line.observer(stack))
        store = stack.enter_context(contextlib.closing(line.open_store()))
        try:
            anyio.run(
                _serve,
                store,
                settings,
                line,
                backend_options={"use_uvloop": line.options.loop == "uvloop"},
            )
        except* (OSError, ValueError, FTPDataError) as errors:
            print(f"cannot listen: {errors.exceptions[0]}", file=sys.stderr)
            code = 1

    return code


async def _serve(store: Store, settings: Settings, line: CommandLine) -> None:
    async with line.joined(settings) as of_all_nodes:
        await _run(Server(store, of_all_nodes), line.options)


async def _run(server: Server, options: argparse.Namespace) -> None:
    if options.fd is None:
        run = functools.partial(server.run, options.host, options.port)
    else:
        run = functools.partial(server.run, listener=socket.socket(fileno=options.fd))
    ends = (signal.SIGTERM, signal.SIGINT)
    # Without a certificate, who hangs up ends the server.
    signs = ends if options.tls_cert is None else (*ends, signal.SIGHUP)
    with anyio.open_signal_receiver(*signs) as signals:
        async with anyio.create_task_group() as tasks:
            address, number = await tasks.start(run)
            shown = f"[{address}]" if ":" in address else address
            print(f"listening on {shown}:{number}", flush=True)
            async for sign in signals:
                if sign in ends:
                    break
                server.renew_certificates()
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
