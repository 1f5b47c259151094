"""Sites panel: one column per site, values per word above and pairs below (the paper's Figures 4 and 5)."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from safr.errors import InputError
from safr.figures.bars import draw_bars
from safr.figures.heatmap import UNKNOWN_PAIRS_NOTE, add_colour_bar, draw_heatmap, draw_words_beside
from safr.figures.inputs import (
    Array,
    Mask,
    drawable_text,
    drawable_words,
    finite_matrix,
    finite_vector,
    mark_unknown,
    selection_note,
    top_positions,
    unknown_mask,
    unknown_note,
)
from safr.figures.style import TEXT_SIZE, draw_words_below, figure_style, new_figure, widest_word

MOST_WORDS = 30  # five such columns are as wide as a screen can show with legible words
MOST_SITES = 12
_CELL = 0.13  # inches: the height of a line of 8 point text
BARS_HEIGHT = 1.1  # inches
_CAPTION = (
    "Above: one value per word. Below: one value per pair, row to column, each map on its own colour scale. "
    "Dashes mark negative cells; a hatched diagonal holds squared norms, which are off the scale."
)


class SitePicture(NamedTuple):
    """The bars and the map of one site."""

    values: ArrayLike
    """The bars, (word,)."""

    matrix: ArrayLike
    """The map, (word, word)."""

    kind: Literal["interference", "attention"] = "interference"
    """What the map holds: interference, whose diagonal of squared norms is off the scale, or attention, shown whole."""


@figure_style()
def sites_panel(
    words: Sequence[str],
    sites: Mapping[str, SitePicture],
    *,
    title: str | None = None,
    unknown: Sequence[bool] = (),
) -> Figure:
    """Panel with one column per site: bars above, a map of pairs below, and the words of both between them.

    The diagonal of interference is hatched and left out of the colour scale; attention shows all its cells. Unknown
    words have a mark and hollow bars, and interference between two of them is dotted and off the colour scale. Of more
    than 30 words it shows those with the highest bars, averaged over the sites, and says so under the axes.

    Args:
        words: The text's words.
        sites: The bars and the map by name of the site, drawn in this order.
        title: Text above the panel.
        unknown: Whether each word is unknown to the tokenizer. Default: none is.

    Raises:
        InputError: No site or more than 12, a shape that doesn't fit the words, or a value that isn't finite.
    """
    all_words = drawable_words(words)
    if not 1 <= len(sites) <= MOST_SITES:
        raise InputError(f"`sites` must hold 1 to {MOST_SITES} sites, got {len(sites)}; draw some of them at a time")
    checked = {name: _check_site(name, site, length=len(all_words)) for name, site in sites.items()}
    kept = top_positions(_average_share([values for values, _, _ in checked.values()]), MOST_WORDS)
    shown_unknown = unknown_mask(unknown, len(all_words))[kept]
    shown_words = mark_unknown([all_words[position] for position in kept], shown_unknown)

    titles = [drawable_text(name, longest=24) for name in checked]
    side = max(_CELL * len(shown_words), 1.3, widest_word(titles, TEXT_SIZE + 1))
    note = selection_note(len(shown_words), len(all_words), "those with the highest bars, averaged over the sites")
    figure = new_figure(
        (side + 0.42) * len(sites) + widest_word(shown_words) + 0.2,
        BARS_HEIGHT + side + widest_word(shown_words) + 0.8,
        title=title,
        caption=f"{note} {_CAPTION} {unknown_note(shown_unknown, UNKNOWN_PAIRS_NOTE)}".strip(),
    )
    columns = figure.subplots(2, len(sites), squeeze=False, height_ratios=[BARS_HEIGHT, side]).T
    for column, site_title, (values, matrix, hatched) in zip(columns, titles, checked.values(), strict=True):
        picture = values[kept], matrix[np.ix_(kept, kept)]
        _draw_site(tuple(column), shown_words, site_title, *picture, hatch_diagonal=hatched, unknown=shown_unknown)
    draw_words_beside(columns[0][1], shown_words)
    return figure


def _draw_site(
    column: Sequence[Axes],
    words: list[str],
    title: str,
    values: Array,
    matrix: Array,
    *,
    hatch_diagonal: bool,
    unknown: Mask,
) -> None:
    above, below = column
    unit = draw_bars(above, values, hollow=unknown)
    above.set_title(title + unit)
    above.set_xlim(-0.5, len(words) - 0.5)  # a bar stands over its column of the map
    draw_words_below(above, words)
    image, unit = draw_heatmap(below, matrix, hatch_diagonal=hatch_diagonal, unknown=unknown)
    below.set_xticks([])
    below.set_yticks([])
    colour_bar = add_colour_bar(below, image, location="bottom")
    if unit:
        colour_bar.set_label(unit.strip())


def _check_site(name: str, site: SitePicture, *, length: int) -> tuple[Array, Array, bool]:
    """The bars, the map, and whether the diagonal of the map is hatched."""
    return (
        finite_vector(site.values, length, name=f"the bars of {name}"),
        finite_matrix(site.matrix, length, name=f"the matrix of {name}"),
        site.kind == "interference",
    )


def _average_share(sites: list[Array]) -> Array:
    """Values relative to the largest of their site, averaged over the sites, so that no site's unit dominates."""
    return np.mean([values / (np.abs(values).max() or 1.0) for values in sites], axis=0)
