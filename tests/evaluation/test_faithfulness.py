"""Metrics against slow loops, and against a model whose words' true effects are known."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kendalltau

from safr.attribution.words import random_scores
from safr.config import Regularization
from safr.data.encoding import encode
from safr.data.planted import planted, planted_truth
from safr.data.tokenizer import train_word_tokenizer
from safr.evaluation import faithfulness as module
from safr.evaluation.faithfulness import ERASER_PERCENTS, faithfulness, normalized_aopc, search_aopc_bounds
from safr.evaluation.metrics import METRICS
from safr.evaluation.removal import Remover
from safr.evaluation.srs import count_deleted, rank_words, select_top_words
from safr.inference import predict
from tests import linear, tiny

MEASURED = ("comprehensiveness", "sufficiency", "aopc", "first_flip", "words_to_flip", "leave_one_out", "srs")


def encoded(count=40, longest=9, seed=5):
    labelled = tiny.sentences(count, seed, longest=longest)
    return encode(tiny.tokenizer(), [text for text, _ in labelled]), [label for _, label in labelled]


def planted_sentences(count):
    """Tokenizer, texts and labels of planted sentences without negators, whose label is the sum of their words."""
    made = planted(test=4 * count).test
    plain = [
        (text, label)
        for text, label in zip(made.texts, made.labels, strict=True)
        if len(text.split()) < 16 and not planted_truth(text).pairs
    ][:count]
    tokenizer = train_word_tokenizer([text for text, _ in plain] * 2)  # words that come once are unknown
    return tokenizer, encode(tokenizer, [text for text, _ in plain]), [label for _, label in plain]


@pytest.fixture(scope="module")
def measured():
    """A linear model of planted sentences, judged by its own effects, by their opposite, and by chance."""
    tokenizer, texts, labels = planted_sentences(50)
    texts, labels = [*texts, *encode(tokenizer, ["plot"])], [*labels, 1]
    model = linear.model(linear.PLANTED, tokenizer)
    classes = predict(model, texts)
    oracle = linear.effects(texts, classes, linear.PLANTED)
    scores = {"oracle": oracle, "random": random_scores(texts, 0), "inverted": [-each for each in oracle]}
    words = Remover(model, "delete")
    values = faithfulness(words, texts, labels, classes.tolist(), scores)
    return values, search_aopc_bounds(words, texts, classes.tolist(), beam=5), texts


def ranking(values, metric):
    """The scores from the best to the worst, as the metric's own direction has it."""
    means = {name: np.nanmean(each[metric]) for name, each in values.items()}
    return sorted(means, key=means.get, reverse=METRICS[metric].better == "higher")


@pytest.mark.parametrize("metric", MEASURED)
def test_the_oracle_wins_chance_is_between_and_its_opposite_loses(measured, metric):
    values, _, _ = measured
    assert ranking(values, metric) == ["oracle", "random", "inverted"]
    assert abs(np.nanmean(values["oracle"][metric]) - np.nanmean(values["random"][metric])) > 0.02


def judged(**changes):
    """The ranking by every metric on a few planted sentences, with something in the implementation changed."""
    tokenizer, texts, labels = planted_sentences(60)
    model = linear.model(linear.PLANTED, tokenizer)
    classes = predict(model, texts)
    oracle = linear.effects(texts, classes, linear.PLANTED)
    scores = {"oracle": oracle, "random": random_scores(texts, 0), "inverted": [-each for each in oracle]}
    values = faithfulness(Remover(model, "delete"), texts, labels, classes.tolist(), scores)
    return {metric: ranking(values, metric) for metric in MEASURED}


def test_an_implementation_that_deletes_the_lowest_first_is_noticed(monkeypatch):
    assert set(map(tuple, judged().values())) == {("oracle", "random", "inverted")}
    monkeypatch.setattr(module, "rank_words", lambda scores, **named: rank_words(-scores, **named))
    changed = judged()
    for metric in ("comprehensiveness", "sufficiency", "aopc", "words_to_flip", "srs"):
        assert changed[metric][0] != "oracle", metric


def test_a_metric_whose_direction_is_told_wrong_is_noticed(monkeypatch):
    wrong = {"higher": "lower", "lower": "higher", "neither": "neither"}
    flipped = {name: replace(each, better=wrong[each.better]) for name, each in METRICS.items()}
    monkeypatch.setattr("tests.evaluation.test_faithfulness.METRICS", flipped)
    assert all(order[0] != "oracle" for order in judged().values())


def test_in_a_linear_model_the_oracle_is_the_best_order_and_its_opposite_the_worst(measured):
    values, (least, greatest), texts = measured
    several = np.array([len(text.words) > 1 for text in texts])
    np.testing.assert_allclose(values["oracle"]["aopc"][several], greatest[several], atol=1e-6)
    np.testing.assert_allclose(values["inverted"]["aopc"][several], least[several], atol=1e-6)
    normalized = {name: normalized_aopc(each["aopc"], least, greatest)[several] for name, each in values.items()}
    np.testing.assert_allclose(normalized["oracle"], 1, atol=1e-3)
    np.testing.assert_allclose(normalized["inverted"], 0, atol=1e-3)
    assert 0.3 < normalized["random"].mean() < 0.7
    assert np.isnan(least[~several]).all()
    assert np.isnan(values["oracle"]["aopc"][~several]).all()


def test_leave_one_out_agrees_wholly_with_itself(measured):
    values, _, _ = measured
    oracle, inverted = values["oracle"]["leave_one_out"], values["inverted"]["leave_one_out"]
    there = ~np.isnan(oracle)
    assert (oracle[there] > 0.8).all()  # words of the same effect differ by rounding
    np.testing.assert_allclose(inverted[there], -oracle[there], atol=1e-12)


def slow(model, text, label, chosen, scores):
    """Every metric of one text by its equation, one forward pass at a time."""
    asked = Remover(model, "delete")

    def answer(removed):
        return asked.predict([text], [[frozenset(removed)]], [chosen])[0][frozenset(removed)]

    count, order = len(text.words), np.argsort(-scores, kind="stable").tolist()
    whole = answer([])
    tops = [order[: count_deleted(count, percent)] for percent in ERASER_PERCENTS]
    steps = [order[:gone] for gone in range(1, count)]
    flips = [len(gone) for gone in steps if answer(gone).prediction != chosen]
    return {
        "comprehensiveness": np.mean([whole.probability - answer(top).probability for top in tops]),
        "sufficiency": np.mean([whole.probability - answer(set(range(count)) - set(top)).probability for top in tops]),
        "aopc": np.mean([whole.probability - answer(gone).probability for gone in steps]),
        "first_flip": float(answer(order[:1]).prediction != chosen),
        "words_to_flip": min(flips, default=count) / count,
        "leave_one_out": np.nan_to_num(
            kendalltau(scores, [whole.probability - answer([word]).probability for word in range(count)]).statistic
        ),
        "srs": (whole.prediction == label) - float(answer(select_top_words(scores, 30)).prediction == label),
        "without_60": float(answer(select_top_words(scores, 60)).prediction == label),
    }


def test_metrics_are_their_equations():
    model, (texts, labels) = tiny.model(Regularization(vmask_width=8)), encoded(12)
    classes, scores = predict(model, texts).tolist(), random_scores(texts, 3)
    found = faithfulness(Remover(model, "delete"), texts, labels, classes, {"any": scores})["any"]
    for number, text in enumerate(texts):
        if len(text.words) > 1:
            expected = slow(model, text, labels[number], classes[number], scores[number])
            assert {name: found[name][number] for name in expected} == pytest.approx(expected, abs=1e-5)
        else:
            assert np.isnan(found["comprehensiveness"][number])
            assert found["srs"][number] == 0


def test_other_ways_of_removal_measure_what_needs_few_passes():
    model, (texts, labels) = tiny.model(), encoded(6)
    classes = predict(model, texts).tolist()
    found = faithfulness(
        Remover(model, "hide"), texts, labels, classes, {"any": random_scores(texts, 0)}, one_by_one=False
    )["any"]
    assert set(found) == {"before", "without_30", "srs", "comprehensiveness", "sufficiency"}


def test_a_beam_of_all_sets_finds_the_extremes_of_all_orders():
    model, texts = (
        tiny.model(Regularization(vmask_width=8)),
        encode(tiny.tokenizer(), ["dull film of rich plot", "a an"]),
    )
    classes = predict(model, texts).tolist()
    words = Remover(model, "delete")
    least, greatest = search_aopc_bounds(words, texts, classes, beam=1000)
    for number, text in enumerate(texts):
        count = len(text.words)
        values = []
        for order in itertools.permutations(range(count)):
            scores = np.empty(count)
            scores[list(order)] = -np.arange(count)
            values.append(faithfulness(words, [text], [0], [classes[number]], {"any": [scores]})["any"]["aopc"][0])
        assert least[number] == pytest.approx(min(values), abs=1e-6)
        assert greatest[number] == pytest.approx(max(values), abs=1e-6)
        narrow = search_aopc_bounds(words, [text], [classes[number]], beam=1)
        assert least[number] - 1e-6 <= narrow[0][0] <= narrow[1][0] <= greatest[number] + 1e-6


def test_progress_tells_how_many_texts_are_done():
    model, (texts, labels) = linear.model(), encoded(70)
    told = []
    classes = predict(model, texts).tolist()
    scores = {"any": random_scores(texts, 0)}
    faithfulness(Remover(model, "delete"), texts, labels, classes, scores, progress=lambda *each: told.append(each))
    assert told == [(64, 70), (70, 70)]
