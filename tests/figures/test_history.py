import numpy as np
import pytest

from safr.errors import InputError
from safr.figures import training_history

EPOCHS = [1, 2, 3]
SERIES = ("task", "importance", "interaction", "dev accuracy")


def run(scale=1.0):
    return {name: (EPOCHS, [scale, scale / 2, scale / 3]) for name in SERIES}


def charts(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_title(loc="left")}


def test_each_series_has_a_chart_and_each_run_a_line():
    figure = training_history({"baseline": run(), "SAFR": run(2.0)})
    assert list(charts(figure)) == list(SERIES)
    assert all(len(axes.lines) == 2 for axes in charts(figure).values())


def test_a_run_without_a_series_keeps_its_colour_and_the_order_of_the_charts():
    baseline = {"task": (EPOCHS, [3, 2, 1]), "dev accuracy": (EPOCHS, [0.5, 0.6, 0.7])}
    figure = training_history({"baseline": baseline, "SAFR": run()})
    assert list(charts(figure)) == list(SERIES)
    (only,) = charts(figure)["importance"].lines
    assert only.get_color() == charts(figure)["task"].lines[1].get_color()


def test_one_run_needs_no_legend():
    assert training_history({"SAFR": run()}).legends == []


def test_values_that_are_not_finite_are_left_out_and_counted(caption):
    figure = training_history({"SAFR": {"task": (EPOCHS, [1.0, np.nan, np.inf])}})
    assert charts(figure)["task"].lines[0].get_xydata().tolist() == [[1, 1]]
    assert caption(figure) == "Values left out because they are not finite: 2 in SAFR."


def test_a_run_without_any_finite_value_is_drawn(caption):
    figure = training_history({"SAFR": {"task": ([1], [np.nan])}})
    figure.draw_without_rendering()
    assert "1 in SAFR" in caption(figure)


def test_long_lines_have_no_markers():
    figure = training_history({"SAFR": {"task": (np.arange(500), np.arange(500))}})
    assert figure.axes[0].lines[0].get_marker() == ""


def test_all_runs_of_a_chart_share_one_unit():
    figure = training_history({"a": {"task": ([1], [3e6])}, "b": {"task": ([1], [1.0])}})
    axes = charts(figure)["task (×10⁶)"]
    assert [line.get_ydata()[0] for line in axes.lines] == pytest.approx([3, 1e-6])


def test_x_and_y_of_different_lengths_are_an_error_that_names_the_series():
    with pytest.raises(InputError, match=r"`SAFR: task` must be two lists of one length, got \(2,\) and \(3,\)"):
        training_history({"SAFR": {"task": ([1, 2], [1, 2, 3])}})


@pytest.mark.parametrize("history", [{}, {"SAFR": {}}])
def test_nothing_to_draw_is_an_error(history):
    with pytest.raises(InputError, match="at least one run with at least one series"):
        training_history(history)
