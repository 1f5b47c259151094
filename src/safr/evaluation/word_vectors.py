"""Vectors of words in their texts, from an encoder that is independent of the model whose neurons are measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
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
        texts: Texts as the model that is measured reads them, whose words the encoder gets as they are. A text
            with more tokens than the encoder has positions is read in halves, quarters or smaller parts. Of a single
            word that is too long only the beginning is read.

    Returns:
        For every text (word, dimension); a word of which the tokenizer makes no token gets the mean of the others.

    Raises:
        InputError: The encoder does not return its hidden states, or its tokenizer is not a fast one.
    """
    if not tokenizer.is_fast:
        raise InputError("expected an encoder with a fast tokenizer, which tells each token's word")
    max_tokens = count_positions(encoder)
    parts_by_text = [_encode_words(tokenizer, text.words, max_tokens) for text in texts]
    parts = [part for text_parts in parts_by_text for part in text_parts]
    sums = {}
    for batch, states in iter_hidden_states(encoder, parts):
        values = to_numpy(states)
        for row, number in enumerate(batch.indices):
            sums[number] = _sum_by_word(values[row], parts[number])
    in_order = iter(sums[number] for number in range(len(parts)))
    return [_average([next(in_order) for _ in text_parts]) for text_parts in parts_by_text]


def _encode_words(
    tokenizer: PreTrainedTokenizerBase, words: tuple[str, ...], max_tokens: int | None
) -> list[EncodedText]:
    """Words as one text, or as several where one would have too many tokens."""
    joined = " ".join(words)
    tokens = tokenizer(joined, return_offsets_mapping=True, verbose=False)
    ids, offsets = tokens["input_ids"], tokens["offset_mapping"]
    if max_tokens is not None and len(ids) > max_tokens and len(words) > 1:
        middle = len(words) // 2
        halves = (words[:middle], words[middle:])
        return [part for half in halves for part in _encode_words(tokenizer, half, max_tokens)]
    ends = np.cumsum([len(word) + 1 for word in words])  # of each word with the space behind it
    # By its last character, since a token may begin with the space before its word.
    owners = [
        int(np.searchsorted(ends, end - 1, side="right")) if joined[start:end].strip() else None
        for start, end in offsets[:max_tokens]
    ]
    read = tuple(ids[:max_tokens])
    return [EncodedText(read, words, tuple(owners), truncated=len(read) < len(ids))]


def _sum_by_word(
    states: Float[np.ndarray, "token dimension"], text: EncodedText
) -> tuple[Float[np.ndarray, "word dimension"], Int[np.ndarray, " word"]]:
    """The sum of the vectors of every word's tokens, and how many these are."""
    tokens = [token for token, word in enumerate(text.word_of_token) if word is not None]
    owners = np.array([text.word_of_token[token] for token in tokens], dtype=np.intp)
    sums = np.zeros((len(text.words), states.shape[1]))
    np.add.at(sums, owners, states[tokens])
    return sums, np.bincount(owners, minlength=len(text.words))


def _average(parts: Sequence[tuple[NDArray, NDArray]]) -> Float[np.ndarray, "word dimension"]:
    """The mean vector of every word of a text, from its parts; see `word_vectors`."""
    sums, counts = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    sums[counts == 0] = sums.sum(axis=0) / max(counts.sum(), 1)
    return sums / np.maximum(counts, 1)[:, None]
