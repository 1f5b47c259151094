"""Interference heatmap: one coloured cell per pair of words, red above zero and blue below."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from safr.figures.frame import (
    WORD_PITCH,
    Width,
    add_axes_at,
    draw_words_below,
    new_figure,
    resolve_width,
    widest_word,
    words_height,
)
from safr.figures.inputs import (
    Array,
    Mask,
    capacity_of_interference,
    drawable_words,
    in_readable_units,
    mark_unknown,
    selection_note,
    symmetric_matrix,
    top_positions,
    unknown_mask,
    unknown_note,
    unknown_pairs,
    without_diagonal,
)
from safr.figures.style import TEXT_SIZE, figure_style

MOST_MAPPED = 40
_SMALL_MAP = 180.0  # points: the side of a map of few words
_WORD_GAP = 8.0  # points from a word's end to the figure's edge and to the map
COLOUR_BAR_HEIGHT = 28.0  # points of the colour bar with its numbers and the space above it
COLOUR_BAR = 5.0  # points
_SMALLEST_MARKED = 4.0  # points of a cell in which a dash can be seen
MARKED_FROM = 0.15  # share of the colour scale from which a negative cell gets a dash
DIAGONAL_NOTE = "Hatched diagonal: each word with itself, its squared norm, which is off the colour scale."
DASHES_NOTE = "Dashes mark negative cells."
UNKNOWN_PAIRS_NOTE = "Cells of two such words are dotted and off the colour scale."


@figure_style()
def interference_heatmap(
    words: Sequence[str],
    interference: ArrayLike,
    *,
    title: str | None = None,
    unknown: Sequence[bool] = (),
    width: Width = "page",
) -> Figure:
    """Heatmap of the interference of all pairs of words, on a colour scale centred on 0.

    The colour scale covers the values off the diagonal. The diagonal is hatched instead, because its squared norms
    are much larger. A dash marks a negative cell where a print has no colour. Unknown words have a mark, and the cells
    between two of them are dotted and off the scale as well: the model reads both as one word, so their overlap is
    nearly a squared norm, in whose shade all others would be pale. Of more than 40 words, or than fit the width, it
    shows those with the highest capacity, computed from the matrix itself, and says so under the axes.

    Args:
        words: The text's words.
        interference: h_i . h_j of all pairs, shape (word, word), symmetric.
        title: Text above the map.
        unknown: Whether each word is unknown to the tokenizer. Default: none is.
        width: Width of the figure: of a paper's "column" or "page", or points of 1/72 inch. Letters have 8 points.

    Raises:
        InputError: A shape that doesn't fit the words, a value that isn't finite, a matrix that isn't symmetric, or a
            width out of range.
    """
    all_words = drawable_words(words)
    matrix = symmetric_matrix(interference, len(all_words), name="interference")
    all_unknown = unknown_mask(unknown, len(all_words))
    points = resolve_width(width)
    capacity = capacity_of_interference(matrix)
    kept = top_positions(capacity, MOST_MAPPED)
    label = widest_word(mark_unknown([all_words[position] for position in kept], all_unknown[kept])) + 2 * _WORD_GAP
    kept = top_positions(capacity, min(MOST_MAPPED, int((points - label - _WORD_GAP) // WORD_PITCH)))
    shown_unknown = all_unknown[kept]
    shown_words = mark_unknown([all_words[position] for position in kept], shown_unknown)

    label = widest_word(shown_words) + 2 * _WORD_GAP
    side = min(points - label - _WORD_GAP, max(len(shown_words) * 1.2 * WORD_PITCH, _SMALL_MAP))
    shown_matrix, pitch = matrix[np.ix_(kept, kept)], side / len(shown_words)
    note = selection_note(len(shown_words), len(all_words), "those with the highest capacity")
    caption = f"{note} {describe_map(shown_matrix, shown_unknown, pitch=pitch)}".strip()
    below = words_height(shown_words, pitch=pitch) + COLOUR_BAR_HEIGHT + 1.3 * TEXT_SIZE
    figure = new_figure(points, side + below + TEXT_SIZE, title=title, caption=caption, arranged=False)
    axes = add_axes_at(figure, label, below, side, side)
    image, unit = draw_heatmap(axes, shown_matrix, hatch_diagonal=True, unknown=shown_unknown, pitch=pitch)
    draw_words_below(axes, shown_words, pitch=pitch)
    draw_words_beside(axes, shown_words)
    bar = add_axes_at(figure, label, 1.3 * TEXT_SIZE + COLOUR_BAR_HEIGHT - 2 * COLOUR_BAR, side, COLOUR_BAR)
    add_colour_bar(bar, image).set_label(f"interference hᵢ·hⱼ{unit}")
    return figure


def draw_heatmap(
    axes: Axes, matrix: Array, *, hatch_diagonal: bool, unknown: Mask, pitch: float
) -> tuple[AxesImage, str]:
    """Draws the matrix's cells with row 0 on top, and returns the image and the unit of its colours.

    Args:
        axes: Where to draw.
        matrix: Any finite values, shape (word, word).
        hatch_diagonal: Leave the diagonal out of the colour scale and hatch it, and dot the pairs of unknown words.
        unknown: Whether each word is unknown to the tokenizer, shape (word,).
        pitch: Points of a cell. Small cells have no dashes.
    """
    dotted = unknown_pairs(unknown & hatch_diagonal)
    coloured = np.where(dotted, 0.0, without_diagonal(matrix) if hatch_diagonal else matrix)
    coloured, unit = in_readable_units(coloured)
    limit = float(np.abs(coloured).max()) or 1.0
    # "none" embeds one pixel per cell in an SVG, which is a hundredth of the size of one path per cell.
    image = axes.imshow(
        coloured, cmap="RdBu_r", norm=Normalize(-limit, limit), interpolation="none", aspect="auto", origin="upper"
    )
    if pitch >= _SMALLEST_MARKED:
        _dash_negative_cells(axes, coloured, limit)
    if hatch_diagonal:
        _hatch_diagonal(axes, len(matrix))
    if dotted.any():
        _dot_cells(axes, dotted)
    axes.spines[:].set_visible(True)
    axes.tick_params(length=0)
    axes.set_xlim(-0.5, len(matrix) - 0.5)
    axes.set_ylim(len(matrix) - 0.5, -0.5)
    return image, unit


def draw_words_beside(axes: Axes, words: list[str]) -> None:
    """Writes one word to the left of every row."""
    axes.set_yticks(range(len(words)), words)


def add_colour_bar(axes: Axes, image: AxesImage) -> Colorbar:
    """Draws a level colour bar into the axes, without its half below zero if no value is negative."""
    colour_bar = axes.figure.colorbar(image, cax=axes, orientation="horizontal")
    assert colour_bar.solids is not None  # only colour bars of contour lines have no solids
    colour_bar.solids.set_rasterized(True)  # otherwise an SVG has 256 paths
    colour_bar.outline.set_visible(False)
    colour_bar.locator = MaxNLocator(5)
    if np.asarray(image.get_array()).min() >= 0:
        axes.set_xlim(0.0, image.get_clim()[1])
    return colour_bar


def describe_map(matrix: Array, unknown: Mask, *, pitch: float) -> str:
    """Caption about the marks that a heatmap of interference has.

    Args:
        matrix: Interference of all pairs, shape (word, word).
        unknown: Whether each word is unknown to the tokenizer, shape (word,).
        pitch: Points of a cell.
    """
    coloured = np.where(unknown_pairs(unknown), 0.0, without_diagonal(matrix))
    has_dashes = _find_negative_cells(coloured).any() and pitch >= _SMALLEST_MARKED
    notes = (DIAGONAL_NOTE, DASHES_NOTE if has_dashes else "", unknown_note(unknown, UNKNOWN_PAIRS_NOTE))
    return " ".join(filter(None, notes))


def _dash_negative_cells(axes: Axes, matrix: Array, limit: float) -> None:
    """Puts a short dash into every clearly negative cell: dark red and dark blue are the same grey in print."""
    rows, columns = np.nonzero(_find_negative_cells(matrix))
    gap = np.full(len(rows), np.nan)  # ends a dash, so that all dashes are one line in the file
    across = np.column_stack([columns - 0.22, columns + 0.22, gap]).ravel()
    down = np.column_stack([rows, rows, gap]).ravel()
    is_deep = np.repeat(matrix[rows, columns] < -0.6 * limit, 3)
    for colour, selected in (("#222222", ~is_deep), ("white", is_deep)):
        if selected.any():
            axes.plot(across[selected], down[selected], color=colour, linewidth=0.9, solid_capstyle="butt")


def _find_negative_cells(matrix: Array) -> Mask:
    """Which cells are so far below 0 that they get a dash, shape (word, word)."""
    return matrix < -MARKED_FROM * (np.abs(matrix).max() or 1.0)


def _hatch_diagonal(axes: Axes, count: int) -> None:
    cells = [Rectangle((position - 0.5, position - 0.5), 1, 1) for position in range(count)]
    axes.add_collection(
        PatchCollection(cells, facecolor="#D9D9D9", edgecolor="#777777", hatch="////", linewidth=0), autolim=False
    )


def _dot_cells(axes: Axes, dotted: Mask) -> None:
    """Covers the cells with dots, as one path, which takes few bytes in an SVG."""
    cells = [
        Path([(x - 0.5, y - 0.5), (x + 0.5, y - 0.5), (x + 0.5, y + 0.5), (x - 0.5, y + 0.5), (0, 0)], closed=True)
        for y, x in np.argwhere(dotted).tolist()
    ]
    look = {"facecolor": "#F0F0F0", "edgecolor": "#777777", "hatch": "....", "linewidth": 0}
    axes.add_patch(PathPatch(Path.make_compound_path(*cells), **look))
