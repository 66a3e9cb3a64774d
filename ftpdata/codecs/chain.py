"""Several encoders, or several decoders, as one.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..contracts import Buffer, Decoder, Encoder
from .representation import IdentityDecoder, IdentityEncoder

__all__ = ["chain_decoders", "chain_encoders"]


def chain_encoders(*encoders: Encoder) -> Encoder:
    """Join encoders into one that takes the data through them in the order given.

    For sending, that is the representation first, then the transmission mode. Without any
    encoder, the result passes the data as they are.
    """

    return _Chain(encoders) if encoders else IdentityEncoder()


def chain_decoders(*decoders: Decoder) -> Decoder:
    """Join decoders into one that takes the data through them in the order given.

    For receiving, that is the transmission mode first, then the representation. Without any
    decoder, the result passes the data as they are.
    """

    return _Chain(decoders) if decoders else IdentityDecoder()


class _Chain:
    """One or more encoders, or decoders, as one."""

    __slots__ = ("_stages",)

    def __init__(self, stages: Sequence[Encoder | Decoder]) -> None:
        self._stages = stages

    def feed(self, data: Buffer) -> Iterable[bytes]:
        """Take data through all stages; yield the pieces of the last one."""

        first, *others = self._stages
        pieces = first.feed(data)
        for stage in others:
            pieces = _feed_all(stage, pieces)

        return pieces

    def finish(self) -> Iterable[bytes]:
        """Finish each stage in turn, once it has got what the one before it still held."""

        first, *others = self._stages
        pieces = first.finish()
        for stage in others:
            pieces = _feed_all_and_finish(stage, pieces)

        return pieces


def _feed_all(stage: Encoder | Decoder, pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from stage.feed(piece)


def _feed_all_and_finish(stage: Encoder | Decoder, pieces: Iterable[bytes]) -> Iterator[bytes]:
    yield from _feed_all(stage, pieces)
    yield from stage.finish()
