import pytest

from safr.errors import InputError
from safr.figures import ParetoPanel, figure_to_svg, pareto_front, pareto_fronts
from safr.figures.pareto import find_pareto_optimal

POINTS = {
    "plain <a>": ((0.75, 0.73, 0.77), (0.05, 0.03, 0.07)),
    "best": ((0.74, 0.72, 0.76), (0.2, 0.18, 0.22)),
    "worse": ((0.73, 0.7, 0.76), (0.1, 0.05, 0.15)),
}


def test_points_that_another_beats_are_not_on_the_front():
    values = {name: (accuracy[0], srs[0]) for name, (accuracy, srs) in POINTS.items()}
    assert find_pareto_optimal(values) == ["plain <a>", "best"]
    assert find_pareto_optimal({"one": (1.0, 1.0), "same": (1.0, 1.0)}) == ["one", "same"]


def test_the_front_is_named_and_the_recommended_one_marked():
    figure = pareto_front(POINTS, recommended="best", title="Sweep")
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "2"]
    (key,) = figure.legends
    assert [text.get_text() for text in key.get_texts()] == ["1 plain <a>", "2 best (recommended)"]
    (line, *_) = figure.axes[0].lines
    assert line.get_xydata().tolist() == [[74.0, 20.0], [75.0, 5.0]]
    assert "plain &lt;a&gt;" in figure_to_svg(figure)


def test_of_an_error_less_is_better_and_nothing_is_in_per_cent():
    points = {
        "plain": ((0.5, 0.4, 0.6), (0.1, 0.0, 0.2)),
        "best": ((0.6, 0.5, 0.7), (0.4, 0.3, 0.5)),
        "worse": ((0.7, 0.6, 0.8), (0.3, 0.2, 0.4)),
    }
    axes = pareto_front(points, recommended="best", error="mean absolute error").axes[0]
    assert [text.get_text() for text in axes.texts] == ["1", "2"]
    assert axes.lines[0].get_xydata().tolist() == [[0.5, 0.1], [0.6, 0.4]]
    assert axes.get_xlabel() == "mean absolute error"
    assert axes.get_ylabel() == "SRS: growth of the mean absolute error"
    assert axes.get_xlim()[0] > 0.3


def test_errors_of_0_are_drawn():
    assert pareto_front({"plain": ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))}, error="mean absolute error").axes


def test_nothing_to_draw_is_refused():
    with pytest.raises(InputError, match="at least one setting"):
        pareto_front({})
    with pytest.raises(InputError, match="must be one of the settings, got 'other'"):
        pareto_front(POINTS, recommended="other")


def test_each_measure_has_a_panel_and_a_setting_the_same_number_in_all():
    accuracies = {name: (value, value, value) for name, value in (("a", 0.7), ("b", 0.7), ("c", 0.8), ("d", 0.6))}
    few = ParetoPanel("features", {"a": (0.5, 0.4, 0.6), "b": (2.0, 1.5, 2.5), "c": (3.0, 3.0, 3.0)}, "lower")
    many = ParetoPanel("SRS", {"a": (10.0, 9.0, 11.0), "b": (20.0, 20.0, 20.0), "d": (15.0, 14.0, 16.0)})
    figure = pareto_fronts(accuracies, [few, many, few, few], recommended="d")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "features ↓",
        "SRS ↑",
        "features ↓",
        "features ↓",
        "",
        "",
    ]
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes[:2]] == [["1", "3"], ["2"]]
    assert figure.axes[0].texts[0].xy == pytest.approx((70, 0.5)), "of equal accuracy, the one with fewer features"
    assert figure.axes[0].get_ylim()[1] < 10, "it is no percentage"
    assert figure.axes[1].get_xlim() == figure.axes[0].get_xlim()
    (key,) = figure.legends
    assert [text.get_text() for text in key.get_texts()] == ["1 a", "2 b", "3 c", "d (recommended)"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "accuracy (%)", "accuracy (%)", "accuracy (%)", "", ""]


def test_no_measure_is_refused():
    with pytest.raises(InputError, match="at least one measure"):
        pareto_fronts({"a": (0.7, 0.7, 0.7)}, [])
