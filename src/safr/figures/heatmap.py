"""Interference heatmap: one coloured cell per pair of words, red above zero and blue below."""

from collections.abc import Sequence
from typing import Literal

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
from safr.figures.style import draw_words_below, figure_style, new_figure, widest_word

MOST_MAPPED = 40
_CELL = 0.16  # inches: the height of a line of 8 point text, with some space
MARKED_FROM = 0.15  # share of the colour scale from which a negative cell gets a dash
DIAGONAL_NOTE = (
    "Hatched diagonal: each word with itself, its squared norm, which is off the colour scale. "
    "Dashes mark negative cells."
)
UNKNOWN_PAIRS_NOTE = "What two of them share (dotted cells) is the vocabulary's doing and off the colour scale."


@figure_style()
def interference_heatmap(
    words: Sequence[str], interference: ArrayLike, *, title: str | None = None, unknown: Sequence[bool] = ()
) -> Figure:
    """Heatmap of the interference of all pairs of words, on a colour scale centred on 0.

    The colour scale covers the values off the diagonal. The diagonal is hatched instead, because its squared norms
    are much larger. A dash marks a negative cell where a print has no colour. Unknown words have a mark, and the cells
    between two of them are dotted and off the scale as well: the model reads both as one word, so their overlap is
    nearly a squared norm, in whose shade all others would be pale. Of more than 40 words it shows those with
    the highest capacity, computed from the matrix itself, and says so under the axes.

    Args:
        words: The text's words.
        interference: h_i . h_j of all pairs, shape (word, word), symmetric.
        title: Text above the map.
        unknown: Whether each word is unknown to the tokenizer. Default: none is.

    Raises:
        InputError: A shape that doesn't fit the words, a value that isn't finite, or a matrix that isn't symmetric.
    """
    all_words = drawable_words(words)
    matrix = symmetric_matrix(interference, len(all_words), name="interference")
    all_unknown = unknown_mask(unknown, len(all_words))
    kept = top_positions(capacity_of_interference(matrix), MOST_MAPPED)
    shown_unknown = all_unknown[kept]
    shown_words = mark_unknown([all_words[position] for position in kept], shown_unknown)

    side = max(_CELL * len(shown_words), 1.2) + widest_word(shown_words)
    note = selection_note(len(shown_words), len(all_words), "those with the highest capacity")
    caption = f"{note} {DIAGONAL_NOTE} {unknown_note(shown_unknown, UNKNOWN_PAIRS_NOTE)}".strip()
    figure = new_figure(max(side * 1.06 + 0.75, 3.2), side + 0.2, title=title, caption=caption)
    axes = figure.subplots()
    image, unit = draw_heatmap(axes, matrix[np.ix_(kept, kept)], hatch_diagonal=True, unknown=shown_unknown)
    axes.set_aspect("equal")
    draw_words_below(axes, shown_words)
    draw_words_beside(axes, shown_words)
    add_colour_bar(axes, image, location="right").set_label(f"interference hᵢ·hⱼ{unit}")
    return figure


def draw_heatmap(axes: Axes, matrix: Array, *, hatch_diagonal: bool, unknown: Mask) -> tuple[AxesImage, str]:
    """Draws the matrix's cells with row 0 on top, and returns the image and the unit of its colours.

    Args:
        axes: Where to draw.
        matrix: Any finite values, shape (word, word).
        hatch_diagonal: Leave the diagonal out of the colour scale and hatch it, and dot the pairs of unknown words.
        unknown: Whether each word is unknown to the tokenizer, shape (word,).
    """
    dotted = unknown_pairs(unknown & hatch_diagonal)
    coloured = np.where(dotted, 0.0, without_diagonal(matrix) if hatch_diagonal else matrix)
    coloured, unit = in_readable_units(coloured)
    limit = float(np.abs(coloured).max()) or 1.0
    # "none" embeds one pixel per cell in an SVG, which is a hundredth of the size of one path per cell.
    image = axes.imshow(
        coloured, cmap="RdBu_r", norm=Normalize(-limit, limit), interpolation="none", aspect="auto", origin="upper"
    )
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


def add_colour_bar(axes: Axes, image: AxesImage, *, location: Literal["right", "bottom"]) -> Colorbar:
    """Adds the colour bar, without its half below zero if no value is negative."""
    colour_bar = axes.figure.colorbar(image, ax=axes, location=location, shrink=0.85, fraction=0.05, pad=0.03)
    assert colour_bar.solids is not None  # only colour bars of contour lines have no solids
    colour_bar.solids.set_rasterized(True)  # otherwise an SVG has 256 paths
    colour_bar.outline.set_visible(False)
    colour_bar.locator = MaxNLocator(4)
    if np.asarray(image.get_array()).min() >= 0:
        set_limits = colour_bar.ax.set_xlim if location == "bottom" else colour_bar.ax.set_ylim
        set_limits(0.0, image.get_clim()[1])
    return colour_bar


def _dash_negative_cells(axes: Axes, matrix: Array, limit: float) -> None:
    """Puts a short dash into every clearly negative cell: dark red and dark blue are the same grey in print."""
    rows, columns = np.nonzero(matrix < -MARKED_FROM * limit)
    gap = np.full(len(rows), np.nan)  # ends a dash, so that all dashes are one line in the file
    across = np.column_stack([columns - 0.22, columns + 0.22, gap]).ravel()
    down = np.column_stack([rows, rows, gap]).ravel()
    is_deep = np.repeat(matrix[rows, columns] < -0.6 * limit, 3)
    for colour, selected in (("#222222", ~is_deep), ("white", is_deep)):
        if selected.any():
            axes.plot(across[selected], down[selected], color=colour, linewidth=0.9, solid_capstyle="butt")


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
