"""Scores of words from a sparse autoencoder: the model is trained as usual, and its neurons are read out afterwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from safr.attribution.neurons import get_neuron_site
from safr.attribution.words import Scores, scores_per_word
from safr.data.encoding import EncodedText
from safr.errors import InputError
from safr.evaluation.activations import iter_activations, sample_activations
from safr.evaluation.sparse_autoencoder import SparseAutoencoder, feature_shares, train_sparse_autoencoder

SCORING_LATENTS = 16
"""Latents that may be active for a token when words are scored."""


def train_on_texts(
    model: PreTrainedModel, texts: Sequence[EncodedText], site: str | None = None, seed: int = 0
) -> SparseAutoencoder:
    """A small sparse autoencoder of a model's neurons, trained on tokens drawn from texts: a latent for each neuron.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts, of the training split where the scores shall be judged on others.
        site: Where the neurons are, as in `fc1.0`. Default: behind the activation of the layer that explains the model.
        seed: Of the tokens that are drawn, and of the training.

    Raises:
        InputError: There is no such site, or there are too few texts; see `train_sparse_autoencoder`.
    """
    activations = sample_activations(model, texts, site or get_neuron_site(model), seed)
    latents = activations.shape[1]
    return train_sparse_autoencoder(activations, latents=latents, active=min(SCORING_LATENTS, latents), seed=seed)


def autoencoder_scores(
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    autoencoder: SparseAutoencoder,
    site: str | None = None,
) -> Scores:
    """Share of the features' activation in a text that every word has, its tokens together; see `feature_shares`.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
        autoencoder: Trained on the model's neurons at this site.
        site: Where the neurons are, as in `fc1.0`. Default: behind the activation of the layer that explains the model.

    Raises:
        InputError: There is no such site, or the autoencoder is one of another number of neurons.
    """
    site, neurons = site or get_neuron_site(model), autoencoder.decoder.shape[1]
    scores = {}
    for numbers, name, rows in iter_activations(model, texts, site):
        for number, row in zip(numbers, rows, strict=True):
            if row.shape[1] != neurons:
                raise InputError(f"expected {neurons} neurons at {name}, the autoencoder's, got {row.shape[1]}")
            shares = np.zeros(len(texts[number].ids))
            of_words = np.array([word is not None for word in texts[number].word_of_token], dtype=bool)
            shares[of_words] = feature_shares(autoencoder.encode(torch.from_numpy(row))).numpy(force=True)
            scores[number] = scores_per_word(texts[number], shares, "sum")
    return [scores[number] for number in range(len(texts))]
