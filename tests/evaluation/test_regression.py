import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import root_mean_squared_error

from safr.evaluation.regression import describe_values, score_values

pairs = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=20)


@given(pairs)
def test_the_scores_are_those_of_scikit_learn_and_scipy(values):
    labels, predictions = np.array(values, dtype=float).T
    scores = score_values(labels, predictions)
    assert scores["rmse"]["value"] == pytest.approx(root_mean_squared_error(labels, predictions))
    if np.ptp(labels) and np.ptp(predictions):
        assert scores["spearman"]["value"] == pytest.approx(spearmanr(labels, predictions).statistic)
    else:
        assert scores["spearman"]["value"] == 0
    assert scores["constant"] == min(np.abs(labels - value).mean() for value in [*labels, np.median(labels)])
    for name in ("rmse", "spearman"):
        assert scores[name]["low"] <= scores[name]["high"]


def test_the_intervals_are_those_of_texts_drawn_with_replacement():
    draw = np.random.default_rng(3)
    labels = draw.normal(size=80)
    predictions = labels + draw.normal(size=80)
    chosen = draw.integers(80, size=(1000, 80))
    slow = [spearmanr(labels[texts], predictions[texts]).statistic for texts in chosen]
    scores = score_values(labels, predictions)
    assert [scores["spearman"][end] for end in ("low", "high")] == pytest.approx(
        np.percentile(slow, [2.5, 97.5]), abs=0.03
    )


def test_the_sentence_stands_for_regression_alone():
    assert describe_values({"accuracy": {}}) == ""
    assert "always predicting the median would be off by 1" in describe_values(
        {"values": score_values(*np.array([[1.0, 2, 4]] * 2))}
    )
