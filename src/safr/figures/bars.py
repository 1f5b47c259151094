"""Capacity bars: a bar chart with one bar per word of a text (the paper's Figure 2(a))."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
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
from safr.figures.style import BAR_COLOUR, draw_words_below, figure_style, new_figure, widest_word

MOST_BARS = 40
FEW_BARS = 7
HOLLOW_EDGE = 0.8  # points
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
    all_words = drawable_words(words)
    values = finite_vector(capacity, len(all_words), name="capacity")
    label = drawable_text(label, longest=LONGEST_NAME)
    all_unknown = unknown_mask(unknown, len(all_words))
    kept = top_positions(values, MOST_BARS)
    shown_unknown = all_unknown[kept]
    shown_words = mark_unknown([all_words[position] for position in kept], shown_unknown)
    note = selection_note(len(shown_words), len(all_words), f"those with the highest {label}")
    about_unknown = unknown_note(
        shown_unknown, "What they share with each other (hollow bars) is the vocabulary's doing."
    )

    figure = new_figure(
        max(BAR_PITCH * len(shown_words) + 0.7, 3.2),
        1.9 + widest_word(shown_words),
        title=title,
        caption=f"{note} {about_unknown}".strip(),
    )
    axes = figure.subplots()
    unit = draw_bars(axes, values[kept], hollow=shown_unknown)
    axes.set_ylabel(label + unit)
    draw_words_below(axes, shown_words)
    return figure


def draw_bars(axes: Axes, values: Array, *, hollow: Mask) -> str:
    """Draws one bar per value at 0, 1, ... and returns the unit for the axis label, such as " (×10⁻⁵)"."""
    values, unit = in_readable_units(values)
    colours = np.where(hollow, "white", BAR_COLOUR).tolist()
    widths = np.where(hollow, HOLLOW_EDGE, 0.0)
    axes.bar(range(len(values)), values, width=0.75, color=colours, edgecolor=BAR_COLOUR, linewidth=widths)
    # Fewer than seven bars stay as narrow as seven would be.
    spare = max(FEW_BARS - len(values), 0) / 2
    axes.set_xlim(-0.6 - spare, len(values) - 0.4 + spare)
    if not values.any():
        axes.set_ylim(0, 1)
    if values.min() < 0:
        axes.axhline(0, color="black", linewidth=0.6)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    return unit
