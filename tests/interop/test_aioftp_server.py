"""Real clients against `examples.aioftp_server`: aioftp's server with ftpdata's data connections.

Then the checks of `ftpdata.testing` against it, which say what aioftp's users gain.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from ftpdata.testing import Outcome, Protection, ServerUnderTest, check_server
from tests.interop.clients import CLIENTS
from tests.interop.clients.base import Client
from tests.interop.conftest import Certificate
from tests.interop.served import (
    LOOPBACK,
    PASSWORD,
    USER,
    Recorder,
    Site,
    missing,
    running_example,
)
from tests.interop.ways import Abort, Capability, Get, Listing, Put, Step, Way
from tests.interop.ways import Protection as Protected

pytestmark = pytest.mark.interop

CONTENT = random.Random(2389).randbytes(1_500_007)
HALF = 131_071
LINES = b"first\nsecond\n\nfourth, without an end"
NAMES = ["a file", "file -l", "Grüße"]

USED = [client for client in CLIENTS if client.name in {"curl", "lftp", "aioftp"}]
CASES = [(client, way) for client in USED for way in Way if way in client.ways]
# lftp says EPSV over IPv4 only where FEAT promises it, which aioftp has not.
CASES = [case for case in CASES if (case[0].name, case[1]) != ("lftp", Way.EPSV_4)]
# The driver of aioftp's client says PBSZ before it logs in, which aioftp's server refuses.
PROTECTED = [client for client in USED if client.name != "aioftp"]


@contextlib.contextmanager
def serving(directory: Path, family: int, *options: str) -> Iterator[int]:
    """Run the example within the context; yield its port."""

    command = [sys.executable, "-W", "error", "-m", "examples.aioftp_server", str(directory)]
    log = directory.with_suffix(".log")
    with running_example(command, log, family, *options) as port:
        yield port
    # aioftp logs an error whenever a client leaves without QUIT.
    assert "Exception ignored" not in log.read_text()
    assert "Warning" not in log.read_text()


@attrs.frozen
class Meeting:
    """A client and the server, and a directory of each."""

    client: Client
    site: Site
    recorder: Recorder
    ours: Path
    theirs: Path

    def run(self, *steps: Step) -> list[list[bytes]]:
        """Let the client do the steps."""

        return self.client.run(self.site, steps)


@contextlib.contextmanager
def meeting(
    client: Client, way: Way, tmp_path: Path, *options: str, authority: Path | None = None
) -> Iterator[Meeting]:
    """Bring a client and the server together."""

    if client.version is None:
        missing(client.name)
    ours, theirs, scratch = (tmp_path / name for name in ("ours", "theirs", "scratch"))
    for directory in (ours, theirs, scratch):
        directory.mkdir()
    host = LOOPBACK[way.family]
    protection = Protected.IMPLICIT if authority else None
    with (
        serving(theirs, way.family, *options) as port,
        Recorder(host, port) as recorder,
    ):
        site = Site(
            way, host, recorder.port, scratch, protection=protection, authority=authority
        )
        yield Meeting(client, site, recorder, ours, theirs)
    assert not list(theirs.glob(".*"))


@pytest.mark.parametrize(
    ("client", "way"), CASES, ids=[f"{client.name}-{way}" for client, way in CASES]
)
def test_a_client_does_what_it_can(client: Client, way: Way, tmp_path: Path) -> None:
    """Files both ways, resumed, in ASCII, empty, many; listings; and an abort in the middle."""

    with meeting(client, way, tmp_path) as here:
        ours, theirs = here.ours, here.theirs
        for name in NAMES:
            (theirs / name).write_bytes(name.encode())
        (theirs / "file").write_bytes(CONTENT)
        (ours / "put").write_bytes(CONTENT)
        (ours / "part").write_bytes(CONTENT[:HALF])
        (theirs / "rest").write_bytes(CONTENT[:HALF])
        (theirs / "lines").write_bytes(LINES)
        text = LINES.replace(b"\n", b"\r\n") if client.ascii_is_raw else LINES
        (ours / "text").write_bytes(text)
        (theirs / "empty").touch()
        (ours / "nothing").touch()
        steps: list[Step] = [
            Get(b"file", ours / "got"),
            Put(ours / "put", b"put"),
            Get(b"file", ours / "part", offset=HALF),
            Put(ours / "put", b"rest", offset=HALF),
            Get(b"lines", ours / "lines", ascii=True),
            Put(ours / "text", b"text", ascii=True),
            Get(b"empty", ours / "empty"),
            Put(ours / "nothing", b"nothing"),
            *(Get(name.encode(), ours / name) for name in NAMES),
        ]
        here.run(*steps)
        for path in (ours / "got", ours / "part", theirs / "put", theirs / "rest"):
            assert path.read_bytes() == CONTENT, path
        assert (ours / "lines").read_bytes().removesuffix(b"\n") == text
        assert (theirs / "text").read_bytes().removesuffix(b"\n") == LINES
        assert (ours / "empty").read_bytes() == b""
        assert (theirs / "nothing").read_bytes() == b""
        for name in NAMES:
            assert (ours / name).read_bytes() == name.encode()

        expected = sorted(path.name.encode() for path in theirs.iterdir())
        for command in ("LIST", "NLST", "MLSD"):
            if Capability[command] not in client.cannot:
                [names] = here.run(Listing(b"", command))
                assert sorted(names) == expected, command

        with (theirs / "big").open("wb") as file:
            file.truncate(2**30)
        here.run(Abort(b"big", ours / "piece"), Get(b"file", ours / "again"))
        assert (ours / "again").read_bytes() == CONTENT
        used = {verb for verb in ("PASV", "EPSV", "PORT", "EPRT") if here.recorder.count(verb)}
        assert used == {way.command}


@pytest.mark.parametrize("client", PROTECTED, ids=[client.name for client in PROTECTED])
def test_a_client_through_implicit_tls(
    client: Client, tmp_path: Path, certificate: Certificate
) -> None:
    """Files both ways, empty ones too, and a listing."""

    options = ("--certificate", str(certificate.server))
    with meeting(
        client, Way.PASV_4, tmp_path, *options, authority=certificate.authority
    ) as here:
        ours, theirs = here.ours, here.theirs
        (theirs / "file").write_bytes(CONTENT)
        (ours / "empty").touch()
        [names] = here.run(
            Get(b"file", ours / "file"),
            Put(ours / "file", b"again"),
            Put(ours / "empty", b"empty"),
            Listing(b"", "LIST"),
        )
        assert (theirs / "again").read_bytes() == CONTENT
        assert sorted(names) == [b"again", b"empty", b"file"]


GAINED = (
    "abort-after-passive",
    "abort-before-the-connection",
    "ascii-download",
    "ascii-upload",
    "bounce",
    "bounce-to-low-ports",
    "connection-a-while-after-the-command",
    "download-that-is-reset",
    "epsv-and-its-arguments",
    "malformed-eprt",
    "malformed-port",
    "mlsd-command",
    "nlst-of-a-file",
    "passive-ports-are-given-back",
    "reset-upload",
    "stranger-gets-nothing",
    "stranger-stores-nothing",
)
"""What aioftp's server has not by itself, by the names of checks."""

LEFT = {
    "commands-without-their-argument",
    "directory-commands",
    "mkd-of-what-is-there",
    "names-not-in-utf8",
    "names-of-directories",
    "names-with-blanks",
    "names-with-control-characters",
    "noop-command",
    "pipelined-commands",
    "quotation-marks-in-paths",
    "rest-of-no-number",
    "rmd-of-a-full-directory",
    "telnet-commands-in-lines",
    "telnet-escapes-in-names",
}
"""Checks that fail still: how aioftp reads commands and names, and works on directories."""


def test_what_is_gained(tmp_path: Path) -> None:
    """Every check about data connections passes.

    On a busy machine an answer may come too late for a check, which then warns: it has a second
    chance.
    """

    served = tmp_path / "served"
    (served / "files").mkdir(parents=True)
    passed = set()
    with serving(served, 4) as port:
        server = ServerUnderTest(
            *(LOOPBACK[4], port, USER, PASSWORD, Protection.CLEAR),
            writable="/files",
            local=served / "files",
            late=10.0,
            patience=8.0,
        )
        for _ in range(2):
            results = asyncio.run(check_server(server, at_once=6))
            failed = [done for done in results if done.result is Outcome.FAIL]
            assert [done for done in failed if done.name not in LEFT] == []
            passed |= {done.name for done in results if done.result is Outcome.PASS}
            if passed >= set(GAINED):
                break
    assert set(GAINED) - passed == set()
