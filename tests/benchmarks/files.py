"""What the measured servers serve: files and directories, in memory where the system has that."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "DIRECTORIES",
    "MEDIUM",
    "SMALL",
    "TEN",
    "certificate",
    "make_directory",
    "make_files",
    "remove_uploads",
    "served_directory",
    "warm_pages",
]

MIB = 2**20
SMALL, MEDIUM, TEN = 1024, 256 * 1024, 10 * MIB
DIRECTORIES = {"d10k": 10_000, "d100k": 100_000, "d1m": 1_000_000}
MEMORY = Path("/dev/shm")


@contextlib.contextmanager
def served_directory() -> Iterator[Path]:
    """Make a directory that everybody may read, in memory if possible; remove it at the end."""

    parent = MEMORY if os.access(MEMORY, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="ftp-benchmark-", dir=parent))
    try:
        directory.chmod(0o755)
        yield directory
    finally:
        shutil.rmtree(directory)


def make_files(root: Path, size: int) -> None:
    """Make the files, the largest with that many bytes, and the directory for uploads."""

    block = os.urandom(MIB)
    sizes = {"big": size, "ten": TEN, "medium": MEDIUM, "small": SMALL, "slow/file": 8 * MIB}
    for name, length in sizes.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            for start in range(0, length, MIB):
                file.write(block[: length - start])

    for name in ("up", "slow"):
        (root / name).mkdir(exist_ok=True)
        (root / name).chmod(0o1777)


def make_directory(root: Path, name: str) -> None:
    """Make one of `DIRECTORIES`, if it is not there."""

    directory = root / name
    if directory.exists():
        return

    directory.mkdir()
    descriptor = os.open(directory, os.O_RDONLY)
    for number in range(DIRECTORIES[name]):
        os.close(os.open(f"file-{number:07d}.dat", os.O_CREAT, 0o644, dir_fd=descriptor))
    os.close(descriptor)


def remove_uploads(root: Path) -> None:
    """Remove what was uploaded."""

    for directory in ("up", "slow"):
        for path in (root / directory).iterdir():
            if path != root / "slow" / "file":
                # A server may still be at work on what a client has left.
                path.unlink(missing_ok=True)


def warm_pages(root: Path, size: int) -> None:
    """Have pages for an upload at hand.

    A virtual machine may have given free pages back: their first use is then
    several times slower than the transfer. They are used and freed here.
    """

    block = bytes(MIB)
    path = root / "pages"
    with path.open("wb", buffering=0) as file:
        for _ in range(0, size + 64 * MIB, MIB):
            file.write(block)

    path.unlink()


def certificate(directory: Path) -> Path:
    """Make a certificate with its key, for TLS; return the file.

    RSA of 2,048 bits, as most servers have it, where that can be made; what
    `trustme` makes else is of elliptic curves.
    """

    import trustme

    issued = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert(
        "localhost", key_type=trustme.KeyType.RSA
    )
    path = directory / f"certificate-{time.time_ns()}.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(path)
    path.chmod(0o644)
    return path
