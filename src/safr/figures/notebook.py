"""Words and a score for each in, HTML for a notebook out: words shaded by score, with nothing from outside."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from safr.figures.inputs import drawable_text

MAX_OPACITY = 0.7
"""Opacity of the highest capacity's blue, under which a light notebook's dark letters and a dark one's light letters
both keep a contrast of at least 4.5 to 1."""

_WORD = "padding:.1em .25em;border-radius:.25em;unicode-bidi:isolate;background:rgba(33,113,181,{:.2f});"


def shaded_words_html(
    words: Sequence[str],
    scores: NDArray[np.float64],
    *,
    text_of_word: Sequence[int],
    numbers: Sequence[str],
    prediction: str,
    probability: float,
    note: str,
) -> str:
    """The prediction, and a line of words for each text.

    Args:
        words: The words.
        scores: At least 0, (word,); the highest is underlined.
        text_of_word: For each word of a pair the text that it is from, 0 or 1.
        numbers: What is shown where the mouse rests on a word.
        prediction: What the model says.
        probability: How sure it is.
        note: A sentence below.
    """
    shares = np.nan_to_num(scores)
    shares = shares / (shares.max() or 1.0)
    lines: dict[int, list[str]] = {}
    for word, text, share, title in zip(words, text_of_word, shares, numbers, strict=True):
        style = _WORD.format(MAX_OPACITY * share) + ("font-weight:bold;text-decoration:underline" if share == 1 else "")
        lines.setdefault(text, []).append(f'<span style="{style}" title="{_shown(title)}">{_shown(word)}</span>')
    # Left out of an isolate, a word's own direction decides which way its line runs.
    shaded = "".join(f'<div dir="auto">{" ".join(spans)}</div>' for spans in lines.values())
    return (
        f'<div style="line-height:1.9;overflow-wrap:anywhere"><div>predicted <b>{_shown(prediction)}</b> '
        f'({probability:.1%})</div>{shaded}<div style="font-size:.85em;opacity:.75">{_shown(note)}</div></div>'
    )


def _shown(text: str) -> str:
    """The whole text without what HTML forbids, and with nothing in it that a browser would take for markup."""
    return escape(drawable_text(text, longest=len(text) + 1))
