import base64
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from safr.attribution.explain import explain
from safr.attribution.explanation import SiteScores
from safr.explorer.explanation_payload import pack_explanation, pack_matrix, round_values
from safr.figures.allocation import MOST_CIRCLES
from safr.figures.inputs import unknown_pairs
from safr.figures.layout import compute_layout, relative_strength
from tests import tiny


def unpacked(told, count):
    """What the page makes of it, as a slow loop."""
    whole = np.frombuffer(base64.b64decode(told.values), dtype="<i2")
    values = iter(np.where(whole == -32768, np.nan, whole * told.unit))
    matrix = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            if told.diagonal is None:
                matrix[i, j] = next(values)
            elif i == j:
                matrix[i, i] = np.nan if told.diagonal[i] is None else told.diagonal[i]
            elif i < j:
                matrix[i, j] = matrix[j, i] = next(values)
    return matrix


@given(arrays.arrays(np.float64, (5, 5), elements=st.floats(-1e6, 1e6)))
def test_a_matrix_comes_back_to_half_a_unit(matrix):
    told = pack_matrix(matrix, symmetric=False)
    assert np.abs(unpacked(told, 5) - matrix).max() <= told.unit * 0.5001


@given(arrays.arrays(np.float64, (4, 3), elements=st.floats(-1e3, 1e3)))
def test_a_symmetric_matrix_comes_back_with_its_diagonal_to_4_digits(vectors):
    matrix = vectors @ vectors.T
    told = pack_matrix(matrix, symmetric=True)
    found = unpacked(told, 4)
    outside = ~np.eye(4, dtype=bool)
    assert np.abs(found - matrix)[outside].max() <= told.unit * 0.5001
    np.testing.assert_allclose(found.diagonal(), matrix.diagonal(), rtol=1e-3)
    np.testing.assert_array_equal(found, found.T)


def test_a_large_diagonal_takes_no_digits_from_the_rest():
    matrix = np.array([[1e9, 0.123], [0.123, 1e9]])
    assert unpacked(pack_matrix(matrix, symmetric=True), 2)[0, 1] == pytest.approx(0.123, rel=1e-4)


@pytest.mark.parametrize("size", [0, 1])
def test_next_to_no_words_have_no_pairs(size):
    assert pack_matrix(np.ones((size, size)), symmetric=True).values == ""


def test_what_is_not_finite_is_told_as_such():
    matrix = np.array([[1.0, np.nan, np.inf], [2.0, 3.0, -1.0], [0.0, 0.0, 0.0]])
    found = unpacked(pack_matrix(matrix, symmetric=False), 3)
    np.testing.assert_array_equal(np.isnan(found), ~np.isfinite(matrix))
    assert round_values([np.nan, np.inf, -0.000123456]) == [None, None, -0.0001235]


def test_a_reading_says_what_the_explanation_says(readers):
    made = readers[1].explain("a bright film and a dull plot")
    told = pack_explanation(made, other={"gradient": np.arange(7.0)})
    assert told.words == list(made.words)
    assert told.prediction == made.prediction
    assert told.paired is None
    assert told.other == {"gradient": [0, 1, 2, 3, 4, 5, 6]}
    assert set(told.sites) == {"embedding", "vmask", "fc1.0", "fc1_out.0", "fc2.0"}
    for name, site in told.sites.items():
        np.testing.assert_allclose(site.capacity, made.sites[name].capacity, rtol=1e-3)
        found = unpacked(site.interference, 7)
        np.testing.assert_allclose(found, made.sites[name].interference, atol=site.interference.unit, rtol=1e-3)
    np.testing.assert_allclose(unpacked(told.attention["0"], 7), made.attention[0], atol=told.attention["0"].unit)
    json.dumps(asdict(told), allow_nan=False)


def test_signed_scores_are_told_with_the_class_that_they_speak_about(readers):
    made = readers[1].explain("a bright film")
    scores = {"occlusion": np.array([0.123456, -0.5, 0.0]), "attention_rollout": np.ones(3), "mine": -np.ones(3)}
    told = pack_explanation(made, other=scores, relevance={1: np.array([-1.23456e-5, np.nan, 2.0])})
    assert told.other["occlusion"] == [0.1235, -0.5, 0]
    assert told.targets == {"occlusion": made.prediction}
    assert told.relevance == {"1": [-1.235e-05, None, 2]}
    assert pack_explanation(made).relevance == {}


@pytest.mark.parametrize(
    ("method", "target"), [("relevance", "good"), ("attention", None), ("absolute_occlusion", "bad")]
)
def test_scores_that_were_asked_for_are_told_as_others_are(method, target):
    model = tiny.model(id2label={0: "bad", 1: "good"})
    made = explain(model, tiny.tokenizer(), "a bright film", method=method, target=target)
    told = pack_explanation(made)
    assert told.other == {method: round_values(made.scores)}
    assert told.targets == ({"relevance": "good"} if method == "relevance" else {})


def test_a_reading_says_which_words_were_not_read():
    made = explain(tiny.model(), tiny.tokenizer(), "a Film was so")
    told = pack_explanation(made)
    assert told.unknown == [False, True, False, True]
    assert told.unknown_note == made.unknown_note != ""
    before_it_was_recorded = pack_explanation(replace(made, unknown=()))
    assert (before_it_was_recorded.unknown, before_it_was_recorded.unknown_note) == ([False] * 4, "")


def test_of_many_words_only_those_of_highest_capacity_are_paired(readers):
    made = readers[1].explain("a bright film and a dull plot")
    told = pack_explanation(made, most_paired=3)
    assert told.paired == sorted(np.argsort(-made.capacity, kind="stable")[:3].tolist())
    assert len(told.sites["fc1.0"].capacity) == 7
    np.testing.assert_allclose(told.received["0"], made.attention[0].mean(axis=0), rtol=1e-3)  # of all words, from all
    chosen = np.ix_(told.paired, told.paired)
    expected = made.sites["fc1.0"].interference[chosen]
    np.testing.assert_allclose(
        unpacked(told.sites["fc1.0"].interference, 3), expected, atol=told.sites["fc1.0"].interference.unit, rtol=1e-3
    )


def test_a_model_that_diverged_is_told_without_numbers(readers):
    made = readers[0].explain("a film")
    broken = SiteScores(np.array([np.nan, 1.0]), np.array([np.inf, 0.0]), np.full((2, 2), np.nan))
    told = pack_explanation(replace(made, sites={"fc1.0": broken}))
    assert told.sites["fc1.0"].capacity == [None, 1]
    json.dumps(asdict(told), allow_nan=False)


def unpacked_layout(packed):
    return np.frombuffer(base64.b64decode(packed), np.uint8).reshape(-1, 2) / 255


def test_a_reading_says_where_the_graph_has_its_circles(readers):
    made = readers[1].explain("a bright film and a dull plot")
    told = pack_explanation(made)
    assert set(told.layouts) == {*told.sites, "attention.0"}
    received = (made.attention[0] + made.attention[0].T) / 2
    for name, matrix in {"fc1.0": made.sites["fc1.0"].interference, "attention.0": received}.items():
        points = compute_layout(relative_strength(matrix))
        expected = (points - points.min(axis=0)) / np.ptp(points, axis=0).max()
        np.testing.assert_allclose(unpacked_layout(told.layouts[name]), expected, atol=0.02)


def test_two_unknown_words_do_not_attract_each_other_in_the_graph():
    made = explain(tiny.model(), tiny.tokenizer(), "a Film was so bright")  # Film and so are unknown
    told = pack_explanation(made)
    site = made.sites[made.explaining_site]
    apart = replace(site, interference=np.where(unknown_pairs(np.array(made.unknown)), 0.0, site.interference))
    expected = pack_explanation(replace(made, sites={made.explaining_site: apart}, attention={})).layouts
    found, wanted = (unpacked_layout(layouts[made.explaining_site]) for layouts in (told.layouts, expected))
    np.testing.assert_allclose(found, wanted, atol=0.02)


def test_the_graph_has_circles_for_the_words_of_most_capacity_alone():
    made = explain(tiny.model(), tiny.tokenizer(), "film " * 20 + "bright plot " * 20)
    told = pack_explanation(made)
    assert len(made.words) > MOST_CIRCLES
    assert {len(unpacked_layout(layout)) for layout in told.layouts.values()} == {MOST_CIRCLES}


def test_a_word_alone_and_a_model_that_diverged_have_layouts(readers):
    made = readers[0].explain("film")
    assert set(pack_explanation(made).layouts.values()) == {base64.b64encode(bytes(2)).decode()}
    broken = SiteScores(np.array([np.nan]), np.array([np.inf]), np.full((1, 1), np.nan))
    assert set(pack_explanation(replace(made, sites={"fc1.0": broken})).layouts) == {"fc1.0", "attention.0"}
