"""Any words in, words that can stand under a bar out: no character that breaks a file, and none too long."""

import unicodedata
from collections.abc import Sequence

from safr.errors import InputError

LONGEST_WORD = 18  # characters, the ellipsis included
LONGEST_NAME = 40  # for the names of runs and sites
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
NOTHING_TO_SEE = "\N{OPEN BOX}"


def drawable_words(words: Sequence[str]) -> list[str]:
    """The words as they are drawn; repeated words stay apart.

    Raises:
        InputError: There is no word, or `words` is one string instead of a list of words.
    """
    if isinstance(words, str):
        raise InputError("`words` must be a list of words, got one string; try text.split()")
    if len(words) == 0:
        raise InputError("`words` must hold at least one word, got none; leave this figure out for an empty text")
    return [drawable_text(word) for word in words]


def drawable_text(text: str, *, longest: int = LONGEST_WORD) -> str:
    """One line of text that is safe in SVG and PNG, with an ellipsis in place of what is over `longest` characters.

    Characters that XML forbids are replaced, white space becomes one blank, and nothing at all becomes an open box.

    >>> drawable_text("antidisestablishmentarianism")
    'antidisestablishm…'
    """
    line = "".join(_safe(character) for character in " ".join(text.split()))
    if len(line) > longest:
        line = line[: longest - 1].rstrip() + "…"
    return line or NOTHING_TO_SEE


def _safe(character: str) -> str:
    """The character itself, or the replacement character for control characters, surrogates and non-characters."""
    is_noncharacter = ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF
    return REPLACEMENT if is_noncharacter or unicodedata.category(character) in {"Cc", "Cs"} else character
