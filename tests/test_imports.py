"""Nothing is imported in the event loop during a first transfer: that would stop all others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, os, sys, threading
from ftpdata import (
    ListFormatter, connect_active, list_directory, listen_passive, receive_file, send_file,
    send_listing,
)

kind, directory = sys.argv[1:]
found = []

def hook(event, args):
    if event == "import" and threading.get_ident() == loop and args[0] not in sys.modules:
        found.append(args[0])

async def main():
    global loop
    passive = await listen_passive("127.0.0.1", control_peer="127.0.0.1")
    active = connect_active(passive.address, control_peer="127.0.0.1")
    file = os.path.join(directory, "file")
    sent = {
        "download": lambda: send_file(active, file),
        "upload": lambda: send_file(active, file, digest="sha256"),
        "listing": lambda: send_listing(active, list_directory(directory, ListFormatter(now=0))),
    }[kind]()
    loop = threading.get_ident()
    sys.addaudithook(hook)
    await asyncio.gather(sent, receive_file(passive, os.path.join(directory, "received")))
    loop = None

asyncio.run(main())
print(*found, end="")
"""


@pytest.mark.parametrize("size", [10, 1_000_000])
@pytest.mark.parametrize("kind", ["download", "upload", "listing"])
def test_a_first_transfer_imports_nothing(tmp_path: Path, kind: str, size: int) -> None:
    """Both ends of it, over a passive and an active endpoint, in a fresh interpreter."""

    (tmp_path / "file").write_bytes(bytes(size))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind, tmp_path],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        check=True,
        timeout=50,
        text=True,
    )
    assert done.stdout == ""
