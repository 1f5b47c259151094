import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, permutation_test, ttest_ind

from safr.evaluation.significance import (
    PairedValues,
    compare_with_others,
    paired_differences,
    seed_differences,
    sign_flip_p_values,
)


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=8), st.integers(0, 5))
def test_p_values_are_those_of_scipys_exact_test(values, seed):
    gaps = np.array(values, dtype=float) + np.random.default_rng(seed).choice([0.0, 0.125])
    exact = permutation_test(
        (gaps,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", vectorized=True, n_resamples=np.inf
    ).pvalue
    assert sign_flip_p_values(gaps[:, None])[0] == pytest.approx(min(exact, 1), abs=0.03)


def test_texts_without_a_value_are_left_out():
    gaps = np.random.default_rng(0).normal(0.5, 1, 50)
    holes = np.concatenate([gaps, np.full(30, np.nan)])
    assert sign_flip_p_values(holes[:, None])[0] == pytest.approx(sign_flip_p_values(gaps[:, None])[0], abs=0.02)
    (found,) = paired_differences([PairedValues("srs", "delete", "a", "b", holes, np.zeros(80))])
    assert found.value.value == pytest.approx(gaps.mean())
    assert paired_differences([PairedValues("srs", "", "a", "b", np.array([1.0, np.nan]), np.zeros(2))]) == []
    assert paired_differences([]) == []


def test_of_false_differences_few_pass_and_true_ones_do():
    draw, nothing = np.random.default_rng(1), np.zeros(300)
    rows = [PairedValues("srs", "", "a", f"b{n}", draw.normal(0, 1, 300), nothing) for n in range(60)]
    rows += [PairedValues("srs", "", "a", f"c{n}", draw.normal(0.5, 1, 300), nothing) for n in range(5)]
    found = paired_differences(rows)
    assert sum(each.verdict != "no difference" for each in found[:60]) <= 2
    assert {each.verdict for each in found[60:]} == {"better"}
    np.testing.assert_allclose([each.adjusted for each in found], false_discovery_control([each.p for each in found]))


@pytest.mark.parametrize(("metric", "verdict"), [("srs", "better"), ("sufficiency", "worse")])
def test_the_verdict_knows_which_way_is_better(metric, verdict):
    gaps = np.random.default_rng(0).normal(1, 0.1, 40)
    (found,) = paired_differences([PairedValues(metric, "", "a", "b", gaps, np.zeros(40))])
    assert found.verdict == verdict
    (other,) = paired_differences([PairedValues(metric, "", "b", "a", np.zeros(40), gaps)])
    assert {found.verdict, other.verdict} == {"better", "worse"}


def test_what_is_no_merit_and_what_is_so_by_definition_is_not_tested():
    values = {name: np.arange(5.0) for name in ("srs", "length", "position", "randomization", "leave_one_out")}
    table = {("capacity", "delete"): values, ("occlusion", "delete"): values, ("keep", "delete"): values}
    found = {(each.other, each.metric) for each in compare_with_others("capacity", table)}
    assert found == {("occlusion", "srs"), ("keep", "srs"), ("keep", "leave_one_out")}


def test_settings_are_tested_over_their_seeds_by_welch():
    first, second = np.array([0.1, 0.2, 0.15]), np.array([0.4, 0.45, 0.6])
    found = seed_differences([PairedValues("srs", "delete", "a", "b", first, second)])[0]
    expected = ttest_ind(first, second, equal_var=False)
    assert (found.p, found.adjusted) == (expected.pvalue, expected.pvalue)
    assert found.value.value == pytest.approx(first.mean() - second.mean())
    assert (found.value.low, found.value.high) == tuple(expected.confidence_interval())
    assert found.verdict == "worse"
    alone = seed_differences([PairedValues("srs", "delete", "a", "b", first[:1], second)])[0]
    assert alone.verdict == "not tested"
    same = [PairedValues("srs", "delete", "a", "b", np.full(2, value), np.zeros(2)) for value in (0.0, 0.02)]
    tested = seed_differences([*same, PairedValues("srs", "delete", "a", "c", first, second)])
    assert [each.verdict for each in tested] == ["not tested", "not tested", "worse"]
    assert alone.to_dict()["p"] is alone.to_dict()["value"]["low"] is None
