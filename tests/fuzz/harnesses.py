"""The fuzz harnesses: a function for each parser and decoder of the package, with its invariants.

A harness accepts any bytes. It returns, or raises an exception that is not an error of ftpdata's
and that no user of the package could catch. It needs no fuzzer, so that
`tests/test_fuzz_corpus.py` can replay every input that was ever of interest.

Where there are many ways to do the same (to split the data, to write an entry), the input chooses
one: with a byte of its own, or with its checksum. So a fuzzer tries ten times as many inputs in an
hour. `tests/test_fuzz_corpus.py` tries all ways with each input that is kept.
"""

from __future__ import annotations

import functools
import itertools
import zlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar

import attrs

from ftpdata.addresses import (
    HostPort,
    PeerPolicy,
    format_eprt,
    format_epsv_reply,
    format_pasv_reply,
    format_port,
    parse_eprt,
    parse_epsv,
    parse_epsv_reply,
    parse_pasv_reply,
    parse_port,
)
from ftpdata.codecs._pieces import MAX_PIECE
from ftpdata.codecs.deflate import parse_deflate_level
from ftpdata.codecs.framing import RecordDecoder, record_decoder_for, record_encoder_for
from ftpdata.codecs.limits import DEFAULT_LIMITS, CodecLimits
from ftpdata.codecs.options import CodecOptions
from ftpdata.codecs.rdw import RecordReader, record_reader, record_writer
from ftpdata.codecs.recordfile import RecordFile
from ftpdata.codecs.representation import ExistingCRLF
from ftpdata.codecs.restart import RestartMarker, SuspectData, format_mark_reply, parse_mark_reply
from ftpdata.codecs.selection import decoder_for, encoder_for
from ftpdata.errors import BadArgument, FTPDataError, InvalidData
from ftpdata.listing import (
    ListFormat,
    ListFormatter,
    ListingHints,
    ListingRules,
    ListReader,
    MlsxFormatter,
    NamePolicy,
    NlstFormatter,
    entry_from_facts,
    format_eplf_line,
    format_list_line,
    format_mlsx_line,
    format_msdos_line,
    format_nlst_line,
    format_time_val,
    parse_eplf_line,
    parse_list_line,
    parse_mlsx_line,
    parse_msdos_line,
    parse_nlst_line,
    parse_time_val,
    parse_unix_line,
    select_facts,
)
from ftpdata.listing._names import safe_name, unescape_name
from ftpdata.opening.proxy import PROXY_HEADER_LIMIT, format_proxy_header, parse_proxy_header
from ftpdata.parameters import RepresentationType, TransferParameters
from ftpdata.tls._client_hello import may_offer_protocols, parse_client_hello

P = ParamSpec("P")
T = TypeVar("T")

SIZES = 17
"""How many sizes of parts there are into which the data are split."""

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
CONTROL = {*range(32), 127}


class Choices:
    """Takes decisions from the front of the data, so that the fuzzer makes them."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def number(self, below: int) -> int:
        """Return a number from 0 to below `below`; 0 if the data have ended."""

        number = self.rest[0] % below if self.rest else 0
        self.rest = self.rest[1:]
        return number


def chosen(data: bytes, below: int) -> int:
    """Return a number from 0 to below `below` that depends on all of the data."""

    return zlib.crc32(data) % below


def own_error(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Return the result of the call, or None if it raises an error of the package's."""

    try:
        return call(*args, **kwargs)
    except FTPDataError as error:
        check_error(error)

    return None


def check_error(error: FTPDataError) -> None:
    """Check that an error can be sent to a peer."""

    assert 400 <= error.reply_code < 600
    assert len(error.message) < 1000


def text_of(data: bytes) -> str:
    """Decode data as the lines of a control connection are decoded."""

    return data.decode("utf-8", "surrogateescape")


def parts_of(data: bytes, choice: int) -> list[bytes]:
    """Split data: into parts of at most `SIZES` bytes, or in two, or not at all."""

    if choice < SIZES:
        return [data[i : i + choice + 1] for i in range(0, len(data), choice + 1)]

    at = (choice - SIZES) % (len(data) + 1)
    return [part for part in (data[:at], data[at:]) if part]


# Addresses

POLICIES = (PeerPolicy.exact(), PeerPolicy.same_network(), PeerPolicy.any())


def fuzz_addresses(data: bytes) -> None:
    """PORT, EPRT, and the replies to PASV and EPSV; what is parsed is written and parsed again."""

    text = text_of(data)
    for address in (
        own_error(parse_port, text),
        own_error(parse_eprt, text),
        own_error(parse_pasv_reply, text),
    ):
        if address is None:
            continue

        assert parse_eprt(format_eprt(address)) == address
        if not address.is_ipv6:
            assert parse_port(format_port(address)) == address
            assert parse_pasv_reply(format_pasv_reply(address)) == address

        policy = POLICIES[chosen(data, len(POLICIES))]
        policy.check(address.host, "192.0.2.1", port=address.port)
        policy.check_target(address, "192.0.2.1")

    port = own_error(parse_epsv_reply, text)
    if port is not None:
        assert parse_epsv_reply(format_epsv_reply(port)) == port

    own_error(parse_epsv, text)
    own_error(HostPort, text, 21)
    POLICIES[0].check(text, text)


# Listings

LOOKS = [
    (policy, rules, formatter)
    for policy in NamePolicy
    for rules in ListingRules
    for formatter in (
        ListFormatter(now=NOW, rules=rules, name_policy=policy),
        NlstFormatter(name_policy=policy),
        MlsxFormatter(name_policy=policy),
    )
]


def assert_one_line(line: bytes | None) -> None:
    """Check that a written line has no control character, and so cannot contain a second line."""

    assert line is None or CONTROL.isdisjoint(line), line


HINTS = [ListingHints(format=kind) for kind in ListFormat]


def fuzz_listing(data: bytes) -> None:
    """Lines of LIST in every format; a parsed entry is written as one line in each.

    What writes many lines at once writes the same.
    """

    reader = ListReader(now=NOW)
    found = [own_error(reader.read, line) for line in data.split(b"\n")]
    own_error(reader.finish)
    for entry in (
        *found,
        own_error(parse_list_line, data, now=NOW),
        *(own_error(parse_list_line, data, now=NOW, hints=hints) for hints in HINTS),
        own_error(parse_unix_line, data, now=NOW),
        own_error(parse_msdos_line, data),
        own_error(parse_eplf_line, data),
    ):
        if entry is None:
            continue

        assert entry.size >= 0
        policy, rules, formatter = LOOKS[chosen(data, len(LOOKS))]
        shown = formatter.format(entry)
        assert formatter.format_block([entry]) == (b"" if shown is None else shown + b"\r\n")
        assert_one_line(format_list_line(entry, now=NOW, rules=rules, name_policy=policy))
        assert_one_line(format_nlst_line(entry, name_policy=policy))
        assert_one_line(format_msdos_line(entry, name_policy=policy))
        eplf = format_eplf_line(entry, name_policy=policy)
        assert_one_line(eplf and eplf.replace(b"\t", b" ", 1))
        line = format_list_line(entry, now=NOW)
        if line is not None and entry.is_plain_name:
            again = own_error(parse_unix_line, line, now=NOW)
            assert again is None or again.type is entry.type

    own_error(parse_nlst_line, data)


def fuzz_names(data: bytes) -> None:
    """Names that are shown are found again; what is decoded leads nowhere else."""

    shown = safe_name(data, NamePolicy.ESCAPE)
    assert shown is not None
    assert_one_line(shown.encode("utf-8", "surrogateescape"))
    if b"\0" not in data:
        assert unescape_name(shown.encode("utf-8", "surrogateescape")) == data

    found = unescape_name(data)
    assert all(found.count(byte) == data.count(byte) for byte in (b"\0", b"/", b"."))


def fuzz_mlsx(data: bytes) -> None:
    """Lines of MLSD, times and OPTS MLST; what is parsed is written and parsed again."""

    text = text_of(data)
    parsed = own_error(parse_mlsx_line, data, is_reply=chosen(data, 2) == 1)
    if parsed is not None:
        name, facts = parsed
        own_error(entry_from_facts, name, facts)
        try:
            line = format_mlsx_line(name, facts)
        except ValueError:  # the name of a fact is not valid; parsers are not strict
            line = None

        assert_one_line(line)
        if line is not None:
            # A name without facts that looks like facts is refused.
            again = own_error(parse_mlsx_line, line)
            assert again is None or again[0] == safe_name(name, NamePolicy.ESCAPE)

    seconds = own_error(parse_time_val, text)
    if seconds is not None:
        digits = 6 if seconds % 1 else 0
        assert abs(parse_time_val(format_time_val(seconds, digits=digits)) - seconds) < 1e-3

    selection = own_error(select_facts, text)
    if selection is not None:
        assert select_facts(";".join(selection.selected)).selected == selection.selected


# The beginning of a connection


def fuzz_proxy_header(data: bytes) -> None:
    """PROXY headers; a longer beginning never contradicts the result of a shorter one."""

    header = own_error(parse_proxy_header, data)
    shorter = own_error(parse_proxy_header, data[: chosen(data, len(data) + 1)])
    assert shorter is None or shorter == header
    if header is not None:
        assert 0 < header.size <= min(len(data), PROXY_HEADER_LIMIT + 16)
        assert parse_proxy_header(data[: header.size]) == header
        assert parse_proxy_header(data[: header.size - 1]) is None
        if header.source and header.destination:
            for version in (1, 2):
                again = format_proxy_header(header.source, header.destination, version=version)
                parsed = parse_proxy_header(again)
                assert parsed is not None
                assert (parsed.source, parsed.size) == (header.source, len(again))


def fuzz_client_hello(data: bytes) -> None:
    """ClientHellos; a longer beginning never contradicts the result of a shorter one.

    A look misses no offer.
    """

    hello = own_error(parse_client_hello, data)
    shorter = own_error(parse_client_hello, data[: chosen(data, len(data) + 1)])
    assert shorter is None or shorter == hello
    assert may_offer_protocols(data) or not (hello and hello.protocols)


# Arguments of commands


def fuzz_arguments(data: bytes) -> None:
    """TYPE, STRU, MODE, OPTS MODE Z, and the reply 110."""

    text = text_of(data)
    parameters = TransferParameters()
    for change in (parameters.with_type, parameters.with_structure, parameters.with_mode):
        changed = own_error(change, text)
        if changed is not None:
            own_error(decoder_for, changed)

    level = own_error(parse_deflate_level, text)
    assert level is None or 0 <= level <= 9
    try:
        marker, own = parse_mark_reply(text)
    except BadArgument:
        return

    assert parse_mark_reply(format_mark_reply(RestartMarker(marker, 0), own=own)) == (marker, own)


# Representation and transmission

TYPES = ["A N", "E N", "I", "A T", "E C", "L 8"]
LIMITS = CodecLimits(record=64, marker=16, output=1 << 20, ratio=None)


@functools.cache
def parameters_of(kind: int, structure: int, mode: str) -> TransferParameters:
    """Return what the data chose."""

    return (
        TransferParameters()
        .with_type(TYPES[kind])
        .with_structure("FR"[structure])
        .with_mode(mode)
    )


@functools.cache
def options_of(bits: int) -> CodecOptions:
    """Return what the data chose."""

    return CodecOptions(
        existing_crlf=ExistingCRLF.DOUBLE if bits & 1 else ExistingCRLF.KEEP,
        line_end=b"\r\n" if bits & 2 else b"\n",
        file_encoding="utf-8" if bits & 4 else "latin-1",
        record_length=5 if bits & 8 else None,
        close_last_record=not bits & 16,
        marker_interval=7 if bits & 32 else None,
        limits=LIMITS,
    )


@functools.cache
def options_without_changes(bits: int) -> CodecOptions:
    """Return what the data chose, without the changes to a file that are made on purpose."""

    return attrs.evolve(
        options_of(bits),
        existing_crlf=ExistingCRLF.DOUBLE,
        line_end=b"\n",
        close_last_record=False,
        limits=DEFAULT_LIMITS,
    )


Outcome = tuple[bytes, type[FTPDataError] | None, list[RestartMarker | SuspectData], bytes]


def decode(
    parameters: TransferParameters, options: CodecOptions, parts: Iterable[bytes]
) -> Outcome:
    """Decode parts; return the file, the error, the events, and what follows the file."""

    events: list[RestartMarker | SuspectData] = []
    decoder = decoder_for(
        parameters, options=options, on_marker=events.append, on_suspect=events.append
    )
    out = bytearray()

    def take(pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            assert type(piece) is bytes
            assert 0 < len(piece) <= 6 * MAX_PIECE
            out.extend(piece)

    following = b""
    several_files = decoder.several_files
    try:
        for part in parts:
            if several_files and decoder.complete:
                following += decoder.take_remainder() + part
            else:
                take(decoder.feed(part))

        following = decoder.take_remainder() + following
        take(decoder.finish())
        assert decoder.complete is decoder.has_end_mark
    except FTPDataError as error:
        # The limit allows one more line end, and three bytes of UTF-8, for each byte.
        assert len(out) <= 6 * (1 << 20)
        return bytes(out), type(error), events, b""

    return bytes(out), None, events, following


def fuzz_decoding(data: bytes, mode: str) -> None:
    """Return a file or an ftpdata error, bounded, and the same however the data are split."""

    choices = Choices(data)
    parameters = parameters_of(choices.number(len(TYPES)), choices.number(2), mode)
    choices.number(1)
    options = options_of(choices.number(256))
    split = choices.number(256)
    whole = decode(parameters, options, [choices.rest])
    other = decode(parameters, options, parts_of(choices.rest, split))
    if whole[1] is None:
        assert other == whole
    else:
        # Data that were good before the error may come out, or be dropped with their piece.
        assert other[1] is not None
        assert other[0].startswith(whole[0]) or whole[0].startswith(other[0])
        assert mode == "Z" or other[1] is whole[1]


def fuzz_stream(data: bytes) -> None:
    """Stream mode: TYPE A and E in file structure, records of every type."""

    fuzz_decoding(data, "S")


def fuzz_block(data: bytes) -> None:
    """Block mode."""

    fuzz_decoding(data, "B")


def fuzz_compressed(data: bytes) -> None:
    """Compressed mode."""

    fuzz_decoding(data, "C")


def fuzz_deflate(data: bytes) -> None:
    """MODE Z."""

    fuzz_decoding(data, "Z")


def fuzz_round_trip(data: bytes) -> None:
    """Any file comes back from every combination, with markers and at any split."""

    choices = Choices(data)
    parameters = parameters_of(
        choices.number(len(TYPES)), choices.number(2), "SBCZ"[choices.number(4)]
    )
    options = options_without_changes(choices.number(256))
    split = choices.number(256)
    file = choices.rest
    encoder = encoder_for(parameters, options=options)
    try:
        sent = b"".join(
            itertools.chain.from_iterable(
                (*map(encoder.feed, parts_of(file, split)), encoder.finish())
            )
        )
    except InvalidData:
        assert options.file_encoding == "utf-8"
        assert parameters.type is RepresentationType.EBCDIC
        return

    received = parts_of(sent, chosen(data, 256))
    out, error, _, following = decode(parameters, options, received)
    assert (out, error, following) == (file, None, b"")


# Records

FRAMINGS = [parameters_of(2, structure, mode) for structure, mode in ((0, "B"), (1, "B"), (1, "S"))]
RECORD_FILES = [RecordFile(), RecordFile(block_size=64), RecordFile(length=3)]


def read_records(
    reader: RecordDecoder | RecordReader, parts: Iterable[bytes]
) -> tuple[list[bytes], type[FTPDataError] | None]:
    """Read parts; return the records, and the error."""

    records: list[bytes] = []
    try:
        for part in parts:
            # One by one: those before an error count.
            for record in reader.feed(part):
                records.append(record)  # noqa: PERF402
        reader.finish()
    except FTPDataError as error:
        check_error(error)
        return records, type(error)

    return records, None


def fuzz_records(data: bytes) -> None:
    """Records of a connection: the same however the data are split, bounded, and sent again."""

    choices = Choices(data)
    parameters = FRAMINGS[choices.number(len(FRAMINGS))]
    split = choices.number(256)

    def read(parts: Iterable[bytes]) -> tuple[list[bytes], type[FTPDataError] | None]:
        return read_records(record_decoder_for(parameters, limits=LIMITS), parts)

    whole = records, _ = read([choices.rest])
    assert read(parts_of(choices.rest, split)) == whole
    assert all(len(record) <= 64 for record in records)
    encoder = record_encoder_for(parameters)
    sent = encoder.feed(records) + encoder.finish()
    assert read([sent]) == (records, None)


def fuzz_rdw(data: bytes) -> None:
    """Files of records: the same however the data are split, and written as they were read."""

    choices = Choices(data)
    file = RECORD_FILES[choices.number(len(RECORD_FILES))]
    split = choices.number(256)
    whole = records, error = read_records(record_reader(file), [choices.rest])
    assert read_records(record_reader(file), parts_of(choices.rest, split)) == whole
    if file.block_size is not None:
        # A block of the file may be larger than this side makes them.
        records = [record for record in records if len(record) <= file.block_size - 8]
    writer = record_writer(file)
    written = writer.feed(records) + writer.finish()
    assert read_records(record_reader(file), [written]) == (records, None)
    if file.block_size is None:
        assert choices.rest.startswith(written)
        assert error is not None or written == choices.rest


HARNESSES: dict[str, Callable[[bytes], None]] = {
    name.removeprefix("fuzz_"): function
    for name, function in sorted(globals().items())
    if name.startswith("fuzz_") and name != "fuzz_decoding"
}
