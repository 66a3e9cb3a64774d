"""Names in listing lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata.listing._names import (
    NamePolicy,
    decode_name,
    encode_name,
    field_word,
    has_control,
    replace_control,
    safe_name,
)


@given(st.binary())
def test_any_bytes_survive_as_text(name: bytes) -> None:
    """A name from the wire can be sent back unchanged."""

    assert encode_name(decode_name(name)) == name


@given(st.text(st.characters(codec=None), max_size=8))
def test_any_text_has_bytes(name: str) -> None:
    """No text raises; text without lone surrogates is UTF-8."""

    encoded = encode_name(name)
    if not any("\ud800" <= c <= "\udfff" for c in name):
        assert encoded == name.encode()


@given(st.binary() | st.text(st.characters(codec=None)), st.sampled_from([*NamePolicy]))
def test_safe_names_are_safe_and_stay_so(name: str | bytes, policy: NamePolicy) -> None:
    """A policy leaves no control character, and has nothing to do the second time."""

    safe = safe_name(name, policy)
    if safe is not None:
        assert not has_control(safe)
        assert not has_control(decode_name(safe.encode("utf-8", "surrogateescape")))
        assert safe_name(safe, policy) == safe


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", ("plain", "plain", "plain")),
        (b"\xff\xfe", ("\udcff\udcfe",) * 3),
        ("a\tb", ("a\\011b", "a?b", None)),
        ("\x9b", ("\\302\\233", "?", None)),
        ("\udcc2\udc9b", ("\\302\\233", "?", None)),
        ("\u202e", ("\u202e",) * 3),  # no line end: a matter of taste
        ("\xa0", ("\xa0",) * 3),
    ],
)
def test_policies(name: str | bytes, expected: tuple[str | None, ...]) -> None:
    """Escape, replace, skip."""

    assert tuple(safe_name(name, policy) for policy in NamePolicy) == expected


@pytest.mark.parametrize(
    ("value", "word"),
    [("root", "root"), ("", "-"), ("a b\tc\n", "a_b_c_"), (b"\xc2\x85", "_"), ("é\xa0ü", "é_ü")],
)
def test_words_are_one_field(value: str | bytes, word: str) -> None:
    """Neither blank nor control character nor nothing."""

    assert field_word(value) == word


def test_replace_control() -> None:
    """One underscore for each."""

    assert replace_control("a\r\nb\u2029") == "a__b_"
