import numpy as np
import pytest
from matplotlib.collections import PatchCollection
from matplotlib.patches import PathPatch

from safr.errors import InputError
from safr.figures import interference_heatmap
from safr.figures.heatmap import MOST_MAPPED


def dashes(axes):
    """Row and column of each cell that is marked as negative."""
    points = np.concatenate([line.get_xydata().reshape(-1, 3, 2)[:, :2] for line in axes.lines])
    return {(int(down), int(across)) for across, down in points.mean(axis=1)}


def test_cells_hold_the_interference_and_words_stand_on_both_axes(sentence):
    axes = interference_heatmap(sentence.words, sentence.interference).axes[0]
    cells, off = np.asarray(axes.images[0].get_array()), ~np.eye(len(sentence.words), dtype=bool)
    assert cells[off] == pytest.approx(sentence.interference[off])
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [tick.get_text() for tick in ticks] == sentence.words


def test_the_colour_scale_is_centred_on_zero_and_ignores_the_diagonal():
    axes = interference_heatmap(list("abc"), [[900, 1, 2], [1, 800, -3], [2, -3, 700]]).axes[0]
    assert axes.images[0].get_clim() == (-3, 3)


def test_the_diagonal_is_hatched_and_the_caption_says_why(sentence, caption):
    figure = interference_heatmap(sentence.words, sentence.interference)
    (hatched,) = (item for item in figure.axes[0].collections if isinstance(item, PatchCollection))
    assert len(hatched.get_paths()) == len(sentence.words)
    assert hatched.get_hatch()
    assert "squared norm, which is off the colour scale" in caption(figure)


def test_negative_cells_are_told_apart_without_colour():
    axes = interference_heatmap(list("abc"), [[9, 5, -5], [5, 9, -0.1], [-5, -0.1, 9]]).axes[0]
    assert dashes(axes) == {(0, 2), (2, 0)}  # -0.1 is too near to zero to see


def test_the_caption_explains_dashes_only_where_there_are_some(caption):
    assert "Dashes mark" not in caption(interference_heatmap(list("ab"), [[9, 5], [5, 9]]))
    assert "Dashes mark" in caption(interference_heatmap(list("ab"), [[9, -5], [-5, 9]]))


def test_a_column_holds_the_words_of_highest_capacity_that_fit(long_text, caption):
    figure = interference_heatmap(long_text.words, long_text.interference, width="column")
    assert caption(figure).startswith("16 of 180 words: those with the highest capacity.")
    assert len(figure.axes[0].get_yticklabels()) == 16


def test_a_long_text_shows_the_words_of_highest_capacity_and_says_so(long_text, caption):
    figure = interference_heatmap(long_text.words, long_text.interference, width=500)
    assert figure.axes[0].images[0].get_array().shape == (MOST_MAPPED, MOST_MAPPED)
    assert caption(figure).startswith("40 of 180 words: those with the highest capacity.")
    kept = set(np.argsort(-long_text.capacity)[:MOST_MAPPED])
    shown = {long_text.words.index(tick.get_text()) for tick in figure.axes[0].get_xticklabels()}
    assert shown == kept


@pytest.mark.parametrize("matrix", [[[0.0]], [[5.0]], np.zeros((2, 2)), np.eye(2)])
def test_a_text_without_interference_is_drawn(matrix):
    figure = interference_heatmap(["a"] * len(matrix), matrix)
    figure.draw_without_rendering()


def test_large_values_get_a_unit_on_the_colour_bar():
    figure = interference_heatmap(["a", "b"], [[9e9, 4e7], [4e7, 9e9]])
    assert figure.axes[1].get_xlabel() == "interference hᵢ·hⱼ (×10⁷)"


def test_not_a_number_is_an_error():
    with pytest.raises(InputError, match="`interference` must be finite"):
        interference_heatmap(["a", "b"], [[1, np.nan], [np.nan, 1]])


def test_pairs_of_unknown_words_are_dotted_and_off_the_colour_scale(caption):
    matrix = [[900, 1, 500], [1, 800, -3], [500, -3, 700]]
    figure = interference_heatmap(list("abc"), matrix, unknown=(True, False, True))
    axes = figure.axes[0]
    assert axes.images[0].get_clim() == (-3, 3)
    (dotted,) = (patch for patch in axes.patches if isinstance(patch, PathPatch))
    assert dotted.get_hatch()
    assert dotted.get_path().get_extents().bounds == (-0.5, -0.5, 3, 3)  # from (0, 2) to (2, 0)
    assert len(dotted.get_path().vertices) == 2 * 5
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a†", "b", "c†"]
    assert "Cells of two such words are dotted" in caption(figure)


def test_a_single_unknown_word_has_a_mark_and_all_its_cells_have_colours(caption):
    figure = interference_heatmap(list("ab"), [[9, 5], [5, 9]], unknown=(True, False))
    assert not [patch for patch in figure.axes[0].patches if isinstance(patch, PathPatch)]
    assert "† unknown to the tokenizer" in caption(figure)
    assert "dotted" not in caption(figure)
