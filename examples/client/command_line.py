"""The program: ``python -m examples.client``.

::

    python -m examples.client get URL [LOCAL]
    python -m examples.client put LOCAL URL
    python -m examples.client ls URL

A URL is ``ftp://``, ``ftpes://`` (TLS by AUTH TLS) or ``ftps://`` (TLS from the first byte on),
with USER:PASSWORD@ or an entry in ``~/.netrc``. The exit status is 1 if something was not
transferred, and 2 if the arguments are wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import posixpath
import ssl
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC

import attrs
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from examples.client.client import Client, Security
from examples.client.files import get, list_directory, put
from examples.client.location import Location, with_netrc
from examples.client.replies import Aborted, ReplyError
from ftpdata import FTPDataError, ListingEntry, TransferResult
from ftpdata.contracts import ProgressCallback

__all__ = ["main"]

FAILURES = (FTPDataError, ReplyError, OSError, ValueError, Aborted)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; return the exit status."""

    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return asyncio.run(_run(options))
    except KeyboardInterrupt:
        return 130
    except FAILURES as error:
        print(f"{parser.prog}: {printable(error)}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.client")
    parser.add_argument("--ca", metavar="FILE", help="certificates to trust, in PEM")
    parser.add_argument("--insecure", action="store_true", help="take any certificate")
    parser.add_argument("--tls", action="store_true", help="protect ftp:// by AUTH TLS")
    parser.add_argument("--tls-max", choices=("1.2", "1.3"), help="the newest version of TLS")
    parser.add_argument("--active", action="store_true", help="let the server connect (EPRT, PORT)")
    parser.add_argument("--compress", action="store_true", help="use MODE Z if the server has it")
    parser.add_argument("--netrc", metavar="FILE", help="in place of ~/.netrc")
    parser.add_argument("--patience", metavar="SECONDS", type=float, default=60.0)
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("get", help="fetch a file")
    command.add_argument("url", metavar="URL", type=_url)
    command.add_argument("local", metavar="LOCAL", nargs="?")
    command.set_defaults(run=_get)

    command = commands.add_parser("put", help="send a file")
    command.add_argument("local", metavar="LOCAL")
    command.add_argument("url", metavar="URL", type=_url)
    command.set_defaults(run=_put)

    command = commands.add_parser("ls", help="list a directory")
    command.add_argument("url", metavar="URL", type=_url)
    command.set_defaults(run=_ls)
    return parser


def _url(text: str) -> Location:
    try:
        return Location.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


async def _run(options: argparse.Namespace) -> int:
    location: Location = options.url
    server = await asyncio.to_thread(with_netrc, location, options.netrc)
    if options.tls and server.security is Security.CLEAR:
        server = attrs.evolve(server, security=Security.EXPLICIT)
    if options.tls_max == "1.2":
        server = attrs.evolve(server, newest_tls=ssl.TLSVersion.TLSv1_2)
    options.server = attrs.evolve(
        server,
        ca_file=options.ca,
        verify=not options.insecure,
        active=options.active,
        compress=options.compress,
        patience=options.patience,
    )
    status: int = await options.run(options)
    return status


async def _get(options: argparse.Namespace) -> int:
    path = options.url.path
    local = options.local or posixpath.basename(path)
    if not local:
        raise ValueError("the URL names no file")
    with shown(path, quiet=options.quiet) as progress:
        async with await Client.connect(options.server) as client:
            result = await get(client, path, local, progress=progress)
    _tell(result, local)
    return 0


async def _put(options: argparse.Namespace) -> int:
    path = options.url.path
    if not path or path.endswith("/"):
        path += os.path.basename(options.local)  # noqa: PTH119
    with shown(path, quiet=options.quiet) as progress:
        async with await Client.connect(options.server) as client:
            result = await put(client, options.local, path, progress=progress)
    _tell(result, path)
    return 0


async def _ls(options: argparse.Namespace) -> int:
    async with await Client.connect(options.server) as client:
        listing = await list_directory(client, options.url.path)
    for entry in sorted(listing.entries, key=lambda entry: entry.text_name):
        print(line_of(entry))
    for line in listing.unreadable:
        print(f"this line cannot be read: {line!r}", file=sys.stderr)
    return 1 if listing.unreadable else 0


def line_of(entry: ListingEntry) -> str:
    """Return a line for an entry, in which nothing reaches the terminal but what is printable."""

    date = entry.modified_at
    when = "-" if date is None else date.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    kind = entry.type.value
    return printable(f"{kind} {entry.size:>15} {when:>19} {entry.text_name}")


def printable(text: object) -> str:
    """Escape what is not printable: what a server says must not reach the terminal as it is."""

    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def _tell(result: TransferResult, name: str) -> None:
    rate = result.rate / 1_000_000
    print(
        printable(f"{name}: {result.file_bytes} bytes in {result.seconds:.2f} s, {rate:.1f} MB/s")
    )


@contextlib.contextmanager
def shown(name: str, *, quiet: bool) -> Iterator[ProgressCallback]:
    """Show the progress of a transfer while the context lasts, on standard error."""

    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn()
    # No name is taken for markup.
    title = TextColumn("{task.description}", markup=False)
    with Progress(title, *columns, console=Console(stderr=True), disable=quiet) as bars:
        bar = bars.add_task(printable(name), total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)
