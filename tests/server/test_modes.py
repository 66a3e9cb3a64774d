"""Every type, structure and mode of RFC 959 §3, through the whole server."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from pathlib import Path

import anyio.to_thread
import pytest

from examples.client.client import Server
from examples.server.settings import Uploads
from examples.transfer_modes import COMBINATIONS, MODES, STRUCTURES, TEXT, TYPES, check
from ftpdata import CodecOptions, TransferParameters
from ftpdata.codecs import RecordFile, decoder_for, encoder_for
from tests.harness.leaks import hidden_files
from tests.harness.tls import client_context, server_certificate
from tests.server.client import PATIENCE, Client, names, serving
from tests.server.test_tls import ReusingFTP, protected_client

combinations = pytest.mark.parametrize(
    ("kind", "structure", "mode"), COMBINATIONS, ids=["-".join(each) for each in COMBINATIONS]
)

MARKED = [
    (kind, structure, mode)
    for kind, structure, mode in COMBINATIONS
    if (structure, mode) != ("F", "S") and kind in {"A N", "E N", "I"}
]
"""Combinations in which a mark ends the file."""

marked = pytest.mark.parametrize(
    ("kind", "structure", "mode"), MARKED, ids=["-".join(each) for each in MARKED]
)


async def choose(client: Client, kind: str, structure: str, mode: str) -> TransferParameters:
    """Say TYPE, STRU and MODE."""

    for line in (f"TYPE {kind}", f"STRU {structure}", f"MODE {mode}"):
        assert await client.code(line) == 200
    return TransferParameters().with_type(kind).with_structure(structure).with_mode(mode)


def encoded(content: bytes, parameters: TransferParameters) -> bytes:
    """Return what is on the connection."""

    encoder = encoder_for(parameters)
    return b"".join([*encoder.feed(content), *encoder.finish()])


def decoded(data: bytes, parameters: TransferParameters) -> bytes:
    """Return what is in the file."""

    decoder = decoder_for(parameters)
    return b"".join([*decoder.feed(data), *decoder.finish()])


@combinations
async def test_round_trip(kind: str, structure: str, mode: str, served_directory: Path) -> None:
    """What the client example sends up is stored as it was, and comes down as it was."""

    async with serving(served_directory) as server:
        where = Server(server.host, port=server.port, user="ann", password="secret")
        await check(where, kind, structure, mode)


def test_the_promises_have_each_combination() -> None:
    """The matrix agrees with the tests."""

    promises = (Path(__file__).parents[1] / "promises.md").read_text("utf-8")
    for kind, structure in itertools.product(TYPES, STRUCTURES):
        assert f"\n| {kind} | {structure} {'| ✓ ' * len(MODES)}|\n" in promises


async def test_size_is_what_is_sent(served_directory: Path) -> None:
    """It depends on the combination in effect (RFC 3659 §4); in MODE Z it is before compression."""

    (served_directory / "file").write_bytes(TEXT)
    async with serving(served_directory) as server, server.logged_in() as client:
        for kind, structure, mode in COMBINATIONS:
            await choose(client, kind, structure, mode)
            size = int((await client.command("SIZE file")).split()[1])
            if mode == "Z":
                assert await client.code("MODE S") == 200
            assert len(await client.download("RETR file")) == size


@marked
async def test_listings_are_texts(
    kind: str, structure: str, mode: str, served_directory: Path
) -> None:
    """In TYPE E they are EBCDIC, else ASCII; structure and mode hold as for any file."""

    for name in ("one", "two", "three"):
        (served_directory / name).touch()
    async with serving(served_directory) as server, server.logged_in() as client:
        plain = {verb: await client.download(verb) for verb in ("LIST", "NLST", "MLSD")}
        parameters = await choose(client, kind, structure, mode)
        if kind == "I":
            parameters = parameters.with_type("A")
        for verb, expected in plain.items():
            text = decoded(await client.download(verb), parameters)
            assert text.splitlines() == expected.splitlines()


@marked
async def test_upload_without_end_mark_is_cut(
    kind: str, structure: str, mode: str, served_directory: Path
) -> None:
    """The reply is 426 although the connection ended cleanly; the old file stays."""

    (served_directory / "file").write_bytes(b"before")
    async with serving(served_directory) as server, server.logged_in() as client:
        parameters = await choose(client, kind, structure, mode)
        data = encoded(TEXT, parameters)
        # In compressed mode an end-of-file escape is enough, without its empty string.
        whole = len(data) - 1 if mode == "C" else len(data)
        sizes = {"STOR file": whole - 1, "STOR new": whole // 2, "STOU": 1, "APPE new": 0}
        for line, size in sizes.items():
            assert (await client.upload(line, data[:size]))[:3] == "426"
        await client.quiet()
        assert names(served_directory) == ["file"]
        assert (served_directory / "file").read_bytes() == b"before"
        assert (await client.upload("STOR file", data))[:3] == "226"
        assert (served_directory / "file").read_bytes() == TEXT


@marked
async def test_empty_file(kind: str, structure: str, mode: str, served_directory: Path) -> None:
    """In both directions it is an end mark and nothing else."""

    async with serving(served_directory) as server, server.logged_in() as client:
        parameters = await choose(client, kind, structure, mode)
        mark = encoded(b"", parameters)
        assert (await client.upload("STOR file", mark))[:3] == "226"
        assert (served_directory / "file").read_bytes() == b""
        assert await client.download("RETR file") == mark


async def test_append(served_directory: Path) -> None:
    """The data that are appended are decoded like any upload."""

    async with serving(served_directory) as server, server.logged_in() as client:
        expected = b""
        for kind, structure, mode in MARKED:
            parameters = await choose(client, kind, structure, mode)
            assert (await client.upload("APPE file", encoded(b"more\n", parameters)))[:3] == "226"
            expected += b"more\n"
            assert (served_directory / "file").read_bytes() == expected


@pytest.mark.parametrize("mode", ["S", "B", "C", "Z"])
async def test_restart(mode: str, served_directory: Path) -> None:
    """Both directions begin at an offset in the file: in MODE Z, one before compression."""

    content = bytes(range(256)) * 40
    (served_directory / "file").write_bytes(content)
    async with serving(served_directory) as server, server.logged_in() as client:
        parameters = await choose(client, "I", "F", mode)
        for offset in (1, 5000, len(content)):
            assert await client.code(f"REST {offset}") == 350
            assert decoded(await client.download("RETR file"), parameters) == content[offset:]
        assert await client.code(f"REST {len(content) + 1}") == 350
        assert await client.code("RETR file") == 554
        assert await client.code("REST 5000") == 350
        assert (await client.upload("STOR file", encoded(b"new", parameters)))[:3] == "226"
        stored = content[:5000] + b"new" + content[5003:]
        assert (served_directory / "file").read_bytes() == stored


async def test_level_of_deflate(served_directory: Path) -> None:
    """OPTS sets it for what is sent; without a level it is as at first (RFC 2389 §4)."""

    (served_directory / "file").write_bytes(TEXT * 3)
    async with serving(served_directory) as server, server.logged_in() as client:
        parameters = await choose(client, "I", "F", "Z")
        sizes = []
        for option in ("", " LEVEL 0", " LEVEL 1", " LEVEL 9", ""):
            assert await client.code(f"OPTS MODE Z{option}") == 200
            data = await client.download("RETR file")
            assert decoded(data, parameters) == TEXT * 3
            sizes.append(len(data))
        first, none, least, best, last = sizes
        assert best < least < len(TEXT) * 3 < none
        assert first == last


async def test_code_page_is_a_setting(served_directory: Path) -> None:
    """A host of today's mainframes has 1047, where the brackets are elsewhere than in 037."""

    (served_directory / "file").write_bytes(b"[]\n")
    for page, expected in (("cp037", b"\xba\xbb\x15"), ("1047", b"\xad\xbd\x15")):
        async with (
            serving(served_directory, code_page=page) as server,
            server.logged_in() as client,
        ):
            assert await client.code("TYPE E") == 200
            assert await client.download("RETR file") == expected
            assert (await client.upload("STOR new", expected))[:3] == "226"
            assert (served_directory / "new").read_bytes() == b"[]\n"


# Restart markers


MIB = 1024 * 1024
CONTENT = bytes(range(256)) * 4000


def block(descriptor: int, data: bytes) -> bytes:
    """Return a block (RFC 959 §3.4.2)."""

    return bytes((descriptor,)) + len(data).to_bytes(2, "big") + data


def string(escape: int, data: bytes) -> bytes:
    """Return a string of compressed mode, after an escape (RFC 959 §3.4.3)."""

    # Of filler bytes there may be none, of others at least one.
    header = bytes((len(data),)) if data else b"\xc0"
    return (bytes((0, escape)) if escape else b"") + header + data


@pytest.mark.parametrize(("mode", "piece"), [("B", block), ("C", string)])
async def test_marker_is_acknowledged_and_what_is_before_it_stays(
    mode: str, piece: Callable[[int, bytes], bytes], served_directory: Path
) -> None:
    """110 says where it stands; from there the upload that was cut goes on (RFC 959 §3.5)."""

    async with serving(served_directory) as server, server.logged_in() as client:
        await choose(client, "A", "F", mode)
        data = await client.passive()
        client.send("STOR file")
        assert await client.codes(1) == [125]
        data.writer.write(piece(0, b"one\r\n") + piece(16, b"their-mark") + piece(0, b"two"))
        assert await client.reply() == "110 MARK their-mark = 4"
        assert not (served_directory / "file").exists()
        await data.close()
        assert await client.codes(1) == [426]
        assert not (served_directory / "file").exists()
        [part] = hidden_files(served_directory)
        assert part.read_bytes() == b"one\ntwo"

        assert await client.code("REST 4") == 350
        data = await client.passive()
        client.send("STOR file")
        assert await client.codes(1) == [125]
        data.writer.write(piece(0, b"three\r\n") + piece(16, b"next"))
        assert await client.reply() == "110 MARK next = 10"
        assert not (served_directory / "file").exists()
        await data.send(piece(64, b""))
        assert await client.codes(1) == [226]
        assert (served_directory / "file").read_bytes() == b"one\nthree\n"
        await client.quiet()
    assert names(served_directory) == ["file"]


async def test_what_is_kept_does_not_replace_the_file(served_directory: Path) -> None:
    """The old file stays; what was acknowledged is kept beside it, hidden."""

    (served_directory / "file").write_bytes(b"before")
    async with serving(served_directory) as server, server.logged_in() as client:
        await choose(client, "I", "F", "B")
        upload = block(0, b"one") + block(16, b"mark")
        assert await client.upload("STOR file", upload) == "110 MARK mark = 3"
        assert await client.codes(1) == [426]
        assert (served_directory / "file").read_bytes() == b"before"
    assert names(served_directory) == ["file"]
    [part] = hidden_files(served_directory)
    assert part.read_bytes() == b"one"


@pytest.mark.parametrize("anonymous", [False, True])
async def test_what_is_not_kept_is_not_acknowledged(
    served_directory: Path, *, anonymous: bool
) -> None:
    """A 110 would be false if the client cannot resume, or the server keeps nothing."""

    uploads = Uploads.RESUMABLE if anonymous else Uploads.ATOMIC
    async with serving(served_directory, uploads=uploads) as server, server.connected() as client:
        await client.login("anonymous" if anonymous else "ann")
        await choose(client, "I", "F", "B")
        upload = block(0, b"one") + block(16, b"mark")
        assert (await client.upload("STOR file", upload))[:3] == "426"
        await client.quiet()
        assert (await client.upload("STOR file", upload + block(64, b"")))[:3] == "226"
        assert (await client.upload("APPE file", upload))[:3] == "110"
        assert await client.codes(1) == [426]
    assert hidden_files(served_directory) == []


async def test_marker_before_the_first_byte_keeps_nothing(served_directory: Path) -> None:
    """Nothing came before it, so there is nothing to keep, and no empty file is made."""

    (served_directory / "file").write_bytes(b"before")
    async with serving(served_directory) as server, server.logged_in() as client:
        await choose(client, "I", "F", "B")
        assert (await client.upload("STOR file", block(16, b"mark"))) == "110 MARK mark = 0"
        assert await client.codes(1) == [426]
        assert (served_directory / "file").read_bytes() == b"before"
        assert (await client.upload("APPE new", block(16, b"mark"))) == "110 MARK mark = 0"
        assert await client.codes(1) == [426]
    assert hidden_files(served_directory) == []
    assert names(served_directory) == ["file"]


@pytest.mark.parametrize("mode", ["B", "C"])
@pytest.mark.parametrize("kind", ["A", "E", "I"])
async def test_markers_of_a_download(kind: str, mode: str, served_directory: Path) -> None:
    """Each is an offset from which RETR goes on after REST, in any type."""

    content = b"some text\r\nof two lines\n" * 5000
    (served_directory / "file").write_bytes(content)
    options = CodecOptions(marker_interval=10_001)
    async with (
        serving(served_directory, codec_options=options) as server,
        server.logged_in() as client,
    ):
        parameters = await choose(client, kind, "F", mode)
        marks: list[tuple[str, int]] = []
        decoder = decoder_for(
            parameters, on_marker=lambda marker: marks.append((marker.text, marker.offset))
        )
        pieces = [*decoder.feed(await client.download("RETR file")), *decoder.finish()]
        whole = b"".join(pieces)
        assert len(marks) > 5
        for text, offset in (marks[0], marks[-1]):
            assert await client.code(f"REST {text}") == 350
            rest = decoded(await client.download("RETR file"), parameters)
            assert whole[:offset] + rest == whole


async def test_markers_are_sent_each_mebibyte(served_directory: Path) -> None:
    """The interval can be set; there are no markers in stream and deflate mode."""

    (served_directory / "file").write_bytes(bytes(2 * MIB + 1))
    async with serving(served_directory) as server, server.logged_in() as client:
        for mode, expected in (("B", 2), ("C", 2), ("S", 0)):
            await choose(client, "I", "F", mode)
            sent = await client.download("RETR file")
            assert sent.count(b"1048576") + sent.count(b"2097152") == expected


# Several files on one data connection


async def test_several_files_on_one_connection(served_directory: Path) -> None:
    """Uploads, downloads and listings share it in block and compressed mode, and get 250."""

    (served_directory / "file").write_bytes(CONTENT)
    async with (
        serving(served_directory, keep_data_connection=True) as server,
        server.logged_in() as client,
    ):
        data = await client.passive()
        for mode in ("B", "C", "B"):
            parameters = await choose(client, "I", "F", mode)
            for name in ("one", "two"):
                client.send(f"STOR {name}")
                assert await client.codes(1) == [125]
                data.writer.write(encoded(CONTENT, parameters))
                assert await client.codes(1) == [250]
                assert (served_directory / name).read_bytes() == CONTENT
                (served_directory / name).unlink()
            for line, expected in (("RETR file", CONTENT), ("NLST", b"file\n")):
                client.send(line)
                assert await client.codes(1) == [125]
                decoder = decoder_for(parameters.with_type("A" if line == "NLST" else "I"))
                received = b""
                while not decoder.complete:
                    received += b"".join(decoder.feed(await data.reader.read(65536)))
                assert received == expected
                assert await client.codes(1) == [250]

        await choose(client, "I", "F", "S")
        client.send("RETR file")
        assert await client.codes(1) == [125]
        assert await data.read() == CONTENT
        assert await client.codes(1) == [226]
        assert await client.code("RETR file") == 425


async def test_files_sent_at_once_are_taken_one_by_one(served_directory: Path) -> None:
    """Data after the end of a file wait for the next command."""

    async with (
        serving(served_directory, keep_data_connection=True) as server,
        server.logged_in() as client,
    ):
        parameters = await choose(client, "I", "F", "B")
        data = await client.passive()
        data.writer.write(encoded(b"one", parameters) + encoded(b"two", parameters))
        for name in ("one", "two"):
            client.send(f"STOR {name}")
            assert await client.codes(2) == [125, 250]
        await data.send(encoded(b"three", parameters))
        client.send("STOR three")
        assert (await client.codes(2))[1] in (226, 250)
        for name in ("one", "two", "three"):
            assert (served_directory / name).read_bytes() == name.encode()


@pytest.mark.parametrize("line", ["EPSV", "ABOR", "REIN", "QUIT", "close"])
async def test_end_of_a_connection_that_was_kept(line: str, served_directory: Path) -> None:
    """The server closes it in peace where another is prepared, or the session ends."""

    async with (
        serving(served_directory, keep_data_connection=True) as server,
        server.logged_in() as client,
    ):
        parameters = await choose(client, "I", "F", "B")
        data = await client.passive()
        client.send("STOR file")
        data.writer.write(encoded(b"content", parameters))
        assert await client.codes(2) == [125, 250]
        if line == "close":
            await data.close()
            assert await client.code("RETR file") == 425
        else:
            assert await client.code(line) in (229, 226, 220, 221)
            assert await data.read() == b""


async def test_connection_in_clear_is_not_kept_for_one_that_is_protected(
    served_directory: Path,
) -> None:
    """PROT ends it, as it ends whatever was prepared for the other level."""

    async with (
        serving(
            served_directory, keep_data_connection=True, certificate=server_certificate()
        ) as server,
        protected_client(server) as (client, _),
    ):
        parameters = await choose(client, "I", "F", "B")
        assert await client.code("PBSZ 0") == 200
        data = await client.passive()
        client.send("STOR file")
        data.writer.write(encoded(b"content", parameters))
        assert await client.codes(2) == [125, 250]
        assert await client.code("PROT P") == 200
        assert await data.read() == b""
        assert await client.code("RETR file") == 425


async def test_failure_ends_a_connection_that_was_kept(served_directory: Path) -> None:
    """It is reset like any connection; the next transfer needs another one."""

    async with (
        serving(served_directory, keep_data_connection=True) as server,
        server.logged_in() as client,
    ):
        parameters = await choose(client, "I", "F", "B")
        data = await client.passive()
        client.send("STOR file")
        data.writer.write(encoded(b"content", parameters))
        assert await client.codes(2) == [125, 250]
        client.send("STOR file")
        data.writer.write(b"\xff\xff\xff")
        assert await client.codes(2) == [125, 451]
        assert await data.was_reset()
        assert await client.code("STOR file") == 425
        assert (served_directory / "file").read_bytes() == b"content"


async def test_connection_is_closed_after_each_file_by_default(served_directory: Path) -> None:
    """226 comes as soon as the end mark has come, whether the client has closed or not."""

    async with serving(served_directory) as server, server.logged_in() as client:
        for mode in ("B", "C"):
            parameters = await choose(client, "I", "F", mode)
            data = await client.passive()
            client.send("STOR file")
            data.writer.write(encoded(b"content", parameters))
            assert await client.codes(2) == [125, 226]
            assert await data.read() == b""
            assert (served_directory / "file").read_bytes() == b"content"


# In TLS


@pytest.mark.parametrize("mode", ["S", "B", "C", "Z"])
async def test_modes_in_tls(mode: str, served_directory: Path) -> None:
    """The data are encoded first and encrypted then."""

    parameters = TransferParameters().with_mode(mode)

    def work() -> None:
        with ReusingFTP(client_context()) as ftp:
            ftp.connect(server.host, server.port, timeout=PATIENCE)
            ftp.login("ann", "secret")
            ftp.prot_p()
            ftp.voidcmd("TYPE I")
            ftp.voidcmd(f"MODE {mode}")
            ftp.storbinary("STOR file", io.BytesIO(encoded(TEXT, parameters)))
            received = io.BytesIO()
            ftp.retrbinary("RETR file", received.write)
            assert decoded(received.getvalue(), parameters) == TEXT

    async with serving(
        served_directory, certificate=server_certificate(), require_tls=True
    ) as server:
        await anyio.to_thread.run_sync(work)

    assert (served_directory / "file").read_bytes() == TEXT


async def test_files_of_records(served_directory: Path) -> None:
    """With --records, a mainframe's records keep their boundaries in MODE B, and SIZE says so."""

    rdw = bytes.fromhex("0006 0000 C1C2  0004 0000  0006 0000 123C")
    sent = bytes.fromhex("80 0002 C1C2  80 0000  40 0002 123C")
    options = CodecOptions(marker_interval=1, record_file=RecordFile())
    async with (
        serving(served_directory, codec_options=options) as server,
        server.logged_in() as client,
    ):
        await choose(client, "E", "F", "B")
        assert (await client.upload("STOR file", sent))[:3] == "226"
        assert (served_directory / "file").read_bytes() == rdw
        back = await client.download("RETR file")
        assert back == bytes.fromhex("80 0002 C1C2  80 0000  80 0002 123C  40 0000")
        assert int((await client.command("SIZE file")).split()[1]) == len(back)
        assert (await client.upload("STOR cut", sent[:-1]))[:3] == "426"
        await client.quiet()
        assert names(served_directory) == ["file"]
        await choose(client, "I", "F", "S")
        assert await client.download("RETR file") == rdw
