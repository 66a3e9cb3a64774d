"""What a host chooses about representation and transmission.

Pure.
"""

from __future__ import annotations

import codecs

import attrs

from .._checks import check_encoding, checked, of_type, ranged
from .._repr import repr_of_changes
from .limits import CodecLimits, at_least_one
from .recordfile import RecordFile
from .representation import LF, ExistingCRLF, local_line_end

__all__ = ["CodecOptions"]


def _known_encoding(options: object, attribute: attrs.Attribute[str], value: str) -> None:
    check_encoding(options, attribute, value)
    try:
        codecs.lookup(value)
    except (LookupError, ValueError):
        raise ValueError(
            f"{attribute.name} must be a character set that Python knows, not {value!r:.60}"
        ) from None


@attrs.frozen(kw_only=True, field_transformer=checked)
class CodecOptions:
    r"""What a host chooses about representation and transmission, besides the parameters.

    Attributes:
        existing_crlf: What becomes of a CRLF in a file that is sent with TYPE A or E.
        line_end: Line end of a file that is received with TYPE A or E: ``b"\n"`` or
            ``b"\r\n"``.
        file_encoding: Character set of a file that is sent or received with TYPE E: UTF-8,
            or one of single bytes.
        record_length: Bytes of each record of a file that is sent with STRU R and TYPE I or
            L; None sends the file as one record.
        record_file: How a file stores the records of a mainframe. With it, every file but a
            text (TYPE A) that is sent or received with MODE B, or with MODE S and STRU R, is
            such a file, and its records are sent and stored with their boundaries, as they are.
        close_last_record: Whether a last line without line end is sent as a whole record
            with STRU R and TYPE A or E, as RFC 959 §3.4 requires.
        deflate_level: Level for sending with MODE Z, 0 to 9.
        marker_interval: Bytes of the file from one restart marker to the next, for sending
            with MODE B or C; None sends no markers. A marker is the offset in the file, in
            decimal.
        limits: What a peer may ask of a decoder.

    Raises:
        ValueError: A length or an interval is below 1, or `line_end` is not a line end.
    """

    __repr__ = repr_of_changes

    existing_crlf: ExistingCRLF = attrs.field(
        default=ExistingCRLF.KEEP, validator=of_type(ExistingCRLF, "an ExistingCRLF")
    )
    line_end: bytes = attrs.field(default=LF, validator=local_line_end)
    file_encoding: str = attrs.field(default="latin-1", validator=_known_encoding)
    record_length: int | None = attrs.field(default=None, validator=at_least_one)
    record_file: RecordFile | None = None
    close_last_record: bool = True
    deflate_level: int = attrs.field(default=6, validator=ranged(0, 9))
    marker_interval: int | None = attrs.field(default=None, validator=at_least_one)
    limits: CodecLimits = attrs.field(
        factory=CodecLimits, validator=of_type(CodecLimits, "CodecLimits")
    )


DEFAULT_OPTIONS = CodecOptions()
