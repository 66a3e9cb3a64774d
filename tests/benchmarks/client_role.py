"""What a client pays in processor time for a transfer, beside ftplib, aioftp and curl.

``python -m tests.benchmarks.client_role [--rounds N] [--server NAME] [--transfers N]
[--clients NAME...] [--only TEXT] [--directory PATH]`` lets each client download and upload files
of 1 KiB to 1 GiB, in clear and in TLS, between local files and one server for all of them. Each
client is a process of its own, on another core than the server. What counts is the processor time
of that process, user and system, by transfer. Clients take turns, and the figures are medians of
the rounds; ratios are those of one run.

ftpdata is a library of data connections. A program brings its control connection along, so there
are two rows of it: ``ftpdata`` with a plain one on asyncio, as programs have it; and ``ftpdata,
ftplib's control``, with blocking calls of ftplib's where those of asyncio would be: it differs from
``ftplib`` in the data connection alone. ``asyncio alone`` is the floor under the first: the same
control connection, and for the data only the socket calls of the event loop (in TLS, its streams),
in the loop's thread, with no deadline, check or progress, and no file that appears only whole. In
TLS, all of them trust any certificate, as ftplib does by default. ftpdata and curl resume the
control connection's session, as servers want it; ftplib, aioftp and asyncio alone do not, and
``ftplib, resuming`` is the former with the few lines that programs add for that.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import ftplib
import functools
import gc
import importlib.util
import json
import os
import platform
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import attrs

from ftpdata import DataTLS, HostPort, connect_active, receive_file, send_file
from ftpdata.addresses import parse_epsv_reply
from tests.benchmarks import files, servers
from tests.benchmarks.serve import PASSWORD

__all__ = ["Case", "main", "table"]

HOST = "127.0.0.1"
SIZES = {"1 KiB": 1024, "4 KiB": 4096, "256 KiB": 256 * 1024, "1 GiB": 1 << 30}
MANY = 1 << 20
"""Bytes of a file that is not small: a few are enough for a figure."""

BLOCK = 256 * 1024
"""Bytes that aioftp and asyncio alone move at a time."""

WARM = 20
"""Transfers that are not counted: the first ones import, and fill caches."""

OURS, LIMIT, RESUMING = "ftpdata", "ftplib", "ftplib, resuming"


# The clients, each in a process of its own


@attrs.frozen
class Job:
    """What one client does in one round.

    Attributes:
        client: A key of `CLIENTS`.
        port: Where the server is.
        user: To log in as.
        protect: Whether to use TLS, for both kinds of connections.
        download: The direction.
        name: The file on the server.
        local: The file here.
        transfers: How many transfers are counted.
        warm: How many go before them.
    """

    client: str
    port: int
    user: str
    protect: bool
    download: bool
    name: str
    local: str
    transfers: int
    warm: int


class Meter:
    """Counts the processor time of this process, from the last transfer that only warms it."""

    def __init__(self, job: Job) -> None:
        self.seconds: float = 0.0
        self._job = job

    def __iter__(self) -> Iterator[int]:
        for _ in range(self._job.warm):
            yield 0
        gc.collect()
        before = time.process_time()
        for _ in range(self._job.transfers):
            yield 0
        self.seconds = (time.process_time() - before) / self._job.transfers


def context() -> ssl.SSLContext:
    """Make a context that trusts any certificate."""

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def target(job: Job) -> BinaryIO:
    """Open the local file of a download."""

    return Path(job.local).open("wb")


def source(job: Job) -> BinaryIO:
    """Open the local file of an upload."""

    return Path(job.local).open("rb")


class ResumingFTP(ftplib.FTP_TLS):
    """ftplib's client, with the session of its control connection on data connections."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, Any]:
        """Connect, and shake hands after the reply."""

        sock, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        session = cast("ssl.SSLSocket", self.sock).session
        return self.context.wrap_socket(sock, session=session), size


def ftplib_client(job: Job) -> ftplib.FTP:
    """Log in with ftplib."""

    ftp = ftplib.FTP()
    if job.protect:
        kind = ResumingFTP if job.client == RESUMING else ftplib.FTP_TLS
        ftp = kind(context=context())
    ftp.connect(HOST, job.port, 60)
    ftp.login(job.user, PASSWORD)
    if isinstance(ftp, ftplib.FTP_TLS):
        ftp.prot_p()
    return ftp


def run_ftplib(job: Job, meter: Meter) -> None:
    """Transfer as the documentation of ftplib does it."""

    with ftplib_client(job) as ftp:
        for _ in meter:
            if job.download:
                with target(job) as file:
                    ftp.retrbinary(f"RETR {job.name}", file.write)
            else:
                with source(job) as file:
                    ftp.storbinary(f"STOR {job.name}", file)


async def run_aioftp(job: Job, meter: Meter) -> None:
    """Transfer over aioftp's streams, between local files without threads."""

    import aioftp

    client = aioftp.Client()
    await client.connect(HOST, job.port)
    if job.protect:
        await client.upgrade_to_tls(context())
    await client.login(job.user, PASSWORD)
    for _ in meter:
        if job.download:
            with target(job) as file:
                async with client.download_stream(job.name) as stream:
                    async for block in stream.iter_by_block(BLOCK):
                        file.write(block)
        else:
            with source(job) as file:
                async with client.upload_stream(job.name) as stream:
                    while block := file.read(BLOCK):
                        await stream.write(block)
    await client.quit()


def run_curl(job: Job, meter: Meter) -> None:
    """Transfer with libcurl, over one handle."""

    import pycurl

    curl: Any = pycurl.Curl()
    curl.setopt(pycurl.URL, f"ftp://{HOST}:{job.port}/{job.name}")
    curl.setopt(pycurl.USERPWD, f"{job.user}:{PASSWORD}")
    curl.setopt(pycurl.BUFFERSIZE, 512 * 1024)
    curl.setopt(pycurl.UPLOAD_BUFFERSIZE, 2 * files.MIB)
    if job.protect:
        curl.setopt(pycurl.USE_SSL, pycurl.USESSL_ALL)
        curl.setopt(pycurl.SSL_VERIFYPEER, 0)
        curl.setopt(pycurl.SSL_VERIFYHOST, 0)
    if not job.download:
        curl.setopt(pycurl.UPLOAD, 1)
    for _ in meter:
        if job.download:
            with target(job) as file:
                curl.setopt(pycurl.WRITEDATA, file)
                curl.perform()
        else:
            with source(job) as file:
                curl.setopt(pycurl.READDATA, file)
                curl.perform()
    curl.close()


class Control(asyncio.Protocol):
    """The control connection of a client, in its shortest form: for replies of one line."""

    def __init__(self) -> None:
        self.transport: Any = None
        self._buffer = b""
        self._replies: collections.deque[str] = collections.deque()
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the transport."""

        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Collect the replies, without the lines before their last."""

        *lines, self._buffer = (self._buffer + data).split(b"\r\n")
        self._replies += [line.decode() for line in lines if line[3:4] == b" " and line[0] > 0x20]
        if self._waiter is not None and self._replies and not self._waiter.done():
            self._waiter.set_result(None)

    async def reply(self, codes: str) -> str:
        """Wait for a reply whose first digit is one of these."""

        if not self._replies:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        reply = self._replies.popleft()
        if reply[0] not in codes:
            raise ValueError(f"unexpected reply: {reply}")
        return reply

    def send(self, command: str) -> None:
        """Send a command."""

        self.transport.write(f"{command}\r\n".encode())

    async def command(self, command: str, codes: str = "2") -> str:
        """Send a command and wait for its reply."""

        self.send(command)
        return await self.reply(codes)


@contextlib.asynccontextmanager
async def logged_in(job: Job) -> AsyncIterator[tuple[Control, DataTLS | None]]:
    """Log in on asyncio; give the control connection, and the TLS of data connections."""

    loop = asyncio.get_running_loop()
    tls: DataTLS | None = None
    transport, control = await loop.create_connection(Control, HOST, job.port)
    await control.reply("2")
    if job.protect:
        await control.command("AUTH TLS")
        shared = context()
        protected = await loop.start_tls(transport, control, shared)
        assert protected is not None
        control.transport = protected
    await control.command(f"USER {job.user}", "3")
    await control.command(f"PASS {PASSWORD}")
    if job.protect:
        await control.command("PBSZ 0")
        await control.command("PROT P")
        session = control.transport.get_extra_info("ssl_object").session
        tls = DataTLS.for_client(shared, session=session)
    await control.command("TYPE I")
    yield control, tls
    control.transport.close()


async def run_asyncio(job: Job, meter: Meter) -> None:
    """Transfer with what the event loop offers, and nothing beside it."""

    tls = context() if job.protect else None
    async with logged_in(job) as (control, _):
        for _ in meter:
            port = parse_epsv_reply(await control.command("EPSV"))
            with (target if job.download else source)(job) as file:
                ask = functools.partial(control.send, f"{_verb(job)} {job.name}")
                if tls is None:
                    await _move_by_socket(job, port, file, ask)
                else:
                    await _move_by_streams(job, port, file, ask, tls)
            await control.reply("1")
            await control.reply("2")


async def _move_by_socket(
    job: Job, port: int, file: BinaryIO, ask: Callable[[], object]
) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, (HOST, port))
        ask()
        if job.download:
            while block := await loop.sock_recv(sock, BLOCK):
                file.write(block)
        else:
            while block := file.read(BLOCK):
                await loop.sock_sendall(sock, block)


async def _move_by_streams(
    job: Job, port: int, file: BinaryIO, ask: Callable[[], object], tls: ssl.SSLContext
) -> None:
    # The server shakes hands after the command.
    opening = asyncio.ensure_future(asyncio.open_connection(HOST, port, ssl=tls))
    ask()
    reader, writer = await opening
    if job.download:
        while block := await reader.read(BLOCK):
            file.write(block)
    else:
        while block := file.read(BLOCK):
            writer.write(block)
            await writer.drain()
    writer.close()
    await writer.wait_closed()


async def run_ftpdata(job: Job, meter: Meter) -> None:
    """Transfer with ftpdata, beside a control connection on asyncio."""

    async with logged_in(job) as (control, tls):
        for _ in meter:
            address = HostPort(HOST, parse_epsv_reply(await control.command("EPSV")))
            await _move(job, address, tls, lambda: control.send(f"{_verb(job)} {job.name}"))
            await control.reply("1")
            await control.reply("2")


async def run_ftpdata_alone(job: Job, meter: Meter) -> None:
    """Transfer with ftpdata, beside ftplib's control connection."""

    ftp = ftplib_client(job)
    tls: DataTLS | None = None
    if job.protect:
        sock = cast("ssl.SSLSocket", ftp.sock)
        tls = DataTLS.for_client(sock.context, session=sock.session)
    for _ in meter:
        ftp.voidcmd("TYPE I")
        address = HostPort(HOST, parse_epsv_reply(ftp.sendcmd("EPSV")))
        await _move(job, address, tls, lambda: ftp.sendcmd(f"{_verb(job)} {job.name}"))
        ftp.voidresp()
    ftp.quit()


def _verb(job: Job) -> str:
    return "RETR" if job.download else "STOR"


async def _move(
    job: Job, address: HostPort, tls: DataTLS | None, ask: Callable[[], object]
) -> None:
    endpoint = connect_active(address, control_peer=HOST, tls=tls)
    ask()
    if job.download:
        await receive_file(endpoint, job.local)
    else:
        await send_file(endpoint, job.local)


CLIENTS: dict[str, Callable[[Job, Meter], Awaitable[None] | None]] = {
    "ftplib": run_ftplib,
    RESUMING: run_ftplib,
    "aioftp": run_aioftp,
    "pycurl": run_curl,
    "asyncio alone": run_asyncio,
    "ftpdata": run_ftpdata,
    "ftpdata, ftplib's control": run_ftpdata_alone,
}


def work(job: Job) -> None:
    """Do a job, and print the processor time of each transfer."""

    meter = Meter(job)
    servers.pinned(servers.CLIENT_CORE)
    client = CLIENTS[job.client]
    if asyncio.iscoroutinefunction(client):
        asyncio.run(client(job, meter))
    else:
        client(job, meter)
    print(json.dumps(meter.seconds))


# The run


@attrs.frozen
class Case:
    """One line of the table."""

    size: str
    download: bool
    protect: bool

    def __str__(self) -> str:
        direction = "download" if self.download else "upload"
        return f"{self.size} {direction}{' TLS' if self.protect else ''}"

    @property
    def is_small(self) -> bool:
        """Whether many of them make a figure."""

        return SIZES[self.size] <= MANY


CASES = tuple(
    Case(size, download, protect)
    for protect in (False, True)
    for size in SIZES
    for download in (True, False)
)


def can(client: str, case: Case) -> bool:
    """Whether this case is one for the client: only TLS has sessions to resume."""

    return case.protect or client != RESUMING


def missing(client: str) -> bool:
    """Whether the package of a client is not installed."""

    return client in ("aioftp", "pycurl") and importlib.util.find_spec(client) is None


def measure(
    case: Case,
    client: str,
    server: servers.RunningServer,
    *,
    root: Path,
    local: Path,
    transfers: int,
) -> float:
    """Let one client do its transfers; return the processor time of one, in seconds."""

    name = case.size.replace(" ", "")
    here = local / name if not case.download else local / "received"
    job = Job(
        client=client,
        port=server.port,
        user=server.kind.user,
        protect=case.protect,
        download=case.download,
        name=name if case.download else "up/file",
        local=str(here),
        transfers=transfers if case.is_small else 1,
        warm=WARM if case.is_small else 0,
    )
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name, "--job", json.dumps(attrs.asdict(job))],
        cwd=servers.ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=True,
    )
    size = SIZES[case.size]
    arrived = here if case.download else root / "up" / "file"
    if arrived.stat().st_size != size:
        raise ValueError(f"{client}: {arrived} is not whole")
    files.remove_uploads(root)
    (local / "received").unlink(missing_ok=True)
    return float(json.loads(done.stdout))


def formatted(seconds: float, case: Case) -> str:
    """Return microseconds of a small file, seconds of a large one."""

    return f"{seconds * 1e6:,.0f} µs" if case.is_small else f"{seconds:.3f} s"


def table(found: dict[Case, dict[str, list[float]]], clients: list[str]) -> str:
    """Format what was found: medians, and what ftpdata takes of what others take."""

    ratios = [(OURS, other) for other in clients if not other.startswith(OURS)]
    ratios += [(client, LIMIT) for client in clients if client.startswith(f"{OURS},")]
    ratios = [(ours, other) for ours, other in ratios if {ours, other} <= set(clients)]
    heads = ["CPU of a transfer", *clients, *(f"{ours} / {other}" for ours, other in ratios)]
    lines = [heads, ["-"] + ["-:"] * (len(heads) - 1)]
    for case, figures in found.items():
        medians = {client: statistics.median(values) for client, values in figures.items()}
        cells = [
            formatted(medians[client], case) if client in medians else "–" for client in clients
        ]
        cells += [
            f"{medians[ours] / medians[other]:.2f}" if other in medians else "–"
            for ours, other in ratios
        ]
        lines.append([str(case), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    """Measure what the command line asks for."""

    parser = argparse.ArgumentParser(description="Measure what clients pay for a transfer.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--server", choices=("ftpdata", "vsftpd", "pyftpdlib"), default="ftpdata")
    parser.add_argument("--transfers", type=int, default=200, help="of small files, each round")
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=list(CLIENTS))
    parser.add_argument("--only", default="", help="cases whose names have this text")
    parser.add_argument("--directory", type=Path, help="of the local files; in memory if it can be")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job is not None:
        work(Job(**json.loads(options.job)))
        return 0

    clients = [client for client in options.clients if not missing(client)]
    cases = [case for case in CASES if options.only in str(case)]
    found: dict[Case, dict[str, list[float]]] = {
        case: {client: [] for client in clients if can(client, case)} for case in cases
    }
    with contextlib.ExitStack() as stack:
        root = stack.enter_context(files.served_directory())
        state = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        state.chmod(0o755)
        (root / "up").mkdir()
        (root / "slow").mkdir()
        (root / "up").chmod(0o1777)
        local = stack.enter_context(files.served_directory())
        if options.directory is not None:
            local = Path(
                stack.enter_context(tempfile.TemporaryDirectory(dir=options.directory))
            )
        for size in {case.size for case in cases}:
            _make(root / size.replace(" ", ""), SIZES[size])
            _make(local / size.replace(" ", ""), SIZES[size])
        kind = servers.kinds()[options.server]
        running = {
            protect: stack.enter_context(
                servers.RunningServer(
                    kind, root, state, certificate=files.certificate(state) if protect else None
                )
            )
            for protect in {case.protect for case in cases}
        }
        for _ in range(options.rounds):
            for case in cases:
                for client in found[case]:
                    figure = measure(
                        case,
                        client,
                        running[case.protect],
                        root=root,
                        local=local,
                        transfers=options.transfers,
                    )
                    found[case][client].append(figure)

    print(f"Python {platform.python_version()}, server {options.server}, {options.rounds} rounds")
    print(table(found, clients))
    return 0


def _make(path: Path, size: int) -> None:
    block = os.urandom(min(size, files.MIB))
    with path.open("wb") as file:
        for _ in range(0, size, len(block)):
            file.write(block)


if __name__ == "__main__":
    sys.exit(main())
