import numpy as np
import pytest

from safr.figures.selection import capacity_of_interference, selection_note, top_positions


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
