"""Vectors of words from an independent encoder, and the monosemanticity score by them."""

import numpy as np
import pytest
import torch
from transformers import BartConfig, BartModel, BertConfig, BertModel

import safr
from safr.data.encoding import EncodedText, encode
from safr.errors import InputError
from safr.evaluation.monosemanticity import monosemanticity_score
from safr.evaluation.word_vectors import word_vectors
from tests import tiny, tiny_tokenizers

TEXTS, LABELS = (list(column) for column in zip(*tiny.sentences(20, 0, longest=9), strict=True))


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return BertModel(BertConfig(vocab_size=len(tiny.tokenizer()), **sizes)).eval()


def test_a_word_s_vector_is_the_mean_of_the_last_layer_at_its_tokens(encoder):
    texts = encode(tiny.tokenizer(), [*TEXTS[:3], ""])
    for text, rows in zip(texts, word_vectors(encoder, tiny.tokenizer(), texts), strict=True):
        with torch.no_grad():
            states = encoder(torch.tensor([text.ids])).last_hidden_state[0].numpy() if text.ids else np.zeros((0, 16))
        assert rows.shape == (len(text.words), 16)
        for word, vector in enumerate(rows):
            own = [states[token] for token, index in enumerate(text.word_of_token) if index == word]
            np.testing.assert_allclose(vector, np.mean(own, axis=0), atol=1e-5)


def test_neurons_are_measured_by_the_vectors_of_their_words(encoder):
    tokenizer, model = tiny.tokenizer(), tiny.model()
    vectors = word_vectors(encoder, tokenizer, encode(tokenizer, TEXTS))
    found = safr.measure_neurons(model, tokenizer, TEXTS, encoder=(encoder, tokenizer), autoencoders=0)
    without = safr.measure_neurons(model, tokenizer, TEXTS, autoencoders=0)
    assert without.vector_monosemanticity is without.vector_monosemanticity_by_chance is None
    assert found.monosemanticity == without.monosemanticity
    rows, units = [], []
    for text, own in zip(encode(tokenizer, TEXTS), vectors, strict=True):
        with torch.no_grad():
            batch = {"input_ids": torch.tensor([text.ids])}
            values = safr.trace(model, batch, "fc1_out.0").site("fc1_out.0")[0].numpy()
        for token, word in enumerate(text.word_of_token):
            if word is not None:
                rows.append(values[token])
                units.append(own[word])
    expected = monosemanticity_score(np.stack(rows), vectors=np.stack(units))
    np.testing.assert_allclose(found.by_neuron["vector_monosemanticity"], expected, rtol=1e-4)
    unit = np.stack(units) / np.linalg.norm(units, axis=1, keepdims=True)
    similar = unit @ unit.T
    others = ~np.eye(len(unit), dtype=bool)
    assert found.vector_monosemanticity_by_chance == pytest.approx(similar[others].mean())
    assert found.vector_monosemanticity.low <= np.nanmean(expected) <= found.vector_monosemanticity.high


@pytest.mark.parametrize("family", tiny_tokenizers.FAMILIES)
def test_the_encoder_gets_the_words_that_the_model_reads(family):
    """Another tokenizer splits a text into other words and pieces."""
    tokenizer = tiny_tokenizers.tokenizer(family)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    encoder = BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).eval()
    text = EncodedText((7, 8), ("don't", "film", "unbelievably", "film"), (0, 2), truncated=False)
    (vectors,) = word_vectors(encoder, tokenizer, [text])
    joined = " ".join(text.words)
    tokens = tokenizer(joined, return_offsets_mapping=True)
    with torch.no_grad():
        states = encoder(torch.tensor([tokens["input_ids"]])).last_hidden_state[0].numpy()
    places = {0: range(6), 1: range(6, 11), 2: range(11, 24), 3: range(24, 28)}
    for word, own in places.items():
        pieces = [
            state
            for state, (start, end) in zip(states, tokens["offset_mapping"], strict=True)
            if joined[start:end].strip() and end - 1 in own
        ]
        np.testing.assert_allclose(vectors[word], np.mean(pieces, axis=0), atol=1e-5)


def test_a_word_without_a_token_gets_the_mean_of_the_others(encoder):
    text = EncodedText((7, 8), ("w0", "", "w1"), (0, 2), truncated=False)
    (vectors,) = word_vectors(encoder, tiny.tokenizer(), [text])
    np.testing.assert_allclose(vectors[1], vectors[[0, 2]].mean(axis=0), atol=1e-6)


def test_a_text_too_long_for_the_encoder_is_read_in_parts():
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    tokenizer = tiny_tokenizers.tokenizer("wordpiece")
    encoder = BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=8, **sizes)).eval()
    words, long = ("film", "story", "film", "story", "story", "film", "film"), "film" * 20
    parts = (words, words[:3], words[3:], (long,), ("\u200b", long))
    texts = [EncodedText((7,), part, (0,), truncated=False) for part in parts]
    whole, first, second, begun, beside_none = word_vectors(encoder, tokenizer, texts)
    np.testing.assert_allclose(whole, np.concatenate([first, second]), atol=1e-6)
    with torch.no_grad():
        states = encoder(torch.tensor([tokenizer(long)["input_ids"][:8]])).last_hidden_state[0].numpy()
    np.testing.assert_allclose(begun[0], states[1:].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(beside_none, np.concatenate([begun, begun]), atol=1e-6)


def test_an_encoder_that_does_not_fit_is_refused(encoder):
    texts = encode(tiny.tokenizer(), TEXTS[:2])
    seq2seq = BartModel(BartConfig(vocab_size=60, d_model=16, encoder_layers=1, decoder_layers=1))
    with pytest.raises(InputError, match="expected an encoder that returns its hidden states, got BartModel"):
        word_vectors(seq2seq, tiny.tokenizer(), texts)
