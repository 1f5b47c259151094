"""Pareto fronts: settings by two values, with a line through those that no other setting beats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from safr.errors import InputError
from safr.figures.frame import Key, Width, new_figure, resolve_width, wrap_text
from safr.figures.inputs import drawable_text
from safr.figures.style import BAR_COLOUR, POSITIVE_COLOUR, TEXT_SIZE, figure_style

_CAPTION = (
    "Each point is a setting, with its intervals, which may be cut off. The line joins the numbered ones, which no "
    "other beats in both values."
)
_PANELS_CAPTION = (
    "Each point is a setting. The line joins the numbered ones, which no other beats in both values, and which alone "
    "have their intervals, which may be cut off. An arrow says which way is better."
)
_TALLEST = 250.0  # points of the axes with their numbers
_PANEL_WIDTH, _PANEL_HEIGHT = 150.0, 125.0  # points, with numbers and heading
_NUMBERS_ROOM = 25.0  # points left of the axes of a panel
_LONGEST_SETTING = 120  # characters
_BEATEN_COLOUR = "#888888"

Interval = tuple[float, float, float]
"""A value, the lower and the upper end of its interval, as fractions; of an error in its own unit."""

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class ParetoPanel:
    """A measure that settings are compared by beside their accuracy."""

    heading: str
    values: Mapping[str, Interval]
    """By name of the setting, in the unit that is drawn; a setting may be missing."""
    better: Better = "higher"


@figure_style()
def pareto_front(
    points: Mapping[str, tuple[Interval, Interval]],
    *,
    recommended: str | None = None,
    title: str | None = None,
    error: str | None = None,
    width: Width = "page",
) -> Figure:
    """Accuracy against SRS of several settings.

    Those that no other beats have numbers, and the key gives their names, however long these are.

    Args:
        points: Accuracy and SRS by name of the setting.
        recommended: Name of the setting that is marked.
        title: Text above the figure.
        error: Name of the error that stands in the place of accuracy, of which less is better. SRS is its growth.
        width: Width of the figure: of a paper's "column" or "page", or points of 1/72 inch. Letters have 8 points.

    Raises:
        InputError: There is no setting, `recommended` is not one of them, or a width out of range.
    """
    _check_settings(points, recommended)
    scale = 100 if error is None else 1
    drawn = {name: (_rescale(first, scale), _rescale(srs, scale)) for name, (first, srs) in points.items()}
    front = _find_front(drawn, "higher" if error is None else "lower", "higher")
    numbers = _number([name for name in points if name in front])
    size = resolve_width(width)
    key = _make_key(points, numbers, recommended)
    figure = new_figure(size, min(0.8 * size, _TALLEST), title=title, caption=_CAPTION, key=key)
    axes = figure.subplots()
    _draw_points(axes, drawn, front, numbers, recommended)
    for name, (across, up) in drawn.items():
        _draw_interval(axes, across, up, _choose_colour(best=name == recommended, on_front=name in front))
    axes.set_xlabel("accuracy (%)" if error is None else error)
    axes.set_ylabel("SRS (points)" if error is None else f"SRS: growth of the {error}")
    # The limits ignore the intervals, which with two seeds may be wider than the range of the values.
    accuracies, scores = ([values[axis][0] for values in drawn.values()] for axis in (0, 1))
    least_room = 3.0 if error is None else 0.1 * max(accuracies) or 1.0
    axes.set_xlim(*_compute_limits(accuracies, least_room))
    axes.set_ylim(*_compute_limits(scores, least_room))
    return figure


@figure_style()
def pareto_fronts(
    accuracies: Mapping[str, Interval],
    panels: Sequence[ParetoPanel],
    *,
    recommended: str | None = None,
    title: str | None = None,
    width: Width = "page",
) -> Figure:
    """Accuracy against several measures, a panel for each, of the same settings.

    A setting that no other beats in some panel has one number in all of them, and the key gives its name.

    Args:
        accuracies: Accuracy by name of the setting.
        panels: The measures.
        recommended: Name of the setting that is marked.
        title: Text above the figure.
        width: Width of the figure: of a paper's "column" or "page", or points of 1/72 inch. Letters have 8 points.

    Raises:
        InputError: There is no setting or no measure, `recommended` is no setting, or a width out of range.
    """
    _check_settings(accuracies, recommended)
    if not panels:
        raise InputError("`panels` must hold at least one measure, got none")
    drawn = [
        {name: (_rescale(accuracies[name], 100), panel.values[name]) for name in accuracies if name in panel.values}
        for panel in panels
    ]
    fronts = [_find_front(points, "higher", panel.better) for points, panel in zip(drawn, panels, strict=True)]
    numbers = _number([name for name in accuracies if any(name in front for front in fronts)])
    size = resolve_width(width)
    columns = min(max(int(size // _PANEL_WIDTH), 1), len(panels))
    rows = -(-len(panels) // columns)
    key = _make_key(accuracies, numbers, recommended)
    figure = new_figure(size, rows * _PANEL_HEIGHT, title=title, caption=_PANELS_CAPTION, key=key)
    all_axes = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axes, panel, points, front in zip(all_axes, panels, drawn, fronts, strict=False):
        _draw_points(axes, points, front, numbers, recommended)
        for name in front:
            _draw_interval(axes, *points[name], _choose_colour(best=name == recommended, on_front=True))
        heading = f"{panel.heading}\u00a0{'↑' if panel.better == 'higher' else '↓'}"  # no arrow stands alone
        heading = wrap_text(heading, size / columns - _NUMBERS_ROOM).replace("\u00a0", " ")
        axes.set_title(heading, loc="left", fontsize=TEXT_SIZE)
        up = [values[1][0] for values in points.values()]
        axes.set_ylim(*_compute_limits(up, 0.1 * max(map(abs, up), default=0.0) or 1.0))
    all_axes[0].set_xlim(*_compute_limits([100 * accuracy[0] for accuracy in accuracies.values()], 3.0))
    for axes in all_axes[len(panels) :]:
        axes.set_axis_off()
    for axes in all_axes[max(len(panels) - columns, 0) : len(panels)]:
        axes.set_xlabel("accuracy (%)")
        axes.tick_params(axis="x", labelbottom=True)
    return figure


def _check_settings(settings: Mapping[str, Any], recommended: str | None) -> None:
    if not settings:
        raise InputError("expected at least one setting to draw, got none")
    if recommended is not None and recommended not in settings:
        raise InputError(f"`recommended` must be one of the settings, got {recommended!r}")


def _find_front(points: Mapping[str, tuple[Interval, Interval]], across: Better, up: Better) -> list[str]:
    """Names of the settings on the front, from left to right."""
    signs = [1 if better == "higher" else -1 for better in (across, up)]
    found = find_pareto_optimal({name: (signs[0] * x[0], signs[1] * y[0]) for name, (x, y) in points.items()})
    return sorted(found, key=lambda name: (points[name][0][0], points[name][1][0]))


def _number(names: Sequence[str]) -> dict[str, str]:
    return {name: str(number) for number, name in enumerate(names, start=1)}


def _make_key(settings: Mapping[str, Any], numbers: Mapping[str, str], recommended: str | None) -> Key:
    """The settings that have a number, and the one that is recommended."""
    return [
        (
            _describe_setting(name, numbers, recommended),
            Line2D([], [], linestyle="", **_choose_look(best=name == recommended, on_front=name in numbers)),
        )
        for name in settings
        if name in numbers or name == recommended
    ]


def _draw_points(
    axes: Axes,
    points: Mapping[str, tuple[Interval, Interval]],
    front: Sequence[str],
    numbers: Mapping[str, str],
    recommended: str | None,
) -> None:
    """The settings, the line through the front and the numbers on it, and a grid behind them."""
    line = [(points[name][0][0], points[name][1][0]) for name in front]
    axes.plot(*zip(*line, strict=True), color=BAR_COLOUR, linewidth=1.0, zorder=1)
    for name, (across, up) in points.items():
        look = _choose_look(best=name == recommended, on_front=name in front)
        place = across[0], up[0]
        axes.plot(*place, linestyle="", zorder=3 if name == recommended else 2, **look)
        if name in front:
            axes.annotate(numbers[name], place, xytext=(5, 4), textcoords="offset points", color=look["color"])
    axes.grid()
    axes.set_axisbelow(True)


def _draw_interval(axes: Axes, across: Interval, up: Interval, colour: str) -> None:
    place, errors = (across[0], up[0]), (_compute_errors(across), _compute_errors(up))
    axes.errorbar(*place, xerr=errors[0], yerr=errors[1], fmt="none", ecolor=colour, elinewidth=0.6, zorder=1)


def _choose_colour(*, best: bool, on_front: bool) -> str:
    return POSITIVE_COLOUR if best else BAR_COLOUR if on_front else _BEATEN_COLOUR


def _choose_look(*, best: bool, on_front: bool) -> dict[str, Any]:
    """Colour and marker of a setting."""
    colour = _choose_colour(best=best, on_front=on_front)
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


def _compute_errors(interval: Interval) -> list[list[float]]:
    """Lengths of an interval below and above its value."""
    value, low, high = interval
    return [[max(value - low, 0)], [max(high - value, 0)]]


def _rescale(interval: Interval, scale: float) -> Interval:
    value, low, high = interval
    return scale * value, scale * low, scale * high
