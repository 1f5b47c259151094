import numpy as np
import pytest

from safr.errors import InputError
from safr.figures.inputs import (
    LONGEST_WORD,
    NOTHING_TO_SEE,
    capacity_of_interference,
    drawable_text,
    drawable_words,
    finite_matrix,
    finite_vector,
    fractions,
    in_readable_units,
    is_symmetric,
    selection_note,
    symmetric_matrix,
    top_positions,
    unknown_mask,
    unknown_pairs,
    without_diagonal,
)


def test_a_vector_of_another_length_is_an_error_that_names_both_shapes():
    with pytest.raises(InputError, match=r"`capacity` must have the shape \(3,\).*got \(2,\)"):
        finite_vector([0.1, 0.2], 3, name="capacity")


def test_a_matrix_of_another_shape_is_an_error_that_names_both_shapes():
    with pytest.raises(InputError, match=r"`interference` must have the shape \(2, 2\).*got \(2, 3\)"):
        finite_matrix(np.zeros((2, 3)), 2, name="interference")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_an_error(value):
    with pytest.raises(InputError, match="must be finite, got NaN or infinity"):
        finite_vector([0.0, value], 2, name="capacity")


@pytest.mark.parametrize("values", [["a", "b"], [[1], [1, 2]], [None, {}]])
def test_what_is_not_a_number_is_an_error(values):
    with pytest.raises(InputError, match="must hold numbers"):
        finite_vector(values, 2, name="capacity")


def test_per_cent_in_place_of_fractions_is_an_error():
    with pytest.raises(InputError, match="between 0 and 1, got 73; give fractions, not per cent"):
        fractions([73.0], 1, name="full")


def test_rounding_beyond_one_is_cut_off():
    assert fractions([np.float32(1.000001), -1e-7], 2, name="capacity").tolist() == [1.0, 0.0]


def test_symmetry_up_to_the_rounding_of_half_precision_is_enough():
    vectors = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float16)
    product = (vectors @ vectors.T).astype(float)
    product[0, 1] *= 1.0001
    assert is_symmetric(product)
    symmetric_matrix(product, 6, name="interference")


def test_a_matrix_that_is_not_symmetric_is_an_error_that_points_to_the_panel():
    with pytest.raises(InputError, match=r"must be symmetric.*sites_panel"):
        symmetric_matrix([[1.0, 0.2], [0.7, 1.0]], 2, name="interference")


def test_taking_out_the_diagonal_leaves_the_matrix_as_it_was():
    matrix = np.ones((2, 2))
    assert without_diagonal(matrix).tolist() == [[0, 1], [1, 0]]
    assert matrix.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("size", [1e-280, 3e-5, 0.5, 900.0, 3e7, 1.7e308])
def test_readable_units_keep_ratios_and_fit_on_an_axis(size):
    values, unit = in_readable_units(np.array([size, -size / 2]))
    assert values[1] / values[0] == pytest.approx(-0.5)
    assert 1e-2 <= values[0] < 1e4
    assert (unit == "") == (1e-2 <= size < 1e4)


def test_values_too_small_for_any_unit_are_drawn_as_zero():
    values, unit = in_readable_units(np.array([5e-324, -1e-300]))
    assert (values.tolist(), unit) == ([0.0, 0.0], "")


def test_an_ordinary_word_stays_as_it_is():
    assert [drawable_text(word) for word in ("film", "$5", "naïve", "漢字", "שלום", "😀")] == [
        "film",
        "$5",
        "naïve",
        "漢字",
        "שלום",
        "😀",
    ]


def test_a_long_word_ends_in_an_ellipsis_at_the_longest_length():
    short = drawable_text("x" * 60)
    assert len(short) == LONGEST_WORD
    assert short.endswith("…")


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x7f", "\ud800", "\ufffe", "\uffff", "\ufdd0"])
def test_a_character_that_xml_forbids_is_replaced(character):
    assert drawable_text(f"a{character}b") == "a\ufffdb"


@pytest.mark.parametrize("word", ["", " ", "\n\t", "\u2003"])
def test_a_word_with_nothing_to_see_gets_a_mark(word):
    assert drawable_text(word) == NOTHING_TO_SEE


def test_line_breaks_inside_a_word_become_a_blank():
    assert drawable_text("a\r\nb\u2028c") == "a b c"


def test_repeated_words_stay_apart():
    assert drawable_words(["so", "so", "good"]) == ["so", "so", "good"]


def test_a_string_in_place_of_words_is_an_error():
    with pytest.raises(InputError, match=r"list of words, got one string; try text.split\(\)"):
        drawable_words("so good")


def test_no_words_is_an_error():
    with pytest.raises(InputError, match="at least one word, got none"):
        drawable_words([])


def test_the_highest_scores_stay_in_text_order():
    assert top_positions(np.array([0.1, 0.9, 0.2, 0.8]), 3).tolist() == [1, 2, 3]


def test_of_equal_scores_the_earlier_word_stays():
    assert top_positions(np.array([0.5, 0.5, 0.5]), 2).tolist() == [0, 1]


def test_fewer_words_than_the_limit_all_stay():
    assert top_positions(np.array([0.5, 0.1]), 40).tolist() == [0, 1]


def test_capacity_of_orthogonal_words_is_one_and_of_four_equal_words_a_quarter():
    assert capacity_of_interference(7 * np.eye(3)).tolist() == [1, 1, 1]
    assert capacity_of_interference(np.full((4, 4), 2.0)).tolist() == [0.25] * 4


def test_capacity_agrees_with_a_slow_loop(sentence):
    norms = sentence.interference
    slow = [norms[i, i] ** 2 / sum(norms[i, j] ** 2 for j in range(len(norms))) for i in range(len(norms))]
    assert capacity_of_interference(norms) == pytest.approx(slow)


@pytest.mark.parametrize("value", [0.0, 1e308, 5e-324])
def test_capacity_of_extreme_values_stays_in_its_range(value):
    capacity = capacity_of_interference(np.full((2, 2), value))
    assert ((capacity >= 0) & (capacity <= 1)).all()


def test_the_note_is_silent_when_all_words_are_shown():
    assert selection_note(3, 3, "those with the highest capacity") == ""


def test_pairs_of_unknown_words_leave_the_diagonal_out():
    assert unknown_pairs(np.array([True, False, True])).tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_unknown_words_of_another_number_are_an_error():
    assert not unknown_mask((), 2).any()
    with pytest.raises(InputError, match="`unknown` must hold one value for each of 2 words, got 3"):
        unknown_mask((True, False, True), 2)
