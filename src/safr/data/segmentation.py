"""Where words end in scripts that write no spaces, and where no text may be cut: inside a grapheme cluster."""

from __future__ import annotations

from functools import cache

import budoux
import regex

_CHINESE_OR_JAPANESE = r"\p{Han}\p{Hiragana}\p{Katakana}\u30fc\uff70"  # with the marks of a long vowel
_OTHER_SPACELESS = r"\p{Line_Break=SA}\p{Tibetan}"  # Unicode's "complex context": Lao, Khmer, Burmese and relatives

_TAI = r"\p{Thai}\p{Lao}\p{Ahom}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}"

# The same as the two above and Thai, but tokenizers' expressions (Oniguruma) don't know the property Line_Break.
SPACELESS = rf"{_CHINESE_OR_JAPANESE}{_TAI}\p{{Khmer}}\p{{Myanmar}}\p{{Tibetan}}"
"""Scripts that write no spaces between words, as a part of a character class of a tokenizer's expression."""

_RUN = regex.compile(rf"(?P<thai>\p{{Thai}}+)|(?P<east>[{_CHINESE_OR_JAPANESE}]+)|(?P<other>[{_OTHER_SPACELESS}]+)")
_LETTERS = regex.compile(r"[\p{L}\p{M}\u200c\u200d]+")  # with the joiners of Persian and Hindi
_MARK = regex.compile(r"\p{M}")
_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]")
_CLUSTER = regex.compile(r"\X")


def find_boundaries(text: str) -> dict[int, bool]:
    r"""Positions where the script says whether two words meet there: True where they do, False where they do not.

    - Inside a grapheme cluster (Unicode's UAX #29), such as a letter with its accents or an emoji that is joined from
      several, no two words meet. Nor do they inside a run of letters with marks, where some tokenizers cut.
    - In Chinese, Japanese and Thai they meet where BudouX cuts: a small model of each language, which gives words in
      Chinese and Thai and phrases (a word with its particles) in Japanese. Han characters are read as Japanese in a
      text with kana, and otherwise as Chinese.
    - In Lao, Khmer, Burmese, Tibetan and their relatives they meet between all grapheme clusters.
    - They meet between such a script and whatever stands beside it.

    About all other positions it says nothing: there, white space and the tokenizer decide.

    Args:
        text: The text.

    Returns:
        By position, which is the number of characters before it.

    >>> boundaries = find_boundaries("很无聊, e\u0301")
    >>> sorted(boundaries.items())
    [(0, True), (1, True), (2, False), (3, True), (6, False)]
    """
    if text.isascii():
        return {}
    boundaries: dict[int, bool] = {}
    is_japanese = bool(_KANA.search(text))
    for letters in _LETTERS.finditer(text):
        if _MARK.search(letters.group()):
            boundaries |= dict.fromkeys(range(letters.start() + 1, letters.end()), False)
    for run in _RUN.finditer(text):
        parts = _split_run(run.lastgroup, run.group(), is_japanese=is_japanese)
        boundaries |= dict.fromkeys(range(run.start() + 1, run.end()), False) | {run.start(): True, run.end(): True}
        end = run.start()
        for part in parts:
            end += len(part)
            boundaries[end] = True
    for cluster in _CLUSTER.finditer(text):
        boundaries |= dict.fromkeys(range(cluster.start() + 1, cluster.end()), False)
    return boundaries


def _split_run(kind: str | None, run: str, *, is_japanese: bool) -> list[str]:
    if kind == "other":
        return _CLUSTER.findall(run)
    return _load_parser("th" if kind == "thai" else "ja" if is_japanese else "zh").parse(run)


@cache
def _load_parser(language: str) -> budoux.Parser:
    match language:
        case "th":
            return budoux.load_default_thai_parser()
        case "ja":
            return budoux.load_default_japanese_parser()
        case _:
            return budoux.load_default_simplified_chinese_parser()
