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


def bars(figure):
    return figure.axes[::3]


def maps(figure):
    return figure.axes[1::3]


def test_there_is_a_column_per_site_in_the_given_order(sentence):
    figure = sites_panel(sentence.words, sites_of(sentence))
    assert [axes.get_title(loc="left") for axes in bars(figure)] == ["fc2", "attention", "embedding"]


def test_each_column_has_a_bar_and_a_row_per_word(sentence):
    figure = sites_panel(sentence.words, sites_of(sentence))
    count = len(sentence.words)
    assert [len(axes.containers[0]) for axes in bars(figure)] == [count] * 3
    assert [axes.images[0].get_array().shape for axes in maps(figure)] == [(count, count)] * 3


def test_only_interference_has_its_diagonal_hatched(sentence):
    figure = sites_panel(sentence.words, sites_of(sentence))
    assert [len(axes.collections) for axes in maps(figure)] == [1, 0, 1]


def test_bars_stand_over_the_map_of_their_site(sentence):
    figure = sites_panel(sentence.words, sites_of(sentence))
    for above, below in zip(bars(figure), maps(figure), strict=True):
        assert above.get_position().y0 > below.get_position().y1
        assert above.get_position().x0 == pytest.approx(below.get_position().x0)
        assert above.get_position().x1 == pytest.approx(below.get_position().x1)


@pytest.mark.parametrize("matrix", [[[0.4]], [[1.0]]])
def test_one_word_is_drawn_as_what_it_is_said_to_be(matrix):
    sites = {"fc1": SitePicture([0.4], matrix), "attention": SitePicture([0.4], matrix, "attention")}
    assert [len(axes.collections) for axes in maps(sites_panel(["film"], sites))] == [1, 0]


def test_the_colour_bar_of_weights_starts_at_zero():
    figure = sites_panel(["a", "b"], {"attention": SitePicture([0.5, 0.5], [[0.9, 0.1], [0.6, 0.4]], "attention")})
    assert figure.axes[2].get_xlim() == (0, 0.9)


def test_a_long_text_shows_some_words_and_says_which(long_text, caption):
    figure = sites_panel(long_text.words, sites_of(long_text))
    assert len(bars(figure)[0].containers[0]) == MOST_WORDS
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
    assert [len([patch for patch in axes.patches if patch.get_hatch()]) for axes in maps(figure)] == [1, 0, 1]
    marked = [tick.get_text().endswith("†") for tick in figure.axes[0].get_yticklabels()]
    assert marked == list(unknown)
    assert "† unknown to the tokenizer" in caption(figure)


def test_sites_that_do_not_fit_a_column_go_on_below(sentence):
    figure = sites_panel(sentence.words, sites_of(sentence) | {"last": sites_of(sentence)["fc2"]}, width="column")
    heights = [round(axes.get_position().y0, 6) for axes in bars(figure)]
    assert heights[0] == heights[1] > heights[2] == heights[3]
    assert [bool(axes.get_yticklabels()) for axes in bars(figure)] == [True, False, True, False]


def test_the_words_of_a_column_are_so_many_that_it_is_no_higher_than_a_page(long_text, caption):
    sites = {str(number): sites_of(long_text)["fc2"] for number in range(5)}
    figure = sites_panel(long_text.words, sites, width="column")
    assert figure.get_figheight() * 72 < 700
    assert caption(figure).startswith("19 of 180 words:")


def test_colours_are_explained_only_where_they_are(caption):
    assert "blue below" not in caption(sites_panel(["a", "b"], {"fc1": SitePicture([1, 1], np.ones((2, 2)))}))
    assert "blue below" in caption(sites_panel(["a", "b"], {"fc1": SitePicture([1, 1], -np.ones((2, 2)))}))
