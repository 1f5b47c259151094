"""Bar charts with one bar per word of a text: of capacity (the paper's Figure 2(a)), and of signed scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from safr.figures.frame import (
    WORD_PITCH,
    Key,
    Width,
    draw_words_below,
    line_height,
    new_figure,
    resolve_width,
    split_rows,
    words_height,
    wrap_text,
)
from safr.figures.inputs import (
    LONGEST_NAME,
    Array,
    Mask,
    drawable_text,
    drawable_words,
    finite_vector,
    in_readable_units,
    mark_unknown,
    selection_note,
    top_positions,
    unknown_mask,
    unknown_note,
)
from safr.figures.notebook import FAINT
from safr.figures.style import AGAINST_COLOUR, BAR_COLOUR, figure_style

MOST_BARS = 40
MOST_ROWS = 2  # of bars, one above the other
BARS_HEIGHT = 90.0  # points of a row
WIDEST_BAR = 26.0  # points
HOLLOW_EDGE = 0.8  # points
HATCH = "////"  # of bars that speak against a class
_NUMBERS = 34.0  # points for the numbers beside the axis


@figure_style()
def capacity_bars(
    words: Sequence[str],
    capacity: ArrayLike,
    *,
    title: str | None = None,
    label: str = "capacity",
    unknown: Sequence[bool] = (),
    width: Width = "page",
) -> Figure:
    """Bar chart of one text, one bar per word, in text order.

    Words that don't fit beside each other go on in a second row with the same axis. Unknown words have a mark and a
    hollow bar, which is seen without colour too: their values can be compared with the others, but are low for a reason
    that is not the model's. Of more than 40 words, or than two rows hold, it shows those with the highest values, and
    says so under the axes.

    Args:
        words: The text's words; repeated words stay separate bars.
        capacity: One value per word, shape (word,). Capacity lies in [0, 1]; other finite scores can be drawn too.
        title: Text above the bars.
        label: Name of the values, for the axis.
        unknown: Whether each word is unknown to the tokenizer. Default: none is.
        width: Width of the figure: of a paper's "column" or "page", or points of 1/72 inch. Letters have 8 points.

    Raises:
        InputError: A shape that doesn't fit the words, a value that isn't finite, or a width out of range.
    """
    label = drawable_text(label, longest=LONGEST_NAME)
    checked = _check_words(words, capacity, unknown, name="capacity")
    return _draw_words(
        *checked, resolve_width(width), title=title, label=label, choice=f"those with the highest {label}"
    )


@figure_style()
def score_bars(
    words: Sequence[str],
    scores: ArrayLike,
    target: str,
    *,
    title: str | None = None,
    label: str = "score",
    unknown: Sequence[bool] = (),
    width: Width = "page",
) -> Figure:
    """Bar chart of the signed scores of one text, one bar per word, in text order.

    Bars above 0 are blue, of words that speak for the class. Bars below 0, of words that speak against it, are orange
    and hatched, which is seen without colour too. A key says so of what is there. Unknown words and rows are those of
    `capacity_bars`. Of more than 40 words, or than two rows hold, it shows those whose scores are furthest from 0, and
    says so under the axes.

    Args:
        words: The text's words; repeated words stay separate bars.
        scores: One finite score per word, shape (word,).
        target: Name of the class that the scores speak about.
        title: Text above the bars.
        label: Name of the scores; the axis has the class's name behind it.
        unknown: Whether each word is unknown to the tokenizer. Default: none is.
        width: Width of the figure: of a paper's "column" or "page", or points of 1/72 inch. Letters have 8 points.

    Raises:
        InputError: A shape that doesn't fit the words, a score that isn't finite, or a width out of range.
    """
    target = f"“{drawable_text(target)}”"
    label = f"{drawable_text(label, longest=LONGEST_NAME)} for {target}"
    checked = _check_words(words, scores, unknown, name="scores")
    choice = "those whose scores are furthest from 0"
    return _draw_words(*checked, resolve_width(width), title=title, label=label, choice=choice, about=target)


def _check_words(
    words: Sequence[str], values: ArrayLike, unknown: Sequence[bool], *, name: str
) -> tuple[list[str], Array, Mask]:
    """The words as they are drawn, one finite value for each, and which are unknown."""
    shown = drawable_words(words)
    return shown, finite_vector(values, len(shown), name=name), unknown_mask(unknown, len(shown))


def _draw_words(
    words: list[str],
    values: Array,
    unknown: Mask,
    width: float,
    *,
    title: str | None,
    label: str,
    choice: str,
    about: str = "",
) -> Figure:
    """The figure of one bar per word. With a class that the values are `about`, they are signed and get a key."""
    room = width - _NUMBERS
    per_row = int(room // WORD_PITCH)
    kept = top_positions(np.abs(values) if about else values, min(MOST_BARS, MOST_ROWS * per_row))
    shown_unknown = unknown[kept]
    shown_words = mark_unknown([words[position] for position in kept], shown_unknown)
    shown_values, unit = in_readable_units(values[kept])
    note = selection_note(len(shown_words), len(words), choice)
    about_unknown = unknown_note(shown_unknown, "They are alike to the model, so their bars are hollow.")
    rows = split_rows(len(shown_words), per_row)
    slots = rows[0].stop
    pitch = room / slots
    label = wrap_text(label + unit, width)
    figure = new_figure(
        width,
        line_height(label) + sum(BARS_HEIGHT + words_height(shown_words[row], pitch=pitch) for row in rows),
        title=title,
        caption=f"{note} {about_unknown}".strip(),
        key=_make_key(shown_values, about) if about else (),
    )
    all_axes = figure.subplots(len(rows), 1, sharey=True, squeeze=False).ravel()
    for axes, row in zip(all_axes, rows, strict=True):
        signed = bool(about)
        draw_bars(axes, shown_values[row], hollow=shown_unknown[row], signed=signed, widest=WIDEST_BAR / pitch)
        axes.set_xlim(-0.6, slots - 0.4)
        draw_words_below(axes, shown_words[row], pitch=pitch)
    if not shown_values.any():
        all_axes[0].set_ylim(-1 if about else 0, 1)
    # Above the axis it can be read without turning the head, and has the whole width.
    all_axes[0].set_title(label, loc="left", fontsize="medium")
    return figure


def _make_key(values: Array, about: str) -> Key:
    """What the bars that can be seen mean, above and below 0, with a patch that looks like them."""
    faint = FAINT * np.abs(values).max()
    above = Patch(facecolor=BAR_COLOUR, linewidth=0)
    below = Patch(facecolor=AGAINST_COLOUR, edgecolor="white", hatch=HATCH, linewidth=0)
    key = [(f"speaks for {about}", above, values > faint), (f"speaks against {about}", below, values < -faint)]
    return [(name, look) for name, look, shown in key if shown.any()]


def draw_bars(
    axes: Axes, values: Array, *, hollow: Mask, signed: bool = False, across: bool = False, widest: float = 0.75
) -> None:
    """Draws one bar per value at 0, 1, ...

    Args:
        axes: Where to.
        values: Finite values.
        hollow: Which bars are hollow.
        signed: Whether values below 0 speak against something, so that their bars are orange and hatched.
        across: Whether bars lie, the first on top, instead of standing.
        widest: Most that a bar takes of its place.
    """
    against = (values < 0) & signed
    colours = np.where(against, AGAINST_COLOUR, BAR_COLOUR)
    look: dict[str, Any] = {
        "color": np.where(hollow, "white", colours).tolist(),
        "edgecolor": np.where(against & ~hollow, "white", colours).tolist(),  # a hatch has the edge's colour
        "linewidth": np.where(hollow, HOLLOW_EDGE, 0.0),
        "hatch": np.where(against, HATCH, "").tolist(),
    }
    thickness = min(0.75, widest)
    if across:
        axes.barh(range(len(values)), values, height=thickness, **look)
        axes.set_ylim(len(values) - 0.5, -0.5)
    else:
        axes.bar(range(len(values)), values, width=thickness, **look)
    if signed or values.min() < 0:
        (axes.axvline if across else axes.axhline)(0, color="black", linewidth=0.6)
    axes.grid(axis="x" if across else "y")
    axes.set_axisbelow(True)
