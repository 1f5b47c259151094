"""Pareto front: accuracy against SRS of many settings, with a line through those that no other setting beats."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from safr.errors import InputError
from safr.figures.inputs import LONGEST_NAME, drawable_text
from safr.figures.style import BAR_COLOUR, POSITIVE_COLOUR, figure_style, new_figure

_CAPTION = (
    "Each point is a setting, with its intervals, which may be cut off. The line joins those that no other beats in "
    "both; the star is the "
    "recommended one."
)

Interval = tuple[float, float, float]
"""A value, the lower and the upper end of its interval, as fractions."""


@figure_style()
def pareto_front(
    points: Mapping[str, tuple[Interval, Interval]], *, recommended: str | None = None, title: str | None = None
) -> Figure:
    """Accuracy against SRS of several settings.

    Args:
        points: Accuracy and SRS by name of the setting.
        recommended: Name of the setting that is marked.
        title: Text above the figure.

    Raises:
        InputError: There is no setting, or `recommended` is not one of them.
    """
    if not points:
        raise InputError("`points` must hold at least one setting, got none")
    if recommended is not None and recommended not in points:
        raise InputError(f"`recommended` must be one of the settings, got {recommended!r}")
    figure = new_figure(6.4, 4.2, title=title, caption=_CAPTION)
    axes = figure.subplots()
    front = find_pareto_optimal({name: (accuracy[0], srs[0]) for name, (accuracy, srs) in points.items()})
    line = sorted((100 * points[name][0][0], 100 * points[name][1][0]) for name in front)
    axes.plot(*zip(*line, strict=True), color=BAR_COLOUR, linewidth=1.0, zorder=1)
    for name, (accuracy, srs) in points.items():
        best = name == recommended
        colour = POSITIVE_COLOUR if best else BAR_COLOUR if name in front else "#888888"
        axes.errorbar(
            100 * accuracy[0],
            100 * srs[0],
            xerr=_compute_errors(accuracy),
            yerr=_compute_errors(srs),
            color=colour,
            marker="*" if best else "o",
            markersize=9 if best else 4,
            elinewidth=0.6,
            zorder=3 if best else 2,
        )
        if best or name in front:
            label = drawable_text(name, longest=LONGEST_NAME)
            place = (100 * accuracy[0], 100 * srs[0])
            axes.annotate(label, place, xytext=(5, 5 if best else -11), textcoords="offset points", color=colour)
    axes.set_xlabel("accuracy (%)")
    axes.set_ylabel("SRS (points)")
    axes.grid()
    axes.set_axisbelow(True)
    # The limits ignore the intervals, which with two seeds may be wider than the range of the values.
    accuracies, scores = zip(*((100 * accuracy[0], 100 * srs[0]) for accuracy, srs in points.values()), strict=True)
    axes.set_xlim(*_compute_limits(accuracies))
    axes.set_ylim(*_compute_limits(scores))
    return figure


def find_pareto_optimal(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names of the points that no other point beats: at least as high in both values and higher in one.

    >>> find_pareto_optimal({"a": (0.7, 0.2), "b": (0.8, 0.1), "c": (0.7, 0.1)})
    ['a', 'b']
    """
    return [
        name
        for name, (first, second) in points.items()
        if not any(x >= first and y >= second and (x > first or y > second) for x, y in points.values())
    ]


def _compute_limits(values: Sequence[float]) -> tuple[float, float]:
    """Lower and upper limit of an axis, with room for names and intervals."""
    room = max(0.35 * (max(values) - min(values)), 3.0)
    return min(values) - room, max(values) + room


def _compute_errors(interval: Interval) -> list[list[float]]:
    """Lengths of an interval below and above its value, in per cent."""
    value, low, high = interval
    return [[100 * max(value - low, 0)], [100 * max(high - value, 0)]]
