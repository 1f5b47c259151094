"""Training history: one small chart per loss term or score, one line per run."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from safr.errors import InputError
from safr.figures.frame import Width, make_runs_key, new_figure, resolve_width, split_rows, wrap_text
from safr.figures.inputs import LONGEST_NAME, Array, drawable_text, in_readable_units
from safr.figures.style import TEXT_SIZE, figure_style, run_line_style

_NARROWEST_CHART = 105.0  # points, with the numbers beside it
_CHART_HEIGHT = 105.0  # points, with its title and numbers
MOST_MARKED = 25  # points; more markers would hide the line

Series = tuple[ArrayLike, ArrayLike]
Runs = Mapping[str, Mapping[str, tuple[Array, Array]]]


@figure_style()
def training_history(
    history: Mapping[str, Mapping[str, Series]],
    *,
    title: str | None = None,
    x_label: str = "epoch",
    width: Width = "page",
) -> Figure:
    """Small charts, one per series such as task, importance, interaction and dev accuracy, with one line per run.

    A run that diverged has values that are not finite. They are left out of its line, and the caption counts them.

    Args:
        history: By run and by series: x and y of the same shape (point,). Runs may lack a series.
        title: Text above the charts.
        x_label: Name of the x axis.
        width: Width of the figure: of a paper's "column" or "page", or points of 1/72 inch. Letters have 8 points.

    Raises:
        InputError: There is nothing to draw, x and y differ in shape, or a width out of range.
    """
    runs = {
        run: {name: _check_points(*points, name=f"{run}: {name}") for name, points in series.items()}
        for run, series in history.items()
    }
    # The run with the most series comes first, so that a run without some terms doesn't mix the order of the charts.
    fullest_first = sorted(runs.values(), key=len, reverse=True)
    charts = list(dict.fromkeys(name for series in fullest_first for name in series))
    if not charts:
        raise InputError("`history` must hold at least one run with at least one series, got none")

    points = resolve_width(width)
    rows = split_rows(len(charts), int(points // _NARROWEST_CHART))
    columns = rows[0].stop
    figure = new_figure(
        points,
        _CHART_HEIGHT * len(rows),
        title=title,
        caption=_describe_left_out(runs),
        key=make_runs_key(runs) if len(runs) > 1 else (),
    )
    all_axes = figure.subplots(len(rows), columns, squeeze=False).ravel()
    for axes, chart in zip(all_axes, charts, strict=False):
        _draw_chart(axes, chart, runs, x_label, room=points / columns - 2 * TEXT_SIZE)
    for axes in all_axes[len(charts) :]:
        axes.set_axis_off()
    return figure


def _draw_chart(axes: Axes, chart: str, runs: Runs, x_label: str, *, room: float) -> None:
    """Draws one series of all runs that have it, in one unit, so that the runs can be compared."""
    present = {number: _keep_finite(*series[chart]) for number, series in enumerate(runs.values()) if chart in series}
    all_values, unit = in_readable_units(np.concatenate([y for _, y in present.values()]))
    ends = np.cumsum([len(y) for _, y in present.values()])[:-1]
    for (number, (x, _)), y in zip(present.items(), np.split(all_values, ends), strict=True):
        line_style = run_line_style(number)
        if len(x) > MOST_MARKED:
            line_style["marker"] = ""
        axes.plot(x, y, **line_style)
    axes.set_title(wrap_text(drawable_text(chart, longest=LONGEST_NAME) + unit, room), loc="left", fontsize=TEXT_SIZE)
    axes.set_xlabel(drawable_text(x_label, longest=LONGEST_NAME))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _check_points(x: ArrayLike, y: ArrayLike, *, name: str) -> tuple[Array, Array]:
    """The coordinates as two float arrays of shape (point,)."""
    across, up = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if across.ndim != 1 or across.shape != up.shape:
        raise InputError(f"x and y of `{name}` must be two lists of one length, got {across.shape} and {up.shape}")
    return across, up


def _keep_finite(x: Array, y: Array) -> tuple[Array, Array]:
    finite = np.isfinite(x) & np.isfinite(y)
    return x[finite], y[finite]


def _describe_left_out(runs: Runs) -> str:
    """Caption about the values that are not finite, empty if there are none."""
    missing = {
        drawable_text(run, longest=LONGEST_NAME): sum(len(x) - len(_keep_finite(x, y)[0]) for x, y in series.values())
        for run, series in runs.items()
    }
    counts = ", ".join(f"{count} in {run}" for run, count in missing.items() if count)
    return f"Values left out because they are not finite: {counts}." if counts else ""
