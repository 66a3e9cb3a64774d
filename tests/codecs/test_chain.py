"""Several encoders or decoders are combined into one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ftpdata.codecs.chain import chain_decoders, chain_encoders
from ftpdata.codecs.representation import (
    PIECE_SIZE,
    AsciiDecoder,
    AsciiEncoder,
    IdentityEncoder,
)
from tests.harness.codecs import splits
from tests.harness.stages import TEXTS, Deflating, Inflating, Marking, Stage, converted, doubling


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
    """A chain of one stage is that stage, and an empty chain changes nothing."""

    assert converted(chain(Marking(b"a")), [b"1234"]) == b"a(1234)a."
    assert converted(chain(), [b"1", b"2\r\n"]) == b"12\r\n"


@pytest.mark.parametrize("file", TEXTS)
def test_chain_with_a_stage_that_holds_back_round_trips(file: bytes) -> None:
    """TYPE A over a compressing stage, and back: the final CR is not lost between the stages."""

    for parts in splits(file):
        sent = converted(chain_encoders(doubling(), Deflating()), parts)
        for received in ([sent], [sent[i : i + 1] for i in range(len(sent))]):
            assert converted(chain_decoders(Inflating(), AsciiDecoder()), received) == file


def test_chain_is_lazy() -> None:
    """A chain converts only as far as it is read, whatever is fed."""

    joined = chain_encoders(IdentityEncoder(), AsciiEncoder())
    data = bytearray(b"a" * (2 * PIECE_SIZE))
    pieces = iter(joined.feed(data))
    next(pieces)
    data[PIECE_SIZE:] = b"b" * PIECE_SIZE
    assert b"".join(pieces) == b"b" * PIECE_SIZE
