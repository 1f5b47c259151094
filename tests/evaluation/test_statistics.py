import numpy as np
import pytest
from scipy.stats import binomtest

from safr.errors import InputError
from safr.evaluation.statistics import DROP, SHARE, bootstrap_mean, unseen_share

VALUES = np.random.default_rng(1).exponential(size=60)
WEIGHTS = np.random.default_rng(2).integers(0, 20, size=60)


def interval_by_loop(values, weights, resamples=4000):
    draw, found = np.random.default_rng(7), []
    for _ in range(resamples):
        chosen = draw.integers(0, len(values), size=len(values))
        found.append((values[chosen] * weights[chosen]).sum() / weights[chosen].sum())
    return np.percentile(found, [2.5, 97.5])


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["all alike", "weighted"])
def test_value_and_interval_are_those_of_a_bootstrap_loop_over_texts(weights):
    by_hand = np.ones(60) if weights is None else weights
    found = bootstrap_mean(VALUES, weights)
    assert found.value == pytest.approx((VALUES * by_hand).sum() / by_hand.sum(), abs=1e-12)
    low, high = interval_by_loop(VALUES, by_hand)
    assert [found.low, found.high] == pytest.approx([low, high], abs=0.06 * (high - low))


def test_an_accuracys_interval_is_about_that_of_the_binomial():
    right = np.arange(400) < 300
    found = bootstrap_mean(right)
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert found.value == 0.75
    assert [found.low, found.high] == pytest.approx([0.75 - half, 0.75 + half], abs=0.004)


def test_equal_weights_of_any_size_change_nothing():
    plain, weighted = bootstrap_mean(VALUES), bootstrap_mean(VALUES, np.full(60, 7.0))
    assert weighted.value == pytest.approx(plain.value)
    assert (weighted.low, weighted.high) == pytest.approx((plain.low, plain.high))


def test_a_text_without_weight_does_not_move_the_value():
    assert bootstrap_mean([0.0, 1.0, 99.0], [1, 3, 0]).value == 0.75


def test_the_same_sample_gives_the_same_interval():
    assert bootstrap_mean(VALUES) == bootstrap_mean(VALUES)


def test_the_order_of_the_texts_moves_no_value():
    assert bootstrap_mean(VALUES[::-1]).value == pytest.approx(bootstrap_mean(VALUES).value, abs=1e-12)


def test_a_constant_sample_has_an_interval_without_width():
    assert bootstrap_mean([0.25] * 30).to_dict() == {"value": 0.25, "low": 0.25, "high": 0.25}


def test_texts_that_all_have_no_weight_have_mean_zero():
    assert bootstrap_mean([1.0, 2.0], [0, 0]).to_dict() == {"value": 0.0, "low": 0.0, "high": 0.0}


@pytest.mark.parametrize("values", [[], [1.0]])
def test_fewer_than_two_texts_have_no_interval(values):
    with pytest.raises(InputError, match=f"an interval needs at least 2 texts, got {len(values)}; bring more data"):
        bootstrap_mean(values)


@pytest.mark.parametrize("texts", [2, 12, 1743])
def test_the_share_that_was_never_seen_is_the_exact_interval_of_scipy(texts):
    exact = binomtest(0, texts).proportion_ci(0.95, method="exact")
    assert unseen_share(texts) == pytest.approx(exact.high)


def test_where_all_texts_have_one_value_the_interval_reaches_to_the_limits():
    share = unseen_share(24)
    right = bootstrap_mean([1.0] * 24, limits=SHARE)
    assert (right.value, right.low, right.high) == (1, pytest.approx(1 - share), 1)
    drop = bootstrap_mean([0.0] * 24, limits=DROP)
    assert (drop.value, drop.low, drop.high) == (0, pytest.approx(-share), pytest.approx(share))
    between = bootstrap_mean([0.25] * 24, limits=SHARE)
    assert (between.low, between.high) == (pytest.approx(0.25 * (1 - share)), pytest.approx(0.25 + 0.75 * share))
    varied = [0.0, 1.0] * 12
    assert bootstrap_mean(varied, limits=SHARE) == bootstrap_mean(varied)
