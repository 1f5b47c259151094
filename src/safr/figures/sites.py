"""Every site of the network in, one panel out: values per word above, pairs below (the paper's Figures 4 and 5)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from safr.errors import InputError
from safr.figures.arrays import Array, finite_matrix, finite_vector, is_symmetric, without_diagonal
from safr.figures.bars import draw_bars
from safr.figures.drawing import TEXT_SIZE, new_figure, our_style, widest, words_below
from safr.figures.heatmap import colour_bar, draw_heatmap, words_beside
from safr.figures.selection import highest, shown_note
from safr.figures.words import readable, readable_words

MOST_WORDS = 30  # five columns of them are as wide as a screen shows without shrinking the words away
MOST_SITES = 12
CELL = 0.13  # inches: a line of 8 point text
BARS_HEIGHT = 1.1  # inches
CAPTION = (
    "Above: one value per word. Below: one value per pair, row to column, each map on its own colour scale. "
    "Dashes mark negative cells; a hatched diagonal holds squared norms, which are off the scale."
)


@our_style()
def sites_panel(
    words: Sequence[str], sites: Mapping[str, tuple[ArrayLike, ArrayLike]], *, title: str | None = None
) -> Figure:
    """Panel with a column per site: bars above, map of pairs below, and the words between them for both.

    A symmetric matrix is read as interference: its diagonal is hatched and left out of the colour scale. Any other,
    and rows of weights that sum to 1 as attention's do, shows all its cells. Above 30 words it shows those with the
    highest bars on average over the sites, and says so under the axes.

    Args:
        words: The text's words.
        sites: For each site, in this order, its values of shape (word,) and its matrix of shape (word, word).
        title: Stands above the panel.

    Raises:
        InputError: No site or more than 12, a shape that doesn't fit the words, or a value that isn't finite.
    """
    names = readable_words(words)
    if not 1 <= len(sites) <= MOST_SITES:
        raise InputError(f"`sites` must hold 1 to {MOST_SITES} sites, got {len(sites)}; draw some of them at a time")
    checked = {name: _checked(name, *site, length=len(names)) for name, site in sites.items()}
    kept = highest(_average_share([values for values, _ in checked.values()]), MOST_WORDS)
    shown = [names[position] for position in kept]

    titles = [readable(name, longest=24) for name in checked]
    side = max(CELL * len(shown), 1.3, widest(titles, TEXT_SIZE + 1))
    note = shown_note(len(shown), len(names), "those with the highest bars, averaged over the sites")
    figure = new_figure(
        (side + 0.42) * len(sites) + widest(shown) + 0.2,
        BARS_HEIGHT + side + widest(shown) + 0.8,
        title=title,
        caption=f"{note} {CAPTION}".strip(),
    )
    columns = figure.subplots(2, len(sites), squeeze=False, height_ratios=[BARS_HEIGHT, side]).T
    for column, site_title, (values, matrix) in zip(columns, titles, checked.values(), strict=True):
        _draw_site(
            tuple(column),
            shown,
            site_title,
            values[kept],
            matrix[np.ix_(kept, kept)],
            hatch_diagonal=is_interference(matrix),
        )
    words_beside(columns[0][1], shown)
    return figure


def is_interference(matrix: Array) -> bool:
    """Whether a matrix is taken for h_i . h_j: symmetric, and not rows of weights that sum to 1 as attention's do.

    Only the cells off the diagonal are looked at for symmetry: attention of each word to itself is nearly symmetric.
    """
    is_attention = bool((matrix >= 0).all()) and np.allclose(matrix.sum(axis=1), 1.0, atol=1e-3)
    return not is_attention and is_symmetric(without_diagonal(matrix))


def _draw_site(
    column: Sequence[Axes], words: list[str], title: str, values: Array, matrix: Array, *, hatch_diagonal: bool
) -> None:
    above, below = column
    unit = draw_bars(above, values)
    above.set_title(title + unit)
    above.set_xlim(-0.5, len(words) - 0.5)  # each bar over its column of the map
    words_below(above, words)
    image, unit = draw_heatmap(below, matrix, hatch_diagonal=hatch_diagonal)
    below.set_xticks([])
    below.set_yticks([])
    scale = colour_bar(below, image, location="bottom")
    if unit:
        scale.set_label(unit.strip())


def _checked(name: str, values: ArrayLike, matrix: ArrayLike, *, length: int) -> tuple[Array, Array]:
    return (
        finite_vector(values, length, name=f"the bars of {name}"),
        finite_matrix(matrix, length, name=f"the matrix of {name}"),
    )


def _average_share(sites: list[Array]) -> Array:
    """Each word's value relative to its site's largest, averaged over sites, so that no site's unit decides alone."""
    return np.mean([values / (np.abs(values).max() or 1.0) for values in sites], axis=0)
