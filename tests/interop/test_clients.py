"""Real clients against the reference server: every client, capability and way to open."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest

from tests.interop.clients import CLIENTS
from tests.interop.conftest import SPARSE_SIZE, Exchange
from tests.interop.names import NASTY, ODD, shown
from tests.interop.table import cases_of
from tests.interop.ways import Abort, Capability, Get, Listing, Put, Step

pytestmark = pytest.mark.interop

CONTENT = random.Random(959).randbytes(300_007)
HALF = 131_071
SHORT = 10_007
LINES = b"first\nsecond\n\nfourth, without an end"


def clients_that(*capabilities: Capability) -> pytest.MarkDecorator:
    """Parametrise a test with every client that has a capability, and every way that it has."""

    cases = [case for client in CLIENTS for case in cases_of(client)]
    chosen = [case for case in cases if case.capability in capabilities]
    return pytest.mark.parametrize("case", chosen, ids=str)


@clients_that(Capability.GET)
def test_get(exchange: Exchange) -> None:
    """A download arrives whole."""

    (exchange.theirs / "file").write_bytes(CONTENT)
    exchange.run(Get(exchange.path("file"), exchange.ours / "file"))
    assert (exchange.ours / "file").read_bytes() == CONTENT


@clients_that(Capability.PUT)
def test_put(exchange: Exchange) -> None:
    """An upload arrives whole, under its name and no other."""

    (exchange.ours / "file").write_bytes(CONTENT)
    exchange.run(Put(exchange.ours / "file", exchange.path("file")))
    assert (exchange.theirs / "file").read_bytes() == CONTENT
    assert _names(exchange.theirs) == ["file"]


@clients_that(Capability.RESUME_GET)
def test_resume_get(exchange: Exchange) -> None:
    """The rest of a download is added to the bytes that are there already."""

    (exchange.theirs / "file").write_bytes(CONTENT)
    (exchange.ours / "file").write_bytes(CONTENT[:HALF])
    exchange.run(Get(exchange.path("file"), exchange.ours / "file", offset=HALF))
    assert (exchange.ours / "file").read_bytes() == CONTENT
    assert f"REST {HALF}" in exchange.recorder.commands


@clients_that(Capability.RESUME_PUT)
def test_resume_put(exchange: Exchange) -> None:
    """The rest of an upload is added to the bytes that are there already."""

    (exchange.ours / "file").write_bytes(CONTENT)
    (exchange.theirs / "file").write_bytes(CONTENT[:HALF])
    exchange.run(Put(exchange.ours / "file", exchange.path("file"), offset=HALF))
    assert (exchange.theirs / "file").read_bytes() == CONTENT
    assert exchange.recorder.count("APPE") or f"REST {HALF}" in exchange.recorder.commands


@clients_that(Capability.LIST, Capability.NLST, Capability.MLSD)
def test_list(exchange: Exchange) -> None:
    """Every file is one entry of the listing, whatever its name, and nothing else is."""

    capability = exchange.case.capability
    [names] = exchange.run(Listing(b"nasty", capability.name))
    expected = [shown(name) for name in NASTY]
    if capability.name in exchange.case.client.strips:
        expected = [name.strip() for name in expected]

    assert sorted(names) == sorted(expected)
    assert exchange.recorder.count(capability.name) >= 1


@clients_that(Capability.NAMES)
def test_names(exchange: Exchange) -> None:
    """A file is retrieved by its name, even if it is odd or not UTF-8."""

    exchange.run(
        *(Get(b"nasty/" + name, exchange.ours / str(number)) for number, name in enumerate(ODD))
    )
    assert [(exchange.ours / str(number)).read_bytes() for number in range(len(ODD))] == list(ODD)


@clients_that(Capability.ASCII_GET)
def test_ascii_get(exchange: Exchange) -> None:
    """A download in TYPE A has network line ends on the wire, and local ones in the file."""

    (exchange.theirs / "lines").write_bytes(LINES)
    exchange.run(Get(exchange.path("lines"), exchange.ours / "lines", ascii=True))
    got = (exchange.ours / "lines").read_bytes()
    if exchange.case.client.ascii_is_raw:
        assert got == LINES.replace(b"\n", b"\r\n")
    else:
        # Some clients end the last line, which the file did not.
        assert got.removesuffix(b"\n") == LINES
    assert _type(exchange, "RETR") == "A"


@clients_that(Capability.ASCII_PUT)
def test_ascii_put(exchange: Exchange) -> None:
    """An upload in TYPE A has network line ends on the wire, and local ones in the file."""

    text = LINES.replace(b"\n", b"\r\n") if exchange.case.client.ascii_is_raw else LINES
    (exchange.ours / "lines").write_bytes(text)
    exchange.run(Put(exchange.ours / "lines", exchange.path("lines"), ascii=True))
    assert (exchange.theirs / "lines").read_bytes().removesuffix(b"\n") == LINES
    assert _type(exchange, "STOR") == "A"


@clients_that(Capability.EMPTY)
def test_empty(exchange: Exchange) -> None:
    """A file of 0 bytes is transferred as a file, in both directions."""

    (exchange.theirs / "empty").touch()
    steps: list[Step] = [Get(exchange.path("empty"), exchange.ours / "empty")]
    if Capability.PUT not in exchange.case.client.cannot:
        (exchange.ours / "nothing").touch()
        steps.append(Put(exchange.ours / "nothing", exchange.path("nothing")))

    exchange.run(*steps)
    assert (exchange.ours / "empty").read_bytes() == b""
    if len(steps) > 1:
        assert (exchange.theirs / "nothing").read_bytes() == b""


@clients_that(Capability.LAST_BYTE)
def test_last_byte(exchange: Exchange) -> None:
    """An offset above 4 GiB works."""

    local = exchange.ours / "sparse"
    with local.open("wb") as file:
        file.truncate(SPARSE_SIZE - 1)

    exchange.run(Get(b"sparse", local, offset=SPARSE_SIZE - 1))
    assert f"REST {SPARSE_SIZE - 1}" in exchange.recorder.commands
    assert local.stat().st_size == SPARSE_SIZE
    with local.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        assert file.read() == b"!"


@clients_that(Capability.ABORT)
def test_abort(exchange: Exchange) -> None:
    """After a download is aborted in the middle, the next one is whole.

    A client that sends ABOR gets 426 for the download and 226 for the abort (RFC 959 §4.1.3).
    """

    (exchange.theirs / "file").write_bytes(CONTENT[:SHORT])
    part, file = exchange.ours / "part", exchange.ours / "file"
    exchange.run(Abort(b"big", part), Get(exchange.path("file"), file))
    assert file.read_bytes() == CONTENT[:SHORT]
    assert exchange.recorder.count("RETR") == 2
    assert (exchange.recorder.connections == 1) == exchange.case.client.keeps_session
    if exchange.recorder.count("ABOR"):
        replies = exchange.recorder.replies
        assert [426, 226] in [replies[at : at + 2] for at in range(len(replies))]
    else:
        assert not exchange.case.client.keeps_session


@clients_that(Capability.FIFTY, Capability.TLS_FIFTY)
def test_fifty(exchange: Exchange) -> None:
    """One control connection serves fifty transfers."""

    can_put = Capability.PUT not in exchange.case.client.cannot
    names = [f"file{number}" for number in range(50)]
    steps: list[Step] = []
    for number, name in enumerate(names):
        source, target = exchange.theirs, exchange.ours
        if can_put and number % 2:
            source, target = exchange.ours, exchange.theirs
            steps.append(Put(source / name, exchange.path(name)))
        else:
            steps.append(Get(exchange.path(name), target / name))
        (source / name).write_bytes(name.encode() * 100)

    exchange.run(*steps)
    for directory in (exchange.ours, exchange.theirs):
        assert all((directory / name).read_bytes() == name.encode() * 100 for name in names)
    if exchange.case.protection is None:
        assert exchange.recorder.count("RETR") + exchange.recorder.count("STOR") == len(steps)
    assert exchange.recorder.connections == 1


MANY_LINES = LINES * 200


@clients_that(Capability.DEFLATE, Capability.TLS_DEFLATE)
def test_deflate(exchange: Exchange) -> None:
    """Downloads, an upload and a listing are zlib streams; REST counts bytes of the file."""

    half = len(MANY_LINES) // 2
    (exchange.theirs / "down").write_bytes(MANY_LINES)
    (exchange.ours / "part").write_bytes(MANY_LINES[:half])
    (exchange.ours / "up").write_bytes(MANY_LINES)
    # Through TLS, only the client knows what is said.
    log = exchange.site.scratch / "log"
    switch = ("set ftp:use-mode-z yes", "set ftp:mode-z-level 9", f"debug -o {log} 9")
    [names] = exchange.run(
        Get(exchange.path("down"), exchange.ours / "down", before=switch),
        Put(exchange.ours / "up", exchange.path("up")),
        Get(exchange.path("down"), exchange.ours / "part", offset=half),
        Listing(os.fsencode(exchange.theirs.name), "LIST"),
    )
    assert (exchange.ours / "part").read_bytes() == MANY_LINES
    assert (exchange.ours / "down").read_bytes() == MANY_LINES
    assert (exchange.theirs / "up").read_bytes() == MANY_LINES
    assert sorted(names) == [b"down", b"up"]
    said = log.read_text("utf-8")
    assert "---> LIST" in said
    # The connections carried fewer bytes than the files have.
    sizes = [int(size) for size in re.findall(r"<--- 226 Complete: (\d+) bytes", said)]
    assert len(sizes) == 4
    assert all(size < len(MANY_LINES) / 10 for size in sizes)


@clients_that(Capability.LOCAL)
def test_local(exchange: Exchange) -> None:
    """TYPE L 8, which these clients call "tenex", transfers every byte unchanged."""

    (exchange.theirs / "down").write_bytes(CONTENT)
    (exchange.ours / "up").write_bytes(CONTENT)
    exchange.run(
        Get(exchange.path("down"), exchange.ours / "down", before=("tenex",)),
        Put(exchange.ours / "up", exchange.path("up")),
    )
    assert (exchange.ours / "down").read_bytes() == CONTENT
    assert (exchange.theirs / "up").read_bytes() == CONTENT
    assert _type(exchange, "RETR") == _type(exchange, "STOR") == "L 8"


TEXT = b"one\ntwo\n"

ON_THE_WIRE = {
    ("TYPE E", "STRU F", "MODE S"): "969585 15 A3A696 15",
    ("TYPE A", "STRU R", "MODE S"): "6F6E65 FF01 74776F FF01 FF02",
    ("TYPE E", "STRU R", "MODE S"): "969585 FF01 A3A696 FF01 FF02",
    ("TYPE I", "STRU F", "MODE B"): "00 0008 6F6E650A74776F0A 40 0000",
    ("TYPE A", "STRU R", "MODE B"): "80 0003 6F6E65 80 0003 74776F 40 0000",
    ("TYPE E", "STRU R", "MODE B"): "80 0003 969585 80 0003 A3A696 40 0000",
    ("TYPE I", "STRU F", "MODE C"): "08 6F6E650A74776F0A 0040 C0",
    ("TYPE E", "STRU R", "MODE C"): "03 969585 0080 C0 03 A3A696 0080 C0 0040 C0",
}
"""The bytes of a text on the connection, made by hand: RFC 959 §3.4, code page 037."""


@clients_that(Capability.BY_HAND)
def test_by_hand(exchange: Exchange) -> None:
    """These clients send with "quote" what they have no command for, and carry bytes unchanged."""

    (exchange.theirs / "text").write_bytes(TEXT)
    steps: list[Step] = []
    for number, (commands, data) in enumerate(ON_THE_WIRE.items()):
        (exchange.ours / f"sent{number}").write_bytes(bytes.fromhex(data))
        steps += [
            Get(
                exchange.path("text"),
                exchange.ours / f"got{number}",
                before=tuple(f"quote {command}" for command in commands),
            ),
            Put(exchange.ours / f"sent{number}", exchange.path(f"stored{number}")),
        ]

    exchange.run(*steps)
    for number, (commands, data) in enumerate(ON_THE_WIRE.items()):
        assert (exchange.ours / f"got{number}").read_bytes() == bytes.fromhex(data), commands
        assert (exchange.theirs / f"stored{number}").read_bytes() == TEXT, commands


# Through TLS


@clients_that(Capability.TLS_FILES)
def test_tls_files(exchange: Exchange) -> None:
    """Small and large files and a listing are transferred whole in one session."""

    can_put = Capability.PUT not in exchange.case.client.cannot
    large = CONTENT * 30
    (exchange.theirs / "small").write_bytes(b"x")
    (exchange.theirs / "large").write_bytes(large)
    steps: list[Step] = []
    for name in ("small", "large"):
        steps.append(Get(exchange.path(name), exchange.ours / name))
        if can_put:
            steps.append(Put(exchange.ours / name, exchange.path(f"{name} again")))
    steps.append(Listing(b"nasty", "LIST"))

    listings = exchange.run(*steps)
    assert len(listings[-1]) == len(NASTY)
    assert (exchange.ours / "large").read_bytes() == large
    if can_put:
        assert (exchange.theirs / "small again").read_bytes() == b"x"
        assert (exchange.theirs / "large again").read_bytes() == large


@clients_that(Capability.TLS_EMPTY_GET)
def test_tls_empty_get(exchange: Exchange) -> None:
    """A download of 0 bytes succeeds, and so does the next one."""

    (exchange.theirs / "empty").touch()
    (exchange.theirs / "file").write_bytes(CONTENT)
    exchange.run(
        Get(exchange.path("empty"), exchange.ours / "empty"),
        Get(exchange.path("file"), exchange.ours / "file"),
    )
    assert (exchange.ours / "empty").read_bytes() == b""
    assert (exchange.ours / "file").read_bytes() == CONTENT


@clients_that(Capability.TLS_EMPTY_PUT)
def test_tls_empty_put(exchange: Exchange) -> None:
    """An upload of 0 bytes succeeds, and so does the next one."""

    (exchange.ours / "empty").touch()
    (exchange.ours / "file").write_bytes(CONTENT)
    exchange.run(
        Put(exchange.ours / "empty", exchange.path("empty")),
        Put(exchange.ours / "file", exchange.path("file")),
    )
    assert (exchange.theirs / "empty").read_bytes() == b""
    assert (exchange.theirs / "file").read_bytes() == CONTENT


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def _type(exchange: Exchange, verb: str) -> str:
    """Return the type in force when a command came; at first it is A (RFC 959 §5.1)."""

    kind = "A"
    for line in exchange.recorder.commands:
        if line.upper().startswith("TYPE "):
            kind = line[5:].upper()
        elif line.startswith(f"{verb} "):
            return kind

    raise AssertionError(f"there was no {verb}")
