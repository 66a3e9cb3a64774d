"""A counter finds how many bytes an encoder makes of a file."""

from __future__ import annotations

import pytest

from ftpdata.codecs.counting import SizeCounter
from ftpdata.codecs.representation import (
    AsciiEncoder,
    IdentityEncoder,
)
from ftpdata.codecs.selection import encoder_for
from ftpdata.parameters import TransferParameters
from tests.harness.codecs import splits
from tests.harness.stages import TEXTS, Marking, converted, doubling


@pytest.mark.parametrize("file", TEXTS)
def test_size_counter_counts_what_is_sent(file: bytes) -> None:
    """The size for SIZE is the number of bytes that RETR will send, at every split."""

    for make in (AsciiEncoder, doubling, IdentityEncoder):
        sent = converted(make(), [file])
        for parts in splits(file):
            counter = SizeCounter(make())
            for part in parts:
                counter.feed(part)

            assert counter.finish() == len(sent)


def test_size_counter_shows_the_size_so_far_and_adds_the_end() -> None:
    """`size` grows with the data; what the encoder held is added by `finish`."""

    counter = SizeCounter(Marking(b"a"))
    assert counter.size == 0
    counter.feed(b"12")
    assert counter.size == len(b"a(12)")
    assert counter.finish() == len(b"a(12)a.")
    assert counter.size == len(b"a(12)a.")


def test_size_of_rfc_3659_example() -> None:
    """The text file of RFC 3659 §4.4: 112 lines in 1830 octets are 1942 in TYPE A."""

    file = b"x" * (1830 - 112 - 111) + b"\n" + b"y\n" * 111
    assert len(file) == 1830
    counter = SizeCounter(encoder_for(TransferParameters().with_type("A")))
    counter.feed(file)
    assert counter.finish() == 1942
