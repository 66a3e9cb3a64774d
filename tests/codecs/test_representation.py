"""Text in both directions, also in EBCDIC: whole, byte by byte and at every split."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ftpdata.codecs.representation import (
    PIECE_SIZE,
    AsciiDecoder,
    AsciiEncoder,
    EbcdicDecoder,
    EbcdicEncoder,
    ExistingCRLF,
    IdentityDecoder,
    IdentityEncoder,
)
from ftpdata.codecs.selection import check_supported, decoder_for, encoder_for
from ftpdata.contracts import Buffer, Decoder, Encoder
from ftpdata.errors import InvalidData, UnsupportedParameter
from ftpdata.parameters import RepresentationType, TransferParameters

# The columns: the file, what is sent with KEEP, what is sent with DOUBLE.
ENCODED = [
    (b"", b"", b""),
    (b"abc", b"abc", b"abc"),
    (b"\n", b"\r\n", b"\r\n"),
    (b"\n\n\n", b"\r\n\r\n\r\n", b"\r\n\r\n\r\n"),
    (b"a\nb", b"a\r\nb", b"a\r\nb"),
    (b"a\nb\n", b"a\r\nb\r\n", b"a\r\nb\r\n"),
    (b"\nabc\r", b"\r\nabc\r", b"\r\nabc\r"),  # a peer's defect: the first LF stayed bare
    (b"abc\r", b"abc\r", b"abc\r"),
    (b"\r", b"\r", b"\r"),
    (b"\r\r", b"\r\r", b"\r\r"),
    (b"a\rb", b"a\rb", b"a\rb"),
    (b"a\r\nb", b"a\r\nb", b"a\r\r\nb"),
    (b"\r\n", b"\r\n", b"\r\r\n"),
    (b"\r\n\n\r\n", b"\r\n\r\n\r\n", b"\r\r\n\r\n\r\r\n"),
    (b"\r\r\n", b"\r\r\n", b"\r\r\r\n"),
    (b"\n\r", b"\r\n\r", b"\r\n\r"),
    (b"\n\r\n\r", b"\r\n\r\n\r", b"\r\n\r\r\n\r"),
    (b"a\r\0b\0\n", b"a\r\0b\0\r\n", b"a\r\0b\0\r\n"),
    (b"\xe2\x82\xac\n\xff\x85\n", b"\xe2\x82\xac\r\n\xff\x85\r\n", b"\xe2\x82\xac\r\n\xff\x85\r\n"),
]

# The columns: what is received, the file.
DECODED = [
    (b"", b""),
    (b"abc", b"abc"),
    (b"\r\n", b"\n"),
    (b"\r\n\r\n", b"\n\n"),
    (b"a\r\nb\r\n", b"a\nb\n"),
    (b"abc\r", b"abc\r"),  # a peer's defect: the final CR was never written
    (b"\r", b"\r"),
    (b"\r\r", b"\r\r"),
    (b"\r\r\n", b"\r\n"),
    (b"\r\r\r\n\n", b"\r\r\n\n"),
    (b"\r\n\r", b"\n\r"),
    (b"a\rb\rc", b"a\rb\rc"),
    (b"a\nb\n", b"a\nb\n"),  # a peer that converts nothing
    (b"\n\r\n", b"\n\n"),
    (b"a\r\0b\r\0", b"a\r\0b\r\0"),
    (b"\xff\r\n\xe2\x82\xac\r\n", b"\xff\n\xe2\x82\xac\n"),
]
Stage = Encoder | Decoder
line_bytes = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"\0", b"a", b"line", b"\xff", b"\x85"]), max_size=40
).map(b"".join)


def run(stage: Stage, parts: Iterable[Buffer]) -> bytes:
    """Feed each part, then finish; check every piece on the way."""

    out = []
    for part in parts:
        pieces = list(stage.feed(part))
        limit = 2 * min(memoryview(part).nbytes, PIECE_SIZE)
        assert all(type(piece) is bytes and 0 < len(piece) <= limit for piece in pieces)
        out += pieces

    rest = list(stage.finish())
    assert all(type(piece) is bytes and piece for piece in rest)
    return b"".join(out + rest)


def splits(data: bytes) -> Iterator[list[bytes]]:
    """Yield `data` whole, byte by byte, at every single split, and at every pair of them."""

    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for i in range(len(data) + 1):
        yield [data[:i], data[i:]]
        for j in range(i, len(data) + 1):
            yield [data[:i], data[i:j], data[j:]]


def keeping() -> AsciiEncoder:
    """Return the default encoder."""

    return AsciiEncoder()


def doubling() -> AsciiEncoder:
    """Return the encoder that puts a CR before every LF."""

    return AsciiEncoder(existing_crlf=ExistingCRLF.DOUBLE)


EVERY_STAGE: list[Callable[[], Stage]] = [
    keeping,
    doubling,
    AsciiDecoder,
    IdentityEncoder,
    IdentityDecoder,
]


@pytest.mark.parametrize(("file", "kept", "doubled"), ENCODED)
def test_encoder_makes_crlf_at_every_split(file: bytes, kept: bytes, doubled: bytes) -> None:
    """Both choices send what the table says, however the file is split."""

    for parts in splits(file):
        assert run(keeping(), parts) == kept
        assert run(doubling(), parts) == doubled


@pytest.mark.parametrize(("received", "file"), DECODED)
def test_decoder_makes_lf_at_every_split(received: bytes, file: bytes) -> None:
    """CRLF becomes LF and nothing else changes, however the data are split."""

    for parts in splits(received):
        assert run(AsciiDecoder(), parts) == file


@pytest.mark.parametrize(("received", "_file"), DECODED)
def test_decoder_for_crlf_files_changes_nothing(received: bytes, _file: bytes) -> None:
    """If the local line end is CRLF, the file equals the data."""

    for parts in splits(received):
        assert run(AsciiDecoder(line_end=b"\r\n"), parts) == received


def test_decoder_for_crlf_files_holds_nothing() -> None:
    """If the local line end is CRLF, a CR need not wait for the next byte."""

    assert list(AsciiDecoder(line_end=b"\r\n").feed(b"a\r")) == [b"a\r"]


@pytest.mark.parametrize("line_end", [b"", b"\r", b"\n\r", b"\r\n\n", b"\x85"])
def test_decoder_refuses_other_line_ends(line_end: bytes) -> None:
    """A local line end is LF or CRLF."""

    with pytest.raises(ValueError, match="line_end must be"):
        AsciiDecoder(line_end=line_end)


def test_decoder_holds_a_final_cr_and_only_that() -> None:
    """What precedes a final CR comes out at once, the CR when the next byte is known."""

    decoder = AsciiDecoder()
    assert list(decoder.feed(b"abc\r")) == [b"abc"]
    assert list(decoder.feed(b"")) == []
    assert list(decoder.feed(b"\r")) == [b"\r"]
    assert list(decoder.feed(b"\n")) == [b"\n"]
    assert list(decoder.finish()) == []


def test_decoder_gives_the_held_cr_once() -> None:
    """`finish` gives back the final CR, and nothing after it."""

    decoder = AsciiDecoder()
    assert list(decoder.feed(b"\r")) == []
    assert list(decoder.finish()) == [b"\r"]
    assert list(decoder.finish()) == []


@settings(max_examples=300)
@given(st.lists(line_bytes, max_size=6))
@example([b"a\r", b"\nb"])
@example([b"\r", b"", b"\n"])
def test_doubling_round_trip_is_exact(parts: list[bytes]) -> None:
    """Decoding what the DOUBLE encoder made gives exactly the file, whatever is in it."""

    file = b"".join(parts)
    sent = run(doubling(), parts)
    assert run(AsciiDecoder(), [sent]) == file
    assert run(AsciiDecoder(), [sent[i : i + 1] for i in range(len(sent))]) == file


@settings(max_examples=300)
@given(st.lists(line_bytes, max_size=6))
@example([b"a\r", b"\nb"])
@example([b"\r", b"", b"\n"])
def test_keeping_round_trip_only_unifies_line_ends(parts: list[bytes]) -> None:
    """Decoding what the KEEP encoder made gives the file with LF line ends."""

    file = b"".join(parts)
    assert run(AsciiDecoder(), [run(keeping(), parts)]) == file.replace(b"\r\n", b"\n")


@settings(max_examples=300)
@given(st.lists(line_bytes, max_size=6))
def test_kept_encoding_has_no_bare_lf_and_is_stable(parts: list[bytes]) -> None:
    """Every LF sent follows a CR, and encoding the result again changes nothing."""

    sent = run(keeping(), parts)
    assert sent.count(b"\n") == sent.count(b"\r\n")
    assert run(keeping(), [sent]) == sent


@settings(max_examples=200)
@given(line_bytes | st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
@pytest.mark.parametrize("make", EVERY_STAGE)
def test_any_split_gives_the_same(make: Callable[[], Stage], data: bytes, cuts: list[int]) -> None:
    """Where the data are split makes no difference."""

    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [data[a:b] for a, b in itertools.pairwise(edges)]
    assert run(make(), parts) == run(make(), [data])


BUFFERS: list[Callable[[bytes], Buffer]] = [
    bytes,
    bytearray,
    memoryview,
    lambda data: memoryview(bytearray(data)),
    lambda data: memoryview(data).cast("I"),
]


@pytest.mark.parametrize("buffer", BUFFERS)
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (keeping, b"a\r\nb\r\nc\r\r\n"),
        (doubling, b"a\r\r\nb\r\nc\r\r\r\n"),
        (AsciiDecoder, b"a\nb\nc\r\n"),
        (IdentityEncoder, b"a\r\nb\nc\r\r\n"),
        (IdentityDecoder, b"a\r\nb\nc\r\r\n"),
    ],
)
def test_any_buffer_is_taken(
    make: Callable[[], Stage], expected: bytes, buffer: Callable[[bytes], Buffer]
) -> None:
    """bytes, bytearray and memoryviews of any item are accepted; the output is bytes."""

    data = b"a\r\nb\nc\r\r\n"
    padding = b"." * (-len(data) % 4)
    assert run(make(), [buffer(data + padding)]) == expected + padding


@pytest.mark.parametrize("make", EVERY_STAGE)
@pytest.mark.parametrize("empty", [b"", bytearray(), memoryview(b"")])
def test_empty_data_yield_nothing(make: Callable[[], Stage], empty: Buffer) -> None:
    """No piece is ever empty: a consumer takes an empty read for the end."""

    stage = make()
    assert list(stage.feed(empty)) == []
    assert list(stage.finish()) == []


@pytest.mark.parametrize("buffer", BUFFERS)
@pytest.mark.parametrize("around", [-1, 0, 1])
def test_large_data_come_in_bounded_pieces(buffer: Callable[[bytes], Buffer], around: int) -> None:
    """However much is fed at once, a piece has at most twice PIECE_SIZE, also if CRLF is split."""

    file = b"\n" * (PIECE_SIZE + around) + b"\r\n" + b"x" * 2 * PIECE_SIZE + b"\r"
    file += b"\r" * (-len(file) % 4)
    sent = file.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert run(keeping(), [buffer(file)]) == sent
    padding = b"." * (-len(sent) % 4)
    assert run(AsciiDecoder(), [buffer(sent + padding)]) == file.replace(b"\r\n", b"\n") + padding
    assert run(IdentityEncoder(), [buffer(file)]) == file
    assert len(list(IdentityDecoder().feed(buffer(file)))) == 1 + (len(file) - 1) // PIECE_SIZE


@pytest.mark.parametrize("make", [keeping, doubling, AsciiDecoder, IdentityEncoder])
def test_feed_converts_only_as_far_as_it_is_read(make: Callable[[], Stage]) -> None:
    """`feed` is lazy: a large buffer is not converted ahead of the reader."""

    data = bytearray(b"a" * (3 * PIECE_SIZE))
    pieces = iter(make().feed(data))
    assert next(pieces) == b"a" * PIECE_SIZE
    data[PIECE_SIZE:] = b"b" * (2 * PIECE_SIZE)
    assert b"".join(pieces) == b"b" * (2 * PIECE_SIZE)


@pytest.mark.parametrize("make", EVERY_STAGE)
def test_bytes_that_need_no_conversion_are_not_copied(make: Callable[[], Stage]) -> None:
    """Data without a line end are passed on as the same object."""

    data = b"no line end here"
    (piece,) = make().feed(data)
    assert piece is data


# Code points of IBM code page 037 from Python's codec, which follows Unicode's CP037.TXT, except
# that NL is the line end (RFC 959 §3.1.1.2). The columns: the file, what is sent with KEEP, what is
# sent with DOUBLE.
EBCDIC = [
    (b"", b"", b""),
    (b"Hello\n", b"\xc8\x85\x93\x93\x96\x15", b"\xc8\x85\x93\x93\x96\x15"),
    (b"\n\n", b"\x15\x15", b"\x15\x15"),
    (b"a\r\nb", b"\x81\x15\x82", b"\x81\x0d\x15\x82"),
    (b"a\rb\r", b"\x81\x0d\x82\x0d", b"\x81\x0d\x82\x0d"),
    (b"\r\r\n", b"\x0d\x15", b"\x0d\x0d\x15"),
    (b"\x85\0 ", b"\x25\x00\x40", b"\x25\x00\x40"),
    (b"\xe9[]^\xac", b"\x51\xba\xbb\xb0\x5f", b"\x51\xba\xbb\xb0\x5f"),
]


@pytest.mark.parametrize(("file", "kept", "doubled"), EBCDIC)
def test_ebcdic_at_every_split(file: bytes, kept: bytes, doubled: bytes) -> None:
    """TYPE E does what the table says in both directions, however the data are split."""

    for parts in splits(file):
        assert run(EbcdicEncoder(), parts) == kept
        assert run(EbcdicEncoder(existing_crlf=ExistingCRLF.DOUBLE), parts) == doubled
    for parts in splits(doubled):
        assert run(EbcdicDecoder(), parts) == file


def test_ebcdic_makes_local_line_ends() -> None:
    """NL becomes CRLF if that is the local line end, and CRLF becomes NL."""

    decoder = EbcdicDecoder(line_end=b"\r\n")
    assert run(decoder, [b"\x81\x15\x82\x15"]) == b"a\r\nb\r\n"
    assert run(EbcdicEncoder(), [b"a\r\nb\r\n"]) == b"\x81\x15\x82\x15"


@pytest.mark.parametrize("page", ["cp037", "cp273", "cp424", "cp500", "cp875", "cp1140", "cp1047"])
@pytest.mark.parametrize("file_encoding", ["latin-1", "cp1252", "iso8859-7"])
def test_ebcdic_loses_no_byte(page: str, file_encoding: str) -> None:
    """Any file of single bytes comes back unchanged, text or not, in any code page."""

    file = bytes(range(256)) + b"\r\n\n\r"
    sent = run(
        EbcdicEncoder(
            code_page=page, file_encoding=file_encoding, existing_crlf=ExistingCRLF.DOUBLE
        ),
        [file],
    )
    assert len(sent) == len(file)
    assert run(EbcdicDecoder(code_page=page, file_encoding=file_encoding), [sent]) == file


@pytest.mark.parametrize("name", ["utf-8", "UTF8", "utf_8"])
def test_ebcdic_of_utf_8_at_every_split(name: str) -> None:
    """UTF-8 characters may be split; those that the code page has come back."""

    file = "é€\r\nñ\n".encode()
    for parts in splits(file):
        assert run(EbcdicEncoder(code_page="cp1140", file_encoding=name), parts) == (
            b"\x51\x9f\x15\x49\x15"
        )
    for parts in splits(b"\x51\x9f\x15\x49\x15"):
        pieces: list[bytes] = []
        decoder = EbcdicDecoder(code_page="cp1140", file_encoding=name)
        for part in parts:
            pieces += decoder.feed(part)
        assert b"".join(pieces) == "é€\nñ\n".encode()


@pytest.mark.parametrize("file", ["\u20ac".encode(), b"\xff", b"\xc3(", b"a\xc3", b"\xc3\r"])
def test_utf_8_that_has_no_ebcdic_is_an_error(file: bytes) -> None:
    """A character that the code page lacks, and data that are not UTF-8, end the transfer."""

    for parts in splits(file):
        with pytest.raises(InvalidData) as caught:
            run(EbcdicEncoder(file_encoding="utf-8"), parts)

        assert caught.value.reply_code == 451


def test_undefined_codes_have_no_utf_8() -> None:
    """An undefined code cannot become UTF-8; as a single byte it is kept."""

    with pytest.raises(InvalidData, match="cp424"):
        list(EbcdicDecoder(code_page="cp424", file_encoding="utf-8").feed(b"\xc1\x70"))
    assert len(run(EbcdicDecoder(code_page="cp424"), [b"\xc1\x70"])) == 2


def test_ebcdic_options_are_checked() -> None:
    """A page that is not EBCDIC is refused with 504; a file's unsuitable charset, at once."""

    for page in ("cp1252", "nonsense", "utf-8", ""):
        for attempt in (check_supported, encoder_for, decoder_for):
            with pytest.raises(UnsupportedParameter) as caught:
                attempt(TransferParameters(type=RepresentationType.EBCDIC, encoding=page))
            assert caught.value.reply_code == 504

        with pytest.raises(UnsupportedParameter):
            EbcdicDecoder(code_page=page, file_encoding="utf-8")

    for make in (EbcdicEncoder, EbcdicDecoder):
        with pytest.raises(ValueError, match="single bytes"):
            make(file_encoding="utf-16")

    with pytest.raises(ValueError, match="line_end"):
        EbcdicDecoder(line_end=b"\r")
