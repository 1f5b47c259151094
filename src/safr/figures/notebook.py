"""Words shaded by their score, as HTML for a notebook that loads nothing from outside."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from safr.figures.inputs import UNKNOWN_MARK, drawable_text, unknown_mask

MAX_OPACITY = 0.7
"""Opacity of the blue of the highest score. Dark letters in a light notebook and light letters in a dark one keep a
contrast of at least 4.5 to 1 on it."""

_WORD_STYLE = "padding:.1em .25em;border-radius:.25em;unicode-bidi:isolate;background:rgba({},{:.2f});"
_BLUE, _ORANGE = "33,113,181", "230,120,30"
MINUS = "\u2212"
"""Stands before a word that speaks against the class, for those who can't tell the colours apart."""

FAINT = 0.05
"""Share of the largest score up to which a word speaks for nobody, so that it has no minus."""

_UNKNOWN_STYLE = "border-bottom:.14em dotted;border-radius:0;"


def shaded_words_html(
    words: Sequence[str],
    scores: NDArray[np.float64],
    *,
    text_of_word: Sequence[int],
    numbers: Sequence[str],
    prediction: str,
    probability: str,
    note: str,
    unknown: Sequence[bool] = (),
) -> str:
    """HTML with the prediction and one line of words per text.

    Args:
        words: The words.
        scores: One score per word, shape (word,); the highest is underlined. Words are blue above 0, and below it
            orange, and with a minus if more than faintly so.
        text_of_word: One number per word: the text that it is from, 0 or 1.
        numbers: One text per word, shown where the mouse rests on the word.
        prediction: The predicted label.
        probability: Probability of the predicted label, or the value of a regression model, as it is shown.
        note: A sentence below.
        unknown: Whether each word is unknown to the tokenizer; such words have a mark and a dotted line. Default: none.
    """
    shares = np.nan_to_num(scores)
    shares = shares / (np.abs(shares).max(initial=0) or 1.0)
    highest = shares.max(initial=0)
    lines: dict[int, list[str]] = {}
    columns = words, text_of_word, shares, numbers, unknown_mask(unknown, len(words))
    for word, text, share, title, is_unknown in zip(*columns, strict=True):
        style = _WORD_STYLE.format(_ORANGE if share < 0 else _BLUE, MAX_OPACITY * abs(share))
        style += "font-weight:bold;text-decoration:underline;" * bool(share == highest > 0)
        style += _UNKNOWN_STYLE * bool(is_unknown)
        title = _escape_text("unknown to the tokenizer, " * bool(is_unknown) + title)
        lines.setdefault(text, []).append(
            f'<span style="{style}" title="{title}">{MINUS * bool(share < -FAINT)}{_escape_text(word)}'
            f"{UNKNOWN_MARK * bool(is_unknown)}</span>"
        )
    # With dir="auto" the direction of the words decides whether a line runs left to right or right to left.
    shaded = "".join(f'<div dir="auto">{" ".join(spans)}</div>' for spans in lines.values())
    return (
        f'<div style="line-height:1.9;overflow-wrap:anywhere"><div>predicted <b>{_escape_text(prediction)}</b> '
        f"({_escape_text(probability)})</div>{shaded}"
        f'<div style="font-size:.85em;opacity:.75">{_escape_text(note)}</div></div>'
    )


def _escape_text(text: str) -> str:
    """The whole text, escaped for HTML and without characters that HTML forbids."""
    return escape(drawable_text(text, longest=len(text) + 1))
