import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error

from safr.evaluation.task_metrics import (
    ACCURACY,
    DEV_METRICS,
    LOWER_IS_BETTER,
    MAE,
    MAIN_METRICS,
    compute_dev_metrics,
    get_main_metric,
)

bits = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=12)
numbers = st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=12)


@given(bits, st.randoms(use_true_random=False))
def test_a_text_of_several_classes_is_right_where_all_of_them_are(rows, random):
    labels = np.array(rows, dtype=float)
    predictions = np.array([random.choice(rows) for _ in rows], dtype=float)
    assert ACCURACY.judge(predictions, labels).mean() == pytest.approx(accuracy_score(labels, predictions))
    one_by_one = [
        ACCURACY.judge_one(tuple(map(int, p)), tuple(map(int, t))) for p, t in zip(predictions, labels, strict=True)
    ]
    assert one_by_one == ACCURACY.judge(predictions, labels).tolist()


@given(numbers)
def test_a_number_is_judged_by_its_distance(pairs):
    labels, predictions = np.array(pairs).T
    assert MAE.judge(predictions, labels).mean() == pytest.approx(mean_absolute_error(labels, predictions))
    assert MAE.judge(np.stack([predictions] * 3), labels).shape == (3, len(labels))


def test_an_error_that_grows_and_an_accuracy_that_falls_are_both_worse():
    before, after = np.array([1.0, 0.5]), np.array([[0.5, 0.5], [0.0, 0.5]])
    assert ACCURACY.worsening(before, after).tolist() == [0.75, 0.0]
    assert MAE.worsening(before, after).tolist() == [-0.75, 0.0]


@given(numbers, st.randoms(use_true_random=False))
def test_worsening_is_paired_by_text_whatever_their_order(pairs, random):
    before, after = np.array(pairs).T
    order = list(range(len(before)))
    random.shuffle(order)
    np.testing.assert_array_equal(
        MAE.worsening(before[order], after[None, order]), MAE.worsening(before, after[None])[order]
    )


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        ((0.5, 0.251, 1.2), "0.50 [0.25, 1.20]"),
        ((12.34, 11, 15), "12.3 [11.0, 15.0]"),
        ((1234.5, 1200, 1300), "1235 [1200, 1300]"),
        ((0.0312, -0.01, 0.05), "0.031 [-0.010, 0.050]"),
        ((0.0, 0.0, 0.0), "0.00 [0.00, 0.00]"),
    ],
)
def test_an_error_is_written_with_as_many_digits_as_it_needs(estimate, text):
    assert MAE.format(dict(zip(("value", "low", "high"), estimate, strict=True))) == text
    assert MAE.format(None) == ACCURACY.format(None) == "–"


@given(bits, st.randoms(use_true_random=False))
def test_dev_metrics_of_several_classes_are_those_of_scikit_learn(rows, random):
    labels = np.array(rows, dtype=float)
    predictions = np.array([random.choice(rows) for _ in rows], dtype=float)
    metrics = compute_dev_metrics("multi_label", predictions, labels)
    assert tuple(metrics) == DEV_METRICS["multi_label"]
    for average in ("macro", "micro"):
        expected = f1_score(labels, predictions, average=average, zero_division=0)
        assert metrics[f"{average}_f1"] == pytest.approx(expected)


def test_dev_metrics_of_numbers_know_a_constant_answer():
    labels = np.array([1.0, 2.0, 3.0, 5.0])
    constant = compute_dev_metrics("regression", np.full(4, 2.5), labels)
    assert (constant["mae"], constant["spearman"]) == (1.25, 0.0)
    guess = np.array([1.1, 2.5, 2.4, 4.0])
    metrics = compute_dev_metrics("regression", guess, labels)
    assert metrics["spearman"] == pytest.approx(spearmanr(guess, labels).statistic)
    assert metrics["rmse"] == pytest.approx(np.sqrt(np.mean((guess - labels) ** 2)))


def test_dev_metrics_of_classes_count_each_class_the_same():
    metrics = compute_dev_metrics("classification", np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]))
    assert metrics == {"accuracy": 0.75, "macro_f1": pytest.approx(3 / 7), "balanced_accuracy": 0.5}


def test_every_task_is_judged_by_its_first_dev_metric():
    for task, metrics in DEV_METRICS.items():
        if task in (
            "generation",
            "token_classification",
            "question_answering",
        ):  # judged by something else than trained
            continue
        assert MAIN_METRICS[task].key == metrics[0]
        assert (MAIN_METRICS[task].better == "lower") == (metrics[0] in LOWER_IS_BETTER)
    assert get_main_metric({"accuracy": {}}) is ACCURACY  # an older run
