"""What several checks ask of a server, and how they read its answers."""

from __future__ import annotations

import contextlib
import random
import re

from ..client import Failure, Reply, ScriptedClient, ScriptedStream, Truncated
from ._frame import Trial

__all__ = [
    "UNKNOWN",
    "difference",
    "features",
    "last_names",
    "make_directory",
    "names_in",
    "offered",
    "pattern",
    "quoted_path",
    "still_answers",
    "try_download",
    "try_upload",
    "without_a_data_connection",
]

UNKNOWN = (500, 502)
"""Replies to a command that the server does not have."""

SOON = 3.0
"""Seconds within which a transfer without a data connection is refused."""


async def offered(trial: Trial, client: ScriptedClient, line: str | bytes) -> Reply:
    """Say a command that a server need not have; without it, the check is not offered."""

    reply = await client.command(line)
    if reply.code in UNKNOWN:
        verb = line.split()[0]
        name = verb if isinstance(verb, str) else verb.decode()
        trial.not_offered(f"there is no {name}: '{reply}'")
    return reply


async def still_answers(client: ScriptedClient) -> None:
    """Check that no reply is left over, and that the session goes on.

    Raises:
        Failure: What comes is not the reply to this command.
    """

    reply = await client.command("TYPE I")
    if reply.code != 200:
        raise Failure(f"after that, TYPE I was answered by '{reply}'")


async def features(trial: Trial, client: ScriptedClient) -> dict[str, str]:
    """Return what FEAT lists: names in upper case, and what follows them (RFC 2389 §3.2)."""

    reply = await offered(trial, client, "FEAT")
    client.check(reply, 211)
    pairs = (line.strip().partition(" ") for line in reply.lines[1:-1])
    return {name.upper(): rest for name, _, rest in pairs}


async def make_directory(client: ScriptedClient, name: str | bytes) -> None:
    """Make a directory, which the server has to acknowledge."""

    line = f"MKD {name}" if isinstance(name, str) else b"MKD " + name
    await client.expect(line, 257, 250)


async def try_upload(
    client: ScriptedClient,
    line: str | bytes,
    content: bytes,
    data: ScriptedStream | None = None,
) -> Reply:
    """Run a command that receives, and that may be refused; return its last reply."""

    reply, data = await client.attempt(line, data)
    if data is None:
        return reply

    async with data:
        with contextlib.suppress(OSError, Truncated):
            await data.send(content)
            await data.end()
            if data.tls is not None:
                await data.receive_all()
    return await client.reply()


async def try_download(
    client: ScriptedClient, line: str | bytes, data: ScriptedStream | None = None
) -> tuple[Reply, bytes, Reply]:
    """Run a command that sends, and that may be refused.

    Returns:
        The first reply, what came, and the last reply, which is the first one if that refuses.
    """

    reply, data = await client.attempt(line, data)
    if data is None:
        return reply, b"", reply

    async with data:
        content = b""
        with contextlib.suppress(OSError, Truncated):
            content = await data.receive_all()
            await client.leave(data)
    return reply, content, await client.reply()


async def last_names(client: ScriptedClient, line: str | bytes = "NLST") -> list[bytes]:
    """Return the names that NLST tells, sorted."""

    return names_in(await client.download(line))


def names_in(listed: bytes) -> list[bytes]:
    """Return the names of what NLST has sent, without directories, `.` and `..`, sorted."""

    names = (name.rpartition(b"/")[2] for name in listed.split(b"\r\n"))
    return sorted(name for name in names if name not in (b"", b".", b".."))


def difference(content: bytes | None, expected: bytes) -> str:
    """Return how a content differs from what is expected; empty if it does not."""

    if content == expected:
        return ""
    if content is None:
        return "there is no such file"
    if len(content) != len(expected):
        return f"{len(content)} bytes, not {len(expected)}"

    place = next(i for i, byte in enumerate(content) if byte != expected[i])
    return f"byte {place} of {len(expected)} is {content[place]:#04x}, not {expected[place]:#04x}"


def quoted_path(reply: Reply) -> str | None:
    """Return the path of a 257 reply (RFC 959 appendix II), its quotes no longer doubled."""

    found = re.search(r'"((?:[^"]|"")*)"', reply.text)
    return found[1].replace('""', '"') if found else None


def pattern(size: int, seed: int = 0) -> bytes:
    """Return bytes of which no two stretches look the same; always the same for a seed."""

    return random.Random(seed).randbytes(size)  # noqa: S311 - no secret


async def without_a_data_connection(trial: Trial, client: ScriptedClient, line: str) -> None:
    """Say a transfer command without PORT or PASV before it, which has to be refused soon.

    RFC 959 §3.2 has the server connect to the client's control port: nobody listens there.
    """

    client.stream.patience = min(client.stream.patience, SOON)
    reply = None
    try:
        reply = await client.command(line)
        if reply.kind == 1:
            reply = await client.reply()
    except Failure as error:
        trial.warn(f"without a data connection: {error}")
    else:
        client.check(reply, 425, 426, 450, 451, 501, 503, 550, 553)
