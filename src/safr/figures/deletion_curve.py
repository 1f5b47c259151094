"""Deletion curves: accuracy as more and more words are deleted, one curve per run (the paper's Figure 3)."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from safr.errors import InputError
from safr.figures.frame import Width, make_runs_key, new_figure, resolve_width
from safr.figures.inputs import Array, finite_vector, fractions
from safr.figures.style import figure_style, run_line_style

_TALLEST = 190.0  # points of the axes with their numbers
SIDESTEP = 0.5  # per cent from run to run, so that intervals don't hide one another
_CAPTION = (
    "Solid: words of highest capacity deleted, with the interval of the {metric}. Dotted: as many random words "
    "deleted, with their interval. Runs are shifted a little to the side."
)


@dataclass(frozen=True, eq=False)
class DeletionCurve:
    """Accuracy of one run after deletion: arrays of shape (percent,), accuracies and their limits in [0, 1]."""

    percent: ArrayLike
    """Share of a text's words that is deleted, in per cent: above 0, at most 100, increasing."""
    deleted: ArrayLike
    """Accuracy after deleting the words of highest capacity."""
    random: ArrayLike
    """Mean accuracy after deleting as many random words."""
    random_low: ArrayLike
    """Lower edge of the band of random deletion."""
    random_high: ArrayLike
    """Upper edge of the band of random deletion."""
    low: ArrayLike
    """Lower end of the interval of `deleted`."""
    high: ArrayLike
    """Upper end of the interval of `deleted`."""
    full: float
    """Accuracy with nothing deleted, drawn at 0 per cent."""
    metric: str = "accuracy"
    """What is drawn, in words; another than accuracy takes its place in all fields."""
    is_share: bool = True
    """Whether values are fractions in [0, 1], drawn in per cent; else any numbers of at least 0."""

    def __post_init__(self) -> None:
        """Checks shapes and ranges."""
        count = np.size(self.percent)
        percent = finite_vector(self.percent, count, name="percent")
        if count == 0 or percent[0] <= 0 or percent[-1] > 100 or (np.diff(percent) <= 0).any():
            raise InputError(f"`percent` must increase from above 0 to at most 100, got {percent.tolist()}")
        check_values = fractions if self.is_share else finite_vector
        for field in fields(self):
            if field.name not in {"percent", "full", "metric", "is_share"}:
                check_values(getattr(self, field.name), count, name=field.name)
        check_values([self.full], 1, name="full")


@figure_style()
def deletion_curves(curves: Mapping[str, DeletionCurve], *, title: str | None = None, width: Width = "page") -> Figure:
    """Accuracy against the share of deleted words, for several runs.

    Every run has one colour: a solid line with markers for the words of highest capacity, and a dotted line in a light
    band for random words. The further the solid line falls below the dotted one, the more the capacity tells.

    Args:
        curves: The runs by name, drawn in this order.
        title: Text above the curves.
        width: Width of the figure: of a paper's "column" or "page", or points of 1/72 inch. Letters have 8 points.

    Raises:
        InputError: There is no run, or a width out of range.
    """
    if not curves:
        raise InputError("`curves` must hold at least one run, got none")
    first, points = next(iter(curves.values())), resolve_width(width)
    key = make_runs_key(curves)
    caption = _CAPTION.format(metric=first.metric)
    figure = new_figure(points, min(0.7 * points, _TALLEST), title=title, caption=caption, key=key)
    axes = figure.subplots()
    for number, curve in enumerate(curves.values()):
        _draw_curve(axes, curve, run_line_style(number), offset=SIDESTEP * (number - (len(curves) - 1) / 2))
    axes.set_xlabel("deleted words (% of each text)")
    axes.set_ylabel(f"{first.metric}{' (%)' if first.is_share else ''}")
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.set_xlim(left=-1)
    return figure


def _draw_curve(axes: Axes, curve: DeletionCurve, line_style: dict[str, Any], *, offset: float) -> None:
    colour = line_style["color"]
    percent = np.concatenate([[0.0], np.asarray(curve.percent, dtype=float)])

    def prepend_full(values: ArrayLike) -> Array:
        scale = 100 if curve.is_share else 1
        return scale * np.concatenate([[curve.full], np.asarray(values, dtype=float)])

    axes.fill_between(
        percent, prepend_full(curve.random_low), prepend_full(curve.random_high), color=colour, alpha=0.15, linewidth=0
    )
    axes.plot(percent, prepend_full(curve.random), color=colour, linewidth=1.2, linestyle=":")
    shifted = percent + np.where(percent > 0, offset, 0.0)
    axes.vlines(shifted[1:], prepend_full(curve.low)[1:], prepend_full(curve.high)[1:], color=colour, linewidth=0.9)
    axes.plot(shifted, prepend_full(curve.deleted), **line_style)
