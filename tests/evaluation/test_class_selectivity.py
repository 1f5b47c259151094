import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from safr.errors import InputError
from safr.evaluation.class_selectivity import (
    ClassStatistics,
    class_selectivity_index,
    class_separability,
    single_class_share,
)
from safr.evaluation.monosemanticity import permutation_null
from safr.evaluation.neuron_statistics import NeuronStatistics


def random_data(rows=60, neurons=5, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, neurons)), rng.integers(0, classes, rows)


def planted_neurons(classes=4, times=100):
    """One neuron for each class, in which alone it is active."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(classes), times))
    return np.eye(classes)[labels], labels


def slow_separability(values, labels, bins=20):
    """Mutual information of a neuron's bin and the class, as a share of the class's entropy."""
    found = []
    for column in np.maximum(values, 0).T:
        edges = np.linspace(column.min(), column.max(), bins + 1)
        joint = np.stack([np.histogram(column[labels == label], edges)[0] for label in np.unique(labels)])
        joint = joint / joint.sum()
        expected = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
        there = joint > 0
        information = (joint[there] * np.log2(joint[there] / expected[there])).sum()
        classes = joint.sum(axis=1)
        found.append(information / -(classes * np.log2(classes)).sum())
    return np.array(found)


def slow_index(values, labels):
    found = []
    for column in np.maximum(values, 0).T:
        *others, largest = sorted(column[labels == label].mean() for label in np.unique(labels))
        found.append((largest - np.mean(others)) / (largest + np.mean(others)))
    return np.array(found)


def gathered(values, labels, cuts=()):
    rectified = np.maximum(values, 0)
    statistics = ClassStatistics(rectified.min(axis=0), rectified.max(axis=0))
    for start, stop in zip((0, *cuts), (*cuts, len(values)), strict=True):
        if stop > start:
            statistics.update(values[start:stop], labels[start:stop])
    return statistics


def test_class_separability_by_hand():
    # Class 0 has the bins 1, 1; class 1 has the bins 1, 2: the mix has the entropy of 3/4 and 1/4.
    values = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [4.0, 1.0]])
    mixed = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert class_separability(values, [0, 0, 1, 1], bins=2) == pytest.approx([mixed - 0.5, 0])
    # Three classes that share no bin.
    assert class_separability([[0.0], [1.0], [1.0], [2.0]], ["a", "b", "b", "c"]) == pytest.approx([1])


def test_class_selectivity_index_by_hand():
    values = np.array([[6.0, 1.0, 0.0], [0.0, 1.0, -2.0], [1.0, 1.0, 0.0], [1.0, 1.0, -1.0]])
    index = class_selectivity_index(values, [0, 0, 1, 2])  # class means 3, 1, 1
    assert index == pytest.approx([0.5, 0, np.nan], nan_ok=True)
    assert single_class_share(index) == 0.5
    assert np.isnan(single_class_share([np.nan]))


def check_against_loops():
    values, labels = random_data()
    for lift in (0, 2):  # with 2 the lowest activation is not 0 everywhere
        np.testing.assert_allclose(class_separability(values + lift, labels), slow_separability(values + lift, labels))
        np.testing.assert_allclose(class_selectivity_index(values + lift, labels), slow_index(values + lift, labels))


def test_both_measures_are_their_loops():
    check_against_loops()


def test_planted_neurons_are_told_from_neurons_that_know_nothing():
    values, labels = planted_neurons()
    # A neuron says whether it is its class: H(1/4) of the 2 bits that there are to know.
    one_of_four = -(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75)) / 2
    np.testing.assert_allclose(class_separability(values, labels), one_of_four)
    np.testing.assert_allclose(class_selectivity_index(values, labels), 1)
    assert single_class_share(class_selectivity_index(values, labels)) == 1
    values, labels = planted_neurons(classes=2)
    np.testing.assert_allclose(class_separability(values, labels), 1)
    assert permutation_null(class_separability, values, labels).excess.min() > 0.97
    values, labels = random_data(rows=400, classes=4)
    null = permutation_null(class_separability, values, labels)
    assert null.null.min() > 0.02  # what 400 rows in 20 bins give by chance
    assert abs(null.excess.mean()) < 0.01
    assert single_class_share(class_selectivity_index(values, labels)) == 0


the_shares = ClassStatistics._class_shares
the_separability = ClassStatistics.class_separability

BROKEN = {
    "shares of the classes": ("_class_shares", lambda self: np.full(len(self._rows), 1 / len(self._rows))),
    "direction": ("class_separability", lambda self: 1 - the_separability(self)),
    "normalization": (
        "class_separability",
        lambda self: the_separability(self) * -(the_shares(self) * np.log2(the_shares(self))).sum(),
    ),
    "means": ("class_selectivity_index", lambda self: index_of(np.stack(list(self._sums.values())))),
    "other classes": (
        "class_selectivity_index",
        lambda self: index_of(np.sort([self._sums[label] / self._rows[label] for label in self._rows], axis=0)[-2:]),
    ),
}


def index_of(means):
    others = (means.sum(axis=0) - means.max(axis=0)) / (len(means) - 1)
    return (means.max(axis=0) - others) / (means.max(axis=0) + others)


@pytest.mark.parametrize(("method", "broken"), BROKEN.values(), ids=BROKEN)
def test_a_broken_measure_fails_its_loop(method, broken, monkeypatch):
    monkeypatch.setattr(ClassStatistics, method, broken)
    with pytest.raises(AssertionError):
        check_against_loops()


@given(st.lists(st.integers(0, 60), max_size=6).map(sorted), st.integers(0, 99))
def test_batches_of_any_size_give_what_all_rows_at_once_give(cuts, seed):
    values, labels = random_data(seed=seed)
    whole, parts = gathered(values, labels), gathered(values, labels, cuts)
    for measure in (ClassStatistics.class_separability, ClassStatistics.class_selectivity_index):
        np.testing.assert_allclose(measure(parts), measure(whole), rtol=1e-6)


def test_the_limits_are_those_of_a_first_pass():
    values, labels = random_data()
    first = NeuronStatistics()
    for start in range(0, 60, 7):
        first.update(values[start : start + 7], labels[start : start + 7])
    second = ClassStatistics(first.lowest, first.highest)
    for start in range(0, 60, 11):
        second.update(values[start : start + 11], labels[start : start + 11])
    np.testing.assert_allclose(second.class_separability(), class_separability(values, labels))


@given(st.integers(-20, 20), st.integers(0, 99))
def test_a_positive_factor_on_a_neuron_changes_nothing(power, seed):
    values, labels = random_data(seed=seed)
    scaled = values * np.array([2.0**power, 1, 1, 1, 1])  # a power of 2 moves nothing over the edge of a bin
    for measure in (class_separability, class_selectivity_index):
        np.testing.assert_allclose(measure(scaled, labels), measure(values, labels), rtol=1e-6)


@given(st.integers(2, 30), st.integers(2, 5), st.integers(0, 2**31))
def test_both_lie_between_0_and_1(rows, classes, seed):
    values, labels = random_data(rows=rows, classes=classes, seed=seed)
    labels[:2] = 0, 1
    for shares in (class_separability(values, labels), class_selectivity_index(values, labels)):
        assert not ((shares < 0) | (shares > 1)).any()


def test_tensors_are_read_as_arrays_are():
    values, labels = random_data()
    found = class_separability(torch.from_numpy(values), torch.from_numpy(labels))
    np.testing.assert_array_equal(found, class_separability(values, labels))


VALUES = np.ones((3, 2))
WRONG_INPUTS = [
    (lambda: class_separability(VALUES, [1, 1, 1]), "texts of at least 2 classes, got 1"),
    (lambda: class_selectivity_index(VALUES, [1, 1, 1]), "texts of at least 2 classes, got 1"),
    (lambda: class_separability(VALUES[:1], [1]), "texts of at least 2 classes, got 1"),
    (lambda: class_separability(VALUES, [1, 0]), "expected 3 labels, one for each row"),
    (lambda: class_separability(VALUES * np.nan, [1, 0, 1]), "got NaN or infinity"),
    (lambda: class_separability(VALUES, [1, np.nan, 0]), r"1 of 3 labels are missing \(None or NaN\)"),
    (lambda: class_separability(VALUES, ["a", None, None]), "2 of 3 labels are missing"),
    (lambda: class_separability(VALUES, ["a", np.nan, "b"]), "1 of 3 labels are missing"),
    (lambda: class_separability(VALUES[:0], []), r"shape \(token, neuron\), got \(0, 2\)"),
    (lambda: class_separability(VALUES, [1, 0, 1], bins=1), "at least 2 bins, got 1"),
    (lambda: ClassStatistics([1.0], [0.0]), "no lowest activation above the highest"),
    (lambda: ClassStatistics([1.0, 0.0], [1.0]), "the lowest and the highest activation of each neuron"),
    (lambda: ClassStatistics([0.0], [2.0]).update(VALUES, [1, 0, 1]), "expected 1 neurons as in the limits, got 2"),
    (lambda: ClassStatistics([0.0] * 2, [0.5] * 2).update(VALUES, [1, 0, 1]), "activations between the limits"),
    (lambda: ClassStatistics([0.0] * 2, [0.5] * 2).class_separability(), "at least 2 classes, got 0"),
]


@pytest.mark.parametrize(("call", "message"), WRONG_INPUTS)
def test_what_cannot_be_measured_gets_one_line(call, message):
    with pytest.raises(InputError, match=message):
        call()
