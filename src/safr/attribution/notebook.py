"""An explanation in, a piece of HTML for notebooks out: words shaded by capacity, with nothing from outside."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from safr.figures.words import readable

if TYPE_CHECKING:
    from safr.attribution.explanation import Explanation

STRONGEST = 0.7
"""Opacity of the highest capacity's blue, under which a light notebook's dark letters and a dark one's light letters
both keep a contrast of at least 4.5 to 1."""

_WORD = "padding:.1em .25em;border-radius:.25em;unicode-bidi:isolate;background:rgba(33,113,181,{:.2f});"


def notebook_html(explanation: Explanation) -> str:
    """The prediction, and a line of words for each text; numbers show where the mouse rests on a word."""
    capacity = np.nan_to_num(explanation.capacity)
    shares = capacity / (capacity.max() or 1.0)
    lines: dict[int, list[str]] = {}
    for word, text in enumerate(explanation.text_of_word):
        lines.setdefault(text, []).append(_word_html(explanation, word, shares[word]))
    # Left out of an isolate, a word's own direction decides which way its line runs.
    shaded = "".join(f'<div dir="auto">{" ".join(words)}</div>' for words in lines.values())
    read = f" Only the first {len(shares)} words were read." if explanation.truncated else ""
    return (
        f'<div style="line-height:1.9;overflow-wrap:anywhere"><div>predicted <b>{_shown(explanation.prediction)}</b> '
        f"({explanation.probabilities[explanation.prediction]:.1%})</div>{shaded}"
        f'<div style="font-size:.85em;opacity:.75">The stronger the blue, the higher the capacity at '
        f"{explanation.explaining_site}, here up to {capacity.max():.2f}.{read}</div></div>"
    )


def _word_html(explanation: Explanation, word: int, share: float) -> str:
    site = explanation.site()
    numbers = f"capacity {site.capacity[word]:.2f}, polysemanticity {site.polysemanticity[word]:.3g}"
    if explanation.keep is not None:
        numbers += f", keep {explanation.keep[word]:.2f}"
    style = _WORD.format(STRONGEST * share) + ("font-weight:bold;text-decoration:underline" if share == 1 else "")
    return f'<span style="{style}" title="{numbers}">{_shown(explanation.words[word])}</span>'


def _shown(text: str) -> str:
    """The whole text without what HTML forbids, and with nothing in it that a browser would take for markup."""
    return escape(readable(text, longest=len(text) + 1))
