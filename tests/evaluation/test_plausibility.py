import numpy as np
import pytest

from safr.attribution.words import random_scores
from safr.data.encoding import encode
from safr.data.planted import planted, planted_truth
from safr.data.rationales import find_negated_pairs, load_rationales
from safr.data.tokenizer import train_word_tokenizer
from safr.evaluation.plausibility import f1_score, pair_auroc, plausibility, span_f1, true_spans


@pytest.fixture(scope="module")
def sentences():
    texts = planted(test=300).test.texts
    return encode(train_word_tokenizer(texts), texts)


def test_by_hand():
    # Two of four words are marked, so the two highest count: one is right.
    found = plausibility([np.array([0.9, 0.1, 0.8, 0.2])], [np.array([True, False, False, True])])
    assert found["token_f1"][0] == 0.5
    assert found["iou_f1"][0] == 0.5
    # Precision at the marked words: 1 of 1, and 2 of 3.
    assert found["auprc"][0] == pytest.approx((1 + 2 / 3) / 2)


def test_the_truth_wins_its_opposite_loses_and_chance_is_where_it_should_be(sentences):
    known = load_rationales("planted", sentences)
    oracle = [each.astype(float) for each in known]
    scores = {"oracle": oracle, "inverted": [-each for each in oracle], "random": random_scores(sentences, 0)}
    found = {name: plausibility(each, known) for name, each in scores.items()}
    for metric in ("auprc", "token_f1", "iou_f1"):
        means = {name: np.nanmean(values[metric]) for name, values in found.items()}
        assert means["oracle"] > means["random"] + 0.3, metric
        assert means["random"] > means["inverted"] + 0.05, metric
    np.testing.assert_allclose(found["oracle"]["auprc"], 1)
    # A word drawn at random is a marked one as often as words are marked.
    share = np.mean([each.mean() for each in known])
    assert np.nanmean(found["random"]["token_f1"]) == pytest.approx(share, abs=0.04)


def test_scores_that_follow_length_or_place_are_at_chance(sentences):
    known = load_rationales("planted", sentences)
    # Words of one length are in a random order, since ties count against a score.
    broken = random_scores(sentences, 2)
    blind = {
        "random": random_scores(sentences, 1),
        "length": [
            np.array([len(word) for word in text.words]) + ties for text, ties in zip(sentences, broken, strict=True)
        ],
        "place": [np.arange(len(text.words), dtype=float) for text in sentences],
    }
    means = {name: np.nanmean(plausibility(each, known)["auprc"]) for name, each in blind.items()}
    assert means["length"] == pytest.approx(means["random"], abs=0.05)
    assert means["place"] == pytest.approx(means["random"], abs=0.05)


def test_texts_without_a_usable_rationale_have_no_value():
    scores = [np.array([0.3, 0.1])] * 4
    found = plausibility(scores, [None, np.array([True, True]), np.array([False, False]), np.array([True, False])])
    assert np.isnan(found["auprc"]).tolist() == [True, True, True, False]


def test_runs_and_their_f1():
    assert true_spans(np.array([False, True, True, False, True])) == [(1, 3), (4, 5)]
    assert f1_score(3, 3, 3) == 1
    marked = np.array([True, True, True, False, False, True])
    assert span_f1(marked, marked) == 1
    # Of three words in a row two are found, which is more than half of all; the other run is missed.
    assert span_f1(np.array([True, True, False, False, True, False]), marked) == pytest.approx(0.5)
    assert span_f1(np.array([False, False, False, True, True, False]), marked) == 0


def test_pairs_are_found_by_the_size_of_interference(sentences):
    pairs = find_negated_pairs(sentences)
    assert pairs == [planted_truth(" ".join(text.words)).pairs for text in sentences]
    single = [len(each) == 1 for each in pairs]
    assert sum(single) > 10

    def made(value):
        found = []
        for text, known in zip(sentences, pairs, strict=True):
            overlap = np.full((len(text.words), len(text.words)), 0.5)
            for one, other in known:
                overlap[one, other] = overlap[other, one] = value
            found.append(overlap)
        return pair_auroc(found, pairs)

    assert (np.isnan(made(1.0)) != single).all()
    assert np.nanmean(made(-1.0)) == 1  # the size counts
    assert np.nanmean(made(0.0)) == 0
    assert np.nanmean(made(0.5)) == 0.5
