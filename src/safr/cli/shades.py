"""Shades for words on a terminal, whose background is unknown: readable, and stronger for higher scores, on any."""

from __future__ import annotations

from rich.text import Text

from safr.rounding import format_decimals

_LETTERS = "#ffffff on "
_FOR = ("", *(_LETTERS + ground for ground in ("#627592", "#4e75af", "#3773cb")), f"bold {_LETTERS}#1170e8")
"""Styles of words from the weakest to the strongest.

A terminal does not say whether it is dark or light: few set COLORFGBG, which is stale after `ssh` or `tmux attach`, and
an answer to a query may come too late and be taken for input. So weak words keep the terminal's own colours, and all
others have white letters on a ground whose contrast with black, with white and with its letters is about 4.5. The
grounds differ in chroma alone, so that a stronger one is further from black and from white.
"""

_AGAINST = ("", *(_LETTERS + ground for ground in ("#8e6d5b", "#a16644", "#b35d27")), f"bold {_LETTERS}#c45100")
"""The same for words that speak against a class; blue and orange differ for the colour-blind, too."""

_SAMPLE = " a "
"""Stands in the key for a word of each shade."""


def style_score(score: float, largest: float) -> str:
    """The style of a word by its score's size as a share of the largest; empty where it is below a fifth or no number.

    Args:
        score: Below 0 where the word speaks against a class.
        largest: The size that has the strongest shade, above 0.
    """
    styles = _AGAINST if score < 0 else _FOR
    share = abs(score) / largest
    return styles[min(int(len(styles) * share), len(styles) - 1)] if share >= 0 else ""


def bar_style(score: float) -> str:
    """The colour of a score's bar."""
    return (_AGAINST if score < 0 else _FOR)[-1].rpartition(" ")[2]


def make_shade_key(largest: float, *, signed: bool) -> Text:
    """The shades in a row, between the scores that have the strongest.

    Args:
        largest: See `style_score`.
        signed: Whether there are scores below 0.
    """
    styles = (*(_AGAINST[:0:-1] if signed else ()), *_FOR)
    ends = "1" if largest == 1 else format_decimals(largest, count_decimals(largest))
    key = Text(f"-{ends} " if signed else "0 ")
    for style in styles:
        key.append(_SAMPLE, style=style)
    return key.append(f" +{ends}" if signed else f" {ends}")


def count_decimals(largest: float) -> int:
    """How many decimals show scores up to this size with two digits or more.

    >>> count_decimals(0.8), count_decimals(0.0312)
    (2, 3)
    """
    decimals = 2
    while 0 < largest * 10**decimals < 9.5 and decimals < 9:
        decimals += 1
    return decimals
