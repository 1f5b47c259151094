"""Pareto front: accuracy or error against SRS of settings, with a line through those that no other setting beats."""

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
"""A value, the lower and the upper end of its interval, as fractions; of an error in its own unit."""


@figure_style()
def pareto_front(
    points: Mapping[str, tuple[Interval, Interval]],
    *,
    recommended: str | None = None,
    title: str | None = None,
    error: str | None = None,
) -> Figure:
    """Accuracy against SRS of several settings.

    Args:
        points: Accuracy and SRS by name of the setting.
        recommended: Name of the setting that is marked.
        title: Text above the figure.
        error: Name of the error that stands in the place of accuracy, of which less is better. SRS is its growth.

    Raises:
        InputError: There is no setting, or `recommended` is not one of them.
    """
    if not points:
        raise InputError("`points` must hold at least one setting, got none")
    if recommended is not None and recommended not in points:
        raise InputError(f"`recommended` must be one of the settings, got {recommended!r}")
    figure = new_figure(6.4, 4.2, title=title, caption=_CAPTION)
    axes = figure.subplots()
    scale, sign = (100, 1) if error is None else (1, -1)
    front = find_pareto_optimal({name: (sign * first[0], srs[0]) for name, (first, srs) in points.items()})
    line = sorted((scale * points[name][0][0], scale * points[name][1][0]) for name in front)
    axes.plot(*zip(*line, strict=True), color=BAR_COLOUR, linewidth=1.0, zorder=1)
    for name, (accuracy, srs) in points.items():
        best = name == recommended
        colour = POSITIVE_COLOUR if best else BAR_COLOUR if name in front else "#888888"
        axes.errorbar(
            scale * accuracy[0],
            scale * srs[0],
            xerr=_compute_errors(accuracy, scale),
            yerr=_compute_errors(srs, scale),
            color=colour,
            marker="*" if best else "o",
            markersize=9 if best else 4,
            elinewidth=0.6,
            zorder=3 if best else 2,
        )
        if best or name in front:
            label = drawable_text(name, longest=LONGEST_NAME)
            place = (scale * accuracy[0], scale * srs[0])
            axes.annotate(label, place, xytext=(5, 5 if best else -11), textcoords="offset points", color=colour)
    axes.set_xlabel("accuracy (%)" if error is None else error)
    axes.set_ylabel("SRS (points)" if error is None else f"SRS: growth of the {error}")
    axes.grid()
    axes.set_axisbelow(True)
    # The limits ignore the intervals, which with two seeds may be wider than the range of the values.
    accuracies, scores = zip(*((scale * first[0], scale * srs[0]) for first, srs in points.values()), strict=True)
    least_room = 3.0 if error is None else 0.1 * max(accuracies) or 1.0
    axes.set_xlim(*_compute_limits(accuracies, least_room))
    axes.set_ylim(*_compute_limits(scores, least_room))
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


def _compute_limits(values: Sequence[float], least_room: float) -> tuple[float, float]:
    """Lower and upper limit of an axis, with room for names and intervals."""
    room = max(0.35 * (max(values) - min(values)), least_room)
    return min(values) - room, max(values) + room


def _compute_errors(interval: Interval, scale: float) -> list[list[float]]:
    """Lengths of an interval below and above its value, in the axis's unit."""
    value, low, high = interval
    return [[scale * max(value - low, 0)], [scale * max(high - value, 0)]]
