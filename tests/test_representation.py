"""Line ends both ways: whole, byte by byte and at every split; what is held is given back."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ftpdata.contracts import Buffer, Decoder, Encoder
from ftpdata.errors import UnsupportedParameter
from ftpdata.parameters import TransferParameters
from ftpdata.representation import (
    PIECE_SIZE,
    AsciiDecoder,
    AsciiEncoder,
    ExistingCRLF,
    IdentityDecoder,
    IdentityEncoder,
    SizeCounter,
    chain_decoders,
    chain_encoders,
    check_supported,
    decoder_for,
    encoder_for,
)

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


@pytest.mark.parametrize("argument", ["A", "A N", "A T"])
def test_type_a_gets_line_end_conversion(argument: str) -> None:
    """TYPE A N and A T convert line ends, with the choices handed on."""

    parameters = TransferParameters().with_type(argument)
    check_supported(parameters)
    assert run(encoder_for(parameters), [b"a\r\nb\n"]) == b"a\r\nb\r\n"
    doubled = encoder_for(parameters, existing_crlf=ExistingCRLF.DOUBLE)
    assert run(doubled, [b"a\r\nb\n"]) == b"a\r\r\nb\r\n"
    assert run(decoder_for(parameters), [b"a\r\nb\r"]) == b"a\nb\r"
    assert run(decoder_for(parameters, line_end=b"\r\n"), [b"a\r\nb\r"]) == b"a\r\nb\r"


@pytest.mark.parametrize("argument", ["I", "L 8"])
def test_type_i_and_l_8_change_nothing(argument: str) -> None:
    """TYPE I and TYPE L 8 pass every byte, whatever is chosen for line ends."""

    parameters = TransferParameters().with_type(argument)
    data = bytes(range(256)) + b"\r\n\n\r"
    check_supported(parameters)
    assert run(encoder_for(parameters), [data]) == data
    assert run(encoder_for(parameters, existing_crlf=ExistingCRLF.DOUBLE), [data]) == data
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
        (
            TransferParameters().with_type("A C"),
            "TYPE A C is not supported; supported: A N, A T, I, L 8",
        ),
        (
            TransferParameters().with_type("E"),
            "TYPE E N is not supported; supported: A N, A T, I, L 8",
        ),
        (TransferParameters().with_structure("R"), "STRU R is not supported; supported: F"),
        (TransferParameters().with_structure("P"), "STRU P is not supported; supported: F"),
        (TransferParameters().with_mode("B"), "MODE B is not supported; supported: S"),
        (TransferParameters().with_mode("C"), "MODE C is not supported; supported: S"),
        (TransferParameters().with_mode("Z"), "MODE Z is not supported; supported: S"),
        (
            TransferParameters(type=TransferParameters().with_type("L 8").type, byte_size=36),
            "TYPE L 36 is not supported; supported: A N, A T, I, L 8",
        ),
    ],
)
def test_what_is_not_there_is_refused_with_504(parameters: TransferParameters, text: str) -> None:
    """Parameters without an encoder are refused, with what there is, and never ignored."""

    for attempt in (check_supported, encoder_for, decoder_for):
        with pytest.raises(UnsupportedParameter) as caught:
            attempt(parameters)

        assert str(caught.value) == text
        assert caught.value.reply_code == 504
