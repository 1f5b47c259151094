from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
)

from safr import inference
from safr.attribution.internals import internal_scores
from safr.attribution.words import random_scores
from safr.config import Regularization
from safr.data.batches import iter_batches
from safr.data.encoding import encode
from safr.data.tokenizer import train_word_tokenizer
from safr.errors import InputError
from safr.evaluation import srs as srs_module
from safr.evaluation.srs import (
    count_deleted,
    delete_words,
    predict_after_deletion,
    select_top_words,
    srs,
)
from safr.evaluation.task_metrics import ACCURACY
from safr.inference import predict, predict_labels
from tests import linear, tiny, tiny_tokenizers

PERCENTS = (10, 20, 30, 40, 50, 60, 70, 80, 90)
TEXTS = [text for text, _ in tiny.sentences(40, seed=5, longest=9)]
MASKED = Regularization(vmask_width=8)

PAIR = ("xqz jkv wyx", "jkv xqz jkv wyx jkv")
RANKING = np.array([0.9, 0.1, 0.8, 0.3, 0.7, 0.2, 0.7, 0.6])

scores_of_a_text = st.lists(st.integers(-3, 3).map(float), max_size=12).map(np.array)


@pytest.mark.parametrize(
    ("words", "counts"),
    [
        (1, [0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (2, [1, 1, 1, 1, 1, 1, 1, 1, 1]),
        (3, [1, 1, 1, 1, 2, 2, 2, 2, 2]),
        (4, [1, 1, 1, 2, 2, 2, 3, 3, 3]),
        (5, [1, 1, 2, 2, 3, 3, 4, 4, 4]),
        (10, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (15, [2, 3, 5, 6, 8, 9, 11, 12, 14]),
        (25, [3, 5, 8, 10, 13, 15, 18, 20, 23]),
    ],
)
def test_the_number_deleted_is_rounded_half_up(words, counts):
    assert [count_deleted(words, percent) for percent in PERCENTS] == counts


@pytest.mark.parametrize(
    ("words", "count"), [(6, 2), (7, 2), (8, 2), (9, 3), (11, 3), (12, 4), (35, 11), (45, 14), (1000, 300)]
)
def test_thirty_percent_by_hand(words, count):
    assert count_deleted(words, 30) == count


@given(st.integers(2, 10_000), st.integers(1, 99))
def test_at_least_one_word_goes_and_at_least_one_stays(words, percent):
    exact = (Decimal(words) * percent / 100).quantize(Decimal(1), ROUND_HALF_UP)
    assert count_deleted(words, percent) == min(max(int(exact), 1), words - 1)


@pytest.mark.parametrize("percent", PERCENTS)
def test_a_text_of_one_word_or_none_stays_as_it_is(percent):
    assert count_deleted(1, percent) == count_deleted(0, percent) == 0
    assert select_top_words(np.array([0.5]), percent) == select_top_words(np.array([]), percent) == frozenset()


def test_the_highest_scores_go():
    assert select_top_words(np.array([0.1, 0.9, -2.0, 0.8, 0.3]), 40) == {1, 3}


def test_ties_go_to_the_earlier_word():
    assert select_top_words(np.array([0.1, 0.7, 0.7, 0.7]), 50) == {1, 2}
    assert select_top_words(np.full(200, 0.5), 30) == set(range(60))


@given(scores_of_a_text, st.sampled_from(PERCENTS))
def test_every_deleted_word_scores_at_least_as_much_as_every_word_that_stays(scores, percent):
    deleted = select_top_words(scores, percent)
    assert len(deleted) == count_deleted(len(scores), percent)
    for gone in deleted:
        for kept in set(range(len(scores))) - deleted:
            assert (scores[gone], -gone) > (scores[kept], -kept)


@given(scores_of_a_text)
def test_more_percent_delete_the_same_words_and_more(scores):
    deleted = [select_top_words(scores, percent) for percent in PERCENTS]
    assert all(few <= many for few, many in pairwise(deleted))


@given(scores_of_a_text, st.sampled_from(PERCENTS))
def test_any_increasing_function_of_a_score_deletes_the_same_words(scores, percent):
    for increasing in (np.exp, np.cbrt, lambda each: 1000 * each - 7):
        assert select_top_words(increasing(scores), percent) == select_top_words(scores, percent)


def test_every_text_loses_the_words_that_its_own_scores_say():
    texts = encode(tiny.tokenizer(), ["a film was dull", "funny", "", "the story of a film"])
    scores = [np.array(each) for each in ([0.1, 0.4, 0.2, 0.3], [1.0], [], [0.0, 0.1, 0.2, 0.3, 0.4])]
    left = delete_words(texts, scores, 50)
    assert [text.words for text in left] == [("a", "was"), ("funny",), (), ("the", "story")]
    assert [text.ids for text in left] == [tuple(tiny.tokenizer()(" ".join(text.words))["input_ids"]) for text in left]


@pytest.mark.parametrize(
    ("within", "percent", "deleted"),
    [
        ("both", 30, {0, 2}),  # 2.4 of 8
        ("both", 50, {0, 2, 4, 6}),
        ("first", 30, {0}),  # 0.9 of 3
        ("first", 90, {0, 2}),
        ("second", 30, {4, 6}),  # 1.5 of 5
        ("second", 10, {4}),  # of equal scores the earlier word's
        ("second", 90, {3, 4, 6, 7}),
        ("both", 90, {0, 2, 3, 4, 6, 7}),  # of each text the lowest stays
    ],
)
def test_the_words_of_a_pair_go_from_the_texts_that_are_named(within, percent, deleted):
    pair = encode(tiny_tokenizers.tokenizer("wordpiece"), [PAIR])[0]
    assert select_top_words(RANKING, percent, text_of_word=pair.text_of_word, within=within) == deleted
    assert delete_words([pair], [RANKING], percent, within=within) == [pair.without(deleted)]


@given(scores_of_a_text, st.integers(0, 12), st.sampled_from(PERCENTS), st.sampled_from(["first", "second", "both"]))
def test_a_word_of_each_text_stays_and_the_other_text_stays_whole(scores, first, percent, within):
    owners = [int(word >= first) for word in range(len(scores))]
    deleted = select_top_words(scores, percent, text_of_word=owners, within=within)
    may_go = [
        word for word, owner in enumerate(owners) if within == "both" or owner == ("first", "second").index(within)
    ]
    texts = len({owners[word] for word in may_go})
    assert deleted <= set(may_go)
    assert len(deleted) == count_deleted(len(may_go), percent, texts=texts)
    assert len({owners[word] for word in set(may_go) - deleted}) == texts
    assert select_top_words(scores, percent, text_of_word=owners, within="first") == select_top_words(
        scores[:first], percent
    )


def test_one_text_alone_has_no_second():
    with pytest.raises(InputError, match="expected pairs of texts"):
        delete_words(encode(tiny.tokenizer(), ["a film"]), [np.ones(2)], 30, within="second")


def test_scores_for_another_number_of_texts_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        delete_words(encode(tiny.tokenizer(), ["a film", "dull"]), [np.ones(2)], 30)


@pytest.mark.parametrize("regularization", [None, MASKED], ids=["plain", "mask"])
@pytest.mark.parametrize("tokens_per_batch", [1, 64, 4096])
def test_predictions_are_those_of_each_text_alone(monkeypatch, regularization, tokens_per_batch):
    monkeypatch.setattr(inference, "iter_batches", partial(iter_batches, tokens_per_batch=tokens_per_batch))
    model, texts = tiny.model(regularization), encode(tiny.tokenizer(), TEXTS)
    texts += delete_words(texts, random_scores(texts, 0), 30)
    alone = []
    for text in texts:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([text.ids])).logits
        alone.append(int(logits.argmax()))
    assert set(alone) == {0, 1}
    assert predict(model, texts).tolist() == alone


@pytest.mark.parametrize("limits", [(1, 10**6), (5, 10**6), (256, 10**6), (256, 1), (256, 200)])
def test_many_deletions_at_once_are_each_deletion_alone(monkeypatch, limits):
    for name, limit in zip(("_TEXTS_TOGETHER", "_TOKENS_TOGETHER"), limits, strict=True):
        monkeypatch.setattr(srs_module, name, limit)
    model, texts = tiny.model(MASKED), encode(tiny.tokenizer(), TEXTS)
    deletions = [(random_scores(texts, seed), percent) for seed in range(3) for percent in (10, 30, 90)]
    alone = [predict(model, delete_words(texts, *each)).tolist() for each in deletions]
    assert predict_after_deletion(model, texts, deletions).tolist() == alone
    assert predict_after_deletion(model, texts, []).shape == (0, len(texts))


def test_deletions_by_scores_of_other_texts_are_refused():
    texts = encode(tiny.tokenizer(), TEXTS)
    with pytest.raises(ValueError, match=rf"expected scores of {len(texts) - 1} texts, got those of {len(texts)}"):
        predict_after_deletion(tiny.model(), texts[1:], [(random_scores(texts, 0), 30)])


def test_deletions_that_leave_the_same_are_run_once():
    model, texts = tiny.model(), encode(tiny.tokenizer(), TEXTS)
    rows = []
    model.register_forward_pre_hook(
        lambda module, args, options: rows.append(len(options["input_ids"])), with_kwargs=True
    )
    scores = random_scores(texts, 0)
    predict_after_deletion(model, texts, [(scores, 30), (scores, 30), (scores, 31)])
    once = sum(rows)
    rows.clear()
    predict(model, delete_words(texts, scores, 30))
    assert once < 1.2 * sum(rows)  # 31 % leaves less of a few long texts


def test_texts_with_the_same_tokens_are_run_once():
    model, texts = tiny.model(), encode(tiny.tokenizer(), [*TEXTS, "unseen", "a film", "unknown", "a  film"])
    rows = []
    model.register_forward_pre_hook(
        lambda module, args, options: rows.append(len(options["input_ids"])), with_kwargs=True
    )
    once = predict(model, texts)
    distinct = len(TEXTS) + 2
    assert sum(rows) == distinct
    rows.clear()
    thrice = predict(model, texts * 3)
    assert sum(rows) == distinct
    assert thrice.tolist() == once.tolist() * 3


def test_the_same_tokens_of_other_types_are_another_text():
    """BERT reads the same ids otherwise where the second text begins elsewhere."""
    model, words = tiny_tokenizers.model(BertForSequenceClassification)
    pairs = encode(words, [PAIR, ("xqz", "jkv")])
    texts = [pairs[0], replace(pairs[0], token_types=(0,) * len(pairs[0].ids)), pairs[1]]
    rows = []
    model.register_forward_pre_hook(
        lambda module, args, options: rows.extend(options["token_type_ids"].sum(dim=1).tolist()), with_kwargs=True
    )
    assert predict(model, texts).shape == (3,)
    assert rows == [6, 0, 2]


@pytest.mark.parametrize("kind", [GPT2ForSequenceClassification, LlamaForSequenceClassification])
def test_a_model_without_a_padding_token_gets_one_text_at_a_time(kind):
    model, words = tiny_tokenizers.model(kind)
    texts = [text.split()[0] for text in TEXTS[:8]] + TEXTS[:8]
    alone = [int(model(**words(text, return_tensors="pt")).logits.argmax()) for text in texts]
    assert predict(model, encode(words, texts)).tolist() == alone


@pytest.mark.parametrize("kind", [GPT2LMHeadModel, LlamaForCausalLM])
def test_a_language_models_prediction_is_the_token_after_the_text(kind):
    model, words = tiny_tokenizers.model(kind)
    alone = [int(model(**words(text, return_tensors="pt")).logits[0, -1].argmax()) for text in TEXTS[:8]]
    for padding in (None, 0):
        model.config.pad_token_id = padding
        assert predict(model, encode(words, TEXTS[:8])).tolist() == alone


def test_no_texts_have_no_predictions():
    assert predict(tiny.model(), []).tolist() == []


def test_special_tokens_written_into_a_text_change_no_prediction():
    """Scores and predictions must see the same text, or a drop would not be the deletion's."""
    model, texts = tiny.model(MASKED), encode(tiny.tokenizer(), [f"{text} [PAD] dull" for text in TEXTS])
    scored = internal_scores(model, texts)
    assert predict(model, texts).tolist() == [each.prediction for each in scored]


def oracle(texts):
    """1 for the word that decides, 0 for the others."""
    return [np.array([float(word in linear.WEIGHTS) for word in text.split()]) for text in texts]


def test_srs_by_hand():
    # Without the word that decides, the logits are 0 and 0, and the model says class 0: of six texts, which it all gets
    # right, four become wrong.
    texts = ["a lovely film", "the funny plot", "rich scene this", "was it sharp", "a dull film", "the weak plot"]
    result = srs(linear.model(), tiny.tokenizer(), texts, [1, 1, 1, 1, 0, 0], scores=oracle(texts))
    assert (result.accuracy.value, result.after_deletion.value) == (1.0, pytest.approx(2 / 6))
    assert result.srs.value == pytest.approx(4 / 6)
    # One of three words at random: the word that decides in a third of the draws.
    assert result.random_drop.value == pytest.approx(4 / 6 / 3, abs=0.1)
    assert result.above_random.value == pytest.approx(result.srs.value - result.random_drop.value)
    assert result.after_random.value == pytest.approx(result.accuracy.value - result.random_drop.value)
    assert (result.texts, result.percent, result.site) == (6, 30, "")
    assert result.srs.low < result.srs.value < result.srs.high
    assert str(result).startswith("SRS(30) 66.7 [")


def test_srs_is_a_slow_loop():
    words, model, labels = tiny.tokenizer(), tiny.model(MASKED), [number % 2 for number in range(len(TEXTS))]
    result = srs(model, words, TEXTS, labels, percent=40)
    lost = []
    for text, label in zip(TEXTS, labels, strict=True):
        (encoded,) = encode(words, [text])
        (internals,) = internal_scores(model, [encoded], ["fc1.0"])
        gone = select_top_words(internals.capacity["fc1.0"], 40)
        (after,) = predict(model, [encoded.without(gone)])
        lost.append(float(internals.prediction == label) - float(after == label))
    assert result.srs.value == pytest.approx(np.mean(lost))


def test_a_drop_is_paired_by_text_and_does_not_depend_on_the_order():
    draw = np.random.default_rng(0)
    right, still_right = (draw.random(50) < 0.7).astype(float), (draw.random((3, 50)) < 0.5).astype(float)
    drops, order = ACCURACY.worsening(right, still_right), draw.permutation(50)
    assert drops.mean() == pytest.approx(right.mean() - still_right.mean())
    assert np.array_equal(ACCURACY.worsening(right[order], still_right[:, order]), drops[order])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"percent": 0}, "`percent` must be above 0 and at most 100, got 0"),
        ({"labels": [0]}, "expected a list of texts and as many labels, got 2 texts and 1 labels"),
        ({"texts": "a film"}, "expected a list of texts, got the text 'a film'"),
        ({"texts": ["a film"], "labels": [0]}, "an interval needs at least 2 texts, got 1"),
        ({"labels": [0, 2]}, "expected labels from 0 to 1, got 0 to 2"),
        ({"labels": ["good", "bad"]}, "expected labels as numbers of classes, 0, 1, ..."),
        ({"site": "fc9.0"}, "unknown sites: fc9.0"),
        ({"site": "fc1.7"}, "no capacity at site 'fc1.7'"),
        ({"scores": [np.zeros(2)]}, "expected scores of 2 texts, got those of 1"),
        ({"scores": [np.zeros(2), np.zeros(3)]}, "expected 2 finite scores of text 1, one per word"),
        ({"scores": [np.zeros(2), np.array([np.nan, 0])]}, "expected 2 finite scores of text 1, one per word"),
    ],
)
def test_what_does_not_fit_is_said(change, message):
    given = {"texts": ["a film", "the plot"], "labels": [0, 1], **change}
    texts, labels = given.pop("texts"), given.pop("labels")
    with pytest.raises(InputError, match=message):
        srs(tiny.model(), tiny.tokenizer(), texts, labels, **given)


def test_a_model_with_a_single_answer_has_no_srs():
    model = tiny.model(num_labels=1)
    with pytest.raises(InputError, match="expected a model that chooses among classes, got one with a single answer"):
        srs(model, tiny.tokenizer(), ["a film", "the plot"], [0, 0])


def test_a_model_in_training_mode_is_judged_in_evaluation_mode_and_gets_its_mode_back():
    model, labels = tiny.model(MASKED), [number % 2 for number in range(len(TEXTS))]
    expected = srs(model, tiny.tokenizer(), TEXTS, labels)
    model.train().layers[0].eval()  # a part is frozen
    modes = [module.training for module in model.modules()]
    assert srs(model, tiny.tokenizer(), TEXTS, labels) == expected
    assert [module.training for module in model.modules()] == modes


def test_texts_of_one_word_are_counted_and_srs_of_nothing_else_is_refused():
    result = srs(tiny.model(), tiny.tokenizer(), ["film", "a film", "dull"], [0, 1, 0])
    assert result.undeletable == 2
    assert str(result).endswith("; 2 of 3 texts hold one word, so nothing can be deleted from them")
    with pytest.raises(InputError, match="each of the 2 texts is one word to the tokenizer"):
        srs(tiny.model(), tiny.tokenizer(), ["film", "dull"], [0, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"percent": "30"}, "`percent` must be above 0 and at most 100, got the text '30'"),
        ({"percent": float("nan")}, "`percent` must be above 0"),
        ({"max_tokens": 0}, "`max_tokens` must be a whole number above 0, got 0"),
        ({"max_tokens": 2.5}, "`max_tokens` must be a whole number above 0, got 2.5"),
        ({"max_tokens": True}, "`max_tokens` must be a whole number above 0, got True"),
        ({"labels": [[0, 1], [1, 0]]}, "for one-hot labels pass labels.argmax"),
        ({"labels": ["good", "bad"]}, "got the text 'good'; see model.config.id2label"),
        ({"labels": None}, "as many labels, got 2 texts and None"),
        ({"scores": {"a": [0.0]}}, "expected scores as a list of one array per text, got a dict of 1"),
        ({"site": 3}, "`site` must be a name such as fc1.0, got 3"),
        ({"texts": [["a", "film"], ["the", "plot"]]}, "text 0: expected a text or a pair"),
        ({"texts": {"a film": 0, "the plot": 1}}, "expected a list of texts, got a dict of 2"),
    ],
)
def test_what_is_of_the_wrong_type_gets_one_line(without_type_checks, change, message):
    given = {"texts": ["a film", "the plot"], "labels": [0, 1], **change}
    with pytest.raises(InputError, match=message) as caught:
        srs(tiny.model(), tiny.tokenizer(), given.pop("texts"), given.pop("labels"), **given)
    assert "\n" not in str(caught.value)


def test_labels_and_scores_may_be_tensors():
    texts, scores = ["a film was", "the plot"], [[0.0, 1.0, 2.0], [1.0, 0.0]]
    plain = srs(tiny.model(), tiny.tokenizer(), texts, [0, 1], scores=[np.array(each) for each in scores])
    tensors = [torch.tensor(each, dtype=torch.bfloat16) for each in scores]
    assert srs(tiny.model(), tiny.tokenizer(), texts, torch.tensor([0, 1]), scores=tensors) == plain


def test_texts_beyond_the_models_positions_are_refused_in_one_line():
    tokenizer = tiny.tokenizer()
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16}
    model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), **size)).eval()
    with pytest.raises(InputError, match="a text has 30 tokens, more than the model's 16 positions; pass a max_tokens"):
        srs(model, tokenizer, ["film", "film " * 30], [0, 1])
    assert srs(model, tokenizer, ["film cast", "film " * 30], [0, 1], max_tokens=16).texts == 2


@pytest.mark.parametrize("within", ["first", "second", "both"])
def test_srs_of_numbers_is_a_slow_loop_over_the_growth_of_the_error(within):
    words = train_word_tokenizer([("a dull film was on", "it was good and rich")] * 2)
    pairs = [("a dull film was on", "it was good"), ("film was a dull", "good and rich it was"), ("was on", "it")]
    model = tiny.model(id2label={0: "stars"}, problem_type="regression", vocabulary=len(words))
    labels = [1.5, -2.0, 0.25]
    result = srs(model, words, pairs, labels, percent=40, within=within)
    grown = []
    for text, label in zip(encode(words, pairs), labels, strict=True):
        (internals,) = internal_scores(model, [text], ["fc1.0"])
        gone = select_top_words(internals.capacity["fc1.0"], 40, text_of_word=text.text_of_word, within=within)
        (before,), (after,) = (predict_labels(model, [shown]) for shown in (text, text.without(gone)))
        grown.append(abs(after - label) - abs(before - label))
    assert result.metric == "mae"
    assert result.srs.value == pytest.approx(np.mean(grown), abs=1e-6)
    assert str(result).startswith("SRS(40) ")
    assert "mean absolute error" in str(result)
    assert "in %" not in str(result)


def test_srs_where_several_classes_can_be_right_counts_texts_whose_classes_are_all_right():
    model = tiny.model(problem_type="multi_label_classification", id2label={0: "a", 1: "b", 2: "c"})
    words = tiny.tokenizer()
    labels = np.random.default_rng(0).integers(0, 2, size=(len(TEXTS), 3))
    result = srs(model, words, TEXTS, labels)
    logits = {text: model(**words([text], return_tensors="pt")).logits[0].detach().numpy() for text in TEXTS}
    right = [((logits[text] > 0) == label).all() for text, label in zip(TEXTS, labels, strict=True)]
    assert result.accuracy.value == pytest.approx(np.mean(right))
    with pytest.raises(InputError, match="expected 0 or 1 for each class as the label of a text"):
        srs(model, words, TEXTS, labels[:, 0])


@pytest.mark.parametrize(
    ("kind", "labels", "message"),
    [
        ("regression", ["good", "bad"], "expected finite numbers as labels"),
        ("regression", [1.0, float("nan")], "expected finite numbers as labels"),
        ("multi_label_classification", [[0, 1], [1, 2]], "expected 0 or 1 for each class"),
        (
            "multi_label_classification",
            [[0, 1, 1], [1, 0, 1]],
            "expected 0 or 1 for each of the model's 2 classes, got 3",
        ),
        ("regression", [[1.0], [2.0]], "expected one label for each text, got 1"),
    ],
)
def test_labels_of_another_task_are_refused_in_one_line(kind, labels, message):
    names = {0: "stars"} if kind == "regression" else {0: "a", 1: "b"}
    model = tiny.model(problem_type=kind, id2label=names)
    with pytest.raises(InputError, match=message):
        srs(model, tiny.tokenizer(), ["a dull film", "a fresh film"], labels)
