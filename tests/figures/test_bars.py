import pytest
from matplotlib.colors import to_hex

from safr.errors import InputError
from safr.figures import capacity_bars
from safr.figures.bars import MOST_BARS


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
    assert figure.axes[0].get_ylabel() == "attention (×10⁻⁵)"


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
    assert "hollow bars" in caption(figure)


def test_marks_of_unknown_words_stay_with_their_words_in_a_long_text(long_text, caption):
    unknown = tuple(number % 2 == 1 for number in range(180))
    for label in labels(capacity_bars(long_text.words, long_text.capacity, unknown=unknown)):
        assert label.endswith("†") == (int(label.strip("word†")) % 2 == 1)
    hidden = tuple(bool(value == long_text.capacity.min()) for value in long_text.capacity)
    assert "†" not in caption(capacity_bars(long_text.words, long_text.capacity, unknown=hidden))
