"""Transfers as a program on another system makes them: ``python -m tests.harness.foreign SYSTEM``.

It makes each kind of them in a new directory below the one for temporary files, in clear and
through TLS, and prints the names of those that went as they should. See
`tests.harness.other_systems` for what is like the other system.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.harness.other_systems import pretend

if __name__ == "__main__":
    pretend(sys.argv[1])

import ftpdata
from ftpdata import _self_check
from ftpdata._kernel import reset_socket
from ftpdata.files import FileSource, SpooledTarget
from ftpdata.files.target import FileTarget

HOST = "127.0.0.1"

LARGE = random.Random(959).randbytes(3 * 1024 * 1024 + 17)
TEXT = b"one\ntwo\r\nthree\x1a\n" * 1000
SIZES = {"nothing": b"", "little": TEXT[:1000], "text": TEXT, "much": LARGE}


@asynccontextmanager
async def endpoints(*, is_protected: bool) -> AsyncIterator[tuple[Any, Any]]:
    """Make the endpoints of a server and a client."""

    tls = _self_check._server_tls() if is_protected else None
    async with await ftpdata.listen_passive(HOST, control_peer=HOST, tls=tls) as server:
        tls = _self_check._client_tls() if is_protected else None
        async with ftpdata.connect_active(server.address, control_peer=HOST, tls=tls) as client:
            yield server, client


def names(directory: Path) -> list[str]:
    """Return what is in a directory."""

    return sorted(path.name for path in directory.iterdir())


async def both_ways(directory: Path, *, is_protected: bool) -> None:
    """Files of every size arrive, also where there is one of the name; nothing else is left."""

    source, target = directory / "source", directory / "target"
    for content in (*SIZES.values(), *SIZES.values()):
        source.write_bytes(content)
        for is_upload in (False, True):
            async with endpoints(is_protected=is_protected) as (server, client):
                ends = (client, server) if is_upload else (server, client)
                sent, received = await asyncio.gather(
                    ftpdata.send_file(ends[0], source), ftpdata.receive_file(ends[1], target)
                )
            assert sent.is_complete
            assert received.is_complete
            assert target.read_bytes() == content
            assert names(directory) == ["source", "target"]


async def appended(directory: Path, *, is_protected: bool) -> None:
    """APPE and REST."""

    source, target = directory / "source", directory / "target"
    source.write_bytes(LARGE)
    target.write_bytes(TEXT)
    for options, content in (
        ({"append": True}, TEXT + LARGE),
        ({"offset": 5}, TEXT[:5] + LARGE + (TEXT + LARGE)[5 + len(LARGE) :]),
    ):
        async with endpoints(is_protected=is_protected) as (server, client):
            await asyncio.gather(
                ftpdata.send_file(client, source),
                ftpdata.receive_file(server, target, **options),
            )
        assert target.read_bytes() == content[: max(len(LARGE) + 5, len(content))]
    async with endpoints(is_protected=is_protected) as (server, client):
        await asyncio.gather(
            ftpdata.send_file(server, source, offset=7), ftpdata.receive_file(client, target)
        )
    assert target.read_bytes() == LARGE[7:]


async def converted(directory: Path, *, is_protected: bool) -> None:
    """TYPE A, MODE Z, a digest and a throttle."""

    source, target = directory / "source", directory / "target"
    lines = TEXT.replace(b"\r", b"")
    source.write_bytes(lines)
    for parameters in (
        ftpdata.TransferParameters(type=ftpdata.RepresentationType.ASCII),
        ftpdata.TransferParameters(mode=ftpdata.TransmissionMode.DEFLATE),
    ):
        async with endpoints(is_protected=is_protected) as (server, client):
            sent, received = await asyncio.gather(
                ftpdata.send_file(server, source, parameters=parameters, digest="sha256"),
                ftpdata.receive_file(
                    client,
                    target,
                    parameters=parameters,
                    digest="sha256",
                    throttle=ftpdata.TokenBucket(10_000_000, now=time.monotonic()),
                ),
            )
        assert target.read_bytes() == lines
        assert sent.digest == received.digest


async def listed(directory: Path, *, is_protected: bool) -> None:
    """A listing arrives."""

    for number in range(300):
        (directory / f"file {number}").write_bytes(b"12345")
    async with endpoints(is_protected=is_protected) as (server, client):
        formatter = ftpdata.ListFormatter(now=0)
        lines = bytearray()

        async def read() -> None:
            async with ftpdata.receive_stream(client) as stream:
                async for piece in stream:
                    lines.extend(piece)

        await asyncio.gather(
            ftpdata.send_listing(server, ftpdata.list_directory(directory, formatter)), read()
        )
    assert sorted(line.partition(b"file ")[2] for line in bytes(lines).splitlines()) == sorted(
        b"%d" % number for number in range(300)
    )


async def relayed(directory: Path, *, is_protected: bool) -> None:
    """One data connection goes on in another."""

    source, target = directory / "source", directory / "target"
    source.write_bytes(LARGE)
    async with (
        endpoints(is_protected=is_protected) as (first, from_first),
        endpoints(is_protected=is_protected) as (second, from_second),
    ):
        await asyncio.gather(
            ftpdata.send_file(from_first, source),
            ftpdata.relay(first, second),
            ftpdata.receive_file(from_second, target),
        )
    assert target.read_bytes() == LARGE


async def cut(directory: Path, *, is_protected: bool) -> None:
    """An upload that is cut leaves nothing; a download that is cut is no end of file."""

    target = directory / "target"

    async def some() -> AsyncIterator[bytes]:
        yield LARGE
        raise ConnectionError("cut")

    async with endpoints(is_protected=is_protected) as (server, client):
        sent, received = await asyncio.gather(
            ftpdata.send_stream(client, some()),
            ftpdata.receive_file(server, target),
            return_exceptions=True,
        )
    assert isinstance(sent, ftpdata.FTPDataError), sent
    assert isinstance(received, ftpdata.FTPDataError), received
    assert names(directory) == []


async def ended_early(directory: Path, *, is_protected: bool) -> None:
    """A client that says at once that it sends nothing gets its download."""

    if is_protected:
        return

    source = directory / "source"
    source.write_bytes(LARGE)
    async with await ftpdata.listen_passive(HOST, control_peer=HOST) as server:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await loop.sock_connect(sock, (server.address.host, server.address.port))
            sock.shutdown(socket.SHUT_WR)
            sending = asyncio.ensure_future(ftpdata.send_file(server, source))
            received = bytearray()
            while piece := await loop.sock_recv(sock, 65536):
                received += piece
            await sending
    assert received == LARGE


async def reset(directory: Path, *, is_protected: bool) -> None:
    """A client that resets its upload has uploaded nothing."""

    if is_protected:
        return

    async with await ftpdata.listen_passive(HOST, control_peer=HOST) as server:
        receiving = asyncio.ensure_future(ftpdata.receive_file(server, directory / "target"))
        address = (server.address.host, server.address.port)
        sock = await asyncio.to_thread(socket.create_connection, address)
        await asyncio.to_thread(sock.sendall, LARGE)
        reset_socket(sock)
        (result,) = await asyncio.gather(receiving, return_exceptions=True)
    assert isinstance(result, ftpdata.FTPDataError), result
    assert names(directory) == []


async def judged(directory: Path, *, is_protected: bool) -> None:
    """An upload with a copy that can be read before it is published."""

    source, target = directory / "source", directory / "target"
    source.write_bytes(TEXT)
    inner = await FileTarget.open(target)
    spooled = SpooledTarget(inner, directory=directory)
    async with endpoints(is_protected=is_protected) as (server, client):

        async def receive() -> None:
            await ftpdata.receive_file(server, spooled)

        await asyncio.gather(ftpdata.send_file(client, source), receive())
    assert target.read_bytes() == TEXT

    again = SpooledTarget(await FileTarget.open(target), directory=directory)
    await again.write(TEXT)
    copy = await again.open_to_read()
    reading = await FileSource.open(copy)
    assert await reading.read(len(TEXT) + 1) == TEXT
    reading.close()
    os.close(copy)
    await again.discard()
    assert names(directory) == ["source", "target"]


async def new(directory: Path, *, is_protected: bool) -> None:
    """A name that is taken meanwhile is left to who has it (STOU)."""

    del is_protected
    target = directory / "target"
    upload = await FileTarget.open(target, mode=ftpdata.WriteMode.EXCLUSIVE)
    await upload.write(TEXT)
    target.write_bytes(b"another's")
    try:
        await upload.commit()
    except ftpdata.FTPDataError:
        pass
    else:
        raise AssertionError("another's file is gone")
    assert target.read_bytes() == b"another's"
    assert names(directory) == ["target"]


KINDS: list[Callable[..., Awaitable[None]]] = [
    *(both_ways, appended, converted, listed, relayed, cut, ended_early, reset, judged, new)
]


def main() -> None:
    """Make all of them."""

    problems: list[str] = []
    for kind in KINDS:
        for is_protected in (False, True):

            async def run(
                kind: Callable[..., Awaitable[None]] = kind, is_protected: bool = is_protected
            ) -> None:
                loop = asyncio.get_running_loop()
                loop.set_exception_handler(lambda _, context: problems.append(str(context)))
                async with asyncio.timeout(60):
                    with tempfile.TemporaryDirectory() as directory:
                        await kind(Path(directory), is_protected=is_protected)

            asyncio.run(run())
            sys.stdout.write(f"{kind.__name__}{' through TLS' if is_protected else ''}\n")
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
