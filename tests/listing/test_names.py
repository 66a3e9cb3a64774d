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
    unescape_name,
)


@given(st.binary())
def test_any_bytes_survive_as_text(name: bytes) -> None:
    """A name from the wire can be sent back unchanged."""

    assert encode_name(decode_name(name)) == name


@given(st.text(st.characters(codec=None), max_size=8))
def test_any_text_has_bytes(name: str) -> None:
    """No text raises; text without lone surrogates becomes UTF-8."""

    encoded = encode_name(name)
    if not any("\ud800" <= c <= "\udfff" for c in name):
        assert encoded == name.encode()


@given(st.binary() | st.text(st.characters(codec=None)), st.sampled_from([*NamePolicy]))
def test_safe_names_are_safe_and_stay_so(name: str | bytes, policy: NamePolicy) -> None:
    """A policy leaves no control character, and applying it again changes at most an escape."""

    safe = safe_name(name, policy)
    if safe is not None:
        assert not has_control(safe)
        assert not has_control(decode_name(safe.encode("utf-8", "surrogateescape")))
        if policy is not NamePolicy.ESCAPE:
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
        # A backslash that would read as an escape, and other backslashes.
        ("\\012", ("\\134012", "\\012", "\\012")),
        ("\\134", ("\\134134", "\\134", "\\134")),
        ("\\000", ("\\134000", "\\000", "\\000")),
        (b"\\302\\205", ("\\134302\\205", "\\302\\205", "\\302\\205")),
        ("\\342\\200\\250", ("\\134342\\200\\250",) + ("\\342\\200\\250",) * 2),
        ("\\\n", ("\\\\012", "\\?", None)),
        (r"C:\dir\101\302\8", (r"C:\dir\101\302\8",) * 3),
    ],
)
def test_policies(name: str | bytes, expected: tuple[str | None, ...]) -> None:
    """A name is escaped, replaced, or skipped."""

    assert tuple(safe_name(name, policy) for policy in NamePolicy) == expected


@pytest.mark.parametrize(
    ("value", "word"),
    [("root", "root"), ("", "-"), ("a b\tc\n", "a_b_c_"), (b"\xc2\x85", "_"), ("é\xa0ü", "é_ü")],
)
def test_words_are_one_field(value: str | bytes, word: str) -> None:
    """A word has no blank and no control character, and is not empty."""

    assert field_word(value) == word


def test_replace_control() -> None:
    """Each control character becomes one underscore."""

    assert replace_control("a\r\nb\u2029") == "a__b_"


# Any characters, above all those of escapes, to meet every way in which they can be combined.
escapes = st.lists(
    st.sampled_from([*"\\01234567", "\n", "\x7f", "\x85", "\u2028", "é", "\udcc2", "\udc85", "."])
    | st.sampled_from(["\\302", "\\205", "\\342", "\\200", "\\250", "\\134", "\\000", "\\012"])
    | st.text(st.characters(codec=None), max_size=2)
).map("".join)


@given(escapes | st.binary() | st.text(st.characters(codec=None)))
def test_what_was_shown_is_found_again(name: str | bytes) -> None:
    """Escaping is reversible for every name without a NUL, given as text or bytes."""

    shown = safe_name(name, NamePolicy.ESCAPE)
    assert shown is not None
    wire = name if isinstance(name, bytes) else encode_name(name)
    found = unescape_name(shown.encode("utf-8", "surrogateescape"))
    assert found.replace(rb"\000", b"\0") == wire.replace(rb"\000", b"\0")
    if b"\0" not in wire:
        assert found == wire
        assert encode_name(unescape_name(shown)) == wire


@given(escapes | st.text())
def test_nothing_leads_elsewhere(name: str) -> None:
    """An escape yields no NUL, slash or dot, and so no other directory."""

    found = unescape_name(name)
    for character in "\0/.":
        assert found.count(character) == name.count(character)


@pytest.mark.parametrize(
    ("shown", "name"),
    [
        ("a\\011b", "a\tb"),
        ("\\177\\302\\205\\342\\200\\251", "\x7f\x85\u2029"),
        ("\\134012", "\\012"),
        ("\\134134", "\\134"),
        ("\\000", "\\000"),
        ("\\056\\056\\057\\101", "\\056\\056\\057\\101"),
        ("\\302\\303\\12\\", "\\302\\303\\12\\"),
        ("C:\\dir", "C:\\dir"),
    ],
)
def test_escapes_that_are_decoded(shown: str, name: str) -> None:
    """Escapes of control characters and of the backslash are decoded, and no others."""

    assert unescape_name(shown) == name
    assert unescape_name(encode_name(shown)) == encode_name(name)
