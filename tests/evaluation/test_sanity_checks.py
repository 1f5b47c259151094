"""Scores and losses that fool a metric are told from those that do not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from safr.attribution.registry import get_method
from safr.attribution.words import random_scores
from safr.config import Regularization
from safr.data.encoding import encode
from safr.evaluation.sanity_checks import CONFOUND_THRESHOLD, confound_correlations, shuffle_weights
from safr.evaluation.statistics import rank_correlations
from tests import tiny

TEXTS = encode(tiny.tokenizer(), [text for text, _ in tiny.sentences(120, 3, longest=9)])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=9))
def test_rank_correlation_is_scipys(pairs):
    one, other = np.array(pairs, dtype=float).T
    (found,) = rank_correlations([one], [other])
    constant = len(set(one)) == 1 or len(set(other)) == 1
    assert found == pytest.approx(0.0 if constant else spearmanr(one, other).statistic, abs=1e-9)


def test_scores_that_follow_length_or_place_alone_are_noticed():
    long = [np.array([len(word) for word in text.words], dtype=float) for text in TEXTS]
    late = [np.arange(len(text.words), dtype=float) for text in TEXTS]
    for scores, metric, other in ((long, "length", "position"), (late, "position", "length")):
        found = confound_correlations(TEXTS, scores)
        assert np.nanmean(found[metric]) > 0.9
        assert abs(np.nanmean(found[other])) < CONFOUND_THRESHOLD
    found = confound_correlations(TEXTS, random_scores(TEXTS, 0))
    assert all(abs(np.nanmean(values)) < 0.2 for values in found.values())


def test_shuffled_weights_hold_the_same_numbers_and_nothing_that_was_learnt():
    model, shuffled = (tiny.model(Regularization(vmask_width=8)) for _ in range(2))
    before = {name: weight.clone() for name, weight in shuffled.named_parameters()}
    shuffle_weights(shuffled)
    for name, weight in shuffled.named_parameters():
        assert sorted(weight.flatten().tolist()) == sorted(before[name].flatten().tolist())
    score = get_method("integrated_gradients").score
    assert abs(np.nanmean(rank_correlations(score(shuffled, TEXTS), score(model, TEXTS)))) < CONFOUND_THRESHOLD
    assert np.nanmean(rank_correlations(score(model, TEXTS), score(model, TEXTS))) == pytest.approx(1)
