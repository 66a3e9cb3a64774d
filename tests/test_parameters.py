"""TYPE, STRU and MODE as values."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata.errors import UnsupportedParameter
from ftpdata.parameters import (
    FormatControl,
    Protection,
    RepresentationType,
    Structure,
    TransferParameters,
    TransmissionMode,
)

PLAIN = TransferParameters()


def test_defaults_move_the_bytes_of_the_file() -> None:
    """The defaults are TYPE I, STRU F and MODE S, which nearly every transfer uses today."""
    assert PLAIN.type is RepresentationType.IMAGE
    assert PLAIN.structure is Structure.FILE
    assert PLAIN.mode is TransmissionMode.STREAM
    assert PLAIN.is_identity


@pytest.mark.parametrize(
    ("argument", "kind", "control"),
    [
        ("A", RepresentationType.ASCII, FormatControl.NON_PRINT),
        ("a", RepresentationType.ASCII, FormatControl.NON_PRINT),
        ("A N", RepresentationType.ASCII, FormatControl.NON_PRINT),
        ("AN", RepresentationType.ASCII, FormatControl.NON_PRINT),
        ("a t", RepresentationType.ASCII, FormatControl.TELNET),
        ("A C", RepresentationType.ASCII, FormatControl.CARRIAGE_CONTROL),
        ("E", RepresentationType.EBCDIC, FormatControl.NON_PRINT),
        ("E T", RepresentationType.EBCDIC, FormatControl.TELNET),
        ("I", RepresentationType.IMAGE, FormatControl.NON_PRINT),
        (" i ", RepresentationType.IMAGE, FormatControl.NON_PRINT),
        ("L 8", RepresentationType.LOCAL, FormatControl.NON_PRINT),
        ("L8", RepresentationType.LOCAL, FormatControl.NON_PRINT),
        ("l  8", RepresentationType.LOCAL, FormatControl.NON_PRINT),
    ],
)
def test_type(argument: str, kind: RepresentationType, control: FormatControl) -> None:
    """Every supported argument of TYPE is accepted, whatever was set before."""
    odd = attrs.evolve(PLAIN, byte_size=36, format_control=FormatControl.TELNET)
    for before in (PLAIN, odd):
        after = before.with_type(argument)
        assert (after.type, after.format_control, after.byte_size) == (kind, control, 8)


@pytest.mark.parametrize(
    "argument",
    [
        "", " ", "X", "A X", "AX", "A N N", "I N", "I8", "L", "L 7", "L 36", "L 08", "L８", "L 8 8",
        "L +8", "ı", "Ａ", "A\tN", "A\n", "\x1cA", "\xa0I", "E ſ", "8", "N",
    ],
)
def test_bad_type(argument: str) -> None:
    """Anything else is a 504, also letters that only resemble ASCII in upper case."""
    with pytest.raises(UnsupportedParameter) as caught:
        PLAIN.with_type(argument)

    assert caught.value.reply_code == 504


@pytest.mark.parametrize(
    ("argument", "structure"),
    [("F", Structure.FILE), ("r", Structure.RECORD), (" P ", Structure.PAGE)],
)
def test_structure(argument: str, structure: Structure) -> None:
    """Every structure of RFC 959 is accepted, in either case."""
    assert PLAIN.with_structure(argument).structure is structure


@pytest.mark.parametrize(
    ("argument", "mode"),
    [
        ("S", TransmissionMode.STREAM),
        ("b", TransmissionMode.BLOCK),
        ("C", TransmissionMode.COMPRESSED),
        ("z ", TransmissionMode.DEFLATE),
    ],
)
def test_mode(argument: str, mode: TransmissionMode) -> None:
    """Every mode of RFC 959, and deflate, is accepted in either case."""
    assert PLAIN.with_mode(argument).mode is mode


@pytest.mark.parametrize("argument", ["", "X", "FF", "SS", "ſ", "Ｓ", "S\n", "\x1fF", "F S"])
def test_bad_structure_and_mode(argument: str) -> None:
    """Anything else is a 504."""
    with pytest.raises(UnsupportedParameter, match="STRU"):
        PLAIN.with_structure(argument)

    with pytest.raises(UnsupportedParameter, match="MODE"):
        PLAIN.with_mode(argument)


@given(st.text(max_size=50))
def test_only_our_error_escapes(argument: str) -> None:
    """Whatever the argument, the result is a value, or the one error, on one line."""
    for change in (PLAIN.with_type, PLAIN.with_structure, PLAIN.with_mode):
        message = ""
        try:
            change(argument)
        except UnsupportedParameter as error:
            message = str(error)

        assert len(message) < 100
        assert "\n" not in message


@pytest.mark.parametrize(
    ("parameters", "identity"),
    [
        (PLAIN, True),
        (PLAIN.with_type("L8"), True),
        (PLAIN.with_type("A"), False),
        (PLAIN.with_type("E"), False),
        (attrs.evolve(PLAIN, byte_size=36), False),
        (PLAIN.with_structure("R"), False),
        (PLAIN.with_structure("P"), False),
        (PLAIN.with_mode("B"), False),
        (PLAIN.with_mode("Z"), False),
    ],
)
def test_identity(parameters: TransferParameters, identity: bool) -> None:
    """The bytes of the file are those on the connection only if nothing is converted."""
    assert parameters.is_identity is identity


def test_parameters_are_a_value() -> None:
    """A change returns a copy and leaves the rest; equal parameters are equal."""
    changed = PLAIN.with_type("A").with_structure("R").with_mode("B")
    assert TransferParameters() == PLAIN
    assert changed == TransferParameters(
        type=RepresentationType.ASCII, structure=Structure.RECORD, mode=TransmissionMode.BLOCK
    )
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        PLAIN.mode = TransmissionMode.BLOCK  # type: ignore[misc]


def test_values_are_the_letters_on_the_wire() -> None:
    """The values of the enums are the arguments of the commands."""
    assert [kind.value for kind in RepresentationType] == ["A", "E", "I", "L"]
    assert [control.value for control in FormatControl] == ["N", "T", "C"]
    assert [structure.value for structure in Structure] == ["F", "R", "P"]
    assert [mode.value for mode in TransmissionMode] == ["S", "B", "C", "Z"]
    assert [protection.value for protection in Protection] == ["C", "P"]
