"""Neurons of a text and of many texts are what a slow loop over words and neurons finds."""

import json
from dataclasses import replace

import numpy as np
import pyarrow
import pytest
import torch

from safr.attribution.explain import explain
from safr.attribution.neurons import (
    TOP_WORDS,
    find_text_neurons,
    get_neuron_site,
    read_summary,
    summarize_neurons,
)
from safr.attribution.relevance import neuron_relevance
from safr.config import Regularization
from safr.data.encoding import EncodedText, encode
from safr.errors import InputError
from safr.inference import predict
from safr.model.trace import trace
from safr.runs import Run
from safr.storage import write_parquet
from tests import tiny
from tests.model import families

SENTENCES = ["a lovely film", "the dull story was awful but funny and rich", "moving cast", "a dull film", "funny"]
TEXTS = encode(tiny.tokenizer(), SENTENCES)


@pytest.fixture(scope="module")
def model():
    return tiny.model(Regularization(vmask_width=8), num_hidden_layers=2)


def activations_of(model, text, site):
    ids = torch.tensor([text.ids])
    with torch.no_grad():
        return trace(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, [site]).site(site)[0].numpy()


def test_the_most_used_neurons_of_a_text_by_hand(model):
    found = find_text_neurons(model, TEXTS, 5, target_names=["a", "b", "c", "d", "e"])
    for number, (text, used) in enumerate(zip(TEXTS, found, strict=True)):
        values = activations_of(model, text, "fc1_out.0")
        use = np.abs(values).sum(axis=0)
        assert used.site == "fc1_out.0"
        assert use[used.neurons].tolist() == sorted(use, reverse=True)[:5]
        np.testing.assert_allclose(used.activations, values[:, used.neurons], atol=1e-6)
        (relevance,) = neuron_relevance(model, [text], "fc1_out.0", int(predict(model, [text])[0]))
        np.testing.assert_allclose(used.relevance, relevance[:, used.neurons], atol=1e-6)
        np.testing.assert_allclose(used.total, relevance[:, used.neurons].sum(axis=0), atol=1e-5)
        assert used.target == "abcde"[number]


def test_a_word_of_several_tokens_has_its_largest_activation_with_its_sign_and_the_sum_of_their_relevance():
    bert = families.tiny("bert").eval()
    joined = EncodedText(TEXTS[0].ids, ("a lovely", "film"), (0, 0, 1), truncated=False)
    (used,) = find_text_neurons(bert, [joined], 1_000, target_names=["x"])
    values = activations_of(bert, joined, "fc1_out.0")[:, used.neurons]
    by_hand = np.where(np.abs(values[0]) >= np.abs(values[1]), values[0], values[1])
    np.testing.assert_allclose(used.activations[0], by_hand, atol=1e-6)
    assert (by_hand < 0).any()
    (relevance,) = neuron_relevance(bert, [joined], "fc1_out.0")
    np.testing.assert_allclose(used.relevance[0], relevance[:2, used.neurons].sum(axis=0), atol=1e-6)


def test_a_summary_is_a_slow_loop(model):
    found = summarize_neurons(model, tiny.tokenizer(), TEXTS)
    classes = predict(model, TEXTS)
    relevance = neuron_relevance(model, TEXTS, "fc1_out.0", classes)
    values = [activations_of(model, text, "fc1_out.0") for text in TEXTS]
    for neuron in range(32):
        words = [
            (-abs(row[neuron]), number, position)
            for number, text_values in enumerate(values)
            for position, row in enumerate(text_values)
            if row[neuron] != 0
        ]
        top = sorted(words)[:TOP_WORDS]
        assert [(number, position) for _, number, position in top] == [
            (number, position)
            for number, position in zip(found.texts[neuron], found.positions[neuron], strict=True)
            if number >= 0
        ]
        np.testing.assert_allclose(
            -np.array([size for size, *_ in top]), found.activations[neuron, : len(top)], atol=1e-6
        )
        assert np.isnan(found.activations[neuron, len(top) :]).all()
        assert found.words[neuron] == tuple(TEXTS[number].words[position] for _, number, position in top)
        every = np.concatenate([text_values[:, neuron] for text_values in values])
        assert found.active[neuron] == pytest.approx((every > 0).mean())
        for chosen in range(2):
            sums = [found_of[:, neuron].sum() for found_of, k in zip(relevance, classes, strict=True) if k == chosen]
            expected = np.mean(sums) if sums else np.nan
            assert found.relevance[neuron, chosen] == pytest.approx(expected, abs=1e-5, nan_ok=True)
    assert any(len(words) < TOP_WORDS for words in found.words) or (found.texts >= 0).all()


def test_the_order_of_the_texts_changes_nothing(model):
    found = summarize_neurons(model, tiny.tokenizer(), TEXTS)
    other = summarize_neurons(model, tiny.tokenizer(), TEXTS[::-1])
    np.testing.assert_allclose(found.activations, other.activations, rtol=1e-5)
    assert [sorted(words) for words in found.words] == [sorted(words) for words in other.words]
    np.testing.assert_allclose(found.relevance, other.relevance, atol=1e-6)


def test_texts_that_drive_no_neuron_more_than_others_change_nothing(model):
    some = summarize_neurons(model, tiny.tokenizer(), TEXTS)
    many = summarize_neurons(model, tiny.tokenizer(), TEXTS * (TOP_WORDS + 2))  # the last of them no neuron takes up
    assert many.words == tuple((words[0],) * TOP_WORDS if words else () for words in some.words)
    assert many.texts.max() < TOP_WORDS * len(TEXTS)


def test_dead_neurons_have_no_words():
    model = tiny.model(num_hidden_layers=1)
    with torch.no_grad():
        model.layers[0].fc1.weight[3] = 0
        model.layers[0].fc1.bias[3] = -1
    found = summarize_neurons(model, tiny.tokenizer(), TEXTS)
    assert (found.words[3], found.active[3], found.texts[3].max()) == ((), 0.0, -1)
    table = found.to_table()
    assert table["word"][3].as_py() == []
    assert np.nan_to_num(table["relevance"][3].as_py()).tolist() == [0.0, 0.0]


def test_a_table_holds_the_summary(model):
    found = summarize_neurons(model, tiny.tokenizer(), TEXTS)
    table = found.to_table()
    assert table.num_rows == 32
    assert table.schema.metadata[b"site"] == b"fc1_out.0"
    assert json.loads(table.schema.metadata[b"classes"]) == list(found.classes)
    assert table["word"].to_pylist() == [list(words) for words in found.words]
    np.testing.assert_allclose(table["activation"][0].as_py(), found.activations[0][: len(found.words[0])], rtol=1e-6)


@pytest.mark.parametrize("family", ["paper", "t5"])
def test_a_run_keeps_the_summary(family, tmp_path):
    model = families.tiny(family).eval()
    texts = [replace(text, ids=(*text.ids[:-1], families.END)) for text in TEXTS]
    run, found = Run(tmp_path), summarize_neurons(model, tiny.tokenizer(), texts)
    assert read_summary(run) is None
    write_parquet(run.neurons_file, found.to_table())
    stored = read_summary(run)
    assert (stored.site, stored.words, stored.classes) == (found.site, found.words, found.classes)
    np.testing.assert_allclose(stored.activations, found.activations, rtol=1e-6)
    np.testing.assert_array_equal(stored.texts, found.texts)
    np.testing.assert_array_equal(stored.positions, found.positions)
    assert (stored.relevance is None) == (family == "t5")
    if found.relevance is not None:
        np.testing.assert_allclose(stored.relevance, found.relevance, rtol=1e-6)


@pytest.mark.parametrize(
    "damage",
    [
        lambda table: table.drop_columns(["word"]),
        lambda table: table.slice(1),
        lambda table: table.replace_schema_metadata({}),
        lambda table: table.set_column(3, "text", pyarrow.array([[1]] * len(table))),
    ],
)
def test_a_damaged_summary_is_refused(damage, model, tmp_path):
    run = Run(tmp_path)
    write_parquet(run.neurons_file, damage(summarize_neurons(model, tiny.tokenizer(), TEXTS).to_table()))
    with pytest.raises(InputError, match="expected a table of neurons, found another table; run `safr evaluate"):
        read_summary(run)


@pytest.mark.parametrize("family", ["bert", "albert", "gpt2", "llama", "t5", "distilbert"])
def test_families(family):
    model = families.tiny(family).eval()
    texts = [replace(text, ids=(*text.ids[:-1], families.END)) for text in TEXTS]  # T5 classifies from the end
    names = [str(number) for number in range(len(texts))]
    assert get_neuron_site(model) == "fc1_out.0"
    found = summarize_neurons(model, tiny.tokenizer(), texts)
    used = find_text_neurons(model, texts, 3, target_names=names)
    assert np.isfinite(found.active).all()
    is_told = not model.config.is_encoder_decoder
    assert (found.relevance is not None) == (used[0].relevance is not None) == is_told
    assert (used[0].target == "0") == is_told
    assert used[0].activations.shape == (len(texts[0].words), 3)


def test_explain_keeps_neurons_of_one_text_and_of_a_list(model):
    tokenizer = tiny.tokenizer()
    one = explain(model, tokenizer, SENTENCES[1], neurons=4)
    assert one.neurons.target == one.prediction
    assert one.scores is None
    many = explain(model, tokenizer, SENTENCES, neurons=4)
    np.testing.assert_allclose(many[1].neurons.activations, one.neurons.activations, atol=1e-6)
    other = explain(model, tokenizer, SENTENCES[1], neurons=4, target=1, method="relevance")
    same = explain(model, tokenizer, SENTENCES[1], neurons=4, target=1)
    np.testing.assert_array_equal(other.neurons.relevance, same.neurons.relevance)
    assert other.neurons.target == other.target == same.neurons.target
    assert explain(model, tokenizer, SENTENCES[1]).neurons is None
    assert explain(model, tokenizer, [], neurons=4).items == ()
    stored = json.loads(one.to_json())["neurons"]
    assert stored["neurons"] == one.neurons.neurons.tolist()
    frame = one.neurons.to_pandas()
    assert list(frame) == ["neuron", "position", "word", "activation", "relevance"]
    assert len(frame) == np.count_nonzero(one.neurons.activations)
    assert set(frame["neuron"]) <= set(one.neurons.neurons)
    with pytest.raises(InputError, match="`neurons` must be at least 0, got -1"):
        explain(model, tokenizer, SENTENCES[1], neurons=-1)


def test_a_class_is_refused_where_nothing_could_be_said_about_it():
    model = families.tiny("t5").eval()
    with pytest.raises(InputError, match="relevance needs a model without a decoder"):
        find_text_neurons(model, TEXTS, 3, target_names=["x"] * len(TEXTS), targets=1)


def test_texts_without_words_are_refused(model):
    with pytest.raises(InputError, match="expected at least one text with a word, got none"):
        summarize_neurons(model, tiny.tokenizer(), [])
