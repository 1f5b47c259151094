"""Bar charts with one bar per word of a text: of capacity (the paper's Figure 2(a)), and of signed scores."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

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
from safr.figures.style import (
    AGAINST_COLOUR,
    BAR_COLOUR,
    draw_words_below,
    figure_style,
    line_height,
    new_figure,
    widest_word,
)

MOST_BARS = 40
FEW_BARS = 7
HOLLOW_EDGE = 0.8  # points
HATCH = "////"  # of bars that speak against a class
BAR_PITCH = 0.17  # inches from bar to bar: the height of a line of 8 point text, with some space


@figure_style()
def capacity_bars(
    words: Sequence[str],
    capacity: ArrayLike,
    *,
    title: str | None = None,
    label: str = "capacity",
    unknown: Sequence[bool] = (),
) -> Figure:
    """Bar chart of one text, one bar per word, in text order.

    Unknown words have a mark and a hollow bar, which is seen without colour too: their values can be compared with the
    others, but are low for a reason that is not the model's. Of more than 40 words it shows those with the highest
    values, and says so under the axes.

    Args:
        words: The text's words; repeated words stay separate bars.
        capacity: One value per word, shape (word,). Capacity lies in [0, 1]; other finite scores can be drawn too.
        title: Text above the bars.
        label: Name of the values, for the axis.
        unknown: Whether each word is unknown to the tokenizer. Default: none is.

    Raises:
        InputError: A shape that doesn't fit the words, or a value that isn't finite.
    """
    label = drawable_text(label, longest=LONGEST_NAME)
    checked = _check_words(words, capacity, unknown, name="capacity")
    return _draw_words(*checked, title=title, label=label, choice=f"those with the highest {label}")


@figure_style()
def score_bars(
    words: Sequence[str],
    scores: ArrayLike,
    target: str,
    *,
    title: str | None = None,
    label: str = "score",
    unknown: Sequence[bool] = (),
) -> Figure:
    """Bar chart of the signed scores of one text, one bar per word, in text order.

    Bars above 0 are blue, of words that speak for the class. Bars below 0, of words that speak against it, are orange
    and hatched, which is seen without colour too. A key says so. Unknown words are drawn as in `capacity_bars`. Of more
    than 40 words it shows those whose scores are furthest from 0, and says so under the axes.

    Args:
        words: The text's words; repeated words stay separate bars.
        scores: One finite score per word, shape (word,).
        target: Name of the class that the scores speak about.
        title: Text above the bars.
        label: Name of the scores; the axis has the class's name behind it.
        unknown: Whether each word is unknown to the tokenizer. Default: none is.

    Raises:
        InputError: A shape that doesn't fit the words, or a score that isn't finite.
    """
    target = f"“{drawable_text(target)}”"
    label = f"{drawable_text(label, longest=LONGEST_NAME)} for {target}"
    checked = _check_words(words, scores, unknown, name="scores")
    return _draw_words(
        *checked, title=title, label=label, choice="those whose scores are furthest from 0", about=target
    )


def _check_words(
    words: Sequence[str], values: ArrayLike, unknown: Sequence[bool], *, name: str
) -> tuple[list[str], Array, Mask]:
    """The words as they are drawn, one finite value for each, and which are unknown."""
    shown = drawable_words(words)
    return shown, finite_vector(values, len(shown), name=name), unknown_mask(unknown, len(shown))


def _draw_words(
    words: list[str], values: Array, unknown: Mask, *, title: str | None, label: str, choice: str, about: str = ""
) -> Figure:
    """The figure of one bar per word. With a class that the values are `about`, they are signed and get a key."""
    kept = top_positions(np.abs(values) if about else values, MOST_BARS)
    shown_unknown = unknown[kept]
    shown_words = mark_unknown([words[position] for position in kept], shown_unknown)
    note = selection_note(len(shown_words), len(words), choice)
    about_unknown = unknown_note(
        shown_unknown, "What they share with each other (hollow bars) is the vocabulary's doing."
    )
    key = _make_key(about) if about else {}
    figure = new_figure(
        max(BAR_PITCH * len(shown_words) + 0.7, widest_word([*key, ""]) + 0.8, 3.2),
        max(1.9, widest_word([label]) + 0.4) + widest_word(shown_words) + line_height("\n".join(key)),
        title=title,
        caption=f"{note} {about_unknown}".strip(),
    )
    axes = figure.subplots()
    unit = draw_bars(axes, values[kept], hollow=shown_unknown, signed=bool(about))
    axes.set_ylabel(label + unit)
    draw_words_below(axes, shown_words)
    if key:
        axes.legend(list(key.values()), list(key), loc="lower left", bbox_to_anchor=(0, 1), handlelength=1.4)
    return figure


def _make_key(about: str) -> dict[str, Patch]:
    """What bars above and below 0 mean, with a patch that looks like them."""
    return {
        f"speaks for {about}": Patch(facecolor=BAR_COLOUR, linewidth=0),
        f"speaks against {about}": Patch(facecolor=AGAINST_COLOUR, edgecolor="white", hatch=HATCH, linewidth=0),
    }


def draw_bars(axes: Axes, values: Array, *, hollow: Mask, signed: bool = False) -> str:
    """Draws one bar per value at 0, 1, ... and returns the unit for the axis label, such as " (×10⁻⁵)".

    Args:
        axes: Where to.
        values: Finite values.
        hollow: Which bars are hollow.
        signed: Whether values below 0 speak against something, so that their bars are orange and hatched.
    """
    values, unit = in_readable_units(values)
    against = (values < 0) & signed
    colours = np.where(against, AGAINST_COLOUR, BAR_COLOUR)
    axes.bar(
        range(len(values)),
        values,
        width=0.75,
        color=np.where(hollow, "white", colours).tolist(),
        edgecolor=np.where(against & ~hollow, "white", colours).tolist(),  # a hatch has the edge's colour
        linewidth=np.where(hollow, HOLLOW_EDGE, 0.0),
        hatch=np.where(against, HATCH, "").tolist(),
    )
    # Fewer than seven bars stay as narrow as seven would be.
    spare = max(FEW_BARS - len(values), 0) / 2
    axes.set_xlim(-0.6 - spare, len(values) - 0.4 + spare)
    if not values.any():
        axes.set_ylim(-1 if signed else 0, 1)
    if signed or values.min() < 0:
        axes.axhline(0, color="black", linewidth=0.6)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    return unit
