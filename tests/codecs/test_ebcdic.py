"""The tables of EBCDIC code pages agree with other implementations of them."""

from __future__ import annotations

import pytest

from ftpdata.codecs.ebcdic import ebcdic_code_page, translation_tables
from ftpdata.errors import UnsupportedParameter

PYTHONS = ["cp037", "cp273", "cp424", "cp500", "cp875", "cp1026", "cp1140"]

# Where the C library's IBM1047 (iconv) differs from its IBM037, and where Java's Cp1047 differs
# from iconv's: NL is the line feed.
DIFFERENT_IN_1047 = {
    0x5F: "^",
    0xAD: "[",
    0xB0: "¬",
    0xBA: "Ý",
    0xBB: "¨",
    0xBD: "]",
}


@pytest.mark.parametrize("name", PYTHONS)
def test_code_pages_are_pythons_but_for_the_line_end(name: str) -> None:
    """A code page is Python's own, with X'15' and X'25' exchanged."""

    page = ebcdic_code_page(name)
    assert page.name == name
    assert page.decode(b"\x15\x25") == "\n\x85"
    assert page.encode("\n\x85") == b"\x15\x25"
    for code in set(range(256)) - {0x15, 0x25}:
        try:
            character = bytes((code,)).decode(name)
        except UnicodeDecodeError:
            with pytest.raises(UnicodeDecodeError):
                page.decode(bytes((code,)))
        else:
            assert page.decode(bytes((code,))) == character
            if page.characters.count(character) == 1:
                assert page.encode(character) == bytes((code,))


@pytest.mark.parametrize("name", ["cp1047", "IBM1047", "ibm-1047", "1047", "IBM-01047", "CP_1047"])
def test_1047_is_there_though_python_lacks_it(name: str) -> None:
    """Code page 1047 of z/OS UNIX is 037 except for six characters."""

    page = ebcdic_code_page(name)
    latin = ebcdic_code_page("cp037")
    assert page.name == "cp1047"
    for code in range(256):
        assert page.characters[code] == DIFFERENT_IN_1047.get(code, latin.characters[code])

    assert sorted(page.characters) == sorted(latin.characters)


def test_1047_writes_a_line_of_c_as_z_os_has_it() -> None:
    r"""A line of C, in the code points of z/OS XL C's documentation: [ ] { } \ ^ | ~ and NL."""

    assert ebcdic_code_page("1047").encode("a[1]{}\\^|~\n") == bytes.fromhex(
        "81 ad f1 bd c0 d0 e0 5f 4f a1 15"
    )


@pytest.mark.parametrize(
    "name", ["", "cp1252", "ascii", "utf-8", "utf-16", "hex", "rot13", "idna", "x\0", "é", "1048"]
)
def test_what_is_not_ebcdic_is_refused(name: str) -> None:
    """Other encodings, codecs that do not encode text, and unknown names are refused with 504."""

    with pytest.raises(UnsupportedParameter) as caught:
        ebcdic_code_page(name)

    assert caught.value.reply_code == 504
    with pytest.raises(UnsupportedParameter):
        translation_tables(name, "latin-1")


@pytest.mark.parametrize("page", [*PYTHONS, "cp1047"])
@pytest.mark.parametrize("file_encoding", ["latin-1", "ascii", "cp1252", "iso8859-8", "koi8-r"])
def test_tables_are_permutations_that_undo_each_other(page: str, file_encoding: str) -> None:
    """Every byte has its own counterpart; characters of both sets keep their meaning."""

    if file_encoding == "ascii":
        with pytest.raises(ValueError, match="single bytes"):
            translation_tables(page, file_encoding)
        return

    there, back = translation_tables(page, file_encoding)
    every = bytes(range(256))
    assert sorted(there) == sorted(back) == list(every)
    assert every.translate(there).translate(back) == every
    characters = ebcdic_code_page(page).characters
    for code in every:
        character = bytes((code,)).decode(file_encoding, "replace")
        if character != "\N{REPLACEMENT CHARACTER}" and characters.count(character) == 1:
            assert characters[there[code]] == character


def test_euro_takes_the_place_of_the_currency_sign() -> None:
    """Code page 1140 is 037 with € for ¤; a file in Latin-1 has ¤ there."""

    there, _ = translation_tables("cp1140", "latin-1")
    assert there == translation_tables("cp037", "latin-1")[0]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8", "nonsense", "hex", "x\0", "cp037", ""])
def test_character_sets_of_files_contain_ascii_in_single_bytes(encoding: str) -> None:
    """A file's character set that tables cannot represent is refused."""

    with pytest.raises(ValueError, match=r"character set|single bytes"):
        translation_tables("cp037", encoding)


# Where code pages of the package `ebcdic` differ from those of Python: IBM's code page identifiers
# 01141 (273, German, with the euro), 01147 and 00297 (French), as the C library's iconv has them.
@pytest.mark.parametrize(
    ("name", "codes", "text"),
    [
        ("cp1141", "4A 5A 7C 9F 43", "ÄÜ§€{"),
        ("cp1147", "7C 9F 90 B5 C0 D0", "à€[]éè"),
        ("cp297", "7C 9F 90 B5 C0 D0", "à¤[]éè"),
    ],
)
def test_code_pages_of_the_package_ebcdic(name: str, codes: str, text: str) -> None:
    """They are known where it is installed, with a line feed as NL, and each byte comes back."""

    pytest.importorskip("ebcdic")
    for _ in range(2):  # the package is imported for the first one only
        ebcdic_code_page.cache_clear()
        page = ebcdic_code_page(name)
        assert page.name == name
        assert page.decode(bytes.fromhex(codes)) == text
        assert page.encode(text) == bytes.fromhex(codes)
        assert page.decode(b"\x15\x25") == "\n\x85"

    there, back = translation_tables(name, "latin-1")
    assert bytes(range(256)).translate(there).translate(back) == bytes(range(256))
    assert b"\n".translate(there) == b"\x15"
