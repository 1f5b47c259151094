"""Pareto front: accuracy or error against SRS of settings, with a line through those that no other setting beats."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from safr.errors import InputError
from safr.figures.frame import Width, new_figure, resolve_width
from safr.figures.inputs import drawable_text
from safr.figures.style import BAR_COLOUR, POSITIVE_COLOUR, figure_style

_CAPTION = (
    "Each point is a setting, with its intervals, which may be cut off. The line joins the numbered ones, which no "
    "other beats in both values."
)
_TALLEST = 250.0  # points of the axes with their numbers
_LONGEST_SETTING = 120  # characters
_BEATEN_COLOUR = "#888888"

Interval = tuple[float, float, float]
"""A value, the lower and the upper end of its interval, as fractions; of an error in its own unit."""


@figure_style()
def pareto_front(
    points: Mapping[str, tuple[Interval, Interval]],
    *,
    recommended: str | None = None,
    title: str | None = None,
    error: str | None = None,
    measure: tuple[str, Literal["higher", "lower"]] | None = None,
    width: Width = "page",
) -> Figure:
    """Accuracy against SRS of several settings, or against another measure.

    Those that no other beats have numbers, and the key gives their names, however long these are.

    Args:
        points: Accuracy and SRS by name of the setting.
        recommended: Name of the setting that is marked.
        title: Text above the figure.
        error: Name of the error that stands in the place of accuracy, of which less is better. SRS is its growth.
        measure: Name of what stands in the place of SRS, and whether more or less of it is better.
        width: Width of the figure: of a paper's "column" or "page", or points of 1/72 inch. Letters have 8 points.

    Raises:
        InputError: There is no setting, `recommended` is not one of them, or a width out of range.
    """
    if not points:
        raise InputError("`points` must hold at least one setting, got none")
    if recommended is not None and recommended not in points:
        raise InputError(f"`recommended` must be one of the settings, got {recommended!r}")
    scale, sign = (100, 1) if error is None else (1, -1)
    heading, better = measure or ("SRS (points)" if error is None else f"SRS: growth of the {error}", "higher")
    up_scale, up_sign = (scale if measure is None else 1), (1 if better == "higher" else -1)
    front = find_pareto_optimal({name: (sign * first[0], up_sign * up[0]) for name, (first, up) in points.items()})
    numbers = {name: str(number) for number, name in enumerate([name for name in points if name in front], start=1)}
    looks = {name: _choose_look(best=name == recommended, on_front=name in front) for name in points}
    key = [
        (_describe_setting(name, numbers, recommended), Line2D([], [], linestyle="", **looks[name]))
        for name in points
        if name in front or name == recommended
    ]
    size = resolve_width(width)
    figure = new_figure(size, min(0.8 * size, _TALLEST), title=title, caption=_CAPTION, key=key)
    axes = figure.subplots()
    line = sorted((scale * points[name][0][0], up_scale * points[name][1][0]) for name in front)
    axes.plot(*zip(*line, strict=True), color=BAR_COLOUR, linewidth=1.0, zorder=1)
    for name, (accuracy, measured) in points.items():
        place = scale * accuracy[0], up_scale * measured[0]
        across, up = _compute_errors(accuracy, scale), _compute_errors(measured, up_scale)
        zorder = 3 if name == recommended else 2
        axes.errorbar(*place, xerr=across, yerr=up, **looks[name], elinewidth=0.6, zorder=zorder)
        if name in numbers:
            colour = looks[name]["color"]
            axes.annotate(numbers[name], place, xytext=(5, 4), textcoords="offset points", color=colour)
    axes.set_xlabel("accuracy (%)" if error is None else error)
    axes.set_ylabel(heading)
    axes.grid()
    axes.set_axisbelow(True)
    # The limits ignore the intervals, which with two seeds may be wider than the range of the values.
    accuracies, scores = zip(*((scale * first[0], up_scale * up[0]) for first, up in points.values()), strict=True)
    least_room = 3.0 if error is None else 0.1 * max(accuracies) or 1.0
    axes.set_xlim(*_compute_limits(accuracies, least_room))
    axes.set_ylim(*_compute_limits(scores, least_room if measure is None else 0.1 * max(map(abs, scores)) or 1.0))
    return figure


def _choose_look(*, best: bool, on_front: bool) -> dict[str, Any]:
    """Colour and marker of a setting."""
    colour = POSITIVE_COLOUR if best else BAR_COLOUR if on_front else _BEATEN_COLOUR
    return {"color": colour, "marker": "*" if best else "o", "markersize": 9 if best else 4}


def _describe_setting(name: str, numbers: Mapping[str, str], recommended: str | None) -> str:
    """A setting's number and name in the key."""
    shown = drawable_text(name, longest=_LONGEST_SETTING)
    return " ".join(filter(None, (numbers.get(name), shown, "(recommended)" * (name == recommended))))


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
