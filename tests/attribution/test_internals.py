from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertForMaskedLM, BertForSequenceClassification, GPT2LMHeadModel

from safr import inference
from safr.attribution.internals import internal_scores
from safr.attribution.words import random_scores
from safr.config import Regularization
from safr.data.batches import iter_batches
from safr.data.encoding import encode
from safr.errors import InputError
from safr.inference import iter_model_batches
from safr.model.trace import trace
from safr.superposition import capacity
from tests import tiny, tiny_tokenizers

TEXTS = [text for text, _ in tiny.sentences(20, seed=5, longest=9)]
SITES = ("embedding", "vmask", "fc1", "fc1_out", "fc2")


def alone(model, text):
    """One text as a batch without any padding."""
    ids = torch.tensor([text.ids])
    with torch.inference_mode():
        return trace(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, SITES)


def check_against_one_at_a_time(model, texts):
    scored = internal_scores(model, texts, SITES)
    assert len(scored) == len(texts)
    for text, found in zip(texts, scored, strict=True):
        seen = alone(model, text)
        assert found.prediction == int(seen.logits.argmax())
        assert set(found.capacity) == set(seen.vectors)
        for site, vectors in seen.vectors.items():
            np.testing.assert_allclose(found.capacity[site], capacity(vectors)[0], rtol=1e-4, atol=1e-6)
        if seen.keep is None:
            assert found.keep is None
        else:
            np.testing.assert_allclose(found.keep, seen.keep[0], rtol=1e-5)


@pytest.mark.parametrize(
    "regularization",
    [None, Regularization(vmask=False), Regularization(vmask_width=8)],
    ids=["plain", "no mask", "mask"],
)
def test_scores_in_batches_are_those_of_each_text_alone(regularization):
    check_against_one_at_a_time(tiny.model(regularization), encode(tiny.tokenizer(), TEXTS))


def test_every_layer_has_its_sites():
    model = tiny.model(Regularization(vmask_width=8), num_hidden_layers=2)
    found = internal_scores(model, encode(tiny.tokenizer(), TEXTS), ("fc1", "fc2.1"))
    assert list(found[0].capacity) == ["fc1.0", "fc1.1", "fc2.1"]


def test_scores_are_shares():
    for found in internal_scores(tiny.model(Regularization(vmask_width=8)), encode(tiny.tokenizer(), TEXTS), SITES):
        for values in (found.keep, *found.capacity.values()):
            assert ((values >= 0) & (values <= 1)).all()


def test_the_batches_size_changes_nothing(monkeypatch):
    model, texts = tiny.model(Regularization(vmask_width=8)), encode(tiny.tokenizer(), TEXTS)
    usual = internal_scores(model, texts)
    monkeypatch.setattr(inference, "iter_batches", partial(iter_batches, tokens_per_batch=1))
    assert all(len(batch.indices) == 1 for batch in iter_model_batches(model, texts))
    for one, other in zip(usual, internal_scores(model, texts), strict=True):
        np.testing.assert_allclose(one.capacity["fc1.0"], other.capacity["fc1.0"], rtol=1e-4)
        np.testing.assert_allclose(one.keep, other.keep, rtol=1e-4)


def test_a_text_without_words_gets_a_prediction_and_no_scores():
    empty, _ = internal_scores(tiny.model(Regularization(vmask_width=8)), encode(tiny.tokenizer(), ["", "a film"]))
    assert empty.prediction in (0, 1)
    assert empty.keep.shape == empty.capacity["fc1.0"].shape == (0,)


def test_no_texts_give_no_scores():
    assert internal_scores(tiny.model(), []) == []


def test_a_model_that_counts_padding_gets_it():
    model = tiny.model(Regularization(padding="count", vmask_width=8), padded_length=20)
    texts = encode(tiny.tokenizer(), TEXTS)
    assert {batch.inputs["input_ids"].shape[1] for batch in iter_model_batches(model, texts)} == {20}
    assert [len(found.keep) for found in internal_scores(model, texts)] == [len(text.words) for text in texts]


def test_words_of_several_pieces_get_the_score_of_their_largest(minilm):
    model = AutoModel.from_pretrained(minilm).eval()
    texts = encode(AutoTokenizer.from_pretrained(minilm), ["an unbelievably tedious film", "good"])
    ids = torch.tensor([texts[0].ids])
    with torch.inference_mode():
        hidden = []
        handle = model.encoder.layer[0].intermediate.dense.register_forward_hook(lambda *given: hidden.append(given[2]))
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
        handle.remove()
    of_token = capacity(hidden[0][:, 1:-1])[0].tolist()  # without [CLS] and [SEP]
    owners = texts[0].word_of_token[1:-1]
    expected = [max(value for value, owner in zip(of_token, owners, strict=True) if owner == word) for word in range(4)]
    found = _with_logits(model, texts)
    np.testing.assert_allclose(found[0].capacity["fc1.0"], expected, rtol=1e-4)
    np.testing.assert_allclose(found[1].capacity["fc1.0"], [1.0])


@pytest.mark.parametrize("kind", tiny_tokenizers.CLASSIFIERS)
def test_pairs_are_read_as_the_model_and_its_tokenizer_do(kind):
    model, words = tiny_tokenizers.model(kind)
    pairs = [("the film was good", "dull"), ("a film", "it is a good film")]
    for text, scored in zip(pairs, internal_scores(model, encode(words, pairs)), strict=True):
        with torch.inference_mode():
            logits = model(**words(*text, return_tensors="pt")).logits
        assert scored.prediction == int(logits.argmax())
        assert len(scored.capacity["fc1.0"]) == len(" ".join(text).split())


def test_only_pairs_come_with_token_types_and_only_where_the_model_has_embeddings_for_them():
    model, words = tiny_tokenizers.model(BertForSequenceClassification)
    single, pair = (encode(words, [text]) for text in ("a film", ("a film", "a day")))
    assert "token_type_ids" not in next(iter_model_batches(model, single)).inputs
    assert next(iter_model_batches(model, pair)).inputs["token_type_ids"].tolist() == [list(pair[0].token_types)]
    known = [replace(pair[0], ids=(2,) * len(pair[0].ids))]  # by a model with a smaller vocabulary
    assert "token_type_ids" not in next(iter_model_batches(tiny.model(), known)).inputs


def test_a_language_model_is_scored_by_its_next_token():
    model, words = tiny_tokenizers.model(GPT2LMHeadModel)
    for text, scored in zip(TEXTS, internal_scores(model, encode(words, TEXTS)), strict=True):
        assert scored.prediction == int(model(**words(text, return_tensors="pt")).logits[0, -1].argmax())


def test_a_model_that_gives_every_token_an_answer_is_refused():
    model, words = tiny_tokenizers.model(BertForMaskedLM)
    with pytest.raises(InputError, match="classifies texts or continues them, got BertForMaskedLM"):
        internal_scores(model, encode(words, TEXTS))


def test_scores_of_a_model_in_half_precision_are_scores():
    model = tiny.model(Regularization(vmask_width=8)).bfloat16()
    for found in internal_scores(model, encode(tiny.tokenizer(), TEXTS)):
        assert ((found.capacity["fc1.0"] > 0) & (found.capacity["fc1.0"] <= 1)).all()


def _with_logits(model, texts):
    """The encoder's scores; its first hidden vector stands in for the logits that it lacks."""
    forward = model.forward

    def with_logits(*arguments, **options):
        output = forward(*arguments, **options)
        output["logits"] = output.last_hidden_state[:, 0]
        return output

    model.forward = with_logits
    try:
        return internal_scores(model, texts, ("fc1.0",))
    finally:
        model.forward = forward


def test_random_scores_are_reproducible_per_seed_and_one_per_word():
    texts = encode(tiny.tokenizer(), [*TEXTS, ""])
    one, same, other = (random_scores(texts, seed) for seed in (3, 3, 4))
    assert [len(each) for each in one] == [len(text.words) for text in texts]
    assert np.array_equal(np.concatenate(one), np.concatenate(same))
    assert not np.array_equal(np.concatenate(one), np.concatenate(other))
    assert ((np.concatenate(one) >= 0) & (np.concatenate(one) < 1)).all()
