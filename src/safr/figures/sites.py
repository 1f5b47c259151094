"""Sites panel: one column per site, values per word above and pairs below (the paper's Figures 4 and 5)."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from safr.errors import InputError
from safr.figures.bars import draw_bars
from safr.figures.frame import (
    MARGIN,
    WORD_PITCH,
    Width,
    add_axes_at,
    line_height,
    new_figure,
    resolve_width,
    split_rows,
    widest_word,
    wrap_text,
)
from safr.figures.heatmap import (
    COLOUR_BAR,
    UNKNOWN_PAIRS_NOTE,
    add_colour_bar,
    draw_heatmap,
    draw_words_beside,
)
from safr.figures.inputs import (
    Array,
    Mask,
    drawable_text,
    drawable_words,
    finite_matrix,
    finite_vector,
    in_readable_units,
    mark_unknown,
    selection_note,
    top_positions,
    unknown_mask,
    unknown_note,
)
from safr.figures.notebook import MINUS
from safr.figures.style import TEXT_SIZE, figure_style

MOST_WORDS = 30
MOST_SITES = 12
_NARROWEST_SITE = 50.0  # points of a column, room for a name such as "embedding"
_GAP = 10.0  # points between columns
_NUMBERS = 16.0  # points for the numbers under the bars, and for those under a colour bar
_HIGHEST = 600.0  # points of all rows: a page of a paper holds 700
_CAPTION = (
    "Above: one value per word. Below: one value per pair, row to column, in the words' order, each map on its own "
    "colour scale{colours}."
)
_DIAGONAL_NOTE = "A hatched diagonal holds squared norms, which are off the scale."


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
    width: Width = "page",
) -> Figure:
    """Panel with one column per site: a bar for each word above, a map of all pairs below.

    The words stand on the left, for all sites beside them. The diagonal of interference is hatched and left out of the
    colour scale; attention shows all its cells. Unknown words have a mark and hollow bars, and interference between two
    of them is dotted and off the colour scale. Sites that don't fit the width go on below. Of more than 30 words, or
    than a page is high, it shows those with the highest bars, averaged over the sites, and says so under the maps.

    Args:
        words: The text's words.
        sites: The bars and the map by name of the site, drawn in this order.
        title: Text above the panel.
        unknown: Whether each word is unknown to the tokenizer. Default: none is.
        width: Width of the figure: of a paper's "column" or "page", or points of 1/72 inch. Letters have 8 points.

    Raises:
        InputError: No site or more than 12, a shape that doesn't fit the words, a value that isn't finite, or a width
            out of range.
    """
    all_words = drawable_words(words)
    if not 1 <= len(sites) <= MOST_SITES:
        raise InputError(f"`sites` must hold 1 to {MOST_SITES} sites, got {len(sites)}; draw some of them at a time")
    checked = {name: _check_site(name, site, length=len(all_words)) for name, site in sites.items()}
    points, all_unknown = resolve_width(width), unknown_mask(unknown, len(all_words))

    shares = _average_share([values for values, _, _ in checked.values()])
    kept = top_positions(shares, MOST_WORDS)
    labels = widest_word(mark_unknown([all_words[position] for position in kept], all_unknown[kept])) + 2 * MARGIN
    rows = split_rows(len(checked), max(int((points - labels) // _NARROWEST_SITE), 1))
    side = (points - labels) / rows[0].stop - _GAP
    scaled = {name: in_readable_units(values) for name, (values, _, _) in checked.items()}
    names = [wrap_text(drawable_text(name, longest=24) + unit, side + _GAP) for name, (_, unit) in scaled.items()]
    heading = max(line_height(name) for name in names)
    around = heading + side + 2 * _NUMBERS + 2 * COLOUR_BAR + _GAP
    most = min(MOST_WORDS, max(int((_HIGHEST / len(rows) - around) // WORD_PITCH), 5))
    kept = top_positions(shares, most)
    shown_unknown = all_unknown[kept]
    shown_words = mark_unknown([all_words[position] for position in kept], shown_unknown)

    note = selection_note(len(shown_words), len(all_words), "those with the highest bars, averaged over the sites")
    hatch_note = _DIAGONAL_NOTE if any(hatched for _, _, hatched in checked.values()) else ""
    has_negative = any((matrix < 0).any() for _, matrix, _ in checked.values())
    about_maps = _CAPTION.format(colours=", red above 0 and blue below" * has_negative)
    notes = (note, about_maps, hatch_note, unknown_note(shown_unknown, UNKNOWN_PAIRS_NOTE))
    block = around + WORD_PITCH * len(shown_words)
    height = block * len(rows)
    figure = new_figure(points, height, title=title, caption=" ".join(filter(None, notes)), arranged=False)
    pictures = [
        (values, matrix, hatched)
        for (values, _), (_, matrix, hatched) in zip(scaled.values(), checked.values(), strict=True)
    ]
    for number, row in enumerate(rows):
        for column, (name, (values, matrix, hatched)) in enumerate(zip(names[row], pictures[row], strict=True)):
            place = labels + column * (side + _GAP), height - number * block - heading
            _draw_site(
                figure,
                place,
                side,
                name,
                shown_words if column == 0 else [],
                values[kept],
                matrix[np.ix_(kept, kept)],
                hatch_diagonal=hatched,
                unknown=shown_unknown,
            )
    return figure


def _draw_site(
    figure: Figure,
    place: tuple[float, float],
    side: float,
    name: str,
    words: list[str],
    values: Array,
    matrix: Array,
    *,
    hatch_diagonal: bool,
    unknown: Mask,
) -> None:
    """Draws one site below and to the right of a place in points: bars with their words, a map and its colour bar."""
    left, top = place
    bars_height = WORD_PITCH * len(values)
    above = add_axes_at(figure, left, top - bars_height, side, bars_height)
    draw_bars(above, values, hollow=unknown, across=True)
    if not values.any():
        above.set_xlim(0, 1)
    above.set_title(name, loc="left", fontsize=TEXT_SIZE, pad=3)
    _set_end_numbers(above)
    above.tick_params(axis="y", length=0)
    if words:
        draw_words_beside(above, words)
    else:
        above.set_yticks([])
    map_top = top - bars_height - _NUMBERS
    below = add_axes_at(figure, left, map_top - side, side, side)
    pitch = side / len(values)
    image, unit = draw_heatmap(below, matrix, hatch_diagonal=hatch_diagonal, unknown=unknown, pitch=pitch)
    below.set_xticks([])
    below.set_yticks([])
    colour_bar = add_axes_at(figure, left, map_top - side - 2 * COLOUR_BAR, side, COLOUR_BAR)
    add_colour_bar(colour_bar, image).set_label(unit.strip())
    _set_end_numbers(colour_bar)


def _set_end_numbers(axes: Axes) -> None:
    """Numbers a narrow x axis at its ends alone, inside of them, so that neighbours' numbers don't run together."""
    low, high = (_round_to_zero(limit) for limit in axes.get_xlim())
    axes.set_xticks([low, high], [f"{value:g}".replace("-", MINUS) for value in (low, high)])
    first, last = axes.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")


def _round_to_zero(value: float) -> float:
    """The value cut to two digits.

    >>> _round_to_zero(-0.0389), _round_to_zero(0)
    (-0.038, 0.0)
    """
    if value == 0:
        return 0.0
    decimals = 1 - math.floor(math.log10(abs(value)))
    return round(math.trunc(value * 10.0**decimals) / 10.0**decimals, max(decimals, 0))


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
