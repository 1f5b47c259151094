"""Scores of words from a sparse autoencoder of a model's neurons."""

import numpy as np
import pytest
import torch

import safr
from safr.data.encoding import encode
from safr.errors import InputError
from safr.evaluation.activations import SAMPLED_TOKENS, content_ids, iter_activations, sample_activations
from safr.evaluation.autoencoder_scores import autoencoder_scores, train_on_texts
from safr.evaluation.sparse_autoencoder import SparseAutoencoder
from tests import tiny

TEXTS = ("w0 w1 w1", "w2", "", "w3 w4 w5 w6")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return tiny.model()


def neuron_by_neuron(neurons, active):
    """An autoencoder with a latent for each neuron, which stands for what is above 0."""
    autoencoder = SparseAutoencoder(neurons, neurons, active)
    with torch.no_grad():
        autoencoder.decoder.copy_(torch.eye(neurons))
        autoencoder.encoder.copy_(torch.eye(neurons))
    return autoencoder.requires_grad_(False)


def encoded():
    return encode(tiny.tokenizer(), TEXTS, None)


def test_a_latent_for_each_neuron_scores_by_a_slow_loop(model):
    texts = encoded()
    neurons = model.config.intermediate_size
    scores = autoencoder_scores(model, texts, neuron_by_neuron(neurons, neurons))
    assert [len(words) for words in scores] == [3, 1, 0, 4]
    for text, words in zip(texts, scores, strict=True):
        if not text.words:
            continue
        ((_, _, (row,)),) = iter_activations(model, [text], "fc1_out.0")
        activity = [sum(max(value, 0) for value in token) for token in row]
        np.testing.assert_allclose(words, np.array(activity) / sum(activity), rtol=1e-5)
        assert words.sum() == pytest.approx(1)


def test_the_autoencoder_is_one_of_these_neurons(model):
    with pytest.raises(InputError, match=r"expected 5 neurons at fc1_out\.0, the autoencoder's, got"):
        autoencoder_scores(model, encoded(), neuron_by_neuron(5, 2))
    with pytest.raises(InputError, match="expected texts whose activations are sampled, got none"):
        sample_activations(model, [], "fc1_out.0")


def test_activations_of_all_tokens_are_sampled_until_there_are_enough(model, monkeypatch):
    texts = encoded()
    assert sum(len(content_ids(text)) for text in texts) == 8 < SAMPLED_TOKENS
    whole = sample_activations(model, texts, "fc1_out.0")
    assert whole.shape == (8, model.config.intermediate_size)
    monkeypatch.setattr("safr.evaluation.activations.SAMPLED_TOKENS", 5)
    first, again, other = (sample_activations(model, texts, "fc1_out.0", seed) for seed in (0, 0, 1))
    assert len(first) == 5
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    rows = {row.tobytes() for row in whole}
    assert all(row.tobytes() in rows for row in first)


def test_a_trained_autoencoder_scores_words_for_srs(model):
    data = tiny.dataset()
    texts = encode(tiny.tokenizer(), data.train.texts, None)
    autoencoder = train_on_texts(model, texts)
    assert autoencoder.decoder.shape[1] == model.config.intermediate_size
    test = encode(tiny.tokenizer(), data.test.texts, None)
    scores = autoencoder_scores(model, test, autoencoder)
    found = safr.srs(model, tiny.tokenizer(), data.test.texts, data.test.labels, scores=scores)
    assert found.texts == len(test)
    assert not found.site
