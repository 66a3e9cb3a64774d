"""Transfers in every TYPE, STRU and MODE, over real sockets."""

from __future__ import annotations

import io
import itertools
import socket
from collections.abc import Awaitable

import pytest

from ftpdata.errors import UnsupportedParameter
from ftpdata.outcome import End, TransferResult
from ftpdata.parameters import (
    RepresentationType,
    Structure,
    TransferParameters,
    TransmissionMode,
)
from ftpdata.representation import decoder_for, encoder_for
from ftpdata.transfers import send_file, send_listing
from tests.harness.connections import connection, peer_task, receive_all

EVERY = [
    TransferParameters(type=kind, structure=structure, mode=mode)
    for kind, structure, mode in itertools.product(
        RepresentationType, (Structure.FILE, Structure.RECORD), TransmissionMode
    )
]


def name_of(parameters: TransferParameters) -> str:
    """Name parameters by their letters."""

    return f"{parameters.type.value}{parameters.structure.value}{parameters.mode.value}"


every = pytest.mark.parametrize("parameters", EVERY, ids=name_of)


async def sent(work: Awaitable[TransferResult], peer: socket.socket) -> bytes:
    """Run a transfer that sends to its clean end; return what the peer got."""

    async with peer_task(receive_all(peer)) as receiving:
        result = await work
        received = await receiving
        assert isinstance(received, bytes)

    assert result.end is End.CLEAN
    assert result.bytes == len(received)
    return received


# Listings


def as_text(parameters: TransferParameters) -> TransferParameters:
    """Return the parameters that a listing has: it is text in any case."""

    kind = parameters.type
    if kind is not RepresentationType.EBCDIC:
        kind = RepresentationType.ASCII

    return TransferParameters(type=kind, structure=parameters.structure, mode=parameters.mode)


@every
async def test_a_listing_is_text_in_the_structure_and_mode_in_effect(
    parameters: TransferParameters,
) -> None:
    """Its lines come out of the decoder of TYPE A or E, whatever TYPE says of files."""

    lines = [b"one", b"", b"two words", b"t" * 300]
    async with connection() as (dtp, peer):
        received = await sent(send_listing(dtp, lines, parameters=parameters), peer)

    decoder = decoder_for(as_text(parameters))
    text = b"".join([*decoder.feed(received), *decoder.finish()])
    assert text == b"".join(line + b"\n" for line in lines)


async def test_a_listing_of_pages_is_refused() -> None:
    """There is no page structure: 504, and the connection is reset."""

    async with connection() as (dtp, _):
        with pytest.raises(UnsupportedParameter) as caught:
            await send_listing(
                dtp, [b"x"], parameters=TransferParameters(structure=Structure.PAGE)
            )

    assert caught.value.result is not None
    assert caught.value.result.reply_code == 504


# Files


@every
async def test_an_empty_file_is_its_end_mark(parameters: TransferParameters) -> None:
    """Where there is one: nothing at all would be a file that was cut."""

    async with connection() as (dtp, peer):
        received = await sent(send_file(dtp, io.BytesIO(), parameters=parameters), peer)

    assert received == b"".join(encoder_for(parameters).finish())
