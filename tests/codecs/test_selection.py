"""Types, structures and modes combined: every TYPE × STRU × MODE, whole and at every split."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ftpdata.codecs.limits import CodecLimits
from ftpdata.codecs.options import CodecOptions
from ftpdata.codecs.representation import (
    ExistingCRLF,
)
from ftpdata.codecs.restart import RestartMarker, SuspectData
from ftpdata.codecs.selection import check_supported, decoder_for, encoder_for, listing_encoder_for
from ftpdata.errors import InvalidData, TruncatedTransfer, UnsupportedParameter
from ftpdata.parameters import RepresentationType, TransferParameters, TransmissionMode
from tests.harness.codecs import splits
from tests.harness.stages import converted


@pytest.mark.parametrize("argument", ["A", "A N", "A T", "A C"])
def test_type_a_gets_line_end_conversion(argument: str) -> None:
    """TYPE A converts line ends as the options say, whatever the format control."""

    parameters = TransferParameters().with_type(argument)
    check_supported(parameters)
    assert converted(encoder_for(parameters), [b"a\r\nb\n"]) == b"a\r\nb\r\n"
    doubled = encoder_for(parameters, options=CodecOptions(existing_crlf=ExistingCRLF.DOUBLE))
    assert converted(doubled, [b"a\r\nb\n"]) == b"a\r\r\nb\r\n"
    assert converted(decoder_for(parameters), [b"a\r\nb\r"]) == b"a\nb\r"
    windows = CodecOptions(line_end=b"\r\n")
    assert converted(decoder_for(parameters, options=windows), [b"a\r\nb\r"]) == b"a\r\nb\r"


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
    """Characters that control a printer are sent unchanged, and come back unchanged."""

    parameters = TransferParameters().with_type(argument)
    for parts in splits(file):
        assert converted(encoder_for(parameters), parts) == sent
    for parts in splits(sent):
        assert converted(decoder_for(parameters), parts) == file


@pytest.mark.parametrize("argument", ["I", "L 8"])
def test_type_i_and_l_8_change_nothing(argument: str) -> None:
    """TYPE I and TYPE L 8 pass every byte, whatever the options say about line ends."""

    parameters = TransferParameters().with_type(argument)
    data = bytes(range(256)) + b"\r\n\n\r"
    check_supported(parameters)
    doubling = CodecOptions(existing_crlf=ExistingCRLF.DOUBLE)
    assert converted(encoder_for(parameters), [data]) == data
    assert converted(encoder_for(parameters, options=doubling), [data]) == data
    assert converted(decoder_for(parameters), [data]) == data


def test_each_transfer_gets_a_fresh_stage() -> None:
    """Transfers never share state: a CR held in one does not appear in the next."""

    parameters = TransferParameters().with_type("A")
    first = decoder_for(parameters)
    assert list(first.feed(b"\r")) == []
    assert converted(decoder_for(parameters), [b"a"]) == b"a"
    assert list(encoder_for(parameters).feed(b"\r")) == [b"\r"]
    assert converted(encoder_for(parameters), [b"\n"]) == b"\r\n"


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
    """Parameters without an encoder are refused, and the error lists those that have one."""

    for attempt in (check_supported, encoder_for, decoder_for, listing_encoder_for):
        if attempt is listing_encoder_for and parameters.byte_size == 36:
            continue  # a listing is text, whatever TYPE applies to files

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
    """Return the test id of a combination."""

    control = parameters.format_control.value if parameters.type.value in "AE" else ""
    mode = parameters.mode.value
    return f"{parameters.type.value}{control}-{parameters.structure.value}-{mode}"


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
    """Any file comes back byte for byte in every TYPE, STRU and MODE, however it is split."""

    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [data[a:b] for a, b in itertools.pairwise(edges)]
    sent = converted(encoder_for(parameters, options=EXACT), parts)
    for received in ([sent], [sent[i : i + 1] for i in range(len(sent))]):
        decoder = decoder_for(parameters, options=EXACT)
        assert converted(decoder, received) == data
        assert decoder.complete is decoder.has_end_mark


@every_combination
def test_every_combination_at_every_split(parameters: TransferParameters) -> None:
    """Every split of the file, and of what is sent, gives the same file."""

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
    """If the connection ends before the end mark, the transfer is cut, and its error says so."""

    sent = converted(encoder_for(parameters), [b"one\ntwo\n"])
    for end in range(len(sent)):
        decoder = decoder_for(parameters)
        if parameters.mode is TransmissionMode.COMPRESSED and end == len(sent) - 1:
            # Only the empty string after the escape is missing.
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
    """Whatever a peer sends, a decoder gives limited data or an ftpdata error, at any split."""

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

        # zlib does not give out what it decoded before a defect in the same call.
        keeps = parameters.mode is TransmissionMode.DEFLATE and error is InvalidData
        outcomes.add((b"" if keeps else b"".join(pieces), error))
        assert sum(map(len, pieces)) <= 1100 * len(data)

    assert len(outcomes) == 1


def test_the_end_mark_stops_the_decoder_where_the_next_file_begins() -> None:
    """With several files on one connection, data after the mark are for the next decoder."""

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
    """Stream mode with records, and MODE Z, allow one file per connection."""

    parameters = TransferParameters().with_structure(structure).with_mode(mode)
    sent = converted(encoder_for(parameters), [b"abc"])
    decoder = decoder_for(parameters)
    assert not decoder.several_files
    assert b"".join(decoder.feed(sent)) == b"abc"
    assert decoder.complete
    with pytest.raises(InvalidData, match="after the end"):
        list(decoder.feed(b"x"))


def test_without_end_mark_there_is_no_remainder() -> None:
    """In stream mode with file structure only the connection's end is an end."""

    decoder = decoder_for(TransferParameters().with_type("A"))
    assert b"".join(decoder.feed(b"a\r\n")) == b"a\n"
    assert (decoder.has_end_mark, decoder.complete) == (False, False)
    assert not decoder.several_files
    assert (decoder.remainder, decoder.take_remainder(), decoder.suspect_bytes) == (b"", b"", 0)


@pytest.mark.parametrize("mode", ["B", "C"])
@pytest.mark.parametrize("kind", ["A", "E", "I"])
@pytest.mark.parametrize("structure", ["F", "R"])
def test_a_transfer_goes_on_from_any_marker(mode: str, kind: str, structure: str) -> None:
    """From each marker's offset, the sender's or the receiver's, the rest completes the file."""

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
    """No marker is sent within a UTF-8 character."""

    parameters = TransferParameters().with_type("E").with_mode("B")
    options = CodecOptions(marker_interval=1, file_encoding="utf-8")
    sent = converted(encoder_for(parameters, options=options), ["é\r\né".encode()])
    markers: list[RestartMarker] = []
    decoder = decoder_for(parameters, options=options, on_marker=markers.append)
    assert converted(decoder, [sent]) == "é\né".encode()
    assert [(it.text, it.offset) for it in markers] == [("4", 3)]


def test_markers_between_cr_and_lf_are_not_reported() -> None:
    """A foreign marker within a line end has no place in the file; an earlier one must do."""

    parameters = TransferParameters().with_type("A").with_mode("B")
    markers: list[RestartMarker] = []
    decoder = decoder_for(parameters, on_marker=markers.append, offset=100)
    data = b"\0\0\x02a\r" + b"\x10\0\x01x" + b"\0\0\x01\n" + b"\x10\0\x01y" + b"\x40\0\0"
    assert b"".join(decoder.feed(data)) == b"a\n"
    assert markers == [RestartMarker("y", 102)]


def test_markers_need_nobody_who_listens() -> None:
    """Markers and suspect data are passed over if nobody asked for them."""

    parameters = TransferParameters().with_mode("B")
    decoder = decoder_for(parameters)
    data = b"\x20\0\x01a" + b"\x10\0\x01x" + b"\x40\0\0"
    assert converted(decoder, [data]) == b"a"
    assert decoder.suspect_bytes == 1


def test_suspect_data_are_reported_by_their_place_in_the_file() -> None:
    """Suspect data are given out, and their position is reported first."""

    parameters = TransferParameters().with_type("A").with_mode("B")
    told: list[SuspectData] = []
    decoder = decoder_for(parameters, offset=10, on_suspect=told.append)
    data = b"\0\0\x03a\r\n" + b"\x20\0\x02bc" + b"\x40\0\0"
    assert converted(decoder, [data]) == b"a\nbc"
    assert told == [SuspectData(12, 2)]
    assert decoder.suspect_bytes == 2


def test_modes_without_markers_send_none() -> None:
    """A marker interval has no effect in a mode without markers."""

    for parameters in (TransferParameters().with_mode("Z"), TransferParameters().with_type("A")):
        with_markers = encoder_for(parameters, options=CodecOptions(marker_interval=1))
        assert converted(with_markers, [b"abc"]) == converted(encoder_for(parameters), [b"abc"])


@pytest.mark.parametrize("mode", ["S", "B", "C", "Z"])
def test_records_of_a_binary_file(mode: str) -> None:
    """With STRU R and TYPE I, records have the chosen length, counted from the file's start."""

    parameters = TransferParameters().with_structure("R").with_mode(mode)
    options = CodecOptions(record_length=4)
    for offset in range(9):
        sent = converted(encoder_for(parameters, options=options, offset=offset), [b"abcdefg"])
        assert converted(decoder_for(parameters), [sent]) == b"abcdefg"
    if mode == "S":
        encoder = encoder_for(parameters, options=options, offset=3)
        assert converted(encoder, [b"abc", b"defg"]) == b"a\xff\1bcde\xff\1fg\xff\3"


def test_last_record_is_closed_unless_it_is_set_otherwise() -> None:
    """By default a last line without a line end is a whole record, as RFC 959 §3.4 requires."""

    parameters = TransferParameters().with_type("A").with_structure("R")
    assert converted(encoder_for(parameters), [b"a\nb"]) == b"a\xff\1b\xff\3"
    assert converted(encoder_for(parameters), [b"a\nb\n"]) == b"a\xff\1b\xff\1\xff\2"
    left_open = CodecOptions(close_last_record=False)
    assert converted(encoder_for(parameters, options=left_open), [b"a\nb"]) == b"a\xff\1b\xff\2"


def test_records_become_lines_of_the_host() -> None:
    """A record becomes a line with the local line end, of which a CR before an LF is a part."""

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
    """A text record beyond the limit is an error; a record of a binary file may have any length."""

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
    """A listing cannot have STRU P, either."""

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
    """A listing is sent as text in any STRU and MODE, also with TYPE I (RFC 959 §4.1.3)."""

    options = CodecOptions(existing_crlf=ExistingCRLF.DOUBLE, marker_interval=1)
    encoder = listing_encoder_for(parameters, options=options)
    assert converted(encoder, [b"a\r\nb\r\n"]) == sent
