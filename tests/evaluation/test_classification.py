import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_recall_fscore_support

from safr.evaluation.classification import describe_classes, macro_scores, score_class_lists, score_classes
from safr.evaluation.statistics import unseen_share

NAMES = {0: "bad", 1: "good", 2: "mixed"}
answers = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=30)


@given(answers)
def test_the_scores_are_those_of_scikit_learn(pairs):
    labels, predictions = np.array(pairs).T
    scores = score_classes(labels, predictions, NAMES)
    assert scores["macro_f1"]["value"] == pytest.approx(f1_score(labels, predictions, average="macro"))
    occurring = np.unique(labels)
    recalls = [np.mean(predictions[labels == number] == number) for number in occurring]
    assert scores["balanced_accuracy"]["value"] == pytest.approx(np.mean(recalls))
    precision, recall, f1, support = precision_recall_fscore_support(labels, predictions, zero_division=0)
    rows = [[row[name] for name in ("precision", "recall", "f1", "support")] for row in scores["per_class"]]
    np.testing.assert_allclose(rows, np.stack([precision, recall, f1, support], axis=1))


@given(answers, st.randoms(use_true_random=False))
def test_many_draws_at_once_come_to_what_scikit_learn_gives_for_each(pairs, random):
    draws = [[random.choice(pairs) for _ in pairs] for _ in range(3)]
    cells = sorted(set(pairs))
    counts = np.array([[draw.count(cell) for cell in cells] for draw in draws])
    f1, accuracy = macro_scores(counts, *np.array(cells).T, classes=3)
    for draw, of_draw, balanced in zip(draws, f1, accuracy, strict=True):
        labels, predictions = np.array(draw).T
        assert of_draw == pytest.approx(f1_score(labels, predictions, average="macro"))
        recalls = [np.mean(predictions[labels == number] == number) for number in np.unique(labels)]
        assert balanced == pytest.approx(np.mean(recalls))


def test_the_interval_is_that_of_texts_drawn_with_replacement():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    predictions = np.where(rng.random(300) < 0.8, labels, 1 - labels)
    drawn = [rng.integers(0, 300, 300) for _ in range(1000)]
    values = [balanced_accuracy_score(labels[numbers], predictions[numbers]) for numbers in drawn]
    interval = score_classes(labels, predictions, NAMES)["balanced_accuracy"]
    np.testing.assert_allclose([interval["low"], interval["high"]], np.percentile(values, [2.5, 97.5]), atol=0.01)


def test_a_model_that_gives_the_largest_class_to_nearly_all_is_found_out():
    labels = np.array([1] * 90 + [0] * 10)
    predictions = np.array([1] * 99 + [0])
    scores = score_classes(labels, predictions, NAMES)
    assert scores["majority"] == {"label": "good", "share": 0.9}
    assert scores["balanced_accuracy"]["value"] == pytest.approx(0.55)
    assert "always “good” would be right in 90.0 %" in describe_classes({"classes": scores})


def test_a_class_that_neither_the_texts_nor_the_model_have_is_left_out():
    scores = score_classes(np.array([0, 2, 2]), np.array([0, 2, 2]), NAMES)
    assert [row["label"] for row in scores["per_class"]] == ["bad", "mixed"]
    assert scores["macro_f1"]["value"] == 1


def test_where_all_answers_are_right_the_interval_still_has_a_width():
    scores = score_classes(np.array([0] * 30 + [1] * 10), np.array([0] * 30 + [1] * 10), NAMES)
    least = 1 - (unseen_share(30) + unseen_share(10)) / 2
    for name in ("macro_f1", "balanced_accuracy"):
        assert scores[name] == {"value": 1.0, "low": pytest.approx(least), "high": 1.0}


def test_older_scores_have_no_sentence():
    assert describe_classes({"accuracy": {}}) == ""


lists = st.lists(st.tuples(*[st.tuples(st.integers(0, 1), st.integers(0, 1))] * 3), min_size=2, max_size=20)


@given(lists)
def test_the_scores_of_lists_of_classes_are_those_of_scikit_learn(rows):
    labels, predictions = np.array(rows, dtype=float).transpose(2, 0, 1)
    scores = score_class_lists(labels, predictions, ["a", "b", "c"])
    for average in ("macro", "micro"):
        expected = f1_score(labels, predictions, average=average, zero_division=0)
        assert scores[f"{average}_f1"]["value"] == pytest.approx(expected)
    assert [row["support"] for row in scores["per_class"]] == labels.sum(axis=0).tolist()
    assert scores["majority"]["share"] == max(np.mean((labels == row).all(axis=1)) for row in labels)


def test_the_interval_of_lists_is_that_of_texts_drawn_with_replacement():
    draw = np.random.default_rng(1)
    labels = (draw.random((60, 3)) < 0.4).astype(float)
    predictions = np.where(draw.random((60, 3)) < 0.2, 1 - labels, labels)
    chosen = draw.integers(60, size=(1000, 60))
    slow = [f1_score(labels[texts], predictions[texts], average="macro", zero_division=0) for texts in chosen]
    interval = score_class_lists(labels, predictions, ["a", "b", "c"])["macro_f1"]
    assert [interval["low"], interval["high"]] == pytest.approx(np.percentile(slow, [2.5, 97.5]), abs=0.03)


def test_texts_without_any_class_are_told_as_none():
    labels = np.array([[0.0, 0], [0, 0], [1, 0]])
    scores = {"classes": score_class_lists(labels, labels, ["a", "b"])}
    assert describe_classes(scores).endswith("always “none” would be right in 66.7 %")
