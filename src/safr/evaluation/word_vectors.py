"""Vectors of words in their texts, from an encoder that is independent of the model whose neurons are measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.data.encoding import EncodedText
from safr.errors import InputError
from safr.inference import count_positions, iter_hidden_states, to_numpy


def word_vectors(
    encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[EncodedText]
) -> list[Float[np.ndarray, "_ dimension"]]:
    """What an encoder makes of every word of every text: the mean of what leaves its last layer at the word's tokens.

    Args:
        encoder: A model of texts, such as a sentence encoder; it runs in evaluation mode and gets its own mode back.
        tokenizer: Its tokenizer, which must be a fast one.
        texts: Texts as the model that is measured reads them, whose words the encoder gets as they are. It reads a text
            for which it has too few positions in halves, quarters or smaller parts, and only the beginning of a word.

    Returns:
        For every text (word, dimension); a word of which the tokenizer makes no token gets the mean of the others.

    Raises:
        InputError: The encoder does not return its hidden states, or its tokenizer is not a fast one.
    """
    if not tokenizer.is_fast:
        raise InputError("expected an encoder with a fast tokenizer, which tells each token's word")
    most = count_positions(encoder)
    parts = [_encode_words(tokenizer, text.words, most) for text in texts]
    encoded = [part for of_text in parts for part in of_text]
    vectors = {}
    for batch, states in iter_hidden_states(encoder, encoded):
        values = to_numpy(states)
        for row, number in enumerate(batch.indices):
            vectors[number] = _average(values[row], encoded[number])
    in_order = iter(vectors[number] for number in range(len(encoded)))
    return [np.concatenate([next(in_order) for _ in of_text]) for of_text in parts]


def _encode_words(
    tokenizer: PreTrainedTokenizerBase, words: tuple[str, ...], max_tokens: int | None
) -> list[EncodedText]:
    """Words as one text, or where that has too many tokens as several."""
    joined = " ".join(words)
    is_cut = max_tokens is not None and len(words) == 1
    tokens = tokenizer(
        joined, return_offsets_mapping=True, verbose=False, truncation=is_cut, max_length=max_tokens if is_cut else None
    )
    if max_tokens is not None and len(tokens["input_ids"]) > max_tokens and len(words) > 1:
        half = len(words) // 2
        halves = (words[:half], words[half:])
        return [part for some in halves for part in _encode_words(tokenizer, some, max_tokens)]
    ends = np.cumsum([len(word) + 1 for word in words])  # of each word with the space behind it
    # By its last character, since a token may begin with the space before its word.
    owners = [
        int(np.searchsorted(ends, end - 1, side="right")) if joined[start:end].strip() else None
        for start, end in tokens["offset_mapping"]
    ]
    return [EncodedText(tuple(tokens["input_ids"]), words, tuple(owners), truncated=is_cut)]


def _average(states: Float[np.ndarray, "token dimension"], text: EncodedText) -> Float[np.ndarray, "_ dimension"]:
    tokens = [token for token, word in enumerate(text.word_of_token) if word is not None]
    owners = np.array([text.word_of_token[token] for token in tokens], dtype=np.intp)
    sums, counts = np.zeros((len(text.words), states.shape[1])), np.bincount(owners, minlength=len(text.words))
    np.add.at(sums, owners, states[tokens])
    sums[counts == 0] = sums.sum(axis=0) / max(counts.sum(), 1)
    return sums / np.maximum(counts, 1)[:, None]
