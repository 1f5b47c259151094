import numpy as np
import pytest

from safr.errors import InputError
from safr.figures import DeletionCurve, deletion_curves


def curve(**changes):
    fields = {
        "percent": [10, 30, 50],
        "deleted": [0.7, 0.6, 0.5],
        "random": [0.72, 0.7, 0.66],
        "random_low": [0.71, 0.69, 0.64],
        "random_high": [0.73, 0.71, 0.67],
        "low": [0.68, 0.58, 0.48],
        "high": [0.72, 0.62, 0.52],
        "full": 0.73,
    }
    return DeletionCurve(**(fields | changes))


def test_both_lines_start_at_the_full_accuracy():
    axes = deletion_curves({"SAFR": curve()}).axes[0]
    random, deleted = axes.lines
    assert random.get_xydata().tolist() == pytest.approx(np.array([[0, 73], [10, 72], [30, 70], [50, 66]]))
    assert deleted.get_xydata().tolist() == pytest.approx(np.array([[0, 73], [10, 70], [30, 60], [50, 50]]))


def test_random_deletion_is_dotted_in_the_colour_of_its_run_and_has_a_band():
    axes = deletion_curves({"SAFR": curve(), "baseline": curve()}).axes[0]
    for random, deleted in zip(axes.lines[::2], axes.lines[1::2], strict=True):
        assert random.get_linestyle() == ":"
        assert deleted.get_linestyle() == "-"
        assert random.get_color() == deleted.get_color()
    assert len(axes.collections) == 4  # a band and the intervals for each run


def test_runs_differ_in_colour_and_marker():
    lines = deletion_curves({f"run {number}": curve() for number in range(5)}).axes[0].lines[1::2]
    assert len({line.get_color() for line in lines}) == 5
    assert len({line.get_marker() for line in lines}) == 5


def test_intervals_of_several_runs_stand_beside_each_other():
    axes = deletion_curves({"SAFR": curve(), "baseline": curve()}).axes[0]
    one, other = (line.get_xdata() for line in axes.lines[1::2])
    assert one[0] == other[0] == 0
    assert (one[1:] < other[1:]).all()


@pytest.mark.parametrize("name", ["SAFR", "_hidden", "$\\lambda$", "", "漢字", "a very long name " * 9])
def test_the_legend_names_every_run(name):
    figure = deletion_curves({name: curve(), "baseline": curve()})
    figure.draw_without_rendering()
    assert len(figure.legends[0].get_texts()) == 2


def test_more_runs_than_colours_are_drawn():
    figure = deletion_curves({f"run {number}": curve() for number in range(20)})
    figure.draw_without_rendering()
    assert len(figure.legends[0].get_texts()) == 20


@pytest.mark.parametrize("percent", [[0, 10, 20], [10, 10, 20], [30, 20, 10], [10, 20, 101], []])
def test_percent_must_increase_from_above_zero(percent):
    with pytest.raises(InputError, match="`percent` must increase from above 0 to at most 100"):
        curve(percent=percent)


def test_one_accuracy_too_few_is_an_error_that_names_the_field():
    with pytest.raises(InputError, match=r"`random_low` must have the shape \(3,\)"):
        curve(random_low=[0.5, 0.5])


def test_accuracy_in_per_cent_is_an_error():
    with pytest.raises(InputError, match="`full` must lie between 0 and 1, got 73"):
        curve(full=73)


def test_no_run_is_an_error():
    with pytest.raises(InputError, match="at least one run"):
        deletion_curves({})
