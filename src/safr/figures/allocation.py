"""Allocation graph: circles for the words of a text, lines for the pairs that interfere (the paper's Figure 2(b))."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import ArrayLike

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
from safr.figures.layout import Box, place_circles, place_labels, relative_strength
from safr.figures.style import (
    CIRCLE,
    CIRCLE_EDGE,
    NEGATIVE_COLOUR,
    POINTS_PER_INCH,
    POSITIVE_COLOUR,
    TEXT_SIZE,
    figure_style,
    line_height,
    new_figure,
    text_width,
    wrap_text,
)

MOST_CIRCLES = 30
MOST_LINES = 40
LARGEST_RADIUS = 20.0  # points, at capacity 1
SMALLEST_RADIUS = 1.5  # points, so that a word without capacity still has a place
LINE_HEIGHT = 1.25 * TEXT_SIZE  # points
POINTS_PER_LINE = 50  # samples of a line, so that labels can avoid it
MARGIN = 8.0  # points around the whole graph
KEY_CAPACITIES = (1.0, 0.5, 0.1)
KEY_WIDTH, KEY_HEIGHT = 150.0, 165.0  # points
CIRCLE_LOOK: dict[str, Any] = {"facecolor": CIRCLE.light, "edgecolor": CIRCLE_EDGE.light, "linewidth": 0.8}
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
) -> Figure:
    """Graph of one text: circles whose area is capacity, and lines for the pairs that interfere most.

    Solid red lines join pairs with positive interference, dashed blue lines pairs with negative interference. The
    shorter and thicker the line, the stronger the interference. A plane can't hold all distances at once, so lengths
    are approximate and widths exact. Unknown words have a mark and a hollow, dashed circle. Two of them get no line and
    do not attract each other: the model reads both as one word, so their interference would outdo all others and make
    these look weak. Of more than 30 words it shows those with the highest capacity, and says so.

    Args:
        words: The text's words.
        capacity: Capacity of the words, in [0, 1], shape (word,).
        interference: h_i . h_j of all pairs, shape (word, word), symmetric; the diagonal is ignored.
        title: Text above the graph.
        most_lines: Number of strongest pairs that get a line; the caption says how many pairs there are.
        unknown: Whether each word is unknown to the tokenizer. Default: none is.

    Raises:
        InputError: A shape that doesn't fit the words, a value out of range, or a matrix that isn't symmetric.
    """
    all_words = drawable_words(words)
    sizes = fractions(capacity, len(all_words), name="capacity")
    matrix = symmetric_matrix(interference, len(all_words), name="interference")
    kept = top_positions(sizes, MOST_CIRCLES)
    shown_unknown = unknown_mask(unknown, len(all_words))[kept]
    shown_words, sizes = mark_unknown([all_words[position] for position in kept], shown_unknown), sizes[kept]
    matrix = np.where(unknown_pairs(shown_unknown), 0.0, matrix[np.ix_(kept, kept)])

    radii = circle_radius(sizes)
    strength = relative_strength(matrix)
    pairs = find_strongest_pairs(strength, most_lines)
    centres = place_circles(strength, radii, side=110.0 + 55.0 * np.sqrt(len(shown_words)))
    widths = np.array([text_width(word) for word in shown_words])
    labels = place_labels(centres, radii, widths, LINE_HEIGHT, _sample_lines(centres, pairs))
    frame = _compute_frame(centres, radii, labels)

    note = selection_note(len(shown_words), len(all_words), "those with the highest capacity")
    lines = _describe_lines(len(pairs), int(np.count_nonzero(np.triu(strength))), shown_unknown)
    about_unknown = unknown_note(shown_unknown, "What two of them share is the vocabulary's doing and has no line.")
    figure, axes = _create_figure(frame, title, " ".join(filter(None, (note, lines, about_unknown))))
    _draw_lines(axes, centres, matrix, strength, pairs)
    _draw_circles(axes, shown_words, shown_unknown, centres, radii, labels)
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


def _create_figure(frame: Box, title: str | None, caption: str) -> tuple[Figure, Axes]:
    """An empty figure with a key on the right, and axes that hold the frame; one unit of the axes is one point."""
    left, bottom, right, top = frame
    width, height = right - left, max(top - bottom, KEY_HEIGHT)
    inches = (width + KEY_WIDTH) / POINTS_PER_INCH, height / POINTS_PER_INCH
    figure = new_figure(*inches, title=title, caption=caption, constrained=False)
    below = line_height(wrap_text(caption, inches[0])) / figure.get_figheight()
    share = width / (width + KEY_WIDTH), inches[1] / figure.get_figheight()
    axes = figure.add_axes((0, below, share[0], share[1]), xlim=(left, right))
    middle = (bottom + top) / 2
    axes.set_ylim(middle - height / 2, middle + height / 2)
    axes.set_axis_off()
    key = figure.add_axes((share[0], below, 1 - share[0], share[1]), xlim=(0, KEY_WIDTH), ylim=(-height, 0))
    key.set_axis_off()
    _draw_key(key)
    return figure, axes


def _draw_lines(axes: Axes, centres: Array, interference: Array, strength: Array, pairs: list[WordPair]) -> None:
    for i, j in reversed(pairs):  # the strongest on top
        line_style = _choose_line_style(positive=bool(interference[i, j] > 0))
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


def _draw_key(axes: Axes) -> None:
    """Draws the key for size, line and length, in points from the top left of the axes."""
    axes.text(10, -12, "circle area: capacity", va="center_baseline")
    for centre, capacity in zip((34, 84, 120), KEY_CAPACITIES, strict=True):
        axes.add_patch(Circle((centre, -44), float(circle_radius(np.array([capacity]))[0]), **CIRCLE_LOOK))
        axes.text(centre, -74, f"{capacity:g}", ha="center", va="center_baseline")
    for height, positive, words in ((-98, True, "positive interference"), (-114, False, "negative interference")):
        axes.plot([10, 38], [height, height], linewidth=1.6, **_choose_line_style(positive=positive))
        axes.text(44, height, words, va="center_baseline")
    axes.text(10, -134, "shorter and thicker:\nstronger interference", va="top", linespacing=1.3)


def _choose_line_style(*, positive: bool) -> dict[str, Any]:
    if positive:
        return {"color": POSITIVE_COLOUR, "linestyle": "-"}
    return {"color": NEGATIVE_COLOUR, "linestyle": (0, (3, 1.6))}


def _sample_lines(centres: Array, pairs: list[WordPair]) -> Array:
    """Points along the lines of all pairs, shape (POINTS_PER_LINE * pair, 2)."""
    along = np.linspace(0, 1, POINTS_PER_LINE)[:, None]
    lines = [centres[i] + along * (centres[j] - centres[i]) for i, j in pairs]
    return np.concatenate(lines) if lines else np.zeros((0, 2))


def _compute_frame(centres: Array, radii: Array, labels: list[Box]) -> Box:
    """The box around all circles and labels, with a margin."""
    corners = np.array(labels)
    low = np.minimum(corners[:, :2], centres - radii[:, None]).min(axis=0) - MARGIN
    high = np.maximum(corners[:, 2:], centres + radii[:, None]).max(axis=0) + MARGIN
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
