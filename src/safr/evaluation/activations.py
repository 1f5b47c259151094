"""Activations of neurons at the tokens of words, from one run of a model over texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from transformers import PreTrainedModel

from safr.data.encoding import EncodedText
from safr.errors import InputError
from safr.inference import iter_traces, to_numpy

SAMPLED_TOKENS = 20_000
"""Tokens, drawn at random, that sparse autoencoders are trained on."""


def iter_activations(
    model: PreTrainedModel, texts: Sequence[EncodedText], site: str
) -> Iterator[tuple[Sequence[int], str, list[NDArray]]]:
    """The numbers of a batch's texts, the site's full name, and each text's activations, (token, neuron).

    Raises:
        InputError: There is no such site, or it holds no vectors.
    """
    for batch, trace in iter_traces(model, texts, [site]):
        names = list(trace.vectors)
        if len(names) != 1:
            raise InputError(f"expected one site with vectors, got '{site}'; name one of: {', '.join(names) or 'none'}")
        values, mask = to_numpy(trace.vectors[names[0]]), trace.content_mask.numpy(force=True)
        yield batch.indices, names[0], [values[row][mask[row]] for row in range(len(batch.indices))]


def content_ids(text: EncodedText) -> Int[np.ndarray, " token"]:
    """Ids of the tokens that belong to words."""
    return np.array([i for i, word in zip(text.ids, text.word_of_token, strict=True) if word is not None], np.int64)


def sample_tokens(counts: Int[np.ndarray, " text"], rng: np.random.Generator) -> list[Bool[np.ndarray, " token"]]:
    """For every text, which of its tokens are among the `SAMPLED_TOKENS` that are drawn from all.

    Args:
        counts: How many tokens of words each text has.
        rng: Where the order comes from.
    """
    chosen = np.zeros(counts.sum(), dtype=bool)
    chosen[rng.permutation(len(chosen))[:SAMPLED_TOKENS]] = True
    return np.split(chosen, np.cumsum(counts)[:-1])


def sample_activations(
    model: PreTrainedModel, texts: Sequence[EncodedText], site: str, seed: int = 0
) -> Float[np.ndarray, "token neuron"]:
    """Activations at tokens that are drawn from all texts; see `SAMPLED_TOKENS`.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
        site: Where the neurons are, as in `fc1_out.0`.
        seed: Of the draw.

    Raises:
        InputError: There is no such site, or no text.
    """
    if not texts:
        raise InputError("expected texts whose activations are sampled, got none")
    counts = np.array([len(content_ids(text)) for text in texts])
    chosen = sample_tokens(counts, np.random.default_rng(seed))
    sample = [
        row[chosen[number]]
        for numbers, _, rows in iter_activations(model, texts, site)
        for number, row in zip(numbers, rows, strict=True)
    ]
    return np.concatenate(sample)
