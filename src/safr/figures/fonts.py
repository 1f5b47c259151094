"""Fonts for words in any script: installed fonts for the characters that DejaVu Sans lacks, and what none holds."""

import unicodedata
import warnings
from collections.abc import Iterable
from functools import cache, lru_cache

from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.ft2font import FT2Font

OWN_FONT = "DejaVu Sans"  # comes with matplotlib

_PREFERRED = (
    "Noto Sans CJK SC",
    "Noto Sans",
    "Source Han Sans",
    "Droid Sans",
    "PingFang",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Yu Gothic",
)
"""Beginnings of the names of fonts that look well beside ours, the best first; all others come after them."""

_NEVER = ("Last Resort", "Color", "Colour", "cmb", "cmex", "cmmi", "cmr", "cmss", "cmsy", "cmtt", "STIXNonUnicode")
"""Parts of the names of fonts that hold boxes, pictures that matplotlib can't draw, or symbols in letters' places."""

_EMOJI_FONT = "Noto Emoji or Symbola (on Debian: fonts-symbola)"
_CJK_FONT = "Noto Sans CJK (on Debian: fonts-noto-cjk)"
_OTHER_FONT = "Noto Sans (on Debian: fonts-noto-core)"
_CJK_NAMES = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH")
_MOST_TOLD = 12  # characters that a warning names

_told_characters: set[str] = set()


@lru_cache(maxsize=4096)
def choose_fallbacks(text: str) -> tuple[str, ...]:
    """Names of installed fonts for the characters of a text that DejaVu Sans lacks, as few as possible."""
    return _search_fonts(frozenset(text))[0]


def find_missing(texts: Iterable[str]) -> str:
    """The characters of the texts that no installed font holds, each once, in their order."""
    characters = dict.fromkeys("".join(texts))
    missing = _search_fonts(frozenset(characters))[1]
    return "".join(character for character in characters if character in missing)


def warn_of_missing(characters: str) -> None:
    """Say once in a process that no installed font holds these characters, and which font does."""
    new = [character for character in characters if character not in _told_characters]
    if not new:
        return
    _told_characters.update(new)
    shown = "".join(new[:_MOST_TOLD]) + "…" * (len(new) > _MOST_TOLD)
    fonts = " and ".join(dict.fromkeys(_name_font(character) for character in new))
    warnings.warn(
        f"no installed font holds {shown}; figures show boxes instead, SVG files the reader's own font; "
        f"install {fonts}",
        stacklevel=1,  # the command line shows warnings that come from here; the callers are matplotlib's functions
    )


@lru_cache(maxsize=512)
def _search_fonts(characters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Names of fonts that together hold what DejaVu Sans lacks, and the characters that none of them holds."""
    lacking = {ord(character) for character in characters if _is_visible(character)}
    names = []
    for name in _list_fonts():
        if not lacking:
            break
        held = lacking & _read_characters(name)
        if held and name != OWN_FONT:
            names.append(name)
        lacking -= held
    return tuple(names), frozenset(map(chr, lacking))


def _list_fonts() -> list[str]:
    """Names of all installed fonts of normal weight: ours first, then those that look well beside it."""

    def rank(name: str) -> tuple[bool, int, str]:
        place = next((number for number, start in enumerate(_PREFERRED) if name.startswith(start)), len(_PREFERRED))
        return name != OWN_FONT, place, name

    names = {entry.name for entry in fontManager.ttflist if entry.style == "normal" and entry.weight in (400, "normal")}
    return sorted((name for name in names if not any(part in name for part in _NEVER)), key=rank)


@cache
def _read_characters(name: str) -> frozenset[int]:
    """Code points that a font holds; none of one that can't be read or holds pixels alone."""
    try:
        # Several files may have one name; this is the one that matplotlib draws with.
        font = FT2Font(fontManager.findfont(FontProperties(family=name), fallback_to_default=False))
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def _is_visible(character: str) -> bool:
    """Whether a character needs a glyph; format characters and variation selectors don't."""
    return unicodedata.category(character) not in {"Cf", "Cc", "Cs", "Zl", "Zp"} and not (
        0xFE00 <= ord(character) <= 0xFE0F or 0xE0100 <= ord(character) <= 0xE01EF
    )


def _name_font(character: str) -> str:
    """A free font that holds the character, as a warning names it."""
    if unicodedata.name(character, "").startswith(_CJK_NAMES):
        return _CJK_FONT
    return _EMOJI_FONT if unicodedata.category(character) == "So" else _OTHER_FONT
