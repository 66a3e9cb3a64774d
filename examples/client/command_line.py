"""The program: ``python -m examples.client``.

::

    python -m examples.client get URL [LOCAL]
    python -m examples.client put LOCAL URL
    python -m examples.client ls URL
    python -m examples.client mirror URL DIRECTORY
    python -m examples.client mirror DIRECTORY URL

A URL is ``ftp://``, ``ftpes://`` (TLS by AUTH TLS) or ``ftps://`` (TLS from the first byte on),
with USER:PASSWORD@ or an entry in ``~/.netrc``. The exit status is 1 if something was not
transferred, and 2 if the arguments are wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import posixpath
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC
from functools import partial

import attrs
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from examples.client.client import Client, Security
from examples.client.files import list_directory, verify
from examples.client.location import Location, is_url, url, with_netrc
from examples.client.mirror import Mirror
from examples.client.persistent import OutcomeUnknown, Persistent
from examples.client.replies import Aborted, ReplyError
from examples.client.segments import get_in_segments
from ftpdata import FTPDataError, ListingEntry
from ftpdata.contracts import ProgressCallback

__all__ = ["count", "main"]

FAILURES = (FTPDataError, ReplyError, OSError, ValueError, OutcomeUnknown, Aborted)
MOST_CONNECTIONS = 64


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
    parser.add_argument("--ca", metavar="FILE", type=_file, help="certificates to trust, in PEM")
    parser.add_argument("--insecure", action="store_true", help="take any certificate")
    parser.add_argument("--tls", action="store_true", help="protect ftp:// by AUTH TLS")
    parser.add_argument("--tls-max", choices=("1.2", "1.3"), help="the newest version of TLS")
    parser.add_argument("--active", action="store_true", help="let the server connect (EPRT, PORT)")
    parser.add_argument("--compress", action="store_true", help="use MODE Z if the server has it")
    parser.add_argument("--netrc", metavar="FILE", help="in place of ~/.netrc")
    parser.add_argument("--patience", metavar="SECONDS", type=_seconds, default=60.0)
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("--verify", action="store_true", help="compare digests afterwards (HASH)")
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("get", help="fetch a file")
    command.add_argument("url", metavar="URL", type=url)
    command.add_argument("local", metavar="LOCAL", nargs="?", help="a file, or a directory for it")
    command.add_argument("--segments", metavar="N", type=count, default=1)
    command.set_defaults(run=_get)

    command = commands.add_parser("put", help="send a file")
    command.add_argument("local", metavar="LOCAL")
    command.add_argument("url", metavar="URL", type=url)
    command.add_argument(
        "-c", "--continue", dest="resume", action="store_true", help="send what is missing"
    )
    command.set_defaults(run=_put)

    command = commands.add_parser("ls", help="list a directory")
    command.add_argument("url", metavar="URL", type=url)
    command.set_defaults(run=_ls)

    command = commands.add_parser("mirror", help="copy a directory and all below it")
    command.add_argument("source", metavar="URL|DIRECTORY")
    command.add_argument("target", metavar="DIRECTORY|URL")
    command.add_argument("--connections", metavar="N", type=count, default=4)
    command.add_argument(
        "--pipeline", action="store_true", help="ask early for data connections; most servers can"
    )
    command.set_defaults(run=_mirror)
    return parser


def count(text: str) -> int:
    """Read a number of connections that is an argument of a program.

    Raises:
        argparse.ArgumentTypeError: It is none, or too many.
    """

    if not (text.isdecimal() and 1 <= int(text) <= MOST_CONNECTIONS):
        raise argparse.ArgumentTypeError(f"expected 1 to {MOST_CONNECTIONS}, not {text!r}")
    return int(text)


def _file(text: str) -> str:
    try:
        with open(text, "rb"):  # noqa: PTH123 - the ssl module names no file that it cannot read
            return text
    except OSError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"expected more than 0 seconds, not {text!r}")
    return seconds


async def _run(options: argparse.Namespace) -> int:
    if options.command == "mirror":
        urls = [text for text in (options.source, options.target) if is_url(text)]
        if len(urls) != 1:
            raise ValueError("a mirror has one URL and one directory")
        options.url = Location.parse(urls[0])
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
    name = posixpath.basename(path)
    local = options.local or name
    if not local:
        raise ValueError("the URL names no file")
    if await asyncio.to_thread(os.path.isdir, local):
        local = os.path.join(local, name)  # noqa: PTH118
    with shown(path, quiet=options.quiet) as progress:
        started = time.monotonic()
        async with Persistent(options.server) as session:
            if options.segments == 1:
                size = (await session.get(path, local, progress=progress)).file_bytes
            else:
                size = await get_in_segments(
                    options.server, path, local, segments=options.segments, progress=progress
                )
            if options.verify:
                await session.run(partial(_check, local=local, remote=path))
    seconds = time.monotonic() - started
    print(printable(f"{local}: {size} bytes in {seconds:.2f} s, {size / seconds / 1e6:.1f} MB/s"))
    return 0


async def _put(options: argparse.Namespace) -> int:
    path = options.url.path
    if not path or path.endswith("/"):
        path += os.path.basename(options.local)  # noqa: PTH119
    with shown(path, quiet=options.quiet) as progress:
        async with Persistent(options.server) as session:
            sent = await session.put(options.local, path, resume=options.resume, progress=progress)
            if options.verify:
                await session.run(partial(_check, local=options.local, remote=path))
    print(printable(f"{path}: {sent} bytes"))
    return 0


async def _check(client: Client, *, local: str, remote: str) -> None:
    """Compare the digests of both files, if the server can (HASH)."""

    match await verify(client, local, remote):
        case None:
            raise ValueError("the server has no digests of its files (HASH)")
        case False:
            raise ValueError("the files differ: the server has another digest")


async def _ls(options: argparse.Namespace) -> int:
    async with await Client.connect(options.server) as client:
        listing = await list_directory(client, options.url.path)
    for entry in sorted(listing.entries, key=lambda entry: entry.text_name):
        print(line_of(entry))
    for line in listing.unreadable:
        print(f"this line cannot be read: {line!r}", file=sys.stderr)
    return 1 if listing.unreadable else 0


async def _mirror(options: argparse.Namespace) -> int:
    is_upload = not is_url(options.source)
    with shown("mirror", quiet=options.quiet) as progress:
        mirror = Mirror(
            options.server,
            connections=options.connections,
            pipelines=options.pipeline,
            on_progress=progress,
        )
        if is_upload:
            await mirror.upload(options.source, options.url.path)
        else:
            await mirror.download(options.url.path, options.target)

    print(f"{mirror.transferred} files transferred, {mirror.same} were there already")
    for failure in mirror.failures:
        print(printable(failure), file=sys.stderr)
    return 1 if mirror.failures else 0


def line_of(entry: ListingEntry) -> str:
    """Return a line for an entry, in which nothing reaches the terminal but what is printable."""

    date = entry.modified_at
    when = "-" if date is None else date.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    kind = entry.type.value
    return printable(f"{kind} {entry.size:>15} {when:>19} {entry.text_name}")


def printable(text: object) -> str:
    """Escape what is not printable: what a server says must not reach the terminal as it is."""

    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


@contextlib.contextmanager
def shown(name: str, *, quiet: bool) -> Iterator[ProgressCallback]:
    """Show the progress of a transfer while the context lasts, on standard error."""

    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn()
    # No name is taken for markup.
    title = TextColumn("{task.description}", markup=False)
    with Progress(title, *columns, console=Console(stderr=True), disable=quiet) as bars:
        bar = bars.add_task(printable(name), total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)
