import numpy as np
import pytest

from safr.errors import InputError
from safr.figures import SitePicture, sites_panel
from safr.figures.sites import MOST_WORDS


def attention(count, seed=0):
    weights = np.random.default_rng(seed).random((count, count))
    return weights / weights.sum(axis=1, keepdims=True)


def sites_of(text):
    weights = attention(len(text.words))
    return {
        "fc2": SitePicture(text.capacity, text.interference),
        "attention": SitePicture(weights.sum(axis=0), weights, "attention"),
        "embedding": SitePicture(text.capacity, text.interference),
    }


def test_there_is_a_column_per_site_in_the_given_order(sentence):
    figure = sites_panel(sentence.words, sites_of(sentence))
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == ["fc2", "attention", "embedding"]


def test_each_column_has_a_bar_and_a_row_per_word(sentence):
    figure = sites_panel(sentence.words, sites_of(sentence))
    count = len(sentence.words)
    assert [len(axes.containers[0]) for axes in figure.axes[:3]] == [count] * 3
    assert [axes.images[0].get_array().shape for axes in figure.axes[3:6]] == [(count, count)] * 3


def test_only_interference_has_its_diagonal_hatched(sentence):
    figure = sites_panel(sentence.words, sites_of(sentence))
    assert [len(axes.collections) for axes in figure.axes[3:6]] == [1, 0, 1]


def test_bars_stand_over_their_columns_of_the_map(sentence):
    figure = sites_panel(sentence.words, sites_of(sentence))
    figure.draw_without_rendering()
    for above, below in zip(figure.axes[:3], figure.axes[3:6], strict=True):
        assert above.get_xlim() == below.get_xlim()
        assert above.get_position().x0 == pytest.approx(below.get_position().x0)
        assert above.get_position().x1 == pytest.approx(below.get_position().x1)


@pytest.mark.parametrize("matrix", [[[0.4]], [[1.0]]])
def test_one_word_is_drawn_as_what_it_is_said_to_be(matrix):
    sites = {"fc1": SitePicture([0.4], matrix), "attention": SitePicture([0.4], matrix, "attention")}
    below = sites_panel(["film"], sites).figure.axes[2:4]
    assert [len(axes.collections) for axes in below] == [1, 0]


def test_the_colour_bar_of_weights_starts_at_zero():
    figure = sites_panel(["a", "b"], {"attention": SitePicture([0.5, 0.5], [[0.9, 0.1], [0.6, 0.4]], "attention")})
    assert figure.axes[2].get_xlim() == (0, 0.9)


def test_a_long_text_shows_some_words_and_says_which(long_text, caption):
    figure = sites_panel(long_text.words, sites_of(long_text))
    assert len(figure.axes[0].containers[0]) == MOST_WORDS
    assert caption(figure).startswith("30 of 180 words: those with the highest bars, averaged over the sites.")


@pytest.mark.parametrize("count", [0, 13])
def test_too_few_or_too_many_sites_are_an_error(count):
    with pytest.raises(InputError, match=f"1 to 12 sites, got {count}"):
        sites_panel(["a"], {f"site {number}": SitePicture([1.0], [[1.0]]) for number in range(count)})


def test_an_error_names_the_site():
    with pytest.raises(InputError, match="`the matrix of fc1` must have the shape"):
        sites_panel(["a", "b"], {"fc1": SitePicture([1.0, 1.0], np.eye(3))})
    with pytest.raises(InputError, match="`the bars of fc1` must be finite"):
        sites_panel(["a", "b"], {"fc1": SitePicture([1.0, np.nan], np.eye(2))})


def test_unknown_words_are_marked_and_their_pairs_dotted_where_interference_is(sentence, caption):
    unknown = tuple(number < 3 for number in range(len(sentence.words)))
    figure = sites_panel(sentence.words, sites_of(sentence), unknown=unknown)
    assert [len([patch for patch in axes.patches if patch.get_hatch()]) for axes in figure.axes[3:6]] == [1, 0, 1]
    marked = [tick.get_text().endswith("†") for tick in figure.axes[0].get_xticklabels()]
    assert marked == list(unknown)
    assert "† unknown to the tokenizer" in caption(figure)
