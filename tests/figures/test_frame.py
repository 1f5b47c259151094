from itertools import combinations

import numpy as np
import pytest
from matplotlib.text import Text as Label

from safr.errors import InputError
from safr.figures import (
    DeletionCurve,
    ParetoPanel,
    SitePicture,
    allocation_graph,
    capacity_bars,
    deletion_curves,
    interference_heatmap,
    pareto_front,
    pareto_fronts,
    score_bars,
    sites_panel,
    training_history,
)
from safr.figures.frame import WIDTHS, new_figure, resolve_width, text_width, wrap_text
from safr.figures.style import TEXT_SIZE

TITLE = "Capacity at FC1, after the activation, predicted negative (98.3 %)"
NAMES = ("baseline", "importance=0.1,interaction=10", "a name that is cut because it is so long")


def draw_sites(text, **options):
    site = SitePicture(text.capacity, 1e5 * text.interference)
    return sites_panel(text.words, dict.fromkeys(("embedding", "VMASK", "attention", "FC1", "FC2"), site), **options)


def draw_curves(text, **options):
    curve = DeletionCurve([10, 50], *[[0.7, 0.5]] * 6, full=0.8)
    return deletion_curves(dict.fromkeys(NAMES, curve), **options)


def draw_history(text, **options):
    series = {name: ([1, 2, 3], [2e-5, 3e-5, 1e-5]) for name in ("task", "importance", "interaction", "dev accuracy")}
    return training_history(dict.fromkeys(NAMES, series), **options)


def draw_front(text, **options):
    points = {name: ((0.7 - n / 9, 0.6, 0.8), (n / 9, 0.0, 0.5)) for n, name in enumerate(NAMES)}
    return pareto_front(points, recommended=NAMES[1], **options)


def draw_fronts(text, **options):
    accuracies = {name: (0.7 - n / 9, 0.6, 0.8) for n, name in enumerate(NAMES)}
    values = {name: (n / 9, 0.0, 0.5) for n, name in enumerate(NAMES)}
    panels = [ParetoPanel("SRS by relevance, test", values), ParetoPanel("features per neuron", values, "lower")] * 2
    return pareto_fronts(accuracies, panels, recommended=NAMES[1], **options)


FIGURES = {
    "bars": lambda text, **options: capacity_bars(text.words, text.capacity, **options),
    "scores": lambda text, **options: score_bars(text.words, text.interference[0], "a class of a name", **options),
    "graph": lambda text, **options: allocation_graph(text.words, text.capacity, text.interference, **options),
    "heatmap": lambda text, **options: interference_heatmap(text.words, text.interference, **options),
    "sites": draw_sites,
    "curves": draw_curves,
    "history": draw_history,
    "front": draw_front,
    "fronts": draw_fronts,
}


@pytest.mark.parametrize("width", ["column", "page"])
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_the_width_asked_for_and_all_its_letters_legible_inside_it(name, width, sentence):
    figure = FIGURES[name](sentence, title=TITLE, width=width)
    figure.draw_without_rendering()
    assert 72 * figure.get_figwidth() == pytest.approx(WIDTHS[width])
    labels = list_shown(figure)
    assert min(label.get_fontsize() for label in labels) >= TEXT_SIZE
    boxes = [label.get_window_extent() for label in labels]
    assert all(box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1 for box in boxes)
    assert all(box.y0 >= -1 and box.y1 <= figure.bbox.y1 + 1 for box in boxes)
    if name != "graph":  # whose words may touch where they crowd
        crossing = [(one, other) for one, other in combinations(boxes, 2) if overlap(one, other) > 2]
        assert crossing == []


def list_shown(figure):
    """The labels of a figure, without the numbers beyond an axis's ends, which matplotlib keeps and doesn't draw."""
    hidden = set()
    for axes in figure.axes:
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            hidden |= {tick.label1 for tick in axis.get_major_ticks() if not is_inside(tick.get_loc(), limits)}
    labels = [label for label in figure.findobj(Label) if label.get_visible() and label.get_text()]
    return [label for label in labels if label not in hidden]


def is_inside(place, limits):
    return min(limits) <= place <= max(limits)


def overlap(one, other):
    """Shorter side of what two boxes share, in pixels."""
    return min(min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0))


@pytest.mark.parametrize("width", [3.5, 0, -200, np.nan, 1e6, True])
def test_a_width_that_is_none_is_an_error_that_says_what_is(width):
    with pytest.raises(InputError, match=r'`width` must be "column", "page" or 150 to 2000 points, got'):
        resolve_width(width)


def test_a_long_title_is_wrapped_and_makes_the_figure_higher():
    one, many = (new_figure(288, 144, title=title, caption="") for title in ("short", "a long title " * 20))
    assert many.get_figheight() > one.get_figheight()


def test_wrapped_lines_fit_the_width():
    for text in ("of narrow letters " * 20, "WIDE LETTERS " * 20, "漢字 " * 60):
        assert all(text_width(line) <= 288 for line in wrap_text(text, 288).split("\n"))


def test_dollar_signs_are_measured_as_text():
    assert text_width("$x$") > text_width("x")
