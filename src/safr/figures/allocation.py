"""Allocation graph: circles for the words of a text, lines for the pairs that interfere (the paper's Figure 2(b))."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import ArrayLike

from safr.figures.allocation_key import (
    CIRCLE_LOOK,
    arrange_entries,
    choose_line_style,
    draw_key,
    list_entries,
    rows_height,
)
from safr.figures.frame import WIDTHS, Width, add_axes_at, cut_word, new_figure, resolve_width, text_width
from safr.figures.inputs import (
    Array,
    Mask,
    drawable_words,
    fractions,
    mark_unknown,
    selection_note,
    symmetric_matrix,
    top_positions,
    unknown_mask,
    unknown_note,
    unknown_pairs,
)
from safr.figures.layout import CIRCLE_GAP, Box, place_circles, place_labels, push_apart, relative_strength
from safr.figures.style import TEXT_SIZE, figure_style

MOST_CIRCLES = 30
MOST_LINES = 40
LARGEST_RADIUS = 20.0  # points, at capacity 1, in a figure as wide as a page
POINTS_PER_CIRCLE = 15.0  # of the width: a column holds 14 circles
SMALLEST_RADIUS = 1.5  # points, so that a word without capacity still has a place
LINE_HEIGHT = 1.25 * TEXT_SIZE  # points
POINTS_PER_LINE = 50  # samples of a line, so that labels can avoid it
BORDER = 8.0  # points around the whole graph
UNKNOWN_LOOK: dict[str, Any] = {"facecolor": "white", "linestyle": (0, (2.5, 1.5))}

WordPair = tuple[int, int]


@figure_style()
def allocation_graph(
    words: Sequence[str],
    capacity: ArrayLike,
    interference: ArrayLike,
    *,
    title: str | None = None,
    most_lines: int = MOST_LINES,
    unknown: Sequence[bool] = (),
    width: Width = "page",
) -> Figure:
    """Graph of one text: circles whose area is capacity, and lines for the pairs that interfere most.

    Solid red lines join pairs with positive interference, dashed blue lines pairs with negative interference. The
    shorter and thicker the line, the stronger the interference. A plane can't hold all distances at once, so lengths
    are approximate and widths exact. Unknown words have a mark and a hollow, dashed circle. Two of them get no line and
    do not attract each other: the model reads both as one word, so their interference would outdo all others and make
    these look weak. Of more than 30 words, or more than fit the width, it shows those with the highest capacity, and
    says so.

    Args:
        words: The text's words.
        capacity: Capacity of the words, in [0, 1], shape (word,).
        interference: h_i . h_j of all pairs, shape (word, word), symmetric; the diagonal is ignored.
        title: Text above the graph.
        most_lines: Number of strongest pairs that get a line; the caption says how many pairs there are.
        unknown: Whether each word is unknown to the tokenizer. Default: none is.
        width: Width of the figure: of a paper's "column" or "page", or points of 1/72 inch. Letters have 8 points.

    Raises:
        InputError: A shape that doesn't fit the words, a value or a width out of range, or a matrix that isn't
            symmetric.
    """
    all_words = drawable_words(words)
    sizes = fractions(capacity, len(all_words), name="capacity")
    matrix = symmetric_matrix(interference, len(all_words), name="interference")
    points = resolve_width(width)
    kept = top_positions(sizes, min(MOST_CIRCLES, int(points // POINTS_PER_CIRCLE)))
    shown_unknown = unknown_mask(unknown, len(all_words))[kept]
    cut_words = [cut_word(all_words[position], points / 3) for position in kept]
    shown_words, sizes = mark_unknown(cut_words, shown_unknown), sizes[kept]
    matrix = np.where(unknown_pairs(shown_unknown), 0.0, matrix[np.ix_(kept, kept)])

    scale = min(1.0, np.sqrt(points / WIDTHS["page"]))
    radii = np.maximum(scale * circle_radius(sizes), SMALLEST_RADIUS)
    strength = relative_strength(matrix)
    pairs = find_strongest_pairs(strength, most_lines)
    centres, labels = _fit_graph(shown_words, strength, radii, pairs, points)

    note = selection_note(len(shown_words), len(all_words), "those with the highest capacity")
    lines = _describe_lines(len(pairs), int(np.count_nonzero(np.triu(strength))), shown_unknown)
    about_unknown = unknown_note(shown_unknown, "Two such words have no line between them.")
    is_positive = [bool(matrix[pair] > 0) for pair in pairs]
    entries = list_entries(scale * LARGEST_RADIUS, positive=any(is_positive), negative=not all(is_positive))
    rows = arrange_entries(entries, points)
    below = rows_height(rows)
    left, bottom, right, top = _compute_bounds(centres, radii, labels)
    caption = " ".join(filter(None, (note, lines, about_unknown)))
    figure = new_figure(points, top - bottom + below, title=title, caption=caption, arranged=False)
    axes = add_axes_at(figure, 0.0, below, points, top - bottom)
    middle = (left + right) / 2
    axes.set(xlim=(middle - points / 2, middle + points / 2), ylim=(bottom, top))
    axes.set_axis_off()
    _draw_lines(axes, centres, matrix, strength, pairs)
    _draw_circles(axes, shown_words, shown_unknown, centres, radii, labels)
    key = add_axes_at(figure, 0.0, 0.0, points, below)
    key.set(xlim=(0, points), ylim=(0, below))
    key.set_axis_off()
    draw_key(key, rows)
    return figure


def circle_radius(capacity: Array) -> Array:
    """Radius in points of a circle whose area is proportional to capacity; at least that of a small dot."""
    return np.maximum(LARGEST_RADIUS * np.sqrt(capacity), SMALLEST_RADIUS)


def find_strongest_pairs(strength: Array, most: int) -> list[WordPair]:
    """The `most` strongest pairs (i, j) with i < j and a strength above 0, the strongest first."""
    rows, columns = np.triu_indices(len(strength), k=1)
    order = np.argsort(-strength[rows, columns], kind="stable")[: max(most, 0)]
    return [(int(rows[k]), int(columns[k])) for k in order if strength[rows[k], columns[k]] > 0]


def _describe_lines(drawn: int, all_pairs: int, unknown: Mask) -> str:
    other = "other " if unknown.sum() > 1 else ""
    if all_pairs == 0:
        return f"No {other}two of these words interfere."
    if drawn == all_pairs:
        return f"Every {other}pair that interferes has a line."
    return f"Lines: the {drawn} strongest of {all_pairs} pairs."


def _fit_graph(
    words: list[str], strength: Array, radii: Array, pairs: list[WordPair], width: float
) -> tuple[Array, list[Box]]:
    """Centres of the circles and boxes of the labels, in points, that take the width and no more."""
    widths = np.array([text_width(word) for word in words])
    centres = place_circles(strength, radii, side=min(110.0 + 55.0 * np.sqrt(len(words)), width - 2 * BORDER))

    def place_words() -> tuple[list[Box], float]:
        labels = place_labels(centres, radii, widths, LINE_HEIGHT, _sample_lines(centres, pairs))
        left, _, right, _ = _compute_bounds(centres, radii, labels)
        return labels, right - left

    # First the whole graph shrinks, then its width alone, at last circles touch.
    for height_shrinks, gap in ((True, CIRCLE_GAP), (False, CIRCLE_GAP), (False, CIRCLE_GAP), (False, 0.0)):
        labels, taken = place_words()
        if taken <= width:
            return centres, labels
        spread = max(float(np.ptp(centres[:, 0])), 1.0)
        factor = max((spread - (taken - width)) / spread, 0.2)
        centres = push_apart(centres * [factor, factor if height_shrinks else 1.0], radii, gap=gap)
    return centres, place_words()[0]


def _draw_lines(axes: Axes, centres: Array, interference: Array, strength: Array, pairs: list[WordPair]) -> None:
    for i, j in reversed(pairs):  # the strongest on top
        line_style = choose_line_style(positive=bool(interference[i, j] > 0))
        axes.plot(*centres[[i, j]].T, linewidth=0.6 + 2.2 * strength[i, j], zorder=1, **line_style)


def _draw_circles(axes: Axes, words: list[str], unknown: Mask, centres: Array, radii: Array, labels: list[Box]) -> None:
    for word, is_unknown, centre, size, (left, bottom, right, top) in zip(
        words, unknown, centres, radii, labels, strict=True
    ):
        axes.add_patch(Circle(centre, size, zorder=2, **CIRCLE_LOOK | (UNKNOWN_LOOK if is_unknown else {})))
        inside = np.hypot(right - left, top - bottom) <= 2 * size
        background = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.4}
        place = (left + right) / 2, (bottom + top) / 2
        axes.text(*place, word, ha="center", va="center_baseline", zorder=3, bbox=None if inside else background)


def _sample_lines(centres: Array, pairs: list[WordPair]) -> Array:
    """Points along the lines of all pairs, shape (POINTS_PER_LINE * pair, 2)."""
    along = np.linspace(0, 1, POINTS_PER_LINE)[:, None]
    lines = [centres[i] + along * (centres[j] - centres[i]) for i, j in pairs]
    return np.concatenate(lines) if lines else np.zeros((0, 2))


def _compute_bounds(centres: Array, radii: Array, labels: list[Box]) -> Box:
    """The box around all circles and labels, with a margin."""
    corners = np.array(labels)
    low = np.minimum(corners[:, :2], centres - radii[:, None]).min(axis=0) - BORDER
    high = np.maximum(corners[:, 2:], centres + radii[:, None]).max(axis=0) + BORDER
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
