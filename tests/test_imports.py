"""A first transfer imports nothing in the event loop, since that would stop all others."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.tls import HOST_NAME, authority_file, certificate_files

PROGRAM = """
import asyncio, os, ssl, sys, threading
from ftpdata import (
    DataTLS, ListFormatter, RepresentationType, ServerCertificate, Structure, TransferParameters,
    TransmissionMode, connect_active, list_directory, listen_passive, receive_file, send_file,
    send_listing, send_stream,
)

kind, directory, channel, loop_name, host_name, *files = sys.argv[1:]
if loop_name == "uvloop":
    from uvloop import new_event_loop
else:
    from asyncio import new_event_loop
found = []

def hook(event, args):
    if event == "import" and threading.get_ident() == loop and args[0] not in sys.modules:
        found.append(args[0])

def protection():
    if channel == "clear":
        return None, None

    certificate, key, authority = files
    server = ServerCertificate(certificate=certificate, key=key).session_context()
    client = ssl.create_default_context(cafile=authority)
    return (
        DataTLS.for_server(server),
        DataTLS.for_client(client, session=None, server_hostname=host_name),
    )

async def chunks():
    yield b"a piece"
    yield b"another one"

async def main():
    global loop
    server, client = protection()
    passive = await listen_passive("127.0.0.1", control_peer="127.0.0.1", tls=server)
    active = connect_active(passive.address, control_peer="127.0.0.1", tls=client)
    file = os.path.join(directory, "file")
    parameters = {
        "block": TransferParameters(mode=TransmissionMode.BLOCK),
        "compressed": TransferParameters(mode=TransmissionMode.COMPRESSED),
        "deflate": TransferParameters(mode=TransmissionMode.DEFLATE),
        "text": TransferParameters(type=RepresentationType.ASCII),
        "EBCDIC": TransferParameters(type=RepresentationType.EBCDIC),
        "local": TransferParameters(type=RepresentationType.LOCAL),
        "records": TransferParameters(structure=Structure.RECORD),
    }.get(kind, TransferParameters())
    sent = {
        "digest": lambda: send_file(active, file, digest="sha256"),
        "listing": lambda: send_listing(active, list_directory(directory, ListFormatter(now=0))),
        "stream": lambda: send_stream(active, chunks()),
    }.get(kind, lambda: send_file(active, file, parameters=parameters))()
    target = os.path.join(directory, "received")
    loop = threading.get_ident()
    sys.addaudithook(hook)
    await asyncio.gather(sent, receive_file(passive, target, parameters=parameters))
    loop = None

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
print(*found, end="")
"""

KINDS = [
    "download", "digest", "listing", "stream", "text", "EBCDIC", "local", "records", "block",
    "compressed", "deflate",
]
needs_uvloop = pytest.mark.skipif(
    importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed"
)


def imported(kind: str, directory: Path, channel: str, loop: str) -> str:
    """Return the names of the modules that a first transfer imports in its event loop."""

    done = subprocess.run(
        [
            sys.executable, "-c", PROGRAM, kind, directory, channel, loop,
            HOST_NAME, *certificate_files(), authority_file(),
        ],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        check=True,
        timeout=50,
        text=True,
    )
    return done.stdout


@pytest.mark.parametrize("size", [10, 1_000_000])
@pytest.mark.parametrize(
    ("channel", "loop"),
    [("clear", "asyncio"), pytest.param("TLS", "uvloop", marks=needs_uvloop)],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_first_transfer_imports_nothing(
    tmp_path: Path, kind: str, channel: str, loop: str, size: int
) -> None:
    """This holds for both ends, over a passive and an active endpoint, in a new interpreter."""

    (tmp_path / "file").write_bytes(b" " * size)
    assert imported(kind, tmp_path, channel, loop) == ""


@pytest.mark.parametrize("size", [10, 1_000_000])
@pytest.mark.parametrize(
    ("channel", "loop"),
    [("TLS", "asyncio"), pytest.param("clear", "uvloop", marks=needs_uvloop)],
)
def test_neither_tls_nor_uvloop_alone_imports_anything(
    tmp_path: Path, channel: str, loop: str, size: int
) -> None:
    """This also holds for what they need: names, certificates, transports."""

    (tmp_path / "file").write_bytes(b" " * size)
    assert imported("download", tmp_path, channel, loop) == ""
