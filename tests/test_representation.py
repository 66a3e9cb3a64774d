"""Text both ways, and every TYPE × STRU × MODE: whole, byte by byte and at every split."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ftpdata.contracts import Buffer, Decoder, Encoder
from ftpdata.errors import InvalidData, TruncatedTransfer, UnsupportedParameter
from ftpdata.parameters import RepresentationType, TransferParameters, TransmissionMode
from ftpdata.representation import (
    PIECE_SIZE,
    AsciiDecoder,
    AsciiEncoder,
    EbcdicDecoder,
    EbcdicEncoder,
    ExistingCRLF,
    IdentityDecoder,
    IdentityEncoder,
)
from ftpdata.restart import RestartMarker, SuspectData
from ftpdata.transfer_codecs import (
    CodecOptions,
    SizeCounter,
    chain_decoders,
    chain_encoders,
    check_supported,
    decoder_for,
    encoder_for,
    listing_encoder_for,
)
from ftpdata.transmission import CodecLimits

# The file, what is sent with KEEP, what is sent with DOUBLE.
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

# What is received, the file.
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
    """Feed each part, then finish; check every piece on the way against the rules."""

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
    """Make the default encoder."""

    return AsciiEncoder()


def doubling() -> AsciiEncoder:
    """Make the encoder that gives every LF a CR."""

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
    """Both choices give what the table says, however the file is cut."""

    for parts in splits(file):
        assert run(keeping(), parts) == kept
        assert run(doubling(), parts) == doubled


@pytest.mark.parametrize(("received", "file"), DECODED)
def test_decoder_makes_lf_at_every_split(received: bytes, file: bytes) -> None:
    """CRLF becomes LF and nothing else changes, however the data are cut."""

    for parts in splits(received):
        assert run(AsciiDecoder(), parts) == file


@pytest.mark.parametrize(("received", "_file"), DECODED)
def test_decoder_for_crlf_files_changes_nothing(received: bytes, _file: bytes) -> None:
    """With CRLF as local line end the data are the file."""

    for parts in splits(received):
        assert run(AsciiDecoder(line_end=b"\r\n"), parts) == received


def test_decoder_for_crlf_files_holds_nothing() -> None:
    """With CRLF as local line end a CR need not wait for what follows."""

    assert list(AsciiDecoder(line_end=b"\r\n").feed(b"a\r")) == [b"a\r"]


@pytest.mark.parametrize("line_end", [b"", b"\r", b"\n\r", b"\r\n\n", b"\x85"])
def test_decoder_refuses_other_line_ends(line_end: bytes) -> None:
    """A local line end is LF or CRLF."""

    with pytest.raises(ValueError, match="line_end must be"):
        AsciiDecoder(line_end=line_end)


def test_decoder_holds_a_final_cr_and_only_that() -> None:
    """What stands before a final CR comes out at once; the CR when it is known what follows."""

    decoder = AsciiDecoder()
    assert list(decoder.feed(b"abc\r")) == [b"abc"]
    assert list(decoder.feed(b"")) == []
    assert list(decoder.feed(b"\r")) == [b"\r"]
    assert list(decoder.feed(b"\n")) == [b"\n"]
    assert list(decoder.finish()) == []


def test_decoder_gives_the_held_cr_once() -> None:
    """`finish` gives back the final CR, and has nothing more after it."""

    decoder = AsciiDecoder()
    assert list(decoder.feed(b"\r")) == []
    assert list(decoder.finish()) == [b"\r"]
    assert list(decoder.finish()) == []


@settings(max_examples=300)
@given(st.lists(line_bytes, max_size=6))
@example([b"a\r", b"\nb"])
@example([b"\r", b"", b"\n"])
def test_doubling_round_trip_is_exact(parts: list[bytes]) -> None:
    """Decoding what the DOUBLE encoder made gives the very file, any file."""

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
    """Every LF sent follows a CR, and to encode again changes nothing."""

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
    """bytes, bytearray and memoryview of any item go in; bytes come out."""

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
    """However much is fed at once, a piece stays within twice PIECE_SIZE; cuts inside CRLF too."""

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
    """`feed` is lazy: a large piece of memory is not converted ahead of the reader."""

    data = bytearray(b"a" * (3 * PIECE_SIZE))
    pieces = iter(make().feed(data))
    assert next(pieces) == b"a" * PIECE_SIZE
    data[PIECE_SIZE:] = b"b" * (2 * PIECE_SIZE)
    assert b"".join(pieces) == b"b" * (2 * PIECE_SIZE)


@pytest.mark.parametrize("make", EVERY_STAGE)
def test_bytes_that_need_no_conversion_are_not_copied(make: Callable[[], Stage]) -> None:
    """Data without a line end pass as the same object."""

    data = b"no line end here"
    (piece,) = make().feed(data)
    assert piece is data


class Deflating:
    """A stage that holds nearly everything back until `finish`."""

    def __init__(self) -> None:
        self._deflater = zlib.compressobj()

    def feed(self, data: Buffer) -> list[bytes]:
        """Compress."""

        return [piece] if (piece := self._deflater.compress(data)) else []

    def finish(self) -> list[bytes]:
        """Yield what is held."""

        return [self._deflater.flush()]


class Inflating:
    """The way back."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj()

    def feed(self, data: Buffer) -> list[bytes]:
        """Decompress."""

        return [piece] if (piece := self._inflater.decompress(data)) else []

    def finish(self) -> list[bytes]:
        """Yield nothing."""

        return []


class Marking:
    """A stage that shows each call, to see their order."""

    def __init__(self, name: bytes) -> None:
        self._name = name

    def feed(self, data: Buffer) -> list[bytes]:
        """Wrap the data."""

        return [self._name + b"(" + bytes(data) + b")"]

    def finish(self) -> list[bytes]:
        """Yield an end mark."""

        return [self._name + b"."]


@pytest.mark.parametrize("chain", [chain_encoders, chain_decoders])
def test_chain_runs_stages_in_order_and_finishes_each_through_the_rest(
    chain: Callable[..., Stage],
) -> None:
    """Data and end marks of a stage go through the stages after it, before those finish."""

    joined = chain(Marking(b"a"), Marking(b"b"), Marking(b"c"))
    assert list(joined.feed(b"1")) == [b"c(b(a(1)))"]
    assert list(joined.feed(b"2")) == [b"c(b(a(2)))"]
    assert list(joined.finish()) == [b"c(b(a.))", b"c(b.)", b"c."]


@pytest.mark.parametrize("chain", [chain_encoders, chain_decoders])
def test_chain_of_one_is_that_one_and_of_none_the_identity(chain: Callable[..., Stage]) -> None:
    """A chain need not have two stages."""

    assert run(chain(Marking(b"a")), [b"1234"]) == b"a(1234)a."
    assert run(chain(), [b"1", b"2\r\n"]) == b"12\r\n"


@pytest.mark.parametrize("file", [file for file, _, _ in ENCODED])
def test_chain_with_a_stage_that_holds_back_round_trips(file: bytes) -> None:
    """TYPE A over a compressing stage, and back: the final CR is not lost between the stages."""

    for parts in splits(file):
        sent = b"".join(_everything(chain_encoders(doubling(), Deflating()), parts))
        for received in ([sent], [sent[i : i + 1] for i in range(len(sent))]):
            decoder = chain_decoders(Inflating(), AsciiDecoder())
            assert b"".join(_everything(decoder, received)) == file


def test_chain_is_lazy() -> None:
    """A chain converts no further than it is read, whatever is fed."""

    joined = chain_encoders(IdentityEncoder(), AsciiEncoder())
    data = bytearray(b"a" * (2 * PIECE_SIZE))
    pieces = iter(joined.feed(data))
    next(pieces)
    data[PIECE_SIZE:] = b"b" * PIECE_SIZE
    assert b"".join(pieces) == b"b" * PIECE_SIZE


def _everything(stage: Stage, parts: Iterable[bytes]) -> Iterator[bytes]:
    for part in parts:
        yield from stage.feed(part)

    yield from stage.finish()


@pytest.mark.parametrize(("file", "kept", "doubled"), ENCODED)
def test_size_counter_counts_what_is_sent(file: bytes, kept: bytes, doubled: bytes) -> None:
    """The size for SIZE is the number of bytes that RETR will send, at every split."""

    for parts in splits(file):
        for encoder, sent in ((keeping(), kept), (doubling(), doubled), (IdentityEncoder(), file)):
            counter = SizeCounter(encoder)
            for part in parts:
                counter.feed(part)

            assert counter.finish() == len(sent)


def test_size_counter_shows_the_size_so_far_and_adds_the_end() -> None:
    """`size` grows with the data; what the encoder held comes with `finish`."""

    counter = SizeCounter(Marking(b"a"))
    assert counter.size == 0
    counter.feed(b"12")
    assert counter.size == len(b"a(12)")
    assert counter.finish() == len(b"a(12)a.")
    assert counter.size == len(b"a(12)a.")


def test_size_of_rfc_3659_example() -> None:
    """The text file of RFC 3659 §4.4: 112 lines in 1830 octets are 1942 in TYPE A."""

    file = b"x" * (1830 - 112 - 111) + b"\n" + b"y\n" * 111
    assert len(file) == 1830
    counter = SizeCounter(encoder_for(TransferParameters().with_type("A")))
    counter.feed(file)
    assert counter.finish() == 1942


@pytest.mark.parametrize("argument", ["A", "A N", "A T", "A C"])
def test_type_a_gets_line_end_conversion(argument: str) -> None:
    """TYPE A converts line ends, with the choices handed on, whatever the format control."""

    parameters = TransferParameters().with_type(argument)
    check_supported(parameters)
    assert run(encoder_for(parameters), [b"a\r\nb\n"]) == b"a\r\nb\r\n"
    doubled = encoder_for(parameters, options=CodecOptions(existing_crlf=ExistingCRLF.DOUBLE))
    assert run(doubled, [b"a\r\nb\n"]) == b"a\r\r\nb\r\n"
    assert run(decoder_for(parameters), [b"a\r\nb\r"]) == b"a\nb\r"
    windows = CodecOptions(line_end=b"\r\n")
    assert run(decoder_for(parameters, options=windows), [b"a\r\nb\r"]) == b"a\r\nb\r"


# RFC 959 §3.1.1.5: the effectors of T, and ASA's control characters of C in the first column.
@pytest.mark.parametrize(
    ("argument", "file", "sent"),
    [
        ("A T", b"a\x0bb\x0cc\rd\n", b"a\x0bb\x0cc\rd\r\n"),
        ("A C", b"1TITLE\n one\n0two\n+___\n", b"1TITLE\r\n one\r\n0two\r\n+___\r\n"),
        ("E T", b"a\x0bb\x0cc\rd\x85\n", b"\x81\x0b\x82\x0c\x83\x0d\x84\x25\x15"),
        ("E C", b"1A\n B\n0C\n+_\n", b"\xf1\xc1\x15\x40\xc2\x15\xf0\xc3\x15\x4e\x6d\x15"),
    ],
)
def test_format_effectors_are_carried(argument: str, file: bytes, sent: bytes) -> None:
    """What controls a printer goes as it is, and comes back as it was."""

    parameters = TransferParameters().with_type(argument)
    for parts in splits(file):
        assert run(encoder_for(parameters), parts) == sent
    for parts in splits(sent):
        assert run(decoder_for(parameters), parts) == file


# Code points of IBM code page 037: Python's codec, which follows Unicode's CP037.TXT; but NL is
# the line end (RFC 959 §3.1.1.2). The file, what is sent with KEEP, what is sent with DOUBLE.
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
    """TYPE E gives what the table says both ways, however the data are cut."""

    for parts in splits(file):
        assert run(EbcdicEncoder(), parts) == kept
        assert run(EbcdicEncoder(existing_crlf=ExistingCRLF.DOUBLE), parts) == doubled
    for parts in splits(doubled):
        assert run(EbcdicDecoder(), parts) == file


def test_ebcdic_makes_local_line_ends() -> None:
    """NL becomes CRLF where that is the line end of the file; and back again."""

    decoder = EbcdicDecoder(line_end=b"\r\n")
    assert run(decoder, [b"\x81\x15\x82\x15"]) == b"a\r\nb\r\n"
    assert run(EbcdicEncoder(), [b"a\r\nb\r\n"]) == b"\x81\x15\x82\x15"


@pytest.mark.parametrize("page", ["cp037", "cp273", "cp424", "cp500", "cp875", "cp1140", "cp1047"])
@pytest.mark.parametrize("file_encoding", ["latin-1", "cp1252", "iso8859-7"])
def test_ebcdic_loses_no_byte(page: str, file_encoding: str) -> None:
    """Any file of single bytes comes back as it was, text or not, in any code page."""

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
    """Characters of UTF-8 may be cut; what the code page has comes back."""

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
    """A character that the code page lacks, and what is no UTF-8, end the transfer."""

    for parts in splits(file):
        with pytest.raises(InvalidData) as caught:
            run(EbcdicEncoder(file_encoding="utf-8"), parts)

        assert caught.value.reply_code == 451


def test_undefined_codes_have_no_utf_8() -> None:
    """A code that the code page leaves open cannot become UTF-8; as a single byte it is kept."""

    with pytest.raises(InvalidData, match="cp424"):
        list(EbcdicDecoder(code_page="cp424", file_encoding="utf-8").feed(b"\xc1\x70"))
    assert len(run(EbcdicDecoder(code_page="cp424"), [b"\xc1\x70"])) == 2


def test_ebcdic_options_are_checked() -> None:
    """What is no EBCDIC is refused with 504; what is no character set of files, at once."""

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


@pytest.mark.parametrize("argument", ["I", "L 8"])
def test_type_i_and_l_8_change_nothing(argument: str) -> None:
    """TYPE I and TYPE L 8 pass every byte, whatever is chosen for line ends."""

    parameters = TransferParameters().with_type(argument)
    data = bytes(range(256)) + b"\r\n\n\r"
    check_supported(parameters)
    doubling = CodecOptions(existing_crlf=ExistingCRLF.DOUBLE)
    assert run(encoder_for(parameters), [data]) == data
    assert run(encoder_for(parameters, options=doubling), [data]) == data
    assert run(decoder_for(parameters), [data]) == data


def test_each_transfer_gets_a_fresh_stage() -> None:
    """State is never shared between transfers: a CR held in one does not show in the next."""

    parameters = TransferParameters().with_type("A")
    first = decoder_for(parameters)
    assert list(first.feed(b"\r")) == []
    assert run(decoder_for(parameters), [b"a"]) == b"a"
    assert list(encoder_for(parameters).feed(b"\r")) == [b"\r"]
    assert run(encoder_for(parameters), [b"\n"]) == b"\r\n"


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (TransferParameters().with_structure("P"), "STRU P is not supported; supported: F, R"),
        (
            TransferParameters(type=RepresentationType.LOCAL, byte_size=36),
            "TYPE L 36 is not supported; supported: L 8",
        ),
    ],
)
def test_what_is_not_there_is_refused_with_504(parameters: TransferParameters, text: str) -> None:
    """Parameters without an encoder are refused, with what there is, and never ignored."""

    for attempt in (check_supported, encoder_for, decoder_for, listing_encoder_for):
        if attempt is listing_encoder_for and parameters.byte_size == 36:
            continue  # a listing is text, whatever TYPE says of files

        with pytest.raises(UnsupportedParameter) as caught:
            attempt(parameters)

        assert str(caught.value) == text
        assert caught.value.reply_code == 504


# Composition: TYPE × STRU × MODE

TYPES = ["A N", "A T", "A C", "E N", "E T", "E C", "I", "L 8"]
COMBINATIONS = [
    TransferParameters().with_type(kind).with_structure(structure).with_mode(mode)
    for kind, structure, mode in itertools.product(TYPES, "FR", "SBCZ")
]
EXACT = CodecOptions(existing_crlf=ExistingCRLF.DOUBLE, close_last_record=False)


def name_of(parameters: TransferParameters) -> str:
    """Name a combination in the list of tests."""

    control = parameters.format_control.value if parameters.type.value in "AE" else ""
    mode = parameters.mode.value
    return f"{parameters.type.value}{control}-{parameters.structure.value}-{mode}"


def converted(stage: Encoder | Decoder, parts: Iterable[Buffer]) -> bytes:
    """Feed each part, then finish; no piece is empty or larger than any rule allows."""

    out: list[bytes] = []
    for part in parts:
        out += stage.feed(part)

    out += stage.finish()
    assert all(type(piece) is bytes and 0 < len(piece) <= 4 * PIECE_SIZE for piece in out)
    return b"".join(out)


every_combination = pytest.mark.parametrize("parameters", COMBINATIONS, ids=name_of)
any_bytes = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"\0", b"\xff", b"\x15", b"\x85", b"\1", b"\2\3"])
    | st.sampled_from([b" " * 70, b"\0" * 65, b"@" * 200, b"a line", b"\xff" * 5])
    | st.binary(max_size=200),
    max_size=12,
).map(b"".join)


@every_combination
@settings(max_examples=25)
@given(data=any_bytes, cuts=st.lists(st.integers(0, 400), max_size=4))
@example(data=b"", cuts=[])
@example(data=b"\n", cuts=[])
@example(data=b"\xff\1\xff\2\n\xff", cuts=[1, 3, 4])
@example(data=b"a\r\nb\r", cuts=[2])
def test_every_combination_round_trips(
    parameters: TransferParameters, data: bytes, cuts: list[int]
) -> None:
    """Any file comes back byte for byte through every TYPE, STRU and MODE, however it is cut."""

    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [data[a:b] for a, b in itertools.pairwise(edges)]
    sent = converted(encoder_for(parameters, options=EXACT), parts)
    for received in ([sent], [sent[i : i + 1] for i in range(len(sent))]):
        decoder = decoder_for(parameters, options=EXACT)
        assert converted(decoder, received) == data
        assert decoder.complete is decoder.has_end_mark


@every_combination
def test_every_combination_at_every_split(parameters: TransferParameters) -> None:
    """Every split of the file and of what is sent gives the same file."""

    data = b"one\r\n\ntw\xff\xff\0\0\0\0  \n "
    sent = converted(encoder_for(parameters, options=EXACT), [data])
    for i in range(len(data) + 1):
        again = converted(encoder_for(parameters, options=EXACT), [data[:i], data[i:]])
        assert converted(decoder_for(parameters, options=EXACT), [again]) == data

    for i in range(len(sent) + 1):
        decoder = decoder_for(parameters, options=EXACT)
        assert converted(decoder, [sent[:i], sent[i:]]) == data


@every_combination
def test_every_cut_of_a_marked_stream_is_truncated(parameters: TransferParameters) -> None:
    """Wherever the connection ends before the end mark does, the transfer is cut, and says so."""

    sent = converted(encoder_for(parameters), [b"one\ntwo\n"])
    for end in range(len(sent)):
        decoder = decoder_for(parameters)
        if parameters.mode is TransmissionMode.COMPRESSED and end == len(sent) - 1:
            # Behind the escape only its string of no bytes is missing.
            assert converted(decoder, [sent[:end]]) == b"one\ntwo\n"
            assert decoder.complete
        elif decoder.has_end_mark:
            with pytest.raises(TruncatedTransfer) as caught:
                converted(decoder, [sent[:end]])

            assert caught.value.reply_code == 426
            assert not decoder.complete
        else:
            converted(decoder, [sent[:end]])
            assert not decoder.complete


@every_combination
@settings(max_examples=40)
@given(data=st.binary(max_size=300))
def test_any_data_give_a_file_or_an_own_error(parameters: TransferParameters, data: bytes) -> None:
    """Whatever a peer sends, a decoder gives bounded data or an own error, split or not."""

    outcomes = set()
    for parts in ([data], [data[i : i + 1] for i in range(len(data))]):
        pieces: list[bytes] = []
        error = None
        decoder = decoder_for(parameters)
        try:
            for part in parts:
                pieces.extend(decoder.feed(part))

            pieces += decoder.finish()
        except (InvalidData, TruncatedTransfer) as raised:
            error = type(raised)

        # What zlib made of the data before a defect in the same call, it keeps.
        keeps = parameters.mode is TransmissionMode.DEFLATE and error is InvalidData
        outcomes.add((b"" if keeps else b"".join(pieces), error))
        assert sum(map(len, pieces)) <= 1100 * len(data)

    assert len(outcomes) == 1


def test_the_end_mark_stops_the_decoder_where_the_next_file_begins() -> None:
    """Several files on one connection: what comes behind the mark is for the next decoder."""

    for mode in "BC":
        parameters = TransferParameters().with_type("A").with_structure("R").with_mode(mode)
        files = [b"one\n", b"", b"\n\ntwo\n"]
        sent = b"".join(converted(encoder_for(parameters), [file]) for file in files)
        received = []
        for _ in files:
            decoder = decoder_for(parameters)
            data = b"".join(decoder.feed(sent))
            assert decoder.complete
            assert decoder.several_files
            assert decoder.remainder == sent[len(sent) - len(decoder.remainder) :]
            sent = decoder.take_remainder()
            received.append(data + b"".join(decoder.finish()))

        assert received == files
        assert sent == b""


@pytest.mark.parametrize(("structure", "mode"), [("R", "S"), ("F", "Z"), ("R", "Z")])
def test_other_end_marks_end_the_connection_too(structure: str, mode: str) -> None:
    """Stream mode with records, and MODE Z, have one file on a connection."""

    parameters = TransferParameters().with_structure(structure).with_mode(mode)
    sent = converted(encoder_for(parameters), [b"abc"])
    decoder = decoder_for(parameters)
    assert not decoder.several_files
    assert b"".join(decoder.feed(sent)) == b"abc"
    assert decoder.complete
    with pytest.raises(InvalidData, match="behind the end"):
        list(decoder.feed(b"x"))


def test_without_end_mark_there_is_no_remainder() -> None:
    """Stream mode with file structure knows no end but that of the connection."""

    decoder = decoder_for(TransferParameters().with_type("A"))
    assert b"".join(decoder.feed(b"a\r\n")) == b"a\n"
    assert (decoder.has_end_mark, decoder.complete) == (False, False)
    assert not decoder.several_files
    assert (decoder.remainder, decoder.take_remainder(), decoder.suspect_bytes) == (b"", b"", 0)


@pytest.mark.parametrize("mode", ["B", "C"])
@pytest.mark.parametrize("kind", ["A", "E", "I"])
@pytest.mark.parametrize("structure", ["F", "R"])
def test_a_transfer_goes_on_from_any_marker(mode: str, kind: str, structure: str) -> None:
    """From each marker, sender's offset and receiver's, the rest makes the file whole."""

    parameters = TransferParameters().with_type(kind).with_mode(mode).with_structure(structure)
    options = CodecOptions(marker_interval=3)
    file = b"one\r\ntwo\n\r\n\r\nfour five six seven\n"
    whole = converted(decoder_for(parameters), [converted(encoder_for(parameters), [file])])
    sent = converted(encoder_for(parameters, options=options), [file])
    markers: list[RestartMarker] = []
    pieces: list[bytes] = []
    decoder = decoder_for(parameters, on_marker=markers.append)
    for i in range(len(sent)):
        pieces += decoder.feed(sent[i : i + 1])

    assert b"".join(pieces) == whole
    assert len(markers) >= 8
    for marker in markers:
        begin = int(marker.text)
        assert file[begin - 1 : begin] != b"\r" or kind == "I"
        encoder = encoder_for(parameters, options=options, offset=begin)
        later: list[RestartMarker] = []
        rest = decoder_for(parameters, offset=marker.offset, on_marker=later.append)
        again = converted(rest, [converted(encoder, [file[begin:]])])
        assert whole[: marker.offset] + again == whole
        assert all(int(it.text) > begin and it.offset > marker.offset for it in later)


def test_markers_stay_out_of_characters() -> None:
    """No marker is sent amid a character of UTF-8."""

    parameters = TransferParameters().with_type("E").with_mode("B")
    options = CodecOptions(marker_interval=1, file_encoding="utf-8")
    sent = converted(encoder_for(parameters, options=options), ["é\r\né".encode()])
    markers: list[RestartMarker] = []
    decoder = decoder_for(parameters, options=options, on_marker=markers.append)
    assert converted(decoder, [sent]) == "é\né".encode()
    assert [(it.text, it.offset) for it in markers] == [("4", 3)]


def test_markers_between_cr_and_lf_are_not_reported() -> None:
    """A foreign marker amid a line end has no place in the file: an earlier one must do."""

    parameters = TransferParameters().with_type("A").with_mode("B")
    markers: list[RestartMarker] = []
    decoder = decoder_for(parameters, on_marker=markers.append, offset=100)
    data = b"\0\0\x02a\r" + b"\x10\0\x01x" + b"\0\0\x01\n" + b"\x10\0\x01y" + b"\x40\0\0"
    assert b"".join(decoder.feed(data)) == b"a\n"
    assert markers == [RestartMarker("y", 102)]


def test_markers_need_nobody_who_listens() -> None:
    """Markers, and suspect data, that nobody asked for are passed over."""

    parameters = TransferParameters().with_mode("B")
    decoder = decoder_for(parameters)
    data = b"\x20\0\x01a" + b"\x10\0\x01x" + b"\x40\0\0"
    assert converted(decoder, [data]) == b"a"
    assert decoder.suspect_bytes == 1


def test_suspect_data_are_told_by_their_place_in_the_file() -> None:
    """Suspect data are given out, and where they start is told ahead of them."""

    parameters = TransferParameters().with_type("A").with_mode("B")
    told: list[SuspectData] = []
    decoder = decoder_for(parameters, offset=10, on_suspect=told.append)
    data = b"\0\0\x03a\r\n" + b"\x20\0\x02bc" + b"\x40\0\0"
    assert converted(decoder, [data]) == b"a\nbc"
    assert told == [SuspectData(12, 2)]
    assert decoder.suspect_bytes == 2


def test_modes_without_markers_send_none() -> None:
    """The interval of markers means nothing where the mode has none."""

    for parameters in (TransferParameters().with_mode("Z"), TransferParameters().with_type("A")):
        with_markers = encoder_for(parameters, options=CodecOptions(marker_interval=1))
        assert converted(with_markers, [b"abc"]) == converted(encoder_for(parameters), [b"abc"])


@pytest.mark.parametrize("mode", ["S", "B", "C", "Z"])
def test_records_of_a_binary_file(mode: str) -> None:
    """STRU R of TYPE I: records of the length that is chosen, counted from the file's start."""

    parameters = TransferParameters().with_structure("R").with_mode(mode)
    options = CodecOptions(record_length=4)
    for offset in range(9):
        sent = converted(encoder_for(parameters, options=options, offset=offset), [b"abcdefg"])
        assert converted(decoder_for(parameters), [sent]) == b"abcdefg"
    if mode == "S":
        encoder = encoder_for(parameters, options=options, offset=3)
        assert converted(encoder, [b"abc", b"defg"]) == b"a\xff\1bcde\xff\1fg\xff\3"


def test_last_record_is_closed_unless_it_is_told_otherwise() -> None:
    """A last line without line end is a whole record, as RFC 959 §3.4 wants."""

    parameters = TransferParameters().with_type("A").with_structure("R")
    assert converted(encoder_for(parameters), [b"a\nb"]) == b"a\xff\1b\xff\3"
    assert converted(encoder_for(parameters), [b"a\nb\n"]) == b"a\xff\1b\xff\1\xff\2"
    left_open = CodecOptions(close_last_record=False)
    assert converted(encoder_for(parameters, options=left_open), [b"a\nb"]) == b"a\xff\1b\xff\2"


def test_records_become_lines_of_the_host() -> None:
    """A record is a line with the file's own line end; a CR before an LF is of the line end."""

    parameters = TransferParameters().with_type("A").with_structure("R")
    windows = CodecOptions(line_end=b"\r\n")
    sent = b"a\xff\1\xff\1b\xff\xff\xff\3"
    assert converted(decoder_for(parameters), [sent]) == b"a\n\nb\xff\n"
    assert converted(decoder_for(parameters, options=windows), [sent]) == b"a\r\n\r\nb\xff\r\n"
    assert converted(encoder_for(parameters), [b"a\r\n\r\nb\r\n"]) == (
        b"a\xff\1\xff\1b\xff\1\xff\2"
    )
    ebcdic = TransferParameters().with_type("E").with_structure("R")
    assert converted(decoder_for(ebcdic, options=windows), [b"\xc1\xff\3"]) == b"A\r\n"


@pytest.mark.parametrize("mode", ["S", "B", "C", "Z"])
def test_records_of_text_have_a_longest_length(mode: str) -> None:
    """A record of a text beyond the limit is an error; of a binary file it may be any length."""

    limited = CodecOptions(limits=CodecLimits(record=10))
    for kind in "AE":
        parameters = TransferParameters().with_type(kind).with_structure("R").with_mode(mode)
        good = converted(encoder_for(parameters), [b"0123456789\n" * 3])
        assert converted(decoder_for(parameters, options=limited), [good]) == b"0123456789\n" * 3
        bad = converted(encoder_for(parameters), [b"0123456789\n01234567890\n\n"])
        for parts in ([bad], [bad[i : i + 1] for i in range(len(bad))]):
            with pytest.raises(InvalidData, match="a record of more than 10 bytes"):
                converted(decoder_for(parameters, options=limited), parts)

    parameters = TransferParameters().with_structure("R").with_mode(mode)
    long = converted(encoder_for(parameters), [b"x" * 100])
    assert converted(decoder_for(parameters, options=limited), [long]) == b"x" * 100


def test_page_structure_of_a_listing_is_refused() -> None:
    """STRU P is no structure that a listing could have either."""

    with pytest.raises(UnsupportedParameter):
        listing_encoder_for(TransferParameters().with_structure("P"))


@pytest.mark.parametrize(
    ("parameters", "sent"),
    [
        (TransferParameters(), b"a\r\nb\r\n"),
        (TransferParameters().with_type("A C"), b"a\r\nb\r\n"),
        (TransferParameters().with_type("E"), b"\x81\x15\x82\x15"),
        (TransferParameters().with_structure("R"), b"a\xff\1b\xff\1\xff\2"),
        (TransferParameters().with_mode("B"), b"\0\0\x06a\r\nb\r\n\x40\0\0"),
        (
            TransferParameters().with_mode("B").with_structure("R"),
            b"\x80\0\1a\x80\0\1b\x40\0\0",
        ),
    ],
)
def test_listings_are_text_in_every_combination(
    parameters: TransferParameters, sent: bytes
) -> None:
    """A listing goes as text through STRU and MODE, also while TYPE is I (RFC 959 §4.1.3)."""

    options = CodecOptions(existing_crlf=ExistingCRLF.DOUBLE, marker_interval=1)
    encoder = listing_encoder_for(parameters, options=options)
    assert converted(encoder, [b"a\r\nb\r\n"]) == sent


@pytest.mark.parametrize(
    "wrong",
    [{"line_end": b"\r"}, {"record_length": 0}, {"marker_interval": 0}],
)
def test_options_are_checked(wrong: dict[str, Any]) -> None:
    """An option that is none is refused when it is made."""

    with pytest.raises(ValueError, match=next(iter(wrong))):
        CodecOptions(**wrong)
