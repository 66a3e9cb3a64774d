"""What the example client is asked to do with each server: the rows of its table."""

from __future__ import annotations

import os
import shutil
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio.to_thread
import attrs
import pytest

from examples.client.client import Client, Security
from examples.client.files import get, list_directory, may_have, put
from examples.client.mirror import Mirror
from examples.client.persistent import Persistent
from examples.client.replies import Aborted, ReplyError
from examples.client.segments import get_in_segments
from ftpdata import receive_stream
from tests.interop.client_peers import Site

__all__ = ["STEPS", "NotOffered", "Trial"]

CONTENT = os.urandom(3_000_001)


class NotOffered(Exception):
    """The server does not have what this is about."""


@attrs.define
class Trial:
    """A server, and room for files here and there.

    Attributes:
        site: The server.
        here: A local directory, empty.
    """

    site: Site
    here: Path

    def there(self, name: str) -> str:
        """Return the path of a file on the server."""

        return f"{self.site.remote}/{name}"

    def seen(self, name: str) -> Path:
        """Return the same file, as this machine sees it."""

        return self.site.local / name

    async def connect(self, **options: object) -> Client:
        """Log in."""

        return await Client.connect(attrs.evolve(self.site.server, **options))  # type: ignore[arg-type]


Step = Callable[[Trial], Awaitable[None]]
STEPS: dict[str, Step] = {}


def step(name: str) -> Callable[[Step], Step]:
    """Make a function a row of the table."""

    def note(function: Step) -> Step:
        STEPS[name] = function
        return function

    return note


def give(trial: Trial, name: str, content: bytes = CONTENT) -> None:
    """Put a file into the directory of the server."""

    path = trial.seen(name)
    path.parent.mkdir(exist_ok=True)
    path.parent.chmod(0o777)
    path.write_bytes(content)
    path.chmod(0o666)


@step("get")
async def _get(trial: Trial) -> None:
    give(trial, "file")
    async with await trial.connect() as client:
        await get(client, trial.there("file"), trial.here / "file")
    assert (trial.here / "file").read_bytes() == CONTENT


@step("put")
async def _put(trial: Trial) -> None:
    (trial.here / "file").write_bytes(CONTENT)
    async with await trial.connect() as client:
        await put(client, trial.here / "file", trial.there("up"))
    assert trial.seen("up").read_bytes() == CONTENT


@step("TLS sessions are resumed")
async def _resumed(trial: Trial) -> None:
    if trial.site.server.security is Security.CLEAR:
        raise NotOffered
    give(trial, "file")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        async with await trial.connect(newest_tls=version) as client:
            for _ in range(3):
                result = await get(client, trial.there("file"), trial.here / "file")
                assert result.tls_version == version.name.replace("_", ".")
                if not result.tls_resumed:
                    raise NotOffered


@step("0 bytes, both ways")
async def _empty(trial: Trial) -> None:
    give(trial, "empty", b"")
    async with await trial.connect() as client:
        await get(client, trial.there("empty"), trial.here / "empty")
        await put(client, trial.here / "empty", trial.there("empty up"))
    assert (trial.here / "empty").read_bytes() == b""
    assert trial.seen("empty up").read_bytes() == b""


@step("50 transfers in one session")
async def _fifty(trial: Trial) -> None:
    give(trial, "small", b"small")
    async with await trial.connect() as client:
        for _ in range(25):
            await get(client, trial.there("small"), trial.here / "small")
            await put(client, trial.here / "small", trial.there("small up"))
    assert trial.seen("small up").read_bytes() == b"small"


@step("list")
async def _list(trial: Trial) -> None:
    names = ["a b", " lead", "-hyphen", "Grüße", "x;y=z; w", "tail "]
    for name in names:
        give(trial, f"listed/{name}", b"12345")
    give(trial, "listed/inner/file")
    async with await trial.connect() as client:
        listing = await list_directory(client, trial.there("listed"))
    assert listing.unreadable == ()
    found = {entry.text_name: (entry.is_directory, entry.size) for entry in listing.entries}
    assert found.pop("inner")[0]
    # LIST does not tell a name with blanks at its end from one without them; here it does.
    assert found == dict.fromkeys(names, (False, 5))


@step("odd names, both ways")
async def _names(trial: Trial) -> None:
    async with await trial.connect() as client:
        for name in ("a b", " lead", "-hyphen", "Grüße", "100%", "[x]*?"):
            give(trial, name, name.encode())
            await get(client, trial.there(name), trial.here / "copy")
            assert (trial.here / "copy").read_bytes() == name.encode()
            await put(client, trial.here / "copy", trial.there(f"up {name}"))
            assert trial.seen(f"up {name}").read_bytes() == name.encode()


@step("resumed get")
async def _resumed_get(trial: Trial) -> None:
    give(trial, "file")
    data = b""
    async with await trial.connect() as client:
        if not may_have(client, "REST"):
            raise NotOffered
        async with (
            client.transfer(f"RETR {trial.there('file')}", offset=1_000_000) as transfer,
            receive_stream(transfer.endpoint, offset=1_000_000) as stream,
        ):
            async for piece in stream:
                data += piece
    assert data == CONTENT[1_000_000:]


@step("4 segments of one file")
async def _segments(trial: Trial) -> None:
    content = CONTENT * 3
    give(trial, "file", content)
    async with await trial.connect() as client:
        if not may_have(client, "REST"):
            raise NotOffered
    await get_in_segments(trial.site.server, trial.there("file"), trial.here / "file")
    assert (trial.here / "file").read_bytes() == content


@step("resumed put")
async def _resumed_put(trial: Trial) -> None:
    (trial.here / "file").write_bytes(CONTENT)
    give(trial, "up", CONTENT[:1_000_000])
    async with Persistent(trial.site.server, pause=lambda _: 0.0) as session:
        sent = await session.put(trial.here / "file", trial.there("up"), resume=True)
    assert trial.seen("up").read_bytes() == CONTENT, (sent, trial.seen("up").stat().st_size)
    if sent == len(CONTENT):
        raise NotOffered


@step("refusals, then on")
async def _refused(trial: Trial) -> None:
    give(trial, "file")
    async with await trial.connect() as client:
        for _ in range(3):
            with pytest.raises(ReplyError, match=r"^5"):
                await get(client, trial.there("nothing"), trial.here / "nothing")
        await get(client, trial.there("file"), trial.here / "file")
    assert [path.name for path in trial.here.iterdir()] == ["file"]


@step("EPRT or PORT")
async def _active(trial: Trial) -> None:
    give(trial, "file")
    async with await trial.connect(active=True) as client:
        await get(client, trial.there("file"), trial.here / "file")
        if {"EPRT", "PORT"} <= client.refused:
            raise NotOffered
    assert (trial.here / "file").read_bytes() == CONTENT


@step("ABOR, then on")
async def _abort(trial: Trial) -> None:
    give(trial, "large", CONTENT * 20)
    give(trial, "file")
    async with await trial.connect() as client:
        try:
            async with (
                client.transfer(f"RETR {trial.there('large')}") as transfer,
                receive_stream(transfer.endpoint) as stream,
            ):
                async for _ in stream:
                    await client.abort()
        except Aborted:
            pass
        else:
            raise AssertionError("it was not aborted")
        if client.is_lost:
            raise NotOffered
        await get(client, trial.there("file"), trial.here / "file")
    assert (trial.here / "file").read_bytes() == CONTENT


@step("MODE Z")
async def _compressed(trial: Trial) -> None:
    give(trial, "file", b"text\n" * 100_000)
    async with await trial.connect(compress=True) as client:
        if client.parameters.mode.value != "Z":
            raise NotOffered
        result = await get(client, trial.there("file"), trial.here / "file")
        await put(client, trial.here / "file", trial.there("up"))
    assert result.bytes < 50_000
    assert trial.seen("up").read_bytes() == b"text\n" * 100_000


def make_tree(root: Path) -> None:
    """Make a directory with files and directories in it."""

    for name in ("below", "below/deeper", "empty"):
        (root / name).mkdir(parents=True)
        (root / name).chmod(0o777)
    for number in range(30):
        (root / "below" / f"{number}").write_bytes(b"x" * number * 1000)
        os.utime(root / "below" / f"{number}", (1.7e9, 1.7e9))
    (root / "below" / "deeper" / "a b").write_bytes(CONTENT)
    os.utime(root / "below" / "deeper" / "a b", (1.7e9, 1.7e9))
    root.chmod(0o777)


def tree(root: Path) -> dict[str, bytes | None]:
    """Return what is in a directory, by path; None stands for a directory."""

    return {
        path.relative_to(root).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in root.rglob("*")
    }


@step("mirror down, again, 4 connections")
async def _mirror_down(trial: Trial) -> None:
    await anyio.to_thread.run_sync(make_tree, trial.seen("tree"))
    for transferred in (31, 0):
        mirror = Mirror(trial.site.server)
        await mirror.download(trial.there("tree"), trial.here / "tree")
        assert mirror.failures == [], mirror.failures[:3]
        assert (mirror.transferred, mirror.same) == (transferred, 31 - transferred), (
            mirror.transferred,
            mirror.same,
        )
    assert tree(trial.here / "tree") == tree(trial.seen("tree"))


@step("mirror up, again, 4 connections")
async def _mirror_up(trial: Trial) -> None:
    await anyio.to_thread.run_sync(make_tree, trial.here / "tree")
    for transferred in (31, 0):
        mirror = Mirror(trial.site.server)
        await mirror.upload(trial.here / "tree", trial.there("uptree"))
        assert mirror.failures == [], mirror.failures[:3]
        assert (mirror.transferred, mirror.same) == (transferred, 31 - transferred), (
            mirror.transferred,
            mirror.same,
        )
    assert tree(trial.seen("uptree")) == tree(trial.here / "tree")


def clean(directory: Path) -> None:
    """Remove what is in a directory."""

    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
