"""Vectors of words in their texts, from an encoder that is independent of the model whose neurons are measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.data.encoding import EncodedText
from safr.errors import InputError
from safr.inference import iter_hidden_states, to_numpy


def word_vectors(
    encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[EncodedText]
) -> list[Float[np.ndarray, "_ dimension"]]:
    """What an encoder makes of every word of every text: the mean of what leaves its last layer at the word's tokens.

    Args:
        encoder: A model of texts, such as a sentence encoder; it runs in evaluation mode and gets its own mode back.
        tokenizer: Its tokenizer, which must be a fast one.
        texts: Texts as the model that is measured reads them, whose words the encoder gets as they are.

    Returns:
        For every text (word, dimension); a word of which the tokenizer makes no token gets the mean of the others.

    Raises:
        InputError: The encoder does not return its hidden states, or a text is longer than it can read.
    """
    encoded = [_encode_words(tokenizer, text) for text in texts]
    vectors = {}
    for batch, states in iter_hidden_states(encoder, encoded):
        values = to_numpy(states)
        for row, number in enumerate(batch.indices):
            vectors[number] = _average(values[row], encoded[number])
    return [vectors[number] for number in range(len(texts))]


def _encode_words(tokenizer: PreTrainedTokenizerBase, text: EncodedText) -> EncodedText:
    if not tokenizer.is_fast:
        raise InputError("expected an encoder with a fast tokenizer, which tells each token's word")
    joined = " ".join(text.words)
    tokens = tokenizer(joined, return_offsets_mapping=True, verbose=False)
    ends = np.cumsum([len(word) + 1 for word in text.words])  # of each word with the space behind it
    # By its last character, since a token may begin with the space before its word.
    words = [
        int(np.searchsorted(ends, end - 1, side="right")) if joined[start:end].strip() else None
        for start, end in tokens["offset_mapping"]
    ]
    return EncodedText(tuple(tokens["input_ids"]), text.words, tuple(words), truncated=False)


def _average(states: Float[np.ndarray, "token dimension"], text: EncodedText) -> Float[np.ndarray, "_ dimension"]:
    tokens = [token for token, word in enumerate(text.word_of_token) if word is not None]
    owners = np.array([text.word_of_token[token] for token in tokens], dtype=np.intp)
    sums, counts = np.zeros((len(text.words), states.shape[1])), np.bincount(owners, minlength=len(text.words))
    np.add.at(sums, owners, states[tokens])
    sums[counts == 0] = sums.sum(axis=0) / max(counts.sum(), 1)
    return sums / np.maximum(counts, 1)[:, None]
