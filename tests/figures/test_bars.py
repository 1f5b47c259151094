import numpy as np
import pytest
from matplotlib.colors import to_hex

from safr.errors import InputError
from safr.figures import capacity_bars, score_bars
from safr.figures.bars import MOST_BARS
from safr.figures.style import AGAINST_COLOUR, BAR_COLOUR


def bars(figure):
    return figure.axes[0].containers[0]


def labels(figure):
    return [label.get_text() for label in figure.axes[0].get_xticklabels()]


def test_there_is_one_bar_per_word_in_text_order(sentence):
    figure = capacity_bars(sentence.words, sentence.capacity)
    assert [bar.get_height() for bar in bars(figure)] == pytest.approx(list(sentence.capacity))
    assert labels(figure) == sentence.words


def test_repeated_words_are_separate_bars():
    figure = capacity_bars(["so", "so", "so"], [0.1, 0.2, 0.3])
    assert len(bars(figure)) == 3
    assert labels(figure) == ["so"] * 3


def test_a_long_text_shows_its_highest_words_and_says_so(long_text, caption):
    figure = capacity_bars(long_text.words, long_text.capacity)
    assert len(bars(figure)) == MOST_BARS
    assert caption(figure) == "40 of 180 words: those with the highest capacity."
    assert labels(figure) == sorted(labels(figure), key=long_text.words.index)


def test_a_text_that_fits_has_no_caption(sentence, caption):
    assert caption(capacity_bars(sentence.words, sentence.capacity)) == ""


def test_small_values_get_a_unit_on_the_axis():
    figure = capacity_bars(["a", "b"], [2e-5, 1e-5], label="attention")
    assert figure.axes[0].get_title(loc="left") == "attention (×10⁻⁵)"


def test_all_capacities_zero_still_have_an_axis():
    figure = capacity_bars(["a", "b"], [0, 0])
    assert figure.axes[0].get_ylim() == (0, 1)


def test_one_value_too_few_is_an_error():
    with pytest.raises(InputError, match=r"`capacity` must have the shape \(2,\)"):
        capacity_bars(["a", "b"], [0.5])


def test_unknown_words_have_a_mark_and_a_hollow_bar(caption):
    figure = capacity_bars(["so", "Film", "Dull"], [0.1, 0.2, 0.3], unknown=(False, True, True))
    assert labels(figure) == ["so", "Film†", "Dull†"]
    assert [to_hex(bar.get_facecolor()) == "#ffffff" for bar in bars(figure)] == [False, True, True]
    assert all(bar.get_linewidth() > 0 for bar in bars(figure)[1:])
    assert caption(figure).startswith("† unknown to the tokenizer: the model reads all such words as one and the same.")
    assert "their bars are hollow" in caption(figure)


def test_marks_of_unknown_words_stay_with_their_words_in_a_long_text(long_text, caption):
    unknown = tuple(number % 2 == 1 for number in range(180))
    for label in labels(capacity_bars(long_text.words, long_text.capacity, unknown=unknown)):
        assert label.endswith("†") == (int(label.strip("word†")) % 2 == 1)
    hidden = tuple(bool(value == long_text.capacity.min()) for value in long_text.capacity)
    assert "†" not in caption(capacity_bars(long_text.words, long_text.capacity, unknown=hidden))


def colours(figure):
    return [to_hex(bar.get_facecolor()).upper() for bar in bars(figure)]


def test_words_that_speak_against_the_class_are_orange_hatched_and_below_the_line():
    figure = score_bars(["so", "dull", "and"], [0.4, -0.2, 0.0], "good", label="relevance")
    assert [bar.get_height() for bar in bars(figure)] == [0.4, -0.2, 0.0]
    assert colours(figure) == [BAR_COLOUR, AGAINST_COLOUR, BAR_COLOUR]
    assert [bool(bar.get_hatch()) for bar in bars(figure)] == [False, True, False]
    assert figure.axes[0].get_title(loc="left") == "relevance for “good”"
    assert [list(line.get_ydata()) for line in figure.axes[0].lines] == [[0, 0]]


def test_the_key_says_what_the_two_colours_mean_as_the_bars_show_them():
    (key,) = score_bars(["so", "dull"], [0.4, -0.2], "good").legends
    assert [text.get_text() for text in key.get_texts()] == ["speaks for “good”", "speaks against “good”"]
    above, below = key.get_patches()
    assert [to_hex(patch.get_facecolor()).upper() for patch in (above, below)] == [BAR_COLOUR, AGAINST_COLOUR]
    assert (bool(above.get_hatch()), bool(below.get_hatch())) == (False, True)
    assert capacity_bars(["so"], [0.4]).legends == []


@pytest.mark.parametrize(("score", "name"), [(0.4, "speaks for “good”"), (-0.4, "speaks against “good”")])
def test_the_key_names_only_what_is_there(score, name):
    (key,) = score_bars(["so", "and"], [score, -score / 100], "good").legends
    assert [text.get_text() for text in key.get_texts()] == [name]
    assert score_bars(["so"], [0.0], "good").legends == []


def test_words_that_do_not_fit_a_column_go_on_in_a_second_row_on_the_same_axis(sentence):
    words = sentence.words * 2
    figure = capacity_bars(words, [*sentence.capacity, *sentence.capacity / 2], width="column")
    first, second = figure.axes
    shown = [label.get_text() for axes in figure.axes for label in axes.get_xticklabels()]
    assert shown == words
    assert first.get_ylim() == second.get_ylim()
    assert first.get_xlim() == second.get_xlim()


def test_a_column_shows_as_many_words_of_a_long_text_as_two_rows_hold(long_text, caption):
    figure = capacity_bars(long_text.words, long_text.capacity, width="column")
    assert len(figure.axes) == 2
    assert caption(figure) == "38 of 180 words: those with the highest capacity."


def test_a_few_words_stand_level_and_their_bars_are_not_wider_than_is_pretty():
    figure = capacity_bars(["a", "dull", "film"], [0.1, 0.2, 0.3])
    assert {label.get_rotation() for label in figure.axes[0].get_xticklabels()} == {0}
    assert bars(figure)[0].get_width() * 453 / 3 < 30


def test_of_a_long_text_the_scores_furthest_from_0_are_shown_on_either_side(caption):
    scores = np.linspace(-1, 1, 180)
    figure = score_bars([f"word{number}" for number in range(180)], scores, "good")
    assert labels(figure) == [f"word{number}" for number in [*range(20), *range(160, 180)]]
    assert caption(figure) == "40 of 180 words: those whose scores are furthest from 0."


def test_scores_of_0_have_an_axis_on_both_sides_of_the_line():
    assert score_bars(["a", "b"], [0, 0], "good").axes[0].get_ylim() == (-1, 1)


def test_unknown_words_that_speak_against_the_class_are_hollow_and_hatched():
    figure = score_bars(["a", "Film"], [-0.1, -0.2], "good", unknown=(False, True))
    assert labels(figure) == ["a", "Film†"]
    assert colours(figure) == [AGAINST_COLOUR, "#FFFFFF"]
    assert to_hex(bars(figure)[1].get_edgecolor()).upper() == AGAINST_COLOUR
    assert all(bar.get_hatch() for bar in bars(figure))


@pytest.mark.parametrize("scores", [[0.1, np.nan], [0.1, np.inf], [0.1]])
def test_scores_that_can_not_be_drawn_are_refused(scores):
    with pytest.raises(InputError, match="`scores` must"):
        score_bars(["a", "b"], scores, "good")
