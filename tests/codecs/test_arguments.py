"""Wrong types are refused at the call, with what was expected and what came instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ftpdata import TransferParameters, codecs

PARAMETERS = TransferParameters()
WRONG: list[tuple[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    ("type", TransferParameters, (), {"type": "A"}),
    ("format_control", TransferParameters, (), {"format_control": "N"}),
    ("byte_size", TransferParameters, (), {"byte_size": "8"}),
    ("structure", TransferParameters, (), {"structure": "F"}),
    ("mode", TransferParameters, (), {"mode": "S"}),
    ("encoding", TransferParameters, (), {"encoding": None}),
    ("argument", PARAMETERS.with_type, (b"A",), {}),
    ("argument", PARAMETERS.with_structure, (None,), {}),
    ("argument", PARAMETERS.with_mode, (5,), {}),
    ("parameters", codecs.encoder_for, ("A",), {}),
    ("parameters", codecs.decoder_for, (None,), {}),
    ("parameters", codecs.listing_encoder_for, ("A",), {}),
    ("parameters", codecs.check_supported, ("A",), {}),
    ("options", codecs.encoder_for, (PARAMETERS,), {"options": {}}),
    ("options", codecs.decoder_for, (PARAMETERS,), {"options": None}),
    ("options", codecs.listing_encoder_for, (PARAMETERS,), {"options": None}),
    ("offset", codecs.encoder_for, (PARAMETERS,), {"offset": "5"}),
    ("existing_crlf", codecs.CodecOptions, (), {"existing_crlf": "keep"}),
    ("file_encoding", codecs.CodecOptions, (), {"file_encoding": None}),
    ("record_length", codecs.CodecOptions, (), {"record_length": "5"}),
    ("deflate_level", codecs.CodecOptions, (), {"deflate_level": "6"}),
    ("limits", codecs.CodecOptions, (), {"limits": 5}),
    ("record", codecs.CodecLimits, (), {"record": "5"}),
    ("end", codecs.Records, (), {"end": "\n"}),
    ("argument", codecs.parse_deflate_level, (b"MODE Z LEVEL 6",), {}),
    ("level", codecs.DeflateEncoder, (), {"level": "6"}),
    ("text", codecs.parse_mark_reply, (b"MARK 1 = 2",), {}),
    ("marker", codecs.format_mark_reply, ("1",), {}),
    ("marker", codecs.format_mark_reply, (codecs.RestartMarker("1", 2),), {"own": 5}),
]


@pytest.mark.parametrize(("name", "call", "arguments", "keywords"), WRONG)
def test_wrong_types(
    name: str, call: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> None:
    """Each is one error, which names the argument."""

    with pytest.raises(TypeError, match=rf"^{name} must be .+, not .+ \(\w+\)$"):
        call(*arguments, **keywords)


@pytest.mark.parametrize("make", [codecs.encoder_for, codecs.decoder_for])
def test_no_file_begins_before_its_beginning(make: Callable[..., object]) -> None:
    """A negative offset is refused."""

    with pytest.raises(ValueError, match="offset"):
        make(PARAMETERS, offset=-1)
