"""The transfer parameters of RFC 959 §3 and RFC 2228, as values.

Pure. TYPE, STRU, MODE and PROT say how a file is represented on the data
connection; a frozen `TransferParameters` holds them together.
"""

from __future__ import annotations

import enum

import attrs

from ._checks import check_encoding, check_type, checked, of_type, ranged
from ._repr import repr_of_changes
from .errors import UnsupportedParameter, error_for_peer

__all__ = [
    "FormatControl",
    "Protection",
    "RepresentationType",
    "Structure",
    "TransferParameters",
    "TransmissionMode",
]


def _symbol(argument: str) -> str:
    """Return a symbol in upper case; letters that are not ASCII stay unchanged.

    Case does not matter (RFC 959 §5.3), but ``str.upper`` would make a
    dotless i an I and a long s an S.
    """

    check_type("argument", argument, str, "a string")
    return argument.strip(" ").upper() if argument.isascii() else argument


class RepresentationType(enum.Enum):
    """Representation type (TYPE, RFC 959 §3.1.1)."""

    ASCII = "A"
    EBCDIC = "E"
    IMAGE = "I"
    LOCAL = "L"


class FormatControl(enum.Enum):
    """Vertical format control of a text type (RFC 959 §3.1.1.5)."""

    NON_PRINT = "N"
    TELNET = "T"
    CARRIAGE_CONTROL = "C"


class Structure(enum.Enum):
    """File structure (STRU, RFC 959 §3.1.2)."""

    FILE = "F"
    RECORD = "R"
    PAGE = "P"


class TransmissionMode(enum.Enum):
    """Transmission mode (MODE, RFC 959 §3.4; Z is deflate)."""

    STREAM = "S"
    BLOCK = "B"
    COMPRESSED = "C"
    DEFLATE = "Z"


class Protection(enum.Enum):
    """Protection of the data connection (PROT, RFC 2228 §3, RFC 4217 §9)."""

    CLEAR = "C"
    PRIVATE = "P"


@attrs.frozen(kw_only=True, field_transformer=checked)
class TransferParameters:
    """How a file is represented on the data connection.

    The defaults are what nearly every transfer uses today: TYPE I, STRU F, MODE S.
    (RFC 959 §5.1 makes TYPE A N the default of a *session*; a server starts its
    sessions with ``TransferParameters(type=RepresentationType.ASCII)``.)

    Attributes:
        type: TYPE.
        format_control: Second parameter of TYPE A and TYPE E.
        byte_size: Second parameter of TYPE L, in bits.
        structure: STRU.
        mode: MODE.
        encoding: Python's name for the EBCDIC code page of TYPE E.
    """

    __repr__ = repr_of_changes

    type: RepresentationType = attrs.field(
        default=RepresentationType.IMAGE,
        validator=of_type(RepresentationType, "a RepresentationType"),
    )
    format_control: FormatControl = attrs.field(
        default=FormatControl.NON_PRINT, validator=of_type(FormatControl, "a FormatControl")
    )
    byte_size: int = attrs.field(default=8, validator=ranged(1, 255))
    structure: Structure = attrs.field(
        default=Structure.FILE, validator=of_type(Structure, "a Structure")
    )
    mode: TransmissionMode = attrs.field(
        default=TransmissionMode.STREAM, validator=of_type(TransmissionMode, "a TransmissionMode")
    )
    encoding: str = attrs.field(default="cp037", validator=check_encoding)

    @property
    def is_identity(self) -> bool:
        """Whether the bytes of the file are the bytes on the connection."""

        return (
            self.type in (RepresentationType.IMAGE, RepresentationType.LOCAL)
            and self.byte_size == 8  # noqa: PLR2004 - a byte of today
            and self.structure is Structure.FILE
            and self.mode is TransmissionMode.STREAM
        )

    def with_type(self, argument: str) -> TransferParameters:
        """Return a copy as changed by TYPE with `argument` (RFC 959 §5.3.2).

        Accepts ``A``, ``A N``, ``AN``, ``E T``, ``I``, ``L 8``, ``L8`` in
        either case.

        Raises:
            UnsupportedParameter: The argument is none of these, or a byte
                size other than 8. Reply 504.
        """

        text = _symbol(argument)
        try:
            kind = RepresentationType(text[:1])
        except ValueError:
            raise error_for_peer(
                UnsupportedParameter, f"TYPE is one of A, E, I, L, not {argument!r:.40}"
            ) from None

        rest = text[1:].strip(" ")
        if kind in (RepresentationType.ASCII, RepresentationType.EBCDIC):
            try:
                control = FormatControl(rest or "N")
            except ValueError:
                raise error_for_peer(
                    UnsupportedParameter,
                    f"format control is one of N, T, C, not {argument!r:.40}"
                ) from None
            return attrs.evolve(self, type=kind, format_control=control, byte_size=8)

        if rest != ("8" if kind is RepresentationType.LOCAL else ""):
            raise error_for_peer(
                UnsupportedParameter, f"TYPE I, or L 8 for bytes of 8 bits, not {argument!r:.40}"
            )

        return attrs.evolve(self, type=kind, format_control=FormatControl.NON_PRINT, byte_size=8)

    def with_structure(self, argument: str) -> TransferParameters:
        """Return a copy as changed by STRU with `argument` (RFC 959 §5.3.2).

        Raises:
            UnsupportedParameter: Not one of F, R, P. Reply 504.
        """

        try:
            return attrs.evolve(self, structure=Structure(_symbol(argument)))
        except ValueError:
            raise error_for_peer(
                UnsupportedParameter, f"STRU is one of F, R, P, not {argument!r:.40}"
            ) from None

    def with_mode(self, argument: str) -> TransferParameters:
        """Return a copy as changed by MODE with `argument` (RFC 959 §5.3.2).

        Raises:
            UnsupportedParameter: Not one of S, B, C, Z. Reply 504.
        """

        try:
            return attrs.evolve(self, mode=TransmissionMode(_symbol(argument)))
        except ValueError:
            raise error_for_peer(
                UnsupportedParameter, f"MODE is one of S, B, C, Z, not {argument!r:.40}"
            ) from None


DEFAULT_PARAMETERS = TransferParameters()
