"""Words of other languages in the lines of ``ls -l``: the months, and the total's first word.

Pure. A server that runs ``ls`` under its users' locale writes them. The months are those that
glibc's locales abbreviate, and full names in some languages; the words for the total are those
of GNU coreutils. Words in an 8-bit character set are understood, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from ._names import encode_name

__all__ = ["is_total", "month_number"]

# Croatian is missing: its lipanj, srpanj and listopad are June, July and October, but Polish
# lipiec and listopad are July and November, and Czech srpen is August.
_MONTHS: Final = """
    en jan feb mar apr may jun/june jul/july aug sep/sept oct nov dec
    de jan/jän feb mär/märz/mrz apr mai jun/juni jul/juli aug sep okt nov dez
    fr janv/jan févr/fév mars avril/avr mai juin juil août sept oct nov déc
    es ene feb mar abr may jun jul ago sep/sept oct nov dic
    pt jan fev mar abr mai jun jul ago set out nov dez
    it gen feb mar apr mag giu lug ago set ott nov dic
    nl jan feb mrt apr mei jun jul aug sep okt nov dec
    da jan feb mar apr maj jun jul aug sep okt nov dec
    nb jan feb mars april mai juni juli aug sep okt nov des
    is jan feb mar apr maí jún júl ágú sep okt nóv des
    fi tammi helmi maalis huhti touko kesä heinä elo syys loka marras joulu
    et jaan veebr märts apr mai juuni juuli aug sept okt nov dets
    lv jan feb mar apr mai jūn jūl aug sep okt nov dec
    lt saus vas kov bal geg birž liep rugp rugs spal lapkr gruod
    pl sty lut mar kwi maj cze lip sie wrz paź lis gru
    cs led úno bře dub kvě čen čec srp zář říj lis pro
    sk jan feb mar apr máj jún júl aug sep okt nov dec
    sl jan feb mar apr maj jun jul avg sep okt nov dec
    sr јан феб мар апр мај јун јул авг сеп окт нов дец
    bg яну фев мар апр май юни юли авг сеп окт ное дек
    ru янв фев мар апр мая/май июн июл авг сен окт ноя дек
    uk січ лют бер кві тра чер лип сер вер жов лис гру
    be сту лют сак кра мая/май чэр ліп жні вер кас ліс сне
    ro ian feb mar apr mai iun iul aug sep oct nov dec
    hu jan febr márc ápr máj jún júl aug szept okt nov dec
    el ιαν φεβ μαρ/μάρ απρ μαΐ/μάι ιουν/ιούν ιουλ/ιούλ αυγ/αύγ σεπ οκτ νοε/νοέ δεκ
    tr oca şub mar nis may haz tem ağu eyl eki kas ara
    ca gen febr març abr maig juny jul ag set oct nov des
    gl xan feb mar abr mai xuñ xul ago set out nov dec
    eu urt ots mar api mai eka uzt abu ira urr aza abe
    ga ean feabh márta aib beal meith iúil lún mfómh dfómh samh noll
    id jan feb mar apr mei jun jul agu sep okt nov des
    ms jan feb mac apr mei jun jul ogos sep okt nov dis
    he ינו פבר מרץ אפר מאי יונ יול אוג ספט אוק נוב דצמ
"""
"""One language in each row: its code, and twelve months with their variants."""

_FULL_MONTHS: Final = """
    en january february march april may june july august september october november december
    de januar/jänner februar märz april mai juni juli august september oktober november dezember
    fr janvier février mars avril mai juin juillet août septembre octobre novembre décembre
    es enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
    pt janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro
    it gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre
    nl januari februari maart april mei juni juli augustus september oktober november december
    sv januari februari mars april maj juni juli augusti september oktober november december
    da januar februar marts april maj juni juli august september oktober november december
    nb januar februar mars april mai juni juli august september oktober november desember
    ru января февраля марта апреля мая июня июля августа сентября октября ноября декабря
"""
"""The same, with names that are not abbreviated."""

_MONTH_NUMBERS: Final = {
    word.casefold(): number
    for row in (_MONTHS + _FULL_MONTHS).splitlines()
    for number, variants in enumerate(row.split()[1:], 1)
    for word in variants.split("/")
}
_MONTH_IN_DIGITS: Final = re.compile("([0-9]{1,2})[月월]")
"""Chinese, Japanese and Korean months."""

_TOTALS: Final = """
    total celkem celkom guztira insgesamt iomlán jumlah kokku razem skupno sveukupno toplam totaal
    totale totalo totalt tổng viso yhteensä összesen σύνολο загалом разом итого общо укупно усяго
    合計 总计 总用量 總計 總用量 합계
"""
_TOTAL_WORDS: Final = frozenset(_TOTALS.split())

_CHARACTER_SETS: Final = ("latin-1", "iso8859-2", "iso8859-9", "koi8-r", "cp1251", "iso8859-7")
"""The encodings of words that are not UTF-8. No word is a different month in another one."""


@lru_cache(256)
def month_number(word: str) -> int:
    """Return the number of a month, 1 to 12, or 0 for an unknown word."""

    if match := _MONTH_IN_DIGITS.fullmatch(word):
        return int(match[1])

    return next((number for form in _forms(word) if (number := _MONTH_NUMBERS.get(form))), 0)


def is_total(word: str) -> bool:
    """Return whether a word begins the line with the total of a directory."""

    return any(form in _TOTAL_WORDS for form in _forms(word))


def _forms(word: str) -> Iterator[str]:
    """Yield the forms in which a word may be known, in lower case."""

    plain = word.removesuffix(".")
    yield plain.casefold()
    if not word.isascii():
        for name in _CHARACTER_SETS:
            yield encode_name(plain).decode(name, "replace").casefold()
