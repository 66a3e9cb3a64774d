"""Move a file up and down in every type, structure and mode of RFC 959 §3, and MODE Z.

python -m examples.transfer_modes [--loop asyncio|uvloop] [ftp://USER:PASSWORD@HOST:PORT]

Without a URL, against the reference server, which is started on a temporary
directory. Each file goes up in one combination and is looked at in TYPE I,
STRU F, MODE S, so that two errors cannot make up for each other; then it comes
down as it went up. Prints a table, and exits with status 0 only if every file
was right both ways.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import anyio

from examples.client.client import Client, Server
from examples.client.location import url
from examples.client.replies import ReplyError
from ftpdata import FTPDataError, TransferParameters, receive_file, send_file

TYPES = ("A N", "A T", "A C", "E N", "E T", "E C", "I", "L 8")
STRUCTURES = ("F", "R")
MODES = ("S", "B", "C", "Z")
COMBINATIONS = tuple(itertools.product(TYPES, STRUCTURES, MODES))

NAME = "transfer-modes.tmp"

# Long runs, which compressed mode shortens; X'FF', which stream mode escapes in records; every
# byte. As a text: lines that are empty, one longer than a block, a form feed, ASA controls.
NOISE = hashlib.shake_256(b"ftpdata").digest(70_000)
BINARY = bytes(range(256)) * 9 + b"\0" * 999 + b"\xff" * 99 + NOISE
TEXT = BINARY.replace(b"\r\n", b"\r") + b"\n\n1\fnext page\n \n+over\n" + b"x" * 70_000 + b"\n"


class Changed(Exception):
    """A file arrived, and was another one."""


async def check(server: Server, kind: str, structure: str, mode: str) -> None:
    """Move a file up and down in one combination.

    Raises:
        Changed: It was another one then.
        ReplyError, FTPDataError: It did not arrive.
    """

    content = TEXT if kind[0] in "AE" else BINARY
    async with await Client.connect(server) as client:
        parameters = await choose(client, kind, structure, mode)
        async with client.transfer(f"STOR {NAME}") as transfer:
            await send_file(transfer.endpoint, io.BytesIO(content), parameters=parameters)

        if await download(client, await choose(client, "I", "F", "S")) != content:
            raise Changed("on its way up")
        if await download(client, await choose(client, kind, structure, mode)) != content:
            raise Changed("on its way down")
        await client.command(f"DELE {NAME}")


async def choose(client: Client, kind: str, structure: str, mode: str) -> TransferParameters:
    """Agree with the server on the parameters."""

    # Non-print is what TYPE A and TYPE E mean; not every server reads the N.
    for line in (f"TYPE {kind.removesuffix(' N')}", f"STRU {structure}", f"MODE {mode}"):
        await client.command(line)

    return TransferParameters().with_type(kind).with_structure(structure).with_mode(mode)


async def download(client: Client, parameters: TransferParameters) -> bytes:
    """Return the file as it comes."""

    received = io.BytesIO()
    async with client.transfer(f"RETR {NAME}") as transfer:
        await receive_file(transfer.endpoint, received, parameters=parameters)

    return received.getvalue()


async def main(server: Server) -> bool:
    """Print the table; return whether all went well."""

    print("TYPE STRU ", *(f"MODE {mode}" for mode in MODES))
    failures = []
    for kind, structure in itertools.product(TYPES, STRUCTURES):
        cells = []
        for mode in MODES:
            try:
                await check(server, kind, structure, mode)
                cells.append("✓")
            except (Changed, ReplyError, FTPDataError, OSError) as error:
                cells.append("✗")
                failures.append(f"TYPE {kind}, STRU {structure}, MODE {mode}: {error!r}")

        print(f"{kind:4} {structure:4} ", *(f"{cell:6}" for cell in cells), flush=True)

    print(*failures, sep="\n")
    return not failures


@contextlib.contextmanager
def reference_server() -> Iterator[Server]:
    """Run the reference server on a temporary directory; yield where it is."""

    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile("w+") as errors:
        command = [sys.executable, "-m", "examples.server", directory, "--writable"]
        command += ["--port", "0", "--user", "anonymous:guest@"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                if not line:
                    process.wait()
                    errors.seek(0)
                    sys.exit(f"the reference server did not start:\n{errors.read()}")
                host, _, port = line.split()[-1].rpartition(":")
                yield Server(host, port=int(port))
            finally:
                process.terminate()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.transfer_modes")
    parser.add_argument("url", metavar="URL", nargs="?", type=url)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if options.url is None:
            server = stack.enter_context(reference_server())
        else:
            server = options.url.server
        right = anyio.run(main, server, backend_options={"use_uvloop": options.loop == "uvloop"})

    sys.exit(not right)
