"""Every site of the network in, one panel out: values per word above, pairs below (the paper's Figures 4 and 5)."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from safr.errors import InputError
from safr.figures.bars import draw_bars
from safr.figures.heatmap import add_colour_bar, draw_heatmap, draw_words_beside
from safr.figures.inputs import (
    Array,
    drawable_text,
    drawable_words,
    finite_matrix,
    finite_vector,
    selection_note,
    top_positions,
)
from safr.figures.style import TEXT_SIZE, draw_words_below, figure_style, new_figure, widest_word

MOST_WORDS = 30  # five columns of them are as wide as a screen shows without shrinking the words away
MOST_SITES = 12
_CELL = 0.13  # inches: a line of 8 point text
BARS_HEIGHT = 1.1  # inches
_CAPTION = (
    "Above: one value per word. Below: one value per pair, row to column, each map on its own colour scale. "
    "Dashes mark negative cells; a hatched diagonal holds squared norms, which are off the scale."
)


class SitePicture(NamedTuple):
    """What is drawn of one site."""

    values: ArrayLike
    """The bars, (word,)."""

    matrix: ArrayLike
    """The map, (word, word)."""

    kind: Literal["interference", "attention"] = "interference"
    """What the map holds: overlaps, whose diagonal of squared norms is off the scale, or weights that are all shown."""


@figure_style()
def sites_panel(words: Sequence[str], sites: Mapping[str, SitePicture], *, title: str | None = None) -> Figure:
    """Panel with a column per site: bars above, map of pairs below, and the words between them for both.

    Interference has its diagonal hatched and left out of the colour scale; attention shows all its cells. Above 30
    words it shows those with the highest bars on average over the sites, and says so under the axes.

    Args:
        words: The text's words.
        sites: What is drawn of each site, in this order.
        title: Stands above the panel.

    Raises:
        InputError: No site or more than 12, a shape that doesn't fit the words, or a value that isn't finite.
    """
    names = drawable_words(words)
    if not 1 <= len(sites) <= MOST_SITES:
        raise InputError(f"`sites` must hold 1 to {MOST_SITES} sites, got {len(sites)}; draw some of them at a time")
    checked = {name: _checked(name, site, length=len(names)) for name, site in sites.items()}
    kept = top_positions(_average_share([values for values, _, _ in checked.values()]), MOST_WORDS)
    shown = [names[position] for position in kept]

    titles = [drawable_text(name, longest=24) for name in checked]
    side = max(_CELL * len(shown), 1.3, widest_word(titles, TEXT_SIZE + 1))
    note = selection_note(len(shown), len(names), "those with the highest bars, averaged over the sites")
    figure = new_figure(
        (side + 0.42) * len(sites) + widest_word(shown) + 0.2,
        BARS_HEIGHT + side + widest_word(shown) + 0.8,
        title=title,
        caption=f"{note} {_CAPTION}".strip(),
    )
    columns = figure.subplots(2, len(sites), squeeze=False, height_ratios=[BARS_HEIGHT, side]).T
    for column, site_title, (values, matrix, hatched) in zip(columns, titles, checked.values(), strict=True):
        _draw_site(tuple(column), shown, site_title, values[kept], matrix[np.ix_(kept, kept)], hatch_diagonal=hatched)
    draw_words_beside(columns[0][1], shown)
    return figure


def _draw_site(
    column: Sequence[Axes], words: list[str], title: str, values: Array, matrix: Array, *, hatch_diagonal: bool
) -> None:
    above, below = column
    unit = draw_bars(above, values)
    above.set_title(title + unit)
    above.set_xlim(-0.5, len(words) - 0.5)  # each bar over its column of the map
    draw_words_below(above, words)
    image, unit = draw_heatmap(below, matrix, hatch_diagonal=hatch_diagonal)
    below.set_xticks([])
    below.set_yticks([])
    scale = add_colour_bar(below, image, location="bottom")
    if unit:
        scale.set_label(unit.strip())


def _checked(name: str, site: SitePicture, *, length: int) -> tuple[Array, Array, bool]:
    return (
        finite_vector(site.values, length, name=f"the bars of {name}"),
        finite_matrix(site.matrix, length, name=f"the matrix of {name}"),
        site.kind == "interference",
    )


def _average_share(sites: list[Array]) -> Array:
    """Each word's value relative to its site's largest, averaged over sites, so that no site's unit decides alone."""
    return np.mean([values / (np.abs(values).max() or 1.0) for values in sites], axis=0)
