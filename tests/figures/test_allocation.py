import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Circle

from safr.errors import InputError
from safr.figures import allocation_graph
from safr.figures.allocation import MOST_CIRCLES, MOST_LINES, find_strongest_pairs
from safr.figures.style import NEGATIVE_COLOUR, POSITIVE_COLOUR

SIZES = {"circle area: capacity", "1", "0.5", "0.1"}


def circles(figure):
    return [patch for patch in figure.axes[0].patches if isinstance(patch, Circle)]


def ends(line, figure):
    """Positions of the two words that a line joins."""
    centres = np.array([circle.center for circle in circles(figure)])
    return [int(np.hypot(*(centres - end).T).argmin()) for end in line.get_xydata()]


def test_circle_area_is_proportional_to_capacity():
    figure = allocation_graph(["a", "b"], [1.0, 0.25], np.eye(2))
    large, small = circles(figure)
    assert large.radius == pytest.approx(2 * small.radius)


def test_a_line_is_red_and_solid_for_positive_and_blue_and_dashed_for_negative_interference(sentence):
    figure = allocation_graph(sentence.words, sentence.capacity, sentence.interference)
    lines = figure.axes[0].lines
    assert len(lines) == MOST_LINES
    for line in lines:
        positive = sentence.interference[tuple(ends(line, figure))] > 0
        assert line.get_color() == (POSITIVE_COLOUR if positive else NEGATIVE_COLOUR)
        assert line.is_dashed() != positive
    assert len({line.get_color() for line in lines}) == 2


def test_red_and_blue_are_red_and_blue():
    red, blue = (tuple(bytes.fromhex(to_hex(colour)[1:])) for colour in (POSITIVE_COLOUR, NEGATIVE_COLOUR))
    assert red[0] == max(red)
    assert blue[2] == max(blue)


def test_stronger_lines_are_thicker():
    figure = allocation_graph(list("abc"), [0.5] * 3, [[9, 3, 0], [3, 9, 1], [0, 1, 9]])
    weak, strong = figure.axes[0].lines
    assert sorted(ends(strong, figure)) == [0, 1]
    assert strong.get_linewidth() > weak.get_linewidth()


def test_only_the_strongest_lines_are_drawn_and_the_caption_counts_them(sentence, caption):
    figure = allocation_graph(sentence.words, sentence.capacity, sentence.interference, most_lines=7)
    assert len(figure.axes[0].lines) == 7
    assert caption(figure) == "Lines: the 7 strongest of 120 pairs."


def test_the_strongest_pairs_come_first_and_a_pair_without_interference_never():
    assert find_strongest_pairs(np.array([[0, 0.2, 1], [0.2, 0, 0], [1, 0, 0]]), 9) == [(0, 2), (0, 1)]


def test_a_long_text_shows_its_highest_words_and_says_so(long_text, caption):
    figure = allocation_graph(long_text.words, long_text.capacity, long_text.interference)
    assert len(circles(figure)) == MOST_CIRCLES
    assert caption(figure).startswith("30 of 180 words: those with the highest capacity. Lines: the 40 strongest of")


def test_every_word_has_its_label_inside_the_axes(sentence):
    words = [word * 3 for word in sentence.words]  # long ones
    figure = allocation_graph(words, sentence.capacity, sentence.interference)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    frame = axes.get_window_extent()
    assert len(axes.texts) == len(words)
    for text in axes.texts:
        box = text.get_window_extent()
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1
        assert frame.y0 <= box.y0
        assert box.y1 <= frame.y1


def test_one_unit_is_one_point_so_that_circles_are_round_and_labels_fit(sentence):
    figure = allocation_graph(sentence.words, sentence.capacity, sentence.interference, title="Title")
    axes = figure.axes[0]
    box = axes.get_position()
    width, height = box.width * figure.get_figwidth() * 72, box.height * figure.get_figheight() * 72
    assert np.ptp(axes.get_xlim()) == pytest.approx(width)
    assert np.ptp(axes.get_ylim()) == pytest.approx(height)


@pytest.mark.parametrize("count", [1, 2])
def test_very_short_texts_are_drawn(count, caption):
    figure = allocation_graph(["word"] * count, [0.0] * count, np.zeros((count, count)))
    assert len(circles(figure)) == count
    assert caption(figure) == "No two of these words interfere."


def test_the_key_says_what_size_and_lines_mean(sentence):
    figure = allocation_graph(sentence.words, sentence.capacity, sentence.interference)
    key = {text.get_text() for text in figure.axes[1].texts}
    assert key == {*SIZES, "positive interference", "negative interference", "shorter and thicker: stronger"}


@pytest.mark.parametrize(("overlap", "lines"), [(1, "positive"), (-1, "negative")])
def test_the_key_has_no_line_of_a_colour_that_is_not_drawn(overlap, lines):
    figure = allocation_graph(["a", "b"], [0.5, 0.5], [[9, overlap], [overlap, 9]])
    key = {text.get_text() for text in figure.axes[1].texts}
    assert key == {*SIZES, f"{lines} interference", "shorter and thicker: stronger"}
    assert len(figure.axes[1].lines) == 1


def test_the_key_of_a_graph_without_lines_is_about_circles_alone():
    figure = allocation_graph(["a", "b"], [0.5, 0.5], np.eye(2))
    assert {text.get_text() for text in figure.axes[1].texts} == SIZES


def test_circles_of_the_key_have_the_size_that_they_have_in_the_graph():
    figure = allocation_graph(["a", "b"], [1.0, 0.1], np.eye(2), width="column")
    drawn, key = ([patch.radius for patch in axes.patches] for axes in figure.axes)
    assert drawn == pytest.approx([key[0], key[2]])


def test_a_column_shows_fewer_circles_and_says_so(long_text, caption):
    figure = allocation_graph(long_text.words, long_text.capacity, long_text.interference, width="column")
    assert len(circles(figure)) == 14
    assert caption(figure).startswith("14 of 180 words: those with the highest capacity.")


def test_many_large_circles_with_long_words_stay_inside_a_column():
    words, vectors = ["m" * 18] * 14, np.random.default_rng(0).normal(size=(14, 40))
    figure = allocation_graph(words, [1.0] * 14, vectors @ vectors.T, width="column")
    figure.draw_without_rendering()
    for text in figure.axes[0].texts:
        assert figure.bbox.x0 <= text.get_window_extent().x0
        assert text.get_window_extent().x1 <= figure.bbox.x1


def test_capacity_above_one_is_an_error():
    with pytest.raises(InputError, match=r"`capacity` must lie between 0 and 1, got 1\.5"):
        allocation_graph(["a", "b"], [0.5, 1.5], np.eye(2))


def test_attention_weights_in_place_of_interference_are_an_error():
    with pytest.raises(InputError, match="`interference` must be symmetric"):
        allocation_graph(["a", "b"], [0.5, 0.5], [[0.9, 0.1], [0.6, 0.4]])


def test_interference_of_another_shape_is_an_error():
    with pytest.raises(InputError, match=r"`interference` must have the shape \(2, 2\)"):
        allocation_graph(["a", "b"], [0.5, 0.5], np.eye(3))


def test_two_unknown_words_have_no_line_and_do_not_weaken_the_others(caption):
    matrix = [[9, 8, 2, 1], [8, 9, 1, 0], [2, 1, 9, 1], [1, 0, 1, 9]]
    figure = allocation_graph(list("abcd"), [0.5] * 4, matrix, unknown=(True, True, False, False))
    lines = figure.axes[0].lines
    assert {tuple(sorted(ends(line, figure))) for line in lines} == {(0, 2), (0, 3), (1, 2), (2, 3)}
    alone = allocation_graph(list("acd"), [0.5] * 3, np.array(matrix)[np.ix_([0, 2, 3], [0, 2, 3])])
    assert max(line.get_linewidth() for line in lines) == max(line.get_linewidth() for line in alone.axes[0].lines)
    assert [text.get_text() for text in figure.axes[0].texts] == ["a†", "b†", "c", "d"]
    assert [circle.get_linestyle() != "solid" for circle in circles(figure)] == [True, True, False, False]
    assert caption(figure) == (
        "Every other pair that interferes has a line. "
        "† unknown to the tokenizer: the model reads all such words as one and the same. "
        "Two such words have no line between them."
    )


def test_a_text_of_unknown_words_has_no_lines_and_says_why(caption):
    figure = allocation_graph(list("ab"), [0.5] * 2, np.ones((2, 2)), unknown=(True, True))
    assert not figure.axes[0].lines
    assert caption(figure).startswith("No other two of these words interfere. † unknown to the tokenizer")
