"""Values with many options show only what differs from the defaults."""

from __future__ import annotations

import inspect

import attrs
import pytest

from ftpdata import receive_file, relay, send_file, send_listing, send_stream
from ftpdata._repr import repr_of_changes
from ftpdata.codecs import CodecLimits, CodecOptions
from ftpdata.deadlines import Deadlines
from ftpdata.opening import SocketOptions
from ftpdata.parameters import RepresentationType, TransferParameters


@attrs.frozen
class Value:
    """A value with every kind of field."""

    __repr__ = repr_of_changes

    needed: int
    usual: int = 7
    _hidden: str = "here"
    made: list[int] = attrs.field(factory=list)
    derived: int = attrs.field(init=False, default=3)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Value(1), "Value(needed=1)"),
        (Value(1, 8, "there", [2]), "Value(needed=1, usual=8, hidden='there', made=[2])"),
        (Deadlines(), "Deadlines()"),
        (Deadlines(stall=None, close=1.5), "Deadlines(stall=None, close=1.5)"),
        (TransferParameters(), "TransferParameters()"),
        (CodecOptions(), "CodecOptions()"),
        (CodecLimits(ratio=None), "CodecLimits(ratio=None)"),
        (SocketOptions(), "SocketOptions()"),
    ],
)
def test_what_is_shown(value: object, shown: str) -> None:
    """Only changes are shown, by the arguments' names; evaluating them makes an equal value."""
    assert repr(value) == shown
    assert eval(shown) == value


def test_an_enumeration_is_shown_as_ever() -> None:
    """The repr of a field's value is not changed."""
    parameters = TransferParameters(type=RepresentationType.ASCII)
    assert repr(parameters) == "TransferParameters(type=<RepresentationType.ASCII: 'A'>)"


@pytest.mark.parametrize("function", [send_file, receive_file, send_listing, send_stream, relay])
def test_a_signature_can_be_read(function: object) -> None:
    """No default in it is longer than a few words."""
    assert callable(function)
    for parameter in inspect.signature(function).parameters.values():
        assert len(repr(parameter.default)) <= 40
