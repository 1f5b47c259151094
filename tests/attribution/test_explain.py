"""Many texts explained at once, beside the same texts one by one."""

import pickle
from collections import deque
from dataclasses import FrozenInstanceError

import numpy as np
import pandas
import pytest
import torch
from transformers import BertForMaskedLM, BertForSequenceClassification, GPT2LMHeadModel, T5ForConditionalGeneration

import safr
from safr.attribution.explain import LazyMapping, explain
from safr.attribution.explanation import Explanation, Explanations
from safr.config import Regularization
from safr.data.encoding import encode
from safr.errors import InputError
from safr.inference import iter_model_batches
from safr.model.attach import attach
from tests import tiny, tiny_tokenizers

TEXTS = [
    "the film was unbelievably good and the cast was dull",
    "a good film",
    "café",
    "don't stop : 漢字 good good",
    "the story moves",
    "a premise says that the story moves , a hypothesis that it does not",
]
PAIRS = [("a premise says", "that the story moves"), ("the film", "a good film was good")]
KINDS = [kind for kind in tiny_tokenizers.MODELS if kind is not BertForMaskedLM]
MASKED = Regularization(vmask_width=8)
SITES = ("embedding", "fc1", "fc2.1", "attention")


def reads_pairs(kind):
    return not kind.__name__.startswith(("GPT2", "Llama"))


def texts_for(kind):
    return [*TEXTS[:3], *PAIRS, *TEXTS[3:]] if reads_pairs(kind) else TEXTS


def assert_same(one, other):
    for name in ("words", "text_of_word", "prediction", "labels", "predicted", "truncated", "left_out", "unknown"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.left_out_note == other.left_out_note
    assert list(one.probabilities) == list(other.probabilities)
    np.testing.assert_allclose(
        list(one.probabilities.values()), list(other.probabilities.values()), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(one.capacity, other.capacity, rtol=1e-5, atol=1e-5)
    assert (one.keep is None) == (other.keep is None)
    if one.keep is not None:
        np.testing.assert_allclose(one.keep, other.keep, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_number_of_a_list_is_that_of_the_text_alone(kind, masked):
    model, words = tiny_tokenizers.model(kind)
    if masked:
        attach(model, MASKED, tokenizer=words)
    texts = texts_for(kind)
    explanations = explain(model, words, texts, max_tokens=16)
    assert isinstance(explanations, Explanations)
    for text, explanation in zip(texts, explanations, strict=True):
        assert_same(explanation, explain(model, words, text, max_tokens=16))
    assert any(explanation.truncated for explanation in explanations)


@pytest.mark.parametrize("kind", [BertForSequenceClassification, GPT2LMHeadModel, T5ForConditionalGeneration])
def test_every_number_of_a_site_that_is_asked_for_is_that_of_the_text_alone(kind):
    model, words = tiny_tokenizers.model(kind)
    texts = texts_for(kind)
    for text, explanation in zip(texts, explain(model, words, texts, sites=SITES), strict=True):
        alone = explain(model, words, text)
        assert_same(explanation, alone)
        assert list(explanation.sites) == ["embedding", "fc1.0", "fc1.1", "fc2.1"]
        assert list(explanation.attention) == [0, 1]
        for name, site in explanation.sites.items():
            for values in ("capacity", "polysemanticity", "interference"):
                expected = getattr(alone.sites[name], values)
                np.testing.assert_allclose(getattr(site, values), expected, rtol=1e-4, atol=1e-5)
        for layer, weights in explanation.attention.items():
            np.testing.assert_allclose(weights, alone.attention[layer], rtol=1e-4, atol=1e-5)


def test_texts_of_a_list_share_a_batch():
    model, words = tiny_tokenizers.model(BertForSequenceClassification)
    assert [len(batch.indices) for batch in iter_model_batches(model, encode(words, TEXTS))] == [6]
    passes = []
    with_hook = model.register_forward_hook(lambda *_: passes.append(1))
    explain(model, words, TEXTS)
    with_hook.remove()
    assert len(passes) == 1


def test_a_list_of_two_is_two_texts_and_a_tuple_of_two_is_a_pair():
    model, words = tiny_tokenizers.model(BertForSequenceClassification)
    first, second = explain(model, words, ["the film", "a good film"])
    assert (first.words, second.words) == (("the", "film"), ("a", "good", "film"))
    pair = explain(model, words, ("the film", "a good film"))
    assert pair.text_of_word == (0, 0, 1, 1, 1)
    assert explain(model, words, "the film", "a good film").to_json() == pair.to_json()
    assert explain(model, words, [("the film", "a good film")])[0].text_of_word == pair.text_of_word
    assert [each.words for each in explain(model, words, ("the", "a", "film"))] == [("the",), ("a",), ("film",)]
    assert [each.text_of_word for each in explain(model, words, (("the", "a"), ("a", "film")))] == [(0, 1)] * 2


@pytest.mark.parametrize("wrap", [list, np.array, pandas.Series, iter, deque, lambda texts: (each for each in texts)])
def test_texts_come_in_any_iterable(wrap):
    model, words = tiny.model(MASKED), tiny.tokenizer()
    texts = ["a good film", "the plot was dull"]
    explanations = explain(model, words, wrap(texts))
    assert [explanation.words for explanation in explanations] == [tuple(text.split()) for text in texts]


def test_a_list_of_one_and_an_empty_one_are_lists():
    model, words = tiny.model(MASKED), tiny.tokenizer()
    assert [each.words for each in explain(model, words, ["a film"])] == [("a", "film")]
    nothing = explain(model, words, [])
    assert (len(nothing), repr(nothing)) == (0, "<Explanations of 0 texts, 0 words>")
    assert nothing.to_pandas().empty


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a film", "", "a", " "], r"^text 1 and 1 more: expected a text with at least one word, got none; leave out"),
        (["a film", "a", ("", "")], r"^text 2: expected a text with at least one word, got none; leave out"),
        (["a film", None], r"^text 1: expected a text or a pair of texts as a tuple, got None"),
        (["a film", ["a", "b"]], r"^text 1: expected a text or a pair of texts as a tuple, got a list of 2"),
        (("a", 1), "^text 1: expected a text or a pair of texts as a tuple, got 1"),
        ({"a", "b"}, "expected a text or a pair of texts as a tuple, got a set of 2"),
        (np.array([["a", "b"]]), "expected a list of texts, got"),
    ],
)
def test_what_cannot_be_explained_is_named(without_type_checks, texts, message):
    with pytest.raises(InputError, match=message):
        explain(tiny.model(), tiny.tokenizer(), texts)


@pytest.mark.parametrize("given", [(["a film"], "a plot"), (("a", "film"), "a plot"), ("a film", ["a plot"])])
def test_a_second_text_goes_with_one_text_only(without_type_checks, given):
    with pytest.raises(
        InputError, match=r"expected `text` and `text_pair` to be one text each, got .*; in a list, a pair"
    ):
        explain(tiny.model(), tiny.tokenizer(), *given)


def test_a_list_is_explained_in_evaluation_mode_and_the_mode_comes_back():
    model, words = tiny.model(MASKED, hidden_dropout_prob=0.5), tiny.tokenizer()
    expected = explain(model, words, ["a good film", "dull"])
    found = explain(model.train(), words, ["a good film", "dull"])
    assert all(module.training for module in model.modules())
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def test_explanations_of_a_list_hold_a_few_numbers_per_word():
    model, words = tiny.model(MASKED, num_hidden_layers=2), tiny.tokenizer()
    for explanation in explain(model, words, ["a good film", "dull"]):
        assert (explanation.sites, explanation.attention) == ({}, {})
        held = [value for value in vars(explanation).values() if isinstance(value, np.ndarray | torch.Tensor)]
        assert sum(value.size for value in held) == 2 * len(explanation.words)
        with pytest.raises(
            InputError, match=r"nothing at site 'fc1\.0'; recorded are: none; pass sites='fc1\.0' to ex"
        ):
            explanation.figures()
        for show in (explanation.site_pictures, explanation.explore, explanation.site):
            with pytest.raises(InputError, match="pass sites="):
                show()
        assert "capacity 0." in explanation._repr_html_() or "capacity 1." in explanation._repr_html_()
        assert explanation.to_dict()["capacity"] == explanation.capacity.tolist()
    for explanation in explain(model, words, ["a good film"], sites="embedding"):
        assert set(explanation.sites) == {"embedding", "fc1.0"}
        assert not isinstance(explanation.sites, LazyMapping)  # which would hold the whole batch's vectors
        assert len(explanation.figures()) == 4


def test_sites_of_one_text_are_those_that_are_asked_for():
    model, words = tiny.model(MASKED, num_hidden_layers=2), tiny.tokenizer()
    alone = explain(model, words, "a good film", sites=("fc2", "embedding"))
    assert list(alone.sites) == ["embedding", "fc1.0", "fc2.0", "fc2.1"]
    assert alone.attention == {}
    with pytest.raises(InputError, match="unknown sites: fc9"):
        explain(model, words, ["a film"], sites="fc9")


@pytest.fixture(scope="module")
def explanations():
    return explain(tiny.model(MASKED), tiny.tokenizer(), ["a good film", "the <Plot>", "dull"])


def test_explanations_are_a_frozen_sequence(explanations):
    assert isinstance(explanations[0], Explanation)
    assert isinstance(explanations[1:], Explanations)
    assert [each.words for each in explanations[1:]] == [("the", "<Plot>"), ("dull",)]
    assert explanations[-1] is explanations[2]
    assert next(reversed(explanations)) is explanations[2]
    assert explanations.index(explanations[0]) == 0
    with pytest.raises(IndexError):
        explanations[3]
    with pytest.raises(FrozenInstanceError):
        explanations.items = ()
    again = pickle.loads(pickle.dumps(explanations))
    pandas.testing.assert_frame_equal(again.to_pandas(), explanations.to_pandas())


def test_a_table_has_one_row_per_word(explanations):
    table = explanations.to_pandas()
    names = ["text", "position", "word", "text_of_word", "unknown", "prediction", "probability", "capacity", "keep"]
    assert list(table.columns) == [*names, "score", "truncated"]
    assert table["text"].tolist() == [0, 0, 0, 1, 1, 2]
    assert table["position"].tolist() == [0, 1, 2, 0, 1, 0]
    assert table["word"].tolist() == ["a", "good", "film", "the", "<Plot>", "dull"]
    assert table["unknown"].tolist() == [False, True, False, False, True, False]
    np.testing.assert_array_equal(table["capacity"], np.concatenate([each.capacity for each in explanations]))
    np.testing.assert_array_equal(table["keep"], np.concatenate([each.keep for each in explanations]))
    first = explanations[1]
    pandas.testing.assert_frame_equal(
        first.to_pandas().assign(text=1), table[table["text"] == 1].reset_index(drop=True)
    )


def test_a_table_of_pairs_without_a_mask_tells_the_texts_apart():
    model, words = tiny_tokenizers.model(BertForSequenceClassification)
    table = explain(model, words, PAIRS).to_pandas()
    assert table["text_of_word"][:7].tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert table["keep"].isna().all()


def test_many_explanations_are_shown_in_a_line_and_in_a_notebook(explanations):
    counts = {name: [each.prediction for each in explanations].count(name) for name in ("LABEL_0", "LABEL_1")}
    assert repr(explanations).startswith("<Explanations of 3 texts, 6 words; predicted: ")
    assert all(f"{count} {name}" in repr(explanations) for name, count in counts.items() if count)
    many = Explanations(explanations.items * 5)
    page = many._repr_html_()
    assert page.count("predicted <b>") == 10
    assert "The first 10; to_pandas() gives all." in page
    assert "<Plot>" not in page
    assert "&lt;Plot&gt;" in page
    assert "to_pandas" not in explanations._repr_html_()
    assert safr.Explanations is Explanations


def test_words_of_a_model_in_half_precision_keep_capacities_of_their_own():
    """Those between 0.5 and 1 would fall on steps of 1/256, and equal words are deleted in the order of the text."""
    model = tiny.model(Regularization(vmask_width=8)).bfloat16()
    found = explain(model, tiny.tokenizer(), "the dull story was awful but funny")
    assert len(np.unique(found.capacity)) == len(found.words)
    assert (found.capacity != torch.tensor(found.capacity).bfloat16().double().numpy()).any()
    listed = explain(model, tiny.tokenizer(), ["the dull story was awful but funny"])[0]
    assert (listed.capacity != torch.tensor(listed.capacity).bfloat16().double().numpy()).any()
